/* ladder/leader.c - what has to be made of which video: watches videos, plans what is missing, and leaves out
 * what there is no time for. One thread; what is being made is in effort.c.
 *
 * All that it knows is in the index and the queue: after a crash it looks at every unfinished video, and plans
 * what is missing under the same names. */
#include "ladder/leader_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#define LISTEN_MS 100
/* A video that could not be looked at, or waits for room in the queue, is looked at again after this long. */
#define LOOK_MS 1000
/* Tasks of archives that are in the queue at a time; the live edge is never held back. */
#define ARCHIVE_JOBS_MAX 512
/* A live task that has waited this long is a sign of too few workers; calm is when none waits even this long. */
#define CROWDED_MS 15000
#define CALM_MS    3000
/* A queue that says nothing for so long, though something is under way and no worker holds anything, has lost it: a broker
 * that was killed may forget what it had handed out. */
#define SILENT_MS (2 * QUEUE_LEASE_MS)
/* Between two renditions that are left out, and before one is taken up again. */
#define SHED_EVERY_MS 10000
#define CALM_FOR_MS   30000

METRIC(waiting_live, METRIC_GAUGE, "matinee_ladder_tasks_waiting_live",
       "Tasks of the live edge that wait for a worker");
METRIC(waiting_archive, METRIC_GAUGE, "matinee_ladder_tasks_waiting_archive",
       "Tasks of archives that wait for a worker");
METRIC(held, METRIC_GAUGE, "matinee_ladder_tasks_held", "Tasks that workers have in hand");
METRIC(oldest, METRIC_GAUGE, "matinee_ladder_oldest_task_milliseconds",
       "How long the oldest waiting task of the live edge has waited");
METRIC(failures, METRIC_GAUGE, "matinee_ladder_failures", "Failures that workers reported, since the start");
METRIC(deaths, METRIC_GAUGE, "matinee_ladder_deaths", "Workers that died with a task, since the start");
METRIC(away_now, METRIC_GAUGE, "matinee_queue_away", "1 while the queue does not answer");
METRIC(shed_now, METRIC_GAUGE, "matinee_ladder_renditions_shed",
       "Renditions of live videos that are left out for now, because the workers cannot keep up");

/* --- videos ------------------------------------------------------------------------------------------- */

struct watch *leader_watch(const struct ladder *l, struct ulid id)
{
    for (struct list *at = l->watches.next; at != &l->watches; at = at->next)
        if (ulid_equal(container_of(at, struct watch, link)->id, id))
            return container_of(at, struct watch, link);
    return NULL;
}

static void watch_video(void *ctx, struct ulid id)
{
    struct ladder *l = ctx;
    struct watch *w = leader_watch(l, id);

    if (w == NULL) {
        w = mem_new(sizeof *w);
        w->id = id;
        pthread_mutex_lock(&l->lock);
        list_push(&l->watches, &w->link);
        pthread_mutex_unlock(&l->lock);
    }
    w->look_ms = 0;
}

static void unwatch(struct ladder *l, struct watch *w)
{
    effort_forget(l, w);
    metric_add(&shed_now, -(long long)atomic_load(&w->shed));
    pthread_mutex_lock(&l->lock);
    list_remove(&w->link);
    pthread_mutex_unlock(&l->lock);
    free(w);
}

static enum err view_of(struct live *live, struct ulid id, struct video_view **out)
{
    bool known;

    *out = live_video_peek(live, id, &known);
    if (*out != NULL)
        return ERR_OK;
    return known ? live_video_load(live, id, out) : ERR_MISSING;
}

/* What the source is, by its newest stored segment with pictures. */
struct source {
    uint32_t width, height, fps;
};

static enum err read_source(struct ladder *l, const struct video_view *v, struct source *out)
{
    size_t at = live_video_stored(l->options.live, v);
    char name[SEGMENT_NAME_SIZE];
    struct buffer *bytes;
    enum err e;

    while (at > 0 && v->segments[at - 1].track[TRACK_VIDEO].bytes == 0)
        at--;
    if (at == 0)
        return ERR_UNSUPPORTED;
    const struct segment *s = &v->segments[at - 1];
    const struct span *span = &s->track[TRACK_VIDEO];
    const struct codec_config *config = &v->inits[TRACK_VIDEO][span->init].config;

