/* access/ticket.c - a viewer's token as text: RFC 7515's compact form with one header and one order of claims.
 *
 * Whatever differs from what ticket_write() would write is foreign: another algorithm, a header with one space more, a signature with
 * other spare bits. So nothing of a stranger's JSON is ever parsed. */
#include "access/access_int.h"

#include "base/bytes.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define MAC_SIZE       32
#define SIGNATURE_SIZE 43 /* MAC_SIZE in base64url */
#define CLAIMS_SIZE    192

/* --- base64url (RFC 4648 §5), without padding ---------------------------------------------------------- */

static size_t to_base64url(struct bytes in, char *out)
{
    size_t size = (size_t)EVP_EncodeBlock((uint8_t *)out, in.at, (int)in.size);

    while (size > 0 && out[size - 1] == '=')
        size--;
    for (size_t i = 0; i < size; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    out[size] = '\0';
    return size;
}

/* Into out[room]; 0 where it does not fit or is none. */
static size_t from_base64url(struct bytes in, uint8_t *out, size_t room)
{
    uint8_t padded[CLAIMS_SIZE / 3 * 4 + 4];
    size_t size = (in.size + 3) / 4 * 4;

    if (in.size % 4 == 1 || size > sizeof padded || size / 4 * 3 > room)
        return 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = i < in.size ? in.at[i] : '=';

        padded[i] = c == '-' ? '+' : c == '_' ? '/' : c;
    }
    return EVP_DecodeBlock(out, padded, (int)size) < 0 ? 0 : in.size * 3 / 4;
}

/* --- keys ---------------------------------------------------------------------------------------------- */

/* HMAC (RFC 2104) on SHA-256 contexts that are plain memory: a key's have taken up its two pads once, and each message copies them.
 * OpenSSL 3's own HMAC and EVP digests allocate for each message; SHA256_Init() and the like are only called old-fashioned. */
static void take_up(SHA256_CTX *c, uint8_t pad, const uint8_t secret[TICKET_SECRET_SIZE])
{
    uint8_t block[SHA256_CBLOCK];

    memset(block, pad, sizeof block);
    for (size_t i = 0; i < TICKET_SECRET_SIZE; i++)
        block[i] ^= secret[i];
    SHA256_Init(c);
    SHA256_Update(c, block, sizeof block);
    OPENSSL_cleanse(block, sizeof block);
}

static void hash(const SHA256_CTX *begun, struct bytes what, uint8_t out[MAC_SIZE])
{
    SHA256_CTX c = *begun;

    SHA256_Update(&c, what.at, what.size);
    SHA256_Final(out, &c);
}

void ticket_key_init(struct ticket_key *k, struct ulid id, const uint8_t secret[TICKET_SECRET_SIZE],
                     int64_t made_ms)
{
    char header[80], name[ULID_TEXT_SIZE];

    *k = (struct ticket_key){.id = id, .made_ms = made_ms};
    take_up(&k->inner, 0x36, secret);
    take_up(&k->outer, 0x5c, secret);
    snprintf(header, sizeof header, "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
             ulid_text(id, name));
    to_base64url(bytes_text(header), k->head);
}

void ticket_key_free(struct ticket_key *k)
{
    OPENSSL_cleanse(k, sizeof *k);
}

static void sign(const struct ticket_key *k, struct bytes what, char signature[SIGNATURE_SIZE + 2])
{
    uint8_t mac[MAC_SIZE];

    hash(&k->inner, what, mac);
    hash(&k->outer, bytes_of(mac, sizeof mac), mac);
    to_base64url(bytes_of(mac, sizeof mac), signature);
}

/* --- writing ------------------------------------------------------------------------------------------- */

void ticket_write(const struct ticket_key *k, const struct ticket *t, char text[TICKET_TEXT_SIZE])
{
    char claims[CLAIMS_SIZE], body[CLAIMS_SIZE / 3 * 4 + 4], signature[SIGNATURE_SIZE + 2];
    char pass[ULID_TEXT_SIZE], event[ULID_TEXT_SIZE], session[ULID_TEXT_SIZE];
    int size;

    snprintf(claims, sizeof claims,
             "{\"sub\":\"%s\",\"event\":\"%s\",\"sid\":\"%s\",\"iat\":%lld,\"nbf\":%lld,\"exp\":%lld}",
             ulid_text(t->pass, pass), ulid_text(t->event, event), ulid_text(t->session, session),
             (long long)t->issued_s, (long long)t->issued_s, (long long)t->expires_s);
    to_base64url(bytes_text(claims), body);
    size = snprintf(text, TICKET_TEXT_SIZE, "%s.%s", k->head, body);
    sign(k, bytes_of(text, (size_t)size), signature);
    snprintf(text + size, TICKET_TEXT_SIZE - (size_t)size, ".%s", signature);
}

/* --- reading ------------------------------------------------------------------------------------------- */

static bool take_text(struct bytes *left, const char *text)
{
    if (!bytes_starts(*left, text))
        return false;
    *left = bytes_from(*left, strlen(text));
    return true;
}

static bool take_id(struct bytes *left, const char *before, struct ulid *out)
{
    if (!take_text(left, before) || !ulid_parse(bytes_head(*left, ULID_TEXT_SIZE - 1), out))
        return false;
    *left = bytes_from(*left, ULID_TEXT_SIZE - 1);
    return true;
}

static bool take_time(struct bytes *left, const char *before, int64_t *out)
{
    uint64_t seconds;
    size_t size = 0;

    if (!take_text(left, before))
        return false;
    while (size < left->size && left->at[size] >= '0' && left->at[size] <= '9')
        size++;
    if (!bytes_to_u64(bytes_head(*left, size), INT64_MAX / 1000, &seconds))
        return false;
    *out = (int64_t)seconds;
    *left = bytes_from(*left, size);
    return true;
}

static bool read_claims(struct bytes claims, struct ticket *out)
{
    int64_t not_before;

    return take_id(&claims, "{\"sub\":\"", &out->pass) && take_id(&claims, "\",\"event\":\"", &out->event) &&
           take_id(&claims, "\",\"sid\":\"", &out->session) &&
           take_time(&claims, "\",\"iat\":", &out->issued_s) &&
           take_time(&claims, ",\"nbf\":", &not_before) && take_time(&claims, ",\"exp\":", &out->expires_s) &&
           bytes_is(claims, "}");
}

static const struct ticket_key *key_of(const struct ticket_key *keys, size_t count, struct bytes head)
{
    for (size_t i = 0; i < count; i++)
        if (bytes_is(head, keys[i].head))
            return &keys[i];
    return NULL;
}

bool ticket_read(const struct ticket_key *keys, size_t count, struct bytes text, struct ticket *out)
{
    long dot = bytes_find(text, '.'), second;
    struct bytes head = bytes_head(text, dot < 0 ? 0 : (size_t)dot), body, signature;
    const struct ticket_key *k = key_of(keys, count, head);
    char right[SIGNATURE_SIZE + 2];
    uint8_t claims[CLAIMS_SIZE];
    size_t size;

    if (k == NULL || text.size >= TICKET_TEXT_SIZE)
        return false;
    body = bytes_from(text, (size_t)dot + 1);
    if ((second = bytes_find(body, '.')) < 0)
        return false;
    signature = bytes_from(body, (size_t)second + 1);
    body = bytes_head(body, (size_t)second);
    sign(k, bytes_head(text, head.size + 1 + body.size), right);
    if (!bytes_equal_secret(signature, bytes_text(right)))
        return false;
    size = from_base64url(body, claims, sizeof claims);
    return read_claims(bytes_of(claims, size), out);
}
