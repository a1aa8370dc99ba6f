/* api/operations.c - what operators and players' clocks ask for. */
#include "api/api_int.h"

#include "base/clock.h"
#include "base/metrics.h"

static void health(struct call *c)
{
    call_field(c, "Cache-Control", "no-store");
    call_text(c, 200, "text/plain; charset=utf-8", buffer_copy(bytes_text("ok\n")));
}

/* 503 where new publishers should go elsewhere: this server closes, or has no room for what they send. An engine that is away is said
 * and no reason: viewers and publishers go on. */
static void ready(struct call *c)
{
    bool draining = c->api->draining;
    struct builder text = {0};
    struct spool_view s;
    int64_t database_ms = db_away_ms(c->api->options.db);

    live_spool(c->api->options.live, &s);
    builder_text(&text, draining                  ? "shutting down\n"
                        : s.verdict == SPOOL_FULL ? "the spool is full\n"
                                                  : "ready\n");
    if (s.verdict != SPOOL_GOOD)
        builder_printf(&text, "store %s: %zu segments (%llu bytes) wait, the oldest for %lld s\n",
                       spool_verdict_name(s.verdict), s.segments, (unsigned long long)s.bytes,
                       (long long)(s.oldest_ms / 1000));
    if (database_ms > 0)
        builder_printf(&text, "database away: for %lld s\n", (long long)(database_ms / 1000));
    if (ladder_queue_away(c->api->options.ladder))
        builder_text(&text, "queue away\n");
    call_field(c, "Cache-Control", "no-store");
    call_text(c, draining || s.verdict == SPOOL_FULL ? 503 : 200, "text/plain; charset=utf-8",
              builder_finish(&text));
}

/* What waits for the store. */
static void spool(struct call *c)
{
    struct spool_view s;

    live_spool(c->api->options.live, &s);
    call_field(c, "Cache-Control", "no-store");
    call_json(c, 200,
              json_pack("{s:s,s:I,s:I,s:f,s:f}", "verdict", spool_verdict_name(s.verdict), "segments",
                        (json_int_t)s.segments, "bytes", (json_int_t)s.bytes, "oldestSeconds",
                        (double)s.oldest_ms / 1000, "awaySeconds", (double)s.away_ms / 1000));
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
    {HTTP_GET, "/api/v1/spool", ROUTE_ADMIN, NULL, spool},
    {HTTP_GET, "/metrics", 0, NULL, metrics},
    {HTTP_POST, "/api/v1/token-keys", ROUTE_ADMIN | ROUTE_BLOCKS, NULL, rotate_keys},
    {HTTP_GET, "/api/v1/time", ROUTE_OPEN, NULL, time_now},
    {HTTP_GET, "/api/v1/openapi.json", ROUTE_OPEN, NULL, openapi},
    {.pattern = NULL},
};
