/* live/live.h - events and their videos: publishing, the journal, segments, the index, and recovery.
 *
 * A video is on one loop while somebody publishes it, and on none while it waits or has ended. What players
 * need of it is an immutable snapshot that any thread may hold. */
#ifndef MATINEE_LIVE_LIVE_H
#define MATINEE_LIVE_LIVE_H

#include "base/ulid.h"
#include "db/db.h"
#include "media/media.h"
#include "net/net.h"
#include "store/store.h"

struct live;

struct live_options {
    struct net *net;
    struct store *store;
    struct db *db;
    const char *data_dir;
    int64_t segment_ms;
    int64_t grace_ms;
};

/* Opens the room, brings back what the journal holds beyond the store, and lists it: when this returns, all
 * that a crash left is playable again. Blocks; `why` says what to do on failure. */
must_check enum err live_open(struct live **out, const struct live_options *options, char why[256]);

/* Cuts and stores every open segment, then frees. Publishers must be gone. Blocks; not on a loop's thread. */
void live_close(struct live *l);

/* --- publishing: all of it on the publisher's loop --------------------------------------------------- */

struct publication;

enum message_kind {
    MESSAGE_AUDIO = 8,
    MESSAGE_VIDEO = 9,
    MESSAGE_DATA = 18
}; /* RTMP's and FLV's own numbers */

struct publisher_events {
    /* The key is right and the place is free (or was made free): messages may be given. */
    void (*granted)(void *ctx);
    /* ERR_DENIED: no event has this key. ERR_BUSY: somebody publishes it and is alive. `text` is for the
     * publisher's eyes. The publication is gone. */
    void (*refused)(void *ctx, enum err why, const char *text);
    /* Every message whose position is at most this would survive a power loss. In order. */
    void (*durable)(void *ctx, uint64_t position);
    /* Something the publisher should show a person: the disk is full, the disk has room again. */
    void (*notice)(void *ctx, bool is_error, const char *text);
    /* Stop reading from the network (true) until told otherwise (false). */
    void (*hold)(void *ctx, bool on);
    /* The publication was ended by us (event ended, key changed, taken over, shutting down), and is gone:
     * tell the publisher why, and close. */
    void (*evicted)(void *ctx, const char *text);
};

/* Asks to publish with `key` on this loop's thread. Exactly one of `granted` or `refused` follows, never
 * from within this call, within RTMP_TAKEOVER_MS_MAX. The publication is the caller's until it is refused,
 * evicted or given to live_unpublish(). */
struct publication *live_publish(struct live *l, struct loop *loop, struct bytes key,
                                 const struct publisher_events *events, void *ctx);

/* Gives one whole message; `body` lies in `message`, which is referenced as long as it is needed and never
 * copied. *position is what `durable` will report for it, or 0 when there is nothing to wait for.
 * ERR_BAD, ERR_UNSUPPORTED, ERR_LIMIT: the publisher must be told `*why` and closed. */
must_check enum err live_message(struct publication *p, enum message_kind kind, uint32_t timestamp_ms,
                                 struct buffer *message, struct bytes body, uint64_t *position,
                                 const char **why);

/* Bytes came from the publisher, whole messages or not: it is alive. */
void live_heard(struct publication *p);

/* Asks for `durable` of everything given so far without waiting for the group's turn. */
void live_sync(struct publication *p);

/* The publisher is gone; no further call of its events comes. `clean` when it said so itself. The video
 * waits for its return for the grace. */
void live_unpublish(struct publication *p, bool clean);

/* Ends every publication (`evicted`) and refuses new ones; `done(ctx)` on `loop` when all are gone. */
void live_drain(struct live *l, struct loop *loop, void (*done)(void *ctx), void *ctx);

/* (Events, videos and snapshots: below, see the next section.) */

#endif
