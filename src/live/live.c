/* live/live.c - opens and closes the room, keeps its lists, and ends videos whose grace is over. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_MS 250
/* Views of ended videos kept in memory; an evening's film has 720 segments, 100 KB. */
#define LOADED_VIEWS_MAX 64

METRIC(videos_live, METRIC_GAUGE, "matinee_videos_live",
       "Videos that are live, wait for their publisher, or are imported");

/* --- lists ------------------------------------------------------------------------------------------- */

static struct bytes id_key(const struct ulid *id)
{
    return bytes_of(id->b, sizeof id->b);
}

struct event *live_find_event(const struct live *l, struct ulid id)
{
    return map_get(l->events, id_key(&id));
}

struct video *live_find_video(const struct live *l, struct ulid id)
{
    return map_get(l->videos, id_key(&id));
}

static void order_add(struct ulid **order, size_t *count, struct ulid id)
{
    size_t at = *count;

    *order = mem_resize(*order, (*count + 1) * sizeof **order);
    for (; at > 0 && memcmp((*order)[at - 1].b, id.b, sizeof id.b) > 0; at--)
        (*order)[at] = (*order)[at - 1];
    (*order)[at] = id;
    (*count)++;
}

static void order_remove(struct ulid *order, size_t *count, struct ulid id)
{
    size_t at = 0;

    while (at < *count && !ulid_equal(order[at], id))
        at++;
    if (at == *count)
        return;
    memmove(order + at, order + at + 1, (*count - at - 1) * sizeof *order);
    (*count)--;
}

void live_add_event(struct live *l, struct event *e)
{
    map_put(l->events, id_key(&e->id), e);
    map_put(l->keys, bytes_of(e->key_hash, ACCESS_HASH_SIZE), e);
    order_add(&l->event_order, &l->event_count, e->id);
}

void live_add_video(struct live *l, struct video *v)
{
    map_put(l->videos, id_key(&v->id), v);
    order_add(&l->video_order, &l->video_count, v->id);
    if (v->event->video == NULL || memcmp(v->event->video->id.b, v->id.b, sizeof v->id.b) < 0)
        v->event->video = v;
    if (v->live) {
        list_push(&l->active, &v->active);
        metric_add(&videos_live, 1);
    }
}

void live_remove_event(struct live *l, struct event *e)
{
    map_remove(l->events, id_key(&e->id));
    map_remove(l->keys, bytes_of(e->key_hash, ACCESS_HASH_SIZE));
    order_remove(l->event_order, &l->event_count, e->id);
    event_free(e);
}

void event_free(struct event *e)
{
    if (e == NULL)
        return;
    free(e->title);
    free(e->upload_problem);
    free(e);
}

void live_forget_view(struct video *v)
{
    video_view_unref(v->view);
    v->view = NULL;
    renditions_free(v->renditions, v->rendition_count);
    v->renditions = NULL;
    v->rendition_count = 0;
}

/* The newest of an event's videos that are left. */
static struct video *newest_of(const struct live *l, const struct event *e)
{
    for (size_t i = l->video_count; i > 0; i--) {
        struct video *v = live_find_video(l, l->video_order[i - 1]);

        if (v->event == e)
            return v;
    }
    return NULL;
}

void live_remove_video(struct live *l, struct video *v)
{
    map_remove(l->videos, id_key(&v->id));
    order_remove(l->video_order, &l->video_count, v->id);
    list_remove(&v->active);
    if (v->live)
        metric_add(&videos_live, -1);
    if (v->event->video == v)
        v->event->video = newest_of(l, v->event);
    video_free(v);
}

void live_end_video(struct live *l, struct video *v)
{
    char id[ULID_TEXT_SIZE];

    v->live = false;
    v->pins = false;
    v->ends_at_ms = 0;
    v->end_to_tell = true;
    hub_end(&v->hub);
    segmenter_free(v->segmenter);
    v->segmenter = NULL;
    video_show(v, NULL);
    metric_add(&videos_live, -1);
    log_info("live", "video %s has ended at %.3f s", ulid_text(v->id, id),
             (double)v->position_90k / CMAF_VIDEO_TIMESCALE);
    spool_kick(l, v);
}

void live_abandon_video(struct live *l, struct video *v)
{
    v->live = v->importing = false;
    hub_end(&v->hub);
    segmenter_free(v->segmenter);
    v->segmenter = NULL;
    metric_add(&videos_live, -1);
    pthread_cond_broadcast(&l->changed);
}

/* --- housekeeping ------------------------------------------------------------------------------------ */

void live_release_journal(struct live *l)
{
    uint64_t needed = journal_position(l->journal);

    pthread_mutex_lock(&l->lock);
    list_each(&l->active, at, after)
    {
        const struct video *v = container_of(at, struct video, active);

        if ((v->pins || !list_empty(&v->spool)) && v->needed_from < needed)
            needed = v->needed_from;
    }
    pthread_mutex_unlock(&l->lock);
    journal_release(l->journal, needed);
}

static void drop_old_views(struct live *l)
{
    size_t loaded = 0;
    struct video *oldest = NULL;

    for (size_t i = 0; i < l->video_count; i++) {
        struct video *v = live_find_video(l, l->video_order[i]);

        if (v->view == NULL || v->live || !list_empty(&v->spool) || v->spooling)
            continue;
        loaded++;
        if (oldest == NULL || v->view_used_ms < oldest->view_used_ms)
            oldest = v;
    }
    if (loaded > LOADED_VIEWS_MAX)
        live_forget_view(oldest);
}

