/* cmd/bench_booking.c - `matinee bench booking`: bookings a second under each locking, beside plain row locks.
 *
 * Every booking counted was answered after a durable commit. In each round every strategy over every database gets its turn
 * at a point, so that a machine's moods meet all of them; told is the median of rounds. */
#include "cmd/bench_booking_int.h"
#include "cmd/bench_int.h"
#include "cmd/bench_load_int.h"

#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS_MAX   20
#define ROW_LOCKS    LOCKING_COUNT       /* the rival, after the strategies */
#define OVER_HTTP    (LOCKING_COUNT + 1) /* combining, through the front door */
#define SELLER_COUNT (LOCKING_COUNT + 2)
#define SWEEP_MAX    8
#define DATABASE_MAX 2

struct sizes {
    long rounds, tenths; /* of a second for each measurement */
    bool quick;
    const char *out;
};

/* One way to vary the market: along pools or along clients. */
struct sweep {
    const char *name, *title, *x_name;
    enum market_shape shape;
    bool along_clients;
    unsigned fixed; /* of the other */
    unsigned values[SWEEP_MAX];
};

static const struct sweep sweeps[] = {
    {"pools",
     "32 clients, each wants one of so many pools",
     "pools",
     MARKET_POOLS,
     false,
     32,
     {1, 4, 16, 64, 256, 1024, 10000}},
    {"clients", "all want the same pool", "clients", MARKET_POOLS, true, 1, {1, 4, 16, 64, 256, 1000}},
    {"seats", "four of twenty units each", "clients", MARKET_SEATS, true, 1, {1, 32}},
    {"nights", "seven nights of thirty each", "clients", MARKET_NIGHTS, true, 1, {1, 32}},
};

static const char *seller_name(int seller)
{
    if (seller == OVER_HTTP)
        return "combining, HTTP";
    return seller == ROW_LOCKS ? "row locks" : booking_locking_name((enum booking_locking)seller);
}

struct database {
    const char *name;
    struct db *db;
    struct booking *booking;
    struct bench_house house;
};

/* --- one point --------------------------------------------------------------------------------------- */

static bool measure(const struct database *d, int seller, const struct market *m, struct market_result *out)
{
    if (seller == OVER_HTTP)
        return market_http(&d->house, LOCKING_COMBINING, m, out);

    enum err e = seller == ROW_LOCKS ? market_row_locks(d->db, m, out)
                                     : market_engine(d->booking, (enum booking_locking)seller, m, out);

    if (e == ERR_OK && out->booked > 0 && out->refused == 0)
        return true;
    fprintf(stderr, "matinee bench booking: %s over %s: %s, %llu booked, %llu refused\n", seller_name(seller),
            d->name, err_text(e), (unsigned long long)out->booked, (unsigned long long)out->refused);
    return e == ERR_OK && out->booked > 0;
}

/* The median round, by bookings a second. */
static int by_rate(const void *left, const void *right)
{
    double a = ((const struct market_result *)left)->per_second,
           b = ((const struct market_result *)right)->per_second;

    return (a > b) - (a < b);
}

/* What a point came to, for each database and seller. */
struct point {
    unsigned x;
    struct market_result results[DATABASE_MAX][SELLER_COUNT];
};

static bool measure_point(const struct database *databases, size_t count, const struct market *m, long rounds,
                          struct point *out)
{
    struct market_result all[DATABASE_MAX][SELLER_COUNT][ROUNDS_MAX];

    for (long r = 0; r < rounds; r++)
        for (size_t d = 0; d < count; d++)
            for (int s = 0; s < SELLER_COUNT; s++)
                if (!measure(&databases[d], s, m, &all[d][s][r]))
                    return false;
    for (size_t d = 0; d < count; d++)
        for (int s = 0; s < SELLER_COUNT; s++) {
            qsort(all[d][s], (size_t)rounds, sizeof all[d][s][0], by_rate);
            out->results[d][s] = all[d][s][rounds / 2];
        }
    return true;
}

/* --- a sweep ----------------------------------------------------------------------------------------- */

/* "row locks" in the table are those of the last database: the shared one, where two are measured. */
static void tell_point(struct bench_table *t, const struct database *databases, size_t count,
                       const struct point *p)
{
    double locks = p->results[count - 1][ROW_LOCKS].per_second;

    for (size_t d = 0; d < count; d++)
        for (int s = 0; s < SELLER_COUNT; s++) {
            const struct market_result *r = &p->results[d][s];

            bench_add_row(t, (const char *[]){bench_number(p->x, 0), databases[d].name, seller_name(s),
                                              bench_number(r->per_second, 0),
                                              bench_number(r->per_second / locks, 2),
                                              bench_number(r->again, 3), bench_number(r->p50_ms, 2),
                                              bench_number(r->p99_ms, 2), bench_number(r->max_ms, 2), NULL});
        }
}

