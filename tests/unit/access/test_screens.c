/* Screens: as many watch with a pass as the rule says, and whoever loses a place is refused. */
#include "unit.h"

#include "access/access.h"
#include "base/clock.h"
#include "folder.h"

#define NOW_MS 1800000000000LL

struct stage {
    char *folder;
    struct db *db;
    struct tickets *tickets;
    struct ulid pass, event;
    int64_t now_ms;
};

static void pass_time(struct stage *s, int64_t ms)
{
    s->now_ms += ms;
    clock_test_set(s->now_ms * 1000, s->now_ms);
}

static void stage_open(struct stage *s)
{
    char url[256], why[256];

    *s = (struct stage){.folder = folder_new(), .pass = ulid_secret(), .event = ulid_new(), .now_ms = NOW_MS};
    pass_time(s, 0);
    snprintf(url, sizeof url, "sqlite:%s/x.db", s->folder);
    assert_int_equal(db_open(&s->db, url, why), ERR_OK);
    assert_int_equal(tickets_open(&s->tickets, s->db, why), ERR_OK);
}

static void stage_close(struct stage *s)
{
    tickets_close(s->tickets);
    db_close(s->db);
    clock_test_off();
    folder_remove(s->folder);
}

static enum screen_answer ask(struct stage *s, struct screen_rule rule, struct ulid *session)
{
    enum screen_answer a = SCREEN_FULL;

    assert_int_equal(tickets_screen(s->tickets, s->pass, rule, clock_wall_ms(), session, &a), ERR_OK);
    return a;
}

static struct ulid screen(struct stage *s, struct screen_rule rule)
{
    struct ulid session = {{0}};

    assert_int_equal(ask(s, rule, &session), SCREEN_GIVEN);
    assert_false(ulid_is_zero(session));
    return session;
}

static bool may_stay(struct stage *s, struct ulid session, int64_t issued_ms)
{
    const struct ticket t = {
        .pass = s->pass, .event = s->event, .session = session, .issued_s = issued_ms / 1000};

    return tickets_may_stay(s->tickets, &t);
}

static void one_more_screen_takes_the_place_of_the_first(void **state)
{
    const struct screen_rule two = {.count = 2};
    struct ulid a, b, c, again;
    struct stage s;

    stage_open(&s);
    a = screen(&s, two);
    pass_time(&s, 1000);
    b = screen(&s, two);
    pass_time(&s, 1000);
    again = a;
    assert_int_equal(ask(&s, two, &again), SCREEN_GIVEN); /* it came first, though it asked last */
    assert_true(ulid_equal(again, a));
    c = screen(&s, two);
    assert_false(may_stay(&s, a, NOW_MS));
    assert_true(may_stay(&s, b, NOW_MS));
    assert_true(may_stay(&s, c, s.now_ms));
    assert_int_equal(ask(&s, two, &again), SCREEN_TAKEN_OVER); /* and does not take it back by itself */
    assert_true(ulid_equal(again, a));
    assert_true(may_stay(&s, b, NOW_MS));
    stage_close(&s);
}

static void where_the_rule_is_to_refuse_nobody_is_sent_away(void **state)
{
    const struct screen_rule one = {.count = 1, .refuse = true};
    struct ulid a, new = {{0}};
    struct stage s;

    stage_open(&s);
    a = screen(&s, one);
    assert_int_equal(ask(&s, one, &new), SCREEN_FULL);
    assert_true(ulid_is_zero(new));
    assert_true(may_stay(&s, a, NOW_MS));
    stage_close(&s);
}

static void a_screen_whose_page_has_gone_leaves_its_place(void **state)
{
    const struct screen_rule one = {.count = 1, .refuse = true};
    struct ulid a, b, new = {{0}};
    struct stage s;

    stage_open(&s);
    a = screen(&s, one);
    pass_time(&s, SCREEN_HOLD_SECONDS * 1000 - 1);
    assert_int_equal(ask(&s, one, &new), SCREEN_FULL);
    assert_int_equal(ask(&s, one, &a), SCREEN_GIVEN); /* its page is there */
    pass_time(&s, SCREEN_HOLD_SECONDS * 1000 - 1);
    assert_int_equal(ask(&s, one, &new), SCREEN_FULL);
    pass_time(&s, 1);
    b = screen(&s, one);
    assert_false(may_stay(&s, a, s.now_ms - 2000)); /* and what it had open ends */
    assert_true(may_stay(&s, b, s.now_ms));
    pass_time(&s, SCREEN_HOLD_SECONDS * 1000);
    new = a;
    assert_int_equal(ask(&s, one, &new), SCREEN_GIVEN); /* there is room again: it is a new one */
    assert_false(ulid_equal(new, a));
    stage_close(&s);
}

static void leave(struct stage *s, struct ulid session, int64_t issued_ms)
{
    const struct ticket t = {
        .pass = s->pass, .event = s->event, .session = session, .issued_s = issued_ms / 1000};

    assert_int_equal(tickets_leave(s->tickets, &t), ERR_OK);
}

