/* tests/unit/rtmp/echo_live.h - a live room for tests over real sockets: many publications, each message parsed
 * as the real room would parse it, made "durable" a moment later, and forgotten.
 *
 * The key "key…" is granted, "busy" is refused as taken, every other one as unknown. */
#ifndef MATINEE_UNIT_ECHO_LIVE_H
#define MATINEE_UNIT_ECHO_LIVE_H

#include "live/live.h"

#include <stdatomic.h>

extern struct echo_live {
    atomic_int granted, refused, unpublished_clean, unpublished_lost;
    atomic_int configs, samples, data; /* messages by what they were */
    atomic_llong bytes;
    char configs_seen[256]; /* "avc1.64001f mp4a.40.2 ", of the first publications; one loop only */
    int durable_after_ms;
} echo;

#endif