/* How near adaptive comes to the best of the others, where it is farthest from it. */
static void tell_adaptive(const struct database *d, size_t which, const struct sweep *w,
                          const struct point *points, size_t count)
{
    double worst = 1e9;
    unsigned at = 0;

    for (size_t i = 0; i < count; i++) {
        const struct market_result *r = points[i].results[which];
        double best = 0;

        for (int s = 0; s < LOCKING_COUNT; s++)
            if (s != LOCKING_ADAPTIVE && r[s].per_second > best)
                best = r[s].per_second;
        if (r[LOCKING_ADAPTIVE].per_second / best < worst) {
            worst = r[LOCKING_ADAPTIVE].per_second / best;
            at = points[i].x;
        }
    }
    printf("%s: adaptive is %.2f of the best fixed locking where it is farthest from it, at %u %s\n", d->name,
           worst, at, w->x_name);
}

static bool plot(const struct database *d, size_t which, const struct sweep *w, const struct point *points,
                 size_t count, const char *out)
{
    char name[64], title[96];
    struct bench_lines l = {.title = title,
                            .x_name = w->x_name,
                            .y_name = "bookings a second",
                            .point_count = count,
                            .series_count = SELLER_COUNT};

    snprintf(title, sizeof title, "%s: %s", d->name, w->title);
    for (int s = 0; s < SELLER_COUNT; s++)
        l.series[s] = seller_name(s);
    for (size_t i = 0; i < count; i++) {
        l.x[i] = points[i].x;
        for (int s = 0; s < SELLER_COUNT; s++)
            l.y[i][s] = points[i].results[which][s].per_second;
    }
    snprintf(name, sizeof name, "booking-%s-%s", d->name, w->name);
    return bench_lines_svg(&l, out, name);
}

static bool run_sweep(const struct database *databases, size_t count, const struct sweep *w,
                      const struct sizes *sizes)
{
    struct bench_table *t = mem_new(sizeof *t);
    struct point points[SWEEP_MAX];
    size_t done = 0;
    char name[64];
    bool good = true;

    t->column_count = BENCH_COLUMNS_MAX;
    bench_add_row(t, (const char *[]){w->x_name, "database", "seller", "per second", "x row locks", "again",
                                      "p50 ms", "p99 ms", "max ms", NULL});
    while (done < SWEEP_MAX && w->values[done] != 0 && good && (done == 0 || !sizes->quick)) {
        unsigned x = w->values[done];
        struct market m = {w->shape, w->along_clients ? w->fixed : x, w->along_clients ? x : w->fixed,
                           (double)sizes->tenths / 10};

        points[done].x = x;
        good = measure_point(databases, count, &m, sizes->rounds, &points[done]);
        if (good)
            tell_point(t, databases, count, &points[done++]);
    }
    printf("\n%s\n", w->title);
    bench_table_print(t);
    for (size_t d = 0; d < count; d++) {
        tell_adaptive(&databases[d], d, w, points, done);
        good = good && plot(&databases[d], d, w, points, done, sizes->out);
    }
    snprintf(name, sizeof name, "booking-%s", w->name);
    good = good && bench_table_csv(t, sizes->out, name);
    free(t);
    return good;
}

/* --- the command ------------------------------------------------------------------------------------- */

