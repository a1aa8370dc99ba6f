/* play/dash.c - the MPEG-DASH manifest (ISO/IEC 23009-1) over the same files as HLS.
 *
 * SegmentTimeline, so that every duration is exact. While the video is live its open segment is listed too, with the length that it
 * will probably have: it is fetched while it grows (DASH-IF low-latency-live-v5), and the next manifest says how long it became. A Period ends where what follows could not be appended
 * to the same decoder or the numbers skip: another init segment, or the torn end of a crash. */
#include "play/play_int.h"

#include "base/clock.h"

#include <assert.h>

/* How far behind the source a player is to be where that is all there is: a few parts, and the way. */
#define NEAR_MS 1800u
/* The same in the manifest for those who want low latency. Players that know nothing of a latency begin at the delay; Shaka Player takes
 * what is behind that for latency, and so comes to stand at one and a half seconds. */
#define LOW_LATENCY_MS 1200u
#define LOW_DELAY_MS   600u
/* How far the timeline may be off the wall's clock where such a delay is advised. */
#define OFF_MS_MAX 500

/* A run of segments that one Period holds. */
struct run {
    size_t from, to;
};

static bool breaks(const struct segment *a, const struct segment *b)
{
    for (int t = 0; t < TRACK_COUNT; t++)
        if ((a->track[t].bytes > 0) != (b->track[t].bytes > 0) ||
            (a->track[t].bytes > 0 && a->track[t].init != b->track[t].init))
            return true;
    return b->number != a->number + 1;
}

/* What a manifest is printed from. */
struct source {
    const struct video_view *view;
    const struct edge *edge; /* NULL: it is not live */
    bool low;                /* only what shares the edge */
};

/* Nearer to the edge the wall's clock counts: another publisher's absence is no part of the timeline, but it is of a player's
 * latency. So each publisher gets a Period of its own, which starts when that came. */
static struct run next_run(const struct source *from, size_t at)
{
    const struct video_view *v = from->view;
    struct run r = {at, at + 1};

    while (r.to < v->segment_count && !breaks(&v->segments[r.to - 1], &v->segments[r.to]) &&
           !(from->low && v->segments[r.to].discontinuity))
        r.to++;
    return r;
}

static double period_start_s(const struct source *from, const struct segment *first)
{
    if (from->low)
        return (double)(first->wall_ms - from->view->segments[0].wall_ms) / 1000;
    return (double)first->start / CMAF_VIDEO_TIMESCALE;
}

/* --- the open segment -------------------------------------------------------------------------------- */

/* How long segments are, until it is known better: as long as the newest, in ticks of 1/90000 s. */
static int64_t usual_length(const struct video_view *v)
{
    const struct segment *last = &v->segments[v->segment_count - 1];

    return last->end - last->start;
}

/* Whether the shelf goes on where `last` ends, so that it is of the same Period. */
static bool follows(const struct shelf *s, const struct segment *last, uint32_t number)
{
    if (s->number != number || s->discontinuity)
        return false;
    for (int t = 0; t < TRACK_COUNT; t++)
        if (s->has[t] != (last->track[t].bytes > 0) || (s->has[t] && s->init[t] != last->track[t].init))
            return false;
    return true;
}

/* Segments that are open: one, or two while the sounds of the older one are on their way. */
static void print_open(struct builder *b, const struct edge *e, enum track t, uint32_t rate)
{
    const struct video_view *v = e->view;
    const struct segment *last = &v->segments[v->segment_count - 1];
    uint32_t number = last->number + 1;

    for (size_t i = 0; i < e->shelf_count; i++) {
        const struct shelf *s = &e->shelves[i];
        bool cut = i + 1 < e->shelf_count;
        int64_t length = cut ? e->shelves[i + 1].start - s->start : usual_length(v);

        if (s->number < number)
            continue;
        if (!follows(s, last, number))
            return;
        builder_printf(b, "<S d=\"%lld\"/>", (long long)(length * rate / CMAF_VIDEO_TIMESCALE));
        number++;
    }
}

