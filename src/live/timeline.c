/* live/timeline.c - mends a publisher's clock: 32 bits that wrap, jumps, resets, and sound whose stamps are
 * rounded to milliseconds.
 *
 * Both tracks share one clock, so a mend moves both and their distance stays what it was. When the clock
 * jumps, stragglers of the other track still carry the old one for a moment: the epoch before is kept. */
#include "live/live_int.h"

#include "base/limits.h"

#include <stdlib.h>

/* How far a sound's stamp may lie from where the frames before it end, and still be taken as rounded. */
#define AUDIO_ROUNDING_MS 16
/* What a mended jump moves the timeline on by: about a frame. */
#define MENDED_STEP_MS 33

void timeline_begin(struct timeline *t, int64_t position_ms)
{
    t->begun = false;
    t->has_before = false;
    t->begin_ms = t->furthest_ms = position_ms;
}

/* The raw stamp, unwrapped to lie near `e->last`. */
static int64_t unwrap(const struct epoch *e, uint32_t raw_ms)
{
    return e->last + (int32_t)(raw_ms - (uint32_t)e->last);
}

static bool lies_on(const struct epoch *e, uint32_t raw_ms)
{
    return llabs(unwrap(e, raw_ms) - e->last) <= TIMESTAMP_JUMP_MS_MAX;
}

/* The time on the timeline in ms, before any rule of a single track. */
static int64_t place_ms(struct timeline *t, uint32_t raw_ms)
{
    struct epoch *e = &t->now;

    if (!t->begun) {
        t->begun = true;
        *e = (struct epoch){raw_ms, t->furthest_ms - (int64_t)raw_ms};
    } else if (!lies_on(e, raw_ms) && t->has_before && t->furthest_ms <= t->before_until_ms &&
               lies_on(&t->before, raw_ms)) {
        e = &t->before;
    } else if (!lies_on(e, raw_ms)) {
        t->before = t->now;
        t->has_before = true;
        t->before_until_ms = t->furthest_ms + TIMESTAMP_JUMP_MS_MAX;
        *e = (struct epoch){raw_ms, t->furthest_ms + MENDED_STEP_MS - (int64_t)raw_ms};
        t->gaps++;
    }
    e->last = unwrap(e, raw_ms);

    int64_t ms = e->last + e->offset;

    if (ms > t->furthest_ms)
        t->furthest_ms = ms;
    return ms > t->begin_ms ? ms : t->begin_ms; /* what is there is the publisher's before */
}

/* A sound stands where the one before it ends, unless its stamp says clearly otherwise. */
static int64_t place_audio(struct timeline *t, int64_t ms, const struct codec_config *audio)
{
    int64_t ticks = ms * audio->rate / 1000;
    int64_t expected = t->track[TRACK_AUDIO].last + audio->frame_samples;

    if (!t->track[TRACK_AUDIO].begun || audio->frame_samples == 0)
        return ticks;
    if (llabs(ticks - expected) <= (int64_t)AUDIO_ROUNDING_MS * audio->rate / 1000)
        return expected;
    t->gaps++;
    return ticks;
}

int64_t timeline_place(struct timeline *t, enum track track, uint32_t raw_ms,
                       const struct codec_config *audio)
{
    int64_t ms = place_ms(t, raw_ms);
    int64_t ticks = track == TRACK_AUDIO ? place_audio(t, ms, audio) : ms * (CMAF_VIDEO_TIMESCALE / 1000);

    if (t->track[track].begun && ticks <= t->track[track].last)
        ticks = t->track[track].last + 1;
    t->track[track].begun = true;
    t->track[track].last = ticks;
    return ticks;
}
