/* cmd/bench_comments_int.h - between the parts of `matinee bench comments`. */
#ifndef MATINEE_CMD_BENCH_COMMENTS_INT_H
#define MATINEE_CMD_BENCH_COMMENTS_INT_H

#include "cmd/bench_house_int.h"

#include "base/ulid.h"

/* --- the feed, bench_comments_feed.c ----------------------------------------------------------------- */

struct feed_result {
    double last_ms_p50, last_ms_max; /* from a post's first byte until the last reader has it */
    double cpu_us;                   /* of the server, for each reader and comment */
    double bytes;                    /* of the server's memory, for each waiting reader */
};

/* `readers` follow the feed of `video`; then `comments` are posted, one when everybody has the one before. False: somebody missed
 * one, or the server failed; it was said. */
must_check bool feed_measure(const struct bench_house *h, const char *video, unsigned readers,
                             unsigned comments, struct feed_result *out);

/* --- the obvious way, bench_comments_rival.c --------------------------------------------------------- */

struct rival_result {
    double per_second, p50_ms, p99_ms;
};

/* A thread and a connection for each client; each comment a statement and a commit of its own. */
must_check bool rival_sql(const char *url, unsigned clients, double seconds, struct rival_result *out);
/* The same with XADD, under the fsync that the server of `url` is set to. */
must_check bool rival_redis(const char *url, unsigned clients, double seconds, struct rival_result *out);

#endif
