/* cmd/admin_event.c - `matinee event …` and `matinee key rotate`. */
#include "cmd/admin_int.h"

#include <stdio.h>
#include <string.h>

/* --- printing ------------------------------------------------------------------------------------------ */

static void add_line(struct table *t, const char *label, const char *text)
{
    if (text == NULL)
        return;
    table_add(t, label);
    table_add(t, text);
}

static void add_upload(struct table *t, const json_t *upload)
{
    const char *state = text_of(upload, "state"), *problem = text_of(upload, "problem");

    if (state == NULL)
        return;
    table_add(t, "upload");
    if (problem != NULL)
        table_printf(t, "%s: %s", state, problem);
    else if (strcmp(state, "receiving") == 0)
        table_printf(t, "%s, %.1f of %.1f MB", state,
                     json_number_value(json_object_get(upload, "received")) / 1e6,
                     json_number_value(json_object_get(upload, "total")) / 1e6);
    else
        table_add(t, state);
}

static void add_health(struct table *t, const json_t *health)
{
    const char *picture = text_of(health, "videoCodec"), *sound = text_of(health, "audioCodec");
    const json_t *note;

    if (!json_is_object(health))
        return;
    table_add(t, "publishing");
    table_printf(t, "%d x %d, %.0f pictures a second, %.0f kbit/s, %s and %s",
                 (int)json_integer_value(json_object_get(health, "width")),
                 (int)json_integer_value(json_object_get(health, "height")),
                 json_number_value(json_object_get(health, "fps")),
                 json_number_value(json_object_get(health, "bitrate")) / 1000, picture ? picture : "?",
                 sound ? sound : "?");
    for (size_t i = 0; (note = json_array_get(json_object_get(health, "notes"), i)) != NULL; i++)
        add_line(t, "note", json_string_value(note));
}

/* One event, a line for each thing that is known of it. */
static void print_event(const json_t *event)
{
    struct table t = {.columns = 2};
    const json_t *video;

    add_line(&t, "id", text_of(event, "id"));
    add_line(&t, "title", text_of(event, "title"));
    add_line(&t, "state", text_of(event, "state"));
    add_line(&t, "access", text_of(event, "access"));
    add_line(&t, "starts at", text_of(event, "startsAt"));
    add_line(&t, "created at", text_of(event, "createdAt"));
    add_line(&t, "watch at", text_of(event, "watchUrl"));
    add_line(&t, "publish to", text_of(event, "publishUrl"));
    add_line(&t, "stream key", text_of(event, "streamKey"));
    for (size_t i = 0; (video = json_array_get(json_object_get(event, "videos"), i)) != NULL; i++)
        add_line(&t, "video", json_string_value(video));
    add_upload(&t, json_object_get(event, "upload"));
    add_health(&t, json_object_get(event, "health"));
    print_table(&t);
}

/* Makes a call that answers with an event, and prints it. `document` may be NULL. */
static enum err print_answer(struct admin *a, json_t *document, const char *method, const char *path)
{
    struct request r = {.wants = "id", .document = document};
    struct answer answer;
    enum err e = admin_call(a, &answer, &r, method, "%s", path);

    if (e == ERR_OK && a->wants_json)
        print_body(&answer);
    else if (e == ERR_OK)
        print_event(answer.document);
    answer_free(&answer);
    return e;
}

/* --- verbs --------------------------------------------------------------------------------------------- */

#define PATH_SIZE 96

/* The path of the event that the first word names, with something behind it. */
static const char *event_path(const struct admin *a, const char *behind, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "/api/v1/events/%.40s%s", a->words[0], behind);
    return path;
}

/* Sets members for the options that were given; `title` may be NULL. ERR_BAD: something is no UTF-8. */
static enum err set_members(struct admin *a, json_t *document, const char *title)
{
    const char *start = config_text(a->options, "starts-at"), *access = config_text(a->options, "access");
    bool is_unset = start != NULL && strcmp(start, "none") == 0;

    if ((title == NULL || json_object_set_new(document, "title", json_string(title)) == 0) &&
        (start == NULL ||
         json_object_set_new(document, "startsAt", is_unset ? json_null() : json_string(start)) == 0) &&
        (access == NULL || json_object_set_new(document, "access", json_string(access)) == 0))
        return ERR_OK;
    snprintf(a->why, sizeof a->why, "the title and the options want text in UTF-8");
    return ERR_BAD;
}

/* On how many screens, and what one more does; whether they are good the server says. */
static enum err set_screens(struct admin *a, json_t *document)
{
    const char *screens = config_text(a->options, "screens"), *rule = config_text(a->options, "new-screen");
    uint64_t number = 0;

    if (screens != NULL && strcmp(screens, "any") == 0) {
        json_object_set_new(document, "screens", json_null());
    } else if (screens != NULL) {
        if (!bytes_to_u64(bytes_text(screens), INT32_MAX, &number)) {
            snprintf(a->why, sizeof a->why, "--screens wants a whole number, or any");
            return ERR_BAD;
        }
        json_object_set_new(document, "screens", json_integer((json_int_t)number));
    }
    if (rule == NULL || json_object_set_new(document, "newScreen", json_string(rule)) == 0)
        return ERR_OK;
    snprintf(a->why, sizeof a->why, "--new-screen wants text in UTF-8");
    return ERR_BAD;
}

enum err admin_event_create(struct admin *a)
{
    json_t *document = json_object();
    enum err e = set_members(a, document, a->words[0]);

    if (e == ERR_OK)
        e = set_screens(a, document);
    if (e == ERR_OK)
        e = print_answer(a, document, "POST", "/api/v1/events");
    json_decref(document);
    return e;
}

enum err admin_event_change(struct admin *a)
{
    json_t *document = json_object();
    char path[PATH_SIZE];
    enum err e = set_members(a, document, config_text(a->options, "title"));

    if (e == ERR_OK)
        e = set_screens(a, document);
    if (e == ERR_OK)
        e = print_answer(a, document, "PATCH", event_path(a, "", path));
    json_decref(document);
    return e;
}

static void add_row(struct table *t, const json_t *event)
{
    table_add(t, text_of(event, "id"));
    table_add(t, text_of(event, "state"));
    table_add(t, text_of(event, "access"));
    table_add(t, text_of(event, "startsAt"));
    table_add(t, text_of(event, "video"));
    table_add(t, text_of(event, "title"));
}

enum err admin_event_list(struct admin *a)
{
    static const char *const heads[] = {"ID", "STATE", "ACCESS", "STARTS AT", "VIDEO", "TITLE", NULL};

    return print_list(a, "/api/v1/events", &(struct listing){heads, add_row});
}

enum err admin_event_show(struct admin *a)
{
    char path[PATH_SIZE];

    return print_answer(a, NULL, "GET", event_path(a, "", path));
}

enum err admin_event_end(struct admin *a)
{
    char path[PATH_SIZE];

    return print_answer(a, NULL, "POST", event_path(a, "/end", path));
}

enum err admin_event_delete(struct admin *a)
{
    return admin_delete_all(a, "/api/v1/events");
}

enum err admin_key_rotate(struct admin *a)
{
    static const struct request r = {.wants = "streamKey"};
    char path[PATH_SIZE];
    struct answer answer;
    enum err e = admin_call(a, &answer, &r, "POST", "%s", event_path(a, "/stream-key", path));
    const char *key = text_of(answer.document, "streamKey");

    if (e == ERR_OK && a->wants_json)
        print_body(&answer);
    else if (e == ERR_OK)
        puts(key ? key : "");
    answer_free(&answer);
    return e;
}
