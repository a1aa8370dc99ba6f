/* cmd/bench_ladder_crowd.c - `matinee bench ladder --only scale|straggler|kill`: what many workers come to, and what it costs
 * when one of them is slow or dies.
 *
 * Only the encoding is simulated (bench_ladder_house_int.h): eight workers that encode would fight for two cores, and
 * the machine would be measured. Queue, leases, leader, reduce, store and index are the true ones, and pay for every task. */
#include "cmd/bench_int.h"
#include "cmd/bench_ladder_house_int.h"
#include "cmd/bench_ladder_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 20

struct crowd {
    const struct ladder_setup *setup;
    char *dir, *answers;
    struct ladder_source source;
    double task_ms; /* what a task waits, of a worker of factor 1 */
};

/* --- before anything is measured -------------------------------------------------------------------------- */

static bool open_house(const struct crowd *c, struct house *h, bool no_backups)
{
    return house_open(h,
                      &(struct house_setup){.dir = c->dir, .answers = c->answers, .no_backups = no_backups});
}

/* One chunk as a recording of its own. The caller's. */
static struct buffer *short_file(const struct crowd *c, size_t chunk)
{
    struct builder b = {0};

    builder_add(&b, c->source.init);
    builder_add(&b, c->source.chunks[chunk % c->source.chunk_count]);
    return builder_finish(&b);
}

static void wait_made(struct house *h, const struct ulid *videos, size_t count)
{
    for (size_t i = 0; i < count; i++)
        while (house_lacks(h, videos[i]) > 0)
            house_nap(2);
}

/* Has every chunk encoded once, alone and within the whole. */
static bool learn(struct crowd *c)
{
    size_t count = c->source.chunk_count + 1;
    struct ulid *videos = mem_new(count * sizeof *videos);
    struct house h;
    bool good = open_house(c, &h, true) && house_hire(&h, 0, 2, 1);

    for (size_t i = 0; i < count && good; i++) {
        struct buffer *file = i == 0 ? buffer_ref(c->source.file) : short_file(c, i - 1);

        good = house_video(&h, buffer_bytes(file), &videos[i]) && house_ask(&h, videos[i]);
        buffer_unref(file);
    }
    if (good)
        wait_made(&h, videos, count);
    house_close(&h);
    free(videos);
    c->task_ms = standin_mean_ms(c->answers) * HOUSE_PACE;
    return good && h.gaps == 0 && c->task_ms > 0;
}

/* The same for all parts of one run. False: it was said. */
static bool prepare(struct crowd **out, const struct ladder_setup *s)
{
    static struct crowd c;

    *out = &c;
    if (c.task_ms > 0)
        return true;
    c.setup = s;
    c.dir = mem_printf("%s/ladder-house", s->out);
    c.answers = mem_printf("%s/ladder-answers", s->out);
    bench_folder_remove(c.answers); /* what an older build encoded */
    bench_folder_remove(c.dir);
    if (!ladder_source_make(&c.source, s) || !learn(&c))
        return false;
    printf("a task: %.0f ms of CPU, waited for as %.0f ms by each worker\n\n", c.task_ms / HOUSE_PACE,
           c.task_ms);
    return true;
}

/* --- a backlog, worked off -------------------------------------------------------------------------------- */

struct backlog {
    unsigned workers;
    bool killed; /* one of them, when half is done; a second later it is back, as systemd and serve have it */
    size_t videos;
};

#define RESTART_MS 1000

static size_t lacking(struct house *h, const struct ulid *videos, size_t count)
{
    size_t lacks = 0;

    for (size_t i = 0; i < count; i++)
        lacks += house_lacks(h, videos[i]);
    return lacks;
}

static bool kill_midway(struct house *h, const struct ulid *videos, size_t count)
{
    size_t all = lacking(h, videos, count);

    while (lacking(h, videos, count) > all / 2)
        house_nap(10);
    house_kill(h, 0);
    house_nap(RESTART_MS);
    return house_hire(h, 0, 1, 1);
}

/* How many tasks a second are done from the workers' start to the last publication. */
static bool work_off(const struct crowd *c, const struct backlog *b, double *tasks_per_s, double *seconds)
{
    struct ulid *videos = mem_new(b->videos * sizeof *videos);
    struct house h;
    bool good = open_house(c, &h, false);

    for (size_t i = 0; i < b->videos && good; i++)
        good = house_video(&h, buffer_bytes(c->source.file), &videos[i]) && house_ask(&h, videos[i]);
    if (good) {
        size_t tasks = house_wait_open(&h);
        int64_t began_us = clock_mono_us();

        good = house_hire(&h, 0, b->workers, 1) && (!b->killed || kill_midway(&h, videos, b->videos));
        if (good)
            wait_made(&h, videos, b->videos);
        *seconds = (double)(clock_mono_us() - began_us) / 1e6;
        *tasks_per_s = (double)tasks / *seconds;
    }
    house_close(&h);
    free(videos);
    return good && h.gaps == 0;
}

/* --- scale ------------------------------------------------------------------------------------------------ */

#define SCALE_MAX 4

