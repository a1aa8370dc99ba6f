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

/* Who works at the event has no ticket. */
static bool is_staff(struct api *a, const struct video_view *v, const char *token)
{
    struct ulid id;
    enum role role;

    return staff_check(a->options.staff, bytes_text(token), &id, &role) &&
           staff_may(a->options.staff, id, ROLE_PRODUCER | ROLE_MODERATOR, v->event);
}

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
        [TICKET_NO_SCREEN] = {403, "screen-needed",
                              "This token is for asking, not for watching: send it to POST "
                              "/api/v1/reservations/{id}/token, whose answer has one for this screen."},
        [TICKET_REVOKED] = {403, "ticket-revoked",
                            "The reservation of this ticket was cancelled, or its token replaced."},
        [TICKET_TAKEN_OVER] =
            {403, "taken-over",
             "This ticket is being watched on another screen now. To watch here instead, ask for "
             "a token without sending the old one."},
    };
    enum ticket_verdict verdict;

    if (token == NULL)
        return &none;
    verdict = tickets_check(a->options.tickets, bytes_text(token), v->event, NULL);
    if (verdict == TICKET_GOOD || (verdict == TICKET_FOREIGN && is_staff(a, v, token)))
        return NULL;
    return &refusals[verdict];
}

/* --- whether it still does ----------------------------------------------------------------------------- */

struct stay {
    struct api *api;
    struct ulid video, event;
    bool is_admin, has_ticket; /* by the token that lies in a file, or */
    struct ticket ticket;
    struct ulid staff; /* an API token; zero: none */
};

struct stay *door_stay_new(struct call *c)
{
    struct stay *s = mem_new(sizeof *s);

    *s = (struct stay){.api = c->api, .video = c->view->id, .event = c->view->event, .staff = c->staff};
    s->is_admin = c->is_admin && ulid_is_zero(c->staff);
    s->has_ticket = c->token != NULL && tickets_check(c->api->options.tickets, bytes_text(c->token),
                                                      c->view->event, &s->ticket) == TICKET_GOOD;
    return s;
}

bool door_may_stay(const struct stay *s)
{
    bool known;
    struct video_view *v = live_video_peek(s->api->options.live, s->video, &known);
    bool is_open = v == NULL || v->access == ACCESS_PUBLIC;

    video_view_unref(v);
    if (is_open || s->is_admin)
        return true;
    if (!ulid_is_zero(s->staff))
        return staff_may(s->api->options.staff, s->staff, ROLE_PRODUCER | ROLE_MODERATOR, s->event);
    return s->has_ticket && tickets_may_stay(s->api->options.tickets, &s->ticket);
}

void door_stay_free(struct stay *s)
{
    free(s);
}

/* --- who is given one ---------------------------------------------------------------------------------- */

static json_t *ticket_json(struct call *c, const struct pass *p, const struct ticket *t, const char *token,
                           struct screen_rule rule)
{
    char event[ULID_TEXT_SIZE], pass[ULID_TEXT_SIZE], expires[CLOCK_TEXT_SIZE], shown[TICKET_TEXT_SIZE];
    struct ticket unbound;

    /* The link may be copied: whoever opens it elsewhere is a screen of their own. */
    ulid_text(p->event, event);
    ulid_text(p->id, pass);
    snprintf(shown, sizeof shown, "%s", token);
    if (rule.count > 0 && !ulid_is_zero(t->session))
        tickets_issue(c->api->options.tickets, p->id, p->event, (struct ulid){{0}}, c->came_ms, &unbound,
                      shown);
    return json_pack("{s:s,s:s,s:s,s:o,s:i}", "token", token, "expiresAt",
                     clock_text(t->expires_s * 1000, expires), "eventId", event, "watchUrl",
                     json_sprintf("%s/watch/%s#%s=%s", c->origin, event, p->is_link ? "link" : "ticket",
                                  p->is_link ? pass : shown),
                     "renewSeconds", rule.count > 0 ? SCREEN_RENEW_SECONDS : TICKET_RENEW_SECONDS);
}

/* The session of the token that the caller has already, if that is one of this pass; its screen goes on. */
static struct ulid held_session(struct call *c, const struct pass *p)
{
    struct ticket t;

