/* live/segmenter.c - turns the samples of one video into segments of CMAF.
 *
 * A segment is opened by whoever decides where to cut (publish.c by the clock of the keyframes, recover.c by
 * what the journal says), so that a replay makes the same bytes. Pictures go straight into the newest
 * segment. Sounds wait until the pictures have passed them, since only then is it known on which side of a
 * cut they lie; the segment before a cut stays open until they have come, or are too late. */
#include "live/live_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* A chunk is the unit of the map: at least so long, and from keyframe to keyframe. */
#define CHUNK_MS_MIN 2000
#define TICKS_A_MS   (CMAF_VIDEO_TIMESCALE / 1000)

/* One track within one segment. */
struct lane {
    struct cmaf *cmaf; /* NULL: the track has no configuration */
    uint32_t rate;     /* ticks a second */
    struct span span;
    bool begun;
    bool pictures;
    int64_t part_max;     /* ticks; 0: chunks and no parts */
    int64_t chunk_start;  /* dts */
    int64_t chunk_end;    /* of its newest sample */
    bool chunk_key;       /* it begins with a keyframe */
    size_t chunk_samples; /* 0: none is open */
    struct part *parts;   /* those that are ended */
    size_t part_count, part_room;
};

/* A segment that is being filled. */
struct filling {
    struct segment segment;
    struct lane lane[TRACK_COUNT];
    bool cut;        /* the next one is open: no more pictures */
    int64_t end_90k; /* valid when cut */
};

/* A sound that waits for the pictures. */
struct waiting {
    struct list link;
    struct sample sample;
    uint64_t position;
};

/* How far pictures are apart: those that come one after the other, for publishers leave some out. */
struct distance {
    int64_t shortest, sum, count;
};

struct segmenter {
    struct segmenter_events events;
    void *ctx;
    struct filling *open;            /* the newest one */
    struct filling *closing;         /* the one before, while its sound is not all there */
    struct sample last[TRACK_COUNT]; /* whose duration is not known yet; buffer NULL: none */
    struct filling *last_in[TRACK_COUNT];
    int64_t last_duration[TRACK_COUNT];
    struct list sounds;
    uint64_t waiting_from; /* the journal's position of the first waiting sound */
    uint64_t open_from;    /* the journal's position at the newest opening */
    int64_t video_dts;     /* the newest picture's, INT64_MIN before the first */
    int64_t audio_90k;     /* the newest sound's */
    int64_t first_key, first_gop;
    size_t last_bytes[TRACK_COUNT]; /* the size of the newest finished segment */
    size_t open_bytes;              /* given since the newest opening */
    uint64_t changes;               /* of what is open, for players */
    struct distance distance;
};

/* --- lanes ------------------------------------------------------------------------------------------- */

static enum err first_error(enum err a, enum err b)
{
    return a != ERR_OK ? a : b;
}

/* `bytes` is how much the segment will be, as well as it can be known. */
static enum err lane_open(struct lane *l, const struct init *init, uint32_t part_90k, size_t bytes)
{
    if (init == NULL)
        return ERR_OK;
    l->rate = init->config.rate ? init->config.rate : CMAF_VIDEO_TIMESCALE;
    l->pictures = init->config.rate == 0;
    l->part_max = (int64_t)part_90k * l->rate / CMAF_VIDEO_TIMESCALE;
    l->span.init = init->number;
    return cmaf_new(&l->cmaf, &init->config, buffer_bytes(init->record), bytes);
}

static void note_part(struct lane *l, size_t at)
{
    if (l->part_count == l->part_room) {
        l->part_room = l->part_room ? l->part_room * 2 : 64;
        l->parts = mem_resize(l->parts, l->part_room * sizeof *l->parts);
    }
    l->parts[l->part_count++] = (struct part){.at = at,
                                              .size = cmaf_so_far(l->cmaf).size - at,
                                              .start = l->chunk_start,
                                              .duration = l->chunk_end - l->chunk_start,
                                              .independent = l->chunk_key};
}

static void lane_end_chunk(struct lane *l)
{
    size_t at = l->cmaf != NULL ? cmaf_so_far(l->cmaf).size : 0;

    if (l->chunk_samples > 0) {
        cmaf_end_chunk(l->cmaf);
        if (l->part_max > 0)
            note_part(l, l->part_count > 0 ? at : 0); /* the reference time belongs to the first */
    }
    l->chunk_samples = 0;
}

