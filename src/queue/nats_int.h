/* queue/nats_int.h - between the files of the NATS kind: the words on the wire, and what they share.
 *
 * Two streams on the server's disk:
 *   MATINEE_JOBS  matinee.job.LANE.CLASS.COPY.LEADER.KEY.BIRTH   a task; COPY 0 is the job, above are backups
 *   MATINEE_NEWS  matinee.news.KIND.COPY.LEADER.KEY.BIRTH        what happened to it; the first `done` is the result
 * LEADER has put it, and alone reads what became of it. BIRTH tells a job from an earlier one of its name. A job is in its stream
 * until it is settled or dropped, and a result counts as long as its job is there: that is what makes "settled" happen once. One
 * durable consumer for each lane and class hands tasks out, whoever put them; its ack wait is the lease. Failures, deaths and
 * give-backs are news too, so that any worker can count them and nobody has to remember them.
 * A third stream, MATINEE_LIFE, is empty and in memory: it is as old as the server's life. Consumers do not outlive that. After a
 * kill one may wait for what comes after messages that its stream has forgotten, and nothing would pass it again (seen with 2.9: an
 * emptied stream counts from 1 anew), or know of tasks with somebody that are no more. So each life has consumers of its own,
 * LANE-CLASS-LIFE, which see the stream as it is: a task that somebody was at is handed out again, to whoever is at it or to one more.
 * What is only told, and may be lost, goes over core subjects, matinee.tell.KIND: it saves waiting, and whoever missed it asks
 * once a second anyway. */
#ifndef MATINEE_QUEUE_NATS_INT_H
#define MATINEE_QUEUE_NATS_INT_H

#include "queue/queue_int.h"

#include "base/list.h"
#include "base/map.h"

#include <nats/nats.h>
#include <pthread.h>

#define JOBS_STREAM "MATINEE_JOBS"
#define NEWS_STREAM "MATINEE_NEWS"
#define LIFE_STREAM "MATINEE_LIFE"
#define SUBJECT_MAX (QUEUE_LEADER_MAX + QUEUE_KEY_MAX + 96)
/* Ranks in use at once, over both lanes; each is a consumer that idle workers ask. */
#define CLASSES_MAX 64
/* An answer of the server; one that has not come by then is asked for again. */
#define ANSWER_MS 2000
/* What is lost of the told is made up for in this time. */
#define SWEEP_MS 1000
/* Of one job at once: the first and its backups. */
#define COPIES_MAX 4

/* LANE-CLASS, and that with a life. */
#define CLASS_SIZE    16
#define CONSUMER_SIZE (CLASS_SIZE + 17)

/* LEADER.KEY.BIRTH as it stands in subjects: a dot of the key is written %. */
struct job_id {
    char text[QUEUE_LEADER_MAX + QUEUE_KEY_MAX + 24];
};

/* What a consumer hands out: the tasks of one rank in a lane. */
struct job_class {
    char name[CLASS_SIZE];
    int64_t life; /* in which its consumer was there; 0: it was only told of */
};

struct nats_queue {
    struct queue queue;
    char leader[QUEUE_LEADER_MAX + 1]; /* "": it only works */
    char worker[64];
    int64_t lease_ms;
    unsigned failures_max, deaths_max;
    natsConnection *connection;
    jsCtx *js;
    natsSubscription *told;
    pthread_t ear; /* hears what is told, and notices reconnects */
    bool ear_runs;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopped, closing;
    bool ready;          /* streams are there as far as we know; false after each reconnect */
    int64_t life;        /* the server's, by when it began; 0: not known */
    int64_t heard_life;  /* in which the leader's ear in the stream of news was made */
    bool jobs_known;     /* the leader's books were read once */
    bool jobs_checked;   /* and compared since the last reconnect */
    uint64_t wakes;      /* counts what was told; whoever waits compares */
    uint64_t reconnects; /* of the connection */
    struct job_class class[CLASSES_MAX];
    size_t class_count;   /* the next to ask first */
    struct list attempts; /* held by this process */
    struct map *jobs;     /* the leader's, by key */
    struct list started;
    size_t started_count;
    uint64_t failures, deaths, backups, set_aside;
};

static inline struct nats_queue *nats_of(struct queue *q)
{
    return (struct nats_queue *)(void *)q;
}

