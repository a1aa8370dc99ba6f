/* api/whep.c - POST, PATCH and DELETE of WebRTC sessions (draft-ietf-wish-whep): parse, ask the room, print. */
#include "api/api_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* Whether the Content-Type is this one, parameters apart. */
static bool is_type(const struct call *c, const char *name)
{
    struct bytes type = http_field(c->x, "Content-Type");
    struct bytes head = bytes_head(type, strlen(name));

    return bytes_is_nocase(head, name) &&
           (type.size == head.size || type.at[head.size] == ';' || type.at[head.size] == ' ');
}

/* Every answer may be read by the player's page, wherever that comes from. */
static bool open_to_pages(struct call *c)
{
    call_field(c, "Access-Control-Allow-Origin", "*");
    call_field(c, "Access-Control-Expose-Headers",
               "Location, ETag, Link, Accept-Patch, Retry-After, Matinee-Adapts");
    return true;
}

static bool may_ask(struct call *c)
{
    return open_to_pages(c) && call_id(c, "video") && call_view(c) && call_may_watch(c);
}

static void try_again(struct call *c)
{
    call_field(c, "Retry-After", "2");
}

static void refuse(struct call *c, const struct webrtc_reply *r)
{
    switch (r->e) {
    case ERR_MISSING:
        call_problem(c, 404, "not-found", "WHEP: %s.", r->why);
        break;
    case ERR_BAD:
        call_problem(c, 400, "bad-offer", "This cannot be read: %s.", r->why);
        break;
    case ERR_UNSUPPORTED:
        call_problem(c, 422, "offer-unanswerable", "This offer cannot be answered: %s.", r->why);
        break;
    case ERR_STALE:
        call_problem(c, 412, "stale", "WHEP: %s.", r->why);
        break;
    default:
        call_problem(c, 503, "busy", "WHEP: %s.", r->why);
        try_again(c);
    }
}

static void etag(struct call *c, const struct webrtc_reply *r)
{
    call_field(c, "ETag", "\"%s\"", r->etag);
}

/* --- POST /v/{video}/whep ------------------------------------------------------------------------------ */

static bool within_limit(struct call *c)
{
    int64_t wait_ms;

    if (!call_is_limited(c) || rate_take(c->api->offers, address_host(&c->client), &wait_ms))
        return true;
    reply_too_often(c, "too-many", wait_ms, "Too many WebRTC sessions begin from this address.");
    return false;
}

static bool check_offer(struct call *c)
{
    if (!may_ask(c) || !within_limit(c))
        return false;
    if (!is_type(c, "application/sdp")) {
        call_problem(c, 415, "not-sdp", "Send an SDP offer as 'Content-Type: application/sdp'.");
    } else if (http_body(c->x).size > WHEP_OFFER_BYTES_MAX) {
        call_problem(c, 413, "too-large", "An offer has at most %d bytes.", WHEP_OFFER_BYTES_MAX);
    } else if (!c->view->live || c->view->away || c->view->imported) {
        call_problem(c, 404, "not-live", "This video is not live; it is there over HLS and DASH.");
    } else {
        return true;
    }
    return false;
}

static void offered(void *ctx, const struct webrtc_reply *r)
{
    struct call *c = ctx;
    char id[ULID_TEXT_SIZE];

    if (r->e != ERR_OK) {
        refuse(c, r);
        if (r->e == ERR_MISSING)
            try_again(c);
    } else {
        call_text(c, 201, "application/sdp", buffer_ref(r->body));
        call_field(c, "Location", "/v/%s/whep/%s", ulid_text(c->id, id), r->session);
        etag(c, r);
        call_field(c, "Accept-Patch", "application/trickle-ice-sdpfrag");
        call_field(c, "Matinee-Adapts", "%s", r->adapts);
        ice_servers_tell(c);
    }
    call_send_later(c);
}

static bool may_stay(void *ctx)
{
    return door_may_stay(ctx);
}

