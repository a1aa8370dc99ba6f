/* queue/nats_worker.c - taking tasks from JetStream, and saying what became of them.
 *
 * Whoever takes a task counts what happened to it before, so that a poisonous one is set aside by the first worker that would
 * be one too many, leader or not. A result is stored before its task is acknowledged: a crash between the two leads to one more delivery,
 * which finds the result and ends there. */
#include "queue/nats_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct attempt {
    struct list link; /* on the queue's `attempts` */
    struct job_id id;
    char *reply; /* where the server wants its answer; under the lock, for another life has others */
    char *subject;
    unsigned copy, number;
    unsigned failures, deaths;
    int64_t started_ms;
    int64_t beat_ms;     /* under the lock */
    uint64_t reconnects; /* of the connection when it was last looked after */
    bool over;           /* nothing is wanted of it any more */
};

/* What the news say of one job. */
struct history {
    bool done;
    unsigned failures, deaths;
    unsigned ended; /* attempts at copy 0 of which it is known how they ended */
};

static void count_news(void *ctx, const char *subject, uint64_t count)
{
    struct history *h = ctx;
    struct bytes kind = part_of(subject, 2);
    unsigned times = (unsigned)count;

    if (bytes_is(kind, "done")) {
        h->done = true;
        return;
    }
    if (bytes_is(kind, "fail"))
        h->failures += times;
    else if (bytes_is(kind, "died") || bytes_is(kind, "lost"))
        h->deaths += times;
    if (bytes_is(part_of(subject, 3), "0"))
        h->ended += times;
}

static enum err history_read(struct nats_queue *n, const char *id, struct history *out)
{
    char filter[SUBJECT_MAX];

    memset(out, 0, sizeof *out);
    snprintf(filter, sizeof filter, "matinee.news.*.*.%s", id);
    return nats_subjects(n, NEWS_STREAM, filter, count_news, out);
}

static natsMsg *news(const struct attempt *a, const struct nats_queue *n, const char *kind,
                     struct bytes content)
{
    char subject[SUBJECT_MAX], number[24];
    natsMsg *m;

    /* There is one `done`, whoever brings it. */
    snprintf(subject, sizeof subject, "matinee.news.%s.%u.%s", kind, strcmp(kind, "done") == 0 ? 0 : a->copy,
             a->id.text);
    m = nats_message(subject, content);
    natsMsgHeader_Set(m, "Worker", n->worker);
    snprintf(number, sizeof number, "%u", a->number);
    natsMsgHeader_Set(m, "Attempt", number);
    snprintf(number, sizeof number, "%u", (unsigned)(clock_mono_ms() - a->started_ms));
    natsMsgHeader_Set(m, "Took", number);
    snprintf(number, sizeof number, "%u", a->failures);
    natsMsgHeader_Set(m, "Failures", number);
    snprintf(number, sizeof number, "%u", a->deaths);
    natsMsgHeader_Set(m, "Deaths", number);
    return m;
}

/* What the leader is told; under the lock. */
static char *tale(const struct nats_queue *n, const struct attempt *a)
{
    return mem_printf("%s %u %u %s %s", n->worker, a->number, a->copy, a->id.text, a->reply);
}

static void tell(struct nats_queue *n, const struct attempt *a, const char *kind)
{
    char *text;

    pthread_mutex_lock(&n->lock);
    text = tale(n, a);
    pthread_mutex_unlock(&n->lock);
    nats_tell(n, kind, text);
    free(text);
}

static char *reply_of(struct nats_queue *n, const struct attempt *a)
{
    char *reply;

    pthread_mutex_lock(&n->lock);
    reply = mem_string(a->reply);
    pthread_mutex_unlock(&n->lock);
    return reply;
}

static void answer(struct nats_queue *n, const struct attempt *a, const char *text)
{
    char *reply = reply_of(n, a);

    nats_answer(n, reply, text);
    free(reply);
}

static void attempt_free(struct nats_queue *n, struct attempt *a)
{
    pthread_mutex_lock(&n->lock);
    list_remove(&a->link);
    pthread_mutex_unlock(&n->lock);
    free(a->reply);
    free(a->subject);
    free(a);
}

/* Its result is wanted, and nobody else has been given it. */
static bool has_lease(struct nats_queue *n, const struct attempt *a)
{
    bool has;

    pthread_mutex_lock(&n->lock);
    has = !a->over && clock_mono_ms() - a->beat_ms < n->lease_ms;
    pthread_mutex_unlock(&n->lock);
    return has;
}

