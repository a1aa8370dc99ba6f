/* Times as text. */
#include "unit.h"

#include "base/clock.h"

static void times_are_printed_and_read_back(void **state)
{
    char text[CLOCK_TEXT_SIZE];
    int64_t ms;

    assert_string_equal(clock_text(1795462440123, text), "2026-11-23T19:34:00.123Z");
    assert_true(clock_parse(text, &ms));
    assert_int_equal(ms, 1795462440123);
    assert_true(clock_parse("2026-11-23T20:34:00.123+01:00", &ms));
    assert_int_equal(ms, 1795462440123);
    assert_string_equal(clock_http_text(784111777000, text), "Sun, 06 Nov 1994 08:49:37 GMT");
}

static void what_is_no_time_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-13-01T00:00:00Z",
                                      "2026-02-30T00:00:00Z",
                                      "2026-11-23T19:34:00",
                                      "2026-11-23T24:00:00Z",
                                      "2026-11-23T19:34:00.Z",
                                      "2026-11-23T19:34:00Zx"};
    int64_t ms;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(clock_parse(bad[i], &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_printed_and_read_back),
        cmocka_unit_test(what_is_no_time_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
