/* booking/board.c - the rows that some ops need, in memory: what was read, and what is to be written. */
#include "booking/booking_int.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* --- quantities -------------------------------------------------------------------------------------- */

void quantities_free(struct quantities *q)
{
    free(q->at);
    *q = (struct quantities){NULL, 0};
}

struct quantities quantities_copy(const struct quantities *q)
{
    struct quantities copy = {mem_new(q->count * sizeof *q->at), q->count};

    if (q->count > 0)
        memcpy(copy.at, q->at, q->count * sizeof *q->at);
    return copy;
}

bool quantities_equal(const struct quantities *a, const struct quantities *b)
{
    bool equal = a->count == b->count;

    for (size_t i = 0; equal && i < a->count; i++)
        equal = a->at[i].unit == b->at[i].unit && a->at[i].quantity == b->at[i].quantity;
    return equal;
}

/* --- the board --------------------------------------------------------------------------------------- */

/* Room for one more of `size` bytes in an array of `count`. */
static void *grown(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? 2 * *room : 16;
    return mem_resize(array, *room * size);
}

void board_init(struct board *b)
{
    *b = (struct board){0};
}

static void reservation_free(struct board_reservation *r)
{
    free(r->customer);
    free(r->idempotency_key);
    quantities_free(&r->units);
    quantities_free(&r->first);
    free(r);
}

static void waiter_free(struct board_waiter *w)
{
    free(w->customer);
    quantities_free(&w->units);
    free(w);
}

void board_free(struct board *b)
{
    for (size_t i = 0; i < b->reservation_count; i++)
        reservation_free(b->reservations[i]);
    for (size_t i = 0; i < b->waiter_count; i++)
        waiter_free(b->waiters[i]);
    free(b->units);
    free(b->reservations);
    free(b->waiters);
    free(b->inventories);
    free(b->wishes);
    map_free(b->by_id);
    map_free(b->by_key);
    board_init(b);
}

void board_wish(struct board *b, struct board_wish w)
{
    b->wishes = grown(b->wishes, b->wish_count, &b->wish_room, sizeof *b->wishes);
    b->wishes[b->wish_count++] = w;
}

struct board_inventory *board_inventory(const struct board *b, const struct inventory *i)
{
    for (size_t at = 0; at < b->inventory_count; at++)
        if (b->inventories[at].inventory == i)
            return &b->inventories[at];
    return NULL;
}

static struct board_inventory *inventory_on(struct board *b, struct inventory *i)
{
    struct board_inventory *known = board_inventory(b, i);

    if (known != NULL)
        return known;
    b->inventories = grown(b->inventories, b->inventory_count, &b->inventory_room, sizeof *b->inventories);
    b->inventories[b->inventory_count] = (struct board_inventory){.inventory = i};
    return &b->inventories[b->inventory_count++];
}

void board_want_unit(struct board *b, struct inventory *i, uint32_t unit)
{
    assert(!b->units_sorted);
    b->units = grown(b->units, b->unit_count, &b->unit_room, sizeof *b->units);
    b->units[b->unit_count++] = (struct board_unit){.inventory = i, .unit = unit};
}

void board_want_units(struct board *b, struct inventory *i, const struct quantities *q)
{
    for (size_t at = 0; at < q->count; at++)
        board_want_unit(b, i, q->at[at].unit);
}

void board_want_all(struct board *b, struct inventory *i)
{
    struct board_inventory *on = inventory_on(b, i);

    if (on->all_units)
        return;
    on->all_units = true;
    for (uint32_t unit = 0; unit < i->unit_count; unit++)
        board_want_unit(b, i, unit);
}

void board_want_line(struct board *b, struct inventory *i)
{
    inventory_on(b, i)->want_line = true;
}

void board_want_whole_line(struct board *b, struct inventory *i)
{
    board_want_line(b, i);
    inventory_on(b, i)->whole_line = true;
}

void board_want_version(struct board *b, struct inventory *i)
{
    inventory_on(b, i)->want_version = true;
}

static int unit_order(const void *left, const void *right)
{
    const struct board_unit *a = left, *b = right;
    int order = a->inventory == b->inventory
                    ? 0
                    : memcmp(a->inventory->id.b, b->inventory->id.b, sizeof a->inventory->id.b);

    return order != 0 ? order : (a->unit > b->unit) - (a->unit < b->unit);
}

