/* live/follow.c - samples of a live video for whoever wants them at once, before any segment.
 *
 * The publisher's loop puts references into a queue of each follower and wakes the follower's loop when it was empty. What came
 * since the newest keyframe is kept, so that who comes later need not wait for the next: these are the buffers that the
 * segmenter holds anyway. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct follower {
    struct list link; /* on its hub's list, by the hub's lock; alone once that is over */
    struct live *live;
    struct ulid video;
    struct loop *loop;
    void (*tell)(void *ctx, const struct followed *f);
    void *ctx;
    pthread_mutex_t lock; /* guards the queue */
    struct followed *queue;
    size_t count, room;
    bool posted; /* its loop will look */
    bool waits;  /* its queue ran over: nothing before the next keyframe */
    bool closed; /* its loop's own */
};

/* --- one item ----------------------------------------------------------------------------------------- */

static struct followed followed_copy(const struct followed *f)
{
    struct followed copy = *f;

    if (copy.record != NULL)
        buffer_ref(copy.record);
    if (copy.sample.buffer != NULL)
        buffer_ref(copy.sample.buffer);
    return copy;
}

static void followed_drop(struct followed *f, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buffer_unref(f[i].record);
        buffer_unref(f[i].sample.buffer);
    }
}

static void append(struct followed **items, size_t *count, size_t *room, const struct followed *f)
{
    if (*count == *room) {
        *room = *room ? *room * 2 : 64;
        *items = mem_resize(*items, *room * sizeof **items);
    }
    (*items)[(*count)++] = followed_copy(f);
}

/* --- the follower's side ------------------------------------------------------------------------------ */

static void look(void *ctx)
{
    struct follower *f = ctx;

    pthread_mutex_lock(&f->lock);
    struct followed *items = f->queue;
    size_t count = f->count;

    f->queue = NULL;
    f->count = f->room = 0;
    f->posted = false;
    pthread_mutex_unlock(&f->lock);
    for (size_t i = 0; i < count && !f->closed; i++)
        f->tell(f->ctx, &items[i]);
    followed_drop(items, count);
    free(items);
}

/* Any thread. */
static void give(struct follower *f, const struct followed *what)
{
    bool is_key = what->kind == FOLLOWED_SAMPLE && what->track == TRACK_VIDEO && what->sample.keyframe;

    pthread_mutex_lock(&f->lock);
    if (f->count >= FOLLOW_QUEUE_MAX) {
        followed_drop(f->queue, f->count);
        f->count = 0;
        f->waits = true;
        append(&f->queue, &f->count, &f->room, &(struct followed){.kind = FOLLOWED_BREAK});
    }
    f->waits = f->waits && !is_key;
    if (!f->waits || what->kind != FOLLOWED_SAMPLE)
        append(&f->queue, &f->count, &f->room, what);
    bool wake = !f->posted;

    f->posted = true;
    pthread_mutex_unlock(&f->lock);
    if (wake)
        loop_post(f->loop, look, f);
}

