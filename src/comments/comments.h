/* comments/comments.h - comments: posted once, kept for good, in step with the picture.
 *
 * A comment belongs to a video and to a place in it. All that ever happened to a video's comments is its log: each
 * entry has a sequence number that grows in the order of arrival, over all servers, and survives every restart. Feeds
 * and exports are read from the log; lists and windows (10 s of the video, the counterpart of a segment) by position.
 *
 * Where they are kept is an engine's business: rows of the database, or Redis Streams. Whatever the engine, calls that
 * come during one commit share the next, and an answer is given when the commit is durable.
 *
 * Who may say what (closed, muted, slow mode, followers, words) is kept for each event, in the database. */
#ifndef MATINEE_COMMENTS_COMMENTS_H
#define MATINEE_COMMENTS_COMMENTS_H

#include "base/buffer.h"
#include "base/ulid.h"
#include "db/db.h"
#include "live/live.h"
#include "net/net.h"
#include "queue/queue.h"
#include "store/store.h"

struct comments;

struct comments_options {
    struct net *net;
    struct db *db;
    struct store *store; /* where closed windows are sealed */
    struct live *live;
    struct bus *bus; /* between servers; NULL: there is only this one */
    const char *url; /* NULL: in `db`; redis://[user:password@]host:port */
};

/* Opens the room and starts its threads. `why` says what to do on failure. Blocks. */
must_check enum err comments_open(struct comments **out, const struct comments_options *options,
                                  char why[256]);
/* Answers what was handed in and ends the threads; reads still work. Blocks. Accepts NULL. */
void comments_stop(struct comments *c);
/* The same, and frees; after the loops have ended. Accepts NULL. */
void comments_close(struct comments *c);

/* --- one comment ------------------------------------------------------------------------------------- */

#define COMMENT_ID_MAX       64 /* of A-Za-z0-9_- */
#define COMMENT_AUTHOR_CHARS 64
#define COMMENT_DATA_CHARS   2000
#define COMMENT_DIGEST_SIZE  16
#define COMMENT_WINDOW_S     10
#define COMMENT_WINDOW_US    ((int64_t)COMMENT_WINDOW_S * 1000000)
#define COMMENT_WINDOWS_MAX  100000000 /* no video is 30 years long */

/* The numbers are what engines keep. */
enum comment_kind {
    COMMENT_SHOWN = 0,
    COMMENT_HELD = 1,    /* waits for approval: nobody but the producer sees it */
    COMMENT_GONE = 2,    /* it was deleted: only its id is left, so that it cannot be used again */
    COMMENT_DELETION = 3 /* an entry of the log: `id` was deleted */
};

/* An entry of the log; texts are valid during the call that shows it. */
struct comment {
    struct ulid video;
    int64_t seq;
    enum comment_kind kind;
    struct bytes id, author, data;
    int64_t offset_us, created_ms;
    uint8_t digest[COMMENT_DIGEST_SIZE]; /* of what was asked, to know the same request again */
};

/* As JSON, the way the API and the feed show it. */
void comment_print(struct builder *out, const struct comment *c);
/* A position as seconds: 12.5 */
void comment_print_seconds(struct builder *out, int64_t us);
/* A text as a JSON string, with its quotes. */
void comment_print_text(struct builder *out, struct bytes text);

enum comment_text { COMMENT_TEXT_NAME, COMMENT_TEXT_DATA };

/* The text in NFC, to be given to free(), if it may stand as a name (one line, nothing invisible) or as what is said
 * (newlines, and what scripts and emoji need). NULL otherwise: *why says what is wrong, in words for its sender. `text` is UTF-8. */
char *comment_text(enum comment_text kind, const char *text, const char **why);
bool comment_id_good(const char *id);
/* Whether a text (NFC) has something in it that looks like a link. */
bool comment_has_link(const char *text);

/* --- calls ------------------------------------------------------------------------------------------- */

enum comment_call_kind {
    COMMENT_POST,    /* id, author, data, offset_us, digest, hold */
    COMMENT_DELETE,  /* id */
    COMMENT_APPROVE, /* id */
};

