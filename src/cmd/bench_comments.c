/* cmd/bench_comments.c - `matinee bench comments`: durable comments a second through HTTP, beside the obvious way over the same
 * database; and one comment told to ten thousand readers.
 *
 * Ours come over keep-alive connections to a server of its own, each answered when it is durable, its id looked up, its text judged.
 * The obvious way is a thread and a connection for each client with one statement and one commit a comment, and nothing else. */
#include "cmd/bench_comments_int.h"
#include "cmd/bench_int.h"

#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 20

struct sizes {
    long rounds, tenths, clients, readers, comments;
    const char *out;
};

/* What is measured: where comments are kept. */
struct place {
    const char *name;
    const char *database, *comments; /* URLs for `serve`; NULL: its own SQLite file */
    char rival[256];                 /* the URL of the obvious way */
};

struct stage {
    struct bench_house house;
    char video[ULID_TEXT_SIZE];
};

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench comments: %s\n", what);
    return false;
}

/* --- a video to speak of ----------------------------------------------------------------------------- */

/* Publishes three seconds of the demo, as fast as they are taken. */
static bool publish(const struct bench_house *h, const char *key)
{
    char *url = mem_printf("rtmp://%s/live/%s", h->rtmp, key);
    char *const words[] = {"/proc/self/exe", "publish", "demo",   url,       "--duration", "3",
                           "--speed",        "max",     "--size", "320x180", NULL};
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL)
            _exit(127);
        execv(words[0], words);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, &status, 0);
    free(url);
    return status == 0 || failed("the demo could not be published");
}

static bool set_stage(struct stage *s)
{
    json_t *plan = json_pack("{s:s}", "title", "bench"),
           *event = bench_house_call(&s->house, "POST", "/api/v1/events", plan), *ended = NULL;
    const char *key = json_string_value(json_object_get(event, "streamKey")),
               *id = json_string_value(json_object_get(event, "id")), *video = NULL;
    char path[96];

    if (key != NULL && id != NULL && publish(&s->house, key)) {
        snprintf(path, sizeof path, "/api/v1/events/%s/end", id);
        ended = bench_house_call(&s->house, "POST", path, NULL);
        video = json_string_value(json_object_get(ended, "video"));
    }
    snprintf(s->video, sizeof s->video, "%s", video != NULL ? video : "");
    json_decref(ended);
    json_decref(event);
    json_decref(plan);
    return s->video[0] != '\0' || failed("there is no video to speak of");
}

/* --- posting ----------------------------------------------------------------------------------------- */

static unsigned turn; /* so that no id is used twice */

static size_t request(void *ctx, unsigned client, unsigned call, char *out, size_t room)
{
    const struct stage *s = ctx;
    char body[256];
    int size = snprintf(
        body, sizeof body,
        "{\"id\":\"%u-%u-%u\",\"authorId\":\"author %u\",\"data\":\"What a picture this is, seen from "
        "the balcony\",\"offset\":0}",
        turn, client, call, client);

    return (size_t)snprintf(
        out, room,
        "POST /api/v1/videos/%s/comments HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
        "Content-Length: %d\r\n\r\n%s",
        s->video, s->house.http, size, body);
}

static bool measure_posts(struct stage *s, const struct sizes *sizes, struct rival_result *out)
{
    struct bench_crowd c = {.http = s->house.http,
                            .clients = (unsigned)sizes->clients,
                            .seconds = (double)sizes->tenths / 10,
                            .request = request,
                            .ctx = s};
    bool good;

    turn++;
    good = bench_crowd_run(&c) && (c.refused == 0 || failed("comments were refused"));
    out->per_second = (double)c.took_count / c.lasted_s;
    out->p50_ms = bench_percentile_ms(c.took_us, c.took_count, 50);
    out->p99_ms = bench_percentile_ms(c.took_us, c.took_count, 99);
    free(c.took_us);
    return good;
}

static bool measure_rival(const struct place *p, const struct sizes *sizes, struct rival_result *out)
{
    double seconds = (double)sizes->tenths / 10;

    return p->comments != NULL ? rival_redis(p->comments, (unsigned)sizes->clients, seconds, out)
                               : rival_sql(p->rival, (unsigned)sizes->clients, seconds, out);
}

static int by_rate(const void *left, const void *right)
{
    double a = ((const struct rival_result *)left)->per_second,
           b = ((const struct rival_result *)right)->per_second;

    return (a > b) - (a < b);
}

static void tell(struct bench_table *t, const struct place *p, const char *who, const struct rival_result *r,
                 double ratio)
{
    bench_add_row(t, (const char *[]){p->name, who, bench_number(r->per_second, 0), bench_number(ratio, 2),
                                      bench_number(r->p50_ms, 2), bench_number(r->p99_ms, 2), NULL});
}

