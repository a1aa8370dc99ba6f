/* media/flv_write.c - writes FLV tag bodies: the counterpart of flv.c, for what publishes. */
#include "media/media.h"

#include <assert.h>

static void write_legacy(struct builder *out, const struct flv_tag *tag)
{
    static const uint8_t packets[] = {[FLV_CONFIG] = 0, [FLV_SAMPLE] = 1, [FLV_END] = 2};

    if (tag->codec == CODEC_AAC) {
        assert(tag->kind != FLV_END); /* legacy audio has no such thing */
        builder_u8(out, 0xaf);        /* AAC; rate, size and channels always read so */
        builder_u8(out, packets[tag->kind]);
        return;
    }
    builder_u8(out, tag->keyframe || tag->kind != FLV_SAMPLE ? 0x17 : 0x27);
    builder_u8(out, packets[tag->kind]);
    builder_be24(out, tag->kind == FLV_SAMPLE ? (uint32_t)tag->composition_ms & 0xffffff : 0);
}

static void write_enhanced(struct builder *out, const struct flv_tag *tag)
{
    enum { SEQUENCE_START, CODED_FRAMES, SEQUENCE_END, CODED_FRAMES_X };
    static const char *const fourccs[] = {[CODEC_HEVC] = "hvc1", [CODEC_AV1] = "av01", [CODEC_OPUS] = "Opus"};
    unsigned packet = tag->kind == FLV_CONFIG ? SEQUENCE_START
                      : tag->kind == FLV_END  ? SEQUENCE_END
                                              : CODED_FRAMES;

    if (tag->codec == CODEC_HEVC && packet == CODED_FRAMES && tag->composition_ms == 0)
        packet = CODED_FRAMES_X;
    if (tag->track == TRACK_AUDIO)
        builder_u8(out, (uint8_t)(9u << 4 | packet));
    else
        builder_u8(out, (uint8_t)(128u | (tag->keyframe || tag->kind != FLV_SAMPLE ? 1u : 2u) << 4 | packet));
    builder_text(out, fourccs[tag->codec]);
    if (tag->codec == CODEC_HEVC && packet == CODED_FRAMES)
        builder_be24(out, (uint32_t)tag->composition_ms & 0xffffff);
}

void flv_write(struct builder *out, const struct flv_tag *tag)
{
    assert(tag->kind <= FLV_END && tag->codec != CODEC_NONE);
    if (tag->codec == CODEC_H264 || tag->codec == CODEC_AAC)
        write_legacy(out, tag);
    else
        write_enhanced(out, tag);
    builder_add(out, tag->payload);
}
