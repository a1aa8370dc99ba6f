/* http/http2_send.c - answers over HTTP/2. Bodies are sent from where they lie: nghttp2 decides how much of
 * which stream may go, and gets no copy. */
#include "http/http2_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* Fields of the server itself: status, date, type, length. */
#define OWN_FIELDS 4

void http2_drop_pieces(struct http2_stream *st)
{
    for (struct list *at; (at = list_pop(&st->pieces)) != NULL;) {
        struct http2_piece *p = container_of(at, struct http2_piece, link);

        buffer_unref(p->buffer);
        free(p);
    }
    st->queued = 0;
}

/* --- bodies ---------------------------------------------------------------------------------------------------------- */

static ssize_t next_size(nghttp2_session *session, int32_t id, uint8_t *unused, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *ctx)
{
    struct http2_stream *st = source->ptr;
    size_t size = st->queued < room ? st->queued : room;

    if (size == 0 && !st->finished) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (st->finished && size == st->queued)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

int http2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t size,
                    nghttp2_data_source *source, void *ctx)
{
    struct http2_stream *st = source->ptr;
    struct stream *s = st->c->base.stream;

    if (stream_queued(s) > HTTP2_SEND_BYTES)
        return NGHTTP2_ERR_WOULDBLOCK;
    st->active_ms = loop_now_ms(st->c->base.part->loop);
    stream_write(s, bytes_of(header, 9));
    st->queued -= size;
    while (size > 0) {
        struct http2_piece *p = container_of(st->pieces.next, struct http2_piece, link);
        size_t part = p->size < size ? p->size : size;

        stream_write_part(s, buffer_ref(p->buffer), p->from, part);
        p->from += part;
        p->size -= part;
        size -= part;
        if (p->size == 0) {
            list_remove(&p->link);
            buffer_unref(p->buffer);
            free(p);
        }
    }
    if (st->x != NULL && st->x->writable != NULL && st->queued <= HTTP_OUT_QUEUE_BYTES_MAX / 2)
        http2_look_soon(st->c);
    return 0;
}

static void go_on(struct http2_stream *st)
{
    if (st->deferred) {
        st->deferred = false;
        nghttp2_session_resume_data(st->c->session, st->id);
    }
    http2_pump(st->c);
}

static void send_body(struct http_exchange *x, struct buffer *b, size_t from, size_t size)
{
    struct http2_stream *st = x->carrier;
    struct http2_piece *p = mem_new(sizeof *p);

    if (st->queued == 0)
        st->active_ms = loop_now_ms(x->part->loop); /* the peer's time to take it starts here */
    *p = (struct http2_piece){.buffer = b, .from = from, .size = size};
    list_init(&p->link);
    list_push(&st->pieces, &p->link);
    st->queued += size;
    if (x->begun && !st->finished)
        go_on(st);
}

/* --- heads ------------------------------------------------------------------------------------------------------------ */

static nghttp2_nv pair(const char *name, const void *value, size_t size)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), size, NGHTTP2_NV_FLAG_NONE};
}

/* Fields that belong to a connection have no place here, §8.2.2. */
static bool of_connection(struct bytes name)
{
    return bytes_is(name, "connection") || bytes_is(name, "keep-alive") ||
           bytes_is(name, "transfer-encoding") || bytes_is(name, "upgrade");
}

/* Divides the lines of `added` in place, names made lower case. Returns how many fields there are. */
static size_t added_fields(struct http_exchange *x, nghttp2_nv *out)
{
    struct bytes left = builder_bytes(&x->added);
    size_t count = 0;

    while (left.size > 0) {
        uint8_t *line = (uint8_t *)left.at; /* our own bytes, and this is their last use */
        size_t end = (size_t)bytes_find(left, '\r'), name = (size_t)bytes_find(left, ':');

        for (size_t i = 0; i < name; i++)
            if (line[i] >= 'A' && line[i] <= 'Z')
                line[i] |= 0x20;
        if (!of_connection(bytes_of(line, name)))
            out[count++] = (nghttp2_nv){line, line + name + 2, name, end - name - 2, NGHTTP2_NV_FLAG_NONE};
        left = bytes_from(left, end + 2);
    }
    return count;
}

static size_t line_count(struct bytes b)
{
    size_t count = 0;

    for (size_t i = 0; i < b.size; i++)
        count += b.at[i] == '\n';
    return count;
}

static void head(struct http_exchange *x, const struct reply *r)
{
    struct http2_stream *st = x->carrier;
    struct bytes date = part_date_line(x->part);
    nghttp2_data_provider body = {.source.ptr = st, .read_callback = next_size};
    nghttp2_nv *fields = mem_new((OWN_FIELDS + line_count(builder_bytes(&x->added))) * sizeof *fields);
    char status[8], length[24];
    size_t count = 0;

    fields[count++] =
        pair(":status", status, (size_t)snprintf(status, sizeof status, "%03u", (unsigned)r->status % 1000));
    fields[count++] = pair("date", date.at + 6, date.size - 8);
    if (r->type != NULL)
        fields[count++] = pair("content-type", r->type, strlen(r->type));
    if (r->length >= 0)
        fields[count++] = pair("content-length", length,
                               (size_t)snprintf(length, sizeof length, "%lld", (long long)r->length));
    count += added_fields(x, fields + count);
    bool empty = r->bodiless || r->length == 0;

    nghttp2_submit_response(st->c->session, st->id, fields, count, empty ? NULL : &body);
    free(fields);
    if (r->length < 0)
        http2_pump(st->c); /* what follows may take its time */
}

static void finish(struct http_exchange *x)
{
    struct http2_stream *st = x->carrier;

    st->finished = true;
    st->x = NULL;
    builder_drop(&st->waiting);
    exchange_over(x);
    go_on(st);
}

static void abort_now(struct http_exchange *x)
{
    struct http2_stream *st = x->carrier;

    st->x = NULL;
    exchange_over(x);
    nghttp2_submit_rst_stream(st->c->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR);
    http2_pump(st->c);
}

static size_t queued(const struct http_exchange *x)
{
    const struct http2_stream *st = x->carrier;

    return st->queued;
}

static void wait_writable(struct http_exchange *x)
{
    const struct http2_stream *st = x->carrier;

    if (st->queued <= HTTP_OUT_QUEUE_BYTES_MAX / 2)
        http2_look_soon(st->c);
}

static void body_pause(struct http_exchange *x)
{
    struct http2_stream *st = x->carrier;

    st->body_paused = true;
}

static void body_wanted(struct http_exchange *x)
{
    struct http2_stream *st = x->carrier;

    st->body_paused = false;
    st->active_ms = loop_now_ms(x->part->loop);
    if (st->waiting.buffer != NULL || st->body_over)
        http2_look_soon(st->c);
}

const struct transport http2_transport = {
    .head = head,
    .send = send_body,
    .finish = finish,
    .abort = abort_now,
    .queued = queued,
    .wait_writable = wait_writable,
    .body_pause = body_pause,
    .body_wanted = body_wanted,
};

void http2_refuse(struct http2_stream *st, int status)
{
    struct http_exchange *x = st->x;
    char text[8];
    nghttp2_nv fields[] = {
        pair(":status", text, (size_t)snprintf(text, sizeof text, "%03u", (unsigned)status % 1000))};

    st->x = NULL;
    if (x != NULL)
        exchange_over(x);
    if (x != NULL && x->begun) {
        nghttp2_submit_rst_stream(st->c->session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
        return;
    }
    nghttp2_submit_response(st->c->session, st->id, fields, 1, NULL);
}