static void tick(void *ctx)
{
    struct live *l = ctx;
    int64_t now = clock_mono_ms();

    pthread_mutex_lock(&l->lock);
    list_each(&l->active, at, after)
    {
        struct video *v = container_of(at, struct video, active);

        if (v->live && !v->publishing && v->ends_at_ms != 0 && now >= v->ends_at_ms)
            live_end_video(l, v);
        spool_kick(l, v);
    }
    drop_old_views(l);
    pthread_mutex_unlock(&l->lock);
    spool_watch(l);
    timer_start(net_loop(l->options.net, 0), &l->tick, TICK_MS, tick, l);
}

/* --- opening and closing ----------------------------------------------------------------------------- */

static void journal_is_durable(void *ctx, uint64_t position)
{
    publish_durable((struct live *)ctx, position);
}

static void journal_has_trouble(void *ctx, enum err why)
{
    publish_trouble((struct live *)ctx, why);
}

static void replay_record(void *ctx, const struct record *r, uint64_t position)
{
    recovery_record(((struct live *)ctx)->recovery, r, position);
}

static enum err open_journal(struct live *l, char why[256])
{
    static const struct journal_events events = {journal_is_durable, journal_has_trouble};
    char *dir = mem_printf("%s/journal", l->data_dir);
    enum err e, recovered;

    l->recovery = recovery_new(l);
    e = journal_open(&l->journal, dir, replay_record, &events, l);
    recovered = recovery_finish(l->recovery);
    l->recovery = NULL;
    if (e != ERR_OK)
        snprintf(why, 256, "the journal in %.120s: %s", dir, err_text(e));
    else if ((e = recovered) != ERR_OK)
        snprintf(why, 256, "what a crash left in %.120s could not be stored: %s; it is kept there", dir,
                 err_text(e));
    if (e == ERR_OK) {
        l->durable = journal_position(l->journal);
        live_release_journal(l);
    }
    free(dir);
    return e;
}

enum err live_open(struct live **out, const struct live_options *options, char why[256])
{
    struct live *l = mem_new(sizeof *l);
    unsigned loops = net_loop_count(options->net);
    enum err e;

    *out = NULL;
    l->options = *options;
    l->serials = (uint64_t)clock_wall_ms() << 16; /* behind those of an earlier run */
    l->data_dir = mem_string(options->data_dir);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    pthread_mutex_init(&l->change_lock, NULL);
    l->events = map_new();
    l->keys = map_new();
    l->videos = map_new();
    l->deleted = map_new();
    list_init(&l->active);
    l->berth_count = loops;
    l->berths = mem_new(loops * sizeof *l->berths);
    for (unsigned i = 0; i < loops; i++) {
        l->berths[i].live = l;
        l->berths[i].loop = net_loop(options->net, i);
        list_init(&l->berths[i].publications);
    }
    if ((e = catalog_open(l, why)) == ERR_OK)
        e = open_journal(l, why);
    if (e == ERR_OK && (e = upload_sweep(l)) != ERR_OK)
        snprintf(why, 256, "the folder for uploads in %.120s: %s", l->data_dir, err_text(e));
    if (e != ERR_OK) {
        live_close(l);
        return e;
    }
    loop_post(l->berths[0].loop, tick, l);
    import_start(l);
    *out = l;
    return ERR_OK;
}

static bool anything_to_store(const struct live *l)
{
    for (const struct list *at = l->active.next; at != &l->active; at = at->next) {
        const struct video *v = container_of(at, struct video, active);

        if (!list_empty(&v->spool) || v->spooling || v->end_to_tell)
            return true;
    }
    return false;
}

void live_drain(struct live *l, int64_t patience_ms)
{
    int64_t due_ms = clock_wall_ms() + patience_ms;
    struct timespec due = {due_ms / 1000, due_ms % 1000 * 1000000};

    l->draining = true;
    import_stop(l);
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->event_count; i++) {
        const struct event *e = live_find_event(l, l->event_order[i]);

        if (e->publication != NULL)
            publication_evict(e->publication, "the server is shutting down");
    }
    while ((l->publication_count > 0 || anything_to_store(l)) &&
           pthread_cond_timedwait(&l->changed, &l->lock, &due) == 0)
        continue;
    l->drained = true;
    if (anything_to_store(l))
        log_warn("live", "not every segment is stored; the journal keeps the rest for the next start");
    pthread_mutex_unlock(&l->lock);
}

void live_close(struct live *l)
{
    if (l == NULL)
        return;
    l->draining = true;
    import_stop(l);
    journal_close(l->journal);
    while (l->video_count > 0)
        live_remove_video(l, live_find_video(l, l->video_order[l->video_count - 1]));
    while (l->event_count > 0)
        live_remove_event(l, live_find_event(l, l->event_order[l->event_count - 1]));
    map_free(l->events);
    map_free(l->keys);
    map_free(l->videos);
    map_free(l->deleted);
    free(l->peers);
    free(l->event_order);
    free(l->video_order);
    free(l->berths);
    free(l->data_dir);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->change_lock);
    free(l);
}
