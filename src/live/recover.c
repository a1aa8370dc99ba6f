/* live/recover.c - makes again, from the journal, the segments that a crash kept from the store.
 *
 * Records come in the order in which they were written. For each video everything before the first segment
 * that the index does not have is passed over; from its opening on, samples go through the same segmenter
 * as they did live, cut where the openings say, and so give the same bytes. What is whole is stored at once: an outage may have left
 * more in the journal than memory has room for. (A video that was deleted later on is stored, and then deleted again.) */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* --- openings as bytes ------------------------------------------------------------------------------- */

struct buffer *opening_write(struct ulid event, const struct segment_opening *o)
{
    struct builder b = {0};

    builder_add(&b, bytes_of(event.b, sizeof event.b));
    builder_be32(&b, o->number);
    builder_u8(&b, (uint8_t)(o->discontinuity | o->joined << 1));
    builder_be64(&b, (uint64_t)o->start);
    builder_be64(&b, (uint64_t)o->wall_ms);
    for (int t = 0; t < TRACK_COUNT; t++) {
        const struct init *i = o->init[t];

        builder_u8(&b, i ? (uint8_t)i->config.codec : CODEC_NONE);
        builder_be32(&b, i ? (uint32_t)i->record->size : 0);
        if (i != NULL)
            builder_add(&b, buffer_bytes(i->record));
    }
    for (int t = 0; t < TRACK_COUNT; t++)
        builder_be32(&b, o->part_90k[t]);
    return builder_finish(&b);
}

struct read_opening {
    struct ulid event;
    struct segment_opening opening;
    enum codec codec[TRACK_COUNT];
    struct bytes record[TRACK_COUNT];
};

static bool opening_read(struct read_opening *out, struct bytes in)
{
    struct cursor c = cursor_of(in);
    struct bytes event = cursor_take(&c, sizeof out->event.b);

    *out = (struct read_opening){0};
    if (c.short_of)
        return false;
    memcpy(out->event.b, event.at, event.size);
    out->opening.number = cursor_be32(&c);

    uint8_t flags = cursor_u8(&c);

    out->opening.discontinuity = flags & 1;
    out->opening.joined = flags >> 1 & 1;
    out->opening.start = (int64_t)cursor_be64(&c);
    out->opening.wall_ms = (int64_t)cursor_be64(&c);
    for (int t = 0; t < TRACK_COUNT; t++) {
        out->codec[t] = (enum codec)cursor_u8(&c);
        out->record[t] = cursor_take(&c, cursor_be32(&c));
    }
    for (int t = 0; t < TRACK_COUNT && c.left.size > 0; t++) /* older journals have no parts */
        out->opening.part_90k[t] = cursor_be32(&c);
    return !c.short_of;
}

/* --- one video's replay ------------------------------------------------------------------------------ */

/* A sound that came before the opening of the segment that it belongs to. */
struct early {
    struct list link;
    struct sample sample;
    uint64_t position;
};

struct replay {
    struct recovery *recovery;
    struct video *video;
    bool begun;             /* the first segment that is not stored has opened */
    bool left;              /* the publisher had gone before the crash */
    uint32_t stored_number; /* openings below it are of segments that the index has */
    int64_t stored_90k;     /* the end of what the index has */
    int64_t sound_end;      /* of the sounds in its last segment, in their ticks; INT64_MIN: it has none */
    struct list early;
    struct list done; /* finished segments that are not stored */
    bool fresh;       /* there are new ones */
    size_t stored;
};

struct recovery {
    struct live *live;
    struct map *replays;   /* by video */
    struct map *forgotten; /* videos to be passed over */
    enum err refused;      /* by the store or the index, which are not asked again before the end */
    enum err e;            /* the first failure */
};

struct recovery *recovery_new(struct live *l)
{
    struct recovery *r = mem_new(sizeof *r);

    r->live = l;
    r->replays = map_new();
    r->forgotten = map_new();
    return r;
}

static void keep_error(struct recovery *r, enum err e)
{
    if (r->e == ERR_OK)
        r->e = e;
}

static void on_finished(void *ctx, struct finished *f)
{
    struct video *v = ctx;
    struct replay *p = v->replay;

    list_push(&p->done, &f->link);
    p->fresh = true;
}

/* Reads what the index knows of a video into its view, its inits and its counters. */
static enum err load(struct replay *p)
{
    struct video *v = p->video;
    struct segment *segments;
    size_t count;
    enum err e = index_load_video(v->room->options.db, v, &segments, &count);

