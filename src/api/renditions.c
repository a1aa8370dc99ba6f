/* api/renditions.c - /api/v1/videos/{id}/renditions: more qualities of a video that has ended, through the queue
 * or by `matinee map` and `matinee reduce` in a shell. */
#include "api/api_int.h"

#include "ladder/ladder.h"

#include <stdio.h>

static bool check_id(struct call *c)
{
    return call_id(c, "video");
}

static void refuse(struct call *c, enum err e, const char *why)
{
    if (e == ERR_BAD)
        call_problem(c, 422, "bad-member", "%s", why);
    else if (e == ERR_UNSUPPORTED || e == ERR_BUSY || e == ERR_LIMIT)
        call_problem(c, 409, "not-possible", "This cannot be done: %s.", why);
    else
        call_error(c, e, "video");
}

/* {"name": "360p"} or "720p:hevc". */
static void add(struct call *c)
{
    static const char *const members[] = {"name", NULL};
    char why[256] = "";
    const char *name;
    enum err e;

    if (!body_only(c, members) || !body_text(c, "name", 32, &name))
        return;
    if (name == NULL)
        refuse(c, ERR_BAD, "'name' is missing; it wants a rendition like 360p.");
    else if ((e = ladder_add(c->api->options.ladder, c->id, name, why)) != ERR_OK)
        refuse(c, e, why);
    else
        call_empty(c, 202);
}

/* What the path calls 720p-hevc was asked for as 720p:hevc. */
static const char *asked_name(struct call *c)
{
    char *dash = strchr(c->parameters[1], '-');

    if (dash != NULL)
        *dash = ':';
    return c->parameters[1];
}

static void tasks(struct call *c)
{
    struct builder lines = {0};
    char why[256] = "";
    enum err e = ladder_tasks(c->api->options.ladder, c->id, asked_name(c), &lines, why);

    if (e != ERR_OK) {
        builder_drop(&lines);
        refuse(c, e, why);
        return;
    }
    call_field(c, "Cache-Control", "no-store");
    call_text(c, 200, "text/tab-separated-values", builder_finish(&lines));
}

/* {"lines": "…"}: what reduce printed. */
static void publish(struct call *c)
{
    static const char *const members[] = {"lines", NULL};
    const json_t *lines = json_object_get(c->body, "lines");
    char why[256] = "";
    enum err e;

    if (!body_only(c, members))
        return;
    if (!json_is_string(lines)) {
        refuse(c, ERR_BAD, "'lines' is missing; it wants what matinee reduce printed, as text.");
        return;
    }
    e = ladder_publish(c->api->options.ladder, c->id, asked_name(c),
                       bytes_of(json_string_value(lines), json_string_length(lines)), why);
    if (e != ERR_OK)
        refuse(c, e == ERR_MISSING && why[0] == 'l' ? ERR_BAD : e, why);
    else
        call_empty(c, 204);
}

const struct route rendition_routes[] = {
    {HTTP_POST, "/api/v1/videos/{}/renditions", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_BLOCKS | ROUTE_JSON,
     check_id, add},
    {HTTP_GET, "/api/v1/videos/{}/renditions/{}/tasks", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_STORE, check_id,
     tasks},
    {HTTP_POST, "/api/v1/videos/{}/renditions/{}/segments",
     ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_BLOCKS | ROUTE_JSON, check_id, publish},
    {.pattern = NULL},
};
