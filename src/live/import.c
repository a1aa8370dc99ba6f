/* live/import.c - an uploaded recording becomes a video: its samples go through the same segmenter and the same spool
 * as a publisher's, as fast as the store takes them.
 *
 * The journal is not needed, for the file itself is durable. After a crash the file is read again from its start: the same samples make the
 * same segments, and those that the index has already are passed over. The file goes when the video is whole. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A reader that broke down, or was killed, is started again so often: it may have been the machine's fault. */
#define ATTEMPTS_MAX 3
#define TICKS_A_MS   (CMAF_VIDEO_TIMESCALE / 1000)

METRIC(imports_done, METRIC_COUNTER, "matinee_imports_total", "Uploaded recordings that became videos");
METRIC(imports_failed, METRIC_COUNTER, "matinee_imports_failed_total",
       "Uploaded recordings that turned out to be broken");

/* One reading of a file. */
struct import {
    struct live *live;
    struct video *video;
    struct codec_config config[TRACK_COUNT]; /* codec CODEC_NONE: no such track */
    struct buffer *record[TRACK_COUNT];
    const struct init *init[TRACK_COUNT];
    bool opened, has_key, config_changed;
    uint32_t number;           /* of the segment that opens next */
    int64_t last[TRACK_COUNT]; /* dts; -1: none */
    char *why;                 /* 256; what is wrong with the file */
};

static bool is_stopped(const struct live *l, const struct video *v)
{
    return l->draining || v->import_cancelled;
}

/* --- segments ---------------------------------------------------------------------------------------- */

static size_t waiting_count(const struct video *v)
{
    size_t count = 0;

    for (const struct list *at = v->spool.next; at != &v->spool; at = at->next)
        count++;
    return count;
}

/* Waits until at most `count` segments wait for the store: that is what bounds memory. */
static void wait_for_spool(struct live *l, struct video *v, size_t count)
{
    pthread_mutex_lock(&l->lock);
    while (waiting_count(v) > count && !is_stopped(l, v))
        pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

static void on_finished(void *ctx, struct finished *f)
{
    struct import *im = ctx;
    struct video *v = im->video;

    if (f->segment.number < v->next_number || is_stopped(im->live, v)) {
        finished_free(f); /* an earlier reading of the file has stored it */
        return;
    }
    v->next_number = f->segment.number + 1;
    spool_add(im->live, v, f);
    wait_for_spool(im->live, v, IMPORT_SEGMENTS_WAITING_MAX);
}

/* The init segment for a track: one that the video has already where it is the same. After a crash the newest one is not the first that the
 * file has. */
static enum err take_init(struct import *im, enum track t)
{
    struct video *v = im->video;
    struct bytes record = buffer_bytes(im->record[t]);
    enum err e = ERR_OK;

    pthread_mutex_lock(&im->live->lock);
    for (size_t i = 0; i < v->init_count[t] && im->init[t] == NULL; i++)
        if (v->inits[t][i]->config.codec == im->config[t].codec &&
            bytes_equal(buffer_bytes(v->inits[t][i]->record), record))
            im->init[t] = v->inits[t][i];
    if (im->init[t] == NULL && (e = video_add_init(v, t, &im->config[t], record)) == ERR_OK)
        im->init[t] = video_newest_init(v, t);
    pthread_mutex_unlock(&im->live->lock);
    if (e != ERR_OK)
        snprintf(im->why, 256, "its %s configuration cannot be stored", codec_name(im->config[t].codec));
    return e == ERR_OK ? ERR_OK : ERR_BAD;
}

static enum err open_segment(struct import *im, int64_t start_90k)
{
    struct video *v = im->video;
    struct segment_opening o = {.number = im->number,
                                .discontinuity = im->number > 0 && im->config_changed,
                                .start = start_90k,
                                .wall_ms = v->created_at_ms + start_90k / TICKS_A_MS};
    enum err e = ERR_OK;

    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++) {
        if (im->record[t] != NULL && im->init[t] == NULL)
            e = take_init(im, (enum track)t);
        o.init[t] = im->init[t];
    }
    if (e != ERR_OK)
        return e;
    im->number++;
    im->opened = true;
    im->config_changed = false;
    if (segmenter_open(v->segmenter, &o, UINT64_MAX) == ERR_OK)
        return ERR_OK;
    snprintf(im->why, 256, "it cannot be stored as CMAF");
    return ERR_BAD;
}

