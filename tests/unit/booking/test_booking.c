/* The promises of booking/booking.h over every strategy, on a real database. */
#include "unit.h"

#include "folder.h"

#include "base/clock.h"
#include "base/mem.h"
#include "booking/booking_int.h"

#include <pthread.h>

struct office {
    char *folder;
    struct db *db;
    struct booking *booking;
    enum booking_locking locking;
    char *last_key;
};

static void office_open(struct office *o, enum booking_locking locking)
{
    char url[128], why[256];

    *o = (struct office){.folder = folder_new(), .locking = locking};
    snprintf(url, sizeof url, "sqlite:%s/db", o->folder);
    assert_int_equal(db_open(&o->db, url, why), ERR_OK);
    assert_int_equal(booking_open(&o->booking, o->db, why), ERR_OK);
}

static void office_close(struct office *o)
{
    booking_close(o->booking);
    db_close(o->db);
    folder_remove(o->folder);
}

/* As after a crash: everything in memory is gone. */
static void office_reopen(struct office *o)
{
    char why[256];

    booking_close(o->booking);
    assert_int_equal(booking_open(&o->booking, o->db, why), ERR_OK);
}

static struct ulid make(struct office *o, struct inventory_plan plan)
{
    struct inventory_view v;
    char why[256];
    struct ulid id;

    plan.name = plan.name ? plan.name : "The hall";
    plan.hold_seconds = plan.hold_seconds ? plan.hold_seconds : 600;
    plan.locking = o->locking;
    assert_int_equal(booking_create(o->booking, &plan, &v, why), ERR_OK);
    id = v.id;
    inventory_view_free(&v);
    return id;
}

static struct ulid make_pool(struct office *o, int64_t size)
{
    return make(o, (struct inventory_plan){.kind = INVENTORY_POOL, .pool = size});
}

static struct ulid make_seats(struct office *o, int64_t rows, int64_t per_row)
{
    return make(o, (struct inventory_plan){.kind = INVENTORY_SEATS, .rows = rows, .per_row = per_row});
}

static const char *fresh_key(void)
{
    static _Atomic unsigned count;
    static _Thread_local char key[32];

    snprintf(key, sizeof key, "key-%u", count++);
    return key;
}

static enum booking_answer reserve(struct office *o, struct booking_call *c)
{
    c->kind = BOOKING_RESERVE;
    c->customer = "ann";
    c->if_match = c->if_match ? c->if_match : BOOKING_ANY_VERSION;
    if (c->idempotency_key == NULL)
        c->idempotency_key = fresh_key();
    booking_do(o->booking, c);
    return c->answer;
}

/* So many of the only unit, or seats; *id is the reservation. */
static enum booking_answer take(struct office *o, struct ulid inventory, int64_t quantity, struct ulid *id)
{
    struct booking_call c = {.inventory = inventory, .quantity = quantity};
    enum booking_answer a = reserve(o, &c);

    if (id != NULL)
        *id = c.reservation.id;
    booking_call_free(&c);
    return a;
}

static enum booking_answer act(struct office *o, enum booking_kind kind, struct ulid id)
{
    struct booking_call c = {.kind = kind, .id = id, .if_match = BOOKING_ANY_VERSION};

    booking_do(o->booking, &c);
    booking_call_free(&c);
    return c.answer;
}

static void counts(struct office *o, struct ulid inventory, int64_t held, int64_t sold)
{
    struct inventory_view v;

    assert_int_equal(booking_inventory(o->booking, inventory, &v), ERR_OK);
    assert_int_equal(v.held, held);
    assert_int_equal(v.sold, sold);
    inventory_view_free(&v);
}

static enum reservation_state state_of(struct office *o, struct ulid id)
{
    struct reservation_view v;
    enum reservation_state s;

    assert_int_equal(booking_reservation(o->booking, id, &v), ERR_OK);
    s = v.state;
    reservation_view_free(&v);
    return s;
}

#define EVERY_LOCKING(o)                                                                                     \
    for (enum booking_locking l_ = 0; l_ < LOCKING_COUNT && (office_open(&(o), l_), true);                   \
         office_close(&(o)), l_++)

