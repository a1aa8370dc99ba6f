/* tests/unit/rtmp/peer.h - the other end of a session: a client that says what a test wants, and reads the
 * answers back into a transcript. */
#ifndef MATINEE_UNIT_PEER_H
#define MATINEE_UNIT_PEER_H

#include "rtmp/session_int.h"

struct peer {
    struct session *session;
    struct builder out;  /* what the client has yet to send */
    struct builder said; /* the server's answers, one per line: "_result 1 NetConnection.Connect.Success" */
    struct chunk_reader reader; /* of the answers */
    size_t greeting_left;       /* bytes of S0 S1 S2 that are still to come */
    struct builder answers;     /* not yet read */
    uint64_t acknowledged;
    unsigned acknowledgements;
    bool held, closed;
    uint64_t sent; /* bytes after the handshake */
};

void peer_open(struct peer *p);
void peer_close(struct peer *p);

/* Puts together; peer_send() gives all of it to the session, at most `piece` bytes at a time (0: at once). */
void peer_handshake(struct peer *p);
void peer_message(struct peer *p, uint32_t stream, uint8_t type, uint32_t timestamp, struct bytes body);
void peer_command(struct peer *p, const char *name, double transaction, const char *argument);
void peer_connect(struct peer *p, const char *app);
void peer_send(struct peer *p, size_t piece);

/* Handshake, connect, createStream, publish of "key", granted. */
void peer_publish(struct peer *p);

/* What the server said since the last call, as text. */
const char *peer_heard(struct peer *p);

#endif
