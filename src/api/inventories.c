/* api/inventories.c - /api/v1/inventories: making them, looking at them, and following what changes in one. */
#include "api/booking_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* --- printing ---------------------------------------------------------------------------------------- */

static json_t *inventory_json(const struct inventory_view *v)
{
    char id[ULID_TEXT_SIZE], created[CLOCK_TEXT_SIZE];
    json_t *document = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "id", ulid_text(v->id, id),
                                 "name", v->name, "kind", inventory_kind_name(v->kind), "locking",
                                 booking_locking_name(v->locking), "holdSeconds", (json_int_t)v->hold_seconds,
                                 "unitCount", (json_int_t)v->unit_count, "capacity", (json_int_t)v->capacity,
                                 "held", (json_int_t)v->held, "sold", (json_int_t)v->sold, "version",
                                 (json_int_t)v->version, "createdAt", clock_text(v->created_ms, created));

    if (v->kind == INVENTORY_SEATS)
        json_object_set_new(
            document, "seats",
            json_pack("{s:I,s:I}", "rows", (json_int_t)v->rows, "perRow", (json_int_t)v->per_row));
    return document;
}

void reply_unseen(struct call *c, enum err e, const char *what)
{
    if (e != ERR_BUSY && e != ERR_IO) {
        call_error(c, e, what);
        return;
    }
    call_problem(c, 503, "busy", "The %s cannot be read now: the database is busy or away, try again.", what);
    call_field(c, "Retry-After", "1");
}

void reply_inventory(struct call *c, int status, const struct inventory_view *v)
{
    call_field(c, "ETag", "\"%lld\"", (long long)v->version);
    call_field(c, "Cache-Control", "no-cache");
    call_json(c, status, inventory_json(v));
}

static json_t *unit_json(const struct unit_view *u)
{
    return json_pack("{s:s,s:I,s:I,s:I,s:I}", "key", u->key, "capacity", (json_int_t)u->capacity, "held",
                     (json_int_t)u->held, "sold", (json_int_t)u->sold, "version", (json_int_t)u->version);
}

/* --- reading a plan ---------------------------------------------------------------------------------- */

bool body_number(struct call *c, const char *name, int64_t least, int64_t most, int64_t *out)
{
    const json_t *value = json_object_get(c->body, name);

    if (value == NULL)
        return true;
    if (json_is_integer(value) && json_integer_value(value) >= least && json_integer_value(value) <= most) {
        *out = json_integer_value(value);
        return true;
    }
    call_problem(c, 422, "bad-field", "'%s' wants a whole number from %lld to %lld.", name, (long long)least,
                 (long long)most);
    return false;
}

static bool read_locking(struct call *c, enum booking_locking *out)
{
    const json_t *value = json_object_get(c->body, "locking");
    const char *text = json_string_value(value);

    if (value == NULL || (text != NULL && booking_locking_parse(text, out)))
        return true;
    call_problem(c, 422, "bad-field",
                 "'locking' wants \"optimistic\", \"pessimistic\", \"adaptive\" or \"combining\".");
    return false;
}

