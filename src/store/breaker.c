/* store/breaker.c - whether there is sense in asking a store at all. After some failures one behind the other it is left alone for a
 * while, which doubles with each time; then one call tries, and the others follow when that went well. So a store that comes
 * back is not met by everybody at once, and nobody waits for one that is known to be away. */
#include "store/store_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"

void breaker_init(struct breaker *b, const char *what)
{
    *b = (struct breaker){.what = what};
    pthread_mutex_init(&b->lock, NULL);
}

void breaker_drop(struct breaker *b)
{
    pthread_mutex_destroy(&b->lock);
}

void breaker_trip(struct breaker *b)
{
    pthread_mutex_lock(&b->lock);
    b->failures = STORE_FAILURES_MAX;
    b->since_ms = clock_mono_ms();
    b->again_at_ms = b->since_ms + STORE_PAUSE_MS_MIN;
    pthread_mutex_unlock(&b->lock);
}

bool breaker_admits(struct breaker *b)
{
    pthread_mutex_lock(&b->lock);
    bool open = b->failures >= STORE_FAILURES_MAX, due = clock_mono_ms() >= b->again_at_ms;
    bool admits = !open || (due && !b->probing);

    b->probing = b->probing || (open && admits);
    pthread_mutex_unlock(&b->lock);
    return admits;
}

/* Between half and all of a pause that doubles with each failure beyond the first ones. */
static int64_t pause_ms(unsigned failures)
{
    unsigned doublings = failures - STORE_FAILURES_MAX;
    int64_t most = STORE_PAUSE_MS_MIN << (doublings < 10 ? doublings : 10);

    most = most < STORE_PAUSE_MS_MAX ? most : STORE_PAUSE_MS_MAX;
    return most / 2 + (int64_t)(random_u64() % (uint64_t)(most / 2 + 1));
}

void breaker_tell(struct breaker *b, enum err e)
{
    bool good = e == ERR_OK || e == ERR_MISSING;

    pthread_mutex_lock(&b->lock);
    unsigned before = b->failures;

    b->probing = false;
    b->failures = good ? 0 : before + 1;
    if (b->failures >= STORE_FAILURES_MAX)
        b->again_at_ms = clock_mono_ms() + pause_ms(b->failures);
    if (good || before == 0)
        b->since_ms = good ? 0 : clock_mono_ms();
    pthread_mutex_unlock(&b->lock);
    if (good && before >= STORE_FAILURES_MAX)
        log_info("store", "%s go well again", b->what);
    else if (!good && before + 1 == STORE_FAILURES_MAX)
        log_warn("store", "%s have failed %d times: the store is tried now and then until it is back",
                 b->what, STORE_FAILURES_MAX);
}

int64_t breaker_open_ms(struct breaker *b)
{
    pthread_mutex_lock(&b->lock);
    int64_t ms = b->failures >= STORE_FAILURES_MAX ? clock_mono_ms() - b->since_ms : 0;

    pthread_mutex_unlock(&b->lock);
    return ms;
}
