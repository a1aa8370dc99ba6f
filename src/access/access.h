/* access/access.h - who may do what: stream keys, the admin token, and viewers' tokens.
 *
 * A stream key is shown once and kept only as its SHA-256; the admin token lies in a file that its owner
 * alone may read. Both carry 160 random bits, so a plain hash is enough: there is nothing to guess. */
#ifndef MATINEE_ACCESS_ACCESS_H
#define MATINEE_ACCESS_ACCESS_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/ulid.h"
#include "db/db.h"

#define ACCESS_KEY_SIZE  33 /* 32 letters and digits, and a NUL */
#define ACCESS_HASH_SIZE 32

/* Writes a new key or token. */
void access_key_new(char key[ACCESS_KEY_SIZE]);

void access_key_hash(struct bytes key, uint8_t hash[ACCESS_HASH_SIZE]);

/* Reads DATA/admin.token, or makes it (mode 0600). Blocks. On failure `why` says what to do. */
must_check enum err access_admin_token(const char *data_dir, char token[ACCESS_KEY_SIZE], char why[256]);

/* Whether an Authorization field's value is "Bearer TOKEN", compared in constant time. */
bool access_admin_ok(struct bytes authorization, const char *token);

/* --- viewers' tokens -------------------------------------------------------------------------------------
 * A token is the signed proof that somebody holds a ticket for an event: a JWT (RFC 7519) by HMAC-SHA-256 whose header can only be the
 * one that this house writes, so that there is no algorithm to choose. It is short-lived; its holder gets a fresh one as long as the
 * reservation is confirmed. Checking one takes no database, no allocation and a microsecond. Keys and revocations are rows, which every
 * server over the same database reads every two seconds; while the database is away, what was known last holds. */

#define TICKET_TEXT_SIZE 384 /* with its NUL */
/* How long a token is good. */
#define TICKET_SECONDS 600

struct ticket {
    struct ulid reservation, event;
    struct ulid session;         /* one screen: it stays the same when the token is refreshed */
    int64_t issued_s, expires_s; /* Unix time */
};

enum ticket_verdict {
    TICKET_GOOD,
    TICKET_FOREIGN, /* not signed by a key of this house, or no token at all */
    TICKET_EXPIRED,
    TICKET_EARLY, /* it is not good yet: clocks differ */
    TICKET_OTHER, /* for another event */
    TICKET_REVOKED,
};

struct tickets;

/* Reads the keys, makes the first one, and starts a thread that looks for what other servers write. Blocks. */
must_check enum err tickets_open(struct tickets **out, struct db *d, char why[256]);
void tickets_close(struct tickets *t); /* accepts NULL */

/* A token for the reservation, from now on. A zero `session` begins a new one. Any thread; quick. */
void tickets_issue(struct tickets *t, struct ulid reservation, struct ulid event, struct ulid session,
                   struct ticket *out, char text[TICKET_TEXT_SIZE]);

/* Whether the token lets its bearer in to the event. *out (may be NULL) is what it says, for every verdict but TICKET_FOREIGN. Any
 * thread; quick. */
enum ticket_verdict tickets_check(struct tickets *t, struct bytes text, struct ulid event,
                                  struct ticket *out);

/* Refuses all tokens of the reservation that were issued until now, here at once and elsewhere within three seconds. Blocks. */
must_check enum err tickets_revoke(struct tickets *t, struct ulid reservation);

/* Makes a new key. It signs as soon as every server has read it; what the old ones have signed stays good to its end. Blocks. */
must_check enum err tickets_rotate(struct tickets *t);

#endif
