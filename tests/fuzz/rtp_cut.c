/* tests/fuzz/rtp_cut.c - pictures of a publisher into packets: every piece lies within what was made. */
#include "fuzz.h"

#include "webrtc/webrtc_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rtp_piece pieces[64];
    struct builder out = {0};
    struct h264_sets sets;
    size_t head = size > 0 ? data[0] : 0;
    struct bytes all = bytes_of(data, size), unit = bytes_from(all, head + 1);
    long count;

    if (h264_sets_parse(&sets, bytes_head(bytes_from(all, 1), head)) != ERR_OK)
        return 0;
    count = rtp_cut(&sets, unit, head % 2, &out, pieces, 64);
    fuzz_check(count <= 64);
    for (long i = 0; i < count; i++)
        fuzz_check(pieces[i].size > 0 && pieces[i].size <= RTP_PAYLOAD_BYTES_MAX &&
                   pieces[i].at + pieces[i].size <= builder_bytes(&out).size);
    (void)h264_is_reference(&sets, unit);
    builder_drop(&out);
    return 0;
}
