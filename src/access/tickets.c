/* access/tickets.c - the keys that sign tokens, and the passes and sessions whose tokens are refused. */
#include "access/access_int.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A key signs once every server must have read it, and is kept until what it signed last has expired. */
#define SETTLE_MS 6000
/* How far the clocks of servers, and of a browser's token and us, may be apart. */
#define SKEW_S 30
/* After so long a revocation is about tokens that have expired anyway. */
#define KEEP_MS  ((TICKET_SECONDS + 2 * SKEW_S) * 1000LL)
#define KEYS_MAX 16

/* Oldest first. */
struct ticket_keys {
    struct ticket_key at[KEYS_MAX];
    size_t count;
};

static void keys_free(struct ticket_keys *k)
{
    for (size_t i = 0; i < k->count; i++)
        ticket_key_free(&k->at[i]);
}

struct tickets {
    struct db *db;
    pthread_rwlock_t lock; /* over keys and revocations: every request reads them, and a writer is quick */
    struct ticket_keys keys;
    struct map *revoked; /* by pass or session: until when, in ms, as a pointer's value */
    struct lookout lookout;
};

/* --- revocations --------------------------------------------------------------------------------------- */

static struct bytes name_of(const struct ulid *id)
{
    return bytes_of(id->b, sizeof id->b);
}

static int64_t revoked_ms(const struct map *m, struct bytes name)
{
    return (int64_t)(intptr_t)map_get(m, name);
}

static void note_revoked(struct map *m, struct bytes name, int64_t at_ms)
{
    if (at_ms > revoked_ms(m, name))
        (void)map_put(m, name, (void *)(intptr_t)at_ms);
}

/* Takes up what was read, and lets go what is about expired tokens only. */
static void merge_revoked(struct tickets *t, struct map *read)
{
    int64_t now_ms = clock_wall_ms();
    struct map *old;
    struct bytes name;
    void *at;

    pthread_rwlock_wrlock(&t->lock);
    old = t->revoked;
    for (size_t i = 0; map_next(old, &i, &name, &at);)
        if ((int64_t)(intptr_t)at > now_ms - KEEP_MS)
            note_revoked(read, name, (int64_t)(intptr_t)at);
    t->revoked = read;
    pthread_rwlock_unlock(&t->lock);
    map_free(old);
}

static bool read_revoked(void *ctx, const struct db_row *r)
{
    struct ulid id;

    if (ulid_parse(bytes_text(db_column_text(r, 0)), &id))
        note_revoked(ctx, name_of(&id), db_column_int(r, 1));
    return true;
}

static enum err look_for_revoked(struct tickets *t)
{
    struct map *read = map_new();
    enum err e =
        db_read(t->db, "SELECT reservation_id, revoked_at FROM token_revocations WHERE revoked_at > ?",
                DB_VALUES(db_int(clock_wall_ms() - KEEP_MS)), read_revoked, read);

    if (e == ERR_OK)
        merge_revoked(t, read);
    else
        map_free(read);
    return e;
}

enum err revocation_write(struct db *tx, struct ulid id, int64_t at_ms)
{
    char text[ULID_TEXT_SIZE];
    enum err e = db_run(tx, "DELETE FROM token_revocations WHERE reservation_id = ? OR revoked_at < ?",
                        DB_VALUES(db_str(ulid_text(id, text)), db_int(at_ms - KEEP_MS)), NULL);

    return e != ERR_OK ? e
                       : db_run(tx, "INSERT INTO token_revocations (reservation_id, revoked_at) VALUES (?,?)",
                                DB_VALUES(db_str(text), db_int(at_ms)), NULL);
}

void revocation_note(struct tickets *t, struct ulid id, int64_t at_ms)
{
    pthread_rwlock_wrlock(&t->lock);
    note_revoked(t->revoked, name_of(&id), at_ms);
    pthread_rwlock_unlock(&t->lock);
}

struct revoking {
    struct ulid id;
    int64_t at_ms;
};

static enum err write_revoked(void *ctx, struct db *tx)
{
    const struct revoking *r = ctx;

    return revocation_write(tx, r->id, r->at_ms);
}

