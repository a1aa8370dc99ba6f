/* comments/feed_int.h - between a feed (feed.c) and its readers (reader.c). */
#ifndef MATINEE_COMMENTS_FEED_INT_H
#define MATINEE_COMMENTS_FEED_INT_H

#include "comments/comments_int.h"

#include <stdatomic.h>

/* An entry of the log in memory. */
struct frame {
    int64_t seq;
    struct buffer *events; /* NULL: nothing that a reader is told */
};

/* A loop's share of a feed. */
struct berth {
    struct feed *feed;
    struct loop *loop;
    struct list readers; /* the loop's own, as is all but the atomics */
    atomic_size_t count;
    atomic_bool woken; /* a turn is on its way */
    int64_t sent;      /* readers in step have been told up to here */
    int64_t said_ms;   /* when all of them were last told something */
    struct timer tick;
};

struct feed {
    struct comments *room;
    struct ulid video;
    pthread_mutex_t load; /* held by whoever adds entries, over the engine's answers too */
    pthread_mutex_t lock; /* guards what follows; short */
    bool loaded;
    struct frame *ring;
    size_t first, count, bytes;
    int64_t head;      /* the newest entry's number */
    int64_t first_seq; /* entries after this one are in the ring */
    int64_t used_ms;
    unsigned berth_count;
    struct berth berths[];
};

/* The video's feed; NULL where there is none and none is to be made. It stays until the room closes. */
struct feed *feed_of(struct comments *c, struct ulid video, bool make);
/* What came after `from` in one buffer, up to *to: all of it, or about `bytes_max`. NULL where there is nothing to tell. With the
 * feed's lock held. */
struct buffer *feed_join(struct feed *f, int64_t from, size_t bytes_max, int64_t *to);
/* Entries have come: tells a berth's readers. On its loop; `ctx` is the berth. */
void berth_turn(void *ctx);

#endif
