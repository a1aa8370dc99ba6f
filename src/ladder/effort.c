/* ladder/effort.c - what is being made: jobs of the queue, their results, and the segments they come to.
 *
 * A result counts when it is in the queue; a segment when it is in the store and the index. Only then are its
 * results settled, so that a crash between the two repeats the last step and nothing else. */
#include "ladder/leader_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#define RETRY_MS 1000
/* How long after it was captured a segment belongs to the live edge, even if the video has ended. */
#define LIVE_FOR_MS 60000
/* A job is late when it takes half again as long as others do, and this. */
#define LATE_MS 250
/* With fewer samples nobody knows what is late. */
#define SAMPLES_MIN 3

METRIC(published, METRIC_COUNTER, "matinee_ladder_segments_published_total",
       "Segments of made renditions that were published");
METRIC(gaps, METRIC_COUNTER, "matinee_ladder_gaps_total", "Segments of renditions that could not be made");
METRIC(backups, METRIC_COUNTER, "matinee_ladder_backups_total",
       "Tasks that a second worker was asked for, because the first one was late");
METRIC_HISTOGRAM_OF(age_ms, "matinee_ladder_capture_to_published_milliseconds",
                    "From a live segment's last picture to its publication", "rendition", 500, 1000, 2000,
                    3000, 5000, 8000, 12000, 20000, 30000, 60000);
METRIC(encoded_ms, METRIC_COUNTER, "matinee_ladder_encoded_milliseconds_total",
       "Length of the video that was published, over all made renditions");
METRIC(encode_cpu_ms, METRIC_COUNTER, "matinee_ladder_encode_cpu_milliseconds_total",
       "CPU of all workers' encoding processes, remote ones too, for the results that counted");

/* --- beginning ---------------------------------------------------------------------------------------- */

static void names_of(const struct rung *rungs, size_t count, char *out, size_t room)
{
    size_t size = 0;

    out[0] = '\0';
    for (size_t i = 0; i < count && size < room; i++)
        size += (size_t)snprintf(out + size, room - size, "%s%s", i ? "+" : "", rungs[i].name);
}

static const char *segment_text(const struct segment *s, char text[24])
{
    snprintf(text, 24, "%06u%s", s->number, s->torn ? "-r" : "");
    return text;
}

enum err effort_tasks(struct store *store, const struct video_view *view, size_t at, const struct rung *rungs,
                      size_t count, struct task **out, size_t *task_count, char why[96])
{
    const struct segment *s = &view->segments[at];
    const struct init *init = &view->inits[TRACK_VIDEO][s->track[TRACK_VIDEO].init];
    struct extent extents[SEGMENT_CHUNKS_MAX];
    struct task task = {
        .video = view->id, .codec = init->config.codec, .init = init->number, .rung_count = count};
    struct buffer *segment;
    enum err e;

    *out = NULL;
    segment_name(task.object, view->id, TRACK_VIDEO, s);
    segment_text(s, task.segment);
    if (buffer_bytes(init->record).size > TASK_RECORD_MAX) {
        snprintf(why, 96, "the source's decoder configuration is too long");
        return ERR_BAD;
    }
    if ((e = store_get(store, task.object, &segment)) != ERR_OK) {
        snprintf(why, 96, "the source's segment: %s", err_text(e));
        return e == ERR_MISSING ? ERR_BAD : e;
    }
    *task_count = chunks_find(buffer_bytes(segment), extents, SEGMENT_CHUNKS_MAX);
    buffer_unref(segment);
    if (*task_count == 0) {
        snprintf(why, 96, "the source's segment is damaged");
        return ERR_BAD;
    }
    memcpy(task.rungs, rungs, count * sizeof *rungs);
    task.of = (unsigned)*task_count;
    *out = mem_new(*task_count * sizeof **out);
    for (unsigned i = 0; i < task.of; i++) {
        (*out)[i] = task;
        (*out)[i].chunk = i;
        (*out)[i].offset = extents[i].offset;
        (*out)[i].size = extents[i].size;
        (*out)[i].record = buffer_bytes(init->record);
    }
    return ERR_OK;
}

