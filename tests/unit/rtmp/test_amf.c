/* AMF0: what commands are made of, and what a hostile peer makes of it. */
#include "unit.h"

#include "guard.h"

#include "base/limits.h"
#include "rtmp/amf_int.h"

#include <stdlib.h>

/* A connect like OBS sends it, up to its command object, then an ECMA array, a date and a strict array. */
static struct buffer *sample(void)
{
    struct builder b = {0};

    amf_put_object(&b);
    amf_put_name(&b, "app");
    amf_put_string(&b, "live");
    amf_put_name(&b, "nested");
    amf_put_object(&b);
    amf_put_name(&b, "app");
    amf_put_string(&b, "not this one");
    amf_put_object_end(&b);
    amf_put_name(&b, "capsEx");
    amf_put_number(&b, 4);
    amf_put_name(&b, "truth");
    amf_put_boolean(&b, true);
    amf_put_name(&b, "list");
    builder_u8(&b, AMF_STRICT_ARRAY);
    builder_be32(&b, 2);
    amf_put_string(&b, "hvc1");
    amf_put_null(&b);
    amf_put_name(&b, "map");
    builder_u8(&b, AMF_ECMA_ARRAY);
    builder_be32(&b, 0xffffffff); /* the count is a hint, and often wrong */
    amf_put_name(&b, "x");
    builder_u8(&b, AMF_DATE);
    builder_be64(&b, 0);
    builder_be16(&b, 0);
    amf_put_object_end(&b);
    amf_put_name(&b, "typed");
    builder_u8(&b, AMF_TYPED_OBJECT);
    amf_put_name(&b, "Class");
    amf_put_name(&b, "u");
    builder_u8(&b, AMF_UNDEFINED);
    amf_put_object_end(&b);
    amf_put_name(&b, "long");
    builder_u8(&b, AMF_LONG_STRING);
    builder_be32(&b, 3);
    builder_text(&b, "abc");
    amf_put_object_end(&b);
    return builder_finish(&b);
}

static void members_are_found_by_name(void **state)
{
    struct buffer *s = sample();
    struct amf_value v, m, n = {0};
    const char *why;

    assert_int_equal(amf_read(&v, buffer_bytes(s), &why), s->size);
    assert_int_equal(v.kind, AMF_OBJECT);
    assert_true(amf_member(&v, "app", &m));
    assert_true(bytes_is(m.text, "live"));
    assert_true(amf_member(&v, "nested", &m) && amf_member(&m, "app", &n));
    assert_true(bytes_is(n.text, "not this one"));
    assert_true(amf_member(&v, "capsEx", &m));
    assert_true(m.number == 4);
    assert_true(amf_member(&v, "truth", &m));
    assert_true(m.number == 1);
    assert_true(amf_member(&v, "list", &m));
    assert_int_equal(m.kind, AMF_STRICT_ARRAY);
    assert_false(amf_member(&m, "hvc1", &n));
    assert_true(amf_member(&v, "map", &m) && amf_member(&m, "x", &n));
    assert_int_equal(n.kind, AMF_DATE);
    assert_true(amf_member(&v, "typed", &m) && amf_member(&m, "u", &n));
    assert_true(amf_member(&v, "long", &m));
    assert_true(bytes_is(m.text, "abc"));
    assert_false(amf_member(&v, "tcUrl", &m));
    assert_int_equal(m.kind, AMF_UNDEFINED);
    buffer_unref(s);
}

static void a_value_cut_at_any_byte_asks_for_more(void **state)
{
    struct buffer *s = sample();
    struct guard g = guard_new();
    struct amf_value v;
    const char *why;

    for (size_t size = 0; size < s->size; size++)
        assert_int_equal(amf_read(&v, guard_place(g, bytes_head(buffer_bytes(s), size)), &why), PARSE_MORE);
    assert_int_equal(amf_read(&v, guard_place(g, buffer_bytes(s)), &why), s->size);
    guard_free(g);
    buffer_unref(s);
}

