/* api/tokens.c - /api/v1/tokens: API tokens of the people who work here. */
#include "api/api_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* --- printing ---------------------------------------------------------------------------------------- */

static json_t *events_json(const struct staff_view *v)
{
    char id[ULID_TEXT_SIZE];
    json_t *events;

    if (v->every_event)
        return json_null();
    events = json_array();
    for (size_t i = 0; i < v->event_count; i++)
        json_array_append_new(events, json_string(ulid_text(v->events[i], id)));
    return events;
}

static json_t *token_json(const struct staff_view *v)
{
    char id[ULID_TEXT_SIZE], created[CLOCK_TEXT_SIZE], used[CLOCK_TEXT_SIZE];

    return json_pack("{s:s,s:s,s:s,s:o,s:s,s:o}", "id", ulid_text(v->id, id), "name", v->name, "role",
                     role_name(v->role), "events", events_json(v), "createdAt",
                     clock_text(v->created_ms, created), "lastUsedAt",
                     v->used_ms > 0 ? json_string(clock_text(v->used_ms, used)) : json_null());
}

/* --- reading ----------------------------------------------------------------------------------------- */

static bool read_role(struct call *c, enum role *out)
{
    const char *text = json_string_value(json_object_get(c->body, "role"));

    if (text != NULL && role_parse(text, out))
        return true;
    call_problem(c, 422, "bad-field",
                 "'role' wants \"admin\", \"producer\", \"moderator\" or \"box-office\".");
    return false;
}

static bool add_event(struct call *c, struct staff_view *v, const json_t *value)
{
    struct event_view event;
    struct ulid id;
    bool good = json_is_string(value) && ulid_parse(bytes_text(json_string_value(value)), &id) &&
                live_event_get(c->api->options.live, id, &event) == ERR_OK;

    if (!good)
        return false;
    event_view_free(&event);
    v->events[v->event_count++] = id;
    return true;
}

/* Left out: all events; a producer's are those that are made with the token. */
static bool read_events(struct call *c, struct staff_view *v)
{
    const json_t *list = json_object_get(c->body, "events");
    size_t count = json_array_size(list);

    v->every_event = v->role != ROLE_PRODUCER && (list == NULL || json_is_null(list));
    if (list == NULL || json_is_null(list))
        return true;
    if (v->role == ROLE_ADMIN) {
        call_problem(c, 422, "bad-field", "'events' is not for an admin, who has all of them.");
        return false;
    }
    v->events = mem_new((count + 1) * sizeof *v->events);
    for (size_t i = 0; i < count && count <= STAFF_EVENTS_MAX && add_event(c, v, json_array_get(list, i));
         i++)
        continue;
    if (json_is_array(list) && v->event_count == count && (count > 0 || v->role == ROLE_PRODUCER))
        return true;
    call_problem(c, 422, "bad-field", "'events' wants a list of up to %d ids of events, or is left out.",
                 STAFF_EVENTS_MAX);
    return false;
}

static bool read_token(struct call *c, struct staff_view *v)
{
    static const char *const allowed[] = {"name", "role", "events", NULL};
    const char *name;

    if (!body_only(c, allowed) || !body_text(c, "name", STAFF_NAME_CHARS, &name))
        return false;
    if (name == NULL) {
        call_problem(c, 422, "bad-field", "'name' is missing: whose token is it?");
        return false;
    }
    v->name = mem_string(name);
    return read_role(c, &v->role) && read_events(c, v);
}

/* --- routes ------------------------------------------------------------------------------------------ */

static void reply_made(struct call *c, const struct staff_view *v, const char *token)
{
    json_t *document = token_json(v);
    char id[ULID_TEXT_SIZE];

    json_object_set_new(document, "token", json_string(token));
    call_field(c, "Location", "/api/v1/tokens/%s", ulid_text(v->id, id));
    call_field(c, "Cache-Control", "no-store");
    call_json(c, 201, document);
}

static void create(struct call *c)
{
    struct staff_view v = {.name = NULL};
    char token[ACCESS_KEY_SIZE];

    if (read_token(c, &v)) {
        enum err e = staff_create(c->api->options.staff, &v, token);

        if (e == ERR_OK)
            reply_made(c, &v, token);
        else if (e == ERR_LIMIT)
            call_problem(c, 409, "too-many-tokens", "There are %d tokens: revoke some that nobody uses.",
                         STAFF_TOKENS_MAX);
        else
            call_error(c, e, "token");
    }
    staff_view_free(&v);
}

static void list(struct call *c)
{
    struct staff_view *views = mem_new((size_t)(c->limit + 1) * sizeof *views);
    size_t count = staff_list(c->api->options.staff, c->after, (size_t)c->limit + 1, views);
    json_t *items = json_array();
    char id[ULID_TEXT_SIZE];

    for (size_t i = 0; i < count; i++) {
        if (i < (size_t)c->limit)
            json_array_append_new(items, token_json(&views[i]));
        else
            call_field(c, "Link", "</api/v1/tokens?limit=%ld&after=%s>; rel=\"next\"", c->limit,
                       ulid_text(views[i - 1].id, id));
    }
    for (size_t i = 0; i < count; i++)
        staff_view_free(&views[i]);
    free(views);
    call_field(c, "Cache-Control", "no-store");
    call_json(c, 200, json_pack("{s:o}", "items", items));
}

static void revoke(struct call *c)
{
    enum err e = staff_revoke(c->api->options.staff, c->id);

    if (e == ERR_OK)
        call_empty(c, 204);
    else
        call_error(c, e, "token");
}

static bool check_id(struct call *c)
{
    return call_id(c, "token");
}

const struct route token_routes[] = {
    {HTTP_POST, "/api/v1/tokens", ROUTE_ADMIN | ROUTE_BLOCKS | ROUTE_JSON, NULL, create},
    {HTTP_GET, "/api/v1/tokens", ROUTE_ADMIN, call_page, list},
    {HTTP_DELETE, "/api/v1/tokens/{}", ROUTE_ADMIN | ROUTE_BLOCKS, check_id, revoke},
    {.pattern = NULL},
};
