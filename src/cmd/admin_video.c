/* cmd/admin_video.c - `matinee video list|show|delete|download`. */
#include "cmd/admin_int.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- lists --------------------------------------------------------------------------------------------- */

/* "source audio 360p 240p*": a star for those that are not whole. */
static void add_renditions(struct table *t, const json_t *video)
{
    struct builder names = {0};
    bool is_live = strcmp(text_of(video, "state") ? text_of(video, "state") : "", "live") == 0;
    const json_t *r;

    for (size_t i = 0; (r = json_array_get(json_object_get(video, "renditions"), i)) != NULL; i++) {
        const char *name = text_of(r, "name"), *state = text_of(r, "state");
        bool is_whole = is_live || (state != NULL && strcmp(state, "ready") == 0);

        builder_printf(&names, "%s%s%s", i > 0 ? " " : "", name ? name : "?", is_whole ? "" : "*");
    }
    builder_u8(&names, '\0');
    table_add(t, (const char *)builder_bytes(&names).at);
    builder_drop(&names);
}

static void add_row(struct table *t, const json_t *video)
{
    char duration[DURATION_TEXT_SIZE];

    table_add(t, text_of(video, "id"));
    table_add(t, text_of(video, "state"));
    table_add(t, duration_text(json_number_value(json_object_get(video, "duration")), duration));
    table_add(t, text_of(video, "eventId"));
    add_renditions(t, video);
}

enum err admin_video_list(struct admin *a)
{
    static const char *const heads[] = {"ID", "STATE", "DURATION", "EVENT", "RENDITIONS", NULL};

    return print_list(a, "/api/v1/videos", &(struct listing){heads, add_row});
}

/* --- one video ----------------------------------------------------------------------------------------- */

static void print_renditions(const json_t *renditions)
{
    static const char *const heads[] = {"RENDITION", "SIZE", "KBIT/S", "CODECS", "STATE", "GAPS"};
    struct table t = {.columns = sizeof heads / sizeof *heads};
    const json_t *r;

    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, heads[i]);
    for (size_t i = 0; (r = json_array_get(renditions, i)) != NULL; i++) {
        long gaps = (long)json_integer_value(json_object_get(r, "gaps"));
        const char *reason = text_of(r, "reason");

        table_add(&t, text_of(r, "name"));
        if (json_object_get(r, "height") != NULL)
            table_printf(&t, "%d x %d", (int)json_integer_value(json_object_get(r, "width")),
                         (int)json_integer_value(json_object_get(r, "height")));
        else
            table_add(&t, NULL);
        table_printf(&t, "%.0f", json_number_value(json_object_get(r, "bandwidth")) / 1000);
        table_add(&t, text_of(r, "codecs"));
        table_add(&t, text_of(r, "state"));
        if (gaps > 0)
            table_printf(&t, "%ld: %s", gaps, reason ? reason : "");
        else
            table_add(&t, NULL);
    }
    print_table(&t);
}

static void print_video(const json_t *video)
{
    struct table t = {.columns = 2};
    char duration[DURATION_TEXT_SIZE];

    table_add(&t, "id");
    table_add(&t, text_of(video, "id"));
    table_add(&t, "event");
    table_add(&t, text_of(video, "eventId"));
    table_add(&t, "state");
    table_add(&t, text_of(video, "state"));
    table_add(&t, "created at");
    table_add(&t, text_of(video, "createdAt"));
    table_add(&t, "duration");
    table_printf(&t, "%s, %d segments",
                 duration_text(json_number_value(json_object_get(video, "duration")), duration),
                 (int)json_integer_value(json_object_get(video, "segments")));
    print_table(&t);
    putchar('\n');
    print_renditions(json_object_get(video, "renditions"));
}

enum err admin_video_show(struct admin *a)
{
    static const struct request r = {.wants = "renditions"};
    struct answer answer;
    enum err e = admin_call(a, &answer, &r, "GET", "/api/v1/videos/%s", a->words[0]);

    if (e == ERR_OK && a->wants_json)
        print_body(&answer);
    else if (e == ERR_OK)
        print_video(answer.document);
    answer_free(&answer);
    return e;
}

enum err admin_delete_all(struct admin *a, const char *path)
{
    enum err first = ERR_OK;

    for (int i = 0; i < a->count; i++) {
        struct answer answer;
        enum err e = admin_call(a, &answer, NULL, "DELETE", "%s/%s", path, a->words[i]);

        answer_free(&answer);
        if (e == ERR_OK)
            continue;
        admin_complain(a, a->count > 1 ? a->words[i] : NULL);
        first = first == ERR_OK ? e : first;
        if (e != ERR_MISSING && e != ERR_BUSY)
            break; /* it will not go better with the next */
    }
    return first;
}

enum err admin_video_delete(struct admin *a)
{
    return admin_delete_all(a, "/api/v1/videos");
}

/* --- downloads ----------------------------------------------------------------------------------------- */

static void show_download(void *ctx, uint64_t bytes)
{
    progress_show(ctx, (double)bytes);
}

static enum err download(struct admin *a, int sink)
{
    struct progress progress;
    struct request r = {
        .has_sink = true, .sink = sink, .moved = show_download, .ctx = &progress, .type = "video/mp4"};
    struct answer answer;
    enum err e;

    progress_begin(&progress, "downloading", true, 0); /* it is made as it goes: nobody knows its size */
    e = admin_call(a, &answer, &r, "GET", "/api/v1/videos/%s/download", a->words[0]);
    progress_end(&progress);
    answer_free(&answer);
    return e;
}

/* What is not whole yet has another name: FILE.part. */
static enum err download_to(struct admin *a, const char *name)
{
    char *part = mem_printf("%s.part", name);
    int file = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    enum err e;

    if (file < 0) {
        snprintf(a->why, sizeof a->why, "%.200s: %s", part, strerror(errno));
        e = ERR_BAD;
        goto out;
    }
    e = download(a, file);
    if (close(file) != 0 && e == ERR_OK) {
        snprintf(a->why, sizeof a->why, "it cannot be written: %s", strerror(errno));
        e = ERR_BAD;
    }
    if (e == ERR_OK && rename(part, name) != 0) {
        snprintf(a->why, sizeof a->why, "%.200s: %s", name, strerror(errno));
        e = ERR_BAD;
    }
    if (e != ERR_OK)
        unlink(part);
out:
    free(part);
    return e;
}

enum err admin_video_download(struct admin *a)
{
    return strcmp(a->words[1], "-") == 0 ? download(a, STDOUT_FILENO) : download_to(a, a->words[1]);
}