static void a_pool_sells_as_many_as_it_has(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid pool = make_pool(&o, 10), held;

        assert_int_equal(take(&o, pool, 4, &held), BOOKED);
        assert_int_equal(take(&o, pool, 6, NULL), BOOKED);
        assert_int_equal(take(&o, pool, 1, NULL), BOOKED_SOLD_OUT);
        counts(&o, pool, 10, 0);
        assert_int_equal(act(&o, BOOKING_CONFIRM, held), BOOKED);
        assert_int_equal(act(&o, BOOKING_CONFIRM, held), BOOKED_BEFORE);
        counts(&o, pool, 6, 4);
        office_reopen(&o);
        counts(&o, pool, 6, 4);
        assert_int_equal(take(&o, pool, 1, NULL), BOOKED_SOLD_OUT);
        assert_int_equal(act(&o, BOOKING_CANCEL, held), BOOKED);
        assert_int_equal(act(&o, BOOKING_CANCEL, held), BOOKED_BEFORE);
        assert_int_equal(act(&o, BOOKING_CONFIRM, held), BOOKED_OVER);
        counts(&o, pool, 6, 0);
        assert_int_equal(take(&o, pool, 4, NULL), BOOKED);
    }
}

static void several_units_are_taken_together_or_not_at_all(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid hall = make_seats(&o, 2, 3);
        struct booking_want two[] = {{"B-1", 1}, {"A-3", 1}}, three[] = {{"A-2", 1}, {"A-3", 1}, {"B-1", 1}};
        struct booking_call c = {.inventory = hall, .wants = two, .want_count = 2};

        assert_int_equal(reserve(&o, &c), BOOKED);
        assert_int_equal(c.reservation.unit_count, 2);
        assert_string_equal(c.reservation.units[0].key, "A-3");
        booking_call_free(&c);
        c = (struct booking_call){.inventory = hall, .wants = three, .want_count = 3};
        assert_int_equal(reserve(&o, &c), BOOKED_SOLD_OUT);
        assert_int_equal(c.left_count, 2);
        assert_string_equal(c.left[0].key, "A-3");
        assert_int_equal(c.left[0].left, 0);
        booking_call_free(&c);
        counts(&o, hall, 2, 0);
    }
}

static void a_key_gives_the_first_answer_again_whatever_happened_since(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid pool = make_pool(&o, 3);
        struct booking_want other[] = {{"pool", 1}};
        struct booking_call c = {.inventory = pool, .quantity = 2, .idempotency_key = "once"};
        struct booking_call change;
        struct ulid id;

        assert_int_equal(reserve(&o, &c), BOOKED);
        id = c.reservation.id;
        booking_call_free(&c);
        change = (struct booking_call){
            .kind = BOOKING_CHANGE, .id = id, .wants = other, .want_count = 1, .if_match = 1};
        booking_do(o.booking, &change);
        assert_int_equal(change.answer, BOOKED);
        assert_int_equal(change.reservation.version, 2);
        booking_call_free(&change);
        counts(&o, pool, 1, 0);
        assert_int_equal(act(&o, BOOKING_CANCEL, id), BOOKED);
        assert_int_equal(take(&o, pool, 3, NULL), BOOKED);
        assert_int_equal(reserve(&o, &c), BOOKED_BEFORE);
        assert_true(ulid_equal(c.reservation.id, id));
        assert_int_equal(c.reservation.state, RESERVATION_HELD);
        assert_int_equal(c.reservation.version, 1);
        assert_int_equal(c.reservation.units[0].quantity, 2);
        booking_call_free(&c);
        c.body[0] = 1;
        assert_int_equal(reserve(&o, &c), BOOKED_OTHER);
        booking_call_free(&c);
        counts(&o, pool, 3, 0);
    }
}

