/* api/comment_feed.c - the live feed of a video's comments: Server-Sent Events (HTML Living Standard §9.2). */
#include "api/comments_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct follower {
    struct http_exchange *x;
    struct comment_reader *reader;
    struct stay *stay;
    struct timer look; /* whether it may */
};

static void tell(void *ctx, struct buffer *events)
{
    http_send(((struct follower *)ctx)->x, events);
}

static size_t queued(void *ctx)
{
    return http_queued(((struct follower *)ctx)->x);
}

static void writable(void *ctx)
{
    comments_reader_writable(((struct follower *)ctx)->reader);
}

static void wait_writable(void *ctx)
{
    http_when_writable(((struct follower *)ctx)->x, writable, ctx);
}

static void ended(void *ctx)
{
    struct follower *f = ctx;

    timer_stop(&f->look);
    comments_unfollow(f->reader);
    door_stay_free(f->stay);
    free(f);
}

/* A browser comes back after the end of a feed, and is then told why it is not let in. */
static void look(void *ctx)
{
    struct follower *f = ctx;

    if (door_may_stay(f->stay))
        timer_start(http_loop(f->x), &f->look, STAY_LOOK_MS, look, f);
    else
        http_finish(f->x); /* calls ended() */
}

/* On the loop, once the feed is in memory. */
static void begin(struct call *c)
{
    static const struct comment_reader_events events = {tell, queued, wait_writable};
    struct http_exchange *x = c->x;
    struct follower *f;

    allow_origins(x);
    http_add(x, "Cache-Control", "no-store");
    http_add(x, "X-Accel-Buffering", "no");
    http_begin(x, 200, "text/event-stream");
    if (http_method(x) == HTTP_HEAD) { /* there is nothing to wait for */
        http_on_end(x, NULL, NULL);
        call_free(c);
        http_finish(x);
        return;
    }
    /* A line at once, so that proxies and pages see that it is open. */
    http_send(x, buffer_copy(bytes_text(":\n\n")));
    f = mem_new(sizeof *f);
    f->x = x;
    f->reader = comments_follow(c->api->options.comments, c->loop, c->id, c->since, &events, f);
    f->stay = door_stay_new(c);
    timer_start(c->loop, &f->look, STAY_LOOK_MS, look, f);
    http_on_end(x, ended, f);
    call_free(c);
}

/* Where a reader left off: what its browser remembers, or the query for those who cannot set fields. */
static bool check(struct call *c)
{
    struct bytes last = http_field(c->x, "Last-Event-ID");
    char text[32];
    uint64_t since = 0;
    bool present;

    c->since = COMMENT_NEW_ONLY;
    if (!call_id(c, "video"))
        return false;
    if (last.at != NULL && bytes_to_u64(last, INT64_MAX, &since)) {
        c->since = (int64_t)since;
        return true;
    }
    if (http_query_get(c->x, "after", text, sizeof text, &present) &&
        bytes_to_u64(bytes_text(text), INT64_MAX, &since))
        c->since = (int64_t)since;
    else if (present) {
        call_problem(c, 400, "bad-parameter", "'after' wants the id of the last event that was seen.");
        return false;
    }
    return true;
}

static void follow(struct call *c)
{
    if (!call_view(c) || !call_may_watch(c))
        return;
    if (comments_feed_ready(c->api->options.comments, c->id, c->since) == ERR_OK)
        c->answer = begin;
    else
        reply_comments_away(c);
}

const struct route comment_feed_routes[] = {
    {HTTP_GET, "/api/v1/videos/{}/comments/live", ROUTE_OPEN | ROUTE_BLOCKS, check, follow},
    {.pattern = NULL},
};
