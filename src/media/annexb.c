/* media/annexb.c - H.264 and HEVC from byte streams (start codes, annex B) into what MP4 and RTMP carry (lengths,
 * and a record of the parameter sets: ISO/IEC 14496-15 §5.3.3 and §8.3.3). For what publishes; see media.h. */
#include "media/media.h"

enum { AVC_SPS = 7, AVC_PPS = 8, HEVC_VPS = 32, HEVC_SPS = 33, HEVC_PPS = 34 };

bool annexb_is(struct bytes b)
{
    struct cursor c = cursor_of(b);
    uint32_t head = cursor_be24(&c);

    return head == 1 || (head == 0 && cursor_u8(&c) == 1);
}

/* Where the next start code (three bytes) begins at or after `from`; the size when there is none. */
static size_t find_start(struct bytes b, size_t from)
{
    for (size_t i = from; i + 3 <= b.size; i++)
        if (b.at[i] == 0 && b.at[i + 1] == 0 && b.at[i + 2] == 1)
            return i;
    return b.size;
}

/* Takes the next NAL unit behind *at; false at the end. */
static bool next_nal(struct bytes stream, size_t *at, struct bytes *nal)
{
    size_t start = find_start(stream, *at), end;

    if (start >= stream.size)
        return false;
    end = find_start(stream, start + 3);
    *at = end;
    while (end < stream.size && end > start + 3 && stream.at[end - 1] == 0)
        end--; /* the zero byte of a longer start code is none of the NAL unit */
    *nal = bytes_from(bytes_head(stream, end), start + 3);
    return true;
}

void annexb_to_lengths(struct builder *out, struct bytes stream)
{
    struct bytes nal;

    for (size_t at = 0; next_nal(stream, &at, &nal);) {
        builder_be32(out, (uint32_t)nal.size);
        builder_add(out, nal);
    }
}

static unsigned nal_type(enum codec codec, struct bytes nal)
{
    if (nal.size == 0)
        return 0;
    return codec == CODEC_H264 ? nal.at[0] & 31u : nal.at[0] >> 1 & 63u;
}

/* Appends the count (one or two bytes) and the sets of one type; returns how many there are. */
static unsigned put_sets(struct builder *out, enum codec codec, struct bytes stream, unsigned type,
                         unsigned mark)
{
    struct bytes nal;
    unsigned count = 0;

    for (size_t at = 0; next_nal(stream, &at, &nal);)
        count += nal_type(codec, nal) == type;
    if (codec == CODEC_H264)
        builder_u8(out, (uint8_t)(mark | count));
    else
        builder_be16(out, (uint16_t)count);
    for (size_t at = 0; next_nal(stream, &at, &nal);) {
        if (nal_type(codec, nal) != type)
            continue;
        builder_be16(out, (uint16_t)nal.size);
        builder_add(out, nal);
    }
    return count;
}

static struct bytes find_set(enum codec codec, struct bytes stream, unsigned type)
{
    struct bytes nal;

    for (size_t at = 0; next_nal(stream, &at, &nal);)
        if (nal_type(codec, nal) == type)
            return nal;
    return (struct bytes){0};
}

static enum err avc_record(struct builder *out, struct bytes stream)
{
    struct bytes sps = find_set(CODEC_H264, stream, AVC_SPS);

    if (sps.size < 4)
        return ERR_BAD;
    builder_u8(out, 1);
    builder_add(out, bytes_from(bytes_head(sps, 4), 1));
    builder_u8(out, 0xff); /* lengths of four bytes */
    put_sets(out, CODEC_H264, stream, AVC_SPS, 0xe0);
    return put_sets(out, CODEC_H264, stream, AVC_PPS, 0) > 0 ? ERR_OK : ERR_BAD;
}

/* Profile, tier and level stand in the SPS's first 12 bytes behind its head, without emulation prevention. */
static enum err hevc_record(struct builder *out, struct bytes stream)
{
    static const uint8_t types[] = {HEVC_VPS, HEVC_SPS, HEVC_PPS};
    struct bytes sps = find_set(CODEC_HEVC, stream, HEVC_SPS);
    uint8_t head[12];
    size_t count = 0;
    unsigned zeros = 0;

    for (size_t i = 3; i < sps.size && count < sizeof head; i++) {
        bool escape = zeros >= 2 && sps.at[i] == 3;

        zeros = sps.at[i] == 0 ? zeros + 1 : 0;
        if (!escape)
            head[count++] = sps.at[i];
    }
    if (count < sizeof head)
        return ERR_BAD;
    builder_u8(out, 1);
    builder_add(out, bytes_of(head, sizeof head));
    builder_be32(out, 0xf000fcfd); /* no segmentation, parallelism unknown, 4:2:0: the SPS says it for good */
    builder_be32(out, 0xf8f80000);
    builder_u8(out, 0x0f); /* lengths of four bytes */
    builder_u8(out, sizeof types);
    for (size_t i = 0; i < sizeof types; i++) {
        builder_u8(out, 0x80 | types[i]);
        if (put_sets(out, CODEC_HEVC, stream, types[i], 0) == 0)
            return ERR_BAD;
    }
    return ERR_OK;
}

enum err annexb_to_record(struct builder *out, enum codec codec, struct bytes stream)
{
    return codec == CODEC_H264 ? avc_record(out, stream) : hevc_record(out, stream);
}
