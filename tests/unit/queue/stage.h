/* tests/unit/queue/stage.h - a queue to play a story on: embedded, or on a NATS server of the test's own. */
#ifndef MATINEE_UNIT_QUEUE_STAGE_H
#define MATINEE_UNIT_QUEUE_STAGE_H

#include "queue/queue.h"

#include <stdio.h>

#define STAGE_WORKERS 8
/* Longer than any story that does not wait for a lease to run out. */
#define LEASE_LONG_MS 30000
/* Nothing here takes long; who waits for so long waits for something that will not come. */
#define PATIENCE_MS 15000

enum stage_kind { STAGE_LOCAL, STAGE_NATS };

struct stage {
    enum stage_kind kind;
    char *folder;
    char url[128];
    struct queue_options options;
    int server; /* the NATS server's pid, or 0 */
    int port;
    FILE *said; /* by the server */
    bool bare;  /* without JetStream */
    struct queue *leader;
    struct queue *worker[STAGE_WORKERS]; /* local: the leader's own */
};

/* A new queue with its leader and `workers` workers. */
void stage_open(struct stage *s, enum stage_kind kind, int64_t lease_ms, unsigned failures_max,
                unsigned deaths_max, unsigned workers);
/* Leader and workers go and come again; what is durable stays. */
void stage_restart(struct stage *s);
void stage_close(struct stage *s);

/* SIGKILL, and a new one on the same folder and port; on a free one the first time. */
void stage_server_kill(struct stage *s);
void stage_server_start(struct stage *s);

#endif
