/* queue/nats_leader.c - putting jobs into JetStream, hearing of results, settling them.
 *
 * The leader's books (which jobs of its there are) are read from the stream once and kept in memory. They decide what a result
 * is worth: one whose job is not in the books is of a job that is settled or dropped, and is swept away. */
#include "queue/nats_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define STARTED_MAX 4096

struct job {
    struct job_id id;
    enum queue_lane lane;
    char class[CLASS_SIZE];
    unsigned copies;              /* put so far, backups included */
    int64_t heard_ms[COPIES_MAX]; /* when a worker of that copy was last heard of; 0: it is with none */
    char *reply[COPIES_MAX];      /* where the server hears of that copy, once a worker has told of it */
    int64_t since_ms;             /* when it was put, or last came back */
    bool stored;                  /* the server has said that it has it */
    bool finished;                /* its result was shown */
};

struct started {
    struct list link;
    struct queue_report report;
};

/* --- the books; under the lock -------------------------------------------------------------------------- */

static struct job *job_find(struct nats_queue *n, const char *key)
{
    return map_get(n->jobs, bytes_text(key));
}

/* The job of KEY.BIRTH, and not one of another birth. */
static struct job *job_of_id(struct nats_queue *n, const char *id)
{
    char key[QUEUE_KEY_MAX + 1];
    struct job *j = id_key(id, key) ? job_find(n, key) : NULL;

    return j != NULL && strcmp(j->id.text, id) == 0 ? j : NULL;
}

static struct job *job_new(struct nats_queue *n, const char *key, const char *id, const char *class)
{
    struct job *j = mem_new(sizeof *j);

    snprintf(j->id.text, sizeof j->id.text, "%s", id);
    snprintf(j->class, sizeof j->class, "%s", class);
    j->lane = class[0] == '0' ? QUEUE_LIVE : QUEUE_ARCHIVE;
    j->copies = 1;
    j->since_ms = clock_mono_ms();
    map_put(n->jobs, bytes_text(key), j);
    return j;
}

static void job_free(struct job *j)
{
    for (size_t i = 0; j != NULL && i < COPIES_MAX; i++)
        free(j->reply[i]);
    free(j);
}

static unsigned held_count(const struct nats_queue *n, const struct job *j)
{
    int64_t now_ms = clock_mono_ms();
    unsigned held = 0;

    for (size_t i = 0; i < COPIES_MAX; i++)
        held += j->heard_ms[i] != 0 && now_ms - j->heard_ms[i] < n->lease_ms;
    return held;
}

struct book_check {
    struct nats_queue *n;
    struct list ghosts;
    char class[CLASSES_MAX][CLASS_SIZE]; /* of the jobs that are there */
    size_t class_count;
};

struct ghost {
    struct list link;
    struct job_id id;
};

static void check_class(struct book_check *c, const char *class)
{
    for (size_t i = 0; i < c->class_count; i++)
        if (strcmp(c->class[i], class) == 0)
            return;
    if (c->class_count < CLASSES_MAX)
        snprintf(c->class[c->class_count++], CLASS_SIZE, "%s", class);
}

/* Reading the books for the first time, every job under our name is in them. Later, one that is not in them was settled, and
 * a server that was killed has forgotten that it was to be gone. */
static void check_job(void *ctx, const char *subject, uint64_t count)
{
    struct book_check *c = ctx;
    const char *id = parts_from(subject, 5);
    char key[QUEUE_KEY_MAX + 1], class[CLASS_SIZE];
    struct job *j;

    if (!id_key(id, key))
        return;
    snprintf(class, sizeof class, "%.1s-%.10s", (const char *)part_of(subject, 2).at,
             (const char *)part_of(subject, 3).at);
    check_class(c, class);
    pthread_mutex_lock(&c->n->lock);
    j = job_of_id(c->n, id);
    if (j == NULL && !c->n->jobs_known && bytes_is(part_of(subject, 4), "0")) {
        job_new(c->n, key, id, class)->stored = true;
    } else if (j == NULL) {
        struct ghost *g = mem_new(sizeof *g);

        snprintf(g->id.text, sizeof g->id.text, "%s", id);
        list_push(&c->ghosts, &g->link);
    }
    pthread_mutex_unlock(&c->n->lock);
}

