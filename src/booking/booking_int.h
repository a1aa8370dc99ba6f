/* booking/booking_int.h - how a call becomes a change of rows.
 *
 *   engine.c     takes calls in as ops, and hands them to a lane of threads
 *   strategies   optimistic.c, pessimistic.c, combining.c, adaptive.c: when rows are read and locked, and what is tried again
 *   board.c      the rows that some ops need, in memory
 *   decide.c     what an op does to a board: pure, the same for every strategy; line.c for the waitlist
 *   rows.c       boards from and to SQL; tests put a simulated database in its place
 *
 * Lock order, for all: reservations by id, then units by inventory and key; those who wait are not locked. Whoever changes a row adds to its
 * version, so all strategies, and several servers over one database, may work at the same rows at the same time. */
#ifndef MATINEE_BOOKING_BOOKING_INT_H
#define MATINEE_BOOKING_BOOKING_INT_H

#include "booking/booking.h"

#include "base/list.h"
#include "base/map.h"

#include <pthread.h>
#include <stdatomic.h>

struct adaptive;
struct booking_op;

/* --- inventories in memory (inventory.c) ------------------------------------------------------------- */

struct unit {
    char *key;
    int64_t capacity;
    uint32_t row, place; /* of a seat in its row; both 0 elsewhere */
    /* As this server last saw it: for drawing, and for choosing seats; never for a decision. Under `lock`. */
    int64_t held, sold, version;
    uint64_t changed; /* the number of its last change */
    uint32_t picked;  /* chosen as best seats by so many ops that are not answered */
};

/* The last changes, a ring: news[n % NEWS_MAX] is the unit of change n. Two big halls may sell out within it. */
#define NEWS_MAX 8192

struct inventory {
    struct ulid id;
    enum inventory_kind kind;
    int64_t rows, per_row, created_ms;
    struct unit *units; /* by key, which is also the order of locking; they never come or go */
    uint32_t unit_count;
    uint32_t *drawn; /* seats row by row: the units' places in `units` */
    _Atomic int locking;
    _Atomic int64_t hold_ms;
    pthread_mutex_t lock;
    char *name;                  /* under `lock` */
    struct map *running;         /* idempotency keys of calls that are not answered; under `lock` */
    uint64_t news_count;         /* under `lock` */
    uint32_t *news;              /* NULL until somebody follows */
    _Atomic int64_t followed_ms; /* when somebody last did; monotonic */
    struct adaptive *adaptive;
};

/* The inventory from memory, or read from the database; it stays as long as the box office. */
must_check enum err inventory_find(struct booking *b, struct ulid id, struct inventory **out);
struct inventory *inventory_cached(struct booking *b, struct ulid id); /* NULL: not in memory */
/* Over a shared database: reads what another server may have changed. */
void inventories_refresh(struct booking *b);
/* An inventory of `unit_count` units that are the caller's to fill in, by key; then its seats are drawn. False: it has units that
 * its rows and places do not make. */
struct inventory *inventory_new(struct ulid id, const char *name, uint32_t unit_count);
bool inventory_draw(struct inventory *i);
/* The op's idempotency key is running, and its best seats are picked, until it leaves. False: it is answered. */
bool inventory_enter(struct inventory *i, struct booking_op *op);
void inventory_leave(struct inventory *i, struct booking_op *op);
/* Whether somebody has asked for its changes within the last few seconds. */
bool inventory_followed(const struct inventory *i);
/* What the versions of its units add up to, as last seen: less than in the database where another server has sold. */
int64_t inventory_seen(struct inventory *i);
/* The unit of that key, or UINT32_MAX. */
uint32_t inventory_unit(const struct inventory *i, struct bytes key);
/* Takes over how units are now, and tells followers. */
void inventory_saw(struct inventory *i, uint32_t unit, int64_t held, int64_t sold, int64_t version);
void inventory_free(struct inventory *i);

/* --- keys and places (seating.c): pure --------------------------------------------------------------- */

#define SEAT_KEY_SIZE 24

