/* base/buffer.c - see buffer.h. */
#include "base/buffer.h"

#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct buffer *buffer_new(size_t capacity)
{
    struct buffer *b = mem_resize(NULL, sizeof *b + capacity);

    atomic_init(&b->references, 1);
    b->size = 0;
    b->capacity = capacity;
    return b;
}

struct buffer *buffer_copy(struct bytes content)
{
    struct buffer *b = buffer_new(content.size);

    if (content.size > 0)
        memcpy(b->data, content.at, content.size);
    b->size = content.size;
    return b;
}

struct buffer *buffer_ref(struct buffer *b)
{
    unsigned before = atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);

    assert(before > 0);
    return b;
}

void buffer_unref(struct buffer *b)
{
    if (b == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel);

    assert(before > 0);
    if (before == 1)
        free(b);
}

uint8_t *builder_room(struct builder *b, size_t size)
{
    size_t used = b->buffer ? b->buffer->size : 0;
    size_t capacity = b->buffer ? b->buffer->capacity : 0;

    if (b->buffer == NULL || capacity - used < size) {
        capacity = capacity * 2 > used + size ? capacity * 2 : used + size;
        if (capacity < 64)
            capacity = 64;
        if (b->buffer == NULL) {
            b->buffer = buffer_new(capacity);
        } else {
            b->buffer = mem_resize(b->buffer, sizeof *b->buffer + capacity);
            b->buffer->capacity = capacity;
        }
    }
    b->buffer->size = used + size;
    return b->buffer->data + used;
}

void builder_add(struct builder *b, struct bytes content)
{
    if (content.size > 0)
        memcpy(builder_room(b, content.size), content.at, content.size);
}

void builder_text(struct builder *b, const char *text)
{
    builder_add(b, bytes_text(text));
}

void builder_u8(struct builder *b, uint8_t v)
{
    *builder_room(b, 1) = v;
}

void builder_be16(struct builder *b, uint16_t v)
{
    put_be16(builder_room(b, 2), v);
}

void builder_be24(struct builder *b, uint32_t v)
{
    put_be24(builder_room(b, 3), v);
}

void builder_be32(struct builder *b, uint32_t v)
{
    put_be32(builder_room(b, 4), v);
}

void builder_be64(struct builder *b, uint64_t v)
{
    put_be64(builder_room(b, 8), v);
}

void builder_printf(struct builder *b, const char *format, ...)
{
    va_list args, again;

    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);

    assert(size >= 0);
    uint8_t *at = builder_room(b, (size_t)size + 1); /* vsnprintf wants room for its NUL */

    vsnprintf((char *)at, (size_t)size + 1, format, again);
    b->buffer->size--;
    va_end(again);
    va_end(args);
}

struct bytes builder_bytes(const struct builder *b)
{
    return b->buffer ? buffer_bytes(b->buffer) : bytes_of(NULL, 0);
}

struct buffer *builder_finish(struct builder *b)
{
    struct buffer *built = b->buffer ? b->buffer : buffer_new(0);

    b->buffer = NULL;
    return built;
}

void builder_drop(struct builder *b)
{
    buffer_unref(b->buffer);
    b->buffer = NULL;
}
