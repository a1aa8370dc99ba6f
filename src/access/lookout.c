/* access/lookout.c - a thread that looks every two seconds for what other servers have written, and says when it cannot. */
#include "access/access_int.h"

#include "base/clock.h"
#include "base/log.h"

#define LOOK_MS 2000

/* False: the house closes. */
static bool rest(struct lookout *l)
{
    int64_t until_ms = clock_mono_ms() + LOOK_MS;
    struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
    int failed = 0;
    bool stopping;

    pthread_mutex_lock(&l->lock);
    while (!l->stopping && failed == 0)
        failed = pthread_cond_timedwait(&l->wake, &l->lock, &until);
    stopping = l->stopping;
    pthread_mutex_unlock(&l->lock);
    return !stopping;
}

static void *look_for_ever(void *ctx)
{
    struct lookout *l = ctx;
    bool well = true;

    pthread_setname_np(pthread_self(), l->name);
    while (rest(l)) {
        enum err e = l->look(l->ctx);

        if ((e == ERR_OK) != well)
            log_warn("access",
                     e == ERR_OK ? "%s are read again"
                                 : "%s cannot be read: %s; what other servers revoke is not seen here",
                     l->what, err_text(e));
        well = e == ERR_OK;
    }
    return NULL;
}

enum err lookout_start(struct lookout *l)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&l->lock, NULL);
    l->started = pthread_create(&l->thread, NULL, look_for_ever, l) == 0;
    return l->started ? ERR_OK : ERR_IO;
}

bool lookout_stop(struct lookout *l)
{
    if (!l->started)
        return false;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    l->started = false;
    return true;
}
