/* net/udp.c - one datagram socket: read in batches, sent in trains.
 *
 * A train is one message of sendmmsg() that the kernel cuts by itself (UDP_SEGMENT): measured, four times as many datagrams
 * a second as with a message each. Where a device refuses that (EIO), datagrams go one by one from then on. */
#include "net/net_int.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BATCH 32
/* Messages of one system call. */
#define TRAINS_PER_CALL 64

METRIC(datagrams_in, METRIC_COUNTER, "matinee_udp_datagrams_received_total", "Datagrams received");
METRIC(datagrams_out, METRIC_COUNTER, "matinee_udp_datagrams_sent_total", "Datagrams sent");
METRIC(datagrams_lost, METRIC_COUNTER, "matinee_udp_datagrams_unsent_total",
       "Datagrams that the kernel had no room for");

struct udp {
    struct watch watch;
    struct loop *loop; /* NULL while not watched */
    int fd;
    bool no_trains; /* the device does not cut */
    void (*received)(void *ctx, const struct address *from, struct bytes datagram);
    void *ctx;
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct address from[BATCH];
    uint8_t bytes[BATCH][WEBRTC_RECEIVE_BYTES_MAX];
};

/* --- opening ----------------------------------------------------------------------------------------- */

static void set_room(int fd, int option, int forced)
{
    int size = UDP_SOCKET_BYTES;

    if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) != 0) /* root may have more than others */
        setsockopt(fd, SOL_SOCKET, option, &size, sizeof size);
}

enum err udp_open(struct udp **out, struct address *at)
{
    int fd = socket(at->socket.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    enum err e;

    *out = NULL;
    if (fd < 0)
        return err_from_errno(errno);
    if (at->socket.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, sizeof(int));
    set_room(fd, SO_RCVBUF, SO_RCVBUFFORCE);
    set_room(fd, SO_SNDBUF, SO_SNDBUFFORCE);
    if (bind(fd, (const struct sockaddr *)&at->socket, at->size) != 0 ||
        getsockname(fd, (struct sockaddr *)&at->socket, &at->size) != 0) {
        e = err_from_errno(errno);
        close(fd);
        return e;
    }
    *out = mem_new(sizeof **out);
    (*out)->fd = fd;
    return ERR_OK;
}

void udp_close(struct udp *u)
{
    if (u == NULL)
        return;
    if (u->loop != NULL)
        loop_unwatch(u->loop, u->fd);
    close(u->fd);
    free(u);
}

/* --- receiving --------------------------------------------------------------------------------------- */

/* Reads one batch; false when nothing is left. */
static bool receive(struct udp *u)
{
    for (int i = 0; i < BATCH; i++) {
        u->vectors[i] = (struct iovec){u->bytes[i], sizeof u->bytes[i]};
        u->messages[i].msg_hdr = (struct msghdr){.msg_name = &u->from[i].socket,
                                                 .msg_namelen = sizeof u->from[i].socket,
                                                 .msg_iov = &u->vectors[i],
                                                 .msg_iovlen = 1};
    }
    int count = recvmmsg(u->fd, u->messages, BATCH, MSG_DONTWAIT, NULL);

    for (int i = 0; i < count; i++) {
        u->from[i].size = u->messages[i].msg_hdr.msg_namelen;
        if (!(u->messages[i].msg_hdr.msg_flags & MSG_TRUNC))
            u->received(u->ctx, &u->from[i], bytes_of(u->bytes[i], u->messages[i].msg_len));
    }
    if (count > 0)
        metric_add(&datagrams_in, count);
    return count == BATCH ||
           (count < 0 && errno != EAGAIN && errno != EINTR); /* an ICMP error is told once */
}

static void ready(struct watch *w, uint32_t events)
{
    struct udp *u = container_of(w, struct udp, watch);

    for (int i = 0; i < UDP_TURN_MAX / BATCH && receive(u); i++)
        continue; /* level-triggered: the rest comes with the next turn */
}

enum err udp_watch(struct udp *u, struct loop *l,
                   void (*received)(void *ctx, const struct address *from, struct bytes datagram), void *ctx)
{
    u->watch.ready = ready;
    u->received = received;
    u->ctx = ctx;
    u->loop = l;
    return loop_watch(l, u->fd, EPOLLIN, &u->watch);
}

/* --- sending ----------------------------------------------------------------------------------------- */

struct batch {
    struct mmsghdr messages[TRAINS_PER_CALL];
    struct iovec vectors[TRAINS_PER_CALL];
    union {
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr align;
    } control[TRAINS_PER_CALL];
};

static void set_message(struct batch *b, size_t i, const struct udp_train *t)
{
    struct msghdr *m = &b->messages[i].msg_hdr;

    b->vectors[i] = (struct iovec){(void *)(uintptr_t)t->at, t->size};
    *m = (struct msghdr){.msg_name = (void *)(uintptr_t)&t->to->socket,
                         .msg_namelen = t->to->size,
                         .msg_iov = &b->vectors[i],
                         .msg_iovlen = 1};
    if (t->size <= t->piece)
        return;
    m->msg_control = b->control[i].bytes;
    m->msg_controllen = sizeof b->control[i].bytes;
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    uint16_t piece = (uint16_t)t->piece;

    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof piece);
    memcpy(CMSG_DATA(c), &piece, sizeof piece);
}

static size_t pieces_of(const struct udp_train *t)
{
    return (t->size + t->piece - 1) / t->piece;
}

/* One by one. False where the kernel has no room. */
static bool send_apart(struct udp *u, const struct udp_train *t)
{
    for (size_t at = 0; at < t->size; at += t->piece) {
        size_t size = t->size - at < t->piece ? t->size - at : t->piece;

        if (sendto(u->fd, t->at + at, size, MSG_DONTWAIT | MSG_NOSIGNAL,
                   (const struct sockaddr *)&t->to->socket, t->to->size) < 0 &&
            errno == EAGAIN)
            return false;
    }
    return true;
}

/* Sends up to TRAINS_PER_CALL; returns how many were dealt with, 0 where the kernel has no room. */
static size_t send_some(struct udp *u, const struct udp_train *trains, size_t count)
{
    struct batch b;
    int sent;

    if (u->no_trains)
        return send_apart(u, trains) ? 1 : 0;
    count = count < TRAINS_PER_CALL ? count : TRAINS_PER_CALL;
    for (size_t i = 0; i < count; i++)
        set_message(&b, i, &trains[i]);
    sent = sendmmsg(u->fd, b.messages, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0)
        return (size_t)sent;
    if (errno == EINVAL && trains[0].size > trains[0].piece) /* too large for the way to this one address */
        return send_apart(u, trains) ? 1 : 0;
    if (errno == EIO && trains[0].size > trains[0].piece) {
        log_info("net", "the network device does not cut trains of datagrams; they go one by one");
        u->no_trains = true;
        return send_apart(u, trains) ? 1 : 0;
    }
    return errno == EAGAIN || errno == ENOBUFS ? 0
                                               : 1; /* else: that address cannot be reached; the next may */
}

size_t udp_send(struct udp *u, const struct udp_train *trains, size_t count)
{
    size_t lost = 0, pieces = 0;

    for (size_t i = 0; i < count;) {
        size_t done = send_some(u, trains + i, count - i);

        if (done == 0) {
            lost = count - i;
            for (; i < count; i++)
                metric_add(&datagrams_lost, (long long)pieces_of(&trains[i]));
            break;
        }
        for (size_t end = i + done; i < end; i++)
            pieces += pieces_of(&trains[i]);
    }
    metric_add(&datagrams_out, (long long)pieces);
    return lost;
}
