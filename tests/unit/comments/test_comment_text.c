/* What may be said, as text; links and words in it; and how it is printed. */
#include "unit.h"

#include "comments/comments_int.h"

#include <jansson.h>
#include <stdlib.h>

static void takes(enum comment_text kind, const char *text, const char *kept)
{
    const char *why;
    char *got = comment_text(kind, text, &why);

    if (got == NULL)
        fail_msg("refused: %s", why);
    assert_string_equal(got, kept);
    free(got);
}

static void refuses(enum comment_text kind, const char *text, const char *about)
{
    const char *why;
    char *got = comment_text(kind, text, &why);

    assert_null(got);
    if (strstr(why, about) == NULL)
        fail_msg("'%s' says nothing of '%s'", why, about);
}

static void what_is_said_is_kept_in_its_composed_form(void **state)
{
    takes(COMMENT_TEXT_DATA, "plain\ntext", "plain\ntext");
    takes(COMMENT_TEXT_DATA, "Cafe\xcc\x81", "Caf\xc3\xa9");
    takes(COMMENT_TEXT_DATA, "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7",
          "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7");
    takes(COMMENT_TEXT_NAME, "A\xcc\x8angstro\xcc\x88m", "\xc3\x85ngstr\xc3\xb6m");
}

static void controls_and_turned_directions_are_refused(void **state)
{
    for (int c = 1; c < ' '; c++) {
        char text[] = {'a', (char)c, 'b', '\0'};

        if (c != '\n')
            refuses(COMMENT_TEXT_DATA, text, "control");
        refuses(COMMENT_TEXT_NAME, text, "one line");
    }
    refuses(COMMENT_TEXT_DATA, "\x7f", "control");
    refuses(COMMENT_TEXT_DATA, "a\xc2\x85", "control");
    for (int last = 0xaa; last <= 0xae; last++) { /* U+202A to U+202E */
        char text[] = {'a', '\xe2', '\x80', (char)last, 'b', '\0'};

        refuses(COMMENT_TEXT_DATA, text, "direction");
        refuses(COMMENT_TEXT_NAME, text, "invisible");
    }
    /* NOLINTBEGIN(misc-misleading-bidirectional): this is what it is about */
    takes(COMMENT_TEXT_DATA, "\xe2\x81\xa7x\xe2\x81\xa9", "\xe2\x81\xa7x\xe2\x81\xa9");
    refuses(COMMENT_TEXT_DATA, "\xe2\x81\xa7x", "direction");
    refuses(COMMENT_TEXT_DATA, "x\xe2\x81\xa9", "direction");
    refuses(COMMENT_TEXT_DATA, "\xe2\x81\xa9x\xe2\x81\xa7", "direction");
    /* NOLINTEND(misc-misleading-bidirectional) */
}

static void what_shows_nothing_is_refused(void **state)
{
    refuses(COMMENT_TEXT_DATA, "", "1 to 2000");
    refuses(COMMENT_TEXT_DATA, " \n ", "seen");
    refuses(COMMENT_TEXT_DATA, "\xe2\x80\x8b\xef\xbb\xbf", "seen");
    refuses(COMMENT_TEXT_DATA, "\xe3\x85\xa4", "seen");
    refuses(COMMENT_TEXT_NAME, "", "1 to 64");
    refuses(COMMENT_TEXT_NAME, "\xc2\xa0", "seen");
}

/* "Anna" must not be had a second time by hiding something in it; Persian and emoji need their joiners. */
static void names_hide_nothing(void **state)
{
    refuses(COMMENT_TEXT_NAME, "An\xe2\x80\x8bna", "invisible");
    refuses(COMMENT_TEXT_NAME, "An\xe2\x80\x8dna", "invisible");
    refuses(COMMENT_TEXT_NAME, "An\xc2\xadna", "invisible");
    refuses(COMMENT_TEXT_NAME, "\xe2\x80\x8d", "invisible");
    takes(COMMENT_TEXT_NAME, "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae", "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae");
}

static void lengths_are_characters_of_the_composed_form(void **state)
{
    char text[COMMENT_DATA_CHARS * 4 + 8] = "";

    for (int i = 0; i < COMMENT_DATA_CHARS; i++)
        memcpy(text + (size_t)i * 4, "\xf0\x9f\x8e\xad", 5);
    takes(COMMENT_TEXT_DATA, text, text);
    strncat(text, "x", 2);
    refuses(COMMENT_TEXT_DATA, text, "1 to 2000");
    for (int i = 0; i < COMMENT_AUTHOR_CHARS; i++)
        memcpy(text + (size_t)i * 3, "e\xcc\x81", 4);
    char *why_not = NULL;
    const char *why;

    why_not = comment_text(COMMENT_TEXT_NAME, text, &why);
    assert_non_null(why_not);
    assert_int_equal(strlen(why_not), COMMENT_AUTHOR_CHARS * 2);
    free(why_not);
}

