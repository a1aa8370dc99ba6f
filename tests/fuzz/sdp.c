/* tests/fuzz/sdp.c - offers: what is read can be answered, and the answer has as many m-lines. */
#include "fuzz.h"

#include "webrtc/webrtc_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sdp_offer o;
    struct builder out = {0};
    const char *why = NULL;
    size_t lines = 0;

    if (sdp_offer_parse(&o, bytes_of(data, size), 0x42, &why) != ERR_OK) {
        fuzz_check(why != NULL && why[0] != '\0');
        return 0;
    }
    const struct sdp_answer a = {.offer = &o, .ufrag = "u", .password = "p", .fingerprint = "sha-256 00"};

    sdp_answer_print(&out, &a);
    struct bytes left = builder_bytes(&out);

    for (long at; (at = bytes_find(left, '\n')) >= 0; left = bytes_from(left, (size_t)at + 1)) {
        fuzz_check(at > 2 && left.at[1] == '=' && left.at[at - 1] == '\r');
        lines += left.at[0] == 'm';
    }
    fuzz_check(left.size == 0 && lines == o.media_count);
    builder_drop(&out);
    return 0;
}
