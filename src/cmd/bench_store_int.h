/* cmd/bench_store_int.h - between the two measurements of a store: bench_store.c, as fast as it goes beside curl, and
 * bench_store_live.c, how long the segments of live shows wait for it. */
#ifndef MATINEE_CMD_BENCH_STORE_INT_H
#define MATINEE_CMD_BENCH_STORE_INT_H

#include "base/buffer.h"
#include "base/err.h"

/* Below it lie the objects of a measurement; all of it is removed afterwards. */
#define BENCH_STORE_PREFIX "bench"

/* `streams` end a segment of this picture and some sound every ten seconds, for `seconds`. Prints how long they took and writes DIR/store_live.csv.
 * False: a segment was not stored, or nothing could be measured; it was said. */
must_check bool bench_store_live(const char *storage, struct buffer *content, long streams, long seconds,
                                 const char *dir);

#endif