static void a_hold_ends_in_every_answer_at_its_time(void **state)
{
    struct office o;

    clock_test_set(1000000, 1700000000000); /* before anybody there has seen a later time */
    EVERY_LOCKING(o)
    {
        struct ulid pool, held, other;

        clock_test_set(1000000, 1700000000000);
        pool = make(&o, (struct inventory_plan){.kind = INVENTORY_POOL, .pool = 2, .hold_seconds = 10});
        assert_int_equal(take(&o, pool, 2, &held), BOOKED);
        clock_test_set(1000000, 1700000009999);
        assert_int_equal(take(&o, pool, 1, NULL), BOOKED_SOLD_OUT);
        assert_int_equal(state_of(&o, held), RESERVATION_HELD);
        clock_test_set(1000000, 1700000010000);
        assert_int_equal(take(&o, pool, 1, &other), BOOKED);
        assert_int_equal(act(&o, BOOKING_CONFIRM, held), BOOKED_OVER);
        assert_int_equal(state_of(&o, held), RESERVATION_EXPIRED);
        counts(&o, pool, 1, 0);
        clock_test_set(1000000, 1700000005000); /* a clock that goes back brings nothing back */
        assert_int_equal(act(&o, BOOKING_CONFIRM, held), BOOKED_OVER);
        assert_int_equal(act(&o, BOOKING_CANCEL, held), BOOKED_BEFORE);
        assert_int_equal(state_of(&o, held), RESERVATION_EXPIRED);
        assert_int_equal(act(&o, BOOKING_CONFIRM, other), BOOKED);
        clock_test_set(1000000, 1700000000000);
    }
    clock_test_off();
}

static void what_is_freed_goes_to_the_line_first(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid pool = make_pool(&o, 4), all;
        struct booking_call line[3];
        struct waiter_view w;

        assert_int_equal(take(&o, pool, 4, &all), BOOKED);
        for (int i = 0; i < 3; i++) {
            line[i] = (struct booking_call){
                .kind = BOOKING_JOIN, .inventory = pool, .customer = "bob", .quantity = i + 1};
            booking_do(o.booking, &line[i]);
            assert_int_equal(line[i].answer, BOOKED);
            assert_int_equal(line[i].waiter.state, WAITER_WAITING);
            assert_int_equal(line[i].waiter.position, i + 1);
        }
        assert_int_equal(act(&o, BOOKING_CANCEL, all), BOOKED);
        counts(&o, pool, 3, 0); /* 1 and 2 fit; the group of 3 waits for a time when it does */
        assert_int_equal(booking_waiter(o.booking, line[1].waiter.id, &w), ERR_OK);
        assert_int_equal(w.state, WAITER_OFFERED);
        assert_int_equal(state_of(&o, w.reservation), RESERVATION_HELD);
        assert_int_equal(booking_waiter(o.booking, line[2].waiter.id, &w), ERR_OK);
        assert_int_equal(w.state, WAITER_WAITING);
        assert_int_equal(w.position, 1);
        assert_int_equal(act(&o, BOOKING_LEAVE, line[1].waiter.id), BOOKED);
        counts(&o, pool, 4, 0);
        assert_int_equal(booking_waiter(o.booking, line[2].waiter.id, &w), ERR_OK);
        assert_int_equal(w.state, WAITER_OFFERED);
    }
}

static void leaving_the_line_after_its_offer_has_ended_is_nothing_special(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid pool = make_pool(&o, 1), all;
        struct booking_call line = {.kind = BOOKING_JOIN, .customer = "bob", .quantity = 1};
        struct waiter_view w;

        assert_int_equal(take(&o, pool, 1, &all), BOOKED);
        line.inventory = pool;
        booking_do(o.booking, &line);
        assert_int_equal(act(&o, BOOKING_CANCEL, all), BOOKED);
        assert_int_equal(booking_waiter(o.booking, line.waiter.id, &w), ERR_OK);
        assert_int_equal(w.state, WAITER_OFFERED);
        assert_int_equal(act(&o, BOOKING_CANCEL, w.reservation), BOOKED);
        assert_int_equal(act(&o, BOOKING_LEAVE, line.waiter.id), BOOKED);
        assert_int_equal(act(&o, BOOKING_LEAVE, line.waiter.id), BOOKED);
        counts(&o, pool, 0, 0);
    }
}