struct scale {
    double per_s[SCALE_MAX][ROUNDS_MAX], middle[SCALE_MAX];
    size_t count;
};

static const unsigned scale_workers[SCALE_MAX] = {1, 2, 4, 8};

static bool write_scale(const struct crowd *c, const struct scale *m)
{
    static struct bench_table t = {.column_count = 4};
    struct bench_lines lines = {.title = "A backlog: tasks a second by so many workers",
                                .x_name = "workers",
                                .y_name = "tasks a second",
                                .point_count = m->count,
                                .series_count = 2,
                                .series = {"measured", "linear"}};

    bench_add_row(&t, (const char *[]){"workers", "round", "tasks a second", "task ms", NULL});
    for (size_t i = 0; i < m->count; i++) {
        lines.x[i] = scale_workers[i];
        lines.y[i][0] = m->middle[i];
        lines.y[i][1] = m->middle[0] * scale_workers[i];
        for (long r = 0; r < c->setup->rounds; r++)
            bench_add_row(
                &t, (const char *[]){bench_number(scale_workers[i], 0), bench_number((double)r + 1, 0),
                                     bench_number(m->per_s[i][r], 3), bench_number(c->task_ms, 1), NULL});
    }
    return bench_table_csv(&t, c->setup->out, "ladder-scale") &&
           bench_lines_svg(&lines, c->setup->out, "ladder-scale");
}

static bool report_scale(const struct crowd *c, struct scale *m)
{
    static struct bench_table t = {.column_count = 3};

    bench_add_row(&t, (const char *[]){"workers", "tasks/s", "of linear", NULL});
    for (size_t i = 0; i < m->count; i++) {
        m->middle[i] = bench_median(m->per_s[i], (size_t)c->setup->rounds);
        bench_add_row(&t, (const char *[]){bench_number(scale_workers[i], 0), bench_number(m->middle[i], 2),
                                           bench_number(m->middle[i] / m->middle[0] / scale_workers[i], 3),
                                           NULL});
    }
    bench_table_print(&t);
    printf("\ntarget: 0.9 of linear; medians of %ld rounds in turn\n\n", c->setup->rounds);
    return write_scale(c, m);
}

int bench_ladder_scale(const struct ladder_setup *s)
{
    static struct scale m;
    struct crowd *c;
    bool good = prepare(&c, s);

    m.count = s->quick ? 2 : SCALE_MAX;
    for (long r = 0; r < s->rounds && good; r++)
        for (size_t i = 0; i < m.count && good; i++) {
            double seconds;

            good = work_off(c, &(struct backlog){.workers = scale_workers[i], .videos = s->quick ? 2 : 16},
                            &m.per_s[i][r], &seconds);
        }
    return good && report_scale(c, &m) ? 0 : 1;
}

/* --- kill ------------------------------------------------------------------------------------------------- */

struct kills {
    double seconds[2][ROUNDS_MAX]; /* undisturbed, and with one killed */
};

static const char *const kill_names[2] = {"undisturbed", "one killed"};

static bool report_kill(const struct crowd *c, const struct kills *m)
{
    static struct bench_table t = {.column_count = 3}, csv = {.column_count = 3};
    struct bench_bars bars = {.title = "A backlog by four workers (less is better)",
                              .unit = "s",
                              .group_count = 1,
                              .series_count = 2,
                              .groups = {"the whole"},
                              .series = {kill_names[0], kill_names[1]}};
    double first = bench_median(m->seconds[0], (size_t)c->setup->rounds);

    bench_add_row(&t, (const char *[]){"four workers", "seconds", "ratio", NULL});
    bench_add_row(&csv, (const char *[]){"four workers", "round", "seconds", NULL});
    for (int k = 0; k < 2; k++) {
        double middle = bench_median(m->seconds[k], (size_t)c->setup->rounds);

        bars.values[0][k] = middle;
        bench_add_row(&t, (const char *[]){kill_names[k], bench_number(middle, 2),
                                           bench_number(middle / first, 3), NULL});
        for (long r = 0; r < c->setup->rounds; r++)
            bench_add_row(&csv, (const char *[]){kill_names[k], bench_number((double)r + 1, 0),
                                                 bench_number(m->seconds[k][r], 3), NULL});
    }
    bench_table_print(&t);
    printf(
        "\ntarget: 1.05; the one is killed when half is done, and back after %d s; medians of %ld rounds in turn\n\n",
        RESTART_MS / 1000, c->setup->rounds);
    return bench_table_csv(&csv, c->setup->out, "ladder-kill") &&
           bench_bars_svg(&bars, c->setup->out, "ladder-kill");
}

int bench_ladder_kill(const struct ladder_setup *s)
{
    static struct kills m;
    struct crowd *c;
    bool good = prepare(&c, s);

    for (long r = 0; r < s->rounds && good; r++)
        for (int k = 0; k < 2 && good; k++) {
            double per_s;

            good = work_off(c, &(struct backlog){4, k == 1, s->quick ? 4 : 16}, &per_s, &m.seconds[k][r]);
        }
    return good && report_kill(c, &m) ? 0 : 1;
}

/* --- straggler -------------------------------------------------------------------------------------------- */

