/* cmd/bench_booking_int.h - between the parts of `matinee bench booking`: what is sold, to how many, and how long that took. */
#ifndef MATINEE_CMD_BENCH_BOOKING_INT_H
#define MATINEE_CMD_BENCH_BOOKING_INT_H

#include "booking/booking.h"
#include "cmd/bench_house_int.h"

/* What clients ask for. */
enum market_shape {
    MARKET_POOLS, /* one of a pool chosen by chance, of so many pools; 1 is the premiere, 10,000 the archive */
    MARKET_SEATS,  /* four of twenty units, by chance */
    MARKET_NIGHTS, /* seven nights in a row of thirty */
};

struct market {
    enum market_shape shape;
    unsigned pools;   /* MARKET_POOLS */
    unsigned clients; /* calls in flight, all the time */
    double seconds;
};

struct market_result {
    double per_second;
    double again; /* rounds in vain for each booking */
    double p50_ms, p99_ms, max_ms;
    uint64_t booked, refused;
};

/* Sells through the engine for m->seconds; the inventory is new and never sells out. */
must_check enum err market_engine(struct booking *b, enum booking_locking locking, const struct market *m,
                                  struct market_result *out);

/* The rival: a thread and a connection for each client, each booking a transaction of SELECT … FOR UPDATE in the order of keys, a
 * decrement and an inserted row. */
must_check enum err market_row_locks(struct db *d, const struct market *m, struct market_result *out);

/* Sells over HTTP. False: it was said why not. */
must_check bool market_http(const struct bench_house *h, enum booking_locking locking, const struct market *m,
                            struct market_result *out);

/* `rows` rows of 1,000 seats, each held by a reservation of its own; then all holds end. */
struct market_holds_result {
    size_t seats, freed;           /* freed: seen to be, within a minute */
    double megabytes;              /* this process has grown by */
    double p50_ms, p99_ms, max_ms; /* from a hold's end until a follower saw its seat free */
};
must_check enum err market_holds(struct booking *b, size_t rows, struct market_holds_result *out);

/* --- what both share --------------------------------------------------------------------------------- */

#define MARKET_WANTS_MAX 7

/* The units of one booking, ascending. Returns how many. */
size_t market_wants(const struct market *m, unsigned *seed, unsigned wants[MARKET_WANTS_MAX]);
unsigned market_units(const struct market *m);
void market_key(char key[16], unsigned unit);

/* Latencies in microseconds, sorted by it. */
void market_tell(struct market_result *out, uint32_t *took_us, size_t count, double seconds);

#endif
