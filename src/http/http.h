/* http/http.h - the HTTP server: HTTP/1.1 (RFC 9112) and, over TLS, HTTP/2 (RFC 9113), on net's loops.
 *
 * A handler gets an exchange, on the loop of its connection, when the head is there and, unless it asked
 * for streaming, the whole body. It answers at once, later (a suspended exchange costs a few hundred
 * bytes), or bit by bit. An exchange belongs to its loop's thread. It ends when its answer is complete or
 * the peer hangs up; a handler that keeps it beyond its own return asks to be told by http_on_end().
 *
 * The server itself does: framing, keep-alive, pipelining, HEAD, 100-continue, time and size limits,
 * conditional requests (RFC 9110 §13) and ranges (§14) for answers that carry an ETag, gzip for text. */
#ifndef MATINEE_HTTP_HTTP_H
#define MATINEE_HTTP_HTTP_H

#include "net/net.h"

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER, /* a token we have no use for; the router answers 501 or 405 */
};

const char *http_method_name(enum http_method m); /* "GET"; "" for HTTP_OTHER */

struct http_exchange;

struct http_handler {
    /* Called when the head is there. Return true to get the body piece by piece by http_on_body(); false
     * (or NULL here) to have it collected, up to HTTP_BODY_BYTES_MAX, before `handle`. */
    bool (*streams_body)(void *ctx, struct http_exchange *x);
    /* Must answer, suspend, or both later. */
    void (*handle)(void *ctx, struct http_exchange *x);
    void *ctx;
};

struct http_server;

/* Serves `handler` on `at` (port 0: a free one; *at becomes the real address), with TLS where given.
 * ERR_BUSY: the address is in use. */
must_check enum err http_server_start(struct http_server **out, struct net *n, struct address *at,
                                      struct tls_server *tls, const struct http_handler *handler);
/* Stops accepting, lets running exchanges end for at most `grace_ms`, closes the rest. Blocks; not from a
 * loop's thread. Accepts NULL. */
void http_server_stop(struct http_server *s, int64_t grace_ms);

/* --- the request; valid until the exchange ends ------------------------------------------------------ */

enum http_method http_method(const struct http_exchange *x);
const char *
http_path(const struct http_exchange
              *x); /* percent-decoded; begins with '/'; never has NUL, "//", "." or ".." segments */
struct bytes http_query(const struct http_exchange *x); /* raw, without '?' */
struct bytes http_field(const struct http_exchange *x,
                        const char *name); /* first of that name, any case; empty when absent (.at NULL) */
/* The last of that name: what the nearest proxy has added. */
struct bytes http_field_last(const struct http_exchange *x, const char *name);
struct bytes http_body(const struct http_exchange *x);
struct loop *http_loop(const struct http_exchange *x);
const struct address *http_peer(const struct http_exchange *x);
bool http_is_tls(const struct http_exchange *x);
/* "http://host:port" as the client called us (Host or :authority, X-Forwarded-Proto); for URLs we print. */
const char *http_origin(const struct http_exchange *x);

/* The value of a query parameter, percent- and plus-decoded into `out` and ended by NUL. False when it is
 * absent, does not fit, or is not well formed; *present tells these apart. */
bool http_query_get(const struct http_exchange *x, const char *name, char *out, size_t room, bool *present);

/* --- the answer -------------------------------------------------------------------------------------- */

/* Adds a header field to the answer to come. Both are copied. The value must hold no CR, LF or NUL. */
void http_add(struct http_exchange *x, const char *name, const char *value);
void http_addf(struct http_exchange *x, const char *name, const char *format, ...) printf_like(3, 4);

/* Answers with a whole body (NULL: none); takes over the reference. With an ETag field of the answer,
 * If-None-Match, If-Match, If-Range and Range are honoured (304, 412, 206, 416). Ends the exchange: it must
 * not be touched afterwards. */
void http_answer(struct http_exchange *x, int status, const char *type, struct buffer *body);

/* For answers that are compressed once and sent to many: whether this request takes gzip, and `text` compressed, a new reference,
 * or NULL when it is not worth it. The handler says Content-Encoding and Vary itself. */
bool http_takes_gzip(const struct http_exchange *x);
struct buffer *http_gzip(struct http_exchange *x, struct buffer *text);

/* The same with a short text. */
void http_answer_text(struct http_exchange *x, int status, const char *type, const char *text);

/* A body in several buffers, sent without copying; takes over a reference of each. */
void http_answer_parts(struct http_exchange *x, int status, const char *type, struct buffer *const *parts,
                       size_t count);

/* Begins an answer whose length is not known: chunked on HTTP/1.1. */
void http_begin(struct http_exchange *x, int status, const char *type);
void http_send(struct http_exchange *x, struct buffer *piece); /* takes over the reference */
size_t http_queued(const struct http_exchange *x);
/* Calls once, when no more than half of HTTP_OUT_QUEUE_BYTES_MAX is queued. */
void http_when_writable(struct http_exchange *x, void (*call)(void *ctx), void *ctx);
void http_finish(struct http_exchange *x); /* ends the exchange */
void http_abort(struct http_exchange
                    *x); /* breaks the connection (HTTP/2: the stream), so the peer sees it is not whole */

/* `ended(ctx)` is called when the peer hangs up, a limit ends the exchange, or its answer is complete:
 * afterwards `x` is gone. One per exchange; NULL takes it back. */
void http_on_end(struct http_exchange *x, void (*ended)(void *ctx), void *ctx);

/* For a handler whose streams_body said true: pieces in order, then an empty one. `piece` lives for the
 * call only. http_body_pause() holds the peer back until http_body_resume(). */
void http_on_body(struct http_exchange *x, void (*piece)(void *ctx, struct bytes piece), void *ctx);
void http_body_pause(struct http_exchange *x);
void http_body_resume(struct http_exchange *x);

#endif