#define ARRIVALS_MAX 120
/* The first ones find a leader that does not know yet how long a task takes. */
#define ARRIVALS_BEFORE 12
#define SLOWER          10.0
/* Of what the three others can do. */
#define LOAD 0.5

struct stragglers {
    double ms[2][ROUNDS_MAX * ARRIVALS_MAX]; /* without backups, and with them */
    size_t count[2];
};

struct arrival {
    struct ulid video;
    int64_t asked_us, made_us;
};

static void see_made(struct house *h, struct arrival *all, size_t asked)
{
    for (size_t i = 0; i < asked; i++)
        if (all[i].made_us == 0 && house_lacks(h, all[i].video) == 0)
            all[i].made_us = clock_mono_us();
}

static bool is_over(const struct arrival *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].made_us == 0)
            return false;
    return true;
}

/* One chunk after the other is asked for, at a pace; notes when each is published. */
static bool arrive(const struct crowd *c, struct house *h, struct arrival *all, size_t count)
{
    int64_t every_us = (int64_t)(c->task_ms * 1000 / (3 * LOAD)), next_us = clock_mono_us();
    size_t asked = 0;

    while (asked < count || !is_over(all, count)) {
        if (asked < count && clock_mono_us() >= next_us) {
            all[asked].asked_us = clock_mono_us();
            if (!house_ask(h, all[asked++].video))
                return false;
            next_us += every_us;
        }
        see_made(h, all, asked);
        house_nap(2);
    }
    return true;
}

static bool straggle(const struct crowd *c, bool backups, struct stragglers *m)
{
    size_t count = c->setup->quick ? ARRIVALS_BEFORE + 8 : ARRIVALS_MAX;
    struct arrival *all = mem_new(count * sizeof *all);
    struct house h;
    bool good = open_house(c, &h, !backups);

    for (size_t i = 0; i < count && good; i++) {
        struct buffer *file = short_file(c, i);

        good = house_video(&h, buffer_bytes(file), &all[i].video);
        buffer_unref(file);
    }
    good = good && house_hire(&h, 0, 3, 1) && house_hire(&h, 3, 1, SLOWER);
    if (good)
        house_nap(RESTART_MS); /* all of them are there */
    good = good && arrive(c, &h, all, count);
    for (size_t i = ARRIVALS_BEFORE; i < count && good; i++)
        m->ms[backups][m->count[backups]++] = (double)(all[i].made_us - all[i].asked_us) / 1000;
    house_close(&h);
    free(all);
    return good && h.gaps == 0;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

static const char *const straggler_names[2] = {"without backups", "with backups"};

static bool write_straggler(const struct crowd *c, const struct stragglers *m, double percentile[2][2])
{
    static struct bench_table csv = {.column_count = 3};
    struct bench_bars bars = {.title = "One of four workers is ten times slower (less is better)",
                              .unit = "ms",
                              .group_count = 2,
                              .series_count = 2,
                              .groups = {"p50", "p99"},
                              .series = {straggler_names[0], straggler_names[1]}};

    bench_add_row(&csv, (const char *[]){"how", "percent", "ms", NULL});
    for (int k = 0; k < 2; k++) {
        for (size_t percent = 1; percent <= 100; percent++) /* the whole curve, in as many rows */
            bench_add_row(&csv, (const char *[]){straggler_names[k], bench_number((double)percent, 0),
                                                 bench_number(m->ms[k][(m->count[k] * percent - 1) / 100], 1),
                                                 NULL});
        bars.values[0][k] = percentile[k][0];
        bars.values[1][k] = percentile[k][1];
    }
    return bench_table_csv(&csv, c->setup->out, "ladder-straggler") &&
           bench_bars_svg(&bars, c->setup->out, "ladder-straggler");
}

static bool report_straggler(const struct crowd *c, struct stragglers *m)
{
    static struct bench_table t = {.column_count = 4};
    double percentile[2][2];

    bench_add_row(&t, (const char *[]){"chunks", "p50, ms", "p99, ms", "p99, ratio", NULL});
    for (int k = 0; k < 2; k++) {
        qsort(m->ms[k], m->count[k], sizeof m->ms[k][0], compare);
        percentile[k][0] = m->ms[k][(m->count[k] - 1) / 2];
        percentile[k][1] = m->ms[k][(m->count[k] * 99 - 1) / 100];
        bench_add_row(&t, (const char *[]){straggler_names[k], bench_number(percentile[k][0], 0),
                                           bench_number(percentile[k][1], 0),
                                           bench_number(percentile[k][1] / percentile[0][1], 3), NULL});
    }
    bench_table_print(&t);
    printf("\ntarget: p99 at most 0.7; %zu chunks each, in %ld rounds in turn\n\n", m->count[1],
           c->setup->rounds);
    return write_straggler(c, m, percentile);
}

int bench_ladder_straggler(const struct ladder_setup *s)
{
    static struct stragglers m;
    struct crowd *c;
    bool good = prepare(&c, s);

    for (long r = 0; r < s->rounds && good; r++)
        good = straggle(c, false, &m) && straggle(c, true, &m);
    return good && report_straggler(c, &m) ? 0 : 1;
}