/* Decides `count` calls in one transaction of the combining writer, in this order. */
static void together(struct office *o, struct booking_call **calls, size_t count)
{
    struct booking_op ops[8] = {0}, *open[8];

    for (size_t i = 0; i < count; i++) {
        ops[i] = (struct booking_op){.call = calls[i], .new_id = ulid_secret(), .begun_ms = clock_mono_ms()};
        open[i] = &ops[i];
        assert_int_equal(inventory_find(o->booking, calls[i]->inventory, &ops[i].inventory), ERR_OK);
        assert_true(op_check(&ops[i]) && inventory_enter(ops[i].inventory, &ops[i]));
    }
    strategy_combining.run(o->booking, open, count);
    for (size_t i = 0; i < count; i++) {
        inventory_leave(ops[i].inventory, &ops[i]);
        quantities_free(&ops[i].wants);
        quantities_free(&ops[i].picks);
        booking_call_free(calls[i]);
    }
}

static struct ulid wait_for(struct office *o, struct ulid inventory, const char *key, int64_t quantity)
{
    struct booking_want want = {key, quantity};
    struct booking_call c = {
        .kind = BOOKING_JOIN, .inventory = inventory, .customer = "bob", .wants = &want, .want_count = 1};

    booking_do(o->booking, &c);
    assert_int_equal(c.answer, BOOKED);
    return c.waiter.id;
}

static void whoever_leaves_while_it_is_offered_something_is_not_before_others_and_keeps_nothing(void **state)
{
    struct office o;

    office_open(&o, LOCKING_COMBINING);
    struct ulid pool = make_pool(&o, 1), all;
    assert_int_equal(take(&o, pool, 1, &all), BOOKED);
    struct ulid first = wait_for(&o, pool, "pool", 1), second = wait_for(&o, pool, "pool", 1);
    struct booking_call cancel = {.kind = BOOKING_CANCEL,
                                  .inventory = pool,
                                  .id = all,
                                  .if_match = BOOKING_ANY_VERSION},
                        leave = {.kind = BOOKING_LEAVE, .inventory = pool, .id = second};
    struct waiter_view w;

    together(&o, (struct booking_call *[]){&cancel, &leave}, 2);
    assert_int_equal(leave.answer, BOOKED);
    assert_int_equal(booking_waiter(o.booking, first, &w), ERR_OK);
    assert_int_equal(w.state, WAITER_OFFERED);
    cancel.id = w.reservation;
    leave.id = first;
    second = wait_for(&o, pool, "pool", 1);
    together(&o, (struct booking_call *[]){&cancel, &leave}, 2);
    assert_int_equal(booking_waiter(o.booking, second, &w), ERR_OK);
    cancel.id = w.reservation;
    first = wait_for(&o, pool, "pool", 1);
    leave.id = first; /* offered by the first call, given back by the second */
    together(&o, (struct booking_call *[]){&cancel, &leave}, 2);
    counts(&o, pool, 0, 0);
    office_close(&o);
}

static enum err write_waiters(void *ctx, struct db *tx)
{
    char id[ULID_TEXT_SIZE], inventory[ULID_TEXT_SIZE];
    enum err e = ERR_OK;

    ulid_text(*(struct ulid *)ctx, inventory);
    for (int i = 0; i < LINE_READ_MAX + 10 && e == ERR_OK; i++)
        e = db_run(tx,
                   "INSERT INTO waiters (id, inventory_id, customer, state, place, version, quantity, units)"
                   " VALUES (?, ?, 'eve', 'waiting', ?, 1, 0, ?)",
                   DB_VALUES(db_str(ulid_text(ulid_secret(), id)), db_str(inventory), db_int(i + 1),
                             db_str("a\t1\n")),
                   NULL);
    return e;
}

static void a_line_of_any_length_goes_before_those_who_do_not_wait(void **state)
{
    static const struct inventory_unit units[] = {{"a", 1}, {"b", 1}};
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid shop =
            make(&o, (struct inventory_plan){.kind = INVENTORY_UNITS, .units = units, .unit_count = 2});
        struct booking_want wants[] = {{"b", 1}};
        struct booking_call a = {.inventory = shop, .wants = &(struct booking_want){"a", 1}, .want_count = 1},
                            b = {.inventory = shop, .wants = wants, .want_count = 1};
        struct waiter_view w;
        struct ulid last, later;

        assert_int_equal(reserve(&o, &a), BOOKED);
        assert_int_equal(reserve(&o, &b), BOOKED);
        assert_int_equal(db_write(o.db, write_waiters, &shop), ERR_OK);
        last = wait_for(&o, shop, "b", 1);
        assert_int_equal(booking_waiter(o.booking, last, &w), ERR_OK);
        assert_int_equal(w.position, LINE_READ_MAX + 11);
        assert_int_equal(act(&o, BOOKING_CANCEL, b.reservation.id), BOOKED);
        assert_int_equal(booking_waiter(o.booking, last, &w), ERR_OK);
        assert_int_equal(w.state, WAITER_OFFERED);
        later = wait_for(&o, shop, "b", 1);
        assert_int_equal(booking_waiter(o.booking, later, &w), ERR_OK);
        assert_int_equal(w.state, WAITER_WAITING);
        counts(&o, shop, 2, 0);
        booking_call_free(&a);
        booking_call_free(&b);
    }
}

