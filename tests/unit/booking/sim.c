/* tests/unit/booking/sim.c - see sim.h. */
#include "sim.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define ACTORS_MAX 64
#define ROWS_MAX   20000
#define LOCK_US    2000000
#define TURN_US    20

/* --- rows ----------------------------------------------------------------------------------------------- */

struct row_lock {
    struct tx *owner; /* NULL: free */
};

struct unit_row {
    int64_t held, sold, version;
    struct row_lock lock;
};

struct inventory_row {
    struct ulid id;
    uint32_t unit_count;
    int64_t capacity, hold_ms, version;
    enum booking_locking locking;
    struct unit_row *units;
};

struct reservation_row {
    struct board_reservation r; /* customer, key and quantities are its own */
    struct ulid inventory;
    struct row_lock lock;
};

struct tx {
    struct sim *sim;
    struct row_lock *locks[ROWS_MAX / 16];
    size_t lock_count;
    struct row_lock *wanted; /* what it waits for */
};

struct actor {
    pthread_t thread;
    pthread_cond_t turn;
    bool alive;
    int64_t until_us; /* sleeps */
    struct tx *waiting;
    size_t number;
    struct sim *sim;
};

struct sim {
    uint64_t seed;
    enum fault fault;
    pthread_mutex_t lock; /* held by whoever's turn it is */
    struct actor actors[ACTORS_MAX];
    size_t actor_count, running;
    int64_t now_us;
    void (*act)(void *ctx, size_t number);
    void *ctx;
    struct inventory_row inventories[4];
    size_t inventory_count, deadlocks;
    struct reservation_row *reservations;
    size_t reservation_count;
};

struct sim_rows {
    struct rows rows;
    struct sim *sim;
};

static _Thread_local struct actor *here;

/* --- chance and turns ------------------------------------------------------------------------------------ */

uint64_t sim_random(struct sim *s)
{
    s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
    return s->seed >> 33;
}

int64_t sim_now_us(const struct sim *s)
{
    return s->now_us;
}

static void show_time(const struct sim *s)
{
    clock_test_set(s->now_us, 1700000000000 + s->now_us / 1000);
}

static bool ready(const struct actor *a)
{
    return a->alive && a->until_us <= a->sim->now_us &&
           (a->waiting == NULL || a->waiting->wanted->owner == NULL);
}

/* Who is next: one of those who can, by chance; when all sleep, time passes. */
static struct actor *choose(struct sim *s)
{
    for (;;) {
        struct actor *able[ACTORS_MAX];
        int64_t wake_us = INT64_MAX;
        size_t count = 0;

        for (size_t i = 0; i < s->actor_count; i++) {
            struct actor *a = &s->actors[i];

            if (ready(a))
                able[count++] = a;
            else if (a->alive && a->until_us > s->now_us && a->until_us < wake_us)
                wake_us = a->until_us;
        }
        if (count > 0)
            return able[sim_random(s) % count];
        assert(wake_us != INT64_MAX); /* all would wait for each other: deadlocks are found before */
        s->now_us = wake_us;
        show_time(s);
    }
}

/* Gives the turn to somebody, perhaps oneself again. */
static void yield(struct sim *s)
{
    struct actor *next;

    s->now_us += TURN_US;
    show_time(s);
    next = choose(s);
    if (next == here)
        return;
    s->running = next->number;
    pthread_cond_signal(&next->turn);
    while (s->running != here->number)
        pthread_cond_wait(&here->turn, &s->lock);
}

void sim_pause(struct sim *s, int64_t us)
{
    here->until_us = s->now_us + us;
    yield(s);
}

static void *actor_thread(void *ctx)
{
    struct actor *a = ctx;
    struct sim *s = a->sim;

    here = a;
    pthread_mutex_lock(&s->lock);
    while (s->running != a->number)
        pthread_cond_wait(&a->turn, &s->lock);
    s->act(s->ctx, a->number);
    a->alive = false;
    for (size_t i = 0; i < s->actor_count; i++)
        if (s->actors[i].alive) {
            struct actor *next = choose(s);

            s->running = next->number;
            pthread_cond_signal(&next->turn);
            break;
        }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void sim_run(struct sim *s, size_t count, void (*act)(void *ctx, size_t number), void *ctx)
{
    assert(count > 0 && count <= ACTORS_MAX);
    s->actor_count = count;
    s->act = act;
    s->ctx = ctx;
    show_time(s);
    pthread_mutex_lock(&s->lock);
    s->running = ACTORS_MAX;
    for (size_t i = 0; i < count; i++) {
        s->actors[i] = (struct actor){.alive = true, .number = i, .sim = s};
        pthread_cond_init(&s->actors[i].turn, NULL);
        pthread_create(&s->actors[i].thread, NULL, actor_thread, &s->actors[i]);
    }
    s->running = sim_random(s) % count;
    pthread_cond_signal(&s->actors[s->running].turn);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < count; i++) {
        pthread_join(s->actors[i].thread, NULL);
        pthread_cond_destroy(&s->actors[i].turn);
    }
}

