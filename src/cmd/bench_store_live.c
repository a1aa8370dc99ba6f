/* cmd/bench_store_live.c - how long a segment of a live show waits: from its end until the store has confirmed it.
 *
 * So many streams, each of which ends a segment every ten seconds at a moment of its own, as publishers do who began when they liked.
 * Each goes the way that live/spool.c sends it: picture and sound are held, given to the store's writers, put one behind the other. A
 * store that falls behind slows nobody: the next segment ends when it ends, and what it waits for a writer counts. */
#include "cmd/bench_store_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "cmd/bench_int.h"
#include "store/store.h"

#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#define SEGMENT_S   10
#define SEGMENT_US  (SEGMENT_S * (int64_t)1000000)
#define SOUND_BYTES 160000 /* ten seconds of 128 kbit/s */

enum track { PICTURE, SOUND, TRACKS };

struct show;

struct ended {
    struct show *show;
    long stream, number;
    int64_t at_us; /* monotonic */
    uint32_t took_us;
    bool stored;
};

struct show {
    struct store *store;
    struct buffer *content[TRACKS];
    struct ended *segments; /* in the order of their ends */
    size_t count;
    sem_t done; /* once for each */
};

static const char *name_of(char name[64], const struct ended *g, int track)
{
    snprintf(name, 64, BENCH_STORE_PREFIX "/live/%03ld/%06ld.%d.m4s", g->stream, g->number, track);
    return name;
}

static void store_one(void *ctx)
{
    struct ended *g = ctx;
    char name[64];

    g->stored = true;
    for (int i = 0; i < TRACKS && g->stored; i++)
        g->stored = store_put_held(g->show->store, name_of(name, g, i)) == ERR_OK;
    g->took_us = (uint32_t)(clock_mono_us() - g->at_us);
    sem_post(&g->show->done);
}

static int by_end(const void *left, const void *right)
{
    const struct ended *a = left, *b = right;

    return (a->at_us > b->at_us) - (a->at_us < b->at_us);
}

/* When which segment ends, from now on. */
static void plan(struct show *s, long streams, long each)
{
    int64_t begun_us = clock_mono_us();

    s->count = (size_t)(streams * each);
    s->segments = mem_new(s->count * sizeof *s->segments);
    for (long i = 0; i < streams; i++) {
        int64_t first_us = begun_us + (int64_t)(random_u64() % SEGMENT_US);

        for (long n = 0; n < each; n++)
            s->segments[i * each + n] =
                (struct ended){.show = s, .stream = i, .number = n, .at_us = first_us + n * SEGMENT_US};
    }
    qsort(s->segments, s->count, sizeof *s->segments, by_end);
}

/* What a store makes with its first object ever, radosgw a pool, in two seconds, is no measure of a show. */
static bool begin(struct show *s)
{
    enum err e = store_put(s->store, BENCH_STORE_PREFIX "/live/first", buffer_bytes(s->content[SOUND]));

    if (e != ERR_OK)
        fprintf(stderr, "matinee bench store: the store takes nothing: %s\n", err_text(e));
    return e == ERR_OK;
}

static void wait_until(int64_t at_us)
{
    struct timespec t = {.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
        continue; /* a signal */
}

static void play(struct show *s)
{
    char name[64];

    for (size_t i = 0; i < s->count; i++) {
        struct ended *g = &s->segments[i];

        wait_until(g->at_us);
        for (int track = 0; track < TRACKS; track++)
            store_hold(s->store, name_of(name, g, track), s->content[track]);
        store_run(s->store, STORE_WRITES, NULL, store_one, NULL, g);
    }
    for (size_t i = 0; i < s->count; i++)
        while (sem_wait(&s->done) != 0)
            continue; /* a signal */
}

static bool report(const struct show *s, long streams, const char *dir)
{
    static struct bench_table t = {.column_count = 6};
    double segment_mb = (double)(s->content[PICTURE]->size + SOUND_BYTES) / 1e6;
    uint32_t *took_us = mem_new(s->count * sizeof *took_us);
    size_t lost = 0;

    for (size_t i = 0; i < s->count; i++) {
        took_us[i] = s->segments[i].took_us;
        lost += !s->segments[i].stored;
    }
    bench_add_row(&t,
                  (const char *const[]){"streams", "segments", "MB/s", "p50 ms", "p99 ms", "most ms", NULL});
    bench_add_row(&t,
                  (const char *const[]){bench_number((double)streams, 0), bench_number((double)s->count, 0),
                                        bench_number((double)streams * segment_mb / SEGMENT_S, 1),
                                        bench_number(bench_percentile_ms(took_us, s->count, 50), 0),
                                        bench_number(bench_percentile_ms(took_us, s->count, 99), 0),
                                        bench_number(bench_percentile_ms(took_us, s->count, 100), 0), NULL});
    free(took_us);
    printf("\nfrom a segment's end to stored, segments of %.1f MB\n", segment_mb);
    bench_table_print(&t);
    if (lost > 0)
        fprintf(stderr, "matinee bench store: %zu segments were not stored\n", lost);
    return bench_table_csv(&t, dir, "store_live") && lost == 0;
}

bool bench_store_live(const char *storage, struct buffer *content, long streams, long seconds,
                      const char *dir)
{
    struct show s = {.content = {content, NULL}};
    char why[256];
    bool good = false;

    if (store_open(&s.store, storage, why) != ERR_OK) {
        fprintf(stderr, "matinee bench store: %s\n", why);
        return false;
    }
    s.content[SOUND] = buffer_new(SOUND_BYTES);
    random_fill(s.content[SOUND]->data, SOUND_BYTES);
    s.content[SOUND]->size = SOUND_BYTES;
    if (sem_init(&s.done, 0, 0) != 0)
        abort(); /* it cannot fail with this value */
    if (begin(&s)) {
        plan(&s, streams, seconds / SEGMENT_S);
        play(&s);
        good = report(&s, streams, dir);
    }
    sem_destroy(&s.done);
    buffer_unref(s.content[SOUND]);
    free(s.segments);
    store_close(s.store);
    return good;
}
