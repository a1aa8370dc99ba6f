/* live/health.c - how a publisher's stream does, in numbers and in words a producer can act on. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/limits.h"

/* Keyframes farther apart than this make viewers wait when they join, and segments uneven. */
#define KEYFRAME_ADVICE_S 4.0

void pulse_begin(struct pulse *p)
{
    *p = (struct pulse){.since_ms = clock_wall_ms(), .second = clock_mono_ms() / 1000, .last_key_90k = -1};
}

bool pulse_count(struct pulse *p, size_t bytes, enum track track, bool keyframe, int64_t pts_90k)
{
    int64_t second = clock_mono_ms() / 1000;
    bool news = second != p->second;

    for (int64_t s = p->second + 1; s <= second && s <= p->second + PULSE_SECONDS; s++)
        p->ring[s % PULSE_SECONDS].bytes = p->ring[s % PULSE_SECONDS].pictures = 0;
    p->second = second;
    p->ring[second % PULSE_SECONDS].bytes += bytes;
    if (track == TRACK_VIDEO) {
        p->ring[second % PULSE_SECONDS].pictures++;
        if (keyframe && p->last_key_90k >= 0)
            p->key_distance_90k = pts_90k - p->last_key_90k;
        if (keyframe)
            p->last_key_90k = pts_90k;
        else if (p->last_key_90k >= 0 && pts_90k - p->last_key_90k > p->key_distance_90k)
            p->key_distance_90k = pts_90k - p->last_key_90k; /* the open one is longer already */
    }
    return news;
}

void pulse_read(const struct pulse *p, const struct codec_config config[TRACK_COUNT], double gop_s_max,
                struct health *out)
{
    int64_t now_ms = clock_wall_ms(), age_s = (now_ms - p->since_ms) / 1000;
    uint64_t bytes = 0, pictures = 0;
    size_t note = 0;

    /* The second that runs is not whole, so it is left out. */
    for (int64_t s = p->second - PULSE_SECONDS + 1; s < p->second; s++) {
        bytes += p->ring[((s % PULSE_SECONDS) + PULSE_SECONDS) % PULSE_SECONDS].bytes;
        pictures += p->ring[((s % PULSE_SECONDS) + PULSE_SECONDS) % PULSE_SECONDS].pictures;
    }

    int64_t seconds = age_s < 1 ? 1 : age_s < PULSE_SECONDS - 1 ? age_s : PULSE_SECONDS - 1;

    out->publishing = true;
    out->since_ms = p->since_ms;
    out->heard_ms = now_ms;
    out->video = config[TRACK_VIDEO].codec;
    out->audio = config[TRACK_AUDIO].codec;
    out->width = config[TRACK_VIDEO].width;
    out->height = config[TRACK_VIDEO].height;
    out->bitrate = (int64_t)(bytes * 8) / seconds;
    out->fps = (double)pictures / (double)seconds;
    out->keyframe_interval_s = (double)p->key_distance_90k / CMAF_VIDEO_TIMESCALE;
    memset(out->notes, 0, sizeof out->notes);
    if (out->keyframe_interval_s * 1000 > GOP_WARN_MS)
        out->notes[note++] =
            "No keyframe for more than 20 s: viewers cannot join. Set the keyframe interval to 2 s.";
    else if (gop_s_max > 0 && out->keyframe_interval_s > gop_s_max)
        out->notes[note++] =
            "Keyframes come more seldom than at the start of this video: segments grow too long for "
            "players. Set the keyframe interval to 2 s.";
    else if (out->keyframe_interval_s > KEYFRAME_ADVICE_S)
        out->notes[note++] =
            "Keyframes are far apart, so viewers wait when they join. Set the keyframe interval to 2 s.";
    if (out->audio == CODEC_NONE && age_s >= 3)
        out->notes[note++] =
            "No sound is arriving. If that is not meant, check the audio sources of your encoder.";
    if (out->video == CODEC_NONE && age_s >= 3)
        out->notes[note++] =
            "No picture is arriving. If that is not meant, check the video source of your encoder.";
}
