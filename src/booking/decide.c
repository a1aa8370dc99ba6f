/* booking/decide.c - what a call does to the rows it needs: pure, and the same for every strategy, server and database.
 *
 * A decision is made on a board that holds everything the op asked for. It changes the board or it does not, and sets
 * the answer; nothing here reads a clock, a database or another op. */
#include "booking/booking_int.h"

#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- answers ----------------------------------------------------------------------------------------- */

void answer_set(struct booking_call *c, enum booking_answer a, const char *why)
{
    c->answer = a;
    snprintf(c->why, sizeof c->why, "%s", why);
}

void show_units(struct reservation_view *v, const struct inventory *i, const struct quantities *q)
{
    v->units = mem_new(q->count * sizeof *v->units);
    v->unit_count = q->count;
    for (size_t at = 0; at < q->count; at++)
        v->units[at] = (struct booked_unit){mem_string(i->units[q->at[at].unit].key), q->at[at].quantity};
}

void answer_reservation(struct booking_call *c, const struct board_reservation *r, bool first)
{
    reservation_view_free(&c->reservation);
    c->reservation = (struct reservation_view){
        .id = r->id,
        .inventory = r->inventory->id,
        .customer = mem_string(r->customer),
        .state = first ? RESERVATION_HELD : r->state,
        .expires_ms = r->expires_ms,
        .created_ms = r->created_ms,
        .version = first ? 1 : r->version,
    };
    show_units(&c->reservation, r->inventory, first ? &r->first : &r->units);
}

void answer_waiter(struct booking_call *c, const struct board *b, const struct board_waiter *w)
{
    c->waiter = (struct waiter_view){
        .id = w->id,
        .inventory = w->inventory->id,
        .state = w->state,
        .position = w->state == WAITER_WAITING ? line_position(b, w) : 0,
        .reservation = w->reservation,
    };
}

static void done(struct booking_op *op, enum booking_answer a, const char *why)
{
    answer_set(op->call, a, why);
    op->verdict = VERDICT_DONE;
}

/* --- checking a call against its inventory ----------------------------------------------------------- */

static bool refuse(struct booking_op *op, const char *format, ...) printf_like(2, 3);

static bool refuse(struct booking_op *op, const char *format, ...)
{
    va_list args;
    char why[256];

    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    done(op, BOOKED_BAD, why);
    return false;
}

static int quantity_order(const void *left, const void *right)
{
    const struct quantity *a = left, *b = right;

    return (a->unit > b->unit) - (a->unit < b->unit);
}

static bool check_quantity(struct booking_op *op, uint32_t unit, int64_t quantity)
{
    const struct unit *u = &op->inventory->units[unit];

    if (quantity < 1)
        return refuse(op, "the quantity of %.80s must be 1 or more", u->key);
    if (quantity > u->capacity)
        return refuse(op, "the quantity of %.80s is more than there is at all, %lld", u->key,
                      (long long)u->capacity);
    return true;
}

static bool check_units(struct booking_op *op)
{
    const struct booking_call *c = op->call;

    if (c->want_count > BOOKING_WANTS_MAX)
        return refuse(op, "a reservation takes at most %d units", BOOKING_WANTS_MAX);
    op->wants.at = mem_new(c->want_count * sizeof *op->wants.at);
    for (size_t i = 0; i < c->want_count; i++) {
        uint32_t unit = inventory_unit(op->inventory, bytes_text(c->wants[i].key));

        if (unit == UINT32_MAX)
            return refuse(op, "there is no unit \"%.80s\" in this inventory", c->wants[i].key);
        if (!check_quantity(op, unit, c->wants[i].quantity))
            return false;
        op->wants.at[op->wants.count++] = (struct quantity){unit, c->wants[i].quantity};
    }
    qsort(op->wants.at, op->wants.count, sizeof *op->wants.at, quantity_order);
    for (size_t i = 1; i < op->wants.count; i++)
        if (op->wants.at[i].unit == op->wants.at[i - 1].unit)
            return refuse(op, "the unit %.80s is there twice: say it once, with the whole quantity",
                          op->inventory->units[op->wants.at[i].unit].key);
    return true;
}