    if (c->token != NULL &&
        tickets_check(c->api->options.tickets, bytes_text(c->token), p->event, &t) != TICKET_FOREIGN &&
        ulid_equal(t.pass, p->id))
        return t.session;
    return (struct ulid){{0}};
}

static json_t *issue(struct call *c, const struct pass *p, struct ulid session, struct screen_rule rule)
{
    struct ticket t;
    char token[TICKET_TEXT_SIZE];

    tickets_issue(c->api->options.tickets, p->id, p->event, session, c->came_ms, &t, token);
    return ticket_json(c, p, &t, token, rule);
}

json_t *door_ticket(struct call *c, const struct reservation_view *r)
{
    struct pass p = {.id = r->id};
    struct screen_rule rule;
    struct ulid session;

    if (!live_event_of_inventory(c->api->options.live, r->inventory, &p.event))
        return NULL;
    session = held_session(c, &p);
    rule = live_event_screens(c->api->options.live, p.event);
    if (rule.count == 0 && ulid_is_zero(session))
        session = ulid_secret();
    return issue(c, &p, session, rule);
}

static void reply_no_screen(struct call *c, enum screen_answer answer, struct screen_rule rule)
{
    if (answer == SCREEN_FULL)
        call_problem(
            c, 409, "screens-full",
            "This ticket is being watched on %u screen%s, and is good for no more. Close the show there: "
            "its place is free %d s later.",
            rule.count, rule.count == 1 ? "" : "s", SCREEN_HOLD_SECONDS);
    else
        call_problem(
            c, 409, "taken-over",
            "This ticket is being watched on another screen now. To watch here instead, ask for a token "
            "without sending the old one.");
    call_field(c, "Retry-After", "%d", answer == SCREEN_FULL ? SCREEN_HOLD_SECONDS : 1);
}

json_t *door_screen(struct call *c, const struct pass *p)
{
    struct screen_rule rule = live_event_screens(c->api->options.live, p->event);
    struct ulid session = held_session(c, p);
    enum screen_answer answer = SCREEN_GIVEN;
    enum err e = ERR_OK;

    if (rule.count == 0)
        session = ulid_is_zero(session) ? ulid_secret() : session;
    else
        e = tickets_screen(c->api->options.tickets, p->id, rule, c->came_ms, &session, &answer);
    if (e == ERR_OK && answer == SCREEN_GIVEN)
        return issue(c, p, session, rule);
    if (e == ERR_OK) {
        reply_no_screen(c, answer, rule);
        return NULL;
    }
    call_problem(c, 503, "busy", "The database is away or busy: try again in a moment.");
    call_field(c, "Retry-After", "1");
    return NULL;
}

void door_leave(struct call *c)
{
    struct ticket t;
    enum err e = ERR_OK;

    if (c->token == NULL) {
        call_problem(c, 401, "ticket-needed", "Send the token of the screen that closes.");
    } else if (tickets_check(c->api->options.tickets, bytes_text(c->token), (struct ulid){{0}}, &t) ==
                   TICKET_FOREIGN ||
               !ulid_equal(t.pass, c->id)) {
        call_problem(c, 403, "ticket-refused", "This token is of another ticket, or of no ticket at all.");
    } else {
        if (live_event_screens(c->api->options.live, t.event).count > 0)
            e = tickets_leave(c->api->options.tickets, &t);
        if (e == ERR_OK)
            call_empty(c, 204);
        else
            call_error(c, e, "screen");
    }
}

enum err door_close(struct api *a, struct ulid reservation, int64_t version)
{
    struct reservation_view r = {.customer = NULL};
    struct ulid event;
    enum err e = booking_reservation(a->options.booking, reservation, &r);

    if (e == ERR_OK && r.state == RESERVATION_CONFIRMED &&
        (version == BOOKING_ANY_VERSION || version == r.version) &&
        live_event_of_inventory(a->options.live, r.inventory, &event))
        e = tickets_revoke_all(a->options.tickets, reservation);
    reservation_view_free(&r);
    return e == ERR_MISSING ? ERR_OK : e; /* the box office says so */
}
