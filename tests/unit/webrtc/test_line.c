/* A viewer's line by its reports: lasting loss and nothing less makes it low, and only long cleanness high again. */
#include "unit.h"

#include "webrtc/webrtc_int.h"

#define PERCENT(n) ((uint8_t)((n)*256 / 100))

/* Reports once a second from *now_ms on; how many until it changed, 0: it did not. */
static int reports(struct line *l, uint8_t loss, int count, int64_t *now_ms)
{
    for (int i = 1; i <= count; i++) {
        *now_ms += 1000;
        if (line_report(l, loss, *now_ms))
            return i;
    }
    return 0;
}

static void what_repairs_take_care_of_is_no_reason(void **state)
{
    struct line l = {0};
    int64_t now = 0;

    assert_int_equal(reports(&l, PERCENT(5), 1000, &now), 0);
    assert_false(l.low);
}

static void loss_that_lasts_makes_it_low(void **state)
{
    struct line l = {0};
    int64_t now = 0;

    assert_int_equal(reports(&l, PERCENT(30), 100, &now), 3);
    assert_true(l.low);
    l = (struct line){0};
    assert_in_range(reports(&l, PERCENT(12), 100, &now), 4, 12);
}

static void a_short_darkness_is_no_reason(void **state)
{
    struct line l = {0};
    int64_t now = 0;

    for (int i = 0; i < 20; i++) {
        assert_int_equal(reports(&l, 255, 2, &now), 0);
        assert_int_equal(reports(&l, 0, 5, &now), 0);
    }
}

static void it_is_high_again_when_it_was_clean_for_long(void **state)
{
    struct line l = {0};
    int64_t now = 0;

    assert_int_equal(reports(&l, PERCENT(50), 3, &now), 3);
    assert_int_equal(reports(&l, PERCENT(4), 100, &now), 0);
    assert_in_range(reports(&l, 0, 100, &now), LINE_CLEAN_MS_MIN / 1000 + 1, LINE_CLEAN_MS_MIN / 1000 + 5);
    assert_false(l.low);
}

static void who_falls_again_waits_twice_as_long_and_who_does_not_begins_anew(void **state)
{
    struct line l = {0};
    int64_t now = 0, waited = 0;

    for (int i = 0; i < 6; i++) {
        assert_int_equal(reports(&l, PERCENT(50), 3, &now), 3);
        int one = reports(&l, 0, 1000, &now);

        assert_in_range(one, 1, LINE_CLEAN_MS_MAX / 1000 + 20);
        assert_true(one > waited || waited > LINE_CLEAN_MS_MAX / 1000);
        waited = one;
    }
    assert_in_range(waited, LINE_CLEAN_MS_MAX / 1000, LINE_CLEAN_MS_MAX / 1000 + 20);
    assert_int_equal(reports(&l, 0, 60, &now), 0);
    assert_int_equal(reports(&l, PERCENT(50), 3, &now), 3);
    assert_in_range(reports(&l, 0, 1000, &now), LINE_CLEAN_MS_MIN / 1000, LINE_CLEAN_MS_MIN / 1000 + 20);
}

static void a_choked_line_is_low_at_once_and_that_is_news_once(void **state)
{
    struct line l = {0};

    assert_true(line_choked(&l, 1000));
    assert_false(line_choked(&l, 2000));
    assert_false(line_report(&l, 0, 2000 + LINE_CLEAN_MS_MIN - 1));
    assert_true(line_report(&l, 0, 2000 + LINE_CLEAN_MS_MIN));
    line_forget(&l);
    assert_false(l.low);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_repairs_take_care_of_is_no_reason),
        cmocka_unit_test(loss_that_lasts_makes_it_low),
        cmocka_unit_test(a_short_darkness_is_no_reason),
        cmocka_unit_test(it_is_high_again_when_it_was_clean_for_long),
        cmocka_unit_test(who_falls_again_waits_twice_as_long_and_who_does_not_begins_anew),
        cmocka_unit_test(a_choked_line_is_low_at_once_and_that_is_news_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
