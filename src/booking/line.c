/* booking/line.c - the waitlist: what becomes free is offered in the same commit, first come first.
 *
 * At every commit nobody waits for what is free: whoever frees units, or gets into the line, offers all that fits. A group
 * that does not fit as a whole is passed over and keeps its place; others may take what it cannot use. */
#include "booking/booking_int.h"

#include <assert.h>
#include <stdlib.h>

int64_t line_position(const struct board *b, const struct board_waiter *w)
{
    const struct board_inventory *on = board_inventory(b, w->inventory);
    bool after_cut = on != NULL && on->line_cut && w->place > on->line_end;
    int64_t position = 1;

    for (size_t i = 0; i < b->waiter_count; i++) {
        const struct board_waiter *other = b->waiters[i];
        bool counted = after_cut && other->place > on->line_end && other->version_read != 0; /* in `beyond` */

        position += other->inventory == w->inventory && other->state == WAITER_WAITING &&
                    other->place < w->place && !counted;
    }
    return after_cut ? position + on->beyond - (w->version_read != 0) : position;
}

enum room { ROOM, NO_ROOM, UNKNOWN };

/* Whether all that `w` waits for is free; UNKNOWN where the board does not say. */
static enum room room_for(const struct board *b, const struct board_waiter *w)
{
    enum room room = ROOM;

    for (size_t i = 0; i < w->units.count; i++) {
        uint32_t unit = w->units.at[i].unit;

        if (board_unit(b, w->inventory, unit) == NULL)
            room = UNKNOWN;
        else if (board_left(b, w->inventory, unit) < w->units.at[i].quantity)
            return NO_ROOM;
    }
    return room;
}

/* Waits for any seats: chooses them. */
static enum room room_anywhere(struct board *b, struct board_waiter *w)
{
    if (!board_inventory(b, w->inventory)->all_units)
        return UNKNOWN;
    return board_choose(b, w->inventory, w->quantity, &w->units) ? ROOM : NO_ROOM;
}

static bool anything_free(const struct board *b, const struct inventory *i)
{
    bool found = false;

    for (size_t at = 0; at < b->unit_count && !found; at++)
        found = b->units[at].inventory == i && board_left(b, i, b->units[at].unit) > 0;
    return found;
}

enum verdict line_offer(struct board *b, struct inventory *i, int64_t hold_ms)
{
    const struct board_inventory *on = board_inventory(b, i);

    assert(on != NULL && on->line_read);
    for (size_t at = 0; at < b->waiter_count; at++) { /* by place */
        struct board_waiter *w = b->waiters[at];
        enum room room;

        if (w->inventory != i || w->state != WAITER_WAITING || (on->line_cut && w->place > on->line_end))
            continue;
        room = w->quantity > 0 ? room_anywhere(b, w) : room_for(b, w);
        if (room == UNKNOWN)
            return VERDICT_WIDER;
        if (room == NO_ROOM)
            continue;
        w->reservation = ulid_secret();
        /* Found again by who leaves the line in the same transaction. */
        board_index(b, board_hold(b, i, w->reservation, w->customer, &w->units, hold_ms));
        w->state = WAITER_OFFERED;
        w->version++;
    }
    /* Those we do not see come before those who join now, and before anybody who does not wait. */
    return on->line_cut && anything_free(b, i) ? VERDICT_LONGER : VERDICT_DONE;
}
