/* ladder/chunks.c - what a stored segment is made of (ISO/IEC 14496-12 §4.2, §8.8): its chunks, and how many
 * pictures are in them.
 *
 * Players get a segment in parts of a fraction of a second, each one movie fragment. What the map takes is longer: from a keyframe
 * to the first one that begins a fragment two seconds later or more. */
#include "ladder/ladder_int.h"

static const uint32_t moof = 0x6d6f6f66, traf = 0x74726166, trun = 0x7472756e, tfhd = 0x74666864,
                      tfdt = 0x74666474;

#define CHUNK_TICKS_MIN (2 * CMAF_VIDEO_TIMESCALE)
#define NOT_SYNC        0x00010000u

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

/* What has to be known of a fragment. */
struct fragment {
    uint64_t dts;
    uint32_t first_flags; /* of its first sample */
    bool has_run;
};

static void read_tfhd(struct bytes content, uint32_t *default_flags)
{
    static const struct {
        uint32_t flag;
        size_t size;
    } fields[] = {
        {0x1, 8}, {0x2, 4}, {0x8, 4}, {0x10, 4}}; /* what stands before the default flags (§8.8.7) */
    struct cursor c = cursor_of(content);
    uint32_t said = cursor_be32(&c);

    cursor_take(&c, 4); /* the track's id */
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (said & fields[i].flag)
            cursor_take(&c, fields[i].size);
    if (said & 0x20)
        *default_flags = cursor_be32(&c);
}

static void read_tfdt(struct bytes content, struct fragment *f)
{
    struct cursor c = cursor_of(content);

    f->dts = cursor_be32(&c) >> 24 ? cursor_be64(&c) : cursor_be32(&c);
}

/* The first sample's own flags, where the run has them (§8.8.8). */
static void read_trun(struct bytes content, struct fragment *f)
{
    struct cursor c = cursor_of(content);
    uint32_t said = cursor_be32(&c);

    cursor_take(&c, said & 0x1 ? 8 : 4); /* the number of samples, and the data's offset */
    if (said & 0x4) {
        f->first_flags = cursor_be32(&c);
    } else if (said & 0x400) {
        cursor_take(&c, (said & 0x100 ? 4u : 0) + (said & 0x200 ? 4u : 0));
        f->first_flags = cursor_be32(&c);
    }
    f->has_run = true;
}

static void read_fragment(struct bytes boxes, unsigned depth, struct fragment *f)
{
    uint32_t type;
    struct bytes content;
    size_t whole;

    while (!f->has_run && next_box(&boxes, &type, &content, &whole)) {
        if (type == tfhd)
            read_tfhd(content, &f->first_flags);
        else if (type == tfdt)
            read_tfdt(content, f);
        else if (type == trun)
            read_trun(content, f);
        else if (type == traf && depth > 0)
            read_fragment(content, depth - 1, f);
    }
}

size_t chunks_find(struct bytes segment, struct extent *out, size_t room)
{
    size_t count = 0, at = 0, whole;
    struct bytes left = segment, content;
    uint64_t begun = 0;
    uint32_t type;

    for (; next_box(&left, &type, &content, &whole); at += whole) {
        if (type == moof) {
            struct fragment f = {0};

            read_fragment(content, 1, &f);
            if (count == 0 || (!(f.first_flags & NOT_SYNC) && f.dts - begun >= CHUNK_TICKS_MIN)) {
                if (count == room)
                    return 0;
                out[count++] = (struct extent){at, 0};
                begun = f.dts;
            }
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