/* <S> elements; equal neighbours that touch are counted with @r. */
static void print_timeline(struct builder *b, const struct source *from, struct run run, enum track t,
                           uint32_t rate)
{
    const struct video_view *v = from->view;
    int64_t expected = -1;

    builder_text(b, "<SegmentTimeline>");
    for (size_t i = run.from; i < run.to;) {
        const struct span *s = &v->segments[i].track[t];
        int64_t length = s->end - s->start, next = s->end;
        size_t more = 0;

        for (i++; i < run.to; i++, more++, next += length) {
            const struct span *after = &v->segments[i].track[t];

            if (after->start != next || after->end - after->start != length)
                break;
        }
        builder_text(b, "<S");
        if (s->start != expected)
            builder_printf(b, " t=\"%lld\"", (long long)s->start);
        builder_printf(b, " d=\"%lld\"", (long long)length);
        if (more > 0)
            builder_printf(b, " r=\"%zu\"", more);
        builder_text(b, "/>");
        expected = next;
    }
    if (rate > 0)
        print_open(b, from->edge, t, rate);
    builder_text(b, "</SegmentTimeline>");
}

/* A Representation: a track of the publisher's own bits, or a rendition. */
struct choice {
    const char *name;
    const struct codec_config *config;
    enum track track;
    uint32_t init;
    int64_t bandwidth;
    struct run run;
    bool made;
};

/* How much earlier than its end a segment may be asked for: all of its length but its first part. */
static void print_offset(struct builder *b, const struct source *from, const struct choice *c)
{
    int64_t offset = usual_length(from->view) - from->edge->part_90k[c->track];

    if (offset > 0)
        builder_printf(b, " availabilityTimeOffset=\"%.3f\" availabilityTimeComplete=\"false\"",
                       (double)offset / CMAF_VIDEO_TIMESCALE);
}

static void print_choice(struct builder *b, const struct source *from, const struct choice *c)
{
    const struct video_view *v = from->view;
    bool grows =
        from->edge != NULL && from->edge->part_90k[c->track] > 0 && !c->made && c->run.to == v->segment_count;
    const struct segment *first = &v->segments[c->run.from];
    uint32_t timescale = c->track == TRACK_VIDEO ? CMAF_VIDEO_TIMESCALE : c->config->rate;

    builder_printf(b, "<Representation id=\"%s\" codecs=\"%s\" bandwidth=\"%lld\"", c->name,
                   c->config->rfc6381, (long long)c->bandwidth);
    if (c->track == TRACK_VIDEO)
        builder_printf(b, " width=\"%u\" height=\"%u\">", c->config->width, c->config->height);
    else
        builder_printf(
            b,
            " audioSamplingRate=\"%u\"><AudioChannelConfiguration "
            "schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"%u\"/>",
            c->config->rate, c->config->channels);
    builder_printf(
        b,
        "<SegmentTemplate timescale=\"%u\" presentationTimeOffset=\"%lld\" startNumber=\"%u\" "
        "initialization=\"$RepresentationID$/init-%u.mp4\" media=\"$RepresentationID$/$Number%%06d$.m4s\"",
        timescale, (long long)(first->start * timescale / CMAF_VIDEO_TIMESCALE), first->number, c->init);
    if (grows)
        print_offset(b, from, c);
    builder_text(b, ">");
    print_timeline(b, from, c->run, c->track, grows ? timescale : 0);
    builder_text(b, "</SegmentTemplate></Representation>");
}

static struct choice track_choice(const struct video_view *v, struct run run, enum track t)
{
    const struct init *init = &v->inits[t][v->segments[run.from].track[t].init];

    return (struct choice){track_rendition(t),        &init->config, t,    init->number,
                           play_bandwidth(v, t).peak, run,           false};
}

/* What a rendition has of a Period, from its beginning; false: nothing. A gap within is listed, and asking for
 * it is answered 404: players go to another Representation for it. */
static bool rendition_choice(const struct video_view *v, const struct rendition *r, struct run run,
                             struct choice *out)
{
    const struct init *init = NULL;

