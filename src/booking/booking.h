/* booking/booking.h - the box office: inventories of units, and reservations that never oversell them.
 *
 * Everything that can be booked is a unit with a capacity; a reservation takes quantities of several units of one
 * inventory, all or nothing. Calls that change something are handed in and answered later, once their effect is
 * durable: how they are kept apart from each other until then is the inventory's locking (docs/architecture.md,
 * "How a seat is sold"), and makes no difference that a caller could see but speed.
 *
 * Reads block: pool threads. Whatever a hold keeps is given up at its expires_ms, in every answer: a read that meets
 * a hold past its time has it expired first. */
#ifndef MATINEE_BOOKING_BOOKING_H
#define MATINEE_BOOKING_BOOKING_H

#include "base/err.h"
#include "base/ulid.h"
#include "db/db.h"

struct booking;

/* Opens the box office over `d`, which outlives it, and starts its threads. Blocks. */
must_check enum err booking_open(struct booking **out, struct db *d, char why[256]);
/* Answers what was handed in and ends the threads; nothing is handed in any more, reads still work. Accepts NULL. */
void booking_stop(struct booking *b);
/* The same, and frees. Accepts NULL. */
void booking_close(struct booking *b);

/* --- inventories ------------------------------------------------------------------------------------- */

enum booking_locking {
    LOCKING_OPTIMISTIC,  /* look, decide, write where nothing has changed; otherwise again, a little later */
    LOCKING_PESSIMISTIC, /* lock the units in order, then decide and write */
    LOCKING_ADAPTIVE,    /* whichever of the others is best now, by what it measures */
    LOCKING_COMBINING,   /* one writer decides all that came during the last commit in one transaction */
    LOCKING_COUNT,
};
const char *booking_locking_name(enum booking_locking l);
bool booking_locking_parse(const char *name, enum booking_locking *out);

enum inventory_kind { INVENTORY_UNITS, INVENTORY_POOL, INVENTORY_SEATS, INVENTORY_NIGHTS };
const char *inventory_kind_name(enum inventory_kind k);

#define UNIT_KEY_SIZE         257 /* up to 64 characters, and a NUL */
#define UNIT_KEY_CHARS_MAX    64
#define INVENTORY_UNITS_MAX   100000
#define UNIT_CAPACITY_MAX     1000000000
#define HOLD_SECONDS_MAX      86400
#define HOLD_SECONDS_STANDARD 600
#define NIGHT_SIZE            11 /* YYYY-MM-DD and a NUL */

struct inventory_unit {
    const char *key; /* 1 to 64 characters, no control characters */
    int64_t capacity;
};

struct inventory_plan {
    const char *name; /* 1 to 200 characters */
    enum booking_locking locking;
    int64_t hold_seconds; /* 1 to HOLD_SECONDS_MAX */
    enum inventory_kind kind;
    const struct inventory_unit *units; /* INVENTORY_UNITS */
    size_t unit_count;
    int64_t pool;          /* INVENTORY_POOL: one unit of so many, key "pool" */
    int64_t rows, per_row; /* INVENTORY_SEATS: keys "A-1" …, after Z "AA-1" */
    const char *from, *to; /* INVENTORY_NIGHTS: YYYY-MM-DD; `to` is the morning of leaving */
    int64_t rooms;
};

struct inventory_view {
    struct ulid id;
    char *name;
    enum booking_locking locking;
    enum inventory_kind kind;
    int64_t hold_seconds;
    int64_t rows, per_row; /* of seats, else 0 */
    int64_t unit_count, capacity, held, sold;
    int64_t version; /* grows with every change of the inventory or of one of its units */
    int64_t created_ms;
};
void inventory_view_free(struct inventory_view *v); /* what it holds */

/* Makes an inventory, durable when this returns ERR_OK. ERR_BAD: `why` names the field and what it must be. */
must_check enum err booking_create(struct booking *b, const struct inventory_plan *plan,
                                   struct inventory_view *out, char why[256]);

/* What is not to change is NULL, LOCKING_COUNT or 0. ERR_MISSING, ERR_BAD. */
must_check enum err booking_change(struct booking *b, struct ulid id, const char *name,
                                   enum booking_locking locking, int64_t hold_seconds,
                                   struct inventory_view *out, char why[256]);

must_check enum err booking_inventory(struct booking *b, struct ulid id, struct inventory_view *out);

/* Up to `limit` of them, newest first, older than `after` (zero: from the newest). */
must_check enum err booking_inventories(struct booking *b, struct ulid after, size_t limit,
                                        struct inventory_view *out, size_t *count);

struct unit_view {
    char key[UNIT_KEY_SIZE];
    int64_t capacity, held, sold, version;
};

/* Up to `limit` units by key, after the key `after` ("": from the first). */
must_check enum err booking_units(struct booking *b, struct ulid inventory, const char *after, size_t limit,
                                  struct unit_view *out, size_t *count);

/* Units that changed since *since (0: the feed's present end, with none shown), each once, as they are now, in the
 * order of their last change; *since moves on. Never blocks on the database: what another server sold over a shared
 * one is seen within a second. *missed: too much has happened, the caller reads all units again. ERR_MISSING: it is
 * not in memory; read it (booking_inventory()) first. Any thread. */
must_check enum err booking_changes(struct booking *b, struct ulid inventory, uint64_t *since,
                                    struct unit_view *out, size_t limit, size_t *count, bool *missed);