static void a_damaged_row_is_no_harm_to_others_in_the_same_transaction(void **state)
{
    char text[ULID_TEXT_SIZE];
    struct office o;

    office_open(&o, LOCKING_COMBINING);
    struct ulid pool = make_pool(&o, 5), damaged, good;
    assert_int_equal(take(&o, pool, 1, &damaged), BOOKED);
    assert_int_equal(take(&o, pool, 1, &good), BOOKED);
    assert_int_equal(db_do(o.db, "UPDATE reservations SET units = 'mould' WHERE id = ?",
                           DB_VALUES(db_str(ulid_text(damaged, text))), NULL),
                     ERR_OK);
    struct booking_call calls[3] = {
        {.kind = BOOKING_CONFIRM, .inventory = pool, .id = good, .if_match = BOOKING_ANY_VERSION},
        {.kind = BOOKING_CANCEL, .inventory = pool, .id = damaged, .if_match = BOOKING_ANY_VERSION},
        {.kind = BOOKING_CANCEL, .inventory = pool, .id = good, .if_match = BOOKING_ANY_VERSION},
    };

    together(&o, (struct booking_call *[]){&calls[0], &calls[1], &calls[2]}, 3);
    assert_int_equal(calls[0].answer, BOOKED);
    assert_int_equal(calls[1].answer, BOOKED_BUSY);
    assert_int_equal(calls[2].answer, BOOKED);
    counts(&o, pool, 1, 0);
    office_close(&o);
}

static void a_change_of_an_inventory_is_for_the_next_call(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid pool = make_pool(&o, 5);
        struct booking_call c = {.inventory = pool, .quantity = 1};
        struct inventory_view v;
        char why[256];

        assert_int_equal(take(&o, pool, 1, NULL), BOOKED);
        assert_int_equal(booking_change(o.booking, pool, NULL, LOCKING_COUNT, 7, &v, why), ERR_OK);
        inventory_view_free(&v);
        assert_int_equal(reserve(&o, &c), BOOKED);
        assert_int_equal(c.reservation.expires_ms - c.reservation.created_ms, 7000);
        booking_call_free(&c);
    }
}

/* --- somebody else in between ------------------------------------------------------------------------- */

/* The rows of an office, and what another server does at a chosen moment, once. */
static struct {
    const struct rows_kind *really;
    struct rows_kind kind;
    void (*meddle)(void *tx);
    struct office *office;
    struct ulid inventory;
} between;

static void meddle_once(void *tx)
{
    void (*meddle)(void *tx) = between.meddle;

    between.meddle = NULL;
    if (meddle != NULL)
        meddle(tx);
}

static enum err write_after(struct rows *r, enum err (*work)(void *ctx, void *tx), void *ctx)
{
    meddle_once(NULL);
    return between.really->write(r, work, ctx);
}

static enum err read_units_after(struct rows *r, void *tx, struct board *b, bool lock)
{
    if (tx != NULL)
        meddle_once(tx);
    return between.really->read_units(r, tx, b, lock);
}

static void meddle_in(struct office *o, struct ulid inventory)
{
    expiry_stop(o->booking); /* it looks at the rows, too */
    between.really = o->booking->rows->kind;
    between.kind = *between.really;
    between.office = o;
    between.inventory = inventory;
    o->booking->rows->kind = &between.kind;
}

static void sell_the_second_seat(void *tx)
{
    struct booking_call c = {
        .inventory = between.inventory, .wants = &(struct booking_want){"A-2", 1}, .want_count = 1};

    assert_int_equal(reserve(between.office, &c), BOOKED);
    booking_call_free(&c);
}

