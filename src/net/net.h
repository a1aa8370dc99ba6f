/* net/net.h - one epoll loop per core, timers, messages between loops, a pool for what blocks, and byte
 * streams over TCP and TLS.
 *
 * A loop is a thread. An object that belongs to a loop (stream, timer) is touched on that loop's thread
 * only; loop_post() is how others ask. Callbacks are never called from within the call that set them up.
 * What a callback closes is freed at the end of the loop's turn, so a caller further up the stack may
 * still look at it. */
#ifndef MATINEE_NET_NET_H
#define MATINEE_NET_NET_H

#include "base/buffer.h"
#include "base/err.h"
#include "base/list.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* --- the house: loops and pool ----------------------------------------------------------------------- */

struct net;
struct loop;

/* Starts `loop_count` loops (0: one per core) and a pool of up to `pool_count` threads (0: 8). */
must_check enum err net_start(struct net **out, unsigned loop_count, unsigned pool_count);

/* Ends every loop after its turn, joins all threads and frees. Streams still open are closed without a
 * callback; queued pool work is done first, its `done` calls are made. Listeners are stopped before.
 * Not from a loop's own thread. Accepts NULL. */
void net_stop(struct net *n);

unsigned net_loop_count(const struct net *n);
struct loop *net_loop(struct net *n, unsigned index);

/* The loop whose thread this is, or NULL. */
struct loop *loop_here(void);
struct net *loop_net(struct loop *l);
unsigned loop_index(const struct loop *l); /* net_loop(n, index) is this loop */

/* Runs `call(ctx)` on the loop's thread, in the order of posting. Any thread; never fails, never blocks. */
void loop_post(struct loop *l, void (*call)(void *ctx), void *ctx);

/* Runs `call(ctx)` at the end of this turn of this loop: for frees. The loop's own thread only. */
void loop_after_turn(struct loop *l, void (*call)(void *ctx), void *ctx);

/* The monotonic time at which this turn began, in ms: cheap, and the same for all of a turn. */
int64_t loop_now_ms(const struct loop *l);

/* Runs `work(ctx)` on a pool thread, then `done(ctx)` (may be NULL) on loop `l`, begun in the order of asking. Any thread. */
void pool_run(struct loop *l, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx);

/* --- crews: threads of one's own for what may block long -------------------------------------------------- */

struct crew;

/* `thread_max[i]`: how many threads lane i may have; they are started when they are needed. `name`: up to 15 characters. */
struct crew *crew_new(const char *name, const unsigned *thread_max, unsigned lane_count);

/* As pool_run(), in a lane. False: `waiting_max` wait in it already, and nothing is done. After crew_stop(), or when no thread can
 * be had, the work is done in place. */
bool crew_run(struct crew *c, unsigned lane, size_t waiting_max, struct loop *loop, void (*work)(void *ctx),
              void (*done)(void *ctx), void *ctx);

/* Does what waits, and joins. Before the loops end, and not from one of its own threads. */
void crew_stop(struct crew *c);
void crew_free(struct crew *c); /* stops it too; accepts NULL */

/* --- timers ------------------------------------------------------------------------------------------ */

/* Embedded in its owner; zero-initialised is valid and not running. The loop's own thread only. */
struct timer {
    struct loop *loop; /* NULL while not running */
    int64_t due_ms;
    size_t place; /* in the loop's heap */
    void (*call)(void *ctx);
    void *ctx;
};

/* (Re)starts `t`: `call(ctx)` once, `delay_ms` from now. */
void timer_start(struct loop *l, struct timer *t, int64_t delay_ms, void (*call)(void *ctx), void *ctx);
void timer_stop(struct timer *t); /* harmless when not running */

/* --- addresses --------------------------------------------------------------------------------------- */

#define ADDRESS_TEXT_SIZE 64

/* Every connection has one; a sockaddr_storage would be 100 bytes more, for families that nobody listens on. */
struct address {
    union {
        sa_family_t ss_family;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } socket;
    socklen_t size;
};

/* Reads "127.0.0.1:8080", "[::1]:8080", ":8080" (all addresses, IPv4 and IPv6) or "localhost:8080". No DNS but for
 * localhost. False when it is none of these. */
bool address_parse(const char *text, struct address *out);
const char *address_text(const struct address *a, char text[ADDRESS_TEXT_SIZE]); /* with the port */
bool address_is_loopback(const struct address *a);
/* Whose it is, for counting: without its port; IPv6 by its network, for that is what a peer has all of. Lies in *a. */
struct bytes address_host(const struct address *a);

/* --- TLS --------------------------------------------------------------------------------------------- */

struct tls_server; /* certificate and key, shared by listeners; reloadable */

/* Loads PEM files; `alpn` is a list like "h2,http/1.1", or NULL. On failure the text in `why` says which
 * file and what is wrong with it. */
must_check enum err tls_server_new(struct tls_server **out, const char *cert_file, const char *key_file,
                                   const char *alpn, char why[256]);

/* Reads the files again; connections that come from now on get the new certificate. When a file is bad the
 * old one stays. Any thread. */
must_check enum err tls_server_reload(struct tls_server *t, char why[256]);
void tls_server_free(struct tls_server *t);

/* --- streams: TCP connections, with or without TLS --------------------------------------------------- */

struct stream;

