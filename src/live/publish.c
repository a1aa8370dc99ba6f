/* live/publish.c - publishers: who may, who is dead, and what they send.
 *
 * A publication lives on the loop of its connection. It meets the rest of the room under the lock, at four
 * moments only: when it asks for its place, when its first sample makes or continues a video, once a second
 * for its health, and when it leaves. Samples themselves take no lock but the journal's. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <assert.h>
#include <stdlib.h>

/* How often somebody who waits for a place looks whether the one who has it still speaks. */
#define ATTEMPT_MS 50

METRIC(publishers, METRIC_GAUGE, "matinee_publishers", "Publishers that are connected and granted");
METRIC(publishes_refused, METRIC_COUNTER, "matinee_publishes_refused_total", "Publishers that were refused");
METRIC(messages, METRIC_COUNTER, "matinee_media_messages_total", "Audio and video messages taken");
METRIC(
    samples_dropped, METRIC_COUNTER, "matinee_samples_dropped_total",
    "Samples that nothing could be done with: pictures before the first keyframe, tracks without configuration");

/* --- asking for a place ------------------------------------------------------------------------------ */

static void free_later(void *ctx)
{
    struct publication *p = ctx;

    for (int t = 0; t < TRACK_COUNT; t++)
        buffer_unref(p->record[t]);
    free(p);
}

/* Takes it off its loop's list; whoever has a pointer further up the stack may still look at it. */
static void retire(struct publication *p)
{
    timer_stop(&p->attempt);
    list_remove(&p->link);
    atomic_fetch_sub(&p->berth->count, 1);
    loop_after_turn(p->berth->loop, free_later, p);
}

static void refuse(struct publication *p, enum err why, const char *text)
{
    metric_add(&publishes_refused, 1);
    p->events->refused(p->ctx, why, text);
    retire(p);
}

/* What became of an attempt. */
enum outcome { GRANTED, UNKNOWN_KEY, TAKEN, ELSEWHERE, CLOSING, WAIT };

static enum outcome try_place(struct publication *p)
{
    struct live *l = p->live;
    enum outcome outcome = GRANTED;
    int64_t now = clock_mono_ms();

    pthread_mutex_lock(&l->lock);
    struct event *e = map_get(l->keys, bytes_of(p->key_hash, ACCESS_HASH_SIZE));
    struct publication *other = e ? e->publication : NULL;

    if (l->draining) {
        outcome = CLOSING;
    } else if (e == NULL) {
        outcome = UNKNOWN_KEY;
    } else if (catalog_is_elsewhere(l, e)) {
        outcome = ELSEWHERE;
    } else if (other == NULL) {
        e->publication = p;
        e->health = (struct health){.publishing = true, .since_ms = clock_wall_ms()};
        e->ended = false;
        p->event = e;
        l->publication_count++;
    } else if (other->heard_ms > p->arrived_ms + STREAM_LAZY_MS) {
        outcome = TAKEN; /* it has spoken since we came, and not only been heard: it is alive */
    } else {
        outcome = WAIT;
        if (now - other->heard_ms >= RTMP_TAKEOVER_MS_MAX)
            publication_evict(other, "another publisher with the same key came while this one was silent");
    }
    pthread_mutex_unlock(&l->lock);
    return outcome;
}

static void attempt(void *ctx)
{
    struct publication *p = ctx;

    switch (try_place(p)) {
    case GRANTED:
        p->heard_ms = clock_mono_ms();
        pulse_begin(&p->pulse);
        metric_add(&publishers, 1);
        p->events->granted(p->ctx);
        break;
    case UNKNOWN_KEY:
        refuse(p, ERR_DENIED, "no event has this stream key; copy the key from the studio page");
        break;
    case TAKEN:
        refuse(p, ERR_BUSY, "somebody is publishing with this stream key");
        break;
    case ELSEWHERE:
        refuse(p, ERR_BUSY, "this event is live on another server: publish to that, or end the event first");
        break;
    case CLOSING:
        refuse(p, ERR_CLOSED, "the server is shutting down; try again in a moment");
        break;
    case WAIT:
        timer_start(p->berth->loop, &p->attempt, ATTEMPT_MS, attempt, p);
        break;
    }
}