static enum err forget(struct nats_queue *n, const char *id)
{
    char subject[SUBJECT_MAX];
    enum err e;

    snprintf(subject, sizeof subject, "matinee.job.*.*.*.%s", id);
    if ((e = nats_purge(n, JOBS_STREAM, subject)) != ERR_OK)
        return e;
    snprintf(subject, sizeof subject, "matinee.news.*.*.%s", id);
    return nats_purge(n, NEWS_STREAM, subject);
}

/* A result of before may still be on its way to a listener that is no more, and a server that began a new life may have forgotten
 * how far it was: a new one is shown everything again. */
static enum err listener_make(struct nats_queue *n)
{
    char filter[SUBJECT_MAX];
    jsConsumerConfig config;
    jsErrCode code = 0;
    natsStatus s;
    int64_t life;

    pthread_mutex_lock(&n->lock);
    life = n->life;
    if (n->heard_life == life)
        life = 0;
    pthread_mutex_unlock(&n->lock);
    snprintf(filter, sizeof filter, "matinee.news.done.*.%s.>", n->leader);
    jsConsumerConfig_Init(&config);
    config.Durable = n->leader;
    config.AckPolicy = js_AckExplicit;
    config.AckWait = (int64_t)ANSWER_MS * 1000000;
    config.MaxAckPending = -1;
    config.FilterSubject = filter;
    if (life != 0) {
        s = js_DeleteConsumer(n->js, NEWS_STREAM, n->leader, NULL, &code);
        if (s != NATS_OK && code != JSConsumerNotFoundErr)
            return ERR_IO;
    }
    if (js_AddConsumer(NULL, n->js, NEWS_STREAM, &config, NULL, &code) != NATS_OK)
        return ERR_IO;
    pthread_mutex_lock(&n->lock);
    if (life != 0)
        n->heard_life = life;
    pthread_mutex_unlock(&n->lock);
    return ERR_OK;
}

/* The books are there, and were compared with the stream since the last reconnect. */
static enum err leader_ready(struct nats_queue *n)
{
    struct book_check c = {.n = n};
    char filter[SUBJECT_MAX], consumer[CONSUMER_SIZE];
    uint64_t reconnects;
    bool checked;
    enum err e = nats_ready(n);

    assert(n->leader[0] != '\0');
    if (e != ERR_OK)
        return e;
    pthread_mutex_lock(&n->lock);
    checked = n->jobs_checked;
    reconnects = n->reconnects;
    pthread_mutex_unlock(&n->lock);
    if (checked)
        return ERR_OK;
    list_init(&c.ghosts);
    snprintf(filter, sizeof filter, "matinee.job.*.*.*.%s.>", n->leader);
    if ((e = listener_make(n)) == ERR_OK)
        e = nats_subjects(n, JOBS_STREAM, filter, check_job, &c);
    for (size_t i = 0; i < c.class_count && e == ERR_OK; i++)
        e = nats_class(n, c.class[i], consumer); /* a killed server may have forgotten that, too */
    list_each(&c.ghosts, at, after)
    {
        struct ghost *g = container_of(at, struct ghost, link);

        if (e == ERR_OK)
            e = forget(n, g->id.text);
        free(g);
    }
    pthread_mutex_lock(&n->lock);
    n->jobs_known = n->jobs_known || e == ERR_OK;
    n->jobs_checked = e == ERR_OK && reconnects == n->reconnects;
    pthread_mutex_unlock(&n->lock);
    return e;
}

/* --- calls ---------------------------------------------------------------------------------------------- */