/* As publish.c cuts: the first sample opens a segment, then keyframes do; without pictures, sounds. */
static bool cuts(const struct import *im, const struct recorded *r, int64_t pts_90k)
{
    bool is_video = r->track == TRACK_VIDEO, has_pictures = im->record[TRACK_VIDEO] != NULL;

    if (!im->opened || segmenter_is_full(im->video->segmenter))
        return true;
    if (is_video ? !r->keyframe : has_pictures)
        return false;
    return im->config_changed || segmenter_wants_cut(im->video->segmenter, pts_90k, im->video->segment_ms);
}

/* --- what the reader gives --------------------------------------------------------------------------- */

static bool is_track_of(enum track t, enum codec c)
{
    bool is_sound = c == CODEC_AAC || c == CODEC_OPUS;

    return c != CODEC_NONE && is_sound == (t == TRACK_AUDIO);
}

static enum err take_track(struct import *im, const struct recorded *r)
{
    struct codec_config config;
    const char *why;
    enum err e = codec_config_parse(&config, r->codec, r->payload, &why);

    if (e != ERR_OK) {
        snprintf(im->why, 256, "%s", why);
        return e;
    }
    if (!is_track_of(r->track, r->codec) || (im->opened && r->track == TRACK_AUDIO)) {
        snprintf(im->why, 256, "its sound changes in the middle");
        return ERR_UNSUPPORTED;
    }
    buffer_unref(im->record[r->track]);
    im->record[r->track] = buffer_copy(r->payload);
    im->config[r->track] = config;
    im->init[r->track] = NULL;
    im->config_changed = im->opened;
    return ERR_OK;
}

/* What reads foreign bytes may have been taken over by them: nothing that it says is believed. */
static enum err check_sample(struct import *im, const struct recorded *r)
{
    int64_t rate = r->track == TRACK_VIDEO ? CMAF_VIDEO_TIMESCALE : im->config[TRACK_AUDIO].rate;

    if (im->record[r->track] == NULL || r->payload.size == 0 || r->dts <= im->last[r->track] ||
        r->pts < r->dts || r->pts - r->dts > COMPOSITION_MS_MAX * rate / 1000 ||
        r->pts > RECORDING_SECONDS_MAX * rate) {
        snprintf(im->why, 256, "its samples are damaged");
        return ERR_BAD;
    }
    im->last[r->track] = r->dts;
    return ERR_OK;
}

static enum err take_sample(struct import *im, const struct recorded *r)
{
    bool is_video = r->track == TRACK_VIDEO;
    struct sample s = {.dts = r->dts, .pts = r->pts, .keyframe = r->keyframe};
    enum err e = check_sample(im, r);

    if (e != ERR_OK)
        return e;
    int64_t pts_90k = is_video ? r->pts : r->pts * CMAF_VIDEO_TIMESCALE / im->config[TRACK_AUDIO].rate;

    if (cuts(im, r, pts_90k) && (e = open_segment(im, im->opened ? pts_90k : 0)) != ERR_OK)
        return e;
    s.buffer = buffer_copy(r->payload);
    s.payload = buffer_bytes(s.buffer);
    e = segmenter_add(im->video->segmenter, r->track, &s, UINT64_MAX);
    buffer_unref(s.buffer);
    if (e == ERR_OK)
        return ERR_OK;
    snprintf(im->why, 256, "a sample at %.3f s is damaged", (double)pts_90k / CMAF_VIDEO_TIMESCALE);
    return ERR_BAD;
}

static enum err take(void *ctx, const struct recorded *r)
{
    struct import *im = ctx;

    if (is_stopped(im->live, im->video))
        return ERR_CLOSED;
    return r->kind == RECORDED_TRACK ? take_track(im, r) : take_sample(im, r);
}

static bool keep_on(void *ctx)
{
    const struct import *im = ctx;

    return !is_stopped(im->live, im->video);
}

/* --- one video --------------------------------------------------------------------------------------- */

static enum err read_once(struct live *l, struct video *v, int file, char why[256])
{
    struct import im = {.live = l, .video = v, .last = {-1, -1}, .why = why};
    const struct recording_taker taker = {.take = take, .keep_on = keep_on, .ctx = &im};
    enum err e;

