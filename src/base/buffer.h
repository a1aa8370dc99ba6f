/* base/buffer.h - shared immutable bytes, and the builder that makes them.
 *
 * A buffer is written by whoever made it and read-only from the moment it is shared. References may be
 * taken and dropped on any thread; nothing else in matinee is refcounted. */
#ifndef MATINEE_BASE_BUFFER_H
#define MATINEE_BASE_BUFFER_H

#include "base/bytes.h"
#include "base/err.h"

#include <stdatomic.h>

struct buffer {
    atomic_uint references;
    size_t size;     /* bytes that count */
    size_t capacity; /* bytes that are there */
    uint8_t data[];
};

/* A buffer of size 0 with room for `capacity` bytes, with one reference, the caller's. */
struct buffer *buffer_new(size_t capacity);
struct buffer *buffer_copy(struct bytes content);

/* Takes another reference and returns the same buffer. */
struct buffer *buffer_ref(struct buffer *b);

/* Drops one reference; the last one frees. Accepts NULL. */
void buffer_unref(struct buffer *b);

static inline struct bytes buffer_bytes(const struct buffer *b)
{
    return (struct bytes){b->data, b->size};
}

/* A growing buffer that belongs to one function or object. Zero-initialised is empty and valid. */
struct builder {
    struct buffer *buffer; /* NULL while empty */
};

/* A place of `size` bytes at the end, already counted; valid until the next call on this builder. */
uint8_t *builder_room(struct builder *b, size_t size);
void builder_add(struct builder *b, struct bytes content);
void builder_text(struct builder *b, const char *text);
void builder_u8(struct builder *b, uint8_t v);
void builder_be16(struct builder *b, uint16_t v);
void builder_be24(struct builder *b, uint32_t v);
void builder_be32(struct builder *b, uint32_t v);
void builder_be64(struct builder *b, uint64_t v);
void builder_printf(struct builder *b, const char *format, ...) printf_like(2, 3);
struct bytes builder_bytes(const struct builder *b);

/* Hands over what was built (an empty buffer if nothing was) and leaves the builder empty. */
struct buffer *builder_finish(struct builder *b);

/* Throws away what was built. */
void builder_drop(struct builder *b);

#endif
