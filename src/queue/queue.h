/* queue/queue.h - jobs by name, handed to whoever is free, until one result of each has been settled.
 *
 * A leader puts jobs in and settles results, and any number of workers do them. A job is held under a
 * lease that its worker keeps alive; a worker that dies gives its job to the next one. One job may be done by
 * two workers at once (a backup): the first result wins, and what a job does must be idempotent.
 *
 * Leaders may share a queue over NATS, each under a name of its own: its keys, results and news are its own, and the workers
 * are everybody's.
 *
 * local:FILE   embedded: jobs and results are durable in SQLite, leases live in this process, and so do workers.
 *              The file belongs to one process at a time. A worker is a thread that takes.
 * nats://…     JetStream: workers on any machine. A worker is an open queue. What is durable survives a kill of the server, and
 *              a power loss as far as the server's own settings go. Streams are made where they are missing.
 *
 * A queue that is away is waited for: every call says ERR_IO then, and may be repeated. Calls block, a few
 * milliseconds unless they say more: threads of their own, never a loop's. Any thread, except where said. */
#ifndef MATINEE_QUEUE_QUEUE_H
#define MATINEE_QUEUE_QUEUE_H

#include "base/buffer.h"
#include "base/err.h"

struct queue;

/* Before whom: the live edge goes before the archive, always. */
enum queue_lane { QUEUE_LIVE, QUEUE_ARCHIVE };
#define QUEUE_LANE_COUNT 2

/* A key is 1 to QUEUE_KEY_MAX of [A-Za-z0-9._/+-]; a task or a result at most QUEUE_BYTES_MAX. */
#define QUEUE_KEY_MAX    200
#define QUEUE_BYTES_MAX  ((size_t)512 << 10)
#define QUEUE_LEADER_MAX 40

/* How long leases live: beats come every second, and a machine may be busy for a while. */
#define QUEUE_LEASE_MS    10000
#define QUEUE_WORKER_SIZE 64

/* This process's name among workers: the host's and the process id. */
const char *queue_worker_name(char name[QUEUE_WORKER_SIZE]);

struct queue_options {
    const char *url; /* "local:FILE" or "nats://[user:pass@]host:port" (tls:// too) */
    const char
        *leader; /* 1 to QUEUE_LEADER_MAX of [A-Za-z0-9_-], the same after every start: its books are kept
                              under it. NULL: a worker, which may make none of the leader's calls */
    const char *worker;    /* this process's name in results: host and pid */
    int64_t lease_ms;      /* how long a lease lives without queue_beat() */
    unsigned failures_max; /* reported by workers, after which a job is set aside: 3 */
    unsigned deaths_max;   /* of its workers, after which it is set aside: 5 */
};

/* `why` says what to do on failure. */
must_check enum err queue_open(struct queue **out, const struct queue_options *options, char why[256]);
/* Wakes and ends every waiting call (ERR_CLOSED), gives back what is held, frees. After all threads that use it
 * have been told and have returned: see queue_stop(). Accepts NULL. */
void queue_close(struct queue *q);
/* From now on every call that waits, and every later one that would, returns ERR_CLOSED. */
void queue_stop(struct queue *q);

/* --- the leader -------------------------------------------------------------------------------------- */

/* Adds a job, durable when this returns ERR_OK. A key that is there already, or has a result that is not settled,
 * stays as it is: ERR_OK too. A higher `rank` goes first within its lane; equal ones in the order they were put. Over NATS
 * each rank in use costs idle workers a request: a few dozen at most. */
must_check enum err queue_put(struct queue *q, enum queue_lane lane, int rank, const char *key,
                              struct bytes task);

/* Offers a job that somebody works at to one more worker, before everything else of its lane. ERR_MISSING: it is not being
 * worked at. The same worker is not given its own job again while it holds it. ERR_OK without a further backup when enough are at it. */
must_check enum err queue_again(struct queue *q, const char *key);

/* The job is over, whatever its state: it is not handed out any more, and its workers learn it from queue_beat(). Its
 * unsettled result goes too. ERR_OK also when there is none. Durable. */
must_check enum err queue_drop(struct queue *q, const char *key);

enum queue_news {
    QUEUE_STARTED,  /* a worker took it; told once for each attempt, not durable */
    QUEUE_DONE,     /* the first result; shown again after a restart until it is settled */
    QUEUE_SET_ASIDE /* it failed too often: `content` is the last reason; as durable as a result */
};

