/* queue/queue.c - picks the kind of queue by its URL, and checks what it is given before any kind sees it. */
#include "queue/queue_int.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

/* What a worker may be called: host and pid, and a room's suffix. It travels in the headers of messages. */
static bool worker_is_good(const char *worker)
{
    size_t size = 0;

    for (; worker[size] != '\0'; size++)
        if (worker[size] < 0x21 || worker[size] > 0x7e)
            return false;
    return size > 0 && size < sizeof((struct queue_report *)NULL)->worker;
}

static bool is_word_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static bool leader_is_good(const char *leader)
{
    size_t size = 0;

    while (is_word_letter(leader[size]))
        size++;
    return leader[size] == '\0' && size > 0 && size <= QUEUE_LEADER_MAX;
}

static bool key_is_good(const char *key)
{
    size_t size = 0;

    for (; key[size] != '\0'; size++)
        if ((!is_word_letter(key[size]) && strchr("./+", key[size]) == NULL) || size >= QUEUE_KEY_MAX)
            return false;
    return size > 0;
}

enum err queue_open(struct queue **out, const struct queue_options *options, char why[256])
{
    const char *url = options->url;

    *out = NULL;
    if (!worker_is_good(options->worker)) {
        snprintf(why, 256, "a worker's name is 1 to 63 printable characters without spaces: %.100s",
                 options->worker);
        return ERR_BAD;
    }
    if (options->leader != NULL && !leader_is_good(options->leader)) {
        snprintf(why, 256, "a leader's name is 1 to %d of letters, digits, _ and -: %.100s", QUEUE_LEADER_MAX,
                 options->leader);
        return ERR_BAD;
    }
    if (options->lease_ms <= 0 || options->failures_max == 0 || options->deaths_max == 0) {
        snprintf(why, 256, "the lease, and the failures and deaths that set a job aside, must be above 0");
        return ERR_BAD;
    }
    if (strncmp(url, "local:", 6) == 0 && url[6] != '\0')
        return queue_local_open(out, options, why);
    if ((strncmp(url, "nats://", 7) == 0 && url[7] != '\0') ||
        (strncmp(url, "tls://", 6) == 0 && url[6] != '\0'))
        return queue_nats_open(out, options, why);
    snprintf(why, 256, "--queue %.100s: jobs are kept in local:FILE or by nats://HOST:PORT", url);
    return ERR_UNSUPPORTED;
}

void queue_close(struct queue *q)
{
    if (q != NULL)
        q->kind->close(q);
}

void queue_stop(struct queue *q)
{
    q->kind->stop(q);
}

enum err queue_put(struct queue *q, enum queue_lane lane, int rank, const char *key, struct bytes task)
{
    assert(lane == QUEUE_LIVE || lane == QUEUE_ARCHIVE);
    if (!key_is_good(key))
        return ERR_BAD;
    if (task.size > QUEUE_BYTES_MAX)
        return ERR_LIMIT;
    return q->kind->put(q, lane, rank, key, task);
}

enum err queue_again(struct queue *q, const char *key)
{
    return key_is_good(key) ? q->kind->again(q, key) : ERR_BAD;
}

enum err queue_drop(struct queue *q, const char *key)
{
    return key_is_good(key) ? q->kind->drop(q, key) : ERR_BAD;
}

enum err queue_listen(struct queue *q, int64_t wait_ms, struct queue_report *out)
{
    memset(out, 0, sizeof *out);
    return q->kind->listen(q, wait_ms, out);
}

void queue_report_free(struct queue_report *r)
{
    buffer_unref(r->content);
    r->content = NULL;
}

enum err queue_settle(struct queue *q, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!key_is_good(keys[i]))
            return ERR_BAD;
    return count == 0 ? ERR_OK : q->kind->settle(q, keys, count);
}

void queue_stats(struct queue *q, struct queue_stats *out)
{
    memset(out, 0, sizeof *out);
    q->kind->stats(q, out);
}

enum err queue_take(struct queue *q, int64_t wait_ms, struct queue_job *out)
{
    memset(out, 0, sizeof *out);
    return q->kind->take(q, wait_ms, out);
}

enum err queue_beat(struct queue *q, struct queue_job *job)
{
    assert(job->lease != NULL);
    return q->kind->beat(q, job);
}

/* However an attempt ended, the job is no longer the caller's. */
static void job_clear(struct queue_job *job)
{
    buffer_unref(job->task);
    job->task = NULL;
    job->lease = NULL;
}

enum err queue_done(struct queue *q, struct queue_job *job, struct bytes result)
{
    enum err e;

    assert(job->lease != NULL);
    if (result.size > QUEUE_BYTES_MAX) {
        /* Whoever did it next would make the same again: it counts as a failure, so that it ends. */
        e = q->kind->fail(q, job, false, "the result is larger than a queue takes");
        e = e == ERR_OK ? ERR_LIMIT : e;
    } else {
        e = q->kind->done(q, job, result);
    }
    job_clear(job);
    return e;
}

enum err queue_fail(struct queue *q, struct queue_job *job, bool died, const char *reason)
{
    enum err e;

    assert(job->lease != NULL);
    e = q->kind->fail(q, job, died, reason);
    job_clear(job);
    return e;
}

void queue_give_back(struct queue *q, struct queue_job *job)
{
    assert(job->lease != NULL);
    q->kind->give_back(q, job);
    job_clear(job);
}

const char *queue_worker_name(char name[QUEUE_WORKER_SIZE])
{
    char host[33] = "host";

    gethostname(host, sizeof host - 1); /* cut where it is longer; it is for people */
    snprintf(name, QUEUE_WORKER_SIZE, "%s.%ld", host, (long)getpid());
    return name;
}
