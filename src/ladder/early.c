/* ladder/early.c - a live segment is made while it is still open: chunk by chunk, as they come (live_on_chunk), and what is made of
 * them is shown as parts.
 *
 * Such an effort does not know how many chunks it will have, so its tasks say "of 0". When its segment is stored the leader
 * closes it: whatever was not told of until then is planned out of the segment, and the rest goes the way of all others. Who stops,
 * or crashes, forgets early efforts; their segments are planned whole, and what lies about of them is swept away then. */
#include "ladder/leader_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* A chunk that fits nowhere yet waits so long: until those before it are stored, or the video has its ladder. */
#define WAIT_MS_MAX 10000

/* --- hearing of chunks --------------------------------------------------------------------------------- */

struct heard {
    struct list link;
    struct live_chunk chunk;
    int64_t came_ms;
};

void early_on_chunk(void *ctx, const struct live_chunk *c)
{
    struct ladder *l = ctx;
    struct heard *h = mem_new(sizeof *h);

    h->chunk = *c;
    h->chunk.record = buffer_ref(c->record);
    h->came_ms = clock_mono_ms();
    list_init(&h->link);
    pthread_mutex_lock(&l->lock);
    list_push(&l->heard, &h->link);
    pthread_mutex_unlock(&l->lock);
}

static void heard_free(struct heard *h)
{
    list_remove(&h->link);
    buffer_unref(h->chunk.record);
    free(h);
}

void early_free_all(struct ladder *l)
{
    while (!list_empty(&l->heard))
        heard_free(container_of(l->heard.next, struct heard, link));
    while (!list_empty(&l->chunks))
        heard_free(container_of(l->chunks.next, struct heard, link));
}

/* --- beginning ---------------------------------------------------------------------------------------- */

static struct task task_of(const struct effort *f, const struct live_chunk *c)
{
    struct task t = {.video = c->video,
                     .chunk = c->index,
                     .of = 0,
                     .size = c->size,
                     .codec = c->config.codec,
                     .record = buffer_bytes(c->record),
                     .init = c->init,
                     .rung_count = f->rung_count};

    snprintf(t.segment, sizeof t.segment, "%s", f->segment);
    live_chunk_name(t.object, c->video, c->number, c->index);
    memcpy(t.rungs, f->rungs, sizeof t.rungs);
    return t;
}

/* Puts one more chunk into the queue. */
static enum err add_chunk(struct ladder *l, struct effort *f, const struct live_chunk *c)
{
    struct task task = task_of(f, c);
    enum err e = effort_add(l, f, &task);

    if (e != ERR_OK)
        return e;
    f->jobs[f->of - 1].start = c->start;
    f->jobs[f->of - 1].duration = c->duration;
    f->closed = c->last;
    return ERR_OK;
}

/* What a segment is made as: all that the video has, but what is left out for now. */
static size_t rungs_of(const struct watch *w, const struct video_view *v, const struct live_chunk *c,
                       struct rung out[RUNGS_MAX])
{
    size_t count = 0;

    for (size_t i = atomic_load(&w->shed); i < v->rendition_count && count < RUNGS_MAX; i++)
        count += plan_rung(&v->renditions[i], c->config.width, c->config.height, &out[count]);
    return count;
}

static enum err begin(struct ladder *l, struct watch *w, const struct live_chunk *c, const struct rung *rungs,
                      size_t count)
{
    size_t group[RUNGS_MAX], groups = plan_groups(rungs, count, group);
    enum err e = ERR_OK;

    for (size_t g = 0; g < groups && e == ERR_OK; g++) {
        struct effort *f = effort_open(l, w, c, rungs, count, group, g);

        if ((e = add_chunk(l, f, c)) != ERR_OK)
            effort_free(l, f);
    }
    return e;
}

/* Everything that can be done for a chunk now; false: it is to be tried again. */
static bool place(struct ladder *l, struct watch *w, const struct video_view *v, const struct live_chunk *c)
{
    struct rung rungs[RUNGS_MAX];
    bool any = false;

    if (w->planned > 0 && w->planned <= v->segment_count && v->segments[w->planned - 1].number >= c->number)
        return true; /* too late: its segment is planned, and nothing would close what is begun now */
    if (v->rendition_count == 0 || buffer_bytes(c->record).size > TASK_RECORD_MAX)
        return v->segment_count > 1 || buffer_bytes(c->record).size > TASK_RECORD_MAX;
    for (struct list *at = l->efforts.next; at != &l->efforts; at = at->next) {
        struct effort *f = container_of(at, struct effort, link);

        if (f->watch != w || f->number != c->number || !f->early || f->closed || f->of > c->index)
            continue;
        if (f->of < c->index || add_chunk(l, f, c) != ERR_OK)
            return false;
        any = true;
    }
    if (any || c->index > 0)
        return any;
    return begin(l, w, c, rungs, rungs_of(w, v, c, rungs)) == ERR_OK;
}

