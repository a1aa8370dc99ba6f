/* relay/relay.h - what another server has and this one has not, fetched once for all who want it here.
 *
 * A live video's edge is on the server it is published to. Whoever asks another one for it is answered from there: the first to
 * ask for a URL begins a fetch, everybody who asks for it meanwhile rides along, and what may be kept (Cache-Control: max-age) is
 * kept so long in memory, up to RELAY_KEPT_BYTES_MAX. An answer without a length, a segment that still grows, is passed on as it
 * comes. */
#ifndef MATINEE_RELAY_RELAY_H
#define MATINEE_RELAY_RELAY_H

#include "http/http.h"

struct relay;

/* Starts the thread that fetches. `why` says what to do on failure. */
must_check enum err relay_open(struct relay **out, char why[256]);
/* Breaks off what is under way: who waits gets 503. Before the loops end. Accepts NULL. */
void relay_stop(struct relay *r);
void relay_close(struct relay *r); /* after the loops have ended; accepts NULL */

struct relay_wish {
    const char *base;     /* the other server: "http://10.0.0.2:8080" */
    const char *target;   /* path and query, encoded */
    const char *token;    /* sent as a bearer's; NULL: none */
    const char *edge_key; /* sent as Matinee-Edge; NULL: none */
    bool is_private;      /* this exchange's peer must not hand it on, whatever the other server says */
    /* The caller has seen to who may have it, so that all may share one copy; where the other server refuses it to the first who asked
     * (401, 403), it is asked for again with the token of the next. Otherwise the other server is asked for each exchange, with
     * its method, body, and what of its fields concerns the answer; and knows how this one was called. */
    bool shared;
};

/* Answers the exchange with what the other server answers: its status, content, and the fields that concern players
 * and caches. 503 when it cannot be had. On the exchange's loop, which must not be used by the caller afterwards. */
void relay_answer(struct relay *r, struct http_exchange *x, const struct relay_wish *w);

#endif
