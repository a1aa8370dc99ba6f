/* cmd/admin_rendition.c - more renditions of ended videos: `matinee video transcode` has the server's workers make them;
 * `video tasks` and `video publish` are the two ends of a pipeline that makes them here. */
#include "cmd/admin_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_SIZE     16
#define LOOK_EVERY_US 500000
/* Below HTTP_BODY_BYTES_MAX, were every byte of it to be escaped. */
#define LINES_BYTES_MAX 393216u

/* The name given with --rendition, and what lists and paths call it: 720p:hevc is 720p-hevc there. */
static enum err rendition_of(struct admin *a, char name[NAME_SIZE])
{
    const char *given = config_text(a->options, "rendition");
    char *colon;

    if (given == NULL || strlen(given) >= NAME_SIZE || strpbrk(given, "/?#%& ") != NULL) {
        snprintf(a->why, sizeof a->why, "--rendition wants a name like 360p or 720p:hevc");
        return ERR_DENIED;
    }
    snprintf(name, NAME_SIZE, "%s", given);
    if ((colon = strchr(name, ':')) != NULL)
        *colon = '-';
    return ERR_OK;
}

/* --- through the queue --------------------------------------------------------------------------------- */

/* Asks for the rendition of each video. With --all those it cannot be made of are said and left out. */
static enum err ask_for_all(struct admin *a, struct names *videos)
{
    bool all = config_text(a->options, "all") != NULL;
    struct request r = {.document = json_pack("{s:s}", "name", config_text(a->options, "rendition"))};
    size_t kept = 0;
    enum err e = ERR_OK;

    for (size_t i = 0; i < videos->count; i++) {
        struct answer answer;

        if (e == ERR_OK)
            e = admin_call(a, &answer, &r, "POST", "/api/v1/videos/%s/renditions", videos->name[i]);
        else
            answer = (struct answer){.status = 0};
        answer_free(&answer);
        if (e == ERR_OK) {
            char *swap = videos->name[kept];

            videos->name[kept++] = videos->name[i];
            videos->name[i] = swap;
        } else if (e == ERR_BUSY && all) {
            fprintf(stderr, "%s is left out: %s\n", videos->name[i], a->why);
            e = ERR_OK;
        }
    }
    for (size_t i = kept; i < videos->count; i++)
        free(videos->name[i]);
    videos->count = kept;
    json_decref(r.document);
    return e;
}

/* How much of the rendition is made, 0 to 1; 1 also where it is not wanted any more. */
static enum err look_at(struct admin *a, const char *video, const char *name, double *part, long *gaps)
{
    struct answer answer;
    enum err e = admin_call(a, &answer, NULL, "GET", "/api/v1/videos/%s", video);
    double duration = json_number_value(json_object_get(answer.document, "duration"));
    const json_t *item;
    size_t i;

    *part = 0;
    *gaps = 0;
    json_array_foreach(json_object_get(answer.document, "renditions"), i, item)
    {
        const char *called = json_string_value(json_object_get(item, "name")),
                   *state = json_string_value(json_object_get(item, "state"));

        if (called == NULL || state == NULL || strcmp(called, name) != 0)
            continue;
        *gaps = (long)json_integer_value(json_object_get(item, "gaps"));
        *part = duration > 0 ? 1 - json_number_value(json_object_get(item, "lag")) / duration : 0;
        *part = strcmp(state, "ready") == 0 ? 1 : fmin(fmax(*part, 0), 0.999);
    }
    answer_free(&answer);
    return e;
}

static enum err follow(struct admin *a, const struct names *videos, const char *name)
{
    struct line line;
    double sum = 0, first = -1;
    long gaps = 0;
    enum err e = ERR_OK;

    line_begin(&line);
    while (e == ERR_OK && sum < (double)videos->count) {
        sum = 0;
        gaps = 0;
        for (size_t i = 0; i < videos->count && e == ERR_OK; i++) {
            double part;
            long missing;

            e = look_at(a, videos->name[i], name, &part, &missing);
            sum += part;
            gaps += missing;
        }
        if (first < 0)
            first = sum;
        line_show(&line, name, sum / (double)videos->count, first / (double)videos->count);
        if (e == ERR_OK && sum < (double)videos->count)
            usleep(LOOK_EVERY_US);
    }
    line_end(&line);
    if (e == ERR_OK && gaps > 0) {
        snprintf(a->why, sizeof a->why, "%ld segments could not be made; 'matinee video show' says why",
                 gaps);
        e = ERR_BAD;
    }
    return e;
}

enum err admin_video_transcode(struct admin *a)
{
    struct names videos = {.count = 0};
    char name[NAME_SIZE];
    enum err e = rendition_of(a, name);

