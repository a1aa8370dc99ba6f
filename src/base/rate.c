/* base/rate.c - limits by key: the generic cell rate algorithm. A key is one number, the time at which its next turn would
 * be due if it kept to the rate; it may be ahead of that by the burst. */
#include "base/rate.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

struct rate {
    pthread_mutex_t lock;
    struct map *due; /* int64_t in microseconds of the monotonic clock, by key */
    int64_t step_us, burst_us;
};

struct rate *rate_new(uint32_t per_minute, uint32_t burst_s)
{
    struct rate *r = mem_new(sizeof *r);

    pthread_mutex_init(&r->lock, NULL);
    r->due = map_new();
    if (per_minute == 0)
        return r;
    r->step_us = 60000000 / per_minute;
    r->burst_us = (int64_t)burst_s * 1000000 - r->step_us;
    r->burst_us = r->burst_us > 0 ? r->burst_us : 0;
    return r;
}

static void free_values(struct map *m)
{
    struct bytes key;
    void *value;

    for (size_t at = 0; map_next(m, &at, &key, &value);)
        free(value);
    map_free(m);
}

void rate_free(struct rate *r)
{
    if (r == NULL)
        return;
    free_values(r->due);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* Keeps those who have used some of their turns; all are forgotten where those are too many too. */
static void make_room(struct rate *r, int64_t now_us)
{
    struct map *kept = map_new();
    struct bytes key;
    void *value;

    for (size_t at = 0; map_next(r->due, &at, &key, &value);) {
        if (*(int64_t *)value > now_us && map_count(kept) < RATE_KEYS_MAX / 2)
            map_put(kept, key, value);
        else
            free(value);
    }
    map_free(r->due);
    r->due = kept;
}

bool rate_take(struct rate *r, struct bytes key, int64_t *wait_ms)
{
    int64_t now_us = clock_mono_us(), *due;
    bool taken;

    *wait_ms = 0;
    if (r->step_us == 0)
        return true;
    pthread_mutex_lock(&r->lock);
    if ((due = map_get(r->due, key)) == NULL) {
        if (map_count(r->due) >= RATE_KEYS_MAX)
            make_room(r, now_us);
        due = mem_new(sizeof *due);
        map_put(r->due, key, due);
    }
    taken = *due <= now_us + r->burst_us;
    if (taken)
        *due = (*due > now_us ? *due : now_us) + r->step_us;
    else
        *wait_ms = (*due - r->burst_us - now_us + 999) / 1000;
    pthread_mutex_unlock(&r->lock);
    return taken;
}
