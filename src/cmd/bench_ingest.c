/* cmd/bench_ingest.c - `matinee bench ingest`: what a publisher costs, beside nginx-rtmp on the same machine.
 *
 * In turns a fresh server of each kind gets the same publishers from one load generator (bench_load.c, a
 * process of its own on another core): live streams of 1 Mbit/s, sent in real time. Counted is the server's
 * CPU time and memory from the outside (/proc). matinee runs as anyone would run it, journal, segments and all;
 * nginx-rtmp forwards to nobody and keeps nothing, then records into files, then records and cuts HLS fragments
 * as we do, and never asks the disk whether it has them. */
#include "cmd/bench_int.h"
#include "cmd/bench_load_int.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"

#include <libavutil/log.h>
#include <stdio.h>
#include <stdlib.h>

/* Time for encoders' first keyframes and everybody's start-up costs to pass before counting begins. */
#define SETTLE_MS  4000
#define ROUNDS_MAX 50

enum kind { KIND_MATINEE, KIND_NGINX, KIND_NGINX_RECORDING, KIND_NGINX_HLS, KIND_COUNT };

static const char *const kind_names[] = {"matinee", "nginx-rtmp", "nginx-rtmp recording",
                                         "nginx-rtmp recording, HLS"};
static const enum nginx_keeps nginx_keeps[] = {[KIND_NGINX] = NGINX_NOTHING,
                                               [KIND_NGINX_RECORDING] = NGINX_RECORDING,
                                               [KIND_NGINX_HLS] = NGINX_RECORDING_HLS};

struct sizes {
    long publishers, seconds, rounds, chunk;
};

struct figures {
    double cpu_ms;    /* per stream-second */
    double kilobytes; /* PSS a publisher adds, whatever it is kept for */
    double beyond;    /* less the media of the live window */
    unsigned lost;    /* publishers whose connection broke */
};

/* One server, one load, one measurement. False: it could not be done, and was said. */
static bool measure(enum kind kind, const struct sizes *sizes, const struct load_script *script,
                    const char *dir, struct figures *out)
{
    struct bench_server server;
    struct load load;
    bool done = false;

    if (!(kind == KIND_MATINEE
              ? bench_server_matinee(&server, dir, (unsigned)sizes->publishers)
              : bench_server_nginx(&server, dir, (unsigned)sizes->publishers, nginx_keeps[kind])))
        return false;
    double idle_kb = bench_server_pss_kb(&server);

    if (!load_start(&load, script, server.urls, server.url_count))
        goto out;
    load_run(&load, SETTLE_MS);
    double before_ms = bench_server_cpu_ms(&server);
    int64_t began_ms = clock_mono_ms();

    load_run(&load, (int)sizes->seconds * 1000);
    double seconds = (double)(clock_mono_ms() - began_ms) / 1000;

    out->cpu_ms = (bench_server_cpu_ms(&server) - before_ms) / seconds / (double)sizes->publishers;
    out->kilobytes = (bench_server_pss_kb(&server) - idle_kb) / (double)sizes->publishers;
    double window_s =
        seconds + SETTLE_MS / 1000.0 < LOAD_WINDOW_S ? seconds + SETTLE_MS / 1000.0 : LOAD_WINDOW_S;

    out->beyond = kind == KIND_MATINEE ? out->kilobytes - window_s * LOAD_BITS / 8 / 1024 : out->kilobytes;
    out->lost = load_stop(&load);
    done = true;
out:
    bench_server_stop(&server);
    return done;
}

/* Appends a row of text cells; the last one is NULL. */
static void add_row(struct bench_table *t, const char *const *cells)
{
    char(*row)[BENCH_CELL_SIZE] = bench_row(t);

    for (size_t i = 0; row != NULL && cells[i] != NULL; i++)
        snprintf(row[i], BENCH_CELL_SIZE, "%s", cells[i]);
}

static void add_figures(struct bench_table *t, const char *name, const char *round, const struct figures *f)
{
    char cpu[32], memory[32], beyond[32];

    snprintf(cpu, sizeof cpu, "%.2f", f->cpu_ms);
    snprintf(memory, sizeof memory, "%.0f", f->kilobytes);
    snprintf(beyond, sizeof beyond, "%.0f", f->beyond);
    add_row(t, (const char *[]){name, round, cpu, memory, beyond, NULL});
}

static struct figures median_of(const struct figures *all, size_t rounds)
{
    double cpu[ROUNDS_MAX] = {0}, memory[ROUNDS_MAX] = {0}, beyond[ROUNDS_MAX] = {0};

    for (size_t r = 0; r < rounds; r++) {
        cpu[r] = all[r].cpu_ms;
        memory[r] = all[r].kilobytes;
        beyond[r] = all[r].beyond;
    }
    return (struct figures){bench_median(cpu, rounds), bench_median(memory, rounds),
                            bench_median(beyond, rounds), 0};
}