enum err tickets_revoke(struct tickets *t, struct ulid id)
{
    struct revoking r = {id, clock_wall_ms() + TICKETS_REVOKED_AHEAD_MS};
    enum err e = db_write_surely(t->db, write_revoked, &r);

    if (e == ERR_EXISTS) /* another server does the same at this moment */
        e = ERR_OK;
    if (e == ERR_OK)
        revocation_note(t, id, r.at_ms);
    return e;
}

struct db *tickets_db(const struct tickets *t)
{
    return t->db;
}

/* --- keys ---------------------------------------------------------------------------------------------- */

/* The oldest is let go where there are too many. */
static bool read_key(void *ctx, const struct db_row *r)
{
    struct ticket_keys *k = ctx;
    struct bytes secret = db_column_blob(r, 1);
    struct ulid id;

    if (!ulid_parse(bytes_text(db_column_text(r, 0)), &id) || secret.size != TICKET_SECRET_SIZE)
        return true;
    if (k->count == KEYS_MAX) {
        ticket_key_free(&k->at[0]);
        memmove(k->at, k->at + 1, (KEYS_MAX - 1) * sizeof *k->at);
        k->count--;
    }
    ticket_key_init(&k->at[k->count++], id, secret.at, db_column_int(r, 2));
    return true;
}

/* The newest that every server knows. */
static const struct ticket_key *signing_key(const struct ticket_keys *k)
{
    int64_t settled_ms = clock_wall_ms() - SETTLE_MS;
    size_t at = k->count - 1;

    while (at > 0 && k->at[at].made_ms > settled_ms)
        at--;
    return &k->at[at];
}

/* When the newest key was made that has signed alone for so long that all of its elders' tokens have expired. */
#define OLDEST_IN_USE "SELECT COALESCE(MAX(created_at), 0) FROM token_keys WHERE created_at < ?"

static enum err look_for_keys(struct tickets *t)
{
    struct ticket_keys read = {.count = 0}, old;
    enum err e =
        db_read(t->db,
                "SELECT id, secret, created_at FROM token_keys WHERE created_at >= (" OLDEST_IN_USE ")"
                " ORDER BY created_at, id",
                DB_VALUES(db_int(clock_wall_ms() - SETTLE_MS - KEEP_MS)), read_key, &read);

    if (e != ERR_OK || read.count == 0) {
        keys_free(&read);
        return e;
    }
    pthread_rwlock_wrlock(&t->lock);
    old = t->keys;
    t->keys = read;
    pthread_rwlock_unlock(&t->lock);
    keys_free(&old);
    return ERR_OK;
}

struct making {
    char id[ULID_TEXT_SIZE];
    uint8_t secret[TICKET_SECRET_SIZE];
    int64_t at_ms;
};

static bool read_time(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = db_column_int(r, 0);
    return false;
}

static enum err drop_old_keys(struct db *tx, int64_t now_ms)
{
    int64_t oldest_ms = 0;
    enum err e =
        db_read(tx, OLDEST_IN_USE, DB_VALUES(db_int(now_ms - SETTLE_MS - KEEP_MS)), read_time, &oldest_ms);

    return e != ERR_OK ? e
                       : db_run(tx, "DELETE FROM token_keys WHERE created_at < ?",
                                DB_VALUES(db_int(oldest_ms)), NULL);
}

static enum err write_key(void *ctx, struct db *tx)
{
    const struct making *m = ctx;
    enum err e = drop_old_keys(tx, m->at_ms);

    return e != ERR_OK
               ? e
               : db_run(tx, "INSERT INTO token_keys (id, secret, created_at) VALUES (?,?,?) {or_keep:id}",
                        DB_VALUES(db_str(m->id), db_blob(bytes_of(m->secret, sizeof m->secret)),
                                  db_int(m->at_ms)),
                        NULL);
}

enum err tickets_rotate(struct tickets *t)
{
    struct making m = {.at_ms = clock_wall_ms()};
    enum err e;

    ulid_text(ulid_new(), m.id);
    random_fill(m.secret, sizeof m.secret);
    e = db_write_surely(t->db, write_key, &m);
    return e == ERR_OK ? look_for_keys(t) : e;
}

/* --- tokens -------------------------------------------------------------------------------------------- */

