/* comments/reader.c - the readers of a feed, on their loops.
 *
 * Readers sit on berths, one for each loop. When entries come, a berth joins what is new into one buffer and gives each reader a
 * reference of it. A reader remembers only how far it was told. One that does not read is told no more until it has, and then gets
 * what the ring still has, or, if it fell too far behind, `gap` and the newest few; one that returned gets what it missed out of
 * the engine, a page at a time. */
#include "comments/feed_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdlib.h>

METRIC(readers, METRIC_GAUGE, "matinee_comment_readers", "Readers of comment feeds");
METRIC(told, METRIC_COUNTER, "matinee_comment_events_sent_total", "Pieces of comment feeds given to readers");
METRIC(gaps, METRIC_COUNTER, "matinee_comment_gaps_total",
       "Readers that were told that they missed something");

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
    int64_t from, to, head;
    bool fetches;

    if (r->fetching || !has_room(r))
        return;
    pthread_mutex_lock(&f->lock);
    from = to = r->seq;
    head = f->loaded ? f->head : from;
    fetches = from < head && r->returned && from < f->first_seq;
    if (from < head && !r->returned && (from < f->first_seq || head - from > COMMENT_SLOW_BEHIND_MAX))
        from = newest_few(f);
    if (from < head && !fetches)
        events = feed_join(f, from, COMMENT_READER_BYTES_MAX, &to);
    pthread_mutex_unlock(&f->lock);
    if (from != r->seq || r->missed)
        give_gap(r, from);
    r->missed = false;
    r->seq = to;
    if (fetches) {
        fetch(r);
        return;
    }
    r->returned = r->returned && to < head;
    if (events != NULL)
        give(r, events);
    if (to < head)
        r->events->wait(r->ctx);
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
void berth_turn(void *ctx)
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
        events = feed_join(f, from, SIZE_MAX, &to);
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
        loop_post(l, berth_turn, b);
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