/* Viewers wait for what is live, and still for the last segments of a show that is just over; not for an upload. */
static bool is_awaited(const struct video_view *view, int64_t captured_ms)
{
    return !view->imported && (view->live || clock_wall_ms() - captured_ms < LIVE_FOR_MS);
}

static struct effort *effort_new(struct ladder *l, struct watch *w, const struct video_view *view, size_t at,
                                 const struct task *tasks, size_t count)
{
    const struct segment *s = &view->segments[at];
    struct effort *f = mem_new(sizeof *f);

    f->watch = w;
    f->number = s->number;
    segment_text(s, f->segment);
    f->length_ms = (s->end - s->start) / (CMAF_VIDEO_TIMESCALE / 1000);
    f->captured_ms = s->wall_ms + f->length_ms;
    f->lane = is_awaited(view, f->captured_ms) ? QUEUE_LIVE : QUEUE_ARCHIVE;
    f->rung_count = tasks[0].rung_count;
    memcpy(f->rungs, tasks[0].rungs, sizeof f->rungs);
    names_of(f->rungs, f->rung_count, f->names, sizeof f->names);
    f->jobs = mem_new(count * sizeof *f->jobs);
    f->of = f->room = (unsigned)count;
    f->closed = f->stored = true;
    for (size_t i = 0; i < count; i++) {
        f->jobs[i].effort = f;
        task_key(&tasks[i], f->jobs[i].key);
    }
    list_push(&l->efforts, &f->link);
    w->efforts++;
    return f;
}

void effort_free(struct ladder *l, struct effort *f)
{
    if (f->early)
        early_sweep(l, f);
    for (unsigned i = 0; i < f->of; i++) {
        map_remove(l->jobs, bytes_text(f->jobs[i].key));
        buffer_unref(f->jobs[i].result);
    }
    if (f->lane == QUEUE_ARCHIVE)
        l->archive_jobs -= f->of;
    list_remove(&f->link);
    f->watch->efforts--;
    free(f->jobs);
    free(f);
}

void effort_free_all(struct ladder *l)
{
    while (!list_empty(&l->efforts))
        effort_free(l, container_of(l->efforts.next, struct effort, link));
}

struct effort *effort_open(struct ladder *l, struct watch *w, const struct live_chunk *c,
                           const struct rung *rungs, size_t count, const size_t *group, size_t g)
{
    struct effort *f = mem_new(sizeof *f);

    f->watch = w;
    f->number = c->number;
    segment_text(&(struct segment){.number = c->number}, f->segment);
    f->captured_ms = clock_wall_ms(); /* until its end is known */
    f->lane = QUEUE_LIVE;
    for (size_t i = 0; i < count; i++)
        if (group[i] == g)
            f->rungs[f->rung_count++] = rungs[i];
    names_of(f->rungs, f->rung_count, f->names, sizeof f->names);
    f->early = true;
    f->discontinuity = c->discontinuity;
    f->wall_ms = c->wall_ms;
    list_push(&l->efforts, &f->link);
    w->efforts++;
    return f;
}

/* The lower renditions first: when there is not time for all of them, most viewers are better off so. */
static enum err put(struct ladder *l, const struct effort *f, const struct job *job, const struct task *task)
{
    struct builder line = {0};
    enum err e;

    task_write(task, &line);
    e = queue_put(l->options.queue, f->lane, -(int)f->rungs[0].height, job->key, builder_bytes(&line));
    builder_drop(&line);
    return e;
}

enum err effort_add(struct ladder *l, struct effort *f, const struct task *task)
{
    if (f->of == SEGMENT_CHUNKS_MAX)
        return ERR_LIMIT;
    if (f->of == f->room) {
        f->room = f->room ? f->room * 2 : 8;
        f->jobs = mem_resize(f->jobs, f->room * sizeof *f->jobs);
        for (unsigned i = 0; i < f->of; i++)
            map_put(l->jobs, bytes_text(f->jobs[i].key), &f->jobs[i]);
    }
    struct job *job = &f->jobs[f->of];

    *job = (struct job){.effort = f};
    task_key(task, job->key);

    enum err e = put(l, f, job, task);

    if (e != ERR_OK)
        return e;
    map_put(l->jobs, bytes_text(job->key), job);
    f->of++;
    return ERR_OK;
}

