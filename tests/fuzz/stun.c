/* tests/fuzz/stun.c - STUN: what is read lies within the input, and nothing is authentic by chance. */
#include "fuzz.h"

#include "webrtc/webrtc_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    uint8_t answer[STUN_ANSWER_SIZE];
    struct address from;
    struct stun s;

    if (stun_parse(&s, in) != ERR_OK)
        return 0;
    fuzz_check(stun_looks(in));
    fuzz_check(fuzz_within(s.username, in));
    fuzz_check(!stun_authentic(&s, in, bytes_text("a password that nobody guesses")));
    fuzz_check(address_parse("192.0.2.1:1", &from));
    fuzz_check(stun_success(answer, &s, &from, bytes_text("x")) <= sizeof answer);
    fuzz_check(stun_unknown(answer, &s, bytes_text("x")) <= sizeof answer);
    return 0;
}
