/* base/bytes.h - (pointer, length) as a type, and cursors that read it without ever passing its end.
 *
 * Parsers of outside bytes are built from these. A cursor that is asked for more than is left gives zeros
 * and remembers that it was short, so a parser may read a whole structure and ask once. */
#ifndef MATINEE_BASE_BYTES_H
#define MATINEE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *at;
    size_t size;
};

/* What a parser returns beside the number of bytes it took. */
#define PARSE_MORE (-1L) /* the input ends too early; nothing was taken */
#define PARSE_BAD  (-2L) /* no continuation could make it valid */

static inline struct bytes bytes_of(const void *at, size_t size)
{
    return (struct bytes){at, size};
}

static inline struct bytes bytes_text(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

/* The bytes from `from` on; empty where `from` lies past the end. */
static inline struct bytes bytes_from(struct bytes b, size_t from)
{
    return from < b.size ? (struct bytes){b.at + from, b.size - from} : (struct bytes){NULL, 0};
}

/* At most the first `size` bytes. */
static inline struct bytes bytes_head(struct bytes b, size_t size)
{
    return (struct bytes){b.at, size < b.size ? size : b.size};
}

bool bytes_equal(struct bytes a, struct bytes b);
bool bytes_is(struct bytes a, const char *text);        /* the same bytes as the C string */
bool bytes_is_nocase(struct bytes a, const char *text); /* ASCII letters compared without case */
bool bytes_starts(struct bytes a, const char *prefix);

/* The index of the first `needle` in `b`, or -1. */
long bytes_find(struct bytes b, uint8_t needle);

/* Compares in a time that depends on the lengths only: for keys and tokens. */
bool bytes_equal_secret(struct bytes a, struct bytes b);

/* Reads a whole decimal number without sign or space. False when it is none or above `max`. */
bool bytes_to_u64(struct bytes b, uint64_t max, uint64_t *out);

/* A reader of big-endian (be) and little-endian (le) numbers. */
struct cursor {
    struct bytes left;
    bool short_of; /* something was asked for that was not there */
};

static inline struct cursor cursor_of(struct bytes b)
{
    return (struct cursor){b, false};
}

uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_be16(struct cursor *c);
uint32_t cursor_be24(struct cursor *c);
uint32_t cursor_be32(struct cursor *c);
uint64_t cursor_be64(struct cursor *c);
uint32_t cursor_le32(struct cursor *c);
struct bytes cursor_take(struct cursor *c, size_t size); /* empty when short */

/* A reader of single bits, most significant first, for bitstream headers. */
struct bits {
    struct bytes in;
    size_t at; /* in bits */
    bool short_of;
};

static inline struct bits bits_of(struct bytes b)
{
    return (struct bits){b, 0, false};
}

uint32_t bits_take(struct bits *b, unsigned count); /* count 0..32 */
void bits_skip(struct bits *b, size_t count);
uint32_t bits_ue(struct bits *b); /* Exp-Golomb, H.264 §9.1; short_of when longer than 32 bits */
int32_t bits_se(struct bits *b);

/* Big-endian numbers into memory that has the room. */
static inline void put_be16(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

static inline void put_be24(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 16);
    at[1] = (uint8_t)(v >> 8);
    at[2] = (uint8_t)v;
}

static inline void put_be32(uint8_t *at, uint32_t v)
{
    put_be16(at, (uint16_t)(v >> 16));
    put_be16(at + 2, (uint16_t)v);
}

static inline void put_be64(uint8_t *at, uint64_t v)
{
    put_be32(at, (uint32_t)(v >> 32));
    put_be32(at + 4, (uint32_t)v);
}

#endif
