/* cmd/bench_llhls.c - `matinee bench llhls`: low-latency HLS to many viewers.
 *
 * One publisher of 1 Mbit/s (bench_load.c), a server on the first core, and viewers that do what players do: each asks for what
 * is not there yet, waits, and when it has it asks for the next. First all wait on one playlist: counted is the server's CPU per
 * answer, its memory per waiting viewer, and how long after the frame that completes a part the last of them is answered. Then
 * fewer wait for the part itself.
 *
 * Which frame completes a part follows from its number: the publisher's pictures are all alike long, six to a part, and the next
 * picture says that the sixth has ended. */
#include "cmd/bench_int.h"
#include "cmd/bench_load_int.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/net.h"

#include <errno.h>
#include <jansson.h>
#include <libavutil/log.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PART_PICTURES    6   /* 200 ms at 30 a second */
#define SEGMENT_PICTURES 300 /* 10 s */
#define SEGMENT_PARTS    (SEGMENT_PICTURES / PART_PICTURES)
#define PICTURES_MAX     65536
#define FIRST_MS_MAX     25000
#define PATIENCE_MS      5000
#define EVENTS           512
#define ANSWER_BYTES     262144
#define SAMPLES_MAX      4000000

struct sizes {
    long waiting, viewers, seconds;
};

struct viewer {
    int fd;
    uint32_t part; /* that it waits for, counted from the video's beginning */
    size_t have;   /* of the answer, in bytes */
    size_t whole;  /* 0: the head is not there */
};

struct crowd {
    const struct bench_server *server;
    const struct load_script *script;
    char video[64];
    bool wants_part; /* the part itself, not the playlist */
    struct viewer *viewers;
    size_t count;
    int epoll;
    char *in;
    uint64_t answers;
    double *late_ms; /* of each answer, behind the frame that completed the part */
    size_t late_count;
    uint32_t round; /* the newest part that somebody has */
    int64_t round_first_us;
    double spread_ms; /* the longest from the first answer of a part to its last */
};

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench llhls: %s\n", what);
    return false;
}

/* --- asking ------------------------------------------------------------------------------------------ */

static bool ask(struct crowd *c, struct viewer *v)
{
    char text[512];
    unsigned segment = v->part / SEGMENT_PARTS, part = v->part % SEGMENT_PARTS;
    int size =
        c->wants_part
            ? snprintf(text, sizeof text, "GET /v/%s/source/%06u.%u.m4s HTTP/1.1\r\nHost: bench\r\n\r\n",
                       c->video, segment, part)
            : snprintf(text, sizeof text,
                       "GET /v/%s/source/playlist.m3u8?_HLS_msn=%u&_HLS_part=%u&_HLS_skip=YES HTTP/1.1\r\n"
                       "Host: bench\r\nAccept-Encoding: gzip\r\n\r\n",
                       c->video, segment, part);

    v->have = v->whole = 0;
    return send(v->fd, text, (size_t)size, MSG_NOSIGNAL) == size || failed("a request cannot be sent");
}

static void note(struct crowd *c, const struct viewer *v)
{
    size_t picture = (size_t)(v->part + 1) * PART_PICTURES;
    int64_t now = clock_mono_us();
    int64_t sent = picture < c->script->sent_room ? c->script->sent_us[picture] : 0;

    c->answers++;
    if (sent > 0 && c->late_count < SAMPLES_MAX)
        c->late_ms[c->late_count++] = (double)(now - sent) / 1000;
    if (v->part > c->round) {
        c->round = v->part;
        c->round_first_us = now;
    } else if (v->part == c->round && (double)(now - c->round_first_us) / 1000 > c->spread_ms) {
        c->spread_ms = (double)(now - c->round_first_us) / 1000;
    }
}

/* Reads what has come; when the answer is whole, asks for the next part. The head comes in one piece. */
static bool take(struct crowd *c, struct viewer *v)
{
    ssize_t size = recv(v->fd, c->in, ANSWER_BYTES - 1, MSG_DONTWAIT);

    if (size < 0 && errno == EAGAIN)
        return true;
    if (size <= 0)
        return failed("a connection ended");
    if (v->whole == 0) {
        c->in[size] = '\0';
        const char *end = strstr(c->in, "\r\n\r\n"), *length = strcasestr(c->in, "\r\ncontent-length:");

        if (strncmp(c->in, "HTTP/1.1 200 ", 13) != 0 || end == NULL || length == NULL)
            return failed("an answer is not what was asked for");
        v->whole = (size_t)(end + 4 - c->in) + strtoul(length + 17, NULL, 10);
    }
    v->have += (size_t)size;
    if (v->have < v->whole)
        return true;
    note(c, v);
    v->part++;
    return ask(c, v);
}

