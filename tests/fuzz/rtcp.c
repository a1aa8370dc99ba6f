/* tests/fuzz/rtcp.c - what viewers say, and SRTCP that nobody has keys for. */
#include "fuzz.h"

#include "webrtc/webrtc_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t material[SRTP_MATERIAL_MAX] = {1, 2, 3};
    static struct srtp keys[2];
    uint8_t plain[WEBRTC_RECEIVE_BYTES_MAX];
    struct rtcp_heard h;

    if (keys[0].profile == 0) {
        fuzz_check(srtp_begin(&keys[0], SRTP_GCM, bytes_of(material, srtp_material_size(SRTP_GCM)), true) ==
                   ERR_OK);
        fuzz_check(srtp_begin(&keys[1], SRTP_CM, bytes_of(material, srtp_material_size(SRTP_CM)), true) ==
                   ERR_OK);
    }
    if (rtcp_parse(&h, bytes_of(data, size)) == ERR_OK)
        fuzz_check(h.lost_count <= RTCP_LOST_MAX);
    for (int i = 0; i < 2; i++)
        fuzz_check(srtcp_unseal(&keys[i], bytes_of(data, size), plain) == PARSE_BAD);
    return 0;
}
