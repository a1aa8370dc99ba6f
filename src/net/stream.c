/* net/stream.c - byte streams: what happens between an event of the kernel and the owner's callbacks.
 *
 * Sockets are watched once, edge-triggered, for everything; what the kernel said is remembered in the
 * stream (`readable`, `half_open`), so that pausing, resuming and waiting to write cost no system call.
 * Sending is in stream_send.c, the way to an open stream in stream_open.c, TLS in tls_stream.c. */
#include "net/net_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* --- time limits ------------------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When the first of the limits that count now is passed, were nothing to happen; INT64_MAX for never. */
static int64_t due_ms(const struct stream *s)
{
    int64_t due = INT64_MAX;

    if (s->deadline_ms > 0)
        due = earlier(due, s->deadline_ms);
    if (s->read_limit_ms > 0 && !s->paused && !s->opening)
        due = earlier(due, s->read_ms + s->read_limit_ms);
    if (s->write_limit_ms > 0 && s->queued > 0)
        due = earlier(due, s->write_ms + s->write_limit_ms);
    return due;
}

static void limit_reached(void *ctx);

/* Sees to it that the timer fires no later than the first limit. */
static void arm(struct stream *s)
{
    int64_t due = due_ms(s);

    if (due == INT64_MAX || (s->timer.loop != NULL && s->timer.due_ms <= due))
        return;
    timer_start(s->loop, &s->timer, due - s->loop->now_ms, limit_reached, s);
}

static void limit_reached(void *ctx)
{
    struct stream *s = ctx;

    if (due_ms(s) <= s->loop->now_ms)
        stream_end(s, ERR_TIMEOUT);
    else
        arm(s); /* something has happened since it was set */
}

void stream_deadline(struct stream *s, int64_t ms)
{
    s->deadline_ms = ms > 0 ? s->loop->now_ms + ms : 0;
    arm(s);
}

void stream_read_limit(struct stream *s, int64_t ms)
{
    s->read_limit_ms = ms;
    s->read_ms = s->loop->now_ms;
    if (!s->ended)
        arm(s);
}

void stream_write_limit(struct stream *s, int64_t ms)
{
    s->write_limit_ms = ms;
    if (!s->ended)
        arm(s);
}

void stream_stuck(struct stream *s)
{
    if (!s->ended)
        arm(s);
}

/* --- the end ----------------------------------------------------------------------------------------- */

/* Gives back everything but the struct itself. */
static void stream_release(struct stream *s)
{
    tls_free(s);
    if (s->fd >= 0)
        close(s->fd); /* takes it out of epoll too */
    s->fd = -1;
    timer_stop(&s->timer);
    list_remove(&s->all);
    list_remove(&s->flush);
    list_remove(&s->again);
    list_remove(&s->lazy);
    unsent_drop(s);
    free(s->rest);
    s->rest = NULL;
    s->rest_size = s->rest_room = 0;
    if (s->counted)
        connection_leave(s->loop->net, &s->peer);
    s->counted = false;
}

void stream_drop(struct stream *s)
{
    stream_release(s);
    free(s->opening);
    free(s);
}

static void bury(void *ctx)
{
    struct stream *s = ctx;

    if (s->opening != NULL && s->opening->connected != NULL)
        s->opening->connected(s->opening->ctx, NULL, s->why);
    else if (s->opening == NULL && s->events != NULL)
        s->events->closed(s->ctx, s, s->why);
    free(s->opening);
    free(s);
}

void stream_end(struct stream *s, enum err why)
{
    if (s->ended)
        return;
    s->ended = true;
    s->why = why;
    stream_release(s);
    loop_after_turn(s->loop, bury, s);
}

/* What is left to be sent does not wait for ever, whatever the owner thought of limits. */
static void limit_farewell(struct stream *s)
{
    if (s->write_limit_ms == 0)
        stream_write_limit(s, STREAM_FAREWELL_MS_MAX);
}

/* The peer will send nothing more. What is queued is still tried: a client may well close its half when
 * it has asked its question. A peer that is gone answers with a reset, and that ends it. */
static void hang_up(struct stream *s)
{
    s->half_open = true;
    s->readable = false;
    if (s->queued == 0)
        stream_end(s, ERR_CLOSED);
    else
        limit_farewell(s);
}

void stream_close(struct stream *s)
{
    stream_end(s, ERR_OK);
}

void stream_close_gently(struct stream *s)
{
    if (s->ended)
        return;
    s->gentle = true;
    limit_farewell(s);
    list_remove(&s->flush);
    list_push(&s->loop->flush, &s->flush);
}

/* --- reading ----------------------------------------------------------------------------------------- */

void stream_look_soon(struct stream *s)
{
    list_remove(&s->again);
    list_push(&s->loop->again, &s->again);
}

static void keep_rest(struct stream *s, struct bytes left)
{
    if (left.size == 0) {
        free(s->rest);
        s->rest = NULL;
        s->rest_size = s->rest_room = 0;
        return;
    }
    if (left.size > s->rest_room) {
        s->rest_room = left.size + left.size / 4;
        s->rest = mem_resize(s->rest, s->rest_room);
    }
    memmove(s->rest, left.at, left.size);
    s->rest_size = left.size;
}

