/* live/parts.c - how long the parts of a segment are, and shelves: the parts of one segment.
 *
 * Every part but a segment's last must have at least 85 % of the length that the playlist promises, and none more
 * (RFC 8216bis §4.4.4.9). So the length is chosen once per video, as a whole number of pictures that a whole number of seconds
 * is made of: then keyframes begin parts, too, with every encoder that sets them a whole number of seconds apart. */
#include "live/live_int.h"

#include "base/mem.h"

#include <stdlib.h>

#define MS 90 /* ticks */

/* The shorter the parts the lower the latency, and the more requests. RTMP's stamps are rounded to milliseconds. */
uint32_t parts_of_pictures(int64_t distance_90k)
{
    static const int64_t lengths[] = {250 * MS, 200 * MS, 30000 /* 1/3 s */, 400 * MS, 500 * MS};
    const int64_t usual = 30000;

    if (distance_90k <= 0)
        return 0;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int64_t count = (lengths[i] + distance_90k / 2) / distance_90k;
        int64_t off = count * distance_90k - lengths[i];

        if (count > 0 && off <= 3 * MS && off >= -3 * MS)
            return (uint32_t)(count * distance_90k + MS);
    }
    return (uint32_t)((usual + distance_90k - 1) / distance_90k * distance_90k + MS);
}

uint32_t parts_of_sounds(const struct codec_config *config)
{
    const int64_t longest = 250 * MS;
    /* Opus frames may have any length; nearly all have 20 ms. */
    int64_t samples = config->frame_samples > 0 ? config->frame_samples : config->rate / 50;
    int64_t ticks = config->rate > 0 ? samples * CMAF_VIDEO_TIMESCALE / config->rate : 0;
    int64_t count = ticks > 0 && longest > ticks ? longest / ticks : 1;

    if (ticks == 0)
        return 0;
    return (uint32_t)((count * samples * CMAF_VIDEO_TIMESCALE + config->rate - 1) / config->rate);
}

void shelf_fill(struct shelf *s, enum track track, struct bytes of)
{
    for (size_t i = s->count[track]; i > 0 && s->parts[track][i - 1].bytes == NULL; i--) {
        struct part *p = &s->parts[track][i - 1];

        p->bytes = buffer_copy(bytes_head(bytes_from(of, p->at), p->size));
    }
}

struct shelf shelf_copy(const struct shelf *s)
{
    struct shelf copy = *s;

    for (int t = 0; t < TRACK_COUNT; t++) {
        copy.parts[t] = mem_new(s->count[t] * sizeof *copy.parts[t]);
        for (size_t i = 0; i < s->count[t]; i++) {
            copy.parts[t][i] = s->parts[t][i];
            if (copy.parts[t][i].bytes != NULL)
                buffer_ref(copy.parts[t][i].bytes);
        }
    }
    return copy;
}

void shelf_drop(struct shelf *s)
{
    for (int t = 0; t < TRACK_COUNT; t++) {
        for (size_t i = 0; i < s->count[t]; i++)
            buffer_unref(s->parts[t][i].bytes);
        free(s->parts[t]);
        s->parts[t] = NULL;
        s->count[t] = 0;
    }
}
