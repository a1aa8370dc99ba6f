/* http/http_int.h - what the files of this room share: the server's parts, connections and exchanges.
 *
 * A part is a server's share of one loop. A connection (http1.c, http2.c) belongs to a part and carries
 * exchanges; an exchange knows its connection only as a transport, so that answers (answer.c) are the same
 * over both. */
#ifndef MATINEE_HTTP_HTTP_INT_H
#define MATINEE_HTTP_HTTP_INT_H

#include "base/limits.h"
#include "http/http.h"
#include "http/http1_parser_int.h"

/* --- the server, server.c ------------------------------------------------------------------------------ */

/* "Date: Mon, 23 Nov 2026 19:34:00 GMT\r\n" */
#define DATE_LINE_BYTES 37

struct deflater;

struct http_part {
    struct http_server *server;
    struct loop *loop;
    struct http_handler handler;
    struct list connections;
    bool draining; /* no further requests; ends when no connection is left */
    struct timer grace;
    char date_line[DATE_LINE_BYTES + 1];
    int64_t date_turn_ms; /* the turn it was last looked at */
    int64_t date_s;
    struct deflater *deflater; /* made when first needed */
};

/* What a part knows of each connection; stands first in struct http1 and struct http2. */
struct http_connection {
    struct list link;
    struct http_part *part;
    struct stream *stream;
    void (*drain)(struct http_connection *c); /* end as soon as that is polite */
};

void part_enter(struct http_part *p, struct http_connection *c);
void part_leave(struct http_connection *c);

/* The Date field's line for now, with its CRLF. */
struct bytes part_date_line(struct http_part *p);

/* Take over a stream that has just opened. */
void http1_open(struct http_part *p, struct stream *s);
void http2_open(struct http_part *p, struct stream *s);

/* --- exchanges, exchange.c ----------------------------------------------------------------------------- */

/* What goes out before a body. */
struct reply {
    int status;
    const char *type; /* NULL: no Content-Type */
    int64_t length;   /* of the body; -1: not known yet, or this status has none */
    bool bodiless;    /* no body follows, whatever the length says: HEAD, 204, 304 */
};

/* How an answer gets to the peer. None is called for an exchange that is done. */
struct transport {
    void (*head)(struct http_exchange *x, const struct reply *r);
    void (*send)(struct http_exchange *x, struct buffer *b, size_t from,
                 size_t size); /* takes the reference */
    void (*finish)(struct http_exchange *x);
    void (*abort)(struct http_exchange *x);
    size_t (*queued)(const struct http_exchange *x);
    void (*wait_writable)(struct http_exchange *x);
    void (*body_pause)(struct http_exchange *x);
    void (*body_wanted)(struct http_exchange *x); /* http_on_body() or http_body_resume() was called */
};

/* A field of the answer to come, by its place in `added`. */
struct added_span {
    size_t at, size;
};

struct http_exchange {
    const struct transport *transport;
    void *carrier; /* struct http1 or struct http2_stream; not to be touched when done */
    struct http_part *part;
    struct stream *stream;

    enum http_method method;
    bool streams : 1;  /* the handler takes the body piece by piece */
    bool begun : 1;    /* the answer's head is out */
    bool bodiless : 1; /* and no body may follow it */
    bool done : 1;     /* over; freed at the end of this turn */
    bool encoded : 1;  /* the handler has set a Content-Encoding itself */
    struct span query, authority;
    unsigned field_count;
    struct http1_field *fields; /* these three lie behind the struct, in its allocation */
    uint8_t *head;
    char *path;

    struct builder body;  /* collected */
    char *origin;         /* made when asked for */
    struct builder added; /* "Name: value\r\n" of the answer, in order */
    struct added_span etag;

    void (*ended)(void *ctx);
    void *ended_ctx;
    void (*piece)(void *ctx, struct bytes piece);
    void *piece_ctx;
    void (*writable)(void *ctx);
    void *writable_ctx;
};

/* The head of a request as both protocols give it; spans count from `head`. */
struct request {
    enum http_method method;
    struct span path, query, authority;
    const struct http1_field *fields;
    unsigned field_count;
    const uint8_t *head;
    size_t head_size;
};

/* Copies the request. NULL when its path is none of ours (the answer is 400). */
struct http_exchange *exchange_new(struct http_part *p, struct stream *s, const struct transport *t,
                                   void *carrier, const struct request *r);

/* The exchange is over: its handler is told and it is freed at the end of this turn. Once. */
void exchange_over(struct http_exchange *x);

/* Calls what http_when_writable() left, if anything. */
void exchange_writable(struct http_exchange *x);

/* "404 Not Found"; NULL for a status we have no words for. */
const char *status_text(int status);

/* Answers a request that nobody else will see: a line of text. */
void answer_refusal(struct http_exchange *x, int status);

/* --- gzip, gzip.c --------------------------------------------------------------------------------------- */

/* Compresses `parts` laid end to end, or returns NULL when zlib fails. *d is made when it is NULL. */
struct buffer *gzip_parts(struct deflater **d, struct buffer *const *parts, size_t count);
void deflater_free(struct deflater *d); /* accepts NULL */

/* Whether answers of this type shrink. */
bool gzip_worthwhile(const char *type);
/* Whether this Accept-Encoding (RFC 9110 §12.5.3) allows gzip. */
bool gzip_accepted(struct bytes accept_encoding);

/* --- conditions and ranges, conditions.c, RFC 9110 §13 and §14 ------------------------------------------- */

/* Whether one of the entity tags of `list` is `etag`; "*" is any. Weak comparison, or strong. */
bool etag_listed(struct bytes list, struct bytes etag, bool strong);

enum range_kind { RANGE_WHOLE, RANGE_PART, RANGE_NONE };

/* Reads a Range field for a body of `size` bytes. RANGE_PART sets *from and *length. RANGE_WHOLE: malformed,
 * of another unit, or several ranges, which may be ignored. RANGE_NONE: nothing of it is there. */
enum range_kind range_parse(struct bytes field, size_t size, size_t *from, size_t *length);

#endif