static void if_match_holds_for_the_whole_inventory_until_the_commit(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid hall = make_seats(&o, 1, 2);
        struct inventory_view v;

        assert_int_equal(booking_inventory(o.booking, hall, &v), ERR_OK);
        struct booking_call c = {.inventory = hall,
                                 .wants = &(struct booking_want){"A-1", 1},
                                 .want_count = 1,
                                 .if_match = v.version};

        inventory_view_free(&v);
        if (o.locking == LOCKING_COMBINING || o.locking == LOCKING_ADAPTIVE)
            continue; /* the lane's own thread cannot wait for another call */
        meddle_in(&o, hall);
        between.kind.write = write_after;
        between.meddle = sell_the_second_seat;
        assert_int_equal(reserve(&o, &c), BOOKED_STALE);
        counts(&o, hall, 1, 0);
        booking_call_free(&c);
    }
}

/* As another server's commit would, between two statements of ours. */
static void answer_the_same_key(void *tx)
{
    char inventory[ULID_TEXT_SIZE], id[ULID_TEXT_SIZE];

    ulid_text(between.inventory, inventory);
    assert_int_equal(db_run(tx, "UPDATE units SET held = 1, version = version + 1 WHERE inventory_id = ?",
                            DB_VALUES(db_str(inventory)), NULL),
                     ERR_OK);
    assert_int_equal(
        db_run(
            tx,
            "INSERT INTO reservations (id, inventory_id, ikey, body, customer, state, expires_at, created_at, version, "
            "units) VALUES (?, ?, 'same', X'00000000000000000000000000000000', 'ann', 'held', 9999999999999, 1, 1, ?)",
            DB_VALUES(db_str(ulid_text(ulid_secret(), id)), db_str(inventory), db_str("pool\t1\n")), NULL),
        ERR_OK);
}

static void a_key_is_not_refused_for_want_of_what_it_has_got_itself(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid pool = make_pool(&o, 1);
        struct booking_call c = {.inventory = pool, .quantity = 1, .idempotency_key = "same"};
        struct booking_op op = {.call = &c, .begun_ms = clock_mono_ms()}, *one = &op;

        c.kind = BOOKING_RESERVE;
        c.if_match = BOOKING_ANY_VERSION;
        meddle_in(&o, pool);
        o.booking->rows->shared = true;
        between.kind.read_units = read_units_after;
        between.meddle = answer_the_same_key;
        assert_int_equal(inventory_find(o.booking, pool, &op.inventory), ERR_OK);
        assert_true(op_check(&op));
        /* What the other did is undone here with the round that found it; on a shared database it stays. */
        assert_int_equal(transact_locked(o.booking, &one, 1), ERR_STALE);
        quantities_free(&op.wants);
    }
}

static _Atomic unsigned wishes_read;

static enum err read_wishes_counted(struct rows *r, void *tx, struct board *b, bool lock)
{
    wishes_read++;
    return between.really->read_wishes(r, tx, b, lock);
}

static enum booking_answer take_by(struct office *o, struct ulid inventory, const char *key, struct ulid *id)
{
    struct booking_call c = {.inventory = inventory, .quantity = 1, .idempotency_key = key};
    enum booking_answer a = reserve(o, &c);

    *id = c.reservation.id;
    booking_call_free(&c);
    return a;
}

/* A look costs a database a trip: a new key costs none, a repeated one is found all the same, and who repeats keys is expected to. */
static void a_key_is_looked_for_where_it_may_be_there(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid pool = make_pool(&o, 2), first, again, second;

        meddle_in(&o, pool);
        between.kind.read_wishes = read_wishes_counted;
        wishes_read = 0;
        assert_int_equal(take_by(&o, pool, "one", &first), BOOKED);
        assert_int_equal(wishes_read, 0);
        assert_int_equal(take_by(&o, pool, "one", &again), BOOKED_BEFORE);
        assert_true(ulid_equal(first, again));
        assert_true(wishes_read > 0);
        wishes_read = 0;
        assert_int_equal(take_by(&o, pool, "two", &second), BOOKED);
        assert_int_equal(wishes_read, 1);
        atomic_store(&o.booking->wary, 0);
        assert_int_equal(take_by(&o, pool, "one", &again), BOOKED_BEFORE); /* of a pool that is sold out */
        assert_true(ulid_equal(first, again));
        assert_int_equal(take_by(&o, pool, "three", &again), BOOKED_SOLD_OUT);
        counts(&o, pool, 2, 0);
    }
}

