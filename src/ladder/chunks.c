/* ladder/chunks.c - what a stored segment is made of (ISO/IEC 14496-12 §4.2, §8.8): its chunks, and how many
 * pictures are in them. */
#include "ladder/ladder_int.h"

static const uint32_t moof = 0x6d6f6f66, traf = 0x74726166, trun = 0x7472756e;

/* Takes the next whole box off `in`: its type and what is in it. */
static bool next_box(struct bytes *in, uint32_t *type, struct bytes *content, size_t *whole)
{
    struct cursor c = cursor_of(*in);
    uint32_t size = cursor_be32(&c);

    *type = cursor_be32(&c);
    if (in->size < 8 || size < 8 || size > in->size)
        return false;
    *whole = size;
    *content = bytes_from(bytes_head(*in, size), 8);
    *in = bytes_from(*in, size);
    return true;
}

size_t chunks_find(struct bytes segment, struct extent *out, size_t room)
{
    size_t count = 0, at = 0, whole;
    struct bytes left = segment, content;
    uint32_t type;

    for (; next_box(&left, &type, &content, &whole); at += whole) {
        if (type == moof) {
            if (count == room)
                return 0;
            out[count++] = (struct extent){at, 0};
        }
        if (count > 0) /* what stands behind a moof belongs to it; what stands before the first is a header */
            out[count - 1].size = at + whole - out[count - 1].offset;
    }
    return left.size == 0 ? count : 0;
}

static uint32_t pictures_in(struct bytes boxes, unsigned depth)
{
    uint32_t type, count = 0;
    struct bytes content;
    size_t whole;

    while (next_box(&boxes, &type, &content, &whole)) {
        if (type == trun && content.size >= 8) {
            struct cursor c = cursor_of(bytes_from(content, 4)); /* behind version and flags */

            count += cursor_be32(&c);
        } else if (depth > 0 && (type == moof || type == traf)) {
            count += pictures_in(content, depth - 1);
        }
    }
    return count;
}

uint32_t pictures_count(struct bytes segment)
{
    return pictures_in(segment, 2);
}
