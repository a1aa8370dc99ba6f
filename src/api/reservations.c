/* api/reservations.c - reservations and the waitlist. A call is handed to the box office on its loop and answered when the
 * box office has decided and made it durable; nothing waits meanwhile. */
#include "api/booking_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

/* A call on its way through the box office. */
struct sale {
    struct booking_call booking;
    struct call *call;
    struct booking_want *wants;
    enum err e; /* of what comes before it */
};

/* --- printing ---------------------------------------------------------------------------------------- */

json_t *reservation_json(const struct reservation_view *r)
{
    char id[ULID_TEXT_SIZE], inventory[ULID_TEXT_SIZE], expires[CLOCK_TEXT_SIZE], created[CLOCK_TEXT_SIZE];
    json_t *units = json_array();

    for (size_t i = 0; i < r->unit_count; i++)
        json_array_append_new(units, json_pack("{s:s,s:I}", "key", r->units[i].key, "quantity",
                                               (json_int_t)r->units[i].quantity));
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:I,s:s}", "id", ulid_text(r->id, id), "inventoryId",
                     ulid_text(r->inventory, inventory), "customer", r->customer, "state",
                     reservation_state_name(r->state), "expiresAt", clock_text(r->expires_ms, expires),
                     "units", units, "version", (json_int_t)r->version, "createdAt",
                     clock_text(r->created_ms, created));
}

/* `ticket` (may be NULL) is taken over. */
static void reply_with_ticket(struct call *c, int status, const struct reservation_view *r, json_t *ticket)
{
    json_t *document = reservation_json(r);

    if (ticket != NULL)
        json_object_set_new(document, "ticket", ticket);
    call_field(c, "ETag", "\"%lld\"", (long long)r->version);
    call_field(c, "Cache-Control", "no-store");
    call_json(c, status, document);
}

static void reply_reservation(struct call *c, int status, const struct reservation_view *r)
{
    reply_with_ticket(c, status, r, NULL);
}

static void reply_waiter(struct call *c, int status, const struct waiter_view *w)
{
    char id[ULID_TEXT_SIZE], inventory[ULID_TEXT_SIZE], reservation[ULID_TEXT_SIZE];
    json_t *document = json_pack("{s:s,s:s,s:s}", "id", ulid_text(w->id, id), "inventoryId",
                                 ulid_text(w->inventory, inventory), "state", waiter_state_name(w->state));

    if (w->state == WAITER_WAITING)
        json_object_set_new(document, "position", json_integer(w->position));
    if (!ulid_is_zero(w->reservation))
        json_object_set_new(document, "reservation", json_string(ulid_text(w->reservation, reservation)));
    call_field(c, "Cache-Control", "no-store");
    call_json(c, status, document);
}

/* --- answers ----------------------------------------------------------------------------------------- */

static void reply_booked(struct call *c, const struct booking_call *b)
{
    char id[ULID_TEXT_SIZE];

    switch (b->kind) {
    case BOOKING_RESERVE:
        call_field(c, "Location", "/api/v1/reservations/%s", ulid_text(b->reservation.id, id));
        reply_reservation(c, 201, &b->reservation);
        break;
    case BOOKING_CONFIRM:
        reply_with_ticket(c, 200, &b->reservation, door_ticket(c, &b->reservation));
        break;
    case BOOKING_CHANGE:
        reply_reservation(c, 200, &b->reservation);
        break;
    case BOOKING_JOIN:
        call_field(c, "Location", "/api/v1/waitlist/%s", ulid_text(b->waiter.id, id));
        reply_waiter(c, 201, &b->waiter);
        break;
    case BOOKING_CANCEL:
    case BOOKING_LEAVE:
    case BOOKING_EXPIRE:
        call_empty(c, 204);
        break;
    }
}

static void reply_sold_out(struct call *c, const struct booking_call *b)
{
    json_t *left = json_array();

    for (size_t i = 0; i < b->left_count; i++)
        json_array_append_new(
            left, json_pack("{s:s,s:I}", "key", b->left[i].key, "left", (json_int_t)b->left[i].left));
    call_problem_with(c, 409, "sold-out", json_pack("{s:o}", "left", left),
                      "There is not enough left: take fewer or others, or get into the waitlist.");
}

