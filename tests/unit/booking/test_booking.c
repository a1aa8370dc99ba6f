/* The promises of booking/booking.h over every strategy, on a real database. */
#include "unit.h"

#include "folder.h"

#include "base/clock.h"
#include "base/mem.h"
#include "booking/booking.h"

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
        cmocka_unit_test(the_best_seats_are_together),
        cmocka_unit_test(impossible_wishes_are_refused_by_name),
        cmocka_unit_test(a_crowd_is_never_sold_more_than_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