/* Whether what is open ends before `s`. A part may end early for the sake of a keyframe, but not so early that it is too short
 * to be one: then the keyframe is passed over, and whoever looks for it finds the next one. */
static bool ends_chunk(const struct lane *l, const struct sample *s)
{
    int64_t length = s->dts - l->chunk_start;

    if (l->chunk_samples == 0)
        return false;
    if (l->chunk_samples == CMAF_CHUNK_SAMPLES_MAX)
        return true;
    if (l->part_max == 0)
        return s->keyframe && length >= (int64_t)CHUNK_MS_MIN * l->rate / 1000;
    return length + s->duration > l->part_max ||
           (l->pictures && s->keyframe && length * 100 >= l->part_max * PART_PERCENT_MIN);
}

/* Whether no other sample like `s` fits behind it: nobody has to wait for the next one to know that. */
static bool is_full(const struct lane *l, const struct sample *s)
{
    return l->part_max > 0 && l->chunk_end - l->chunk_start + s->duration / 2 > l->part_max;
}

/* A sample that is refused leaves no trace. */
static enum err lane_add(struct lane *l, const struct sample *s, const struct segment *in)
{
    enum err e;

    if (ends_chunk(l, s))
        lane_end_chunk(l);
    if ((e = cmaf_add(l->cmaf, s)) != ERR_OK)
        return e;
    if (!l->begun && l->part_max > 0)
        cmaf_reference_time(l->cmaf, s->dts, in->wall_ms + s->dts * 1000 / l->rate - in->start / TICKS_A_MS);
    if (l->chunk_samples++ == 0) {
        l->chunk_start = s->dts;
        l->chunk_key = s->keyframe;
    }
    l->chunk_end = s->dts + s->duration;
    if (!l->begun || s->pts < l->span.start)
        l->span.start = s->pts;
    if (!l->begun || s->pts + s->duration > l->span.end)
        l->span.end = s->pts + s->duration;
    l->begun = true;
    if (is_full(l, s))
        lane_end_chunk(l);
    return ERR_OK;
}

/* --- finishing --------------------------------------------------------------------------------------- */

static void filling_free(struct filling *f)
{
    if (f == NULL)
        return;
    for (int t = 0; t < TRACK_COUNT; t++) {
        for (size_t i = 0; i < f->lane[t].part_count; i++)
            buffer_unref(f->lane[t].parts[i].bytes);
        free(f->lane[t].parts);
        cmaf_free(f->lane[t].cmaf);
    }
    free(f);
}

void finished_free(struct finished *f)
{
    if (f == NULL)
        return;
    for (int t = 0; t < TRACK_COUNT; t++)
        buffer_unref(f->bytes[t]);
    shelf_drop(&f->shelf);
    free(f);
}

/* What players are told of a segment; its parts are on it, and still the lanes'. */
static struct shelf shelf_of(const struct filling *f)
{
    struct shelf s = {.number = f->segment.number,
                      .discontinuity = f->segment.discontinuity,
                      .cut = f->cut,
                      .start = f->segment.start,
                      .wall_ms = f->segment.wall_ms};

    for (int t = 0; t < TRACK_COUNT; t++) {
        s.has[t] = f->lane[t].cmaf != NULL;
        s.init[t] = f->lane[t].span.init;
        s.parts[t] = f->lane[t].parts;
        s.count[t] = f->lane[t].part_count;
    }
    return s;
}

static int64_t lane_end_90k(const struct lane *l)
{
    return l->begun ? l->span.end * CMAF_VIDEO_TIMESCALE / l->rate : 0;
}

/* Gives the last sample of a track its duration and its place. */
static enum err settle(struct segmenter *s, enum track track, int64_t duration)
{
    struct sample *last = &s->last[track];
    enum err e;

    if (last->buffer == NULL)
        return ERR_OK;
    last->duration = s->last_duration[track] = duration > 0 ? duration : 1;

    struct filling *f = s->last_in[track];
    struct lane *l = &f->lane[track];
    size_t parts = l->part_count;