static void reply(struct call *c, const struct booking_call *b)
{
    switch (b->answer) {
    case BOOKED:
    case BOOKED_BEFORE:
        reply_booked(c, b);
        break;
    case BOOKED_MISSING:
        call_problem(c, 404, "not-found", "There is no such %s.",
                     b->kind == BOOKING_RESERVE || b->kind == BOOKING_JOIN ? "inventory"
                     : b->kind == BOOKING_LEAVE                            ? "place in a waitlist"
                                                                           : "reservation");
        break;
    case BOOKED_BAD:
        call_problem(c, 422, "bad-field", "This cannot be booked here: %s.", b->why);
        break;
    case BOOKED_SOLD_OUT:
        reply_sold_out(c, b);
        break;
    case BOOKED_OTHER:
        call_problem(c, 422, "key-reused", "%s.", b->why);
        break;
    case BOOKED_IN_FLIGHT:
        call_problem(c, 409, "in-flight", "%s.", b->why);
        call_field(c, "Retry-After", "1");
        break;
    case BOOKED_STALE:
        call_problem(c, 412, "changed",
                     "%s since: look at it again, and send 'If-Match' with its ETag of now.", b->why);
        break;
    case BOOKED_OVER:
        call_problem(c, 409, reservation_state_name(b->reservation.state), "%s: make a new reservation.",
                     b->why);
        break;
    case BOOKED_BUSY:
        call_problem(c, 503, "busy", "%s.", b->why);
        call_field(c, "Retry-After", "1");
        break;
    }
}

/* On a thread of the box office. */
static void sold(struct booking_call *b)
{
    struct sale *s = b->ctx;
    struct call *c = s->call;

    reply(c, b);
    booking_call_free(b);
    free(s->wants);
    free(s);
    call_send_later(c);
}

/* --- requests ---------------------------------------------------------------------------------------- */

static struct sale *sale_new(struct call *c, enum booking_kind kind)
{
    struct sale *s = mem_new(sizeof *s);

    s->call = c;
    s->booking = (struct booking_call){.kind = kind,
                                       .inventory = c->id,
                                       .id = c->id,
                                       .if_match = BOOKING_ANY_VERSION,
                                       .done = sold,
                                       .ctx = s};
    return s;
}

/* Takes a sale back whose request was refused; the refusal is in the call. */
static void sale_drop(struct sale *s)
{
    struct call *c = s->call;

    free(s->wants);
    free(s);
    call_send(c);
}

static void submit(struct sale *s)
{
    booking_submit(s->call->api->options.booking, &s->booking);
}

/* If-Match (RFC 9110 §13.1.1) as a version; one tag, or "*". A tag that is none of ours matches nothing. */
static bool read_if_match(struct call *c, int64_t *out)
{
    struct bytes field = http_field(c->x, "If-Match");
    struct bytes tag = field;
    uint64_t version;

    *out = BOOKING_ANY_VERSION;
    if (field.at == NULL || bytes_is(field, "*"))
        return true;
    *out = BOOKING_NO_VERSION;
    if (bytes_starts(tag, "W/"))
        tag = bytes_from(tag, 2);
    if (tag.size < 2 || tag.at[0] != '"' || bytes_find(bytes_from(tag, 1), '"') != (long)tag.size - 2) {
        call_problem(c, 400, "bad-header",
                     "'If-Match' wants the ETag of the answer before, with its quotes, or *.");
        return false;
    }
    tag = bytes_of(tag.at + 1, tag.size - 2);
    if (tag.size > 3 &&
        memcmp(tag.at + tag.size - 3, "-gz", 3) == 0) /* the compressed form of the same answer */
        tag.size -= 3;
    if (field.at[0] == '"' && bytes_to_u64(tag, INT64_MAX, &version))
        *out = (int64_t)version;
    return true;
}

static bool read_key(struct call *c, struct booking_call *b)
{
    struct bytes field = http_field(c->x, "Idempotency-Key");
    bool visible = field.size >= 1 && field.size <= IDEMPOTENCY_KEY_MAX;

    for (size_t i = 0; i < field.size && visible; i++)
        visible = field.at[i] > ' ' && field.at[i] < 127;
    if (field.at == NULL) {
        call_problem(
            c, 400, "idempotency-key-needed",
            "Send an 'Idempotency-Key', new for every booking and the same when you repeat one, so that "
            "nothing is booked twice.");
    } else if (!visible) {
        call_problem(c, 400, "bad-header", "'Idempotency-Key' wants 1 to %d visible ASCII characters.",
                     IDEMPOTENCY_KEY_MAX);
    } else {
        c->text = mem_text(field.at, field.size);
        b->idempotency_key = c->text;
        return true;
    }
    return false;
}

