/* api/reservation_list.c - GET /api/v1/inventories/{id}/reservations: who has booked. It is for the box office, as each id in it is the
 * key to a reservation. */
#include "api/booking_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* c->number of a list of all states. */
#define ANY_STATE UINT32_MAX
/* 200 characters in UTF-8. */
#define CUSTOMER_SIZE (4 * CUSTOMER_CHARS_MAX + 1)

static bool read_state(struct call *c)
{
    enum reservation_state state;
    char text[16];
    bool present, good = http_query_get(c->x, "state", text, sizeof text, &present);

    c->number = ANY_STATE;
    if (!present)
        return true;
    if (good && reservation_state_parse(text, &state)) {
        c->number = state;
        return true;
    }
    call_problem(c, 400, "bad-parameter", "'state' wants held, confirmed, expired or cancelled.");
    return false;
}

static bool read_customer(struct call *c)
{
    char text[CUSTOMER_SIZE];
    bool present, good = http_query_get(c->x, "customer", text, sizeof text, &present);

    if (present && (!good || text[0] == '\0')) {
        call_problem(c, 400, "bad-parameter", "'customer' wants a name, or a piece of one.");
        return false;
    }
    c->text = present ? mem_string(text) : NULL;
    return true;
}

bool check_reservations(struct call *c)
{
    return call_id(c, "inventory") && call_page(c) && read_state(c) && read_customer(c);
}

static void link_next(struct call *c, struct ulid last)
{
    char inventory[ULID_TEXT_SIZE], after[ULID_TEXT_SIZE];
    char *customer = c->text != NULL ? percent_encoded(c->text) : NULL;
    const char *state =
        c->number != ANY_STATE ? reservation_state_name((enum reservation_state)c->number) : NULL;

    call_field(c, "Link", "</api/v1/inventories/%s/reservations?limit=%ld%s%s%s%s&after=%s>; rel=\"next\"",
               ulid_text(c->id, inventory), c->limit, state ? "&state=" : "", state ? state : "",
               customer ? "&customer=" : "", customer ? customer : "", ulid_text(last, after));
    free(customer);
}

void list_reservations(struct call *c)
{
    const struct reservation_filter filter = {.any_state = c->number == ANY_STATE,
                                              .state = (enum reservation_state)(c->number & 3),
                                              .customer = c->text};
    struct reservation_view *views = mem_new((size_t)(c->limit + 1) * sizeof *views);
    size_t count = 0;
    enum err e = booking_reservations(c->api->options.booking, c->id, &filter, c->after, (size_t)c->limit + 1,
                                      views, &count);
    json_t *items = json_array();

    for (size_t i = 0; i < count && i < (size_t)c->limit; i++)
        json_array_append_new(items, reservation_json(&views[i]));
    if (count > (size_t)c->limit)
        link_next(c, views[c->limit - 1].id);
    for (size_t i = 0; i < count; i++)
        reservation_view_free(&views[i]);
    free(views);
    call_field(c, "Cache-Control", "no-store");
    if (e == ERR_OK) {
        call_json(c, 200, json_pack("{s:o}", "items", items));
        return;
    }
    json_decref(items);
    reply_unseen(c, e, "inventory");
}
