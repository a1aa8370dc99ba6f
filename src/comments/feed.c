/* comments/feed.c - the newest of a video's log in memory, and its readers.
 *
 * An entry is printed once, as an event, and kept in a ring. Readers sit on berths, one for each loop: when entries come, every
 * berth that has readers is woken once, joins what is new into one buffer, and gives each reader a reference of it. A reader
 * remembers only how far it was told. One that does not read is told no more until it has, and then gets what the ring still
 * has, or, if it fell too far behind, `gap` and the newest few; one that returned gets what it missed out of the engine.
 *
 * Entries come from our own commits, and from the engine where another server wrote, or where two lanes overtook each other:
 * whenever the number that comes is not the next one. */
#include "comments/comments_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

METRIC(readers, METRIC_GAUGE, "matinee_comment_readers", "Readers of comment feeds");
METRIC(told, METRIC_COUNTER, "matinee_comment_events_sent_total", "Pieces of comment feeds given to readers");
METRIC(gaps, METRIC_COUNTER, "matinee_comment_gaps_total",
       "Readers that were told that they missed something");

/* A loop's share of a feed. */
struct berth {
    struct feed *feed;
    struct loop *loop;
    struct list readers; /* the loop's own, as is all but the atomics */
    atomic_size_t count;
    atomic_bool woken; /* a turn is on its way */
    int64_t sent;      /* readers in step have been told up to here */
    int64_t said_ms;   /* when all of them were last told something */
    struct timer tick;
};

struct feed {
    struct comments *room;
    struct ulid video;
    pthread_mutex_t load; /* held by whoever adds entries, over the engine's answers too */
    pthread_mutex_t lock; /* guards what follows; short */
    bool loaded;
    struct frame *ring;
    size_t first, count, bytes;
    int64_t head;      /* the newest entry's number */
    int64_t first_seq; /* entries after this one are in the ring */
    int64_t used_ms;
    unsigned berth_count;
    struct berth berths[];
};

struct comment_reader {
    struct list link;
    struct berth *berth;
    int64_t seq;   /* told up to here */
    bool returned; /* it is owed everything after `seq`; otherwise it may be told of a gap */
    bool missed;   /* and is to be told so */
    bool fetching; /* a pool thread reads for it */
    bool left;     /* freed when that is over */
    const struct comment_reader_events *events;
    void *ctx;
};

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

/* Feeds stay until the room closes, the idle ones as little more than their name: who has one need not fear for it. */
static struct feed *feed_of(struct comments *c, struct ulid video, bool make)
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

enum err comments_feed_ready(struct comments *c, struct ulid video)
{
    struct feed *f = feed_of(c, video, true);
    enum err e;

    pthread_mutex_lock(&f->load);
    e = load(f);
    f->used_ms = clock_mono_ms();
    pthread_mutex_unlock(&f->load);
    return e;
}

/* --- waking readers ---------------------------------------------------------------------------------------- */

static void turn(void *ctx);

