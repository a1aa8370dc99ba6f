/* tests/unit/booking/sim.h - a database that exists only in memory, under a scheduler that lets one thread run at a time and chooses
 * by a seed who is next at every touch of the database, so that a whole history can be played again.
 *
 * It has what a real one has: rows that are locked until the transaction ends, readers that do not wait, uniqueness, commits
 * that are lost on the way or whose answer is. And it can be broken on purpose. */
#ifndef MATINEE_UNIT_BOOKING_SIM_H
#define MATINEE_UNIT_BOOKING_SIM_H

#include "booking/booking_int.h"

/* What is wrong with this one. */
enum fault {
    FAULT_NONE,
    FAULT_NO_VERSION_CHECK, /* writes whatever the version is */
    FAULT_UNSORTED_LOCKS,   /* locks units in the order of chance */
    FAULT_EXPIRY_IGNORED,   /* never finds a hold that is due */
};

struct sim;

struct sim *sim_new(uint64_t seed, enum fault fault);
void sim_free(struct sim *s);

/* The rows to give to booking_bare(), one for each server of this database. */
struct rows *sim_rows(struct sim *s);
/* Adds an inventory of units u0, u1, … of that capacity. */
struct ulid sim_inventory(struct sim *s, uint32_t units, int64_t capacity, int64_t hold_ms,
                          enum booking_locking locking);

/* Runs `count` actors to their ends, one at a time. Within them the wall clock is the sim's. */
void sim_run(struct sim *s, size_t count, void (*act)(void *ctx, size_t number), void *ctx);

/* For actors: lets others run, for about so long in the sim's time. */
void sim_pause(struct sim *s, int64_t us);
/* The sim's clock: each turn takes some of it. */
int64_t sim_now_us(const struct sim *s);
uint64_t sim_random(struct sim *s);

/* Transactions that found a deadlock. */
size_t sim_deadlocks(const struct sim *s);

/* The rows as they are committed. */
struct sim_reservation {
    struct ulid id;
    char key[64];
    enum reservation_state state;
    int64_t expires_ms;
    struct quantities units, first;
};
size_t sim_reservations(const struct sim *s,
                        struct sim_reservation **out); /* to be given to free(); points into the sim */
void sim_unit(const struct sim *s, struct ulid inventory, uint32_t unit, int64_t *held, int64_t *sold);

#endif
