/* store/store.h - objects by name: the port to the place where segments live.
 *
 * Names are like "v/01J…/source/000012.m4s": parts of [A-Za-z0-9._-], joined by '/', never "." or "..".
 * An object is whole or absent: a put that returns ERR_OK survives a power loss, one that fails leaves what
 * was there before. Calls block: pool threads only. */
#ifndef MATINEE_STORE_STORE_H
#define MATINEE_STORE_STORE_H

#include "base/buffer.h"
#include "base/err.h"
#include "base/list.h"

struct store;
struct loop;

/* What one store keeps in memory at most, beyond what is held; the live edge of a hundred streams. */
#define STORE_CACHE_BYTES_MAX ((size_t)128 << 20)

/* Opens `url`: "file:DIR" (the folder is made where it is missing, half-written files of a crash are removed),
 * "s3://BUCKET/PREFIX?endpoint=…&region=…" or "hdfs://HOST:PORT/PREFIX?user=…" (docs/operations.md has all of it), which have to
 * answer now. `why` says what to do on failure. */
must_check enum err store_open(struct store **out, const char *url, char why[256]);

/* store_open() for a house that has work to do without its store: one elsewhere that is away (nobody listens, no answer, "busy") is opened
 * all the same, and known to be away; *why says so then, and is "" otherwise. What would be wrong tomorrow too fails as before: a name
 * that nobody knows, a key, a bucket, a certificate, an address that speaks something else. */
must_check enum err store_open_away(struct store **out, const char *url, char why[256]);
void store_close(struct store *s); /* accepts NULL */

/* Gives a store a folder of this machine: for what is held beyond `held_bytes_max` in memory, and where it is elsewhere for copies of
 * what was read, at most `copies_bytes_max`. Before anything else is done with it. */
must_check enum err store_use_disk(struct store *s, const char *dir, size_t copies_bytes_max,
                                   size_t held_bytes_max, char why[256]);

/* The house closes: what is under way with a store elsewhere is given up soon, and nothing is tried again. Any thread; quick. */
void store_hurry(struct store *s);

/* Returns when all that was given to store_run() is done. Before the loops end; calls after it work in place. Not from a loop's
 * thread. */
void store_stop(struct store *s);

/* --- waiting without the pool's threads ---------------------------------------------------------------- */

enum store_lane { STORE_WRITES, STORE_READS, STORE_SPILLS /* of the store's own */, STORE_LANE_COUNT };

/* Runs `work(ctx)` on a thread that may wait for the store, then `done(ctx)` (may be NULL) on `loop`. A lane has a bounded number of
 * threads, so that a store that hangs holds up nobody but those who want something of it. Any thread. */
void store_run(struct store *s, enum store_lane lane, struct loop *loop, void (*work)(void *ctx),
               void (*done)(void *ctx), void *ctx);

/* An object that somebody waits for; embedded in its owner, who fills in the first three. */
struct store_want {
    struct loop *loop;
    void (*done)(void *ctx, enum err e,
                 struct buffer *content); /* on the loop, exactly once; the reference is the callee's */
    void *ctx;
    struct list link; /* what follows is the store's */
    enum err e;
    struct buffer *content;
};

/* store_get() without waiting; many who want the same at a time cost one fetch. ERR_BUSY: too many others wait, or the store is
 * away. Any thread. */
void store_fetch(struct store *s, const char *name, struct store_want *w);

/* --- objects -------------------------------------------------------------------------------------------- */

must_check enum err store_put(struct store *s, const char *name, struct bytes content);

/* Shows `content` under `name` to store_peek() and store_get() at once; store_put_held(), store_put() or store_delete() of
 * that name must follow some time, and until then it is kept: in memory, or on the disk of store_use_disk(). Takes a reference.
 * Any thread; quick. */
void store_hold(struct store *s, const char *name, struct buffer *content);

/* Brings what is held beyond `held_bytes_max` to the disk, where there is one; store_hold() has it done by and by. Blocks. */
void store_spill(struct store *s);

/* Puts what is held under `name`. ERR_MISSING: nothing is, or the disk has damaged it. */
must_check enum err store_put_held(struct store *s, const char *name);

/* Bytes that are held. Any thread; quick. */
size_t store_held_bytes(struct store *s);

/* For how long the store has taken nothing, in ms, once it is known to be away; 0: it goes well. Any thread; quick. */
int64_t store_away_ms(struct store *s);

/* The object if it is in memory: held, or used not long ago. A new reference, or NULL. Any thread; quick. */
struct buffer *store_peek(struct store *s, const char *name);

/* The object has left the live edge: memory need not keep it until somebody asks again. Any thread; quick. */
void store_cool(struct store *s, const char *name);

/* The whole object, the caller's reference; ERR_MISSING when there is none. It stays in memory for a while. */
must_check enum err store_get(struct store *s, const char *name, struct buffer **out);

/* ERR_OK also when it was not there. */
must_check enum err store_delete(struct store *s, const char *name);

/* Deletes every object whose name begins with `prefix` + "/". */
must_check enum err store_delete_all(struct store *s, const char *prefix);

#endif
