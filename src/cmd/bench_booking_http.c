/* cmd/bench_booking_http.c - the same market through the front door: a `matinee serve` of its own, and clients on keep-alive
 * connections, each asking again as soon as it has its answer. */
#include "cmd/bench_booking_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct asked {
    const struct market *market;
    const struct bench_house *house;
    char inventory[ULID_TEXT_SIZE];
    unsigned *seeds; /* of each client */
};

static size_t request(void *ctx, unsigned client, unsigned call, char *out, size_t room)
{
    const struct asked *asked = ctx;
    unsigned units[MARKET_WANTS_MAX];
    size_t count = market_wants(asked->market, &asked->seeds[client], units), at = 0;
    char body[1024], key[16];

    at += (size_t)snprintf(body, sizeof body, "{\"customer\":\"somebody\",\"units\":[");
    for (size_t i = 0; i < count; i++) {
        market_key(key, units[i]);
        at += (size_t)snprintf(body + at, sizeof body - at, "%s{\"key\":\"%s\",\"quantity\":1}",
                               i > 0 ? "," : "", key);
    }
    at += (size_t)snprintf(body + at, sizeof body - at, "]}");
    return (size_t)snprintf(
        out, room,
        "POST /api/v1/inventories/%s/reservations HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
        "Idempotency-Key: client-%u-%u\r\nContent-Length: %zu\r\n\r\n%s",
        asked->inventory, asked->house->http, client, call, at, body);
}

/* --- the inventory ----------------------------------------------------------------------------------- */

static json_t *plan_of(enum booking_locking locking, const struct market *m)
{
    json_t *units = json_array();
    char key[16];

    for (unsigned i = 0; i < market_units(m); i++) {
        market_key(key, i);
        json_array_append_new(units, json_pack("{s:s,s:i}", "key", key, "capacity", UNIT_CAPACITY_MAX));
    }
    return json_pack("{s:s,s:s,s:i,s:o}", "name", "benchmark", "locking", booking_locking_name(locking),
                     "holdSeconds", HOLD_SECONDS_MAX, "units", units);
}

static bool make(struct asked *asked, enum booking_locking locking)
{
    json_t *plan = plan_of(locking, asked->market),
           *made = bench_house_call(asked->house, "POST", "/api/v1/inventories", plan);
    const char *id = json_string_value(json_object_get(made, "id"));

    snprintf(asked->inventory, sizeof asked->inventory, "%s", id != NULL ? id : "");
    json_decref(made);
    json_decref(plan);
    return asked->inventory[0] != '\0';
}

bool market_http(const struct bench_house *h, enum booking_locking locking, const struct market *m,
                 struct market_result *out)
{
    struct asked asked = {.market = m, .house = h, .seeds = mem_new(m->clients * sizeof(unsigned))};
    struct bench_crowd c = {
        .http = h->http, .clients = m->clients, .seconds = m->seconds, .request = request, .ctx = &asked};
    bool good;

    *out = (struct market_result){0};
    for (unsigned i = 0; i < m->clients; i++)
        asked.seeds[i] = i + 1;
    if ((good = make(&asked, locking) && bench_crowd_run(&c))) {
        out->refused = c.refused;
        market_tell(out, c.took_us, c.took_count, c.lasted_s);
    }
    free(c.took_us);
    free(asked.seeds);
    return good;
}
