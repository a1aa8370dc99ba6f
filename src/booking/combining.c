/* booking/combining.c - one writer decides everything that came while it last committed, in the order it came, in one
 * transaction: one sync of the disk for hundreds of bookings, and nobody to wait for.
 *
 * Its rows are locked as any other's, so other servers over the same database, and other strategies, are no danger. */
#include "booking/booking_int.h"

static void run(struct booking *b, struct booking_op **ops, size_t count)
{
    transact_until_done(b, ops, count, transact_locked);
}

const struct strategy strategy_combining = {"combining", run, true};
