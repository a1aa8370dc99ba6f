/* cmd/bench_ingest.c - `matinee bench ingest`: what a publisher costs, beside nginx-rtmp on the same machine.
 *
 * In turns a fresh server of each kind gets the same publishers from one load generator (bench_load.c, a
 * process of its own on another core): live streams of 1 Mbit/s, sent in real time. Counted is the server's
 * CPU time and memory from the outside (/proc). matinee runs as anyone would run it, journal and all;
 * nginx-rtmp once forwards to nobody and records nothing, and once records into files, without ever asking
 * the disk whether it has them. */
#include "cmd/bench_load_int.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"

#include <libavutil/log.h>
#include <stdio.h>
#include <stdlib.h>

/* Time for encoders' first keyframes and everybody's start-up costs to pass before counting begins. */
#define SETTLE_MS  2000
#define ROUNDS_MAX 50

enum kind { KIND_MATINEE, KIND_NGINX, KIND_NGINX_RECORDING, KIND_COUNT };

static const char *const kind_names[] = {"matinee", "nginx-rtmp", "nginx-rtmp, recording"};

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
              : bench_server_nginx(&server, dir, (unsigned)sizes->publishers, kind == KIND_NGINX_RECORDING)))
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

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void report(struct figures all[KIND_COUNT][ROUNDS_MAX], const struct sizes *sizes)
{
    size_t rounds = (size_t)sizes->rounds;

    printf("\n%-22s %24s %16s %16s %22s\n", "server", "CPU ms/stream-second", "lowest", "KB/publisher",
           "KB beyond the window");
    for (int k = 0; k < KIND_COUNT; k++) {
        double cpu[ROUNDS_MAX] = {0}, memory[ROUNDS_MAX] = {0}, beyond[ROUNDS_MAX] = {0};

        for (size_t r = 0; r < rounds; r++) {
            cpu[r] = all[k][r].cpu_ms;
            memory[r] = all[k][r].kilobytes;
            beyond[r] = all[k][r].beyond;
        }
        double middle = median(cpu, rounds);

        printf("%-22s %24.2f %16.2f %16.0f %22.0f\n", kind_names[k], middle, cpu[0], median(memory, rounds),
               median(beyond, rounds));
    }
    printf(
        "\n%ld publishers of 1 Mbit/s in chunks of %ld, %ld s, medians of %ld rounds in turn; server and load "
        "each on one core\n",
        sizes->publishers, sizes->chunk, sizes->seconds, sizes->rounds);
}

static bool write_csv(const char *file, struct figures all[KIND_COUNT][ROUNDS_MAX], const struct sizes *sizes)
{
    FILE *f = fopen(file, "w");

    if (f == NULL) {
        fprintf(stderr, "matinee bench ingest: --csv %s cannot be written\n", file);
        return false;
    }
    fputs("server,round,publishers,seconds,cpu_ms_per_stream_second,kb_per_publisher,kb_beyond_window,lost\n",
          f);
    for (int k = 0; k < KIND_COUNT; k++)
        for (int r = 0; r < sizes->rounds; r++)
            fprintf(f, "\"%s\",%d,%ld,%ld,%.3f,%.0f,%.0f,%u\n", kind_names[k], r + 1, sizes->publishers,
                    sizes->seconds, all[k][r].cpu_ms, all[k][r].kilobytes, all[k][r].beyond, all[k][r].lost);
    return fclose(f) == 0;
}

static int run(const struct sizes *sizes, const char *dir, const char *csv)
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
                goto out;
            printf("round %d: %-21s %6.2f ms CPU per stream-second, %6.0f KB per publisher%s\n", r + 1,
                   kind_names[k], all[k][r].cpu_ms, all[k][r].kilobytes,
                   all[k][r].lost ? ", CONNECTIONS WERE LOST" : "");
            fflush(stdout);
        }
    }
    report(all, sizes);
    status = csv == NULL || write_csv(csv, all, sizes) ? 0 : 1;
out:
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
    {"csv", "FILE", NULL, "write every measurement there", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

int bench_ingest(int argc, char **argv)
{
    char why[CONFIG_WHY_SIZE] = "";
    struct sizes s = {10, 5, 1, 4096};
    int status = 2;

    av_log_set_level(AV_LOG_ERROR);
    log_set_level(LOG_WARN);
    if (config_read(options, false, &argc, argv, why) == ERR_OK && argc > 0)
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
        status = run(&s, config_text(options, "dir"), config_text(options, "csv"));
    config_free(options);
    return status;
}