    e = lane_add(l, last, &f->segment);
    s->changes += l->part_count != parts;
    buffer_unref(last->buffer);
    last->buffer = NULL;
    return e;
}

/* Where a replay would have to begin to make again what is not finished. */
static uint64_t needed_from(const struct segmenter *s)
{
    return list_empty(&s->sounds) || s->waiting_from > s->open_from ? s->open_from : s->waiting_from;
}

/* Closes a segment's chunks and hands it over. One without any sample is dropped: there is nothing in it. */
static void finish(struct segmenter *s, struct filling *f)
{
    struct finished *done = mem_new(sizeof *done);
    bool any = false;

    done->segment = f->segment;
    done->segment.end = f->end_90k;
    list_init(&done->link);
    for (int t = 0; t < TRACK_COUNT; t++) {
        struct lane *l = &f->lane[t];

        lane_end_chunk(l);
        if (!l->begun)
            continue;
        if (t == TRACK_VIDEO && f->cut && l->span.end > done->segment.end)
            l->span.end = done->segment.end; /* a B-frame's estimate; the cut is exact */
        done->bytes[t] = cmaf_end_segment(l->cmaf);
        s->last_bytes[t] = done->bytes[t]->size;
        done->segment.track[t] = l->span;
        done->segment.track[t].bytes = (uint32_t)done->bytes[t]->size;
        any = true;
    }
    done->shelf = shelf_of(f);
    for (int t = 0; t < TRACK_COUNT; t++) /* from here on they are the shelf's */
        f->lane[t].parts = NULL, f->lane[t].part_count = 0;
    s->changes++;
    done->position = needed_from(s);
    filling_free(f);
    if (!any)
        finished_free(done);
    else
        s->events.finished(s->ctx, done);
}

/* A sample that is refused costs itself and not the segment: that goes out, and the error comes back. */
static enum err finish_closing(struct segmenter *s)
{
    struct filling *f = s->closing;
    enum err e = ERR_OK;

    if (f == NULL)
        return ERR_OK;
    for (int t = 0; t < TRACK_COUNT; t++)
        if (s->last[t].buffer != NULL && s->last_in[t] == f) /* nobody told how long it is */
            e = first_error(e, settle(s, (enum track)t, s->last_duration[t]));
    s->closing = NULL;
    finish(s, f);
    return e;
}

/* --- sound ------------------------------------------------------------------------------------------- */

static int64_t audio_90k(const struct filling *f, const struct sample *s)
{
    return s->pts * CMAF_VIDEO_TIMESCALE / f->lane[TRACK_AUDIO].rate;
}

/* Places one sound: its duration settles the one before. */
static enum err place_sound(struct segmenter *s, const struct sample *sound, uint64_t position)
{
    struct filling *f = s->open;
    struct sample *last = &s->last[TRACK_AUDIO];
    enum err e;

    if (f->lane[TRACK_AUDIO].cmaf == NULL)
        f = s->closing && s->closing->lane[TRACK_AUDIO].cmaf ? s->closing : NULL;
    else if (s->closing != NULL && s->closing->lane[TRACK_AUDIO].cmaf != NULL &&
             audio_90k(s->closing, sound) < s->closing->end_90k)
        f = s->closing;
    if (f == NULL)
        return ERR_OK; /* sound without a configuration was refused before it came here */
    if ((e = settle(s, TRACK_AUDIO, last->buffer ? sound->dts - last->dts : 0)) != ERR_OK)
        return e;
    if (f == s->open && position < s->open_from)
        s->open_from = position; /* it came before the opening of the segment it belongs to */
    if (s->closing != NULL && f == s->open && (e = finish_closing(s)) != ERR_OK)
        return e;
    *last = *sound;
    buffer_ref(sound->buffer);
    s->last_in[TRACK_AUDIO] = f;
    return ERR_OK;
}

/* Places the sounds that the pictures have passed; all of them with `rest`. */
static enum err place_sounds(struct segmenter *s, bool rest)
{
    enum err e = ERR_OK;