/* "A-1" for row 0, place 0; after Z comes AA. */
void seat_key(char key[SEAT_KEY_SIZE], int64_t row, int64_t place);
/* Days since 1970, or false when it is no date YYYY-MM-DD. */
bool night_parse(const char *text, int64_t *day);
void night_text(char text[NIGHT_SIZE], int64_t day);

/* Chooses `count` free seats: side by side as near to the middle of the front as there are, otherwise the free ones next to each
 * other as far as possible. `is_free` says whether a unit is. False: there are not so many. */
bool seats_choose(const struct inventory *i, size_t count, bool (*is_free)(void *ctx, uint32_t unit),
                  void *ctx, uint32_t *chosen);

/* --- boards (board.c) -------------------------------------------------------------------------------- */

struct quantity {
    uint32_t unit; /* of the inventory */
    int64_t quantity;
};

struct quantities {
    struct quantity *at; /* by unit */
    size_t count;
};
void quantities_free(struct quantities *q);
struct quantities quantities_copy(const struct quantities *q);
bool quantities_equal(const struct quantities *a, const struct quantities *b);

struct board_unit {
    struct inventory *inventory;
    uint32_t unit;
    int64_t held, sold, version;
    int64_t version_read;
    bool read;
};

struct board_reservation {
    struct ulid id;
    struct inventory *inventory;
    char *customer, *idempotency_key; /* NULL: made for the line */
    uint8_t body[BOOKING_BODY_SIZE];
    enum reservation_state state;
    int64_t expires_ms, created_ms, version;
    int64_t version_read;    /* 0: it is new */
    struct quantities units; /* now */
    struct quantities first; /* when it was made */
};

struct board_waiter {
    struct ulid id, reservation;
    struct inventory *inventory;
    char *customer;
    enum waiter_state state;
    int64_t place;                 /* grows with arrival */
    int64_t version, version_read; /* 0: it is new */
    int64_t quantity;              /* or: */
    struct quantities units;
};

struct board_inventory {
    struct inventory *inventory;
    bool all_units;            /* every unit of it is on the board */
    bool want_line, line_read; /* its waitlist, and the last place given in it */
    bool whole_line;           /* however long it is; else LINE_READ_MAX of it */
    bool line_cut;             /* there are more: `beyond` of them after the place `line_end` */
    int64_t last_place, line_end, beyond;
    bool want_version; /* of the inventory's own row */
    int64_t version;
};

struct board {
    bool torn;      /* rows do not fit each other: read without locks, while somebody changed them */
    int64_t now_ms; /* read after the rows */
    struct board_unit *units; /* by inventory and key */
    size_t unit_count, unit_room;
    bool units_sorted;
    struct board_reservation **reservations;
    size_t reservation_count, reservation_room;
    struct map *by_id, *by_key;    /* of reservations that were read; NULL: none */
    struct board_waiter **waiters; /* those that wait and those that were asked for, by place */
    size_t waiter_count, waiter_room;
    struct board_inventory *inventories;
    size_t inventory_count, inventory_room;
    struct board_wish *wishes;
    size_t wish_count, wish_room;
};

/* One row that an op wants to see: a reservation or waiter by id, or a reservation by its idempotency key. */
struct board_wish {
    enum { WISH_RESERVATION, WISH_KEY, WISH_WAITER } what;
    struct inventory *inventory;
    struct ulid id;  /* of the row, unless it is WISH_KEY */
    const char *key; /* of WISH_KEY */
};

void board_init(struct board *b);
void board_free(struct board *b);

void board_wish(struct board *b, struct board_wish w);
/* Wants a unit, several, or all of an inventory; before board_sort(). */
void board_want_unit(struct board *b, struct inventory *i, uint32_t unit);
void board_want_units(struct board *b, struct inventory *i, const struct quantities *q);
void board_want_all(struct board *b, struct inventory *i);
/* Wants the line of an inventory, or its own version. */
void board_want_line(struct board *b, struct inventory *i);
void board_want_whole_line(struct board *b, struct inventory *i);
void board_want_version(struct board *b, struct inventory *i);
/* Sorts what is wanted and drops doubles; then units are found by board_unit(). */
void board_sort(struct board *b);

