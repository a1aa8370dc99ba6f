/* media/timing.c - when the pictures of a chunk are shown, known before any of them is decoded: what came
 * out of the decoder is held against it, and pictures above the rate are left out by it. */
#include "media/av_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

/* Whether every box ends within `in`: a chunk that was cut short is told before a decoder sees it. */
static bool is_whole(struct bytes in)
{
    while (in.size > 0) {
        struct cursor c = cursor_of(in);
        uint64_t size = cursor_be32(&c);

        cursor_take(&c, 4);
        if (size == 1)
            size = cursor_be64(&c);
        if (c.short_of || size < 8 || size > in.size)
            return false;
        in = bytes_from(in, size);
    }
    return true;
}

/* The times of every sample as they are stored, and what all of them last. */
static enum err collect(struct timing *t, AVFormatContext *format)
{
    const AVStream *stream = format->streams[0];
    AVPacket *packet = av_packet_alloc();
    enum err e = ERR_OK;

    if (packet == NULL)
        return ERR_LIMIT;
    for (; e == ERR_OK && av_read_frame(format, packet) >= 0; av_packet_unref(packet)) {
        if (t->count == CMAF_CHUNK_SAMPLES_MAX)
            e = ERR_LIMIT;
        else if (packet->pts == AV_NOPTS_VALUE || packet->flags & AV_PKT_FLAG_CORRUPT)
            e = ERR_BAD;
        else {
            t->dts[t->count] = packet->dts;
            t->pts[t->count++] = packet->pts;
        }
    }
    av_packet_free(&packet);
    if (e == ERR_OK && (t->count == 0 || (size_t)avformat_index_get_entries_count(stream) != t->count ||
                        stream->time_base.num != 1 || stream->time_base.den != CMAF_VIDEO_TIMESCALE))
        e = ERR_BAD;
    t->ticks = stream->duration - t->dts[0]; /* the demuxer counts the durations as it meets them */
    return e;
}

/* Rising, none twice: two pictures at one tick cannot both be shown. */
static void sort(struct timing *t)
{
    int64_t first = t->pts[0];
    size_t kept = 0;

    qsort(t->pts, t->count, sizeof *t->pts, compare);
    for (size_t i = 0; i < t->count; i++)
        if (kept == 0 || t->pts[i] != t->pts[kept - 1])
            t->pts[kept++] = t->pts[i];
    t->count = kept;
    while (t->pts[t->leading] < first)
        t->leading++;
}

/* Five in a hundred are no other rate: stamps in milliseconds make 62.5 pictures a second of 60. */
static size_t every_of(const struct timing *t, uint32_t fps_max)
{
    int64_t span = t->pts[t->count - 1] - t->pts[0];
    int64_t pictures = (int64_t)(t->count - 1) * CMAF_VIDEO_TIMESCALE;
    int64_t most = span * fps_max * 105 / 100;

    return t->count < 2 || pictures <= most ? 1 : (size_t)((pictures + most - 1) / most);
}

enum err timing_read(struct timing *out, struct bytes init, struct bytes chunk, uint32_t fps_max,
                     char why[256])
{
    struct demux demux = {0};
    enum err e = ERR_BAD;

    *out = (struct timing){.pts = mem_new(CMAF_CHUNK_SAMPLES_MAX * sizeof *out->pts),
                           .dts = mem_new(CMAF_CHUNK_SAMPLES_MAX * sizeof *out->dts)};
    if (is_whole(chunk) && (e = demux_open(&demux, init, chunk)) == ERR_OK)
        e = collect(out, demux.format);
    demux_close(&demux);
    if (e == ERR_OK && (out->pts[0] < INT64_MIN / 2 || out->pts[0] > INT64_MAX / 2 || out->ticks <= 0))
        e = ERR_BAD;
    if (e == ERR_OK) {
        sort(out);
        out->every = every_of(out, fps_max);
        return ERR_OK;
    }
    timing_drop(out);
    snprintf(why, 256,
             e == ERR_LIMIT ? "the chunk has more than %d pictures" : "the chunk is cut short, or none",
             CMAF_CHUNK_SAMPLES_MAX);
    return ERR_BAD;
}

void timing_drop(struct timing *t)
{
    free(t->pts);
    free(t->dts);
    *t = (struct timing){0};
}

long timing_find(const struct timing *t, int64_t pts)
{
    const int64_t *found = bsearch(&pts, t->pts, t->count, sizeof *t->pts, compare);

    return found == NULL ? -1 : found - t->pts;
}

AVRational timing_rate(const struct timing *t)
{
    AVRational rate = {30, 1}; /* of a single picture there is none to tell */
    int64_t span = t->pts[t->count - 1] - t->pts[0];

    if (t->count > 1)
        av_reduce(&rate.num, &rate.den, (int64_t)(t->count - 1) * CMAF_VIDEO_TIMESCALE,
                  span * (int64_t)t->every, 100000);
    return rate;
}
