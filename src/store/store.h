/* store/store.h - objects by name: the port to the place where segments live.
 *
 * Names are like "v/01J…/source/000012.m4s": parts of [A-Za-z0-9._-], joined by '/', never "." or "..".
 * An object is whole or absent: a put that returns ERR_OK survives a power loss, one that fails leaves what
 * was there before. Calls block: pool threads only. */
#ifndef MATINEE_STORE_STORE_H
#define MATINEE_STORE_STORE_H

#include "base/buffer.h"
#include "base/err.h"

struct store;

/* What one store keeps in memory at most, beyond what is held; the live edge of a hundred streams. */
#define STORE_CACHE_BYTES_MAX ((size_t)128 << 20)

/* Opens `url` ("file:DIR"; the folder is made where it is missing, half-written files of a crash are
 * removed). `why` says what to do on failure. */
must_check enum err store_open(struct store **out, const char *url, char why[256]);
void store_close(struct store *s); /* accepts NULL */

must_check enum err store_put(struct store *s, const char *name, struct bytes content);

/* Shows `content` under `name` to store_peek() and store_get() at once; store_put() or store_delete() of
 * that name must follow some time, and until then it is kept in memory. Takes a reference. Any thread. */
void store_hold(struct store *s, const char *name, struct buffer *content);

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
