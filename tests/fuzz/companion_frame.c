/* tests/fuzz/companion_frame.c - frames between the server and the process that converts: what is read lies within the input,
 * and is written the same way. */
#include "fuzz.h"

#include "webrtc/companion_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes left = bytes_of(data, size);
    struct companion_frame f, again;
    long taken;

    while ((taken = companion_frame_parse(&f, left)) > 0) {
        struct builder out = {0};

        fuzz_check((size_t)taken <= left.size && fuzz_within(f.payload, left));
        companion_frame_write(&out, &f);
        fuzz_check(companion_frame_parse(&again, builder_bytes(&out)) == taken);
        fuzz_check(again.pts == f.pts && again.dts == f.dts && bytes_equal(again.payload, f.payload));
        builder_drop(&out);
        left = bytes_from(left, (size_t)taken);
    }
    return 0;
}
