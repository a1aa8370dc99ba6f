/* rtmp/session_int.h - one publisher's connection, from the handshake's first byte to the clean end.
 *
 * A session is bytes in, bytes out, and calls of live; it has no socket and no timer of its own. server.c gives
 * it what a stream brings and a tick twice a second, tests and fuzzers give it whatever they like. All of it
 * runs on the connection's loop. */
#ifndef MATINEE_RTMP_SESSION_INT_H
#define MATINEE_RTMP_SESSION_INT_H

#include "base/log.h"
#include "live/live.h"
#include "rtmp/ack_int.h"
#include "rtmp/amf_int.h"
#include "rtmp/chunk_int.h"

/* How often session_tick() is to be called. */
#define SESSION_TICK_MS 250

struct session_output {
    void (*write)(void *ctx, struct bytes b); /* copied before it returns */
    void (*hold)(void *ctx, bool on);         /* show no input (true) until told otherwise (false) */
    void (*close)(void *ctx);                 /* after what was written is sent; no further call follows */
};

enum session_state {
    SESSION_HANDSHAKE,  /* C0 and C1 are to come */
    SESSION_GREETED,    /* C2 is to come */
    SESSION_NEW,        /* `connect` is to come */
    SESSION_CONNECTED,  /* `publish` is to come, for the first time or again */
    SESSION_WAITING,    /* live looks at the key; input is held */
    SESSION_PUBLISHING, /* messages go to live */
    SESSION_FINISHING,  /* the end was announced and everything is on its way to the disk; input is held */
    SESSION_CLOSING,    /* output->close() was called; what still comes is dropped */
    SESSION_STATE_COUNT
};

/* A command as it was called. */
struct session_call {
    struct bytes name;
    double transaction; /* 0: no answer is wanted */
    struct amf_value object;
    struct amf_value argument; /* the first one behind the object */
    uint32_t message_stream;
};

struct session {
    enum session_state state;
    struct live *live;
    struct loop *loop;
    const struct session_output *output;
    void *ctx;
    const char *peer; /* for the log; outlives the session */

    struct chunk_reader reader;
    struct ack ack;
    uint32_t out_chunk_size;

    struct publication *publication; /* NULL while there is none */
    uint64_t given_position;         /* live's, of the last message given */
    uint64_t durable_position;       /* live's, as `durable` said last */
    uint64_t giving;                 /* first byte of the message live is looking at; UINT64_MAX: none */
    uint64_t never_durable;   /* first byte of the earliest media message nobody took; UINT64_MAX: none */
    uint32_t message_stream;  /* the one it publishes on */
    bool live_holds;          /* live has asked not to be given more */
    bool live_hurries;        /* somebody watches with low latency */
    bool is_held;             /* what output->hold() was told last */
    bool is_closed;           /* output->close() was called */
    bool finish_wants_answer; /* FINISHING: the command that ended it had a transaction */
    double finish_transaction;
    char peer_said[LOG_SAFE_SIZE];

    int64_t since_ms; /* when it began to be without a publication */
    int64_t heard_ms; /* when bytes came last, or could have come again */
};

/* `peer` is text for the log. Nothing is written before the client has spoken. */
struct session *session_new(struct live *live, struct loop *loop, const struct session_output *output,
                            void *ctx, const char *peer);

/* The connection is gone: live is told, and no call of live's or of the output follows. Accepts NULL. */
void session_free(struct session *s);

/* Takes input; what is not taken is to be shown again with what comes next, or after hold(false). */
must_check size_t session_read(struct session *s, struct bytes in);

/* Looks at the clock: acknowledgements, and peers that are silent, slow or done. */
void session_tick(struct session *s);

/* --- between session.c, command.c, publish.c and reply.c ---------------------------------------------- */

/* Runs a command message (types 17 and 20). NULL, or why the connection must end. */
const char *session_command(struct session *s, struct bytes body, uint32_t message_stream);

/* Tells the log, drops the rest of the input, and closes behind what was said. */
void session_close(struct session *s, const char *why);
/* There is no publication any more, and live is told if it does not know. */
void session_lost(struct session *s);
/* Stops or starts the input according to state and live. */
void session_update_hold(struct session *s);
/* Acknowledges what may be, when it is due or `at_once`. */
void session_acknowledge(struct session *s, bool at_once);

void session_publish(struct session *s, const struct session_call *call);
/* The publisher says that it is done: answers `call` once everything is durable. */
void session_finish(struct session *s, const struct session_call *call);
/* Gives a media message to live. */
void session_media(struct session *s, struct chunk_message *m);

void reply_control(struct session *s, uint8_t type, uint32_t value);
void reply_pong(struct session *s, uint32_t time);
void reply_connected(struct session *s, double transaction); /* windows and chunk size before it */
void reply_rejected(struct session *s, double transaction, const char *why);
void reply_result(struct session *s, double transaction); /* null, null */
void reply_number(struct session *s, double transaction, double number);
void reply_error(struct session *s, double transaction, const char *why);
void reply_status(struct session *s, uint32_t message_stream, const char *level, const char *code,
                  const char *why);
void reply_fc(struct session *s, const char *command, const char *code);

#endif
