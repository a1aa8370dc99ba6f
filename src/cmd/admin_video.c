/* cmd/admin_video.c - `matinee video list|show|delete`, and which videos a command is about. */
#include "cmd/admin_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err print_video(struct admin *a, json_t *item, void *ctx)
{
    const char *id = json_string_value(json_object_get(item, "id")),
               *state = json_string_value(json_object_get(item, "state")),
               *event = json_string_value(json_object_get(item, "eventId"));

    printf("%s\t%s\t%.3f\t%s\n", id, state ? state : "", json_number_value(json_object_get(item, "duration")),
           event ? event : "");
    return ERR_OK;
}

enum err admin_video_list(struct admin *a)
{
    return admin_each(a, "/api/v1/videos", print_video, NULL);
}

enum err admin_video_show(struct admin *a)
{
    struct answer answer;
    enum err e = admin_call(a, &answer, NULL, "GET", "/api/v1/videos/%s", a->words[0]);

    if (e == ERR_OK)
        print_document(answer.document);
    answer_free(&answer);
    return e;
}

enum err admin_video_delete(struct admin *a)
{
    enum err e = ERR_OK;

    for (int i = 0; i < a->count && e == ERR_OK; i++) {
        struct answer answer;

        e = admin_call(a, &answer, NULL, "DELETE", "/api/v1/videos/%s", a->words[i]);
        answer_free(&answer);
    }
    return e;
}

static void add_name(struct names *n, const char *name)
{
    n->name = mem_resize(n->name, (n->count + 1) * sizeof *n->name);
    n->name[n->count++] = mem_string(name);
}

static enum err add_ended(struct admin *a, json_t *item, void *ctx)
{
    const char *state = json_string_value(json_object_get(item, "state"));

    if (state != NULL && strcmp(state, "ended") == 0)
        add_name(ctx, json_string_value(json_object_get(item, "id")));
    return ERR_OK;
}

enum err admin_videos(struct admin *a, struct names *out)
{
    bool all = config_text(a->options, "all") != NULL;

    *out = (struct names){.count = 0};
    if (all == (a->count > 0)) {
        snprintf(a->why, sizeof a->why, "name the videos, or give --all");
        return ERR_DENIED;
    }
    if (all)
        return admin_each(a, "/api/v1/videos", add_ended, out);
    for (int i = 0; i < a->count; i++)
        add_name(out, a->words[i]);
    return ERR_OK;
}

void names_free(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->name[i]);
    free(n->name);
}