    if (e == ERR_OK)
        e = admin_videos(a, &videos);
    if (e == ERR_OK)
        e = ask_for_all(a, &videos);
    if (e == ERR_OK && videos.count > 0 && config_text(a->options, "detach") == NULL)
        e = follow(a, &videos, name);
    names_free(&videos);
    return e;
}

/* --- by a pipeline --------------------------------------------------------------------------------------- */

enum err admin_video_tasks(struct admin *a)
{
    bool all = config_text(a->options, "all") != NULL;
    struct names videos = {.count = 0};
    char name[NAME_SIZE];
    enum err e = rendition_of(a, name);

    if (e == ERR_OK)
        e = admin_videos(a, &videos);
    for (size_t i = 0; i < videos.count && e == ERR_OK; i++) {
        struct answer answer;

        e = admin_call(a, &answer, NULL, "GET", "/api/v1/videos/%s/renditions/%s/tasks", videos.name[i],
                       name);
        struct bytes lines = builder_bytes(&answer.body);

        if (e == ERR_OK && lines.size > 0 && fwrite(lines.at, lines.size, 1, stdout) != 1) {
            snprintf(a->why, sizeof a->why, "standard output cannot be written to");
            e = ERR_CLOSED;
        } else if (e == ERR_BUSY && all) {
            fprintf(stderr, "%s is left out: %s\n", videos.name[i], a->why);
            e = ERR_OK;
        }
        answer_free(&answer);
    }
    names_free(&videos);
    return e;
}

/* Lines of one video and rendition that go together. */
struct batch {
    char video[32], rendition[NAME_SIZE];
    struct builder lines;
};

static enum err send_batch(struct admin *a, struct batch *b)
{
    struct bytes lines = builder_bytes(&b->lines);
    struct request r = {.document = NULL};
    struct answer answer;
    enum err e;

    if (lines.size == 0)
        return ERR_OK;
    r.document = json_pack("{s:s%}", "lines", (const char *)lines.at, lines.size);
    if (r.document == NULL) {
        snprintf(a->why, sizeof a->why, "the lines are none that matinee reduce printed");
        return ERR_BAD;
    }
    e = admin_call(a, &answer, &r, "POST", "/api/v1/videos/%s/renditions/%s/segments", b->video,
                   b->rendition);
    answer_free(&answer);
    json_decref(r.document);
    builder_drop(&b->lines);
    return e;
}

/* Takes VIDEO and RENDITION off a line's key, VIDEO/720p/000012 TAB …; false: it has none. */
static bool read_key(const char *line, struct batch *out)
{
    size_t video = strcspn(line, "/\t\n"), rendition;

    if (line[video] != '/' || video == 0 || video >= sizeof out->video)
        return false;
    rendition = strcspn(line + video + 1, "/\t\n");
    if (line[video + 1 + rendition] != '/' || rendition == 0 || rendition >= sizeof out->rendition ||
        strspn(line, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != video ||
        strspn(line + video + 1, "abcdefghijklmnopqrstuvwxyz0123456789-") != rendition)
        return false;
    snprintf(out->video, sizeof out->video, "%.*s", (int)video, line);
    snprintf(out->rendition, sizeof out->rendition, "%.*s", (int)rendition, line + video + 1);
    return true;
}

static enum err add_line(struct admin *a, struct batch *b, const char *line, size_t size)
{
    struct batch next = {.video = ""};
    enum err e = ERR_OK;

    if (size > LINES_BYTES_MAX || !read_key(line, &next)) {
        snprintf(a->why, sizeof a->why, "'%.60s' is no line that matinee reduce printed",
                 size < 60 ? "this line" : line);
        return ERR_BAD;
    }
    if (strcmp(next.video, b->video) != 0 || strcmp(next.rendition, b->rendition) != 0 ||
        builder_bytes(&b->lines).size + size > LINES_BYTES_MAX)
        e = send_batch(a, b);
    if (e != ERR_OK)
        return e;
    memcpy(b->video, next.video, sizeof b->video);
    memcpy(b->rendition, next.rendition, sizeof b->rendition);
    builder_add(&b->lines, bytes_of(line, size));
    return ERR_OK;
}

enum err admin_video_publish(struct admin *a)
{
    struct batch b = {.video = ""};
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    enum err e = ERR_OK;

    while (e == ERR_OK && (size = getline(&line, &room, stdin)) > 0)
        if (line[0] != '\n')
            e = add_line(a, &b, line, (size_t)size);
    if (e == ERR_OK)
        e = send_batch(a, &b);
    builder_drop(&b.lines);
    free(line);
    return e;
}
