/* net/net_int.h - what the files of this room share: the loop's insides, and what stands between streams,
 * listeners and TLS. Nothing here is for other rooms. */
#ifndef MATINEE_NET_NET_INT_H
#define MATINEE_NET_NET_INT_H

#include "base/map.h"
#include "net/net.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* --- lists of calls to make -------------------------------------------------------------------------- */

struct call {
    void (*run)(void *ctx);
    void *ctx;
};

struct calls {
    struct call *at;
    size_t count, room;
};

void calls_add(struct calls *c, void (*run)(void *ctx), void *ctx);

/* --- the loop ---------------------------------------------------------------------------------------- */

/* What epoll hands back; stands first in whatever waits for a file descriptor. */
struct watch {
    void (*ready)(struct watch *w, uint32_t events);
};

struct loop {
    struct net *net;
    unsigned index;
    pthread_t thread;
    bool started;
    int epoll, wake; /* the wake eventfd is written only when the mailbox was empty */
    struct watch waker;
    int64_t now_ms;

    struct list lazy; /* streams that are read when the timer says so */
    struct timer lazy_timer;

    pthread_mutex_t box_lock; /* guards box and box_spare; everything else is the loop's own */
    struct calls box;
    struct calls box_spare; /* the memory of the last batch, so that a busy loop does not allocate */

    bool stopping;
    struct calls after;    /* at the end of this turn */
    struct timer **timers; /* a binary heap by due_ms */
    size_t timer_count, timer_room;
    struct list streams;  /* every stream of this loop */
    struct list flush;    /* those with something to send, or to end, when the turn ends */
    struct list again;    /* those to be looked at without an event: resumed, or not read empty */
    uint8_t *read_buffer; /* STREAM_UNREAD_BYTES_MAX + STREAM_READ_BYTES; pages cost only where touched */
};

struct loop *loop_new(struct net *n, unsigned index);
must_check enum err loop_run(struct loop *l); /* starts the thread */
void loop_stop(struct loop *l);               /* asks; any thread */
void loop_join(struct loop *l);
void loop_free(struct loop *l);

/* Watches `fd` for `events`, or changes what is watched for. */
must_check enum err loop_watch(struct loop *l, int fd, uint32_t events, struct watch *w);
void loop_unwatch(struct loop *l, int fd);
/* Has the stream looked at with the others that are lazy; list_remove(&s->lazy) undoes it. */
void loop_add_lazy(struct loop *l, struct stream *s);

void timers_run(struct loop *l);
int timers_wait_ms(const struct loop *l); /* until the next is due; -1 when there is none */

/* --- the house --------------------------------------------------------------------------------------- */

struct net {
    unsigned loop_count;
    struct loop **loops;
    struct crew *pool;
    atomic_uint connections;
    pthread_mutex_t addresses_lock;
    struct map *addresses; /* how many connections each address has, as the pointer's number */
};

/* Counts a connection of this address in. False (and nothing is counted) beyond CONNECTIONS_MAX or
 * CONNECTIONS_PER_ADDRESS_MAX. */
must_check bool connection_admit(struct net *n, const struct address *peer);
void connection_leave(struct net *n, const struct address *peer);

/* --- streams ----------------------------------------------------------------------------------------- */

struct ssl_st;
struct listener_part;

/* A stream on its way to its `opened`: connecting, or in the handshake. */
struct opening {
    void (*accepted)(void *ctx, struct stream *s);
    void (*connected)(void *ctx, struct stream *s, enum err why);
    void *ctx;
    struct listener_part *part; /* of an accepted one */
    bool connecting;            /* the TCP handshake is not done */
};

/* A stretch of a buffer that is to be sent. */
struct piece {
    struct buffer *buffer;
    size_t from, size;
};

struct stream {
    struct watch watch;
    struct loop *loop;
    struct list all, flush, again, lazy;
    const struct stream_events *events;
    void *ctx;
    struct opening *opening; /* NULL once it is open */
    struct ssl_st *tls;      /* NULL on plain TCP */
    int fd;
    enum err why;

    bool paused : 1;
    bool readable : 1;  /* the kernel has, or may have, bytes or an end for us (edge-triggered) */
    bool half_open : 1; /* the peer has sent its end */
    bool show : 1;      /* resumed: what was unread is to be shown again */
    bool tail_open : 1; /* the last piece's buffer is ours alone and may grow */
    bool waiting : 1;   /* `writable` was asked for, at `mark` */
    bool gentle : 1;    /* ends when nothing is queued */
    bool lingering : 1; /* all is sent and said; only waits for the peer's end */
    bool ended : 1;     /* is freed at the end of this turn */
    bool counted : 1;   /* stands in the net's counts */
    bool tls_sent_end : 1;

    struct piece *pieces;
    unsigned piece_first, piece_count, piece_room;
    size_t queued, mark;

    uint8_t *rest; /* what `read` did not take */
    size_t rest_size, rest_room;

    struct timer timer;        /* armed lazily: it fires early rather than being moved per read */
    int64_t deadline_ms;       /* absolute, or 0: of opening and of lingering */
    int64_t read_ms, write_ms; /* of the last progress */
    int64_t read_limit_ms, write_limit_ms;
    struct address peer;
};

/* A stream over `fd`, which it owns from here on and which must not block. */
struct stream *stream_new(struct loop *l, int fd, const struct address *peer);
must_check enum err stream_begin(struct stream *s); /* has the loop watch it */
void stream_end(struct stream *s, enum err why);    /* at the end of this turn it is gone */
void stream_deadline(struct stream *s, int64_t ms);
void stream_opening_step(struct stream *s); /* tries to get an opening stream further */
void stream_look_soon(struct stream *s);    /* has the loop call stream_look_again() this turn or the next */
void stream_look_again(struct stream *s);
void stream_stuck(struct stream *s); /* the kernel takes no more: the write limit counts */
void stream_flush(struct stream *s);
void stream_drop(struct stream *s); /* frees without a word: for the end of a loop */

/* What recv() would say: bytes, 0 at the end, -errno. *more: there may be more without a new event. */
ssize_t stream_receive(struct stream *s, uint8_t *at, size_t room, bool *more);

/* What a stream has yet to send, unsent.c. */
void unsent_copy(struct stream *s, struct bytes b);
void unsent_take(struct stream *s, struct buffer *b, size_t from, size_t size);
void unsent_consume(struct stream *s, size_t size);
void unsent_drop(struct stream *s);

/* --- TLS inside streams, tls_stream.c ------------------------------------------------------------------ */

struct ssl_ctx_st;

/* A reference to the certificate of the moment. */
struct ssl_ctx_st *tls_server_context(struct tls_server *t);

void tls_accept_begin(struct stream *s, struct tls_server *t);
must_check enum err tls_connect_begin(struct stream *s, const char *name);
/* ERR_OK: done. ERR_BUSY: wants an event. Else: failed. */
must_check enum err tls_handshake(struct stream *s);
ssize_t tls_receive(struct stream *s, uint8_t *at, size_t room, bool *more);
ssize_t tls_send(struct stream *s); /* how much of the queue is sent, or -errno */
void tls_end(struct stream *s);     /* says goodbye once, without waiting */
void tls_free(struct stream *s);

#endif