    if ((e = store_get(l->options.store, segment_name(name, v->id, TRACK_VIDEO, s), &bytes)) != ERR_OK)
        return e;
    int64_t pictures = pictures_count(buffer_bytes(bytes)), length = span->end - span->start;

    buffer_unref(bytes);
    *out =
        (struct source){config->width, config->height,
                        length > 0 ? (uint32_t)((pictures * CMAF_VIDEO_TIMESCALE + length / 2) / length) : 0};
    return ERR_OK;
}

/* A video gets the whole ladder with its first segment, and keeps what it has then. */
static enum err begin_renditions(struct ladder *l, const struct video_view *view)
{
    struct rung rungs[RUNGS_MAX];
    struct source source;
    size_t count;
    enum err e;

    if (view->rendition_count > 0)
        return ERR_OK;
    if ((e = read_source(l, view, &source)) != ERR_OK)
        return e == ERR_UNSUPPORTED ? ERR_OK : e;
    count = plan_rungs(l->names, source.width, source.height, source.fps, rungs);
    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        struct rendition r = {
            .codec = rungs[i].codec, .width = rungs[i].width, .height = rungs[i].height, .fps = source.fps};

        memcpy(r.name, rungs[i].name, sizeof r.name);
        if (video_view_rendition(view, r.name) == NULL)
            e = live_rendition_begin(l->options.live, view->id, &r);
    }
    return e;
}

/* --- planning ----------------------------------------------------------------------------------------- */

size_t plan_rung(const struct rendition *r, uint32_t width, uint32_t height, struct rung *out)
{
    struct rung rungs[RUNGS_MAX];
    char word[RENDITION_NAME_SIZE], *dash;

    memcpy(word, r->name, sizeof word); /* what was asked for as 720p:hevc is called 720p-hevc */
    if ((dash = strchr(word, '-')) != NULL)
        *dash = ':';
    if (plan_rungs(word, width, height, r->fps, rungs) != 1)
        return 0;
    *out = rungs[0];
    return 1;
}

/* The rungs of the renditions that lack this segment and are not under way, and those among them that its source
 * is too small for. */
static size_t missing_rungs(const struct ladder *l, const struct watch *w, const struct video_view *v,
                            size_t at, struct rung out[RUNGS_MAX], struct rung never[RENDITIONS_MAX],
                            size_t *never_count)
{
    const struct codec_config *config =
        &v->inits[TRACK_VIDEO][v->segments[at].track[TRACK_VIDEO].init].config;
    size_t count = 0;

    *never_count = 0;
    for (size_t i = 0; i < v->rendition_count; i++) {
        const struct rendition *r = &v->renditions[i];

        if (r->made[at].state != MADE_NOT || effort_has(l, w, v->segments[at].number, r->name))
            continue;
        if (count < RUNGS_MAX && plan_rung(r, config->width, config->height, &out[count]) == 1)
            count++;
        else
            memcpy(never[(*never_count)++].name, r->name, sizeof never->name);
    }
    return count;
}

static enum err begin_groups(struct ladder *l, struct watch *w, const struct video_view *v, size_t at,
                             const struct rung *rungs, size_t count)
{
    size_t group[RUNGS_MAX], groups = plan_groups(rungs, count, group);
    enum err e = ERR_OK;

    for (size_t g = 0; g < groups && e == ERR_OK; g++) {
        struct rung together[RUNGS_MAX];
        size_t size = 0;
        char why[96] = "";

        for (size_t i = 0; i < count; i++)
            if (group[i] == g)
                together[size++] = rungs[i];
        e = effort_begin(l, w, v, at, together, size, why);
        if (e == ERR_BAD)
            e = effort_gaps(l, v->id, v->segments[at].number, together, size, why);
    }
    return e;
}

static enum err plan_segment(struct ladder *l, struct watch *w, const struct video_view *v, size_t at)
{
    struct rung rungs[RUNGS_MAX], never[RENDITIONS_MAX];
    size_t never_count, count, shed = atomic_load(&w->shed);
    enum err e;

