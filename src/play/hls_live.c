/* play/hls_live.c - media playlists of a live video, with low latency (RFC 8216bis): parts, a hint at the next one, reports of the
 * other playlists, delta updates, and when a blocked request may be answered.
 *
 * A segment's media sequence number is its place in the view. The open segment comes behind them, as parts only; its name is listed
 * once all of its tracks are done, and no part of the next one before that. There is no EXT-X-PLAYLIST-TYPE, for parts are taken
 * away again (§6.2.1), but every segment stays. */
#include "play/play_int.h"

#include "base/clock.h"
#include "base/limits.h"

/* The advance part limit (§6.2.5.2): requests beyond it are mistakes. */
#define ADVANCE_90K (3 * CMAF_VIDEO_TIMESCALE)
/* How far behind a playlist's end a delta update may begin, in target durations (§4.4.3.8). */
#define SKIP_TARGETS 6
#define HOLD_TARGETS 3
#define HOLD_PARTS   3
/* How far from the edge the source is played by who may change to what is made of it, in chunks: that is behind by less than
 * play_keeps_up() allows, and then there is one more chunk of it to begin with. */
#define STEADY_CHUNKS 4

const struct shelf *play_open_shelf(const struct edge *e)
{
    const struct video_view *v = e->view;
    int64_t last = v->segment_count > 0 ? (int64_t)v->segments[v->segment_count - 1].number : -1;

    for (size_t i = 0; i < e->shelf_count; i++)
        if ((int64_t)e->shelves[i].number > last)
            return &e->shelves[i];
    return NULL;
}

const struct shelf *play_shelf(const struct edge *e, uint32_t number)
{
    for (size_t i = 0; i < e->shelf_count; i++)
        if (e->shelves[i].number == number)
            return &e->shelves[i];
    return NULL;
}

/* --- where a playlist ends --------------------------------------------------------------------------- */

static size_t whole_count(const struct edge *e, const struct play_list *l)
{
    return l->rendition != NULL ? l->rendition->shown : e->view->segment_count;
}

/* The number of parts of the segment behind the whole ones. */
static size_t open_count(const struct edge *e, const struct play_list *l)
{
    const struct made_part *made;

    if (l->rendition != NULL)
        return made_parts(e->view, l->rendition, l->rendition->shown, &made);

    const struct shelf *open = play_open_shelf(e);

    return open != NULL ? open->count[l->track] : 0;
}

/* The number of parts that are known of the whole segment at `at`; 0: none are. */
static size_t parts_at(const struct edge *e, const struct play_list *l, size_t at)
{
    const struct made_part *made;

    if (l->rendition != NULL)
        return made_parts(e->view, l->rendition, at, &made);

    const struct shelf *s = play_shelf(e, e->view->segments[at].number);

    return s != NULL ? s->count[l->track] : 0;
}

/* What a playlist ends with; part -1: a segment. */
struct last {
    int64_t msn, part;
};

static struct last last_of(const struct edge *e, const struct play_list *l)
{
    size_t whole = whole_count(e, l), open = open_count(e, l);

    if (open > 0)
        return (struct last){(int64_t)whole, (int64_t)open - 1};
    return (struct last){(int64_t)whole - 1, whole > 0 ? (int64_t)parts_at(e, l, whole - 1) - 1 : -1};
}

static bool is_open(const struct edge *e, const struct play_list *l)
{
    return e->view->live || (l->rendition != NULL && l->rendition->shown < e->view->segment_count);
}

static uint32_t part_target(const struct edge *e, const struct play_list *l)
{
    return l->rendition != NULL ? e->view->chunk_90k : e->part_90k[l->track];
}

static uint64_t advance_limit(const struct edge *e, const struct play_list *l)
{
    uint32_t part = part_target(e, l);

    if (part == 0 || part >= CMAF_VIDEO_TIMESCALE)
        return 3;
    return (ADVANCE_90K + part - 1) / part;
}

enum play_answer play_edge_has(const struct edge *e, const struct play_list *l, const struct play_wish *wish)
{
    uint64_t whole = whole_count(e, l), msn = wish->msn, part = wish->has_part ? wish->part : 0;
    struct last last = last_of(e, l);
    uint64_t limit = advance_limit(e, l);
    size_t known;

