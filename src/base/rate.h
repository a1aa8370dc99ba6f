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

#endif