    if (run.to > r->shown)
        run.to = r->shown;
    for (size_t i = run.from; i < run.to && init == NULL; i++)
        if (r->made[i].state == MADE_WHOLE)
            init = rendition_init(r, r->made[i].init);
    if (init == NULL || !play_listed(v, r))
        return false;
    *out = (struct choice){
        r->name, &init->config, TRACK_VIDEO, init->number, play_rendition_bandwidth(v, r).peak, run, true};
    return true;
}

/* What the boxes in the segments say (prft), once more: which wall clock belongs to which instant. */
static void print_reference(struct builder *b, const struct segment *first, enum track t)
{
    char time[CLOCK_TEXT_SIZE];

    builder_printf(b,
                   "<ProducerReferenceTime id=\"%u\" inband=\"true\" type=\"captured\" wallClockTime=\"%s\" "
                   "presentationTime=\"%lld\"><UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" "
                   "value=\"/api/v1/time\"/></ProducerReferenceTime>",
                   (unsigned)t, clock_text(first->wall_ms, time), (long long)first->track[t].start);
}

static void open_set(struct builder *b, unsigned id, enum track t, const struct source *from,
                     const struct segment *first)
{
    builder_printf(
        b,
        "<AdaptationSet id=\"%u\" contentType=\"%s\" mimeType=\"%s/mp4\" segmentAlignment=\"true\" "
        "startWithSAP=\"1\"%s>",
        id, t == TRACK_VIDEO ? "video" : "audio", t == TRACK_VIDEO ? "video" : "audio",
        t == TRACK_AUDIO ? " lang=\"und\"" : "");
    if (from->edge != NULL)
        print_reference(b, first, t);
}

/* One AdaptationSet for each codec: players switch within one. The ids say which codec it is, so that they are the same in
 * every Period and every update. */
static void print_pictures(struct builder *b, const struct source *from, struct run run)
{
    const struct video_view *v = from->view;
    struct choice choices[RENDITIONS_MAX + 1] = {track_choice(v, run, TRACK_VIDEO)};
    size_t count = 1;
    static const enum codec codecs[] = {CODEC_H264, CODEC_HEVC, CODEC_AV1};

    for (size_t i = 0; i < v->rendition_count && !from->low; i++)
        count += rendition_choice(v, &v->renditions[i], run, &choices[count]);
    for (size_t k = 0; k < sizeof codecs / sizeof *codecs; k++) {
        bool opened = false;

        for (size_t i = 0; i < count; i++) {
            assert(choices[i].config != NULL);
            if (choices[i].config->codec != codecs[k])
                continue;
            if (!opened)
                open_set(b, codecs[k] == choices[0].config->codec ? 1 : 10 + (unsigned)k, TRACK_VIDEO, from,
                         &v->segments[run.from]);
            opened = true;
            print_choice(b, from, &choices[i]);
        }
        if (opened)
            builder_text(b, "</AdaptationSet>\n");
    }
}

static void print_period(struct builder *b, const struct source *from, struct run run)
{
    const struct video_view *v = from->view;
    const struct segment *first = &v->segments[run.from];

    builder_printf(b, "<Period id=\"p%u\" start=\"PT%.5fS\">\n", first->number, period_start_s(from, first));
    if (first->track[TRACK_VIDEO].bytes > 0)
        print_pictures(b, from, run);
    if (first->track[TRACK_AUDIO].bytes > 0) {
        struct choice sound = track_choice(v, run, TRACK_AUDIO);

        open_set(b, 2, TRACK_AUDIO, from, first);
        print_choice(b, from, &sound);
        builder_text(b, "</AdaptationSet>\n");
    }
    builder_text(b, "</Period>\n");
}

/* When the newest segment was done. Not the clock's time now: the same view must give the same text after a
 * restart, for its ETag is the same. */
static int64_t published_ms(const struct video_view *v)
{
    const struct segment *last = &v->segments[v->segment_count - 1];

    return last->wall_ms + (last->end - last->start) / (CMAF_VIDEO_TIMESCALE / 1000);
}

/* What is closer to the edge than a segment is for those whose every Representation is there: with a made one among them, who
 * changed to it would have to wait. */