/* --- locks ----------------------------------------------------------------------------------------------- */

static bool waits_for(const struct sim *s, const struct tx *who, const struct tx *whom)
{
    for (const struct tx *at = who; at != NULL && at->wanted != NULL; at = at->wanted->owner)
        if (at->wanted->owner == whom)
            return true;
    return false;
}

static enum err take_lock(struct tx *tx, struct row_lock *l)
{
    struct sim *s = tx->sim;

    if (l->owner == tx)
        return ERR_OK;
    while (l->owner != NULL) {
        tx->wanted = l;
        if (waits_for(s, l->owner, tx)) {
            tx->wanted = NULL;
            s->deadlocks++;
            return ERR_BUSY;
        }
        here->waiting = tx;
        yield(s);
        here->waiting = NULL;
        tx->wanted = NULL;
    }
    l->owner = tx;
    assert(tx->lock_count < sizeof tx->locks / sizeof *tx->locks);
    tx->locks[tx->lock_count++] = l;
    return ERR_OK;
}

static void release(struct tx *tx)
{
    while (tx->lock_count > 0)
        tx->locks[--tx->lock_count]->owner = NULL;
}

/* --- finding --------------------------------------------------------------------------------------------- */

static struct sim *sim_of(struct rows *r)
{
    return ((struct sim_rows *)(void *)r)->sim;
}

static struct inventory_row *inventory_row(struct sim *s, struct ulid id)
{
    for (size_t i = 0; i < s->inventory_count; i++)
        if (ulid_equal(s->inventories[i].id, id))
            return &s->inventories[i];
    return NULL;
}

static struct reservation_row *reservation_row(struct sim *s, struct ulid id)
{
    for (size_t i = 0; i < s->reservation_count; i++)
        if (ulid_equal(s->reservations[i].r.id, id))
            return &s->reservations[i];
    return NULL;
}

static struct reservation_row *row_by_key(struct sim *s, struct ulid inventory, const char *key)
{
    for (size_t i = 0; i < s->reservation_count; i++)
        if (ulid_equal(s->reservations[i].inventory, inventory) &&
            s->reservations[i].r.idempotency_key != NULL &&
            strcmp(s->reservations[i].r.idempotency_key, key) == 0)
            return &s->reservations[i];
    return NULL;
}

static void copy_reservation(struct board_reservation *to, const struct board_reservation *from)
{
    *to = *from;
    to->customer = mem_string(from->customer);
    to->idempotency_key = from->idempotency_key != NULL ? mem_string(from->idempotency_key) : NULL;
    to->units = quantities_copy(&from->units);
    to->first = quantities_copy(&from->first);
}

/* --- what rows_kind wants ---------------------------------------------------------------------------------- */

static enum err sim_write(struct rows *r, enum err (*work)(void *ctx, void *tx), void *ctx)
{
    struct sim *s = sim_of(r);
    struct tx tx = {.sim = s};
    enum err e;

    yield(s);
    if (sim_random(s) % 200 == 0)
        return ERR_IO; /* away before anything was begun */
    e = work(ctx, &tx);
    release(&tx);
    yield(s);
    if (e == ERR_OK && sim_random(s) % 200 == 0)
        return ERR_IO; /* done, and the answer was lost */
    return e;
}

static enum err sim_read_wishes(struct rows *r, void *ctx, struct board *b, bool lock)
{
    struct sim *s = sim_of(r);

    for (size_t i = 0; i < b->wish_count; i++) {
        const struct board_wish *w = &b->wishes[i];
        struct reservation_row *row = NULL;
        struct board_reservation *copy;
        enum err e;

        yield(s);
        if (w->what == WISH_RESERVATION)
            row = reservation_row(s, w->id);
        else if (w->what == WISH_KEY)
            row = row_by_key(s, w->inventory->id, w->key);
        if (row == NULL)
            continue;
        if (lock && w->what == WISH_RESERVATION && (e = take_lock(ctx, &row->lock)) != ERR_OK)
            return e;
        copy = board_add_reservation(b);
        copy_reservation(copy, &row->r);
        copy->inventory = w->inventory;
        copy->version_read = copy->version;
        board_index(b, copy);
    }
    return ERR_OK;
}

/* The order in which units are locked: as they stand, unless the fault is to be that they are not. */
static void order_of(struct sim *s, const struct board *b, size_t *order)
{
    for (size_t i = 0; i < b->unit_count; i++)
        order[i] = i;
    for (size_t i = b->unit_count; s->fault == FAULT_UNSORTED_LOCKS && i > 1; i--) {
        size_t other = sim_random(s) % i, kept = order[i - 1];

        order[i - 1] = order[other];
        order[other] = kept;
    }
}