    if (!wish->waits || !is_open(e, l))
        return PLAY_NOW;
    if (wish->has_part && msn < whole && (known = parts_at(e, l, msn)) > 0 && part >= known) {
        msn++; /* it has ended without: the first of the next is meant */
        part = 0;
    }
    if (msn < whole)
        return PLAY_NOW;
    if ((int64_t)msn > last.msn + 2)
        return PLAY_NEVER;
    if (wish->has_part && msn == whole && part < open_count(e, l))
        return PLAY_NOW;
    if (part > (last.msn == (int64_t)msn ? (uint64_t)last.part + limit : limit))
        return PLAY_NEVER;
    return PLAY_LATER;
}

/* Of the segment behind the last one that is whole. */
static uint32_t next_number(const struct video_view *v)
{
    return v->segment_count > 0 ? v->segments[v->segment_count - 1].number + 1 : 0;
}

enum play_answer play_edge_part(const struct edge *e, enum track track, uint32_t segment, uint64_t part,
                                const struct part **out)
{
    const struct shelf *s = play_shelf(e, segment), *open = play_open_shelf(e);
    uint32_t next = next_number(e->view);
    uint32_t newest = e->shelf_count > 0 ? e->shelves[e->shelf_count - 1].number : next;

    *out = NULL;
    if (s != NULL && part < s->count[track]) {
        *out = &s->parts[track][part];
        return PLAY_NOW;
    }
    if (!e->view->live || segment < (open != NULL ? open->number : next))
        return PLAY_NEVER;
    if (open == NULL && !e->publishing) /* otherwise one is open, of which nobody wanted to know until now */
        return PLAY_NEVER;
    if (s != NULL && track == TRACK_VIDEO && s->cut)
        return PLAY_NEVER;
    if (segment > newest + 1 ||
        part > (s != NULL ? s->count[track] : 0) + advance_limit(e, &(struct play_list){track, NULL, false}))
        return PLAY_NEVER;
    return PLAY_LATER;
}

/* --- printing ---------------------------------------------------------------------------------------- */

struct printing {
    const struct edge *edge;
    const struct play_list *list;
    struct listing listing;
};

/* The part of a segment that is so many ticks behind its first. */
static void print_part(struct builder *b, int64_t from, int64_t duration, uint32_t rate, uint32_t segment,
                       size_t part, bool independent)
{
    int64_t length = hls_units(from + duration, rate) - hls_units(from, rate);

    builder_printf(b, "#EXT-X-PART:DURATION=%.5f,URI=\"%06u.%zu.m4s\"%s\n", (double)length / HLS_UNITS,
                   segment, part, independent ? ",INDEPENDENT=YES" : "");
}

static void print_made_parts(struct builder *b, const struct made_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) /* each is encoded by itself, and begins with a keyframe */
        print_part(b, parts[i].start - parts->start, parts[i].duration, CMAF_VIDEO_TIMESCALE, parts[i].number,
                   i, true);
}

static void print_parts(struct builder *b, const struct printing *p, const struct shelf *s)
{
    enum track t = p->list->track;
    uint32_t rate = t == TRACK_VIDEO ? CMAF_VIDEO_TIMESCALE : p->edge->view->inits[t][s->init[t]].config.rate;

    for (size_t i = 0; i < s->count[t]; i++) {
        const struct part *part = &s->parts[t][i];

        print_part(b, part->start - s->parts[t]->start, part->duration, rate, s->number, i,
                   part->independent);
    }
}

/* Parts of the last segments stand before them. */
static void print_parts_at(struct builder *b, const void *ctx, size_t at)
{
    const struct printing *p = ctx;
    const struct shelf *s = play_shelf(p->edge, p->listing.view->segments[at].number);
    const struct made_part *made;

    if (at + LIVE_PART_SEGMENTS_LISTED < p->listing.count)
        return;
    if (p->list->rendition != NULL) {
        size_t count = made_parts(p->edge->view, p->list->rendition, at, &made);

        print_made_parts(b, made, count);
    } else if (s != NULL) {
        print_parts(b, p, s);
    }
}

