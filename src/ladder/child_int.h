/* ladder/child_int.h - a process of ours that does one thing with foreign bytes: from the server's side
 * and its own. */
#ifndef MATINEE_LADDER_CHILD_INT_H
#define MATINEE_LADDER_CHILD_INT_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/err.h"

#define CHILD_PARTS_MAX 4

/* What is asked of a child. */
struct child_job {
    const char *program, *command;       /* `program command` is run */
    struct bytes parts[CHILD_PARTS_MAX]; /* its standard input: these, one behind the other */
    const int *file;                     /* instead of them: this one, to be read from its start */
    size_t answer_bytes_max;             /* of its standard output */
    enum err (*heard)(void *ctx,
                      struct bytes piece); /* instead of an answer: every piece as it comes; may block */
    int64_t ms_max;                        /* until it has said all; 0: for as long as it takes */
    bool (*keep_on)(void *ctx);            /* asked every 200 ms at most; NULL: always */
    void *ctx;
};

struct child_end {
    struct builder answer; /* the caller's, whatever came back */
    int status;            /* as waitpid() says it; -1: it never ran */
    int64_t cpu_ms;        /* of all its life */
};

/* Runs it and waits for its end. ERR_OK: it closed its output; whether it is content, its status says. ERR_TIMEOUT, ERR_LIMIT (it
 * says too much), ERR_CLOSED (keep_on said no), ERR_IO: it was killed, or what `heard` returned. Any thread; several at once. */
must_check enum err child_run(const struct child_job *job, struct child_end *out);

/* The child's side: all of standard input up to its end, and all of `out` to standard output. ERR_LIMIT:
 * more than bytes_max. */
must_check enum err child_read(struct builder *in, size_t bytes_max);
must_check enum err child_write(struct bytes out);

#endif
