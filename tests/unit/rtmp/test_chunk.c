/* Chunk streams: every header, every split, every lie. */
#include "unit.h"

#include "guard.h"

#include "base/limits.h"
#include "base/random.h"
#include "rtmp/chunk_int.h"

#include <stdio.h>
#include <stdlib.h>

/* A transcript of messages: "type timestamp stream size firstbyte". */
struct heard {
    struct builder text;
    uint64_t payload_sum;
};

/* Feeds `in`, shown in growing pieces as a connection would; false when it was refused. */
static bool feed(struct chunk_reader *r, struct bytes in, size_t piece, struct heard *h, const char **why)
{
    struct guard g = guard_new();
    size_t at = 0, shown = 0;

    *why = NULL;
    while (shown < in.size) {
        shown = in.size - shown > piece ? shown + piece : in.size;
        for (;;) {
            struct chunk_message m;
            struct bytes left = bytes_from(bytes_head(in, shown), at);
            long taken = chunk_read(r, &m, left.size <= GUARD_BYTES ? guard_place(g, left) : left, why);

            if (taken < 0) {
                guard_free(g);
                return false;
            }
            at += (size_t)taken;
            if (m.buffer != NULL) {
                builder_printf(&h->text, "%u %u %u %zu @%llu\n", m.type, m.timestamp, m.message_stream,
                               m.buffer->size, (unsigned long long)m.first);
                for (size_t i = 0; i < m.buffer->size; i++)
                    h->payload_sum = h->payload_sum * 31 + m.buffer->data[i];
            }
            buffer_unref(m.buffer);
            if (taken == 0 || at == shown)
                break;
        }
    }
    guard_free(g);
    return true;
}

static const char *text_of(struct heard *h)
{
    static char text[65536];
    struct bytes b = builder_bytes(&h->text);

    assert_true(b.size < sizeof text);
    if (b.size > 0)
        memcpy(text, b.at, b.size);
    text[b.size] = '\0';
    builder_drop(&h->text);
    return text;
}

/* All of `hex` at once, byte by byte, and split once at every place must read as `expected`. */
static void reads_as(const char *hex, const char *expected)
{
    static uint8_t room[65536];
    struct bytes in = guard_hex(hex, room, sizeof room);

    for (size_t piece = 1; piece <= in.size; piece++) {
        struct chunk_reader r;
        struct heard h = {0};
        const char *why;

        chunk_reader_init(&r);
        if (!feed(&r, in, piece, &h, &why))
            fail_msg("pieces of %zu: %s", piece, why);
        assert_string_equal(text_of(&h), expected);
        assert_int_equal(r.position, in.size);
        chunk_reader_drop(&r);
    }
}

static void is_refused(const char *hex)
{
    static uint8_t room[65536];
    struct bytes in = guard_hex(hex, room, sizeof room);

    for (size_t piece = 1; piece <= in.size; piece++) {
        struct chunk_reader r;
        struct heard h = {0};
        const char *why;

        chunk_reader_init(&r);
        assert_false(feed(&r, in, piece, &h, &why));
        assert_non_null(why);
        builder_drop(&h.text);
        chunk_reader_drop(&r);
    }
}

/* RTMP 1.0 §5.3.2.1: four audio messages, of formats 0, 2, 3, 3. */
static void the_first_example_of_the_specification(void **state)
{
    reads_as("03 0003e8 000002 08 39300000 aaaa  83 000014 bbbb  c3 cccc  c3 dddd",
             "8 1000 12345 2 @0\n8 1020 12345 2 @14\n8 1040 12345 2 @20\n8 1060 12345 2 @23\n");
}

/* §5.3.2.2: one message of 307 bytes in chunks of 128. */
static void the_second_example_of_the_specification(void **state)
{
    char hex[1024];
    char zeros[257];

    memset(zeros, '0', 256);
    zeros[256] = '\0';
    snprintf(hex, sizeof hex, "04 0003e8 000133 09 3a300000 %s c4 %s c4 %.102s", zeros, zeros, zeros);
    reads_as(hex, "9 1000 12346 307 @0\n");
}

static void every_form_of_chunk_stream_id(void **state)
{
    struct chunk_header h;
    uint8_t room[32];
    const char *why;

    assert_int_equal(chunk_header_parse(&h, guard_hex("c2", room, sizeof room), &why), 1);
    assert_int_equal(h.stream, 2);
    assert_int_equal(chunk_header_parse(&h, guard_hex("ff", room, sizeof room), &why), 1);
    assert_int_equal(h.stream, 63);
    assert_int_equal(chunk_header_parse(&h, guard_hex("c0 00", room, sizeof room), &why), 2);
    assert_int_equal(h.stream, 64);
    assert_int_equal(chunk_header_parse(&h, guard_hex("c0 ff", room, sizeof room), &why), 2);
    assert_int_equal(h.stream, 319);
    assert_int_equal(chunk_header_parse(&h, guard_hex("c1 0001", room, sizeof room), &why), 3);
    assert_int_equal(h.stream, 320);
    assert_int_equal(chunk_header_parse(&h, guard_hex("c1 ffff", room, sizeof room), &why), 3);
    assert_int_equal(h.stream, 65599);
}

