/* ladder/ladder_int.h - between the files of this room. */
#ifndef MATINEE_LADDER_LADDER_INT_H
#define MATINEE_LADDER_LADDER_INT_H

#include "ladder/ladder.h"
#include "media/media.h"

enum sandbox_threads { SANDBOX_ONE_THREAD, SANDBOX_THREADS };

/* Locks this process in for good: no new files, sockets or processes, nor threads unless they are allowed; `seconds` of
 * processor time and `bytes` of address space. ERR_IO where the kernel refuses. */
must_check enum err sandbox_enter(unsigned seconds, size_t bytes, enum sandbox_threads threads);

/* Decodes the first picture of an MP4 (init and segment laid end to end) and encodes it as a JPEG that fits
 * into width_max x height_max. */
must_check enum err picture_draw(struct bytes mp4, int width_max, int height_max, struct buffer **out);

/* --- plan.c: which renditions a source gets ------------------------------------------------------------ */

/* The rungs named in `ladder` ("1080p,720p:hevc,480p"; "none": nothing) for a source of this size and of `fps` pictures a second
 * (0: not known; from 35 on a rung may take more bits): none of the source's own height or above, aspect kept, sizes even, at most
 * 60 pictures a second (a source above gets every other one). In falling size; returns how many. The shorter side of a
 * portrait source counts as its height. The rungs of one video must come from one call: a record holds for all its chunks. */
size_t plan_rungs(const char *ladder, uint32_t width, uint32_t height, uint32_t fps,
                  struct rung out[RUNGS_MAX]);

/* Whether `ladder` can be read; `why` says what is wrong with it. */
must_check enum err plan_check(const char *ladder, char why[256]);

/* Cuts rungs into groups, each one task: decoding once for several outputs is cheaper, and a task of too many pixels is late.
 * Fills group[i] for every rung, from 0 up, and returns how many groups. Deterministic. */
size_t plan_groups(const struct rung *rungs, size_t count, size_t group[RUNGS_MAX]);

/* --- encode.c: one chunk in a sandboxed child ----------------------------------------------------------- */

struct encode_request {
    struct bytes init, chunk;
    const struct rung *rungs;
    size_t rung_count;
};

struct encode_result {
    struct transcoded made[RUNGS_MAX];
    int64_t cpu_ms; /* of the child, decoding and encoding and its start */
};
void encode_result_free(struct encode_result *r); /* frees what it holds */

/* Runs `program encode-chunk` on it and waits. `keep_on` (may be NULL) is asked every 200 ms at most; when it says false the child
 * is killed: ERR_CLOSED. ERR_BAD, ERR_UNSUPPORTED: the task's fault, `why` says what. ERR_IO: the child was killed, or passed its limits of memory
 * or processor time (died). Any thread of its own; several at once. */
must_check enum err encode_run(const char *program, const struct encode_request *request,
                               bool (*keep_on)(void *ctx), void *ctx, struct encode_result *out,
                               char why[256]);

#endif
