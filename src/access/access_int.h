/* access/access_int.h - tokens as text: pure, and without a clock; and what the files about tickets share. */
#ifndef MATINEE_ACCESS_ACCESS_INT_H
#define MATINEE_ACCESS_ACCESS_INT_H

#include "access/access.h"

#define OPENSSL_SUPPRESS_DEPRECATED /* SHA256_Init(): ticket.c says why */
#include <openssl/sha.h>
#include <pthread.h>

#define TICKET_SECRET_SIZE 32
#define TICKET_HEAD_SIZE   96

/* A key with what is worked out from it once. */
struct ticket_key {
    struct ulid id;
    int64_t made_ms;             /* wall clock */
    char head[TICKET_HEAD_SIZE]; /* the first third of every token it signs */
    SHA256_CTX inner, outer;     /* HMAC, begun */
};

void ticket_key_init(struct ticket_key *k, struct ulid id, const uint8_t secret[TICKET_SECRET_SIZE],
                     int64_t made_ms);
void ticket_key_free(struct ticket_key *k);

void ticket_write(const struct ticket_key *k, const struct ticket *t, char text[TICKET_TEXT_SIZE]);

/* What a token of one of the keys says; false where none of them has signed it. */
bool ticket_read(const struct ticket_key *keys, size_t count, struct bytes text, struct ticket *out);

/* --- lookout.c: a thread that looks for what other servers have written ---------------------------------- */

struct lookout {
    const char *name, *what;     /* the thread's; what it looks for, for the log */
    enum err (*look)(void *ctx); /* blocks */
    void *ctx;
    /* Its own, zero at first: */
    bool started, stopping;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

must_check enum err lookout_start(struct lookout *l);
bool lookout_stop(struct lookout *l); /* waits for its end; false: it was not started */

/* --- tickets.c, for screens.c and links.c --------------------------------------------------------------- */

struct db *tickets_db(const struct tickets *t);
/* Writes that tokens of a pass or session are refused that were issued until then; and takes note of it here, once it is written. */
must_check enum err revocation_write(struct db *tx, struct ulid id, int64_t at_ms);
void revocation_note(struct tickets *t, struct ulid id, int64_t at_ms);

/* The row of a pass, made where there is none and locked to the end of the transaction: whoever counts what belongs to it
 * is alone meanwhile. */
must_check enum err pass_lock(struct db *tx, struct ulid pass, struct ulid reservation);

#endif
