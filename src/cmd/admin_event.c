/* cmd/admin_event.c - `matinee event …` and `matinee key rotate`. */
#include "cmd/admin_int.h"

#include <stdio.h>
#include <stdlib.h>

void print_document(const json_t *document)
{
    char *text = json_dumps(document, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));

    if (text != NULL)
        puts(text);
    free(text);
}

static enum err print_answer(struct admin *a, const struct request *r, const char *method, const char *path)
{
    struct answer answer;
    enum err e = admin_call(a, &answer, r, method, "%s", path);

    if (e == ERR_OK)
        print_document(answer.document);
    answer_free(&answer);
    return e;
}

/* The path of the event that the first word names, with something behind it. */
static const char *event_path(const struct admin *a, const char *behind, char path[128])
{
    snprintf(path, 128, "/api/v1/events/%.40s%s", a->words[0], behind);
    return path;
}

enum err admin_event_create(struct admin *a)
{
    const char *access = config_text(a->options, "access");
    struct request r = {.document = json_pack("{s:s}", "title", a->words[0])};
    enum err e;

    if (r.document == NULL) {
        snprintf(a->why, sizeof a->why, "the title is no UTF-8");
        return ERR_BAD;
    }
    if (access != NULL)
        json_object_set_new(r.document, "access", json_string(access));
    e = print_answer(a, &r, "POST", "/api/v1/events");
    json_decref(r.document);
    return e;
}

static enum err print_event(struct admin *a, json_t *item, void *ctx)
{
    const char *id = json_string_value(json_object_get(item, "id")),
               *state = json_string_value(json_object_get(item, "state")),
               *title = json_string_value(json_object_get(item, "title"));

    printf("%s\t%s\t%s\n", id, state ? state : "", title ? title : "");
    return ERR_OK;
}

enum err admin_event_list(struct admin *a)
{
    return admin_each(a, "/api/v1/events", print_event, NULL);
}

enum err admin_event_show(struct admin *a)
{
    char path[128];

    return print_answer(a, NULL, "GET", event_path(a, "", path));
}

enum err admin_event_end(struct admin *a)
{
    char path[128];

    return admin_do(a, "POST", event_path(a, "/end", path));
}

enum err admin_event_delete(struct admin *a)
{
    char path[128];

    return admin_do(a, "DELETE", event_path(a, "", path));
}

enum err admin_event_key(struct admin *a)
{
    char path[128];
    struct answer answer;
    enum err e = admin_call(a, &answer, NULL, "POST", "%s", event_path(a, "/stream-key", path));
    const char *key = json_string_value(json_object_get(answer.document, "streamKey"));

    if (e == ERR_OK && key != NULL)
        puts(key);
    answer_free(&answer);
    return e;
}
