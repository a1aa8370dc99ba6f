/* tests/fuzz/farewell.c - datagrams to a viewer whose handshake is forgotten: none is a true farewell by chance. */
#include "fuzz.h"

#include "webrtc/webrtc_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (uint8_t kind = 0; kind <= 3; kind++) /* none, and the three ciphers */
        fuzz_check(!farewell_is(&(struct farewell){.kind = kind, .key = "a key that nobody guesses, ever"},
                                bytes_of(data, size)));
    return 0;
}
