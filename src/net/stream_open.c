/* net/stream_open.c - the way to an open stream: listeners, connecting, and the TLS handshake of both. */
#include "net/net_int.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

METRIC(accepted_total, METRIC_COUNTER, "matinee_connections_total", "Connections accepted");
METRIC(refused_total, METRIC_COUNTER, "matinee_connections_refused_total",
       "Connections closed at once, beyond a limit");

struct listener_part {
    struct watch watch;
    struct listener *listener;
    struct loop *loop;
    int fd;
    struct timer rest; /* while out of file descriptors */
    int64_t warned_ms;
};

struct listener {
    struct net *net;
    struct tls_server *tls;
    void (*opened)(void *ctx, struct stream *s);
    void *ctx;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned living; /* parts that may still call `opened` */
    unsigned part_count;
    struct listener_part parts[];
};

/* --- opening ----------------------------------------------------------------------------------------- */

/* The TCP connection stands: its result, once. */
static enum err connected(struct stream *s)
{
    int error = 0;
    socklen_t size = sizeof error;

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return ERR_IO;
    if (error == 0 && getpeername(s->fd, &(struct sockaddr){0}, &(socklen_t){sizeof(struct sockaddr)}) != 0)
        return errno == ENOTCONN ? ERR_BUSY : ERR_IO; /* woken too early */
    if (error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH)
        return ERR_MISSING; /* nobody there */
    return err_from_errno(error);
}

static void opened(struct stream *s)
{
    struct opening *o = s->opening;

    s->opening = NULL;
    stream_deadline(s, 0);
    if (o->accepted != NULL)
        o->accepted(o->ctx, s);
    else
        o->connected(o->ctx, s, ERR_OK);
    free(o);
    assert(s->ended || s->events != NULL);
    if (s->ended)
        return;
    s->readable = s->readable || s->tls != NULL; /* what came with the handshake makes no further event */
    s->read_ms = s->loop->now_ms;
    stream_look_soon(s);
}

void stream_opening_step(struct stream *s)
{
    enum err e = ERR_OK;

    if (s->opening->connecting) {
        e = connected(s);
        s->opening->connecting = e == ERR_BUSY;
    }
    if (e == ERR_OK && s->tls != NULL)
        e = tls_handshake(s);
    if (e == ERR_OK)
        opened(s);
    else if (e != ERR_BUSY)
        stream_end(s, e);
}

/* --- listening --------------------------------------------------------------------------------------- */

/* An IPv4 peer of a socket for both kinds shows as itself. */
static void unmap(struct address *a)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->socket;

    if (a->socket.ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = v6->sin6_port};

    memcpy(&v4.sin_addr, v6->sin6_addr.s6_addr + 12, 4);
    memset(&a->socket, 0, sizeof a->socket);
    memcpy(&a->socket, &v4, sizeof v4);
    a->size = sizeof v4;
}

