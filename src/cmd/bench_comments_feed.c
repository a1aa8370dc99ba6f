/* cmd/bench_comments_feed.c - one comment, ten thousand readers: how soon the last one has it, and what each costs. */
#include "cmd/bench_comments_int.h"
#include "cmd/bench_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS      512
#define PATIENCE_MS 20000
#define IN_BYTES    8192

struct reader {
    int fd;
    unsigned got; /* comments */
    bool open;    /* its feed has begun */
};

struct audience {
    struct reader *readers;
    unsigned count;
    int poll;
};

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench comments: %s\n", what);
    return false;
}

/* Sockets are many: what the machine allows at most is allowed to us, as the server does for itself. */
static bool allow_files(unsigned count)
{
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    return files.rlim_cur > count + 100 ||
           failed("this machine does not allow so many open files (ulimit -n)");
}

static unsigned count_of(const char *in, size_t size, const char *word)
{
    unsigned count = 0;

    for (const char *at = in; (at = memmem(at, size - (size_t)(at - in), word, strlen(word))) != NULL; at++)
        count++;
    return count;
}

/* Takes what has come to one reader. An event comes in one piece: it is far smaller than a packet of loopback. */
static bool take(struct reader *r, unsigned *opened, unsigned *told)
{
    char in[IN_BYTES];
    ssize_t size = recv(r->fd, in, sizeof in, MSG_DONTWAIT);
    unsigned got;

    if (size <= 0)
        return failed("a reader's connection ended");
    if (!r->open && count_of(in, (size_t)size, "text/event-stream") > 0) {
        r->open = true;
        ++*opened;
    }
    got = count_of(in, (size_t)size, "event: comment\n");
    r->got += got;
    *told += got;
    return count_of(in, (size_t)size, "event: gap\n") == 0 || failed("a reader was told of a gap");
}

/* Reads until so many are open and so many events have been told. */
static bool read_until(struct audience *a, unsigned *opened, unsigned opened_wanted, unsigned *told,
                       unsigned told_wanted)
{
    struct epoll_event events[EVENTS];

    while (*opened < opened_wanted || *told < told_wanted) {
        int count = epoll_wait(a->poll, events, EVENTS, PATIENCE_MS);

        if (count <= 0)
            return failed("not every reader was told");
        for (int i = 0; i < count; i++)
            if (!take(events[i].data.ptr, opened, told))
                return false;
    }
    return true;
}

static bool open_reader(struct audience *a, const struct bench_house *h, const char *video)
{
    struct reader *r = &a->readers[a->count];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = r};
    char request[256];
    int size = snprintf(request, sizeof request,
                        "GET /api/v1/videos/%s/comments/live HTTP/1.1\r\nHost: %s\r\n\r\n", video, h->http);

    if ((r->fd = bench_connect(h->http)) < 0)
        return failed("a reader could not connect");
    a->count++;
    return (bench_send(r->fd, request, (size_t)size) &&
            epoll_ctl(a->poll, EPOLL_CTL_ADD, r->fd, &event) == 0) ||
           failed("a reader's connection ended");
}

/* Posts on a connection of its own; the answer is read later, by post_answered(). */
static bool post(int fd, const struct bench_house *h, const char *video, unsigned number)
{
    char body[256], request[512];
    int size =
        snprintf(body, sizeof body,
                 "{\"id\":\"feed-%u\",\"authorId\":\"somebody\",\"data\":\"What a picture this is, number "
                 "%u, seen from the balcony\",\"offset\":0}",
                 number, number);

    size =
        snprintf(request, sizeof request,
                 "POST /api/v1/videos/%s/comments HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                 "Content-Length: %d\r\n\r\n%s",
                 video, h->http, size, body);
    return bench_send(fd, request, (size_t)size) || failed("the poster's connection ended");
}

static bool post_answered(int fd)
{
    char answer[4096];
    ssize_t size = recv(fd, answer, sizeof answer - 1, 0);

    return (size > 13 && strncmp(answer, "HTTP/1.1 201 ", 13) == 0) || failed("a comment was not taken");
}

static bool tell_all(struct audience *a, const struct bench_house *h, const char *video, unsigned comments,
                     struct feed_result *out)
{
    uint32_t *last_us = mem_new(comments * sizeof *last_us);
    double before_us = bench_cpu_us(h->pid);
    unsigned opened = a->count, told = 0;
    int fd = bench_connect(h->http);
    bool good = fd >= 0;

    for (unsigned i = 0; i < comments && good; i++) {
        int64_t began_us = clock_mono_us();

        good = post(fd, h, video, i) && read_until(a, &opened, a->count, &told, (i + 1) * a->count) &&
               post_answered(fd);
        last_us[i] = (uint32_t)(clock_mono_us() - began_us);
    }
    for (unsigned i = 0; i < a->count && good; i++)
        good = a->readers[i].got == comments || failed("a reader was told of a comment twice");
    out->cpu_us = (bench_cpu_us(h->pid) - before_us) / a->count / comments;
    out->last_ms_p50 = bench_percentile_ms(last_us, comments, 50);
    out->last_ms_max = bench_percentile_ms(last_us, comments, 100);
    if (fd >= 0)
        close(fd);
    free(last_us);
    return good;
}

bool feed_measure(const struct bench_house *h, const char *video, unsigned readers, unsigned comments,
                  struct feed_result *out)
{
    struct audience a = {.readers = mem_new(readers * sizeof *a.readers),
                         .poll = epoll_create1(EPOLL_CLOEXEC)};
    double before_kb = bench_anonymous_kb(h->pid);
    unsigned opened = 0, told = 0;
    bool good = allow_files(readers);

    *out = (struct feed_result){0};
    while (good && a.count < readers) {
        good = open_reader(&a, h, video);
        if (good && a.count % EVENTS == 0) /* not more at once than the server's backlog takes */
            good = read_until(&a, &opened, a.count, &told, 0);
    }
    good = good && read_until(&a, &opened, readers, &told, 0);
    if (good) {
        out->bytes = (bench_anonymous_kb(h->pid) - before_kb) * 1024 / readers;
        good = tell_all(&a, h, video, comments, out);
    }
    for (unsigned i = 0; i < a.count; i++)
        close(a.readers[i].fd);
    close(a.poll);
    free(a.readers);
    return good;
}