/* The same request has the same digest, however its JSON is laid out. */
static void digest(const json_t *body, uint8_t out[BOOKING_BODY_SIZE])
{
    char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
    uint8_t hash[SHA256_DIGEST_LENGTH];

    SHA256((const uint8_t *)text, strlen(text), hash);
    memcpy(out, hash, BOOKING_BODY_SIZE);
    free(text);
}

static bool read_customer(struct call *c, struct booking_call *b)
{
    if (!body_text(c, "customer", CUSTOMER_CHARS_MAX, &b->customer))
        return false;
    if (b->customer != NULL)
        return true;
    call_problem(c, 422, "bad-field", "'customer' is missing: who is it for?");
    return false;
}

static bool read_wants(struct sale *s, const json_t *list)
{
    struct call *c = s->call;
    size_t count = json_array_size(list);

    if (!json_is_array(list) || count == 0 || count > BOOKING_WANTS_MAX) {
        call_problem(c, 422, "bad-field", "'units' wants a list of 1 to %d units.", BOOKING_WANTS_MAX);
        return false;
    }
    s->wants = mem_new(count * sizeof *s->wants);
    for (size_t i = 0; i < count; i++) {
        const json_t *unit = json_array_get(list, i), *quantity = json_object_get(unit, "quantity");

        s->wants[i].key = json_string_value(json_object_get(unit, "key"));
        s->wants[i].quantity = json_integer_value(quantity);
        if (s->wants[i].key != NULL && json_is_integer(quantity) && json_object_size(unit) == 2)
            continue;
        call_problem(c, 422, "bad-field",
                     "Every one of 'units' wants a 'key', a text, and a 'quantity', a whole number.");
        return false;
    }
    s->booking.wants = s->wants;
    s->booking.want_count = count;
    return true;
}

static bool read_nights(struct sale *s)
{
    struct call *c = s->call;

    s->booking.from = json_string_value(json_object_get(c->body, "from"));
    s->booking.to = json_string_value(json_object_get(c->body, "to"));
    s->booking.rooms = 1;
    if (s->booking.from != NULL && s->booking.to != NULL)
        return body_number(c, "rooms", INT64_MIN, INT64_MAX, &s->booking.rooms);
    call_problem(c, 422, "bad-field", "Nights want both 'from' and 'to', dates like 2026-12-24.");
    return false;
}

/* What is wanted, in one of its forms. */
static bool read_wanted(struct sale *s)
{
    struct call *c = s->call;
    const json_t *units = json_object_get(c->body, "units"), *quantity = json_object_get(c->body, "quantity");
    bool nights = json_object_get(c->body, "from") != NULL || json_object_get(c->body, "to") != NULL ||
                  json_object_get(c->body, "rooms") != NULL;

    if ((units != NULL) + (quantity != NULL) + nights != 1) {
        call_problem(c, 422, "bad-field",
                     "Say what you want by one of 'units', 'quantity', and 'from', 'to' and 'rooms'.");
        return false;
    }
    if (units != NULL)
        return read_wants(s, units);
    return nights ? read_nights(s) : body_number(c, "quantity", INT64_MIN, INT64_MAX, &s->booking.quantity);
}

static const char *const reserve_fields[] = {"customer", "units", "quantity", "from", "to", "rooms", NULL};

static void reserve(struct call *c)
{
    struct sale *s = sale_new(c, BOOKING_RESERVE);

    if (!read_key(c, &s->booking) || !read_if_match(c, &s->booking.if_match) ||
        !body_only(c, reserve_fields) || !read_customer(c, &s->booking) || !read_wanted(s)) {
        sale_drop(s);
        return;
    }
    digest(c->body, s->booking.body);
    submit(s);
}

static void join(struct call *c)
{
    struct sale *s = sale_new(c, BOOKING_JOIN);

    if (!body_only(c, reserve_fields) || !read_customer(c, &s->booking) || !read_wanted(s))
        sale_drop(s);
    else
        submit(s);
}