    if (v->segments[at].track[TRACK_VIDEO].bytes == 0)
        return ERR_OK;
    if ((e = early_close(l, w, v, at)) != ERR_OK)
        return e;
    count = missing_rungs(l, w, v, at, rungs, never, &never_count);
    e = effort_gaps(l, v->id, v->segments[at].number, never, never_count,
                    "the source is not larger than this rendition");
    if (shed > count)
        shed = count;
    if (e == ERR_OK)
        e = effort_gaps(l, v->id, v->segments[at].number, rungs, shed, "the workers could not keep up");
    if (e == ERR_OK)
        e = begin_groups(l, w, v, at, rungs + shed, count - shed);
    return e;
}

static enum err plan_video(struct ladder *l, struct watch *w, const struct video_view *v)
{
    size_t stored = live_video_stored(l->options.live, v);
    enum err e = ERR_OK;

    if (w->wanted != v->rendition_count) { /* one was asked for since: it lacks the segments before, too */
        w->wanted = v->rendition_count;
        w->planned = 0;
    }
    while (w->planned < stored && e == ERR_OK) {
        if ((!v->live || v->imported) && l->archive_jobs >= ARCHIVE_JOBS_MAX)
            return ERR_BUSY;

        size_t at = w->planned++;

        e = plan_segment(l, w, v, at);
        if (e != ERR_OK && w->planned > at) /* it may be less: something is begun anew */
            w->planned = at;
    }
    return e;
}

static bool is_finished(const struct video_view *v)
{
    for (size_t i = 0; i < v->rendition_count; i++)
        if (v->renditions[i].shown < v->segment_count)
            return false;
    return !v->live;
}

/* Everything that can be done for a video now. */
static void look(struct ladder *l, struct watch *w, int64_t now_ms)
{
    struct video_view *view = NULL;
    enum err e = view_of(l->options.live, w->id, &view);

    w->look_ms = now_ms + LOOK_MS;
    if (e == ERR_OK && (e = begin_renditions(l, view)) == ERR_OK) {
        video_view_unref(view); /* the new one has the renditions */
        e = view_of(l->options.live, w->id, &view);
    }
    if (e == ERR_OK)
        e = plan_video(l, w, view);
    bool is_whole = e == ERR_OK && w->efforts == 0 && w->planned == view->segment_count && is_finished(view);

    if (is_whole)
        e = live_finished(l->options.live, w->id);
    if (e == ERR_MISSING || (is_whole && e == ERR_OK))
        unwatch(l, w);
    else if (e != ERR_OK && e != ERR_BUSY)
        log_debug("ladder", "a video is planned later: %s", err_text(e));
    else if (e == ERR_OK && w->planned == view->segment_count)
        w->look_ms = LOOK_NEVER;
    video_view_unref(view);
}

static void look_around(struct ladder *l, int64_t now_ms)
{
    struct ulid *told;
    size_t count;

    pthread_mutex_lock(&l->lock);
    told = l->told;
    count = l->told_count;
    l->told = NULL;
    l->told_count = 0;
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < count; i++)
        watch_video(l, told[i]);
    free(told);
    list_each(&l->watches, at, after)
    {
        struct watch *w = container_of(at, struct watch, link);

        if (now_ms >= w->look_ms)
            look(l, w, now_ms);
    }
}

/* --- too much to do ----------------------------------------------------------------------------------- */

/* How many renditions of the ladder this live video could still leave out. */
static unsigned could_shed(struct ladder *l, const struct watch *w)
{
    struct video_view *view = NULL;
    unsigned could = 0;

    if (view_of(l->options.live, w->id, &view) == ERR_OK && view->live && !view->imported &&
        view->rendition_count > atomic_load(&w->shed))
        could = (unsigned)view->rendition_count - atomic_load(&w->shed);
    video_view_unref(view);
    return could;
}

