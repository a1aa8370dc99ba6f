/* Whole histories of the box office from a seed, in one process: every strategy over a simulated database (sim.h), judged by the same
 * checker as the real ones (tests/e2e/box_office.py), which must also find what was broken on purpose.
 *
 * booking_sim FILE SEED LOCKING FAULT writes one history as JSON lines; tests/e2e/test_booking_sim.py runs it. */
#include "sim.h"

#include "base/clock.h"
#include "base/mem.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLIENTS  12
#define SERVERS  2
#define CALLS    40
#define UNITS    5
#define CAPACITY 2
#define HOLD_MS  20
#define MINE_MAX CALLS

struct play {
    struct sim *sim;
    struct booking *servers[SERVERS];
    struct ulid inventory;
    FILE *out;
};

static struct sim *the_sim; /* for the pauses of strategies, which know only their box office */

static void pause_in_sim(struct booking *b, int64_t us)
{
    sim_pause(the_sim, us);
}

/* --- one call ------------------------------------------------------------------------------------------------ */

/* As a lane of the engine would: checks it, and runs it by the strategy of the moment. */
static void run_call(struct play *p, struct booking *b, struct booking_call *c)
{
    struct booking_op op = {.call = c, .new_id = ulid_secret(), .begun_ms = clock_mono_ms()};
    struct booking_op *one = &op;
    struct ulid inventory = p->inventory;
    bool known = c->kind == BOOKING_RESERVE ||
                 b->rows->kind->inventory_of(b->rows, false, c->id, &inventory) == ERR_OK;

    list_init(&op.link);
    if (!known || inventory_find(b, inventory, &op.inventory) != ERR_OK) {
        answer_set(c, BOOKED_MISSING, "");
        return;
    }
    if (op_check(&op) && inventory_enter(op.inventory, &op)) {
        atomic_fetch_add(&b->running, 1);
        adaptive_came(b, &op);
        strategy_of(b, &op)->run(b, &one, 1);
        adaptive_went(&op);
        inventory_leave(op.inventory, &op);
        atomic_fetch_sub(&b->running, 1);
    }
    quantities_free(&op.wants);
    quantities_free(&op.picks);
}

/* --- writing it down ----------------------------------------------------------------------------------------- */

static json_t *wants_json(const struct booking_call *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->want_count; i++)
        json_array_append_new(list, json_pack("{s:s,s:I}", "key", c->wants[i].key, "quantity",
                                              (json_int_t)c->wants[i].quantity));
    return list;
}

static json_t *answer_json(const struct booking_call *c)
{
    char id[ULID_TEXT_SIZE];
    json_t *units = json_array(), *left = json_array();

    for (size_t i = 0; i < c->reservation.unit_count; i++)
        json_array_append_new(units, json_pack("{s:s,s:I}", "key", c->reservation.units[i].key, "quantity",
                                               (json_int_t)c->reservation.units[i].quantity));
    for (size_t i = 0; i < c->left_count; i++)
        json_array_append_new(
            left, json_pack("{s:s,s:I}", "key", c->left[i].key, "left", (json_int_t)c->left[i].left));
    return json_pack("{s:s,s:o,s:o,s:s}", "id", ulid_text(c->reservation.id, id), "units", units, "left",
                     left, "title", c->answer == BOOKED_SOLD_OUT ? "sold-out" : "");
}

static int status_of(const struct booking_call *c)
{
    switch (c->answer) {
    case BOOKED:
    case BOOKED_BEFORE:
        return c->kind == BOOKING_RESERVE ? 201 : c->kind == BOOKING_CANCEL ? 204 : 200;
    case BOOKED_STALE:
        return 412;
    case BOOKED_BUSY:
        return 503;
    default:
        return 409;
    }
}

static void line(FILE *out, json_t *document)
{
    json_dumpf(document, out, JSON_COMPACT);
    fputc('\n', out);
    json_decref(document);
}

static void write_call(struct play *p, const struct booking_call *c, int64_t invoked_us)
{
    static const char *const kinds[] = {"reserve", "confirm", "change", "cancel"};
    char id[ULID_TEXT_SIZE];

    line(p->out, json_pack("{s:s,s:s,s:s,s:o,s:I,s:I,s:i,s:o}", "call", kinds[c->kind], "key",
                           c->idempotency_key ? c->idempotency_key : "", "id", ulid_text(c->id, id), "units",
                           wants_json(c), "invoked", (json_int_t)invoked_us, "answered",
                           (json_int_t)sim_now_us(p->sim), "status", status_of(c), "answer", answer_json(c)));
}

static json_t *quantities_json(const struct quantities *q)
{
    json_t *document = json_object();
    char key[16];

    for (size_t i = 0; i < q->count; i++) {
        snprintf(key, sizeof key, "u%04u", q->at[i].unit);
        json_object_set_new(document, key, json_integer(q->at[i].quantity));
    }
    return document;
}

static void write_rows(struct play *p)
{
    struct sim_reservation *all;
    size_t count = sim_reservations(p->sim, &all);
    char id[ULID_TEXT_SIZE], key[16];

    for (size_t i = 0; i < count; i++)
        line(p->out, json_pack("{s:s,s:s,s:s,s:I,s:o,s:o}", "reservation", ulid_text(all[i].id, id), "key",
                               all[i].key, "state", reservation_state_name(all[i].state), "expires",
                               (json_int_t)(all[i].expires_ms - 1700000000000) * 1000, "units",
                               quantities_json(&all[i].units), "first", quantities_json(&all[i].first)));
    free(all);
    for (uint32_t unit = 0; unit < UNITS; unit++) {
        int64_t held, sold;

        sim_unit(p->sim, p->inventory, unit, &held, &sold);
        snprintf(key, sizeof key, "u%04u", unit);
        line(p->out, json_pack("{s:s,s:i,s:I,s:I}", "unit", key, "capacity", CAPACITY, "held",
                               (json_int_t)held, "sold", (json_int_t)sold));
    }
    line(p->out, json_pack("{s:I}", "deadlocks", (json_int_t)sim_deadlocks(p->sim)));
}

