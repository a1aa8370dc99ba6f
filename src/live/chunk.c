/* live/chunk.c - the chunks of a live source as they come: each goes to the store by itself, so that renditions can be made of a
 * segment while it is still open, and what is made of it can be played as parts.
 *
 * A chunk is what the map takes: from a keyframe to the first one that begins a part two seconds later or more. The same are found
 * in the stored segment (ladder/chunks.c), so whoever misses one here finds it there. */
#include "live/live_int.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define CHUNK_TICKS_MIN (2 * CMAF_VIDEO_TIMESCALE)
#define TICKS_A_MS      (CMAF_VIDEO_TIMESCALE / 1000)

const char *live_chunk_name(char name[SEGMENT_NAME_SIZE], struct ulid video, uint32_t number, unsigned index)
{
    char id[ULID_TEXT_SIZE];

    snprintf(name, SEGMENT_NAME_SIZE, "v/%s/source/%06u.c%u.m4s", ulid_text(video, id), number, index);
    return name;
}

void live_on_chunk(struct live *l, void (*told)(void *ctx, const struct live_chunk *c), void *ctx)
{
    pthread_mutex_lock(&l->lock);
    l->chunk_told = told;
    l->chunk_ctx = ctx;
    pthread_mutex_unlock(&l->lock);
}

/* --- how long they are ------------------------------------------------------------------------------- */

/* What a playlist may promise when chunks are so long: RTMP's stamps are whole milliseconds, and encoders are not exact. */
static int64_t promise_90k(int64_t duration)
{
    const int64_t step = 50 * TICKS_A_MS;

    return (duration + 5 * TICKS_A_MS + step - 1) / step * step;
}

/* A promise is given once, with the first chunk, and taken back for good with the first that does not keep it: keyframes that
 * come as they like make no parts that players could rely on. With the lock held. */
static void promise(struct video *v, const struct live_chunk *c)
{
    if (v->chunks_irregular)
        return;
    if (v->chunk_90k == 0 && c->index == 0 && c->duration >= CHUNK_TICKS_MIN)
        v->chunk_90k = (uint32_t)promise_90k(c->duration);
    if (v->chunk_90k == 0 || (c->duration <= v->chunk_90k &&
                              (c->last || c->duration * 100 >= (int64_t)v->chunk_90k * PART_PERCENT_MIN)))
        return;
    v->chunks_irregular = true;
    v->chunk_90k = 0;
    if (v->view != NULL)
        video_show(v, NULL);
}

/* Chunks on their way to the store, of all videos; while it is slow those beyond are left out, since their segments are made all the same. */
#define CHUNKS_WAITING_MAX 64

/* --- telling ----------------------------------------------------------------------------------------- */

struct telling {
    struct live *live;
    struct live_chunk chunk;
    struct buffer *bytes;
};

static void store_and_tell(void *ctx)
{
    struct telling *t = ctx;
    struct live *l = t->live;
    char name[SEGMENT_NAME_SIZE];
    enum err e =
        store_put(l->options.store, live_chunk_name(name, t->chunk.video, t->chunk.number, t->chunk.index),
                  buffer_bytes(t->bytes));

    pthread_mutex_lock(&l->lock);
    void (*told)(void *ctx, const struct live_chunk *c) = l->chunk_told;
    void *told_ctx = l->chunk_ctx;

    l->chunks_waiting--;
    pthread_mutex_unlock(&l->lock);
    if (e != ERR_OK)
        log_debug("live", "%s could not be stored: %s; its segment will be", name, err_text(e));
    else if (told != NULL)
        told(told_ctx, &t->chunk);
    buffer_unref(t->chunk.record);
    buffer_unref(t->bytes);
    free(t);
}

static void tell(struct video *v, const struct live_chunk *c, struct bytes bytes)
{
    struct live *l = v->room;
    struct telling *t = mem_new(sizeof *t);

    *t = (struct telling){l, *c, buffer_copy(bytes)};
    pthread_mutex_lock(&l->lock);
    promise(v, c);

    const struct init *init = v->inits[TRACK_VIDEO][c->init];
    bool wanted = l->chunk_told != NULL && !l->drained && l->chunks_waiting < CHUNKS_WAITING_MAX;

    t->chunk.config = init->config;
    t->chunk.record = buffer_ref(init->record);
    if (wanted) {
        l->chunks_waiting++;
        store_run(l->options.store, STORE_WRITES, net_loop(l->options.net, 0), store_and_tell, NULL, t);
    }
    pthread_mutex_unlock(&l->lock);
    if (wanted)
        return;
    buffer_unref(t->chunk.record);
    buffer_unref(t->bytes);
    free(t);
}

/* --- finding ----------------------------------------------------------------------------------------- */

/* Where the chunk ends that begins with part `from`; 0: it goes on. */
static size_t end_of(const struct shelf *s, size_t from, bool done)
{
    const struct part *parts = s->parts[TRACK_VIDEO];

    for (size_t i = from + 1; i < s->count[TRACK_VIDEO]; i++)
        if (parts[i].independent && parts[i].start - parts[from].start >= CHUNK_TICKS_MIN)
            return i;
    return done && from < s->count[TRACK_VIDEO] ? s->count[TRACK_VIDEO] : 0;
}

/* `bytes` are the segment's, as far as it has got; `done`: that is all of it. */
static void look(struct video *v, const struct shelf *s, struct bytes bytes, bool done)
{
    struct chunking *c = &v->chunking[s->number % 2];
    const struct part *parts = s->parts[TRACK_VIDEO];
    size_t to;

    if (c->number != s->number || !c->begun)
        *c = (struct chunking){.begun = true, .number = s->number};
    while ((to = end_of(s, c->from, done)) > 0) {
        const struct part *first = &parts[c->from], *last = &parts[to - 1];
        struct live_chunk chunk = {
            .video = v->id,
            .number = s->number,
            .index = c->count,
            .last = done && to == s->count[TRACK_VIDEO],
            .discontinuity = s->discontinuity,
            .wall_ms = s->wall_ms,
            .start = first->start,
            .duration = last->start + last->duration - first->start,
            .init = s->init[TRACK_VIDEO],
            .size = last->at + last->size - first->at,
        };

        tell(v, &chunk, bytes_head(bytes_from(bytes, first->at), chunk.size));
        c->from = to;
        c->count++;
    }
}

void chunk_update(struct video *v)
{
    struct shelf s;
    struct bytes bytes;

    if (segmenter_pictures(v->segmenter, &s, &bytes))
        look(v, &s, bytes, false);
}

void chunk_finished(struct video *v, const struct finished *f)
{
    if (f->bytes[TRACK_VIDEO] != NULL && f->shelf.count[TRACK_VIDEO] > 0)
        look(v, &f->shelf, buffer_bytes(f->bytes[TRACK_VIDEO]), true);
}