struct stream_events {
    /* Bytes have come: `in` is all that is unread. Returns how many were taken; the rest is shown again
     * with what comes next. Whoever takes nothing of 1 MB and wants more is closed. */
    size_t (*read)(void *ctx, struct stream *s, struct bytes in);
    /* What was queued has fallen below the mark of stream_wait_writable(). May be NULL. */
    void (*writable)(void *ctx, struct stream *s);
    /* The last call, exactly once, whether we closed it or they did; `why` is ERR_OK after stream_close()
     * and stream_close_gently(), ERR_CLOSED when the peer hung up, ERR_TIMEOUT and ERR_LIMIT when a limit
     * was passed. Always from the end of a turn, never from within another call. The stream is freed after
     * it. What the peer sent before its end was shown by `read` first, unless the stream was paused. */
    void (*closed)(void *ctx, struct stream *s, enum err why);
};

struct listener;

/* Listens on `at` with one SO_REUSEPORT socket per loop; `opened(ctx, s)` is called on the loop that got
 * the connection (after the handshake, where `tls` is given) and must call stream_use(). *at becomes the
 * real address (port 0 was replaced). ERR_BUSY: the address is in use. */
must_check enum err listen_start(struct listener **out, struct net *n, struct address *at,
                                 struct tls_server *tls, void (*opened)(void *ctx, struct stream *s),
                                 void *ctx);

/* The same on one loop only: for peers who all share something of that loop. */
must_check enum err listen_start_on(struct listener **out, struct loop *l, struct address *at,
                                    void (*opened)(void *ctx, struct stream *s), void *ctx);

/* Stops accepting; connections that are open stay. Blocks until no further `opened` can come; not from a
 * loop's thread. Accepts NULL. */
void listen_stop(struct listener *l);

/* Connects without blocking, within CONNECT_MS_MAX; any thread; `opened` is called on the loop, and gets
 * NULL and a reason when it failed. With `tls_name` (the host
 * name to check; "" for a test's self-signed certificate: nothing is checked) the stream is TLS. */
void stream_connect(struct loop *l, const struct address *to, const char *tls_name,
                    void (*opened)(void *ctx, struct stream *s, enum err why), void *ctx);

/* A stream over a connected socket of ours, which it owns from here on: to a process that we started. The loop's own thread. NULL
 * (and the socket is closed): it cannot be watched. */
struct stream *stream_adopt(struct loop *l, int fd, const struct stream_events *events, void *ctx);

/* Sets who is told; must be called in `opened`, and may be called again to hand a stream over. */
void stream_use(struct stream *s, const struct stream_events *events, void *ctx);

struct loop *stream_loop(const struct stream *s);
const struct address *stream_peer(const struct stream *s);
const char *stream_alpn(const struct stream *s); /* "h2", or "" */
bool stream_is_tls(const struct stream *s);

/* Queues bytes; what can be sent is sent at the end of the loop's turn, in one writev() as far as it goes.
 * stream_write copies, stream_write_buffer takes over one reference and sends from place. */
void stream_write(struct stream *s, struct bytes b);
void stream_write_buffer(struct stream *s, struct buffer *b);
void stream_write_part(struct stream *s, struct buffer *b, size_t from, size_t size);

/* Bytes that are queued and not yet taken by the kernel. */
size_t stream_queued(const struct stream *s);

/* Asks for `writable` once, when stream_queued() is at most `mark`. */
void stream_wait_writable(struct stream *s, size_t mark);

/* Stops and starts reading, for backpressure. A hang-up is noticed in either case. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s); /* shows what was unread again */

/* Has the stream read only every STREAM_LAZY_MS, together with all others of its loop that are, or when
 * STREAM_LAZY_BYTES have come: for peers that send often and whom nobody waits for. The loop's own thread. */
void stream_lazy(struct stream *s, bool on);

/* Closes when `ms` pass without a byte read; 0 switches it off. Cheap to call per read. */
void stream_read_limit(struct stream *s, int64_t ms);
/* Closes when `ms` pass without the peer taking a byte that is queued; 0 switches it off. */
void stream_write_limit(struct stream *s, int64_t ms);

void stream_close(struct stream *s);        /* at once; what is queued is lost */
void stream_close_gently(struct stream *s); /* after what is queued is sent */

/* --- datagrams --------------------------------------------------------------------------------------- */

struct udp;

/* Binds a socket that no other program shares. *at becomes the real address. ERR_BUSY: the address is in use. Any thread. */
must_check enum err udp_open(struct udp **out, struct address *at);

/* Has `received` told of every datagram, on the loop; its thread only. `datagram` lives for the call. */
must_check enum err udp_watch(struct udp *u, struct loop *l,
                              void (*received)(void *ctx, const struct address *from, struct bytes datagram),
                              void *ctx);
/* On its loop where it is watched. Accepts NULL. */
void udp_close(struct udp *u);

/* Datagrams to one address, one behind the other: each of `piece` bytes but the last, which may be shorter. */
struct udp_train {
    const struct address *to;
    const uint8_t *at;
    size_t size, piece;
};

/* The most that the kernel takes as one train. */
#define UDP_TRAIN_PIECES_MAX 64
#define UDP_TRAIN_BYTES_MAX  65000

/* Sends them, in as few system calls as it takes. What the kernel has no room for is lost, as on any way; returns how many
 * trains that were. */
size_t udp_send(struct udp *u, const struct udp_train *trains, size_t count);

#endif
