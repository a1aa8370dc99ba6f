/* booking/engine.c - takes calls in as ops and hands them to lanes of threads.
 *
 * The combining lane is one thread that takes all that waits for it; the direct lane's threads take one op each. What needs a
 * look into the database before it is known which lane it belongs to (an inventory that is not in memory, a reservation's
 * inventory) goes to the direct lane first. */
#include "booking/booking_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

METRIC(calls_metric, METRIC_COUNTER, "matinee_booking_calls_total", "Booking calls answered");
METRIC(booked_metric, METRIC_COUNTER, "matinee_booking_reservations_total", "Reservations made");
METRIC(sold_out_metric, METRIC_COUNTER, "matinee_booking_sold_out_total",
       "Booking calls refused for want of units");
METRIC(busy_metric, METRIC_COUNTER, "matinee_booking_busy_total",
       "Booking calls given up for contention or an absent database");
METRIC(again_metric, METRIC_COUNTER, "matinee_booking_rounds_again_total",
       "Rounds of booking calls that had to be tried again");
METRIC(running_metric, METRIC_GAUGE, "matinee_booking_running", "Booking calls that are not answered yet");

/* --- names ------------------------------------------------------------------------------------------- */

static const char *const locking_names[] = {
    [LOCKING_OPTIMISTIC] = "optimistic",
    [LOCKING_PESSIMISTIC] = "pessimistic",
    [LOCKING_ADAPTIVE] = "adaptive",
    [LOCKING_COMBINING] = "combining",
};

const char *booking_locking_name(enum booking_locking l)
{
    return locking_names[l];
}

bool booking_locking_parse(const char *name, enum booking_locking *out)
{
    for (*out = 0; *out < LOCKING_COUNT; (*out)++)
        if (strcmp(name, locking_names[*out]) == 0)
            return true;
    return false;
}

/* --- ops --------------------------------------------------------------------------------------------- */

int64_t booking_now_ms(struct booking *b)
{
    int64_t now_ms = clock_wall_ms(), latest = atomic_load(&b->now_ms);

    while (now_ms > latest && !atomic_compare_exchange_weak(&b->now_ms, &latest, now_ms))
        continue;
    return now_ms > latest ? now_ms : latest;
}

static void count_answer(const struct booking_op *op)
{
    metric_add(&calls_metric, 1);
    if (op->tries > 1)
        metric_add(&again_metric, op->tries - 1);
    if (op->call->kind == BOOKING_RESERVE && op->call->answer == BOOKED)
        metric_add(&booked_metric, 1);
    if (op->call->answer == BOOKED_SOLD_OUT)
        metric_add(&sold_out_metric, 1);
    if (op->call->answer == BOOKED_BUSY)
        metric_add(&busy_metric, 1);
}

void op_answer(struct booking *b, struct booking_op *op)
{
    struct booking_call *c = op->call;

    count_answer(op);
    if (op->inventory != NULL) {
        inventory_leave(op->inventory, op);
        adaptive_went(op);
    }
    metric_set(&running_metric, atomic_fetch_sub(&b->running, 1) - 1);
    quantities_free(&op->wants);
    quantities_free(&op->picks);
    free(op->due);
    c->op = NULL;
    c->rounds = op->tries;
    free(op);
    c->done(c);
}

/* Whether the next op should look for its key first. */
static bool wary(struct booking *b)
{
    int64_t left = atomic_load_explicit(&b->wary, memory_order_relaxed);

    if (left > 0)
        atomic_fetch_sub_explicit(&b->wary, 1, memory_order_relaxed);
    return left > 0;
}

static struct booking_op *op_new(struct booking *b, struct booking_call *c)
{
    struct booking_op *op = mem_new(sizeof *op);

    list_init(&op->link);
    op->call = c;
    op->new_id = ulid_secret();
    op->looks = wary(b);
    op->begun_ms = clock_mono_ms();
    c->op = op;
    c->reservation = (struct reservation_view){0};
    c->waiter = (struct waiter_view){0};
    c->left_count = 0;
    c->why[0] = '\0';
    return op;
}

