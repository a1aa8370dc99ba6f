/* comments/feed.c - the newest of a video's log in memory.
 *
 * An entry is printed once, as an event, and kept in a ring. Entries come from our own commits, and from the engine where another
 * server wrote, or where two lanes overtook each other: whenever the number that comes is not the next one. When some have come,
 * every berth that has readers is woken once (reader.c). */
#include "comments/feed_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* --- finding ------------------------------------------------------------------------------------------- */

static struct feed *feed_new(struct comments *c, struct ulid video)
{
    unsigned count = net_loop_count(c->options.net);
    struct feed *f = mem_new(sizeof *f + count * sizeof *f->berths);

    f->room = c;
    f->video = video;
    f->berth_count = count;
    pthread_mutex_init(&f->load, NULL);
    pthread_mutex_init(&f->lock, NULL);
    for (unsigned i = 0; i < count; i++) {
        f->berths[i].feed = f;
        f->berths[i].loop = net_loop(c->options.net, i);
        list_init(&f->berths[i].readers);
    }
    return f;
}

struct feed *feed_of(struct comments *c, struct ulid video, bool make)
{
    struct feed *f;

    pthread_mutex_lock(&c->lock);
    f = map_get(c->feeds, bytes_of(video.b, sizeof video.b));
    if (f == NULL && make) {
        f = feed_new(c, video);
        map_put(c->feeds, bytes_of(video.b, sizeof video.b), f);
    }
    pthread_mutex_unlock(&c->lock);
    return f;
}

/* --- the ring ------------------------------------------------------------------------------------------- */

static struct frame *frame_at(const struct feed *f, size_t i)
{
    return &f->ring[(f->first + i) % COMMENT_FEED_ENTRIES];
}

static void drop_oldest(struct feed *f)
{
    struct frame *oldest = frame_at(f, 0);

    f->bytes -= oldest->events ? oldest->events->size : 0;
    f->first_seq = oldest->seq;
    buffer_unref(oldest->events);
    f->first = (f->first + 1) % COMMENT_FEED_ENTRIES;
    f->count--;
}

/* A comment that was deleted is not told again. */
static void blank(struct feed *f, struct bytes id)
{
    for (size_t i = 0; i < f->count; i++) {
        struct frame *frame = frame_at(f, i);

        if (frame->events == NULL || !comment_event_is(frame->events, id))
            continue;
        f->bytes -= frame->events->size;
        buffer_unref(frame->events);
        frame->events = NULL;
    }
}

/* Adds the newest entry. With the load's lock held. */
static void append(struct feed *f, const struct comment *c, struct buffer *json)
{
    struct buffer *events = comment_event(c, json);

    pthread_mutex_lock(&f->lock);
    assert(c->seq > f->head);
    if (c->kind == COMMENT_DELETION)
        blank(f, c->id);
    while (f->count == COMMENT_FEED_ENTRIES || (f->count > 0 && f->bytes > COMMENT_FEED_BYTES_MAX))
        drop_oldest(f);
    *frame_at(f, f->count++) = (struct frame){c->seq, events};
    f->bytes += events ? events->size : 0;
    f->head = c->seq;
    pthread_mutex_unlock(&f->lock);
}

static void empty(struct feed *f)
{
    while (f->count > 0)
        drop_oldest(f);
    free(f->ring);
    f->ring = NULL;
    f->loaded = false;
}

struct buffer *feed_join(struct feed *f, int64_t from, size_t bytes_max, int64_t *to)
{
    struct buffer *only = NULL;
    struct builder b = {0};
    size_t i = f->count, bytes = 0;

    while (i > 0 && frame_at(f, i - 1)->seq > from)
        i--;
    *to = f->head;
    for (; i < f->count; i++) {
        struct buffer *events = frame_at(f, i)->events;

        if (bytes > bytes_max) {
            *to = frame_at(f, i - 1)->seq;
            break;
        }
        if (events == NULL)
            continue;
        bytes += events->size;
        if (only == NULL) { /* mostly there is but one, and then nothing is copied */
            only = events;
            continue;
        }
        if (b.buffer == NULL)
            builder_add(&b, buffer_bytes(only));
        builder_add(&b, buffer_bytes(events));
    }
    if (b.buffer != NULL)
        return builder_finish(&b);
    return only != NULL ? buffer_ref(only) : NULL;
}

/* --- filling it ------------------------------------------------------------------------------------------ */

static bool add_row(void *ctx, const struct comment *c)
{
    struct feed *f = ctx;

    if (c->seq > f->head) {
        append(f, c, NULL);
        if (f->room->store->shared)
            window_touch(f->room, f->video, c->offset_us);
    }
    return true;
}

/* All that the engine has beyond the ring; what is more than a ring is skipped. With the load's lock held. */
static enum err read_on(struct feed *f)
{
    struct comment_store *s = f->room->store;
    int64_t head = 0, before;
    enum err e = s->kind->head(s, f->video, &head);

    if (e == ERR_OK && head - f->head > COMMENT_FEED_ENTRIES) {
        pthread_mutex_lock(&f->lock);
        while (f->count > 0)
            drop_oldest(f);
        f->head = f->first_seq = head - COMMENT_FEED_ENTRIES;
        pthread_mutex_unlock(&f->lock);
    }
    do {
        before = f->head;
        if (e == ERR_OK)
            e = s->kind->log(s, f->video, f->head, COMMENT_FEED_ENTRIES, add_row, f);
    } while (e == ERR_OK && f->head - before >= COMMENT_FEED_ENTRIES);
    return e;
}