    if (e == ERR_OK) {
        video_show_loaded(v, segments, count);
        if (count > 0) {
            const struct segment *last = &segments[count - 1];

            v->next_number = last->number + 1;
            p->stored_number = last->number + !last->torn; /* a torn one stands one above its opening */
            p->stored_90k = v->position_90k = last->end;
            if (last->track[TRACK_AUDIO].bytes > 0)
                p->sound_end = last->track[TRACK_AUDIO].end;
        }
    }
    free(segments);
    return e;
}

static struct replay *replay_new(struct recovery *r, struct video *v)
{
    struct replay *p = mem_new(sizeof *p);

    p->recovery = r;
    p->video = v;
    p->sound_end = INT64_MIN;
    v->replay = p;
    list_init(&p->early);
    list_init(&p->done);
    keep_error(r, load(p));
    map_put(r->replays, bytes_of(v->id.b, sizeof v->id.b), p);
    return p;
}

static void drop_early(struct replay *p)
{
    for (struct list *link; (link = list_pop(&p->early)) != NULL;) {
        struct early *e = container_of(link, struct early, link);

        buffer_unref(e->sample.buffer);
        free(e);
    }
}

static void replay_free(struct replay *p)
{
    drop_early(p);
    for (struct list *link; (link = list_pop(&p->done)) != NULL;)
        finished_free(container_of(link, struct finished, link));
    p->video->replay = NULL;
    free(p);
}

/* The replay of a record's video, begun where this is its first record; NULL: pass it over. */
static struct replay *replay_of(struct recovery *r, const struct record *record)
{
    struct bytes key = bytes_of(record->video.b, sizeof record->video.b);
    struct replay *p = map_get(r->replays, key);
    struct video *v = live_find_video(r->live, record->video);
    struct read_opening o;
    struct event *event;

    if (p != NULL || map_get(r->forgotten, key) != NULL)
        return p;
    if (v != NULL)
        return replay_new(r, v);
    /* A video that has no row yet, for its first segment was still open. */
    if (record->kind != RECORD_SEGMENT || !opening_read(&o, record->payload) ||
        (event = live_find_event(r->live, o.event)) == NULL)
        return NULL;
    v = video_new(r->live, event, record->video);
    v->live = true;
    v->created_at_ms = o.opening.wall_ms;
    live_add_video(r->live, v);
    return replay_new(r, v);
}

static enum err find_init(struct replay *p, const struct read_opening *o, enum track t,
                          const struct init **out)
{
    const struct init *newest = video_newest_init(p->video, t);
    struct codec_config config;
    const char *why;
    enum err e = ERR_OK;

    *out = NULL;
    if (o->codec[t] == CODEC_NONE)
        return ERR_OK;
    if (newest == NULL || newest->config.codec != o->codec[t] ||
        !bytes_equal(buffer_bytes(newest->record), o->record[t])) {
        if ((e = codec_config_parse(&config, o->codec[t], o->record[t], &why)) == ERR_OK)
            e = video_add_init(p->video, t, &config, o->record[t]);
    }
    *out = video_newest_init(p->video, t);
    return e;
}

static enum err end_session(struct replay *p, uint64_t position)
{
    int64_t end_90k = 0;
    enum err e = p->begun ? segmenter_end(p->video->segmenter, position, &end_90k) : ERR_OK;

    if (end_90k > p->video->position_90k)
        p->video->position_90k = end_90k;
    return e;
}

/* The muxer refused a sample: the publication was ended for it when it was live, and ends here too. What it
 * refuses must not keep a house from opening. */
static void give_up(struct replay *p, uint64_t position, enum err why)
{
    char id[ULID_TEXT_SIZE];

    log_warn("live", "video %s: a sample in the journal cannot be stored (%s); its publisher was told so",
             ulid_text(p->video->id, id), err_text(why));
    if (end_session(p, position) != ERR_OK)
        log_warn("live", "video %s: nor can another one", id);
    p->left = true;
}

/* Whether the sound is in the index: sounds are stored in their order, whatever cut they came beside. */
static bool is_stored(const struct replay *p, int64_t dts)
{
    return p->sound_end != INT64_MIN && dts < p->sound_end;
}

/* The early sounds go into the segment that opens. Where the stored one before it has no sound to compare
 * with, those before its end are older still. */
static enum err add_early(struct replay *p, const struct init *audio)
{
    enum err e = ERR_OK;

    for (struct list *link; e == ERR_OK && (link = list_pop(&p->early)) != NULL;) {
        struct early *sound = container_of(link, struct early, link);
        int64_t pts = sound->sample.pts;

        if (audio != NULL &&
            (p->sound_end != INT64_MIN || pts * CMAF_VIDEO_TIMESCALE / audio->config.rate >= p->stored_90k))
            e = segmenter_add(p->video->segmenter, TRACK_AUDIO, &sound->sample, sound->position);
        buffer_unref(sound->sample.buffer);
        free(sound);
    }
    return e;
}