/* The newest live video loses its tallest rendition; the last one to lose any gets it back first. */
static void shed_one(struct ladder *l)
{
    struct watch *newest = NULL;
    char id[ULID_TEXT_SIZE];

    for (struct list *at = l->watches.next; at != &l->watches; at = at->next) {
        struct watch *w = container_of(at, struct watch, link);

        if ((newest == NULL || memcmp(w->id.b, newest->id.b, sizeof w->id.b) > 0) && could_shed(l, w) > 0)
            newest = w;
    }
    if (newest == NULL)
        return;
    atomic_fetch_add(&newest->shed, 1);
    metric_add(&shed_now, 1);
    log_warn("ladder", "the workers cannot keep up: video %s goes without its %u tallest renditions for now",
             ulid_text(newest->id, id), atomic_load(&newest->shed));
}

static void restore_one(struct ladder *l)
{
    for (struct list *at = l->watches.next; at != &l->watches; at = at->next) {
        struct watch *w = container_of(at, struct watch, link);

        if (atomic_load(&w->shed) > 0) {
            atomic_fetch_sub(&w->shed, 1);
            metric_add(&shed_now, -1);
            return;
        }
    }
}

/* Of what somebody has waited, what the queue was there for. */
static int64_t since_back(const struct ladder *l, int64_t waited_ms, int64_t now_ms)
{
    return waited_ms < now_ms - l->back_ms ? waited_ms : now_ms - l->back_ms;
}

static void balance(struct ladder *l, int64_t now_ms)
{
    struct queue_stats stats;

    queue_stats(l->options.queue, &stats);
    metric_set(&waiting_live, (long long)stats.open[QUEUE_LIVE]);
    metric_set(&waiting_archive, (long long)stats.open[QUEUE_ARCHIVE]);
    metric_set(&held, (long long)stats.held);
    metric_set(&oldest, stats.oldest_ms);
    metric_set(&failures, (long long)stats.failures);
    metric_set(&deaths, (long long)stats.deaths);
    if (stats.held > 0 || list_empty(&l->efforts))
        l->news_ms = now_ms;
    if (atomic_load(&l->queue_away))
        return; /* what waits for it says nothing of the workers */
    if (now_ms - l->news_ms > SILENT_MS) {
        l->news_ms = now_ms;
        effort_start_over_all(l);
    }
    if (since_back(l, stats.oldest_ms, now_ms) > CALM_MS)
        l->calm_ms = now_ms;
    if (since_back(l, stats.oldest_ms, now_ms) > CROWDED_MS && now_ms - l->shed_ms >= SHED_EVERY_MS) {
        l->shed_ms = now_ms;
        shed_one(l);
    } else if (now_ms - l->calm_ms >= CALM_FOR_MS) {
        l->calm_ms = now_ms;
        restore_one(l);
    }
}

bool ladder_queue_away(struct ladder *l)
{
    return atomic_load(&l->queue_away);
}

unsigned ladder_shed(struct ladder *l, struct ulid video)
{
    pthread_mutex_lock(&l->lock);
    const struct watch *w = leader_watch(l, video);
    unsigned shed = w ? atomic_load(&w->shed) : 0;

    pthread_mutex_unlock(&l->lock);
    return shed;
}

/* --- the thread --------------------------------------------------------------------------------------- */

static void listen_to_queue(struct ladder *l)
{
    struct queue_report report;
    enum err e = queue_listen(l->options.queue, LISTEN_MS, &report);

    if (e == ERR_OK) {
        l->news_ms = clock_mono_ms();
        effort_report(l, &report);
        queue_report_free(&report);
    } else if (e == ERR_CLOSED) {
        atomic_store(&l->ending, true);
    }
    if ((e == ERR_IO) != atomic_load(&l->queue_away)) {
        atomic_store(&l->queue_away, e == ERR_IO);
        metric_set(&away_now, e == ERR_IO);
        l->back_ms = l->news_ms = l->calm_ms = clock_mono_ms();
        log_warn("ladder",
                 e == ERR_IO ? "the queue is away; what is made waits for it" : "the queue is back");
    }
}

static void *lead(void *ctx)
{
    struct ladder *l = ctx;

    while (!atomic_load(&l->ending)) {
        int64_t now_ms = clock_mono_ms();

        early_look(l, now_ms);
        look_around(l, now_ms);
        effort_retry(l, now_ms);
        if (now_ms - l->straggled_ms >= LISTEN_MS) {
            l->straggled_ms = now_ms;
            effort_hurry(l, now_ms);
            balance(l, now_ms);
        }
        listen_to_queue(l);
    }
    return NULL;
}

