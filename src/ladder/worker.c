/* ladder/worker.c - threads that take tasks from the queue, on this machine or another one. */
#include "ladder/ladder_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define TAKE_MS 1000
/* Between two messages to the queue that a task is still worked at. */
#define BEAT_MS 1000
/* A queue or a store that is away is asked again after this long. */
#define AWAY_MS 1000

METRIC(tasks_done, METRIC_COUNTER, "matinee_ladder_tasks_done_total", "Map tasks that this process did");
METRIC(tasks_failed, METRIC_COUNTER, "matinee_ladder_tasks_failed_total",
       "Map tasks that failed or whose child died");
METRIC(media_ms, METRIC_COUNTER, "matinee_ladder_task_milliseconds_total",
       "Time that map tasks took, from taken to answered");

struct workers {
    struct queue *queue;
    struct store *store;
    const char *program;
    unsigned count;
    pthread_t *threads;
    atomic_bool ending;
};

struct shift {
    struct workers *workers;
    struct queue_job *job;
    int64_t beat_ms;
};

static bool wanted(void *ctx)
{
    struct shift *s = ctx;

    s->beat_ms = clock_mono_ms();
    return !atomic_load(&s->workers->ending) && queue_beat(s->workers->queue, s->job) != ERR_STALE;
}

/* Asked all the while a child works. */
static bool keep_on(void *ctx)
{
    struct shift *s = ctx;

    if (clock_mono_ms() - s->beat_ms < BEAT_MS)
        return !atomic_load(&s->workers->ending);
    return wanted(ctx);
}

/* Ends the job one way or the other; a queue that cannot be told gives the job to somebody again. */
static enum err report(struct workers *w, struct queue_job *job, enum map_end end, struct bytes result,
                       const char *why)
{
    char refusal[300];

    switch (end) {
    case MAP_DONE:
        metric_add(&tasks_done, 1);
        return queue_done(w->queue, job, result);
    case MAP_REFUSED: /* a result as good as any: nobody else would do better */
        snprintf(refusal, sizeof refusal, "!%s", why);
        return queue_done(w->queue, job, bytes_text(refusal));
    case MAP_FAULT:
    case MAP_DIED:
        metric_add(&tasks_failed, 1);
        return queue_fail(w->queue, job, end == MAP_DIED, why);
    case MAP_STOPPED:
    case MAP_STORE:
        break;
    }
    queue_give_back(w->queue, job);
    return end == MAP_STORE ? ERR_IO : ERR_OK;
}

static enum err do_job(struct workers *w, struct queue_job *job)
{
    struct shift shift = {w, job, clock_mono_ms()};
    struct map_means means = {w->store, w->program, keep_on, wanted, &shift};
    int64_t began_ms = clock_mono_ms(), cpu_ms = 0;
    struct builder result = {0};
    struct task task;
    char why[256] = "", key[QUEUE_KEY_MAX + 1];
    enum map_end end = MAP_FAULT;

    snprintf(key, sizeof key, "%s", job->key);
    if (task_read(&task, bytes_text(job->key), buffer_bytes(job->task), why) == ERR_OK)
        end = map_task(&means, &task, &result, &cpu_ms, why);
    if (end == MAP_DONE)
        cost_write(cpu_ms, &result);
    metric_add(&media_ms, clock_mono_ms() - began_ms);
    if (end != MAP_DONE && end != MAP_STOPPED)
        log_warn("ladder", "task %s: %s", key, why);
    enum err e = report(w, job, end, builder_bytes(&result), why);

    builder_drop(&result);
    return e;
}

static void *work(void *ctx)
{
    struct workers *w = ctx;

    while (!atomic_load(&w->ending)) {
        struct queue_job job;
        enum err e = queue_take(w->queue, TAKE_MS, &job);

        if (e == ERR_OK)
            e = do_job(w, &job);
        if (e == ERR_CLOSED)
            break;
        if (e != ERR_OK && e != ERR_TIMEOUT)
            poll(NULL, 0, AWAY_MS);
    }
    return NULL;
}

struct workers *workers_start(struct queue *queue, struct store *store, const char *program, unsigned count)
{
    struct workers *w = mem_new(sizeof *w);

    w->queue = queue;
    w->store = store;
    w->program = program;
    w->threads = mem_new(count * sizeof *w->threads);
    for (; w->count < count; w->count++) {
        if (pthread_create(&w->threads[w->count], NULL, work, w) != 0) {
            log_error("ladder", "only %u of %u workers could be started", w->count, count);
            break;
        }
    }
    return w;
}

void workers_stop(struct workers *w)
{
    if (w == NULL)
        return;
    atomic_store(&w->ending, true);
    for (unsigned i = 0; i < w->count; i++)
        pthread_join(w->threads[i], NULL);
    free(w->threads);
    free(w);
}
