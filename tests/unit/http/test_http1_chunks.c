/* Chunked bodies, run whole, byte by byte and split at every place, against unreadable memory. */
#include "unit.h"

#include "edge.h"
#include "http/http1_parser_int.h"

#include <stdio.h>

/* Feeds [from, to) of `in` and appends what is data. Returns how many bytes were taken, or PARSE_BAD. */
static long feed(struct http1_chunks *c, struct bytes in, size_t from, size_t to, char *data, size_t *size)
{
    size_t at = from;

    while (at < to && !http1_chunks_done(c)) {
        struct bytes piece;
        long taken = http1_chunks_parse(c, at_edge(bytes_from(in, at), to - at), &piece);

        if (taken < 0)
            return taken;
        assert_true(taken > 0);
        memcpy(data + *size, piece.at ? piece.at : (const uint8_t *)"", piece.size);
        *size += piece.size;
        at += (size_t)taken;
    }
    return (long)(at - from);
}

/* Every way to feed `text` gives `data` and leaves `rest` bytes; or, with data NULL, is refused. */
static void decodes(const char *text, size_t text_size, const char *data, size_t rest)
{
    struct bytes in = bytes_of(text, text_size);

    for (size_t split = 0; split <= text_size + 1; split++) {
        struct http1_chunks c = {0};
        char got[256];
        size_t size = 0;
        long taken = 0;

        if (split <= text_size) {
            taken = feed(&c, in, 0, split, got, &size);
            if (taken == (long)split) {
                long second = feed(&c, in, split, text_size, got, &size);

                taken = second < 0 ? second : taken + second;
            }
        } else {
            for (size_t at = 0; at < text_size && taken == (long)at; at++) {
                long one = feed(&c, in, at, at + 1, got, &size);

                taken = one < 0 ? one : taken + one;
            }
        }
        if (data == NULL) {
            if (taken != PARSE_BAD)
                fail_msg("split %zu: not refused: %s", split, text);
            continue;
        }
        assert_true(http1_chunks_done(&c));
        assert_int_equal(taken, text_size - rest);
        assert_int_equal(size, strlen(data));
        assert_memory_equal(got, data, size);
    }
}

#define DECODES(text, data, rest) decodes(text, sizeof(text) - 1, data, rest)
#define REFUSED(text)             decodes(text, sizeof(text) - 1, NULL, 0)

static void chunks_are_laid_end_to_end(void **state)
{
    DECODES("0\r\n\r\n", "", 0);
    DECODES("5\r\nhello\r\n0\r\n\r\n", "hello", 0);
    DECODES("1\r\na\r\nA\r\n0123456789\r\n0000\r\n\r\n", "a0123456789", 0);
    DECODES("3\r\n\r\n0\r\n0\r\n\r\n", "\r\n0", 0);
    DECODES("2\r\nab\r\n0\r\n\r\nGET / HTTP/1.1", "ab", 14);
}

static void extensions_and_trailers_are_ignored(void **state)
{
    DECODES("5;a=b;c=\"d;e\"\r\nhello\r\n0;last\r\n\r\n", "hello", 0);
    DECODES("5 ;a\r\nhello\r\n0\t;b\r\n\r\n", "hello", 0);
    DECODES("1\r\nx\r\n0\r\nExpires: never\r\nX:\r\n\r\nrest", "x", 4);
}

static void malformed_bodies_are_refused(void **state)
{
    REFUSED("\r\n");
    REFUSED(";a\r\n");
    REFUSED("g\r\n");
    REFUSED("0x5\r\nhello");
    REFUSED("-1\r\n");
    REFUSED("+1\r\n");
    REFUSED(" 5\r\nhello");
    REFUSED("5 \r\nhello");
    REFUSED("5\nhello");
    REFUSED("5\r\rhello");
    REFUSED("5;a\nhello");
    REFUSED("5;a\rb");
    REFUSED("5;\0\r\nhello");
    REFUSED("5\r\nhello!\r\n");
    REFUSED("5\r\nhello\n0\r\n");
    REFUSED("5\r\nhello\r\r");
    REFUSED("0\r\n folded: x\r\n\r\n");
    REFUSED("0\r\nname : x\r\n\r\n");
    REFUSED("0\r\nname\r\n\r\n");
    REFUSED("0\r\na: b\n\r\n");
    REFUSED("0\r\n\rx");
    REFUSED("0\r\n\n");
    REFUSED("FFFFFFFFFFFFFFFF\r\n");
    REFUSED("8000000000000000\r\n");
    REFUSED("10000000000000005\r\nhello");
    REFUSED("00000000000000005\r\nhello");
}

static void the_largest_size_is_only_a_number(void **state)
{
    struct http1_chunks c = {0};
    struct bytes data, in = bytes_text("7fffffffffffffff\r\nabc");

    assert_int_equal(http1_chunks_parse(&c, at_edge(in, in.size), &data), in.size);
    assert_int_equal(data.size, 3);
    assert_int_equal(c.left, INT64_MAX - 3);
}

/* Extensions count over the whole body: a thousand small ones are as dear as a large one. */
static void what_is_beside_the_data_has_a_limit(void **state)
{
    struct http1_chunks c = {0};
    struct bytes in = bytes_text("1;0123456789\r\nx\r\n");
    char got[HTTP_HEAD_BYTES_MAX];
    size_t size = 0, rounds = 0;

    while (feed(&c, in, 0, in.size, got, &size) > 0)
        rounds++;
    assert_int_equal(rounds, HTTP_HEAD_BYTES_MAX / 10);
}

static int begin(void **state)
{
    edge_begin();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_laid_end_to_end),
        cmocka_unit_test(extensions_and_trailers_are_ignored),
        cmocka_unit_test(malformed_bodies_are_refused),
        cmocka_unit_test(the_largest_size_is_only_a_number),
        cmocka_unit_test(what_is_beside_the_data_has_a_limit),
    };

    return cmocka_run_group_tests(tests, begin, NULL);
}