static void any_byte_may_be_any_other(void **state)
{
    struct buffer *s = sample();
    struct guard g = guard_new();

    for (size_t at = 0; at < s->size; at++) {
        uint8_t was = s->data[at];

        for (unsigned v = 0; v < 256; v++) {
            struct amf_value value, member;
            const char *why;

            s->data[at] = (uint8_t)v;
            if (amf_read(&value, guard_place(g, buffer_bytes(s)), &why) >= 0)
                amf_member(&value, "long", &member);
        }
        s->data[at] = was;
    }
    guard_free(g);
    buffer_unref(s);
}

static long read_all(struct builder *b)
{
    struct amf_value v;
    const char *why;
    long taken = amf_read(&v, builder_bytes(b), &why);

    if (taken == PARSE_BAD)
        assert_non_null(why);
    builder_drop(b);
    return taken;
}

static void nesting_ends_at_the_limit(void **state)
{
    for (unsigned depth = 1; depth <= 70000; depth = depth < AMF_DEPTH_MAX + 1 ? depth + 1 : depth * 10) {
        struct builder b = {0};

        for (unsigned i = 0; i < depth; i++) {
            amf_put_object(&b);
            amf_put_name(&b, "a");
        }
        amf_put_null(&b);
        for (unsigned i = 0; i < depth; i++)
            amf_put_object_end(&b);
        if (depth <= AMF_DEPTH_MAX)
            assert_true(read_all(&b) > 0);
        else
            assert_int_equal(read_all(&b), PARSE_BAD);
    }
    struct builder arrays = {0};

    for (unsigned i = 0; i < 70000; i++) {
        builder_u8(&arrays, AMF_STRICT_ARRAY);
        builder_be32(&arrays, 1);
    }
    assert_int_equal(read_all(&arrays), PARSE_BAD);
}

static void members_end_at_the_limit(void **state)
{
    for (unsigned count = AMF_MEMBERS_MAX; count <= AMF_MEMBERS_MAX + 1; count++) {
        struct builder b = {0}, a = {0};

        amf_put_object(&b);
        builder_u8(&a, AMF_STRICT_ARRAY);
        builder_be32(&a, count);
        for (unsigned i = 0; i < count; i++) {
            amf_put_name(&b, "a");
            amf_put_null(&b);
            amf_put_null(&a);
        }
        amf_put_object_end(&b);
        if (count <= AMF_MEMBERS_MAX) {
            assert_true(read_all(&b) > 0);
            assert_true(read_all(&a) > 0);
        } else {
            assert_int_equal(read_all(&b), PARSE_BAD);
            assert_int_equal(read_all(&a), PARSE_BAD);
        }
    }
}

static void what_is_announced_and_not_there_costs_nothing(void **state)
{
    static const char *const vectors[] = {"0a ffffffff", "0a 00000401", "0c ffffffff 61", "02 ffff 61",
                                          "0f ffffffff"};
    static const long answers[] = {PARSE_BAD, PARSE_BAD, PARSE_MORE, PARSE_MORE, PARSE_MORE};

    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint8_t room[16];
        struct amf_value v;
        const char *why;

        assert_int_equal(amf_read(&v, guard_hex(vectors[i], room, sizeof room), &why), answers[i]);
    }
}

static void unknown_markers_are_refused(void **state)
{
    for (unsigned marker = 0; marker < 256; marker++) {
        uint8_t byte = (uint8_t)marker;
        struct amf_value v;
        const char *why;
        long taken = amf_read(&v, bytes_of(&byte, 1), &why);

        if (marker > 16 || marker == 4 || marker == 9 || marker == 14)
            assert_int_equal(taken, PARSE_BAD);
        else
            assert_int_not_equal(taken, PARSE_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_found_by_name),
        cmocka_unit_test(a_value_cut_at_any_byte_asks_for_more),
        cmocka_unit_test(any_byte_may_be_any_other),
        cmocka_unit_test(nesting_ends_at_the_limit),
        cmocka_unit_test(members_end_at_the_limit),
        cmocka_unit_test(what_is_announced_and_not_there_costs_nothing),
        cmocka_unit_test(unknown_markers_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
