/* booking/transact.c - rounds: reading what some ops need, deciding, writing; and trying again. */
#include "booking/booking_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"

#include <assert.h>
#include <stdlib.h>

/* --- one round --------------------------------------------------------------------------------------- */

struct round {
    struct booking *booking;
    struct booking_op **ops;
    size_t count;
    struct board board;
    bool lock;
};

static enum err read_wishes(struct round *r, void *tx, void (*wish)(struct booking_op *op, struct board *b))
{
    r->board.wish_count = 0;
    for (size_t i = 0; i < r->count; i++)
        wish(r->ops[i], &r->board);
    return r->board.wish_count > 0
               ? r->booking->rows->kind->read_wishes(r->booking->rows, tx, &r->board, r->lock)
               : ERR_OK;
}

/* Reads in lock order: reservations, units, the line. */
static enum err read_board(struct round *r, void *tx)
{
    const struct rows_kind *rows = r->booking->rows->kind;
    enum err e;

    if ((e = read_wishes(r, tx, op_wishes)) != ERR_OK || (e = read_wishes(r, tx, op_more_wishes)) != ERR_OK)
        return e;
    for (size_t i = 0; i < r->count; i++)
        op_wants(r->ops[i], &r->board);
    board_sort(&r->board);
    if ((e = rows->read_units(r->booking->rows, tx, &r->board, r->lock)) != ERR_OK)
        return e;
    e = rows->read_inventories(r->booking->rows, tx, &r->board, r->lock);
    board_sort_waiters(&r->board);
    return e;
}

/* Whether a hold past its time stands in the inventory: with the units locked, so that nobody expires it meanwhile. */
static enum err look_for_due(struct round *r, void *tx, struct booking_op *op)
{
    struct ulid id;
    size_t due = 0;
    enum err e =
        r->booking->rows->kind->due(r->booking->rows, tx, op->inventory, r->board.now_ms, &id, 1, &due);

    if (e == ERR_OK)
        op->verdict = due > 0 ? VERDICT_SWEEP : VERDICT_DONE;
    return e;
}

static bool refused(const struct booking_op *op)
{
    enum booking_answer a = op->call->answer;

    return op->call->kind == BOOKING_RESERVE && op->verdict == VERDICT_DONE &&
           (a == BOOKED_SOLD_OUT || a == BOOKED_STALE);
}

/* Keys are read before units are locked, or not at all. Whoever refuses one looks now: what stands in its way may be what the same
 * key got, before or meanwhile, from another server or from a try of ours whose answer was lost. ERR_STALE: so it is. */
static enum err look_for_answers(struct round *r, void *tx)
{
    struct rows *rows = r->booking->rows;
    bool again = r->lock && rows->shared;
    enum err e = ERR_OK;
    struct board fresh;

    board_init(&fresh);
    for (size_t i = 0; i < r->count; i++) {
        struct booking_op *op = r->ops[i];

        if (!refused(op) || (op->looks && !again))
            continue;
        op->looks = true;
        op_wishes(op, &fresh);
    }
    if (fresh.wish_count > 0)
        e = rows->kind->read_wishes(rows, tx, &fresh, r->lock);
    if (e == ERR_OK && fresh.reservation_count > 0)
        e = ERR_STALE;
    board_free(&fresh);
    return e;
}

static enum err decide_all(struct round *r, void *tx)
{
    const struct inventory *clean = NULL; /* nothing is due here: the next short op need not look */
    enum err e = ERR_OK;

    r->board.now_ms = booking_now_ms(r->booking);
    for (size_t i = 0; i < r->count && e == ERR_OK; i++) {
        struct booking_op *op = r->ops[i];

        op_decide(op, &r->board, atomic_load(&op->inventory->hold_ms));
        if (op->verdict == VERDICT_WIDER || op->verdict == VERDICT_LONGER)
            return ERR_STALE; /* the board may be half changed: away with it */
        if (r->board.torn) {
            assert(!r->lock); /* under locks it would be a unit sold twice: what this whole room is for */
            return ERR_STALE;
        }
        if (op->verdict != VERDICT_SHORT)
            continue;
        if (op->inventory == clean)
            op->verdict = VERDICT_DONE;
        else if ((e = look_for_due(r, tx, op)) == ERR_OK && op->verdict == VERDICT_DONE)
            clean = op->inventory;
    }
    return e == ERR_OK ? look_for_answers(r, tx) : e;
}

static enum err save(struct round *r, void *tx)
{
    return board_changed(&r->board) ? r->booking->rows->kind->save(r->booking->rows, tx, &r->board) : ERR_OK;
}

static enum err within(void *ctx, void *tx)
{
    struct round *r = ctx;
    enum err e;

    if (r->lock && (e = read_board(r, tx)) != ERR_OK)
        return e;
    if (r->lock && (e = decide_all(r, tx)) != ERR_OK)
        return e;
    return save(r, tx);
}

