/* comments/comments_int.h - between the files of this room. What each one is for:
 *
 *   text.c     what may be said, as text
 *   print.c    comments as JSON and as Server-Sent Events
 *   rules.c    who may say it, for each event
 *   lane.c     calls on their way to the engine: group commit
 *   sql.c      the engine that is a database
 *   redis.c    the engine without SQL
 *   feed.c     the newest of a video's log in memory
 *   reader.c   those who are told of it
 *   window.c   windows: cached, sealed, unsealed
 *   comments.c opens and closes the room, and hands reads on */
#ifndef MATINEE_COMMENTS_COMMENTS_INT_H
#define MATINEE_COMMENTS_COMMENTS_INT_H

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "comments/comments.h"

#include <pthread.h>

/* --- engines ----------------------------------------------------------------------------------------- */

struct comment_store;

/* Everything blocks. */
struct comment_store_kind {
    void (*close)(struct comment_store *s);
    /* Does the calls, which are sorted by video, in their order: sets answer, seq, and json where it is not what the call brought.
     * Durable when this returns ERR_OK, otherwise nobody knows; then the same calls come again, or never. */
    enum err (*write)(struct comment_store *s, struct comment_call **calls, size_t count);
    enum err (*head)(struct comment_store *s, struct ulid video,
                     int64_t *seq); /* of the newest entry; 0: none */
    enum err (*log)(struct comment_store *s, struct ulid video, int64_t seq, size_t limit,
                    bool (*row)(void *ctx, const struct comment *c), void *ctx);
    enum err (*range)(struct comment_store *s, struct ulid video, const struct comment_range *range,
                      bool (*row)(void *ctx, const struct comment *c), void *ctx);
    /* The one of that id, if any. */
    enum err (*find)(struct comment_store *s, struct ulid video, const char *id,
                     bool (*row)(void *ctx, const struct comment *c), void *ctx);
    enum err (*held)(struct comment_store *s, struct ulid video, const char *after, size_t limit,
                     bool (*row)(void *ctx, const struct comment *c), void *ctx);
    enum err (*drop)(struct comment_store *s, struct ulid video);
};

/* First member of every engine's own struct. */
struct comment_store {
    const struct comment_store_kind *kind;
    bool shared; /* other servers may write too */
};

must_check enum err comment_sql_open(struct comment_store **out, struct db *db, char why[256]);
must_check enum err comment_redis_open(struct comment_store **out, const char *url, char why[256]);

/* What became of a post whose id is taken. */
void comment_settle_known(struct comment_call *call, const struct comment *known);

/* --- lanes ------------------------------------------------------------------------------------------- */

struct lane;

/* `late`: what is done here touches windows that may be sealed. */
struct lane *lane_start(struct comments *c, bool late);
void lane_stop(struct lane *l); /* answers all that is queued, and joins; accepts NULL */
void lane_free(struct lane *l);
void lane_add(struct lane *l, struct comment_call *call);

/* --- feeds ------------------------------------------------------------------------------------------- */

/* Tells the video's feed, if anybody has it in memory, of calls that were done: those of one video. Blocks. */
void feed_tell(struct comments *c, struct comment_call **calls, size_t count);
/* Another server wrote up to `seq`, or may have: catches up. Blocks. */
void feed_catch_up(struct comments *c, struct ulid video);
void feeds_look(struct comments *c); /* the keeper's: catches up where that is needed, lets idle ones go */
void feeds_free(struct comments *c);

/* --- windows ----------------------------------------------------------------------------------------- */

struct windows;

struct windows *windows_new(void);
void windows_free(struct windows *w);
/* Something in this window has changed: whoever read it before may not keep it. Any thread. */
void window_touch(struct comments *c, struct ulid video, int64_t offset_us);
/* Takes a window's sealed form out of the object store. Blocks. */
must_check enum err window_unseal(struct comments *c, struct ulid video, int64_t window);
/* Has the keeper seal a window once it is closed. */
void window_note(struct comments *c, struct ulid video, int64_t window);
/* Seals a closed window. False: it is to be tried again later. Blocks. */
must_check bool window_seal(struct comments *c, struct ulid video, int64_t window);
void windows_seal(struct comments *c); /* the keeper's: those that are due */

static inline int64_t window_of(int64_t offset_us)
{
    return offset_us / COMMENT_WINDOW_US;
}

/* --- printing ---------------------------------------------------------------------------------------- */

struct buffer *comment_json(const struct comment *c);
/* An entry of the log as an event; NULL where readers are not told of it. `json` may be NULL: it is printed then. */
struct buffer *comment_event(const struct comment *c, struct buffer *json);
/* Whether `events` is the one comment of that id. */
bool comment_event_is(const struct buffer *events, struct bytes id);

/* --- rules ------------------------------------------------------------------------------------------- */

struct rule_book;

struct rule_book *rules_new(void);
void rules_free(struct rule_book *b);
/* A text as words are compared: case, width, marks and invisible characters apart. To be given to free(). */
char *comment_skeleton(const char *text);

/* --- the room ---------------------------------------------------------------------------------------- */

struct comments {
    struct comments_options options;
    struct comment_store *store;
    struct lane *prompt, *late;
    struct rule_book *rules;
    struct windows *windows;
    pthread_mutex_t lock; /* guards feeds */
    struct map *feeds;    /* by video */
    struct {
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        bool runs, stopping;
    } keeper;
    struct bus_ear *ear;
};

void comments_announce(struct comments *c, struct ulid video); /* to other servers */

#endif
