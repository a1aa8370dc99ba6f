/* ladder/reduce.c - a segment is its chunks laid end to end. */
#include "ladder/ladder_int.h"

#include "base/mem.h"

static uint32_t box_type(const char name[4])
{
    return (uint32_t)(uint8_t)name[0] << 24 | (uint32_t)(uint8_t)name[1] << 16 |
           (uint32_t)(uint8_t)name[2] << 8 | (uint8_t)name[3];
}

size_t chunks_find(struct bytes segment, struct extent *out, size_t room)
{
    size_t count = 0, at = 0;

    while (segment.size - at >= 8) {
        struct cursor c = cursor_of(bytes_from(segment, at));
        uint32_t size = cursor_be32(&c), type = cursor_be32(&c);

        if (size < 8 || size > segment.size - at)
            return 0;
        if (type == box_type("moof")) {
            if (count == room)
                return 0;
            out[count++] = (struct extent){at, 0};
        }
        if (count >
            0) /* whatever stands behind a moof belongs to it; what stands before the first is a header */
            out[count - 1].size = at + size - out[count - 1].offset;
        at += size;
    }
    return at == segment.size ? count : 0;
}

static enum err append(struct store *store, const struct piece *p, struct builder *whole)
{
    char name[SEGMENT_NAME_SIZE];
    struct buffer *chunk;
    enum err e = store_get(store, piece_object(p, name), &chunk);

    if (e != ERR_OK)
        return e;
    if (buffer_bytes(chunk).size != p->bytes)
        e = ERR_BAD; /* not what its worker has told of */
    else
        builder_add(whole, buffer_bytes(chunk));
    buffer_unref(chunk);
    return e;
}

enum err reduce_segment(struct store *store, const struct piece *pieces, size_t count, const char *name,
                        uint32_t *bytes)
{
    struct builder whole = {0};
    enum err e = ERR_OK;

    for (size_t i = 0; i < count && e == ERR_OK; i++)
        e = append(store, &pieces[i], &whole);
    if (e == ERR_OK)
        e = store_put(store, name, builder_bytes(&whole));
    *bytes = (uint32_t)builder_bytes(&whole).size;
    builder_drop(&whole);
    return e;
}

void reduce_sweep(struct store *store, const struct piece *pieces, size_t count)
{
    char name[SEGMENT_NAME_SIZE];

    for (size_t i = 0; i < count; i++)
        if (store_delete(store, piece_object(&pieces[i], name)) != ERR_OK)
            break; /* they lie there until the video is deleted, and harm nobody */
}