static bool check_nights(struct booking_op *op)
{
    const struct booking_call *c = op->call;
    char night[NIGHT_SIZE];
    int64_t from, to;

    if (op->inventory->kind != INVENTORY_NIGHTS)
        return refuse(op, "from and to are for inventories of nights; say units or a quantity");
    if (!night_parse(c->from, &from) || !night_parse(c->to, &to))
        return refuse(op, "from and to must be dates like 2026-12-24");
    if (from >= to)
        return refuse(op, "from must be before to, the morning of leaving");
    if (to - from > BOOKING_WANTS_MAX)
        return refuse(op, "a reservation takes at most %d nights", BOOKING_WANTS_MAX);
    op->wants.at = mem_new((size_t)(to - from) * sizeof *op->wants.at);
    for (int64_t day = from; day < to; day++) {
        night_text(night, day);
        uint32_t unit = inventory_unit(op->inventory, bytes_text(night));

        if (unit == UINT32_MAX)
            return refuse(op, "the night of %s is not in this inventory", night);
        if (!check_quantity(op, unit, c->rooms))
            return false;
        op->wants.at[op->wants.count++] = (struct quantity){unit, c->rooms};
    }
    return true;
}

/* So many of the only unit, or so many seats, whichever they are. */
static bool check_amount(struct booking_op *op)
{
    const struct inventory *i = op->inventory;
    int64_t quantity = op->call->quantity;

    if (i->unit_count == 1) {
        if (!check_quantity(op, 0, quantity))
            return false;
        op->wants.at = mem_new(sizeof *op->wants.at);
        op->wants.at[op->wants.count++] = (struct quantity){0, quantity};
        return true;
    }
    if (i->kind == INVENTORY_NIGHTS)
        return refuse(op, "say which nights: from, to and rooms");
    if (quantity < 1)
        return refuse(op, "the quantity must be 1 or more");
    if (quantity > i->unit_count || quantity > BOOKING_WANTS_MAX)
        return refuse(op, "the quantity is more than there is at all, %u", (unsigned)i->unit_count);
    op->best_seats = true;
    return true;
}

bool op_check(struct booking_op *op)
{
    const struct booking_call *c = op->call;

    quantities_free(&op->wants);
    op->best_seats = false;
    if (c->kind != BOOKING_RESERVE && c->kind != BOOKING_CHANGE && c->kind != BOOKING_JOIN)
        return true;
    if (c->from != NULL)
        return check_nights(op);
    if (c->kind == BOOKING_CHANGE && c->want_count == 0)
        return refuse(op, "units must name at least one; to give up all, cancel the reservation");
    return c->want_count > 0 ? check_units(op) : check_amount(op);
}

/* --- what an op must see ----------------------------------------------------------------------------- */

void op_wishes(struct booking_op *op, struct board *b)
{
    const struct booking_call *c = op->call;

    switch (c->kind) {
    case BOOKING_RESERVE:
        if (op->looks)
            board_wish(b, (struct board_wish){WISH_KEY, op->inventory, {{0}}, c->idempotency_key});
        break;
    case BOOKING_CONFIRM:
    case BOOKING_CHANGE:
    case BOOKING_CANCEL:
        board_wish(b, (struct board_wish){WISH_RESERVATION, op->inventory, c->id, NULL});
        break;
    case BOOKING_JOIN:
        if (op->tries > 0)
            board_wish(b, (struct board_wish){WISH_WAITER, op->inventory, op->new_id, NULL});
        break;
    case BOOKING_LEAVE:
        board_wish(b, (struct board_wish){WISH_WAITER, op->inventory, c->id, NULL});
        break;
    case BOOKING_EXPIRE:
        for (size_t i = 0; i < op->due_count; i++)
            board_wish(b, (struct board_wish){WISH_RESERVATION, op->inventory, op->due[i], NULL});
        break;
    }
}

