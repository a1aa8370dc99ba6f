/* media/opus.c - reads an OpusHead (RFC 7845 §5.1). Opus always plays at 48 kHz, whatever rate it names. */
#include "media/media_int.h"

#include <stdio.h>

enum err opus_head_parse(struct codec_config *out, struct bytes record, const char **why)
{
    struct cursor c = cursor_of(record);
    struct bytes magic = cursor_take(&c, 8);
    uint8_t version = cursor_u8(&c), channels = cursor_u8(&c);

    cursor_take(&c, 2 + 4 + 2); /* pre-skip, the encoder's input rate, gain */
    uint8_t family = cursor_u8(&c);
    unsigned streams = 1, coupled = channels == 2;

    if (family != 0) {
        streams = cursor_u8(&c);
        coupled = cursor_u8(&c);
        cursor_take(&c, channels);
    }
    if (c.short_of || !bytes_is(magic, "OpusHead")) {
        *why = c.short_of ? "the Opus configuration (OpusHead) is missing or cut short"
                          : "the Opus configuration is not an OpusHead";
        return ERR_BAD;
    }
    if (version >> 4 != 0 || channels == 0 || (family == 0 && channels > 2) || streams == 0 ||
        coupled > streams || streams + coupled > 255) {
        *why = "the Opus configuration (OpusHead) has fields out of their range";
        return ERR_BAD;
    }
    out->rate = 48000;
    out->channels = channels;
    snprintf(out->rfc6381, sizeof out->rfc6381, "opus");
    return ERR_OK;
}
