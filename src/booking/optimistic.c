/* booking/optimistic.c - looks without locks, decides, and writes where every version is still the one it saw.
 *
 * Right when few want the same: nobody ever waits for anybody. What frees units, or waits for them, is locked all the same: the
 * line lies between rows, and no row's version tells that somebody has got into it. So is a refusal before it is
 * given, since it must be true of one moment. And so is a reservation with If-Match: it depends on units that it does not
 * write, whose versions nobody would compare. */
#include "booking/booking_int.h"

static enum err round_of(struct booking *b, struct booking_op **ops, size_t count)
{
    const struct booking_op *op = ops[0];
    bool plain = op->call->kind == BOOKING_CONFIRM ||
                 (op->call->kind == BOOKING_RESERVE && op->call->if_match == BOOKING_ANY_VERSION);
    enum err e;

    if (!plain || op->wide)
        return transact_locked(b, ops, count);
    e = transact_unlocked(b, ops, count);
    if (e == ERR_OK && (op->verdict == VERDICT_SWEEP || op->call->answer == BOOKED_SOLD_OUT))
        return transact_locked(b, ops, count);
    return e;
}

static void run(struct booking *b, struct booking_op **ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        transact_until_done(b, &ops[i], 1, round_of);
}

const struct strategy strategy_optimistic = {"optimistic", run, false};
