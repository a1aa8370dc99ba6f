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

/* Where a key stands, with the lock held. */
static void tell(const struct rate *r, int64_t due_us, int64_t now_us, struct rate_left *out)
{
    int64_t ahead_us = due_us > now_us ? due_us - now_us : 0;

    out->limit = (uint32_t)(r->burst_us / r->step_us + 1);
    out->window_s = (uint32_t)((r->burst_us + r->step_us + 999999) / 1000000);
    out->left = ahead_us > r->burst_us ? 0 : (uint32_t)((r->burst_us - ahead_us) / r->step_us + 1);
    out->reset_s = (uint32_t)((ahead_us + 999999) / 1000000);
}

static int64_t wait_of(const struct rate *r, int64_t due_us, int64_t now_us)
{
    return due_us <= now_us + r->burst_us ? 0 : (due_us - r->burst_us - now_us + 999) / 1000;
}

/* When the key's next turn is due; a new key's, at once. With the lock held. */
static int64_t *due_of(struct rate *r, struct bytes key, int64_t now_us)
{
    int64_t *due = map_get(r->due, key);

    if (due != NULL)
        return due;
    if (map_count(r->due) >= RATE_KEYS_MAX)
        make_room(r, now_us);
    due = mem_new(sizeof *due);
    map_put(r->due, key, due);
    return due;
}

bool rate_take_left(struct rate *r, struct bytes key, int64_t *wait_ms, struct rate_left *out)
{
    int64_t now_us = clock_mono_us(), *due;

    *wait_ms = 0;
    *out = (struct rate_left){.limit = 0};
    if (r->step_us == 0)
        return true;
    pthread_mutex_lock(&r->lock);
    due = due_of(r, key, now_us);
    *wait_ms = wait_of(r, *due, now_us);
    if (*wait_ms == 0)
        *due = (*due > now_us ? *due : now_us) + r->step_us;
    tell(r, *due, now_us, out);
    pthread_mutex_unlock(&r->lock);
    return *wait_ms == 0;
}

bool rate_take(struct rate *r, struct bytes key, int64_t *wait_ms)
{
    struct rate_left left;

    return rate_take_left(r, key, wait_ms, &left);
}

bool rate_look(struct rate *r, struct bytes key, int64_t *wait_ms)
{
    int64_t now_us = clock_mono_us();
    const int64_t *due;

    *wait_ms = 0;
    if (r->step_us == 0)
        return true;
    pthread_mutex_lock(&r->lock);
    if ((due = map_get(r->due, key)) != NULL)
        *wait_ms = wait_of(r, *due, now_us);
    pthread_mutex_unlock(&r->lock);
    return *wait_ms == 0;
}
