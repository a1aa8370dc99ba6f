/* rtmp/handshake.c - see handshake_int.h. The digest form as it is known from Flash Media Server's clients. */
#include "rtmp/handshake_int.h"

#include "base/random.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define DIGEST_BYTES 32

/* What both ends sign with: a name, and for some steps 32 bytes more. */
static const uint8_t server_key[] = "Genuine Adobe Flash Media Server 001"
                                    "\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57"
                                    "\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";
static const uint8_t client_key[] = "Genuine Adobe Flash Player 001";
#define SERVER_KEY_BYTES  (sizeof server_key - 1)
#define SERVER_NAME_BYTES 36
#define CLIENT_NAME_BYTES 30

static void sign(const uint8_t *key, size_t key_size, struct bytes what, uint8_t digest[DIGEST_BYTES])
{
    unsigned size = DIGEST_BYTES;
    const void *done = HMAC(EVP_sha256(), key, (int)key_size, what.at, what.size, digest, &size);

    assert(done != NULL && size == DIGEST_BYTES); /* fails only without memory or without SHA-256 */
}

/* Where the digest lies: four bytes say it, at 8 (schema 1) or at 772 behind the key block (schema 0). */
static size_t digest_place(const uint8_t block[HANDSHAKE_BYTES], unsigned schema)
{
    size_t base = schema == 1 ? 8 : 772;
    size_t sum = (size_t)block[base] + block[base + 1] + block[base + 2] + block[base + 3];

    return base + 4 + sum % 728;
}

/* The digest covers the block without itself. */
static void sign_block(const uint8_t block[HANDSHAKE_BYTES], size_t place, const uint8_t *key,
                       size_t key_size, uint8_t digest[DIGEST_BYTES])
{
    uint8_t rest[HANDSHAKE_BYTES - DIGEST_BYTES];

    memcpy(rest, block, place);
    memcpy(rest + place, block + place + DIGEST_BYTES, sizeof rest - place);
    sign(key, key_size, bytes_of(rest, sizeof rest), digest);
}

/* Finds the client's digest in C1. False when neither schema has a valid one: the client is a plain one. */
static bool find_digest(const uint8_t c1[HANDSHAKE_BYTES], unsigned *schema, uint8_t digest[DIGEST_BYTES])
{
    for (*schema = 0; *schema <= 1; (*schema)++) {
        size_t place = digest_place(c1, *schema);

        sign_block(c1, place, client_key, CLIENT_NAME_BYTES, digest);
        if (memcmp(digest, c1 + place, DIGEST_BYTES) == 0)
            return true;
    }
    return false;
}

static void write_signed(uint8_t s1[HANDSHAKE_BYTES], uint8_t s2[HANDSHAKE_BYTES], unsigned schema,
                         const uint8_t client_digest[DIGEST_BYTES])
{
    uint8_t key[DIGEST_BYTES];
    size_t place;

    put_be32(s1 + 4, 0x04050001); /* a server version that has digests */
    place = digest_place(s1, schema);
    sign_block(s1, place, server_key, SERVER_NAME_BYTES, s1 + place);
    random_fill(s2, HANDSHAKE_BYTES);
    sign(server_key, SERVER_KEY_BYTES, bytes_of(client_digest, DIGEST_BYTES), key);
    sign(key, sizeof key, bytes_of(s2, HANDSHAKE_BYTES - DIGEST_BYTES), s2 + HANDSHAKE_BYTES - DIGEST_BYTES);
}

static bool version_is_bad(struct bytes in, const char **why)
{
    *why = NULL;
    if (in.size == 0 || in.at[0] == HANDSHAKE_VERSION)
        return false;
    *why = in.at[0] == 6 || in.at[0] == 8 ? "RTMPE is not spoken here; use RTMPS" : "this is not RTMP";
    return true;
}

long handshake_answer(struct bytes in, uint32_t time_ms, uint8_t out[HANDSHAKE_OUT_BYTES], const char **why)
{
    uint8_t *s1 = out + 1, *s2 = s1 + HANDSHAKE_BYTES, digest[DIGEST_BYTES];
    unsigned schema;

    if (version_is_bad(in, why))
        return PARSE_BAD;
    if (in.size < HANDSHAKE_IN_BYTES)
        return PARSE_MORE;
    const uint8_t *c1 = in.at + 1;

    out[0] = HANDSHAKE_VERSION;
    random_fill(s1, HANDSHAKE_BYTES);
    put_be32(s1, time_ms);
    put_be32(s1 + 4, 0);
    /* A plain client has zeros where one with digests has its version (§5.2.3). */
    if (memcmp(c1 + 4, "\0\0\0\0", 4) != 0 && find_digest(c1, &schema, digest)) {
        write_signed(s1, s2, schema, digest);
    } else {
        memcpy(s2, c1, HANDSHAKE_BYTES);
        put_be32(s2 + 4, time_ms);
    }
    return HANDSHAKE_IN_BYTES;
}

void handshake_begin(uint32_t time_ms, uint8_t out[HANDSHAKE_IN_BYTES])
{
    out[0] = HANDSHAKE_VERSION;
    random_fill(out + 1, HANDSHAKE_BYTES);
    put_be32(out + 1, time_ms);
    put_be32(out + 5, 0);
}

long handshake_check(struct bytes in, const char **why)
{
    if (version_is_bad(in, why))
        return PARSE_BAD;
    return in.size < HANDSHAKE_IN_BYTES ? PARSE_MORE : HANDSHAKE_IN_BYTES;
}