static struct berth *berth_of(struct live *l, const struct loop *loop)
{
    unsigned i = 0;

    while (l->berths[i].loop != loop)
        i++; /* every loop of the house has one */
    return &l->berths[i];
}

struct publication *live_publish(struct live *l, struct loop *loop, struct bytes key,
                                 const struct publisher_events *events, void *ctx)
{
    struct publication *p = mem_new(sizeof *p);

    p->live = l;
    p->berth = berth_of(l, loop);
    p->serial = atomic_fetch_add(&l->serials, 1) + 1;
    p->events = events;
    p->ctx = ctx;
    p->arrived_ms = clock_mono_ms();
    access_key_hash(key, p->key_hash);
    list_init(&p->link);
    list_push(&p->berth->publications, &p->link);
    atomic_fetch_add(&p->berth->count, 1);
    timer_start(loop, &p->attempt, 0, attempt, p);
    return p;
}

/* --- leaving ----------------------------------------------------------------------------------------- */

static void mark_left(struct publication *p)
{
    struct buffer *nothing = buffer_new(0);
    struct record r = {.kind = RECORD_LEFT, .video = p->video->id, .message = nothing};

    (void)journal_append(p->live->journal, &r);
    buffer_unref(nothing);
}

/* Finishes the open segment and gives the place back; the video waits for the grace. */
static void leave(struct publication *p)
{
    struct live *l = p->live;
    struct video *v = p->video;
    char id[ULID_TEXT_SIZE];

    timer_stop(&p->calm);
    if (v != NULL && p->opened) {
        int64_t end_90k = 0;

        mark_left(p);
        hub_break(&v->hub);
        if (segmenter_end(v->segmenter, journal_position(l->journal), &end_90k) != ERR_OK)
            log_error("live", "video %s: its last segment could not be made", ulid_text(v->id, id));
        if (end_90k > v->position_90k)
            v->position_90k = end_90k;
    }
    if (p->event == NULL)
        return;
    metric_add(&publishers, -1);
    pthread_mutex_lock(&l->lock);
    p->event->publication = NULL;
    memset(&p->event->health, 0, sizeof p->event->health);
    l->publication_count--;
    if (v != NULL) {
        v->publishing = v->pins = false;
        edge_view_changed(v);
        v->ends_at_ms = clock_mono_ms() + l->options.grace_ms;
    }
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    p->event = NULL;
    p->video = NULL;
}

void live_unpublish(struct publication *p, bool clean)
{
    leave(p);
    retire(p);
}

/* A call on its way to a publication, which may be gone when it arrives. */
struct posted {
    struct berth *berth;
    uint64_t serial;
    void (*call)(struct publication *p, const char *text);
    const char *text;
};

static void call_here(void *ctx)
{
    struct posted *v = ctx;

    list_each(&v->berth->publications, at, after)
    {
        struct publication *p = container_of(at, struct publication, link);

        if (p->serial != v->serial)
            continue;
        v->call(p, v->text);
        break;
    }
    free(v);
}

void publication_post(struct publication *p, void (*call)(struct publication *p, const char *text),
                      const char *text)
{
    struct posted *v = mem_new(sizeof *v);

    *v = (struct posted){p->berth, p->serial, call, text};
    loop_post(p->berth->loop, call_here, v);
}

static void evict_here(struct publication *p, const char *text)
{
    leave(p);
    p->events->evicted(p->ctx, text);
    retire(p);
}

void publication_evict(struct publication *p, const char *text)
{
    publication_post(p, evict_here, text);
}

/* --- the journal speaks ------------------------------------------------------------------------------ */

static void tell_trouble(struct publication *p)
{
    const struct live *l = p->live;
    const char *trouble =
        l->disk_full ? "the server's disk is full: nothing more can be recorded until somebody makes room"
        : l->spool_full
            ? "the server's store takes nothing, and what waits for it has filled the spool: nothing more is "
              "taken until it does"
            : NULL;

    if (p->event == NULL || p->warned == trouble)
        return;
    p->warned = trouble;
    p->events->notice(p->ctx, trouble != NULL,
                      trouble ? trouble : "the server has room again: recording goes on");
}

