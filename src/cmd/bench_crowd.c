/* cmd/bench_crowd.c - clients that ask again and again over HTTP; see bench_house_int.h. */
#include "cmd/bench_house_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/net.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define REQUEST_ROOM 4096
#define EVENTS       256
/* No answer for so long: the server is gone. */
#define PATIENCE_MS 20000

struct asker {
    int fd;
    unsigned number, calls;
    int64_t began_us;
    size_t size; /* of what has come of the answer */
    char answer[8192];
};

struct asking {
    struct bench_crowd *crowd;
    size_t under_way;
    int64_t end_us;
};

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench: %s\n", what);
    return false;
}

int bench_connect(const char *http)
{
    struct address at;
    int fd;

    if (!address_parse(http, &at) || (fd = socket(at.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&at.socket, at.size) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

bool bench_send(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        text += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool ask(struct asking *g, struct asker *a)
{
    struct bench_crowd *c = g->crowd;
    char request[REQUEST_ROOM];
    size_t size = c->request(c->ctx, a->number, a->calls++, request, sizeof request);

    a->size = 0;
    a->began_us = clock_mono_us();
    return bench_send(a->fd, request, size);
}

/* Whether the answer is whole. */
static bool whole(const struct asker *a)
{
    const char *end = strstr(a->answer, "\r\n\r\n"), *length = strcasestr(a->answer, "\r\ncontent-length:");

    return end != NULL && length != NULL && length < end &&
           a->size >= (size_t)(end + 4 - a->answer) + strtoul(length + 17, NULL, 10);
}

static void note(struct bench_crowd *c, const struct asker *a)
{
    if (strncmp(a->answer, "HTTP/1.1 201 ", 13) != 0) {
        c->refused++;
        return;
    }
    if (c->took_count == c->took_room) {
        c->took_room = c->took_room ? 2 * c->took_room : 65536;
        c->took_us = mem_resize(c->took_us, c->took_room * sizeof *c->took_us);
    }
    c->took_us[c->took_count++] = (uint32_t)(clock_mono_us() - a->began_us);
}

/* Takes what has come; a whole answer is followed by the next question. */
static bool take(struct asking *g, struct asker *a)
{
    ssize_t got = recv(a->fd, a->answer + a->size, sizeof a->answer - 1 - a->size, MSG_DONTWAIT);

    if (got <= 0)
        return failed("a connection ended");
    a->size += (size_t)got;
    a->answer[a->size] = '\0';
    if (!whole(a))
        return true;
    note(g->crowd, a);
    if (clock_mono_us() < g->end_us)
        return ask(g, a) || failed("a connection ended");
    g->under_way--;
    return true;
}

static bool drive(struct asking *g, struct asker *askers)
{
    struct epoll_event events[EVENTS];
    int poll = epoll_create1(EPOLL_CLOEXEC);
    bool good = poll >= 0;

    for (unsigned i = 0; i < g->crowd->clients && good; i++) {
        askers[i] = (struct asker){.fd = bench_connect(g->crowd->http), .number = i};
        events[0] = (struct epoll_event){.events = EPOLLIN, .data.ptr = &askers[i]};
        good = askers[i].fd >= 0 && epoll_ctl(poll, EPOLL_CTL_ADD, askers[i].fd, events) == 0 &&
               ask(g, &askers[i]);
        g->under_way += good;
    }
    while (good && g->under_way > 0) {
        int count = epoll_wait(poll, events, EVENTS, PATIENCE_MS);

        good = count > 0 || failed("the server does not answer");
        for (int i = 0; i < count && good; i++)
            good = take(g, events[i].data.ptr);
    }
    for (unsigned i = 0; i < g->crowd->clients; i++)
        if (askers[i].fd > 0)
            close(askers[i].fd);
    if (poll >= 0)
        close(poll);
    return good;
}

bool bench_crowd_run(struct bench_crowd *c)
{
    struct asker *askers = mem_new(c->clients * sizeof *askers);
    int64_t began_us = clock_mono_us();
    struct asking g = {.crowd = c, .end_us = began_us + (int64_t)(c->seconds * 1e6)};
    bool good = drive(&g, askers);

    c->lasted_s = (double)(clock_mono_us() - began_us) / 1e6;
    free(askers);
    return good;
}
