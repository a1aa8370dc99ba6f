/* cmd/admin_inventory.c - `matinee inventory …`: what the box office sells. */
#include "cmd/admin_int.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- printing ------------------------------------------------------------------------------------------ */

static void add_number(struct table *t, const json_t *inventory, const char *label, const char *name)
{
    table_add(t, label);
    table_printf(t, "%lld", (long long)json_integer_value(json_object_get(inventory, name)));
}

static void print_inventory(const struct admin *a, const json_t *inventory)
{
    static const char *const texts[][2] = {
        {"id", "id"}, {"name", "name"}, {"sells", "kind"}, {"locking", "locking"}};
    struct table t = {.columns = 2};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        table_add(&t, texts[i][0]);
        table_add(&t, text_of(inventory, texts[i][1]));
    }
    add_number(&t, inventory, "seconds a hold lasts", "holdSeconds");
    add_number(&t, inventory, "capacity", "capacity");
    add_number(&t, inventory, "held", "held");
    add_number(&t, inventory, "sold", "sold");
    table_add(&t, "book at");
    table_printf(&t, "%s/book/%s", a->server, text_of(inventory, "id") ? text_of(inventory, "id") : "");
    print_table(&t);
}

/* Makes a call that answers with an inventory, and prints it. `document` may be NULL. */
static enum err print_answer(struct admin *a, json_t *document, const char *method, const char *path)
{
    struct request r = {.wants = "capacity", .document = document};
    struct answer answer;
    enum err e = admin_call(a, &answer, &r, method, "%s", path);

    if (e == ERR_OK && a->wants_json)
        print_body(&answer);
    else if (e == ERR_OK)
        print_inventory(a, answer.document);
    answer_free(&answer);
    return e;
}

/* --- what is to be sold -------------------------------------------------------------------------------- */

static enum err wrong(struct admin *a, const char *text)
{
    snprintf(a->why, sizeof a->why, "%s", text);
    return ERR_BAD;
}

/* A whole number as a member; whether it is a good one, the server says. */
static bool set_number(json_t *document, const char *name, struct bytes text)
{
    uint64_t number;

    return bytes_to_u64(text, INT64_MAX, &number) &&
           json_object_set_new(document, name, json_integer((json_int_t)number)) == 0;
}

/* "20x30": rows, and places in each. */
static enum err set_seats(struct admin *a, json_t *document, const char *text)
{
    json_t *seats = json_object();
    long cross = bytes_find(bytes_text(text), 'x');

    json_object_set_new(document, "seats", seats);
    if (cross > 0 && set_number(seats, "rows", bytes_of(text, (size_t)cross)) &&
        set_number(seats, "perRow", bytes_text(text + cross + 1)))
        return ERR_OK;
    return wrong(a, "--seats wants ROWSxPLACES, like 20x30");
}

/* "2026-12-20..2026-12-27": the first night, and the morning of leaving. */
static enum err set_nights(struct admin *a, json_t *document, const char *text)
{
    const char *dots = strstr(text, ".."), *rooms = config_text(a->options, "rooms");
    json_t *nights = json_object();

    json_object_set_new(document, "nights", nights);
    if (dots == NULL || rooms == NULL || !set_number(nights, "rooms", bytes_text(rooms)) ||
        json_object_set_new(nights, "from", json_stringn(text, (size_t)(dots - text))) != 0 ||
        json_object_set_new(nights, "to", json_string(dots + 2)) != 0)
        return wrong(
            a, "--nights wants FIRST..LEAVING, like 2026-12-20..2026-12-27, and --rooms how many there are");
    return ERR_OK;
}

static enum err set_kind(struct admin *a, json_t *document)
{
    const char *seats = config_text(a->options, "seats"), *pool = config_text(a->options, "pool");
    const char *nights = config_text(a->options, "nights");

    if ((seats != NULL) + (pool != NULL) + (nights != NULL) != 1)
        return wrong(a, "say what is sold, by one of --seats, --pool and --nights");
    if (seats != NULL)
        return set_seats(a, document, seats);
    if (nights != NULL)
        return set_nights(a, document, nights);
    return set_number(document, "pool", bytes_text(pool)) ? ERR_OK : wrong(a, "--pool wants a whole number");
}

/* Name, locking and holds, where they are given; `name` may be NULL. */
static enum err set_common(struct admin *a, json_t *document, const char *name)
{
    const char *locking = config_text(a->options, "locking"), *hold = config_text(a->options, "hold");