static void confirm(struct call *c)
{
    struct sale *s = sale_new(c, BOOKING_CONFIRM);

    if (!read_if_match(c, &s->booking.if_match))
        sale_drop(s);
    else
        submit(s);
}

static void change(struct call *c)
{
    static const char *const allowed[] = {"units", NULL};
    struct sale *s = sale_new(c, BOOKING_CHANGE);

    if (http_field(c->x, "If-Match").at == NULL) {
        call_problem(c, 428, "if-match-needed",
                     "Send 'If-Match' with the reservation's ETag, so that no other change is overwritten.");
        sale_drop(s);
    } else if (!read_if_match(c, &s->booking.if_match) || !body_only(c, allowed) ||
               !read_wants(s, json_object_get(c->body, "units"))) {
        sale_drop(s);
    } else {
        submit(s);
    }
}

static void close_door(void *ctx)
{
    struct sale *s = ctx;

    s->e = door_close(s->call->api, s->call->id, s->booking.if_match);
}

static void cancel_now(void *ctx)
{
    struct sale *s = ctx;

    if (s->e == ERR_OK) {
        submit(s);
        return;
    }
    call_problem(s->call, 503, "busy", "The database is away: nothing is cancelled, try again.");
    call_field(s->call, "Retry-After", "1");
    sale_drop(s);
}

static void cancel(struct call *c)
{
    struct sale *s = sale_new(c, BOOKING_CANCEL);

    if (!read_if_match(c, &s->booking.if_match))
        sale_drop(s);
    else
        pool_run(c->loop, close_door, cancel_now, s);
}

static void leave(struct call *c)
{
    submit(sale_new(c, BOOKING_LEAVE));
}

static void get(struct call *c)
{
    struct reservation_view r;
    enum err e = booking_reservation(c->api->options.booking, c->id, &r);

    if (e == ERR_OK)
        reply_with_ticket(c, 200, &r, r.state == RESERVATION_CONFIRMED ? door_ticket(c, &r) : NULL);
    else
        reply_unseen(c, e, "reservation");
    reservation_view_free(&r);
}

static void get_waiter(struct call *c)
{
    struct waiter_view w;
    enum err e = booking_waiter(c->api->options.booking, c->id, &w);

    if (e == ERR_OK)
        reply_waiter(c, 200, &w);
    else
        reply_unseen(c, e, "place in a waitlist");
}

static bool check_inventory(struct call *c)
{
    return call_id(c, "inventory");
}

static bool check_reservation(struct call *c)
{
    return call_id(c, "reservation");
}

static bool check_waiter(struct call *c)
{
    return call_id(c, "place in a waitlist");
}

#define OFFICE    "/api/v1/inventories/{}"
#define BOOKED_AT "/api/v1/reservations/{}"

const struct route reservation_routes[] = {
    {HTTP_POST, OFFICE "/reservations", ROUTE_JSON | ROUTE_LATER | ROUTE_OPEN, check_inventory, reserve},
    {HTTP_GET, OFFICE "/reservations", ROUTE_ADMIN | ROUTE_BOX_OFFICE | ROUTE_BLOCKS, check_reservations,
     list_reservations},
    {HTTP_POST, OFFICE "/waitlist", ROUTE_JSON | ROUTE_LATER | ROUTE_OPEN, check_inventory, join},
    {HTTP_GET, BOOKED_AT, ROUTE_BLOCKS | ROUTE_OPEN, check_reservation, get},
    {HTTP_POST, BOOKED_AT "/confirm", ROUTE_LATER | ROUTE_OPEN, check_reservation, confirm},
    {HTTP_PATCH, BOOKED_AT, ROUTE_JSON | ROUTE_LATER | ROUTE_OPEN, check_reservation, change},
    {HTTP_DELETE, BOOKED_AT, ROUTE_LATER | ROUTE_OPEN, check_reservation, cancel},
    {HTTP_GET, "/api/v1/waitlist/{}", ROUTE_BLOCKS | ROUTE_OPEN, check_waiter, get_waiter},
    {HTTP_DELETE, "/api/v1/waitlist/{}", ROUTE_LATER | ROUTE_OPEN, check_waiter, leave},
    {.pattern = NULL},
};
