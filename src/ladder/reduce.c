/* ladder/reduce.c - a segment is its chunks laid end to end. */
#include "ladder/ladder_int.h"

#include "base/mem.h"

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