/* Ends what the crash left open. Players may have seen those segments whole, from memory, under their numbers:
 * the cut ones get other numbers and names. They are all that this finishes: the open one, and the one before
 * it when its last sounds were still on their way. */
static void end_torn(struct replay *p, uint64_t position)
{
    struct list whole;

    list_move(&whole, &p->done);
    if (end_session(p, position) != ERR_OK)
        log_warn("live", "the last samples before a crash cannot all be stored");
    list_each(&p->done, at, after)
    {
        struct finished *f = container_of(at, struct finished, link);

        f->segment.torn = true;
        f->segment.number++;
        p->video->next_number = f->segment.number + 1;
    }
    for (struct list *link; (link = list_pop(&p->done)) != NULL;)
        list_push(&whole, link);
    list_move(&p->done, &whole);
}

/* Ends the session before the one that `o` begins. A number that was skipped tells of a crash between them, whose recovery could not
 * store what it had cut and was itself cut short: it is cut again, under the numbers that players know. */
static enum err end_joined(struct replay *p, const struct segment_opening *o, uint64_t position)
{
    if (!p->begun || p->left || o->number <= p->video->next_number)
        return end_session(p, position);
    end_torn(p, position);
    return ERR_OK;
}

static enum err open_segment(struct replay *p, const struct segment_opening *o, uint64_t position)
{
    struct video *v = p->video;
    enum err e = ERR_OK;

    if (o->joined) { /* what came before it was another publisher's */
        drop_early(p);
        e = end_joined(p, o, position);
        p->sound_end = INT64_MIN;
    }
    if (v->segmenter == NULL)
        v->segmenter = segmenter_new(&(struct segmenter_events){on_finished}, v);
    v->next_number = o->number + 1;
    memcpy(v->part_90k, o->part_90k, sizeof v->part_90k);
    p->begun = true;
    p->left = false;
    if (e != ERR_OK)
        log_warn("live", "a sample in the journal cannot be stored: %s", err_text(e));
    e = segmenter_open(v->segmenter, o, position);
    return e == ERR_OK ? add_early(p, o->init[TRACK_AUDIO]) : e;
}

static enum err replay_opening(struct replay *p, const struct record *r, uint64_t position)
{
    struct read_opening o;
    enum err e = ERR_OK;

    if (!opening_read(&o, r->payload))
        return ERR_BAD;
    if (o.opening.number < p->stored_number)
        return ERR_OK;
    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++)
        e = find_init(p, &o, (enum track)t, &o.opening.init[t]);
    if (e != ERR_OK)
        return e;
    if ((e = open_segment(p, &o.opening, position)) != ERR_OK)
        give_up(p, position, e);
    return ERR_OK;
}

static void replay_sample(struct replay *p, const struct record *r, uint64_t position)
{
    struct buffer *copy;
    struct sample s;
    enum err e;

    if (p->left || (r->track == TRACK_AUDIO ? is_stored(p, r->dts) : !p->begun))
        return;
    copy = buffer_copy(r->payload);
    s = (struct sample){copy, buffer_bytes(copy), r->dts, r->pts, 0, r->keyframe};
    if (p->begun) {
        if ((e = segmenter_add(p->video->segmenter, r->track, &s, position)) != ERR_OK)
            give_up(p, position, e);
        buffer_unref(copy);
    } else {
        struct early *sound = mem_new(sizeof *sound);

        sound->sample = s; /* with the copy's reference */
        sound->position = position;
        list_push(&p->early, &sound->link);
    }
}

static void replay_left(struct replay *p, uint64_t position)
{
    enum err e = p->left ? ERR_OK : end_session(p, position);

    drop_early(p);
    if (e != ERR_OK)
        log_warn("live", "a sample in the journal cannot be stored: %s", err_text(e));
    p->left = p->begun;
}

static void forget(struct recovery *r, struct replay *p, struct bytes key)
{
    map_put(r->forgotten, key, r);
    map_remove(r->replays, key);
    if (p != NULL) {
        struct video *v = p->video;
        char id[ULID_TEXT_SIZE], prefix[ULID_TEXT_SIZE + 2];

        /* The crash may have come before the row was gone: without this it would be back next time. */
        snprintf(prefix, sizeof prefix, "v/%s", ulid_text(v->id, id));
        keep_error(r, index_remove_video(r->live->options.db, v->id));
        if (store_delete_all(r->live->options.store, prefix) != ERR_OK)
            log_warn("live", "video %s was deleted; some of its objects are still in the store", id);
        replay_free(p);
        live_remove_video(r->live, v);
    }
}

