/* http/http1.c - connections of HTTP/1.1 (RFC 9112): one request after the other, and what goes wrong.
 *
 * A connection is a machine of four phases; bytes are given to the phase it is in until it takes no more.
 * While an exchange waits for its answer the stream is paused: a hang-up is noticed at once, and what the
 * peer has pipelined waits in the kernel. What is sent is in http1_send.c. */
#include "http/http1_int.h"

#include "base/mem.h"

#include <stdlib.h>

/* --- time limits --------------------------------------------------------------------------------------------- */

/* When the limit of the present phase is passed, were nothing to happen. */
static int64_t due_ms(const struct http1 *c)
{
    switch (c->phase) {
    case HTTP1_HEAD:
        return c->head_ms > 0 ? c->head_ms + HTTP_HEAD_MS_MAX : c->active_ms + HTTP_IDLE_MS_MAX;
    case HTTP1_BODY:
        return c->body_paused ? INT64_MAX : c->active_ms + HTTP_STALL_MS_MAX;
    case HTTP1_ANSWER:
    case HTTP1_OVER:
        break;
    }
    return INT64_MAX; /* ours to end; the stream itself watches whether the peer takes it */
}

static void fired(void *ctx);

/* Moves the timer only where it would fire too late: a busy connection never touches the heap. */
static void arm(struct http1 *c)
{
    int64_t due = due_ms(c);
    struct loop *l = c->base.part->loop;

    if (due == INT64_MAX || (c->timer.loop != NULL && c->timer.due_ms <= due))
        return;
    timer_start(l, &c->timer, due - loop_now_ms(l), fired, c);
}

static void limit_passed(struct http1 *c)
{
    if (c->phase == HTTP1_BODY || c->head_ms > 0)
        http1_refuse(c, 408);
    else if (stream_queued(c->base.stream) > 0)
        c->active_ms = loop_now_ms(c->base.part->loop); /* not idle: still taking the last answer */
    else
        stream_close_gently(c->base.stream);
}

static void fired(void *ctx)
{
    struct http1 *c = ctx;

    if (c->kicked) {
        c->kicked = false;
        http1_run(c, bytes_of(NULL, 0));
    } else if (due_ms(c) <= loop_now_ms(c->base.part->loop)) {
        limit_passed(c);
    }
    arm(c);
}

/* Has the machine look again although no bytes came: a body may be over already when it is asked for. */
void http1_kick(struct http1 *c)
{
    c->kicked = true;
    timer_start(c->base.part->loop, &c->timer, 0, fired, c);
}

/* --- heads ----------------------------------------------------------------------------------------------------- */

static void handle(struct http1 *c)
{
    struct http_handler *h = &c->base.part->handler;

    h->handle(h->ctx, c->x);
}

/* The exchange is there: how its body comes, and who is told first. */
static void begin(struct http1 *c, const struct http1_head *head)
{
    struct http_handler *h = &c->base.part->handler;
    struct http_exchange *x = c->x;

    c->chunked_in = head->chunked;
    c->body_left = head->length;
    c->chunks = (struct http1_chunks){0};
    c->body_over = !head->chunked && head->length == 0;
    c->body_paused = false;
    c->continue_due = head->expects_continue;
    c->phase = HTTP1_BODY;
    x->streams = h->streams_body != NULL && h->streams_body(h->ctx, x);
    if (c->x != x)
        return; /* answered on the spot */
    if (!x->streams && head->length > HTTP_BODY_BYTES_MAX) {
        http1_refuse(c, 413);
        return;
    }
    if (c->body_over && !x->streams)
        c->phase = HTTP1_ANSWER;
    if (x->streams || c->body_over)
        handle(c);
}

