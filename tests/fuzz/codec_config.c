/* tests/fuzz/codec_config.c - decoder configurations, the first byte choosing the codec; and the byte streams
 * that publish makes configurations of. */
#include "fuzz.h"

#include "base/limits.h"
#include "media/media.h"

static void check_record(enum codec codec, struct bytes record)
{
    struct codec_config c;
    const char *why;

    if (codec_config_parse(&c, codec, record, &why) != ERR_OK) {
        fuzz_check(why != NULL && c.codec == CODEC_NONE);
        return;
    }
    fuzz_check(c.codec == codec && c.rfc6381[0] != '\0');
    if (codec <= CODEC_AV1)
        fuzz_check(c.width > 0 && c.height > 0 && c.width <= PICTURE_SIDE_MAX &&
                   c.height <= PICTURE_SIDE_MAX);
    else
        fuzz_check(c.rate > 0 && c.channels > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_from(bytes_of(data, size), 1);
    struct builder b = {0};

    if (size == 0)
        return 0;
    check_record((enum codec)(data[0] % (CODEC_OPUS + 1)), in);
    annexb_to_lengths(&b, in);
    builder_drop(&b);
    if (annexb_to_record(&b, data[0] & 1 ? CODEC_H264 : CODEC_HEVC, in) == ERR_OK)
        check_record(data[0] & 1 ? CODEC_H264 : CODEC_HEVC, builder_bytes(&b));
    builder_drop(&b);
    return 0;
}