/* Prints the medians and writes every measurement. False: it could not be written, and was said. */
static bool report(struct figures all[KIND_COUNT][ROUNDS_MAX], const struct sizes *sizes, const char *out)
{
    static const char *const heading[] = {
        "server", "rounds", "CPU ms/stream-second", "KB/publisher", "beyond the window", NULL};
    static struct bench_table medians = {.column_count = 5}, every = {.column_count = 5};
    struct bench_bars bars = {.title = "RTMP ingest: CPU of the server per stream-second (less is better)",
                              .unit = "ms",
                              .group_count = 1,
                              .series_count = KIND_COUNT,
                              .groups = {"1 Mbit/s"}};
    char text[16];

    add_row(&medians, heading);
    add_row(&every, (const char *[]){"server", "round", "cpu_ms_per_stream_second", "kb_per_publisher",
                                     "kb_beyond_window", NULL});
    for (int k = 0; k < KIND_COUNT; k++) {
        struct figures middle = median_of(all[k], (size_t)sizes->rounds);

        for (int r = 0; r < sizes->rounds; r++) {
            snprintf(text, sizeof text, "%d", r + 1);
            add_figures(&every, kind_names[k], text, &all[k][r]);
        }
        snprintf(text, sizeof text, "%ld", sizes->rounds);
        add_figures(&medians, kind_names[k], text, &middle);
        bars.series[k] = kind_names[k];
        bars.values[0][k] = middle.cpu_ms;
    }
    putchar('\n');
    bench_table_print(&medians);
    printf(
        "\n%ld publishers of 1 Mbit/s in chunks of %ld, %ld s, medians of %ld rounds in turn; server and load "
        "each on one core\n",
        sizes->publishers, sizes->chunk, sizes->seconds, sizes->rounds);
    return bench_table_csv(&every, out, "ingest") && bench_bars_svg(&bars, out, "ingest");
}

static int run(const struct sizes *sizes, const char *dir, const char *out)
{
    static struct figures all[KIND_COUNT][ROUNDS_MAX];
    char why[SOURCE_WHY_SIZE] = "";
    struct load_script script;
    int status = 1;

    if (load_script_make(&script, why) != ERR_OK) {
        fprintf(stderr, "matinee bench ingest: %s\n", why);
        return 1;
    }
    script.chunk_size = (uint32_t)sizes->chunk;
    for (int r = 0; r < sizes->rounds; r++) {
        for (int k = 0; k < KIND_COUNT; k++) {
            if (!measure((enum kind)k, sizes, &script, dir, &all[k][r]))
                goto done;
            printf("round %d: %-26s %6.2f ms CPU per stream-second, %6.0f KB per publisher%s\n", r + 1,
                   kind_names[k], all[k][r].cpu_ms, all[k][r].kilobytes,
                   all[k][r].lost ? ", CONNECTIONS WERE LOST" : "");
            fflush(stdout);
        }
    }
    status = report(all, sizes, out) ? 0 : 1;
done:
    load_script_drop(&script);
    return status;
}

static struct option options[] = {
    {"publishers", "N", "50", "connections at once", NULL},
    {"seconds", "S", "20", "how long each measurement lasts", NULL},
    {"rounds", "N", "3", "measurements of each server, in turn", NULL},
    {"chunk", "BYTES", "4096", "the publishers' chunk size: OBS sends 4096, FFmpeg and librtmp 128", NULL},
    {"quick", NULL, NULL, "10 publishers, 5 seconds, one round: does it work at all", NULL},
    {"dir", "DIR", "/var/tmp", "where temporary data goes: on a real disk, or the journal is flattered",
     NULL},
    {"out", "DIR", "build/bench", "where ingest.csv and ingest.svg are written", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

int bench_ingest(int argc, char **argv)
{
    char why[CONFIG_WHY_SIZE] = "";
    struct sizes s = {10, 5, 1, 4096};
    int status = 2;

    av_log_set_level(AV_LOG_ERROR);
    log_set_level(LOG_WARN);
    if (config_read(options, NULL, &argc, argv, why) == ERR_OK && argc > 0)
        snprintf(why, sizeof why, "what is '%s'? See matinee bench --help", argv[0]);
    if (why[0] == '\0' && config_text(options, "quick") == NULL &&
        (config_number(options, "publishers", 1, 1000, &s.publishers, why) != ERR_OK ||
         config_number(options, "seconds", 1, 3600, &s.seconds, why) != ERR_OK ||
         config_number(options, "rounds", 1, ROUNDS_MAX, &s.rounds, why) != ERR_OK ||
         config_number(options, "chunk", 1, 65536, &s.chunk, why) != ERR_OK))
        status = 2;
    if (why[0] != '\0')
        fprintf(stderr, "matinee bench ingest: %s\n", why);
    else
        status = run(&s, config_text(options, "dir"), config_text(options, "out"));
    config_free(options);
    return status;
}