static enum err store_task(struct nats_queue *n, const char *id, const char *class, unsigned copy,
                           struct bytes task)
{
    char subject[SUBJECT_MAX], consumer[CONSUMER_SIZE];
    enum err e;

    if ((e = nats_class(n, class, consumer)) != ERR_OK)
        return e;
    snprintf(subject, sizeof subject, "matinee.job.%.1s.%s.%u.%s", class, class + 2, copy, id);
    e = nats_store(n, nats_message(subject, task), true);
    if (e == ERR_OK || e == ERR_EXISTS) /* told is the class, so that nobody has to look for it */
        nats_tell(n, "wake", class);
    return e == ERR_EXISTS ? ERR_OK : e;
}

enum err nats_put(struct queue *q, enum queue_lane lane, int rank, const char *key, struct bytes task)
{
    struct nats_queue *n = nats_of(q);
    char class[CLASS_SIZE];
    struct job_id id = {""};
    struct job *j;
    enum err e = leader_ready(n);

    if (e != ERR_OK)
        return e;
    snprintf(class, sizeof class, "%u-%010u", (unsigned)lane,
             (unsigned)((int64_t)INT32_MAX - rank + 1) % UINT32_MAX);
    id_make(&id, n->leader, key, random_u64());
    pthread_mutex_lock(&n->lock);
    if ((j = job_find(n, key)) == NULL)
        j = job_new(n, key, id.text, class);
    if (j->stored) {
        pthread_mutex_unlock(&n->lock);
        return ERR_OK;
    }
    id = j->id; /* one that was put before and not answered keeps its birth: it may be there */
    snprintf(class, sizeof class, "%s", j->class);
    pthread_mutex_unlock(&n->lock);
    if ((e = store_task(n, id.text, class, 0, task)) != ERR_OK)
        return e;
    pthread_mutex_lock(&n->lock);
    if ((j = job_of_id(n, id.text)) != NULL)
        j->stored = true;
    pthread_mutex_unlock(&n->lock);
    return ERR_OK;
}

enum err nats_again(struct queue *q, const char *key)
{
    struct nats_queue *n = nats_of(q);
    char class[CLASS_SIZE], subject[SUBJECT_MAX];
    struct job_id id;
    natsMsg *m = NULL;
    unsigned copy = 0;
    struct job *j;
    enum err e = leader_ready(n);

    if (e != ERR_OK)
        return e;
    pthread_mutex_lock(&n->lock);
    j = job_find(n, key);
    if (j != NULL && !j->finished && held_count(n, j) > 0) {
        id = j->id;
        copy = j->copies;
        snprintf(class, sizeof class, "%u-0000000000", (unsigned)j->lane);
        snprintf(subject, sizeof subject, "matinee.job.%.1s.%s.0.%s", j->class, j->class + 2, id.text);
        if (copy < COPIES_MAX)
            j->copies++;
        n->backups += copy < COPIES_MAX;
    }
    pthread_mutex_unlock(&n->lock);
    if (copy == 0)
        return ERR_MISSING;
    if (copy >= COPIES_MAX)
        return ERR_OK; /* enough are at it */
    if (js_GetLastMsg(&m, n->js, JOBS_STREAM, subject, NULL, NULL) != NATS_OK)
        return ERR_IO;
    e = store_task(n, id.text, class, copy, bytes_of(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m)));
    natsMsg_Destroy(m);
    return e;
}

/* Removes a job for good: from the server, then from the books. What a worker may still hold of it is no task any more: not
 * answered for, the server would offer it for ever, and find nothing. */
static enum err job_end(struct nats_queue *n, const char *key, bool only_finished)
{
    struct job_id id = {""};
    struct job *j;
    enum err e;

