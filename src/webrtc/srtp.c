/* webrtc/srtp.c - encrypts what we send, and checks the RTCP that comes.
 *
 * On OpenSSL's EVP: AES-128-GCM (RFC 7714) at a million packets a second and core, AES-CM with HMAC-SHA1
 * (RFC 3711) for those who know nothing newer. RTP that comes is not read: nobody sends us media here. */
#include "webrtc/webrtc_int.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#define GCM_SALT 12
#define CM_SALT  14
#define GCM_TAG  16
#define CM_TAG   10
#define SHA1     20

static size_t salt_size(enum srtp_profile profile)
{
    return profile == SRTP_GCM ? GCM_SALT : CM_SALT;
}

size_t srtp_material_size(enum srtp_profile profile)
{
    return 2 * (SRTP_KEY_SIZE + salt_size(profile));
}

/* --- keys --------------------------------------------------------------------------------------------- */

/* RFC 3711 §4.3.3: AES in counter mode over the salt with the label in its 8th byte from the end of 14. */
static bool derive(const uint8_t *key, const uint8_t salt[CM_SALT], uint8_t label, uint8_t *to, int size)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t counter[16] = {0}, zeros[SHA1] = {0};
    int got = 0;
    bool good;

    memcpy(counter, salt, CM_SALT);
    counter[7] ^= label;
    good = c != NULL && EVP_EncryptInit_ex(c, EVP_aes_128_ctr(), NULL, key, counter) == 1 &&
           EVP_EncryptUpdate(c, to, &got, zeros, size) == 1 && got == size;
    EVP_CIPHER_CTX_free(c);
    return good;
}

static EVP_MAC_CTX *mac_new(const uint8_t key[SHA1])
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *c = mac ? EVP_MAC_CTX_new(mac) : NULL;
    char digest[] = "SHA1";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};

    EVP_MAC_free(mac);
    if (c != NULL && EVP_MAC_init(c, key, SHA1, params) == 1)
        return c;
    EVP_MAC_CTX_free(c);
    return NULL;
}

/* RTCP's half of one direction; the labels are RFC 3711 §4.3.2's. `salt` is filled up to 14 bytes. */
static bool rtcp_init(struct srtp_keys *k, enum srtp_profile profile, const uint8_t *key,
                      const uint8_t salt[CM_SALT])
{
    return derive(key, salt, 3, k->rtcp_key, SRTP_KEY_SIZE) &&
           derive(key, salt, 5, k->rtcp_salt, (int)salt_size(profile)) &&
           (profile == SRTP_GCM || derive(key, salt, 4, k->rtcp_auth, SHA1));
}

/* RTP's half of the direction we send in. */
static bool rtp_init(struct srtp_keys *k, enum srtp_profile profile, const uint8_t *key,
                     const uint8_t salt[CM_SALT])
{
    uint8_t rtp_key[SRTP_KEY_SIZE], rtp_auth[SHA1];

    if (!derive(key, salt, 0, rtp_key, SRTP_KEY_SIZE) ||
        !derive(key, salt, 2, k->rtp_salt, (int)salt_size(profile)))
        return false;
    k->rtp = EVP_CIPHER_CTX_new();
    if (k->rtp == NULL ||
        EVP_EncryptInit_ex(k->rtp, profile == SRTP_GCM ? EVP_aes_128_gcm() : EVP_aes_128_ctr(), NULL, rtp_key,
                           NULL) != 1)
        return false;
    if (profile == SRTP_GCM)
        return true;
    if (!derive(key, salt, 1, rtp_auth, SHA1))
        return false;
    k->rtp_mac = mac_new(rtp_auth);
    return k->rtp_mac != NULL;
}

enum err srtp_begin(struct srtp *s, enum srtp_profile profile, struct bytes material, bool is_server)
{
    size_t salt = salt_size(profile);
    const uint8_t *client = material.at, *server = client + SRTP_KEY_SIZE;
    uint8_t client_salt[CM_SALT] = {0}, server_salt[CM_SALT] = {0};
    const uint8_t *our_key = is_server ? server : client, *our_salt = is_server ? server_salt : client_salt;

    memset(s, 0, sizeof *s);
    assert(material.size == srtp_material_size(profile));
    s->profile = profile;
    s->rtcp_index = 1;
    memcpy(client_salt, server + SRTP_KEY_SIZE, salt);
    memcpy(server_salt, server + SRTP_KEY_SIZE + salt, salt);
    return rtp_init(&s->out, profile, our_key, our_salt) && rtcp_init(&s->out, profile, our_key, our_salt) &&
                   rtcp_init(&s->in, profile, is_server ? client : server,
                             is_server ? client_salt : server_salt)
               ? ERR_OK
               : ERR_IO;
}

static void keys_drop(struct srtp_keys *k)
{
    EVP_CIPHER_CTX_free(k->rtp);
    EVP_MAC_CTX_free(k->rtp_mac);
    OPENSSL_cleanse(k, sizeof *k);
}

void srtp_drop(struct srtp *s)
{
    keys_drop(&s->out);
    keys_drop(&s->in);
}