static void a_screen_that_says_goodbye_leaves_its_place_at_once_and_watches_no_more(void **state)
{
    const struct screen_rule one = {.count = 1, .refuse = true};
    struct ulid a, b, new = {{0}};
    struct stage s;

    stage_open(&s);
    a = screen(&s, one);
    pass_time(&s, 1000);
    assert_int_equal(ask(&s, one, &new), SCREEN_FULL);
    leave(&s, ulid_secret(), s.now_ms); /* another's goodbye */
    assert_int_equal(ask(&s, one, &new), SCREEN_FULL);
    leave(&s, a, s.now_ms);
    assert_false(may_stay(&s, a, s.now_ms));
    b = screen(&s, one);
    assert_true(may_stay(&s, b, s.now_ms));
    leave(&s, a, s.now_ms); /* once more */
    assert_true(may_stay(&s, b, s.now_ms));
    stage_close(&s);
}

/* A page that is loaded again says goodbye and comes back, and the network may carry the one past the other. */
static void a_goodbye_that_comes_late_ends_nothing(void **state)
{
    const struct screen_rule one = {.count = 1, .refuse = true};
    struct ulid a;
    struct stage s;

    stage_open(&s);
    a = screen(&s, one);
    pass_time(&s, 5000);
    assert_int_equal(ask(&s, one, &a), SCREEN_GIVEN);
    leave(&s, a, s.now_ms - 5000);
    assert_true(may_stay(&s, a, s.now_ms));
    assert_int_equal(ask(&s, one, &a), SCREEN_GIVEN);
    stage_close(&s);
}

static void links_end_with_their_reservation_and_alone(void **state)
{
    struct ticket_link a, b, found, all[LINKS_MAX];
    struct stage s;
    size_t count, place;

    stage_open(&s);
    assert_int_equal(tickets_link(s.tickets, s.pass, "Ann", 2, &a), ERR_OK);
    assert_int_equal(tickets_link(s.tickets, s.pass, "Bo", 2, &b), ERR_OK);
    assert_int_equal(tickets_link(s.tickets, s.pass, "Cy", 2, &found), ERR_LIMIT);
    assert_int_equal(tickets_link(s.tickets, ulid_secret(), "Di", 0, &found), ERR_LIMIT);
    assert_int_equal(tickets_links(s.tickets, s.pass, all, &count), ERR_OK);
    assert_int_equal(count, 2);
    assert_int_equal(tickets_link_get(s.tickets, b.id, &found, &place), ERR_OK);
    assert_string_equal(found.name, "Bo");
    assert_true(ulid_equal(found.reservation, s.pass));
    assert_int_equal(tickets_link_get(s.tickets, s.pass, &found, &place), ERR_MISSING); /* no link */
    assert_int_equal(tickets_unlink(s.tickets, ulid_secret(), a.id), ERR_MISSING);      /* another's */
    assert_int_equal(tickets_unlink(s.tickets, s.pass, a.id), ERR_OK);
    assert_int_equal(tickets_link_get(s.tickets, a.id, &found, &place), ERR_MISSING);
    assert_int_equal(tickets_link_get(s.tickets, b.id, &found, &place), ERR_OK);
    assert_int_equal(place, 0);
    assert_int_equal(tickets_revoke_all(s.tickets, s.pass), ERR_OK);
    assert_false(tickets_may_stay(s.tickets, &(struct ticket){.pass = b.id, .issued_s = NOW_MS / 1000}));
    assert_false(tickets_may_stay(s.tickets, &(struct ticket){.pass = s.pass, .issued_s = NOW_MS / 1000}));
    stage_close(&s);
}

/* Many within a millisecond: whose place is whose does not depend on what their ids happen to be. */
static void links_stand_in_the_order_they_were_made(void **state)
{
    struct ticket_link made[64], found, all[LINKS_MAX];
    struct stage s;
    size_t count, place;

    stage_open(&s);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(tickets_link(s.tickets, s.pass, "Ann", 64, &made[i]), ERR_OK);
    assert_int_equal(tickets_links(s.tickets, s.pass, all, &count), ERR_OK);
    assert_int_equal(count, 64);
    for (size_t i = 0; i < 64; i++) {
        assert_true(ulid_equal(all[i].id, made[i].id));
        assert_true(all[i].made_ms == made[i].made_ms);
        assert_int_equal(tickets_link_get(s.tickets, made[i].id, &found, &place), ERR_OK);
        assert_int_equal(place, i);
    }
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_more_screen_takes_the_place_of_the_first),
        cmocka_unit_test(where_the_rule_is_to_refuse_nobody_is_sent_away),
        cmocka_unit_test(a_screen_whose_page_has_gone_leaves_its_place),
        cmocka_unit_test(a_screen_that_says_goodbye_leaves_its_place_at_once_and_watches_no_more),
        cmocka_unit_test(a_goodbye_that_comes_late_ends_nothing),
        cmocka_unit_test(links_end_with_their_reservation_and_alone),
        cmocka_unit_test(links_stand_in_the_order_they_were_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
