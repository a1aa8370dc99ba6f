/* base/map.h - a hash map from bytes to a pointer; keys are copied, values are the caller's.
 *
 * Hashes are seeded at random, once for the process, so that a peer who chooses the keys cannot choose the
 * collisions. Not safe for several threads at once: its owner locks. */
#ifndef MATINEE_BASE_MAP_H
#define MATINEE_BASE_MAP_H

#include "base/bytes.h"

struct map;

struct map *map_new(void);
void map_free(struct map *m); /* accepts NULL; the values are not touched */

/* The value under `key`, or NULL. */
void *map_get(const struct map *m, struct bytes key);

/* Stores `value` (not NULL) under `key` and returns what stood there before, or NULL. */
void *map_put(struct map *m, struct bytes key, void *value);

/* Takes the entry away and returns its value, or NULL when there was none. */
void *map_remove(struct map *m, struct bytes key);

size_t map_count(const struct map *m);

/* Walks the entries in no particular order: start with *at = 0; false at the end. The map must not be
 * changed during the walk. */
bool map_next(const struct map *m, size_t *at, struct bytes *key, void **value);

#endif
