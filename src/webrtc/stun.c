/* webrtc/stun.c - reads connectivity checks and answers them. It knows no sessions, sockets or clocks. */
#include "webrtc/webrtc_int.h"

#include <netinet/in.h>
#include <openssl/hmac.h>
#include <zlib.h>

#define COOKIE          0x2112A442u
#define FINGERPRINT_XOR 0x5354554Eu
#define HEAD_SIZE       20

enum {
    ATTR_USERNAME = 0x0006,
    ATTR_INTEGRITY = 0x0008,
    ATTR_ERROR_CODE = 0x0009,
    ATTR_UNKNOWN = 0x000A,
    ATTR_XOR_MAPPED = 0x0020,
    ATTR_PRIORITY = 0x0024,
    ATTR_USE_CANDIDATE = 0x0025,
    ATTR_FINGERPRINT = 0x8028,
};

bool stun_looks(struct bytes in)
{
    struct cursor c = cursor_of(in);
    uint16_t type = cursor_be16(&c), size = cursor_be16(&c);

    return cursor_be32(&c) == COOKIE && !c.short_of && in.size >= HEAD_SIZE && type < 0x4000 &&
           size % 4 == 0 && (size_t)size + HEAD_SIZE == in.size;
}

/* --- reading ------------------------------------------------------------------------------------------ */

static bool fingerprint_is_right(struct bytes in, size_t at, struct bytes value)
{
    struct cursor c = cursor_of(value);
    uint32_t said = cursor_be32(&c);
    uint32_t crc = (uint32_t)crc32(0, in.at, (uInt)at);

    return value.size == 4 && at + 8 == in.size && said == (crc ^ FINGERPRINT_XOR);
}

/* One attribute at `at`. False where the message cannot be right. */
static bool take(struct stun *s, struct bytes in, size_t at, uint16_t type, struct bytes value)
{
    if (type == ATTR_FINGERPRINT) {
        s->fingerprint = fingerprint_is_right(in, at, value);
        return s->fingerprint;
    }
    if (s->integrity_at != 0) /* nobody vouches for what stands behind it */
        return true;
    switch (type) {
    case ATTR_USERNAME:
        s->username = value;
        break;
    case ATTR_INTEGRITY:
        s->integrity_at = at;
        return value.size == 20;
    case ATTR_USE_CANDIDATE:
        s->use_candidate = true;
        break;
    case ATTR_PRIORITY:
        return value.size == 4;
    default:
        if (type < 0x8000 && s->unknown == 0)
            s->unknown = type;
    }
    return true;
}

enum err stun_parse(struct stun *out, struct bytes in)
{
    struct cursor c = cursor_of(in);

    memset(out, 0, sizeof *out);
    if (!stun_looks(in))
        return ERR_BAD;
    out->type = cursor_be16(&c);
    (void)cursor_take(&c, 6);
    memcpy(out->transaction, cursor_take(&c, sizeof out->transaction).at, sizeof out->transaction);
    for (int i = 0; c.left.size > 0; i++) {
        size_t at = in.size - c.left.size;
        uint16_t type = cursor_be16(&c), size = cursor_be16(&c);
        struct bytes value = cursor_take(&c, size);

        (void)cursor_take(&c, -size & 3u);
        if (c.short_of || i == STUN_ATTRIBUTES_MAX || out->fingerprint || !take(out, in, at, type, value))
            return ERR_BAD;
    }
    return ERR_OK;
}

/* HMAC-SHA1 over the first `size` bytes as if the message ended behind MESSAGE-INTEGRITY (RFC 8489 §14.5). */
static void integrity_of(uint8_t mac[20], struct bytes in, size_t size, struct bytes password)
{
    uint8_t text[STUN_ANSWER_SIZE > WEBRTC_RECEIVE_BYTES_MAX ? STUN_ANSWER_SIZE : WEBRTC_RECEIVE_BYTES_MAX];
    unsigned mac_size = 20;

    memcpy(text, in.at, size);
    put_be16(text + 2, (uint16_t)(size + 24 - HEAD_SIZE));
    HMAC(EVP_sha1(), password.at, (int)password.size, text, size, mac, &mac_size);
}

