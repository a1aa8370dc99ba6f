/* cmd/admin_int.h - between the files of administration over the HTTP API:
 *
 *   admin.c            `matinee event|video|key VERB …`: words, options, help
 *   admin_call.c       one HTTP call, by libcurl
 *   admin_event.c      events and their keys
 *   admin_video.c      videos
 *   admin_upload.c     a file, in pieces
 *   admin_rendition.c  more renditions: through the queue, or by a pipeline in a shell
 *   admin_line.c       progress on a terminal
 *
 * A command's result goes to standard output, so that a script can use it; all else to standard error. */
#ifndef MATINEE_CMD_ADMIN_INT_H
#define MATINEE_CMD_ADMIN_INT_H

#include "base/buffer.h"
#include "base/config.h"

#include <curl/curl.h>
#include <jansson.h>

#define ADMIN_WHY_SIZE 512

struct admin {
    struct option *options;
    CURL *curl;
    char *server, *authorization;
    int count; /* the words behind the verb */
    char **words;
    char why[ADMIN_WHY_SIZE];
};

/* --- admin_call.c -------------------------------------------------------------------------------------- */

/* What goes with a call; zero is nothing. */
struct request {
    json_t *document;  /* sent as JSON; stays the caller's */
    const char *range; /* Content-Range */
    int file;          /* sent from `from` on, where size > 0 or `has_body` */
    uint64_t from, size;
    bool has_body;                           /* a body, if of no bytes */
    void (*sent)(void *ctx, uint64_t bytes); /* of the file, so far; may be NULL */
    void *ctx;
};

struct answer {
    long status;      /* 0: the server was not reached */
    json_t *document; /* NULL: the body was no JSON */
    struct builder body;
    char range[64]; /* of the answer; "" */
};

void answer_free(struct answer *a); /* frees what it holds */

/* Calls METHOD on `path`, made by printf's rules. ERR_OK: it was answered with 2xx or 308. Otherwise a->why has the problem's detail, or what
 * kept us from reaching the server; *out is valid in either case. */
must_check enum err admin_call(struct admin *a, struct answer *out, const struct request *r,
                               const char *method, const char *path, ...) printf_like(5, 6);

/* The same without a request, for an answer that is nothing but good. */
must_check enum err admin_do(struct admin *a, const char *method, const char *path);

/* Calls `each` with every member of a list, page by page. */
must_check enum err admin_each(struct admin *a, const char *path,
                               enum err (*each)(struct admin *a, json_t *item, void *ctx), void *ctx);

/* --- the verbs: the words behind them are checked in number ------------------------------------------------ */

enum err admin_event_create(struct admin *a);
enum err admin_event_list(struct admin *a);
enum err admin_event_show(struct admin *a);
enum err admin_event_end(struct admin *a);
enum err admin_event_delete(struct admin *a);
enum err admin_event_key(struct admin *a);
enum err admin_video_list(struct admin *a);
enum err admin_video_show(struct admin *a);
enum err admin_video_delete(struct admin *a);
enum err admin_video_upload(struct admin *a);
enum err admin_video_transcode(struct admin *a);
enum err admin_video_tasks(struct admin *a);
enum err admin_video_publish(struct admin *a);

void print_document(const json_t *document); /* for people and for jq */

/* The videos that the words name, or with --all every video that has ended; freed by names_free(). ERR_DENIED: called wrongly. */
struct names {
    char **name;
    size_t count;
};
must_check enum err admin_videos(struct admin *a, struct names *out);
void names_free(struct names *n);

/* --- admin_line.c ---------------------------------------------------------------------------------------- */

/* A line of progress on standard error, drawn over again; only where that is a terminal. */
struct line {
    bool shown, is_terminal;
    int64_t began_ms, drawn_ms;
};
void line_begin(struct line *l);
/* `part` is 0 to 1; what is left is told from how long it took to come so far since `from_part`. */
void line_show(struct line *l, const char *what, double part, double from_part);
void line_end(struct line *l);

#endif
