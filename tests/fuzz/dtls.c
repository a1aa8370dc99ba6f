/* tests/fuzz/dtls.c - datagrams at a handshake: whatever comes, it goes on or fails, and no keys come of it. */
#include "fuzz.h"

#include "webrtc/webrtc_int.h"

static void nowhere(void *ctx, struct bytes datagram)
{
    fuzz_check(datagram.size > 0 && datagram.size <= 1500);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dtls_house *house;
    struct bytes left = bytes_of(data, size);
    struct dtls *d;

    if (house == NULL)
        fuzz_check(dtls_house_new(&house) == ERR_OK);
    d = dtls_new(house, DTLS_SERVER, nowhere, NULL);
    while (left.size > 2) { /* sizes of two bytes, then the datagram */
        struct cursor c = cursor_of(left);
        size_t one = cursor_be16(&c);
        struct bytes datagram = bytes_head(c.left, one);

        if (dtls_receive(d, datagram) != DTLS_RUNNING)
            break;
        left = bytes_from(c.left, datagram.size);
    }
    fuzz_check(dtls_wait_ms(d) >= -1);
    dtls_free(d);
    return 0;
}