    while (!list_empty(&s->sounds) && e == ERR_OK) {
        struct waiting *w = container_of(s->sounds.next, struct waiting, link);
        const struct filling *scale = s->open->lane[TRACK_AUDIO].cmaf ? s->open : s->closing;
        int64_t at = scale ? audio_90k(scale, &w->sample) : 0;
        bool has_pictures = s->open->lane[TRACK_VIDEO].cmaf != NULL;
        bool passed = at <= s->video_dts || s->audio_90k - at > TRACK_SKEW_MS_MAX * TICKS_A_MS;

        if (has_pictures && !passed && !rest)
            break;
        list_remove(&w->link);
        e = place_sound(s, &w->sample, w->position);
        buffer_unref(w->sample.buffer);
        free(w);
        if (!list_empty(&s->sounds))
            s->waiting_from = container_of(s->sounds.next, struct waiting, link)->position;
    }
    return e;
}

static void keep_sound(struct segmenter *s, const struct sample *sound, uint64_t position)
{
    struct waiting *w = mem_new(sizeof *w);

    w->sample = *sound;
    w->position = position;
    buffer_ref(sound->buffer);
    if (list_empty(&s->sounds))
        s->waiting_from = position;
    list_push(&s->sounds, &w->link);
}

/* --- the room's calls -------------------------------------------------------------------------------- */

struct segmenter *segmenter_new(const struct segmenter_events *events, void *ctx)
{
    struct segmenter *s = mem_new(sizeof *s);

    s->events = *events;
    s->ctx = ctx;
    s->video_dts = INT64_MIN;
    s->first_key = -1;
    list_init(&s->sounds);
    return s;
}

void segmenter_free(struct segmenter *s)
{
    if (s == NULL)
        return;
    for (struct list *link; (link = list_pop(&s->sounds)) != NULL;) {
        struct waiting *w = container_of(link, struct waiting, link);

        buffer_unref(w->sample.buffer);
        free(w);
    }
    for (int t = 0; t < TRACK_COUNT; t++)
        buffer_unref(s->last[t].buffer);
    filling_free(s->closing);
    filling_free(s->open);
    free(s);
}

enum err segmenter_open(struct segmenter *s, const struct segment_opening *o, uint64_t position)
{
    struct filling *f = mem_new(sizeof *f);
    enum err e = ERR_OK;

    f->segment = (struct segment){
        .number = o->number, .discontinuity = o->discontinuity, .start = o->start, .wall_ms = o->wall_ms};
    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++)
        e = lane_open(&f->lane[t], o->init[t], o->part_90k[t], s->last_bytes[t]);
    if (e == ERR_OK && s->closing != NULL) { /* a segment shorter than the skew: do not keep three */
        if ((e = place_sounds(s, true)) == ERR_OK)
            e = finish_closing(s);
    }
    if (e != ERR_OK) {
        filling_free(f);
        return e;
    }
    s->open_from = position;
    s->open_bytes = 0;
    s->changes++;
    s->closing = s->open;
    s->open = f;
    if (s->closing != NULL) {
        s->closing->cut = true;
        s->closing->end_90k = o->start;
        if (s->closing->lane[TRACK_AUDIO].cmaf == NULL && s->closing->lane[TRACK_VIDEO].cmaf != NULL)
            s->closing->segment.end = o->start;
    }
    return ERR_OK;
}

bool segmenter_wants_cut(const struct segmenter *s, int64_t pts_90k, int64_t segment_ms)
{
    return s->open == NULL || pts_90k - s->open->segment.start >= segment_ms * TICKS_A_MS;
}

static void note_distance(struct distance *d, int64_t ticks)
{
    if (ticks <= 0)
        return;
    if (d->count == 0 || ticks * 3 < d->shortest * 2)
        *d = (struct distance){ticks, ticks, 1}; /* what it was before were gaps */
    else if (ticks * 2 <= d->shortest * 3)
        *d = (struct distance){ticks < d->shortest ? ticks : d->shortest, d->sum + ticks, d->count + 1};
}

static enum err add_picture(struct segmenter *s, const struct sample *picture)
{
    struct sample *last = &s->last[TRACK_VIDEO];

    note_distance(&s->distance, last->buffer ? picture->dts - last->dts : 0);

    enum err e = settle(s, TRACK_VIDEO, last->buffer ? picture->dts - last->dts : 0);

