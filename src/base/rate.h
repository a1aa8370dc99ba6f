/* base/rate.h - how often something may be done, for each of many keys (addresses, names). Any thread. */
#ifndef MATINEE_BASE_RATE_H
#define MATINEE_BASE_RATE_H

#include "base/bytes.h"

struct rate;

/* `per_minute` for each key, and what `burst_s` seconds of that are at once (at least one). `per_minute` 0: no limit. */
struct rate *rate_new(uint32_t per_minute, uint32_t burst_s);
void rate_free(struct rate *r); /* accepts NULL */

/* Counts one, or says no; then *wait_ms is when it may be tried again. At most RATE_KEYS_MAX keys are remembered: a peer that
 * invents keys makes others' counts begin anew, and memory stay as it is. */
bool rate_take(struct rate *r, struct bytes key, int64_t *wait_ms);

/* What a key has left after that: so many of `limit` in `window_s` seconds, and when it has all of them again. limit 0: no limit. */
struct rate_left {
    uint32_t limit, window_s, left, reset_s;
};
bool rate_take_left(struct rate *r, struct bytes key, int64_t *wait_ms, struct rate_left *out);

/* Whether one would be taken, without counting it. */
bool rate_look(struct rate *r, struct bytes key, int64_t *wait_ms);

#endif