static void cond_init_monotonic(pthread_cond_t *c)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(c, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* --- lanes ------------------------------------------------------------------------------------------- */

/* The writer waits at most this part of the last batch's time for those whom it has just answered, and never longer than that:
 * they come within some 100 us or not at all, and a call that comes alone is not made to wait noticeably. */
#define LINGER_PART   4
#define LINGER_US_MAX 500

static void lane_push(struct lane *l, struct booking_op *op)
{
    pthread_mutex_lock(&l->lock);
    list_push(&l->ops, &op->link);
    l->count++;
    if (l->count >= l->wanted)
        pthread_cond_signal(&l->some);
    pthread_mutex_unlock(&l->lock);
}

/* Who was just answered often asks again at once, and would miss the next commit by a hair: a crowd falls apart into two halves
 * that wait for each other's commits. Waits until so many are there, but only a part of what a commit takes. With the
 * lock held. */
static void lane_linger(struct lane *l, size_t wanted, int64_t us_max)
{
    int64_t until_us = clock_mono_us() + us_max;
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    int failed = 0;

    l->wanted = wanted;
    while (l->count < wanted && !l->stopping && failed == 0)
        failed = pthread_cond_timedwait(&l->some, &l->lock, &until);
    l->wanted = 1;
}

/* Waits for ops and takes up to `room`. 0: the lane has ended. */
static size_t lane_take(struct lane *l, struct booking_op **ops, size_t room)
{
    size_t count = 0;
    struct list *at;

    pthread_mutex_lock(&l->lock);
    if (l->linger_us > 0)
        lane_linger(l, l->crowd < room ? l->crowd : room, l->linger_us);
    while (list_empty(&l->ops) && !l->stopping)
        pthread_cond_wait(&l->some, &l->lock);
    while (count < room && (at = list_pop(&l->ops)) != NULL)
        ops[count++] = container_of(at, struct booking_op, link);
    l->count -= count;
    pthread_mutex_unlock(&l->lock);
    return count;
}

/* Finds the op's inventory and checks the call against it. False: it is answered. */
static bool op_settle(struct booking *b, struct booking_op *op)
{
    enum err e = ERR_OK;
    bool waiter = op->call->kind == BOOKING_LEAVE;

    if (op->call->kind != BOOKING_RESERVE && op->call->kind != BOOKING_JOIN)
        e = b->rows->kind->inventory_of(b->rows, waiter, op->call->id, &op->call->inventory);
    if (e == ERR_OK)
        e = inventory_find(b, op->call->inventory, &op->inventory);
    if (e != ERR_OK) {
        op->inventory = NULL;
        answer_set(op->call, e == ERR_MISSING ? BOOKED_MISSING : BOOKED_BUSY,
                   e == ERR_MISSING ? "there is no such thing" : "the database is away: try again");
        return false;
    }
    return op_check(op) && inventory_enter(op->inventory, op);
}

static void run_direct(struct booking *b, struct booking_op *op)
{
    const struct strategy *s;

    if (op->inventory == NULL) {
        if (!op_settle(b, op)) {
            op_answer(b, op);
            return;
        }
        adaptive_came(b, op);
    }
    s = strategy_of(b, op);
    if (s->combines) {
        lane_push(&b->combining, op);
        return;
    }
    s->run(b, &op, 1);
    op_answer(b, op);
}

static void *direct_thread(void *ctx)
{
    struct lane *l = ctx;
    struct booking_op *op;

    pthread_setname_np(pthread_self(), "booking");
    while (lane_take(l, &op, 1) == 1)
        run_direct(l->booking, op);
    return NULL;
}

/* After a batch that took so long: how many were under way at once, and how long to wait for them to be so many again. */
static void lane_learn(struct lane *l, size_t count, int64_t took_us)
{
    int64_t linger_us = took_us / LINGER_PART < LINGER_US_MAX ? took_us / LINGER_PART : LINGER_US_MAX;

    pthread_mutex_lock(&l->lock);
    l->crowd = count + l->count;
    l->linger_us = l->crowd > 1 ? linger_us : 0;
    pthread_mutex_unlock(&l->lock);
}

static void *combining_thread(void *ctx)
{
    struct lane *l = ctx;
    struct booking_op *ops[COMBINE_OPS_MAX], *open[COMBINE_OPS_MAX];
    size_t count;

    pthread_setname_np(pthread_self(), "combining");
    while ((count = lane_take(l, ops, COMBINE_OPS_MAX)) > 0) {
        int64_t began_us = clock_mono_us();

        memcpy(open, ops, count * sizeof *ops);
        strategy_combining.run(l->booking, open, count);
        lane_learn(l, count, clock_mono_us() - began_us);
        for (size_t i = 0; i < count; i++)
            op_answer(l->booking, ops[i]);
    }
    return NULL;
}

static enum err lane_start(struct lane *l, struct booking *b, unsigned threads, void *(*run)(void *ctx))
{
    l->booking = b;
    pthread_mutex_init(&l->lock, NULL);
    cond_init_monotonic(&l->some);
    list_init(&l->ops);
    l->wanted = 1;
    l->threads = mem_new(threads * sizeof *l->threads);
    for (; l->thread_count < threads; l->thread_count++)
        if (pthread_create(&l->threads[l->thread_count], NULL, run, l) != 0)
            return ERR_IO;
    return ERR_OK;
}

static void lane_stop(struct lane *l)
{
    if (l->booking == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_broadcast(&l->some);
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < l->thread_count; i++)
        pthread_join(l->threads[i], NULL);
    pthread_cond_destroy(&l->some);
    pthread_mutex_destroy(&l->lock);
    free(l->threads);
    l->booking = NULL;
}

/* --- calls ------------------------------------------------------------------------------------------- */

void booking_submit(struct booking *b, struct booking_call *c)
{
    struct booking_op *op = op_new(b, c);

    metric_set(&running_metric, atomic_fetch_add(&b->running, 1) + 1);
    if (c->kind == BOOKING_RESERVE || c->kind == BOOKING_JOIN)
        op->inventory = inventory_cached(b, c->inventory);
    if (op->inventory == NULL) {
        lane_push(&b->direct, op);
        return;
    }
    if (!op_check(op) || !inventory_enter(op->inventory, op)) {
        op_answer(b, op);
        return;
    }
    adaptive_came(b, op);
    lane_push(strategy_of(b, op)->combines ? &b->combining : &b->direct, op);
}

void booking_call_free(struct booking_call *c)
{
    reservation_view_free(&c->reservation);
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool is_answered;
    void (*done)(struct booking_call *c);
    void *ctx;
};

static void wake(struct booking_call *c)
{
    struct waiting *w = c->ctx;

    pthread_mutex_lock(&w->lock);
    w->is_answered = true;
    pthread_cond_signal(&w->answered);
    pthread_mutex_unlock(&w->lock);
}

void booking_do(struct booking *b, struct booking_call *c)
{
    struct waiting w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, c->done, c->ctx};

    c->done = wake;
    c->ctx = &w;
    booking_submit(b, c);
    pthread_mutex_lock(&w.lock);
    while (!w.is_answered)
        pthread_cond_wait(&w.answered, &w.lock);
    pthread_mutex_unlock(&w.lock);
    c->done = w.done;
    c->ctx = w.ctx;
}

