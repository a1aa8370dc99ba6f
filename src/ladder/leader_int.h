/* ladder/leader_int.h - between the files of the leader: leader.c (videos, and what is to be made of them),
 * effort.c (what is being made) and early.c (what is being made of segments that are still open). All of it belongs to the leader's thread, where nothing else is said. */
#ifndef MATINEE_LADDER_LEADER_INT_H
#define MATINEE_LADDER_LEADER_INT_H

#include "ladder/ladder_int.h"

#include "base/list.h"
#include "base/map.h"

#include <pthread.h>
#include <stdatomic.h>

#define LOOK_NEVER INT64_MAX

/* A video with something left to make. */
struct watch {
    struct list link;
    struct ulid id;
    size_t planned;   /* the first so many segments of the view were looked at */
    size_t wanted;    /* renditions that it had then */
    size_t efforts;   /* under way */
    atomic_uint shed; /* of its renditions, from the tallest on, left out for now */
    int64_t look_ms;  /* when to look at it next: 0 now, LOOK_NEVER when something is told */
};

/* How long tasks for the same renditions took of late. */
#define PACE_SAMPLES 32
struct pace {
    char names[64];
    int64_t took_ms[PACE_SAMPLES];
    size_t count; /* ever */
};
#define PACES_MAX 16

struct ladder {
    struct ladder_options options;
    char *names; /* of the ladder, as it was given */
    pthread_t thread;
    bool started;
    atomic_bool ending;
    pthread_mutex_t lock; /* guards what was told, and `watches` for readers of other threads */
    struct ulid *told;
    size_t told_count;
    struct list heard;  /* chunks that nobody has looked at, struct heard; guarded by `lock` */
    struct list chunks; /* those that wait for their place */
    struct list watches;
    struct map *jobs;    /* key -> struct job */
    struct list efforts; /* all of them, oldest first */
    size_t archive_jobs;
    int64_t opened_ms; /* wall clock */
    struct pace paces[PACES_MAX];
    int64_t shed_ms, calm_ms; /* when something was last left out; since when nothing waits long */
    int64_t straggled_ms;     /* when stragglers were last looked for */
    int64_t news_ms;          /* when the queue last told anything */
    int64_t back_ms;          /* when it last came back */
    atomic_bool queue_away;   /* it was said */
};

/* One chunk of an effort: a job of the queue. */
struct job {
    struct effort *effort;
    char key[TASK_KEY_SIZE];
    struct buffer *result;   /* its lines; NULL: not come */
    int64_t started_ms;      /* the attempt that runs; 0: none does */
    bool backed;             /* a second worker was asked for */
    int64_t start, duration; /* of an early one: its dts, in ticks of 1/90000 s; 0: not known */
};

/* One segment in some renditions: its chunks are jobs, and all of them together make the segment of each. */
struct effort {
    struct list link;
    struct watch *watch;
    enum queue_lane lane;
    uint32_t number;
    char segment[24];
    char names[64];
    struct rung rungs[RUNGS_MAX];
    size_t rung_count;
    int64_t captured_ms; /* the wall clock at its last picture */
    int64_t length_ms;
    struct job *jobs;
    unsigned of, room, arrived;
    bool early;         /* its segment was open when it began; `of` grows until it is closed */
    bool closed;        /* all its chunks are known */
    bool stored;        /* its segment is in the store */
    bool hidden;        /* no more of it is shown before it is whole */
    bool discontinuity; /* of an early one: before its segment, */
    int64_t wall_ms;    /* and the wall clock at its start */
    unsigned shown;     /* parts that players have */
    char reason[96];    /* why it will never be made; "": it will */
    int64_t retry_ms;   /* its end could not be written down; try again then */
};

/* --- effort.c ----------------------------------------------------------------------------------------- */

/* Puts one segment of a view into the queue, to be made as `rungs`. ERR_BAD with `why`: it can never be made. Others: not now. */
must_check enum err effort_begin(struct ladder *l, struct watch *w, const struct video_view *view, size_t at,
                                 const struct rung *rungs, size_t count, char why[96]);

/* The tasks of one segment, the caller's; their records lie in the view. Errors as above. */
must_check enum err effort_tasks(struct store *store, const struct video_view *view, size_t at,
                                 const struct rung *rungs, size_t count, struct task **out,
                                 size_t *task_count, char why[96]);

/* The effort of the rungs of group `g`, without chunks, of a segment that is still open. */
struct effort *effort_open(struct ladder *l, struct watch *w, const struct live_chunk *c,
                           const struct rung *rungs, size_t count, const size_t *group, size_t g);
/* Puts the next chunk of an early effort into the queue. */
must_check enum err effort_add(struct ladder *l, struct effort *f, const struct task *task);
/* What a job's result says of a rung; false: nothing that fits. */
bool effort_piece(const struct effort *f, unsigned chunk, size_t rung, struct piece *out);
void effort_finish_if_whole(struct ladder *l, struct effort *f); /* may free it */
/* It is made again from the beginning, and freed. */
void effort_start_over(struct ladder *l, struct effort *f, enum err why);
void effort_free(struct ladder *l, struct effort *f); /* the queue keeps what it has */

/* What the queue has told. */
void effort_report(struct ladder *l, struct queue_report *r);
/* Whether this rendition of a segment is under way. */
bool effort_has(const struct ladder *l, const struct watch *w, uint32_t number, const char *name);
/* Writes down once more what could not be written down before. */
void effort_retry(struct ladder *l, int64_t now_ms);
/* Puts all anew that is under way: the queue has lost it. */
void effort_start_over_all(struct ladder *l);
/* Asks for second workers where the first ones are late. */
void effort_hurry(struct ladder *l, int64_t now_ms);
/* Forgets everything of a video that is gone, in the queue too. */
void effort_forget(struct ladder *l, struct watch *w);
void effort_free_all(struct ladder *l); /* the queue keeps what it has */

/* Lists a gap in each of these renditions. ERR_MISSING: the video is gone. */
must_check enum err effort_gaps(struct ladder *l, struct ulid video, uint32_t number,
                                const struct rung *rungs, size_t count, const char *reason);

/* --- early.c ------------------------------------------------------------------------------------------ */

void early_on_chunk(void *ctx, const struct live_chunk *c); /* live_on_chunk(); any thread */
/* Puts into the queue what was heard of. */
void early_look(struct ladder *l, int64_t now_ms);
/* Shows what has come, as far as nothing is missing before it. */
void early_show(struct ladder *l, struct effort *f);
/* The segment at `at` is stored: closes the efforts that were begun before. ERR_BUSY: one of them is begun anew; others: not now. */
must_check enum err early_close(struct ladder *l, struct watch *w, const struct video_view *view, size_t at);
/* The effort is about to be freed: removes the source's chunks that nobody else needs. */
void early_sweep(struct ladder *l, const struct effort *f);
/* The segment was begun before this server was: removes what may lie about of it. */
void early_sweep_leftovers(struct ladder *l, const struct effort *f);
void early_free_all(struct ladder *l);

/* --- leader.c ----------------------------------------------------------------------------------------- */

struct watch *leader_watch(const struct ladder *l, struct ulid id); /* NULL: it is not watched */
/* The rung of a rendition for a source of that size; 0: the source is not larger. */
size_t plan_rung(const struct rendition *r, uint32_t width, uint32_t height, struct rung *out);

#endif
