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

/* Reads the admin's token from `path`, or makes it there (mode 0600); of several who do that at once all get one. Blocks. On failure
 * `why` says what to do. */
must_check enum err access_admin_token(const char *path, char token[ACCESS_KEY_SIZE], char why[256]);

/* Whether an Authorization field's value is "Bearer TOKEN", compared in constant time. */
bool access_admin_ok(struct bytes authorization, const char *token);

/* --- people who work here -------------------------------------------------------------------------------
 * An API token is for one role, and for some events or for all. It is shown once and kept as its SHA-256. All of them are in memory,
 * and read again every two seconds, so that checking one takes no database; when one was used last is written as often. */

enum role {
    ROLE_NONE = 0,
    ROLE_ADMIN = 1,     /* everything */
    ROLE_PRODUCER = 2,  /* their own events: those named with the token, and those made by it */
    ROLE_MODERATOR = 4, /* comments */
    ROLE_BOX_OFFICE = 8 /* inventories and reservations */
};

const char *role_name(enum role r); /* "admin", "producer", "moderator", "box-office" */
bool role_parse(const char *text, enum role *out);

struct staff;

#define STAFF_NAME_CHARS 64
#define STAFF_EVENTS_MAX 100 /* that a token is made for; those that it makes itself are not counted */
#define STAFF_TOKENS_MAX 1000

/* A token as it is shown to admins. */
struct staff_view {
    struct ulid id;
    char *name;
    enum role role;
    bool every_event; /* else: */
    struct ulid *events;
    size_t event_count;
    int64_t created_ms, used_ms; /* used_ms 0: never */
};
void staff_view_free(struct staff_view *v); /* what it holds */

/* Reads the tokens, and starts a thread that looks for what other servers write. Blocks. */
must_check enum err staff_open(struct staff **out, struct db *d, char why[256]);
void staff_close(struct staff *s); /* accepts NULL */

/* Whose token this is, and notes that it was used now. False: nobody's. Any thread; quick. */
bool staff_check(struct staff *s, struct bytes token, struct ulid *id, enum role *role);
/* Whether the token of this id is still good, has one of `roles`, and is for the event; a zero `event` stands for all. An admin's has
 * every role. Any thread; quick. */
bool staff_may(struct staff *s, struct ulid id, unsigned roles, struct ulid event);

/* Makes one for `events` (count 0: for all, and a producer's for those that it will make). `view` is filled but for its id and times, which
 * are set. ERR_LIMIT: there are STAFF_TOKENS_MAX. Blocks. */
must_check enum err staff_create(struct staff *s, struct staff_view *view, char token[ACCESS_KEY_SIZE]);
/* The event was made with the token of this id. Blocks. */
must_check enum err staff_own(struct staff *s, struct ulid id, struct ulid event);
/* Up to `limit` copies of those after `after` (zero: from the first), oldest first. Any thread; quick. */
size_t staff_list(struct staff *s, struct ulid after, size_t limit, struct staff_view *out);
/* It stops working, here at once and elsewhere within three seconds. ERR_MISSING. Blocks. */
must_check enum err staff_revoke(struct staff *s, struct ulid id);

/* --- viewers' tokens -------------------------------------------------------------------------------------
 * A token is the signed proof that somebody holds a ticket for an event: a JWT (RFC 7519) by HMAC-SHA-256 whose header can only be the
 * one that this house writes, so that there is no algorithm to choose. It is short-lived; its holder gets a fresh one as long as the
 * reservation is confirmed. Checking one takes no database, no allocation and a microsecond. Keys and revocations are rows, which every
 * server over the same database reads every two seconds; while the database is away, what was known last holds. */

#define TICKET_TEXT_SIZE 384 /* with its NUL */
/* How long a token is good. */
#define TICKET_SECONDS 600

struct ticket {
    struct ulid pass, event; /* the pass is a reservation, or a link that its buyer gave away */
    struct ulid session;     /* one screen: it stays the same when the token is refreshed; zero: none yet */
    int64_t issued_s, expires_s; /* Unix time */
};

enum ticket_verdict {
    TICKET_GOOD,
    TICKET_FOREIGN, /* not signed by a key of this house, or no token at all */
    TICKET_EXPIRED,
    TICKET_EARLY,     /* it is not good yet: clocks differ */
    TICKET_OTHER,     /* for another event */
    TICKET_NO_SCREEN, /* it has no session: it gets a screen, and opens nothing itself */
    TICKET_REVOKED,
    TICKET_TAKEN_OVER, /* its session has ended: another screen watches in its place */
};

struct tickets;

