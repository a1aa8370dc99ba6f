/* live/spool.c - brings finished segments to the store and the index, in order, and only then lets go of
 * the journal. A store that refuses is asked again at the next tick; players read from memory meanwhile. */
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
    v->has_row = true; /* only the one thread that spools this video, and recovery, come here */
    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++)
        if (f->bytes[t] != NULL)
            e = store_put(l->options.store, segment_name(name, v->id, (enum track)t, &f->segment),
                          buffer_bytes(f->bytes[t]));
    if (e == ERR_OK)
        e = index_add_segment(l->options.db, v, &f->segment, init);
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
        v->has_row = true;
        v->end_to_tell = false;
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
    enum err e = store_waiting(l, v);

    if (e == ERR_OK)
        e = tell_end(l, v);
    v->spooling = false;
    if (e != ERR_OK)
        log_warn("live", "video %s: a segment could not be stored: %s; trying again (the journal keeps it)",
                 ulid_text(v->id, id), err_text(e));
    else if (!list_empty(&v->spool) || v->end_to_tell)
        spool_kick(l, v); /* something came while the lock was given up */
    else if (!v->live)
        list_remove(&v->active);
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    live_release_journal(l);
    renditions_tell(l, job->id);
    free(job);
}

void spool_kick(struct live *l, struct video *v)
{
    if (l->drained || v->spooling || (list_empty(&v->spool) && !v->end_to_tell))
        return;

    struct job *job = mem_new(sizeof *job);

    job->live = l;
    job->video = v;
    job->id = v->id;
    v->spooling = true;
    pool_run(net_loop(l->options.net, 0), work, NULL, job);
}

void spool_add(struct live *l, struct video *v, struct finished *f)
{
    char name[SEGMENT_NAME_SIZE];

    for (int t = 0; t < TRACK_COUNT; t++)
        if (f->bytes[t] != NULL)
            store_hold(l->options.store, segment_name(name, v->id, (enum track)t, &f->segment), f->bytes[t]);

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
