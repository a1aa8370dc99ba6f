/* ladder/thumbnail.c - a thumbnail, from the server's side (a child is started and fed) and the child's. */
#include "ladder/ladder_int.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/log.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define THUMBNAIL_MS_MAX     5000
#define THUMBNAIL_WIDTH_MAX  640
#define THUMBNAIL_HEIGHT_MAX 360
#define THUMBNAIL_BYTES_MAX  262144
#define CHILD_SECONDS_MAX    5
#define CHILD_BYTES_MAX      ((size_t)1 << 30) /* a 4K decoder wants 300 MB of address space */
#define CHILDREN_MAX         2

extern char **environ;

/* --- the server's side ------------------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int to, from; /* our ends of its pipes; -1 when closed */
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static enum err start(const char *program, struct child *c)
{
    char *const words[] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "draw-thumbnail", NULL};
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    posix_spawn_file_actions_t actions;
    enum err e = ERR_IO;

    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        goto out;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    if (posix_spawn(&c->pid, program, &actions, NULL, words, environ) == 0)
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
static void feed(struct child *c, struct bytes parts[2])
{
    struct bytes *part = parts[0].size > 0 ? &parts[0] : &parts[1];
    ssize_t n = write(c->to, part->at, part->size);

    if (n > 0)
        *part = bytes_from(*part, (size_t)n);
    if ((n < 0 && errno != EAGAIN) || parts[0].size + parts[1].size == 0)
        close_end(&c->to); /* it has all, or has seen enough */
}

/* Feeds and reads until the child has closed its output. */
static enum err converse(struct child *c, struct bytes parts[2], struct builder *answer)
{
    int64_t due_ms = clock_mono_ms() + THUMBNAIL_MS_MAX;

    for (int64_t left; (left = due_ms - clock_mono_ms()) > 0;) {
        struct pollfd fds[2] = {{.fd = c->from, .events = POLLIN}, {.fd = c->to, .events = POLLOUT}};

        if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
            return ERR_IO;
        if (fds[1].revents != 0)
            feed(c, parts);
        if (fds[0].revents != 0) {
            uint8_t piece[16384];
            ssize_t n = read(c->from, piece, sizeof piece);

            if (n == 0)
                return ERR_OK;
            if (n < 0 && errno != EAGAIN)
                return ERR_IO;
            if (n > 0)
                builder_add(answer, bytes_of(piece, (size_t)n));
            if (builder_bytes(answer).size > THUMBNAIL_BYTES_MAX)
                return ERR_LIMIT;
        }
    }
    return ERR_TIMEOUT;
}

static enum err run(const char *program, struct bytes parts[2], struct builder *answer)
{
    struct child c = {-1, -1, -1};
    enum err e = start(program, &c);
    int status = -1;

    if (e == ERR_OK)
        e = converse(&c, parts, answer);
    close_end(&c.to);
    close_end(&c.from);
    if (c.pid > 0) {
        if (e != ERR_OK)
            kill(c.pid, SIGKILL);
        while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    if (e == ERR_OK && (status != 0 || builder_bytes(answer).size == 0))
        e = ERR_BAD;
    return e;
}

enum err thumbnail_make(const char *program, struct bytes init, struct bytes segment, struct buffer **out)
{
    static atomic_int children;
    struct bytes parts[2] = {init, segment};
    struct builder answer = {0};
    enum err e = ERR_BUSY;

    *out = NULL;
    if (atomic_fetch_add(&children, 1) < CHILDREN_MAX)
        e = run(program, parts, &answer);
    atomic_fetch_sub(&children, 1);
    if (e == ERR_OK)
        *out = builder_finish(&answer);
    else if (e != ERR_BUSY)
        log_warn("ladder", "a thumbnail could not be drawn: %s", err_text(e));
    builder_drop(&answer);
    return e;
}

/* --- the child's side -------------------------------------------------------------------------------- */

static enum err read_input(struct builder *in)
{
    uint8_t piece[65536];
    ssize_t n;

    while ((n = read(STDIN_FILENO, piece, sizeof piece)) > 0)
        builder_add(in, bytes_of(piece, (size_t)n));
    return n == 0 ? ERR_OK : ERR_IO;
}

static enum err write_output(struct bytes out)
{
    while (out.size > 0) {
        ssize_t n = write(STDOUT_FILENO, out.at, out.size);

        if (n <= 0)
            return ERR_IO;
        out = bytes_from(out, (size_t)n);
    }
    return ERR_OK;
}

int thumbnail_child(void)
{
    struct builder in = {0};
    struct buffer *picture = NULL;
    enum err e;

    av_log_set_level(AV_LOG_QUIET);
    if ((e = sandbox_enter(CHILD_SECONDS_MAX, CHILD_BYTES_MAX)) == ERR_OK &&
        (e = read_input(&in)) == ERR_OK &&
        (e = picture_draw(builder_bytes(&in), THUMBNAIL_WIDTH_MAX, THUMBNAIL_HEIGHT_MAX, &picture)) == ERR_OK)
        e = write_output(buffer_bytes(picture));
    buffer_unref(picture);
    builder_drop(&in);
    return e == ERR_OK ? 0 : 1;
}
