/* cmd/bench_house_int.h - what benchmarks of the whole server share: a `matinee serve` of their own, and crowds of HTTP clients.
 *
 * Server and clients share the machine. */
#ifndef MATINEE_CMD_BENCH_HOUSE_INT_H
#define MATINEE_CMD_BENCH_HOUSE_INT_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* --- the server, bench_house.c ----------------------------------------------------------------------- */

struct bench_house {
    pid_t pid;
    char http[64], rtmp[64], token[64]; /* addresses without a scheme */
};

/* Starts `matinee serve` with its data below `folder`, without workers, with further words (ended by NULL). False: it was
 * said why not. */
must_check bool bench_house_open(struct bench_house *out, const char *folder, const char *const *words);
void bench_house_close(struct bench_house *h);

/* One call by the admin; the document that was answered, to be given to json_decref(). NULL: it was no 2xx, and was said. */
json_t *bench_house_call(const struct bench_house *h, const char *method, const char *path, json_t *body);

/* --- clients, bench_crowd.c -------------------------------------------------------------------------- */

/* Clients on keep-alive connections under one epoll, each asking again as soon as it has its answer. */
struct bench_crowd {
    const char *http; /* ADDR:PORT */
    unsigned clients;
    double seconds;
    /* Writes the next request of a client into `out`, whole; returns its size. */
    size_t (*request)(void *ctx, unsigned client, unsigned call, char *out, size_t room);
    void *ctx;
    /* The answers: */
    uint32_t *took_us; /* of those that were answered 201; the caller's to free */
    size_t took_count, took_room;
    uint64_t refused; /* other answers */
    double lasted_s;
};

/* False: a connection failed or the server fell silent, and it was said. */
must_check bool bench_crowd_run(struct bench_crowd *c);

/* A connected socket with TCP_NODELAY; -1: there is none. */
int bench_connect(const char *http);
must_check bool bench_send(int fd, const char *text, size_t size);

#endif