/* --- reservations and the line ----------------------------------------------------------------------- */

enum reservation_state {
    RESERVATION_HELD,
    RESERVATION_CONFIRMED,
    RESERVATION_EXPIRED,
    RESERVATION_CANCELLED
};
const char *reservation_state_name(enum reservation_state s);
bool reservation_state_parse(const char *name, enum reservation_state *out);

struct booked_unit {
    char *key;
    int64_t quantity;
};

struct reservation_view {
    struct ulid id, inventory;
    char *customer;
    enum reservation_state state;
    int64_t expires_ms, created_ms, version;
    struct booked_unit *units; /* by key */
    size_t unit_count;
};
void reservation_view_free(struct reservation_view *v); /* what it holds */

enum waiter_state { WAITER_WAITING, WAITER_OFFERED, WAITER_LEFT };
const char *waiter_state_name(enum waiter_state s);

struct waiter_view {
    struct ulid id, inventory;
    enum waiter_state state;
    int64_t position;        /* 1 is the next; 0 unless waiting */
    struct ulid reservation; /* when offered */
};

must_check enum err booking_reservation(struct booking *b, struct ulid id, struct reservation_view *out);
struct reservation_filter {
    bool any_state; /* else: */
    enum reservation_state state;
    const char *customer; /* a piece of the name, in whatever case (of ASCII); NULL: any */
};

/* Up to `limit` of an inventory's, newest first, older than `after` (zero: from the newest). Each of out[0..*count) is the caller's, also
 * on failure. ERR_MISSING. */
must_check enum err booking_reservations(struct booking *b, struct ulid inventory,
                                         const struct reservation_filter *filter, struct ulid after,
                                         size_t limit, struct reservation_view *out, size_t *count);

must_check enum err booking_waiter(struct booking *b, struct ulid id, struct waiter_view *out);

/* --- calls ------------------------------------------------------------------------------------------- */

enum booking_kind {
    BOOKING_RESERVE, /* inventory, customer, idempotency_key, body, and what is wanted */
    BOOKING_CONFIRM, /* id */
    BOOKING_CHANGE,  /* id, if_match, wants: the whole new set */
    BOOKING_CANCEL,  /* id, if_match */
    BOOKING_JOIN,    /* inventory, customer, and wants or a quantity: gets into the line */
    BOOKING_LEAVE,   /* id of a waiter; a hold it was offered is cancelled with it */
    BOOKING_EXPIRE,  /* the box office's own: holds that are past their time */
};

enum booking_answer {
    BOOKED,         /* durable */
    BOOKED_BEFORE,  /* it was so already; the answer of then, or what is */
    BOOKED_MISSING, /* no such inventory, reservation or waiter */
    BOOKED_BAD,     /* not possible here, `why` says why: unknown unit, a unit twice, quantity out of range */
    BOOKED_SOLD_OUT,  /* not enough left, at some moment of the call; `left` names units */
    BOOKED_OTHER,     /* this idempotency key was used with another body */
    BOOKED_IN_FLIGHT, /* the first call with this idempotency key is still running */
    BOOKED_STALE,     /* if_match is not the version */
    BOOKED_OVER,      /* the reservation is expired or cancelled: `reservation` says which */
    BOOKED_BUSY, /* too much contention, or the database is away: nothing taken as far as we know; try again */
};

struct booking_want {
    const char *key;
    int64_t quantity;
};

struct booking_left {
    char key[UNIT_KEY_SIZE];
    int64_t left;
};

#define BOOKING_WANTS_MAX   10000
#define BOOKING_LEFT_MAX    16
#define IDEMPOTENCY_KEY_MAX 255
#define BOOKING_BODY_SIZE   16
#define CUSTOMER_CHARS_MAX  200
#define BOOKING_ANY_VERSION (-1)
#define BOOKING_NO_VERSION  (-2) /* matches nothing */

struct booking_call {
    enum booking_kind kind;
    struct ulid inventory, id;
    const char *customer;
    const char *idempotency_key;
    uint8_t body[BOOKING_BODY_SIZE]; /* a digest of what was asked, to know the same request again */
    /* One of: */
    const struct booking_want *wants;
    size_t want_count;
    int64_t quantity;      /* of the only unit, or best-available seats; 0: not said */
    const char *from, *to; /* nights */
    int64_t rooms;
    int64_t
        if_match; /* BOOKING_ANY_VERSION: any; of the reservation, or of the inventory for BOOKING_RESERVE */
    /* The answer: */
    enum booking_answer answer;
    char why[256];
    struct reservation_view reservation;
    struct waiter_view waiter;
    struct booking_left left[BOOKING_LEFT_MAX];
    size_t left_count;
    unsigned rounds; /* it took: 1 where nobody was in the way */
    void (*done)(struct booking_call *c);
    void *ctx;
    struct booking_op *op; /* the box office's own */
};

/* Hands a call in. It and what it points to stay as they are until `done(c)` is called, on a thread of the box office,
 * which must not be kept. Never blocks. Any thread. A caller frees the answer with booking_call_free(). */
void booking_submit(struct booking *b, struct booking_call *c);
void booking_call_free(struct booking_call *c); /* what the answer holds, not `c` */

/* The same, waiting for the answer: threads of one's own and pool threads. */
void booking_do(struct booking *b, struct booking_call *c);

#endif