void op_more_wishes(struct booking_op *op, struct board *b)
{
    const struct board_waiter *w = op->call->kind == BOOKING_LEAVE ? board_waiter(b, op->call->id) : NULL;

    if (w != NULL && w->state == WAITER_OFFERED)
        board_wish(b, (struct board_wish){WISH_RESERVATION, op->inventory, w->reservation, NULL});
}

static bool active(const struct board_reservation *r)
{
    return r != NULL && (r->state == RESERVATION_HELD || r->state == RESERVATION_CONFIRMED);
}

/* Units of a reservation, which may be freed: so the line must be seen too. */
static void want_freeing(struct booking_op *op, struct board *b, const struct board_reservation *r)
{
    if (!active(r))
        return;
    board_want_units(b, op->inventory, &r->units);
    board_want_line(b, op->inventory);
}

static void want_reserve(struct booking_op *op, struct board *b)
{
    if (board_reservation_by_key(b, op->inventory, op->call->idempotency_key) != NULL)
        return;
    if (op->call->if_match != BOOKING_ANY_VERSION) {
        board_want_version(b, op->inventory);
        board_want_all(b, op->inventory);
    }
    board_want_units(b, op->inventory, &op->wants);
}

void op_wants(struct booking_op *op, struct board *b)
{
    const struct booking_call *c = op->call;
    const struct board_reservation *r = board_reservation(b, c->id);
    const struct board_waiter *w;

    if (op->wide)
        board_want_all(b, op->inventory);
    if (op->whole_line)
        board_want_whole_line(b, op->inventory);
    switch (c->kind) {
    case BOOKING_RESERVE:
        want_reserve(op, b);
        break;
    case BOOKING_CONFIRM:
        if (active(r))
            board_want_units(b, op->inventory, &r->units);
        break;
    case BOOKING_CHANGE:
        want_freeing(op, b, r);
        if (active(r))
            board_want_units(b, op->inventory, &op->wants);
        break;
    case BOOKING_CANCEL:
        want_freeing(op, b, r);
        break;
    case BOOKING_JOIN:
        board_want_units(b, op->inventory, &op->wants);
        if (op->best_seats)
            board_want_all(b, op->inventory);
        board_want_line(b, op->inventory);
        break;
    case BOOKING_LEAVE:
        if ((w = board_waiter(b, c->id)) != NULL && w->state == WAITER_OFFERED)
            want_freeing(op, b, board_reservation(b, w->reservation));
        break;
    case BOOKING_EXPIRE:
        for (size_t i = 0; i < op->due_count; i++)
            want_freeing(op, b, board_reservation(b, op->due[i]));
        break;
    }
}

/* --- taking and giving back -------------------------------------------------------------------------- */

static int64_t left_of(const struct board_unit *u)
{
    return u->inventory->units[u->unit].capacity - u->held - u->sold;
}

int64_t board_left(const struct board *b, const struct inventory *i, uint32_t unit)
{
    const struct board_unit *u = board_unit(b, i, unit);

    assert(u != NULL && u->read);
    return left_of(u);
}

static void take(struct board *b, const struct inventory *i, const struct quantities *q, bool sold)
{
    for (size_t at = 0; at < q->count; at++) {
        struct board_unit *u = board_unit(b, i, q->at[at].unit);

        *(sold ? &u->sold : &u->held) += q->at[at].quantity;
        u->version++;
        b->torn |= left_of(u) < 0;
    }
}

static void give_back(struct board *b, const struct board_reservation *r)
{
    for (size_t at = 0; at < r->units.count; at++) {
        struct board_unit *u = board_unit(b, r->inventory, r->units.at[at].unit);
        int64_t *kept = r->state == RESERVATION_CONFIRMED ? &u->sold : &u->held;

        *kept -= r->units.at[at].quantity;
        u->version++;
        b->torn |= *kept < 0;
    }
}

struct board_reservation *board_hold(struct board *b, struct inventory *i, struct ulid id,
                                     const char *customer, const struct quantities *units, int64_t hold_ms)
{
    struct board_reservation *r = board_add_reservation(b);

    r->id = id;
    r->inventory = i;
    r->customer = mem_string(customer);
    r->state = RESERVATION_HELD;
    r->created_ms = b->now_ms;
    r->expires_ms = b->now_ms + hold_ms;
    r->version = 1;
    r->units = quantities_copy(units);
    r->first = quantities_copy(units);
    take(b, i, units, false);
    return r;
}