static void left(void *ctx)
{
    door_stay_free(ctx);
}

static void offer(struct call *c)
{
    const struct webrtc_stay stay = {may_stay, left, door_stay_new(c)};

    webrtc_offer(c->api->options.webrtc, c->id, &c->client, http_body(c->x), stay, offered, c);
}

/* --- OPTIONS /v/{video}/whep: what a client has to know before its offer (RFC 9725 §4.6) --------------------- */

static void tell_options(struct call *c)
{
    call_empty(c, 204);
    call_field(c, "Allow", "POST, OPTIONS");
    call_field(c, "Accept-Post", "application/sdp");
    ice_servers_tell(c);
}

/* --- GET /api/v1/videos/{video}/webrtc ----------------------------------------------------------------------- */

static bool check_look(struct call *c)
{
    return call_id(c, "video") && call_view(c);
}

static void looked(void *ctx, const struct webrtc_reply *r)
{
    struct call *c = ctx;

    call_text(c, 200, "application/json", buffer_ref(r->body));
    call_send_later(c);
}

static void look(struct call *c)
{
    webrtc_look(c->api->options.webrtc, c->id, looked, c);
}

/* --- PATCH and DELETE of the session --------------------------------------------------------------------- */

static bool check_session(struct call *c)
{
    return open_to_pages(c) && call_id(c, "video"); /* who knows the session's name may end it */
}

static bool check_fragment(struct call *c)
{
    struct bytes match;

    if (!check_session(c))
        return false;
    match = http_field(c->x, "If-Match");
    if (!is_type(c, "application/trickle-ice-sdpfrag")) {
        call_problem(c, 415, "not-a-fragment", "Send 'Content-Type: application/trickle-ice-sdpfrag'.");
        return false;
    }
    if (match.at == NULL) {
        call_problem(c, 428, "if-match-needed",
                     "Send If-Match with the session's ETag, or '*' to restart ICE.");
        return false;
    }
    if (match.size >= 2 && match.at[0] == '"' && match.at[match.size - 1] == '"')
        match = bytes_of(match.at + 1, match.size - 2);
    c->text = mem_text(match.at, match.size);
    return true;
}

static void patched(void *ctx, const struct webrtc_reply *r)
{
    struct call *c = ctx;

    if (r->e != ERR_OK) {
        refuse(c, r);
    } else if (r->body != NULL) {
        call_text(c, 200, "application/trickle-ice-sdpfrag", buffer_ref(r->body));
        etag(c, r);
    } else {
        call_empty(c, 204); /* we are ICE-lite: candidates show themselves by their checks */
        etag(c, r);
    }
    call_send_later(c);
}

static void patch(struct call *c)
{
    webrtc_patch(c->api->options.webrtc, c->id, c->parameters[1], c->text, http_body(c->x), patched, c);
}

static void deleted(void *ctx, const struct webrtc_reply *r)
{
    struct call *c = ctx;

    if (r->e != ERR_OK)
        refuse(c, r);
    else
        call_empty(c, 204);
    call_send_later(c);
}

static void end(struct call *c)
{
    webrtc_delete(c->api->options.webrtc, c->id, c->parameters[1], deleted, c);
}

const struct route whep_routes[] = {
    {HTTP_POST, "/v/{}/whep", ROUTE_LATER | ROUTE_RELAYS, check_offer, offer},
    {HTTP_OPTIONS, "/v/{}/whep", ROUTE_RELAYS, may_ask, tell_options},
    {HTTP_GET, "/api/v1/videos/{}/webrtc", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_LATER, check_look, look},
    {HTTP_PATCH, "/v/{}/whep/{}", ROUTE_LATER | ROUTE_RELAYS, check_fragment, patch},
    {HTTP_DELETE, "/v/{}/whep/{}", ROUTE_LATER | ROUTE_RELAYS, check_session, end},
    {0, NULL, 0, NULL, NULL},
};
