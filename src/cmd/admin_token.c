/* cmd/admin_token.c - `matinee token …`: who works here, by API tokens. */
#include "cmd/admin_int.h"

#include <stdio.h>
#include <string.h>

/* --- printing ------------------------------------------------------------------------------------------ */

/* "all", "-" for none yet, or how many. */
static void add_events(struct table *t, const json_t *token)
{
    const json_t *events = json_object_get(token, "events");

    if (json_is_array(events) && json_array_size(events) > 0)
        table_printf(t, "%zu", json_array_size(events));
    else
        table_add(t, json_is_null(events) ? "all" : NULL);
}

static void print_token(const json_t *token)
{
    static const char *const texts[][2] = {
        {"id", "id"}, {"name", "name"}, {"role", "role"}, {"created at", "createdAt"}, {"token", "token"}};
    struct table t = {.columns = 2};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        table_add(&t, texts[i][0]);
        table_add(&t, text_of(token, texts[i][1]));
    }
    table_add(&t, "events");
    add_events(&t, token);
    print_table(&t);
}

/* --- verbs --------------------------------------------------------------------------------------------- */

/* Ids with commas between them, as a list. False: no UTF-8. */
static bool set_events(json_t *document, const char *text)
{
    json_t *list = json_array();

    json_object_set_new(document, "events", list);
    while (*text != '\0') {
        size_t size = strcspn(text, ",");

        if (json_array_append_new(list, json_stringn(text, size)) != 0)
            return false;
        text += size + (text[size] == ',');
    }
    return true;
}

enum err admin_token_create(struct admin *a)
{
    const char *events = config_text(a->options, "events");
    json_t *document = json_object();
    struct request r = {.wants = "token", .document = document};
    struct answer answer = {.status = 0};
    enum err e = ERR_OK;

    if (json_object_set_new(document, "name", json_string(a->words[0])) != 0 ||
        json_object_set_new(document, "role", json_string(config_text(a->options, "role"))) != 0 ||
        (events != NULL && !set_events(document, events))) {
        snprintf(a->why, sizeof a->why, "the name and the options want text in UTF-8");
        e = ERR_BAD;
    }
    if (e == ERR_OK)
        e = admin_call(a, &answer, &r, "POST", "/api/v1/tokens");
    if (e == ERR_OK && a->wants_json)
        print_body(&answer);
    else if (e == ERR_OK)
        print_token(answer.document);
    answer_free(&answer);
    json_decref(document);
    return e;
}

static void add_row(struct table *t, const json_t *token)
{
    table_add(t, text_of(token, "id"));
    table_add(t, text_of(token, "role"));
    add_events(t, token);
    table_add(t, text_of(token, "createdAt"));
    table_add(t, text_of(token, "lastUsedAt"));
    table_add(t, text_of(token, "name"));
}

enum err admin_token_list(struct admin *a)
{
    static const char *const heads[] = {"ID", "ROLE", "EVENTS", "CREATED AT", "LAST USED AT", "NAME", NULL};

    return print_list(a, "/api/v1/tokens", &(struct listing){heads, add_row});
}

enum err admin_token_revoke(struct admin *a)
{
    return admin_delete_all(a, "/api/v1/tokens");
}
