/* cmd/admin_comments.c - `matinee video comments VIDEO --export|--import`: a video's comments as lines of JSON, out of one store
 * and into another. An import may be broken off and repeated: what is there already stays as it is. */
#include "cmd/admin_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err export_all(struct admin *a)
{
    static const struct request r = {.type = "application/x-ndjson"};
    char *path = mem_printf("/api/v1/videos/%s/comments/export", a->words[0]);
    enum err e = ERR_OK;

    while (path != NULL && e == ERR_OK) {
        struct answer answer;

        e = admin_call(a, &answer, &r, "GET", "%s", path);
        if (e == ERR_OK)
            fwrite(builder_bytes(&answer.body).at, 1, builder_bytes(&answer.body).size, stdout);
        free(path);
        path = e == ERR_OK && answer.next != NULL ? mem_string(answer.next) : NULL;
        answer_free(&answer);
    }
    free(path);
    return e;
}

/* What has been told of all pieces. */
struct sums {
    json_int_t imported, known, conflicts;
};

static enum err send_lines(struct admin *a, struct bytes lines, struct sums *sums)
{
    char *text = mem_text(lines.at, lines.size);
    struct request r = {.lines = text, .wants = "imported"};
    struct answer answer;
    enum err e = admin_call(a, &answer, &r, "POST", "/api/v1/videos/%s/comments/import", a->words[0]);

    if (e == ERR_OK) {
        sums->imported += json_integer_value(json_object_get(answer.document, "imported"));
        sums->known += json_integer_value(json_object_get(answer.document, "known"));
        sums->conflicts += json_integer_value(json_object_get(answer.document, "conflicts"));
    }
    answer_free(&answer);
    free(text);
    return e;
}

/* Sends the whole lines of what has come, and moves what is begun of the next to the front. */
static enum err send_whole(struct admin *a, char *buffer, size_t *have, bool all, struct sums *sums)
{
    const char *end = all ? buffer + *have - 1 : memrchr(buffer, '\n', *have);
    size_t size = end != NULL ? (size_t)(end - buffer) + 1 : 0;
    enum err e;

    if (size == 0) {
        snprintf(a->why, sizeof a->why, "a line of %zu bytes is none that an export has", *have);
        return ERR_BAD;
    }
    e = send_lines(a, bytes_of(buffer, size), sums);
    *have -= size;
    memmove(buffer, buffer + size, *have);
    return e;
}

static enum err import_all(struct admin *a)
{
    char *buffer = mem_new(ADMIN_LINES_BYTES_MAX);
    struct sums sums = {0};
    size_t have = 0, came;
    enum err e = ERR_OK;

    while (e == ERR_OK && (came = fread(buffer + have, 1, ADMIN_LINES_BYTES_MAX - have, stdin)) > 0) {
        have += came;
        if (have == ADMIN_LINES_BYTES_MAX)
            e = send_whole(a, buffer, &have, false, &sums);
    }
    if (e == ERR_OK && ferror(stdin)) {
        snprintf(a->why, sizeof a->why, "standard input: %s", strerror(errno));
        e = ERR_IO;
    }
    if (e == ERR_OK && have > 0)
        e = send_whole(a, buffer, &have, true, &sums);
    if (e == ERR_OK)
        printf("%lld imported, %lld were there already, %lld have an id that means something else here\n",
               (long long)sums.imported, (long long)sums.known, (long long)sums.conflicts);
    free(buffer);
    return e;
}

enum err admin_video_comments(struct admin *a)
{
    bool out = config_text(a->options, "export") != NULL, in = config_text(a->options, "import") != NULL;

    if (out == in) {
        snprintf(a->why, sizeof a->why, "give one of --export and --import");
        return ERR_BAD;
    }
    return out ? export_all(a) : import_all(a);
}
