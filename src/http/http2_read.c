/* http/http2_read.c - requests of HTTP/2: fields become the same head as HTTP/1.1's, bodies are collected or
 * handed on. nghttp2 has checked the form of messages (RFC 9113 §8.2, §8.3, and that bodies keep to their
 * Content-Length). */
#include "http/http2_int.h"

#include "base/mem.h"

#include <stdlib.h>

struct http2_stream *http2_stream_new(struct http2 *c, int32_t id)
{
    struct http2_stream *st = mem_new(sizeof *st);

    st->c = c;
    st->id = id;
    st->active_ms = loop_now_ms(c->base.part->loop);
    st->head.method = HTTP_OTHER;
    list_init(&st->link);
    list_init(&st->pieces);
    list_push(&c->streams, &st->link);
    return st;
}

void http2_stream_free(struct http2_stream *st)
{
    if (st == NULL)
        return;
    if (st->x != NULL)
        exchange_over(st->x);
    st->c->held_bytes -= st->held_bytes;
    list_remove(&st->link);
    http2_drop_pieces(st);
    builder_drop(&st->head_bytes);
    builder_drop(&st->waiting);
    free(st->fields);
    free(st);
}

/* --- heads ------------------------------------------------------------------------------------------------------- */

/* Keeps bytes of the head; the span is where they stand. */
static struct span keep(struct http2_stream *st, struct bytes b)
{
    struct span place = {(uint16_t)builder_bytes(&st->head_bytes).size, (uint16_t)b.size};

    builder_add(&st->head_bytes, b);
    return place;
}

static enum http_method method_of(struct bytes b)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (bytes_is(b, names[i]))
            return (enum http_method)i;
    return HTTP_OTHER;
}

static void pseudo_field(struct http2_stream *st, struct bytes name, struct bytes value)
{
    if (bytes_is(name, ":method")) {
        st->head.method = method_of(value);
        if (bytes_is(value, "CONNECT"))
            st->refused = 501;
    } else if (bytes_is(name, ":authority")) {
        st->head.authority = keep(st, value);
    } else if (bytes_is(name, ":path")) {
        long mark = bytes_find(value, '?');

        if (value.size > HTTP_TARGET_BYTES_MAX)
            st->refused = 414;
        st->head.path = keep(st, mark < 0 ? value : bytes_head(value, (size_t)mark));
        if (mark >= 0)
            st->head.query = keep(st, bytes_from(value, (size_t)mark + 1));
    }
}

void http2_add_field(struct http2_stream *st, struct bytes name, struct bytes value)
{
    size_t size = builder_bytes(&st->head_bytes).size;

    if (size + name.size + value.size > HTTP_HEAD_BYTES_MAX || st->head.field_count == HTTP_FIELDS_MAX)
        st->refused = 431;
    if (st->refused != 0)
        return;
    if (name.size > 0 && name.at[0] == ':') {
        pseudo_field(st, name, value);
        return;
    }
    if (st->head.field_count == st->field_room) {
        st->field_room = st->field_room ? st->field_room * 2 : 16;
        st->fields = mem_resize(st->fields, st->field_room * sizeof *st->fields);
    }
    struct http1_field *f = &st->fields[st->head.field_count++];

    f->name = keep(st, name);
    f->value = keep(st, value);
    if (bytes_is(name, "content-length") && !bytes_to_u64(value, INT64_MAX, &st->length))
        st->refused = 400;
    if (bytes_is(name, "host")) {
        struct bytes authority = span_bytes(builder_bytes(&st->head_bytes).at, st->head.authority);

        if (st->head.authority.size == 0)
            st->head.authority = f->value;
        else if (!bytes_equal(authority, value)) /* §8.3.1: which of the two is meant? */
            st->refused = 400;
    }
}

/* A status, or 0 when the head can be served. */
static int judge(struct http2_stream *st)
{
    struct bytes path = span_bytes(st->head.head, st->head.path);

    if (st->refused != 0)
        return st->refused;
    if (!http_authority_valid(span_bytes(st->head.head, st->head.authority)))
        return 400;
    if (bytes_is(path, "*"))
        return st->head.method == HTTP_OPTIONS ? 204 : 400;
    return path.size > 0 ? 0 : 400;
}

