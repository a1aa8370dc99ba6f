/* ladder/recording_frame.c - what the child that reads a recording says: frames of a fixed head and a payload.
 *
 *     kind (1) track (1) codec or error (1) keyframe (1) dts (8) pts (8) size (4) payload */
#include "ladder/recording_int.h"

#include "base/limits.h"

#define HEAD_BYTES    24
#define WHY_BYTES_MAX 255u

void recording_frame_write(struct builder *out, const struct recording_frame *f)
{
    const struct recorded *r = &f->recorded;
    struct bytes payload = f->kind == FRAME_REFUSED ? f->why : r->payload;

    builder_u8(out, (uint8_t)f->kind);
    builder_u8(out, (uint8_t)r->track);
    builder_u8(out, f->kind == FRAME_REFUSED ? (uint8_t)f->e : (uint8_t)r->codec);
    builder_u8(out, r->keyframe);
    builder_be64(out, (uint64_t)r->dts);
    builder_be64(out, (uint64_t)r->pts);
    builder_be32(out, (uint32_t)payload.size);
    builder_add(out, payload);
}

static size_t payload_max(unsigned kind)
{
    return kind == FRAME_TRACK     ? CODEC_CONFIG_BYTES_MAX
           : kind == FRAME_SAMPLE  ? RTMP_MESSAGE_BYTES_MAX
           : kind == FRAME_REFUSED ? WHY_BYTES_MAX
                                   : 0;
}

static bool is_printable(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.at[i] < ' ' || text.at[i] > '~')
            return false;
    return true;
}

static bool is_possible(unsigned kind, unsigned track, unsigned code, unsigned keyframe)
{
    if (kind < FRAME_TRACK || kind > FRAME_END || track >= TRACK_COUNT || keyframe > 1)
        return false;
    if (kind == FRAME_REFUSED)
        return code == ERR_BAD || code == ERR_UNSUPPORTED || code == ERR_LIMIT;
    return code <= CODEC_OPUS;
}

long recording_frame_parse(struct recording_frame *out, struct bytes in)
{
    struct cursor c = cursor_of(in);
    unsigned kind = cursor_u8(&c), track = cursor_u8(&c), code = cursor_u8(&c), keyframe = cursor_u8(&c);
    int64_t dts = (int64_t)cursor_be64(&c), pts = (int64_t)cursor_be64(&c);
    size_t size = cursor_be32(&c);

    *out = (struct recording_frame){.kind = FRAME_END};
    if (c.short_of)
        return PARSE_MORE;
    if (!is_possible(kind, track, code, keyframe) || size > payload_max(kind))
        return PARSE_BAD;
    struct bytes payload = cursor_take(&c, size);

    if (c.short_of)
        return PARSE_MORE;
    if (kind == FRAME_REFUSED && !is_printable(payload))
        return PARSE_BAD;
    out->kind = kind;
    if (kind == FRAME_REFUSED) {
        out->e = (enum err)code;
        out->why = payload;
    } else {
        out->recorded = (struct recorded){.kind = kind == FRAME_TRACK ? RECORDED_TRACK : RECORDED_SAMPLE,
                                          .track = (enum track)track,
                                          .codec = (enum codec)code,
                                          .keyframe = keyframe == 1,
                                          .dts = dts,
                                          .pts = pts,
                                          .payload = payload};
    }
    return (long)(HEAD_BYTES + size);
}