static void free_follower(void *ctx)
{
    struct follower *f = ctx;

    followed_drop(f->queue, f->count);
    free(f->queue);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

struct follower *live_follow(struct live *l, struct ulid video, struct loop *loop,
                             void (*tell)(void *ctx, const struct followed *f), void *ctx)
{
    struct follower *f = NULL;

    assert(loop_here() == loop);
    pthread_mutex_lock(&l->lock);
    struct video *v = live_find_video(l, video);

    if (v != NULL && v->live && !v->importing) {
        f = mem_new(sizeof *f);
        *f = (struct follower){.live = l, .video = video, .loop = loop, .tell = tell, .ctx = ctx};
        pthread_mutex_init(&f->lock, NULL);
        list_init(&f->link);
        hub_join(&v->hub, f);
    }
    pthread_mutex_unlock(&l->lock);
    return f;
}

void live_unfollow(struct follower *f)
{
    struct live *l;

    if (f == NULL)
        return;
    l = f->live;
    pthread_mutex_lock(&l->lock);
    struct video *v = live_find_video(l, f->video);

    if (v != NULL)
        hub_leave(&v->hub, f);
    pthread_mutex_unlock(&l->lock);
    f->closed = true;
    loop_post(f->loop, free_follower, f); /* behind whatever is posted already */
}

/* --- the publisher's side ----------------------------------------------------------------------------- */

void hub_init(struct hub *h)
{
    pthread_mutex_init(&h->lock, NULL);
    list_init(&h->followers);
}

static void forget(struct hub *h)
{
    followed_drop(h->items, h->count);
    free(h->items);
    h->items = NULL;
    h->count = h->room = h->bytes = 0;
}

void hub_drop(struct hub *h)
{
    hub_end(h);
    for (int t = 0; t < TRACK_COUNT; t++)
        buffer_unref(h->track[t].record);
    pthread_mutex_destroy(&h->lock);
}

static void give_all(struct hub *h, const struct followed *what)
{
    list_each(&h->followers, at, after)
    {
        give(container_of(at, struct follower, link), what);
    }
}

static struct followed track_of(const struct hub *h, int t)
{
    return (struct followed){.kind = FOLLOWED_TRACK,
                             .track = (enum track)t,
                             .config = h->track[t].config,
                             .record = h->track[t].record};
}

void hub_join(struct hub *h, struct follower *f)
{
    pthread_mutex_lock(&h->lock);
    for (int t = 0; t < TRACK_COUNT; t++) {
        struct followed track = track_of(h, t);

        if (track.record != NULL)
            give(f, &track);
    }
    for (size_t i = 0; i < h->count; i++)
        give(f, &h->items[i]);
    list_push(&h->followers, &f->link);
    pthread_mutex_unlock(&h->lock);
}

void hub_leave(struct hub *h, struct follower *f)
{
    pthread_mutex_lock(&h->lock);
    list_remove(&f->link);
    pthread_mutex_unlock(&h->lock);
}

/* Keeps the sample for followers to come, from a keyframe on. */
static void keep(struct hub *h, const struct followed *f)
{
    if (f->track == TRACK_VIDEO && f->sample.keyframe)
        forget(h);
    else if (h->count == 0)
        return; /* there is no keyframe, or it was given up below */
    append(&h->items, &h->count, &h->room, f);
    h->bytes += f->sample.payload.size;
    if (h->bytes > FOLLOW_CACHE_BYTES_MAX || h->count > FOLLOW_CACHE_SAMPLES_MAX)
        forget(h);
}

void hub_sample(struct hub *h, enum track track, const struct codec_config *config, struct buffer *record,
                const struct sample *s)
{
    const struct followed f = {
        .kind = FOLLOWED_SAMPLE, .track = track, .sample = *s, .received_us = clock_mono_us()};

    pthread_mutex_lock(&h->lock);
    if (h->track[track].record != record) {
        buffer_unref(h->track[track].record);
        h->track[track].record = buffer_ref(record);
        h->track[track].config = *config;
        give_all(h, &(struct followed){
                        .kind = FOLLOWED_TRACK, .track = track, .config = *config, .record = record});
        if (track == TRACK_VIDEO)
            forget(h);
    }
    keep(h, &f);
    give_all(h, &f);
    pthread_mutex_unlock(&h->lock);
}

void hub_break(struct hub *h)
{
    pthread_mutex_lock(&h->lock);
    forget(h);
    give_all(h, &(struct followed){.kind = FOLLOWED_BREAK});
    pthread_mutex_unlock(&h->lock);
}

void hub_end(struct hub *h)
{
    pthread_mutex_lock(&h->lock);
    forget(h);
    give_all(h, &(struct followed){.kind = FOLLOWED_END});
    list_each(&h->followers, at, after)
    {
        list_remove(at);
    }
    pthread_mutex_unlock(&h->lock);
}
