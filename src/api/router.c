/* api/router.c - finds the route of a request, checks what all routes have in common, and runs it. */
#include "api/api_int.h"

#include "access/access.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>

/* --- matching ---------------------------------------------------------------------------------------- */

/* Whether `path` fits `pattern`; the segments at {} are copied into `parameters`. */
static bool matches(const char *pattern, const char *path, char *parameters[CALL_PARAMETERS_MAX])
{
    size_t count = 0;

    while (*pattern != '\0') {
        if (strncmp(pattern, "{}", 2) == 0) {
            size_t size = strcspn(path, "/");

            if (size == 0 || count == CALL_PARAMETERS_MAX)
                goto no;
            parameters[count++] = mem_text(path, size);
            path += size;
            pattern += 2;
        } else if (*pattern++ != *path++) {
            goto no;
        }
    }
    if (*path == '\0')
        return true;
no:
    while (count > 0) {
        free(parameters[--count]);
        parameters[count] = NULL;
    }
    return false;
}

/* The route for path and method; NULL with the methods there are in `allowed`, empty when there are none. */
static const struct route *find(struct call *c, enum http_method method, const char *path, char allowed[64])
{
    static const struct route *const tables[] = {
        event_routes,        video_routes,        rendition_routes,   upload_routes,
        ticket_routes,       inventory_routes,    reservation_routes, comment_feed_routes,
        comment_move_routes, comment_post_routes, comment_routes,     comment_rule_routes,
        operation_routes,    whep_routes,         token_routes,       admission_routes};
    enum http_method asked = method == HTTP_HEAD ? HTTP_GET : method;

    allowed[0] = '\0';
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        for (const struct route *r = tables[t]; r->pattern != NULL; r++) {
            char *parameters[CALL_PARAMETERS_MAX] = {NULL};

            if (!matches(r->pattern, path, parameters))
                continue;
            if (r->method == asked) {
                memcpy(c->parameters, parameters, sizeof parameters);
                return r;
            }
            for (size_t i = 0; i < CALL_PARAMETERS_MAX; i++)
                free(parameters[i]);
            snprintf(allowed + strlen(allowed), 64 - strlen(allowed), "%s%s", allowed[0] ? ", " : "",
                     r->method == HTTP_GET ? "GET, HEAD" : http_method_name(r->method));
        }
    }
    return NULL;
}

/* --- what routes have in common ---------------------------------------------------------------------- */

static bool is_json_type(struct bytes type)
{
    static const char name[] = "application/json";
    struct bytes head = bytes_head(type, sizeof name - 1);

    return bytes_is_nocase(head, name) &&
           (type.size == head.size || type.at[head.size] == ';' || type.at[head.size] == ' ');
}

static bool read_body(struct call *c)
{
    struct bytes body = http_body(c->x);
    json_error_t why;

    if (!(c->route->flags & ROUTE_JSON))
        return true;
    if (!is_json_type(http_field(c->x, "Content-Type"))) {
        call_problem(c, 415, "not-json", "Send the body as 'Content-Type: application/json'.");
        return false;
    }
    c->body = json_loadb((const char *)body.at, body.size, JSON_REJECT_DUPLICATES, &why);
    if (c->body == NULL && json_error_code(&why) == json_error_numeric_overflow) {
        call_problem(c, 422, "bad-field", "A number in the body is too large (line %d, column %d).", why.line,
                     why.column);
        return false;
    }
    if (c->body == NULL) {
        call_problem(c, 400, "not-json", "The body is no JSON: %.120s (line %d, column %d).", why.text,
                     why.line, why.column);
        return false;
    }
    if (!json_is_object(c->body)) {
        call_problem(c, 422, "bad-field", "The body wants to be a JSON object.");
        return false;
    }
    return true;
}

/* --- running ----------------------------------------------------------------------------------------- */

static void hung_up(void *ctx)
{
    struct call *c = ctx;

    c->x = NULL;
}

static void run_on_pool(void *ctx)
{
    struct call *c = ctx;

    c->route->run(c);
}

static void reply_from_pool(void *ctx)
{
    call_send(ctx);
}

/* Whether another server answers this call, for it has the video's live edge. */
static bool is_relayed(struct call *c)
{
    char url[LIVE_URL_SIZE];
    struct ulid id;

    if (!(c->route->flags & ROUTE_RELAYS) || !ulid_parse(bytes_text(c->parameters[0]), &id) ||
        !live_video_elsewhere(c->api->options.live, id, url))
        return false;
    relay_exchange(c->api, c->x, url, NULL);
    call_free(c);
    return true;
}

