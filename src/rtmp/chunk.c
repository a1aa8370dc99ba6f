/* rtmp/chunk.c - chunk headers, both ways; see chunk_int.h. Putting messages together is chunk_reader.c. */
#include "rtmp/chunk_int.h"

#include <assert.h>

#define TIME_EXTENDED 0xFFFFFFu

bool message_type_is_media(uint8_t type)
{
    return type == TYPE_AUDIO || type == TYPE_VIDEO || type == TYPE_DATA || type == TYPE_DATA_AMF3 ||
           type == TYPE_AGGREGATE;
}

/* §5.3.1.1: six bits; 0 and 1 there mean that one or two bytes more carry the id, less 64. */
static uint32_t read_stream(struct cursor *c, uint8_t first)
{
    uint32_t id = first & 63;

    if (id == 0)
        return 64u + cursor_u8(c);
    if (id == 1) {
        uint32_t low = cursor_u8(c);

        return 64u + low + 256u * cursor_u8(c);
    }
    return id;
}

long chunk_header_parse(struct chunk_header *out, struct bytes in, const char **why)
{
    struct cursor c = cursor_of(in);
    uint8_t first = cursor_u8(&c);

    *why = NULL; /* every header is one; what it means may be refused later */
    *out = (struct chunk_header){.format = first >> 6};
    out->stream = read_stream(&c, first);
    if (out->format <= 2)
        out->time = cursor_be24(&c);
    if (out->format <= 1) {
        out->size = cursor_be24(&c);
        out->type = cursor_u8(&c);
    }
    if (out->format == 0)
        out->message_stream = cursor_le32(&c);
    if (out->format <= 2 && out->time == TIME_EXTENDED) {
        out->extended = true;
        out->time = cursor_be32(&c);
    }
    if (c.short_of) {
        *out = (struct chunk_header){0};
        return PARSE_MORE;
    }
    return (long)(in.size - c.left.size);
}

void chunk_write(struct builder *b, const struct chunk_outgoing *m, uint32_t chunk_size)
{
    bool extended = m->timestamp >= TIME_EXTENDED;
    struct bytes left = m->body;

    assert(m->stream >= 2 && m->stream <= 63 && chunk_size > 0 && left.size <= 0xFFFFFF);
    builder_u8(b, (uint8_t)((m->is_delta ? 1u << 6 : 0u) | m->stream));
    builder_be24(b, extended ? TIME_EXTENDED : m->timestamp);
    builder_be24(b, (uint32_t)left.size);
    builder_u8(b, m->type);
    if (!m->is_delta)
        builder_be32(b, __builtin_bswap32(m->message_stream));
    for (;;) {
        if (extended)
            builder_be32(b, m->timestamp); /* on every chunk of the message, §5.3.1.3 */
        builder_add(b, bytes_head(left, chunk_size));
        left = bytes_from(left, chunk_size);
        if (left.size == 0)
            return;
        builder_u8(b, (uint8_t)(3u << 6 | m->stream));
    }
}
