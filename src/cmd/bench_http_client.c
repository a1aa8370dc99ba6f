/* cmd/bench_http_client.c - a client that costs little: keep-alive connections under one epoll, each asking
 * again as soon as it has its answer. Bodies are counted and thrown away by the kernel. */
#include "cmd/bench_http_int.h"

#include "base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define HEAD_BYTES_MAX 4096
#define PATIENCE_MS    20000
#define EVENTS         256

struct asker {
    int fd;
    size_t left; /* of the body; SIZE_MAX while the head is not there */
};

struct ask {
    const char *request;
    size_t request_size, body_bytes;
    unsigned asked, answered, wanted;
};

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench http: %s\n", what);
    return false;
}

static int open_connection(const struct address *at)
{
    int fd = socket(at->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&at->socket, at->size) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

static bool ask(struct ask *a, struct asker *who)
{
    who->left = SIZE_MAX;
    if (a->asked == a->wanted)
        return true;
    a->asked++;
    return send(who->fd, a->request, a->request_size, MSG_NOSIGNAL) == (ssize_t)a->request_size;
}

/* Reads a head, and what came of the body with it. The head comes in one piece from these servers. */
static bool take_head(struct ask *a, struct asker *who)
{
    char in[HEAD_BYTES_MAX + 1];
    ssize_t size = recv(who->fd, in, HEAD_BYTES_MAX, MSG_DONTWAIT);

    if (size < 0 && errno == EAGAIN)
        return true;
    if (size <= 0)
        return failed("a connection ended");
    in[size] = '\0';
    char *end = strstr(in, "\r\n\r\n"), *length = strcasestr(in, "\r\ncontent-length:");

    if (strncmp(in, "HTTP/1.1 200 ", 13) != 0 || end == NULL || length == NULL || length > end ||
        strtoul(length + 17, NULL, 10) != a->body_bytes)
        return failed("an answer is not what was asked for");
    who->left = a->body_bytes - (size_t)(in + size - (end + 4));
    return true;
}

static bool take(struct ask *a, struct asker *who)
{
    if (who->left == SIZE_MAX && !take_head(a, who))
        return false;
    while (who->left > 0 && who->left != SIZE_MAX) {
        /* MSG_TRUNC: the kernel discards what would be read, without copying it (tcp(7)). */
        ssize_t size = recv(who->fd, NULL, who->left, MSG_DONTWAIT | MSG_TRUNC);

        if (size < 0 && errno == EAGAIN)
            return true;
        if (size <= 0)
            return failed("a connection ended");
        who->left -= (size_t)size;
    }
    if (who->left != 0)
        return true;
    a->answered++;
    return ask(a, who);
}

static bool run(struct ask *a, int epoll)
{
    struct epoll_event events[EVENTS];

    while (a->answered < a->wanted) {
        int count = epoll_wait(epoll, events, EVENTS, PATIENCE_MS);

        if (count <= 0)
            return failed("a server does not answer");
        for (int i = 0; i < count; i++)
            if (!take(a, events[i].data.ptr))
                return false;
    }
    return true;
}

bool web_ask(const struct address *at, const char *path, size_t body_bytes, unsigned connections,
             unsigned requests)
{
    char *request = mem_printf(
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: matinee-bench\r\nAccept: */*\r\n\r\n", path);
    struct ask a = {request, strlen(request), body_bytes, 0, 0, requests};
    struct asker *all = mem_new(connections * sizeof *all);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    bool good = epoll >= 0;
    unsigned count = 0;

    for (; good && count < connections; count++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[count]};

        all[count].fd = open_connection(at);
        good = all[count].fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, all[count].fd, &e) == 0 &&
               ask(&a, &all[count]);
    }
    good = good ? run(&a, epoll) : failed("a connection cannot be made");
    for (unsigned i = 0; i < count; i++)
        if (all[i].fd >= 0)
            close(all[i].fd);
    if (epoll >= 0)
        close(epoll);
    free(all);
    free(request);
    return good;
}

bool web_hold(const struct address *at, const char *path, size_t body_bytes, int *fds, unsigned count)
{
    char *request = mem_printf(
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: matinee-bench\r\nAccept: */*\r\n\r\n", path);
    struct ask a = {request, strlen(request), body_bytes, 0, 0, 0};
    bool good = true;

    for (unsigned i = 0; i < count; i++) /* so that the caller may close them all */
        fds[i] = -1;
    for (unsigned i = 0; good && i < count; i++) {
        struct asker who = {.fd = fds[i] = open_connection(at)};

        a.wanted = i + 1; /* one each */
        good = (who.fd >= 0 && ask(&a, &who)) || failed("a connection cannot be made");
        while (good && body_bytes > 0 && a.answered <= i) {
            struct pollfd ready = {.fd = who.fd, .events = POLLIN};

            good =
                (poll(&ready, 1, PATIENCE_MS) == 1 || failed("a server does not answer")) && take(&a, &who);
        }
    }
    free(request);
    return good;
}
