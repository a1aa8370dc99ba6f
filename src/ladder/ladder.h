/* ladder/ladder.h - everything that decodes pictures of strangers, in processes of its own.
 *
 * A decoder is a large parser of outside bytes, so it never runs in the server: a child gets the bytes by a
 * pipe, has no files, no network and bounded memory and time, and gives its result back by another pipe. */
#ifndef MATINEE_LADDER_LADDER_H
#define MATINEE_LADDER_LADDER_H

#include "media/media.h"

/* Draws the first picture of a stored video segment as a JPEG of at most 640 x 360. `program` is our own
 * executable. Blocks for tens of milliseconds, THUMBNAIL_MS_MAX at most. ERR_BUSY: enough are being drawn
 * already, ask again. ERR_BAD: the decoder refuses it. Any pool thread. */
must_check enum err thumbnail_make(const char *program, struct bytes init, struct bytes segment,
                                   struct buffer **out);

/* The child's side: `matinee draw-thumbnail`. Reads standard input, writes standard output; an exit
 * status. */
int thumbnail_child(void);

/* --- plan.c: which renditions a source gets ------------------------------------------------------------ */

/* The rungs named in `ladder` ("1080p,720p:hevc,480p"; "none": nothing) for a source of this size and of
 * `fps` pictures a second (0: not known; from 35 on a rung may take more bits): none of the source's own
 * height or above, aspect kept, sizes even, at most 60 pictures a second (a source above gets every other
 * one). In falling size; returns how many. The shorter side of a portrait source counts as its height. The
 * rungs of one video must come from one call: a record holds for all its chunks. */
size_t plan_rungs(const char *ladder, uint32_t width, uint32_t height, uint32_t fps,
                  struct rung out[RUNGS_MAX]);

/* Whether `ladder` can be read; `why` says what is wrong with it. */
must_check enum err plan_check(const char *ladder, char why[256]);

/* Cuts rungs into groups, each one task: decoding once for several outputs is cheaper, and a task of too
 * many pixels is late. Fills group[i] for every rung, from 0 up without gaps (a group's rungs need not be
 * neighbours), and returns how many groups. Deterministic. */
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

/* Runs `program encode-chunk` on it and waits. `keep_on` (may be NULL) is asked every 200 ms at most; when
 * it says false the child is killed: ERR_CLOSED. ERR_BAD, ERR_UNSUPPORTED: the task's fault, `why` says
 * what. ERR_IO: the child was killed, or passed its limits of memory or processor time (died). Any thread
 * of its own; several at once. */
must_check enum err encode_run(const char *program, const struct encode_request *request,
                               bool (*keep_on)(void *ctx), void *ctx, struct encode_result *out,
                               char why[256]);

/* The child's side: `matinee encode-chunk`; an exit status. */
int encode_child(void);

#endif
