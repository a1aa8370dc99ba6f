/* cmd/bench_webrtc.c - `matinee bench webrtc`: one live video to many WebRTC viewers.
 *
 * The server is a process on the first core, with a publisher of 1 Mbit/s and its own companion that makes Opus; all of them but the
 * publisher count. The viewers are in this process on the other cores: real checks, handshakes and sockets. Over loopback the server's
 * CPU does the receiving half of the kernel's work too. */
#include "cmd/bench_int.h"
#include "cmd/bench_load_int.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "webrtc/webrtc.h"

#include <jansson.h>
#include <libavutil/log.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define SETTLE_MS  3000
#define CHUNK_SIZE 4096 /* OBS's */
/* Handshakes are over, and their SSL objects let go (DTLS_LINGER_MS). */
#define CALM_MS            7000
#define VIEWERS_MAX        2000
#define BUCKETS_MAX        16
#define ALONE_MS           8000
#define ALONE_PICTURES_MAX 1024
#define SENT_MAX           4096 /* pictures whose sending is noted */
#define METRIC_TITLE       "matinee_webrtc_added_microseconds_bucket{track=\"video\",le=\""

struct sizes {
    long viewers, seconds;
    bool quick;
};

struct result {
    double packets_s, packets_cpu_s, cpu_share, kilobytes, added_p50_ms, added_p99_ms, first_p50_ms,
        first_p95_ms, alone_p50_ms, alone_p99_ms;
    uint64_t lost;
};

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench webrtc: %s\n", what);
    return false;
}

/* --- asking the server ----------------------------------------------------------------------------------- */

/* The path of the newest video's WHEP; to be freed. NULL: none within 20 s. */
static char *whep_path(const struct bench_server *s, const struct load *load)
{
    char *path = NULL;

    for (int i = 0; i < 100 && path == NULL; i++) {
        char *text = bench_server_ask(s->http, "GET", "/api/v1/videos", "application/json", bytes_of("", 0));
        json_t *json = text ? json_loads(text, 0, NULL) : NULL;
        const char *id =
            json_string_value(json_object_get(json_array_get(json_object_get(json, "items"), 0), "id"));

        if (id != NULL)
            path = mem_printf("/v/%s/whep", id);
        else
            load_run(load, 200);
        json_decref(json);
        free(text);
    }
    return path;
}

struct buckets {
    double bound_us[BUCKETS_MAX], count[BUCKETS_MAX]; /* cumulative; the last is everything */
    size_t size;
};

static void read_buckets(const struct bench_server *s, struct buckets *out)
{
    char *text = bench_server_ask(s->http, "GET", "/metrics", "text/plain", bytes_of("", 0));

    out->size = 0;
    for (const char *at = text;
         at != NULL && (at = strstr(at, METRIC_TITLE)) != NULL && out->size < BUCKETS_MAX;) {
        char *end;

        at += sizeof METRIC_TITLE - 1;
        out->bound_us[out->size] = strtod(at, &end);
        at = strstr(at, "} ");
        if (at == NULL)
            break;
        out->count[out->size++] = strtod(at + 2, NULL);
    }
    free(text);
}

/* The bound of the bucket in which this share of what came between the two lies, in ms. */
static double percentile_ms(const struct buckets *before, const struct buckets *after, double share)
{
    size_t last = after->size ? after->size - 1 : 0;
    double all = after->size && after->size == before->size ? after->count[last] - before->count[last] : 0;

    for (size_t i = 0; all > 0 && i < after->size; i++)
        if (after->count[i] - before->count[i] >= all * share)
            return after->bound_us[i] / 1000;
    return 0;
}

/* --- from the publisher to one viewer ------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Both count in the same clock; a picture comes before the next is sent, or it is held to be that one, and late by a picture less. */
static size_t ages(const struct load_script *script, const int64_t *whole_us, size_t count, double *ms)
{
    size_t sent = 0, known = 0;

    for (size_t i = 0; i < count; i++) {
        while (sent + 1 < script->sent_room && script->sent_us[sent + 1] != 0 &&
               script->sent_us[sent + 1] <= whole_us[i])
            sent++;
        if (script->sent_us[sent] != 0 && script->sent_us[sent] <= whole_us[i])
            ms[known++] = (double)(whole_us[i] - script->sent_us[sent]) / 1000;
    }
    return known;
}

