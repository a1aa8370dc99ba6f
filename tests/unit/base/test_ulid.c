/* Ids. */
#include "unit.h"

#include "base/clock.h"
#include "base/ulid.h"

static void ids_grow_even_when_the_clock_does_not(void **state)
{
    char last[ULID_TEXT_SIZE] = "", text[ULID_TEXT_SIZE];

    clock_test_set(0, 1795462440123);
    for (int i = 0; i < 1000; i++) {
        if (i == 500)
            clock_test_set(0, 1795462440000); /* the clock steps back */
        ulid_text(ulid_new(), text);
        assert_true(strcmp(text, last) > 0);
        memcpy(last, text, sizeof last);
    }
    clock_test_off();
}

static void text_goes_there_and_back_and_nothing_else_is_taken(void **state)
{
    char text[ULID_TEXT_SIZE];
    struct ulid u = ulid_new(), back;

    assert_true(ulid_parse(bytes_text(ulid_text(u, text)), &back));
    assert_true(ulid_equal(u, back));
    assert_false(ulid_parse(bytes_text("8ZZZZZZZZZZZZZZZZZZZZZZZZZ"), &back)); /* 129 bits */
    assert_false(ulid_parse(bytes_text("0123456789ABCDEFGHJKMNPQR"), &back));
    assert_false(ulid_parse(bytes_text("01234567890123456789012ILO"), &back));
    assert_false(ulid_parse(bytes_of("0123456789\0BCDEFGHJKMNPQRS", 26), &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_grow_even_when_the_clock_does_not),
        cmocka_unit_test(text_goes_there_and_back_and_nothing_else_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
