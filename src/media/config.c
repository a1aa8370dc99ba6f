/* media/config.c - codec_config_parse(): sends a decoder configuration to its codec's reader.
 *
 * Called once per sequence header a publisher sends, before anything else looks at it. Beside the dispatch
 * only what two or more readers share lives here. */
#include "media/media_int.h"

#include "base/limits.h"

#include <assert.h>

const char *codec_name(enum codec c)
{
    static const char *const names[] = {
        [CODEC_NONE] = "none", [CODEC_H264] = "H.264", [CODEC_HEVC] = "H.265 (HEVC)",
        [CODEC_AV1] = "AV1",   [CODEC_AAC] = "AAC",    [CODEC_OPUS] = "Opus",
    };

    assert(c <= CODEC_OPUS);
    return names[c];
}

enum err codec_config_parse(struct codec_config *out, enum codec codec, struct bytes record, const char **why)
{
    enum err e = ERR_UNSUPPORTED;

    *out = (struct codec_config){.codec = codec};
    *why = "no decoder configuration is known for this codec";
    if (record.size > CODEC_CONFIG_BYTES_MAX) {
        *why = "the decoder configuration is larger than 64 KB";
        e = ERR_LIMIT;
    } else if (codec == CODEC_H264) {
        e = avcc_parse(out, record, why);
    } else if (codec == CODEC_HEVC) {
        e = hvcc_parse(out, record, why);
    } else if (codec == CODEC_AV1) {
        e = av1c_parse(out, record, why);
    } else if (codec == CODEC_AAC) {
        e = aac_config_parse(out, record, why);
    } else if (codec == CODEC_OPUS) {
        e = opus_head_parse(out, record, why);
    }
    if (e != ERR_OK)
        *out = (struct codec_config){0};
    else
        *why = NULL;
    return e;
}

size_t nal_unescape(struct bytes nal, uint8_t *to, size_t room)
{
    size_t written = 0;
    unsigned zeros = 0;

    for (size_t i = 0; i < nal.size && written < room; i++) {
        if (zeros >= 2 && nal.at[i] == 3) {
            zeros = 0;
            continue;
        }
        zeros = nal.at[i] == 0 ? zeros + 1 : 0;
        to[written++] = nal.at[i];
    }
    return written;
}

enum err picture_size(struct codec_config *out, uint64_t width, uint64_t height, const struct crop *c,
                      const char **why)
{
    uint64_t cut_x = (c->left + c->right) * c->unit_x;
    uint64_t cut_y = (c->top + c->bottom) * c->unit_y;

    if (width > PICTURE_SIDE_MAX || height > PICTURE_SIDE_MAX) {
        *why = "the picture is larger than 16384 samples on a side";
        return ERR_LIMIT;
    }
    if (cut_x >= width || cut_y >= height) {
        *why = "the picture has no size, or is cropped to nothing";
        return ERR_BAD;
    }
    out->width = (uint32_t)(width - cut_x);
    out->height = (uint32_t)(height - cut_y);
    return ERR_OK;
}