static void a_header_cut_at_any_byte_asks_for_more(void **state)
{
    static const char *const headers[] = {"01 ffff ffffff 000001 08 01000000 01020304",
                                          "40 ff ffffff 000001 08 01020304", "81 0000 ffffff 01020304",
                                          "c1 0000"};
    struct guard g = guard_new();

    for (size_t i = 0; i < 4; i++) {
        uint8_t room[32];
        struct bytes whole = guard_hex(headers[i], room, sizeof room);
        struct chunk_header h;
        const char *why;

        for (size_t size = 0; size < whole.size; size++)
            assert_int_equal(chunk_header_parse(&h, guard_place(g, bytes_head(whole, size)), &why),
                             PARSE_MORE);
        assert_int_equal(chunk_header_parse(&h, guard_place(g, whole), &why), whole.size);
        assert_true(i == 3 || h.time == 0x01020304);
    }
    guard_free(g);
}

static void timestamps_at_the_extension_and_the_wrap(void **state)
{
    reads_as("04 fffffe 000001 08 01000000 aa", "8 16777214 1 1 @0\n");
    reads_as("04 ffffff 000001 08 01000000 00ffffff aa", "8 16777215 1 1 @0\n");
    reads_as("04 ffffff 000001 08 01000000 ffffffff aa  84 000002 bb", "8 4294967295 1 1 @0\n8 1 1 1 @17\n");
    /* a delta that is extended, and repeated by a message of format 3 */
    reads_as("04 000000 000001 08 01000000 aa  84 ffffff 01000000 bb  c4 01000000 cc",
             "8 0 1 1 @0\n8 16777216 1 1 @13\n8 33554432 1 1 @22\n");
}

/* 130 bytes in two chunks. The specification repeats the extended timestamp; some writers do not. */
static void the_extended_timestamp_of_a_continuation_may_be_there_or_not(void **state)
{
    char hex[1024];
    char zeros[257];

    memset(zeros, '1', 256);
    zeros[256] = '\0';
    snprintf(hex, sizeof hex, "04 ffffff 000082 09 01000000 01000000 %s c4 01000000 aabb", zeros);
    reads_as(hex, "9 16777216 1 130 @0\n");
    snprintf(hex, sizeof hex, "04 ffffff 000086 09 01000000 01000000 %s c4 aabbccddeeff", zeros);
    reads_as(hex, "9 16777216 1 134 @0\n");
}

static void interleaved_messages_are_kept_apart(void **state)
{
    char hex[2048];
    char a[257], b[257];

    memset(a, 'a', 256);
    memset(b, 'b', 256);
    a[256] = b[256] = '\0';
    snprintf(hex, sizeof hex,
             "06 000000 000084 09 01000000 %s 04 000001 000082 08 01000000 %s c4 bbbb c6 aaaaaaaa", a, b);
    reads_as(hex, "8 1 1 130 @140\n9 0 1 132 @0\n");
}

static void an_aborted_message_is_forgotten(void **state)
{
    uint8_t room[512];
    char hex[1024], a[257];
    struct chunk_reader r;
    struct heard h = {0};
    const char *why;

    memset(a, 'a', 256);
    a[256] = '\0';
    snprintf(hex, sizeof hex, "06 000000 000084 09 01000000 %s", a);
    chunk_reader_init(&r);
    assert_true(feed(&r, guard_hex(hex, room, sizeof room), 7, &h, &why));
    assert_int_equal(chunk_first_partial(&r), 0);
    chunk_abort(&r, 7);
    assert_int_equal(chunk_first_partial(&r), 0);
    chunk_abort(&r, 6);
    assert_true(chunk_first_partial(&r) == UINT64_MAX);
    assert_int_equal(r.partial_bytes, 0);
    assert_true(feed(&r, guard_hex("06 000005 000001 09 01000000 aa", room, sizeof room), 7, &h, &why));
    assert_string_equal(text_of(&h), "9 5 1 1 @140\n");
    chunk_reader_drop(&r);
}

static void a_message_of_nothing_is_a_message(void **state)
{
    reads_as("04 000007 000000 08 01000000  c4  c4", "8 7 1 0 @0\n8 14 1 0 @12\n8 21 1 0 @13\n");
}