    if ((name != NULL && json_object_set_new(document, "name", json_string(name)) != 0) ||
        (locking != NULL && json_object_set_new(document, "locking", json_string(locking)) != 0))
        return wrong(a, "the name and the options want text in UTF-8");
    if (hold != NULL && !set_number(document, "holdSeconds", bytes_text(hold)))
        return wrong(a, "--hold wants a whole number of seconds");
    return ERR_OK;
}

/* --- verbs --------------------------------------------------------------------------------------------- */

#define PATH_SIZE 96

enum err admin_inventory_create(struct admin *a)
{
    json_t *document = json_object();
    enum err e = set_common(a, document, a->words[0]);

    if (e == ERR_OK)
        e = set_kind(a, document);
    if (e == ERR_OK)
        e = print_answer(a, document, "POST", "/api/v1/inventories");
    json_decref(document);
    return e;
}

enum err admin_inventory_change(struct admin *a)
{
    json_t *document = json_object();
    char path[PATH_SIZE];
    enum err e = set_common(a, document, config_text(a->options, "name"));

    snprintf(path, sizeof path, "/api/v1/inventories/%.40s", a->words[0]);
    if (e == ERR_OK)
        e = print_answer(a, document, "PATCH", path);
    json_decref(document);
    return e;
}

enum err admin_inventory_show(struct admin *a)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "/api/v1/inventories/%.40s", a->words[0]);
    return print_answer(a, NULL, "GET", path);
}

static void add_row(struct table *t, const json_t *inventory)
{
    static const char *const numbers[] = {"capacity", "held", "sold"};

    table_add(t, text_of(inventory, "id"));
    table_add(t, text_of(inventory, "kind"));
    table_add(t, text_of(inventory, "locking"));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        table_printf(t, "%lld", (long long)json_integer_value(json_object_get(inventory, numbers[i])));
    table_add(t, text_of(inventory, "name"));
}

enum err admin_inventory_list(struct admin *a)
{
    static const char *const heads[] = {"ID", "SELLS", "LOCKING", "CAPACITY", "HELD", "SOLD", "NAME", NULL};

    return print_list(a, "/api/v1/inventories", &(struct listing){heads, add_row});
}

/* --- who has booked ------------------------------------------------------------------------------------ */

/* "A-1 A-2", or "3 × pool". */
static void add_units(struct table *t, const json_t *reservation)
{
    struct builder b = {0};
    const json_t *unit;

    for (size_t i = 0; (unit = json_array_get(json_object_get(reservation, "units"), i)) != NULL; i++) {
        const char *key = text_of(unit, "key");
        long long quantity = json_integer_value(json_object_get(unit, "quantity"));

        builder_text(&b, i > 0 ? " " : "");
        if (quantity != 1)
            builder_printf(&b, "%lld × ", quantity);
        builder_text(&b, key != NULL ? key : "?");
    }
    table_printf(t, "%.*s", (int)builder_bytes(&b).size, (const char *)builder_bytes(&b).at);
    builder_drop(&b);
}

static void add_reservation(struct table *t, const json_t *reservation)
{
    static const char *const texts[] = {"id", "state", "createdAt", "customer"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        table_add(t, text_of(reservation, texts[i]));
    add_units(t, reservation);
}

/* The path of the list with what it is narrowed by; the caller's. */
static char *reservations_path(const struct admin *a)
{
    const char *state = config_text(a->options, "state"), *customer = config_text(a->options, "customer");
    char *state_text = curl_easy_escape(a->curl, state != NULL ? state : "", 0);
    char *customer_text = curl_easy_escape(a->curl, customer != NULL ? customer : "", 0);
    char *path = mem_printf("/api/v1/inventories/%.40s/reservations?%s%s%s%s", a->words[0],
                            state != NULL ? "&state=" : "", state_text, customer != NULL ? "&customer=" : "",
                            customer_text);

    curl_free(state_text);
    curl_free(customer_text);
    return path;
}

enum err admin_inventory_reservations(struct admin *a)
{
    static const char *const heads[] = {"ID", "STATE", "BOOKED", "CUSTOMER", "UNITS", NULL};
    char *path = reservations_path(a);
    enum err e = print_list(a, path, &(struct listing){heads, add_reservation});

    free(path);
    return e;
}