/* With the first viewer alone in the house. */
static bool watch_alone(const struct load_script *script, struct crowd *c, bool quick, struct result *out)
{
    int64_t *whole_us = mem_new(ALONE_PICTURES_MAX * sizeof *whole_us);
    double *ms = mem_new(ALONE_PICTURES_MAX * sizeof *ms);
    struct crowd_count seen;
    size_t count;

    crowd_watch(c, 0, whole_us, ALONE_PICTURES_MAX);
    crowd_run(c, quick ? 1000 : ALONE_MS);
    crowd_counted(c, 0, &seen);
    crowd_watch(c, 0, NULL, 0);
    count = ages(script, whole_us, seen.pictures, ms);
    if (count > 0) {
        qsort(ms, count, sizeof *ms, by_value);
        out->alone_p50_ms = ms[count / 2];
        out->alone_p99_ms = ms[count * 99 / 100];
    }
    free(whole_us);
    free(ms);
    return count > 0 || failed("the only viewer got no picture");
}

/* --- the viewers ------------------------------------------------------------------------------------------ */

/* The first viewer's price is that of the feed, its ring and its companion: memory is measured behind him. */
static bool seat(const struct bench_server *s, const char *path, struct crowd *c, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        struct buffer *offer = crowd_offer(c, i);
        char *answer = bench_server_ask(s->http, "POST", path, "application/sdp", buffer_bytes(offer));
        bool good = answer != NULL && crowd_answer(c, i, answer);

        buffer_unref(offer);
        free(answer);
        if (!good)
            return failed("the server gave no answer that a viewer can use");
        crowd_run(c, i > 0 ? 10 : SETTLE_MS);
    }
    return true;
}

static void count_all(const struct crowd *c, size_t count, struct crowd_count *sum, double *first_ms,
                      size_t *playing)
{
    *sum = (struct crowd_count){0};
    *playing = 0;
    for (size_t i = 0; i < count; i++) {
        struct crowd_count one;

        crowd_counted(c, i, &one);
        sum->packets += one.packets;
        sum->lost += one.lost;
        if (one.first_us >= 0)
            first_ms[(*playing)++] = (double)one.first_us / 1000;
    }
}

static bool watch(const struct bench_server *s, const struct load_script *script, const char *path,
                  const struct sizes *z, struct result *out)
{
    size_t count = (size_t)z->viewers, playing;
    struct crowd *c = crowd_new(count);
    double *first_ms = mem_new(count * sizeof *first_ms), idle_kb = 0;
    struct crowd_count before, after;
    struct buckets added_before, added_after;
    bool good = c != NULL && seat(s, path, c, 0, 1) && watch_alone(script, c, z->quick, out);

    if (good) {
        idle_kb = bench_server_pss_kb(s);
        good = seat(s, path, c, 1, count);
    }
    if (good) {
        crowd_run(c, CALM_MS);
        out->kilobytes = (bench_server_pss_kb(s) - idle_kb) / (double)(count > 1 ? count - 1 : 1);
        count_all(c, count, &before, first_ms, &playing);
        read_buckets(s, &added_before);
        double cpu_ms = bench_server_cpu_ms(s);
        int64_t began_ms = clock_mono_ms();

        crowd_run(c, z->seconds * 1000);
        double ms = (double)(clock_mono_ms() - began_ms);

        cpu_ms = bench_server_cpu_ms(s) - cpu_ms;
        read_buckets(s, &added_after);
        count_all(c, count, &after, first_ms, &playing);
        out->packets_s = (double)(after.packets - before.packets) / ms * 1000;
        out->packets_cpu_s = (double)(after.packets - before.packets) / (cpu_ms > 0 ? cpu_ms : 1) * 1000;
        out->cpu_share = cpu_ms / ms;
        out->lost = after.lost;
        out->added_p50_ms = percentile_ms(&added_before, &added_after, 0.5);
        out->added_p99_ms = percentile_ms(&added_before, &added_after, 0.99);
        qsort(first_ms, playing, sizeof *first_ms, by_value);
        out->first_p50_ms = playing ? first_ms[playing / 2] : 0;
        out->first_p95_ms = playing ? first_ms[playing * 95 / 100] : 0;
        good = playing == count || failed("not every viewer got a picture");
    }
    crowd_free(c);
    free(first_ms);
    return good;
}

/* --- the whole --------------------------------------------------------------------------------------------- */

static bool measure(const struct load_script *script, const char *dir, const struct sizes *z,
                    struct result *out)
{
    struct bench_server server;
    struct load load;
    char *path = NULL;
    bool good = bench_server_matinee(&server, dir, 1), loaded = false;

    if (good && (loaded = load_start(&load, script, server.urls, server.url_count))) {
        load_run(&load, SETTLE_MS);
        path = whep_path(&server, &load);
        good = path != NULL ? watch(&server, script, path, z, out) : failed("no video began");
        if (load_stop(&load) > 0)
            good = failed("the publisher's connection broke");
    }
    free(path);
    bench_server_stop(&server);
    return good && loaded;
}