static void set_nodelay(int fd)
{
    /* We gather writes ourselves; the kernel's waiting would only add to latency. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static void accepted(struct listener_part *p, int fd, struct address *peer)
{
    struct listener *l = p->listener;

    unmap(peer);
    if (!connection_admit(l->net, peer)) {
        metric_add(&refused_total, 1);
        close(fd);
        return;
    }
    metric_add(&accepted_total, 1);
    set_nodelay(fd);
    struct stream *s = stream_new(p->loop, fd, peer);

    s->counted = true;
    s->opening = mem_new(sizeof *s->opening);
    *s->opening = (struct opening){.accepted = l->opened, .ctx = l->ctx, .part = p};
    if (stream_begin(s) != ERR_OK) {
        stream_end(s, ERR_IO);
        return;
    }
    if (l->tls != NULL) {
        tls_accept_begin(s, l->tls);
        stream_deadline(s, TLS_HANDSHAKE_MS_MAX);
    }
    if (!s->ended)
        stream_opening_step(s);
}

static void listen_again(void *ctx)
{
    struct listener_part *p = ctx;

    if (loop_watch(p->loop, p->fd, EPOLLIN, &p->watch) != ERR_OK)
        timer_start(p->loop, &p->rest, ACCEPT_REST_MS, listen_again, p);
}

/* Out of file descriptors or memory: the backlog waits for a moment, and so do we. */
static void rest(struct listener_part *p, int error)
{
    if (p->warned_ms == 0 || p->loop->now_ms - p->warned_ms > ACCEPT_WARN_MS)
        log_warn("net", "no more connections for the moment: %s", strerror(error));
    p->warned_ms = p->loop->now_ms;
    loop_unwatch(p->loop, p->fd);
    timer_start(p->loop, &p->rest, ACCEPT_REST_MS, listen_again, p);
}

static void accept_ready(struct watch *w, uint32_t events)
{
    struct listener_part *p = container_of(w, struct listener_part, watch);

    for (int i = 0; i < ACCEPTS_TURN_MAX && p->fd >= 0; i++) {
        struct address peer = {.size = sizeof peer.socket};
        int fd = accept4(p->fd, (struct sockaddr *)&peer.socket, &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            accepted(p, fd, &peer);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            rest(p, errno);
        if (errno != ECONNABORTED && errno != EINTR) /* else: that one is gone, the next may be there */
            return;
    }
}

/* A socket bound to *at and listening; *error is errno where there is none. */
static int listening_socket(struct address *at, bool shared, int *error)
{
    int fd = socket(at->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        *error = errno;
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    if (at->socket.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, sizeof(int));
    if (bind(fd, (const struct sockaddr *)&at->socket, at->size) != 0 ||
        (shared && listen(fd, SOMAXCONN) != 0) ||
        getsockname(fd, (struct sockaddr *)&at->socket, &at->size) != 0) {
        *error = errno;
        close(fd);
        return -1;
    }
    return fd;
}

/* Sockets that share a port also share it with another server of the same user, who would then get half of
 * our connections: so one that does not share is tried first. */
static enum err claim(struct address *at)
{
    int error = 0;
    int fd = listening_socket(at, false, &error);
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&at->socket;

    if (fd < 0 && at->socket.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) &&
        (error == EAFNOSUPPORT || error == EADDRNOTAVAIL)) { /* a machine without IPv6 */
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = v6->sin6_port};

        memset(&at->socket, 0, sizeof at->socket);
        memcpy(&at->socket, &v4, sizeof v4);
        at->size = sizeof v4;
        fd = listening_socket(at, false, &error);
    }
    if (fd < 0)
        return err_from_errno(error);
    close(fd);
    return ERR_OK;
}

static void part_begin(void *ctx)
{
    struct listener_part *p = ctx;

    p->watch.ready = accept_ready;
    listen_again(p);
}

static void part_end(void *ctx)
{
    struct listener_part *p = ctx;
    struct listener *l = p->listener;

    timer_stop(&p->rest);
    loop_unwatch(p->loop, p->fd);
    close(p->fd);
    p->fd = -1;
    list_each(&p->loop->streams, at, after)
    {
        struct stream *s = container_of(at, struct stream, all);

        if (s->opening != NULL && s->opening->part == p)
            stream_end(s, ERR_OK);
    }
    pthread_mutex_lock(&l->lock);
    l->living--;
    pthread_cond_signal(&l->ended);
    pthread_mutex_unlock(&l->lock);
}

static void listener_free(struct listener *l)
{
    for (unsigned i = 0; i < l->part_count; i++)
        if (l->parts[i].fd >= 0)
            close(l->parts[i].fd);
    pthread_cond_destroy(&l->ended);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static enum err start(struct listener **out, struct loop *const *loops, unsigned loop_count,
                      struct address *at, const struct listener *like)
{
    struct listener *l = mem_new(sizeof *l + loop_count * sizeof l->parts[0]);
    enum err e = claim(at);
    int error = 0;

    *out = NULL;
    *l = *like;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->ended, NULL);
    for (unsigned i = 0; e == ERR_OK && i < loop_count; i++) {
        l->parts[i] = (struct listener_part){.listener = l, .loop = loops[i]};
        l->parts[i].fd = listening_socket(at, true, &error);
        l->part_count = i + 1;
        e = l->parts[i].fd < 0 ? err_from_errno(error) : ERR_OK;
    }
    if (e != ERR_OK) {
        listener_free(l);
        return e;
    }
    l->living = l->part_count;
    for (unsigned i = 0; i < l->part_count; i++)
        loop_post(l->parts[i].loop, part_begin, &l->parts[i]);
    *out = l;
    return ERR_OK;
}

enum err listen_start(struct listener **out, struct net *n, struct address *at, struct tls_server *tls,
                      void (*opened_)(void *ctx, struct stream *s), void *ctx)
{
    const struct listener like = {.net = n, .tls = tls, .opened = opened_, .ctx = ctx};

    return start(out, n->loops, n->loop_count, at, &like);
}

enum err listen_start_on(struct listener **out, struct loop *l, struct address *at,
                         void (*opened_)(void *ctx, struct stream *s), void *ctx)
{
    const struct listener like = {.net = l->net, .opened = opened_, .ctx = ctx};

    return start(out, &l, 1, at, &like);
}

void listen_stop(struct listener *l)
{
    if (l == NULL)
        return;
    assert(loop_here() == NULL);
    for (unsigned i = 0; i < l->part_count; i++)
        loop_post(l->parts[i].loop, part_end, &l->parts[i]);
    pthread_mutex_lock(&l->lock);
    while (l->living > 0)
        pthread_cond_wait(&l->ended, &l->lock);
    pthread_mutex_unlock(&l->lock);
    listener_free(l);
}

/* --- adopting ---------------------------------------------------------------------------------------- */

struct stream *stream_adopt(struct loop *l, int fd, const struct stream_events *events, void *ctx)
{
    struct stream *s = stream_new(l, fd, &(struct address){.size = 0});

    s->events = events;
    s->ctx = ctx;
    if (stream_begin(s) == ERR_OK)
        return s;
    stream_drop(s);
    return NULL;
}

/* --- connecting -------------------------------------------------------------------------------------- */

struct wish {
    struct loop *loop;
    struct address to;
    char *tls_name;
    void (*opened)(void *ctx, struct stream *s, enum err why);
    void *ctx;
};

static void connect_now(void *ctx)
{
    struct wish *w = ctx;
    int fd = socket(w->to.socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct stream *s = stream_new(w->loop, fd, &w->to);
    enum err e = ERR_OK;

    s->opening = mem_new(sizeof *s->opening);
    *s->opening = (struct opening){.connected = w->opened, .ctx = w->ctx, .connecting = true};
    if (fd < 0) {
        e = ERR_IO;
    } else if (connect(fd, (const struct sockaddr *)&w->to.socket, w->to.size) != 0 && errno != EINPROGRESS) {
        e = errno == ECONNREFUSED ? ERR_MISSING : err_from_errno(errno);
    } else {
        set_nodelay(fd);
        e = stream_begin(s);
    }
    if (e == ERR_OK && w->tls_name != NULL)
        e = tls_connect_begin(s, w->tls_name);
    if (e != ERR_OK)
        stream_end(s, e);
    else
        stream_deadline(s, CONNECT_MS_MAX);
    free(w->tls_name);
    free(w);
}

void stream_connect(struct loop *l, const struct address *to, const char *tls_name,
                    void (*opened_)(void *ctx, struct stream *s, enum err why), void *ctx)
{
    struct wish *w = mem_new(sizeof *w);

    *w = (struct wish){.loop = l, .to = *to, .opened = opened_, .ctx = ctx};
    w->tls_name = tls_name ? mem_string(tls_name) : NULL;
    loop_post(l, connect_now, w);
}