    pthread_mutex_lock(&n->lock);
    if ((j = job_find(n, key)) != NULL && (j->finished || !only_finished))
        id = j->id;
    pthread_mutex_unlock(&n->lock);
    if (id.text[0] == '\0')
        return ERR_OK;
    if ((e = forget(n, id.text)) != ERR_OK)
        return e;
    pthread_mutex_lock(&n->lock);
    j = job_of_id(n, id.text);
    if (j != NULL)
        (void)map_remove(n->jobs, bytes_text(key));
    pthread_mutex_unlock(&n->lock);
    for (size_t i = 0; j != NULL && i < COPIES_MAX; i++)
        if (j->reply[i] != NULL)
            nats_answer(n, j->reply[i], "+TERM");
    job_free(j);
    nats_tell(n, "over", id.text);
    return ERR_OK;
}

enum err nats_drop(struct queue *q, const char *key)
{
    struct nats_queue *n = nats_of(q);
    enum err e = leader_ready(n);

    return e == ERR_OK ? job_end(n, key, false) : e;
}

enum err nats_settle(struct queue *q, const char *const *keys, size_t count)
{
    struct nats_queue *n = nats_of(q);
    enum err e = leader_ready(n);

    for (size_t i = 0; i < count && e == ERR_OK; i++)
        e = job_end(n, keys[i], true);
    return e;
}

static bool tell_started(struct nats_queue *n, struct queue_report *out)
{
    struct list *first;

    pthread_mutex_lock(&n->lock);
    if ((first = list_pop(&n->started)) != NULL) {
        struct started *s = container_of(first, struct started, link);

        *out = s->report;
        n->started_count--;
        free(s);
    }
    pthread_mutex_unlock(&n->lock);
    return first != NULL;
}

/* Reads one `done`. ERR_STALE: it was shown, or is of an earlier birth of a job. One that came when its job was settled long ago
 * is shown too: a worker that was cut off has left things, and nobody else knows of them. */
static enum err done_read(struct nats_queue *n, natsMsg *m, struct queue_report *out)
{
    const char *id = parts_from(natsMsg_GetSubject(m), 4), *text;
    bool known, late = false, shown = false;
    struct job *j;

    pthread_mutex_lock(&n->lock);
    j = job_of_id(n, id);
    known = j != NULL;
    if (known) {
        shown = j->finished;
        j->finished = true;
        memset(j->heard_ms, 0, sizeof j->heard_ms);
    } else {
        late = id_key(id, out->key) && job_find(n, out->key) == NULL;
    }
    pthread_mutex_unlock(&n->lock);
    if (!known && forget(n, id) != ERR_OK)
        log_debug("queue", "%s: a result nobody waits for stays for now", id);
    if ((!known && !late) || shown || !id_key(id, out->key))
        return ERR_STALE;
    out->news = natsMsgHeader_Get(m, "Verdict", &text) == NATS_OK && strcmp(text, "aside") == 0
                    ? QUEUE_SET_ASIDE
                    : QUEUE_DONE;
    if (natsMsgHeader_Get(m, "Worker", &text) == NATS_OK)
        snprintf(out->worker, sizeof out->worker, "%s", text);
    out->attempt = nats_header_number(m, "Attempt");
    out->took_ms = nats_header_number(m, "Took");
    out->failures = nats_header_number(m, "Failures");
    out->deaths = nats_header_number(m, "Deaths");
    out->content = buffer_copy(bytes_of(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m)));
    return ERR_OK;
}

/* ERR_TIMEOUT: there is no news. */
static enum err next_news(struct nats_queue *n, struct queue_report *out)
{
    for (;;) {
        natsMsg *m = NULL;
        enum err e;

        if (tell_started(n, out))
            return ERR_OK;
        if ((e = nats_pull(n, NEWS_STREAM, n->leader, &m)) != ERR_OK)
            return e;
        if (m == NULL)
            return ERR_TIMEOUT;
        e = done_read(n, m, out);
        nats_answer(n, natsMsg_GetReply(m), "+ACK");
        natsMsg_Destroy(m);
        if (e != ERR_STALE)
            return e;
    }
}

