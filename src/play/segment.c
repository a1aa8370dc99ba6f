/* play/segment.c - finding segments, and getVideoData: one of them with picture and sound in one file. */
#include "play/play_int.h"

#include <stdio.h>

bool play_ready(const struct video_view *v)
{
    return v->segment_count > 0;
}

const struct codec_config *play_config(const struct video_view *v, enum track track)
{
    for (size_t i = v->segment_count; i > 0; i--) {
        const struct span *s = &v->segments[i - 1].track[track];

        if (s->bytes > 0)
            return &v->inits[track][s->init].config;
    }
    return NULL;
}

struct sum {
    int64_t bytes, ticks, peak;
};

static void add(struct sum *sum, const struct segment *s, uint32_t bytes)
{
    int64_t length = s->end - s->start;

    if (bytes == 0 || length <= 0)
        return;
    sum->bytes += bytes;
    sum->ticks += length;

    int64_t rate = (int64_t)bytes * 8 * CMAF_VIDEO_TIMESCALE / length;

    /* The short end of a publisher says little of what a player must be able to take. */
    if (rate > sum->peak && (length >= 2 * CMAF_VIDEO_TIMESCALE || sum->peak == 0))
        sum->peak = rate;
}

static struct play_bandwidth bandwidth_of(const struct sum *sum)
{
    return (struct play_bandwidth){sum->ticks > 0 ? sum->bytes * 8 * CMAF_VIDEO_TIMESCALE / sum->ticks : 0,
                                   sum->peak};
}

struct play_bandwidth play_bandwidth(const struct video_view *v, enum track track)
{
    struct sum sum = {0, 0, 0};

    for (size_t i = 0; i < v->segment_count; i++)
        add(&sum, &v->segments[i], v->segments[i].track[track].bytes);
    return bandwidth_of(&sum);
}

struct play_bandwidth play_rendition_bandwidth(const struct video_view *v, const struct rendition *r)
{
    struct sum sum = {0, 0, 0};

    for (size_t i = 0; i < r->shown; i++)
        add(&sum, &v->segments[i], r->made[i].bytes);
    return bandwidth_of(&sum);
}

const struct segment *play_segment(const struct video_view *v, uint32_t number)
{
    size_t low = 0, high = v->segment_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (v->segments[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < v->segment_count && v->segments[low].number == number ? &v->segments[low] : NULL;
}

const struct segment *play_segment_at(const struct video_view *v, double offset_s)
{
    size_t low = 0, high = v->segment_count;
    double ticks = offset_s * CMAF_VIDEO_TIMESCALE;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if ((double)v->segments[middle].end <= ticks)
            low = middle + 1;
        else
            high = middle;
    }
    return low < v->segment_count ? &v->segments[low] : NULL;
}

static const char *const device_names[] = {"tv", "desktop", "tablet", "phone"};

const char *device_name(enum device d)
{
    return device_names[d];
}

bool device_parse(const char *text, enum device *out)
{
    for (size_t i = 0; i < sizeof device_names / sizeof *device_names; i++) {
        if (strcmp(text, device_names[i]) == 0) {
            *out = (enum device)i;
            return true;
        }
    }
    return false;
}

uint32_t device_height_max(enum device d)
{
    static const uint32_t heights[] = {2160, 1080, 720, 480};

    return heights[d];
}

/* Where the bytes of a segment are, in one quality. */
struct source {
    const struct video_view *view;
    const struct rendition *rendition; /* NULL: the publisher's own */
    const struct segment *segment;
};

/* Fetches what is stored of a segment; the buffers are the caller's. */
static enum err fetch(struct store *store, const struct source *from, struct stored_track tracks[TRACK_COUNT])
{
    const struct video_view *v = from->view;
    const struct segment *s = from->segment;
    char name[SEGMENT_NAME_SIZE];
    enum err e = ERR_OK;

    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++) {
        if (s->track[t].bytes == 0)
            continue;
        if (t == TRACK_VIDEO && from->rendition != NULL) {
            tracks[t].init =
                rendition_init(from->rendition, from->rendition->made[s - v->segments].init)->bytes;
            rendition_segment_name(name, v->id, from->rendition->name, s);
        } else {
            tracks[t].init = v->inits[t][s->track[t].init].bytes;
            segment_name(name, v->id, (enum track)t, s);
        }
        e = store_get(store, name, &tracks[t].bytes);
    }
    return e;
}

static enum err join(struct store *store, const struct source *from, enum container container, bool header,
                     uint32_t fragment, struct buffer **out)
{
    struct stored_track tracks[TRACK_COUNT] = {0};
    enum err e = fetch(store, from, tracks);

    *out = NULL;
    if (e == ERR_OK)
        e = remux(out, tracks, container, header, fragment);
    for (int t = 0; t < TRACK_COUNT; t++)
        buffer_unref(tracks[t].bytes);
    return e;
}

enum err play_data(struct store *s, const struct video_view *v, const struct rendition *r,
                   const struct segment *segment, enum container container, struct buffer **out)
{
    return join(s, &(struct source){v, r, segment}, container, true, 1, out);
}

enum err play_download_piece(struct store *s, const struct video_view *v, size_t index, struct buffer **out)
{
    return join(s, &(struct source){v, NULL, &v->segments[index]}, CONTAINER_MP4, index == 0,
                (uint32_t)index + 1, out);
}

bool play_downloadable(const struct video_view *v)
{
    for (size_t i = 1; i < v->segment_count; i++)
        for (int t = 0; t < TRACK_COUNT; t++) {
            const struct span *a = &v->segments[0].track[t], *b = &v->segments[i].track[t];

            if ((b->bytes > 0 && a->bytes == 0) || (b->bytes > 0 && a->init != b->init))
                return false;
        }
    return true;
}
