/* media/h264.c - reads an AVCDecoderConfigurationRecord (avcC, ISO/IEC 14496-15 §5.3.3.1) and, in it, the
 * sequence parameter set (H.264 §7.3.2.1.1) as far as the picture's size.
 *
 * It does not decode: VUI, PPS and everything after the cropping window are left alone. */
#include "media/media_int.h"

#include <stdio.h>

/* Profiles whose SPS carries chroma format, bit depths and scaling lists (§7.3.2.1.1). */
static bool profile_is_high(uint32_t profile)
{
    static const uint8_t high[] = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};

    for (size_t i = 0; i < sizeof high; i++)
        if (high[i] == profile)
            return true;
    return false;
}

/* §7.3.2.1.1.1: a list ends early when a delta makes the next scale zero. */
static void skip_scaling_list(struct bits *b, int size)
{
    int last = 8, next = 8;

    for (int i = 0; i < size && next != 0 && !b->short_of; i++) {
        next = (last + (int)(bits_se(b) % 256) + 256) % 256;
        last = next == 0 ? last : next;
    }
}

/* Returns ChromaArrayType, or 4 when the fields are out of their range. */
static uint32_t read_chroma(struct bits *b)
{
    uint32_t format = bits_ue(b);
    uint32_t array_type = format;

    if (format > 3)
        return 4;
    if (format == 3 && bits_take(b, 1))
        array_type = 0; /* separate_colour_plane_flag */
    uint32_t luma_depth = bits_ue(b), chroma_depth = bits_ue(b);

    if (luma_depth > 6 || chroma_depth > 6)
        return 4;
    bits_skip(b, 1);
    if (bits_take(b, 1)) {
        for (int i = 0; i < (format != 3 ? 8 : 12); i++)
            if (bits_take(b, 1))
                skip_scaling_list(b, i < 6 ? 16 : 64);
    }
    return array_type;
}

/* Picture order count fields; false when out of their range. */
static bool skip_picture_order(struct bits *b)
{
    uint32_t type = bits_ue(b);

    if (type == 0)
        return bits_ue(b) <= 12;
    if (type == 1) {
        bits_skip(b, 1);
        bits_se(b);
        bits_se(b);
        uint32_t cycle = bits_ue(b);

        if (cycle > 255)
            return false;
        for (uint32_t i = 0; i < cycle; i++)
            bits_se(b);
        return true;
    }
    return type == 2;
}

static enum err read_size(struct codec_config *out, struct bits *b, uint32_t chroma, const char **why)
{
    uint64_t width = ((uint64_t)bits_ue(b) + 1) * 16;
    uint64_t height = ((uint64_t)bits_ue(b) + 1) * 16;
    uint32_t frames_only = bits_take(b, 1);
    struct crop crop = {.unit_x = chroma == 1 || chroma == 2 ? 2 : 1,
                        .unit_y = (chroma == 1 ? 2 : 1) * (2 - frames_only)};

    height *= 2 - frames_only;
    bits_skip(b, frames_only ? 1 : 2);
    if (bits_take(b, 1)) {
        crop.left = bits_ue(b);
        crop.right = bits_ue(b);
        crop.top = bits_ue(b);
        crop.bottom = bits_ue(b);
    }
    if (b->short_of) {
        *why = "the H.264 SPS is cut short";
        return ERR_BAD;
    }
    return picture_size(out, width, height, &crop, why);
}

static enum err sps_parse(struct codec_config *out, struct bytes nal, const char **why)
{
    uint8_t head[SPS_HEAD_BYTES_MAX];
    struct bits b = bits_of(bytes_of(head, nal_unescape(nal, head, sizeof head)));
    uint32_t chroma = 1;

    *why = "the H.264 SPS has fields out of their range";
    bits_skip(&b, 3);
    if (bits_take(&b, 5) != 7) {
        *why = "what should be an H.264 SPS is another NAL unit";
        return ERR_BAD;
    }
    uint32_t profile = bits_take(&b, 8);

    bits_skip(&b, 16);
    if (bits_ue(&b) > 31)
        return ERR_BAD;
    if (profile_is_high(profile))
        chroma = read_chroma(&b);
    if (chroma > 3 || bits_ue(&b) > 12 || !skip_picture_order(&b) || bits_ue(&b) > 16)
        return ERR_BAD;
    bits_skip(&b, 1);
    return read_size(out, &b, chroma, why);
}

/* Steps over `count` parameter sets and hands out the first. */
static struct bytes take_sets(struct cursor *c, unsigned count)
{
    struct bytes first = {0};

    for (unsigned i = 0; i < count && !c->short_of; i++) {
        struct bytes set = cursor_take(c, cursor_be16(c));

        if (i == 0)
            first = set;
    }
    return first;
}

enum err avcc_parse(struct codec_config *out, struct bytes record, const char **why)
{
    struct cursor c = cursor_of(record);
    uint8_t version = cursor_u8(&c);
    uint8_t profile = cursor_u8(&c), compatibility = cursor_u8(&c), level = cursor_u8(&c);
    uint8_t length_size = (cursor_u8(&c) & 3) + 1;
    unsigned sps_count = cursor_u8(&c) & 31;
    struct bytes sps = take_sets(&c, sps_count);

    (void)take_sets(&c, cursor_u8(&c));
    if (c.short_of)
        *why = "the H.264 configuration (avcC) is cut short";
    else if (version != 1)
        *why = "the H.264 configuration (avcC) is not of version 1";
    else if (length_size == 3)
        *why = "the H.264 configuration (avcC) asks for NAL lengths of 3 bytes";
    else if (sps_count == 0)
        *why = "the H.264 configuration (avcC) has no SPS";
    else {
        snprintf(out->rfc6381, sizeof out->rfc6381, "avc1.%02x%02x%02x", profile, compatibility, level);
        return sps_parse(out, sps, why);
    }
    return ERR_BAD;
}