bool stun_authentic(const struct stun *s, struct bytes in, struct bytes password)
{
    uint8_t mac[20];

    if (s->integrity_at == 0 || in.size > WEBRTC_RECEIVE_BYTES_MAX)
        return false;
    integrity_of(mac, in, s->integrity_at, password);
    return bytes_equal_secret(bytes_of(mac, sizeof mac), bytes_of(in.at + s->integrity_at + 4, sizeof mac));
}

/* --- answering ---------------------------------------------------------------------------------------- */

static size_t begin(uint8_t *to, uint16_t type, const struct stun *request)
{
    put_be16(to, type);
    put_be32(to + 4, COOKIE);
    memcpy(to + 8, request->transaction, sizeof request->transaction);
    return HEAD_SIZE;
}

static size_t end(uint8_t *to, size_t size, struct bytes password)
{
    put_be16(to + size, ATTR_INTEGRITY);
    put_be16(to + size + 2, 20);
    integrity_of(to + size + 4, bytes_of(to, size), size, password);
    size += 24;
    put_be16(to + 2, (uint16_t)(size + 8 - HEAD_SIZE));
    put_be16(to + size, ATTR_FINGERPRINT);
    put_be16(to + size + 2, 4);
    put_be32(to + size + 4, (uint32_t)crc32(0, to, (uInt)size) ^ FINGERPRINT_XOR);
    return size + 8;
}

/* The address within a sockaddr, an IPv4 one also where it stands in an IPv6 one. */
static struct bytes host_of(const struct address *a, uint16_t *port)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->socket;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->socket;

    if (a->socket.ss_family == AF_INET) {
        *port = ntohs(v4->sin_port);
        return bytes_of(&v4->sin_addr, 4);
    }
    *port = ntohs(v6->sin6_port);
    return IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) ? bytes_of(v6->sin6_addr.s6_addr + 12, 4)
                                                : bytes_of(v6->sin6_addr.s6_addr, 16);
}

size_t stun_success(uint8_t to[STUN_ANSWER_SIZE], const struct stun *request, const struct address *from,
                    struct bytes password)
{
    size_t size = begin(to, STUN_BINDING_SUCCESS, request);
    uint16_t port;
    struct bytes host = host_of(from, &port);

    put_be16(to + size, ATTR_XOR_MAPPED);
    put_be16(to + size + 2, (uint16_t)(4 + host.size));
    put_be16(to + size + 4, host.size == 4 ? 1 : 2);
    put_be16(to + size + 6, port ^ (uint16_t)(COOKIE >> 16));
    for (size_t i = 0; i < host.size; i++) /* the cookie and the transaction, as they stand in the head */
        to[size + 8 + i] = host.at[i] ^ to[4 + i];
    return end(to, size + 8 + host.size, password);
}

size_t stun_request(uint8_t to[STUN_ANSWER_SIZE], const uint8_t transaction[12], struct bytes username,
                    struct bytes password)
{
    struct stun s;
    size_t size, padded = (username.size + 3) & ~(size_t)3;

    memset(to, 0, STUN_ANSWER_SIZE);
    memcpy(s.transaction, transaction, sizeof s.transaction);
    size = begin(to, STUN_BINDING_REQUEST, &s);
    if (padded > STUN_ANSWER_SIZE - 80) /* what else stands in it takes 72 bytes */
        return 0;
    put_be16(to + size, ATTR_USERNAME);
    put_be16(to + size + 2, (uint16_t)username.size);
    memcpy(to + size + 4, username.at, username.size);
    size += 4 + padded;
    put_be32(to + size, (uint32_t)ATTR_PRIORITY << 16 | 4);
    put_be32(to + size + 4, 0x6E0001FF);
    put_be32(to + size + 8, (uint32_t)ATTR_USE_CANDIDATE << 16);
    return end(to, size + 12, password);
}

size_t stun_unknown(uint8_t to[STUN_ANSWER_SIZE], const struct stun *request, struct bytes password)
{
    size_t size = begin(to, STUN_BINDING_ERROR, request);

    put_be32(to + size, (uint32_t)ATTR_ERROR_CODE << 16 | 4);
    put_be32(to + size + 4, 4 << 8 | 20);
    put_be32(to + size + 8, (uint32_t)ATTR_UNKNOWN << 16 | 2);
    put_be32(to + size + 12, (uint32_t)request->unknown << 16);
    return end(to, size + 16, password);
}