static void the_best_seats_are_together(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid hall = make_seats(&o, 3, 5);
        struct booking_call c = {.inventory = hall, .quantity = 3};

        assert_int_equal(reserve(&o, &c), BOOKED);
        assert_string_equal(c.reservation.units[0].key, "A-2");
        assert_string_equal(c.reservation.units[2].key, "A-4");
        booking_call_free(&c);
        assert_int_equal(take(&o, hall, 12, NULL), BOOKED);
        assert_int_equal(take(&o, hall, 1, NULL), BOOKED_SOLD_OUT);
        counts(&o, hall, 15, 0);
    }
}

static void impossible_wishes_are_refused_by_name(void **state)
{
    static const struct booking_want unknown[] = {{"A-9", 1}}, twice[] = {{"A-1", 1}, {"A-1", 1}},
                                     none[] = {{"A-1", 0}}, much[] = {{"A-1", INT64_MAX}},
                                     sql[] = {{"'; DROP TABLE units; --", 1}};
    static const struct {
        const struct booking_want *wants;
        size_t count;
        const char *says;
    } cases[] = {{unknown, 1, "A-9"},
                 {twice, 2, "twice"},
                 {none, 1, "1 or more"},
                 {much, 1, "more than"},
                 {sql, 1, "DROP"}};
    struct office o;

    EVERY_LOCKING(o)
    {
        struct ulid hall = make_seats(&o, 1, 3);

        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct booking_call c = {
                .inventory = hall, .wants = cases[i].wants, .want_count = cases[i].count};

            assert_int_equal(reserve(&o, &c), BOOKED_BAD);
            assert_non_null(strstr(c.why, cases[i].says));
            booking_call_free(&c);
        }
        counts(&o, hall, 0, 0);
        assert_int_equal(act(&o, BOOKING_CONFIRM, ulid_new()), BOOKED_MISSING);
        assert_int_equal(take(&o, ulid_new(), 1, NULL), BOOKED_MISSING);
    }
}

/* What memory thinks free may be sold by another server: a whole batch finds that out in two rounds, not in one for each. */
static void seats_sold_elsewhere_cost_a_batch_one_round_more(void **state)
{
    struct booking_want first = {"A-1", 1}, second = {"A-2", 1}, third = {"A-3", 1};
    struct booking_want *sold[] = {&first, &second, &third};
    struct booking_call calls[3], *all[3];
    struct booking_op ops[3], *open[3];
    char keys[3][8], why[256];
    struct office o, other;

    office_open(&o, LOCKING_COMBINING);
    other = o;
    assert_int_equal(booking_open(&other.booking, o.db, why), ERR_OK);
    struct ulid hall = make_seats(&o, 1, 6);
    struct inventory *i;
    assert_int_equal(inventory_find(o.booking, hall, &i), ERR_OK);
    for (size_t at = 0; at < 3; at++) {
        snprintf(keys[at], sizeof keys[at], "b%zu", at);
        calls[at] = (struct booking_call){.kind = BOOKING_RESERVE,
                                          .inventory = hall,
                                          .customer = "bob",
                                          .idempotency_key = keys[at],
                                          .quantity = 1,
                                          .if_match = BOOKING_ANY_VERSION};
        ops[at] = (struct booking_op){
            .call = &calls[at], .inventory = i, .new_id = ulid_secret(), .begun_ms = clock_mono_ms()};
        open[at] = &ops[at];
        all[at] = &calls[at];
        assert_true(op_check(&ops[at]) && inventory_enter(i, &ops[at]));
        sold[at]->key = i->units[ops[at].picks.at[0].unit].key;
    }
    for (size_t at = 0; at < 3; at++) {
        struct booking_call c = {.inventory = hall, .wants = sold[at], .want_count = 1};

        assert_int_equal(reserve(&other, &c), BOOKED);
        booking_call_free(&c);
    }
    strategy_combining.run(o.booking, open, 3);
    for (size_t at = 0; at < 3; at++) {
        assert_int_equal(all[at]->answer, BOOKED);
        assert_int_equal(ops[at].tries, 2);
        inventory_leave(i, &ops[at]);
        quantities_free(&ops[at].wants);
        quantities_free(&ops[at].picks);
        booking_call_free(all[at]);
    }
    booking_close(other.booking);
    counts(&o, hall, 6, 0);
    office_close(&o);
}