enum err effort_begin(struct ladder *l, struct watch *w, const struct video_view *view, size_t at,
                      const struct rung *rungs, size_t count, char why[96])
{
    struct task *tasks;
    size_t task_count;
    enum err e = effort_tasks(l->options.store, view, at, rungs, count, &tasks, &task_count, why);

    if (e != ERR_OK)
        return e;
    struct effort *f = effort_new(l, w, view, at, tasks, task_count);

    if (f->lane == QUEUE_ARCHIVE)
        l->archive_jobs += f->of;
    for (size_t i = 0; i < task_count; i++)
        map_put(l->jobs, bytes_text(f->jobs[i].key), &f->jobs[i]);
    for (size_t i = 0; i < task_count && e == ERR_OK; i++)
        e = put(l, f, &f->jobs[i], &tasks[i]);
    if (e != ERR_OK)
        effort_free(l, f); /* what was put is put again, under the same keys */
    free(tasks);
    return e;
}

/* --- ending ------------------------------------------------------------------------------------------- */

static enum err settle(struct ladder *l, const struct effort *f)
{
    const char **keys = mem_new(f->of * sizeof *keys);

    for (unsigned i = 0; i < f->of; i++)
        keys[i] = f->jobs[i].key;
    enum err e = queue_settle(l->options.queue, keys, f->of);

    free(keys);
    return e;
}

enum err effort_gaps(struct ladder *l, struct ulid video, uint32_t number, const struct rung *rungs,
                     size_t count, const char *reason)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        e = live_rendition_made(
            l->options.live, video,
            &(struct rendition_made){.name = rungs[i].name, .number = number, .reason = reason});
        if (e == ERR_OK)
            metric_add(&gaps, 1);
    }
    return e;
}

/* The line of a job's result that is about the rung; false: there is none that fits. */
bool effort_piece(const struct effort *f, unsigned chunk, size_t rung, struct piece *out)
{
    struct bytes text = buffer_bytes(f->jobs[chunk].result), line;

    while (line_next(&text, &line))
        if (piece_read(out, line) == ERR_OK && strcmp(out->rendition, f->rungs[rung].name) == 0)
            return out->chunk == chunk && out->of == (f->early ? 0 : f->of) &&
                   strcmp(out->segment, f->segment) == 0 && ulid_equal(out->video, f->watch->id);
    return false;
}

/* The chunks of one rendition, in order; NULL where a result is not what it must be. The caller's. */
static struct piece *pieces_of(const struct effort *f, size_t rung)
{
    struct piece *pieces = mem_new(f->of * sizeof *pieces);

    for (unsigned i = 0; i < f->of; i++) {
        if (!effort_piece(f, i, rung, &pieces[i]) || pieces[i].init != pieces[0].init ||
            !bytes_equal(pieces[i].record, pieces[0].record)) {
            free(pieces);
            return NULL;
        }
    }
    return pieces;
}

static enum err publish_rung(struct ladder *l, struct effort *f, size_t rung)
{
    struct piece *pieces = pieces_of(f, rung);
    char name[SEGMENT_NAME_SIZE], id[ULID_TEXT_SIZE];
    uint32_t bytes;
    enum err e;

    if (pieces == NULL)
        return ERR_BAD;
    snprintf(name, sizeof name, "v/%s/%s/%s.m4s", ulid_text(f->watch->id, id), f->rungs[rung].name,
             f->segment);
    if ((e = reduce_segment(l->options.store, pieces, f->of, name, &bytes)) == ERR_OK)
        e = live_rendition_made(l->options.live, f->watch->id,
                                &(struct rendition_made){.name = f->rungs[rung].name,
                                                         .number = f->number,
                                                         .bytes = bytes,
                                                         .init = pieces[0].init,
                                                         .record = pieces[0].record});
    if (e == ERR_OK) {
        metric_add(&published, 1);
        metric_add(&encoded_ms, f->length_ms);
        if (f->lane == QUEUE_LIVE)
            histogram_add(&age_ms, f->rungs[rung].name, clock_wall_ms() - f->captured_ms);
    }
    free(pieces);
    return e;
}

