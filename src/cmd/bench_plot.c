/* cmd/bench_plot.c - lines over a logarithmic ground, as SVG for pages. */
#include "cmd/bench_int.h"

#include <math.h>
#include <stdio.h>

#define LEFT   70
#define TOP    70
#define WIDTH  520
#define HEIGHT 300
#define RIGHT  160
#define BOTTOM 50

static const char *const colours[] = {"#2f6f9f", "#c9a227", "#3f8f5f", "#9f4f2f", "#7a7a7a", "#8a5fb0"};

struct scale {
    double low, high; /* as logarithms */
};

static void widen(struct scale *s, double value)
{
    if (value <= 0)
        return;
    s->low = log10(value) < s->low ? log10(value) : s->low;
    s->high = log10(value) > s->high ? log10(value) : s->high;
}

static double at(const struct scale *s, double value)
{
    return s->high > s->low ? (log10(value) - s->low) / (s->high - s->low) : 0.5;
}

static double x_of(const struct scale *s, double value)
{
    return LEFT + at(s, value) * WIDTH;
}

static double y_of(const struct scale *s, double value)
{
    return TOP + HEIGHT - at(s, value) * HEIGHT;
}

/* 1, 2 and 5 of each power of ten as lines across, the values of x as they are. */
static void draw_ground(FILE *f, const struct bench_lines *l, const struct scale *x, const struct scale *y)
{
    static const int steps[] = {1, 2, 5};

    for (int line = 3 * (int)floor(y->low); line <= 3 * y->high + 3; line++) {
        double value = steps[((line % 3) + 3) % 3] * pow(10, floor(line / 3.0)), height = y_of(y, value);

        if (log10(value) < y->low || log10(value) > y->high)
            continue;
        fprintf(f, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#8884\"/>\n", LEFT,
                LEFT + WIDTH, height, height);
        fprintf(f, "<text x=\"%d\" y=\"%.1f\" class=\"n\" text-anchor=\"end\">%.0f</text>\n", LEFT - 8,
                height + 4, value);
    }
    for (size_t i = 0; i < l->point_count; i++)
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" class=\"n\" text-anchor=\"middle\">%.0f</text>\n",
                x_of(x, l->x[i]), TOP + HEIGHT + 18, l->x[i]);
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", LEFT + WIDTH / 2,
            TOP + HEIGHT + 40, l->x_name);
}

static void draw_line(FILE *f, const struct bench_lines *l, size_t series, const struct scale *x,
                      const struct scale *y)
{
    double last = 0;

    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2.5\" points=\"", colours[series]);
    for (size_t i = 0; i < l->point_count; i++) {
        if (l->y[i][series] <= 0)
            continue;
        last = l->y[i][series];
        fprintf(f, "%.1f,%.1f ", x_of(x, l->x[i]), y_of(y, last));
    }
    fputs("\"/>\n", f);
    for (size_t i = 0; i < l->point_count; i++)
        if (l->y[i][series] > 0)
            fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", x_of(x, l->x[i]),
                    y_of(y, l->y[i][series]), colours[series]);
    fprintf(
        f,
        "<rect x=\"%d\" y=\"%zu\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%d\" y=\"%zu\">%s</text>\n",
        LEFT + WIDTH + 16, TOP + series * 22, colours[series], LEFT + WIDTH + 34, TOP + series * 22 + 11,
        l->series[series]);
}

bool bench_lines_svg(const struct bench_lines *l, const char *dir, const char *name)
{
    struct scale x = {1e9, -1e9}, y = {1e9, -1e9};
    FILE *f = bench_file(dir, name, "svg");

    if (f == NULL)
        return false;
    for (size_t i = 0; i < l->point_count; i++) {
        widen(&x, l->x[i]);
        for (size_t s = 0; s < l->series_count; s++)
            widen(&y, l->y[i][s]);
    }
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
            "font-size=\"13\">\n<style>text{fill:#222}.n{font-size:11px}"
            "@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>\n<text x=\"10\" y=\"24\" "
            "font-size=\"16\">%s</text>\n<text x=\"10\" y=\"50\" class=\"n\">%s</text>\n",
            LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM, l->title, l->y_name);
    draw_ground(f, l, &x, &y);
    for (size_t s = 0; s < l->series_count; s++)
        draw_line(f, l, s, &x, &y);
    fputs("</svg>\n", f);
    return fclose(f) == 0;
}
