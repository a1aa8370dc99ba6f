/* net/stream_send.c - the sending side of streams: everything queued in a turn goes out when the turn
 * ends, in as few system calls as it takes. */
#include "net/net_int.h"

#include "base/limits.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PIECES_PER_CALL 64

static void send_soon(struct stream *s)
{
    if (list_empty(&s->flush))
        list_push(&s->loop->flush, &s->flush);
}

/* Whether bytes may be queued; those for a stream that is over are dropped. */
static bool takes(const struct stream *s)
{
    return !s->ended && !s->gentle;
}

static void queued(struct stream *s, size_t before)
{
    if (before == 0)
        s->write_ms = s->loop->now_ms; /* the peer's time to take something starts here */
    send_soon(s);
}

void stream_write(struct stream *s, struct bytes b)
{
    size_t before = s->queued;

    if (!takes(s) || b.size == 0)
        return;
    unsent_copy(s, b);
    queued(s, before);
}

void stream_write_part(struct stream *s, struct buffer *b, size_t from, size_t size)
{
    size_t before = s->queued;

    if (!takes(s) || size == 0) {
        buffer_unref(b);
        return;
    }
    unsent_take(s, b, from, size);
    queued(s, before);
}

void stream_write_buffer(struct stream *s, struct buffer *b)
{
    stream_write_part(s, b, 0, b->size);
}

size_t stream_queued(const struct stream *s)
{
    return s->queued;
}

void stream_wait_writable(struct stream *s, size_t mark)
{
    if (s->ended)
        return;
    s->waiting = true;
    s->mark = mark;
    send_soon(s);
}

/* As much of the queue as one system call takes: its size, or -errno. */
static ssize_t plain_send(struct stream *s)
{
    struct iovec vectors[PIECES_PER_CALL];
    struct msghdr message = {.msg_iov = vectors};

    for (unsigned i = 0; i < s->piece_count && i < PIECES_PER_CALL; i++) {
        struct piece *p = &s->pieces[s->piece_first + i];

        vectors[i] = (struct iovec){p->buffer->data + p->from, p->size};
        message.msg_iovlen = i + 1;
    }
    ssize_t sent = message.msg_iovlen == 1
                       ? send(s->fd, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL)
                       : sendmsg(s->fd, &message, MSG_NOSIGNAL);

    return sent >= 0 ? sent : -errno;
}

/* Sends until nothing is queued or the kernel has no room. False when the stream has ended. */
static bool send_queued(struct stream *s)
{
    size_t turn = 0;

    while (s->queued > 0) {
        ssize_t sent = s->tls ? tls_send(s) : plain_send(s);

        if (sent == -EAGAIN)
            return true; /* edge-triggered: the loop tells when there is room */
        if (sent < 0) {
            stream_end(s, ERR_CLOSED);
            return false;
        }
        unsent_consume(s, (size_t)sent);
        s->write_ms = s->loop->now_ms;
        turn += (size_t)sent;
        if (turn >= STREAM_SEND_TURN_BYTES_MAX) {
            send_soon(s);
            return true;
        }
    }
    return true;
}

/* All is sent: says so, and waits for the peer's end without the owner, who is told at once. Closing with
 * bytes unread would send a reset, and a reset may overtake our answer in the peer's kernel. */
static void say_goodbye(struct stream *s)
{
    const struct stream_events *events = s->events;
    void *ctx = s->ctx;

    tls_end(s);
    shutdown(s->fd, SHUT_WR);
    s->lingering = true;
    s->gentle = true;
    s->paused = false;
    s->events = NULL;
    s->read_limit_ms = s->write_limit_ms = 0;
    events->closed(ctx, s, ERR_OK);
    if (s->half_open) {
        stream_end(s, ERR_OK);
        return;
    }
    stream_deadline(s, STREAM_LINGER_MS_MAX);
    stream_look_soon(s);
}

void stream_flush(struct stream *s)
{
    if (s->opening != NULL || s->lingering || !send_queued(s))
        return;
    if (s->queued > 0) {
        stream_stuck(s);
    } else if (s->gentle) {
        say_goodbye(s);
        return;
    } else if (s->half_open && !s->readable) {
        stream_end(s, ERR_CLOSED); /* the peer had said its end; now it has all it asked for */
        return;
    }
    if (s->waiting && s->queued <= s->mark && s->events != NULL) {
        s->waiting = false;
        if (s->events->writable != NULL)
            s->events->writable(s->ctx, s);
    }
}
