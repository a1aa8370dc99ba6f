/* http/http2.c - connections of HTTP/2 (RFC 9113): nghttp2 does framing, HPACK and windows; this carries
 * bytes between it and the stream, and bounds what a peer can make us do. */
#include "http/http2_int.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

/* --- callbacks of nghttp2 -------------------------------------------------------------------------------------- */

static ssize_t on_send(nghttp2_session *session, const uint8_t *at, size_t size, int flags, void *ctx)
{
    struct http2 *c = ctx;

    if (stream_queued(c->base.stream) > HTTP2_SEND_BYTES)
        return NGHTTP2_ERR_WOULDBLOCK;
    stream_write(c->base.stream, bytes_of(at, size));
    return (ssize_t)size;
}

static struct http2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct http2 *c = ctx;

    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id,
                                             http2_stream_new(c, frame->hd.stream_id));
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags, void *ctx)
{
    struct http2_stream *st = stream_of(session, frame->hd.stream_id);

    if (st != NULL && frame->headers.cat == NGHTTP2_HCAT_REQUEST) /* else trailers, which we ignore */
        http2_add_field(st, bytes_of(name, name_size), bytes_of(value, value_size));
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct http2 *c = ctx;
    struct http2_stream *st = stream_of(session, frame->hd.stream_id);

    if (frame->hd.type == NGHTTP2_RST_STREAM)
        http2_count_reset(c);
    if (st == NULL || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    bool is_head = frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;

    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        st->body_over = true;
    if (is_head)
        http2_head_done(st);
    else if (st->body_over)
        http2_body_end(st);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *at, size_t size,
                   void *ctx)
{
    struct http2_stream *st = stream_of(session, id);

    /* The connection's window never waits for one stream: the stream's own does. */
    nghttp2_session_consume_connection(session, size);
    if (st != NULL)
        http2_body(st, bytes_of(at, size));
    else
        nghttp2_session_consume_stream(session, id, size);
    return 0;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    /* A peer can have us reset its streams by breaking rules; that is counted as if it did so itself. */
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
        http2_count_reset(ctx);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *ctx)
{
    http2_stream_free(stream_of(session, id));
    return 0;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

/* Whether nothing more can come of this connection; then it ends. */
static void end_if_over(struct http2 *c)
{
    if (c->over)
        return;
    if ((c->base.part->draining && list_empty(&c->streams)) ||
        (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))) {
        c->over = true;
        stream_close_gently(c->base.stream);
    }
}

void http2_pump(struct http2 *c)
{
    if (c->in_session || c->over)
        return;
    c->in_session = true;
    int failed = nghttp2_session_send(c->session);

    c->in_session = false;
    if (failed != 0) {
        c->over = true;
        stream_close(c->base.stream);
        return;
    }
    if (nghttp2_session_want_write(c->session) && stream_queued(c->base.stream) > HTTP2_SEND_BYTES)
        stream_wait_writable(c->base.stream, HTTP2_SEND_BYTES / 2);
    end_if_over(c);
}

void http2_look_soon(struct http2 *c)
{
    stream_wait_writable(c->base.stream, SIZE_MAX); /* whatever is queued: it is called as the turn ends */
}

/* Hands on what streams wait for. Nothing of theirs is freed here: that happens within the session only. */
static void look(struct http2 *c)
{
    list_each(&c->streams, at, after)
    {
        struct http2_stream *st = container_of(at, struct http2_stream, link);

        http2_give_waiting(st);
        if (st->x != NULL && st->queued <= HTTP_OUT_QUEUE_BYTES_MAX / 2)
            exchange_writable(st->x);
    }
}

/* --- bounds -------------------------------------------------------------------------------------------------------- */

/* Opening streams and resetting them costs a peer nothing and us a request each ("rapid reset"). */
void http2_count_reset(struct http2 *c)
{
    int64_t now = loop_now_ms(c->base.part->loop);

    if (now - c->resets_ms > HTTP2_RESETS_MS) {
        c->resets_ms = now;
        c->resets = 0;
    }
    if (++c->resets == HTTP2_RESETS_MAX)
        nghttp2_session_terminate_session(c->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* When this stream has stood still for too long, were nothing to happen; INT64_MAX while it waits for us. */
static int64_t stream_due_ms(const struct http2_stream *st)
{
    bool peer_owes = (!st->body_over && !st->body_paused && st->waiting.buffer == NULL) || st->queued > 0;

    return peer_owes ? st->active_ms + HTTP_STALL_MS_MAX : INT64_MAX;
}

static int64_t due_ms(const struct http2 *c)
{
    int64_t due = INT64_MAX;

    if (list_empty(&c->streams))
        return c->active_ms + HTTP_IDLE_MS_MAX;
    list_each((struct list *)&c->streams, at, after)
    {
        int64_t one = stream_due_ms(container_of(at, struct http2_stream, link));

        due = one < due ? one : due;
    }
    return due;
}

static void fired(void *ctx);

static void arm(struct http2 *c)
{
    struct loop *l = c->base.part->loop;
    int64_t soonest = loop_now_ms(l) + HTTP_STALL_MS_MAX;

    /* Never later than a stall takes: what streams owe is looked at then, not at every frame. */
    if (c->timer.loop == NULL || c->timer.due_ms > soonest)
        timer_start(l, &c->timer, HTTP_STALL_MS_MAX, fired, c);
}

static void fired(void *ctx)
{
    struct http2 *c = ctx;
    int64_t now = loop_now_ms(c->base.part->loop);

    if (list_empty(&c->streams) && due_ms(c) <= now) {
        nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
    } else {
        list_each(&c->streams, at, after)
        {
            struct http2_stream *st = container_of(at, struct http2_stream, link);

            if (stream_due_ms(st) <= now)
                nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
        }
    }
    http2_pump(c);
    int64_t due = due_ms(c), wait = due == INT64_MAX ? HTTP_STALL_MS_MAX : due - now;

    if (!c->over)
        timer_start(c->base.part->loop, &c->timer, wait < HTTP_STALL_MS_MAX ? wait : HTTP_STALL_MS_MAX, fired,
                    c);
}

/* --- the stream's events ---------------------------------------------------------------------------------------------- */

static size_t on_read(void *ctx, struct stream *s, struct bytes in)
{
    struct http2 *c = ctx;

    c->active_ms = loop_now_ms(c->base.part->loop);
    c->in_session = true;
    ssize_t taken = nghttp2_session_mem_recv(c->session, in.at, in.size);

    c->in_session = false;
    http2_pump(c); /* also after a failure: the session has a GOAWAY to send */
    if (taken < 0 && !c->over) {
        c->over = true;
        stream_close_gently(s);
    }
    return in.size;
}

static void on_writable(void *ctx, struct stream *s)
{
    struct http2 *c = ctx;

    if (c->over)
        return;
    http2_pump(c);
    if (c->over)
        return;
    c->in_session = true; /* what is answered now is sent below, when nobody holds a stream any more */
    look(c);
    c->in_session = false;
    http2_pump(c);
}

static void on_closed(void *ctx, struct stream *s, enum err why)
{
    struct http2 *c = ctx;

    timer_stop(&c->timer);
    nghttp2_session_del(c->session);
    list_each(&c->streams, at, after)
    {
        http2_stream_free(container_of(at, struct http2_stream, link));
    }
    part_leave(&c->base);
    free(c);
}

static void drain(struct http_connection *base)
{
    struct http2 *c = container_of(base, struct http2, base);

    nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->session),
                          NGHTTP2_NO_ERROR, NULL, 0);
    http2_pump(c);
}

/* --- opening ------------------------------------------------------------------------------------------------------------ */

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *option;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_callbacks(void)
{
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
        abort(); /* only without memory, as in base/mem.c */
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, http2_send_data);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option_set_no_auto_window_update(option, 1); /* windows open as bodies are taken */
    nghttp2_option_set_no_closed_streams(option, 1);
}

void http2_open(struct http_part *p, struct stream *s)
{
    static const struct stream_events events = {on_read, on_writable, on_closed};
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_BYTES_MAX},
    };
    struct http2 *c = mem_new(sizeof *c);

    pthread_once(&once, make_callbacks);
    c->base.stream = s;
    c->base.drain = drain;
    list_init(&c->streams);
    part_enter(p, &c->base);
    stream_use(s, &events, c);
    c->active_ms = loop_now_ms(p->loop);
    if (nghttp2_session_server_new2(&c->session, callbacks, c, option) != 0)
        abort();
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, HTTP2_CONNECTION_WINDOW_BYTES);
    http2_pump(c);
    arm(c);
}
