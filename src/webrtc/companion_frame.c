/* webrtc/companion_frame.c - frames between the server and its companion: a head of fixed size, then the payload.
 *
 * The companion has read foreign bytes, so what it says is believed as little as a peer. Pure. */
#include "webrtc/companion_int.h"

#include "base/limits.h"

void companion_frame_write(struct builder *out, const struct companion_frame *f)
{
    builder_be32(out, (uint32_t)(COMPANION_HEAD_SIZE + f->payload.size));
    builder_u8(out, (uint8_t)f->kind);
    builder_u8(out, (uint8_t)f->codec);
    builder_u8(out, f->keyframe);
    builder_u8(out, 0);
    builder_be32(out, f->rate);
    builder_be32(out, f->height);
    builder_be64(out, (uint64_t)f->dts);
    builder_be64(out, (uint64_t)f->pts);
    builder_add(out, f->payload);
}

long companion_frame_parse(struct companion_frame *out, struct bytes in)
{
    struct cursor c = cursor_of(in);
    uint32_t size = cursor_be32(&c);
    uint8_t kind = cursor_u8(&c), codec = cursor_u8(&c);

    memset(out, 0, sizeof *out);
    out->keyframe = cursor_u8(&c) != 0;
    (void)cursor_u8(&c);
    out->rate = cursor_be32(&c);
    out->height = cursor_be32(&c);
    out->dts = (int64_t)cursor_be64(&c);
    out->pts = (int64_t)cursor_be64(&c);
    if (c.short_of)
        return PARSE_MORE;
    if (size < COMPANION_HEAD_SIZE || size > COMPANION_FRAME_MAX ||
        (kind != COMPANION_TRACK && kind != COMPANION_SAMPLE) || codec == CODEC_NONE || codec > CODEC_OPUS ||
        (kind == COMPANION_TRACK && size - COMPANION_HEAD_SIZE > CODEC_CONFIG_BYTES_MAX))
        return PARSE_BAD;
    if (in.size < size)
        return PARSE_MORE;
    out->kind = kind;
    out->codec = (enum codec)codec;
    out->payload = cursor_take(&c, size - COMPANION_HEAD_SIZE);
    return (long)size;
}