static bool run_posts(struct stage *s, const struct place *p, const struct sizes *sizes)
{
    static struct bench_table t = {.column_count = 6};
    struct rival_result ours[ROUNDS_MAX] = {{0}}, rivals[ROUNDS_MAX] = {{0}};
    double ratios[ROUNDS_MAX], ratio;
    size_t rounds = (size_t)sizes->rounds;
    char name[64];

    for (size_t r = 0; r < rounds; r++) {
        if (!measure_posts(s, sizes, &ours[r]) || !measure_rival(p, sizes, &rivals[r]))
            return false;
        ratios[r] = ours[r].per_second / rivals[r].per_second;
    }
    ratio = bench_median(ratios, rounds);
    qsort(ours, rounds, sizeof *ours, by_rate);
    qsort(rivals, rounds, sizeof *rivals, by_rate);
    bench_add_row(&t,
                  (const char *[]){"kept in", "by", "durable a second", "ratio", "p50 ms", "p99 ms", NULL});
    tell(&t, p, "matinee, HTTP", &ours[rounds / 2], ratio);
    tell(&t, p, "one commit each", &rivals[rounds / 2], 1);
    printf("\n%ld clients post, %ld rounds of %.1f s\n", sizes->clients, sizes->rounds,
           (double)sizes->tenths / 10);
    bench_table_print(&t);
    snprintf(name, sizeof name, "comments-%s", p->name);
    return bench_table_csv(&t, sizes->out, name);
}

/* --- the feed ---------------------------------------------------------------------------------------- */

static bool run_feed(const struct stage *s, const struct place *p, const struct sizes *sizes)
{
    static struct bench_table t = {.column_count = 6};
    struct feed_result r;
    char name[64];

    if (!feed_measure(&s->house, s->video, (unsigned)sizes->readers, (unsigned)sizes->comments, &r))
        return false;
    bench_add_row(&t, (const char *[]){"readers", "comments", "last reader, p50 ms", "max ms",
                                       "CPU us a reader", "bytes a reader", NULL});
    bench_add_row(&t, (const char *[]){bench_number((double)sizes->readers, 0),
                                       bench_number((double)sizes->comments, 0),
                                       bench_number(r.last_ms_p50, 1), bench_number(r.last_ms_max, 1),
                                       bench_number(r.cpu_us, 2), bench_number(r.bytes, 0), NULL});
    printf("\none comment to all who follow\n");
    bench_table_print(&t);
    snprintf(name, sizeof name, "comments-%s-feed", p->name);
    return bench_table_csv(&t, sizes->out, name);
}

/* --- the command ------------------------------------------------------------------------------------- */

static struct option options[] = {
    {"database", "URL", NULL, "where comments are kept: mysql://… of an empty database [a fresh SQLite file]",
     NULL},
    {"comments", "URL", NULL, "where comments are kept instead: redis://HOST:PORT of an empty server", NULL},
    {"clients", "N", "64", "who post at once", NULL},
    {"rounds", "N", "3", "measurements of each, in turn", NULL},
    {"tenths", "N", "20", "tenths of a second for each measurement", NULL},
    {"readers", "N", "10000", "who follow the feed", NULL},
    {"told", "N", "20", "comments that are told to them", NULL},
    {"quick", NULL, NULL, "one short round and few readers: does it work at all", NULL},
    {"out", "DIR", "build/bench", "where CSV is written", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static int run(const char *database, const char *comments, const struct sizes *sizes)
{
    char folder[] = "/var/tmp/matinee-bench-XXXXXX";
    struct place p = {comments != NULL   ? "redis"
                      : database != NULL ? "mariadb"
                                         : "sqlite",
                      database, comments, ""};
    const char *const words[] = {database != NULL   ? "--database"
                                 : comments != NULL ? "--comments"
                                                    : NULL,
                                 database != NULL ? database : comments, NULL};
    struct stage s = {.house = {.pid = -1}};
    bool done;

    if (mkdtemp(folder) == NULL) {
        perror("matinee bench comments: /var/tmp");
        return 1;
    }
    snprintf(p.rival, sizeof p.rival, "%s%s",
             database != NULL ? database : "sqlite:", database != NULL ? "" : folder);
    if (database == NULL)
        strncat(p.rival, "/rival", sizeof p.rival - strlen(p.rival) - 1);
    done = bench_house_open(&s.house, folder, words) && set_stage(&s) && run_posts(&s, &p, sizes) &&
           run_feed(&s, &p, sizes);
    bench_house_close(&s.house);
    bench_folder_remove(folder);
    return done ? 0 : 1;
}

int bench_comments(int argc, char **argv)
{
    struct sizes sizes = {.rounds = 1, .tenths = 2, .clients = 16, .readers = 200, .comments = 5};
    char why[CONFIG_WHY_SIZE] = "";
    bool quick;
    int status = 2;

    log_set_level(LOG_WARN);
    if (config_read(options, NULL, &argc, argv, why) == ERR_OK && argc > 0)
        snprintf(why, sizeof why, "what is '%s'? See matinee bench --help", argv[0]);
    quick = config_text(options, "quick") != NULL;
    sizes.out = config_text(options, "out");
    if (why[0] == '\0' && !quick &&
        (config_number(options, "clients", 1, 1000, &sizes.clients, why) != ERR_OK ||
         config_number(options, "rounds", 1, ROUNDS_MAX, &sizes.rounds, why) != ERR_OK ||
         config_number(options, "tenths", 1, 600, &sizes.tenths, why) != ERR_OK ||
         config_number(options, "readers", 1, 50000, &sizes.readers, why) != ERR_OK ||
         config_number(options, "told", 1, 1000, &sizes.comments, why) != ERR_OK))
        status = 2;
    if (why[0] != '\0')
        fprintf(stderr, "matinee bench comments: %s\n", why);
    else
        status = run(config_text(options, "database"), config_text(options, "comments"), &sizes);
    config_free(options);
    return status;
}
