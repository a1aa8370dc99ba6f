/* media/record.c - the decoder configuration of what an encoder makes, as MP4 stores it: avcC, hvcC, av1C. */
#include "media/av_int.h"

/* av1C (AV1-ISOBMFF §2.3) of 8-bit 4:2:0 in the main profile, which is all that we make. The level stands
 * at a fixed place, for the encoder writes no timing information (AV1 §5.5.1). */
static enum err av1_record(struct builder *out, struct bytes sequence_header)
{
    struct bits b = bits_of(bytes_from(sequence_header, 2)); /* behind the OBU's head and size */
    uint32_t level, tier = 0, plain;

    bits_skip(&b, 3 + 1);          /* profile, still picture */
    plain = bits_take(&b, 2) == 0; /* neither reduced nor with timing */
    bits_skip(&b, 1 + 5 + 12);
    level = bits_take(&b, 5);
    if (level > 7)
        tier = bits_take(&b, 1);
    if (b.short_of || !plain)
        return ERR_UNSUPPORTED;
    builder_u8(out, 0x81);
    builder_u8(out, (uint8_t)level);
    builder_u8(out, (uint8_t)(tier << 7 | 0x0c)); /* 4:2:0, place of chroma unknown */
    builder_u8(out, 0);
    builder_add(out, sequence_header);
    return ERR_OK;
}

enum err record_of(const AVCodecContext *encoder, enum codec codec, struct builder *out)
{
    struct bytes header = bytes_of(encoder->extradata, (size_t)encoder->extradata_size);

    return codec == CODEC_AV1 ? av1_record(out, header) : annexb_to_record(out, codec, header);
}