static enum err store_end(struct nats_queue *n, const struct attempt *a, const char *verdict,
                          struct bytes content)
{
    enum err e = ERR_IO;

    for (int i = 0; i < 2 && e == ERR_IO; i++) { /* an answer that was lost is known by the second */
        natsMsg *m = news(a, n, "done", content);

        natsMsgHeader_Set(m, "Verdict", verdict);
        e = nats_store(n, m, true);
    }
    if (e != ERR_OK && e != ERR_EXISTS)
        return e;
    answer(n, a, "+ACK");
    nats_tell(n, "over", a->id.text);
    nats_tell(n, "wake", "");
    return ERR_OK;
}

/* Whether the job has used up its chances; `h` is what the news say. */
static bool too_often(const struct nats_queue *n, const struct history *h)
{
    return h->failures >= n->failures_max || h->deaths >= n->deaths_max;
}

/* Deliveries of which nobody said how they ended: those workers are gone. */
static enum err count_lost(struct nats_queue *n, struct attempt *a, unsigned delivered, struct history *h)
{
    while (a->copy == 0 && h->ended + 1 < delivered) {
        natsMsg *m = news(a, n, "lost", bytes_of(NULL, 0));
        char *id = mem_printf("%s-lost-%u", a->id.text, h->ended);
        enum err e;

        natsMsgHeader_Set(m, "Nats-Msg-Id", id); /* two that count at once count one */
        free(id);
        if ((e = nats_store(n, m, false)) != ERR_OK)
            return e;
        tell(n, a, "died");
        h->ended++;
        h->deaths++;
    }
    return ERR_OK;
}

/* What this process is at comes again. As a backup it is for another worker, in a while. The very task comes when the server has
 * begun a new life: whoever is at it goes on with the new lease. Or its lease has run out: then it is begun anew. */
static bool held_here(struct nats_queue *n, struct attempt *a)
{
    struct attempt *held = NULL, *same = NULL;
    char *text = NULL;

    pthread_mutex_lock(&n->lock);
    for (struct list *at = n->attempts.next; at != &n->attempts; at = at->next) {
        struct attempt *other = container_of(at, struct attempt, link);

        if (other->over || strcmp(other->id.text, a->id.text) != 0)
            continue;
        if (other->copy == a->copy && a->beat_ms - other->beat_ms >= n->lease_ms) {
            other->over = true;
            continue;
        }
        held = other;
        if (other->copy == a->copy)
            same = other;
    }
    if (same != NULL) {
        char *old = same->reply;

        same->reply = a->reply;
        same->beat_ms = a->beat_ms;
        a->reply = old;
        text = tale(n, same);
    }
    pthread_mutex_unlock(&n->lock);
    if (same != NULL)
        nats_tell(n, "beat", text);
    else if (held != NULL)
        nats_answer(n, a->reply, "-NAK {\"delay\": 200000000}");
    free(text);
    return held != NULL;
}

static struct attempt *attempt_new(natsMsg *m)
{
    struct attempt *a = mem_new(sizeof *a);
    uint64_t copy = 0;

    list_init(&a->link);
    a->subject = mem_string(natsMsg_GetSubject(m));
    a->reply = mem_string(natsMsg_GetReply(m));
    (void)!bytes_to_u64(part_of(a->subject, 4), COPIES_MAX, &copy);
    a->copy = (unsigned)copy;
    snprintf(a->id.text, sizeof a->id.text, "%s", parts_from(a->subject, 5));
    a->started_ms = a->beat_ms = clock_mono_ms();
    return a;
}

/* $JS.ACK.STREAM.CONSUMER.DELIVERED..., with two parts more where the server has a domain. */
static unsigned delivered_times(const char *reply)
{
    uint64_t times = 1;

    if (!bytes_to_u64(part_of(reply, part_of(reply, 9).size == 0 ? 4 : 6), UINT32_MAX, &times))
        return 1;
    return (unsigned)times;
}

/* Decides about a task that came: ERR_OK, it is begun; ERR_STALE, it is nothing for us. */
static enum err attempt_judge(struct nats_queue *n, struct attempt *a)
{
    unsigned delivered = delivered_times(a->reply);
    struct history h;
    enum err e;