/* What is durable now is shown to followers, and to the one who expires holds. */
static void announce(struct booking *b, const struct board *board)
{
    int64_t ends_ms = INT64_MAX;

    for (size_t i = 0; i < board->unit_count; i++) {
        const struct board_unit *u = &board->units[i];

        inventory_saw(u->inventory, u->unit, u->held, u->sold, u->version);
    }
    for (size_t i = 0; i < board->reservation_count; i++)
        if (board->reservations[i]->version_read == 0 && board->reservations[i]->expires_ms < ends_ms)
            ends_ms = board->reservations[i]->expires_ms;
    if (ends_ms != INT64_MAX)
        expiry_note(b, ends_ms);
}

static enum err finish(struct round *r, enum err e)
{
    if (e == ERR_OK)
        announce(r->booking, &r->board);
    board_free(&r->board);
    return e;
}

enum err transact_locked(struct booking *b, struct booking_op **ops, size_t count)
{
    struct round r = {.booking = b, .ops = ops, .count = count, .lock = true};

    return finish(&r, b->rows->kind->write(b->rows, within, &r));
}

enum err transact_unlocked(struct booking *b, struct booking_op **ops, size_t count)
{
    struct round r = {.booking = b, .ops = ops, .count = count};
    enum err e = read_board(&r, NULL);

    if (e == ERR_OK)
        e = decide_all(&r, NULL);
    if (e == ERR_OK && board_changed(&r.board))
        e = b->rows->kind->write(b->rows, within, &r);
    return finish(&r, e);
}

/* --- until all are answered -------------------------------------------------------------------------- */

static void pause_after(struct booking *b, unsigned tries)
{
    int64_t most = tries < 7 ? BOOKING_PAUSE_US << tries : BOOKING_PAUSE_US_MAX;

    b->pause_us(
        b, (int64_t)(random_u64() % (uint64_t)(most < BOOKING_PAUSE_US_MAX ? most : BOOKING_PAUSE_US_MAX)));
}

static void give_up(struct booking_op *op, enum err why)
{
    op->verdict = VERDICT_DONE;
    switch (why) {
    case ERR_OK:
    case ERR_STALE:
    case ERR_BUSY:
    case ERR_EXISTS:
        answer_set(op->call, BOOKED_BUSY, "too many want the same at once: nothing was taken, try again");
        break;
    case ERR_FULL:
        answer_set(op->call, BOOKED_BUSY,
                   "the disk of the database is full: nothing was taken, try again later");
        break;
    case ERR_BAD:
        log_error("booking", "rows of the inventory \"%s\" are damaged: one call is given up",
                  op->inventory->name);
        answer_set(op->call, BOOKED_BUSY, "what is stored of it is damaged: tell those who sell it");
        break;
    default:
        answer_set(
            op->call, BOOKED_BUSY,
            "the database is away: repeat the same request with the same key, and nothing is taken twice");
        break;
    }
}

/* After a round: what is answered leaves `ops`; what remains is to be tried again. Returns how many. *wider: one of them only
 * has to see more. */
static size_t keep_open(struct booking_op **ops, size_t count, enum err e, bool *wider)
{
    int64_t now_ms = clock_mono_ms();
    size_t open = 0;

    *wider = false;
    for (size_t i = 0; i < count; i++) {
        struct booking_op *op = ops[i];

        op->tries++;
        if (e == ERR_OK && op->verdict == VERDICT_DONE)
            continue;
        op->looks = true;
        if (op->verdict == VERDICT_WIDER)
            op->wide = *wider = true;
        if (op->verdict == VERDICT_LONGER)
            op->whole_line = *wider = true;
        if (now_ms - op->begun_ms > BOOKING_TRY_MS_MAX || (e == ERR_BAD && count == 1))
            give_up(op, e);
        else
            ops[open++] = op;
    }
    return open;
}

static enum err sweep_for(struct booking *b, struct booking_op **ops, size_t count)
{
    const struct inventory *clean = NULL;
    enum err e = ERR_OK;

    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        if (ops[i]->verdict != VERDICT_SWEEP || ops[i]->inventory == clean)
            continue;
        e = expiry_sweep(b, ops[i]->inventory);
        clean = ops[i]->inventory;
    }
    return e;
}

void transact_until_done(struct booking *b, struct booking_op **ops, size_t count, transact_round round)
{
    for (unsigned failed = 0; count > 0;) {
        bool wider;
        enum err e;

        for (size_t i = 0; i < count; i++)
            ops[i]->verdict = VERDICT_DONE;
        e = round(b, ops, count);
        if (e == ERR_EXISTS)
            atomic_store(&b->wary, WARY_OPS);
        count = keep_open(ops, count, e, &wider);
        if (e == ERR_BAD &&
            count > 1) { /* one of them meets a damaged row: found by halves, the others go on */
            transact_until_done(b, ops, count / 2, round);
            transact_until_done(b, ops + count / 2, count - count / 2, round);
            return;
        }
        if (e == ERR_OK)
            e = sweep_for(b, ops, count);
        if (e != ERR_OK && !wider && count > 0)
            pause_after(b, failed++);
    }
}
