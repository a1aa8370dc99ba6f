/* webrtc/pace.c - when sound that came is sent on: at an even pace. Pure.
 *
 * Packets of 20 ms are made of frames of 21 or 23: some come together with the one before, others a frame later. A browser takes that for the
 * line's jitter, keeps everything back for the latest, and pictures wait for their sound. So who comes sooner waits here instead, at no cost,
 * and is no jitter any more. */
#include "webrtc/webrtc_int.h"

/* How much later than the soonest: nearly all that frames make. */
#define PACE_US 20000
/* What the soonest is taken to be later with each packet, for the publisher's clock may be slower than ours: 0.2 ms in a second. */
#define DRIFT_US 4
/* Who is so much later was away: what was before says nothing. */
#define AWAY_US 500000

int64_t pace_wait_us(struct pace *p, int64_t now_us, int64_t pts_us)
{
    int64_t behind_us = now_us - pts_us, wait_us;

    p->soonest_us += DRIFT_US;
    if (!p->begun || behind_us < p->soonest_us || behind_us - p->soonest_us > AWAY_US)
        p->soonest_us = behind_us;
    p->begun = true;
    wait_us = p->soonest_us + PACE_US - behind_us;
    return wait_us > 0 ? wait_us : 0;
}