    why[0] = '\0';
    v->segmenter = segmenter_new(&(struct segmenter_events){on_finished}, &im);
    e = l->options.reader.read(l->options.reader.program, file, &taker, why);
    if (e == ERR_OK && !im.opened) {
        snprintf(why, 256, "there is neither picture nor sound in it");
        e = ERR_BAD;
    }
    if (e == ERR_OK && segmenter_end(v->segmenter, UINT64_MAX, &v->position_90k) != ERR_OK) {
        snprintf(why, 256, "its last samples are damaged");
        e = ERR_BAD;
    }
    segmenter_free(v->segmenter);
    v->segmenter = NULL;
    for (int t = 0; t < TRACK_COUNT; t++)
        buffer_unref(im.record[t]);
    return e;
}

/* Everything is in the store: the video ends, and when its row says so the file goes. */
static void end_import(struct live *l, struct video *v)
{
    bool told;

    wait_for_spool(l, v, 0);
    pthread_mutex_lock(&l->lock);
    if (!is_stopped(l, v)) {
        v->importing = false;
        live_end_video(l, v);
        metric_add(&imports_done, 1);
    }
    while (v->end_to_tell && !l->draining)
        pthread_cond_wait(&l->changed, &l->lock);
    told = !v->live && !v->end_to_tell;
    pthread_mutex_unlock(&l->lock);
    if (told)
        upload_remove_file(l, v->id);
}

/* The file is broken: the event says so, and nothing of the video is left. */
static void fail_import(struct live *l, struct video *v, const char *why)
{
    struct ulid id = v->id;
    char text[ULID_TEXT_SIZE];

    metric_add(&imports_failed, 1);
    log_warn("live", "video %s cannot be imported and is removed: %s", ulid_text(id, text), why);
    if (index_fail_import(l->options.db, v->event->id, why) != ERR_OK)
        log_warn("live", "video %s: that could not be written down", text);
    pthread_mutex_lock(&l->lock);
    free(v->event->upload_problem);
    v->event->upload_problem = mem_string(why);
    live_abandon_video(l, v);
    l->importer.video = NULL; /* or its deletion would wait for us */
    pthread_mutex_unlock(&l->lock);
    enum err e = live_video_delete(l, id);

    if (e != ERR_OK && e != ERR_MISSING)
        log_warn("live", "video %s could not be removed: %s", text, err_text(e));
}

static void import_video(struct live *l, struct video *v)
{
    int file = upload_file(l, v->id);
    char why[256] = "its file is gone", id[ULID_TEXT_SIZE];
    enum err e = file < 0 ? ERR_BAD : ERR_IO;

    log_info("live", "video %s: %llu bytes are imported from segment %u on", ulid_text(v->id, id),
             (unsigned long long)v->upload_bytes, v->next_number);
    for (int i = 0; i < ATTEMPTS_MAX && e == ERR_IO && !is_stopped(l, v); i++)
        e = read_once(l, v, file, why);
    if (file >= 0)
        close(file);
    if (is_stopped(l, v))
        return;
    if (e == ERR_OK)
        end_import(l, v);
    else
        fail_import(l, v, why[0] ? why : err_text(e));
}

/* --- the thread -------------------------------------------------------------------------------------- */

/* The oldest video that waits; NULL: none. */
static struct video *next_import(const struct live *l)
{
    for (const struct list *at = l->active.next; at != &l->active; at = at->next) {
        struct video *v = container_of(at, struct video, active);

        if (v->importing && !v->import_cancelled)
            return v;
    }
    return NULL;
}

static void *import_all(void *ctx)
{
    struct live *l = ctx;

    pthread_mutex_lock(&l->lock);
    while (!l->draining) {
        struct video *v = l->importer.video = next_import(l);

        if (v == NULL) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        import_video(l, v);
        pthread_mutex_lock(&l->lock);
        l->importer.video = NULL;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

void import_start(struct live *l)
{
    if (l->options.reader.read == NULL)
        return;
    l->importer.runs = pthread_create(&l->importer.thread, NULL, import_all, l) == 0;
    if (!l->importer.runs)
        log_error("live", "the thread that imports recordings could not be started: they wait");
}

void import_stop(struct live *l)
{
    if (!l->importer.runs)
        return;
    pthread_mutex_lock(&l->lock); /* so that the thread is not just about to wait */
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->importer.thread, NULL);
    l->importer.runs = false;
}

void import_cancel(struct live *l, struct video *v)
{
    v->import_cancelled = true;
    pthread_cond_broadcast(&l->changed);
    if (l->importer.video != v)
        live_abandon_video(l, v);
}