enum comment_answer {
    COMMENTED,        /* durable */
    COMMENTED_BEFORE, /* it was so already; `json` is the first answer */
    COMMENTED_OTHER,  /* this id was used for something else, or what it named was deleted */
    COMMENT_MISSING,  /* there is no such comment */
    COMMENT_BUSY,     /* the engine is away or too much is waiting: nobody knows; the same again is safe */
    COMMENT_FULL,     /* the engine has no room */
};

struct comment_call {
    enum comment_call_kind kind;
    struct ulid video;
    const char *id, *author, *data; /* checked; they stay as they are until `done` */
    int64_t offset_us;
    int64_t created_ms; /* 0: now */
    uint8_t digest[COMMENT_DIGEST_SIZE];
    bool hold;
    bool late; /* its window is closed, and may be sealed: comments_is_late() */
    /* The answer: */
    enum comment_answer answer;
    struct buffer *json; /* the comment, where there is one to show; the caller's */
    void (*done)(struct comment_call *call);
    void *ctx;
    /* The room's own: */
    struct list link;
    int64_t seq, handed_ms;
    bool written; /* by an attempt whose outcome was not heard */
};

/* Hands a call in; `done(call)` comes later, on a thread of the room, which must not be kept. Never blocks; any thread.
 * Afterwards comment_call_free() frees the answer. */
void comments_submit(struct comments *c, struct comment_call *call);
void comment_call_free(struct comment_call *call); /* what the answer holds, not `call` */
/* The same, waiting for the answer: pool threads. */
void comments_do(struct comments *c, struct comment_call *call);

/* Whether the window of this position is closed: the live edge is 10 s past its end, or the video has ended. */
bool comments_window_closed(const struct video_view *v, int64_t window);
bool comments_is_late(const struct video_view *v, int64_t offset_us);

/* --- reading; all block: pool threads ---------------------------------------------------------------- */

struct comment_range {
    int64_t from_us, to_us;      /* from, and before */
    int64_t after_us, after_seq; /* beyond this one; after_seq 0: from the first */
    size_t limit;
};

/* Shows those of a range, by position, then arrival. */
must_check enum err comments_list(struct comments *c, struct ulid video, const struct comment_range *range,
                                  bool (*row)(void *ctx, const struct comment *c), void *ctx);
/* The number of the log's newest entry; 0: there is none. */
must_check enum err comments_head(struct comments *c, struct ulid video, int64_t *seq);
/* Shows up to `limit` entries of the log after `seq`, all kinds. */
must_check enum err comments_log(struct comments *c, struct ulid video, int64_t seq, size_t limit,
                                 bool (*row)(void *ctx, const struct comment *c), void *ctx);
/* Shows those that wait for approval, by id, after the id `after` ("": from the first). */
must_check enum err comments_held(struct comments *c, struct ulid video, const char *after, size_t limit,
                                  bool (*row)(void *ctx, const struct comment *c), void *ctx);
/* Forgets all comments of a video that was deleted. */
must_check enum err comments_drop(struct comments *c, struct ulid video);

/* --- windows ----------------------------------------------------------------------------------------- */

#define COMMENT_ETAG_SIZE 36

struct comment_window {
    struct buffer *json; /* {"window":…,"comments":[…]}; the caller's */
    char etag[COMMENT_ETAG_SIZE];
    bool closed;
};

/* The window from memory. False: comments_window() has to read it. Any thread; quick. */
bool comments_window_peek(struct comments *c, const struct video_view *v, int64_t window,
                          struct comment_window *out);
/* The window; a closed one from the object store where it is sealed. Blocks: pool threads. */
must_check enum err comments_window(struct comments *c, const struct video_view *v, int64_t window,
                                    struct comment_window *out);

/* --- feeds ------------------------------------------------------------------------------------------- */

/* What a reader is told, on its loop. */
struct comment_reader_events {
    /* Server-Sent Events, whole ones; takes over the reference. */
    void (*send)(void *ctx, struct buffer *events);
    size_t (*queued)(void *ctx); /* bytes that it has yet to take */
    /* Has comments_reader_writable() called when what is queued has been offered to the peer. */
    void (*wait)(void *ctx);
};

