/* booking/line.c - the waitlist: what becomes free is offered in the same commit, first come first.
 *
 * At every commit nobody waits for what is free: whoever frees units, or gets into the line, offers all that fits. A group
 * that does not fit as a whole is passed over and keeps its place; others may take what it cannot use. */
#include "booking/booking_int.h"

#include <assert.h>
#include <stdlib.h>

int64_t line_position(const struct board *b, const struct board_waiter *w)
{
    int64_t position = 1;

    for (size_t i = 0; i < b->waiter_count; i++) {
        const struct board_waiter *other = b->waiters[i];

        position +=
            other->inventory == w->inventory && other->state == WAITER_WAITING && other->place < w->place;
    }
    return position;
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

bool line_offer(struct board *b, struct inventory *i, int64_t hold_ms)
{
    assert(board_inventory(b, i) != NULL && board_inventory(b, i)->line_read);
    for (size_t at = 0; at < b->waiter_count; at++) { /* by place: read so, and joined at the end */
        struct board_waiter *w = b->waiters[at];
        enum room room;

        if (w->inventory != i || w->state != WAITER_WAITING)
            continue;
        room = w->quantity > 0 ? room_anywhere(b, w) : room_for(b, w);
        if (room == UNKNOWN)
            return false;
        if (room == NO_ROOM)
            continue;
        w->reservation = ulid_secret();
        board_hold(b, i, w->reservation, w->customer, &w->units, hold_ms);
        w->state = WAITER_OFFERED;
        w->version++;
    }
    return true;
}