/* With the load's lock held. */
static enum err load(struct feed *f)
{
    enum err e;

    if (f->loaded)
        return ERR_OK;
    pthread_mutex_lock(&f->lock);
    f->ring = mem_new(COMMENT_FEED_ENTRIES * sizeof *f->ring);
    f->first = f->count = f->bytes = 0;
    f->head = f->first_seq = 0;
    pthread_mutex_unlock(&f->lock);
    e = read_on(f);
    pthread_mutex_lock(&f->lock);
    f->loaded = true;
    if (e != ERR_OK)
        empty(f);
    pthread_mutex_unlock(&f->lock);
    return e;
}

/* Whoever was told further by another server than we have heard yet must not be told the same again. */
enum err comments_feed_ready(struct comments *c, struct ulid video, int64_t since)
{
    struct feed *f = feed_of(c, video, true);
    enum err e;

    pthread_mutex_lock(&f->load);
    if ((e = load(f)) == ERR_OK && since > f->head)
        e = read_on(f);
    pthread_mutex_lock(&f->lock);
    f->used_ms = clock_mono_ms();
    pthread_mutex_unlock(&f->lock);
    pthread_mutex_unlock(&f->load);
    return e;
}

/* --- waking readers ---------------------------------------------------------------------------------------- */

static void wake_berths(struct feed *f)
{
    for (unsigned i = 0; i < f->berth_count; i++) {
        struct berth *b = &f->berths[i];

        if (atomic_load(&b->count) > 0 && !atomic_exchange(&b->woken, true))
            loop_post(b->loop, berth_turn, b);
    }
}

/* Catches up with the engine. With the load's lock held. */
static void follow_engine(struct feed *f)
{
    enum err e = read_on(f);

    if (e != ERR_OK)
        log_warn("comments", "a feed is behind: %s", err_text(e));
}

static void told_of(const struct comment_call *call, struct comment *out)
{
    *out = (struct comment){.video = call->video,
                            .seq = call->seq,
                            .kind = call->kind == COMMENT_DELETE               ? COMMENT_DELETION
                                    : call->kind == COMMENT_POST && call->hold ? COMMENT_HELD
                                                                               : COMMENT_SHOWN,
                            .id = bytes_text(call->id),
                            .offset_us = call->offset_us,
                            .created_ms = call->created_ms};
}

void feed_tell(struct comments *c, struct comment_call **calls, size_t count)
{
    struct feed *f = feed_of(c, calls[0]->video, false);
    bool torn = false;

    if (f == NULL)
        return;
    pthread_mutex_lock(&f->load);
    for (size_t i = 0; i < count && f->loaded && !torn; i++) {
        struct comment entry;

        /* Done by an attempt whose outcome was not heard: its number is in the engine only. */
        torn = calls[i]->written && calls[i]->answer == COMMENTED_BEFORE;
        if (calls[i]->answer != COMMENTED || calls[i]->seq <= f->head)
            continue;
        told_of(calls[i], &entry);
        torn = entry.seq != f->head + 1;
        if (!torn)
            append(f, &entry, calls[i]->json);
    }
    if (torn)
        follow_engine(f);
    pthread_mutex_unlock(&f->load);
    wake_berths(f);
}

void feed_catch_up(struct comments *c, struct ulid video)
{
    struct feed *f = feed_of(c, video, false);

    if (f == NULL)
        return;
    pthread_mutex_lock(&f->load);
    if (f->loaded)
        follow_engine(f);
    pthread_mutex_unlock(&f->load);
    wake_berths(f);
}

/* --- the keeper's part -------------------------------------------------------------------------------------------- */

static bool has_readers(const struct feed *f)
{
    size_t count = 0;

    for (unsigned i = 0; i < f->berth_count; i++)
        count += atomic_load(&f->berths[i].count);
    return count > 0;
}

static void look(struct feed *f)
{
    pthread_mutex_lock(&f->load);
    if (f->loaded && f->room->store->shared)
        follow_engine(f);
    else if (!f->loaded && has_readers(f) && load(f) != ERR_OK)
        log_debug("comments", "a feed cannot be read yet");
    pthread_mutex_lock(&f->lock);
    if (has_readers(f))
        f->used_ms = clock_mono_ms();
    else if (f->loaded && clock_mono_ms() - f->used_ms > COMMENT_FEED_IDLE_MS)
        empty(f);
    pthread_mutex_unlock(&f->lock);
    pthread_mutex_unlock(&f->load);
    if (f->room->store->shared)
        wake_berths(f);
}

void feeds_look(struct comments *c)
{
    struct feed **all;
    struct bytes key;
    size_t count = 0;
    void *value;

    pthread_mutex_lock(&c->lock);
    all = mem_new(map_count(c->feeds) * sizeof *all);
    for (size_t at = 0; map_next(c->feeds, &at, &key, &value);)
        all[count++] = value;
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < count; i++)
        look(all[i]);
    free(all);
}

void feeds_free(struct comments *c)
{
    struct bytes key;
    void *value;

    for (size_t at = 0; map_next(c->feeds, &at, &key, &value);) {
        struct feed *f = value;

        empty(f);
        pthread_mutex_destroy(&f->load);
        pthread_mutex_destroy(&f->lock);
        free(f);
    }
}