struct queue_report {
    enum queue_news news;
    char key[QUEUE_KEY_MAX + 1];
    char worker[64];
    struct buffer *content; /* the result, or the reason */
    unsigned attempt;       /* 1 for the first */
    unsigned failures, deaths;
    int64_t took_ms; /* from the attempt's start; 0 for QUEUE_STARTED */
};
void queue_report_free(struct queue_report *r); /* frees what it holds */

/* Waits up to `wait_ms` for news: ERR_OK, ERR_TIMEOUT, ERR_CLOSED, ERR_IO. One thread. Results that are not settled are
 * not shown twice by one process. Over NATS one may come of a job that is settled, from a worker that was cut off or a server that
 * was killed: it is told so that what it made can be swept away, and wants settling like any other. */
must_check enum err queue_listen(struct queue *q, int64_t wait_ms, struct queue_report *out);

/* The leader has acted durably on the results of these keys: they are forgotten, locally in one commit, over NATS one by one.
 * On failure some may be left; it may be repeated. */
must_check enum err queue_settle(struct queue *q, const char *const *keys, size_t count);

struct queue_stats {
    size_t open[QUEUE_LANE_COUNT]; /* waiting for a worker */
    size_t held;                   /* being worked at (attempts) */
    int64_t oldest_ms;             /* how long the oldest open job of the live lane has waited; 0: none */
    uint64_t failures, deaths, backups, set_aside; /* since this process opened it */
};
/* Quick; as fresh as the last second. Any thread. */
void queue_stats(struct queue *q, struct queue_stats *out);

/* --- workers ----------------------------------------------------------------------------------------- */

struct queue_job {
    char key[QUEUE_KEY_MAX + 1];
    struct buffer *task;
    unsigned attempt; /* 1 for the first */
    void *lease;      /* the queue's own */
};

/* Waits up to `wait_ms` for a job: ERR_OK, ERR_TIMEOUT, ERR_CLOSED, ERR_IO. On ERR_OK it is the caller's and ends with exactly one of
 * the three calls below, whose return values change nothing about that. */
must_check enum err queue_take(struct queue *q, int64_t wait_ms, struct queue_job *out);

/* Still at it: the lease lives on; call it at least three times a lease. ERR_STALE: the result is not wanted any more (another
 * worker was first, it was dropped, or the lease was lost): stop, and give it back. ERR_IO changes nothing. */
must_check enum err queue_beat(struct queue *q, struct queue_job *job);

/* Done. ERR_OK: durable (or another worker was first). ERR_IO: not delivered; the job will be done again by somebody.
 * ERR_LIMIT: larger than QUEUE_BYTES_MAX; counted as a failure. */
must_check enum err queue_done(struct queue *q, struct queue_job *job, struct bytes result);
/* It cannot be done, and that is the task's fault as far as this worker can see: counts towards failures_max. `died` when
 * the process that did it was killed or broke down: counts towards deaths_max instead. */
must_check enum err queue_fail(struct queue *q, struct queue_job *job, bool died, const char *reason);
/* Not done, nobody's fault (shutting down, or ERR_STALE): somebody else may take it at once. */
void queue_give_back(struct queue *q, struct queue_job *job);

/* --- the bus: what servers tell each other ----------------------------------------------------------------- */

/* Short messages to every other server that listens, without a promise: what is lost is lost, and whoever relies on one looks
 * for itself now and then. Over NATS these are core subjects, matinee.bus.TOPIC; with `local:…` there is nobody to tell. */
struct bus;
struct bus_ear;

#define BUS_TOPIC_MAX   32  /* of a-z */
#define BUS_MESSAGE_MAX 512 /* bytes */

/* Opens the bus that belongs to a queue's URL. `why` says what to do on failure. */
must_check enum err bus_open(struct bus **out, const char *url, char why[256]);
void bus_close(struct bus *b); /* after every ear is gone; accepts NULL */

/* Tells; returns at once. Any thread. */
void bus_tell(struct bus *b, const char *topic, struct bytes message);

/* Has `heard(ctx, message)` called for each message of others, on a thread of the bus. NULL where there are no others. */
struct bus_ear *bus_listen(struct bus *b, const char *topic, void (*heard)(void *ctx, struct bytes message),
                           void *ctx);
/* Nothing is heard any more when this returns. Accepts NULL. */
void bus_unlisten(struct bus_ear *ear);

#endif
