/* Limits by key. */
#include "unit.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/rate.h"

#include <stdio.h>

static void at(int64_t ms)
{
    clock_test_set(ms * 1000, ms);
}

static bool take(struct rate *r, const char *key)
{
    int64_t wait_ms;

    return rate_take(r, bytes_text(key), &wait_ms);
}

/* Sixty a minute with ten seconds of burst: ten at once, then one a second. */
static void a_key_has_its_burst_and_then_its_rate(void **state)
{
    struct rate *r = rate_new(60, 10);
    int64_t wait_ms;

    at(1000);
    for (int i = 0; i < 10; i++)
        assert_true(take(r, "anna"));
    assert_false(rate_take(r, bytes_text("anna"), &wait_ms));
    assert_int_equal(wait_ms, 1000);
    at(1999);
    assert_false(rate_take(r, bytes_text("anna"), &wait_ms));
    assert_int_equal(wait_ms, 1);
    at(2000);
    assert_true(take(r, "anna"));
    assert_false(take(r, "anna"));
    rate_free(r);
    clock_test_off();
}

static void what_is_left_is_told_and_looking_takes_nothing(void **state)
{
    struct rate *r = rate_new(60, 10);
    struct rate_left left;
    int64_t wait_ms;

    at(1000);
    for (uint32_t i = 1; i <= 10; i++) {
        assert_true(rate_look(r, bytes_text("anna"), &wait_ms));
        assert_true(rate_take_left(r, bytes_text("anna"), &wait_ms, &left));
        assert_int_equal(left.limit, 10);
        assert_int_equal(left.window_s, 10);
        assert_int_equal(left.left, 10 - i);
        assert_int_equal(left.reset_s, i);
    }
    assert_false(rate_look(r, bytes_text("anna"), &wait_ms));
    assert_int_equal(wait_ms, 1000);
    assert_false(rate_take_left(r, bytes_text("anna"), &wait_ms, &left));
    assert_int_equal(left.left, 0);
    at(11000);
    assert_true(rate_take_left(r, bytes_text("anna"), &wait_ms, &left));
    assert_int_equal(left.left, 9);
    assert_true(rate_look(r, bytes_text("nobody"), &wait_ms));
    rate_free(r);
    clock_test_off();
}

static void keys_do_not_share(void **state)
{
    struct rate *r = rate_new(1, 1);

    at(1000);
    assert_true(take(r, "anna"));
    assert_false(take(r, "anna"));
    assert_true(take(r, "bea"));
    rate_free(r);
    clock_test_off();
}

static void zero_is_no_limit(void **state)
{
    struct rate *r = rate_new(0, 1);

    for (int i = 0; i < 1000; i++)
        assert_true(take(r, "anna"));
    rate_free(r);
}

/* Whoever invents keys cannot make memory grow; and who has used up turns is remembered before those who have not. */
static void inventing_keys_is_bounded(void **state)
{
    struct rate *r = rate_new(6, 10);
    char key[32];

    at(1000);
    assert_true(take(r, "anna"));
    for (int i = 0; i < RATE_KEYS_MAX; i++) {
        if (i == RATE_KEYS_MAX / 2)
            at(1000 + 5000); /* the first half has been quiet long enough by the time room is needed */
        snprintf(key, sizeof key, "author %d", i);
        assert_true(take(r, key));
    }
    at(1000 + 10000);
    assert_true(take(r, "one more"));
    rate_free(r);
    clock_test_off();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_has_its_burst_and_then_its_rate),
        cmocka_unit_test(what_is_left_is_told_and_looking_takes_nothing),
        cmocka_unit_test(keys_do_not_share),
        cmocka_unit_test(zero_is_no_limit),
        cmocka_unit_test(inventing_keys_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
