/* cmd/bench_ladder_house_int.h - a house that makes renditions, to be measured: everything in it is what `serve` and
 * `worker` are made of, but for the time that encoding takes. */
#ifndef MATINEE_CMD_BENCH_LADDER_HOUSE_INT_H
#define MATINEE_CMD_BENCH_LADDER_HOUSE_INT_H

#include "cmd/bench_ladder_int.h"

#include "ladder/ladder.h"

#include <sys/types.h>

/* --- the stand-in for the encoder, bench_ladder_standin.c ------------------------------------------------- */

/* Eight workers do not fit on a laptop's cores, so none of them encodes: `matinee bench ladder-worker` is a worker whose
 * child, `matinee bench ladder-encoder`, encodes a chunk the first time it ever sees it, and keeps answer and CPU time in a folder;
 * from then on it waits as long, times a factor, and gives the same answer. */
int bench_ladder_worker(int argc, char **argv);
int bench_ladder_encoder(int argc, char **argv);

/* What the answers in the folder took on average, in ms of CPU; 0: there are none. */
double standin_mean_ms(const char *folder);

/* --- the house, bench_ladder_house.c ---------------------------------------------------------------------- */

#define HOUSE_WORKERS_MAX 16
/* What every task makes. */
#define HOUSE_RENDITION "720p"
/* A worker of factor 1 needs this part of what encoding takes here, so that a measurement takes minutes and not
 * hours. What a queue costs weighs the more. */
#define HOUSE_PACE 0.5

struct house_setup {
    const char *dir;     /* made, and removed with everything in it at the end */
    const char *answers; /* the stand-in's folder; outlives the house */
    bool no_backups;     /* struct ladder_options */
};

struct house {
    struct house_setup setup;
    pid_t nats;
    FILE *nats_says;
    char *queue_url, *storage;
    struct net *net;
    struct store *store;
    struct db *db;
    struct live *live;
    struct queue *queue;
    struct ladder *ladder;
    size_t gaps; /* nothing that is measured may leave one */
    struct {
        pid_t pid;
        double factor;
    } workers[HOUSE_WORKERS_MAX];
};

/* Opens it, with a NATS server of its own and without workers. False: it could not be, and that was said. house_close() in
 * every case. */
must_check bool house_open(struct house *h, const struct house_setup *setup);
void house_close(struct house *h);

/* Uploads a recording and waits until it is a video in the store. False: it was said. */
must_check bool house_video(struct house *h, struct bytes file, struct ulid *video);

/* Starts `count` workers, from place `first` on, that take `factor` times HOUSE_PACE of what encoding takes. False: it was said. */
must_check bool house_hire(struct house *h, unsigned first, unsigned count, double factor);
/* SIGKILL. */
void house_kill(struct house *h, unsigned place);

/* Asks for HOUSE_RENDITION of a video; a task for each of its chunks is in the queue soon. False: it was said. */
must_check bool house_ask(struct house *h, struct ulid video);
/* How many segments of it are not published yet. A gap counts as published, is said, and adds to h->gaps. */
size_t house_lacks(struct house *h, struct ulid video);
/* Waits until no more tasks come into the queue; how many there are. */
size_t house_wait_open(struct house *h);

/* Sleeps; for what can only be asked for again and again. */
void house_nap(int ms);

#endif
