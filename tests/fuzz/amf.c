/* tests/fuzz/amf.c - AMF0 values: what is read lies within the input, and members can be looked up in it. */
#include "fuzz.h"

#include "rtmp/amf_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes left = bytes_of(data, size);
    struct amf_value v, member;
    const char *why;

    while (left.size > 0) {
        long taken = amf_read(&v, left, &why);

        if (taken < 0) {
            fuzz_check(taken == PARSE_MORE || why != NULL);
            return 0;
        }
        fuzz_check(taken > 0 && (size_t)taken <= left.size);
        fuzz_check(fuzz_within(v.text, left) && fuzz_within(v.members, left));
        if (amf_member(&v, "app", &member))
            fuzz_check(fuzz_within(member.text, left) && fuzz_within(member.members, left));
        left = bytes_from(left, (size_t)taken);
    }
    return 0;
}