/* A member of an object within the body, as a whole number; 0 where it is none, which the plan's own check refuses by name. */
static int64_t number_in(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static bool only_in(struct call *c, const json_t *object, const char *name, const char *a, const char *b,
                    const char *d)
{
    const char *member;
    json_t *value;

    if (!json_is_object(object)) {
        call_problem(c, 422, "bad-field", "'%s' wants to be an object.", name);
        return false;
    }
    json_object_foreach((json_t *)object, member, value)
    {
        if (strcmp(member, a) == 0 || strcmp(member, b) == 0 || (d != NULL && strcmp(member, d) == 0))
            continue;
        call_problem(c, 422, "unknown-field", "There is no field '%.60s' in '%s'.", member, name);
        return false;
    }
    return true;
}

static bool read_units(struct call *c, const json_t *list, struct inventory_plan *p,
                       struct inventory_unit **units)
{
    size_t count = json_array_size(list);

    if (!json_is_array(list) || count == 0 || count > INVENTORY_UNITS_MAX) {
        call_problem(c, 422, "bad-field", "'units' wants a list of 1 to %d units.", INVENTORY_UNITS_MAX);
        return false;
    }
    *units = mem_new(count * sizeof **units);
    for (size_t i = 0; i < count; i++) {
        const json_t *unit = json_array_get(list, i);

        if (!only_in(c, unit, "units", "key", "capacity", NULL))
            return false;
        (*units)[i].key = json_string_value(json_object_get(unit, "key"));
        (*units)[i].capacity = number_in(unit, "capacity");
        if ((*units)[i].key == NULL) {
            call_problem(c, 422, "bad-field", "Every one of 'units' wants a 'key', a text.");
            return false;
        }
    }
    p->units = *units;
    p->unit_count = count;
    return true;
}

/* What is to be sold: one of units, pool, seats and nights. */
static bool read_kind(struct call *c, struct inventory_plan *p, struct inventory_unit **units)
{
    static const char *const names[] = {"units", "pool", "seats", "nights"};
    const json_t *value = NULL;
    int found = 0;

    for (int kind = INVENTORY_UNITS; kind <= INVENTORY_NIGHTS; kind++) {
        const json_t *here = json_object_get(c->body, names[kind]);

        if (here == NULL)
            continue;
        found++;
        p->kind = (enum inventory_kind)kind;
        value = here;
    }
    if (found != 1) {
        call_problem(c, 422, "bad-field",
                     "Say what there is by one of 'units', 'pool', 'seats' and 'nights'.");
        return false;
    }
    switch (p->kind) {
    case INVENTORY_UNITS:
        return read_units(c, value, p, units);
    case INVENTORY_POOL:
        p->pool = json_integer_value(value);
        return true;
    case INVENTORY_SEATS:
        p->rows = number_in(value, "rows");
        p->per_row = number_in(value, "perRow");
        return only_in(c, value, "seats", "rows", "perRow", NULL);
    case INVENTORY_NIGHTS:
        p->from = json_string_value(json_object_get(value, "from"));
        p->to = json_string_value(json_object_get(value, "to"));
        p->rooms = number_in(value, "rooms");
        return only_in(c, value, "nights", "from", "to", "rooms");
    }
    return false;
}

/* --- routes ------------------------------------------------------------------------------------------ */

static bool check_id(struct call *c)
{
    return call_id(c, "inventory");
}

static void reply_failed(struct call *c, enum err e, const char *why)
{
    if (e == ERR_BAD && why[0] != '\0')
        call_problem(c, 422, "bad-field", "%s.", why);
    else
        reply_unseen(c, e, "inventory");
}

static void reply_now(struct call *c, enum err e, struct inventory_view *v, const char *why)
{
    if (e == ERR_OK)
        reply_inventory(c, 200, v);
    else
        reply_failed(c, e, why);
    inventory_view_free(v);
}

/* Makes one of what c->body says, and replies where that fails. */
static bool make(struct call *c, struct inventory_view *v)
{
    static const char *const allowed[] = {"name", "locking", "holdSeconds", "units",
                                          "pool", "seats",   "nights",      NULL};
    struct inventory_plan plan = {.locking = LOCKING_ADAPTIVE, .hold_seconds = HOLD_SECONDS_STANDARD};
    struct inventory_unit *units = NULL;
    char why[256];
    bool made = false;

    *v = (struct inventory_view){.name = NULL};
    if (body_only(c, allowed) && body_text(c, "name", 200, &plan.name) && read_locking(c, &plan.locking) &&
        body_number(c, "holdSeconds", 1, HOLD_SECONDS_MAX, &plan.hold_seconds) &&
        read_kind(c, &plan, &units)) {
        enum err e = booking_create(c->api->options.booking, &plan, v, why);

        made = e == ERR_OK;
        if (!made)
            reply_failed(c, e, why);
    }
    free(units);
    return made;
}

bool inventory_of_body(struct call *c, json_t *body, struct ulid *id)
{
    struct inventory_view v;
    json_t *whole = c->body;
    bool made;

    c->body = body;
    made = make(c, &v);
    c->body = whole;
    *id = v.id;
    inventory_view_free(&v);
    return made;
}

static void create(struct call *c)
{
    struct inventory_view v;
    char id[ULID_TEXT_SIZE];

    if (make(c, &v)) {
        call_field(c, "Location", "/api/v1/inventories/%s", ulid_text(v.id, id));
        reply_inventory(c, 201, &v);
    }
    inventory_view_free(&v);
}

static void change(struct call *c)
{
    static const char *const allowed[] = {"name", "locking", "holdSeconds", NULL};
    enum booking_locking locking = LOCKING_COUNT;
    struct inventory_view v = {.name = NULL};
    const char *name = NULL;
    int64_t hold_seconds = 0;
    char why[256] = "";

    if (body_only(c, allowed) && body_text(c, "name", 200, &name) && read_locking(c, &locking) &&
        body_number(c, "holdSeconds", 1, HOLD_SECONDS_MAX, &hold_seconds))
        reply_now(c, booking_change(c->api->options.booking, c->id, name, locking, hold_seconds, &v, why), &v,
                  why);
}

static void get(struct call *c)
{
    struct inventory_view v;

    reply_now(c, booking_inventory(c->api->options.booking, c->id, &v), &v, "");
}

static void list(struct call *c)
{
    struct inventory_view *views = mem_new((size_t)(c->limit + 1) * sizeof *views);
    char id[ULID_TEXT_SIZE];
    size_t count = 0;
    enum err e = booking_inventories(c->api->options.booking, c->after, (size_t)c->limit + 1, views, &count);
    json_t *items = json_array();

    for (size_t i = 0; i < count && i < (size_t)c->limit; i++)
        json_array_append_new(items, inventory_json(&views[i]));
    if (count > (size_t)c->limit)
        call_field(c, "Link", "</api/v1/inventories?limit=%ld&after=%s>; rel=\"next\"", c->limit,
                   ulid_text(views[c->limit - 1].id, id));
    for (size_t i = 0; i < count; i++)
        inventory_view_free(&views[i]);
    free(views);
    call_field(c, "Cache-Control", "no-store");
    if (e == ERR_OK)
        call_json(c, 200, json_pack("{s:o}", "items", items));
    else {
        json_decref(items);
        reply_unseen(c, e, "list of inventories");
    }
}

/* --- units ------------------------------------------------------------------------------------------- */

/* limit, and `after` as a unit's key, which takes the place of the body. */
static bool check_units(struct call *c)
{
    char after[UNIT_KEY_SIZE] = "";
    bool present;

    if (!call_id(c, "inventory") || !call_limit(c))
        return false;
    if (!http_query_get(c->x, "after", after, sizeof after, &present) && present) {
        call_problem(c, 400, "bad-parameter", "'after' wants the key that the last page ended with.");
        return false;
    }
    c->body = json_string(after);
    return true;
}

char *percent_encoded(const char *text)
{
    struct builder b = {0};
    char *encoded;

    for (; *text != '\0'; text++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", *text) != NULL)
            builder_u8(&b, (uint8_t)*text);
        else
            builder_printf(&b, "%%%02X", (unsigned char)*text);
    encoded = mem_text(builder_bytes(&b).at, builder_bytes(&b).size);
    builder_drop(&b);
    return encoded;
}

static void list_units(struct call *c)
{
    struct unit_view *units = mem_new((size_t)(c->limit + 1) * sizeof *units);
    const char *after = json_string_value(c->body);
    size_t count = 0;
    enum err e = booking_units(c->api->options.booking, c->id, after ? after : "", (size_t)c->limit + 1,
                               units, &count);
    json_t *items = json_array();
    char id[ULID_TEXT_SIZE];

    for (size_t i = 0; i < count && i < (size_t)c->limit; i++)
        json_array_append_new(items, unit_json(&units[i]));
    if (count > (size_t)c->limit) {
        char *last = percent_encoded(units[c->limit - 1].key);

        call_field(c, "Link", "</api/v1/inventories/%s/units?limit=%ld&after=%s>; rel=\"next\"",
                   ulid_text(c->id, id), c->limit, last);
        free(last);
    }
    free(units);
    call_field(c, "Cache-Control", "no-store");
    if (e == ERR_OK) {
        call_json(c, 200, json_pack("{s:o}", "items", items));
        return;
    }
    json_decref(items);
    reply_unseen(c, e, "inventory");
}

/* --- the feed: Server-Sent Events (HTML Living Standard §9.2) ---------------------------------------- */

/* How often a follower is told, and kept awake where there is nothing to tell. */
#define FEED_MS      100
#define HEARTBEAT_MS 15000
#define FEED_UNITS   256

struct feed {
    struct api *api;
    struct http_exchange *x;
    struct loop *loop;
    struct timer timer;
    struct ulid inventory;
    uint64_t since;
    int64_t said_ms;
};

static void feed_ended(void *ctx)
{
    struct feed *f = ctx;

    timer_stop(&f->timer);
    free(f);
}

static void feed_say(struct feed *f, const char *event, json_t *data)
{
    char *text = json_dumps(data, JSON_COMPACT | JSON_PRESERVE_ORDER);
    struct builder b = {0};

    builder_printf(&b, "event: %s\ndata: ", event);
    builder_text(&b, text);
    builder_text(&b, "\n\n");
    http_send(f->x, builder_finish(&b));
    f->said_ms = loop_now_ms(f->loop);
    free(text);
    json_decref(data);
}

static void feed_units(struct feed *f)
{
    struct unit_view *units = mem_new(FEED_UNITS * sizeof *units);
    size_t count = 0;
    bool missed = false;

    if (booking_changes(f->api->options.booking, f->inventory, &f->since, units, FEED_UNITS, &count,
                        &missed) == ERR_OK) {
        if (missed)
            feed_say(f, "reset", json_object());
        for (size_t i = 0; i < count; i++)
            feed_say(f, "unit", unit_json(&units[i]));
    }
    free(units);
}

static void feed_turn(void *ctx)
{
    struct feed *f = ctx;

    if (http_queued(f->x) <
        HTTP_OUT_QUEUE_BYTES_MAX / 2) /* who does not read is told again later, or to begin anew */
        feed_units(f);
    if (loop_now_ms(f->loop) - f->said_ms >= HEARTBEAT_MS) {
        http_send(f->x, buffer_copy(bytes_text(":\n\n")));
        f->said_ms = loop_now_ms(f->loop);
    }
    timer_start(f->loop, &f->timer, FEED_MS, feed_turn, f);
}

/* On the loop, after the inventory was found. `ready`: what changes from now on will be told. */
static void begin_feed(struct call *c)
{
    struct feed *f = mem_new(sizeof *f);

    *f = (struct feed){.api = c->api, .x = c->x, .loop = http_loop(c->x), .inventory = c->id};
    allow_origins(f->x);
    http_add(f->x, "Cache-Control", "no-store");
    http_add(f->x, "X-Accel-Buffering", "no");
    http_begin(f->x, 200, "text/event-stream");
    http_on_end(f->x, feed_ended, f);
    call_free(c);
    feed_units(f);
    feed_say(f, "ready", json_object());
    timer_start(f->loop, &f->timer, FEED_MS, feed_turn, f);
    if (http_method(f->x) == HTTP_HEAD) /* there is nothing to wait for */
        http_finish(f->x);
}

static void follow(struct call *c)
{
    struct inventory_view v;
    enum err e = booking_inventory(c->api->options.booking, c->id, &v);

    inventory_view_free(&v);
    if (e == ERR_OK)
        c->answer = begin_feed;
    else
        reply_unseen(c, e, "inventory");
}

static bool check_page(struct call *c)
{
    return call_page(c);
}

const struct route inventory_routes[] = {
    {HTTP_POST, "/api/v1/inventories", ROUTE_ADMIN | ROUTE_BLOCKS | ROUTE_JSON, NULL, create},
    {HTTP_GET, "/api/v1/inventories", ROUTE_ADMIN | ROUTE_BOX_OFFICE | ROUTE_BLOCKS, check_page, list},
    {HTTP_GET, "/api/v1/inventories/{}", ROUTE_OPEN | ROUTE_BLOCKS, check_id, get},
    {HTTP_PATCH, "/api/v1/inventories/{}",
     ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_BOX_OFFICE | ROUTE_BLOCKS | ROUTE_JSON, check_id, change},
    {HTTP_GET, "/api/v1/inventories/{}/units", ROUTE_OPEN | ROUTE_BLOCKS, check_units, list_units},
    {HTTP_GET, "/api/v1/inventories/{}/units/live", ROUTE_OPEN | ROUTE_BLOCKS, check_id, follow},
    {.pattern = NULL},
};