static void tell_hold(struct publication *p)
{
    uint64_t waiting = journal_position(p->live->journal) - p->live->durable;
    bool hold =
        waiting > (p->held ? JOURNAL_QUEUE_BYTES_MAX / 2 : JOURNAL_QUEUE_BYTES_MAX) || p->live->spool_full;

    if (p->event == NULL || p->held == hold)
        return;
    p->held = hold;
    p->events->hold(p->ctx, hold);
}

static void durable_here(void *ctx)
{
    struct berth *b = ctx;

    list_each(&b->publications, at, after)
    {
        struct publication *p = container_of(at, struct publication, link);

        if (p->event != NULL)
            p->events->durable(p->ctx, b->live->durable);
        tell_hold(p);
        tell_trouble(p);
    }
}

static void post_to_all(struct live *l)
{
    for (unsigned i = 0; i < l->berth_count; i++)
        if (atomic_load(&l->berths[i].count) > 0)
            loop_post(l->berths[i].loop, durable_here, &l->berths[i]);
}

void publish_durable(struct live *l, uint64_t position)
{
    pthread_mutex_lock(&l->lock);
    l->durable = position;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    post_to_all(l);
}

void publish_trouble(struct live *l, enum err why)
{
    l->disk_full = why != ERR_OK;
    if (why != ERR_OK)
        log_error("journal", "%s: publishers are not acknowledged until it is better; viewers go on",
                  err_text(why));
    else
        log_info("journal", "the disk takes data again");
    post_to_all(l);
}

void publish_spool_changed(struct live *l)
{
    post_to_all(l);
}

/* --- messages ---------------------------------------------------------------------------------------- */

static enum err take_config(struct publication *p, const struct flv_tag *tag, const char **why)
{
    struct codec_config config;
    enum err e = codec_config_parse(&config, tag->codec, tag->payload, why);
    struct buffer *known = p->record[tag->track];

    if (e != ERR_OK)
        return e;
    if (known != NULL && p->config[tag->track].codec == tag->codec &&
        bytes_equal(buffer_bytes(known), tag->payload))
        return ERR_OK; /* encoders repeat it */
    if (known != NULL && p->opened && tag->track == TRACK_AUDIO) {
        *why = "the sound's configuration changed in mid stream: stop and start the stream to go on";
        return ERR_UNSUPPORTED;
    }
    buffer_unref(known);
    p->record[tag->track] = buffer_copy(tag->payload);
    p->config[tag->track] = config;
    p->init[tag->track] = NULL;
    p->config_changed = p->opened;
    return ERR_OK;
}

void publish_finished(void *ctx, struct finished *f)
{
    struct video *v = ctx;

    chunk_finished(v, f);
    edge_finished(v, f);
    spool_add(v->room, v, f);
}

/* Continues the event's live video, or begins one. */
static void take_video(struct publication *p)
{
    struct live *l = p->live;
    struct event *e = p->event;
    char id[ULID_TEXT_SIZE];

    pthread_mutex_lock(&l->lock);
    if (e->video != NULL && e->video->live && !e->video->importing) {
        p->video = e->video;
    } else {
        p->video = video_new(l, e, ulid_new());
        p->video->live = true;
        p->video->row_to_tell = db_shared(l->options.db);
        p->video->created_at_ms = clock_wall_ms();
        live_add_video(l, p->video);
        video_show(p->video, NULL);
        spool_kick(l, p->video);
    }
    p->video->publishing = true;
    p->video->ends_at_ms = 0;
    edge_view_changed(p->video);
    pthread_mutex_unlock(&l->lock);
    if (p->video->segmenter == NULL)
        p->video->segmenter = segmenter_new(&(struct segmenter_events){publish_finished}, p->video);
    timeline_begin(&p->timeline, (p->video->position_90k + 89) / 90);
    log_info("live", "video %s: a publisher has come at %.3f s", ulid_text(p->video->id, id),
             (double)p->video->position_90k / CMAF_VIDEO_TIMESCALE);
    hurry_begin(p);
}

/* The init segments for what this publisher sends: the video's newest where they are the same. */
static enum err take_inits(struct publication *p, const char **why)
{
    enum err e = ERR_OK;
    bool added = false;

