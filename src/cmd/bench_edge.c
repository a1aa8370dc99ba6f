/* cmd/bench_edge.c - `matinee bench edge`: what a crowd at edges leaves to the origin.
 *
 * A drawn show of three renditions (the source and two made ones, and the sound), low-latency HLS, edges by the rules of deploy/edge,
 * and viewers that do what players do. Counted at the origin: requests for each object that anybody asked for, and requests a second,
 * those for admission included. Beside it: how long after the first viewer of an object the others have it. */
#include "cmd/bench_edge_int.h"
#include "cmd/bench_int.h"
#include "cmd/bench_load_int.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY          "bench-edge"
#define FIRST_MS_MAX 60000

struct bench {
    struct bench_house house;
    pid_t publisher;
    char video[40];
    const char *rules;
    char folder[256];
};

/* What the origin had been asked at each moment. */
struct asked {
    const struct bench *bench;
    double media[EDGE_MOMENTS], admissions[EDGE_MOMENTS], cpu_us[EDGE_MOMENTS];
    int64_t at_us[EDGE_MOMENTS];
};

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench edge: %s\n", what);
    return false;
}

/* --- the show -------------------------------------------------------------------------------------------- */

static bool publish(struct bench *b)
{
    json_t *event =
        bench_house_call(&b->house, "POST", "/api/v1/events", json_pack("{s:s}", "title", "bench"));
    const char *key = json_string_value(json_object_get(event, "streamKey"));
    char *url = mem_printf("rtmp://%s/live/%s", b->house.rtmp, key ? key : "");

    if (key != NULL && (b->publisher = fork()) == 0) {
        int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(quiet, 1);
        dup2(quiet, 2);
        execl("/proc/self/exe", "matinee", "publish", "demo", url, "--size", "640x360", "--bitrate", "600k",
              (char *)NULL);
        _exit(127);
    }
    json_decref(event);
    free(url);
    return key != NULL && b->publisher > 0;
}

/* Whether all renditions are made and keep up, and what the video's id is. */
static bool is_whole(struct bench *b)
{
    json_t *answer = bench_house_call(&b->house, "GET", "/api/v1/videos", NULL);
    json_t *video = json_array_get(json_object_get(answer, "items"), 0), *rendition;
    size_t i, live = 0;
    const char *id = json_string_value(json_object_get(video, "id"));

    json_array_foreach(json_object_get(video, "renditions"), i, rendition)
    {
        const char *state = json_string_value(json_object_get(rendition, "state"));

        live += state != NULL && strcmp(state, "live") == 0;
    }
    snprintf(b->video, sizeof b->video, "%s", id ? id : "");
    json_decref(answer);
    return live >= LISTS_MAX;
}

static bool raise_curtain(struct bench *b)
{
    int64_t until_ms = clock_mono_ms() + FIRST_MS_MAX;

    if (!publish(b))
        return failed("nothing can be published");
    while (!is_whole(b)) {
        if (clock_mono_ms() > until_ms)
            return failed("the renditions were not made in time");
        poll(NULL, 0, 250);
    }
    return true;
}

/* --- counting -------------------------------------------------------------------------------------------- */

static double metric(const char *text, const char *name)
{
    char *line = mem_printf("\n%s ", name);
    const char *at = strstr(text, line);
    double value = at != NULL ? strtod(at + strlen(line), NULL) : 0;

    free(line);
    return value;
}