struct board_unit *board_unit(const struct board *b, const struct inventory *i, uint32_t unit); /* or NULL */
struct board_reservation *board_reservation(const struct board *b, struct ulid id);
struct board_reservation *board_reservation_by_key(const struct board *b, const struct inventory *i,
                                                   const char *key);
struct board_waiter *board_waiter(const struct board *b, struct ulid id);
struct board_inventory *board_inventory(const struct board *b, const struct inventory *i); /* or NULL */

/* Adds a zeroed row, which is the board's. One that was read is then found by board_reservation() after board_index(). */
struct board_reservation *board_add_reservation(struct board *b);
void board_index(struct board *b, struct board_reservation *r);
struct board_waiter *board_add_waiter(struct board *b);
/* After they are read: those that were asked for stand where the line has them. */
void board_sort_waiters(struct board *b);

/* Whether anything differs from what was read. */
bool board_changed(const struct board *b);

/* --- rows (rows.c): boards from and to a database ---------------------------------------------------- */

struct rows;

/* Functions over a database; tests put a simulated one here. `tx` is what `write` gave, or NULL outside a transaction; `lock`
 * keeps what is read as it is until the transaction ends. Errors as db_read() and db_write(). */
struct rows_kind {
    enum err (*write)(struct rows *r, enum err (*work)(void *ctx, void *tx), void *ctx);
    /* Reads the rows wished for; those that are not there are no error. Reservations by id are locked. */
    enum err (*read_wishes)(struct rows *r, void *tx, struct board *b, bool lock);
    enum err (*read_units)(struct rows *r, void *tx, struct board *b, bool lock);
    /* The lines and versions that are wanted. */
    enum err (*read_inventories)(struct rows *r, void *tx, struct board *b, bool lock);
    /* Writes what changed where the versions are those that were read. ERR_STALE: one is not. ERR_EXISTS: an idempotency key
     * or id is taken meanwhile. In either case the transaction must be given up. */
    enum err (*save)(struct rows *r, void *tx, const struct board *b);
    /* Up to `room` ids of holds past `now_ms`, the oldest first, of one inventory or (NULL) of all. */
    enum err (*due)(struct rows *r, void *tx, const struct inventory *i, int64_t now_ms, struct ulid *ids,
                    size_t room, size_t *count);
    /* Inventories with such holds. */
    enum err (*due_inventories)(struct rows *r, int64_t now_ms, struct ulid *ids, size_t room, size_t *count);
    /* When the next hold ends; INT64_MAX: there is none. */
    enum err (*next_due)(struct rows *r, int64_t *expires_ms);
    /* The inventory and its units, for memory; *out is the caller's. ERR_MISSING. */
    enum err (*read_inventory)(struct rows *r, struct ulid id, struct inventory **out);
    /* Name, locking and length of holds as another server may have changed them; and, where somebody follows, units. */
    enum err (*refresh)(struct rows *r, struct inventory *i);
    /* The inventory of a reservation or of a waiter. ERR_MISSING. */
    enum err (*inventory_of)(struct rows *r, bool waiter, struct ulid id, struct ulid *inventory);
};

/* First member of every kind's own struct. */
struct rows {
    const struct rows_kind *kind;
    bool
        shared; /* others write while a transaction of ours reads: what it has read may have changed before it locks */
};

struct rows *rows_sql(struct db *d); /* to be given to free() */

/* Text of quantities as it stands in the database: "KEY TAB QUANTITY NEWLINE" each. */
char *quantities_text(const struct inventory *i, const struct quantities *q);
bool quantities_parse(const struct inventory *i, const char *text, struct quantities *out);
/* Quantities as a reservation shows them. */
void show_units(struct reservation_view *v, const struct inventory *i, const struct quantities *q);

/* --- ops and what they do (decide.c, line.c) --------------------------------------------------------- */

