/* booking/inventory.c - inventories in memory: what never changes (units and their capacities), what rarely does (name, locking,
 * length of holds), and what this server last saw of every unit, for choosing seats and for followers. No decision rests on
 * the last. */
#include "booking/booking_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* --- finding ----------------------------------------------------------------------------------------- */

struct inventory *inventory_cached(struct booking *b, struct ulid id)
{
    struct inventory *i;

    pthread_rwlock_rdlock(&b->inventories_lock);
    i = map_get(b->inventories, bytes_of(id.b, sizeof id.b));
    pthread_rwlock_unlock(&b->inventories_lock);
    return i;
}

/* Keeps `i`, unless another thread was faster: then that one's. */
static struct inventory *keep(struct booking *b, struct inventory *i)
{
    struct inventory *other;

    pthread_rwlock_wrlock(&b->inventories_lock);
    other = map_get(b->inventories, bytes_of(i->id.b, sizeof i->id.b));
    if (other == NULL)
        map_put(b->inventories, bytes_of(i->id.b, sizeof i->id.b), i);
    pthread_rwlock_unlock(&b->inventories_lock);
    if (other != NULL)
        inventory_free(i);
    return other != NULL ? other : i;
}

enum err inventory_find(struct booking *b, struct ulid id, struct inventory **out)
{
    enum err e = ERR_OK;

    if ((*out = inventory_cached(b, id)) != NULL)
        return ERR_OK;
    if ((e = b->rows->kind->read_inventory(b->rows, id, out)) == ERR_OK)
        *out = keep(b, *out);
    return e;
}

void inventories_refresh(struct booking *b)
{
    struct inventory **all;
    size_t count = 0;
    struct bytes key;
    void *value;

    if (!b->rows->shared)
        return;
    pthread_rwlock_rdlock(&b->inventories_lock);
    all = mem_new(map_count(b->inventories) * sizeof *all);
    for (size_t at = 0; map_next(b->inventories, &at, &key, &value);)
        all[count++] = value;
    pthread_rwlock_unlock(&b->inventories_lock);
    for (size_t at = 0; at < count; at++)
        if (b->rows->kind->refresh(b->rows, all[at]) != ERR_OK)
            break; /* away; the next look will tell */
    free(all);
}

/* --- making and ending ------------------------------------------------------------------------------- */

struct inventory *inventory_new(struct ulid id, const char *name, uint32_t unit_count)
{
    struct inventory *i = mem_new(sizeof *i);

    i->id = id;
    i->name = mem_string(name);
    i->unit_count = unit_count;
    i->units = mem_new(unit_count * sizeof *i->units);
    i->running = map_new();
    i->adaptive = adaptive_new(unit_count);
    pthread_mutex_init(&i->lock, NULL);
    return i;
}

bool inventory_draw(struct inventory *i)
{
    char key[SEAT_KEY_SIZE];

    if (i->kind != INVENTORY_SEATS)
        return true;
    if (i->rows < 1 || i->per_row < 1 || i->rows * i->per_row != i->unit_count)
        return false;
    i->drawn = mem_new(i->unit_count * sizeof *i->drawn);
    for (int64_t row = 0; row < i->rows; row++)
        for (int64_t place = 0; place < i->per_row; place++) {
            seat_key(key, row, place);
            uint32_t unit = inventory_unit(i, bytes_text(key));

            if (unit == UINT32_MAX)
                return false;
            i->drawn[row * i->per_row + place] = unit;
        }
    return true;
}

void inventory_free(struct inventory *i)
{
    if (i == NULL)
        return;
    for (uint32_t unit = 0; unit < i->unit_count; unit++)
        free(i->units[unit].key);
    free(i->units);
    free(i->drawn);
    free(i->name);
    free(i->news);
    assert(map_count(i->running) == 0);
    map_free(i->running);
    adaptive_free(i->adaptive);
    pthread_mutex_destroy(&i->lock);
    free(i);
}

uint32_t inventory_unit(const struct inventory *i, struct bytes key)
{
    uint32_t low = 0, high = i->unit_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct bytes there = bytes_text(i->units[middle].key);
        size_t common = there.size < key.size ? there.size : key.size;
        int order = common > 0 ? memcmp(there.at, key.at, common) : 0;

        if (order == 0 && there.size == key.size)
            return middle;
        if (order < 0 || (order == 0 && there.size < key.size))
            low = middle + 1;
        else
            high = middle;
    }
    return UINT32_MAX;
}

/* --- ops that are on their way ----------------------------------------------------------------------- */

static bool free_by_memory(void *ctx, uint32_t unit)
{
    const struct unit *u = &((const struct inventory *)ctx)->units[unit];

    return u->picked == 0 && u->held + u->sold < u->capacity;
}

static int by_unit(const void *left, const void *right)
{
    const struct quantity *a = left, *b = right;

    return (a->unit > b->unit) - (a->unit < b->unit);
}