static void look(void *ctx, int when)
{
    struct asked *a = ctx;
    char http[64];
    char *text;

    snprintf(http, sizeof http, "%s", a->bench->house.http);
    text = bench_server_get(&(struct bench_server){.http = http}, "/metrics");
    a->at_us[when] = clock_mono_us();
    a->media[when] = text ? metric(text, "matinee_playback_requests_total") : 0;
    a->admissions[when] = text ? metric(text, "matinee_edge_admissions_total") : 0;
    a->cpu_us[when] = bench_cpu_us(a->bench->house.pid);
    free(text);
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static double part_of(const struct edge_crowd *c, double part)
{
    return c->late_count > 0 ? (double)c->late_ms[(size_t)((double)(c->late_count - 1) * part)] : 0;
}

struct result {
    double per_object, per_second, p50_ms, p99_ms;
};

static double between(const double at[EDGE_MOMENTS], int from)
{
    return at[EDGE_OVER] - at[from];
}

static void report(struct bench_table *t, const char *by, struct edge_crowd *c, const struct asked *a,
                   struct result *out)
{
    double seconds = (double)(a->at_us[EDGE_OVER] - a->at_us[EDGE_BEGUN]) / 1e6;
    double asked = between(a->media, EDGE_BEGUN) + between(a->admissions, EDGE_BEGUN);
    char viewers[16], edges[32];

    qsort(c->late_ms, c->late_count, sizeof *c->late_ms, by_size);
    *out = (struct result){between(a->media, EDGE_EMPTY) / (double)c->objects, asked / seconds,
                           part_of(c, .5), part_of(c, .99)};
    snprintf(viewers, sizeof viewers, "%u", c->viewers);
    snprintf(edges, sizeof edges, "%u %s", c->edges->count, by);
    bench_add_row(t, (const char *[]){viewers, edges, bench_number((double)c->answers / seconds, 0),
                                      bench_number((double)c->refused, 0), bench_number(out->per_object, 3),
                                      bench_number(out->per_second, 1),
                                      bench_number(between(a->cpu_us, EDGE_BEGUN) / 1e4 / seconds, 1),
                                      bench_number(out->p50_ms, 0), bench_number(out->p99_ms, 0), NULL});
    printf(
        "%u viewers at %u edges (%s): %.0f objects, %.0f requests for them at the origin; in %.1f s %.0f for media and %.0f for "
        "admission\n",
        c->viewers, c->edges->count, by, (double)c->objects, between(a->media, EDGE_EMPTY), seconds,
        between(a->media, EDGE_BEGUN), between(a->admissions, EDGE_BEGUN));
    fflush(stdout);
}

/* Edges of none is one, by Varnish. */
static bool measure(const struct bench *b, struct bench_table *t, unsigned viewers, unsigned edges,
                    double seconds, struct result *out)
{
    struct bench_edges front;
    struct edge_crowd crowd = {.edges = &front,
                               .video = b->video,
                               .lists = {"audio", "source", "240p", "144p"},
                               .list_count = LISTS_MAX,
                               .viewers = viewers};
    struct asked asked = {.bench = b};
    bool done = edges > 0 ? bench_nginx_open(&front, b->folder, b->rules, b->house.http, KEY, edges)
                          : bench_varnish_open(&front, b->folder, b->rules, b->house.http, KEY);

    done = done && edge_crowd_run(&crowd, seconds < 6 ? 3 : 8, seconds, look, &asked);
    if (done)
        report(t, edges > 0 ? "nginx" : "Varnish", &crowd, &asked, out);
    free(crowd.late_ms);
    bench_edges_close(&front);
    return done;
}

/* --- the command ----------------------------------------------------------------------------------------- */

struct sizes {
    long viewers, edges, crowd, seconds;
};

static int run(const struct sizes *s, const char *rules, const char *dir, const char *out)
{
    static const char *const words[] = {"--edge-key", KEY,        "--ladder",    "240p,144p", "--workers",
                                        "1",          "--webrtc", "127.0.0.1:0", NULL};
    static struct bench_table table = {.column_count = 9};
    struct bench b = {.house = {.pid = -1}, .publisher = -1, .rules = rules};
    struct result one, other, many;
    int status = 1;

    snprintf(b.folder, sizeof b.folder, "%s/matinee-bench-XXXXXX", dir);
    if (mkdtemp(b.folder) == NULL) {
        failed("no temporary folder can be made; see --dir");
        return 1;
    }
    bench_add_row(&table, (const char *[]){"viewers", "edges", "answers/s", "refused", "origin/object",
                                           "origin/s", "origin CPU %", "p50 ms", "p99 ms", NULL});
    if (bench_house_open(&b.house, b.folder, words) && raise_curtain(&b) &&
        measure(&b, &table, (unsigned)s->viewers, 1, (double)s->seconds, &one) &&
        measure(&b, &table, (unsigned)s->viewers, 0, (double)s->seconds, &other) &&
        measure(&b, &table, (unsigned)s->crowd, (unsigned)s->edges, (double)s->seconds, &many)) {
        puts("");
        bench_table_print(&table);
        printf(
            "\nan object: a playlist or a part that anybody asked for; p50 and p99: how long after the first viewer who has it\n"
            "the others have it; everything on one machine of %ld cores\n",
            sysconf(_SC_NPROCESSORS_ONLN));
        status = bench_table_csv(&table, out, "edge") ? 0 : 1;
        if (one.per_object > 1.05 || other.per_object > 1.05 || many.per_object > 1.05 ||
            many.per_second >= 100)
            status =
                failed("the origin was asked too often: 1.05 for an object and 100 a second are promised");
    }
    if (b.publisher > 0) {
        kill(b.publisher, SIGKILL);
        waitpid(b.publisher, NULL, 0);
    }
    bench_house_close(&b.house);
    bench_folder_remove(b.folder);
    return status;
}

static struct option options[] = {
    {"viewers", "N", "1000", "viewers at one edge", NULL},
    {"crowd", "N", "10000", "viewers at all edges, with a shield behind them", NULL},
    {"edges", "N", "50", "how many edges these are", NULL},
    {"seconds", "S", "20", "how long each measurement lasts", NULL},
    {"quick", NULL, NULL, "few viewers, 4 seconds: does it work at all", NULL},
    {"rules", "DIR", "deploy/edge", "where edge-http.conf and edge-server.conf are", NULL},
    {"dir", "DIR", "/var/tmp", "where temporary data goes", NULL},
    {"out", "DIR", "build/bench", "where edge.csv is written", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

int bench_edge(int argc, char **argv)
{
    char why[CONFIG_WHY_SIZE] = "";
    struct sizes s = {40, 5, 100, 4};
    struct rlimit files;
    int status = 2;

    log_set_level(LOG_WARN);
    if (config_read(options, false, &argc, argv, why) == ERR_OK && argc > 0)
        snprintf(why, sizeof why, "what is '%s'? See matinee bench --help", argv[0]);
    if (why[0] == '\0' && config_text(options, "quick") == NULL &&
        (config_number(options, "viewers", 1, 18000, &s.viewers, why) != ERR_OK ||
         config_number(options, "crowd", 1, 18000, &s.crowd, why) != ERR_OK ||
         config_number(options, "edges", 2, EDGES_MAX, &s.edges, why) != ERR_OK ||
         config_number(options, "seconds", 1, 600, &s.seconds, why) != ERR_OK))
        status = 2;
    if (why[0] != '\0') {
        failed(why);
    } else {
        getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
        status =
            run(&s, config_text(options, "rules"), config_text(options, "dir"), config_text(options, "out"));
    }
    config_free(options);
    return status;
}