/* --- a client ------------------------------------------------------------------------------------------------- */

struct mine {
    struct ulid id[MINE_MAX];
    int64_t version[MINE_MAX];
    size_t count;
};

static size_t choose_wants(struct sim *s, struct booking_want wants[UNITS], char keys[UNITS][16])
{
    size_t count = 0, most = 1 + sim_random(s) % 3;

    for (uint32_t unit = 0; unit < UNITS && count < most; unit++) {
        if (sim_random(s) % 2 == 0)
            continue;
        snprintf(keys[count], 16, "u%04u", unit);
        wants[count] = (struct booking_want){keys[count], 1 + (int64_t)(sim_random(s) % CAPACITY)};
        count++;
    }
    if (count == 0) {
        snprintf(keys[0], 16, "u0000");
        wants[count++] = (struct booking_want){keys[0], 1};
    }
    return count;
}

static void perform(struct play *p, struct booking_call *c)
{
    int64_t invoked_us = sim_now_us(p->sim);

    run_call(p, p->servers[sim_random(p->sim) % SERVERS], c);
    write_call(p, c, invoked_us);
    sim_pause(p->sim, (int64_t)(sim_random(p->sim) % 3000));
}

static void reserve_one(struct play *p, size_t number, int turn, struct mine *mine)
{
    struct booking_want wants[UNITS];
    char keys[UNITS][16], name[32];
    struct booking_call c = {.kind = BOOKING_RESERVE,
                             .inventory = p->inventory,
                             .customer = "sim",
                             .wants = wants,
                             .idempotency_key = name,
                             .if_match = BOOKING_ANY_VERSION};

    c.want_count = choose_wants(p->sim, wants, keys);
    snprintf(name, sizeof name, "%zu-%d", number, turn);
    for (int again = 0; again < 4; again++) { /* the same key, also after an answer: one time in four */
        booking_call_free(&c);
        perform(p, &c);
        if (c.answer != BOOKED_BUSY && sim_random(p->sim) % 4 != 0)
            break;
    }
    if (c.answer == BOOKED || c.answer == BOOKED_BEFORE) {
        mine->id[mine->count] = c.reservation.id;
        mine->version[mine->count++] = 1;
    }
    booking_call_free(&c);
}

static void change_one(struct play *p, struct mine *mine)
{
    static const enum booking_kind kinds[] = {BOOKING_CONFIRM, BOOKING_CANCEL, BOOKING_CHANGE};
    size_t which = sim_random(p->sim) % mine->count;
    struct booking_want wants[UNITS];
    char keys[UNITS][16];
    struct booking_call c = {
        .kind = kinds[sim_random(p->sim) % 3], .id = mine->id[which], .if_match = BOOKING_ANY_VERSION};

    if (c.kind == BOOKING_CHANGE) {
        c.wants = wants;
        c.want_count = choose_wants(p->sim, wants, keys);
        c.if_match = mine->version[which];
    }
    perform(p, &c);
    if (c.kind == BOOKING_CHANGE && (c.answer == BOOKED || c.answer == BOOKED_BEFORE))
        mine->version[which] = c.reservation.version;
    booking_call_free(&c);
}

static void client(void *ctx, size_t number)
{
    struct play *p = ctx;
    struct mine mine = {.count = 0};

    for (int turn = 0; turn < CALLS; turn++) {
        if (mine.count > 0 && sim_random(p->sim) % 2 == 0)
            change_one(p, &mine);
        else
            reserve_one(p, number, turn, &mine);
    }
}

/* A box office that finds itself broken stops: then the rows are what was committed so far, as after any crash. */
static struct play *the_play;

static void write_last_rows(int signal)
{
    write_rows(the_play);
    fclose(the_play->out);
    _exit(3);
}

int main(int argc, char **argv)
{
    static const char *const faults[] = {"none", "no-version-check", "unsorted-locks", "expiry-ignored"};
    enum booking_locking locking = LOCKING_COUNT;
    struct play p = {.out = argc == 5 ? fopen(argv[1], "w") : NULL};
    int fault = 0;

    if (p.out == NULL || !booking_locking_parse(argv[3], &locking)) {
        fprintf(stderr, "Use: %s FILE SEED LOCKING none|no-version-check|unsorted-locks|expiry-ignored\n",
                argv[0]);
        return 2;
    }
    while (fault < 3 && strcmp(faults[fault], argv[4]) != 0)
        fault++;
    the_sim = p.sim = sim_new(strtoull(argv[2], NULL, 10), (enum fault)fault);
    for (int i = 0; i < SERVERS; i++) {
        p.servers[i] = booking_bare(sim_rows(p.sim));
        p.servers[i]->pause_us = pause_in_sim;
    }
    p.inventory = sim_inventory(p.sim, UNITS, CAPACITY, HOLD_MS, locking);
    the_play = &p;
    signal(SIGABRT, write_last_rows);
    sim_run(p.sim, CLIENTS, client, &p);
    write_rows(&p);
    for (int i = 0; i < SERVERS; i++)
        booking_close(p.servers[i]);
    sim_free(p.sim);
    return fclose(p.out) == 0 ? 0 : 1;
}