/* --- RTP ---------------------------------------------------------------------------------------------- */

static void must(int result)
{
    if (result != 1)
        abort(); /* AES over memory does not fail; if it did, what we would send is plain text */
}

static void xor_into(uint8_t *to, const uint8_t *salt, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] ^= salt[i];
}

static int encrypt(EVP_CIPHER_CTX *c, struct bytes prefix, struct bytes payload, uint8_t *to)
{
    int first = 0, second = 0;

    if (prefix.size > 0)
        must(EVP_EncryptUpdate(c, to, &first, prefix.at, (int)prefix.size));
    must(EVP_EncryptUpdate(c, to + first, &second, payload.at, (int)payload.size));
    return first + second;
}

static size_t gcm_protect(struct srtp *s, struct bytes header, uint32_t roll_over, struct bytes prefix,
                          struct bytes payload, uint8_t *to)
{
    EVP_CIPHER_CTX *c = s->out.rtp;
    uint8_t iv[GCM_SALT] = {0}, *body = to + header.size;
    int size = 0;

    memcpy(iv + 2, header.at + 8, 4);
    put_be32(iv + 6, roll_over);
    memcpy(iv + 10, header.at + 2, 2);
    xor_into(iv, s->out.rtp_salt, GCM_SALT);
    must(EVP_EncryptInit_ex(c, NULL, NULL, NULL, iv));
    must(EVP_EncryptUpdate(c, NULL, &size, header.at, (int)header.size));
    size = encrypt(c, prefix, payload, body);
    must(EVP_EncryptFinal_ex(c, body + size, &(int){0}));
    must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, GCM_TAG, body + size));
    return header.size + (size_t)size + GCM_TAG;
}

/* RFC 3711 §4.1.1: the counter block of a packet. */
static void cm_counter(uint8_t iv[16], const uint8_t salt[CM_SALT], const uint8_t *ssrc, uint64_t index)
{
    memset(iv, 0, 16);
    memcpy(iv + 4, ssrc, 4);
    for (int i = 0; i < 6; i++)
        iv[8 + i] = (uint8_t)(index >> (40 - 8 * i));
    xor_into(iv, salt, CM_SALT);
}

static size_t cm_protect(struct srtp *s, struct bytes header, uint32_t roll_over, struct bytes prefix,
                         struct bytes payload, uint8_t *to)
{
    uint8_t iv[16], mac[SHA1], over[4], *body = to + header.size;
    uint64_t index = (uint64_t)roll_over << 16 | (uint64_t)header.at[2] << 8 | header.at[3];
    size_t size, mac_size;

    cm_counter(iv, s->out.rtp_salt, header.at + 8, index);
    must(EVP_EncryptInit_ex(s->out.rtp, NULL, NULL, NULL, iv));
    size = header.size + (size_t)encrypt(s->out.rtp, prefix, payload, body);
    put_be32(over, roll_over);
    must(EVP_MAC_init(s->out.rtp_mac, NULL, 0, NULL));
    must(EVP_MAC_update(s->out.rtp_mac, to, size));
    must(EVP_MAC_update(s->out.rtp_mac, over, sizeof over));
    must(EVP_MAC_final(s->out.rtp_mac, mac, &mac_size, sizeof mac));
    memcpy(to + size, mac, CM_TAG);
    return size + CM_TAG;
}

size_t srtp_seal(struct srtp *s, struct bytes header, uint32_t roll_over, struct bytes prefix,
                 struct bytes payload, uint8_t *to)
{
    memcpy(to, header.at, header.size);
    return s->profile == SRTP_GCM ? gcm_protect(s, header, roll_over, prefix, payload, to)
                                  : cm_protect(s, header, roll_over, prefix, payload, to);
}

/* --- RTCP: seldom, so its keys are set up each time and cost no memory in between --------------------- */

#define RTCP_HEAD 8
#define ENCRYPTED 0x80000000u

/* RFC 7714 §9.1, both ways. `word` is the encrypted flag and the index as they are sent. */
static bool gcm_rtcp(const struct srtp_keys *k, bool encrypts, const uint8_t *head, uint32_t word,
                     struct bytes body, uint8_t *to, uint8_t tag[GCM_TAG])
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t iv[GCM_SALT] = {0}, aad[RTCP_HEAD + 4];
    int size = 0;
    bool good;

    memcpy(iv + 2, head + 4, 4);
    put_be32(iv + 8, word & ~ENCRYPTED);
    xor_into(iv, k->rtcp_salt, GCM_SALT);
    memcpy(aad, head, RTCP_HEAD);
    put_be32(aad + RTCP_HEAD, word);
    good = c != NULL && EVP_CipherInit_ex(c, EVP_aes_128_gcm(), NULL, k->rtcp_key, iv, encrypts) == 1 &&
           (encrypts || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, GCM_TAG, tag) == 1) &&
           EVP_CipherUpdate(c, NULL, &size, aad, sizeof aad) == 1 &&
           EVP_CipherUpdate(c, to, &size, body.at, (int)body.size) == 1 &&
           EVP_CipherFinal_ex(c, to + size, &(int){0}) == 1 &&
           (!encrypts || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, GCM_TAG, tag) == 1);
    EVP_CIPHER_CTX_free(c);
    return good;
}