    if (e != ERR_OK)
        return e;
    if (s->closing != NULL &&
        s->last_in[TRACK_VIDEO] == s->closing) { /* that was its last: it need not wait for the sounds */
        lane_end_chunk(&s->closing->lane[TRACK_VIDEO]);
        s->changes++;
    }
    if (picture->keyframe && s->first_key < 0)
        s->first_key = picture->pts;
    else if (picture->keyframe && s->first_gop == 0)
        s->first_gop = picture->pts - s->first_key;
    *last = *picture;
    buffer_ref(picture->buffer);
    s->last_in[TRACK_VIDEO] = s->open;
    s->video_dts = picture->dts;
    if ((e = place_sounds(s, false)) != ERR_OK || s->closing == NULL)
        return e;
    /* Nothing more to wait for: no sound at all, or none for too long. */
    if (s->closing->lane[TRACK_AUDIO].cmaf == NULL ||
        picture->dts - s->closing->end_90k > TRACK_SKEW_MS_MAX * TICKS_A_MS)
        e = finish_closing(s);
    return e;
}

enum err segmenter_add(struct segmenter *s, enum track track, const struct sample *sample, uint64_t position)
{
    assert(s->open != NULL);
    s->open_bytes += sample->payload.size;
    if (track == TRACK_VIDEO)
        return s->open->lane[TRACK_VIDEO].cmaf ? add_picture(s, sample) : ERR_BAD;

    const struct filling *scale = s->open->lane[TRACK_AUDIO].cmaf ? s->open : s->closing;

    if (scale == NULL || scale->lane[TRACK_AUDIO].cmaf == NULL)
        return ERR_BAD;
    s->audio_90k = audio_90k(scale, sample);
    keep_sound(s, sample, position);
    return place_sounds(s, false);
}

/* Places and closes all there is; what is refused is left out. */
static enum err settle_all(struct segmenter *s)
{
    enum err e = ERR_OK;

    while (!list_empty(&s->sounds)) /* each turn takes one at least */
        e = first_error(e, place_sounds(s, true));
    for (int t = 0; t < TRACK_COUNT; t++)
        e = first_error(e, settle(s, (enum track)t, s->last_duration[t]));
    return first_error(e, finish_closing(s));
}

enum err segmenter_end(struct segmenter *s, uint64_t position, int64_t *end_90k)
{
    enum err e;

    *end_90k = 0;
    if (s->open == NULL)
        return ERR_OK;
    e = settle_all(s);

    struct filling *f = s->open;

    int64_t video = lane_end_90k(&f->lane[TRACK_VIDEO]), audio = lane_end_90k(&f->lane[TRACK_AUDIO]);

    s->open = NULL;
    *end_90k = video > audio ? video : audio;
    if (*end_90k < f->segment.start)
        *end_90k = f->segment.start;
    f->end_90k = *end_90k;
    s->open_from = position;
    s->video_dts = INT64_MIN;
    finish(s, f);
    return e;
}

size_t segmenter_shelves(struct segmenter *s, struct shelf out[2])
{
    struct filling *filling[] = {s->closing, s->open};
    size_t count = 0;

    for (int i = 0; i < 2; i++) {
        if (filling[i] == NULL)
            continue;
        struct shelf shelf = shelf_of(filling[i]);

        for (int t = 0; t < TRACK_COUNT; t++)
            if (shelf.count[t] > 0)
                shelf_fill(&shelf, (enum track)t, cmaf_so_far(filling[i]->lane[t].cmaf));
        out[count++] = shelf_copy(&shelf);
    }
    return count;
}

bool segmenter_pictures(const struct segmenter *s, struct shelf *out, struct bytes *bytes)
{
    const struct lane *l = s->open != NULL ? &s->open->lane[TRACK_VIDEO] : NULL;

    if (l == NULL || l->part_count == 0)
        return false;
    *out = shelf_of(s->open);
    *bytes = cmaf_so_far(l->cmaf);
    return true;
}

uint64_t segmenter_changes(const struct segmenter *s)
{
    return s->changes;
}

int64_t segmenter_distance(const struct segmenter *s)
{
    return s->distance.count > 0 ? s->distance.sum / s->distance.count : 0;
}

int64_t segmenter_first_gop(const struct segmenter *s)
{
    return s->first_gop;
}

bool segmenter_is_full(const struct segmenter *s)
{
    return s->open != NULL && s->open_bytes > SEGMENT_BYTES_MAX;
}