static bool run_all(const struct sizes *z, const char *dir, const char *out)
{
    static struct bench_table t;
    struct load_script script;
    char why[SOURCE_WHY_SIZE];
    struct result r = {0};
    bool good;

    if (load_script_make(&script, why) != ERR_OK)
        return failed(why);
    script.chunk_size = CHUNK_SIZE;
    script.sent_room = SENT_MAX;
    script.sent_us = mmap(NULL, SENT_MAX * sizeof *script.sent_us, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    good = script.sent_us != MAP_FAILED && measure(&script, dir, z, &r);
    if (script.sent_us != MAP_FAILED)
        munmap(script.sent_us, SENT_MAX * sizeof *script.sent_us);
    load_script_drop(&script);
    if (!good)
        return false;
    t.column_count = 3;
    bench_add_row(&t, (const char *const[]){"one stream of 1 Mbit/s and Opus", "measured", "target", NULL});
    bench_add_row(&t, (const char *const[]){"one viewer alone: RTMP to WebRTC p50, ms",
                                            bench_number(r.alone_p50_ms, 2), "1", NULL});
    bench_add_row(&t, (const char *const[]){"one viewer alone: RTMP to WebRTC p99, ms",
                                            bench_number(r.alone_p99_ms, 2), "", NULL});
    bench_add_row(&t, (const char *const[]){"viewers", bench_number((double)z->viewers, 0), "", NULL});
    bench_add_row(&t, (const char *const[]){"packets a second", bench_number(r.packets_s, 0), "", NULL});
    bench_add_row(&t, (const char *const[]){"packets per CPU-second", bench_number(r.packets_cpu_s, 0),
                                            "250000", NULL});
    bench_add_row(&t, (const char *const[]){"cores in use", bench_number(r.cpu_share, 2), "", NULL});
    bench_add_row(&t, (const char *const[]){"packets lost", bench_number((double)r.lost, 0), "0", NULL});
    bench_add_row(&t, (const char *const[]){"added latency p50, ms, at most", bench_number(r.added_p50_ms, 2),
                                            "", NULL});
    bench_add_row(&t, (const char *const[]){"added latency p99, ms, at most", bench_number(r.added_p99_ms, 2),
                                            "5", NULL});
    bench_add_row(&t,
                  (const char *const[]){"memory per viewer, KB", bench_number(r.kilobytes, 1), "40", NULL});
    bench_add_row(&t, (const char *const[]){"first picture after POST p50, ms",
                                            bench_number(r.first_p50_ms, 0), "300", NULL});
    bench_add_row(&t, (const char *const[]){"first picture after POST p95, ms",
                                            bench_number(r.first_p95_ms, 0), "", NULL});
    bench_table_print(&t);
    puts(
        "\nRTMP to WebRTC: from before the publisher writes a picture to the socket until its last packet is read by the viewer"
        "\nlatency: from a picture's last byte read to its last packet given to the kernel, over all viewers; by buckets");
    return bench_table_csv(&t, out, "webrtc");
}

/* The viewers do not share the server's core. */
static void to_other_cores(void)
{
    cpu_set_t cores;

    if (sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) < 2)
        return;
    CPU_CLR(0, &cores);
    sched_setaffinity(0, sizeof cores, &cores);
}

static struct option options[] = {
    {"viewers", "N", "200", "WebRTC viewers of the one stream", NULL},
    {"seconds", "S", "10", "how long is measured", NULL},
    {"quick", NULL, NULL, "ten viewers for two seconds: does it work at all", NULL},
    {"dir", "DIR", "/tmp", "where the server's folder is made", NULL},
    {"out", "DIR", "build/bench", "where webrtc.csv is written", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

int bench_webrtc(int argc, char **argv)
{
    struct sizes z = {0};
    struct rlimit files;
    char why[CONFIG_WHY_SIZE] = "";
    int status = 2;

    log_set_level(LOG_WARN);
    av_log_set_level(AV_LOG_ERROR);
    if (config_read(options, NULL, &argc, argv, why) == ERR_OK && argc > 0)
        snprintf(why, sizeof why, "what is '%s'? See matinee bench --help", argv[0]);
    if (why[0] == '\0' && config_number(options, "viewers", 1, VIEWERS_MAX, &z.viewers, why) == ERR_OK &&
        config_number(options, "seconds", 1, 600, &z.seconds, why) == ERR_OK) {
        z.quick = config_text(options, "quick") != NULL;
        z.viewers = z.quick ? 10 : z.viewers;
        z.seconds = z.quick ? 2 : z.seconds;
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
            files.rlim_cur = files.rlim_max;
            setrlimit(RLIMIT_NOFILE, &files);
        }
        to_other_cores();
        status = run_all(&z, config_text(options, "dir"), config_text(options, "out")) ? 0 : 1;
    }
    if (why[0] != '\0')
        fprintf(stderr, "matinee bench webrtc: %s\n", why);
    config_free(options);
    return status;
}
