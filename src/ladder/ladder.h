/* ladder/ladder.h - other qualities of a video by map and reduce, and everything else that decodes pictures of
 * strangers, in processes of its own.
 *
 * A decoder is a large parser of outside bytes, so it never runs in the server: a child gets the bytes by a
 * pipe, has no files, no network and bounded memory and time, and gives its result back by another pipe. */
#ifndef MATINEE_LADDER_LADDER_H
#define MATINEE_LADDER_LADDER_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/err.h"
#include "live/live.h"
#include "queue/queue.h"
#include "store/store.h"

#include <stdio.h>

/* Draws the first picture of a stored video segment as a JPEG of at most 640 x 360. `program` is our own
 * executable. Blocks for tens of milliseconds, THUMBNAIL_MS_MAX at most. ERR_BUSY: enough are being drawn
 * already, ask again. ERR_BAD: the decoder refuses it. Any pool thread. */
must_check enum err thumbnail_make(const char *program, struct bytes init, struct bytes segment,
                                   struct buffer **out);

/* The child's side: `matinee draw-thumbnail`. Reads standard input, writes standard output; an exit
 * status. */
int thumbnail_child(void);

/* --- uploaded recordings ------------------------------------------------------------------------------- */

/* live/live.h's struct recording_reader: reads MP4, MOV, MKV, TS and FLV in a child. */
must_check enum err recording_read(const char *program, int file, const struct recording_taker *taker,
                                   char why[256]);

/* The child's side: `matinee read-recording`; the file is its standard input. An exit status. */
int recording_child(void);

/* --- the leader: what has to be made of which video --------------------------------------------------- */

struct ladder;

struct ladder_options {
    struct live *live;
    struct store *store;
    struct queue *queue;
    const char *ladder; /* "2160p,1080p,720p,480p", each with ":hevc" or ":av1" behind it if wanted; "none" */
    bool
        no_backups; /* late tasks are left to who has them: to measure what backups are worth, for nothing else */
};

/* Whether `ladder` can be read; `why` says what is wrong with it. */
must_check enum err ladder_check(const char *ladder, char why[256]);

/* Starts the thread that plans, listens and publishes. Blocks for a moment. */
must_check enum err ladder_open(struct ladder **out, const struct ladder_options *options, char why[256]);
/* Ends it; what is under way stays in the queue. After queue_stop(), before live_close(). Accepts NULL. */
void ladder_close(struct ladder *l);

/* Asks for one more rendition ("360p", "720p:hevc") of an ended video. ERR_BAD: no such name; ERR_UNSUPPORTED: the
 * source is not larger; ERR_MISSING; ERR_BUSY: it is live. Blocks. */
must_check enum err ladder_add(struct ladder *l, struct ulid video, const char *rendition, char why[256]);

/* The same as lines for `matinee map`, instead of through the queue: appends them to `out`. Blocks. */
must_check enum err ladder_tasks(struct ladder *l, struct ulid video, const char *rendition,
                                 struct builder *out, char why[256]);
/* Publishes what `matinee reduce` printed of that video. ERR_BAD with `why`: a line that cannot be read or does not fit; those
 * before it are published. Blocks. */
must_check enum err ladder_publish(struct ladder *l, struct ulid video, const char *rendition,
                                   struct bytes lines, char why[256]);

/* Whether the queue does not answer: what is made waits for it. Any thread. */
bool ladder_queue_away(struct ladder *l);

/* How many of the tallest renditions of a live video are left out for now, because the workers cannot keep up. Any thread. */
unsigned ladder_shed(struct ladder *l, struct ulid video);

/* --- workers ------------------------------------------------------------------------------------------ */

struct workers;

/* Starts `count` threads that take tasks from the queue, each with a child process at a time. `program` is our own
 * executable. */
struct workers *workers_start(struct queue *queue, struct store *store, const char *program, unsigned count);
/* After queue_stop(): kills children, gives tasks back, waits for the threads. Accepts NULL. */
void workers_stop(struct workers *w);

/* --- filters: `matinee map` and `matinee reduce` ------------------------------------------------------ */

/* Reads task lines, does them one after the other, writes piece lines. A task that fails is said on standard error and
 * left out. Returns an exit status: 0 when all went well. */
int map_filter(struct store *store, const char *program, FILE *in, FILE *out);
/* Reads sorted piece lines, lays segments together, writes a line for each. */
int reduce_filter(struct store *store, FILE *in, FILE *out);

/* --- sandbox.c: what a child may do -------------------------------------------------------------------- */

enum sandbox_threads { SANDBOX_ONE_THREAD, SANDBOX_THREADS };

/* Locks this process in for good: no new files, sockets or processes, nor threads unless they are allowed;
 * `seconds` of processor time and `bytes` of address space. ERR_IO where the kernel refuses. */
must_check enum err sandbox_enter(unsigned seconds, size_t bytes, enum sandbox_threads threads);

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
