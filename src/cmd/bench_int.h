/* cmd/bench_int.h - what benchmarks share: how they report. bench.c picks one by name. */
#ifndef MATINEE_CMD_BENCH_INT_H
#define MATINEE_CMD_BENCH_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* `matinee bench http`; words behind the benchmark's name. Returns an exit status. */
int bench_http(int argc, char **argv);
int bench_booking(int argc, char **argv);
int bench_webrtc(int argc, char **argv);
int bench_llhls(int argc, char **argv);
int bench_comments(int argc, char **argv);
int bench_store(int argc, char **argv);
int bench_edge(int argc, char **argv);
int bench_ticket(int argc, char **argv);

/* A port of loopback that nobody has, bench_server.c. It is below those that the kernel hands out by itself, so that no connection takes it
 * before its server does. 0: none can be had. */
int bench_free_port(void);

/* --- reports, bench_report.c ---------------------------------------------------------------------------- */

double bench_median(const double *values, size_t count);
/* The value below which so many of a hundred lie, in ms; sorts `took_us`. 0 where there is none. */
double bench_percentile_ms(uint32_t *took_us, size_t count, unsigned percent);

#define BENCH_COLUMNS_MAX 9
#define BENCH_ROWS_MAX    256
#define BENCH_CELL_SIZE   40

/* Text in rows; the first is the heading. */
struct bench_table {
    size_t column_count, row_count;
    char cells[BENCH_ROWS_MAX][BENCH_COLUMNS_MAX][BENCH_CELL_SIZE];
};

/* Begins a row, which is empty; NULL when the table is full. */
char (*bench_row(struct bench_table *t))[BENCH_CELL_SIZE];
/* A row of its own, of texts that end with a NULL. */
void bench_add_row(struct bench_table *t, const char *const *cells);
/* "12.34", valid until it was called eight times more: so that a row can be written in one go. One thread. */
const char *bench_number(double value, int digits);
/* Prints the columns aligned: the first to the left, the others to the right. */
void bench_table_print(const struct bench_table *t);
/* Writes DIR/NAME.csv, making the folder. False: it could not be, and was said. */
bool bench_table_csv(const struct bench_table *t, const char *dir, const char *name);

#define BENCH_BARS_MAX 16

/* Bars side by side, in groups: a value per series in each. */
struct bench_bars {
    const char *title, *unit;
    size_t group_count, series_count;
    const char *groups[BENCH_BARS_MAX], *series[4];
    double values[BENCH_BARS_MAX][4];
};

/* Writes DIR/NAME.svg; each group is scaled to its own highest bar, which the numbers beside them tell. */
bool bench_bars_svg(const struct bench_bars *b, const char *dir, const char *name);

/* --- plots, bench_plot.c --------------------------------------------------------------------------------- */

#define BENCH_POINTS_MAX 16
#define BENCH_SERIES_MAX 6

/* Values along x, a line per series; both axes are logarithmic. A value of 0 is left out. */
struct bench_lines {
    const char *title, *x_name, *y_name;
    size_t point_count, series_count;
    const char *series[BENCH_SERIES_MAX];
    double x[BENCH_POINTS_MAX], y[BENCH_POINTS_MAX][BENCH_SERIES_MAX];
};

bool bench_lines_svg(const struct bench_lines *l, const char *dir, const char *name);

/* Makes the folder and those above it, and opens a file in it; NULL: it could not be, and was said. */
FILE *bench_file(const char *dir, const char *name, const char *extension);
/* Of a process: the time on a CPU of the threads it has; and the memory that it holds itself. */
double bench_cpu_us(pid_t pid);
double bench_anonymous_kb(pid_t pid);

/* Removes a folder of a benchmark's own and everything in it. */
void bench_folder_remove(const char *dir);

#endif