static enum err sim_read_units(struct rows *r, void *ctx, struct board *b, bool lock)
{
    struct sim *s = sim_of(r);
    size_t *order = mem_new(b->unit_count * sizeof *order);
    enum err e = ERR_OK;

    order_of(s, b, order);
    for (size_t i = 0; i < b->unit_count && e == ERR_OK; i++) {
        struct board_unit *u = &b->units[order[i]];
        struct unit_row *row = &inventory_row(s, u->inventory->id)->units[u->unit];

        yield(s);
        if (lock)
            e = take_lock(ctx, &row->lock);
        u->held = row->held;
        u->sold = row->sold;
        u->version = u->version_read = row->version;
        u->read = true;
    }
    free(order);
    return e;
}

static enum err sim_read_inventories(struct rows *r, void *tx, struct board *b, bool lock)
{
    for (size_t i = 0; i < b->inventory_count; i++) {
        b->inventories[i].line_read = true;
        b->inventories[i].version = 1;
    }
    return ERR_OK;
}

static bool stale(const struct sim *s, int64_t is, int64_t was)
{
    return is != was && s->fault != FAULT_NO_VERSION_CHECK;
}

/* Everything is checked, under locks, before anything is changed: so nothing is ever undone. */
static enum err may_save(struct sim *s, struct tx *tx, const struct board *b)
{
    enum err e;

    for (size_t i = 0; i < b->reservation_count; i++) {
        const struct board_reservation *r = b->reservations[i];
        struct reservation_row *row = reservation_row(s, r->id);

        if (r->version == r->version_read)
            continue;
        if (r->version_read == 0 &&
            (row != NULL || (r->idempotency_key && row_by_key(s, r->inventory->id, r->idempotency_key))))
            return ERR_EXISTS;
        if (r->version_read == 0)
            continue;
        if ((e = take_lock(tx, &row->lock)) != ERR_OK)
            return e;
        if (stale(s, row->r.version, r->version_read))
            return ERR_STALE;
    }
    for (size_t i = 0; i < b->unit_count; i++) {
        const struct board_unit *u = &b->units[i];
        struct unit_row *row = &inventory_row(s, u->inventory->id)->units[u->unit];

        if (u->version == u->version_read)
            continue;
        yield(s);
        if ((e = take_lock(tx, &row->lock)) != ERR_OK)
            return e;
        if (stale(s, row->version, u->version_read))
            return ERR_STALE;
    }
    for (size_t i = 0; i < b->reservation_count;
         i++) /* once more: somebody may have come while we waited for locks */
        if (b->reservations[i]->version_read == 0 && b->reservations[i]->idempotency_key != NULL &&
            row_by_key(s, b->reservations[i]->inventory->id, b->reservations[i]->idempotency_key) != NULL)
            return ERR_EXISTS;
    return ERR_OK;
}

static enum err sim_save(struct rows *rows, void *ctx, const struct board *b)
{
    struct sim *s = sim_of(rows);
    enum err e = may_save(s, ctx, b);

    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < b->unit_count; i++) {
        const struct board_unit *u = &b->units[i];
        struct unit_row *row = &inventory_row(s, u->inventory->id)->units[u->unit];

        if (u->version == u->version_read)
            continue;
        row->held = u->held;
        row->sold = u->sold;
        row->version = u->version;
    }
    for (size_t i = 0; i < b->reservation_count; i++) {
        const struct board_reservation *r = b->reservations[i];
        struct reservation_row *row = reservation_row(s, r->id);

        if (r->version == r->version_read)
            continue;
        if (row == NULL) {
            assert(s->reservation_count < ROWS_MAX);
            row = &s->reservations[s->reservation_count++];
            copy_reservation(&row->r, r);
            row->inventory = r->inventory->id;
            continue;
        }
        row->r.state = r->state;
        row->r.version = r->version;
        quantities_free(&row->r.units);
        row->r.units = quantities_copy(&r->units);
    }
    return ERR_OK;
}

static enum err sim_due(struct rows *r, void *tx, const struct inventory *i, int64_t now_ms, struct ulid *ids,
                        size_t room, size_t *count)
{
    struct sim *s = sim_of(r);

    *count = 0;
    yield(s);
    for (size_t at = 0; at < s->reservation_count && *count < room && s->fault != FAULT_EXPIRY_IGNORED;
         at++) {
        const struct reservation_row *row = &s->reservations[at];

        if (row->r.state == RESERVATION_HELD && row->r.expires_ms <= now_ms &&
            ulid_equal(row->inventory, i->id))
            ids[(*count)++] = row->r.id;
    }
    return ERR_OK;
}

