/* Paths: one spelling for each, and no way up or out. */
#include "unit.h"

#include "edge.h"
#include "http/http1_parser_int.h"

#include <stdio.h>

static void paths_get_one_spelling(void **state)
{
    static const char *const cases[][2] = {
        {"", "/"},
        {"/", "/"},
        {"//", "/"},
        {"/a", "/a"},
        {"/a/", "/a/"},
        {"/a//b", "/a/b"},
        {"///a///b//", "/a/b/"},
        {"/./a/./b/.", "/a/b/"},
        {"/.", "/"},
        {"/%61%2Fb", NULL},
        {"/a%20b", "/a b"},
        {"/%41%c3%a9", "/A\xC3\xA9"},
        {"/%2e", "/"},
        {"/...", "/..."},
        {"/.a", "/.a"},
        {"/a..", "/a.."},
        {"/..a", "/..a"},
        {"/%2541", "/%41"},
        {"/a+b", "/a+b"},
    };
    char out[64];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool good = http_path_normalise(at_edge(bytes_text(cases[i][0]), strlen(cases[i][0])), out);

        assert_int_equal(good, cases[i][1] != NULL);
        if (good)
            assert_string_equal(out, cases[i][1]);
    }
}

static void ways_up_and_out_are_refused(void **state)
{
    static const char *const bad[] = {
        "/..",         "/../",    "/a/..",      "/a/../b", "/%2e%2e",  "/%2E%2e/etc", "/.%2e/", "/%2e./x",
        "/a/%2e%2e",   "/%00",    "/a%00.m3u8", "/a%2fb",  "/a%2Fb",   "/..%2f..",    "/%5c..", "/..\\a",
        "/%5C%2e%2e",  "/%",      "/%4",        "/%zz",    "/%4g",     "/a%0ab",      "/%7f",   "/%1f",
        "//../..//..", "/./../a", "relative",   "../up",   "/a/..//b", "/a/./../b",
    };
    char out[64];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (http_path_normalise(at_edge(bytes_text(bad[i]), strlen(bad[i])), out))
            fail_msg("%s became %s", bad[i], out);
}

/* Whatever three segments are made of, what comes out is normal, and normalising it again changes nothing. */
static void what_comes_out_is_always_normal(void **state)
{
    static const char *const words[] = {"", ".", "..", "a", "%2e", "%2e%2e", "%2f", "a.", ".b", "%41", "%25"};
    const size_t count = sizeof words / sizeof *words;
    char in[64], out[64], again[64];

    for (size_t i = 0; i < count * count * count; i++) {
        snprintf(in, sizeof in, "/%s/%s/%s", words[i % count], words[i / count % count],
                 words[i / count / count]);
        if (!http_path_normalise(bytes_text(in), out))
            continue;
        assert_int_equal(out[0], '/');
        assert_null(strstr(out, "//"));
        assert_null(strstr(out, "/./"));
        assert_null(strstr(out, "/../"));
        assert_true(strlen(out) <= strlen(in));
        if (strchr(out, '%') == NULL) {
            assert_true(http_path_normalise(bytes_text(out), again));
            assert_string_equal(out, again);
        }
    }
}

static int begin(void **state)
{
    edge_begin();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_get_one_spelling),
        cmocka_unit_test(ways_up_and_out_are_refused),
        cmocka_unit_test(what_comes_out_is_always_normal),
    };

    return cmocka_run_group_tests(tests, begin, NULL);
}