static void on_change(void *ctx, struct ulid video)
{
    struct ladder *l = ctx;
    size_t i = 0;

    pthread_mutex_lock(&l->lock);
    while (i < l->told_count && !ulid_equal(l->told[i], video))
        i++;
    if (i == l->told_count) {
        l->told = mem_resize(l->told, (l->told_count + 1) * sizeof *l->told);
        l->told[l->told_count++] = video;
    }
    pthread_mutex_unlock(&l->lock);
}

enum err ladder_check(const char *ladder, char why[256])
{
    return plan_check(ladder, why);
}

enum err ladder_open(struct ladder **out, const struct ladder_options *options, char why[256])
{
    struct ladder *l = mem_new(sizeof *l);
    enum err e;

    *out = NULL;
    l->options = *options;
    l->names = mem_string(options->ladder);
    pthread_mutex_init(&l->lock, NULL);
    list_init(&l->watches);
    list_init(&l->efforts);
    list_init(&l->heard);
    list_init(&l->chunks);
    l->jobs = map_new();
    l->calm_ms = clock_mono_ms();
    l->opened_ms = clock_wall_ms();
    if ((e = live_unfinished(options->live, watch_video, l)) != ERR_OK) {
        snprintf(why, 256, "what is left to make could not be read: %s", err_text(e));
    } else {
        live_on_change(options->live, on_change, l);
        if (strcmp(options->ladder, "none") != 0)
            live_on_chunk(options->live, early_on_chunk, l);
        l->started = pthread_create(&l->thread, NULL, lead, l) == 0;
        if (!l->started) {
            snprintf(why, 256, "the ladder's thread could not be started");
            e = ERR_LIMIT;
        }
    }
    if (e != ERR_OK)
        ladder_close(l);
    else
        *out = l;
    return e;
}

void ladder_close(struct ladder *l)
{
    if (l == NULL)
        return;
    live_on_change(l->options.live, NULL, NULL);
    live_on_chunk(l->options.live, NULL, NULL);
    atomic_store(&l->ending, true);
    if (l->started)
        pthread_join(l->thread, NULL);
    effort_free_all(l);
    early_free_all(l);
    while (!list_empty(&l->watches))
        free(container_of(list_pop(&l->watches), struct watch, link));
    map_free(l->jobs);
    free(l->told);
    free(l->names);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* --- archives ----------------------------------------------------------------------------------------- */

/* The view of an ended video, and the rung that was asked for. */
static enum err archive_view(struct ladder *l, struct ulid video, const char *name, struct video_view **view,
                             struct rung *rung, uint32_t *fps, char why[256])
{
    struct rung rungs[RUNGS_MAX];
    struct source source;
    enum err e;

    *view = NULL;
    if ((e = plan_check(name, why)) != ERR_OK)
        return e;
    if ((e = view_of(l->options.live, video, view)) != ERR_OK) {
        snprintf(why, 256, "there is no such video");
        return e;
    }
    if ((*view)->live)
        e = ERR_BUSY;
    else if ((e = read_source(l, *view, &source)) == ERR_OK &&
             plan_rungs(name, source.width, source.height, source.fps, rungs) != 1)
        e = ERR_UNSUPPORTED;
    if (e != ERR_OK) {
        snprintf(why, 256,
                 e == ERR_BUSY ? "the video is live; its ladder is made as it comes"
                               : "one rendition, lower than the source, can be made of this video");
        video_view_unref(*view);
        *view = NULL;
        return e;
    }
    *rung = rungs[0];
    *fps = source.fps;
    return ERR_OK;
}

static enum err begin_archive(struct ladder *l, struct ulid video, const struct rung *rung, uint32_t fps)
{
    struct rendition r = {
        .codec = rung->codec, .width = rung->width, .height = rung->height, .fps = fps, .archive = true};

    memcpy(r.name, rung->name, sizeof r.name);
    return live_rendition_begin(l->options.live, video, &r);
}

enum err ladder_add(struct ladder *l, struct ulid video, const char *rendition, char why[256])
{
    struct video_view *view;
    struct rung rung;
    uint32_t fps;
    enum err e = archive_view(l, video, rendition, &view, &rung, &fps, why);

    if (e != ERR_OK)
        return e;
    video_view_unref(view);
    if ((e = begin_archive(l, video, &rung, fps)) != ERR_OK)
        snprintf(why, 256, "the rendition cannot be begun: %s", err_text(e));
    else
        on_change(l, video);
    return e;
}

static enum err print_tasks(struct ladder *l, const struct video_view *view, size_t at,
                            const struct rung *rung, struct builder *out)
{
    struct task *tasks;
    size_t count;
    char key[TASK_KEY_SIZE], why[96];
    enum err e = effort_tasks(l->options.store, view, at, rung, 1, &tasks, &count, why);

    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < count; i++) {
        task_key(&tasks[i], key);
        builder_printf(out, "%s\t", key);
        task_write(&tasks[i], out);
        builder_u8(out, '\n');
    }
    free(tasks);
    return ERR_OK;
}