static void print_hint(struct builder *b, const struct printing *p, const struct shelf *open)
{
    enum track t = p->list->track;

    if (open->cut && t == TRACK_VIDEO)
        builder_printf(b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%06u.0.m4s\"\n", open->number + 1);
    else
        builder_printf(b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%06u.%zu.m4s\"\n", open->number,
                       open->count[t]);
}

static void print_open(struct builder *b, const struct printing *p, int64_t *init)
{
    const struct shelf *open = play_open_shelf(p->edge);

    if (open == NULL || !open->has[p->list->track])
        return;
    hls_before(b, open->discontinuity, p->listing.count == 0, init, open->init[p->list->track],
               open->wall_ms);
    print_parts(b, p, open);
    if (p->edge->publishing)
        print_hint(b, p, open);
}

/* The segment that is being made: its parts, and a hint at the next one, which may be the first of the segment behind it. */
static void print_made_open(struct builder *b, const struct printing *p, int64_t *init)
{
    const struct video_view *v = p->edge->view;
    const struct rendition *r = p->list->rendition;
    const struct made_part *made;
    size_t count = made_parts(v, r, r->shown, &made), next = count;
    uint32_t number = r->shown < v->segment_count ? v->segments[r->shown].number
                                                  : v->segments[v->segment_count - 1].number + 1;

    if (v->chunk_90k == 0)
        return;
    if (count > 0) {
        hls_before(b, made->discontinuity, p->listing.count == 0, init, made->init, made->wall_ms);
        print_made_parts(b, made, count);
        number = made->number;
        if (made[count - 1].last)
            number++, next = 0;
    }
    if (p->edge->publishing)
        builder_printf(b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%06u.%zu.m4s\"\n", number, next);
}

static void print_report(struct builder *b, const struct edge *e, const struct play_list *l)
{
    struct last last = last_of(e, l);

    /* hls.js reads a last part of 0 as none, asks for the number that it plays of the source, and gives the rendition up when it is
     * told that there is no such part. A report may be a little old. */
    if (l->rendition != NULL && last.part == 0 && last.msn > 0)
        last = (struct last){last.msn - 1, (int64_t)parts_at(e, l, (size_t)last.msn - 1) - 1};
    builder_printf(b, "#EXT-X-RENDITION-REPORT:URI=\"../%s/%s\",LAST-MSN=%lld",
                   l->rendition ? l->rendition->name : track_rendition(l->track),
                   l->steady ? PLAY_STEADY : "playlist.m3u8", (long long)last.msn);
    if (last.part >= 0)
        builder_printf(b, ",LAST-PART=%lld", (long long)last.part);
    builder_text(b, "\n");
}

/* Of every other playlist that the same multivariant one names. */
static void print_reports(struct builder *b, const struct printing *p)
{
    const struct video_view *v = p->edge->view;
    bool steady = p->list->steady || p->list->rendition != NULL;

    for (int t = 0; t < TRACK_COUNT; t++)
        if ((p->list->rendition != NULL || p->list->track != (enum track)t) &&
            play_config(v, (enum track)t) != NULL)
            print_report(b, p->edge, &(struct play_list){(enum track)t, NULL, steady});
    for (size_t i = 0; i < v->rendition_count && steady; i++)
        if (&v->renditions[i] != p->list->rendition && play_listed(v, &v->renditions[i]) &&
            play_keeps_up(p->edge, &v->renditions[i]))
            print_report(b, p->edge, &(struct play_list){TRACK_VIDEO, &v->renditions[i], false});
}

/* How many segments a delta update leaves out: those that begin more than the skip boundary before the end (§4.4.3.8). */
static size_t skipped(const struct printing *p)
{
    const struct listing *l = &p->listing;
    int64_t rest = 0, kept = (int64_t)SKIP_TARGETS * l->view->target_duration_s * HLS_UNITS;
    size_t count = l->count;

    while (count > 0 && rest < kept)
        rest += hls_length(l, --count);
    return count;
}

/* Durations are rounded up, so that what is measured against them fits. */
static double seconds_up(int64_t ticks_90k)
{
    int64_t ms = (ticks_90k + 89) / 90;

    return (double)ms / 1000;
}