/* --- nats.c ---------------------------------------------------------------------------------------------- */

/* A connection that comes back for ever; with `waiting`, also where the server is not there yet. `echo`: it hears itself. */
natsStatus nats_connect(natsConnection **out, const char *url, const char *name, bool echo, bool waiting);
/* The streams are there and classes are known; asks the server when in doubt. */
must_check enum err nats_ready(struct nats_queue *n);
/* Waits until something is told after `wakes`, at most until `deadline_ms` and SWEEP_MS. False: past the deadline. */
bool nats_wait(struct nats_queue *n, uint64_t wakes, int64_t deadline_ms);
/* Sees to it that a class has its consumer in this life of the server, and writes its name. */
must_check enum err nats_class(struct nats_queue *n, const char *class, char consumer[CONSUMER_SIZE]);
/* Learns of consumers that others made and whose telling was missed. */
must_check enum err nats_read_classes(struct nats_queue *n);
/* One message of a consumer, if there is any at once. *out is the caller's, NULL where there is none, or the server says nothing. */
must_check enum err nats_pull(struct nats_queue *n, const char *stream, const char *consumer, natsMsg **out);
/* Stores a message whose headers are set, where its subject is `once` only if there is none: ERR_EXISTS. Takes `m`. */
must_check enum err nats_store(struct nats_queue *n, natsMsg *m, bool once);
/* Removes what `subject` (with wildcards) has in `stream`. */
must_check enum err nats_purge(struct nats_queue *n, const char *stream, const char *subject);
/* Shows each subject of `stream` that matches, and how many messages it has. */
must_check enum err nats_subjects(struct nats_queue *n, const char *stream, const char *filter,
                                  void (*each)(void *ctx, const char *subject, uint64_t count), void *ctx);
void nats_tell(struct nats_queue *n, const char *kind, const char *text);
/* "+ACK", "+WPI" or "+TERM" to where a message wants its answer. */
void nats_answer(struct nats_queue *n, const char *reply, const char *text);
/* "-NAK", and waits until the server has it: whoever asks after that gets the task. */
void nats_return(struct nats_queue *n, const char *reply);
/* A message of a subject and bytes, and numbers and names in its headers. */
natsMsg *nats_message(const char *subject, struct bytes content);
unsigned nats_header_number(natsMsg *m, const char *name);
/* The next message, waiting so long; NULL: there was none. A connection that the server has closed for good (its login was changed
 * under us) says so at once, however often it is asked: then it is a rest. */
natsMsg *nats_next(natsSubscription *from, int64_t ms);

/* The part `at` (0 the first) of what is separated by dots; empty where there is none. */
struct bytes part_of(const char *subject, size_t at);
/* What stands from part `at` on. */
const char *parts_from(const char *subject, size_t at);
void id_make(struct job_id *out, const char *leader, const char *key, uint64_t birth);
/* The key in LEADER.KEY.BIRTH. False when it is none of matinee's. */
bool id_key(const char *id, char key[QUEUE_KEY_MAX + 1]);

/* --- nats_leader.c, nats_worker.c --------------------------------------------------------------------- */

enum err nats_put(struct queue *q, enum queue_lane lane, int rank, const char *key, struct bytes task);
enum err nats_again(struct queue *q, const char *key);
enum err nats_drop(struct queue *q, const char *key);
enum err nats_listen(struct queue *q, int64_t wait_ms, struct queue_report *out);
enum err nats_settle(struct queue *q, const char *const *keys, size_t count);
void nats_stats(struct queue *q, struct queue_stats *out);
void leader_told(struct nats_queue *n, const char *kind, const char *text); /* on the ear's thread */
void leader_free(struct nats_queue *n);

enum err nats_take(struct queue *q, int64_t wait_ms, struct queue_job *out);
enum err nats_beat(struct queue *q, struct queue_job *job);
enum err nats_done(struct queue *q, struct queue_job *job, struct bytes result);
enum err nats_fail(struct queue *q, struct queue_job *job, bool died, const char *reason);
void nats_give_back(struct queue *q, struct queue_job *job);
void worker_told_over(struct nats_queue *n, const char *id); /* on the ear's thread */
void worker_free(struct nats_queue *n);

#endif