enum err ladder_tasks(struct ladder *l, struct ulid video, const char *rendition, struct builder *out,
                      char why[256])
{
    struct video_view *view;
    struct rung rung;
    uint32_t fps;
    enum err e = archive_view(l, video, rendition, &view, &rung, &fps, why);

    if (e != ERR_OK)
        return e;
    const struct rendition *there = video_view_rendition(view, rung.name);

    for (size_t i = 0; i < view->segment_count && e == ERR_OK; i++)
        if (view->segments[i].track[TRACK_VIDEO].bytes > 0 &&
            (there == NULL || there->made[i].state == MADE_NOT))
            e = print_tasks(l, view, i, &rung, out);
    if (e != ERR_OK)
        snprintf(why, 256, "a segment of the source cannot be read: %s", err_text(e));
    video_view_unref(view);
    return e;
}

static enum err publish_line(struct ladder *l, const struct video_view *view, const struct rung *rung,
                             struct bytes line)
{
    char name[SEGMENT_NAME_SIZE], segment[24];
    struct buffer *content;
    struct piece p;
    enum err e = piece_read(&p, line);

    if (e != ERR_OK || p.of != 1 || !ulid_equal(p.video, view->id) || strcmp(p.rendition, rung->name) != 0)
        return ERR_BAD;
    for (size_t i = 0; i < view->segment_count; i++) {
        const struct segment *s = &view->segments[i];

        snprintf(segment, sizeof segment, "%06u%s", s->number, s->torn ? "-r" : "");
        if (strcmp(segment, p.segment) != 0)
            continue;
        if ((e = store_get(l->options.store, rendition_segment_name(name, view->id, rung->name, s),
                           &content)) != ERR_OK)
            return e;
        bool fits = buffer_bytes(content).size == p.bytes && p.bytes > 0;

        buffer_unref(content);
        return fits ? live_rendition_made(l->options.live, view->id,
                                          &(struct rendition_made){.name = rung->name,
                                                                   .number = s->number,
                                                                   .bytes = p.bytes,
                                                                   .init = p.init,
                                                                   .record = p.record})
                    : ERR_BAD;
    }
    return ERR_BAD;
}

enum err ladder_publish(struct ladder *l, struct ulid video, const char *rendition, struct bytes lines,
                        char why[256])
{
    struct video_view *view;
    struct rung rung;
    uint32_t fps;
    struct bytes line;
    size_t number = 0;
    enum err e = archive_view(l, video, rendition, &view, &rung, &fps, why);

    if (e == ERR_OK && (e = begin_archive(l, video, &rung, fps)) != ERR_OK)
        snprintf(why, 256, "the rendition cannot be begun: %s", err_text(e));
    while (e == ERR_OK && line_next(&lines, &line)) {
        number++;
        if (line.size > 0 && (e = publish_line(l, view, &rung, line)) != ERR_OK)
            snprintf(why, 256, "line %zu is none that matinee reduce printed of %s of this video: %s", number,
                     rung.name, err_text(e));
    }
    if (view != NULL)
        on_change(l, video); /* what is missing still is made by the queue */
    video_view_unref(view);
    return e;
}