    if (held_here(n, a))
        return ERR_STALE;
    e = history_read(n, a->id.text, &h);
    if (e == ERR_OK && !h.done)
        e = count_lost(n, a, delivered, &h);
    if (e != ERR_OK)
        return e;
    a->number = a->copy + (delivered > h.ended ? delivered : h.ended + 1);
    a->failures = h.failures;
    a->deaths = h.deaths;
    if (h.done) {
        nats_answer(n, a->reply, "+TERM");
        return ERR_STALE;
    }
    if (too_often(n, &h)) {
        char reason[160];

        snprintf(reason, sizeof reason, "it failed %u times, and %u of its workers died (told by worker %s)",
                 h.failures, h.deaths, n->worker);
        e = store_end(n, a, "aside", bytes_text(reason));
        tell(n, a, "aside");
        return e == ERR_OK ? ERR_STALE : e;
    }
    return ERR_OK;
}

static enum err attempt_begin(struct nats_queue *n, natsMsg *m, struct queue_job *out)
{
    struct attempt *a = attempt_new(m);
    enum err e = id_key(a->id.text, out->key) ? attempt_judge(n, a) : ERR_BAD;

    if (e == ERR_BAD) { /* not put by us; nobody can do it */
        log_warn("queue", "%.200s is no job of matinee's, and is not handed out", a->subject);
        nats_answer(n, a->reply, "+TERM");
    }
    if (e != ERR_OK) {
        attempt_free(n, a);
        return e;
    }
    pthread_mutex_lock(&n->lock);
    a->reconnects = n->reconnects;
    list_push(&n->attempts, &a->link);
    pthread_mutex_unlock(&n->lock);
    tell(n, a, "started");
    out->task = buffer_copy(bytes_of(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m)));
    out->attempt = a->number;
    out->lease = a;
    return ERR_OK;
}

/* Asks the consumers in their order once: ERR_OK, ERR_TIMEOUT when there is nothing, ERR_IO. */
static enum err sweep(struct nats_queue *n, struct queue_job *out)
{
    for (size_t i = 0;;) {
        char class[CLASS_SIZE], consumer[CONSUMER_SIZE];
        natsMsg *m = NULL;
        enum err e;
        bool last;

        pthread_mutex_lock(&n->lock);
        last = i >= n->class_count;
        if (!last)
            snprintf(class, sizeof class, "%s", n->class[i].name);
        pthread_mutex_unlock(&n->lock);
        if (last)
            return ERR_TIMEOUT;
        if ((e = nats_class(n, class, consumer)) != ERR_OK ||
            (e = nats_pull(n, JOBS_STREAM, consumer, &m)) != ERR_OK)
            return e;
        if (m == NULL) {
            i++;
            continue;
        }
        e = attempt_begin(n, m, out);
        if (e == ERR_STALE && strstr(class, "-0000000000") != NULL)
            i++; /* our own backup comes back at once if we ask at once */
        natsMsg_Destroy(m);
        if (e != ERR_STALE && e != ERR_BAD)
            return e;
    }
}

enum err nats_take(struct queue *q, int64_t wait_ms, struct queue_job *out)
{
    struct nats_queue *n = nats_of(q);
    int64_t deadline_ms = clock_mono_ms() + wait_ms;
    int64_t read_ms = INT64_MIN / 2; /* a rank that was put before this call is known to it */
    enum err e;

    for (;;) {
        uint64_t wakes;
        bool stopped;

        pthread_mutex_lock(&n->lock);
        stopped = n->stopped;
        wakes = n->wakes;
        pthread_mutex_unlock(&n->lock);
        if (stopped)
            return ERR_CLOSED;
        e = nats_ready(n);
        if (e == ERR_OK && clock_mono_ms() - read_ms >= SWEEP_MS) {
            e = nats_read_classes(n);
            read_ms = clock_mono_ms();
        }
        if (e == ERR_OK)
            e = sweep(n, out);
        if (e == ERR_OK || !nats_wait(n, wakes, deadline_ms))
            return e;
    }
}

static void count_any(void *ctx, const char *subject, uint64_t count)
{
    *(uint64_t *)ctx += count;
}