void board_sort(struct board *b)
{
    size_t kept = 0;

    if (b->unit_count > 1)
        qsort(b->units, b->unit_count, sizeof *b->units, unit_order);
    for (size_t i = 0; i < b->unit_count; i++)
        if (kept == 0 || unit_order(&b->units[kept - 1], &b->units[i]) != 0)
            b->units[kept++] = b->units[i];
    b->unit_count = kept;
    b->units_sorted = true;
}

struct board_unit *board_unit(const struct board *b, const struct inventory *i, uint32_t unit)
{
    struct board_unit wanted = {.inventory = container_of(&i->id, struct inventory, id), .unit = unit};

    assert(b->units_sorted);
    return b->unit_count > 0 ? bsearch(&wanted, b->units, b->unit_count, sizeof *b->units, unit_order) : NULL;
}

/* Keys are looked up as 16 bytes of the inventory and the text. */
static struct bytes name_of(uint8_t name[sizeof(struct ulid) + IDEMPOTENCY_KEY_MAX],
                            const struct inventory *i, const char *key)
{
    size_t size = strlen(key);

    assert(size <= IDEMPOTENCY_KEY_MAX);
    memcpy(name, i->id.b, sizeof i->id.b);
    memcpy(name + sizeof i->id.b, key, size);
    return bytes_of(name, sizeof i->id.b + size);
}

void board_index(struct board *b, struct board_reservation *r)
{
    uint8_t name[sizeof(struct ulid) + IDEMPOTENCY_KEY_MAX];

    if (b->by_id == NULL) {
        b->by_id = map_new();
        b->by_key = map_new();
    }
    map_put(b->by_id, bytes_of(r->id.b, sizeof r->id.b), r);
    if (r->idempotency_key != NULL)
        map_put(b->by_key, name_of(name, r->inventory, r->idempotency_key), r);
}

struct board_reservation *board_reservation(const struct board *b, struct ulid id)
{
    return b->by_id != NULL ? map_get(b->by_id, bytes_of(id.b, sizeof id.b)) : NULL;
}

struct board_reservation *board_reservation_by_key(const struct board *b, const struct inventory *i,
                                                   const char *key)
{
    uint8_t name[sizeof(struct ulid) + IDEMPOTENCY_KEY_MAX];

    return b->by_key != NULL ? map_get(b->by_key, name_of(name, i, key)) : NULL;
}

struct board_waiter *board_waiter(const struct board *b, struct ulid id)
{
    for (size_t i = 0; i < b->waiter_count; i++)
        if (ulid_equal(b->waiters[i]->id, id))
            return b->waiters[i];
    return NULL;
}

struct board_reservation *board_add_reservation(struct board *b)
{
    b->reservations =
        grown(b->reservations, b->reservation_count, &b->reservation_room, sizeof *b->reservations);
    return b->reservations[b->reservation_count++] = mem_new(sizeof(struct board_reservation));
}

struct board_waiter *board_add_waiter(struct board *b)
{
    b->waiters = grown(b->waiters, b->waiter_count, &b->waiter_room, sizeof *b->waiters);
    return b->waiters[b->waiter_count++] = mem_new(sizeof(struct board_waiter));
}

static int waiter_order(const void *left, const void *right)
{
    const struct board_waiter *a = *(struct board_waiter *const *)left,
                              *b = *(struct board_waiter *const *)right;
    int order = (a->place > b->place) - (a->place < b->place);

    return order != 0 ? order : memcmp(a->id.b, b->id.b, sizeof a->id.b);
}

void board_sort_waiters(struct board *b)
{
    if (b->waiter_count > 1)
        qsort(b->waiters, b->waiter_count, sizeof(struct board_waiter *), waiter_order);
}

bool board_changed(const struct board *b)
{
    bool changed = false;

    for (size_t i = 0; i < b->unit_count && !changed; i++)
        changed = b->units[i].version != b->units[i].version_read;
    for (size_t i = 0; i < b->reservation_count && !changed; i++)
        changed = b->reservations[i]->version != b->reservations[i]->version_read;
    for (size_t i = 0; i < b->waiter_count && !changed; i++)
        changed = b->waiters[i]->version != b->waiters[i]->version_read;
    return changed;
}
