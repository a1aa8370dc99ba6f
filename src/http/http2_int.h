/* http/http2_int.h - what the files of HTTP/2 share: http2.c has the connection and its session in nghttp2,
 * http2_read.c requests as they come, http2_send.c answers as they go. */
#ifndef MATINEE_HTTP_HTTP2_INT_H
#define MATINEE_HTTP_HTTP2_INT_H

#include "http/http_int.h"

#include <nghttp2/nghttp2.h>

struct http2 {
    struct http_connection base;
    nghttp2_session *session;
    struct list streams;
    bool
        in_session : 1; /* nghttp2, or a walk over the streams, is on the stack: nothing is sent from within */
    bool over : 1;      /* ends when what is queued is sent */
    size_t held_bytes;  /* bodies collected, of all its streams */
    unsigned resets;    /* of streams, since resets_ms */
    int64_t resets_ms;
    struct timer timer;
    int64_t active_ms; /* when the last bytes came */
};

/* Bytes of an answer that wait for the peer's window. */
struct http2_piece {
    struct list link;
    struct buffer *buffer;
    size_t from, size;
};

struct http2_stream {
    struct list link;
    struct http2 *c;
    int32_t id;
    struct http_exchange *x; /* NULL before the head is whole, and after the answer */
    int64_t active_ms;       /* of the last progress in either direction */

    /* The request. */
    int refused; /* a status, when the head is beyond a limit */
    struct request head;
    struct builder head_bytes;
    struct http1_field *fields;
    unsigned field_room;
    bool body_over : 1, body_paused : 1, end_given : 1;
    uint64_t length;        /* Content-Length, or 0 */
    struct builder waiting; /* body that nobody wants yet; its size is what the window is short of */
    size_t held_bytes;      /* its share of the connection's */
    size_t discarded_bytes; /* of a body that came after the answer */

    /* The answer. */
    struct list pieces;
    size_t queued;
    bool finished : 1; /* nothing will be added to pieces */
    bool deferred : 1; /* nghttp2 waits for nghttp2_session_resume_data() */
};

extern const struct transport http2_transport;

/* --- http2.c */
void http2_pump(struct http2 *c);      /* sends what the session has to say, unless it is on the stack */
void http2_look_soon(struct http2 *c); /* http2_look() at the end of this turn */
void http2_count_reset(struct http2 *c);

/* --- http2_read.c */
struct http2_stream *http2_stream_new(struct http2 *c, int32_t id);
void http2_stream_free(struct http2_stream *st);
void http2_add_field(struct http2_stream *st, struct bytes name, struct bytes value);
void http2_head_done(struct http2_stream *st);
void http2_body(struct http2_stream *st, struct bytes data);
void http2_body_end(struct http2_stream *st);
void http2_give_waiting(struct http2_stream *st); /* body that came before it was wanted */

/* --- http2_send.c */
void http2_refuse(struct http2_stream *st, int status);
int http2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t size,
                    nghttp2_data_source *source, void *ctx);
void http2_drop_pieces(struct http2_stream *st);

/* Bytes in the socket's queue beyond which the session waits, so that urgent streams can overtake. */
#define HTTP2_SEND_BYTES 262144

#endif