enum err nats_listen(struct queue *q, int64_t wait_ms, struct queue_report *out)
{
    struct nats_queue *n = nats_of(q);
    int64_t deadline_ms = clock_mono_ms() + wait_ms;
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
        if ((e = leader_ready(n)) == ERR_OK)
            e = next_news(n, out);
        if (e == ERR_OK || !nats_wait(n, wakes, deadline_ms))
            return e;
    }
}

void nats_stats(struct queue *q, struct queue_stats *out)
{
    struct nats_queue *n = nats_of(q);
    int64_t now_ms = clock_mono_ms();
    struct bytes key;
    void *value;

    pthread_mutex_lock(&n->lock);
    for (size_t at = 0; map_next(n->jobs, &at, &key, &value);) {
        const struct job *j = value;
        unsigned held = j->finished ? 0 : held_count(n, j);

        out->held += held;
        if (j->finished || held > 0)
            continue;
        out->open[j->lane]++;
        if (j->lane == QUEUE_LIVE && now_ms - j->since_ms > out->oldest_ms)
            out->oldest_ms = now_ms - j->since_ms;
    }
    out->failures = n->failures;
    out->deaths = n->deaths;
    out->backups = n->backups;
    out->set_aside = n->set_aside;
    pthread_mutex_unlock(&n->lock);
}

static void note_started(struct nats_queue *n, const char *id, struct bytes worker, unsigned attempt)
{
    struct started *s = mem_new(sizeof *s);

    if (n->started_count >= STARTED_MAX || !id_key(id, s->report.key)) {
        free(s);
        return;
    }
    s->report.news = QUEUE_STARTED;
    s->report.attempt = attempt;
    snprintf(s->report.worker, sizeof s->report.worker, "%.*s", (int)worker.size, (const char *)worker.at);
    list_push(&n->started, &s->link);
    n->started_count++;
}

/* WORKER ATTEMPT COPY ID REPLY */
void leader_told(struct nats_queue *n, const char *kind, const char *text)
{
    struct bytes part[4];
    uint64_t attempt, copy;
    struct job_id id;
    struct job *j;

    for (size_t i = 0; i < 4; i++) {
        const char *end = strchr(text, ' ');

        if (end == NULL)
            return;
        part[i] = bytes_of(text, (size_t)(end - text));
        text = end + 1;
    }
    if (!bytes_to_u64(part[1], UINT32_MAX, &attempt) || !bytes_to_u64(part[2], COPIES_MAX - 1, &copy))
        return;
    snprintf(id.text, sizeof id.text, "%.*s", (int)part[3].size, (const char *)part[3].at);
    if (!bytes_is(part_of(id.text, 0), n->leader))
        return; /* another's job */
    pthread_mutex_lock(&n->lock);
    n->failures += strcmp(kind, "failed") == 0;
    n->deaths += strcmp(kind, "died") == 0;
    n->set_aside += strcmp(kind, "aside") == 0;
    if ((j = job_of_id(n, id.text)) != NULL) {
        free(j->reply[copy]);
        j->reply[copy] = mem_string(text);
    }
    if (j != NULL && !j->finished) {
        if (strcmp(kind, "started") == 0)
            note_started(n, id.text, part[0], (unsigned)attempt);
        if (strcmp(kind, "started") == 0 || strcmp(kind, "beat") == 0)
            j->heard_ms[copy] = clock_mono_ms();
        if (strcmp(kind, "ended") == 0) {
            j->heard_ms[copy] = 0;
            j->since_ms = clock_mono_ms();
        }
    }
    pthread_mutex_unlock(&n->lock);
}

void leader_free(struct nats_queue *n)
{
    struct bytes key;
    void *value;

    for (size_t at = 0; map_next(n->jobs, &at, &key, &value);)
        job_free(value);
    map_free(n->jobs);
    list_each(&n->started, at, after) free(container_of(at, struct started, link));
}
