/* cmd/bench_http_int.h - what `bench http` is made of: two servers of the same three things, and a client. */
#ifndef MATINEE_CMD_BENCH_HTTP_INT_H
#define MATINEE_CMD_BENCH_HTTP_INT_H

#include "net/net.h"

#include <sys/types.h>

#define SMALL_BYTES 500
/* The media playlist of a show that has been live for an hour: 360 segments in two lines each. */
#define PLAYLIST_BYTES 10700
#define SEGMENT_BYTES  4194304

/* --- servers, bench_http_server.c: each a process of its own, on the first core ------------------------- */

struct web_server {
    pid_t pid;
    int stop; /* closing it ends ours; -1 for nginx */
    struct address at;
    char dir[64]; /* nginx's files; empty for ours */
};

/* Serve /small, /playlist and /segment. Ours has /wait besides, which is not answered. Ours must be started
 * first, while this process has no threads. False: it could not be started, and was said. */
must_check bool web_server_ours(struct web_server *out);
must_check bool web_server_nginx(struct web_server *out);
void web_server_stop(struct web_server *s);

/* --- the client, bench_http_client.c ---------------------------------------------------------------------- */

/* Asks for `path` this many times over so many connections, each asking again when it has its answer, whose
 * body must be of `body_bytes`. False: something went wrong, and was said. */
must_check bool web_ask(const struct address *at, const char *path, size_t body_bytes, unsigned connections,
                        unsigned requests);

/* Opens connections, asks for `path` on each, and waits for the answers unless body_bytes is 0. The sockets
 * are in `fds`, the caller's to close. */
must_check bool web_hold(const struct address *at, const char *path, size_t body_bytes, int *fds,
                         unsigned count);

#endif
