/* live/edge.c - what low-latency players see: a live video with the parts of the segment that is still open.
 *
 * Nobody pays for it whom nobody watches: parts are laid out in any case, as pieces of their segment, but copied out and shown
 * only while somebody hurries the publisher (hurry.c), or asks once. A new edge replaces the old one under the room's lock. The
 * shelves of the newest LIVE_PART_SEGMENTS segments that are done stay, watched or not: who comes first wants them listed, too (hls.js
 * stands still until the open segment is done where it finds the parts of no other). */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

struct edge *edge_ref(struct edge *e)
{
    atomic_fetch_add_explicit(&e->references, 1, memory_order_relaxed);
    return e;
}

void edge_unref(struct edge *e)
{
    if (e == NULL || atomic_fetch_sub_explicit(&e->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < e->shelf_count; i++)
        shelf_drop(&e->shelves[i]);
    for (size_t i = 0; i < EDGE_CACHES; i++)
        buffer_unref(e->cache[i]);
    free(e->shelves);
    video_view_unref(e->view);
    free(e);
}

struct buffer *edge_cached(struct edge *e, unsigned slot,
                           struct buffer *(*make)(struct edge *e, unsigned slot, void *ctx), void *ctx)
{
    struct buffer *cached = atomic_load_explicit(&e->cache[slot], memory_order_acquire);
    struct buffer *made;

    if (cached != NULL)
        return buffer_ref(cached);
    made = make(e, slot, ctx);
    if (made == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(&e->cache[slot], &cached, made))
        return buffer_ref(made);
    buffer_unref(made); /* another thread was first, with the same text */
    return buffer_ref(cached);
}

/* --- making ------------------------------------------------------------------------------------------ */

/* Takes over `shelves`, which are of `parts_ms`. With the lock held; the video has a view. */
static struct edge *edge_new(const struct video *v, struct shelf *shelves, size_t count, int64_t parts_ms)
{
    struct edge *e = mem_new(sizeof *e);

    atomic_init(&e->references, 1);
    e->view = video_view_ref(v->view);
    e->publishing = v->publishing;
    e->serial = atomic_fetch_add(&v->room->serials, 1);
    memcpy(e->part_90k, v->part_90k, sizeof e->part_90k);
    e->shelves = shelves;
    e->shelf_count = count;
    e->parts_ms = parts_ms;
    return e;
}

static struct shelf *copy_shelves(const struct shelf *from, size_t count, size_t room)
{
    struct shelf *shelves = mem_new(room * sizeof *shelves);

    for (size_t i = 0; i < count; i++)
        shelves[i] = shelf_copy(&from[i]);
    return shelves;
}

/* With the lock held. */
static void tell(const struct video *v)
{
    struct live *l = v->room;

    if (l->edge_told != NULL)
        l->edge_told(l->edge_ctx, v->id);
}

static void replace(struct video *v, struct edge *e)
{
    edge_unref(v->edge);
    v->edge = e;
    tell(v);
}

/* With the lock held. */
static void keep_done(struct video *v, const struct shelf *s)
{
    if (s->count[TRACK_VIDEO] + s->count[TRACK_AUDIO] == 0)
        return;
    if (v->done_count == LIVE_PART_SEGMENTS) {
        shelf_drop(&v->done[0]);
        memmove(v->done, v->done + 1, --v->done_count * sizeof *v->done);
    }
    v->done[v->done_count++] = shelf_copy(s);
}

void edge_drop_done(struct video *v)
{
    while (v->done_count > 0)
        shelf_drop(&v->done[--v->done_count]);
}

void edge_show(struct publication *p)
{
    struct video *v = p->video;
    struct shelf open[2] = {{0}, {0}};
    size_t open_count;

    p->shown_changes = segmenter_changes(v->segmenter);
    open_count = segmenter_shelves(v->segmenter, open);
    pthread_mutex_lock(&p->live->lock);
    struct shelf *shelves = copy_shelves(v->done, v->done_count, v->done_count + open_count);

    for (size_t i = 0; i < open_count; i++)
        shelves[v->done_count + i] = open[i];
    replace(v, edge_new(v, shelves, v->done_count + open_count, clock_mono_ms()));
    pthread_mutex_unlock(&p->live->lock);
}

void edge_update(struct publication *p)
{
    if (p->hurried && segmenter_changes(p->video->segmenter) != p->shown_changes)
        edge_show(p);
}

void edge_finished(struct video *v, struct finished *f)
{
    pthread_mutex_lock(&v->room->lock);
    bool watched = v->hurried_until_ms > clock_mono_ms();
    size_t count = v->edge != NULL ? v->edge->shelf_count : 0;

    for (int t = 0; t < TRACK_COUNT && watched; t++)
        if (f->bytes[t] != NULL)
            shelf_fill(&f->shelf, (enum track)t, buffer_bytes(f->bytes[t]));
    keep_done(v, &f->shelf);
    if (watched && count > 0) {
        struct shelf *shelves = copy_shelves(v->edge->shelves, count, count);

        for (size_t i = 0; i < count; i++) {
            if (shelves[i].number != f->segment.number)
                continue;
            shelf_drop(&shelves[i]);
            shelves[i] = shelf_copy(&f->shelf);
        }
        /* Players are told when the segment is there too. */
        struct edge *e = edge_new(v, shelves, count, v->edge->parts_ms);

        edge_unref(v->edge);
        v->edge = e;
    } else if (!watched && v->edge != NULL) { /* somebody had asked once: of that nothing is kept */
        edge_unref(v->edge);
        v->edge = NULL;
    }
    pthread_mutex_unlock(&v->room->lock);
}

void edge_forget(struct video *v)
{
    pthread_mutex_lock(&v->room->lock);
    replace(v, NULL);
    pthread_mutex_unlock(&v->room->lock);
}

void edge_view_changed(struct video *v)
{
    struct edge *before = v->edge, *e = NULL;

    if (before != NULL && v->live)
        e = edge_new(v, copy_shelves(before->shelves, before->shelf_count, before->shelf_count),
                     before->shelf_count, before->parts_ms);
    if (!v->live)
        edge_drop_done(v);
    replace(v, e);
}

/* --- asking ------------------------------------------------------------------------------------------ */

/* How many of the shelves that are kept are of segments that the view has: one is about to be shown while this is asked. */
static size_t known_done(const struct video *v)
{
    const struct video_view *view = v->view;
    size_t count = view->segment_count > 0 ? v->done_count : 0;

    while (count > 0 && v->done[count - 1].number > view->segments[view->segment_count - 1].number)
        count--;
    return count;
}

struct edge *live_edge_peek(struct live *l, struct ulid video)
{
    struct edge *e = NULL;

    pthread_mutex_lock(&l->lock);
    struct video *v = live_find_video(l, video);

    if (v != NULL && v->live && v->view != NULL) {
        if (v->edge == NULL) {
            size_t count = known_done(v);

            v->edge = edge_new(v, copy_shelves(v->done, count, count), count, INT64_MIN);
        }
        e = edge_ref(v->edge);
    }
    pthread_mutex_unlock(&l->lock);
    return e;
}

/* Where the parts of a shelf end, in ticks of 1/90000 s. */
static int64_t end_of(const struct shelf *s, const struct video_view *view)
{
    int64_t end = s->start;

    for (int t = 0; t < TRACK_COUNT; t++) {
        if (s->count[t] == 0)
            continue;
        const struct part *last = &s->parts[t][s->count[t] - 1];
        int64_t rate = t == TRACK_AUDIO ? view->inits[t][s->init[t]].config.rate : CMAF_VIDEO_TIMESCALE;
        int64_t at = (last->start + last->duration) * CMAF_VIDEO_TIMESCALE / rate;

        end = at > end ? at : end;
    }
    return end;
}

double live_edge_s(struct live *l, const struct video_view *view)
{
    double seconds = video_view_duration_s(view);

    pthread_mutex_lock(&l->lock);
    const struct video *v = live_find_video(l, view->id);
    const struct edge *e = v != NULL ? v->edge : NULL;
    double parts = e != NULL && e->shelf_count > 0
                       ? (double)end_of(&e->shelves[e->shelf_count - 1], e->view) / CMAF_VIDEO_TIMESCALE
                       : 0;

    pthread_mutex_unlock(&l->lock);
    return parts > seconds ? parts : seconds;
}

static void show_here(struct publication *p, const char *text)
{
    if (p->video != NULL && p->opened)
        edge_show(p);
}

void live_edge_ask(struct live *l, struct ulid video)
{
    pthread_mutex_lock(&l->lock);
    const struct video *v = live_find_video(l, video);

    if (v != NULL && v->publishing && v->event->publication != NULL)
        publication_post(v->event->publication, show_here, NULL);
    pthread_mutex_unlock(&l->lock);
}

void live_on_edge(struct live *l, void (*changed)(void *ctx, struct ulid video), void *ctx)
{
    pthread_mutex_lock(&l->lock);
    l->edge_told = changed;
    l->edge_ctx = ctx;
    pthread_mutex_unlock(&l->lock);
}