static bool watch(struct crowd *c, int64_t until_us)
{
    struct epoll_event events[EVENTS];

    while (clock_mono_us() < until_us) {
        int count = epoll_wait(c->epoll, events, EVENTS, PATIENCE_MS);

        if (count <= 0)
            return failed("the server does not answer");
        for (int i = 0; i < count; i++)
            if (!take(c, events[i].data.ptr))
                return false;
    }
    return true;
}

/* The part that comes next, as the server has it now: the number of its last report is one of ours. */
static bool find_next(const struct crowd *c, uint32_t *part)
{
    char *path = mem_printf("/v/%s/source/playlist.m3u8", c->video),
         *text = bench_server_get(c->server, path);
    const char *hint = text ? strstr(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"") : NULL;
    char *end = NULL;
    bool found = hint != NULL;

    if (found) {
        unsigned long segment = strtoul(hint + 35, &end, 10);

        *part = (uint32_t)(segment * SEGMENT_PARTS + strtoul(end + 1, NULL, 10));
    }
    free(text);
    free(path);
    return found || failed("the playlist has no hint");
}

static bool gather(struct crowd *c, size_t count)
{
    struct address at;
    uint32_t part;

    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    c->viewers = mem_new(count * sizeof *c->viewers);
    c->in = mem_new(ANSWER_BYTES);
    c->late_ms = mem_new(SAMPLES_MAX * sizeof *c->late_ms);
    for (size_t i = 0; i < count; i++)
        c->viewers[i].fd = -1;
    if (!address_parse(c->server->http, &at) || !find_next(c, &part))
        return false;
    part += 10; /* two seconds ahead: they all wait when it comes */
    for (; c->count < count; c->count++) {
        struct viewer *v = &c->viewers[c->count];
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = v};

        v->part = part;
        v->fd = socket(at.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (v->fd < 0 || connect(v->fd, (struct sockaddr *)&at.socket, at.size) != 0 ||
            epoll_ctl(c->epoll, EPOLL_CTL_ADD, v->fd, &e) != 0)
            return failed("a connection cannot be made: see ulimit -n");
        setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (!ask(c, v))
            return false;
    }
    return true;
}

static void disperse(struct crowd *c)
{
    for (size_t i = 0; i < c->count; i++)
        close(c->viewers[i].fd);
    if (c->epoll > 0)
        close(c->epoll);
    free(c->viewers);
    free(c->in);
    free(c->late_ms);
    *c = (struct crowd){.server = c->server, .script = c->script};
}

/* --- measuring --------------------------------------------------------------------------------------- */

