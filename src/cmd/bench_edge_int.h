/* cmd/bench_edge_int.h - between the files of `matinee bench edge`:
 *
 *   bench_edge.c        the show, the measurements and what is printed
 *   bench_edge_nginx.c  edges and a shield: one nginx with many servers, each with a cache of its own, by the rules of deploy/edge
 *   bench_edge_varnish.c  one edge that is Varnish
 *   bench_edge_crowd.c  the viewers
 *
 * Everything shares the machine. */
#ifndef MATINEE_CMD_BENCH_EDGE_INT_H
#define MATINEE_CMD_BENCH_EDGE_INT_H

#include "cmd/bench_house_int.h"

#include <stddef.h>

#define EDGES_MAX 64
#define LISTS_MAX 4

/* --- bench_edge_nginx.c --------------------------------------------------------------------------------- */

struct bench_edges {
    pid_t pid;
    unsigned count;
    int port; /* of all: edge i is at 127.0.1.i+1, the shield at 127.0.2.1 */
};

/* Starts it in `folder`, with the rules in `rules`; with more than one edge a shield stands between them and the origin. False: it
 * was said why not. */
must_check bool bench_nginx_open(struct bench_edges *out, const char *folder, const char *rules,
                                 const char *origin, const char *key, unsigned edges);
/* The same of one edge, with Varnish. */
must_check bool bench_varnish_open(struct bench_edges *out, const char *folder, const char *rules,
                                   const char *origin, const char *key);
/* Waits until somebody listens there. False: the process ended before that, or did not get ready. */
must_check bool bench_edges_await(const struct bench_edges *n);
void bench_edges_close(struct bench_edges *n);
void bench_edges_address(const struct bench_edges *n, unsigned edge, char out[64]);

/* --- bench_edge_crowd.c --------------------------------------------------------------------------------- */

struct edge_crowd {
    const struct bench_edges *edges;
    const char *video;
    const char *lists[LISTS_MAX]; /* "source", "audio", … */
    size_t list_count;
    unsigned viewers;
    /* Set by edge_crowd_run(): what anybody asked for, from the start; */
    uint64_t objects;
    /* and what came after the warming up: */
    uint64_t answers, refused, bytes;
    float *late_ms; /* of each answer, behind the first of the same object; the caller's to free */
    size_t late_count;
};

/* Moments of a run: nobody has asked for anything yet; all watch, and it counts; it is over. */
enum { EDGE_EMPTY, EDGE_BEGUN, EDGE_OVER, EDGE_MOMENTS };

/* Viewers on a connection each, by turns at the edges and the playlists. Each waits for a playlist with the next part, fetches the
 * part, and so on; who is late goes on with the newest. Calls moment(ctx, …) at each of them. False: a connection broke or an edge
 * fell silent, and it was said. */
must_check bool edge_crowd_run(struct edge_crowd *c, double warm_s, double seconds,
                               void (*moment)(void *ctx, int which), void *ctx);

#endif
