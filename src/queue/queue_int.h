/* queue/queue_int.h - what a kind of queue implements, and the durable half of the local one. */
#ifndef MATINEE_QUEUE_QUEUE_INT_H
#define MATINEE_QUEUE_QUEUE_INT_H

#include "queue/queue.h"

/* queue.c has checked keys and sizes before any of these is called. */
struct queue_kind {
    void (*close)(struct queue *q);
    void (*stop)(struct queue *q);
    enum err (*put)(struct queue *q, enum queue_lane lane, int rank, const char *key, struct bytes task);
    enum err (*again)(struct queue *q, const char *key);
    enum err (*drop)(struct queue *q, const char *key);
    enum err (*listen)(struct queue *q, int64_t wait_ms, struct queue_report *out);
    enum err (*settle)(struct queue *q, const char *const *keys, size_t count);
    void (*stats)(struct queue *q, struct queue_stats *out);
    enum err (*take)(struct queue *q, int64_t wait_ms, struct queue_job *out);
    enum err (*beat)(struct queue *q, struct queue_job *job);
    enum err (*done)(struct queue *q, struct queue_job *job, struct bytes result);
    enum err (*fail)(struct queue *q, struct queue_job *job, bool died, const char *reason);
    void (*give_back)(struct queue *q, struct queue_job *job);
};

/* First member of every kind's own struct. */
struct queue {
    const struct queue_kind *kind;
};

must_check enum err queue_nats_open(struct queue **out, const struct queue_options *options, char why[256]);
must_check enum err queue_local_open(struct queue **out, const struct queue_options *options, char why[256]);

/* --- ledger.c: the SQLite file of a local queue --------------------------------------------------------- */

enum ledger_state { LEDGER_OPEN, LEDGER_DONE, LEDGER_SET_ASIDE };

/* A job without its bytes. `number` is its place in the order of puts, and its name in the ledger. */
struct ledger_entry {
    int64_t number;
    const char *key; /* valid during a call */
    enum queue_lane lane;
    int rank;
    enum ledger_state state;
    unsigned attempt; /* that brought the result */
    unsigned failures, deaths;
    int64_t took_ms;
    const char *worker; /* valid during a call */
};

/* One thread at a time. Every change is on stable storage when it returns ERR_OK, and undone otherwise. */
struct ledger;

/* Opens or creates `file` for this process alone and shows every entry to `each`, in the order of puts. */
must_check enum err ledger_open(struct ledger **out, const char *file,
                                void (*each)(void *ctx, const struct ledger_entry *e), void *ctx,
                                char why[256]);
void ledger_close(struct ledger *l); /* accepts NULL */

/* Adds an open job; sets e->number. */
must_check enum err ledger_add(struct ledger *l, struct ledger_entry *e, struct bytes task);
/* The task while it is open, and then the result or the reason. */
must_check enum err ledger_content(struct ledger *l, int64_t number, struct buffer **out);
/* Writes state, attempt, worker, took_ms and counters; `content` (may be NULL: stays) takes the place of what is there. */
must_check enum err ledger_change(struct ledger *l, const struct ledger_entry *e,
                                  const struct bytes *content);
/* Forgets entries, in one commit. */
must_check enum err ledger_forget(struct ledger *l, const int64_t *numbers, size_t count);

#endif