/* What was told while the connection was away: the job is gone, or has its result. */
static void look_after(struct nats_queue *n, struct attempt *a)
{
    char filter[SUBJECT_MAX];
    struct history h;
    uint64_t jobs = 0, reconnects;

    pthread_mutex_lock(&n->lock);
    reconnects = n->reconnects;
    pthread_mutex_unlock(&n->lock);
    if (reconnects == a->reconnects)
        return;
    snprintf(filter, sizeof filter, "matinee.job.*.*.*.%s", a->id.text);
    if (nats_subjects(n, JOBS_STREAM, filter, count_any, &jobs) != ERR_OK ||
        history_read(n, a->id.text, &h) != ERR_OK)
        return;
    a->reconnects = reconnects;
    if (jobs == 0 || h.done)
        worker_told_over(n, a->id.text);
}

enum err nats_beat(struct queue *q, struct queue_job *job)
{
    struct nats_queue *n = nats_of(q);
    struct attempt *a = job->lease;
    int64_t now_ms = clock_mono_ms();
    bool over;

    if (natsConnection_Status(n->connection) != NATS_CONN_STATUS_CONNECTED)
        return ERR_IO;
    look_after(n, a);
    pthread_mutex_lock(&n->lock);
    /* The server has given it to somebody else by now, and what we would prolong is theirs. */
    over = a->over = a->over || now_ms - a->beat_ms >= n->lease_ms;
    if (!over)
        a->beat_ms = now_ms;
    pthread_mutex_unlock(&n->lock);
    if (over)
        return ERR_STALE;
    answer(n, a, "+WPI");
    tell(n, a, "beat");
    return ERR_OK;
}

enum err nats_done(struct queue *q, struct queue_job *job, struct bytes result)
{
    struct nats_queue *n = nats_of(q);
    struct attempt *a = job->lease;
    enum err e = store_end(n, a, "done", result);

    tell(n, a, "ended");
    attempt_free(n, a);
    return e;
}

/* Stores that this attempt is over without a result, and lets the next one begin. */
static enum err attempt_return(struct nats_queue *n, struct attempt *a, const char *kind, const char *reason)
{
    natsMsg *m = news(a, n, kind, bytes_text(reason));
    char *id = mem_printf("%s-%u-%s-%s", a->id.text, a->number, kind, n->worker), *reply;
    enum err e;

    natsMsgHeader_Set(m, "Nats-Msg-Id", id);
    free(id);
    if ((e = nats_store(n, m, false)) == ERR_OK) {
        struct history h;

        if ((e = history_read(n, a->id.text, &h)) == ERR_OK && too_often(n, &h)) {
            a->failures = h.failures;
            a->deaths = h.deaths;
            if ((e = store_end(n, a, "aside", bytes_text(reason))) == ERR_OK)
                tell(n, a, "aside");
            return e;
        }
    }
    pthread_mutex_lock(&n->lock);
    a->over = true; /* whoever is given it now, in this process too, begins anew */
    pthread_mutex_unlock(&n->lock);
    /* When even this does not arrive the lease runs out, and it is one more death. */
    reply = reply_of(n, a);
    nats_return(n, reply);
    free(reply);
    return e;
}

enum err nats_fail(struct queue *q, struct queue_job *job, bool died, const char *reason)
{
    struct nats_queue *n = nats_of(q);
    struct attempt *a = job->lease;
    enum err e = ERR_OK;

    if (has_lease(n, a)) {
        e = attempt_return(n, a, died ? "died" : "fail", reason);
        tell(n, a, died ? "died" : "failed");
    }
    tell(n, a, "ended");
    nats_tell(n, "wake", "");
    attempt_free(n, a);
    return e;
}

void nats_give_back(struct queue *q, struct queue_job *job)
{
    struct nats_queue *n = nats_of(q);
    struct attempt *a = job->lease;

    if (has_lease(n, a) && attempt_return(n, a, "give", "") != ERR_OK)
        log_warn("queue", "%s could not be given back; its lease will run out", job->key);
    tell(n, a, "ended");
    nats_tell(n, "wake", "");
    attempt_free(n, a);
}

void worker_told_over(struct nats_queue *n, const char *id)
{
    pthread_mutex_lock(&n->lock);
    list_each(&n->attempts, at, after)
    {
        struct attempt *a = container_of(at, struct attempt, link);

        if (strcmp(a->id.text, id) == 0)
            a->over = true;
    }
    pthread_mutex_unlock(&n->lock);
}

void worker_free(struct nats_queue *n)
{
    list_each(&n->attempts, at, after) attempt_free(n, container_of(at, struct attempt, link));
}
