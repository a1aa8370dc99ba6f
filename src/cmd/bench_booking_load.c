/* cmd/bench_booking_load.c - clients of the box office: through the engine, and as a plain program with row locks would. */
#include "cmd/bench_booking_int.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Latencies kept of one run; beyond it the first ones are overwritten. */
#define TOOK_MAX 4000000
#define NIGHTS   30
#define SEATS    20

/* --- what is asked for ------------------------------------------------------------------------------- */

unsigned market_units(const struct market *m)
{
    return m->shape == MARKET_SEATS ? SEATS : m->shape == MARKET_NIGHTS ? NIGHTS : m->pools;
}

void market_key(char key[16], unsigned unit)
{
    snprintf(key, 16, "u%06u", unit);
}

static size_t four_seats(unsigned *seed, unsigned wants[MARKET_WANTS_MAX])
{
    unsigned taken = 0;
    size_t count = 0;

    while (count < 4) {
        unsigned seat = (unsigned)rand_r(seed) % SEATS;

        count += !(taken >> seat & 1);
        taken |= 1u << seat;
    }
    count = 0;
    for (unsigned seat = 0; seat < SEATS; seat++)
        if (taken >> seat & 1)
            wants[count++] = seat;
    return count;
}

size_t market_wants(const struct market *m, unsigned *seed, unsigned wants[MARKET_WANTS_MAX])
{
    unsigned first;

    switch (m->shape) {
    case MARKET_SEATS:
        return four_seats(seed, wants);
    case MARKET_NIGHTS:
        first = (unsigned)rand_r(seed) % (NIGHTS - MARKET_WANTS_MAX + 1);
        for (unsigned i = 0; i < MARKET_WANTS_MAX; i++)
            wants[i] = first + i;
        return MARKET_WANTS_MAX;
    case MARKET_POOLS:
        break;
    }
    wants[0] = (unsigned)rand_r(seed) % m->pools;
    return 1;
}