/* Whether there is room for `q`, not counting what `but` (may be NULL) has; otherwise the answer names what is short. */
static bool fits(struct booking_op *op, const struct board *b, const struct quantities *q,
                 const struct board_reservation *but)
{
    struct booking_call *c = op->call;

    c->left_count = 0;
    for (size_t at = 0, own = 0; at < q->count; at++) {
        int64_t left = board_left(b, op->inventory, q->at[at].unit);

        while (but != NULL && own < but->units.count && but->units.at[own].unit < q->at[at].unit)
            own++;
        if (but != NULL && own < but->units.count && but->units.at[own].unit == q->at[at].unit)
            left += but->units.at[own].quantity;
        if (left >= q->at[at].quantity || c->left_count == BOOKING_LEFT_MAX)
            continue;
        struct booking_left *l = &c->left[c->left_count++];

        snprintf(l->key, sizeof l->key, "%s", op->inventory->units[q->at[at].unit].key);
        l->left = left;
    }
    return c->left_count == 0;
}

/* Not enough left, unless a hold past its time is in the way. */
static void short_of(struct booking_op *op)
{
    answer_set(op->call, BOOKED_SOLD_OUT, "there is not enough left");
    op->verdict = VERDICT_SHORT;
}

/* --- each kind --------------------------------------------------------------------------------------- */

static bool free_on_board(void *ctx, uint32_t unit)
{
    return left_of((const struct board_unit *)ctx + unit) > 0;
}

/* Fills q with the best seats on a board that holds them all. */
bool board_choose(struct board *b, const struct inventory *i, int64_t count, struct quantities *q)
{
    uint32_t *chosen = mem_new((size_t)count * sizeof *chosen);
    struct board_unit *units = board_unit(b, i, 0); /* all of them, by unit */
    bool found = seats_choose(i, (size_t)count, free_on_board, units, chosen);

    quantities_free(q);
    if (found) {
        q->at = mem_new((size_t)count * sizeof *q->at);
        for (int64_t at = 0; at < count; at++)
            q->at[q->count++] = (struct quantity){chosen[at], 1};
        qsort(q->at, q->count, sizeof *q->at, quantity_order);
    }
    free(chosen);
    return found;
}

static int64_t inventory_version(const struct board *b, const struct inventory *i)
{
    int64_t version = board_inventory(b, i)->version;

    for (uint32_t unit = 0; unit < i->unit_count; unit++)
        version += board_unit(b, i, unit)->version;
    return version;
}

/* Where any seats would do, the refusal names those there are. */
static void name_free(struct booking_op *op, const struct board *b)
{
    struct booking_call *c = op->call;

    c->left_count = 0;
    for (uint32_t unit = 0; unit < op->inventory->unit_count && c->left_count < BOOKING_LEFT_MAX; unit++) {
        struct booking_left *l = &c->left[c->left_count];

        if ((l->left = board_left(b, op->inventory, unit)) <= 0)
            continue;
        snprintf(l->key, sizeof l->key, "%s", op->inventory->units[unit].key);
        c->left_count++;
    }
}

/* Sets op->wants where any seats will do. False: the verdict says what is in the way. */
static bool seats_set(struct booking_op *op, struct board *b)
{
    const struct board_inventory *on = board_inventory(b, op->inventory);

    if (!op->best_seats || (op->wants.count > 0 && fits(op, b, &op->wants, NULL)))
        return true;
    if (on != NULL && on->all_units) { /* which may be another op's doing */
        if (board_choose(b, op->inventory, op->call->quantity, &op->wants))
            return true;
        name_free(op, b);
        short_of(op);
        return false;
    }
    op->verdict = VERDICT_WIDER; /* what memory thought free is not */
    return false;
}

