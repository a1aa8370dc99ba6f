/* store/store_int.h - what a kind of store implements. */
#ifndef MATINEE_STORE_STORE_INT_H
#define MATINEE_STORE_STORE_INT_H

#include "store/store.h"

#include <stdatomic.h>

struct store_kind {
    void (*close)(struct store *s);
    enum err (*put)(struct store *s, const char *name, struct bytes content);
    enum err (*get)(struct store *s, const char *name, struct buffer **out);
    enum err (*remove)(struct store *s, const char *name);
    enum err (*remove_all)(struct store *s, const char *prefix);
};

/* Objects in memory, the ones used longest ago go first; held ones stay. Any thread. */
struct cache;
struct cache *cache_new(size_t bytes_max);
void cache_free(struct cache *c); /* accepts NULL */
void cache_put(struct cache *c, const char *name, struct buffer *content, bool held);
void cache_let_go(struct cache *c, const char *name); /* it is held no longer */
void cache_cool(struct cache *c, const char *name);   /* it goes, unless it is held */
void cache_remove(struct cache *c, const char *name);
void cache_remove_all(struct cache *c, const char *prefix);  /* held ones too */
struct buffer *cache_get(struct cache *c, const char *name); /* a new reference, or NULL */

/* First member of every kind's own struct. */
struct store {
    const struct store_kind *kind;
    struct cache *cache;        /* made and freed by store.c */
    _Atomic int64_t closing_ms; /* monotonic; since when nothing is waited for any more; 0: it is open */
};

/* Parts of [A-Za-z0-9._-], none of them empty or beginning with a dot. */
bool store_name_is_good(const char *name);

enum err store_file_open(struct store **out, const char *dir, char why[256]);
enum err store_s3_open(struct store **out, const char *url, char why[256]);

#endif
