/* live/spool.c - brings finished segments to the store and the index, in order, and only then lets go of
 * the journal. A store that refuses is asked again at the next tick, as often as its breaker (store/breaker.c) lets anybody ask;
 * players read meanwhile what the store holds for us in memory and on this disk. Several videos are stored side by side, one
 * segment each. When too much waits, publishers are no longer read from: what they were acknowledged is safe, and nothing
 * else is taken from them. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdlib.h>

METRIC(segments_stored, METRIC_COUNTER, "matinee_segments_stored_total",
       "Segments that reached the store and the index");
METRIC(segments_waiting, METRIC_GAUGE, "matinee_segments_waiting",
       "Finished segments that are not stored yet");
METRIC(spool_bytes, METRIC_GAUGE, "matinee_spool_bytes", "Bytes of segments that wait for the store");
METRIC(spool_oldest, METRIC_GAUGE, "matinee_spool_oldest_seconds",
       "How long the segment that waits longest has waited for the store");
METRIC(spool_state, METRIC_GAUGE, "matinee_spool_state",
       "Of what waits for the store: 0 good, 1 behind, 2 the store is away, 3 full");
METRIC(store_failures, METRIC_COUNTER, "matinee_store_failures_total",
       "Attempts to store a segment that failed");

uint32_t spool_target_duration(int64_t segment_ms, int64_t first_gop_90k, const struct segment *s)
{
    int64_t longest_90k = segment_ms * (CMAF_VIDEO_TIMESCALE / 1000) + first_gop_90k;

    if (s->end - s->start > longest_90k)
        longest_90k = s->end - s->start;
    return (uint32_t)((longest_90k + CMAF_VIDEO_TIMESCALE - 1) / CMAF_VIDEO_TIMESCALE) + 1;
}

/* The init segments that `s` wants: only these need rows with it. */
static void inits_of(const struct video *v, const struct segment *s, const struct init *out[TRACK_COUNT])
{
    for (int t = 0; t < TRACK_COUNT; t++) {
        bool used = s->track[t].bytes > 0 && s->track[t].init < v->init_count[t];

        out[t] = used ? v->inits[t][s->track[t].init] : NULL;
    }
}

enum err spool_store(struct live *l, struct video *v, const struct finished *f)
{
    const struct init *init[TRACK_COUNT];
    char name[SEGMENT_NAME_SIZE];
    enum err e = ERR_OK;

    pthread_mutex_lock(&l->lock);
    bool has_row = v->has_row;

    inits_of(v, &f->segment, init);
    pthread_mutex_unlock(&l->lock);
    if (!has_row && (e = index_add_video(l->options.db, v)) != ERR_OK)
        return e;
    video_has_row(v); /* only the one thread that spools this video, and recovery, come here */
    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++)
        if (f->held && f->segment.track[t].bytes > 0)
            e = store_put_held(l->options.store, segment_name(name, v->id, (enum track)t, &f->segment));
        else if (f->bytes[t] != NULL)
            e = store_put(l->options.store, segment_name(name, v->id, (enum track)t, &f->segment),
                          buffer_bytes(f->bytes[t]));
    if (e == ERR_OK)
        e = index_add_segment(l->options.db, v, &f->segment, init);
    if (e != ERR_BUSY) /* a store that was not even asked has not failed again */
        metric_add(e == ERR_OK ? &segments_stored : &store_failures, 1);
    return e;
}

/* Lets memory go of the segment that has left the live edge. With the lock held. */
static void cool(struct live *l, struct video *v, uint32_t stored)
{
    struct segment old = {.number = stored - LIVE_WINDOW_SEGMENTS};
    char name[SEGMENT_NAME_SIZE];

    for (int t = 0; t < TRACK_COUNT && stored >= LIVE_WINDOW_SEGMENTS; t++)
        store_cool(l->options.store, segment_name(name, v->id, (enum track)t, &old));
}

struct job {
    struct live *live;
    struct video *video;
    struct ulid id;
};

/* Stores what waits, one after the other. Called and returns with the lock held. */
static enum err store_waiting(struct live *l, struct video *v)
{
    enum err e = ERR_OK;

    while (!list_empty(&v->spool) && e == ERR_OK) {
        struct finished *f = container_of(v->spool.next, struct finished, link);

        pthread_mutex_unlock(&l->lock);
        e = spool_store(l, v, f);
        pthread_mutex_lock(&l->lock);
        if (e == ERR_OK) {
            list_remove(&f->link);
            v->needed_from = f->position;
            cool(l, v, f->segment.number);
            finished_free(f);
            metric_add(&segments_waiting, -1);
        }
    }
    return e;
}

static enum err tell_end(struct live *l, struct video *v)
{
    enum err e = ERR_OK;

    if (!v->end_to_tell)
        return ERR_OK;
    pthread_mutex_unlock(&l->lock);
    if (!v->has_row)
        e = index_add_video(l->options.db, v);
    if (e == ERR_OK)
        e = index_end_video(l->options.db, v->id, clock_wall_ms());
    pthread_mutex_lock(&l->lock);
    if (e == ERR_OK) {
        video_has_row(v);
        v->end_to_tell = false;
    }
    return e;
}

