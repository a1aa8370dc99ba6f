/* cmd/admin_pipeline.c - the two ends of a pipeline that makes a rendition in a shell:
 *
 *   matinee video tasks VIDEO NAME | matinee map | sort | matinee reduce | matinee video publish VIDEO NAME */
#include "cmd/admin_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err admin_video_tasks(struct admin *a)
{
    static const struct request r = {.type = "text/tab-separated-values"};
    struct answer answer;
    enum err e =
        admin_call(a, &answer, &r, "GET", "/api/v1/videos/%s/renditions/%s/tasks", a->words[0], a->words[1]);
    struct bytes lines = builder_bytes(&answer.body);

    if (e == ERR_OK && lines.size == 0)
        fprintf(stderr, "nothing is left to do: all of %s is made\n", a->words[1]);
    else if (e == ERR_OK)
        fwrite(lines.at, 1, lines.size, stdout); /* whether it went is asked once, at the end */
    answer_free(&answer);
    return e;
}

static enum err send_lines(struct admin *a, struct bytes lines)
{
    struct request r = {.document = json_pack("{s:s%}", "lines", (const char *)lines.at, lines.size)};
    struct answer answer;
    enum err e;

    if (r.document == NULL) {
        snprintf(a->why, sizeof a->why, "what came by standard input is no text");
        return ERR_BAD;
    }
    e = admin_call(a, &answer, &r, "POST", "/api/v1/videos/%s/renditions/%s/segments", a->words[0],
                   a->words[1]);
    answer_free(&answer);
    json_decref(r.document);
    return e;
}

/* Sends the whole lines of a full buffer, and moves what is begun of the next to its front. */
static enum err send_full(struct admin *a, char *buffer, size_t *have)
{
    const char *end = memrchr(buffer, '\n', *have);
    size_t size = end != NULL ? (size_t)(end - buffer) + 1 : 0;
    enum err e;

    if (size == 0) {
        snprintf(a->why, sizeof a->why, "a line of %zu bytes is none that matinee reduce printed", *have);
        return ERR_BAD;
    }
    e = send_lines(a, bytes_of(buffer, size));
    *have -= size;
    memmove(buffer, buffer + size, *have);
    return e;
}

enum err admin_video_publish(struct admin *a)
{
    char *buffer = mem_new(ADMIN_LINES_BYTES_MAX);
    size_t have = 0, came;
    enum err e = ERR_OK;

    while (e == ERR_OK && (came = fread(buffer + have, 1, ADMIN_LINES_BYTES_MAX - have, stdin)) > 0) {
        have += came;
        if (have == ADMIN_LINES_BYTES_MAX)
            e = send_full(a, buffer, &have);
    }
    if (e == ERR_OK && ferror(stdin)) {
        snprintf(a->why, sizeof a->why, "standard input: %s", strerror(errno));
        e = ERR_IO;
    } else if (e == ERR_OK && have == 0) { /* a pipeline that broke is no success */
        snprintf(a->why, sizeof a->why,
                 "nothing came by standard input; it wants the lines of matinee reduce");
        e = ERR_BAD;
    } else if (e == ERR_OK) {
        e = send_lines(a, bytes_of(buffer, have));
    }
    free(buffer);
    return e;
}
