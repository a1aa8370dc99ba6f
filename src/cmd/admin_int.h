/* cmd/admin_int.h - between the files of administration over the HTTP API:
 *
 *   admin.c            `matinee event|video|inventory|key|token VERB …`: which verbs there are, their words and options, help
 *   admin_session.c    the server's address and the token
 *   admin_call.c       one HTTP call, by libcurl
 *   admin_event.c      events and their keys
 *   admin_inventory.c  what the box office sells
 *   admin_token.c      API tokens
 *   admin_video.c      videos: lists, downloads
 *   admin_comments.c   a video's comments, out of one store and into another
 *   admin_upload.c     a file, in pieces
 *   admin_transcode.c  more renditions, through the server's queue
 *   admin_pipeline.c   more renditions, by a pipeline in a shell: its two ends
 *   admin_print.c      answers, for people and for jq
 *   admin_table.c      text in columns (pure)
 *   admin_progress.c   how far it is and how long it will take, on standard error
 *
 * A command's result goes to standard output, so that a script can use it; all else to standard error. One thread. */
#ifndef MATINEE_CMD_ADMIN_INT_H
#define MATINEE_CMD_ADMIN_INT_H

#include "base/buffer.h"
#include "base/config.h"
#include "cmd/admin_progress_int.h"
#include "cmd/admin_table_int.h"

#include <curl/curl.h>
#include <jansson.h>

#define ADMIN_WHY_SIZE 768

struct admin {
    const struct option *options; /* those of the verb, read; asking for another is a bug */
    const char *noun, *verb;
    char **words; /* behind the verb; their number and kind are the verb's */
    int count;
    bool wants_json; /* --json */
    CURL *curl;
    char *server;             /* the address without a slash at its end */
    char *authorization;      /* a header field, or NULL: much can be read without */
    bool is_loopback;         /* no proxy leads there */
    bool was_answered;        /* the server has been reached before: if it goes away now, it may come back */
    char why[ADMIN_WHY_SIZE]; /* of the last failure; "" where it was said already */
};

/* Says a->why on standard error, about `what` (which may be NULL), and forgets it. */
void admin_complain(struct admin *a, const char *what);

/* --- admin_session.c ----------------------------------------------------------------------------------- */

/* Reads address and token from the options and starts libcurl. ERR_BAD: called wrongly; ERR_IO: the token's file cannot
 * be read. admin_close() in either case. */
must_check enum err admin_open(struct admin *a);
void admin_close(struct admin *a);

/* --- admin_call.c -------------------------------------------------------------------------------------- */

/* What goes with a call; zero-initialised is nothing. */
struct request {
    /* A member that a good answer has, and its media type; without them the server is none of ours. NULL: any. */
    const char *wants, *type;
    json_t *document;  /* sent as JSON; stays the caller's */
    const char *lines; /* sent as lines of JSON */
    /* A body out of a file: `size` bytes from `from` on. */
    bool has_file;
    int file;
    uint64_t from, size;
    const char *range; /* Content-Range */
    /* Where the body of a good answer goes instead of into `answer`. */
    bool has_sink;
    int sink;
    void (*moved)(void *ctx, uint64_t bytes); /* of the file or into the sink, so far; may be NULL */
    void *ctx;
};

struct answer {
    long status;         /* 0: the server was not reached */
    struct builder body; /* as it came */
    json_t *document;    /* what it says; NULL: it is no JSON */
    char *range, *next;  /* fields: Range; the target of Link with rel="next". NULL: there is none */
};
void answer_free(struct answer *a); /* frees what it holds */

/* Calls `method` on `path`, made by printf's rules, and waits. ERR_OK: it was answered with 2xx, or a file with 308. Otherwise a->why has the
 * problem's detail, or what kept us from reaching the server. ERR_IO: it may go another time; ERR_BAD: a file of
 * ours is at fault; ERR_MISSING is 404, ERR_BUSY 409, ERR_FULL 507, ERR_DENIED another refusal. *out is valid in
 * either case, and the caller's. */
must_check enum err admin_call(struct admin *a, struct answer *out, const struct request *r,
                               const char *method, const char *path, ...) printf_like(5, 6);

/* Calls `page` with each page of a list; its failure ends it. */
must_check enum err admin_pages(struct admin *a, const char *path,
                                enum err (*page)(struct admin *a, const struct answer *answer, void *ctx),
                                void *ctx);

/* Waits a moment before a server is asked again: HTTP has nothing that would tell us. */
void admin_pause(unsigned ms);

/* --- admin_print.c ---------------------------------------------------------------------------------------------- */

/* The answer's body as it came. */
void print_body(const struct answer *answer);
/* Prints the table and frees what it holds. */
void print_table(struct table *t);

/* A list of the API as a table: its columns' heads, which end with NULL, and what adds an item's cells. */
struct listing {
    const char *const *heads;
    void (*add)(struct table *t, const json_t *item);
};

/* Gets every page of the list at `path` and prints it, as a table or as it came. */
must_check enum err print_list(struct admin *a, const char *path, const struct listing *l);

/* A member as text; NULL where it is none. */
const char *text_of(const json_t *object, const char *name);
#define DURATION_TEXT_SIZE 24
const char *duration_text(double seconds, char text[DURATION_TEXT_SIZE]); /* 1:02:03 */

/* --- the verbs ----------------------------------------------------------------------------------------------- */

/* Each does its work with a->words and a->options, and prints. ERR_OK, or a->why. */
enum err admin_event_create(struct admin *a);
enum err admin_event_list(struct admin *a);
enum err admin_event_show(struct admin *a);
enum err admin_event_change(struct admin *a);
enum err admin_event_end(struct admin *a);
enum err admin_event_delete(struct admin *a);
enum err admin_key_rotate(struct admin *a);
enum err admin_inventory_create(struct admin *a);
enum err admin_inventory_list(struct admin *a);
enum err admin_inventory_reservations(struct admin *a);
enum err admin_inventory_show(struct admin *a);
enum err admin_inventory_change(struct admin *a);
enum err admin_token_create(struct admin *a);
enum err admin_token_list(struct admin *a);
enum err admin_token_revoke(struct admin *a);
enum err admin_video_list(struct admin *a);
enum err admin_video_show(struct admin *a);
enum err admin_video_delete(struct admin *a);
enum err admin_video_download(struct admin *a);
enum err admin_video_upload(struct admin *a);
enum err admin_video_transcode(struct admin *a);
enum err admin_video_comments(struct admin *a);
enum err admin_video_tasks(struct admin *a);
enum err admin_video_publish(struct admin *a);

/* DELETEs what each word names, below `path`; says what could not be, and goes on. */
enum err admin_delete_all(struct admin *a, const char *path);

#endif