void early_look(struct ladder *l, int64_t now_ms)
{
    pthread_mutex_lock(&l->lock);
    while (!list_empty(&l->heard))
        list_push(&l->chunks, list_pop(&l->heard));
    pthread_mutex_unlock(&l->lock);
    list_each(&l->chunks, at, after)
    {
        struct heard *h = container_of(at, struct heard, link);
        struct watch *w = leader_watch(l, h->chunk.video);
        bool known, placed = false;
        struct video_view *view = live_video_peek(l->options.live, h->chunk.video, &known);

        if (view == NULL || !view->live)
            placed = true; /* it is planned whole, or gone */
        else if (w != NULL)
            placed = place(l, w, view, &h->chunk);
        video_view_unref(view);
        if (placed || now_ms - h->came_ms > WAIT_MS_MAX)
            heard_free(h);
    }
}

/* --- showing ------------------------------------------------------------------------------------------ */

static enum err show(struct ladder *l, const struct effort *f, size_t rung)
{
    const struct job *job = &f->jobs[f->shown];
    struct piece piece;

    if (!effort_piece(f, f->shown, rung, &piece))
        return ERR_BAD;
    return live_rendition_part(l->options.live, f->watch->id, f->rungs[rung].name,
                               &(struct made_part){.number = f->number,
                                                   .chunk = f->shown,
                                                   .last = f->closed && f->shown + 1 == f->of,
                                                   .discontinuity = f->discontinuity,
                                                   .wall_ms = f->wall_ms,
                                                   .init = piece.init,
                                                   .size = piece.bytes,
                                                   .start = job->start,
                                                   .duration = job->duration},
                               piece.record);
}

void early_show(struct ladder *l, struct effort *f)
{
    enum err e = ERR_OK;

    while (f->early && !f->hidden && f->shown < f->of && f->jobs[f->shown].result != NULL) {
        for (size_t r = 0; r < f->rung_count && e == ERR_OK; r++)
            e = f->jobs[f->shown].duration > 0 ? show(l, f, r) : ERR_BAD;
        f->hidden = e != ERR_OK; /* players get the segment when it is whole */
        f->shown++;
    }
}

/* --- closing ------------------------------------------------------------------------------------------ */

/* Plans out of the stored segment what was not told of. */
static enum err add_rest(struct ladder *l, struct effort *f, const struct video_view *view, size_t at)
{
    struct task *tasks;
    size_t count;
    char why[96];
    enum err e = effort_tasks(l->options.store, view, at, f->rungs, f->rung_count, &tasks, &count, why);

    if (e != ERR_OK)
        return e;
    if (f->of > count || (f->closed && f->of < count))
        e = ERR_BAD; /* what was told is not what came of it */
    while (e == ERR_OK && f->of < count) {
        tasks[f->of].of = 0;
        e = effort_add(l, f, &tasks[f->of]);
    }
    free(tasks);
    return e;
}

enum err early_close(struct ladder *l, struct watch *w, const struct video_view *view, size_t at)
{
    const struct segment *s = &view->segments[at];
    enum err e = ERR_OK;

    list_each(&l->efforts, link, after)
    {
        struct effort *f = container_of(link, struct effort, link);

        if (f->watch != w || f->number != s->number || !f->early || f->stored)
            continue;
        if ((e = add_rest(l, f, view, at)) != ERR_OK && e != ERR_BAD)
            return e;
        if (e == ERR_BAD) {
            effort_start_over(l, f, e);
            return ERR_BUSY; /* it is planned anew */
        }
        f->closed = f->stored = true;
        f->length_ms = (s->end - s->start) / (CMAF_VIDEO_TIMESCALE / 1000);
        f->captured_ms = s->wall_ms + f->length_ms;
        effort_finish_if_whole(l, f);
    }
    return ERR_OK;
}

void early_sweep_leftovers(struct ladder *l, const struct effort *f)
{
    char name[SEGMENT_NAME_SIZE];
    enum err e = ERR_OK;

    /* A segment that was cut short by a crash has the number behind the one that it was begun under (live/recover.c). */
    for (uint32_t number = f->number > 0 ? f->number - 1 : 0; number <= f->number; number++)
        for (unsigned i = 0; i <= f->of && e == ERR_OK; i++) {
            e = store_delete(l->options.store, live_chunk_name(name, f->watch->id, number, i));
            for (size_t r = 0; r < f->rung_count && e == ERR_OK; r++)
                e = store_delete(l->options.store,
                                 rendition_part_name(name, f->watch->id, f->rungs[r].name, number, i));
        }
}

void early_sweep(struct ladder *l, const struct effort *f)
{
    char name[SEGMENT_NAME_SIZE];

    for (const struct list *at = l->efforts.next; at != &l->efforts; at = at->next) {
        const struct effort *other = container_of(at, struct effort, link);

        if (other != f && other->early && other->watch == f->watch && other->number == f->number)
            return; /* that needs them still */
    }
    for (unsigned i = 0; i < f->of; i++)
        if (store_delete(l->options.store, live_chunk_name(name, f->watch->id, f->number, i)) != ERR_OK)
            break; /* they lie there until the video is deleted, and harm nobody */
}
