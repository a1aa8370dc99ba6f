/* api/limit.c - how often one address and one token may call the API, and how many wrong tokens an address may try. What is left is told
 * in RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10). Playing is not limited: it is what edges are for. */
#include "api/api_int.h"

#include "base/limits.h"

#include <stdio.h>

void limits_open(struct api *a)
{
    a->per_author = rate_new(a->options.limits.author, COMMENTS_BURST_SECONDS);
    a->per_address = rate_new(a->options.limits.address, COMMENTS_BURST_SECONDS);
    a->offers = rate_new(WEBRTC_OFFERS_ADDRESS_MINUTE, WEBRTC_OFFERS_BURST_SECONDS);
    a->requests = rate_new(a->options.limits.requests, REQUESTS_BURST_SECONDS);
    a->requests_token = rate_new(a->options.limits.token, REQUESTS_BURST_SECONDS);
    a->refused = rate_new(a->options.limits.refused, REQUESTS_BURST_SECONDS);
}

void limits_close(struct api *a)
{
    rate_free(a->per_author);
    rate_free(a->per_address);
    rate_free(a->offers);
    rate_free(a->requests);
    rate_free(a->requests_token);
    rate_free(a->refused);
}

void reply_too_often(struct call *c, const char *slug, int64_t wait_ms, const char *what)
{
    long long seconds = (wait_ms + 999) / 1000;

    call_problem(c, 429, slug, "%s Try again in %lld s.", what, seconds);
    call_field(c, "Retry-After", "%lld", seconds);
}

static bool is_limited_address(const struct call *c)
{
    return c->api->options.limit_loopback || !address_is_loopback(&c->client);
}

bool call_is_limited(const struct call *c)
{
    return !c->is_admin && is_limited_address(c);
}

bool call_may_try(struct call *c)
{
    int64_t wait_ms;

    if (!is_limited_address(c) || http_field(c->x, "Authorization").at == NULL ||
        rate_look(c->api->refused, address_host(&c->client), &wait_ms))
        return true;
    reply_too_often(c, "too-many-refused", wait_ms,
                    "Too many wrong tokens came from this address: look at the one that you send.");
    return false;
}

/* Whose calls are counted together: those with one API token, or with one ticket. False: those of an address only. */
static bool name_of_token(const struct call *c, struct ulid *out)
{
    struct ticket t;

    *out = c->staff;
    if (c->role != ROLE_NONE)
        return true;
    if (c->token == NULL || tickets_check(c->api->options.tickets, bytes_text(c->token), (struct ulid){{0}},
                                          &t) == TICKET_FOREIGN)
        return false;
    *out = t.pass;
    return true;
}

/* A browser that comes back after the keys have changed does not guess, and nobody guesses signatures. */
static bool is_old_ticket(const struct call *c)
{
    return c->token != NULL && strchr(c->token, '.') != NULL;
}

/* A thousand viewers behind one edge, or one school's address, are no flood. */
static bool is_playing(const struct call *c)
{
    return c->route->flags & ROUTE_EDGE && keep_is_edge(c->api, c->x);
}

/* What is told of one limit. */
struct told {
    char policy[96], left[96];
};

static void tell(struct told *t, const char *name, const struct rate_left *left)
{
    size_t policy = strlen(t->policy), size = strlen(t->left);

    if (left->limit == 0)
        return;
    snprintf(t->policy + policy, sizeof t->policy - policy, "%s\"%s\";q=%u;w=%u", policy > 0 ? ", " : "",
             name, left->limit, left->window_s);
    snprintf(t->left + size, sizeof t->left - size, "%s\"%s\";r=%u;t=%u", size > 0 ? ", " : "", name,
             left->left, left->reset_s);
}

static bool count(struct call *c, struct rate *r, const char *name, struct bytes key, struct told *t)
{
    struct rate_left left;
    int64_t wait_ms;
    bool taken = rate_take_left(r, key, &wait_ms, &left);

    tell(t, name, &left);
    if (!taken)
        reply_too_often(c, "too-many", wait_ms,
                        strcmp(name, "token") == 0 ? "Too many calls are made with this token."
                                                   : "Too many calls come from this address.");
    return taken;
}

bool call_within_limits(struct call *c)
{
    struct told t = {.policy = ""};
    struct ulid token;
    bool named = name_of_token(c, &token), good = true;
    int64_t wait_ms;

    if (!is_limited_address(c))
        return true;
    if (c->has_credentials && !c->is_admin && !named && !is_old_ticket(c))
        (void)rate_take(c->api->refused, address_host(&c->client), &wait_ms);
    if (is_playing(c))
        return true;
    if (!c->is_admin)
        good = count(c, c->api->requests, "address", address_host(&c->client), &t);
    if (good && named)
        good = count(c, c->api->requests_token, "token", bytes_of(token.b, sizeof token.b), &t);
    if (t.policy[0] != '\0') {
        http_add(c->x, "RateLimit-Policy", t.policy);
        http_add(c->x, "RateLimit", t.left);
    }
    return good;
}
