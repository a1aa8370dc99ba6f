/* api/tickets.c - tokens of tickets, and the links that the buyer of a group ticket gives away. */
#include "api/booking_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* --- whose ticket it is ---------------------------------------------------------------------------------- */

/* What the reservation c->id opens, and how many people it lets in. False: it has replied. Blocks. */
static bool read_pass(struct call *c, struct ulid reservation, struct pass *out, int64_t *people)
{
    struct reservation_view r = {.customer = NULL};
    enum err e = booking_reservation(c->api->options.booking, reservation, &r);
    bool good = false;

    *out = (struct pass){.id = reservation};
    *people = 0;
    for (size_t i = 0; e == ERR_OK && i < r.unit_count; i++)
        *people += r.units[i].quantity;
    if (e != ERR_OK)
        reply_unseen(c, e, "reservation");
    else if (r.state != RESERVATION_CONFIRMED)
        call_problem(c, 409, reservation_state_name(r.state), "%s",
                     r.state == RESERVATION_HELD ? "Confirm the reservation first: then it is a ticket."
                                                 : "This reservation has ended: make a new one.");
    else if (!live_event_of_inventory(c->api->options.live, r.inventory, &out->event))
        call_problem(c, 409, "no-event", "There is no event that this reservation is a ticket for.");
    else
        good = true;
    reservation_view_free(&r);
    return good;
}

static void reply_away(struct call *c)
{
    call_problem(c, 503, "busy", "The database is away or busy: try again in a moment.");
    call_field(c, "Retry-After", "1");
}

/* --- tokens ---------------------------------------------------------------------------------------------- */

static void give_token(struct call *c, const struct pass *p)
{
    json_t *ticket = door_screen(c, p);

    if (ticket == NULL)
        return;
    call_field(c, "Cache-Control", "no-store");
    call_json(c, 200, ticket);
}

static void get_token(struct call *c)
{
    struct pass p;
    int64_t people;

    if (read_pass(c, c->id, &p, &people))
        give_token(c, &p);
}

/* A link lets in whom the reservation still has a place for: a group that has become smaller keeps its oldest ones. */
static void get_link_token(struct call *c)
{
    struct ticket_link link;
    struct pass p;
    size_t place;
    int64_t people;
    enum err e = tickets_link_get(c->api->options.tickets, c->id, &link, &place);

    if (e == ERR_MISSING) {
        call_problem(c, 404, "not-found",
                     "This link has ended: ask who gave it to you for another, or get a ticket of your own.");
    } else if (e != ERR_OK) {
        reply_away(c);
    } else if (read_pass(c, link.reservation, &p, &people)) {
        p.id = link.id;
        p.is_link = true;
        if ((int64_t)place + 1 < people)
            give_token(c, &p);
        else
            call_problem(c, 409, "no-more-links",
                         "The group's booking has become smaller than its links: "
                         "ask who gave you this one.");
    }
}

/* --- links ----------------------------------------------------------------------------------------------- */

static json_t *link_json(const struct call *c, const struct ticket_link *l, struct ulid event)
{
    char id[ULID_TEXT_SIZE], at[ULID_TEXT_SIZE], made[CLOCK_TEXT_SIZE];

    ulid_text(l->id, id);
    return json_pack("{s:s,s:s,s:s,s:o}", "id", id, "name", l->name, "createdAt",
                     clock_text(l->made_ms, made), "watchUrl",
                     json_sprintf("%s/watch/%s#link=%s", c->origin, ulid_text(event, at), id));
}

static void make_link(struct call *c)
{
    static const char *const allowed[] = {"name", NULL};
    struct ticket_link link;
    struct pass p;
    const char *name;
    int64_t people;
    enum err e;

    if (!body_only(c, allowed) || !body_text(c, "name", LINK_NAME_CHARS, &name))
        return;
    if (name == NULL) {
        call_problem(c, 422, "bad-field", "'name' is missing: who is the link for?");
        return;
    }
    if (!read_pass(c, c->id, &p, &people))
        return;
    e = tickets_link(c->api->options.tickets, c->id, name, (size_t)people - 1, &link);
    if (e == ERR_LIMIT) {
        call_problem(
            c, 409, "no-more-links",
            "This booking is for %lld: one ticket is yours, and all others are given away. Take a link back, "
            "or book more.",
            (long long)people);
    } else if (e != ERR_OK) {
        reply_away(c);
    } else {
        call_field(c, "Cache-Control", "no-store");
        call_json(c, 201, link_json(c, &link, p.event));
    }
}

static void list_links(struct call *c)
{
    struct ticket_link *links;
    struct pass p;
    json_t *items;
    size_t count = 0;
    int64_t people;

    if (!read_pass(c, c->id, &p, &people))
        return;
    links = mem_new(LINKS_MAX * sizeof *links);
    if (tickets_links(c->api->options.tickets, c->id, links, &count) != ERR_OK) {
        reply_away(c);
    } else {
        items = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(items, link_json(c, &links[i], p.event));
        call_field(c, "Cache-Control", "no-store");
        call_json(c, 200, json_pack("{s:o,s:I}", "items", items, "people", (json_int_t)people));
    }
    free(links);
}

static void take_back(struct call *c)
{
    struct ulid link;
    enum err e = ERR_MISSING;

    if (ulid_parse(bytes_text(c->parameters[1]), &link))
        e = tickets_unlink(c->api->options.tickets, c->id, link);
    if (e == ERR_OK)
        call_empty(c, 204);
    else if (e == ERR_MISSING)
        call_error(c, e, "link");
    else
        reply_away(c);
}

static bool check_reservation(struct call *c)
{
    return call_id(c, "reservation");
}

static bool check_link(struct call *c)
{
    return call_id(c, "link");
}

#define BOOKED_AT "/api/v1/reservations/{}"

const struct route ticket_routes[] = {
    {HTTP_POST, BOOKED_AT "/token", ROUTE_BLOCKS | ROUTE_OPEN, check_reservation, get_token},
    {HTTP_DELETE, BOOKED_AT "/token", ROUTE_BLOCKS | ROUTE_OPEN, check_reservation, door_leave},
    {HTTP_POST, BOOKED_AT "/links", ROUTE_BLOCKS | ROUTE_JSON | ROUTE_OPEN, check_reservation, make_link},
    {HTTP_GET, BOOKED_AT "/links", ROUTE_BLOCKS | ROUTE_OPEN, check_reservation, list_links},
    {HTTP_DELETE, BOOKED_AT "/links/{}", ROUTE_BLOCKS | ROUTE_OPEN, check_reservation, take_back},
    {HTTP_POST, "/api/v1/links/{}/token", ROUTE_BLOCKS | ROUTE_OPEN, check_link, get_link_token},
    {HTTP_DELETE, "/api/v1/links/{}/token", ROUTE_BLOCKS | ROUTE_OPEN, check_link, door_leave},
    {.pattern = NULL},
};