    pthread_mutex_lock(&p->live->lock);
    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++) {
        const struct init *newest = video_newest_init(p->video, (enum track)t);

        if (p->record[t] == NULL || p->init[t] != NULL)
            continue;
        if (newest == NULL || newest->config.codec != p->config[t].codec ||
            !bytes_equal(buffer_bytes(newest->record), buffer_bytes(p->record[t]))) {
            e = video_add_init(p->video, (enum track)t, &p->config[t], buffer_bytes(p->record[t]));
            added = true;
        }
        p->init[t] = video_newest_init(p->video, (enum track)t);
    }
    if (added) /* a segment's parts are seen before its end, and with them its init segment */
        video_show(p->video, NULL);
    pthread_mutex_unlock(&p->live->lock);
    if (e != ERR_OK)
        *why = "the decoder configuration is not one that can be stored";
    return e;
}

/* How long parts are is chosen once per video, when its first segment has shown how far apart pictures are. That one has no
 * parts, and need not: before its end there is nothing that could be played. */
static void choose_parts(struct publication *p)
{
    struct video *v = p->video;
    uint32_t chosen[TRACK_COUNT] = {
        p->config[TRACK_VIDEO].codec ? parts_of_pictures(segmenter_distance(v->segmenter)) : 0,
        p->config[TRACK_AUDIO].codec ? parts_of_sounds(&p->config[TRACK_AUDIO]) : 0};

    if (v->next_number == 0)
        return;
    pthread_mutex_lock(&p->live->lock);
    for (int t = 0; t < TRACK_COUNT; t++)
        if (v->part_90k[t] == 0)
            v->part_90k[t] = chosen[t];
    pthread_mutex_unlock(&p->live->lock);
}

static enum err open_segment(struct publication *p, int64_t start_90k, const char **why)
{
    struct video *v = p->video;
    struct segment_opening o = {
        .number = v->next_number,
        .discontinuity = v->next_number > 0 && (!p->opened || p->config_changed),
        .joined = !p->opened,
        .start = start_90k,
        .wall_ms = clock_wall_ms(),
    };
    uint64_t position = journal_position(p->live->journal);
    enum err e = take_inits(p, why);

    if (e != ERR_OK)
        return e;
    choose_parts(p);
    memcpy(o.part_90k, v->part_90k, sizeof o.part_90k);
    o.init[TRACK_VIDEO] = p->init[TRACK_VIDEO];
    o.init[TRACK_AUDIO] = p->init[TRACK_AUDIO];

    struct buffer *payload = opening_write(v->event->id, &o);
    struct record r = {
        .kind = RECORD_SEGMENT, .video = v->id, .message = payload, .payload = buffer_bytes(payload)};

    if (!p->opened) { /* from here on the journal is needed, if it is not already for an earlier segment */
        pthread_mutex_lock(&p->live->lock);
        if (list_empty(&v->spool))
            v->needed_from = position;
        v->pins = true;
        pthread_mutex_unlock(&p->live->lock);
    }
    (void)journal_append(p->live->journal, &r);
    buffer_unref(payload);
    if ((e = segmenter_open(v->segmenter, &o, position)) != ERR_OK)
        *why = "the stream cannot be stored as CMAF";
    v->next_number++;
    p->opened = true;
    p->config_changed = false;
    return e;
}

/* Whether a sample opens a segment: the first does, then keyframes; without pictures, sounds. A configuration
 * alone is no picture: who sends one and never a keyframe is cut by its sounds. */
static bool cuts(const struct publication *p, enum track track, bool keyframe, int64_t pts_90k)
{
    bool is_video = track == TRACK_VIDEO, expects_pictures = p->config[TRACK_VIDEO].codec != CODEC_NONE;

    if (!p->opened || segmenter_is_full(p->video->segmenter))
        return true;
    if (p->config_changed && (is_video ? keyframe : !expects_pictures))
        return true;
    return (is_video ? keyframe : !p->has_key) &&
           segmenter_wants_cut(p->video->segmenter, pts_90k, p->live->options.segment_ms);
}

static void report_health(struct publication *p)
{
    struct live *l = p->live;

    pthread_mutex_lock(&l->lock);
    /* What the target duration leaves for a GOP; 0 while it is not chosen. */
    double target_s = p->video->target_duration_s, segment_s = (double)l->options.segment_ms / 1000;

    pulse_read(&p->pulse, p->config, target_s > 0 ? target_s - segment_s : 0, &p->event->health);
    p->event->health.gaps = p->timeline.gaps;
    pthread_mutex_unlock(&l->lock);
}

