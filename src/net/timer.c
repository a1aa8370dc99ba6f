/* net/timer.c - timers of a loop: a binary heap, so that a hundred thousand idle connections cost one
 * comparison per turn. Owners that are busy do not move their timer; they let it fire and look. */
#include "net/net_int.h"

#include "base/mem.h"

#include <assert.h>

static void settle(struct loop *l, struct timer *t, size_t at)
{
    l->timers[at] = t;
    t->place = at;
}

static void sift_up(struct loop *l, struct timer *t, size_t at)
{
    while (at > 0 && l->timers[(at - 1) / 2]->due_ms > t->due_ms) {
        settle(l, l->timers[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    settle(l, t, at);
}

static void sift_down(struct loop *l, struct timer *t, size_t at)
{
    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= l->timer_count)
            break;
        if (child + 1 < l->timer_count && l->timers[child + 1]->due_ms < l->timers[child]->due_ms)
            child++;
        if (l->timers[child]->due_ms >= t->due_ms)
            break;
        settle(l, l->timers[child], at);
        at = child;
    }
    settle(l, t, at);
}

void timer_stop(struct timer *t)
{
    struct loop *l = t->loop;

    if (l == NULL)
        return;
    assert(l->timers[t->place] == t);
    struct timer *last = l->timers[--l->timer_count];

    if (last != t) {
        size_t at = t->place;

        sift_up(l, last, at);
        if (last->place == at)
            sift_down(l, last, at);
    }
    t->loop = NULL;
}

void timer_start(struct loop *l, struct timer *t, int64_t delay_ms, void (*call)(void *ctx), void *ctx)
{
    timer_stop(t);
    if (l->timer_count == l->timer_room) {
        l->timer_room = l->timer_room ? l->timer_room * 2 : 64;
        l->timers = mem_resize(l->timers, l->timer_room * sizeof(struct timer *));
    }
    t->loop = l;
    t->due_ms = l->now_ms + (delay_ms > 0 ? delay_ms : 0);
    t->call = call;
    t->ctx = ctx;
    l->timer_count++;
    sift_up(l, t, l->timer_count - 1);
}

void timers_run(struct loop *l)
{
    /* At most as many as there are now: one that starts itself anew with no delay waits for the next turn. */
    for (size_t left = l->timer_count; left > 0 && l->timer_count > 0; left--) {
        struct timer *t = l->timers[0];

        if (t->due_ms > l->now_ms)
            return;
        timer_stop(t);
        t->call(t->ctx); /* may free t */
    }
}

int timers_wait_ms(const struct loop *l)
{
    if (l->timer_count == 0)
        return -1;
    int64_t wait = l->timers[0]->due_ms - l->now_ms;

    return wait <= 0 ? 0 : wait > 60000 ? 60000 : (int)wait;
}