static void run(struct call *c)
{
    if (is_relayed(c))
        return;
    if (!call_check_role(c) || !read_body(c) || (c->route->check != NULL && !c->route->check(c))) {
        call_send(c);
    } else if (c->route->flags & ROUTE_BLOCKS) {
        http_on_end(c->x, hung_up, c);
        pool_run(http_loop(c->x), run_on_pool, reply_from_pool, c);
    } else if (c->route->flags & ROUTE_STORE) {
        http_on_end(c->x, hung_up, c);
        store_run(c->api->options.store, STORE_READS, http_loop(c->x), run_on_pool, reply_from_pool, c);
    } else if (c->route->flags & ROUTE_LATER) {
        http_on_end(c->x, hung_up, c);
        c->route->run(c);
    } else if (c->route->flags & ROUTE_STREAMS) {
        c->route->run(c);
    } else {
        c->route->run(c);
        call_send(c);
    }
}

/* Whether the body of this request is for a route that takes it piece by piece. */
static bool streams_body(void *ctx, struct http_exchange *x)
{
    struct call unnamed = {.route = NULL};
    char allowed[64];
    const struct route *r =
        http_method(x) == HTTP_PUT ? find(&unnamed, HTTP_PUT, http_path(x), allowed) : NULL;

    for (size_t i = 0; i < CALL_PARAMETERS_MAX; i++)
        free(unnamed.parameters[i]);
    return r != NULL && r->flags & ROUTE_STREAMS;
}

static void answer_options(struct http_exchange *x)
{
    allow_origins(x);
    http_add(x, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    http_add(x, "Access-Control-Allow-Headers",
             "Authorization, Content-Type, Range, If-Match, If-None-Match, Idempotency-Key, Last-Event-ID");
    http_add(x, "Access-Control-Max-Age", "86400");
    http_answer(x, 204, NULL, NULL);
}

static void read_token(struct call *c)
{
    char token[TICKET_TEXT_SIZE];
    bool in_query;

    if (!c->is_admin && c->role == ROLE_NONE && door_token(c->x, token, &in_query))
        c->token = mem_string(token);
}

/* Learns who calls, and whether that is not too often. False: it has replied. */
static bool admit(struct call *c)
{
    if (!call_may_try(c))
        return false;
    call_read_role(c);
    read_token(c);
    return strncmp(c->route->pattern, "/api/", 5) != 0 || call_within_limits(c);
}

static void answer_nowhere(struct call *c, enum http_method method, const char *allowed)
{
    static const struct route nowhere = {.pattern = ""};

    c->route = &nowhere;
    if (method == HTTP_OTHER) {
        call_problem(c, 501, "unknown-method", "This method is not known here.");
    } else if (allowed[0] != '\0') {
        call_problem(c, 405, "method-not-allowed", "Use one of: %s.", allowed);
        call_field(c, "Allow", "%s", allowed);
    } else {
        call_problem(c, 404, "not-found", "There is nothing at this path; see /api/v1/openapi.json.");
    }
    call_send(c);
}

static void handle(void *ctx, struct http_exchange *x)
{
    struct api *a = ctx;
    const char *path = http_path(x);
    enum http_method method = http_method(x);
    char allowed[64];

    bool is_whep = strncmp(path, "/v/", 3) == 0 && strstr(path, "/whep") != NULL;

    /* A browser's question before another page's call; a client of WHEP asks in its own name. */
    if (method == HTTP_OPTIONS && !(is_whep && http_field(x, "Access-Control-Request-Method").at == NULL)) {
        answer_options(x);
        return;
    }

    if (strncmp(path, "/v/", 3) == 0 && !is_whep) {
        playback_answer(a, x);
        return;
    }
    if (strncmp(path, "/api/", 5) != 0 && !is_whep && (method == HTTP_GET || method == HTTP_HEAD) &&
        pages_answer(x))
        return;

    struct call *c = mem_new(sizeof *c);

    c->api = a;
    c->x = x;
    c->loop = http_loop(x);
    c->came_ms = clock_wall_ms();
    c->origin = mem_string(http_origin(x));
    client_of(a->options.proxies, x, &c->client);
    c->route = find(c, method, path, allowed);
    if (c->route == NULL)
        answer_nowhere(c, method, allowed);
    else if (admit(c))
        run(c);
    else
        call_send(c);
}

struct api *api_new(const struct api_options *options)
{
    struct api *a = mem_new(sizeof *a);

    a->options = *options;
    a->admin_token = mem_string(options->admin_token);
    a->program = mem_string(options->program);
    a->started = random_u64();
    edge_open(a);
    limits_open(a);
    a->handler = (struct http_handler){.streams_body = streams_body, .handle = handle, .ctx = a};
    return a;
}

const struct http_handler *api_handler(struct api *a)
{
    return &a->handler;
}

void api_drain(struct api *a)
{
    a->draining = true;
}

void api_free(struct api *a)
{
    if (a == NULL)
        return;
    edge_close(a);
    free(a->admin_token);
    free(a->program);
    limits_close(a);
    free(a);
}
