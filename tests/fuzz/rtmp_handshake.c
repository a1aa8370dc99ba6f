/* tests/fuzz/rtmp_handshake.c - C0 and C1, plain or signed. */
#include "fuzz.h"

#include "rtmp/handshake_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t out[HANDSHAKE_OUT_BYTES];
    const char *why;
    long taken = handshake_answer(bytes_of(data, size), 0, out, &why);

    fuzz_check(taken == HANDSHAKE_IN_BYTES || taken == PARSE_MORE || (taken == PARSE_BAD && why != NULL));
    fuzz_check((taken == PARSE_BAD) == (handshake_check(bytes_of(data, size), &why) == PARSE_BAD));
    return 0;
}
