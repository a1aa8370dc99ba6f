/* http/http1_parser_int.h - the bytes of HTTP/1.1 requests, RFC 9112: heads and chunked bodies.
 *
 * Pure: no allocation, no I/O, no clock. Strict where leniency lets two servers on one path disagree about
 * where a request ends: one way to write a head, one way to say how long a body is. */
#ifndef MATINEE_HTTP_HTTP1_PARSER_INT_H
#define MATINEE_HTTP_HTTP1_PARSER_INT_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"
#include "http/http.h"

/* A stretch of the head, counted from its first byte; HTTP_HEAD_BYTES_MAX fits. */
struct span {
    uint16_t at, size;
};

static inline struct bytes span_bytes(const uint8_t *head, struct span s)
{
    return bytes_of(head + s.at, s.size);
}

struct http1_field {
    struct span name, value;
};

struct http1_head {
    enum http_method method;
    unsigned minor;        /* of HTTP/1.minor: 0 or 1; later ones are answered as 1 */
    struct span path;      /* raw, begins with '/'; empty means "/" */
    struct span query;     /* raw, without '?' */
    struct span authority; /* of an absolute-form target, else of Host; may be empty */
    bool for_server;       /* OPTIONS *: about the server, not about a path */
    bool keep_alive;       /* the peer is ready to go on */
    bool chunked;          /* the body's end is in its chunks; */
    bool has_length;       /* or it has a length; */
    uint64_t length;       /* else there is none, and this is 0 */
    bool expects_continue; /* the peer waits for 100 before it sends the body */
    unsigned field_count;
    struct http1_field fields[HTTP_FIELDS_MAX];
};

/* How far a head has been looked at; zeroed for a new one, kept while it is incomplete. */
struct http1_scan {
    uint32_t at, line_at;
    uint16_t line_count;
};

/* Reads a request head (RFC 9112 §2.1) from `in`, which is called again with the same bytes and more
 * behind them. Returns the bytes it took, PARSE_MORE, or PARSE_BAD with the answer's status in *status:
 * 400, 414, 417, 431, 501 or 505; the connection must be closed then. */
must_check long http1_head_parse(struct http1_head *out, struct http1_scan *scan, struct bytes in,
                                 int *status);

/* Whether these bytes can stand between "http://" and "/" in a URL that we print. */
bool http_authority_valid(struct bytes b);

/* The state of a chunked body (RFC 9112 §7.1); zeroed at its beginning. */
struct http1_chunks {
    uint8_t phase;
    uint8_t digits;
    uint32_t beside_bytes; /* of extensions and trailers, which are read and ignored within a limit */
    uint64_t left;         /* of the chunk */
};

/* Takes bytes from `in` up to the end of one stretch of data, which is *data (empty where there was none).
 * Returns how many were taken, 0 when `in` is empty or the body is over, or PARSE_BAD: the connection must
 * be closed then. */
must_check long http1_chunks_parse(struct http1_chunks *c, struct bytes in, struct bytes *data);
bool http1_chunks_done(const struct http1_chunks *c);

/* Decodes a path (RFC 3986 §3.3) into `out`, which has room for raw.size + 2 bytes: one spelling for each
 * path, without "//", "." and empty segments. False for "..", for a byte that no path of ours has (NUL,
 * controls, backslash), for an encoded slash, and for a broken escape. */
must_check bool http_path_normalise(struct bytes raw, char *out);

#endif
