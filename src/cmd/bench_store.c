/* cmd/bench_store.c - segments to a store and back, as fast as they go, beside curl with the same server and as many connections.
 *
 * `matinee bench store --storage s3://… --peer http://HOST:PORT/BUCKET/PREFIX`, or `--storage hdfs://… --peer
 * http://HOST:PORT/webhdfs/v1/PREFIX?user.name=NAME`. curl signs as we do, or follows the NameNode as we do, and neither hashes what it
 * sends nor checks what it reads, nor renames: what integrity costs us is in the ratio. Objects are removed afterwards.
 * `bench/store.py` starts a server of its own for it, also behind a line of a given speed. With --live it is bench_store_live.c. */
#include "cmd/bench_store_int.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "cmd/bench_int.h"
#include "store/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS_MAX  9
#define STREAMS_MAX 64
#define LIVE_MAX    1000

extern char **environ;

enum way { PUT_OURS, PUT_CURL, GET_OURS, GET_CURL, WAY_COUNT };

struct plan {
    const char *storage, *peer, *region;
    bool hdfs;
    long objects, bytes, streams, rounds;
    long live, seconds; /* streams of shows instead, and for how long; 0: none */
    struct buffer *content;
    char *file, *config; /* for curl */
    double mb_s[WAY_COUNT][ROUNDS_MAX];
};

static const char *name_of(char name[64], const char *kind, long object)
{
    snprintf(name, 64, BENCH_STORE_PREFIX "/%s/%06ld.m4s", kind, object);
    return name;
}

/* --- ours -------------------------------------------------------------------------------------------- */

struct crowd {
    const struct plan *plan;
    struct store *store;
    bool put;
    atomic_long next;
    atomic_bool failed;
};

static enum err move_one(struct crowd *c, long object)
{
    struct buffer *b = NULL;
    char name[64];
    enum err e;

    name_of(name, "ours", object);
    if (c->put)
        return store_put(c->store, name, buffer_bytes(c->plan->content));
    e = store_get(c->store, name, &b);
    if (e == ERR_OK && b->size != c->plan->content->size)
        e = ERR_IO;
    buffer_unref(b);
    return e;
}

static void *move_some(void *ctx)
{
    struct crowd *c = ctx;

    for (long i; (i = atomic_fetch_add(&c->next, 1)) < c->plan->objects && !c->failed;)
        if (move_one(c, i) != ERR_OK)
            c->failed = true;
    return NULL;
}