/* --- many at once ------------------------------------------------------------------------------------ */

#define BUYERS    16
#define PURCHASES 60

struct buyer {
    pthread_t thread;
    struct office *office;
    struct ulid inventory;
    int64_t bought;
    unsigned busy, seed;
};

static void *buy(void *ctx)
{
    struct buyer *b = ctx;

    for (int i = 0; i < PURCHASES; i++) {
        int64_t quantity = 1 + rand_r(&b->seed) % 3;
        struct ulid id;
        enum booking_answer a = take(b->office, b->inventory, quantity, &id);

        assert_true(a == BOOKED || a == BOOKED_SOLD_OUT || a == BOOKED_BUSY);
        if (a != BOOKED) {
            b->busy += a == BOOKED_BUSY;
            continue;
        }
        if (rand_r(&b->seed) % 3 == 0) {
            assert_int_equal(act(b->office, BOOKING_CANCEL, id), BOOKED);
        } else {
            b->bought += quantity;
            if (rand_r(&b->seed) % 2 == 0)
                assert_int_equal(act(b->office, BOOKING_CONFIRM, id), BOOKED);
        }
    }
    return NULL;
}

static void crowd(struct office *o, struct ulid inventory, int64_t capacity)
{
    struct buyer buyers[BUYERS];
    struct inventory_view v;
    int64_t bought = 0;

    for (unsigned i = 0; i < BUYERS; i++) {
        buyers[i] = (struct buyer){.office = o, .inventory = inventory, .seed = i + 1};
        pthread_create(&buyers[i].thread, NULL, buy, &buyers[i]);
    }
    for (int i = 0; i < BUYERS; i++) {
        pthread_join(buyers[i].thread, NULL);
        bought += buyers[i].bought;
    }
    assert_int_equal(booking_inventory(o->booking, inventory, &v), ERR_OK);
    assert_int_equal(v.held + v.sold, bought);
    assert_true(bought <= capacity);
    inventory_view_free(&v);
}

static void a_crowd_is_never_sold_more_than_there_is(void **state)
{
    struct office o;

    EVERY_LOCKING(o)
    {
        crowd(&o, make_pool(&o, 300), 300);
        crowd(&o, make_seats(&o, 10, 30), 300);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_sells_as_many_as_it_has),
        cmocka_unit_test(several_units_are_taken_together_or_not_at_all),
        cmocka_unit_test(a_key_gives_the_first_answer_again_whatever_happened_since),
        cmocka_unit_test(a_hold_ends_in_every_answer_at_its_time),
        cmocka_unit_test(what_is_freed_goes_to_the_line_first),
        cmocka_unit_test(leaving_the_line_after_its_offer_has_ended_is_nothing_special),
        cmocka_unit_test(whoever_leaves_while_it_is_offered_something_is_not_before_others_and_keeps_nothing),
        cmocka_unit_test(a_line_of_any_length_goes_before_those_who_do_not_wait),
        cmocka_unit_test(if_match_holds_for_the_whole_inventory_until_the_commit),
        cmocka_unit_test(a_key_is_not_refused_for_want_of_what_it_has_got_itself),
        cmocka_unit_test(the_best_seats_are_together),
        cmocka_unit_test(a_key_is_looked_for_where_it_may_be_there),
        cmocka_unit_test(impossible_wishes_are_refused_by_name),
        cmocka_unit_test(seats_sold_elsewhere_cost_a_batch_one_round_more),
        cmocka_unit_test(a_damaged_row_is_no_harm_to_others_in_the_same_transaction),
        cmocka_unit_test(a_change_of_an_inventory_is_for_the_next_call),
        cmocka_unit_test(a_crowd_is_never_sold_more_than_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