static void wake_berths(struct feed *f)
{
    for (unsigned i = 0; i < f->berth_count; i++) {
        struct berth *b = &f->berths[i];

        if (atomic_load(&b->count) > 0 && !atomic_exchange(&b->woken, true))
            loop_post(b->loop, turn, b);
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

/* --- one reader, on its loop --------------------------------------------------------------------------------- */

static void give(struct comment_reader *r, struct buffer *events)
{
    metric_add(&told, 1);
    r->events->send(r->ctx, events);
}

static void give_gap(struct comment_reader *r, int64_t seq)
{
    struct builder b = {0};

    metric_add(&gaps, 1);
    builder_printf(&b, "id: %lld\nevent: gap\ndata: {}\n\n", (long long)seq);
    give(r, builder_finish(&b));
}

static bool has_room(const struct comment_reader *r)
{
    return r->events->queued(r->ctx) < COMMENT_READER_BYTES_MAX;
}

/* Everything after `from` in one buffer, as far as *to; NULL where there is nothing to tell. With the feed's lock held. */
static struct buffer *join(struct feed *f, int64_t from, int64_t *to)
{
    struct buffer *only = NULL;
    struct builder b = {0};
    size_t i = f->count;

    while (i > 0 && frame_at(f, i - 1)->seq > from)
        i--;
    *to = f->head;
    for (; i < f->count; i++) {
        struct buffer *events = frame_at(f, i)->events;

        if (events == NULL)
            continue;
        if (only == NULL) {
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

static void fetch(struct comment_reader *r);

/* Where one who does not keep up goes on. With the feed's lock held. */
static int64_t newest_few(const struct feed *f)
{
    int64_t few = f->head - COMMENT_SLOW_LAST;

    return few > f->first_seq ? few : f->first_seq;
}

/* Tells a reader what it has not been told, as far as it takes it. */
static void pump(struct comment_reader *r)
{
    struct feed *f = r->berth->feed;
    struct buffer *events = NULL;
    bool behind, fetches;
    int64_t from, to;

    if (r->fetching || !has_room(r))
        return;
    pthread_mutex_lock(&f->lock);
    from = to = r->seq;
    behind = f->loaded && from < f->head;
    fetches = behind && r->returned && from < f->first_seq;
    if (behind && !r->returned && (from < f->first_seq || f->head - from > COMMENT_FEED_ENTRIES / 4))
        from = newest_few(f);
    if (behind && !fetches)
        events = join(f, from, &to);
    pthread_mutex_unlock(&f->lock);
    if (from != r->seq || r->missed)
        give_gap(r, from);
    r->missed = false;
    r->seq = to;
    if (fetches) {
        fetch(r);
        return;
    }
    r->returned = false;
    if (events != NULL)
        give(r, events);
}

/* --- for those who returned: entries out of the engine --------------------------------------------------------- */

struct fetched {
    struct comment_reader *reader;
    struct comments *room;
    struct ulid video;
    int64_t seq;
    struct builder events;
    enum err e;
};

static bool print_row(void *ctx, const struct comment *c)
{
    struct fetched *f = ctx;
    struct buffer *events = comment_event(c, NULL);

    if (events != NULL)
        builder_add(&f->events, buffer_bytes(events));
    buffer_unref(events);
    f->seq = c->seq;
    return true;
}

static void read_page(void *ctx)
{
    struct fetched *f = ctx;

    f->e = comments_log(f->room, f->video, f->seq, COMMENT_PAGE, print_row, f);
}

/* On the reader's loop. The next page is asked for when this one has been offered to the peer. */
static void page_is_read(void *ctx)
{
    struct fetched *f = ctx;
    struct comment_reader *r = f->reader;

    r->fetching = false;
    if (r->left) {
        free(r);
    } else if (f->e == ERR_OK) { /* otherwise the engine is away: the tick asks again */
        r->returned = f->seq > r->seq;
        r->seq = f->seq;
        if (builder_bytes(&f->events).size > 0)
            give(r, builder_finish(&f->events));
        r->events->wait(r->ctx);
    }
    builder_drop(&f->events);
    free(f);
}

void comments_reader_writable(struct comment_reader *r)
{
    pump(r);
}

static void fetch(struct comment_reader *r)
{
    struct fetched *f = mem_new(sizeof *f);

    *f = (struct fetched){
        .reader = r, .room = r->berth->feed->room, .video = r->berth->feed->video, .seq = r->seq};
    r->fetching = true;
    pool_run(r->berth->loop, read_page, page_is_read, f);
}

/* --- a berth's turn -------------------------------------------------------------------------------------------- */

/* Entries have come: the same buffer for all that are in step. */
static void turn(void *ctx)
{
    struct berth *b = ctx;
    struct feed *f = b->feed;
    struct buffer *events = NULL;
    int64_t from = b->sent, to = from;
    bool whole;

    atomic_store(&b->woken, false);
    pthread_mutex_lock(&f->lock);
    whole = f->loaded && from >= f->first_seq && f->head > from;
    if (whole)
        events = join(f, from, &to);
    else
        to = f->head;
    pthread_mutex_unlock(&f->lock);
    list_each(&b->readers, at, after)
    {
        struct comment_reader *r = container_of(at, struct comment_reader, link);

        if (!whole || r->seq != from || r->fetching || !has_room(r)) {
            pump(r);
            continue;
        }
        r->seq = to;
        r->returned = false;
        if (events != NULL)
            give(r, buffer_ref(events));
    }
    if (events != NULL)
        b->said_ms = loop_now_ms(b->loop);
    b->sent = to;
    buffer_unref(events);
}

/* Once a second: those that were behind may have read on, and silence is broken. */
static void tick(void *ctx)
{
    struct berth *b = ctx;
    bool silent = loop_now_ms(b->loop) - b->said_ms >= COMMENT_HEARTBEAT_MS;
    struct buffer *beat = silent ? buffer_copy(bytes_text(":\n\n")) : NULL;

    list_each(&b->readers, at, after)
    {
        struct comment_reader *r = container_of(at, struct comment_reader, link);

        if (silent && has_room(r))
            r->events->send(r->ctx, buffer_ref(beat));
        if (r->seq != b->sent)
            pump(r);
    }
    buffer_unref(beat);
    if (silent)
        b->said_ms = loop_now_ms(b->loop);
    if (!list_empty(&b->readers))
        timer_start(b->loop, &b->tick, 1000, tick, b);
}

/* One that returns, from wherever it was told: too long ago, or out of a time that this log does not know. */
static void begin_at(struct comment_reader *r, int64_t since, int64_t head)
{
    r->missed = since > head || head - since > COMMENT_RESUME_MAX;
    r->seq = since > head ? head : r->missed ? head - COMMENT_RESUME_MAX : since;
    r->returned = r->seq < head;
}

struct comment_reader *comments_follow(struct comments *c, struct loop *l, struct ulid video, int64_t since,
                                       const struct comment_reader_events *events, void *ctx)
{
    struct feed *f = feed_of(c, video, true);
    struct berth *b = &f->berths[loop_index(l)];
    struct comment_reader *r = mem_new(sizeof *r);
    int64_t head;

    pthread_mutex_lock(&f->lock);
    head = f->head;
    f->used_ms = clock_mono_ms();
    pthread_mutex_unlock(&f->lock);
    *r = (struct comment_reader){.berth = b, .seq = head, .events = events, .ctx = ctx};
    if (list_empty(&b->readers)) {
        b->sent = head;
        b->said_ms = loop_now_ms(l);
        timer_start(l, &b->tick, 1000, tick, b);
    }
    if (since >= 0)
        begin_at(r, since, head);
    list_push(&b->readers, &r->link);
    atomic_fetch_add(&b->count, 1);
    metric_add(&readers, 1);
    if (!atomic_exchange(&b->woken,
                         true)) /* what came meanwhile, and what it missed, is told from the next turn on */
        loop_post(l, turn, b);
    return r;
}

void comments_unfollow(struct comment_reader *r)
{
    struct berth *b = r->berth;

    list_remove(&r->link);
    atomic_fetch_sub(&b->count, 1);
    metric_add(&readers, -1);
    if (list_empty(&b->readers))
        timer_stop(&b->tick);
    r->left = true;
    if (!r->fetching)
        free(r);
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