static void decide_reserve(struct booking_op *op, struct board *b, int64_t hold_ms)
{
    struct booking_call *c = op->call;
    struct board_reservation *r = board_reservation_by_key(b, op->inventory, c->idempotency_key);

    if (r != NULL && memcmp(r->body, c->body, sizeof r->body) != 0) {
        done(op, BOOKED_OTHER, "this Idempotency-Key was used for another request: take a new one");
    } else if (r != NULL) {
        done(op, BOOKED_BEFORE, "");
        answer_reservation(c, r, true);
    } else if (c->if_match != BOOKING_ANY_VERSION && c->if_match != inventory_version(b, op->inventory)) {
        done(op, BOOKED_STALE, "the inventory has changed");
    } else if (!seats_set(op, b)) {
        return;
    } else if (!fits(op, b, &op->wants, NULL)) {
        short_of(op);
    } else {
        r = board_hold(b, op->inventory, op->new_id, c->customer, &op->wants, hold_ms);
        r->idempotency_key = mem_string(c->idempotency_key);
        memcpy(r->body, c->body, sizeof r->body);
        done(op, BOOKED, "");
        answer_reservation(c, r, true);
    }
}

/* Finds the reservation and answers where it is not there or over; false then. A hold past its time is expired first, so that
 * what we say of it is written down. */
static bool usable(struct booking_op *op, const struct board *b, struct board_reservation **out)
{
    struct board_reservation *r = *out = board_reservation(b, op->call->id);

    if (r == NULL || r->inventory != op->inventory) {
        done(op, BOOKED_MISSING, "there is no such reservation");
        return false;
    }
    if (r->state == RESERVATION_HELD && r->expires_ms <= b->now_ms) {
        op->verdict = VERDICT_SWEEP;
        return false;
    }
    if (active(r))
        return true;
    done(op, BOOKED_OVER,
         r->state == RESERVATION_EXPIRED ? "the hold has expired" : "the reservation is cancelled");
    answer_reservation(op->call, r, false);
    return false;
}

static void answer_now(struct booking_op *op, enum booking_answer a, const struct board_reservation *r)
{
    done(op, a, "");
    answer_reservation(op->call, r, false);
}

static void decide_confirm(struct booking_op *op, struct board *b)
{
    int64_t if_match = op->call->if_match;
    struct board_reservation *r;

    if (!usable(op, b, &r))
        return;
    /* A repeated confirm carries the version from before the first one (RFC 9110 §13.1.1 lets us see that). */
    bool matches = if_match == BOOKING_ANY_VERSION || if_match == r->version ||
                   (r->state == RESERVATION_CONFIRMED && if_match == r->version - 1);

    if (!matches) {
        done(op, BOOKED_STALE, "the reservation has changed");
        answer_reservation(op->call, r, false);
        return;
    }
    if (r->state == RESERVATION_CONFIRMED) {
        answer_now(op, BOOKED_BEFORE, r);
        return;
    }
    give_back(b, r);
    for (size_t at = 0; at < r->units.count; at++)
        board_unit(b, r->inventory, r->units.at[at].unit)->version--; /* one change, not two */
    take(b, r->inventory, &r->units, true);
    r->state = RESERVATION_CONFIRMED;
    r->version++;
    answer_now(op, BOOKED, r);
}

/* The line gets what is free before anybody else does; without it nothing is decided. */
static bool offered(struct booking_op *op, struct board *b, int64_t hold_ms)
{
    op->verdict = line_offer(b, op->inventory, hold_ms);
    return op->verdict == VERDICT_DONE;
}

static void decide_change(struct booking_op *op, struct board *b, int64_t hold_ms)
{
    int64_t if_match = op->call->if_match;
    struct board_reservation *r;

    if (!usable(op, b, &r))
        return;
    if (if_match == r->version - 1 && quantities_equal(&r->units, &op->wants)) { /* the same once more */
        answer_now(op, BOOKED_BEFORE, r);
        return;
    }
    if (if_match != BOOKING_ANY_VERSION && if_match != r->version) {
        done(op, BOOKED_STALE, "the reservation has changed");
        answer_reservation(op->call, r, false);
        return;
    }
    if (!fits(op, b, &op->wants, r)) {
        short_of(op);
        return;
    }
    give_back(b, r);
    quantities_free(&r->units);
    r->units = quantities_copy(&op->wants);
    take(b, r->inventory, &r->units, r->state == RESERVATION_CONFIRMED);
    r->version++;
    if (offered(op, b, hold_ms))
        answer_now(op, BOOKED, r);
}

