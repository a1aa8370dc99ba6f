/* relay/relay_int.h - flights (what is fetched), and riders (who wants it). */
#ifndef MATINEE_RELAY_RELAY_INT_H
#define MATINEE_RELAY_RELAY_INT_H

#include "base/buffer.h"
#include "base/list.h"
#include "base/map.h"
#include "relay/relay.h"

#include <curl/curl.h>
#include <pthread.h>

/* One URL of another server, while it is fetched and for as long as it is kept. Under the relay's lock, but for what is said. */
struct flight {
    struct relay *relay;
    struct list link;   /* among those to be begun, under way, or kept in order of use */
    unsigned users;     /* the map, the thread, and every rider */
    struct list riders; /* on whichever loops */
    bool listed;        /* it may be ridden along: it is in the relay's map */
    bool has_head, done, failed;
    bool grows; /* its length is not known: it is passed on as it comes */
    int status;
    char type[64];
    struct builder fields; /* lines of "Name: value\r\n", to be passed on */
    struct buffer **pieces;
    size_t count, bytes;
    long max_age_s;
    int64_t fresh_until_ms; /* monotonic */
    /* The fetching thread's: */
    char *url; /* which is its key, too */
    enum http_method method;
    struct buffer *body; /* NULL: none */
    struct curl_slist *headers;
    CURL *handle;
    bool has_length;
};

struct rider {
    struct list link;
    struct relay *relay;
    struct flight *flight;
    bool is_private;
    char *token; /* what the next flight is asked for with, where this one was refused; NULL: with none */
    const char *edge_key; /* likewise */
    bool rides;           /* along with the flight of another */
    bool called; /* a call of ride() is on its way, which frees it where it is over; under the lock */
    /* Its loop's: */
    struct loop *loop;
    struct http_exchange *x; /* NULL: the peer has hung up */
    size_t sent;             /* pieces */
    bool begun, waits, over; /* the answer is begun; it waits for its peer to read; it has got off */
};

struct relay {
    pthread_mutex_t lock;
    pthread_t thread;
    CURLM *multi;
    bool stopping;
    struct map *flights; /* those that may be ridden along, by key */
    struct list to_begin, under_way, kept;
    size_t kept_bytes, going; /* how many are begun or to be begun */
};

/* fetch.c */
void *fetch_all(void *relay); /* the thread */

/* relay.c, with the lock held */
void flight_tell(struct flight *f); /* there is more of it, or its end: every rider is called */
void flight_done(struct flight *f); /* it is kept, or goes with its last rider */

#endif