static enum err sim_due_inventories(struct rows *r, int64_t now_ms, struct ulid *ids, size_t room,
                                    size_t *count)
{
    *count = 0;
    return ERR_OK;
}

static enum err sim_next_due(struct rows *r, int64_t *expires_ms)
{
    *expires_ms = INT64_MAX;
    return ERR_OK;
}

static enum err sim_read_inventory(struct rows *r, struct ulid id, struct inventory **out)
{
    const struct inventory_row *row = inventory_row(sim_of(r), id);
    struct inventory *i = inventory_new(id, "sim", row->unit_count);
    char key[16];

    for (uint32_t unit = 0; unit < row->unit_count; unit++) {
        snprintf(key, sizeof key, "u%04u", unit);
        i->units[unit].key = mem_string(key);
        i->units[unit].capacity = row->capacity;
    }
    i->kind = INVENTORY_UNITS;
    atomic_store(&i->hold_ms, row->hold_ms);
    atomic_store(&i->locking, row->locking);
    *out = i;
    return ERR_OK;
}

static enum err sim_refresh(struct rows *r, struct inventory *i)
{
    return ERR_OK;
}

static enum err sim_inventory_of(struct rows *r, bool waiter, struct ulid id, struct ulid *inventory)
{
    const struct reservation_row *row = reservation_row(sim_of(r), id);

    if (row == NULL)
        return ERR_MISSING;
    *inventory = row->inventory;
    return ERR_OK;
}

static const struct rows_kind sim_kind = {
    .write = sim_write,
    .read_wishes = sim_read_wishes,
    .read_units = sim_read_units,
    .read_inventories = sim_read_inventories,
    .save = sim_save,
    .due = sim_due,
    .due_inventories = sim_due_inventories,
    .next_due = sim_next_due,
    .read_inventory = sim_read_inventory,
    .refresh = sim_refresh,
    .inventory_of = sim_inventory_of,
};

/* --- the sim ------------------------------------------------------------------------------------------------ */

struct sim *sim_new(uint64_t seed, enum fault fault)
{
    struct sim *s = mem_new(sizeof *s);

    s->seed = seed * 2654435761u + 1;
    s->fault = fault;
    s->reservations = mem_new(ROWS_MAX * sizeof *s->reservations);
    pthread_mutex_init(&s->lock, NULL);
    random_seed_for_test(seed + 1);
    return s;
}

void sim_free(struct sim *s)
{
    for (size_t i = 0; i < s->reservation_count; i++) {
        struct board_reservation *r = &s->reservations[i].r;

        free(r->customer);
        free(r->idempotency_key);
        quantities_free(&r->units);
        quantities_free(&r->first);
    }
    for (size_t i = 0; i < s->inventory_count; i++)
        free(s->inventories[i].units);
    free(s->reservations);
    pthread_mutex_destroy(&s->lock);
    free(s);
    clock_test_off();
    random_seed_for_test(0);
}

struct rows *sim_rows(struct sim *s)
{
    struct sim_rows *r = mem_new(sizeof *r);

    r->rows.kind = &sim_kind;
    r->rows.shared = true;
    r->sim = s;
    return &r->rows;
}

struct ulid sim_inventory(struct sim *s, uint32_t units, int64_t capacity, int64_t hold_ms,
                          enum booking_locking locking)
{
    struct inventory_row *row = &s->inventories[s->inventory_count++];

    *row = (struct inventory_row){.id = ulid_secret(),
                                  .unit_count = units,
                                  .capacity = capacity,
                                  .hold_ms = hold_ms,
                                  .version = 1,
                                  .locking = locking};
    row->units = mem_new(units * sizeof *row->units);
    for (uint32_t i = 0; i < units; i++)
        row->units[i].version = 1;
    return row->id;
}

size_t sim_deadlocks(const struct sim *s)
{
    return s->deadlocks;
}

size_t sim_reservations(const struct sim *s, struct sim_reservation **out)
{
    *out = mem_new(s->reservation_count * sizeof **out);
    for (size_t i = 0; i < s->reservation_count; i++) {
        const struct board_reservation *r = &s->reservations[i].r;

        (*out)[i] = (struct sim_reservation){.id = r->id,
                                             .state = r->state,
                                             .expires_ms = r->expires_ms,
                                             .units = r->units,
                                             .first = r->first};
        snprintf((*out)[i].key, sizeof(*out)[i].key, "%s", r->idempotency_key ? r->idempotency_key : "");
    }
    return s->reservation_count;
}

void sim_unit(const struct sim *s, struct ulid inventory, uint32_t unit, int64_t *held, int64_t *sold)
{
    const struct inventory_row *row = inventory_row((struct sim *)s, inventory);

    *held = row->units[unit].held;
    *sold = row->units[unit].sold;
}
