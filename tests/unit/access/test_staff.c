/* API tokens: whose they are, what for, and for how long. */
#include "unit.h"

#include "access/access.h"
#include "base/clock.h"
#include "base/mem.h"
#include "folder.h"

#include <stdlib.h>

struct stage {
    char *folder;
    struct db *db;
    struct staff *staff;
};

static void staff_reopen(struct stage *s)
{
    char why[256] = "";

    staff_close(s->staff);
    if (staff_open(&s->staff, s->db, why) != ERR_OK)
        fail_msg("%s", why);
}

static void stage_open(struct stage *s)
{
    char url[256], why[256];

    *s = (struct stage){.folder = folder_new()};
    snprintf(url, sizeof url, "sqlite:%s/x.db", s->folder);
    assert_int_equal(db_open(&s->db, url, why), ERR_OK);
    staff_reopen(s);
}

static void stage_close(struct stage *s)
{
    staff_close(s->staff);
    db_close(s->db);
    folder_remove(s->folder);
}

/* A token for an event (NULL: for all). */
static struct ulid hire(struct stage *s, enum role role, const struct ulid *event,
                        char token[ACCESS_KEY_SIZE])
{
    struct staff_view v = {
        .name = mem_string("Ann"), .role = role, .every_event = event == NULL && role != ROLE_PRODUCER};
    struct ulid id;

    if (event != NULL) {
        v.events = mem_new(sizeof *v.events);
        v.events[v.event_count++] = *event;
    }
    assert_int_equal(staff_create(s->staff, &v, token), ERR_OK);
    id = v.id;
    staff_view_free(&v);
    return id;
}

static void a_role_is_for_its_events_and_an_admin_for_all(void **state)
{
    const struct ulid here = ulid_new(), there = ulid_new(), none = {{0}};
    struct ulid own, all, admin, id;
    char token[ACCESS_KEY_SIZE], other[ACCESS_KEY_SIZE];
    enum role role;
    struct stage s;

    stage_open(&s);
    own = hire(&s, ROLE_MODERATOR, &here, token);
    all = hire(&s, ROLE_MODERATOR, NULL, other);
    admin = hire(&s, ROLE_ADMIN, NULL, other);
    for (int again = 0; again < 2; again++, staff_reopen(&s)) {
        assert_true(staff_check(s.staff, bytes_text(token), &id, &role));
        assert_true(ulid_equal(id, own) && role == ROLE_MODERATOR);
        assert_true(staff_may(s.staff, own, ROLE_MODERATOR | ROLE_PRODUCER, here));
        assert_false(staff_may(s.staff, own, ROLE_PRODUCER, here));
        assert_false(staff_may(s.staff, own, ROLE_MODERATOR, there));
        assert_false(staff_may(s.staff, own, ROLE_MODERATOR, none));
        assert_true(staff_may(s.staff, all, ROLE_MODERATOR, there) &&
                    staff_may(s.staff, all, ROLE_MODERATOR, none));
        assert_true(staff_may(s.staff, admin, 0, there) && staff_may(s.staff, admin, 0, none));
        assert_false(staff_may(s.staff, ulid_new(), ROLE_MODERATOR, here));
    }
    token[0] ^= 1;
    assert_false(staff_check(s.staff, bytes_text(token), &id, &role));
    assert_false(staff_check(s.staff, bytes_text(""), &id, &role));
    stage_close(&s);
}

static void what_a_producer_makes_is_its_own(void **state)
{
    const struct ulid event = ulid_new();
    char token[ACCESS_KEY_SIZE];
    struct stage s;
    struct ulid id;

    stage_open(&s);
    id = hire(&s, ROLE_PRODUCER, NULL, token);
    assert_false(staff_may(s.staff, id, ROLE_PRODUCER, event));
    assert_int_equal(staff_own(s.staff, id, event), ERR_OK);
    assert_int_equal(staff_own(s.staff, id, event), ERR_OK);
    assert_true(staff_may(s.staff, id, ROLE_PRODUCER, event));
    stage_close(&s);
}

static void one_that_is_revoked_opens_nothing(void **state)
{
    char token[ACCESS_KEY_SIZE];
    struct staff_view seen[4];
    enum role role;
    struct stage s;
    struct ulid id, who;

    stage_open(&s);
    id = hire(&s, ROLE_ADMIN, NULL, token);
    assert_int_equal(staff_list(s.staff, (struct ulid){{0}}, 4, seen), 1);
    assert_string_equal(seen[0].name, "Ann");
    assert_int_equal(seen[0].used_ms, 0);
    staff_view_free(&seen[0]);
    assert_true(staff_check(s.staff, bytes_text(token), &who, &role));
    staff_reopen(&s); /* when it was used outlives that */
    assert_int_equal(staff_list(s.staff, (struct ulid){{0}}, 4, seen), 1);
    assert_true(seen[0].used_ms >= seen[0].created_ms);
    staff_view_free(&seen[0]);
    assert_int_equal(staff_list(s.staff, id, 4, seen), 0);
    assert_int_equal(staff_revoke(s.staff, id), ERR_OK);
    assert_false(staff_check(s.staff, bytes_text(token), &who, &role));
    assert_false(staff_may(s.staff, id, ROLE_ADMIN, (struct ulid){{0}}));
    assert_int_equal(staff_revoke(s.staff, id), ERR_MISSING);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_role_is_for_its_events_and_an_admin_for_all),
        cmocka_unit_test(what_a_producer_makes_is_its_own),
        cmocka_unit_test(one_that_is_revoked_opens_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
