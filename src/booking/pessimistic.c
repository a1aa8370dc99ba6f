/* booking/pessimistic.c - locks the rows first, in order, then decides and writes: one op, one transaction.
 *
 * Right when many want the same: nobody decides in vain. Who waits too long for a lock, or finds a deadlock (which no two of
 * ours form), is undone and tries again. */
#include "booking/booking_int.h"

static void run(struct booking *b, struct booking_op **ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        transact_until_done(b, &ops[i], 1, transact_locked);
}

const struct strategy strategy_pessimistic = {"pessimistic", run, false};
