/* Connectivity checks: RFC 5769's vectors, damage at every byte, and what stands behind the HMAC. */
#include "unit.h"

#include "guard.h"
#include "webrtc/webrtc_int.h"

static const char password[] = "VOkJxbRl1RmTxUk/WvJxBt";

static struct guard guard;

static struct bytes request(uint8_t room[256])
{
    static const char vector[] = /* RFC 5769 §2.1 */
        "00010058 2112a442 b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74 00240004 6e0001ff"
        "80290008 932ff9b151263b36 00060009 6576746a3a68367659202020 00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
        "80280004 e57a3bcf";

    return guard_hex(vector, room, 256);
}

static void the_standards_request_is_read_and_authentic(void **state)
{
    uint8_t room[256];
    struct bytes in = guard_place(guard, request(room));
    struct stun s;

    assert_int_equal(stun_parse(&s, in), ERR_OK);
    assert_int_equal(s.type, STUN_BINDING_REQUEST);
    assert_true(bytes_is(s.username, "evtj:h6vY"));
    assert_true(s.fingerprint);
    assert_int_equal(s.unknown, 0);
    assert_true(stun_authentic(&s, in, bytes_text(password)));
    assert_false(stun_authentic(&s, in, bytes_text("VOkJxbRl1RmTxUk/WvJxBu")));
}

static void a_request_that_is_cut_or_damaged_anywhere_is_not_believed(void **state)
{
    uint8_t room[256], copy[256];
    struct bytes whole = request(room);
    struct stun s;

    for (size_t size = 0; size < whole.size; size++)
        assert_int_equal(stun_parse(&s, guard_place(guard, bytes_head(whole, size))), ERR_BAD);
    for (size_t bit = 0; bit < whole.size * 8; bit++) {
        struct bytes in = bytes_of(copy, whole.size);

        memcpy(copy, whole.at, whole.size);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        in = guard_place(guard, in);
        assert_false(stun_parse(&s, in) == ERR_OK && s.fingerprint &&
                     stun_authentic(&s, in, bytes_text(password)));
    }
}

static void an_answer_names_the_address_and_is_authentic(void **state)
{
    uint8_t room[256], out[STUN_ANSWER_SIZE];
    struct address from;
    struct stun s, a;

    assert_true(address_parse("192.0.2.1:32853", &from));
    assert_int_equal(stun_parse(&s, request(room)), ERR_OK);
    struct bytes answer = bytes_of(out, stun_success(out, &s, &from, bytes_text(password)));

    assert_int_equal(stun_parse(&a, guard_place(guard, answer)), ERR_OK);
    assert_int_equal(a.type, STUN_BINDING_SUCCESS);
    assert_true(a.fingerprint && stun_authentic(&a, answer, bytes_text(password)));
    /* RFC 5769 §2.2: the same address under the same transaction. */
    assert_memory_equal(out + 20, "\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43", 12);
}

static void an_address_of_ipv6_is_named_as_the_standard_does(void **state)
{
    uint8_t room[256], out[STUN_ANSWER_SIZE];
    struct address from;
    struct stun s;

    assert_true(address_parse("[2001:db8:1234:5678:11:2233:4455:6677]:32853", &from));
    assert_int_equal(stun_parse(&s, request(room)), ERR_OK);
    (void)stun_success(out, &s, &from, bytes_text(password));
    assert_memory_equal(
        out + 20, /* RFC 5769 §2.3 */
        "\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9",
        24);
}

static void an_attribute_that_must_be_understood_is_named(void **state)
{
    uint8_t out[STUN_ANSWER_SIZE], in[64] = {0};
    struct stun s;

    put_be32(in, 0x00010008);
    put_be32(in + 4, 0x2112A442);
    put_be32(in + 20, 0x7ABC0004);
    assert_int_equal(stun_parse(&s, bytes_of(in, 28)), ERR_OK);
    assert_int_equal(s.unknown, 0x7ABC);
    assert_false(stun_authentic(&s, bytes_of(in, 28), bytes_text(password)));
    (void)stun_unknown(out, &s, bytes_text(password));
    assert_memory_equal(out + 28, "\x00\x0a\x00\x02\x7a\xbc\x00\x00", 8);
}

/* An attacker who appends to a check of somebody else's must not be able to nominate a pair. */
static void what_stands_behind_the_hmac_is_not_believed(void **state)
{
    uint8_t out[STUN_ANSWER_SIZE + 8] = {0};
    size_t size =
        stun_request(out, (const uint8_t *)"abcdefghijkl", bytes_text("us:them"), bytes_text(password));
    struct stun s;

    assert_int_equal(stun_parse(&s, bytes_of(out, size)), ERR_OK);
    assert_true(s.use_candidate && s.fingerprint &&
                stun_authentic(&s, bytes_of(out, size), bytes_text(password)));
    size -= 8; /* instead of FINGERPRINT: a USERNAME of ours */
    put_be32(out + size, 0x00060004);
    memcpy(out + size + 4, "evil", 4);
    assert_int_equal(stun_parse(&s, bytes_of(out, size + 8)), ERR_OK);
    assert_true(bytes_is(s.username, "us:them"));
    assert_false(s.fingerprint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standards_request_is_read_and_authentic),
        cmocka_unit_test(a_request_that_is_cut_or_damaged_anywhere_is_not_believed),
        cmocka_unit_test(an_answer_names_the_address_and_is_authentic),
        cmocka_unit_test(an_address_of_ipv6_is_named_as_the_standard_does),
        cmocka_unit_test(an_attribute_that_must_be_understood_is_named),
        cmocka_unit_test(what_stands_behind_the_hmac_is_not_believed),
    };

    guard = guard_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    guard_free(guard);
    return failed;
}