enum verdict {
    VERDICT_DONE,   /* the answer is in the call; what changed is on the board */
    VERDICT_SHORT,  /* the answer is in the call, and holds unless a hold past its time is in the way */
    VERDICT_SWEEP,  /* such a hold is in the way: it must be expired first */
    VERDICT_WIDER,  /* it must see all units of its inventory */
    VERDICT_LONGER, /* it must see all who wait */
};

struct booking_op {
    struct list link;
    struct booking_call *call;
    struct inventory *inventory; /* NULL until it is known */
    struct quantities wants;
    struct ulid new_id; /* of what it makes: the same at every try, so that a lost answer is found again */
    struct ulid *due;   /* BOOKING_EXPIRE */
    size_t due_count;
    bool wide;               /* sees all units of its inventory */
    bool whole_line;         /* sees all who wait */
    bool best_seats;         /* wants so many seats, whichever: `wants` are picked ones */
    struct quantities picks; /* for best_seats: chosen by memory, others choose others meanwhile */
    bool looks;              /* sees what its idempotency key got before */
    bool entered;            /* its idempotency key is in `running` of the inventory */
    bool counted;            /* for adaptive */
    unsigned tries;          /* rounds it has been through */
    int64_t begun_ms;        /* monotonic */
    enum verdict verdict;
};

/* Checks the call against the inventory, which never changes in this respect, and fills `wants`. False: it is answered. */
bool op_check(struct booking_op *op);
/* Put on the board what the op must see: rows by id; those that these name; and then units and lines. */
void op_wishes(struct booking_op *op, struct board *b);
void op_more_wishes(struct booking_op *op, struct board *b);
void op_wants(struct booking_op *op, struct board *b);
/* Decides one op on a board that holds what it wanted: changes rows, and sets the verdict and the answer. */
void op_decide(struct booking_op *op, struct board *b, int64_t hold_ms);

/* Offers what is free to those who wait, in order: VERDICT_DONE, or what must be on the board for that. */
enum verdict line_offer(struct board *b, struct inventory *i, int64_t hold_ms);
int64_t line_position(const struct board *b, const struct board_waiter *w);

/* What is left of a unit; it is on the board. */
int64_t board_left(const struct board *b, const struct inventory *i, uint32_t unit);
/* Chooses `count` free seats on a board that holds all units of `i`. False: there are not so many. */
bool board_choose(struct board *b, const struct inventory *i, int64_t count, struct quantities *q);
/* Takes units that are free for a new hold. */
struct board_reservation *board_hold(struct board *b, struct inventory *i, struct ulid id,
                                     const char *customer, const struct quantities *units, int64_t hold_ms);

/* Answers. `first`: as it was made, not as it is. */
void answer_set(struct booking_call *c, enum booking_answer a, const char *why);
void answer_reservation(struct booking_call *c, const struct board_reservation *r, bool first);
void answer_waiter(struct booking_call *c, const struct board *b, const struct board_waiter *w);

/* --- strategies -------------------------------------------------------------------------------------- */

/* Runs ops of one or (combining) several inventories to their answers. Every op's verdict is VERDICT_DONE afterwards. */
struct strategy {
    const char *name;
    void (*run)(struct booking *b, struct booking_op **ops, size_t count);
    bool combines; /* takes everything that is waiting, not one op */
};
extern const struct strategy strategy_optimistic, strategy_pessimistic, strategy_combining;

/* What an op is run by now: its inventory's, or what adaptive picks (adaptive.c). */
const struct strategy *strategy_of(const struct booking *b, const struct booking_op *op);
struct adaptive *adaptive_new(uint32_t unit_count);
void adaptive_free(struct adaptive *a);
/* What it measures: an op came in, was answered after `tries` tries. */
void adaptive_came(struct booking *b, struct booking_op *op);
void adaptive_went(struct booking_op *op);

/* transact.c. A round reads what some ops need, decides, and writes. When it fails nothing has changed and it may be tried again. */
typedef enum err (*transact_round)(struct booking *b, struct booking_op **ops, size_t count);