static void sweep(struct ladder *l, const struct effort *f)
{
    for (size_t r = 0; r < f->rung_count; r++) {
        struct piece *pieces = pieces_of(f, r);

        if (pieces != NULL)
            reduce_sweep(l->options.store, pieces, f->of);
        free(pieces);
    }
}

/* It is made again from the beginning: a chunk is lost or damaged, the queue lost it, or its video is gone, which will be
 * seen. */
void effort_start_over(struct ladder *l, struct effort *f, enum err why)
{
    log_warn("ladder", "segment %s as %s is begun anew: %s", f->segment, f->names, err_text(why));
    for (unsigned i = 0; i < f->of; i++)
        if (queue_drop(l->options.queue, f->jobs[i].key) != ERR_OK)
            break; /* its old result will be found unfit once more */
    f->watch->planned = 0;
    f->watch->look_ms = 0;
    effort_free(l, f);
}

void effort_start_over_all(struct ladder *l)
{
    list_each(&l->efforts, at, after)
    {
        struct effort *f = container_of(at, struct effort, link);

        if (f->arrived < f->of && f->reason[0] == '\0')
            effort_start_over(l, f, ERR_TIMEOUT);
    }
}

/* Lists what was made, and lets the queue forget it. */
static enum err write_made(struct ladder *l, struct effort *f)
{
    enum err e = ERR_OK;

    for (size_t r = 0; r < f->rung_count && e == ERR_OK; r++)
        e = publish_rung(l, f, r);
    if (e == ERR_OK && (e = settle(l, f)) == ERR_OK) {
        sweep(l, f);
        if (!f->early && f->captured_ms - f->length_ms < l->opened_ms && f->lane == QUEUE_LIVE)
            early_sweep_leftovers(l, f);
    }
    return e;
}

/* Lists that it will never be made: players skip it. */
static enum err write_given_up(struct ladder *l, struct effort *f)
{
    enum err e = effort_gaps(l, f->watch->id, f->number, f->rungs, f->rung_count, f->reason);

    for (unsigned i = 0; i < f->of && e == ERR_OK; i++)
        e = queue_drop(l->options.queue, f->jobs[i].key);
    return e;
}

/* Its end is known. */
static void finish(struct ladder *l, struct effort *f)
{
    enum err e = f->reason[0] ? write_given_up(l, f) : write_made(l, f);

    if (e == ERR_OK) {
        f->watch->look_ms = 0; /* the video may be finished now */
        effort_free(l, f);
    } else if (e == ERR_MISSING || e == ERR_BAD) {
        effort_start_over(l, f, e);
    } else {
        f->retry_ms = clock_mono_ms() + RETRY_MS;
    }
}

void effort_finish_if_whole(struct ladder *l, struct effort *f)
{
    if (f->stored && (f->arrived == f->of || f->reason[0] != '\0'))
        finish(l, f);
}

static void give_up(struct ladder *l, struct effort *f, struct bytes reason)
{
    char id[ULID_TEXT_SIZE];

    if (f->reason[0] != '\0')
        return;
    snprintf(f->reason, sizeof f->reason, "%.*s", (int)reason.size, (const char *)reason.at);
    if (f->reason[0] == '\0')
        snprintf(f->reason, sizeof f->reason, "its task failed too often");
    log_warn("ladder", "video %s: segment %s will not be there as %s: %s", ulid_text(f->watch->id, id),
             f->segment, f->names, f->reason);
    effort_finish_if_whole(l, f);
}

void effort_retry(struct ladder *l, int64_t now_ms)
{
    list_each(&l->efforts, at, after)
    {
        struct effort *f = container_of(at, struct effort, link);

        if (f->retry_ms != 0 && now_ms >= f->retry_ms) {
            f->retry_ms = 0;
            finish(l, f);
        }
    }
}

bool effort_has(const struct ladder *l, const struct watch *w, uint32_t number, const char *name)
{
    for (const struct list *at = l->efforts.next; at != &l->efforts; at = at->next) {
        const struct effort *f = container_of(at, struct effort, link);

        for (size_t i = 0; f->watch == w && f->number == number && i < f->rung_count; i++)
            if (strcmp(f->rungs[i].name, name) == 0)
                return true;
    }
    return false;
}