/* Other servers shall know of a video before its first segment is stored. */
static enum err tell_beginning(struct live *l, struct video *v)
{
    if (!v->row_to_tell)
        return ERR_OK;
    pthread_mutex_unlock(&l->lock);
    enum err e = v->has_row ? ERR_OK : index_add_video(l->options.db, v);

    pthread_mutex_lock(&l->lock);
    if (e == ERR_OK) {
        video_has_row(v);
        v->row_to_tell = false;
    }
    return e;
}

static void work(void *ctx)
{
    struct job *job = ctx;
    struct live *l = job->live;
    struct video *v = job->video;
    char id[ULID_TEXT_SIZE];

    pthread_mutex_lock(&l->lock);
    enum err e = tell_beginning(l, v);

    if (e == ERR_OK)
        e = store_waiting(l, v);
    if (e == ERR_OK)
        e = tell_end(l, v);
    v->spooling = false;
    if (e != ERR_OK && !v->spool_fails)
        log_warn("live", "video %s: a segment could not be stored: %s; trying again (the journal keeps it)",
                 ulid_text(v->id, id), err_text(e));
    else if (e == ERR_OK && v->spool_fails)
        log_info("live", "video %s: all that waited is stored", ulid_text(v->id, id));
    v->spool_fails = e != ERR_OK;
    if (e == ERR_OK && (!list_empty(&v->spool) || v->end_to_tell))
        spool_kick(l, v); /* something came while the lock was given up */
    else if (e == ERR_OK && !v->live)
        list_remove(&v->active);
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    live_release_journal(l);
    renditions_tell(l, job->id);
    free(job);
}

void spool_kick(struct live *l, struct video *v)
{
    if (l->drained || l->recovery != NULL || v->spooling ||
        (list_empty(&v->spool) && !v->end_to_tell && !v->row_to_tell))
        return;

    struct job *job = mem_new(sizeof *job);

    job->live = l;
    job->video = v;
    job->id = v->id;
    v->spooling = true;
    store_run(l->options.store, STORE_WRITES, net_loop(l->options.net, 0), work, NULL, job);
}

void spool_hold(struct live *l, const struct video *v, struct finished *f)
{
    char name[SEGMENT_NAME_SIZE];

    for (int t = 0; t < TRACK_COUNT; t++)
        if (f->bytes[t] != NULL) {
            store_hold(l->options.store, segment_name(name, v->id, (enum track)t, &f->segment), f->bytes[t]);
            buffer_unref(f->bytes[t]); /* so that a store that is away for long can bring it to the disk */
            f->bytes[t] = NULL;
        }
    f->held = true;
}

void spool_add(struct live *l, struct video *v, struct finished *f)
{
    spool_hold(l, v, f);
    f->since_ms = clock_mono_ms();

    pthread_mutex_lock(&l->lock);
    if (v->target_duration_s == 0)
        v->target_duration_s = spool_target_duration(
            l->options.segment_ms, v->segmenter ? segmenter_first_gop(v->segmenter) : 0, &f->segment);
    video_show(v, &f->segment);
    list_push(&v->spool, &f->link);
    metric_add(&segments_waiting, 1);
    spool_kick(l, v);
    pthread_mutex_unlock(&l->lock);
}

/* --- how it goes ------------------------------------------------------------------------------------- */

const char *spool_verdict_name(enum spool_verdict v)
{
    static const char *const names[] = {"good", "behind", "away", "full"};

    return names[v];
}

void live_spool(struct live *l, struct spool_view *out)
{
    int64_t now = clock_mono_ms();

    *out = (struct spool_view){.bytes = store_held_bytes(l->options.store),
                               .away_ms = store_away_ms(l->options.store)};
    pthread_mutex_lock(&l->lock);
    list_each(&l->active, at, after)
    {
        const struct video *v = container_of(at, struct video, active);

        if (list_empty(&v->spool))
            continue;
        for (const struct list *f = v->spool.next; f != &v->spool; f = f->next)
            out->segments++;

        int64_t age = now - container_of(v->spool.next, struct finished, link)->since_ms;

        out->oldest_ms = age > out->oldest_ms ? age : out->oldest_ms;
    }
    pthread_mutex_unlock(&l->lock);
    out->verdict = l->spool_full                       ? SPOOL_FULL
                   : out->away_ms > 0                  ? SPOOL_AWAY
                   : out->oldest_ms >= SPOOL_BEHIND_MS ? SPOOL_BEHIND
                                                       : SPOOL_GOOD;
}

void spool_watch(struct live *l)
{
    uint64_t most = l->options.spool_bytes_max;
    struct spool_view view;
    bool full;

    live_spool(l, &view);
    /* Between the two marks it stays as it is, so that publishers are not stopped and started with every segment. */
    full = most > 0 && view.bytes > (l->spool_full ? most / 4 * 3 : most);
    metric_set(&spool_bytes, (long long)view.bytes);
    metric_set(&spool_oldest, view.oldest_ms / 1000);
    metric_set(&spool_state, full ? SPOOL_FULL : view.verdict == SPOOL_FULL ? SPOOL_AWAY : view.verdict);
    if (full == l->spool_full)
        return;
    l->spool_full = full;
    if (full)
        log_error("live", "%llu MB wait for the store, which is all that --spool allows: publishers are held",
                  (unsigned long long)(view.bytes >> 20));
    else
        log_info("live", "there is room in the spool again");
    publish_spool_changed(l);
}