struct comment_reader;

void comments_reader_writable(struct comment_reader *r);

#define COMMENT_NEW_ONLY (-1)

/* Has the feed of a video in memory, as far as entry `since` where there is such a one, so that comments_follow() can begin. Blocks:
 * pool threads. */
must_check enum err comments_feed_ready(struct comments *c, struct ulid video, int64_t since);

/* Tells of all that comes, or of what came after entry `since` first: as much of it as COMMENT_RESUME_MAX, after an event `gap`
 * where there was more. A reader that does not keep up gets `gap` and the newest COMMENT_SLOW_LAST. On the reader's loop; the
 * calls never come from within this one. */
struct comment_reader *comments_follow(struct comments *c, struct loop *l, struct ulid video, int64_t since,
                                       const struct comment_reader_events *events, void *ctx);
/* On the reader's loop; nothing is told any more. */
void comments_unfollow(struct comment_reader *r);

/* --- who may say what -------------------------------------------------------------------------------- */

enum comment_audience { COMMENT_EVERYONE, COMMENT_FOLLOWERS, COMMENT_TICKETS };

#define COMMENT_WORDS_MAX      500
#define COMMENT_WORD_CHARS     64
#define COMMENT_SLOW_S_MAX     3600
#define COMMENT_FOLLOWED_S_MAX 2592000

struct comment_rules {
    bool open;
    bool hold_links;
    int64_t slow_s; /* between two comments of one author; 0: no slow mode */
    enum comment_audience audience;
    int64_t followed_s; /* how long one must have followed */
    char *words;        /* a line each, in NFC; never NULL */
};
void comment_rules_free(struct comment_rules *r); /* what it holds */

/* The rules of an event. Blocks: pool threads. */
must_check enum err comments_rules(struct comments *c, struct ulid event, struct comment_rules *out);
must_check enum err comments_set_rules(struct comments *c, struct ulid event, const struct comment_rules *r);

/* Forgets the rules and lists of an event that was deleted. Blocks. */
must_check enum err comments_forget_rules(struct comments *c, struct ulid event);

enum comment_list { COMMENT_MUTED, COMMENT_FOLLOWING };

/* Puts an author on one of an event's lists, or takes them off; doing so twice is harmless. Blocks. */
must_check enum err comments_enlist(struct comments *c, enum comment_list list, struct ulid event,
                                    const char *author, bool on);
/* Shows up to `limit` of a list, by name, after `after` ("": from the first). Blocks. */
must_check enum err comments_enlisted(struct comments *c, enum comment_list list, struct ulid event,
                                      const char *after, size_t limit,
                                      bool (*row)(void *ctx, const char *author, int64_t since_ms),
                                      void *ctx);

enum comment_verdict {
    COMMENT_ALLOWED,
    COMMENT_TO_HOLD, /* a link: post it with `hold` */
    COMMENT_CLOSED,
    COMMENT_MUTE,
    COMMENT_TOO_SOON, /* slow mode; *wait_ms says how long yet */
    COMMENT_NO_FOLLOWER,
    COMMENT_NO_TICKET, /* only ticket holders, and `has_ticket` was not given */
    COMMENT_BAD_WORD,
    COMMENT_UNKNOWN, /* the rules are not in memory: comments_judge() may block instead */
};

struct comment_case {
    struct ulid event;
    const char *id, *author, *data;
    bool may_block; /* pool threads */
    bool has_ticket;
    bool is_producer;   /* whom nothing binds */
    int64_t wait_ms;    /* COMMENT_TOO_SOON */
    int64_t followed_s; /* COMMENT_NO_FOLLOWER: what is asked for */
};

/* Whether this may be said now. Counts for slow mode when it may. ERR_IO, ERR_BUSY: the database is away. Any thread unless it may block. */
must_check enum err comments_judge(struct comments *c, struct comment_case *k, enum comment_verdict *out);

#endif