static void a_stream_that_begins_in_the_middle_is_refused(void **state)
{
    is_refused("44 000000 000001 08 aa");
    is_refused("84 000000 aa");
    is_refused("c4 aa");
}

/* librtmp answers a ping so, when nothing of it has used chunk stream 2 before. */
static void the_control_stream_may_begin_with_format_1(void **state)
{
    reads_as("42 000000 000006 04 000700000001", "4 0 0 6 @0\n");
    is_refused("82 000000");
    is_refused("c2");
}

static void a_message_that_interrupts_another_on_its_stream_is_refused(void **state)
{
    char hex[1024], a[257];

    memset(a, 'a', 256);
    a[256] = '\0';
    snprintf(hex, sizeof hex, "06 000000 000084 09 01000000 %s 06 000000 000001 09 01000000 aa", a);
    is_refused(hex);
}

static void chunk_sizes_are_those_of_the_limits(void **state)
{
    struct chunk_reader r;

    chunk_reader_init(&r);
    assert_int_equal(r.chunk_size, 128);
    assert_false(chunk_set_size(&r, 0));
    assert_false(chunk_set_size(&r, 0x80000000));
    assert_false(chunk_set_size(&r, 0x7fffffff));
    assert_false(chunk_set_size(&r, RTMP_CHUNK_BYTES_MAX + 1));
    assert_true(chunk_set_size(&r, 1));
    assert_true(chunk_set_size(&r, RTMP_CHUNK_BYTES_MAX));
    chunk_reader_drop(&r);
}

static void a_message_beyond_the_limit_is_refused_by_its_header(void **state)
{
    is_refused("04 000000 010001 14 00000000");
    struct chunk_reader r;
    struct heard h = {0};
    uint8_t room[32];
    const char *why;

    chunk_reader_init(&r);
    assert_true(feed(&r, guard_hex("04 000000 010000 14 00000000", room, sizeof room), 99, &h, &why));
    chunk_reader_drop(&r);
}

/* 500 connections, or one with as many chunk streams as it may have, announce 16 MB and send one byte. */
static void what_is_announced_and_not_sent_costs_nothing(void **state)
{
    struct chunk_reader r;
    struct heard h = {0};
    const char *why;

    chunk_reader_init(&r);
    r.message_bytes_max = RTMP_MESSAGE_BYTES_MAX;
    for (unsigned i = 0; i < 500; i++) {
        uint8_t head[] = {0, (uint8_t)i, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0, 0xaa};
        bool taken;

        r.chunk_left = 0; /* as if each chunk were whole: chunks of one byte */
        r.chunk_size = 1;
        taken = feed(&r, bytes_of(head, sizeof head), 99, &h, &why);
        if (i < 256)
            assert_int_equal(taken, i < RTMP_CHUNK_STREAMS_MAX);
    }
    assert_true(r.partial_bytes <= RTMP_CHUNK_STREAMS_MAX * 16384);
    chunk_reader_drop(&r);
}

static void partial_messages_together_have_a_limit(void **state)
{
    static uint8_t block[1 << 20];
    struct chunk_reader r;
    struct chunk_message m;
    uint64_t fed = 0;
    long taken = 0;
    const char *why;

    chunk_reader_init(&r);
    r.message_bytes_max = RTMP_MESSAGE_BYTES_MAX;
    assert_true(chunk_set_size(&r, 8 << 20));
    for (uint8_t stream = 3; stream < 10 && taken >= 0; stream++) {
        uint8_t head[] = {stream, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0};

        taken = chunk_read(&r, &m, bytes_of(head, sizeof head), &why);
        for (int i = 0; i < 8 && taken >= 0; i++, fed += sizeof block)
            taken = chunk_read(&r, &m, bytes_of(block, sizeof block), &why);
        assert_true(r.partial_bytes <= RTMP_PARTIAL_BYTES_MAX);
    }
    assert_int_equal(taken, PARSE_BAD);
    assert_true(fed > 8 << 20);
    chunk_reader_drop(&r);
}

