/* cmd/bench_http.c - `matinee bench http`: what answering costs, beside nginx on the same machine.
 *
 * Both servers run all the time, each one process on the first core; the client (bench_http_client.c) asks
 * them in turns from another core. Counted is the server's time on the CPU, from the outside, so that a slow
 * or busy machine changes the ratio little. */
#include "cmd/bench_http_int.h"
#include "cmd/bench_int.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROUNDS_MAX 50
#define HELD_MAX   9000

enum kind { OURS, NGINX, KIND_COUNT };

static const char *const kind_names[] = {"matinee", "nginx"};

struct load {
    const char *name, *path;
    size_t body_bytes;
    unsigned connections, requests, quick_requests;
    double target; /* of the ratio */
};

static const struct load loads[] = {
    {"500-byte reply", "/small", SMALL_BYTES, 64, 60000, 3000, 1.5},
    {"playlist of an hour", "/playlist", PLAYLIST_BYTES, 64, 30000, 2000, 1.5},
    {"4 MB segment", "/segment", SEGMENT_BYTES, 8, 400, 40, 1.0},
};

#define LOAD_COUNT (sizeof loads / sizeof *loads)

struct setup {
    bool quick;
    long rounds, held;
    const char *out;
    struct web_server servers[KIND_COUNT];
};

static struct bench_table csv;

static void note(const char *what, const char *server, long round, double value, const char *unit)
{
    char(*row)[BENCH_CELL_SIZE] = bench_row(&csv);

    if (row == NULL)
        return;
    snprintf(row[0], BENCH_CELL_SIZE, "%s", what);
    snprintf(row[1], BENCH_CELL_SIZE, "%s", server);
    snprintf(row[2], BENCH_CELL_SIZE, "%ld", round);
    snprintf(row[3], BENCH_CELL_SIZE, "%.1f", value);
    snprintf(row[4], BENCH_CELL_SIZE, "%s", unit);
}

/* --- requests per CPU-second -------------------------------------------------------------------------------- */

static bool measure(const struct setup *s, const struct load *l, enum kind kind, double *per_cpu_s)
{
    unsigned requests = s->quick ? l->quick_requests : l->requests;
    double before = bench_cpu_us(s->servers[kind].pid);

    if (!web_ask(&s->servers[kind].at, l->path, l->body_bytes, l->connections, requests))
        return false;
    *per_cpu_s = requests * 1e6 / (bench_cpu_us(s->servers[kind].pid) - before);
    return true;
}

/* In turns, so that what else the machine does falls on both alike. */
static bool measure_load(const struct setup *s, const struct load *l, struct bench_table *t,
                         struct bench_bars *bars)
{
    double all[KIND_COUNT][ROUNDS_MAX], ratios[ROUNDS_MAX];
    size_t rounds = (size_t)s->rounds;

    for (size_t r = 0; r < rounds; r++) {
        for (int k = 0; k < KIND_COUNT; k++) {
            if (!measure(s, l, (enum kind)k, &all[k][r]))
                return false;
            note(l->name, kind_names[k], (long)r + 1, all[k][r], "requests per CPU-second");
        }
        ratios[r] = all[OURS][r] / all[NGINX][r];
    }
    char(*row)[BENCH_CELL_SIZE] = bench_row(t);
    double ratio = bench_median(ratios, rounds);

    snprintf(row[0], BENCH_CELL_SIZE, "%s", l->name);
    for (int k = 0; k < KIND_COUNT; k++) {
        double middle = bench_median(all[k], rounds);

        snprintf(row[1 + k], BENCH_CELL_SIZE, "%.0f", middle);
        bars->values[bars->group_count][k] = middle;
    }
    snprintf(row[3], BENCH_CELL_SIZE, "%.2f", ratio);
    snprintf(row[4], BENCH_CELL_SIZE, "%.1f", l->target);
    bars->groups[bars->group_count++] = l->name;
    return true;
}

/* --- memory per connection ------------------------------------------------------------------------------------ */

/* What connections that have asked for `path` cost in memory, each, in bytes; of a fresh server, whose heap
 * has held nothing yet. What nginx reserves for connections at its start is not seen here. */
