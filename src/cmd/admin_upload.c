/* cmd/admin_upload.c - `matinee video upload EVENT FILE`: a file in pieces, each of which the server says it has on
 * disk. What breaks, here or there, is asked about and gone on with. */
#include "cmd/admin_int.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Between two tries while the server is away. */
#define RETRY_MS 1000

struct sending {
    struct admin *admin;
    int file;
    uint64_t size, have; /* `have`: on the server's disk */
    bool wants_anew, asks;
    bool has_broken;  /* a connection of ours broke: for a while the server may take us for two */
    int64_t stuck_ms; /* since when it gets no further; 0: it does */
    struct progress progress;
};

static void show(void *ctx, uint64_t sent)
{
    struct sending *s = ctx;

    progress_show(&s->progress, (double)(s->have + sent));
}

/* What the server says that it has: "bytes=0-N", or nothing. */
static uint64_t have_of(const struct answer *answer, uint64_t size)
{
    struct bytes range = bytes_text(answer->range ? answer->range : "");
    uint64_t last;

    if (!bytes_starts(range, "bytes=0-") || !bytes_to_u64(bytes_from(range, 8), size - 1, &last))
        return 0;
    return last + 1;
}

/* One request: a question, a piece, or with --anew the whole file from its beginning. */
static enum err send_one(struct sending *s, struct answer *answer)
{
    unsigned long long size = s->size, have = s->have, left = size - have;
    struct request r = {
        .has_file = true, .file = s->file, .ctx = s, .moved = s->asks ? NULL : show, .wants = "video"};
    char range[96];

    if (s->asks) {
        snprintf(range, sizeof range, "bytes */%llu", size);
    } else {
        r.from = have;
        r.size = s->wants_anew || left < ADMIN_PIECE_BYTES ? left : ADMIN_PIECE_BYTES;
        snprintf(range, sizeof range, "bytes %llu-%llu/%llu", have, have + r.size - 1, size);
    }
    r.range = s->wants_anew ? NULL : range; /* without it, the server forgets what it had */
    s->wants_anew = false;                  /* if this breaks, what came is gone on with */
    return admin_call(s->admin, answer, &r, "PUT", "/api/v1/events/%s/video", s->admin->words[0]);
}

static bool is_problem(const struct answer *answer, const char *type)
{
    const char *there = text_of(answer->document, "type");

    return there != NULL && strcmp(there, type) == 0;
}

/* 308: more is wanted. ERR_IO: it was to have more now, and has not, for long. */
static enum err take_progress(struct sending *s, const struct answer *answer)
{
    uint64_t have = have_of(answer, s->size);
    bool has_more = have > s->have, has_asked = s->asks;

    s->have = have;
    s->asks = false;
    if (has_asked && !s->has_broken) {
        s->progress.first = (double)have;
        if (have > 0)
            fprintf(stderr, "%.1f of %.1f MB are there already\n", (double)have / 1e6, (double)s->size / 1e6);
    }
    if (has_more)
        s->stuck_ms = 0;
    if (has_more || has_asked)
        return ERR_OK;
    snprintf(s->admin->why, sizeof s->admin->why, "the server takes no more of it");
    return ERR_IO;
}

/* 201: it is whole. */
static void print_video(struct sending *s, const struct answer *answer)
{
    const char *video = text_of(answer->document, "video");

    progress_end(&s->progress);
    if (s->asks && !s->has_broken)
        fputs("the last upload to this event had this size, and is there; --anew sends it again\n", stderr);
    if (s->admin->wants_json)
        print_body(answer);
    else if (video != NULL)
        puts(video);
}

/* Whether trying again may help: the server was there and went away, or still has our own broken connection. Then it
 * waits a moment, and has the server asked how far it got. */
static bool waits(struct sending *s, enum err e, const struct answer *answer)
{
    if (!(e == ERR_IO && s->admin->was_answered) &&
        !(e == ERR_BUSY && s->has_broken && is_problem(answer, "/problems/in-use")))
        return false;
    if (s->stuck_ms == 0) {
        s->stuck_ms = clock_mono_ms();
        progress_say(&s->progress, s->admin->why);
    }
    s->has_broken = s->asks = true;
    if (clock_mono_ms() - s->stuck_ms > ADMIN_AWAY_MS_MAX)
        return false;
    admin_pause(RETRY_MS);
    return true;
}

static enum err send_all(struct sending *s)
{
    for (;;) {
        struct answer answer;
        enum err e = send_one(s, &answer);
        bool is_whole = e == ERR_OK && answer.status != 308;

        if (is_whole)
            print_video(s, &answer);
        else if (e == ERR_OK)
            e = take_progress(s, &answer);
        if (is_problem(&answer, "/problems/other-upload"))
            snprintf(
                s->admin->why, sizeof s->admin->why,
                "an upload of another size to this event was begun: go on with that file, or send this one "
                "with --anew");
        bool goes_on = !is_whole && (e == ERR_OK || waits(s, e, &answer));

        answer_free(&answer);
        if (!goes_on)
            return e;
    }
}

/* Opens the file and looks at its size. */
static enum err open_file(struct sending *s, const char *name)
{
    struct stat status = {.st_size = 0};
    const char *reason = NULL;

    s->file = open(name, O_RDONLY | O_CLOEXEC);
    if (s->file < 0 || fstat(s->file, &status) != 0)
        reason = strerror(errno);
    else if (!S_ISREG(status.st_mode))
        reason = "it is no ordinary file";
    else if (status.st_size == 0)
        reason = "it is empty";
    s->size = (uint64_t)status.st_size;
    if (reason != NULL)
        snprintf(s->admin->why, sizeof s->admin->why, "%.300s: %s", name, reason);
    return reason == NULL ? ERR_OK : ERR_BAD;
}

enum err admin_video_upload(struct admin *a)
{
    struct sending s = {.admin = a, .file = -1, .wants_anew = config_text(a->options, "anew") != NULL};
    enum err e = open_file(&s, a->words[1]);

    if (e == ERR_OK) {
        s.asks = !s.wants_anew;
        progress_begin(&s.progress, "uploading", true, (double)s.size);
        e = send_all(&s);
        progress_end(&s.progress);
    }
    if (s.file >= 0)
        close(s.file);
    return e;
}