void tickets_issue(struct tickets *t, struct ulid pass, struct ulid event, struct ulid session,
                   int64_t asked_ms, struct ticket *out, char text[TICKET_TEXT_SIZE])
{
    int64_t now_s = asked_ms / 1000;

    *out = (struct ticket){.pass = pass,
                           .event = event,
                           .session = session,
                           .issued_s = now_s,
                           .expires_s = now_s + TICKET_SECONDS};
    pthread_rwlock_rdlock(&t->lock);
    ticket_write(signing_key(&t->keys), out, text);
    pthread_rwlock_unlock(&t->lock);
}

/* Until when tokens of a pass and of a session are refused; 0: none is. */
struct refused_until {
    int64_t pass_ms, session_ms;
};

/* With the lock held. */
static struct refused_until refused_until(const struct tickets *t, const struct ticket *ticket)
{
    return (struct refused_until){revoked_ms(t->revoked, name_of(&ticket->pass)),
                                  revoked_ms(t->revoked, name_of(&ticket->session))};
}

static enum ticket_verdict judge_revoked(const struct ticket *ticket, struct refused_until until)
{
    if (ticket->issued_s * 1000 <= until.pass_ms)
        return TICKET_REVOKED;
    return ticket->issued_s * 1000 <= until.session_ms ? TICKET_TAKEN_OVER : TICKET_GOOD;
}

static enum ticket_verdict judge(const struct ticket *ticket, struct ulid event, struct refused_until until)
{
    int64_t now_s = clock_wall_ms() / 1000;

    if (now_s >= ticket->expires_s)
        return TICKET_EXPIRED;
    if (now_s + SKEW_S < ticket->issued_s)
        return TICKET_EARLY;
    if (!ulid_equal(ticket->event, event))
        return TICKET_OTHER;
    if (ulid_is_zero(ticket->session))
        return TICKET_NO_SCREEN;
    return judge_revoked(ticket, until);
}

enum ticket_verdict tickets_check(struct tickets *t, struct bytes text, struct ulid event, struct ticket *out)
{
    struct refused_until until = {0, 0};
    struct ticket ticket;
    bool ours;

    pthread_rwlock_rdlock(&t->lock);
    if ((ours = ticket_read(t->keys.at, t->keys.count, text, &ticket)))
        until = refused_until(t, &ticket);
    pthread_rwlock_unlock(&t->lock);
    if (!ours)
        return TICKET_FOREIGN;
    if (out != NULL)
        *out = ticket;
    return judge(&ticket, event, until);
}

bool tickets_may_stay(struct tickets *t, const struct ticket *ticket)
{
    struct refused_until until;

    pthread_rwlock_rdlock(&t->lock);
    until = refused_until(t, ticket);
    pthread_rwlock_unlock(&t->lock);
    return judge_revoked(ticket, until) == TICKET_GOOD;
}

/* --- looking, and the beginning and the end ------------------------------------------------------------ */

static enum err look(void *ctx)
{
    struct tickets *t = ctx;
    enum err e = look_for_keys(t);

    return e == ERR_OK ? look_for_revoked(t) : e;
}

static enum err start(struct tickets *t)
{
    enum err e = look(t);

    if (e == ERR_OK && t->keys.count == 0)
        e = tickets_rotate(t);
    t->lookout = (struct lookout){"tickets", "revoked tickets", look, t};
    return e == ERR_OK ? lookout_start(&t->lookout) : e;
}

/* A revocation waits for those who read, and not for those who come meanwhile: else there would be no end to them. */
static void init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t writers_first;

    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
}

enum err tickets_open(struct tickets **out, struct db *d, char why[256])
{
    struct tickets *t = mem_new(sizeof *t);
    enum err e;

    init_lock(&t->lock);
    t->db = d;
    t->revoked = map_new();
    *out = t;
    if ((e = start(t)) == ERR_OK)
        return ERR_OK;
    snprintf(why, 256, "the keys of tickets could not be read or made: %s", err_text(e));
    tickets_close(t);
    *out = NULL;
    return e;
}

void tickets_close(struct tickets *t)
{
    if (t == NULL)
        return;
    lookout_stop(&t->lookout);
    keys_free(&t->keys);
    map_free(t->revoked);
    pthread_rwlock_destroy(&t->lock);
    free(t);
}
