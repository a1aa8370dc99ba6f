/* http/http1_int.h - what the two halves of an HTTP/1.1 connection share: http1.c reads, http1_send.c sends. */
#ifndef MATINEE_HTTP_HTTP1_INT_H
#define MATINEE_HTTP_HTTP1_INT_H

#include "http/http_int.h"

enum http1_phase {
    HTTP1_HEAD,   /* between requests, or within a head */
    HTTP1_BODY,   /* an exchange is there, its body is not over */
    HTTP1_ANSWER, /* an exchange is there, its answer is not over; the stream is paused */
    HTTP1_OVER,   /* the connection ends when what is queued is sent */
};

struct http1 {
    struct http_connection base;
    enum http1_phase phase;
    struct http_exchange *x; /* NULL in HTTP1_HEAD and HTTP1_OVER */
    bool running : 1;        /* http1_run() is on the stack */
    bool kicked : 1;
    bool choked : 1; /* paused until the peer has taken more of what is queued */
    bool keep_alive : 1;
    bool old : 1; /* an HTTP/1.0 request */
    bool chunked_in : 1, chunked_out : 1;
    bool body_over : 1, body_paused : 1;
    bool continue_due : 1; /* the peer waits for our 100 */
    unsigned requests;     /* begun in this run */
    struct http1_scan scan;
    struct http1_chunks chunks;
    uint64_t body_left;
    struct timer timer;
    int64_t active_ms; /* when the last bytes came */
    int64_t head_ms;   /* when a head began that is not whole; else 0 */
};

extern const struct transport http1_transport;

/* Gives bytes to the machine; returns how many it took. */
size_t http1_run(struct http1 *c, struct bytes in);
void http1_kick(struct http1 *c);

/* The answer is out, and the connection goes on. */
void http1_ready_for_next(struct http1 *c);

/* Answers `status` to what cannot be served, ends the exchange if there is one, and the connection. */
void http1_refuse(struct http1 *c, int status);
void http1_say_continue(struct http1 *c);

#endif
