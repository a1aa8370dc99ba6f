/* base/bytes.c - see bytes.h. */
#include "base/bytes.h"

#include <assert.h>
#include <strings.h>

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.at, b.at, a.size) == 0);
}

bool bytes_is(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_text(text));
}

bool bytes_is_nocase(struct bytes a, const char *text)
{
    return a.size == strlen(text) && (a.size == 0 || strncasecmp((const char *)a.at, text, a.size) == 0);
}

bool bytes_starts(struct bytes a, const char *prefix)
{
    size_t size = strlen(prefix);

    return a.size >= size && (size == 0 || memcmp(a.at, prefix, size) == 0);
}

long bytes_find(struct bytes b, uint8_t needle)
{
    const uint8_t *hit = b.size ? memchr(b.at, needle, b.size) : NULL;

    return hit ? (long)(hit - b.at) : -1;
}

bool bytes_equal_secret(struct bytes a, struct bytes b)
{
    unsigned difference = a.size != b.size;

    for (size_t i = 0; i < a.size && i < b.size; i++)
        difference |= (unsigned)(a.at[i] ^ b.at[i]);
    return difference == 0;
}

bool bytes_to_u64(struct bytes b, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    *out = 0;
    if (b.size == 0)
        return false;
    for (size_t i = 0; i < b.size; i++) {
        unsigned digit = (unsigned)b.at[i] - '0';

        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (value > max)
        return false;
    *out = value;
    return true;
}

struct bytes cursor_take(struct cursor *c, size_t size)
{
    struct bytes taken = {c->left.at, size};

    if (size > c->left.size) {
        c->short_of = true;
        c->left = bytes_of(NULL, 0);
        return c->left;
    }
    c->left = bytes_from(c->left, size);
    return taken;
}

static uint64_t take_be(struct cursor *c, size_t size)
{
    struct bytes b = cursor_take(c, size);
    uint64_t v = 0;

    for (size_t i = 0; i < b.size; i++)
        v = v << 8 | b.at[i];
    return v;
}

uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)take_be(c, 1);
}

uint16_t cursor_be16(struct cursor *c)
{
    return (uint16_t)take_be(c, 2);
}

uint32_t cursor_be24(struct cursor *c)
{
    return (uint32_t)take_be(c, 3);
}

uint32_t cursor_be32(struct cursor *c)
{
    return (uint32_t)take_be(c, 4);
}

uint64_t cursor_be64(struct cursor *c)
{
    return take_be(c, 8);
}

uint32_t cursor_le32(struct cursor *c)
{
    return __builtin_bswap32((uint32_t)take_be(c, 4));
}

uint32_t bits_take(struct bits *b, unsigned count)
{
    uint32_t v = 0;

    assert(count <= 32);
    if (b->short_of || b->in.size * 8 - b->at < count) {
        b->short_of = true;
        return 0;
    }
    for (unsigned i = 0; i < count; i++, b->at++)
        v = v << 1 | (uint32_t)(b->in.at[b->at >> 3] >> (7 - (b->at & 7)) & 1);
    return v;
}

void bits_skip(struct bits *b, size_t count)
{
    if (b->short_of || b->in.size * 8 - b->at < count)
        b->short_of = true;
    else
        b->at += count;
}

uint32_t bits_ue(struct bits *b)
{
    unsigned zeros = 0;

    while (bits_take(b, 1) == 0) {
        if (b->short_of || ++zeros > 31) {
            b->short_of = true;
            return 0;
        }
    }
    return (uint32_t)((1UL << zeros) - 1 + bits_take(b, zeros));
}

int32_t bits_se(struct bits *b)
{
    uint32_t v = bits_ue(b);

    return v & 1 ? (int32_t)(v / 2 + 1) : -(int32_t)(v / 2);
}