static enum err take_sample(struct publication *p, const struct flv_tag *tag, uint32_t timestamp_ms,
                            struct buffer *message, uint64_t *position, const char **why)
{
    bool is_video = tag->track == TRACK_VIDEO;
    struct sample s = {.buffer = message, .payload = tag->payload, .keyframe = tag->keyframe};
    struct record r = {.kind = RECORD_SAMPLE,
                       .track = tag->track,
                       .keyframe = tag->keyframe,
                       .message = message,
                       .payload = tag->payload};
    enum err e;

    if (p->config[tag->track].codec != tag->codec || tag->payload.size == 0 ||
        (is_video && !tag->keyframe && !p->has_key)) {
        metric_add(&samples_dropped, 1);
        return ERR_OK;
    }
    p->has_key |= is_video;
    if (p->video == NULL)
        take_video(p);
    s.dts = s.pts = timeline_place(&p->timeline, tag->track, timestamp_ms, &p->config[TRACK_AUDIO]);
    if (is_video && tag->composition_ms > 0)
        s.pts += (tag->composition_ms < COMPOSITION_MS_MAX ? tag->composition_ms : COMPOSITION_MS_MAX) *
                 (int64_t)(CMAF_VIDEO_TIMESCALE / 1000);

    int64_t pts_90k = is_video ? s.pts : s.pts * CMAF_VIDEO_TIMESCALE / p->config[TRACK_AUDIO].rate;
    /* A publisher's first segment begins where the timeline stands, for its other track may come before this. */
    int64_t start_90k = p->opened ? pts_90k : p->video->position_90k;

    if (cuts(p, tag->track, tag->keyframe, pts_90k) && (e = open_segment(p, start_90k, why)) != ERR_OK)
        return e;
    if (p->init[tag->track] ==
        NULL) { /* its configuration came after the segment opened: the next one has it */
        metric_add(&samples_dropped, 1);
        return ERR_OK;
    }
    r.video = p->video->id;
    r.dts = s.dts;
    r.pts = s.pts;
    *position = journal_append(p->live->journal, &r);
    e = segmenter_add(p->video->segmenter, tag->track, &s, *position - tag->payload.size);
    if (e != ERR_OK) {
        *why = "a sample is damaged and cannot be stored";
        return ERR_BAD;
    }
    if (segmenter_changes(p->video->segmenter) != p->video->chunk_changes) {
        p->video->chunk_changes = segmenter_changes(p->video->segmenter);
        chunk_update(p->video);
    }
    edge_update(p);
    metric_add(&messages, 1);
    hub_sample(&p->video->hub, tag->track, &p->config[tag->track], p->record[tag->track], &s);
    if (*position - p->live->durable > JOURNAL_QUEUE_BYTES_MAX)
        tell_hold(p);
    if (pulse_count(&p->pulse, message->size, tag->track, tag->keyframe, pts_90k)) {
        report_health(p);
        tell_hold(p);
        tell_trouble(p);
    }
    return ERR_OK;
}

enum err live_message(struct publication *p, enum message_kind kind, uint32_t timestamp_ms,
                      struct buffer *message, struct bytes body, uint64_t *position, const char **why)
{
    struct flv_tag tag;
    enum err e;

    *position = 0;
    *why = "";
    if (p->event == NULL || kind == MESSAGE_DATA)
        return ERR_OK;
    e = flv_parse(&tag, kind == MESSAGE_AUDIO ? TRACK_AUDIO : TRACK_VIDEO, body, why);
    if (e != ERR_OK)
        return e;
    switch (tag.kind) {
    case FLV_CONFIG:
        return take_config(p, &tag, why);
    case FLV_SAMPLE:
        return take_sample(p, &tag, timestamp_ms, message, position, why);
    case FLV_END:
    case FLV_IGNORED:
        break;
    }
    return ERR_OK;
}

void live_heard(struct publication *p)
{
    p->heard_ms = clock_mono_ms();
}

void live_sync(struct publication *p)
{
    journal_sync(p->live->journal);
}
