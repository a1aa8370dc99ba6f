/* webrtc/companion.c - starts the companion, feeds it, hears it, and sees to its end. */
#include "webrtc/companion_int.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct companion {
    struct loop *loop;
    struct stream *stream; /* NULL once it is closed */
    pid_t pid;
    const struct companion_events *events;
    void *ctx;
    struct builder rest;
    bool freed;
};

/* --- hearing ---------------------------------------------------------------------------------------------- */

static void reap(void *ctx)
{
    const struct companion *c = ctx;

    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static void free_now(void *ctx)
{
    struct companion *c = ctx;

    builder_drop(&c->rest);
    free(c);
}

/* Its frames, as they are whole. A frame may be longer than what a stream shows at once, so the rest is kept here. */
static size_t on_read(void *ctx, struct stream *s, struct bytes in)
{
    struct companion *c = ctx;
    struct companion_frame f;
    struct bytes left;
    long size = 0;

    builder_add(&c->rest, in);
    left = builder_bytes(&c->rest);
    while (!c->freed && (size = companion_frame_parse(&f, left)) > 0) {
        c->events->made(c->ctx, &f);
        left = bytes_from(left, (size_t)size);
    }
    if (left.size < builder_bytes(&c->rest).size) {
        struct builder rest = {0};

        builder_add(&rest, left);
        builder_drop(&c->rest);
        c->rest = rest;
    }
    if (size == PARSE_BAD)
        stream_close(s);
    return in.size;
}

static void on_closed(void *ctx, struct stream *s, enum err why)
{
    struct companion *c = ctx;

    c->stream = NULL;
    if (c->freed) {
        pool_run(c->loop, reap, free_now, c);
        return;
    }
    log_warn("webrtc", "the process that converts a stream broke down (%s)", err_text(why));
    c->events->gone(c->ctx);
}

/* --- beginning and end -------------------------------------------------------------------------------------- */

static bool spawn(struct companion *c, const char *program, int theirs)
{
    static char command[] = "convert-live";
    char *const words[] = {(char *)(uintptr_t)program, command, NULL};
    posix_spawn_file_actions_t actions;
    bool good;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, theirs, STDOUT_FILENO);
    good = posix_spawn(&c->pid, program, &actions, NULL, words, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    return good;
}

struct companion *companion_new(struct loop *l, const char *program, const struct companion_events *events,
                                void *ctx)
{
    static const struct stream_events heard = {.read = on_read, .closed = on_closed};
    struct companion *c = mem_new(sizeof *c);
    int ends[2] = {-1, -1};
    bool good;

    *c = (struct companion){.loop = l, .events = events, .ctx = ctx};
    good = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 &&
           fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && spawn(c, program, ends[1]);
    if (ends[1] >= 0)
        close(ends[1]);
    if (good && (c->stream = stream_adopt(l, ends[0], &heard, c)) != NULL)
        return c;
    if (!good && ends[0] >= 0)
        close(ends[0]);
    if (c->pid > 0)
        pool_run(l, reap, free_now, c);
    else
        free_now(c);
    return NULL;
}

bool companion_is_gone(const struct companion *c)
{
    return c->stream == NULL;
}

bool companion_give(struct companion *c, const struct companion_frame *f)
{
    struct builder out = {0};

    if (c->stream == NULL || stream_queued(c->stream) > COMPANION_QUEUE_BYTES_MAX)
        return false;
    companion_frame_write(&out, f);
    stream_write_buffer(c->stream, builder_finish(&out));
    return true;
}

void companion_free(struct companion *c)
{
    if (c == NULL)
        return;
    c->freed = true;
    if (c->stream != NULL)
        stream_close(c->stream); /* on_closed() does the rest */
    else
        pool_run(c->loop, reap, free_now, c);
}
