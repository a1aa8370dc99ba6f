/* live/hurry.c - publishers whose viewers want low latency.
 *
 * A publisher is read every 100 ms as long as nobody would notice (net/net.h, stream_lazy). Whoever does notice says so with
 * live_video_hurry(), again and again: nobody has to say that he is gone. The publication looks at the clock itself. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/limits.h"

/* A repetition within this time of the last one changes nothing. */
#define REPEAT_MS 1000

static void tell(struct publication *p, bool on)
{
    p->hurried = on;
    if (p->events->hurry != NULL)
        p->events->hurry(p->ctx, on);
}

static void look(void *ctx)
{
    struct publication *p = ctx;
    int64_t left_ms = p->video->hurried_until_ms - clock_mono_ms();

    if (left_ms > 0)
        timer_start(p->berth->loop, &p->calm, left_ms, look, p);
    else {
        tell(p, false);
        edge_forget(p->video);
    }
}

void hurry_begin(struct publication *p)
{
    if (p->video == NULL || p->hurried || p->video->hurried_until_ms <= clock_mono_ms())
        return;
    tell(p, true);
    look(p);
    if (p->opened)
        edge_show(p);
}

static void hurry_here(struct publication *p, const char *text)
{
    hurry_begin(p);
}

void live_video_hurry(struct live *l, struct ulid video)
{
    int64_t now = clock_mono_ms();

    pthread_mutex_lock(&l->lock);
    struct video *v = live_find_video(l, video);

    if (v != NULL && v->live && v->hurried_until_ms - now < LIVE_HURRY_MS - REPEAT_MS) {
        bool news = v->hurried_until_ms <= now;
        struct publication *p = v->event->publication;

        v->hurried_until_ms = now + LIVE_HURRY_MS;
        if (news && p != NULL)
            publication_post(p, hurry_here, NULL);
    }
    pthread_mutex_unlock(&l->lock);
}