struct figures {
    double cpu_us, bytes, p50_ms, p99_ms, max_ms, spread_ms;
    uint64_t answers;
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double part_of(const struct crowd *c, double part)
{
    return c->late_count > 0 ? c->late_ms[(size_t)((double)(c->late_count - 1) * part)] : 0;
}

/* CPU that the publisher costs is counted too; it is a thousandth of a core. */
static bool measure(struct crowd *c, size_t count, bool wants_part, long seconds, struct figures *out)
{
    double idle_kb = bench_server_pss_kb(c->server);

    c->wants_part = wants_part;
    if (!gather(c, count))
        return false;
    poll(NULL, 0, 300); /* every question has been read */
    out->bytes = (bench_server_pss_kb(c->server) - idle_kb) * 1024 / (double)count;
    if (!watch(c, clock_mono_us() + 3000000)) /* the first answers, and start-up costs */
        return false;
    c->answers = c->late_count = 0;
    c->spread_ms = 0;
    double before_ms = bench_server_cpu_ms(c->server);

    if (!watch(c, clock_mono_us() + seconds * 1000000))
        return false;
    out->cpu_us = (bench_server_cpu_ms(c->server) - before_ms) * 1000 / (double)c->answers;
    out->answers = c->answers;
    qsort(c->late_ms, c->late_count, sizeof *c->late_ms, by_size);
    out->p50_ms = part_of(c, .5);
    out->p99_ms = part_of(c, .99);
    out->max_ms = part_of(c, 1);
    out->spread_ms = c->spread_ms;
    disperse(c);
    return true;
}

static void add(struct bench_table *t, const char *what, size_t count, const struct figures *f)
{
    bench_add_row(t, (const char *[]){what, bench_number((double)count, 0), bench_number(f->cpu_us, 1),
                                      bench_number(f->bytes, 0), bench_number(f->p50_ms, 1),
                                      bench_number(f->p99_ms, 1), bench_number(f->max_ms, 1),
                                      bench_number(f->spread_ms, 1), NULL});
}

static bool find_video(struct crowd *c)
{
    int64_t until_ms = clock_mono_ms() + FIRST_MS_MAX;

    do { /* the first segment has no parts, and there is nothing to play before its end */
        char *answer = bench_server_get(c->server, "/api/v1/videos");
        json_t *json = answer ? json_loads(answer, 0, NULL) : NULL;
        const json_t *video = json_array_get(json_object_get(json, "items"), 0);
        const char *id = json_string_value(json_object_get(video, "id"));
        bool done = id != NULL && json_integer_value(json_object_get(video, "segments")) > 0;

        if (done)
            snprintf(c->video, sizeof c->video, "%s", id);
        json_decref(json);
        free(answer);
        if (done)
            return true;
        poll(NULL, 0, 200);
    } while (clock_mono_ms() < until_ms);
    return failed("no segment came");
}

static int run(const struct sizes *s, const char *dir, const char *out)
{
    static struct bench_table table = {.column_count = 8};
    struct bench_bars bars = {.title = "From the last byte of a frame to the part (less is better)",
                              .unit = "ms",
                              .group_count = 2,
                              .series_count = 2,
                              .groups = {"playlist", "part"},
                              .series = {"p50", "p99"}};
    struct load_script script = {0};
    struct bench_server server;
    struct load load;
    struct crowd crowd = {.server = &server, .script = &script};
    struct figures playlist, part;
    char why[SOURCE_WHY_SIZE] = "";
    int status = 1;

    if (load_script_make(&script, why) != ERR_OK) {
        failed(why);
        return 1;
    }
    script.chunk_size = 4096;
    script.sent_room = PICTURES_MAX;
    script.sent_us = mmap(NULL, PICTURES_MAX * sizeof *script.sent_us, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (script.sent_us == MAP_FAILED || !bench_server_matinee(&server, dir, 1))
        goto drop;
    if (!load_start(&load, &script, server.urls, 1))
        goto stop;
    if (find_video(&crowd) && measure(&crowd, (size_t)s->waiting, false, s->seconds, &playlist) &&
        find_video(&crowd) && measure(&crowd, (size_t)s->viewers, true, s->seconds, &part)) {
        bench_add_row(&table, (const char *[]){"what", "viewers", "CPU us/answer", "bytes/viewer", "p50 ms",
                                               "p99 ms", "max ms", "first to last ms", NULL});
        add(&table, "wait on a playlist", (size_t)s->waiting, &playlist);
        add(&table, "wait for a part", (size_t)s->viewers, &part);
        bars.values[0][0] = playlist.p50_ms;
        bars.values[0][1] = playlist.p99_ms;
        bars.values[1][0] = part.p50_ms;
        bars.values[1][1] = part.p99_ms;
        bench_table_print(&table);
        printf(
            "\n%llu and %llu answers in %ld s each; times count from the sending of the frame that completes a part; one "
            "publisher of 1 Mbit/s, the server on one core, the viewers and the publisher on the other\n",
            (unsigned long long)playlist.answers, (unsigned long long)part.answers, s->seconds);
        status = bench_table_csv(&table, out, "llhls") && bench_bars_svg(&bars, out, "llhls") ? 0 : 1;
    }
    disperse(&crowd);
    load_stop(&load);
stop:
    bench_server_stop(&server);
drop:
    load_script_drop(&script);
    return status;
}

static struct option options[] = {
    {"waiting", "N", "5000", "viewers that wait on one playlist", NULL},
    {"viewers", "N", "200", "viewers that wait for the part itself", NULL},
    {"seconds", "S", "15", "how long each measurement lasts", NULL},
    {"quick", NULL, NULL, "few viewers, 3 seconds: does it work at all", NULL},
    {"dir", "DIR", "/var/tmp", "where temporary data goes: on a real disk, or the journal is flattered",
     NULL},
    {"out", "DIR", "build/bench", "where llhls.csv and llhls.svg are written", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Room for all sockets, and not the server's core. */
static void prepare(void)
{
    struct rlimit files;
    cpu_set_t cores;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) < 2)
        return;
    CPU_CLR(0, &cores);
    sched_setaffinity(0, sizeof cores, &cores);
}

int bench_llhls(int argc, char **argv)
{
    char why[CONFIG_WHY_SIZE] = "";
    struct sizes s = {100, 20, 3};
    int status = 2;

    av_log_set_level(AV_LOG_ERROR);
    log_set_level(LOG_WARN);
    if (config_read(options, NULL, &argc, argv, why) == ERR_OK && argc > 0)
        snprintf(why, sizeof why, "what is '%s'? See matinee bench --help", argv[0]);
    if (why[0] == '\0' && config_text(options, "quick") == NULL &&
        (config_number(options, "waiting", 1, 20000, &s.waiting, why) != ERR_OK ||
         config_number(options, "viewers", 1, 20000, &s.viewers, why) != ERR_OK ||
         config_number(options, "seconds", 1, 600, &s.seconds, why) != ERR_OK))
        status = 2;
    if (why[0] != '\0') {
        failed(why);
    } else {
        prepare();
        status = run(&s, config_text(options, "dir"), config_text(options, "out"));
    }
    config_free(options);
    return status;
}
