/* ladder/recording.c - reads an uploaded recording, from the server's side: starts the child and believes only what can be
 * believed of its frames. */
#include "ladder/child_int.h"
#include "ladder/recording_int.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

struct listening {
    const struct recording_taker *taker;
    struct builder rest; /* of a frame that is not whole */
    bool ended;          /* it has said that this was all */
    enum err refused;    /* the file's fault, by the child */
    char *why;
};

static enum err take_frame(struct listening *l, const struct recording_frame *f)
{
    if (l->ended || l->refused != ERR_OK)
        return ERR_IO; /* nothing may follow */
    switch (f->kind) {
    case FRAME_TRACK:
    case FRAME_SAMPLE:
        return l->taker->take(l->taker->ctx, &f->recorded);
    case FRAME_REFUSED:
        l->refused = f->e;
        snprintf(l->why, 256, "%.*s", (int)f->why.size, (const char *)f->why.at);
        break;
    case FRAME_END:
        l->ended = true;
        break;
    }
    return ERR_OK;
}

static enum err heard(void *ctx, struct bytes piece)
{
    struct listening *l = ctx;
    struct recording_frame f;
    struct bytes left;
    enum err e = ERR_OK;
    long size = 0;

    builder_add(&l->rest, piece);
    left = builder_bytes(&l->rest);
    while (e == ERR_OK && (size = recording_frame_parse(&f, left)) > 0) {
        e = take_frame(l, &f);
        left = bytes_from(left, (size_t)size);
    }
    if (e == ERR_OK && size == PARSE_BAD)
        e = ERR_IO;
    if (left.size < builder_bytes(&l->rest).size) {
        struct builder rest = {0};

        builder_add(&rest, left);
        builder_drop(&l->rest);
        l->rest = rest;
    }
    return e;
}

static bool keep_on(void *ctx)
{
    const struct listening *l = ctx;

    return l->taker->keep_on == NULL || l->taker->keep_on(l->taker->ctx);
}

enum err recording_read(const char *program, int file, const struct recording_taker *taker, char why[256])
{
    struct listening l = {.taker = taker, .why = why};
    const struct child_job job = {.program = program,
                                  .command = "read-recording",
                                  .file = &file,
                                  .heard = heard,
                                  .ms_max = taker->ms_max,
                                  .keep_on = keep_on,
                                  .ctx = &l};
    struct child_end end;
    enum err e = child_run(&job, &end);

    why[255] = '\0';
    builder_drop(&end.answer);
    builder_drop(&l.rest);
    if (l.refused != ERR_OK)
        return l.refused;
    if (e == ERR_OK && !l.ended) {
        snprintf(why, 256, "the process that read it broke down%s%s", WIFSIGNALED(end.status) ? ": " : "",
                 WIFSIGNALED(end.status) ? strsignal(WTERMSIG(end.status)) : "");
        e = ERR_IO;
    }
    return e;
}