/* OPTIONS *, about the server as a whole (RFC 9110 §9.3.7). */
static void answer_for_server(struct http1 *c)
{
    c->body_over = true;
    c->phase = HTTP1_ANSWER;
    http_add(c->x, "Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    http_answer(c->x, 204, NULL, NULL);
}

static size_t head_step(struct http1 *c, struct bytes in)
{
    struct http1_head head;
    struct stream *s = c->base.stream;
    int status;

    if (in.size == 0)
        return 0;
    if (stream_queued(s) > HTTP_OUT_QUEUE_BYTES_MAX) { /* asks and asks, and does not take the answers */
        c->choked = true;
        stream_pause(s);
        stream_wait_writable(s, HTTP_OUT_QUEUE_BYTES_MAX / 2);
        return 0;
    }
    long taken = http1_head_parse(&head, &c->scan, in, &status);

    if (taken == PARSE_MORE) {
        if (c->head_ms == 0)
            c->head_ms = loop_now_ms(c->base.part->loop);
        return 0;
    }
    c->keep_alive = false;
    c->old = taken > 0 && head.minor == 0;
    if (taken < 0) {
        http1_refuse(c, status);
        return in.size;
    }
    struct request r = {.method = head.method,
                        .path = head.path,
                        .query = head.query,
                        .authority = head.authority,
                        .fields = head.fields,
                        .field_count = head.field_count,
                        .head = in.at,
                        .head_size = (size_t)taken};

    c->scan = (struct http1_scan){0};
    c->head_ms = 0;
    c->requests++;
    c->x = exchange_new(c->base.part, s, &http1_transport, c, &r);
    if (c->x == NULL) {
        http1_refuse(c, 400);
        return in.size;
    }
    c->keep_alive = head.keep_alive && !c->base.part->draining;
    if (head.for_server && !head.chunked && head.length == 0)
        answer_for_server(c);
    else
        begin(c, &head);
    return (size_t)taken;
}

/* --- bodies ---------------------------------------------------------------------------------------------------- */

/* Takes a stretch of body off `in`; *taken says how much of `in` that was. False: malformed. */
static bool body_stretch(struct http1 *c, struct bytes in, struct bytes *data, size_t *taken)
{
    if (!c->chunked_in) {
        *data = bytes_head(in, c->body_left < in.size ? (size_t)c->body_left : in.size);
        c->body_left -= data->size;
        c->body_over = c->body_left == 0;
        *taken = data->size;
        return true;
    }
    long size = http1_chunks_parse(&c->chunks, in, data);

    *taken = size > 0 ? (size_t)size : 0;
    c->body_over = http1_chunks_done(&c->chunks);
    return size >= 0;
}

/* Gives a stretch to whom it belongs. False when that has ended the exchange. */
static bool body_given(struct http1 *c, struct bytes data)
{
    struct http_exchange *x = c->x;

    if (data.size == 0)
        return true;
    if (x->streams) {
        x->piece(x->piece_ctx, data);
        return c->x == x;
    }
    if (builder_bytes(&x->body).size + data.size > HTTP_BODY_BYTES_MAX) {
        http1_refuse(c, 413);
        return false;
    }
    builder_add(&x->body, data);
    return true;
}

static size_t body_step(struct http1 *c, struct bytes in)
{
    struct http_exchange *x = c->x;
    struct bytes data = {0};
    size_t taken = 0;

    if (x->streams && (x->piece == NULL || c->body_paused)) {
        stream_pause(c->base.stream);
        return 0;
    }
    if (c->continue_due && in.size == 0)
        http1_say_continue(c);
    c->continue_due = false;
    if (!c->body_over && in.size > 0) {
        if (!body_stretch(c, in, &data, &taken)) {
            http1_refuse(c, 400);
            return in.size;
        }
        if (!body_given(c, data))
            return taken;
    }
    if (!c->body_over || c->body_paused)
        return taken;
    c->phase = HTTP1_ANSWER;
    if (x->streams)
        x->piece(x->piece_ctx, bytes_of(NULL, 0));
    else
        handle(c);
    return taken;
}

/* --- the machine ------------------------------------------------------------------------------------------------- */

static size_t step(struct http1 *c, struct bytes in)
{
    switch (c->phase) {
    case HTTP1_HEAD:
        return head_step(c, in);
    case HTTP1_BODY:
        return body_step(c, in);
    case HTTP1_ANSWER:
        stream_pause(c->base.stream);
        return 0;
    case HTTP1_OVER:
        break;
    }
    return in.size; /* whatever they still say, we are done */
}

size_t http1_run(struct http1 *c, struct bytes in)
{
    size_t taken = 0;

    c->running = true;
    c->requests = 0;
    for (;;) {
        enum http1_phase phase = c->phase;
        size_t size = step(c, bytes_from(in, taken));

        taken += size;
        if (size == 0 && c->phase == phase)
            break; /* it waits for bytes, or for an answer */
        if (c->requests >= HTTP_PIPELINE_TURN_MAX) {
            stream_resume(c->base.stream); /* the rest is shown again next turn */
            break;
        }
    }
    c->running = false;
    return taken;
}

static size_t on_read(void *ctx, struct stream *s, struct bytes in)
{
    struct http1 *c = ctx;

    c->active_ms = loop_now_ms(c->base.part->loop);
    size_t taken = http1_run(c, in);

    arm(c);
    return taken;
}

static void on_writable(void *ctx, struct stream *s)
{
    struct http1 *c = ctx;

    if (c->choked) {
        c->choked = false;
        stream_resume(s);
    }
    if (c->x != NULL)
        exchange_writable(c->x);
}

static void on_closed(void *ctx, struct stream *s, enum err why)
{
    struct http1 *c = ctx;

    timer_stop(&c->timer);
    if (c->x != NULL)
        exchange_over(c->x);
    part_leave(&c->base);
    free(c);
}

static void drain(struct http_connection *base)
{
    struct http1 *c = container_of(base, struct http1, base);

    c->keep_alive = false;
    if (c->phase == HTTP1_HEAD)
        stream_close_gently(base->stream);
}

void http1_ready_for_next(struct http1 *c)
{
    c->phase = HTTP1_HEAD;
    c->active_ms = loop_now_ms(c->base.part->loop);
    if (c->running)
        return;
    stream_resume(c->base.stream); /* answered later: there may be a next request already */
    arm(c);
}

void http1_open(struct http_part *p, struct stream *s)
{
    static const struct stream_events events = {on_read, on_writable, on_closed};
    struct http1 *c = mem_new(sizeof *c);

    c->base.stream = s;
    c->base.drain = drain;
    part_enter(p, &c->base);
    stream_use(s, &events, c);
    c->active_ms = loop_now_ms(p->loop);
    if (p->draining)
        stream_close_gently(s);
    arm(c);
}