static void decide_cancel(struct booking_op *op, struct board *b, int64_t hold_ms)
{
    struct board_reservation *r;

    if (!usable(op, b, &r)) {
        if (op->verdict == VERDICT_DONE && op->call->answer == BOOKED_OVER)
            op->call->answer = BOOKED_BEFORE;
        return;
    }
    if (op->call->if_match != BOOKING_ANY_VERSION && op->call->if_match != r->version) {
        done(op, BOOKED_STALE, "the reservation has changed");
        return;
    }
    give_back(b, r);
    r->state = RESERVATION_CANCELLED;
    r->version++;
    if (offered(op, b, hold_ms))
        answer_now(op, BOOKED, r);
}

static void decide_join(struct booking_op *op, struct board *b, int64_t hold_ms)
{
    struct board_waiter *w = board_waiter(b, op->new_id);

    if (w == NULL) {
        w = board_add_waiter(b);
        w->id = op->new_id;
        w->inventory = op->inventory;
        w->customer = mem_string(op->call->customer);
        w->state = WAITER_WAITING;
        w->place = ++board_inventory(b, op->inventory)->last_place;
        w->version = 1;
        w->quantity = op->best_seats ? op->call->quantity : 0;
        w->units = quantities_copy(&op->wants);
        if (!offered(op, b, hold_ms))
            return;
    }
    done(op, BOOKED, "");
    answer_waiter(op->call, b, w);
}

static void decide_leave(struct booking_op *op, struct board *b, int64_t hold_ms)
{
    struct board_waiter *w = board_waiter(b, op->call->id);
    struct board_reservation *r;
    bool frees;

    if (w == NULL || w->inventory != op->inventory) {
        done(op, BOOKED_MISSING, "there is no such place in the line");
        return;
    }
    r = w->state == WAITER_OFFERED ? board_reservation(b, w->reservation) : NULL;
    frees = r != NULL && r->state == RESERVATION_HELD;
    if (frees) { /* what was offered goes to the next one */
        give_back(b, r);
        r->state = RESERVATION_CANCELLED;
        r->version++;
    }
    if (w->state != WAITER_LEFT) {
        w->state = WAITER_LEFT;
        w->version++;
    }
    if (frees && !offered(op, b, hold_ms)) /* the line is on the board only where something may be freed */
        return;
    done(op, BOOKED, "");
    answer_waiter(op->call, b, w);
}

static void decide_expire(struct booking_op *op, struct board *b, int64_t hold_ms)
{
    bool any = false;

    for (size_t i = 0; i < op->due_count; i++) {
        struct board_reservation *r = board_reservation(b, op->due[i]);

        if (r == NULL || r->state != RESERVATION_HELD || r->expires_ms > b->now_ms)
            continue;
        give_back(b, r);
        r->state = RESERVATION_EXPIRED;
        r->version++;
        any = true;
    }
    if (!any || offered(op, b, hold_ms))
        done(op, BOOKED, "");
}

void op_decide(struct booking_op *op, struct board *b, int64_t hold_ms)
{
    reservation_view_free(&op->call->reservation);
    op->call->left_count = 0;
    switch (op->call->kind) {
    case BOOKING_RESERVE:
        decide_reserve(op, b, hold_ms);
        break;
    case BOOKING_CONFIRM:
        decide_confirm(op, b);
        break;
    case BOOKING_CHANGE:
        decide_change(op, b, hold_ms);
        break;
    case BOOKING_CANCEL:
        decide_cancel(op, b, hold_ms);
        break;
    case BOOKING_JOIN:
        decide_join(op, b, hold_ms);
        break;
    case BOOKING_LEAVE:
        decide_leave(op, b, hold_ms);
        break;
    case BOOKING_EXPIRE:
        decide_expire(op, b, hold_ms);
        break;
    }
}
