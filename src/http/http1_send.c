/* http/http1_send.c - answers in the form of HTTP/1.1, RFC 9112 §4 to §7. */
#include "http/http1_int.h"

#include <stdio.h>

/* Bodies up to this are copied behind their head: one stretch to send instead of two. */
#define COPY_BYTES_MAX 1024

static void text(struct stream *s, const char *t)
{
    stream_write(s, bytes_text(t));
}

#define literal(s, t) stream_write((s), bytes_of((t), sizeof(t) - 1))

static void status_line(struct stream *s, int status)
{
    const char *known = status_text(status);
    char other[16];

    if (status == 200) {
        literal(s, "HTTP/1.1 200 OK\r\n");
        return;
    }
    if (known == NULL) {
        snprintf(other, sizeof other, "%03u ", (unsigned)status % 1000);
        known = other;
    }
    literal(s, "HTTP/1.1 ");
    text(s, known);
    literal(s, "\r\n");
}

static void length_line(struct stream *s, uint64_t length)
{
    char line[48] = "Content-Length: ";
    char digits[20];
    size_t count = 0, end = 16;

    do
        digits[count++] = (char)('0' + length % 10);
    while ((length /= 10) > 0);
    while (count > 0)
        line[end++] = digits[--count];
    line[end++] = '\r';
    line[end++] = '\n';
    stream_write(s, bytes_of(line, end));
}

static void type_line(struct stream *s, const char *type)
{
    literal(s, "Content-Type: ");
    text(s, type);
    literal(s, "\r\n");
}

static void head(struct http_exchange *x, const struct reply *r)
{
    struct http1 *c = x->carrier;
    struct stream *s = c->base.stream;
    bool sized = r->length >= 0 || r->bodiless;

    c->chunked_out = !sized && !c->old;
    /* A body that is not read to its end cannot be told from the next request; and one of unknown length
     * ends, for HTTP/1.0, with the connection. */
    if (!c->body_over || (!sized && c->old))
        c->keep_alive = false;
    status_line(s, r->status);
    stream_write(s, part_date_line(c->base.part));
    if (r->type != NULL)
        type_line(s, r->type);
    if (r->length >= 0)
        length_line(s, (uint64_t)r->length);
    else if (c->chunked_out)
        literal(s, "Transfer-Encoding: chunked\r\n");
    stream_write(s, builder_bytes(&x->added));
    if (!c->keep_alive)
        literal(s, "Connection: close\r\n");
    else if (c->old)
        literal(s, "Connection: keep-alive\r\n");
    literal(s, "\r\n");
}

static void send_body(struct http_exchange *x, struct buffer *b, size_t from, size_t size)
{
    struct http1 *c = x->carrier;
    struct stream *s = c->base.stream;

    if (c->chunked_out) {
        char line[24];
        int line_size = snprintf(line, sizeof line, "%zx\r\n", size);

        stream_write(s, bytes_of(line, (size_t)line_size));
    }
    if (size <= COPY_BYTES_MAX) {
        stream_write(s, bytes_of(b->data + from, size));
        buffer_unref(b);
    } else {
        stream_write_part(s, b, from, size);
    }
    if (c->chunked_out)
        literal(s, "\r\n");
}

static void end_connection(struct http1 *c)
{
    c->phase = HTTP1_OVER;
    stream_close_gently(c->base.stream);
}

static void finish(struct http_exchange *x)
{
    struct http1 *c = x->carrier;

    if (c->chunked_out && !x->bodiless)
        literal(c->base.stream, "0\r\n\r\n");
    c->chunked_out = false;
    c->x = NULL;
    exchange_over(x);
    if (c->keep_alive && c->body_over)
        http1_ready_for_next(c);
    else
        end_connection(c);
}

static void abort_now(struct http_exchange *x)
{
    struct http1 *c = x->carrier;

    c->x = NULL;
    c->phase = HTTP1_OVER;
    exchange_over(x);
    stream_close(c->base.stream);
}

static size_t queued(const struct http_exchange *x)
{
    return stream_queued(x->stream);
}

static void wait_writable(struct http_exchange *x)
{
    stream_wait_writable(x->stream, HTTP_OUT_QUEUE_BYTES_MAX / 2);
}

static void body_pause(struct http_exchange *x)
{
    struct http1 *c = x->carrier;

    c->body_paused = true;
}

static void body_wanted(struct http_exchange *x)
{
    struct http1 *c = x->carrier;

    c->body_paused = false;
    if (c->phase != HTTP1_BODY || c->running) /* the machine is about to look by itself */
        return;
    c->active_ms = loop_now_ms(c->base.part->loop);
    stream_resume(c->base.stream);
    http1_kick(c);
}

const struct transport http1_transport = {
    .head = head,
    .send = send_body,
    .finish = finish,
    .abort = abort_now,
    .queued = queued,
    .wait_writable = wait_writable,
    .body_pause = body_pause,
    .body_wanted = body_wanted,
};

void http1_say_continue(struct http1 *c)
{
    literal(c->base.stream, "HTTP/1.1 100 Continue\r\n\r\n");
}

void http1_refuse(struct http1 *c, int status)
{
    struct http_exchange *x = c->x;
    struct stream *s = c->base.stream;
    bool begun = x != NULL && x->begun;
    const char *said = status_text(status);

    c->x = NULL;
    if (x != NULL)
        exchange_over(x);
    if (begun) { /* half an answer is out: only breaking off tells the peer that it is not whole */
        c->phase = HTTP1_OVER;
        stream_close(s);
        return;
    }
    status_line(s, status);
    stream_write(s, part_date_line(c->base.part));
    type_line(s, "text/plain");
    length_line(s, strlen(said) + 1);
    literal(s, "Connection: close\r\n\r\n");
    text(s, said);
    literal(s, "\n");
    end_connection(c);
}