static int by_time(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

void market_tell(struct market_result *out, uint32_t *took_us, size_t count, double seconds)
{
    size_t middle = count / 2, late = count * 99 / 100;

    out->booked = count;
    out->per_second = (double)count / seconds;
    if (count == 0)
        return;
    qsort(took_us, count, sizeof *took_us, by_time);
    out->p50_ms = took_us[middle] / 1e3;
    out->p99_ms = took_us[late] / 1e3;
    out->max_ms = took_us[count - 1] / 1e3;
}

/* --- through the engine ------------------------------------------------------------------------------ */

/* One client: a call that is always under way. The driver thread hands it in again when it is answered. */
struct client {
    struct booking_call call;
    struct booking_want wants[MARKET_WANTS_MAX];
    char keys[MARKET_WANTS_MAX][16], idempotency_key[40];
    struct list link; /* on `answered` */
    struct driver *driver;
    unsigned number, calls, seed;
    int64_t began_us;
};

struct driver {
    struct booking *booking;
    const struct market *market;
    struct ulid inventory;
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct list answered;
    uint32_t *took_us;
    size_t took_count;
    struct market_result *result;
};

static void answered(struct booking_call *c)
{
    struct client *client = c->ctx;
    struct driver *d = client->driver;

    pthread_mutex_lock(&d->lock);
    list_push(&d->answered, &client->link);
    pthread_cond_signal(&d->some);
    pthread_mutex_unlock(&d->lock);
}

static void ask(struct client *client)
{
    const struct driver *d = client->driver;
    unsigned units[MARKET_WANTS_MAX];
    size_t count = market_wants(d->market, &client->seed, units);

    for (size_t i = 0; i < count; i++) {
        market_key(client->keys[i], units[i]);
        client->wants[i] = (struct booking_want){client->keys[i], 1};
    }
    snprintf(client->idempotency_key, sizeof client->idempotency_key, "client-%u-%u", client->number,
             client->calls++);
    client->call = (struct booking_call){
        .kind = BOOKING_RESERVE,
        .inventory = d->inventory,
        .customer = "somebody",
        .idempotency_key = client->idempotency_key,
        .wants = client->wants,
        .want_count = count,
        .if_match = BOOKING_ANY_VERSION,
        .done = answered,
        .ctx = client,
    };
    client->began_us = clock_mono_us();
    booking_submit(d->booking, &client->call);
}

static struct client *next_answered(struct driver *d)
{
    struct list *first;

    pthread_mutex_lock(&d->lock);
    while ((first = list_pop(&d->answered)) == NULL)
        pthread_cond_wait(&d->some, &d->lock);
    pthread_mutex_unlock(&d->lock);
    return container_of(first, struct client, link);
}

static void note(struct driver *d, struct client *client)
{
    if (client->call.answer == BOOKED)
        d->took_us[d->took_count++ % TOOK_MAX] = (uint32_t)(clock_mono_us() - client->began_us);
    else
        d->result->refused++;
    d->result->again += client->call.rounds > 1 ? client->call.rounds - 1 : 0;
    booking_call_free(&client->call);
}

static void drive(struct driver *d, struct client *clients)
{
    int64_t began_us = clock_mono_us(), end_us = began_us + (int64_t)(d->market->seconds * 1e6);
    unsigned under_way = 0;

    for (unsigned i = 0; i < d->market->clients; i++, under_way++) {
        clients[i] = (struct client){.driver = d, .number = i, .seed = i + 1};
        list_init(&clients[i].link);
        ask(&clients[i]);
    }
    while (under_way > 0) {
        struct client *client = next_answered(d);

        note(d, client);
        if (clock_mono_us() < end_us)
            ask(client);
        else
            under_way--;
    }
    d->result->again = d->took_count > 0 ? d->result->again / (double)d->took_count : 0;
    market_tell(d->result, d->took_us, d->took_count < TOOK_MAX ? d->took_count : TOOK_MAX,
                (double)(clock_mono_us() - began_us) / 1e6);
}

static enum err make(struct booking *b, enum booking_locking locking, const struct market *m, struct ulid *id)
{
    unsigned count = market_units(m);
    struct inventory_unit *units = mem_new(count * sizeof *units);
    char(*keys)[16] = mem_new(count * sizeof *keys), why[256];
    struct inventory_plan plan = {.name = "benchmark",
                                  .locking = locking,
                                  .hold_seconds = HOLD_SECONDS_MAX,
                                  .units = units,
                                  .unit_count = count};
    struct inventory_view v;
    enum err e;

    for (unsigned i = 0; i < count; i++) {
        market_key(keys[i], i);
        units[i] = (struct inventory_unit){keys[i], UNIT_CAPACITY_MAX};
    }
    e = booking_create(b, &plan, &v, why);
    *id = v.id;
    inventory_view_free(&v);
    free(units);
    free(keys);
    return e;
}

enum err market_engine(struct booking *b, enum booking_locking locking, const struct market *m,
                       struct market_result *out)
{
    struct driver d = {.booking = b, .market = m, .result = out};
    struct client *clients = mem_new(m->clients * sizeof *clients);
    enum err e = make(b, locking, m, &d.inventory);

    *out = (struct market_result){0};
    if (e == ERR_OK) {
        pthread_mutex_init(&d.lock, NULL);
        pthread_cond_init(&d.some, NULL);
        list_init(&d.answered);
        d.took_us = mem_new(TOOK_MAX * sizeof *d.took_us);
        drive(&d, clients);
        free(d.took_us);
        pthread_cond_destroy(&d.some);
        pthread_mutex_destroy(&d.lock);
    }
    free(clients);
    return e;
}

/* --- the rival --------------------------------------------------------------------------------------- */

struct rival {
    struct db *db;
    const struct market *market;
    int64_t end_us;
    pthread_t thread;
    unsigned number, seed;
    unsigned wants[MARKET_WANTS_MAX];
    size_t want_count;
    uint32_t *took_us;
    size_t took_count, took_room;
    uint64_t again, booked;
};

static bool have_left(void *ctx, const struct db_row *row)
{
    *(bool *)ctx = db_column_int(row, 0) > 0;
    return false;
}

static enum err book_row(void *ctx, struct db *tx)
{
    struct rival *r = ctx;
    char key[16], name[40];
    enum err e = ERR_OK;

    for (size_t i = 0; i < r->want_count && e == ERR_OK; i++) {
        bool left = false;

        market_key(key, r->wants[i]);
        e = db_read(tx, "SELECT units_left FROM rival_units WHERE ukey = ?{lock}", DB_VALUES(db_str(key)),
                    have_left, &left);
        if (e == ERR_OK && !left)
            e = ERR_LIMIT;
    }
    for (size_t i = 0; i < r->want_count && e == ERR_OK; i++) {
        market_key(key, r->wants[i]);
        e = db_run(tx, "UPDATE rival_units SET units_left = units_left - 1 WHERE ukey = ?",
                   DB_VALUES(db_str(key)), NULL);
    }
    snprintf(name, sizeof name, "%u-%llu", r->number, (unsigned long long)r->booked);
    if (e == ERR_OK)
        e = db_run(tx, "INSERT INTO rival_bookings (id, customer, quantity) VALUES (?,?,?)",
                   DB_VALUES(db_str(name), db_str("somebody"), db_int((int64_t)r->want_count)), NULL);
    return e;
}

static void *rival_run(void *ctx)
{
    struct rival *r = ctx;

    while (clock_mono_us() < r->end_us) {
        int64_t began_us = clock_mono_us();
        enum err e;

        r->want_count = market_wants(r->market, &r->seed, r->wants);
        while ((e = db_write(r->db, book_row, r)) == ERR_BUSY)
            r->again++;
        if (e != ERR_OK)
            break;
        r->booked++;
        if (r->took_count == r->took_room) {
            r->took_room = r->took_room ? 2 * r->took_room : 4096;
            r->took_us = mem_resize(r->took_us, r->took_room * sizeof *r->took_us);
        }
        r->took_us[r->took_count++] = (uint32_t)(clock_mono_us() - began_us);
    }
    return NULL;
}

static enum err rival_tables(void *ctx, struct db *tx)
{
    const struct market *m = ctx;
    enum err e = ERR_OK;
    char key[16];

    for (unsigned i = 0; i < market_units(m) && e == ERR_OK; i++) {
        market_key(key, i);
        e = db_run(tx, "INSERT INTO rival_units (ukey, units_left) VALUES (?, 1000000000)",
                   DB_VALUES(db_str(key)), NULL);
    }
    return e;
}

static enum err rival_prepare(struct db *d, const struct market *m)
{
    static const char *const steps[] = {
        "DROP TABLE IF EXISTS rival_units",
        "DROP TABLE IF EXISTS rival_bookings",
        "CREATE TABLE rival_units (ukey VARCHAR(16) PRIMARY KEY, units_left BIGINT NOT NULL)",
        "CREATE TABLE rival_bookings (id VARCHAR(40) PRIMARY KEY, customer VARCHAR(40) NOT NULL, quantity INTEGER NOT NULL)",
    };
    struct market own = *m;
    enum err e = ERR_OK;

    for (size_t i = 0; i < sizeof steps / sizeof *steps && e == ERR_OK; i++)
        e = db_do(d, steps[i], NULL, 0, NULL);
    return e == ERR_OK ? db_write(d, rival_tables, &own) : e;
}

static void rival_gather(struct rival *rivals, const struct market *m, double seconds,
                         struct market_result *out)
{
    size_t count = 0, at = 0;
    uint32_t *all;

    for (unsigned i = 0; i < m->clients; i++)
        count += rivals[i].took_count;
    all = mem_new(count * sizeof *all);
    for (unsigned i = 0; i < m->clients; i++) {
        memcpy(all + at, rivals[i].took_us, rivals[i].took_count * sizeof *all);
        at += rivals[i].took_count;
        out->again += (double)rivals[i].again;
        free(rivals[i].took_us);
    }
    out->again = count > 0 ? out->again / (double)count : 0;
    market_tell(out, all, count, seconds);
    free(all);
}

enum err market_row_locks(struct db *d, const struct market *m, struct market_result *out)
{
    struct rival *rivals = mem_new(m->clients * sizeof *rivals);
    enum err e = rival_prepare(d, m);
    int64_t began_us = clock_mono_us();

    *out = (struct market_result){0};
    for (unsigned i = 0; i < m->clients && e == ERR_OK; i++) {
        rivals[i] = (struct rival){.db = d,
                                   .market = m,
                                   .end_us = began_us + (int64_t)(m->seconds * 1e6),
                                   .number = i,
                                   .seed = i + 1};
        pthread_create(&rivals[i].thread, NULL, rival_run, &rivals[i]);
    }
    for (unsigned i = 0; i < m->clients && e == ERR_OK; i++)
        pthread_join(rivals[i].thread, NULL);
    if (e == ERR_OK)
        rival_gather(rivals, m, (double)(clock_mono_us() - began_us) / 1e6, out);
    free(rivals);
    return e;
}