/* How far from the edge a player should be: a few parts, and where it may change to what is made, so far that it finds it. */
static double hold_back_s(const struct printing *p, uint32_t part)
{
    const struct video_view *v = p->listing.view;

    if (!p->list->steady)
        return HOLD_PARTS * seconds_up(part);
    return v->chunk_90k > 0 ? STEADY_CHUNKS * seconds_up(v->chunk_90k) : HOLD_TARGETS * v->target_duration_s;
}

static void print_control(struct builder *b, const struct printing *p)
{
    uint32_t target = p->listing.view->target_duration_s, part = part_target(p->edge, p->list);

    builder_printf(b, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=%u.0,HOLD-BACK=%u.0",
                   SKIP_TARGETS * target, HOLD_TARGETS * target);
    if (part > 0)
        builder_printf(b, ",PART-HOLD-BACK=%.3f\n#EXT-X-PART-INF:PART-TARGET=%.3f", hold_back_s(p, part),
                       seconds_up(part));
    builder_text(b, "\n");
}

/* An update begins in mid timeline; some players do not remember what the clock of the wall was where it began. */
static void print_clock(struct builder *b, const struct listing *l, size_t at)
{
    const struct segment *segments = l->view->segments;
    size_t from = at;
    char time[CLOCK_TEXT_SIZE];

    while (from > 0 && !hls_breaks(&segments[from]))
        from--;
    if (from < at) /* else it is said with the segment itself */
        builder_printf(
            b, "#EXT-X-PROGRAM-DATE-TIME:%s\n",
            clock_text(segments[from].wall_ms + (hls_begin(l, at) - hls_begin(l, from)) * 1000 / HLS_UNITS,
                       time));
}

static struct buffer *print(const struct edge *e, const struct play_list *l, bool skips)
{
    struct printing p = {e, l, {e->view, l->rendition, l->track, whole_count(e, l)}};
    size_t from = skips ? skipped(&p) : 0;
    struct builder b = {0};
    int64_t init = -1;

    builder_printf(
        &b,
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:%u\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-INDEPENDENT-SEGMENTS\n",
        e->view->target_duration_s);
    print_control(&b, &p);
    if (from > 0)
        builder_printf(&b, "#EXT-X-SKIP:SKIPPED-SEGMENTS=%zu\n", from);
    if (from > 0 && from < p.listing.count)
        print_clock(&b, &p.listing, from);
    for (size_t i = from; i < p.listing.count; i++)
        hls_segment(&b, &p.listing, i, &init, print_parts_at, &p);
    if (l->rendition == NULL)
        print_open(&b, &p, &init);
    else
        print_made_open(&b, &p, &init);
    print_reports(&b, &p);
    return builder_finish(&b);
}

/* --- printed once for all ------------------------------------------------------------------------------ */

/* An edge keeps four texts of each playlist: whole and as an update, plain and compressed. */
static unsigned slot_of(const struct edge *e, const struct play_list *l, bool skips)
{
    unsigned which = l->rendition != NULL ? 2 * TRACK_COUNT + (unsigned)(l->rendition - e->view->renditions)
                                          : l->track + (l->steady ? TRACK_COUNT : 0);

    return which * 4 + (skips ? 2 : 0);
}

struct job {
    const struct play_list *list;
    bool skips;
    struct buffer *(*zip)(void *ctx, struct buffer *text);
    void *ctx;
};

static struct buffer *make(struct edge *e, unsigned slot, void *ctx)
{
    const struct job *job = ctx;

    return print(e, job->list, job->skips);
}

static struct buffer *make_zipped(struct edge *e, unsigned slot, void *ctx)
{
    const struct job *job = ctx;
    struct buffer *text = play_edge_playlist(e, job->list, job->skips), *zipped = job->zip(job->ctx, text);

    buffer_unref(text);
    return zipped;
}

struct buffer *play_edge_playlist(struct edge *e, const struct play_list *l, bool skips)
{
    return edge_cached(e, slot_of(e, l, skips), make, &(struct job){l, skips, NULL, NULL});
}

struct buffer *play_edge_zipped(struct edge *e, const struct play_list *l, bool skips,
                                struct buffer *(*zip)(void *ctx, struct buffer *text), void *ctx)
{
    return edge_cached(e, slot_of(e, l, skips) + 1, make_zipped, &(struct job){l, skips, zip, ctx});
}