/* Reads the keys, makes the first one, and starts a thread that looks for what other servers write. Blocks. */
must_check enum err tickets_open(struct tickets **out, struct db *d, char why[256]);
void tickets_close(struct tickets *t); /* accepts NULL */

/* A token for the pass; ulid_secret() is a new session. `asked_ms`: when the call came whose token it is, before anybody looked whether
 * the pass is good: a revocation that comes between that look and this reaches the token, too. Any thread; quick. */
void tickets_issue(struct tickets *t, struct ulid pass, struct ulid event, struct ulid session,
                   int64_t asked_ms, struct ticket *out, char text[TICKET_TEXT_SIZE]);

/* Whether the token lets its bearer in to the event. *out (may be NULL) is what it says, for every verdict but TICKET_FOREIGN. Any
 * thread; quick. */
enum ticket_verdict tickets_check(struct tickets *t, struct bytes text, struct ulid event,
                                  struct ticket *out);

/* Whether what was opened with a token may go on: expiry apart, which is for opening, what tickets_check() would say. Any thread;
 * quick. */
bool tickets_may_stay(struct tickets *t, const struct ticket *ticket);

/* A pass is revoked before what it stands for has ended, and who asks in between is told that it is good: what is issued so soon after
 * is refused with the rest. */
#define TICKETS_REVOKED_AHEAD_MS 3000

/* Refuses all tokens of the pass or session that were issued until now, or will be in the next TICKETS_REVOKED_AHEAD_MS; here at once and
 * elsewhere within three seconds. Blocks. */
must_check enum err tickets_revoke(struct tickets *t, struct ulid id);

/* The same of a reservation and of all links that were given away of it. Blocks. */
must_check enum err tickets_revoke_all(struct tickets *t, struct ulid reservation);

/* Makes a new key. It signs as soon as every server has read it; what the old ones have signed stays good to its end. Blocks. */
must_check enum err tickets_rotate(struct tickets *t);

/* --- screens -----------------------------------------------------------------------------------------------
 * Who watches with a pass is a row each, so that all servers over one database count alike. It is written when somebody comes and
 * once a minute while they watch, never when a file is asked for: whoever loses a place is refused by its session. */

/* A screen whose page has not asked for a fresh token for so long has gone. */
#define SCREEN_HOLD_SECONDS 150
/* And so often pages ask, where screens are counted, and where they are not. */
#define SCREEN_RENEW_SECONDS 60
#define TICKET_RENEW_SECONDS 240
#define SCREENS_MAX          100

struct screen_rule {
    uint32_t count; /* screens of one pass; 0: any number */
    bool refuse;    /* a further one is refused; else it takes the place of the one that came first */
};

enum screen_answer {
    SCREEN_GIVEN,
    SCREEN_FULL,       /* others have all places, and the rule is to refuse */
    SCREEN_TAKEN_OVER, /* it had a place, and another has taken it */
};

/* Gives *session a place; zero: a new screen, whose session *session becomes. One that lost its place while there is room again
 * becomes a new one. A screen that has had a place never takes another's: else two would take turns for ever. `asked_ms` as in
 * tickets_issue(). Blocks. */
must_check enum err tickets_screen(struct tickets *t, struct ulid pass, struct screen_rule rule,
                                   int64_t asked_ms, struct ulid *session, enum screen_answer *out);

/* The screen of this token closes: its place is free at once, and its tokens are refused. Nothing happens where it has asked for a fresher
 * one since, as a page does that is loaded again. Blocks. */
must_check enum err tickets_leave(struct tickets *t, const struct ticket *ticket);

/* --- links: passes that a buyer gives away -------------------------------------------------------------------- */

#define LINKS_MAX       200
#define LINK_NAME_CHARS 64

struct ticket_link {
    struct ulid id, reservation;
    char name[LINK_NAME_CHARS * 4 + 1];
    int64_t made_ms;
};

/* Makes one more of at most `most`. ERR_LIMIT: there are as many. Blocks. */
must_check enum err tickets_link(struct tickets *t, struct ulid reservation, const char *name, size_t most,
                                 struct ticket_link *out);
/* The links of a reservation, oldest first. Blocks. */
must_check enum err tickets_links(struct tickets *t, struct ulid reservation,
                                  struct ticket_link out[LINKS_MAX], size_t *count);
/* One by its id, and how many of the same reservation are older. ERR_MISSING. Blocks. */
must_check enum err tickets_link_get(struct tickets *t, struct ulid id, struct ticket_link *out,
                                     size_t *place);
/* Takes one back: its tokens are refused. ERR_MISSING: the reservation has no such link. Blocks. */
must_check enum err tickets_unlink(struct tickets *t, struct ulid reservation, struct ulid id);

#endif
