/* webrtc/catch_up.c - a viewer who comes gets what is there since the keyframe faster than it was filmed. Pure.
 *
 * A browser learns from timestamps when pictures are to be expected. Those of a catch-up come later than their own say, less so with each: who
 * believes them expects all that follows too soon, for minutes, and cannot keep a picture back for its sound. So timestamps of a
 * catch-up go on as fast as it does, until a picture's own is as late. Whatever comes late meanwhile, they never go back. */
#include "webrtc/webrtc_int.h"

int64_t catch_up_due_ms(const struct catch_up *c, int64_t now_ms)
{
    return c->dts_ms + (now_ms - c->ms) * WEBRTC_JOIN_PACE;
}

uint32_t catch_up_timestamp(const struct catch_up *c, uint32_t own)
{
    uint32_t hurried = c->shown + (uint32_t)(rtp_later_by(own, c->first) / WEBRTC_JOIN_PACE);

    return rtp_later_by(hurried, own) > 0 ? hurried : own;
}
