/* media/hevc.c - reads an HEVCDecoderConfigurationRecord (hvcC, ISO/IEC 14496-15 §8.3.3.1) and, in it, the
 * sequence parameter set (H.265 §7.3.2.2) as far as the picture's size. */
#include "media/media_int.h"

#include <stdio.h>

#define NAL_SPS 33

/* profile_tier_level( 1, sub_layers ) of §7.3.3. */
static void skip_profile_tier_level(struct bits *b, unsigned sub_layers)
{
    uint32_t present = 0;

    bits_skip(b, 88 + 8);
    if (sub_layers == 0)
        return;
    present = bits_take(b, 16); /* two bits for each of eight, those unused reserved */
    for (unsigned i = 0; i < sub_layers; i++) {
        bits_skip(b, present >> (15 - 2 * i) & 1 ? 88 : 0);
        bits_skip(b, present >> (14 - 2 * i) & 1 ? 8 : 0);
    }
}

static enum err sps_parse(struct codec_config *out, struct bytes nal, const char **why)
{
    uint8_t head[SPS_HEAD_BYTES_MAX];
    struct bits b = bits_of(bytes_of(head, nal_unescape(nal, head, sizeof head)));
    struct crop crop = {0};

    bits_skip(&b, 16 + 4);
    uint32_t sub_layers = bits_take(&b, 3);

    bits_skip(&b, 1);
    skip_profile_tier_level(&b, sub_layers);
    uint32_t id = bits_ue(&b), chroma = bits_ue(&b);

    if (chroma == 3 && bits_take(&b, 1))
        chroma = 0;
    uint64_t width = bits_ue(&b), height = bits_ue(&b);

    crop.unit_x = chroma == 1 || chroma == 2 ? 2 : 1;
    crop.unit_y = chroma == 1 ? 2 : 1;
    if (bits_take(&b, 1)) {
        crop.left = bits_ue(&b);
        crop.right = bits_ue(&b);
        crop.top = bits_ue(&b);
        crop.bottom = bits_ue(&b);
    }
    if (b.short_of || sub_layers > 6 || id > 15 || chroma > 3) {
        *why = b.short_of ? "the HEVC SPS is cut short" : "the HEVC SPS has fields out of their range";
        return ERR_BAD;
    }
    return picture_size(out, width, height, &crop, why);
}

/* ISO/IEC 14496-15 annex E.3: hvc1.[space]profile.compatibility-reversed.tier+level.constraints */
static void name_codec(struct codec_config *out, uint8_t profile, uint32_t compatibility,
                       struct bytes constraints, uint8_t level)
{
    static const char *const spaces[] = {"", "A", "B", "C"};
    uint32_t reversed = 0;
    size_t bytes = 6, at;

    for (unsigned i = 0; i < 32; i++)
        reversed |= (compatibility >> i & 1) << (31 - i);
    while (bytes > 0 && constraints.at[bytes - 1] == 0)
        bytes--;
    at = (size_t)snprintf(out->rfc6381, sizeof out->rfc6381, "hvc1.%s%u.%x.%c%u", spaces[profile >> 6],
                          profile & 31u, reversed, profile & 32 ? 'H' : 'L', level);
    for (size_t i = 0; i < bytes; i++)
        at += (size_t)snprintf(out->rfc6381 + at, sizeof out->rfc6381 - at, ".%x", constraints.at[i]);
}

/* Walks the arrays of parameter sets and hands out the first SPS. */
static struct bytes find_sps(struct cursor *c)
{
    struct bytes sps = {0};
    unsigned arrays = cursor_u8(c);

    for (unsigned i = 0; i < arrays && !c->short_of; i++) {
        unsigned type = cursor_u8(c) & 63, count = cursor_be16(c);

        for (unsigned j = 0; j < count && !c->short_of; j++) {
            struct bytes nal = cursor_take(c, cursor_be16(c));

            if (type == NAL_SPS && sps.size == 0)
                sps = nal;
        }
    }
    return sps;
}

enum err hvcc_parse(struct codec_config *out, struct bytes record, const char **why)
{
    struct cursor c = cursor_of(record);
    uint8_t version = cursor_u8(&c), profile = cursor_u8(&c);
    uint32_t compatibility = cursor_be32(&c);
    struct bytes constraints = cursor_take(&c, 6);
    uint8_t level = cursor_u8(&c);

    cursor_take(&c, 8); /* segmentation, parallelism, chroma, depths, frame rate: the SPS says it too */
    unsigned length_size = (cursor_u8(&c) & 3u) + 1;
    struct bytes sps = find_sps(&c);

    if (c.short_of)
        *why = "the HEVC configuration (hvcC) is cut short";
    else if (version != 1)
        *why = "the HEVC configuration (hvcC) is not of version 1";
    else if (length_size == 3)
        *why = "the HEVC configuration (hvcC) asks for NAL lengths of 3 bytes";
    else if (sps.size == 0)
        *why = "the HEVC configuration (hvcC) has no SPS";
    else {
        name_codec(out, profile, compatibility, constraints, level);
        return sps_parse(out, sps, why);
    }
    return ERR_BAD;
}