/* Shows `in` to the owner and keeps what it leaves. */
static void show(struct stream *s, struct bytes in)
{
    s->show = false;
    size_t taken = s->events->read(s->ctx, s, in);

    assert(taken <= in.size);
    if (s->ended)
        return;
    keep_rest(s, bytes_from(in, taken));
    if (s->rest_size >= STREAM_UNREAD_BYTES_MAX && !s->paused)
        stream_end(s, ERR_LIMIT);
}

ssize_t stream_receive(struct stream *s, uint8_t *at, size_t room, bool *more)
{
    if (s->tls != NULL && !s->lingering)
        return tls_receive(s, at, room, more);
    ssize_t size = recv(s->fd, at, room, 0);

    *more = size == (ssize_t)room; /* less: it was all, and the next event will come */
    return size >= 0 ? size : errno == EINTR ? -EAGAIN : -errno;
}

/* Reads once, behind what was unread, into the loop's buffer. */
static void pull(struct stream *s)
{
    uint8_t *buffer = s->loop->read_buffer;
    bool more = false;
    ssize_t size = stream_receive(s, buffer + s->rest_size, STREAM_READ_BYTES, &more);

    if (size == -EAGAIN) {
        s->readable = false;
        return;
    }
    if (size < 0) {
        stream_end(s, err_from_errno((int)-size));
        return;
    }
    if (size == 0) {
        hang_up(s);
        return;
    }
    s->read_ms = s->loop->now_ms;
    s->readable = more || s->half_open; /* an end was announced: go on until it is read */
    if (s->lingering)
        return;
    if (s->rest_size > 0)
        memcpy(buffer, s->rest, s->rest_size);
    show(s, bytes_of(buffer, s->rest_size + (size_t)size));
}

/* Does what there is to do for the reading side, once; the rest waits for the next turn. */
static void read_on(struct stream *s)
{
    if (s->paused) {
        if (s->half_open)
            hang_up(s);
        return;
    }
    if (s->show && s->rest_size > 0) {
        memcpy(s->loop->read_buffer, s->rest, s->rest_size); /* keep_rest() may move the memory */
        show(s, bytes_of(s->loop->read_buffer, s->rest_size));
    } else if (s->readable) {
        pull(s);
    } else {
        s->show = false;
    }
    if (!s->ended && ((s->readable && !s->paused) || s->show || (s->half_open && s->paused)))
        stream_look_soon(s);
}

void stream_look_again(struct stream *s)
{
    if (s->opening != NULL)
        stream_opening_step(s);
    else
        read_on(s);
}

static void ready(struct watch *w, uint32_t events)
{
    struct stream *s = container_of(w, struct stream, watch);

    if (s->ended)
        return;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->readable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->half_open = true;
    if (s->opening != NULL) {
        stream_opening_step(s);
        return;
    }
    if (events & (EPOLLERR | EPOLLHUP) && (s->paused || s->lingering)) {
        stream_end(s, ERR_CLOSED);
        return;
    }
    if (events & EPOLLOUT && s->queued > 0) {
        list_remove(&s->flush);
        list_push(&s->loop->flush, &s->flush);
    }
    if (s->readable)
        read_on(s);
}

/* --- the owner's side -------------------------------------------------------------------------------- */

struct stream *stream_new(struct loop *l, int fd, const struct address *peer)
{
    struct stream *s = mem_new(sizeof *s);

    s->watch.ready = ready;
    s->loop = l;
    s->fd = fd;
    s->peer = *peer;
    s->read_ms = s->write_ms = l->now_ms;
    list_init(&s->flush);
    list_init(&s->again);
    list_init(&s->lazy);
    list_init(&s->all);
    list_push(&l->streams, &s->all);
    return s;
}

enum err stream_begin(struct stream *s)
{
    return loop_watch(s->loop, s->fd, EVENTS, &s->watch);
}

/* It is watched as ever, but the kernel does not speak of a few bytes. */
void stream_lazy(struct stream *s, bool on)
{
    int bytes = on ? STREAM_LAZY_BYTES : 1;

    if (s->ended || on == !list_empty(&s->lazy))
        return;
    if (setsockopt(s->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes) != 0)
        return; /* it stays as it is, which is right too */
    if (on) {
        loop_add_lazy(s->loop, s);
    } else {
        list_remove(&s->lazy);
        s->readable = true; /* what the kernel was silent about */
        stream_look_soon(s);
    }
}

void stream_use(struct stream *s, const struct stream_events *events, void *ctx)
{
    s->events = events;
    s->ctx = ctx;
}

void stream_pause(struct stream *s)
{
    s->paused = true;
}

void stream_resume(struct stream *s)
{
    if (s->ended)
        return;
    if (s->paused)
        s->read_ms = s->loop->now_ms; /* the silence was ours */
    s->paused = false;
    s->show = true; /* called from within `read` it is not known yet whether anything is left */
    stream_look_soon(s);
    arm(s);
}

struct loop *stream_loop(const struct stream *s)
{
    return s->loop;
}

const struct address *stream_peer(const struct stream *s)
{
    return &s->peer;
}

bool stream_is_tls(const struct stream *s)
{
    return s->tls != NULL;
}