static void begin(struct http2_stream *st)
{
    struct http_part *p = st->c->base.part;
    struct http_handler *h = &p->handler;
    struct http_exchange *x = st->x = exchange_new(p, st->c->base.stream, &http2_transport, st, &st->head);

    builder_drop(&st->head_bytes); /* the exchange has its copy */
    free(st->fields);
    st->fields = NULL;
    if (x == NULL) {
        http2_refuse(st, 400);
        return;
    }
    x->streams = h->streams_body != NULL && h->streams_body(h->ctx, x);
    if (st->x != x)
        return;
    if (!x->streams && st->length > HTTP_BODY_BYTES_MAX) {
        http2_refuse(st, 413);
        return;
    }
    if (x->streams || st->body_over)
        h->handle(h->ctx, x);
    if (st->x == x && x->streams && st->body_over)
        http2_look_soon(st->c); /* for the piece that says the body is over */
}

void http2_head_done(struct http2_stream *st)
{
    st->head.head = builder_bytes(&st->head_bytes).at;
    st->head.head_size = builder_bytes(&st->head_bytes).size;
    st->head.fields = st->fields;
    int status = judge(st);

    if (status != 0)
        http2_refuse(st, status);
    else
        begin(st);
}

/* --- bodies -------------------------------------------------------------------------------------------------------- */

/* Opens the peer's window again by what was taken. */
static void consumed(struct http2_stream *st, size_t size)
{
    if (size > 0)
        nghttp2_session_consume_stream(st->c->session, st->id, size);
}

static void collect(struct http2_stream *st, struct bytes data)
{
    struct http_exchange *x = st->x;

    if (builder_bytes(&x->body).size + data.size > HTTP_BODY_BYTES_MAX) {
        http2_refuse(st, 413);
        return;
    }
    if (st->c->held_bytes + data.size > HTTP2_BODIES_BYTES_MAX) {
        http2_refuse(st, 503); /* many bodies at once; those that are there are served first */
        return;
    }
    st->c->held_bytes += data.size;
    st->held_bytes += data.size;
    builder_add(&x->body, data);
    consumed(st, data.size);
}

/* The answer is given before all was said (§8.1). Some clients take a reset for a failure although the
 * answer came whole, so they may finish what they were saying, within reason. */
static void discard(struct http2_stream *st, size_t size)
{
    st->discarded_bytes += size;
    if (st->discarded_bytes > HTTP_BODY_BYTES_MAX)
        nghttp2_submit_rst_stream(st->c->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
    else
        consumed(st, size);
}

static bool wants_body(const struct http2_stream *st)
{
    return st->x != NULL && st->x->piece != NULL && !st->body_paused;
}

void http2_body(struct http2_stream *st, struct bytes data)
{
    st->active_ms = loop_now_ms(st->c->base.part->loop);
    if (st->x == NULL) {
        discard(st, data.size);
    } else if (!st->x->streams) {
        collect(st, data);
    } else if (!wants_body(st) || st->waiting.buffer != NULL) {
        builder_add(&st->waiting, data); /* at most a window: it opens when this is taken */
    } else {
        st->x->piece(st->x->piece_ctx, data);
        consumed(st, data.size);
    }
}

void http2_give_waiting(struct http2_stream *st)
{
    if (!wants_body(st))
        return;
    if (st->waiting.buffer != NULL) {
        struct buffer *b = builder_finish(&st->waiting);

        st->x->piece(st->x->piece_ctx, buffer_bytes(b));
        consumed(st, b->size);
        buffer_unref(b);
    }
    if (st->body_over && !st->end_given && wants_body(st) && st->waiting.buffer == NULL) {
        st->end_given = true;
        st->x->piece(st->x->piece_ctx, bytes_of(NULL, 0));
    }
}

void http2_body_end(struct http2_stream *st)
{
    struct http_handler *h = &st->c->base.part->handler;

    if (st->x == NULL)
        return;
    if (st->x->streams)
        http2_give_waiting(st);
    else
        h->handle(h->ctx, st->x);
}
