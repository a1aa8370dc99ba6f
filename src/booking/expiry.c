/* booking/expiry.c - gives up holds past their time. Counting does not depend on it: whoever finds such a hold in the way
 * calls expiry_sweep() first. The thread only makes sure that it has happened soon after, so that the line moves and
 * seats show as free.
 *
 * It sleeps until the next hold ends; over a shared database it looks once a second, for those of a server that is gone. */
#include "booking/booking_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <time.h>

/* The longest sleep: other servers' holds, a wall clock that was put forward, a database that was away. */
#define LOOK_MS_MAX 1000

/* Expires these holds of one inventory in one transaction. */
static enum err expire_some(struct booking *b, struct inventory *i, const struct ulid *ids, size_t count)
{
    struct booking_call c = {.kind = BOOKING_EXPIRE, .inventory = i->id};
    struct booking_op op = {.call = &c, .inventory = i, .due_count = count, .begun_ms = clock_mono_ms()};
    struct booking_op *one = &op;

    op.due = mem_new(count * sizeof *op.due);
    memcpy(op.due, ids, count * sizeof *op.due);
    transact_until_done(b, &one, 1, transact_locked);
    free(op.due);
    booking_call_free(&c);
    return c.answer == BOOKED ? ERR_OK : ERR_BUSY;
}

enum err expiry_sweep(struct booking *b, struct inventory *i)
{
    struct ulid ids[EXPIRE_MAX];
    size_t count = EXPIRE_MAX;
    enum err e = ERR_OK;

    while (e == ERR_OK && count == EXPIRE_MAX) {
        e = b->rows->kind->due(b->rows, NULL, i, booking_now_ms(b), ids, EXPIRE_MAX, &count);
        if (e == ERR_OK && count > 0)
            e = expire_some(b, i, ids, count);
    }
    return e;
}

#define INVENTORIES_MAX 64

enum err expiry_sweep_all(struct booking *b)
{
    struct ulid inventories[INVENTORIES_MAX];
    size_t count = INVENTORIES_MAX;
    enum err e = ERR_OK;

    while (e == ERR_OK && count == INVENTORIES_MAX) {
        e = b->rows->kind->due_inventories(b->rows, booking_now_ms(b), inventories, INVENTORIES_MAX, &count);
        for (size_t at = 0; at < count; at++) { /* one that cannot be swept keeps nobody else's holds */
            struct inventory *i;
            enum err one = inventory_find(b, inventories[at], &i);

            if (one == ERR_OK)
                one = expiry_sweep(b, i);
            if (one != ERR_OK)
                e = one;
        }
    }
    return e;
}

/* --- the thread -------------------------------------------------------------------------------------- */

/* Sleeps until a hold may have ended, or LOOK_MS_MAX. False: the box office closes. */
static bool sleep_until_due(struct booking *b)
{
    int64_t until_ms = clock_mono_ms() + LOOK_MS_MAX;
    bool stopping;

    pthread_mutex_lock(&b->expiry_lock);
    for (;;) {
        int64_t left_ms = until_ms - clock_mono_ms(), due_ms = b->expiry_due_ms - clock_wall_ms();
        struct timespec until;

        if (due_ms < left_ms)
            left_ms = due_ms;
        if (b->stopping || left_ms <= 0)
            break;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += left_ms % 1000 * 1000000;
        until.tv_sec += left_ms / 1000 + until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&b->expiry_wake, &b->expiry_lock, &until);
    }
    stopping = b->stopping;
    b->expiry_due_ms = INT64_MAX; /* what is noted from now on is not in what is read next */
    pthread_mutex_unlock(&b->expiry_lock);
    return !stopping;
}

void expiry_note(struct booking *b, int64_t expires_ms)
{
    pthread_mutex_lock(&b->expiry_lock);
    if (expires_ms < b->expiry_due_ms) {
        b->expiry_due_ms = expires_ms;
        pthread_cond_signal(&b->expiry_wake);
    }
    pthread_mutex_unlock(&b->expiry_lock);
}

static void *expire_for_ever(void *ctx)
{
    struct booking *b = ctx;
    bool well = true;

    pthread_setname_np(pthread_self(), "expiry");
    while (sleep_until_due(b)) {
        int64_t next_ms = INT64_MAX;
        enum err e = expiry_sweep_all(b);

        if (e == ERR_OK)
            e = b->rows->kind->next_due(b->rows, &next_ms);
        if ((e == ERR_OK) != well)
            log_warn(
                "booking",
                e == ERR_OK
                    ? "holds are given up in time again"
                    : "holds that have ended cannot be written down: %s; they count for nobody all the same",
                err_text(e));
        well = e == ERR_OK;
        expiry_note(b, next_ms);
        if (clock_mono_ms() - b->refreshed_ms >= LOOK_MS_MAX / 2) { /* not for every hold that ends */
            inventories_refresh(b);
            b->refreshed_ms = clock_mono_ms();
        }
    }
    return NULL;
}

enum err expiry_start(struct booking *b)
{
    b->expiry_due_ms = 0;
    if (pthread_create(&b->expiry_thread, NULL, expire_for_ever, b) != 0)
        return ERR_IO;
    b->expiry_started = true;
    return ERR_OK;
}

void expiry_stop(struct booking *b)
{
    pthread_mutex_lock(&b->expiry_lock);
    b->stopping = true;
    pthread_cond_signal(&b->expiry_wake);
    pthread_mutex_unlock(&b->expiry_lock);
    if (b->expiry_started)
        pthread_join(b->expiry_thread, NULL);
    b->expiry_started = false;
}