/* --- the beginning and the end ----------------------------------------------------------------------- */

static void pause_really(struct booking *b, int64_t us)
{
    struct timespec t = {us / 1000000, us % 1000000 * 1000};

    nanosleep(&t, NULL);
}

struct booking *booking_bare(struct rows *rows)
{
    struct booking *b = mem_new(sizeof *b);

    b->rows = rows;
    b->pause_us = pause_really;
    b->inventories = map_new();
    b->expiry_due_ms = INT64_MAX;
    pthread_rwlock_init(&b->inventories_lock, NULL);
    pthread_mutex_init(&b->expiry_lock, NULL);
    cond_init_monotonic(&b->expiry_wake);
    return b;
}

enum err booking_open(struct booking **out, struct db *d, char why[256])
{
    struct booking *b = booking_bare(rows_sql(d));
    enum err e = lane_start(&b->combining, b, 1, combining_thread);

    *out = NULL;
    b->db = d;
    if (e == ERR_OK)
        e = lane_start(&b->direct, b, db_shared(d) ? DIRECT_THREADS_SHARED : DIRECT_THREADS_ALONE,
                       direct_thread);
    if (e == ERR_OK)
        e = expiry_start(b);
    if (e != ERR_OK) {
        snprintf(why, 256, "the box office has no threads: %s", err_text(e));
        booking_close(b);
        return e;
    }
    *out = b;
    return ERR_OK;
}

void booking_stop(struct booking *b)
{
    if (b == NULL)
        return;
    expiry_stop(b);
    lane_stop(&b->direct); /* it hands ops on to the other */
    lane_stop(&b->combining);
}

void booking_close(struct booking *b)
{
    struct bytes key;
    void *value;

    if (b == NULL)
        return;
    booking_stop(b);
    assert(atomic_load(&b->running) == 0);
    for (size_t at = 0; map_next(b->inventories, &at, &key, &value);)
        inventory_free(value);
    map_free(b->inventories);
    free(b->rows);
    pthread_rwlock_destroy(&b->inventories_lock);
    pthread_mutex_destroy(&b->expiry_lock);
    pthread_cond_destroy(&b->expiry_wake);
    free(b);
}