static bool measure_held(const struct setup *s, enum kind kind, const char *path, size_t body_bytes,
                         double *each)
{
    int *fds = mem_new((size_t)s->held * sizeof *fds);
    struct web_server server;
    bool good = kind == OURS ? web_server_ours(&server) : web_server_nginx(&server);
    double before = bench_anonymous_kb(server.pid);

    for (long i = 0; i < s->held; i++)
        fds[i] = -1;
    good = good && web_hold(&server.at, path, body_bytes, fds, (unsigned)s->held);
    if (body_bytes == 0 && good) /* nothing is answered; a later question is, when all before it were read */
        good = web_ask(&server.at, "/small", SMALL_BYTES, 1, 1);
    *each = (bench_anonymous_kb(server.pid) - before) * 1024 / (double)s->held;
    for (long i = 0; i < s->held; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(fds);
    web_server_stop(&server);
    return good;
}

static bool measure_memory(const struct setup *s, struct bench_table *t)
{
    static const struct {
        const char *name, *path;
        size_t body_bytes;
        enum kind kind;
    } cases[] = {
        {"idle connection", "/small", SMALL_BYTES, OURS},
        {"idle connection", "/small", SMALL_BYTES, NGINX},
        {"suspended exchange, all", "/wait", 0, OURS},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char(*row)[BENCH_CELL_SIZE] = bench_row(t);
        double each;

        if (!measure_held(s, cases[i].kind, cases[i].path, cases[i].body_bytes, &each))
            return false;
        snprintf(row[0], BENCH_CELL_SIZE, "%s", cases[i].name);
        snprintf(row[1], BENCH_CELL_SIZE, "%s", kind_names[cases[i].kind]);
        snprintf(row[2], BENCH_CELL_SIZE, "%.0f", each);
        note(cases[i].name, kind_names[cases[i].kind], 1, each, "bytes each");
    }
    return true;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void heading(struct bench_table *t, const char *const *words)
{
    char(*row)[BENCH_CELL_SIZE] = bench_row(t);

    for (; *words != NULL; words++)
        snprintf(row[t->column_count++], BENCH_CELL_SIZE, "%s", *words);
}

static bool measure_all(struct setup *s)
{
    static struct bench_table speed, memory;
    struct bench_bars bars = {.title = "Requests per CPU-second of the server",
                              .unit = "",
                              .series_count = KIND_COUNT,
                              .series = {kind_names[OURS], kind_names[NGINX]}};

    heading(&csv, (const char *const[]){"what", "server", "round", "value", "unit", NULL});
    heading(&speed,
            (const char *const[]){"requests per CPU-second", "matinee", "nginx", "ratio", "target", NULL});
    heading(&memory, (const char *const[]){"memory each, bytes", "server", "bytes", NULL});
    if (!measure_memory(s, &memory))
        return false;
    for (size_t i = 0; i < LOAD_COUNT; i++)
        if (!measure_load(s, &loads[i], &speed, &bars))
            return false;
    bench_table_print(&speed);
    putchar('\n');
    bench_table_print(&memory);
    printf(
        "\nmedians of %ld rounds in turn, ratios by round; %ld connections held; one process each on one core, the "
        "client on another\n",
        s->rounds, s->held);
    return bench_table_csv(&csv, s->out, "http") && bench_bars_svg(&bars, s->out, "http");
}

/* The client does not share its core with the servers. */
static void to_other_cores(void)
{
    cpu_set_t cores;

    if (sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) < 2)
        return;
    CPU_CLR(0, &cores);
    sched_setaffinity(0, sizeof cores, &cores);
}

static int run(struct setup *s)
{
    struct rlimit files = {HELD_MAX + 1000, HELD_MAX + 1000};
    bool done = false;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    s->servers[NGINX] = (struct web_server){.pid = -1, .stop = -1};
    if (web_server_ours(&s->servers[OURS]) && web_server_nginx(&s->servers[NGINX])) {
        to_other_cores();
        done = measure_all(s);
    }
    for (int k = 0; k < KIND_COUNT; k++)
        web_server_stop(&s->servers[k]);
    return done ? 0 : 1;
}

static struct option options[] = {
    {"rounds", "N", "7", "measurements of each server, in turn", NULL},
    {"held", "N", "5000", "connections held open to see what they cost", NULL},
    {"quick", NULL, NULL, "one round of few requests: does it work at all", NULL},
    {"out", "DIR", "build/bench", "where http.csv and http.svg are written", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

int bench_http(int argc, char **argv)
{
    struct setup s = {.rounds = 1, .held = 500};
    char why[CONFIG_WHY_SIZE] = "";
    int status = 2;

    log_set_level(LOG_WARN);
    if (config_read(options, NULL, &argc, argv, why) == ERR_OK && argc > 0)
        snprintf(why, sizeof why, "what is '%s'? See matinee bench --help", argv[0]);
    s.quick = config_text(options, "quick") != NULL;
    s.out = config_text(options, "out");
    if (why[0] == '\0' && !s.quick &&
        (config_number(options, "rounds", 1, ROUNDS_MAX, &s.rounds, why) != ERR_OK ||
         config_number(options, "held", 1, HELD_MAX, &s.held, why) != ERR_OK))
        status = 2;
    if (why[0] != '\0')
        fprintf(stderr, "matinee bench http: %s\n", why);
    else
        status = run(&s);
    config_free(options);
    return status;
}
