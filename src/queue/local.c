/* queue/local.c - the embedded queue: what is durable stands in ledger.c's file, who holds what stands here.
 *
 * A job is open (on its lane's heap), held (it has attempts), or finished (until it is settled). Leases live in
 * memory and on the monotonic clock: whoever waits here wakes when the next one runs out and ends it, so there is
 * no thread that watches. One lock for everything, held over a commit too: a queue's work is counted in jobs of
 * seconds, and the order of what is on disk is then the order of what is in memory. */
#include "queue/queue_int.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Untold beginnings; they are for showing only, and a leader that does not listen shall not fill the memory. */
#define STARTED_MAX 4096
#define NOWHERE     SIZE_MAX

struct job {
    char *key;
    int64_t number;
    enum queue_lane lane;
    int rank;
    enum ledger_state state;
    unsigned attempts; /* begun so far */
    unsigned failures, deaths;
    size_t place;          /* on its lane's heap, or NOWHERE */
    int64_t open_since_ms; /* valid while it is on the heap */
    struct list held_by;   /* its attempts */
    struct list link;      /* on `offered` while held, on `finished` until it was shown */
    unsigned attempt;      /* these three of what brought the result */
    int64_t took_ms;
    char worker[64];
};

/* What a worker has; queue_job's lease. It lives until its worker ends it, and no worker holds one of another queue. */
struct attempt {
    struct list link;   /* on `running`, or on `over` */
    struct list of_job; /* on its job's `held_by` */
    struct job *job;    /* NULL once nothing is wanted of it */
    int64_t job_number;
    pthread_t thread;
    unsigned number;
    int64_t started_ms, deadline_ms;
};

struct started {
    struct list link;
    char key[QUEUE_KEY_MAX + 1];
    unsigned attempt, failures, deaths;
};

/* Open jobs of one lane, the next one first. */
struct heap {
    struct job **at;
    size_t count, capacity;
};

struct local {
    struct queue queue;
    struct ledger *ledger;
    char worker[64];
    int64_t lease_ms;
    unsigned failures_max, deaths_max;
    pthread_mutex_t lock;
    pthread_cond_t work, told; /* for takers, and for the listener */
    bool stopped;
    struct map *jobs; /* by key */
    struct heap open[QUEUE_LANE_COUNT];
    struct list offered[QUEUE_LANE_COUNT]; /* held jobs that one more worker may have */
    struct list running;                   /* attempts; the lease that runs out first is the first */
    struct list over;                      /* attempts nobody waits for, until their workers come back */
    struct list finished, started;         /* not shown yet */
    size_t running_count, started_count;
    uint64_t failures, deaths, backups, set_aside;
};

static struct local *local_of(struct queue *q)
{
    return (struct local *)(void *)q;
}

/* --- the heap ------------------------------------------------------------------------------------------- */

static bool goes_before(const struct job *a, const struct job *b)
{
    return a->rank != b->rank ? a->rank > b->rank : a->number < b->number;
}

static void heap_set(struct heap *h, size_t place, struct job *j)
{
    h->at[place] = j;
    j->place = place;
}

