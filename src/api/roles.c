/* api/roles.c - who may call what: a route says which roles it is for, and the event that it is about says whose. */
#include "api/api_int.h"

#include <stdio.h>
#include <string.h>

static const struct {
    unsigned flag;
    enum role role;
    const char *who; /* for a person */
} roles[] = {{ROUTE_PRODUCER, ROLE_PRODUCER, "the event's producer"},
             {ROUTE_MODERATOR, ROLE_MODERATOR, "its moderators"},
             {ROUTE_BOX_OFFICE, ROLE_BOX_OFFICE, "its box office"}};

#define ROLE_COUNT (sizeof roles / sizeof *roles)

static unsigned roles_of(const struct route *r)
{
    unsigned all = 0;

    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (r->flags & roles[i].flag)
            all |= roles[i].role;
    return all;
}

/* The event that the first id of the path belongs to; zero where there is none. */
static struct ulid event_of_path(const struct call *c)
{
    struct live *live = c->api->options.live;
    const char *pattern = c->route->pattern;
    struct ulid id, event = {{0}};

    if (c->parameters[0] == NULL || !ulid_parse(bytes_text(c->parameters[0]), &id))
        return event;
    if (strncmp(pattern, "/api/v1/events/{}", 17) == 0)
        return id;
    if (strncmp(pattern, "/api/v1/videos/{}", 17) == 0 && live_event_of_video(live, id, &event))
        return event;
    if (strncmp(pattern, "/api/v1/inventories/{}", 22) == 0 && live_event_of_inventory(live, id, &event))
        return event;
    return (struct ulid){{0}};
}

/* "the admin, the event's producer or its moderators" */
static void print_roles(const struct route *r, char text[128])
{
    size_t last = ROLE_COUNT;

    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (r->flags & roles[i].flag)
            last = i;
    snprintf(text, 128, "the admin");
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (r->flags & roles[i].flag)
            snprintf(text + strlen(text), 128 - strlen(text), "%s%s", i == last ? " or " : ", ",
                     roles[i].who);
}

static bool may(const struct call *c)
{
    if (c->role == ROLE_NONE)
        return false;
    if (c->route->flags & ROUTE_NEW && c->role & roles_of(c->route))
        return true;
    return staff_may(c->api->options.staff, c->staff, roles_of(c->route), event_of_path(c));
}

bool call_check_role(struct call *c)
{
    char who[128];

    if (!(c->route->flags & ROUTE_ADMIN) || c->is_admin || may(c))
        return true;
    print_roles(c->route, who);
    if (c->role != ROLE_NONE)
        call_problem(
            c, 403, "role-needed",
            "This call is for %s; this token is for the role '%s', and for its own events where it names some. "
            "Ask the admin for one that may.",
            who, role_name(c->role));
    else
        call_problem(
            c, 401, "admin-token-needed",
            "%s It is for %s. Send 'Authorization: Bearer TOKEN' with the admin token, of the file that the server "
            "names when it starts (admin.token in its data folder), or with one made by POST /api/v1/tokens.",
            c->has_credentials ? "This token is not known here." : "This call wants a token.", who);
    return false;
}

bool call_is_staff(const struct call *c, unsigned wanted, struct ulid event)
{
    return c->is_admin || (c->role != ROLE_NONE && staff_may(c->api->options.staff, c->staff, wanted, event));
}

void call_read_role(struct call *c)
{
    struct bytes authorization = http_field(c->x, "Authorization");

    c->has_credentials = authorization.at != NULL;
    c->is_admin = access_admin_ok(authorization, c->api->admin_token);
    if (c->is_admin || authorization.size <= 7 || !bytes_is_nocase(bytes_head(authorization, 7), "Bearer ") ||
        !staff_check(c->api->options.staff, bytes_from(authorization, 7), &c->staff, &c->role))
        return;
    c->is_admin = c->role == ROLE_ADMIN;
}
