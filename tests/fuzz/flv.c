/* tests/fuzz/flv.c - audio and video bodies: the first byte says which. What was read and can be written reads
 * the same again. */
#include "fuzz.h"

#include "media/media.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes body = bytes_from(bytes_of(data, size), 1);
    enum track track = size > 0 && data[0] & 1 ? TRACK_AUDIO : TRACK_VIDEO;
    struct flv_tag tag, again;
    struct builder b = {0};
    const char *why;

    if (flv_parse(&tag, track, body, &why) != ERR_OK) {
        fuzz_check(why != NULL);
        return 0;
    }
    fuzz_check(fuzz_within(tag.payload, body));
    if (tag.kind != FLV_SAMPLE)
        return 0;
    flv_write(&b, &tag);
    fuzz_check(flv_parse(&again, track, builder_bytes(&b), &why) == ERR_OK);
    fuzz_check(again.kind == tag.kind && again.codec == tag.codec && again.keyframe == tag.keyframe &&
               again.composition_ms == tag.composition_ms && bytes_equal(again.payload, tag.payload));
    builder_drop(&b);
    return 0;
}
