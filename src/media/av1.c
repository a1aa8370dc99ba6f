/* media/av1.c - reads an AV1CodecConfigurationRecord (av1C, AV1-ISOBMFF §2.3) and the sequence header OBU in
 * it (AV1 §5.5) as far as the largest frame's size. */
#include "media/media_int.h"

#include <stdio.h>

#define OBU_SEQUENCE_HEADER 1

/* leb128() of AV1 §4.10.5; what does not fit 32 bits is a value no record can have. */
static uint32_t read_leb128(struct cursor *c)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        uint8_t byte = cursor_u8(c);

        value |= (uint64_t)(byte & 127) << (7 * i);
        if (!(byte & 128))
            return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
    }
    return UINT32_MAX;
}

/* The payload of the first sequence header among the OBUs, empty when there is none. */
static struct bytes find_sequence_header(struct bytes obus)
{
    struct cursor c = cursor_of(obus);

    while (c.left.size > 0 && !c.short_of) {
        uint8_t head = cursor_u8(&c);

        if (head & 4)
            cursor_u8(&c); /* extension: temporal and spatial ids */
        size_t size = head & 2 ? read_leb128(&c) : c.left.size;
        struct bytes payload = cursor_take(&c, size);

        if ((head >> 3 & 15) == OBU_SEQUENCE_HEADER)
            return payload;
    }
    return (struct bytes){0};
}

/* timing_info() and decoder_model_info(); returns the length of the buffer delays, 0 without a model. */
static unsigned skip_timing(struct bits *b)
{
    unsigned delay_bits = 0;

    if (!bits_take(b, 1))
        return 0;
    bits_skip(b, 64);
    if (bits_take(b, 1))
        bits_ue(b); /* uvlc() has the same code words up to 32 bits */
    if (bits_take(b, 1)) {
        delay_bits = bits_take(b, 5) + 1;
        bits_skip(b, 32 + 5 + 5);
    }
    return delay_bits;
}

static void skip_operating_points(struct bits *b, unsigned delay_bits)
{
    uint32_t display_delay = bits_take(b, 1);
    uint32_t points = bits_take(b, 5) + 1;

    for (uint32_t i = 0; i < points; i++) {
        bits_skip(b, 12);
        if (bits_take(b, 5) > 7)
            bits_skip(b, 1);
        if (delay_bits > 0 && bits_take(b, 1))
            bits_skip(b, 2 * delay_bits + 1);
        if (display_delay && bits_take(b, 1))
            bits_skip(b, 4);
    }
}

static enum err sequence_header_parse(struct codec_config *out, struct bytes obu, const char **why)
{
    struct bits b = bits_of(obu);

    bits_skip(&b, 3 + 1);
    if (bits_take(&b, 1)) /* reduced_still_picture_header */
        bits_skip(&b, 5);
    else
        skip_operating_points(&b, skip_timing(&b));
    unsigned width_bits = bits_take(&b, 4) + 1, height_bits = bits_take(&b, 4) + 1;
    uint64_t width = (uint64_t)bits_take(&b, width_bits) + 1;
    uint64_t height = (uint64_t)bits_take(&b, height_bits) + 1;

    if (b.short_of) {
        *why = "the AV1 sequence header is cut short";
        return ERR_BAD;
    }
    return picture_size(out, width, height, &(struct crop){0}, why);
}

enum err av1c_parse(struct codec_config *out, struct bytes record, const char **why)
{
    struct cursor c = cursor_of(record);
    uint8_t version = cursor_u8(&c), profile_level = cursor_u8(&c), flags = cursor_u8(&c);

    cursor_u8(&c);
    if (c.short_of || version != 0x81) {
        *why = c.short_of ? "the AV1 configuration (av1C) is cut short"
                          : "the AV1 configuration (av1C) is not of version 1";
        return ERR_BAD;
    }
    struct bytes sequence = find_sequence_header(c.left);

    if (sequence.size == 0) {
        *why = "the AV1 configuration (av1C) has no sequence header";
        return ERR_BAD;
    }
    unsigned depth = !(flags & 64) ? 8 : flags & 32 ? 12 : 10;

    snprintf(out->rfc6381, sizeof out->rfc6381, "av01.%u.%02u%c.%02u", (unsigned)profile_level >> 5,
             profile_level & 31u, flags & 128 ? 'H' : 'M', depth);
    return sequence_header_parse(out, sequence, why);
}
