/* cmd/bench_booking_holds.c - what many holds cost in memory, and how soon their seats are free when they end.
 *
 * Every seat of a large hall is held by a reservation of its own; then nobody asks for anything, and a follower watches the feed
 * for the seats to become free by themselves. */
#include "cmd/bench_booking_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Longer than a database takes to fill the hall. */
#define HOLD_SECONDS 30
#define PER_ROW      1000
/* Calls under way while the hall fills. */
#define WINDOW 1000
/* The feed is asked so often. */
#define LOOK_US 2000
#define CHANGES 4096

struct seat {
    struct booking_call call;
    struct booking_want want;
    char key[24], idempotency_key[24];
    struct filling *filling;
    int64_t expires_ms;
    bool is_free;
};

struct filling {
    pthread_mutex_t lock;
    pthread_cond_t fewer;
    size_t under_way, refused;
};

static double resident_mb(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    char line[128] = "";
    char *second;

    if (f == NULL || fgets(line, sizeof line, f) == NULL)
        line[0] = '\0';
    if (f != NULL)
        fclose(f);
    second = strchr(line, ' ');
    return second != NULL ? (double)strtoul(second, NULL, 10) * (double)sysconf(_SC_PAGESIZE) / 1e6 : 0;
}

static void held(struct booking_call *c)
{
    struct seat *s = c->ctx;
    struct filling *f = s->filling;

    s->expires_ms = c->reservation.expires_ms;
    pthread_mutex_lock(&f->lock);
    f->refused += c->answer != BOOKED;
    f->under_way--;
    pthread_cond_signal(&f->fewer);
    pthread_mutex_unlock(&f->lock);
    booking_call_free(c);
}