/* Seconds, or a negative number: it did not work. */
static double ours(const struct plan *p, struct store *s, bool put)
{
    struct crowd c = {.plan = p, .store = s, .put = put};
    pthread_t threads[STREAMS_MAX];
    int64_t begun = clock_mono_us();
    long count = 0;

    for (; count < p->streams && pthread_create(&threads[count], NULL, move_some, &c) == 0; count++)
        continue;
    for (long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return c.failed || count < p->streams ? -1 : (double)(clock_mono_us() - begun) / 1e6;
}

/* --- curl -------------------------------------------------------------------------------------------- */

/* How curl proves who it is. */
static void write_identity(const struct plan *p, FILE *f)
{
    const char *key = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");

    fprintf(f,
            "aws-sigv4 = \"aws:amz:%s:s3\"\nuser = \"%s:%s\"\nheader = \"x-amz-content-sha256: "
            "UNSIGNED-PAYLOAD\"\n",
            p->region, key ? key : "", secret ? secret : "");
}

/* An object's address: the name goes before the '?' that is there already. */
static void write_url(const struct plan *p, bool put, const char *name, FILE *f)
{
    size_t path = strcspn(p->peer, "?");

    if (p->hdfs)
        fprintf(f, "url = \"%.*s/%s%s&op=%s\"\n", (int)path, p->peer, name, p->peer + path,
                put ? "CREATE&overwrite=true" : "OPEN");
    else
        fprintf(f, "url = \"%s/%s\"\n", p->peer, name);
}

/* What curl is to do, in a file, for it stands there with our keys. */
static bool write_config(const struct plan *p, bool put)
{
    int fd = open(p->config, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;

    if (f == NULL)
        return false;
    fprintf(f, "silent\nshow-error\nfail\nparallel\nparallel-immediate\nparallel-max = %ld\n", p->streams);
    if (p->hdfs)
        fprintf(f, "location\n");
    else
        write_identity(p, f);
    for (long i = 0; i < p->objects; i++) {
        char name[64];

        write_url(p, put, name_of(name, "curl", i), f);
        fprintf(f, put ? "upload-file = \"%s\"\n" : "output = \"/dev/null\"\n", p->file);
    }
    return fclose(f) == 0;
}

static double curls(const struct plan *p, bool put)
{
    char *const words[] = {"curl", "-K", p->config, NULL};
    int64_t begun;
    pid_t pid;
    int status;

    if (!write_config(p, put))
        return -1;
    begun = clock_mono_us();
    if (posix_spawnp(&pid, "curl", NULL, NULL, words, environ) != 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? (double)(clock_mono_us() - begun) / 1e6 : -1;
}

/* --- the measurement --------------------------------------------------------------------------------- */

static bool round_of(struct plan *p, long round)
{
    static const char *const names[] = {"put, matinee", "put, curl", "get, matinee", "get, curl"};
    char why[256];

    for (int w = 0; w < WAY_COUNT; w++) {
        struct store *s = NULL; /* opened anew, so that nothing is in memory */
        double seconds = -1;

        if (w == PUT_CURL || w == GET_CURL)
            seconds = curls(p, w == PUT_CURL);
        else if (store_open(&s, p->storage, why) != ERR_OK)
            fprintf(stderr, "matinee bench store: %s\n", why);
        else
            seconds = ours(p, s, w == PUT_OURS);
        store_close(s);
        if (seconds <= 0) {
            fprintf(stderr, "matinee bench store: '%s' did not go well\n", names[w]);
            return false;
        }
        p->mb_s[w][round] = (double)p->bytes * (double)p->objects / 1e6 / seconds;
        printf("round %ld: %-13s %8.1f MB/s\n", round + 1, names[w], p->mb_s[w][round]);
        fflush(stdout);
    }
    return true;
}

static bool report(const struct plan *p, const char *out)
{
    static struct bench_table t = {.column_count = 4};
    struct bench_bars bars = {.title = "Segments to a store and back",
                              .unit = "MB/s",
                              .group_count = 2,
                              .series_count = 2,
                              .groups = {"put", "get"},
                              .series = {"matinee", "curl"}};

    bench_add_row(&t, (const char *const[]){"", "matinee MB/s", "curl MB/s", "ratio", NULL});
    for (int g = 0; g < 2; g++) {
        double a = bench_median(p->mb_s[2 * g], (size_t)p->rounds),
               b = bench_median(p->mb_s[2 * g + 1], (size_t)p->rounds);

        bars.values[g][0] = a;
        bars.values[g][1] = b;
        bench_add_row(&t, (const char *const[]){bars.groups[g], bench_number(a, 1), bench_number(b, 1),
                                                bench_number(a / b, 2), NULL});
    }
    printf("\n%ld objects of %.1f MB, %ld at once, median of %ld rounds\n", p->objects,
           (double)p->bytes / 1e6, p->streams, p->rounds);
    bench_table_print(&t);
    return bench_table_csv(&t, out, "store") && bench_bars_svg(&bars, out, "store");
}

static bool prepare(struct plan *p, const char *dir)
{
    FILE *f;
    bool good;

    p->content = buffer_new((size_t)p->bytes);
    random_fill(p->content->data, (size_t)p->bytes);
    p->content->size = (size_t)p->bytes;
    p->file = mem_printf("%s/object", dir);
    p->config = mem_printf("%s/curl.conf", dir);
    f = fopen(p->file, "we");
    good = f != NULL && fwrite(p->content->data, 1, p->content->size, f) == p->content->size;
    return f != NULL && fclose(f) == 0 && good;
}

static void clear(const struct plan *p)
{
    struct store *s = NULL;
    char why[256];

    if (store_open(&s, p->storage, why) != ERR_OK || store_delete_all(s, BENCH_STORE_PREFIX) != ERR_OK)
        fprintf(stderr, "matinee bench store: objects below %s/ may be left\n", BENCH_STORE_PREFIX);
    store_close(s);
}

static int run(struct plan *p, const char *out)
{
    char dir[] = "/tmp/matinee-bench-XXXXXX";
    bool good = mkdtemp(dir) != NULL && prepare(p, dir);

    if (p->live > 0) {
        good = good && bench_store_live(p->storage, p->content, p->live, p->seconds, out);
    } else {
        for (long r = 0; r < p->rounds && good; r++)
            good = round_of(p, r);
        good = good && report(p, out);
    }
    clear(p);
    bench_folder_remove(dir);
    buffer_unref(p->content);
    free(p->file);
    free(p->config);
    return good ? 0 : 1;
}

static struct option options[] = {
    {"storage", "URL", NULL, "the store, as serve has it, with keys in the environment", NULL},
    {"peer", "URL", NULL,
     "the same place for curl: http://HOST:PORT/BUCKET/PREFIX, or http://HOST:PORT/webhdfs/v1/PREFIX?user.name=NAME",
     NULL},
    {"region", "NAME", "us-east-1", "what curl signs for", NULL},
    {"objects", "N", "48", "objects of each round", NULL},
    {"bytes", "N", "6000000", "of each: ten seconds of 4.8 Mbit/s", NULL},
    {"streams", "N", "8", "at once", NULL},
    {"rounds", "N", "3", "measurements of each, in turn", NULL},
    {"live", "N", "0", "instead: streams that end a segment every ten seconds; how long until it is stored",
     NULL},
    {"seconds", "N", "60", "of --live", NULL},
    {"quick", NULL, NULL, "8 objects, one round: does it work at all", NULL},
    {"out", "DIR", "build/bench", "where store.csv and store.svg are written", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

int bench_store(int argc, char **argv)
{
    char why[CONFIG_WHY_SIZE] = "";
    struct plan p = {.objects = 8, .rounds = 1};
    bool good = config_read(options, NULL, &argc, argv, why) == ERR_OK &&
                config_number(options, "bytes", 1, 200000000, &p.bytes, why) == ERR_OK &&
                config_number(options, "streams", 1, STREAMS_MAX, &p.streams, why) == ERR_OK &&
                config_number(options, "live", 0, LIVE_MAX, &p.live, why) == ERR_OK &&
                config_number(options, "seconds", 10, 600, &p.seconds, why) == ERR_OK &&
                (config_text(options, "quick") != NULL ||
                 (config_number(options, "objects", 1, 100000, &p.objects, why) == ERR_OK &&
                  config_number(options, "rounds", 1, ROUNDS_MAX, &p.rounds, why) == ERR_OK));
    int status = 2;

    log_set_level(LOG_WARN);
    p.storage = good ? config_text(options, "storage") : NULL;
    p.peer = good ? config_text(options, "peer") : NULL;
    p.region = good ? config_text(options, "region") : NULL;
    p.hdfs = p.storage != NULL && strncmp(p.storage, "s3://", 5) != 0;
    if (good && (argc > 0 || p.storage == NULL || (p.peer == NULL && p.live == 0)))
        snprintf(why, sizeof why,
                 "it wants --storage, --peer or --live, and nothing else; see matinee bench --help");
    else if (good && p.hdfs && p.live == 0 && strchr(p.peer, '?') == NULL)
        snprintf(why, sizeof why, "--peer for HDFS is http://HOST:PORT/webhdfs/v1/PREFIX?user.name=NAME");
    if (why[0] != '\0')
        fprintf(stderr, "matinee bench store: %s\n", why);
    else
        status = run(&p, config_text(options, "out"));
    config_free(options);
    return status;
}