/* Chooses seats that look free and that no other op has just chosen; none when there are not so many: then the op looks at all
 * of them in the database. */
static void pick_seats(struct inventory *i, struct booking_op *op)
{
    size_t count = (size_t)op->call->quantity;
    uint32_t *chosen = mem_new(count * sizeof *chosen);

    op->wide = !seats_choose(i, count, free_by_memory, i, chosen);
    if (!op->wide) {
        op->picks.at = mem_new(count * sizeof *op->picks.at);
        for (; op->picks.count < count; op->picks.count++)
            op->picks.at[op->picks.count] = (struct quantity){chosen[op->picks.count], 1};
        qsort(op->picks.at, count, sizeof *op->picks.at, by_unit);
        op->wants = quantities_copy(&op->picks);
    }
    for (size_t at = 0; at < op->picks.count; at++)
        i->units[op->picks.at[at].unit].picked++;
    free(chosen);
}

bool inventory_enter(struct inventory *i, struct booking_op *op)
{
    if (op->call->kind != BOOKING_RESERVE)
        return true;
    pthread_mutex_lock(&i->lock);
    op->entered = map_get(i->running, bytes_text(op->call->idempotency_key)) == NULL;
    if (op->entered) {
        map_put(i->running, bytes_text(op->call->idempotency_key), op);
        if (op->best_seats)
            pick_seats(i, op);
    }
    pthread_mutex_unlock(&i->lock);
    if (!op->entered)
        answer_set(op->call, BOOKED_IN_FLIGHT,
                   "a request with this Idempotency-Key is still running: ask again for its answer");
    return op->entered;
}

void inventory_leave(struct inventory *i, struct booking_op *op)
{
    if (!op->entered)
        return;
    pthread_mutex_lock(&i->lock);
    map_remove(i->running, bytes_text(op->call->idempotency_key));
    for (size_t at = 0; at < op->picks.count; at++)
        i->units[op->picks.at[at].unit].picked--;
    pthread_mutex_unlock(&i->lock);
    op->entered = false;
}

/* --- what was last seen ------------------------------------------------------------------------------ */

void inventory_saw(struct inventory *i, uint32_t unit, int64_t held, int64_t sold, int64_t version)
{
    struct unit *u = &i->units[unit];

    pthread_mutex_lock(&i->lock);
    if (version > u->version) {
        u->held = held;
        u->sold = sold;
        u->version = version;
        u->changed = i->news_count;
        if (i->news != NULL)
            i->news[i->news_count % NEWS_MAX] = unit;
        i->news_count++;
    }
    pthread_mutex_unlock(&i->lock);
}

/* Followers come back every tenth of a second. */
#define FOLLOWED_MS 5000

bool inventory_followed(const struct inventory *i)
{
    int64_t at_ms = atomic_load(&i->followed_ms);

    return at_ms > 0 && clock_mono_ms() - at_ms < FOLLOWED_MS;
}

int64_t inventory_seen(struct inventory *i)
{
    int64_t sum = 0;

    pthread_mutex_lock(&i->lock);
    for (uint32_t unit = 0; unit < i->unit_count; unit++)
        sum += i->units[unit].version;
    pthread_mutex_unlock(&i->lock);
    return sum;
}

static void show(const struct unit *u, struct unit_view *out)
{
    size_t size = strlen(u->key);

    memcpy(out->key, u->key, size + 1);
    out->capacity = u->capacity;
    out->held = u->held;
    out->sold = u->sold;
    out->version = u->version;
}

/* The changes since `since`, each unit's last one only. */
static size_t collect(const struct inventory *i, uint64_t since, struct unit_view *out, size_t limit,
                      uint64_t *upto)
{
    size_t count = 0;
    uint64_t at = since;

    for (; at < i->news_count && count < limit; at++) {
        const struct unit *u = &i->units[i->news[at % NEWS_MAX]];

        if (u->changed == at)
            show(u, &out[count++]);
    }
    *upto = at;
    return count;
}

enum err booking_changes(struct booking *b, struct ulid inventory, uint64_t *since, struct unit_view *out,
                         size_t limit, size_t *count, bool *missed)
{
    struct inventory *i = inventory_cached(b, inventory);

    *count = 0;
    *missed = false;
    if (i == NULL)
        return ERR_MISSING;
    atomic_store(&i->followed_ms, clock_mono_ms());
    pthread_mutex_lock(&i->lock);
    if (i->news == NULL)
        i->news = mem_new(NEWS_MAX * sizeof *i->news);
    if (*since == 0) {
        *since = i->news_count + 1;
    } else if (i->news_count + 1 - *since > NEWS_MAX) {
        *missed = true;
        *since = i->news_count + 1;
    } else {
        *count = collect(i, *since - 1, out, limit, since);
        *since += 1;
    }
    pthread_mutex_unlock(&i->lock);
    return ERR_OK;
}
