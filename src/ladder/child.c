/* ladder/child.c - starts a process of ours, feeds it, takes its answer, and sees to its end. */
#include "ladder/child_int.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ASK_MS 200

extern char **environ;

/* --- the server's side ------------------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int to, from; /* our ends of its pipes; -1 when closed */
    size_t fed;   /* parts that are through */
    struct bytes left[CHILD_PARTS_MAX];
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static enum err start(const struct child_job *job, struct child *c)
{
    char *const words[] = {(char *)(uintptr_t)job->program, (char *)(uintptr_t)job->command, NULL};
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    posix_spawn_file_actions_t actions;
    enum err e = ERR_IO;

    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        goto out;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, job->file ? *job->file : in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    if (posix_spawn(&c->pid, job->program, &actions, NULL, words, environ) == 0)
        e = ERR_OK;
    posix_spawn_file_actions_destroy(&actions);
out:
    close_end(&in[0]);
    close_end(&out[1]);
    c->to = in[1];
    c->from = out[0];
    if (e == ERR_OK && (fcntl(c->to, F_SETFL, O_NONBLOCK) != 0 || fcntl(c->from, F_SETFL, O_NONBLOCK) != 0))
        e = ERR_IO;
    return e;
}

/* Gives the child what it can take; the pipe is closed behind the last byte. */
static void feed(struct child *c)
{
    while (c->fed < CHILD_PARTS_MAX && c->left[c->fed].size == 0)
        c->fed++;
    if (c->fed == CHILD_PARTS_MAX) {
        close_end(&c->to);
        return;
    }
    struct bytes *part = &c->left[c->fed];
    ssize_t n = write(c->to, part->at, part->size);

    if (n > 0)
        *part = bytes_from(*part, (size_t)n);
    else if (errno != EAGAIN && errno != EINTR)
        close_end(&c->to); /* it has seen enough */
}

/* Takes what the child says; *ended when it has closed its output. */
static enum err take(const struct child *c, const struct child_job *job, struct builder *answer, bool *ended)
{
    uint8_t piece[65536];
    ssize_t n = read(c->from, piece, sizeof piece);

    *ended = n == 0;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? ERR_OK : ERR_IO;
    if (job->heard != NULL && n > 0)
        return job->heard(job->ctx, bytes_of(piece, (size_t)n));
    if (builder_bytes(answer).size + (size_t)n > job->answer_bytes_max)
        return ERR_LIMIT;
    builder_add(answer, bytes_of(piece, (size_t)n));
    return ERR_OK;
}

/* How long to wait for the child now: -1 for ever. ERR_TIMEOUT, ERR_CLOSED: no longer. */
static enum err patience(const struct child_job *job, int64_t began_ms, int *wait_ms)
{
    int64_t left = job->ms_max == 0 ? INT32_MAX : began_ms + job->ms_max - clock_mono_ms();

    if (job->keep_on != NULL && !job->keep_on(job->ctx))
        return ERR_CLOSED;
    if (left <= 0)
        return ERR_TIMEOUT;
    if (job->keep_on != NULL && left > ASK_MS)
        left = ASK_MS;
    *wait_ms = job->ms_max == 0 && job->keep_on == NULL ? -1 : (int)left;
    return ERR_OK;
}

/* Feeds and reads until the child has closed its output. */
static enum err converse(const struct child_job *job, struct child *c, struct builder *answer)
{
    int64_t began_ms = clock_mono_ms();
    bool ended = false;
    enum err e = ERR_OK;

    while (e == ERR_OK && !ended) {
        struct pollfd fds[2] = {{.fd = c->from, .events = POLLIN}, {.fd = c->to, .events = POLLOUT}};
        int wait_ms = 0;

        if ((e = patience(job, began_ms, &wait_ms)) != ERR_OK)
            return e;
        if (poll(fds, 2, wait_ms) < 0 && errno != EINTR)
            return ERR_IO;
        if (fds[1].revents != 0)
            feed(c);
        if (fds[0].revents != 0)
            e = take(c, job, answer, &ended);
    }
    return e;
}

static int64_t cpu_ms(const struct rusage *used)
{
    int64_t us = ((int64_t)used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1000000 + used->ru_utime.tv_usec +
                 used->ru_stime.tv_usec;

    return (us + 999) / 1000;
}

enum err child_run(const struct child_job *job, struct child_end *out)
{
    struct child c = {.pid = -1, .to = -1, .from = -1};
    struct rusage used = {0};
    enum err e;

    *out = (struct child_end){.status = -1};
    memcpy(c.left, job->parts, sizeof c.left);
    if ((e = start(job, &c)) == ERR_OK)
        e = converse(job, &c, &out->answer);
    close_end(&c.to);
    close_end(&c.from);
    if (c.pid <= 0)
        return e;
    if (e != ERR_OK)
        kill(c.pid, SIGKILL);
    while (wait4(c.pid, &out->status, 0, &used) < 0 && errno == EINTR)
        continue;
    out->cpu_ms = cpu_ms(&used);
    return e;
}

/* --- the child's side -------------------------------------------------------------------------------- */

enum err child_read(struct builder *in, size_t bytes_max)
{
    uint8_t piece[65536];
    ssize_t n;

    while ((n = read(STDIN_FILENO, piece, sizeof piece)) > 0) {
        if (builder_bytes(in).size + (size_t)n > bytes_max)
            return ERR_LIMIT;
        builder_add(in, bytes_of(piece, (size_t)n));
    }
    return n == 0 ? ERR_OK : ERR_IO;
}

enum err child_write(struct bytes out)
{
    while (out.size > 0) {
        ssize_t n = write(STDOUT_FILENO, out.at, out.size);

        if (n <= 0)
            return ERR_IO;
        out = bytes_from(out, (size_t)n);
    }
    return ERR_OK;
}