/* Stores what is done, in order, as far as the store takes it. */
static enum err store_done(struct replay *p)
{
    struct live *l = p->recovery->live;
    struct video *v = p->video;
    enum err e;

    while (!list_empty(&p->done)) {
        struct finished *f = container_of(p->done.next, struct finished, link);

        if (v->target_duration_s == 0)
            v->target_duration_s =
                spool_target_duration(l->options.segment_ms, segmenter_first_gop(v->segmenter), &f->segment);
        if ((e = spool_store(l, v, f)) != ERR_OK)
            return e;
        list_remove(&f->link);
        video_show(v, &f->segment);
        finished_free(f);
        p->stored++;
    }
    return ERR_OK;
}

/* Memory keeps nothing of what is done: the store has it, or the disk until it takes it. */
static void let_go(struct recovery *r, struct replay *p)
{
    if (!p->fresh)
        return;
    p->fresh = false;
    if (r->refused == ERR_OK)
        r->refused = store_done(p);
    if (r->refused == ERR_OK)
        return;
    list_each(&p->done, at, after) spool_hold(r->live, p->video, container_of(at, struct finished, link));
    store_spill(r->live->options.store);
}

void recovery_record(void *ctx, const struct record *record, uint64_t position)
{
    struct recovery *r = ctx;
    struct replay *p = r->e == ERR_OK ? replay_of(r, record) : NULL;

    if (r->e != ERR_OK)
        return; /* the house does not open, and the journal stays */
    if (record->kind == RECORD_FORGET) {
        forget(r, p, bytes_of(record->video.b, sizeof record->video.b));
        return;
    }
    if (p == NULL)
        return;
    switch (record->kind) {
    case RECORD_SEGMENT:
        keep_error(r, replay_opening(p, record, position));
        break;
    case RECORD_SAMPLE:
        replay_sample(p, record, position);
        break;
    case RECORD_LEFT:
        replay_left(p, position);
        break;
    case RECORD_FORGET:
        break;
    }
    let_go(r, p);
}

/* --- what came of it --------------------------------------------------------------------------------- */

/* The store takes nothing now: what is left waits for it as it would have without a crash, and is played from memory meanwhile. */
static void leave_to_spool(struct live *l, struct replay *p, enum err why)
{
    struct video *v = p->video;
    uint64_t end = journal_position(l->journal);
    char id[ULID_TEXT_SIZE];
    size_t count = 0;

    v->needed_from = 0; /* all of the journal, until the first of them is stored */
    if (list_empty(&v->active))
        list_push(&l->active, &v->active);
    for (struct list *link; (link = list_pop(&p->done)) != NULL; count++) {
        struct finished *f = container_of(link, struct finished, link);

        if (f->position > end)
            f->position = end; /* what is published from now on lies behind it, and is needed */
        spool_add(l, v, f);
    }
    log_warn("live", "video %s: %zu segments that a crash had left in the journal wait for the store: %s",
             ulid_text(v->id, id), count, err_text(why));
}

static void store_replay(struct live *l, struct replay *p)
{
    struct video *v = p->video;
    char id[ULID_TEXT_SIZE];
    enum err e;

    if (p->begun && !p->left)
        end_torn(p, UINT64_MAX);
    if ((e = store_done(p)) != ERR_OK)
        leave_to_spool(l, p, e);
    segmenter_free(v->segmenter);
    v->segmenter = NULL;
    if (p->stored > 0)
        log_info("live",
                 "video %s: %zu segments that a crash had left in the journal are stored, up to %.3f s",
                 ulid_text(v->id, id), p->stored, (double)v->position_90k / CMAF_VIDEO_TIMESCALE);
}

enum err recovery_finish(struct recovery *r)
{
    struct live *l = r->live;
    enum err e = r->e;
    size_t at = 0;
    struct bytes key;
    void *value;

    /* Videos that were live and have nothing in the journal wait for their publishers all the same. */
    for (size_t i = 0; i < l->video_count; i++) {
        struct video *v = live_find_video(l, l->video_order[i]);

        if (v->live && v->replay == NULL)
            replay_new(r, v);
    }
    while (map_next(r->replays, &at, &key, &value)) {
        struct replay *p = value;
        struct video *v = p->video;

        if (e == ERR_OK)
            store_replay(l, p);
        if (v->live && !v->importing)
            v->ends_at_ms = clock_mono_ms() + l->options.grace_ms;
        replay_free(p);
    }
    map_free(r->replays);
    map_free(r->forgotten);
    free(r);
    return e;
}