static bool all_share_edge(const struct source *from)
{
    bool shares = true;

    for (size_t i = 0; i < from->view->rendition_count && !from->low; i++)
        shares = shares && !play_listed(from->view, &from->view->renditions[i]);
    return shares;
}

/* Whether the timeline runs with the wall's clock, so that latency can be told from it: nobody was away for long. */
static bool in_step(const struct source *from)
{
    const struct segment *first = &from->view->segments[0], *last = first + from->view->segment_count - 1;
    int64_t off_ms =
        last->wall_ms - first->wall_ms - (last->start - first->start) * 1000 / CMAF_VIDEO_TIMESCALE;

    return from->low || (off_ms < OFF_MS_MAX && off_ms > -OFF_MS_MAX);
}

/* Players reckon the live edge from the longest segment that is promised, and are late by what is promised too much. */
static double longest_s(const struct source *from)
{
    const struct video_view *v = from->view;
    int64_t longest = 0;

    for (size_t i = 0; i < v->segment_count; i++)
        if (v->segments[i].end - v->segments[i].start > longest)
            longest = v->segments[i].end - v->segments[i].start;
    return (double)longest / CMAF_VIDEO_TIMESCALE;
}

/* A player learns of the next segment from the manifest: near the edge it must do so before it has played what it has of this one. */
static void print_dynamic(struct builder *b, const struct source *from)
{
    char start[CLOCK_TEXT_SIZE], published[CLOCK_TEXT_SIZE];
    const struct video_view *v = from->view;
    bool near = from->edge != NULL && all_share_edge(from) && in_step(from);
    unsigned usual_ms = near ? NEAR_MS : (v->target_duration_s + 4) * 1000;
    bool low = near && from->low;
    unsigned delay_ms = low ? LOW_DELAY_MS : usual_ms, latency_ms = low ? LOW_LATENCY_MS : usual_ms;

    builder_printf(
        b,
        "type=\"dynamic\" availabilityStartTime=\"%s\" publishTime=\"%s\" minimumUpdatePeriod=\"PT%.1fS\" "
        "suggestedPresentationDelay=\"PT%.1fS\" maxSegmentDuration=\"PT%.3fS\" minBufferTime=\"PT%dS\">\n",
        clock_text(v->segments[0].wall_ms, start), clock_text(published_ms(v), published), near ? 0.5 : 2.0,
        delay_ms / 1000.0, low ? longest_s(from) : v->target_duration_s, near ? 1 : 4);
    if (from->edge != NULL)
        builder_printf(
            b,
            "<ServiceDescription id=\"0\"><Latency referenceId=\"0\" target=\"%u\" min=\"%u\" max=\"%u\"/>"
            "<PlaybackRate min=\"0.93\" max=\"1.04\"/></ServiceDescription>\n",
            latency_ms, latency_ms / 2, latency_ms * 4);
}

static struct buffer *print(const struct source *from)
{
    const struct video_view *v = from->view;
    struct builder b = {0};

    builder_text(&b,
                 "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
                 "profiles=\"urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019\" ");
    if (play_open(v))
        print_dynamic(&b, from);
    else
        builder_printf(&b, "type=\"static\" mediaPresentationDuration=\"PT%.5fS\" minBufferTime=\"PT4S\">\n",
                       video_view_duration_s(v));
    for (struct run run = {0, 0}; run.to < v->segment_count;) {
        run = next_run(from, run.to);
        print_period(&b, from, run);
    }
    if (play_open(v))
        builder_text(
            &b, "<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"/api/v1/time\"/>\n");
    builder_text(&b, "</MPD>\n");
    return builder_finish(&b);
}

static struct buffer *print_manifest(struct video_view *v, unsigned slot)
{
    return print(&(struct source){.view = v});
}

struct buffer *play_manifest(struct video_view *v)
{
    return video_view_cached(v, SLOT_MANIFEST, print_manifest);
}

static struct buffer *print_edge(struct edge *e, unsigned slot, void *ctx)
{
    const bool *low = ctx;

    return print(&(struct source){e->view, e, *low});
}

struct buffer *play_edge_manifest(struct edge *e, bool low)
{
    return edge_cached(e, EDGE_MANIFEST + low, print_edge, &low);
}