static void links_are_found_as_people_write_them(void **state)
{
    static const char *const links[] = {"https://x.y",
                                        "see www.example",
                                        "go to example.com!",
                                        "a.bc/d",
                                        "mailto:x",
                                        "EXAMPLE.COM",
                                        "ex\xe2\x80\x8b"
                                        "ample.co\xe2\x80\x8bm",
                                        "example\xef\xbc\x8e"
                                        "com"};
    static const char *const others[] = {"no link", "3.5 of 4", "what?yes...no", "e.g. this", "end.Then",
                                         ".com",    "a. com",   "half/half",     "10.50/11"};

    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (!comment_has_link(links[i]))
            fail_msg("%s", links[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (comment_has_link(others[i]))
            fail_msg("%s", others[i]);
}

static void words_are_compared_without_what_disguises_them(void **state)
{
    static const struct {
        const char *text, *skeleton;
    } pairs[] = {{"Scheiße", "scheisse"},
                 {"SCHEISSE", "scheisse"},
                 {"B\xcc\x81uy\n  Now", "buy now"},
                 {"b\xe2\x80\x8buy", "buy"},
                 {"ｂｕｙ", "buy"}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *got = comment_skeleton(pairs[i].text);

        assert_string_equal(got, pairs[i].skeleton);
        free(got);
    }
}

static void ids_are_of_few_characters(void **state)
{
    char id[COMMENT_ID_MAX + 2];

    memset(id, 'x', sizeof id);
    id[COMMENT_ID_MAX] = '\0';
    assert_true(comment_id_good(id));
    id[COMMENT_ID_MAX] = 'x';
    id[COMMENT_ID_MAX + 1] = '\0';
    assert_false(comment_id_good(id));
    assert_true(comment_id_good("aZ09_-"));
    assert_false(comment_id_good(""));
    assert_false(comment_id_good("a/b"));
    assert_false(comment_id_good("."));
}

static void seconds_are_printed_without_what_says_nothing(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } pairs[] = {{0, "0.0"}, {1500000, "1.5"}, {12345678, "12.345678"}, {60000000, "60.0"}, {1, "0.000001"}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct builder b = {0};

        comment_print_seconds(&b, pairs[i].us);
        assert_true(bytes_is(builder_bytes(&b), pairs[i].text));
        builder_drop(&b);
    }
}

/* As JSON on one line, so that an event is one line of data. */
static void a_comment_is_printed_as_one_line_of_json_and_found_in_its_event(void **state)
{
    struct comment c = {.seq = 7,
                        .id = bytes_text("x-1"),
                        .author = bytes_text("A\"\\\x7f"),
                        .data = bytes_text("</script>\n\"\\ \xc3\xa9 \xe2\x80\xa8"),
                        .offset_us = 1500000};
    struct buffer *event = comment_event(&c, NULL), *json = comment_json(&c), *same = comment_event(&c, json);
    json_t *read = json_loadb((const char *)json->data, json->size, 0, NULL);

    assert_non_null(read);
    assert_string_equal(json_string_value(json_object_get(read, "data")),
                        "</script>\n\"\\ \xc3\xa9 \xe2\x80\xa8");
    assert_string_equal(json_string_value(json_object_get(read, "authorId")), "A\"\\\x7f");
    assert_int_equal(bytes_find(buffer_bytes(json), '\n'), -1);
    assert_true(bytes_equal(buffer_bytes(event), buffer_bytes(same)));
    assert_true(comment_event_is(event, bytes_text("x-1")));
    assert_false(comment_event_is(event, bytes_text("x-")));
    assert_false(comment_event_is(event, bytes_text("x-12")));
    c.kind = COMMENT_HELD;
    assert_null(comment_event(&c, NULL));
    json_decref(read);
    buffer_unref(event);
    buffer_unref(json);
    buffer_unref(same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_said_is_kept_in_its_composed_form),
        cmocka_unit_test(controls_and_turned_directions_are_refused),
        cmocka_unit_test(what_shows_nothing_is_refused),
        cmocka_unit_test(names_hide_nothing),
        cmocka_unit_test(lengths_are_characters_of_the_composed_form),
        cmocka_unit_test(links_are_found_as_people_write_them),
        cmocka_unit_test(words_are_compared_without_what_disguises_them),
        cmocka_unit_test(ids_are_of_few_characters),
        cmocka_unit_test(seconds_are_printed_without_what_says_nothing),
        cmocka_unit_test(a_comment_is_printed_as_one_line_of_json_and_found_in_its_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
