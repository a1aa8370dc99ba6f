/* media/aac.c - reads an AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1) of AAC-LC and HE-AAC.
 *
 * SBR is known when it is signalled: by object type 5 or 29, or by the extension behind an LC config. Then
 * rate and frame length are those of what is heard. Unsignalled SBR plays as LC, as everywhere. */
#include "media/media_int.h"

#include <stdio.h>

enum { AOT_MAIN = 1, AOT_LC = 2, AOT_SSR = 3, AOT_LTP = 4, AOT_SBR = 5, AOT_PS = 29, AOT_USAC = 42 };

static uint32_t read_object_type(struct bits *b)
{
    uint32_t type = bits_take(b, 5);

    return type == 31 ? 32 + bits_take(b, 6) : type;
}

/* Table 1.18; 0 for what is reserved or absurd. */
static uint32_t read_rate(struct bits *b)
{
    static const uint32_t rates[] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                     22050, 16000, 12000, 11025, 8000,  7350};
    uint32_t index = bits_take(b, 4);

    if (index == 15) {
        uint32_t rate = bits_take(b, 24);

        return rate >= 7350 && rate <= 192000 ? rate : 0;
    }
    return index < sizeof rates / sizeof rates[0] ? rates[index] : 0;
}

/* program_config_element() of §4.4.1.1 as far as the number of channels; comments behind it are left. */
static uint32_t read_program_channels(struct bits *b)
{
    uint32_t channels = 0;

    bits_skip(b, 4 + 2 + 4);
    uint32_t pairs_or_singles = bits_take(b, 4);

    pairs_or_singles += bits_take(b, 4);
    pairs_or_singles += bits_take(b, 4);
    uint32_t low = bits_take(b, 2);

    bits_skip(b, 3 + 4);
    for (int i = 0; i < 2; i++) /* mono and stereo mixdown */
        bits_skip(b, bits_take(b, 1) ? 4 : 0);
    bits_skip(b, bits_take(b, 1) ? 3 : 0);
    for (uint32_t i = 0; i < pairs_or_singles; i++) {
        channels += 1 + bits_take(b, 1);
        bits_skip(b, 4);
    }
    bits_skip(b, 4 * (size_t)low);
    return channels + low;
}

/* Table 1.19; 0 for what is reserved, and for 0 itself: a program config says it. */
static uint32_t configured_channels(uint32_t configuration)
{
    static const uint8_t channels[16] = {0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8, 0};

    return channels[configuration & 15];
}

struct sbr {
    bool on, parametric_stereo;
    uint32_t rate;
};

/* The backward compatible signalling that may follow (§1.6.5): absent, cut short or foreign means none. */
static void read_sync_extension(struct bits *b, struct sbr *sbr)
{
    struct bits probe = *b;

    if (bits_take(&probe, 11) != 0x2b7 || read_object_type(&probe) != AOT_SBR || !bits_take(&probe, 1))
        return;
    uint32_t rate = read_rate(&probe);

    if (probe.short_of || rate == 0)
        return;
    sbr->on = true;
    sbr->rate = rate;
    if (bits_take(&probe, 11) == 0x548 && bits_take(&probe, 1) && !probe.short_of)
        sbr->parametric_stereo = true;
}

static enum err refuse_type(uint32_t type, const char **why)
{
    *why = type == AOT_MAIN   ? "AAC Main is not taken; send AAC-LC"
           : type == AOT_LTP  ? "AAC-LTP is not taken; send AAC-LC"
           : type == AOT_SSR  ? "AAC-SSR is not taken; send AAC-LC"
           : type == AOT_USAC ? "xHE-AAC (USAC) is not taken; send AAC-LC"
                              : "this kind of MPEG-4 audio is not taken; send AAC-LC";
    return type == 0 ? ERR_BAD : ERR_UNSUPPORTED;
}

enum err aac_config_parse(struct codec_config *out, struct bytes record, const char **why)
{
    struct bits b = bits_of(record);
    struct sbr sbr = {0};
    uint32_t type = read_object_type(&b), rate = read_rate(&b), configuration = bits_take(&b, 4);
    bool by_type = type == AOT_SBR || type == AOT_PS;

    if (by_type) {
        sbr = (struct sbr){true, type == AOT_PS, read_rate(&b)};
        type = read_object_type(&b);
    }
    *why = "the AAC configuration is cut short or out of its range";
    if (b.short_of)
        return ERR_BAD;
    if (type != AOT_LC)
        return refuse_type(type, why);
    uint32_t samples = bits_take(&b, 1) ? 960 : 1024;

    bits_skip(&b, bits_take(&b, 1) ? 14 : 0); /* dependsOnCoreCoder */
    bits_skip(&b, 1);
    uint32_t channels = configuration == 0 ? read_program_channels(&b) : configured_channels(configuration);

    if (b.short_of || rate == 0 || channels == 0 || (sbr.on && sbr.rate == 0))
        return ERR_BAD;
    if (!by_type && configuration != 0)
        read_sync_extension(&b, &sbr);
    /* SBR doubles the rate; a "downsampled" one keeps it. Other ratios do not exist. */
    if (sbr.on && sbr.rate != rate && sbr.rate != 2 * rate)
        return ERR_BAD;
    out->rate = sbr.on ? sbr.rate : rate;
    out->frame_samples = sbr.on && sbr.rate == 2 * rate ? 2 * samples : samples;
    out->channels = sbr.parametric_stereo && channels == 1 ? 2 : channels;
    snprintf(out->rfc6381, sizeof out->rfc6381, "mp4a.40.%d",
             sbr.parametric_stereo ? AOT_PS
             : sbr.on              ? AOT_SBR
                                   : AOT_LC);
    return ERR_OK;
}
