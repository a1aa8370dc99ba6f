/* What administration prints for people: columns, and how long it will take. */
#include "unit.h"

#include "cmd/admin_progress_int.h"
#include "cmd/admin_table_int.h"

#include <string.h>

static void assert_written(struct table *t, const char *expected)
{
    struct builder out = {0};

    table_write(t, &out);
    builder_u8(&out, '\0');
    assert_string_equal((const char *)builder_bytes(&out).at, expected);
    builder_drop(&out);
    table_free(t);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    struct table t = {.columns = 3};

    table_add(&t, "ID");
    table_add(&t, "STATE");
    table_add(&t, "TITLE");
    table_add(&t, "a");
    table_add(&t, "scheduled");
    table_printf(&t, "%d of %d", 1, 2);
    assert_written(&t, "ID  STATE      TITLE\n"
                       "a   scheduled  1 of 2\n");
}

static void what_is_missing_is_a_dash_and_letters_are_counted_not_bytes(void **state)
{
    struct table t = {.columns = 2};

    table_add(&t, "Zaubererflöte");
    table_add(&t, NULL);
    table_add(&t, "");
    table_add(&t, "b");
    assert_written(&t, "Zaubererflöte  -\n"
                       "-              b\n");
}

/* A title is somebody's own words, and a terminal obeys some of them. */
static void control_characters_do_not_reach_the_terminal(void **state)
{
    struct table t = {.columns = 1};

    table_add(&t, "a\033[2Jb\nc\x7f\xc2\x9b"
                  "d\xc3\xa9");
    assert_written(&t, "a?[2Jb?c???d\xc3\xa9\n");
}

static void an_empty_table_is_nothing(void **state)
{
    struct table t = {.columns = 4};

    assert_written(&t, "");
}

static void the_time_left_is_that_of_the_speed_since_we_began(void **state)
{
    struct progress p = {.what = "", .total = 100, .began_ms = 1000};

    assert_int_equal(progress_left_s(&p, 25, 11000), 30);
    p.first = 20; /* those were there before: 5 in 10 s, 75 to come */
    assert_int_equal(progress_left_s(&p, 25, 11000), 150);
    assert_int_equal(progress_left_s(&p, 100, 11000), 0);
}

static void nothing_is_promised_too_early_or_without_a_speed(void **state)
{
    struct progress p = {.what = "", .total = 1e9, .began_ms = 1000};

    assert_int_equal(progress_left_s(&p, 1e8, 2500), -1);
    assert_int_equal(progress_left_s(&p, 0, 60000), -1);
    assert_int_equal(progress_left_s(&p, 1, 60000), -1); /* thousands of years */
    p.first = 1e8;
    assert_int_equal(progress_left_s(&p, 1e7, 60000), -1); /* it began anew */
    p.total = 0;
    assert_int_equal(progress_left_s(&p, 1e7, 60000), -1);
}

static void a_line_says_how_much_and_how_long(void **state)
{
    struct progress p = {.what = "uploading", .counts_bytes = true, .total = 20e6, .began_ms = 0};
    char text[PROGRESS_TEXT_SIZE];

    progress_text(&p, 5e6, 4000, false, text);
    assert_string_equal(text, "uploading  25 %  5.0 of 20.0 MB, 0:12 left");
    progress_text(&p, 5e6, 4000, true, text);
    assert_string_equal(text, "uploading [#######.......................]  25 %  5.0 of 20.0 MB, 0:12 left");
    progress_text(&p, 20e6, 1000, true, text);
    assert_string_equal(text, "uploading [##############################] 100 %  20.0 of 20.0 MB");
    progress_text(&p, 30e6, 1000, false, text); /* a file that grew */
    assert_string_equal(text, "uploading 100 %  30.0 of 20.0 MB");
    p.total = 0;
    progress_text(&p, 5e6, 4000, true, text);
    assert_string_equal(text, "uploading  5.0 MB");
}

static void seconds_of_media_are_said_as_time(void **state)
{
    struct progress p = {.what = "360p", .total = 7200, .began_ms = 0};
    char text[PROGRESS_TEXT_SIZE];

    progress_text(&p, 720, 600000, false, text);
    assert_string_equal(text, "360p  10 %  12:00 of 2:00:00, 1:30:00 left");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(what_is_missing_is_a_dash_and_letters_are_counted_not_bytes),
        cmocka_unit_test(control_characters_do_not_reach_the_terminal),
        cmocka_unit_test(an_empty_table_is_nothing),
        cmocka_unit_test(the_time_left_is_that_of_the_speed_since_we_began),
        cmocka_unit_test(nothing_is_promised_too_early_or_without_a_speed),
        cmocka_unit_test(a_line_says_how_much_and_how_long),
        cmocka_unit_test(seconds_of_media_are_said_as_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
