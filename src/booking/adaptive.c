/* booking/adaptive.c - picks the strategy for each op by what it has measured of the units the op wants.
 *
 *   several calls at once   combining: whether or not they want the same, they share a sync of the disk
 *   alone, and often abort  pessimistic: somebody else (another server) is at the same units
 *   alone                   optimistic
 *
 * A unit becomes hot at once and cool only after a while without reason, so that it does not swing between two.
 *
 * A database of our own has one writer at a time anyway: there combining is the cheapest for a lone call too, which then waits
 * for nobody and is read, decided and written in one go. */
#include "booking/booking_int.h"

#include "base/mem.h"

#include <stdlib.h>

/* Calls on a unit in a row that found nobody else before it is cool again. */
#define COOL_AFTER 64
/* Rounds in vain for each call, in 1/256: where locking begins to pay, and where it no longer does (a tenth and a
 * thirtieth: docs/performance.md, "Booking", has the crossing). */
#define ABORTS_HIGH 26
#define ABORTS_LOW  8
/* The weight of one call in the moving average is 1/16. */
#define ABORTS_SHIFT 4

struct measured {
    _Atomic uint16_t in_flight; /* calls that want it now */
    _Atomic uint16_t calm;      /* until it is cool; 0: it is */
    _Atomic uint16_t aborts;    /* for each call, in 1/256, moving average */
    _Atomic bool locking;
};

struct adaptive {
    struct measured any; /* of calls that want any seats */
    struct measured units[];
};

struct adaptive *adaptive_new(uint32_t unit_count)
{
    return mem_new(sizeof(struct adaptive) + unit_count * sizeof(struct measured));
}

void adaptive_free(struct adaptive *a)
{
    free(a);
}

static void came(struct measured *m, bool crowd)
{
    if (atomic_fetch_add(&m->in_flight, 1) > 0 || crowd)
        atomic_store(&m->calm, COOL_AFTER);
}

static void went(struct measured *m, unsigned aborts)
{
    unsigned old = atomic_load(&m->aborts),
             now = old - (old >> ABORTS_SHIFT) + ((aborts < 16 ? aborts : 16) << (8 - ABORTS_SHIFT));
    unsigned calm = atomic_load(&m->calm);

    if (atomic_fetch_sub(&m->in_flight, 1) == 1 && calm > 0)
        atomic_store(&m->calm, (uint16_t)(calm - 1)); /* a race here loses a count, which is harmless */
    atomic_store(&m->aborts, (uint16_t)now);
    if (now >= ABORTS_HIGH)
        atomic_store(&m->locking, true);
    else if (now <= ABORTS_LOW)
        atomic_store(&m->locking, false);
}

void adaptive_came(struct booking *b, struct booking_op *op)
{
    struct adaptive *a = op->inventory->adaptive;
    bool crowd = atomic_load(&b->running) > 1;

    op->counted = true;
    for (size_t i = 0; i < op->wants.count && !op->best_seats; i++)
        came(&a->units[op->wants.at[i].unit], crowd);
    if (op->best_seats || op->wants.count == 0)
        came(&a->any, crowd);
}

void adaptive_went(struct booking_op *op)
{
    struct adaptive *a = op->inventory->adaptive;
    unsigned aborts = op->tries > 0 ? op->tries - 1 : 0;

    if (!op->counted)
        return;
    for (size_t i = 0; i < op->wants.count && !op->best_seats; i++)
        went(&a->units[op->wants.at[i].unit], aborts);
    if (op->best_seats || op->wants.count == 0)
        went(&a->any, aborts);
}

static const struct strategy *worst(const struct measured *m, const struct strategy *so_far)
{
    if (atomic_load(&m->calm) > 0 || so_far == &strategy_combining)
        return &strategy_combining;
    return atomic_load(&m->locking) ? &strategy_pessimistic : so_far;
}

static const struct strategy *adapted(const struct booking_op *op)
{
    const struct strategy *s = &strategy_optimistic;
    const struct adaptive *a = op->inventory->adaptive;

    for (size_t i = 0; i < op->wants.count && !op->best_seats; i++)
        s = worst(&a->units[op->wants.at[i].unit], s);
    return op->best_seats || op->wants.count == 0 ? worst(&a->any, s) : s;
}

const struct strategy *strategy_of(const struct booking *b, const struct booking_op *op)
{
    switch ((enum booking_locking)atomic_load(&op->inventory->locking)) {
    case LOCKING_OPTIMISTIC:
        return &strategy_optimistic;
    case LOCKING_PESSIMISTIC:
        return &strategy_pessimistic;
    case LOCKING_ADAPTIVE:
        return b->rows->shared ? adapted(op) : &strategy_combining;
    case LOCKING_COMBINING:
    case LOCKING_COUNT:
        break;
    }
    return &strategy_combining;
}
