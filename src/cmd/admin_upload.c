/* cmd/admin_upload.c - `matinee video upload EVENT FILE`: a file in pieces, each of which the server says it has on disk. What breaks is asked about
 * and gone on with. */
#include "cmd/admin_int.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* So much is sent again at most when a connection breaks, and waits for one sync. */
#define PIECE_BYTES 16777216u
/* Failures without a byte of progress between them; with the pauses, a minute. */
#define FAILURES_MAX  12
#define RETRY_SECONDS 5u

struct sending {
    struct admin *admin;
    int file;
    uint64_t size, have, first; /* `first`: what was there when we began */
    struct line line;
    unsigned failures;
    bool anew, done;
};

static void show(void *ctx, uint64_t sent)
{
    struct sending *s = ctx;
    double size = (double)s->size;

    line_show(&s->line, "uploading", (double)(s->have + sent) / size, (double)s->first / size);
}

/* What the server says that it has: "bytes=0-N", or nothing. */
static uint64_t have_of(const struct answer *answer)
{
    const char *dash = strchr(answer->range, '-');

    return dash != NULL ? strtoull(dash + 1, NULL, 10) + 1 : 0;
}

/* One request: a question, a piece, or with --anew the whole file from its beginning. */
static enum err send_one(struct sending *s, bool asks, struct answer *answer)
{
    uint64_t left = s->size - s->have, size = asks                 ? 0
                                              : s->anew            ? s->size
                                              : left < PIECE_BYTES ? left
                                                                   : PIECE_BYTES;
    char range[96];
    struct request r = {.file = s->file, .from = s->have, .size = size, .has_body = true, .ctx = s};

    if (asks)
        snprintf(range, sizeof range, "bytes */%llu", (unsigned long long)s->size);
    else
        snprintf(range, sizeof range, "bytes %llu-%llu/%llu", (unsigned long long)s->have,
                 (unsigned long long)(s->have + size - 1), (unsigned long long)s->size);
    r.range = s->anew ? NULL : range;
    r.sent = asks ? NULL : show;
    s->anew = false; /* if it breaks, what came is gone on with */
    return admin_call(s->admin, answer, &r, "PUT", "/api/v1/events/%s/video", s->admin->words[0]);
}

static void take_progress(struct sending *s, bool asks, const struct answer *answer)
{
    uint64_t have = have_of(answer);

    if (answer->status == 201) {
        s->done = true;
        s->have = s->size;
    } else if (answer->status == 308) {
        s->failures = have > s->have || asks ? 0 : s->failures + 1;
        s->have = have < s->size ? have : s->size;
    }
}

/* Whether trying again may help: the server is away or busy, or still has our own broken connection. */
static bool is_passing(enum err e, const struct answer *answer)
{
    const char *type = json_string_value(json_object_get(answer->document, "type"));

    return e == ERR_IO || (e == ERR_BUSY && type != NULL && strcmp(type, "/problems/in-use") == 0);
}

static enum err send_all(struct sending *s)
{
    bool asks = !s->anew;
    enum err e = ERR_OK;

    while (!s->done) {
        struct answer answer;
        bool again;

        e = send_one(s, asks, &answer);
        again = is_passing(e, &answer);
        if (e == ERR_OK)
            take_progress(s, asks, &answer);
        if (s->done)
            puts(json_string_value(json_object_get(answer.document, "video")));
        answer_free(&answer);
        if (e == ERR_OK && s->failures < FAILURES_MAX) {
            if (asks)
                s->first = s->have;
            asks = false;
            continue;
        }
        if (!again || ++s->failures >= FAILURES_MAX)
            return e;
        asks = true;
        sleep(RETRY_SECONDS < s->failures ? RETRY_SECONDS : s->failures);
    }
    return ERR_OK;
}

enum err admin_video_upload(struct admin *a)
{
    struct sending s = {.admin = a, .file = -1, .anew = config_text(a->options, "anew") != NULL};
    struct stat status;
    enum err e = ERR_OK;

    s.file = open(a->words[1], O_RDONLY | O_CLOEXEC);
    if (s.file < 0 || fstat(s.file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) {
        snprintf(a->why, sizeof a->why, "%.200s: %s", a->words[1],
                 s.file < 0 ? strerror(errno) : "it is no file, or empty");
        e = ERR_BAD;
    } else {
        s.size = (uint64_t)status.st_size;
        line_begin(&s.line);
        e = send_all(&s);
        line_end(&s.line);
    }
    if (s.file >= 0)
        close(s.file);
    return e;
}