static struct option options[] = {
    {"database", "URL", NULL, "sqlite:FILE, or mysql://… of an empty one; a fresh SQLite file when not given",
     NULL},
    {"beside", "URL", NULL,
     "a second database, measured in turn with the first; row locks compared with are then its", NULL},
    {"only", "SWEEP", NULL, "one of pools, clients, seats, nights, holds", NULL},
    {"rounds", "N", "3", "measurements of each, in turn", NULL},
    {"tenths", "N", "20", "tenths of a second for each measurement", NULL},
    {"quick", NULL, NULL, "one short point of each: does it work at all", NULL},
    {"out", "DIR", "build/bench", "where CSV and SVG are written", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* What holds cost, and how late they are given up. */
static bool run_holds(const struct database *d, const struct sizes *sizes)
{
    struct market_holds_result r;
    struct bench_table *t = mem_new(sizeof *t);
    static const char *const names[] = {"seats", "freed", "MB", "p50 ms late", "p99 ms late", "max ms late"};
    enum err e = market_holds(d->booking, sizes->quick ? 1 : 100, &r);
    char(*row)[BENCH_CELL_SIZE] = bench_row(t), name[64];
    bool done = e == ERR_OK && r.freed == r.seats;

    t->column_count = sizeof names / sizeof *names;
    for (size_t c = 0; c < t->column_count; c++)
        snprintf(row[c], BENCH_CELL_SIZE, "%s", names[c]);
    row = bench_row(t);
    snprintf(row[0], BENCH_CELL_SIZE, "%zu", r.seats);
    snprintf(row[1], BENCH_CELL_SIZE, "%zu", r.freed);
    snprintf(row[2], BENCH_CELL_SIZE, "%.0f", r.megabytes);
    snprintf(row[3], BENCH_CELL_SIZE, "%.0f", r.p50_ms);
    snprintf(row[4], BENCH_CELL_SIZE, "%.0f", r.p99_ms);
    snprintf(row[5], BENCH_CELL_SIZE, "%.0f", r.max_ms);
    printf("\n%s: a hall of holds, which end\n", d->name);
    bench_table_print(t);
    snprintf(name, sizeof name, "booking-%s-holds", d->name);
    done = bench_table_csv(t, sizes->out, name) && done;
    free(t);
    if (!done)
        fprintf(stderr, "matinee bench booking: holds over %s: %s\n", d->name, err_text(e));
    return done;
}

/* `folder` is for the server behind HTTP; over SQLite it has a file of its own, as two processes never share one. */
static bool open_database(struct database *d, const char *url, const char *folder)
{
    char why[256] = "";

    d->name = strncmp(url, "mysql:", 6) == 0 ? "mariadb" : "sqlite";
    if (db_open(&d->db, url, why) != ERR_OK || booking_open(&d->booking, d->db, why) != ERR_OK) {
        fprintf(stderr, "matinee bench booking: %s\n", why);
        return false;
    }
    return bench_house_open(&d->house, folder,
                            (const char *const[]){db_shared(d->db) ? "--database" : NULL, url, NULL});
}

static void close_database(struct database *d)
{
    bench_house_close(&d->house);
    booking_close(d->booking);
    db_close(d->db);
}

static int run(const char *const *urls, size_t count, const char *folder, const char *only,
               const struct sizes *sizes)
{
    struct database databases[DATABASE_MAX] = {{.house = {.pid = -1}}, {.house = {.pid = -1}}};
    char houses[DATABASE_MAX][64];
    bool done = true;

    for (size_t d = 0; d < count && done; d++) {
        snprintf(houses[d], sizeof houses[d], "%s/%zu", folder, d);
        done = mkdir(houses[d], 0700) == 0 && open_database(&databases[d], urls[d], houses[d]);
    }
    for (size_t i = 0; i < sizeof sweeps / sizeof *sweeps && done; i++)
        if (only == NULL || strcmp(only, sweeps[i].name) == 0)
            done = run_sweep(databases, count, &sweeps[i], sizes);
    for (size_t d = 0; d < count && done && (only == NULL || strcmp(only, "holds") == 0); d++)
        done = run_holds(&databases[d], sizes);
    for (size_t d = 0; d < count; d++)
        close_database(&databases[d]);
    return done ? 0 : 1;
}

/* In a folder that goes away with it; over a database of its own there unless one is given. */
static int run_in_folder(const char *given, const char *beside, const char *only, const struct sizes *sizes)
{
    char folder[] = "/tmp/matinee-bench-XXXXXX", url[64];
    int status;

    if (mkdtemp(folder) == NULL) {
        perror("matinee bench booking: /tmp");
        return 1;
    }
    snprintf(url, sizeof url, "sqlite:%s/db", folder);
    status = run((const char *const[]){given != NULL ? given : url, beside}, beside != NULL ? 2 : 1, folder,
                 only, sizes);
    bench_folder_remove(folder);
    return status;
}

int bench_booking(int argc, char **argv)
{
    struct sizes sizes = {.rounds = 1, .tenths = 2};
    char why[CONFIG_WHY_SIZE] = "";
    const char *url;
    int status = 2;

    log_set_level(LOG_WARN);
    if (config_read(options, NULL, &argc, argv, why) == ERR_OK && argc > 0)
        snprintf(why, sizeof why, "what is '%s'? See matinee bench --help", argv[0]);
    sizes.quick = config_text(options, "quick") != NULL;
    sizes.out = config_text(options, "out");
    url = config_text(options, "database");
    if (why[0] == '\0' && !sizes.quick &&
        (config_number(options, "rounds", 1, ROUNDS_MAX, &sizes.rounds, why) != ERR_OK ||
         config_number(options, "tenths", 1, 600, &sizes.tenths, why) != ERR_OK))
        status = 2;
    if (why[0] != '\0')
        fprintf(stderr, "matinee bench booking: %s\n", why);
    else
        status = run_in_folder(url, config_text(options, "beside"), config_text(options, "only"), &sizes);
    config_free(options);
    return status;
}
