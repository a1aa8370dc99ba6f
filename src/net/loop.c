/* net/loop.c - one thread that waits for events and acts on them, turn by turn.
 *
 * A turn: what epoll has, then the mailbox, then timers, then streams that need another look, then all
 * that was queued is sent, then what was ended is freed. Nothing here knows what a stream means. */
#include "net/net_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_PER_TURN 256

static _Thread_local struct loop *here;

struct loop *loop_here(void)
{
    return here;
}

struct net *loop_net(struct loop *l)
{
    return l->net;
}

unsigned loop_index(const struct loop *l)
{
    return l->index;
}

int64_t loop_now_ms(const struct loop *l)
{
    return l->now_ms;
}

void calls_add(struct calls *c, void (*run)(void *ctx), void *ctx)
{
    if (c->count == c->room) {
        c->room = c->room ? c->room * 2 : 16;
        c->at = mem_resize(c->at, c->room * sizeof *c->at);
    }
    c->at[c->count++] = (struct call){run, ctx};
}

void loop_after_turn(struct loop *l, void (*call)(void *ctx), void *ctx)
{
    assert(here == l);
    calls_add(&l->after, call, ctx);
}

void loop_post(struct loop *l, void (*call)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&l->box_lock);
    bool first = l->box.count == 0;

    calls_add(&l->box, call, ctx);
    pthread_mutex_unlock(&l->box_lock);
    if (first && here != l) { /* the loop itself looks into its box before it sleeps */
        uint64_t one = 1;

        if (write(l->wake, &one, sizeof one) < 0 && errno != EAGAIN)
            abort(); /* an eventfd of our own; a loop that cannot be woken would hang the house silently */
    }
}

static void woken(struct watch *w, uint32_t events)
{
    struct loop *l = container_of(w, struct loop, waker);
    uint64_t count;

    if (read(l->wake, &count, sizeof count) < 0 && errno != EAGAIN)
        abort();
}

/* Runs what is in the mailbox now; what these calls post waits for the next turn. */
static void empty_mailbox(struct loop *l)
{
    struct calls batch;

    pthread_mutex_lock(&l->box_lock);
    batch = l->box;
    l->box = l->box_spare;
    l->box_spare = (struct calls){0};
    pthread_mutex_unlock(&l->box_lock);
    for (size_t i = 0; i < batch.count; i++)
        batch.at[i].run(batch.at[i].ctx);
    batch.count = 0;
    pthread_mutex_lock(&l->box_lock);
    if (l->box_spare.at == NULL) {
        l->box_spare = batch;
        batch.at = NULL;
    }
    pthread_mutex_unlock(&l->box_lock);
    free(batch.at);
}

static bool mailbox_waits(struct loop *l)
{
    pthread_mutex_lock(&l->box_lock);
    bool waits = l->box.count > 0;

    pthread_mutex_unlock(&l->box_lock);
    return waits;
}

static void end_of_turn(struct loop *l)
{
    struct list now;

    list_move(&now, &l->again);
    for (struct list *at; (at = list_pop(&now)) != NULL;)
        stream_look_again(container_of(at, struct stream, again));
    list_move(&now, &l->flush);
    for (struct list *at; (at = list_pop(&now)) != NULL;)
        stream_flush(container_of(at, struct stream, flush));
    for (size_t i = 0; i < l->after.count; i++) { /* grows while it runs */
        struct call c = l->after.at[i];

        c.run(c.ctx);
    }
    l->after.count = 0;
}

static void tell(const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++) {
        struct watch *w = events[i].data.ptr;

        w->ready(w, events[i].events);
    }
}

/* They are read when the turn ends, behind every other timer. */
static void look_at_lazy(void *ctx)
{
    struct loop *l = ctx;

    list_each(&l->lazy, at, after)
    {
        struct stream *s = container_of(at, struct stream, lazy);

        s->readable = true; /* as far as anybody knows */
        stream_look_soon(s);
    }
    if (!list_empty(&l->lazy))
        timer_start(l, &l->lazy_timer, STREAM_LAZY_MS, look_at_lazy, l);
}

void loop_add_lazy(struct loop *l, struct stream *s)
{
    if (list_empty(&l->lazy))
        timer_start(l, &l->lazy_timer, STREAM_LAZY_MS, look_at_lazy, l);
    list_push(&l->lazy, &s->lazy);
}

static void turn(struct loop *l)
{
    struct epoll_event events[EVENTS_PER_TURN];
    bool work = l->stopping || !list_empty(&l->flush) || !list_empty(&l->again) || mailbox_waits(l);
    int count = epoll_wait(l->epoll, events, EVENTS_PER_TURN, work ? 0 : timers_wait_ms(l));

    l->now_ms = clock_mono_ms();
    tell(events, count);
    empty_mailbox(l);
    timers_run(l);
    end_of_turn(l);
}

static void *loop_thread(void *ctx)
{
    struct loop *l = ctx;
    char name[16];

    here = l;
    snprintf(name, sizeof name, "loop-%u", l->index);
    pthread_setname_np(pthread_self(), name);
    l->now_ms = clock_mono_ms();
    while (!l->stopping || mailbox_waits(l))
        turn(l);
    list_each(&l->streams, at, after)
    {
        stream_drop(container_of(at, struct stream, all));
    }
    end_of_turn(l);
    here = NULL;
    return NULL;
}

static void stop_here(void *ctx)
{
    struct loop *l = ctx;

    l->stopping = true;
}

void loop_stop(struct loop *l)
{
    loop_post(l, stop_here, l);
}

void loop_join(struct loop *l)
{
    if (l->started)
        pthread_join(l->thread, NULL);
    l->started = false;
}

enum err loop_watch(struct loop *l, int fd, uint32_t events, struct watch *w)
{
    struct epoll_event e = {.events = events, .data.ptr = w};

    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) == 0 ||
        (errno == EEXIST && epoll_ctl(l->epoll, EPOLL_CTL_MOD, fd, &e) == 0))
        return ERR_OK;
    return err_from_errno(errno);
}

void loop_unwatch(struct loop *l, int fd)
{
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL); /* fails only where it was not watched */
}

struct loop *loop_new(struct net *n, unsigned index)
{
    struct loop *l = mem_new(sizeof *l);

    l->net = n;
    l->index = index;
    l->waker.ready = woken;
    pthread_mutex_init(&l->box_lock, NULL);
    list_init(&l->streams);
    list_init(&l->flush);
    list_init(&l->again);
    list_init(&l->lazy);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return l;
}

enum err loop_run(struct loop *l)
{
    enum err e;

    if (l->epoll < 0 || l->wake < 0)
        return ERR_IO;
    l->read_buffer = mem_resize(NULL, STREAM_UNREAD_BYTES_MAX + STREAM_READ_BYTES);
    if ((e = loop_watch(l, l->wake, EPOLLIN, &l->waker)) != ERR_OK)
        return e;
    if (pthread_create(&l->thread, NULL, loop_thread, l) != 0)
        return ERR_IO;
    l->started = true;
    return ERR_OK;
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    assert(!l->started);
    if (l->epoll >= 0)
        close(l->epoll);
    if (l->wake >= 0)
        close(l->wake);
    pthread_mutex_destroy(&l->box_lock);
    free(l->box.at);
    free(l->box_spare.at);
    free(l->after.at);
    free(l->timers);
    free(l->read_buffer);
    free(l);
}
