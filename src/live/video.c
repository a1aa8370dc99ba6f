/* live/video.c - a video in memory: its init segments, and the immutable views that players hold. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

const char *track_rendition(enum track t)
{
    return t == TRACK_VIDEO ? "source" : "audio";
}

const char *segment_name(char name[SEGMENT_NAME_SIZE], struct ulid video, enum track track,
                         const struct segment *s)
{
    return rendition_segment_name(name, video, track_rendition(track), s);
}

const char *rendition_segment_name(char name[SEGMENT_NAME_SIZE], struct ulid video, const char *rendition,
                                   const struct segment *s)
{
    char id[ULID_TEXT_SIZE];

    snprintf(name, SEGMENT_NAME_SIZE, "v/%s/%s/%06u%s.m4s", ulid_text(video, id), rendition, s->number,
             s->torn ? "-r" : "");
    return name;
}

const char *rendition_part_name(char name[SEGMENT_NAME_SIZE], struct ulid video, const char *rendition,
                                uint32_t number, unsigned chunk)
{
    char id[ULID_TEXT_SIZE];

    snprintf(name, SEGMENT_NAME_SIZE, "v/%s/%s/%06u.%uof0.m4s", ulid_text(video, id), rendition, number,
             chunk);
    return name;
}

/* --- views ------------------------------------------------------------------------------------------- */

struct video_view *video_view_ref(struct video_view *v)
{
    atomic_fetch_add_explicit(&v->references, 1, memory_order_relaxed);
    return v;
}

void video_view_unref(struct video_view *v)
{
    if (v == NULL || atomic_fetch_sub_explicit(&v->references, 1, memory_order_acq_rel) != 1)
        return;
    for (int t = 0; t < TRACK_COUNT; t++) {
        for (size_t i = 0; i < v->init_count[t]; i++) {
            buffer_unref(v->inits[t][i].record);
            buffer_unref(v->inits[t][i].bytes);
        }
        free(v->inits[t]);
    }
    for (int i = 0; i < VIEW_CACHES; i++)
        buffer_unref(v->cache[i]);
    renditions_free(v->renditions, v->rendition_count);
    free(v->segments);
    free(v);
}

struct buffer *video_view_cached(struct video_view *v, unsigned slot,
                                 struct buffer *(*make)(struct video_view *v, unsigned slot))
{
    struct buffer *cached = atomic_load_explicit(&v->cache[slot], memory_order_acquire);
    struct buffer *made;

    if (cached != NULL)
        return buffer_ref(cached);
    made = make(v, slot);
    if (atomic_compare_exchange_strong(&v->cache[slot], &cached, made))
        return buffer_ref(made);
    buffer_unref(made); /* another thread was first, with the same text */
    return buffer_ref(cached);
}

double video_view_duration_s(const struct video_view *v)
{
    return v->segment_count ? (double)v->segments[v->segment_count - 1].end / CMAF_VIDEO_TIMESCALE : 0;
}

static struct video_view *view_new(const struct video *v, const struct segment *segments, size_t count,
                                   const struct segment *added)
{
    struct video_view *view = mem_new(sizeof *view);

    atomic_init(&view->references, 1);
    view->id = v->id;
    view->event = v->event->id;
    view->access = v->event->access;
    view->live = v->live || v->away;
    view->away = v->away;
    view->imported = v->upload_bytes > 0;
    view->created_at_ms = v->created_at_ms;
    view->target_duration_s = v->target_duration_s;
    view->chunk_90k = v->chunk_90k;
    for (int t = 0; t < TRACK_COUNT; t++) {
        view->init_count[t] = v->init_count[t];
        view->inits[t] = mem_new(v->init_count[t] * sizeof *view->inits[t]);
        for (size_t i = 0; i < v->init_count[t]; i++) {
            view->inits[t][i] = *v->inits[t][i];
            buffer_ref(view->inits[t][i].record);
            buffer_ref(view->inits[t][i].bytes);
        }
    }
    view->segment_count = count + (added != NULL);
    view->segments = mem_new(view->segment_count * sizeof *segments);
    if (count > 0)
        memcpy(view->segments, segments, count * sizeof *segments);
    if (added != NULL)
        view->segments[count] = *added;
    view->rendition_count = v->rendition_count;
    view->renditions =
        renditions_copy(v->renditions, v->rendition_count, count, view->segments, view->segment_count);
    return view;
}

void video_show(struct video *v, const struct segment *added)
{
    struct video_view *before = v->view;

    v->view = view_new(v, before ? before->segments : NULL, before ? before->segment_count : 0, added);
    for (size_t i = 0; i < v->rendition_count && added != NULL; i++) { /* nothing is made of it yet */
        struct rendition *r = &v->renditions[i];

        r->made = mem_resize(r->made, v->view->segment_count * sizeof *r->made);
        r->made[v->view->segment_count - 1] = (struct made){MADE_NOT, 0, 0};
    }
    v->view_used_ms = clock_mono_ms();
    edge_view_changed(v);
    video_view_unref(before);
}

void video_show_loaded(struct video *v, const struct segment *segments, size_t count)
{
    struct video_view *before = v->view;

    v->view = view_new(v, segments, count, NULL);
    v->view_used_ms = v->view_loaded_ms = clock_mono_ms();
    edge_view_changed(v);
    video_view_unref(before);
}

/* --- videos ------------------------------------------------------------------------------------------ */

struct video *video_new(struct live *l, struct event *e, struct ulid id)
{
    struct video *v = mem_new(sizeof *v);

    v->room = l;
    v->id = id;
    if (db_shared(l->options.db)) /* otherwise there is no other */
        v->home = l->server;
    v->event = e;
    list_init(&v->active);
    list_init(&v->spool);
    hub_init(&v->hub);
    return v;
}

void video_has_row(struct video *v)
{
    v->row_since = atomic_load(&v->room->readings);
    v->has_row = true;
}

static void init_free(struct init *i)
{
    buffer_unref(i->record);
    buffer_unref(i->bytes);
    free(i);
}

void video_free(struct video *v)
{
    segmenter_free(v->segmenter);
    hub_drop(&v->hub);
    for (struct list *link; (link = list_pop(&v->spool)) != NULL;)
        finished_free(container_of(link, struct finished, link));
    for (int t = 0; t < TRACK_COUNT; t++) {
        for (size_t i = 0; i < v->init_count[t]; i++)
            init_free(v->inits[t][i]);
        free(v->inits[t]);
    }
    edge_unref(v->edge);
    edge_drop_done(v);
    video_view_unref(v->view);
    renditions_free(v->renditions, v->rendition_count);
    free(v);
}

enum err video_add_init(struct video *v, enum track track, const struct codec_config *config,
                        struct bytes record)
{
    struct init *i = mem_new(sizeof *i);
    struct cmaf *c;
    enum err e = cmaf_new(&c, config, record, 0);

    if (e == ERR_OK)
        e = cmaf_init(c, &i->bytes);
    cmaf_free(c);
    if (e != ERR_OK) {
        free(i);
        return e;
    }
    i->number = (uint32_t)v->init_count[track];
    i->config = *config;
    i->record = buffer_copy(record);
    v->inits[track] = mem_resize(v->inits[track], (v->init_count[track] + 1) * sizeof *v->inits[track]);
    v->inits[track][v->init_count[track]++] = i;
    return ERR_OK;
}

const struct init *video_newest_init(const struct video *v, enum track track)
{
    return v->init_count[track] ? v->inits[track][v->init_count[track] - 1] : NULL;
}
