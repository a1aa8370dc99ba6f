/* The handshake, plain and with digests, whole and cut. */
#include "unit.h"

#include "guard.h"

#include "base/random.h"
#include "rtmp/handshake_int.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

static const char flash_player[] = "Genuine Adobe Flash Player 001";
static const char media_server[] = "Genuine Adobe Flash Media Server 001";
static const uint8_t crud[32] = {0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0,
                                 0xd1, 0x02, 0x9e, 0x7e, 0x57, 0x6e, 0xec, 0x5d, 0x2d, 0x29, 0x80,
                                 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae};

static void a_plain_client_gets_its_own_bytes_back(void **state)
{
    uint8_t in[HANDSHAKE_IN_BYTES], out[HANDSHAKE_OUT_BYTES];
    struct guard g = guard_new();
    const char *why;

    random_seed_for_test(7);
    handshake_begin(1234, in);
    assert_int_equal(handshake_answer(guard_place(g, bytes_of(in, sizeof in)), 99, out, &why),
                     HANDSHAKE_IN_BYTES);
    assert_int_equal(out[0], 3);
    assert_memory_equal(out + 1, "\0\0\0\x63\0\0\0\0", 8);
    const uint8_t *s2 = out + 1 + HANDSHAKE_BYTES;

    assert_memory_equal(s2, in + 1, 4);
    assert_memory_equal(s2 + 4, "\0\0\0\x63", 4);
    assert_memory_equal(s2 + 8, in + 9, HANDSHAKE_BYTES - 8);
    guard_free(g);
}

static size_t place_of(const uint8_t *block, unsigned schema)
{
    size_t at = schema ? 8 : 772;

    return at + 4 + ((size_t)block[at] + block[at + 1] + block[at + 2] + block[at + 3]) % 728;
}

static void digest_of(const uint8_t *block, size_t place, const void *key, size_t key_size, uint8_t out[32])
{
    uint8_t rest[HANDSHAKE_BYTES];

    memcpy(rest, block, place);
    memcpy(rest + place, block + place + 32, HANDSHAKE_BYTES - 32 - place);
    HMAC(EVP_sha256(), key, (int)key_size, rest, HANDSHAKE_BYTES - 32, out, NULL);
}

/* Plays a Flash client and checks the server's proof as one would. */
static void check_schema(unsigned schema, const uint8_t offsets[4])
{
    uint8_t in[HANDSHAKE_IN_BYTES], out[HANDSHAKE_OUT_BYTES], digest[32], key[32], full[68];
    uint8_t *c1 = in + 1, *s1 = out + 1, *s2 = out + 1 + HANDSHAKE_BYTES;
    const char *why;

    handshake_begin(1, in);
    put_be32(c1 + 4, 0x80000702);
    memcpy(c1 + (schema ? 8 : 772), offsets, 4);
    size_t place = place_of(c1, schema);

    digest_of(c1, place, flash_player, 30, c1 + place);
    assert_int_equal(handshake_answer(bytes_of(in, sizeof in), 1, out, &why), HANDSHAKE_IN_BYTES);
    digest_of(s1, place_of(s1, schema), media_server, 36, digest);
    assert_memory_equal(digest, s1 + place_of(s1, schema), 32);
    memcpy(full, media_server, 36);
    memcpy(full + 36, crud, 32);
    HMAC(EVP_sha256(), full, sizeof full, c1 + place, 32, key, NULL);
    HMAC(EVP_sha256(), key, sizeof key, s2, HANDSHAKE_BYTES - 32, digest, NULL);
    assert_memory_equal(digest, s2 + HANDSHAKE_BYTES - 32, 32);
}

static void a_client_with_digests_gets_the_servers_proof(void **state)
{
    random_seed_for_test(7);
    for (unsigned schema = 0; schema <= 1; schema++) {
        check_schema(schema, (const uint8_t[]){0, 0, 0, 0});
        check_schema(schema, (const uint8_t[]){255, 255, 255, 255});
        check_schema(schema, (const uint8_t[]){255, 255, 217, 0}); /* 727: the last place there is */
        check_schema(schema, (const uint8_t[]){255, 255, 218, 0}); /* 728: the first again */
    }
}

static void a_wrong_digest_is_a_plain_client(void **state)
{
    uint8_t in[HANDSHAKE_IN_BYTES], out[HANDSHAKE_OUT_BYTES];
    const char *why;

    handshake_begin(1, in);
    put_be32(in + 5, 0x80000702);
    assert_int_equal(handshake_answer(bytes_of(in, sizeof in), 1, out, &why), HANDSHAKE_IN_BYTES);
    assert_memory_equal(out + 1 + HANDSHAKE_BYTES + 8, in + 9, HANDSHAKE_BYTES - 8);
}

static void cut_at_any_byte_it_asks_for_more(void **state)
{
    uint8_t in[HANDSHAKE_IN_BYTES], out[HANDSHAKE_OUT_BYTES];
    struct guard g = guard_new();
    const char *why;

    handshake_begin(1, in);
    for (size_t size = 0; size < sizeof in; size++) {
        struct bytes cut = guard_place(g, bytes_of(in, size));

        assert_int_equal(handshake_answer(cut, 1, out, &why), PARSE_MORE);
        assert_int_equal(handshake_check(cut, &why), PARSE_MORE);
    }
    guard_free(g);
}

static void what_is_not_rtmp_is_known_by_its_first_byte(void **state)
{
    uint8_t out[HANDSHAKE_OUT_BYTES];

    for (unsigned v = 0; v < 256; v++) {
        uint8_t first = (uint8_t)v;
        const char *why;
        long taken = handshake_answer(bytes_of(&first, 1), 1, out, &why);

        assert_int_equal(taken, v == 3 ? PARSE_MORE : PARSE_BAD);
        assert_int_equal(why == NULL, v == 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_client_gets_its_own_bytes_back),
        cmocka_unit_test(a_client_with_digests_gets_the_servers_proof),
        cmocka_unit_test(a_wrong_digest_is_a_plain_client),
        cmocka_unit_test(cut_at_any_byte_it_asks_for_more),
        cmocka_unit_test(what_is_not_rtmp_is_known_by_its_first_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