static void the_largest_message_is_put_together_in_one_piece(void **state)
{
    struct builder wire = {0};
    uint8_t *payload = malloc(RTMP_MESSAGE_BYTES_MAX);
    struct chunk_outgoing out = {.stream = 6,
                                 .type = 9,
                                 .timestamp = 0x01000000,
                                 .message_stream = 1,
                                 .body = {payload, RTMP_MESSAGE_BYTES_MAX}};
    struct chunk_reader r;
    struct chunk_message m = {0};
    const char *why;

    for (size_t i = 0; i < RTMP_MESSAGE_BYTES_MAX; i++)
        payload[i] = (uint8_t)(i * 2654435761u >> 24);
    chunk_write(&wire, &out, 65536);
    chunk_reader_init(&r);
    r.message_bytes_max = RTMP_MESSAGE_BYTES_MAX;
    assert_true(chunk_set_size(&r, 65536));
    struct bytes in = builder_bytes(&wire);

    for (size_t at = 0; at < in.size && m.buffer == NULL;) {
        long taken = chunk_read(&r, &m, bytes_head(bytes_from(in, at), 100000), &why);

        assert_true(taken > 0);
        at += (size_t)taken;
    }
    assert_non_null(m.buffer);
    assert_int_equal(m.buffer->capacity, RTMP_MESSAGE_BYTES_MAX); /* no room is wasted on what lives on */
    assert_true(bytes_equal(buffer_bytes(m.buffer), out.body));
    assert_int_equal(r.position, in.size);
    assert_int_equal(r.partial_bytes, 0);
    buffer_unref(m.buffer);
    chunk_reader_drop(&r);
    builder_drop(&wire);
    free(payload);
}

static void what_is_written_is_read_back_at_any_chunk_size(void **state)
{
    static const uint32_t times[] = {0, 1, 0xfffffe, 0xffffff, 0x1000000, 0xffffffff};
    static const uint32_t sizes[] = {1, 2, 127, 128, 129, 300, 65536};
    uint8_t payload[300];

    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)i;
    for (size_t s = 0; s < 7; s++) {
        for (size_t t = 0; t < 6; t++) {
            struct builder wire = {0};
            struct chunk_outgoing out = {.stream = 4,
                                         .type = 8,
                                         .timestamp = times[t],
                                         .message_stream = 1,
                                         .body = {payload, sizeof payload}};
            struct chunk_reader r;
            struct heard h = {0};
            const char *why;
            char expected[128];

            chunk_write(&wire, &out, sizes[s]);
            size_t second = builder_bytes(&wire).size;

            out.is_delta = true;
            out.timestamp = 5;
            chunk_write(&wire, &out, sizes[s]);
            chunk_reader_init(&r);
            assert_true(chunk_set_size(&r, sizes[s]));
            assert_true(feed(&r, builder_bytes(&wire), 13, &h, &why));
            snprintf(expected, sizeof expected, "8 %u 1 300 @0\n8 %u 1 300 @%zu\n", times[t], times[t] + 5,
                     second);
            assert_string_equal(text_of(&h), expected);
            chunk_reader_drop(&r);
            builder_drop(&wire);
        }
    }
}

static void noise_is_answered_in_bounded_memory(void **state)
{
    uint8_t noise[4096];

    random_seed_for_test(20261123);
    print_message("seed 20261123\n");
    for (unsigned round = 0; round < 2000; round++) {
        struct chunk_reader r;
        struct heard h = {0};
        const char *why;

        random_fill(noise, sizeof noise);
        chunk_reader_init(&r);
        feed(&r, bytes_of(noise, sizeof noise), 1 + round % 100, &h, &why);
        assert_true(r.partial_bytes <= RTMP_PARTIAL_BYTES_MAX);
        assert_true(r.stream_count <= RTMP_CHUNK_STREAMS_MAX);
        builder_drop(&h.text);
        chunk_reader_drop(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_example_of_the_specification),
        cmocka_unit_test(the_second_example_of_the_specification),
        cmocka_unit_test(every_form_of_chunk_stream_id),
        cmocka_unit_test(a_header_cut_at_any_byte_asks_for_more),
        cmocka_unit_test(timestamps_at_the_extension_and_the_wrap),
        cmocka_unit_test(the_extended_timestamp_of_a_continuation_may_be_there_or_not),
        cmocka_unit_test(interleaved_messages_are_kept_apart),
        cmocka_unit_test(an_aborted_message_is_forgotten),
        cmocka_unit_test(a_message_of_nothing_is_a_message),
        cmocka_unit_test(a_stream_that_begins_in_the_middle_is_refused),
        cmocka_unit_test(the_control_stream_may_begin_with_format_1),
        cmocka_unit_test(a_message_that_interrupts_another_on_its_stream_is_refused),
        cmocka_unit_test(chunk_sizes_are_those_of_the_limits),
        cmocka_unit_test(a_message_beyond_the_limit_is_refused_by_its_header),
        cmocka_unit_test(what_is_announced_and_not_sent_costs_nothing),
        cmocka_unit_test(partial_messages_together_have_a_limit),
        cmocka_unit_test(the_largest_message_is_put_together_in_one_piece),
        cmocka_unit_test(what_is_written_is_read_back_at_any_chunk_size),
        cmocka_unit_test(noise_is_answered_in_bounded_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
