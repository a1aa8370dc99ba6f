/* api/door.c - the door of a ticketed show: which token a request carries, whether it opens the video, and who is given one. */
#include "api/api_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define COOKIE "matinee-ticket"

/* --- what a request carries ---------------------------------------------------------------------------- */

static bool keep(struct bytes given, char token[TICKET_TEXT_SIZE])
{
    bool fits = given.size < TICKET_TEXT_SIZE;

    memcpy(token, given.at, fits ? given.size : 0);
    token[fits ? given.size : 0] = '\0';
    return true;
}

/* The value of our cookie (RFC 6265 §5.4); empty where it is not there. */
static struct bytes cookie_of(struct bytes field)
{
    static const char name[] = COOKIE "=";

    while (field.size > 0) {
        long end = bytes_find(field, ';');
        struct bytes one = bytes_head(field, end < 0 ? field.size : (size_t)end);

        while (one.size > 0 && one.at[0] == ' ')
            one = bytes_from(one, 1);
        if (bytes_starts(one, name))
            return bytes_from(one, sizeof name - 1);
        field = end < 0 ? bytes_of(NULL, 0) : bytes_from(field, (size_t)end + 1);
    }
    return field;
}

bool door_token(const struct http_exchange *x, char token[TICKET_TEXT_SIZE], bool *in_query)
{
    struct bytes authorization = http_field(x, "Authorization"), cookie;
    bool present;

    *in_query = false;
    if (authorization.size > 7 && bytes_is_nocase(bytes_head(authorization, 7), "Bearer "))
        return keep(bytes_from(authorization, 7), token);
    if (authorization.at != NULL)
        return keep(bytes_of("", 0), token);
    if (!http_query_get(x, "token", token, TICKET_TEXT_SIZE, &present))
        token[0] = '\0';
    if (present) {
        *in_query = true;
        return true;
    }
    cookie = cookie_of(http_field(x, "Cookie"));
    return cookie.size > 0 && keep(cookie, token);
}

void door_set_cookie(struct http_exchange *x, struct ulid video, const char *token)
{
    static const char *const paths[] = {"/v", "/api/v1/videos"};
    char id[ULID_TEXT_SIZE];

    ulid_text(video, id);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        http_addf(x, "Set-Cookie", COOKIE "=%s; Path=%s/%s/; Max-Age=%d; HttpOnly; SameSite=Lax%s", token,
                  paths[i], id, TICKET_SECONDS, strncmp(http_origin(x), "https:", 6) == 0 ? "; Secure" : "");
}

/* --- whether it opens ---------------------------------------------------------------------------------- */

const struct refusal *door_refuses(struct api *a, const struct video_view *v, const char *token)
{
    static const struct refusal none = {
        401, "ticket-needed",
        "This video is for ticket holders: send the token of a ticket as a bearer's or as ?token=."};
    static const struct refusal refusals[] = {
        [TICKET_FOREIGN] = {403, "ticket-refused", "This token is none of this server's."},
        [TICKET_EXPIRED] = {403, "ticket-expired",
                            "This token has expired: fetch a fresh one for the reservation."},
        [TICKET_EARLY] = {403, "ticket-refused",
                          "This token is not good yet: the clocks of the servers differ."},
        [TICKET_OTHER] = {403, "ticket-refused", "This token is for another event."},
        [TICKET_REVOKED] = {403, "ticket-revoked",
                            "The reservation of this ticket was cancelled, or its token replaced."},
    };
    enum ticket_verdict verdict;

    if (token == NULL)
        return &none;
    verdict = tickets_check(a->options.tickets, bytes_text(token), v->event, NULL);
    return verdict == TICKET_GOOD ? NULL : &refusals[verdict];
}

/* --- who is given one ---------------------------------------------------------------------------------- */

json_t *door_ticket(struct call *c, const struct reservation_view *r, const char *held)
{
    struct tickets *tickets = c->api->options.tickets;
    struct ulid event, session = {{0}};
    struct ticket t;
    char token[TICKET_TEXT_SIZE], id[ULID_TEXT_SIZE], expires[CLOCK_TEXT_SIZE];

    if (!live_event_of_inventory(c->api->options.live, r->inventory, &event))
        return NULL;
    if (held != NULL && tickets_check(tickets, bytes_text(held), event, &t) != TICKET_FOREIGN &&
        ulid_equal(t.reservation, r->id))
        session = t.session;
    ulid_text(event, id);
    tickets_issue(tickets, r->id, event, session, &t, token);
    return json_pack("{s:s,s:s,s:s,s:o}", "token", token, "expiresAt",
                     clock_text(t.expires_s * 1000, expires), "eventId", id, "watchUrl",
                     json_sprintf("%s/watch/%s#ticket=%s", c->origin, id, token));
}

enum err door_close(struct api *a, struct ulid reservation)
{
    struct reservation_view r = {.customer = NULL};
    struct ulid event;
    enum err e = booking_reservation(a->options.booking, reservation, &r);

    if (e == ERR_OK && r.state == RESERVATION_CONFIRMED &&
        live_event_of_inventory(a->options.live, r.inventory, &event))
        e = tickets_revoke(a->options.tickets, reservation);
    reservation_view_free(&r);
    return e == ERR_MISSING ? ERR_OK : e; /* the box office says so */
}