static void cm_rtcp(const struct srtp_keys *k, const uint8_t *head, uint32_t index, struct bytes body,
                    uint8_t *to)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t iv[16];
    int size = 0;

    cm_counter(iv, k->rtcp_salt, head + 4, index);
    must(c != NULL);
    must(EVP_EncryptInit_ex(c, EVP_aes_128_ctr(), NULL, k->rtcp_key, iv));
    must(EVP_EncryptUpdate(c, to, &size, body.at, (int)body.size));
    EVP_CIPHER_CTX_free(c);
}

static void cm_rtcp_tag(const struct srtp_keys *k, struct bytes text, uint8_t mac[SHA1])
{
    unsigned size = SHA1;

    if (HMAC(EVP_sha1(), k->rtcp_auth, SHA1, text.at, text.size, mac, &size) == NULL)
        abort();
}

size_t srtcp_seal(struct srtp *s, struct bytes packet, uint8_t *to)
{
    uint32_t index = s->rtcp_index++ & ~ENCRYPTED;
    struct bytes body = bytes_from(packet, RTCP_HEAD);
    uint8_t mac[SHA1];

    assert(packet.size > RTCP_HEAD);
    memcpy(to, packet.at, RTCP_HEAD);
    if (s->profile == SRTP_GCM) {
        must(gcm_rtcp(&s->out, true, packet.at, index | ENCRYPTED, body, to + RTCP_HEAD, to + packet.size));
        put_be32(to + packet.size + GCM_TAG, index | ENCRYPTED);
        return packet.size + GCM_TAG + 4;
    }
    cm_rtcp(&s->out, packet.at, index, body, to + RTCP_HEAD);
    put_be32(to + packet.size, index | ENCRYPTED);
    cm_rtcp_tag(&s->out, bytes_of(to, packet.size + 4), mac);
    memcpy(to + packet.size + 4, mac, CM_TAG);
    return packet.size + 4 + CM_TAG;
}

/* RFC 3711 §3.3.2. */
static bool is_replay(const struct srtp *s, uint32_t index)
{
    if (index > s->seen_top)
        return false;
    return s->seen_top - index >= 64 || (s->seen >> (s->seen_top - index) & 1) != 0;
}

static void remember(struct srtp *s, uint32_t index)
{
    if (index > s->seen_top) {
        uint32_t on = index - s->seen_top;

        s->seen = on < 64 ? s->seen << on : 0;
        s->seen_top = index;
    }
    s->seen |= (uint64_t)1 << (s->seen_top - index);
}

static long gcm_unprotect(const struct srtp *s, struct bytes in, uint32_t *index, uint8_t *to)
{
    uint8_t tag[GCM_TAG];
    size_t size = in.size - GCM_TAG - 4;
    struct cursor c = cursor_of(bytes_from(in, in.size - 4));
    uint32_t word = cursor_be32(&c);

    *index = word & ~ENCRYPTED;
    if (!(word & ENCRYPTED) || is_replay(s, *index)) /* plain RTCP is authentic, and nobody's business here */
        return PARSE_BAD;
    memcpy(tag, in.at + size, GCM_TAG);
    if (!gcm_rtcp(&s->in, false, in.at, word, bytes_of(in.at + RTCP_HEAD, size - RTCP_HEAD), to + RTCP_HEAD,
                  tag))
        return PARSE_BAD;
    return (long)size;
}

static long cm_unprotect(const struct srtp *s, struct bytes in, uint32_t *index, uint8_t *to)
{
    size_t size = in.size - CM_TAG - 4;
    struct cursor c = cursor_of(bytes_from(in, size));
    uint32_t word = cursor_be32(&c);
    uint8_t mac[SHA1];

    *index = word & ~ENCRYPTED;
    if (!(word & ENCRYPTED) || is_replay(s, *index))
        return PARSE_BAD;
    cm_rtcp_tag(&s->in, bytes_of(in.at, size + 4), mac);
    if (!bytes_equal_secret(bytes_of(mac, CM_TAG), bytes_from(in, size + 4)))
        return PARSE_BAD;
    cm_rtcp(&s->in, in.at, *index, bytes_of(in.at + RTCP_HEAD, size - RTCP_HEAD), to + RTCP_HEAD);
    return (long)size;
}

long srtcp_unseal(struct srtp *s, struct bytes in, uint8_t *to)
{
    uint32_t index = 0;
    long size;

    if (in.size < RTCP_HEAD + 4 + (s->profile == SRTP_GCM ? GCM_TAG : CM_TAG) ||
        in.size > WEBRTC_RECEIVE_BYTES_MAX)
        return PARSE_BAD;
    size = s->profile == SRTP_GCM ? gcm_unprotect(s, in, &index, to) : cm_unprotect(s, in, &index, to);
    if (size < 0)
        return size;
    memcpy(to, in.at, RTCP_HEAD);
    remember(s, index);
    return size;
}