void effort_forget(struct ladder *l, struct watch *w)
{
    list_each(&l->efforts, at, after)
    {
        struct effort *f = container_of(at, struct effort, link);

        if (f->watch != w)
            continue;
        for (unsigned i = 0; i < f->of; i++)
            if (queue_drop(l->options.queue, f->jobs[i].key) != ERR_OK)
                break; /* its result will be of nobody, and settled as such */
        effort_free(l, f);
    }
}

/* --- news --------------------------------------------------------------------------------------------- */

static struct pace *pace_of(struct ladder *l, const char *names)
{
    size_t i = 0;

    while (i < PACES_MAX - 1 && l->paces[i].count > 0 && strcmp(l->paces[i].names, names) != 0)
        i++;
    if (strcmp(l->paces[i].names, names) != 0) {
        l->paces[i] = (struct pace){.count = 0};
        snprintf(l->paces[i].names, sizeof l->paces[i].names, "%s", names);
    }
    return &l->paces[i];
}

static void pace_add(struct pace *p, int64_t took_ms)
{
    p->took_ms[p->count++ % PACE_SAMPLES] = took_ms;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* What they mostly take; 0 while not known. */
static int64_t pace_median(const struct pace *p)
{
    size_t count = p->count < PACE_SAMPLES ? p->count : PACE_SAMPLES;
    int64_t sorted[PACE_SAMPLES];

    if (count < SAMPLES_MIN)
        return 0;
    memcpy(sorted, p->took_ms, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    return sorted[count / 2];
}

/* A result that nobody waits for: of a video that is gone, or of a segment that is published. */
static void discard(struct ladder *l, const struct queue_report *r)
{
    const char *key = r->key;
    struct bytes text = buffer_bytes(r->content), line;
    struct piece p;

    while (r->news == QUEUE_DONE && line_next(&text, &line))
        if (piece_read(&p, line) == ERR_OK)
            reduce_sweep(l->options.store, &p, 1);
    if (queue_settle(l->options.queue, &key, 1) != ERR_OK)
        log_debug("ladder", "%s could not be settled; it will be told again", key);
}

static void done(struct ladder *l, struct job *job, struct queue_report *r)
{
    struct effort *f = job->effort;
    struct bytes content = buffer_bytes(r->content);

    if (job->result != NULL || f->reason[0] != '\0')
        return;
    if (content.size > 0 && content.at[0] == '!') {
        give_up(l, f, bytes_from(content, 1));
        return;
    }
    pace_add(pace_of(l, f->names), r->took_ms);
    metric_add(&encode_cpu_ms, cost_read(content));
    job->result = buffer_ref(r->content);
    f->arrived++;
    early_show(l, f);
    effort_finish_if_whole(l, f);
}

void effort_report(struct ladder *l, struct queue_report *r)
{
    struct job *job = map_get(l->jobs, bytes_text(r->key));

    if (job == NULL) {
        if (r->news != QUEUE_STARTED)
            discard(l, r);
        return;
    }
    switch (r->news) {
    case QUEUE_STARTED:
        if (job->started_ms == 0 || !job->backed)
            job->started_ms = clock_mono_ms();
        break;
    case QUEUE_DONE:
        done(l, job, r);
        break;
    case QUEUE_SET_ASIDE:
        give_up(l, job->effort, buffer_bytes(r->content));
        break;
    }
}

void effort_hurry(struct ladder *l, int64_t now_ms)
{
    if (l->options.no_backups)
        return;
    list_each(&l->efforts, at, after)
    {
        struct effort *f = container_of(at, struct effort, link);
        int64_t median_ms = pace_median(pace_of(l, f->names));

        for (unsigned i = 0; i < f->of && median_ms > 0; i++) {
            struct job *job = &f->jobs[i];

            if (job->result != NULL || job->started_ms == 0 || job->backed ||
                now_ms - job->started_ms < median_ms * 3 / 2 + LATE_MS)
                continue;
            if (queue_again(l->options.queue, job->key) == ERR_OK) {
                job->backed = true;
                metric_add(&backups, 1);
            }
        }
    }
}
