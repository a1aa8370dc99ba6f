/* webrtc/low.c - the lower rendition of a feed, for viewers whose line does not carry the full one.
 *
 * What the ladder makes is seconds behind, so this one is encoded from the live samples, by a companion of its own, for as long as
 * somebody's line wants it. It follows the video by itself: so it gets what came since the last keyframe once more, and is
 * there in a moment even where keyframes are ten seconds apart. Its times are the video's, and the places of its keyframes are
 * known before they come (LIVE_PICTURE_KEY_TICKS): send.c holds viewers there. */
#include "webrtc/room_int.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdlib.h>

/* Two thirds of the lines, and 480 at most; pictures that are as small as this stay so, and only take fewer bits. */
#define HEIGHT_MAX 480
#define HEIGHT_MIN 144
/* Half of what the full rendition takes: less of a step would not help, and more would be seen for nothing. */
#define BITS_MIN 150000
#define BITS_MAX 900000

struct low {
    struct feed *feed;
    struct follower *follower;
    struct companion *companion;
    enum codec codec; /* of the source */
    bool starves;     /* it missed a sample: nothing before the next keyframe */
    struct timer broken;
    int64_t wanted_ms; /* when somebody wanted it last */
};

METRIC(lows, METRIC_COUNTER, "matinee_webrtc_low_renditions_total",
       "Times the encoder of a lower rendition for WebRTC was started");

static uint32_t height_of(const struct feed *f)
{
    uint32_t full = f->config[TRACK_VIDEO].height, height;

    if (f->encodes && full > LIVE_PICTURE_HEIGHT)
        full = LIVE_PICTURE_HEIGHT;
    height = full / 3 * 2 < HEIGHT_MAX ? full / 3 * 2 : HEIGHT_MAX;
    if (height < HEIGHT_MIN)
        height = full < HEIGHT_MIN ? full : HEIGHT_MIN;
    return height > 2 ? height & ~1u : 2;
}

static uint32_t rate_of(const struct feed *f)
{
    uint32_t bits = f->pictures[QUALITY_FULL].bits_second / 2;

    return bits < BITS_MIN ? BITS_MIN : bits > BITS_MAX ? BITS_MAX : bits;
}

/* --- what comes of the companion --------------------------------------------------------------------------- */

static void made(void *ctx, const struct companion_frame *c)
{
    struct low *l = ctx;
    struct pictures *p = &l->feed->pictures[QUALITY_LOW];
    struct sample s = {.payload = c->payload, .dts = c->dts, .pts = c->pts, .keyframe = c->keyframe};

    if (c->codec != CODEC_H264)
        return;
    if (c->kind == COMPANION_TRACK) {
        pictures_made_record(p, c->payload);
        return;
    }
    p->awaits_key = p->awaits_key && !s.keyframe;
    if (p->made_record == NULL || p->awaits_key || !pictures_in_order(p, &s))
        return;
    pictures_add(p, &s, l->feed->video_shift);
    feed_flush(l->feed);
}

static void broke(void *ctx)
{
    low_end(((struct low *)ctx)->feed);
}

/* Not from within its own call. */
static void gone(void *ctx)
{
    struct low *l = ctx;

    timer_start(l->feed->room->loop, &l->broken, 0, broke, l);
}

/* --- what comes of the video --------------------------------------------------------------------------------- */

static void take_track(struct low *l, const struct followed *what)
{
    l->codec = what->config.codec;
    l->starves = true;
    (void)companion_give(l->companion, &(struct companion_frame){.kind = COMPANION_TRACK,
                                                                 .codec = l->codec,
                                                                 .rate = rate_of(l->feed),
                                                                 .height = height_of(l->feed),
                                                                 .payload = buffer_bytes(what->record)});
}

static void take_sample(struct low *l, const struct sample *s)
{
    if (l->starves && !s->keyframe)
        return;
    l->starves = !companion_give(l->companion, &(struct companion_frame){.kind = COMPANION_SAMPLE,
                                                                         .codec = l->codec,
                                                                         .keyframe = s->keyframe,
                                                                         .dts = s->dts,
                                                                         .pts = s->pts,
                                                                         .payload = s->payload});
}

static void told(void *ctx, const struct followed *what)
{
    struct low *l = ctx;

    if (what->kind == FOLLOWED_BREAK)
        pictures_break(&l->feed->pictures[QUALITY_LOW]);
    if (what->track != TRACK_VIDEO || l->companion == NULL)
        return; /* the feed hears of the end, too */
    if (what->kind == FOLLOWED_TRACK)
        take_track(l, what);
    else if (what->kind == FOLLOWED_SAMPLE && l->codec != CODEC_NONE)
        take_sample(l, &what->sample);
}

/* --- beginning and end ------------------------------------------------------------------------------------------ */

void low_begin(struct feed *f)
{
    static const struct companion_events events = {made, gone};
    struct low *l = f->low;

    if (l == NULL) {
        l = f->low = mem_new(sizeof *l);
        l->feed = f;
        l->companion = companion_new(f->room->loop, f->room->options.program, &events, l);
        l->follower = live_follow(f->room->options.live, f->video, f->room->loop, told, l);
        metric_add(&lows, 1);
        if (l->companion == NULL || l->follower == NULL)
            gone(l);
    }
    l->wanted_ms = loop_now_ms(f->room->loop);
}

void low_second(struct feed *f, int64_t now_ms)
{
    if (f->low == NULL)
        return;
    list_each(&f->viewers, at, after)
    {
        const struct viewer *v = container_of(at, struct viewer, link);

        if (v->has == QUALITY_LOW || v->wants == QUALITY_LOW)
            f->low->wanted_ms = now_ms;
    }
    if (now_ms - f->low->wanted_ms > WEBRTC_LOW_REST_MS)
        low_end(f);
}

static void free_later(void *ctx)
{
    free(ctx);
}

/* Who is on it waits for the full rendition's next keyframe, and is judged anew from then on. */
void low_end(struct feed *f)
{
    struct low *l = f->low;

    if (l == NULL)
        return;
    f->low = NULL;
    list_each(&f->viewers, at, after)
    {
        struct viewer *v = container_of(at, struct viewer, link);

        line_forget(&v->line);
        v->wants = QUALITY_FULL;
    }
    timer_stop(&l->broken);
    companion_free(l->companion);
    live_unfollow(l->follower);
    pictures_break(&f->pictures[QUALITY_LOW]);
    loop_after_turn(f->room->loop, free_later, l);
}
