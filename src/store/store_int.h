/* store/store_int.h - what a kind of store implements. */
#ifndef MATINEE_STORE_STORE_INT_H
#define MATINEE_STORE_STORE_INT_H

#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

struct store_kind {
    bool remote; /* it may be slow or away: it gets a breaker, and copies on the local disk */
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
size_t cache_held_bytes(struct cache *c);
/* What has been held longest, a new reference, and its name, to be freed; NULL: nothing is held. */
struct buffer *cache_oldest_held(struct cache *c, char **name);
/* The disk has it: memory lets it go. False: it is not that any more, or not held. */
bool cache_spilled(struct cache *c, const char *name, const struct buffer *content);

/* Objects in files of this machine, likewise. All but the opening and closing from any thread; they block on the disk. */
struct disk;
must_check enum err disk_open(struct disk **out, const char *dir, size_t bytes_max);
void disk_close(struct disk *d); /* removes everything; accepts NULL */
must_check enum err disk_put(struct disk *d, const char *name, struct bytes content, bool held);
void disk_keep(struct disk *d, const char *name,
               struct bytes content);                      /* not held, and only if there is room */
struct buffer *disk_get(struct disk *d, const char *name); /* NULL: it is not there, or damaged */
void disk_let_go(struct disk *d, const char *name);
void disk_cool(struct disk *d, const char *name);
void disk_remove(struct disk *d, const char *name);
void disk_remove_all(struct disk *d, const char *prefix);
size_t disk_held_bytes(struct disk *d);

/* Whether to ask a store that may be away. Any thread. */
struct breaker {
    pthread_mutex_t lock;
    const char *what;    /* "writes to the store" */
    unsigned failures;   /* one behind the other */
    bool probing;        /* one call is finding out */
    int64_t since_ms;    /* monotonic; of the first failure */
    int64_t again_at_ms; /* monotonic */
};

void breaker_init(struct breaker *b, const char *what);
void breaker_drop(struct breaker *b);
void breaker_trip(struct breaker *b);   /* as if it had failed so often that it is left alone */
bool breaker_admits(struct breaker *b); /* true: breaker_tell() has to follow */
void breaker_tell(struct breaker *b, enum err e);
int64_t
breaker_open_ms(struct breaker *b); /* for how long it has failed, once it is left alone; 0: it goes well */

struct flights;
struct flights *flights_new(void);
void flights_free(struct flights *f); /* accepts NULL */
void flights_forget(struct flights *all, const char *name);
void flights_forget_all(struct flights *all);

/* First member of every kind's own struct. */
struct store {
    const struct store_kind *kind;
    struct cache *cache; /* this and what follows is made and freed by store.c */
    struct crew *crew;
    struct flights *flights;
    struct breaker writes, reads; /* of a remote kind */
    struct disk *disk;            /* of what is held, and copies of a remote kind; NULL: memory alone */
    size_t held_in_memory_max;
    pthread_mutex_t spill_lock;
    atomic_bool spilling;       /* a job for it is on its way */
    _Atomic int64_t closing_ms; /* monotonic; since when nothing is waited for any more; 0: it is open */
};

/* Parts of [A-Za-z0-9._-], none of them empty or beginning with a dot. */
bool store_name_is_good(const char *name);

enum err store_file_open(struct store **out, const char *dir, char why[256]);
/* ERR_BUSY: it is away; *out is open all the same, and `why` says what is the matter. */
enum err store_s3_open(struct store **out, const char *url, char why[256]);
enum err store_hdfs_open(struct store **out, const char *url, char why[256]);

#endif