/* Waits until no more than `most` calls are under way. */
static void wait_for(struct filling *f, size_t most)
{
    pthread_mutex_lock(&f->lock);
    while (f->under_way > most)
        pthread_cond_wait(&f->fewer, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void hold_all(struct booking *b, struct ulid hall, struct seat *seats, size_t count, struct filling *f)
{
    for (size_t i = 0; i < count; i++) {
        struct seat *s = &seats[i];

        snprintf(s->idempotency_key, sizeof s->idempotency_key, "seat-%zu", i);
        s->filling = f;
        s->want = (struct booking_want){s->key, 1};
        s->call = (struct booking_call){.kind = BOOKING_RESERVE,
                                        .inventory = hall,
                                        .customer = "somebody",
                                        .idempotency_key = s->idempotency_key,
                                        .wants = &s->want,
                                        .want_count = 1,
                                        .if_match = BOOKING_ANY_VERSION,
                                        .done = held,
                                        .ctx = s};
        wait_for(f, WINDOW - 1);
        pthread_mutex_lock(&f->lock);
        f->under_way++;
        pthread_mutex_unlock(&f->lock);
        booking_submit(b, &s->call);
    }
    wait_for(f, 0);
}

static int by_key(const void *left, const void *right)
{
    return strcmp(((const struct seat *)left)->key, ((const struct seat *)right)->key);
}

/* Notes for each seat that has become free how long after its hold's end that was seen. */
static size_t see_free(const struct unit_view *units, size_t count, struct seat *seats, size_t seat_count,
                       uint32_t *late_us)
{
    int64_t now_ms = clock_wall_ms();
    size_t seen = 0;

    for (size_t i = 0; i < count; i++) {
        struct seat wanted = {.is_free = false}, *s;

        snprintf(wanted.key, sizeof wanted.key, "%.20s", units[i].key);
        s = bsearch(&wanted, seats, seat_count, sizeof *seats, by_key);
        if (units[i].held > 0 || s == NULL || s->is_free)
            continue;
        s->is_free = true;
        late_us[seen++] = (uint32_t)(now_ms > s->expires_ms ? (now_ms - s->expires_ms) * 1000 : 0);
    }
    return seen;
}

static size_t look_at_all(struct booking *b, struct ulid hall, struct unit_view *units, struct seat *seats,
                          size_t count, uint32_t *late_us)
{
    char after[sizeof units->key] = "";
    size_t seen = 0, got = CHANGES;

    while (got == CHANGES && booking_units(b, hall, after, CHANGES, units, &got) == ERR_OK && got > 0) {
        seen += see_free(units, got, seats, count, late_us + seen);
        snprintf(after, sizeof after, "%s", units[got - 1].key);
    }
    return seen;
}

/* Follows the feed until every seat is free, or it takes a minute. */
static size_t watch(struct booking *b, struct ulid hall, uint64_t since, struct seat *seats, size_t count,
                    uint32_t *late_us)
{
    int64_t end_ms = clock_mono_ms() + 60000;
    struct unit_view *units = mem_new(CHANGES * sizeof *units);
    size_t seen = 0;

    while (seen < count && clock_mono_ms() < end_ms) {
        struct timespec pause = {0, LOOK_US * 1000};
        size_t changed = CHANGES;
        bool missed = false;

        while (changed == CHANGES &&
               booking_changes(b, hall, &since, units, CHANGES, &changed, &missed) == ERR_OK)
            seen += see_free(units, changed, seats, count, late_us + seen);
        if (missed) /* too much at once for the feed: it says so, and a page then looks at all */
            seen += look_at_all(b, hall, units, seats, count, late_us + seen);
        nanosleep(&pause, NULL);
    }
    free(units);
    return seen;
}

static bool name_seats(struct booking *b, struct ulid hall, struct seat *seats, size_t count)
{
    struct unit_view *units = mem_new(count * sizeof *units);
    size_t got = 0;
    bool good = booking_units(b, hall, "", count, units, &got) == ERR_OK && got == count;

    for (size_t i = 0; i < count && good; i++)
        snprintf(seats[i].key, sizeof seats[i].key, "%.20s", units[i].key);
    free(units);
    return good;
}

enum err market_holds(struct booking *b, size_t rows, struct market_holds_result *out)
{
    struct inventory_plan plan = {.name = "benchmark",
                                  .locking = LOCKING_COMBINING,
                                  .hold_seconds = HOLD_SECONDS,
                                  .kind = INVENTORY_SEATS,
                                  .rows = (int64_t)rows,
                                  .per_row = PER_ROW};
    struct filling f = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};
    size_t count = rows * PER_ROW, seen = 0;
    struct seat *seats = mem_new(count * sizeof *seats);
    uint32_t *late_us = mem_new(count * sizeof *late_us);
    struct inventory_view v = {.name = NULL};
    struct market_result told = {0};
    uint64_t since = 0;
    size_t none;
    bool missed;
    char why[256];
    enum err e;

    *out = (struct market_holds_result){.seats = count};
    memset(seats, 1, count * sizeof *seats); /* ours, not the box office's: it is there before we look */
    memset(seats, 0, count * sizeof *seats);
    double before_mb = resident_mb();

    if ((e = booking_create(b, &plan, &v, why)) == ERR_OK && !name_seats(b, v.id, seats, count))
        e = ERR_IO;
    if (e == ERR_OK)
        e = booking_changes(b, v.id, &since, NULL, 0, &none, &missed);
    if (e == ERR_OK) {
        hold_all(b, v.id, seats, count, &f);
        out->megabytes = resident_mb() - before_mb;
        seen = watch(b, v.id, since, seats, count, late_us);
        market_tell(&told, late_us, seen, 1);
        out->freed = seen;
        out->p50_ms = told.p50_ms;
        out->p99_ms = told.p99_ms;
        out->max_ms = told.max_ms;
    }
    if (e == ERR_OK && f.refused > 0)
        e = ERR_BUSY;
    inventory_view_free(&v);
    free(late_us);
    free(seats);
    return e;
}
