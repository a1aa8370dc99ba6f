/* api/operations.c - what operators and players' clocks ask for. */
#include "api/api_int.h"

#include "base/clock.h"
#include "base/metrics.h"

static void health(struct call *c)
{
    call_field(c, "Cache-Control", "no-store");
    call_text(c, 200, "text/plain; charset=utf-8", buffer_copy(bytes_text("ok\n")));
}

static void ready(struct call *c)
{
    bool draining = c->api->draining;

    call_field(c, "Cache-Control", "no-store");
    call_text(c, draining ? 503 : 200, "text/plain; charset=utf-8",
              buffer_copy(bytes_text(draining ? "shutting down\n" : "ready\n")));
}

static void metrics(struct call *c)
{
    struct builder b = {0};

    metrics_print(&b);
    call_field(c, "Cache-Control", "no-store");
    call_text(c, 200, "text/plain; version=0.0.4; charset=utf-8", builder_finish(&b));
}

/* For UTCTiming in the DASH manifest: players measure how far their clock is from ours. */
static void time_now(struct call *c)
{
    char text[CLOCK_TEXT_SIZE];

    call_field(c, "Cache-Control", "no-store");
    call_text(c, 200, "text/plain; charset=utf-8",
              buffer_copy(bytes_text(clock_text(clock_wall_ms(), text))));
}

static void openapi(struct call *c)
{
    struct buffer *document = asset_content("openapi.json");

    if (document == NULL) {
        call_error(c, ERR_MISSING, "description");
        return;
    }
    call_field(c, "Cache-Control", "public, max-age=300");
    call_text(c, 200, "application/json", document);
}

/* A new key for viewers' tokens; those that are out stay good. */
static void rotate_keys(struct call *c)
{
    enum err e = tickets_rotate(c->api->options.tickets);

    if (e == ERR_OK)
        call_empty(c, 204);
    else
        call_error(c, e, "key");
}

const struct route operation_routes[] = {
    {HTTP_GET, "/healthz", 0, NULL, health},
    {HTTP_GET, "/readyz", 0, NULL, ready},
    {HTTP_GET, "/metrics", 0, NULL, metrics},
    {HTTP_POST, "/api/v1/token-keys", ROUTE_ADMIN | ROUTE_BLOCKS, NULL, rotate_keys},
    {HTTP_GET, "/api/v1/time", ROUTE_OPEN, NULL, time_now},
    {HTTP_GET, "/api/v1/openapi.json", ROUTE_OPEN, NULL, openapi},
    {.pattern = NULL},
};