/* Finds the place of `j` from `place` on, up or down. */
static void heap_sift(struct heap *h, size_t place, struct job *j)
{
    while (place > 0 && goes_before(j, h->at[(place - 1) / 2])) {
        heap_set(h, place, h->at[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (size_t child = 2 * place + 1; child < h->count; child = 2 * place + 1) {
        if (child + 1 < h->count && goes_before(h->at[child + 1], h->at[child]))
            child++;
        if (!goes_before(h->at[child], j))
            break;
        heap_set(h, place, h->at[child]);
        place = child;
    }
    heap_set(h, place, j);
}

static void heap_add(struct heap *h, struct job *j)
{
    if (h->count == h->capacity) {
        h->capacity = h->capacity ? 2 * h->capacity : 64;
        h->at = mem_resize(h->at, h->capacity * sizeof *h->at);
    }
    heap_sift(h, h->count++, j);
}

static void heap_remove(struct heap *h, struct job *j)
{
    size_t place = j->place;
    struct job *last;

    if (place == NOWHERE)
        return;
    last = h->at[--h->count];
    j->place = NOWHERE;
    if (last != j)
        heap_sift(h, place, last);
}

/* --- jobs and attempts; all of these under the lock ----------------------------------------------------- */

static struct job *job_find(struct local *l, const char *key)
{
    return map_get(l->jobs, bytes_text(key));
}

static void job_open(struct local *l, struct job *j)
{
    j->open_since_ms = clock_mono_ms();
    heap_add(&l->open[j->lane], j);
    pthread_cond_signal(&l->work);
}

static struct job *job_new(struct local *l, const struct ledger_entry *e)
{
    struct job *j = mem_new(sizeof *j);

    j->key = mem_string(e->key);
    j->number = e->number;
    j->lane = e->lane;
    j->rank = e->rank;
    j->state = e->state;
    j->failures = e->failures;
    j->deaths = e->deaths;
    j->attempts = e->failures + e->deaths;
    j->place = NOWHERE;
    j->attempt = e->attempt;
    j->took_ms = e->took_ms;
    snprintf(j->worker, sizeof j->worker, "%s", e->worker);
    list_init(&j->held_by);
    list_init(&j->link);
    map_put(l->jobs, bytes_text(j->key), j);
    return j;
}

/* From a restart's ledger. */
static void job_found(void *ctx, const struct ledger_entry *e)
{
    struct local *l = ctx;
    struct job *j = job_new(l, e);

    if (j->state == LEDGER_OPEN)
        job_open(l, j);
    else
        list_push(&l->finished, &j->link);
}

/* Nothing is wanted of this attempt any more; its worker learns it when it next asks. */
static void attempt_over(struct local *l, struct attempt *a)
{
    if (a->job == NULL)
        return;
    a->job = NULL;
    list_remove(&a->of_job);
    list_remove(&a->link);
    list_push(&l->over, &a->link);
    l->running_count--;
}

/* It is on no list that hands it out, and its workers are on their own. */
static void job_withdraw(struct local *l, struct job *j)
{
    heap_remove(&l->open[j->lane], j);
    list_remove(&j->link);
    list_each(&j->held_by, at, after) attempt_over(l, container_of(at, struct attempt, of_job));
}

static void job_forget(struct local *l, struct job *j)
{
    job_withdraw(l, j);
    map_remove(l->jobs, bytes_text(j->key));
    free(j->key);
    free(j);
}

static enum err job_write(struct local *l, const struct job *j, enum ledger_state state,
                          const struct bytes *content)
{
    struct ledger_entry e = {
        .number = j->number,
        .state = state,
        .attempt = j->attempt,
        .failures = j->failures,
        .deaths = j->deaths,
        .took_ms = j->took_ms,
        .worker = j->worker,
    };

    return ledger_change(l->ledger, &e, content);
}

/* Writes the end of a job, brought by `a`; then nobody works at it any more and the leader is told. */
static enum err job_finish(struct local *l, struct job *j, const struct attempt *a, enum ledger_state state,
                           struct bytes content)
{
    enum err e;

    j->attempt = a->number;
    j->took_ms = clock_mono_ms() - a->started_ms;
    snprintf(j->worker, sizeof j->worker, "%s", l->worker);
    if ((e = job_write(l, j, state, &content)) != ERR_OK)
        return e;
    job_withdraw(l, j);
    j->state = state;
    l->set_aside += state == LEDGER_SET_ASIDE;
    list_push(&l->finished, &j->link);
    pthread_cond_signal(&l->told);
    return ERR_OK;
}

/* Somebody else may have it once nobody works at it; its old number puts it before younger ones. */
static void job_reopen_if_idle(struct local *l, struct job *j)
{
    if (j->state != LEDGER_OPEN || !list_empty(&j->held_by) || j->place != NOWHERE)
        return;
    list_remove(&j->link);
    job_open(l, j);
}

/* The attempt brought nothing: counts it and reopens the job, or sets it aside. A count that could not be written is
 * written with the next one. */
static enum err attempt_failed(struct local *l, struct attempt *a, bool died, const char *reason)
{
    struct job *j = a->job;
    enum err e;

    *(died ? &j->deaths : &j->failures) += 1;
    *(died ? &l->deaths : &l->failures) += 1;
    if (j->failures >= l->failures_max || j->deaths >= l->deaths_max)
        e = job_finish(l, j, a, LEDGER_SET_ASIDE, bytes_text(reason));
    else
        e = job_write(l, j, LEDGER_OPEN, NULL);
    attempt_over(l, a);
    job_reopen_if_idle(l, j);
    return e;
}

/* Ends the leases that have run out. */
static void expire(struct local *l)
{
    int64_t now_ms = clock_mono_ms();

    while (!list_empty(&l->running)) {
        struct attempt *a = container_of(l->running.next, struct attempt, link);
        char reason[128];

        if (a->deadline_ms > now_ms)
            break;
        snprintf(reason, sizeof reason, "worker %s took it and was not heard of for %lld ms", l->worker,
                 (long long)(now_ms - a->deadline_ms + l->lease_ms));
        if (attempt_failed(l, a, true, reason) != ERR_OK)
            log_warn("queue", "a lost lease could not be written down; it counts until a restart");
    }
}

static void attempt_free(struct attempt *a)
{
    list_remove(&a->of_job);
    list_remove(&a->link);
    free(a);
}

/* Waits for `event` until `deadline_ms`, until a lease could run out, or a moment longer. False: it is past the deadline. */
static bool wait_until(struct local *l, pthread_cond_t *event, int64_t deadline_ms)
{
    int64_t now_ms = clock_mono_ms(), wake_ms = now_ms + l->lease_ms;
    struct timespec until;

    if (now_ms >= deadline_ms)
        return false;
    if (!list_empty(&l->running)) {
        const struct attempt *first = container_of(l->running.next, struct attempt, link);

        wake_ms = first->deadline_ms;
    }
    if (wake_ms > deadline_ms)
        wake_ms = deadline_ms;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (wake_ms - now_ms) / 1000;
    until.tv_nsec += (wake_ms - now_ms) % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(event, &l->lock, &until);
    return true;
}

/* --- the leader ----------------------------------------------------------------------------------------- */

static enum err local_put(struct queue *q, enum queue_lane lane, int rank, const char *key, struct bytes task)
{
    struct local *l = local_of(q);
    struct ledger_entry e = {.key = key, .lane = lane, .rank = rank, .worker = ""};
    enum err result = ERR_OK;

    pthread_mutex_lock(&l->lock);
    if (job_find(l, key) == NULL && (result = ledger_add(l->ledger, &e, task)) == ERR_OK)
        job_open(l, job_new(l, &e));
    pthread_mutex_unlock(&l->lock);
    return result;
}

static enum err local_again(struct queue *q, const char *key)
{
    struct local *l = local_of(q);
    enum err e = ERR_OK;
    struct job *j;

    pthread_mutex_lock(&l->lock);
    expire(l);
    j = job_find(l, key);
    if (j == NULL || list_empty(&j->held_by)) {
        e = ERR_MISSING;
    } else if (list_empty(&j->link)) {
        list_push(&l->offered[j->lane], &j->link);
        l->backups++;
        pthread_cond_broadcast(&l->work); /* one alone could be the very worker that holds it */
    }
    pthread_mutex_unlock(&l->lock);
    return e;
}

static enum err local_drop(struct queue *q, const char *key)
{
    struct local *l = local_of(q);
    enum err e = ERR_OK;
    struct job *j;

    pthread_mutex_lock(&l->lock);
    j = job_find(l, key);
    if (j != NULL && (e = ledger_forget(l->ledger, &j->number, 1)) == ERR_OK)
        job_forget(l, j);
    pthread_mutex_unlock(&l->lock);
    return e;
}

static void tell_started(struct local *l, struct queue_report *out)
{
    struct started *s = container_of(list_pop(&l->started), struct started, link);

    l->started_count--;
    out->news = QUEUE_STARTED;
    snprintf(out->key, sizeof out->key, "%s", s->key);
    snprintf(out->worker, sizeof out->worker, "%s", l->worker);
    out->attempt = s->attempt;
    out->failures = s->failures;
    out->deaths = s->deaths;
    free(s);
}

static enum err tell_finished(struct local *l, struct queue_report *out)
{
    struct job *j = container_of(l->finished.next, struct job, link);
    enum err e = ledger_content(l->ledger, j->number, &out->content);

    if (e != ERR_OK)
        return e;
    list_remove(&j->link);
    out->news = j->state == LEDGER_DONE ? QUEUE_DONE : QUEUE_SET_ASIDE;
    snprintf(out->key, sizeof out->key, "%s", j->key);
    snprintf(out->worker, sizeof out->worker, "%s", j->worker);
    out->attempt = j->attempt;
    out->failures = j->failures;
    out->deaths = j->deaths;
    out->took_ms = j->took_ms;
    return ERR_OK;
}

static enum err local_listen(struct queue *q, int64_t wait_ms, struct queue_report *out)
{
    struct local *l = local_of(q);
    int64_t deadline_ms = clock_mono_ms() + wait_ms;
    enum err e = ERR_OK;

    pthread_mutex_lock(&l->lock);
    for (;;) {
        expire(l);
        if (l->stopped) {
            e = ERR_CLOSED;
            break;
        }
        if (!list_empty(&l->started)) {
            tell_started(l, out);
            break;
        }
        if (!list_empty(&l->finished)) {
            e = tell_finished(l, out);
            break;
        }
        if (!wait_until(l, &l->told, deadline_ms)) {
            e = ERR_TIMEOUT;
            break;
        }
    }
    pthread_mutex_unlock(&l->lock);
    return e;
}

static enum err local_settle(struct queue *q, const char *const *keys, size_t count)
{
    struct local *l = local_of(q);
    int64_t *numbers = mem_new(count * sizeof *numbers);
    size_t found = 0;
    enum err e;

    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < count; i++) {
        const struct job *j = job_find(l, keys[i]);

        if (j != NULL && j->state != LEDGER_OPEN)
            numbers[found++] = j->number;
    }
    e = found > 0 ? ledger_forget(l->ledger, numbers, found) : ERR_OK;
    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        struct job *j = job_find(l, keys[i]);

        if (j != NULL && j->state != LEDGER_OPEN)
            job_forget(l, j);
    }
    pthread_mutex_unlock(&l->lock);
    free(numbers);
    return e;
}

static void local_stats(struct queue *q, struct queue_stats *out)
{
    struct local *l = local_of(q);
    const struct heap *live = &l->open[QUEUE_LIVE];
    int64_t now_ms, oldest_ms;

    pthread_mutex_lock(&l->lock);
    expire(l);
    now_ms = oldest_ms = clock_mono_ms();
    for (size_t lane = 0; lane < QUEUE_LANE_COUNT; lane++)
        out->open[lane] = l->open[lane].count;
    for (size_t i = 0; i < live->count; i++)
        if (live->at[i]->open_since_ms < oldest_ms)
            oldest_ms = live->at[i]->open_since_ms;
    out->held = l->running_count;
    out->oldest_ms = now_ms - oldest_ms;
    out->failures = l->failures;
    out->deaths = l->deaths;
    out->backups = l->backups;
    out->set_aside = l->set_aside;
    pthread_mutex_unlock(&l->lock);
}

/* --- workers -------------------------------------------------------------------------------------------- */

static bool held_here(const struct job *j)
{
    for (const struct list *at = j->held_by.next; at != &j->held_by; at = at->next)
        if (pthread_equal(container_of(at, struct attempt, of_job)->thread, pthread_self()))
            return true;
    return false;
}

/* What this thread should do next, or NULL. */
static struct job *next_job(struct local *l)
{
    for (size_t lane = 0; lane < QUEUE_LANE_COUNT; lane++) {
        list_each(&l->offered[lane], at, after)
        {
            struct job *j = container_of(at, struct job, link);

            if (!held_here(j))
                return j;
        }
        if (l->open[lane].count > 0)
            return l->open[lane].at[0];
    }
    return NULL;
}

static void note_started(struct local *l, const struct job *j)
{
    struct started *s = mem_new(sizeof *s);

    snprintf(s->key, sizeof s->key, "%s", j->key);
    s->attempt = j->attempts;
    s->failures = j->failures;
    s->deaths = j->deaths;
    list_push(&l->started, &s->link);
    if (++l->started_count > STARTED_MAX) {
        free(container_of(list_pop(&l->started), struct started, link));
        l->started_count--;
    }
    pthread_cond_signal(&l->told);
}

/* Hands `j` to the calling thread. On failure it stays where it is. */
static enum err job_hand_out(struct local *l, struct job *j, struct queue_job *out)
{
    enum err e = ledger_content(l->ledger, j->number, &out->task);
    struct attempt *a;

    if (e != ERR_OK)
        return e;
    heap_remove(&l->open[j->lane], j);
    list_remove(&j->link);
    a = mem_new(sizeof *a);
    a->job = j;
    a->job_number = j->number;
    a->thread = pthread_self();
    a->number = ++j->attempts;
    a->started_ms = clock_mono_ms();
    a->deadline_ms = a->started_ms + l->lease_ms;
    list_push(&j->held_by, &a->of_job);
    list_push(&l->running, &a->link);
    l->running_count++;
    note_started(l, j);
    snprintf(out->key, sizeof out->key, "%s", j->key);
    out->attempt = a->number;
    out->lease = a;
    return ERR_OK;
}

static enum err local_take(struct queue *q, int64_t wait_ms, struct queue_job *out)
{
    struct local *l = local_of(q);
    int64_t deadline_ms = clock_mono_ms() + wait_ms;
    enum err e = ERR_OK;

    pthread_mutex_lock(&l->lock);
    for (;;) {
        struct job *j;

        expire(l);
        if (l->stopped) {
            e = ERR_CLOSED;
            break;
        }
        if ((j = next_job(l)) != NULL) {
            e = job_hand_out(l, j, out);
            break;
        }
        if (!wait_until(l, &l->work, deadline_ms)) {
            e = ERR_TIMEOUT;
            break;
        }
    }
    pthread_mutex_unlock(&l->lock);
    return e;
}

/* Does not look whether the lease has run out: as long as nobody has noticed, nobody else has the job. */
static enum err local_beat(struct queue *q, struct queue_job *job)
{
    struct local *l = local_of(q);
    struct attempt *a = job->lease;
    enum err e = ERR_STALE;

    pthread_mutex_lock(&l->lock);
    if (a->job != NULL) {
        a->deadline_ms = clock_mono_ms() + l->lease_ms;
        list_remove(&a->link);
        list_push(&l->running, &a->link); /* every lease is as long: the list stays in order */
        e = ERR_OK;
    }
    pthread_mutex_unlock(&l->lock);
    return e;
}

/* A lost lease's result is as good as any while the job is unfinished. A job of the same name that was dropped and put anew is
 * another one. */
static enum err local_done(struct queue *q, struct queue_job *job, struct bytes result)
{
    struct local *l = local_of(q);
    struct attempt *a = job->lease;
    enum err e = ERR_OK;
    struct job *j;

    pthread_mutex_lock(&l->lock);
    j = job_find(l, job->key);
    if (j != NULL && j->number == a->job_number && j->state == LEDGER_OPEN) {
        e = job_finish(l, j, a, LEDGER_DONE, result);
        attempt_over(l, a);
        job_reopen_if_idle(l, j);
    }
    attempt_free(a);
    pthread_mutex_unlock(&l->lock);
    return e;
}

static enum err local_fail(struct queue *q, struct queue_job *job, bool died, const char *reason)
{
    struct local *l = local_of(q);
    struct attempt *a = job->lease;
    enum err e = ERR_OK;

    pthread_mutex_lock(&l->lock);
    if (a->job != NULL) /* a lost lease was counted when it ran out */
        e = attempt_failed(l, a, died, reason);
    attempt_free(a);
    pthread_mutex_unlock(&l->lock);
    return e;
}

static void local_give_back(struct queue *q, struct queue_job *job)
{
    struct local *l = local_of(q);
    struct attempt *a = job->lease;
    struct job *j;

    pthread_mutex_lock(&l->lock);
    if ((j = a->job) != NULL) {
        attempt_over(l, a);
        job_reopen_if_idle(l, j);
    }
    attempt_free(a);
    pthread_mutex_unlock(&l->lock);
}

/* --- the beginning and the end -------------------------------------------------------------------------- */

static void local_stop(struct queue *q)
{
    struct local *l = local_of(q);

    pthread_mutex_lock(&l->lock);
    l->stopped = true;
    pthread_cond_broadcast(&l->work);
    pthread_cond_broadcast(&l->told);
    pthread_mutex_unlock(&l->lock);
}

static void local_close(struct queue *q)
{
    struct local *l = local_of(q);
    struct list *links[] = {&l->running, &l->over};
    struct bytes key;
    void *value;

    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        list_each(links[i], at, after) attempt_free(container_of(at, struct attempt, link));
    list_each(&l->started, at, after) free(container_of(at, struct started, link));
    for (size_t at = 0; map_next(l->jobs, &at, &key, &value);) {
        struct job *j = value;

        free(j->key);
        free(j);
    }
    map_free(l->jobs);
    for (size_t lane = 0; lane < QUEUE_LANE_COUNT; lane++)
        free(l->open[lane].at);
    ledger_close(l->ledger);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->told);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static const struct queue_kind local_kind = {
    .close = local_close,
    .stop = local_stop,
    .put = local_put,
    .again = local_again,
    .drop = local_drop,
    .listen = local_listen,
    .settle = local_settle,
    .stats = local_stats,
    .take = local_take,
    .beat = local_beat,
    .done = local_done,
    .fail = local_fail,
    .give_back = local_give_back,
};

enum err queue_local_open(struct queue **out, const struct queue_options *options, char why[256])
{
    struct local *l = mem_new(sizeof *l);
    pthread_condattr_t monotonic;
    enum err e;

    l->queue.kind = &local_kind;
    snprintf(l->worker, sizeof l->worker, "%s", options->worker);
    l->lease_ms = options->lease_ms;
    l->failures_max = options->failures_max;
    l->deaths_max = options->deaths_max;
    l->jobs = map_new();
    for (size_t lane = 0; lane < QUEUE_LANE_COUNT; lane++)
        list_init(&l->offered[lane]);
    list_init(&l->running);
    list_init(&l->over);
    list_init(&l->finished);
    list_init(&l->started);
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->work, &monotonic);
    pthread_cond_init(&l->told, &monotonic);
    pthread_condattr_destroy(&monotonic);
    e = ledger_open(&l->ledger, options->url + strlen("local:"), job_found, l, why);
    if (e != ERR_OK) {
        local_close(&l->queue);
        return e;
    }
    *out = &l->queue;
    return ERR_OK;
}