/* In one transaction, with all rows locked. */
must_check enum err transact_locked(struct booking *b, struct booking_op **ops, size_t count);
/* Reads first and writes where nothing has changed meanwhile; ERR_STALE where it has. */
must_check enum err transact_unlocked(struct booking *b, struct booking_op **ops, size_t count);
/* Tries rounds until every op has its answer: after contention again, after a growing pause of chance length; with more rows, where an
 * op wants to see more; after expiring holds past their time, where they are in the way; and once an op's time is up
 * without. */
void transact_until_done(struct booking *b, struct booking_op **ops, size_t count, transact_round round);

/* --- the engine -------------------------------------------------------------------------------------- */

struct lane {
    struct booking *booking;
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct list ops;
    size_t count;      /* of ops */
    size_t wanted;     /* whoever waits is woken when so many are there */
    size_t crowd;      /* calls that were under way at once, lately */
    int64_t linger_us; /* how long it waits for them to come again */
    pthread_t *threads;
    unsigned thread_count;
    bool stopping;
};

struct booking {
    struct db *db;
    struct rows *rows;
    void (*pause_us)(struct booking *b,
                     int64_t us); /* tests replace it, like rows; clock and chance have seams of their own */
    pthread_rwlock_t inventories_lock;
    struct map *inventories;
    struct lane direct, combining;
    _Atomic int64_t now_ms;  /* the latest time that anybody here has acted upon */
    _Atomic int64_t running; /* ops that are not answered */
    _Atomic int64_t wary; /* ops to come that look for their keys at once, since keys were repeated lately */
    pthread_mutex_t expiry_lock;
    pthread_cond_t expiry_wake;
    pthread_t expiry_thread;
    bool expiry_started;
    int64_t expiry_due_ms; /* the next look at the latest; under expiry_lock */
    bool stopping;         /* under expiry_lock */
    int64_t refreshed_ms;  /* inventories were, last; of the expiry thread */
};

/* The wall clock, which never goes back here: what was expired once stays so. */
int64_t booking_now_ms(struct booking *b);

/* Answers the op and frees it. */
void op_answer(struct booking *b, struct booking_op *op);

/* A box office without threads, for tests and to be given them by booking_open(). `rows` is its own. */
struct booking *booking_bare(struct rows *rows);

/* Holds past their time (expiry.c). */
must_check enum err expiry_start(struct booking *b);
void expiry_stop(struct booking *b);
/* A hold ends at `expires_ms`: wakes the thread where that is sooner than it expects. */
void expiry_note(struct booking *b, int64_t expires_ms);
/* Expires what is past its time in one inventory, in this thread. */
must_check enum err expiry_sweep(struct booking *b, struct inventory *i);
/* The same everywhere. */
must_check enum err expiry_sweep_all(struct booking *b);

/* --- limits ------------------------------------------------------------------------------------------ */

/* What one transaction of the combining writer decides at most: some 15 ms of SQLite. */
#define COMBINE_OPS_MAX 1024
/* Threads that take one call each: as many as a shared database may decide side by side; SQLite has one writer. */
#define DIRECT_THREADS_SHARED 32
#define DIRECT_THREADS_ALONE  4
/* How long a call is tried in the face of contention or of an absent database; then 503 says when to come back. */
#define BOOKING_TRY_MS_MAX 3000
/* Nearly every idempotency key is new, and finding out before deciding is a fifth of what a booking costs MariaDB: so a key is looked
 * for only where the unit it wants is gone, or where writing finds that it is there. That costs a round of everybody in the
 * transaction: after it so many calls look first. */
#define WARY_OPS 10000
/* The first pause after contention, at most, and the longest. */
#define BOOKING_PAUSE_US     500
#define BOOKING_PAUSE_US_MAX 50000
/* Holds expired in one transaction. */
#define EXPIRE_MAX 1024
/* Those in the line that a transaction looks at where what it frees is gone by then. */
#define LINE_READ_MAX 1000

#endif
