/* ladder/ladder_int.h - between the files of this room. What each one is for:
 *
 *   plan.c       which renditions a source gets, and what goes together into one task
 *   task.c       tasks and results as lines of text
 *   chunks.c     what a stored segment is made of
 *   map.c        one task, done: chunk in, a chunk of each rendition out
 *   encode.c     the child that does the work, from our side; child.c starts it
 *   reduce.c     chunks laid end to end
 *   worker.c     threads that take tasks from the queue
 *   leader.c     what has to be made of which video, and what has become of it
 *   early.c      the same of segments that are still open
 *   sandbox.c    what a process that decodes foreign bytes may do
 *   recording.c  uploaded files from our side; recording_child.c, recording_file.c from the child's
 *   thumbnail.c  picture.c: the picture of a seek bar, by the same means */
#ifndef MATINEE_LADDER_LADDER_INT_H
#define MATINEE_LADDER_LADDER_INT_H

#include "ladder/ladder.h"

#include "live/live.h"

/* The longest decoder configuration that is carried in a task. */
#define TASK_RECORD_MAX 2048
/* Chunks of a segment: a 60 s segment of 2 s chunks, and what an odd GOP adds. */
#define SEGMENT_CHUNKS_MAX 256

/* Decodes the first picture of an MP4 (init and segment laid end to end) and encodes it as a JPEG that fits
 * into width_max x height_max. */
must_check enum err picture_draw(struct bytes mp4, int width_max, int height_max, struct buffer **out);

/* --- task.c: lines ------------------------------------------------------------------------------------ */

/* One map task: a chunk of the source, and what is to be made of it. As a line (docs/api.md):
 *
 *     VIDEO/000012/0-5/720p+480p TAB OBJECT OFFSET SIZE CODEC RECORD INIT RUNG,RUNG
 *
 * The line says all that decides the result: whoever does it, whenever, gives the same bytes. */
struct task {
    char segment[24]; /* "000012", as its objects are called */
    struct ulid video;
    unsigned chunk, of; /* the chunk's index in its segment, and how many there are; 0: it is still open */
    char object[SEGMENT_NAME_SIZE]; /* of the source's segment */
    size_t offset, size;            /* the chunk in it */
    enum codec codec;               /* of the source */
    struct bytes record;            /* its decoder configuration; lies in `memory` */
    uint32_t init;                  /* the source's init number */
    struct rung rungs[RUNGS_MAX];
    size_t rung_count;
    uint8_t memory[TASK_RECORD_MAX];
};

#define TASK_KEY_SIZE 160

void task_key(const struct task *t, char key[TASK_KEY_SIZE]);
void task_write(const struct task *t, struct builder *out); /* what stands behind the TAB */
/* Reads both halves of a line. ERR_BAD with `why`. */
must_check enum err task_read(struct task *out, struct bytes key, struct bytes value, char why[128]);

/* What a task made of one rendition; the lines of a result, and what reduce reads:
 *
 *     VIDEO/720p/000012 TAB CHUNK OF BYTES INIT RECORD */
struct piece {
    struct ulid video;
    char rendition[RENDITION_NAME_SIZE];
    char segment[24];
    unsigned chunk, of;
    uint32_t bytes, init;
    struct bytes record; /* lies in `memory` */
    uint8_t memory[TASK_RECORD_MAX];
};

void piece_write(const struct piece *p, struct builder *out); /* a whole line */
must_check enum err piece_read(struct piece *out, struct bytes line);

/* A line of a result in the queue that is no piece: what the CPU spent on it. Readers of pieces pass it over. */
void cost_write(int64_t cpu_ms, struct builder *out);
int64_t cost_read(struct bytes result); /* 0: it does not say */

/* Takes the next line (without its end) off `text`; false at the end. */
bool line_next(struct bytes *text, struct bytes *line);

/* Where the chunk of a rendition lies until reduce: v/ID/720p/000012.0of5.m4s. */
const char *piece_object(const struct piece *p, char name[SEGMENT_NAME_SIZE]);

/* --- map.c -------------------------------------------------------------------------------------------- */

enum map_end {
    MAP_DONE,
    MAP_STOPPED, /* keep_on said no */
    MAP_REFUSED, /* by nature: no other worker would do better; `why` is for people */
    MAP_FAULT,   /* the task failed */
    MAP_DIED,    /* the child was killed or broke down */
    MAP_STORE    /* the store does not answer: nobody's fault */
};

struct map_means {
    struct store *store;
    const char *program;
    bool (*keep_on)(void *ctx); /* asked all the while; may be NULL */
    bool (*wanted)(void *ctx);  /* asked before what was made is stored; may be NULL */
    void *ctx;
};

/* Does one task: fetches the chunk, encodes it in a child, stores what came out, appends its lines to `result`. *cpu_ms is what
 * the child took. Blocks for seconds. */
enum map_end map_task(const struct map_means *means, const struct task *t, struct builder *result,
                      int64_t *cpu_ms, char why[256]);

/* --- chunks.c ----------------------------------------------------------------------------------------- */

/* Finds the chunks (moof and mdat) of a stored segment; returns how many; 0 when they are more than `room`, or it is not
 * made of such. */
struct extent {
    size_t offset, size;
};
size_t chunks_find(struct bytes segment, struct extent *out, size_t room);

/* How many pictures its chunks say they have. */
uint32_t pictures_count(struct bytes segment);

/* --- reduce.c ----------------------------------------------------------------------------------------- */

/* Lays the chunks of one segment, in order, end to end and stores the segment as `name`. *bytes is its size. */
must_check enum err reduce_segment(struct store *store, const struct piece *pieces, size_t count,
                                   const char *name, uint32_t *bytes);

/* Removes the chunks: once the segment is listed, nobody needs them. */
void reduce_sweep(struct store *store, const struct piece *pieces, size_t count);

#endif
