/* cmd/bench_report.c - tables for people, CSV for machines, SVG for pages. */
#include "cmd/bench_int.h"

#include "base/mem.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

double bench_median(const double *values, size_t count)
{
    double *sorted = mem_new(count * sizeof *sorted);

    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    double middle = count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;

    free(sorted);
    return middle;
}

static int by_time(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

double bench_percentile_ms(uint32_t *took_us, size_t count, unsigned percent)
{
    size_t at = count * percent / 100;

    if (count == 0)
        return 0;
    qsort(took_us, count, sizeof *took_us, by_time);
    return took_us[at < count ? at : count - 1] / 1e3;
}

/* --- folders ------------------------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *at)
{
    (void)stat;
    (void)type;
    (void)at;
    return remove(path);
}

void bench_folder_remove(const char *dir)
{
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- tables -------------------------------------------------------------------------------------------------- */

char (*bench_row(struct bench_table *t))[BENCH_CELL_SIZE]
{
    if (t->row_count == BENCH_ROWS_MAX)
        return NULL;
    memset(t->cells[t->row_count], 0, sizeof t->cells[0]);
    return t->cells[t->row_count++];
}

void bench_add_row(struct bench_table *t, const char *const *cells)
{
    char(*row)[BENCH_CELL_SIZE] = bench_row(t);

    for (size_t i = 0; row != NULL && cells[i] != NULL; i++)
        snprintf(row[i], BENCH_CELL_SIZE, "%s", cells[i]);
}

const char *bench_number(double value, int digits)
{
    static char texts[8][32];
    static size_t turn;
    char *text = texts[turn++ % 8];

    snprintf(text, sizeof texts[0], "%.*f", digits, value);
    return text;
}

void bench_table_print(const struct bench_table *t)
{
    size_t width[BENCH_COLUMNS_MAX] = {0};

    for (size_t r = 0; r < t->row_count; r++)
        for (size_t c = 0; c < t->column_count; c++)
            width[c] = strlen(t->cells[r][c]) > width[c] ? strlen(t->cells[r][c]) : width[c];
    for (size_t r = 0; r < t->row_count; r++) {
        for (size_t c = 0; c < t->column_count; c++)
            printf(c == 0 ? "%-*s" : "  %*s", (int)width[c], t->cells[r][c]);
        putchar('\n');
    }
}

FILE *bench_file(const char *dir, const char *name, const char *extension)
{
    char *path = mem_printf("%s/%s.%s", dir, name, extension);

    for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            break;
        *at = '/';
    }
    FILE *f = fopen(path, "w");

    if (f == NULL)
        fprintf(stderr, "matinee bench: %s cannot be written: %s\n", path, strerror(errno));
    free(path);
    return f;
}

bool bench_table_csv(const struct bench_table *t, const char *dir, const char *name)
{
    FILE *f = bench_file(dir, name, "csv");

    if (f == NULL)
        return false;
    for (size_t r = 0; r < t->row_count; r++)
        for (size_t c = 0; c < t->column_count; c++)
            fprintf(f, "%s%c", t->cells[r][c], c + 1 < t->column_count ? ',' : '\n');
    return fclose(f) == 0;
}

/* --- bars ------------------------------------------------------------------------------------------------------ */

#define LEFT  150
#define WIDTH 420
#define BAR   18
#define GAP   14
#define TOP   64
#define RIGHT 130

static const char *const colours[] = {"#2f6f9f", "#c9a227", "#7a7a7a", "#9f4f2f"};

static void draw_group(FILE *f, const struct bench_bars *b, size_t g, size_t y)
{
    double most = 0;

    for (size_t s = 0; s < b->series_count; s++)
        most = b->values[g][s] > most ? b->values[g][s] : most;
    fprintf(f, "<text x=\"%d\" y=\"%zu\" text-anchor=\"end\">%s</text>\n", LEFT - 10,
            y + b->series_count * BAR / 2 + 5, b->groups[g]);
    for (size_t s = 0; s < b->series_count; s++) {
        double width = most > 0 ? b->values[g][s] / most * WIDTH : 0;

        fprintf(f, "<rect x=\"%d\" y=\"%zu\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", LEFT, y + s * BAR,
                width, BAR - 2, colours[s]);
        fprintf(f, "<text x=\"%.1f\" y=\"%zu\" class=\"n\">%.*f %s</text>\n", LEFT + width + 6,
                y + s * BAR + 13, b->values[g][s] < 100 ? 2 : 0, b->values[g][s], b->unit);
    }
}

bool bench_bars_svg(const struct bench_bars *b, const char *dir, const char *name)
{
    size_t group = b->series_count * BAR + GAP, height = TOP + b->group_count * group + 10;
    FILE *f = bench_file(dir, name, "svg");

    if (f == NULL)
        return false;
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %zu\" font-family=\"sans-serif\" "
            "font-size=\"13\">\n<style>text{fill:#222}.n{font-size:11px}"
            "@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>\n<text x=\"10\" y=\"22\" "
            "font-size=\"16\">%s</text>\n",
            LEFT + WIDTH + RIGHT, height, b->title);
    for (size_t s = 0; s < b->series_count; s++)
        fprintf(
            f,
            "<rect x=\"%zu\" y=\"36\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%zu\" y=\"47\">%s</text>\n",
            LEFT + s * 130, colours[s], LEFT + s * 130 + 18, b->series[s]);
    for (size_t g = 0; g < b->group_count; g++)
        draw_group(f, b, g, TOP + g * group);
    fputs("</svg>\n", f);
    return fclose(f) == 0;
}
