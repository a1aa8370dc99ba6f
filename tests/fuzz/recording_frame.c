/* tests/fuzz/recording_frame.c - what a child that was taken over by a file could say: frames, one behind the other. What was read
 * lies within what was given, and is written back as the same bytes. */
#include "fuzz.h"

#include "ladder/recording_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct recording_frame f;
    long taken;

    while ((taken = recording_frame_parse(&f, in)) > 0) {
        struct bytes frame = bytes_head(in, (size_t)taken);
        struct builder again = {0};

        fuzz_check((size_t)taken <= in.size);
        fuzz_check(fuzz_within(f.recorded.payload, frame) && fuzz_within(f.why, frame));
        fuzz_check(recording_frame_parse(&f, bytes_head(frame, frame.size - 1)) == PARSE_MORE);
        fuzz_check(recording_frame_parse(&f, frame) == taken);
        recording_frame_write(&again, &f);
        if (f.kind == FRAME_TRACK || f.kind == FRAME_SAMPLE)
            fuzz_check(bytes_equal(builder_bytes(&again), frame));
        builder_drop(&again);
        in = bytes_from(in, (size_t)taken);
    }
    return 0;
}
