/* Bytes, cursors, bits and checksums. */
#include "unit.h"

#include "base/buffer.h"
#include "base/crc32c.h"

static void a_short_cursor_gives_zeros_and_remembers(void **state)
{
    static const uint8_t three[] = {1, 2, 3};
    struct cursor c = cursor_of(bytes_of(three, sizeof three));

    assert_int_equal(cursor_be16(&c), 0x0102);
    assert_false(c.short_of);
    assert_int_equal(cursor_be32(&c), 0);
    assert_true(c.short_of);
    assert_int_equal(cursor_u8(&c), 0);
}

static void numbers_are_read_whole_or_refused(void **state)
{
    uint64_t v;

    assert_true(bytes_to_u64(bytes_text("18446744073709551615"), UINT64_MAX, &v));
    assert_true(v == UINT64_MAX);
    assert_false(bytes_to_u64(bytes_text("18446744073709551616"), UINT64_MAX, &v));
    assert_false(bytes_to_u64(bytes_text("-1"), UINT64_MAX, &v));
    assert_false(bytes_to_u64(bytes_text(""), UINT64_MAX, &v));
    assert_false(bytes_to_u64(bytes_text("101"), 100, &v));
}

static void exp_golomb_matches_the_table_of_the_standard(void **state)
{
    static const uint8_t codes[] = {0xa6, 0x42, 0x98,
                                    0xe2, 0x04, 0x8a}; /* 1 010 011 00100 ... : §9.1, table 9-2 */
    struct bits b = bits_of(bytes_of(codes, sizeof codes));

    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(bits_ue(&b), i);
    assert_false(b.short_of);
}

static void the_checksum_matches_the_vectors_of_rfc_3720(void **state)
{
    uint8_t block[32] = {0};

    assert_int_equal(crc32c(0, bytes_of(block, 32)), 0x8a9136aa);
    memset(block, 0xff, sizeof block);
    assert_int_equal(crc32c(0, bytes_of(block, 32)), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        block[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, bytes_of(block, 32)), 0x46dd794e);
    assert_int_equal(crc32c(crc32c(0, bytes_of(block, 13)), bytes_of(block + 13, 19)), 0x46dd794e);
}

static void a_builder_holds_all_it_was_given(void **state)
{
    struct builder b = {0};

    for (int i = 0; i < 1000; i++)
        builder_printf(&b, "%03d,", i);
    struct buffer *built = builder_finish(&b);

    assert_int_equal(built->size, 4000);
    assert_memory_equal(built->data + 3996, "999,", 4);
    assert_null(b.buffer);
    buffer_unref(built);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_cursor_gives_zeros_and_remembers),
        cmocka_unit_test(numbers_are_read_whole_or_refused),
        cmocka_unit_test(exp_golomb_matches_the_table_of_the_standard),
        cmocka_unit_test(the_checksum_matches_the_vectors_of_rfc_3720),
        cmocka_unit_test(a_builder_holds_all_it_was_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
