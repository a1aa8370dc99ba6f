/* webrtc/webrtc.h - live videos for browsers, over WebRTC: ICE-lite, DTLS, SRTP.
 *
 * The room has one port, UDP and TCP, and one loop of the house on which everything of it happens: a viewer costs it a few
 * datagrams a second to hear, and what is sent is bounded by one core's encryption, a thousand viewers and more. Its socket,
 * its sessions and its packets then need no locks. Who asks comes from any thread and is told on that loop. */
#ifndef MATINEE_WEBRTC_WEBRTC_H
#define MATINEE_WEBRTC_WEBRTC_H

#include "live/live.h"
#include "net/net.h"

struct webrtc;

struct webrtc_options {
    struct net *net;
    struct live *live;
    bool limit_loopback;     /* limits of addresses are for loopback too */
    const char *public_host; /* announced instead of our own addresses; NULL: those */
    const char
        *program; /* our own executable, for the process that makes Opus and pictures without B-frames */
};

/* Opens the port. *at becomes the real address. ERR_BUSY: it is in use. ERR_BAD: public_host is no address. */
must_check enum err webrtc_open(struct webrtc **out, const struct webrtc_options *options,
                                struct address *at);

/* Ends every session and gives the port back; whoever asks from now on is refused. Blocks; not on a loop's thread, and before
 * the net stops. Accepts NULL. */
void webrtc_stop(struct webrtc *w);
void webrtc_close(struct webrtc *w); /* frees; after the loops have ended. Accepts NULL. */

/* The side of `matinee convert-live`, the process that a feed's sound or pictures are converted in; an exit status. */
int webrtc_companion(void);

/* --- WHEP (draft-ietf-wish-whep) ---------------------------------------------------------------------- */

#define WEBRTC_SESSION_SIZE 27 /* 160 random bits in base 64, and NUL */
#define WEBRTC_ETAG_SIZE    24

struct webrtc_reply {
    enum err
        e; /* ERR_MISSING: no such session, or the video is not live. ERR_BAD, ERR_UNSUPPORTED: the offer. ERR_STALE: the
                   entity tag. ERR_BUSY: too many. ERR_CLOSED: shutting down. */
    const char *why;     /* for a person; "" where all is well */
    struct buffer *body; /* the answer; NULL: none. The callee takes a reference where it keeps it */
    char session[WEBRTC_SESSION_SIZE];
    char etag[WEBRTC_ETAG_SIZE]; /* without quotes */
    const char *adapts;          /* what is done to the pictures: "none", "drops-b-frames", "encodes" */
};

typedef void webrtc_told(void *ctx, const struct webrtc_reply *r);

/* Whether a session may go on: asked about once a second, on the room's loop, and quick. `end` is called once, when no more is asked. */
struct webrtc_stay {
    bool (*may)(void *ctx); /* NULL: it may */
    void (*end)(void *ctx);
    void *ctx;
};

/* Begins a session for who asks `from` there. `stay` is taken over, whatever comes of the offer. Any thread; `told` is called once, on the
 * room's loop, within a second. */
void webrtc_offer(struct webrtc *w, struct ulid video, const struct address *from, struct bytes offer,
                  struct webrtc_stay stay, webrtc_told *told, void *ctx);

/* What came for a session by PATCH: `etag` is what it says it knows, "*" for an ICE restart. A restart answers with the new
 * credentials as a body; candidates need no answer. */
void webrtc_patch(struct webrtc *w, struct ulid video, const char *session, const char *etag,
                  struct bytes fragment, webrtc_told *told, void *ctx);

void webrtc_delete(struct webrtc *w, struct ulid video, const char *session, webrtc_told *told, void *ctx);

/* Who watches this video, and in which rendition: `told` gets JSON as docs/api.md has it. */
void webrtc_look(struct webrtc *w, struct ulid video, webrtc_told *told, void *ctx);

/* --- viewers for benchmarks, crowd.c: all of it on one thread, which need be no loop's ----------------------- */

struct crowd;

struct crowd *crowd_new(size_t count);                   /* NULL: no sockets */
void crowd_free(struct crowd *c);                        /* accepts NULL */
struct buffer *crowd_offer(struct crowd *c, size_t who); /* the caller's reference; its time begins now */
must_check bool crowd_answer(struct crowd *c, size_t who, const char *answer); /* false: it can't be read */
void crowd_run(struct crowd *c, int64_t ms);                                   /* receives for so long */

/* From now on the times (monotonic, us) at which a viewer's pictures are whole go into whole_us, the first `room` of them. */
void crowd_watch(struct crowd *c, size_t who, int64_t *whole_us, size_t room);

struct crowd_count {
    uint64_t packets, lost, sounds; /* so many of the packets were sound */
    size_t pictures;                /* since crowd_watch() */
    int64_t first_us;               /* from the offer to its first whole picture; -1: none yet */
};

void crowd_counted(const struct crowd *c, size_t who, struct crowd_count *out);

#endif
