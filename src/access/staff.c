/* access/staff.c - API tokens of the people who work here: their roles, and the events that they are for. */
#include "access/access_int.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct {
    enum role role;
    const char *name;
} roles[] = {{ROLE_ADMIN, "admin"},
             {ROLE_PRODUCER, "producer"},
             {ROLE_MODERATOR, "moderator"},
             {ROLE_BOX_OFFICE, "box-office"}};

#define ROLE_COUNT (sizeof roles / sizeof *roles)

const char *role_name(enum role r)
{
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (roles[i].role == r)
            return roles[i].name;
    return "none";
}

bool role_parse(const char *text, enum role *out)
{
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (strcmp(roles[i].name, text) == 0) {
            *out = roles[i].role;
            return true;
        }
    return false;
}

void staff_view_free(struct staff_view *v)
{
    free(v->name);
    free(v->events);
    v->name = NULL;
    v->events = NULL;
}

/* --- who there is -------------------------------------------------------------------------------------- */

struct member {
    struct staff_view view;
    uint8_t hash[ACCESS_HASH_SIZE];
};

/* All of them, by id; and by what their tokens come to. */
struct roll {
    struct member *at;
    size_t count;
    struct map *by_hash, *by_id;
};

struct staff {
    struct db *db;
    pthread_mutex_t look_lock; /* one at a time: nobody puts an older roll in a newer one's place */
    pthread_mutex_t lock;      /* over all that follows; held for microseconds */
    struct roll roll;
    struct map *used; /* by id: when, in ms, as a pointer's value; what is to be written */
    struct lookout lookout;
};

static struct bytes name_of(const struct ulid *id)
{
    return bytes_of(id->b, sizeof id->b);
}

static void roll_free(struct roll *r)
{
    for (size_t i = 0; i < r->count; i++)
        staff_view_free(&r->at[i].view);
    free(r->at);
    map_free(r->by_hash);
    map_free(r->by_id);
    *r = (struct roll){.at = NULL};
}

static bool read_member(void *ctx, const struct db_row *row)
{
    struct roll *r = ctx;
    struct member *m = &r->at[r->count];
    struct bytes hash = db_column_blob(row, 1);

    *m = (struct member){.view = {.every_event = db_column_int(row, 4) != 0,
                                  .created_ms = db_column_int(row, 5),
                                  .used_ms = db_column_int(row, 6)}};
    if (!ulid_parse(bytes_text(db_column_text(row, 0)), &m->view.id) || hash.size != ACCESS_HASH_SIZE ||
        !role_parse(db_column_text(row, 3), &m->view.role))
        return true; /* a newer matinee's; it opens nothing here */
    memcpy(m->hash, hash.at, hash.size);
    m->view.name = mem_string(db_column_text(row, 2));
    return ++r->count < STAFF_TOKENS_MAX;
}

static void add_event(struct staff_view *v, struct ulid event)
{
    v->events = mem_resize(v->events, (v->event_count + 1) * sizeof *v->events);
    v->events[v->event_count++] = event;
}

static bool read_event(void *ctx, const struct db_row *row)
{
    struct roll *r = ctx;
    struct ulid id, event;
    struct member *m;

    if (ulid_parse(bytes_text(db_column_text(row, 0)), &id) &&
        ulid_parse(bytes_text(db_column_text(row, 1)), &event) &&
        (m = map_get(r->by_id, name_of(&id))) != NULL)
        add_event(&m->view, event);
    return true;
}

static enum err read_roll(struct db *d, struct roll *r)
{
    enum err e;

    *r = (struct roll){
        .at = mem_new(STAFF_TOKENS_MAX * sizeof *r->at), .by_hash = map_new(), .by_id = map_new()};
    e = db_read(d,
                "SELECT id, hash, name, role, every_event, created_at, used_at FROM api_tokens ORDER BY id",
                NULL, 0, read_member, r);
    for (size_t i = 0; i < r->count; i++) {
        map_put(r->by_hash, bytes_of(r->at[i].hash, ACCESS_HASH_SIZE), &r->at[i]);
        map_put(r->by_id, name_of(&r->at[i].view.id), &r->at[i]);
    }
    if (e == ERR_OK)
        e = db_read(d, "SELECT token_id, event_id FROM api_token_events ORDER BY token_id, event_id", NULL, 0,
                    read_event, r);
    if (e != ERR_OK)
        roll_free(r);
    return e;
}

static enum err look(struct staff *s)
{
    struct roll read, old = {.at = NULL};
    enum err e;

    pthread_mutex_lock(&s->look_lock);
    if ((e = read_roll(s->db, &read)) == ERR_OK) {
        pthread_mutex_lock(&s->lock);
        old = s->roll;
        s->roll = read;
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&s->look_lock);
    roll_free(&old);
    return e;
}

/* --- asking -------------------------------------------------------------------------------------------- */

bool staff_check(struct staff *s, struct bytes token, struct ulid *id, enum role *role)
{
    uint8_t hash[ACCESS_HASH_SIZE];
    const struct member *m;

    if (token.size != ACCESS_KEY_SIZE - 1)
        return false;
    access_key_hash(token, hash);
    pthread_mutex_lock(&s->lock);
    if ((m = map_get(s->roll.by_hash, bytes_of(hash, sizeof hash))) != NULL) {
        *id = m->view.id;
        *role = m->view.role;
        (void)map_put(s->used, name_of(id), (void *)(intptr_t)clock_wall_ms());
    }
    pthread_mutex_unlock(&s->lock);
    return m != NULL;
}

static bool is_for(const struct staff_view *v, struct ulid event)
{
    if (v->every_event)
        return true;
    for (size_t i = 0; i < v->event_count && !ulid_is_zero(event); i++)
        if (ulid_equal(v->events[i], event))
            return true;
    return false;
}

bool staff_may(struct staff *s, struct ulid id, unsigned wanted, struct ulid event)
{
    const struct member *m;
    bool may;

    pthread_mutex_lock(&s->lock);
    m = map_get(s->roll.by_id, name_of(&id));
    may = m != NULL && (m->view.role == ROLE_ADMIN || (m->view.role & wanted && is_for(&m->view, event)));
    pthread_mutex_unlock(&s->lock);
    return may;
}

static void copy_view(const struct staff *s, const struct staff_view *v, struct staff_view *out)
{
    int64_t used_ms = (int64_t)(intptr_t)map_get(s->used, name_of(&v->id));

    *out = *v;
    out->name = mem_string(v->name);
    out->events = NULL;
    out->event_count = 0;
    for (size_t i = 0; i < v->event_count; i++)
        add_event(out, v->events[i]);
    if (used_ms > out->used_ms)
        out->used_ms = used_ms;
}

size_t staff_list(struct staff *s, struct ulid after, size_t limit, struct staff_view *out)
{
    size_t count = 0;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->roll.count && count < limit; i++)
        if (memcmp(s->roll.at[i].view.id.b, after.b, sizeof after.b) > 0)
            copy_view(s, &s->roll.at[i].view, &out[count++]);
    pthread_mutex_unlock(&s->lock);
    return count;
}

/* --- changing ------------------------------------------------------------------------------------------ */

struct creating {
    const struct staff_view *view;
    uint8_t hash[ACCESS_HASH_SIZE];
};

static bool read_number(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = db_column_int(r, 0);
    return false;
}

static enum err write_event(struct db *tx, struct ulid id, struct ulid event)
{
    char text[ULID_TEXT_SIZE], at[ULID_TEXT_SIZE];

    return db_run(tx, "INSERT INTO api_token_events (token_id, event_id) VALUES (?,?) {or_keep:token_id}",
                  DB_VALUES(db_str(ulid_text(id, text)), db_str(ulid_text(event, at))), NULL);
}

static enum err write_member(void *ctx, struct db *tx)
{
    const struct creating *c = ctx;
    const struct staff_view *v = c->view;
    char id[ULID_TEXT_SIZE];
    int64_t count = 0;
    enum err e = db_read(tx, "SELECT COUNT(*) FROM api_tokens WHERE id <> ?",
                         DB_VALUES(db_str(ulid_text(v->id, id))), read_number, &count);

    if (e == ERR_OK && count >= STAFF_TOKENS_MAX)
        e = ERR_LIMIT;
    if (e == ERR_OK)
        e = db_run(
            tx,
            "INSERT INTO api_tokens (id, hash, name, role, every_event, created_at) VALUES (?,?,?,?,?,?)"
            " {or_keep:id}",
            DB_VALUES(db_str(id), db_blob(bytes_of(c->hash, sizeof c->hash)), db_str(v->name),
                      db_str(role_name(v->role)), db_int(v->every_event), db_int(v->created_ms)),
            NULL);
    for (size_t i = 0; i < v->event_count && e == ERR_OK; i++)
        e = write_event(tx, v->id, v->events[i]);
    return e;
}

enum err staff_create(struct staff *s, struct staff_view *view, char token[ACCESS_KEY_SIZE])
{
    struct creating c = {.view = view};
    enum err e;

    view->id = ulid_new();
    view->created_ms = clock_wall_ms();
    view->used_ms = 0;
    access_key_new(token);
    access_key_hash(bytes_text(token), c.hash);
    e = db_write_surely(s->db, write_member, &c);
    return e == ERR_OK ? look(s) : e;
}

struct owning {
    struct ulid id, event;
};

static enum err write_own(void *ctx, struct db *tx)
{
    const struct owning *o = ctx;

    return write_event(tx, o->id, o->event);
}

enum err staff_own(struct staff *s, struct ulid id, struct ulid event)
{
    struct owning o = {id, event};
    enum err e = db_write_surely(s->db, write_own, &o);

    return e == ERR_OK ? look(s) : e;
}

struct revoking {
    struct ulid id;
    int64_t count;
};

static enum err write_revoked(void *ctx, struct db *tx)
{
    struct revoking *r = ctx;
    char id[ULID_TEXT_SIZE];
    int64_t count = 0;
    enum err e =
        db_run(tx, "DELETE FROM api_tokens WHERE id = ?", DB_VALUES(db_str(ulid_text(r->id, id))), &count);

    r->count += count; /* the second time there is nothing left */
    return e != ERR_OK
               ? e
               : db_run(tx, "DELETE FROM api_token_events WHERE token_id = ?", DB_VALUES(db_str(id)), NULL);
}

enum err staff_revoke(struct staff *s, struct ulid id)
{
    struct revoking r = {id, 0};
    enum err e = db_write_surely(s->db, write_revoked, &r);

    if (e == ERR_OK)
        e = look(s);
    return e == ERR_OK && r.count == 0 ? ERR_MISSING : e;
}

/* --- when they were used ------------------------------------------------------------------------------- */

/* What is not written stays, and is tried again. */
static enum err write_used(struct staff *s)
{
    char id[ULID_TEXT_SIZE];
    struct map *used;
    struct bytes name;
    enum err e = ERR_OK;
    void *at;

    pthread_mutex_lock(&s->lock);
    used = s->used;
    s->used = map_new();
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; map_next(used, &i, &name, &at);) {
        struct ulid who;

        memcpy(who.b, name.at, sizeof who.b);
        if (e == ERR_OK)
            e = db_do(s->db, "UPDATE api_tokens SET used_at = ? WHERE id = ? AND used_at < ?",
                      DB_VALUES(db_int((int64_t)(intptr_t)at), db_str(ulid_text(who, id)),
                                db_int((int64_t)(intptr_t)at)),
                      NULL);
        if (e != ERR_OK) {
            pthread_mutex_lock(&s->lock);
            if (map_get(s->used, name) == NULL)
                (void)map_put(s->used, name, at);
            pthread_mutex_unlock(&s->lock);
        }
    }
    map_free(used);
    return e;
}

static enum err write_and_look(void *ctx)
{
    struct staff *s = ctx;
    enum err e = write_used(s);

    return e == ERR_OK ? look(s) : e;
}

/* --- the beginning and the end ------------------------------------------------------------------------- */

enum err staff_open(struct staff **out, struct db *d, char why[256])
{
    struct staff *s = mem_new(sizeof *s);
    enum err e;

    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->look_lock, NULL);
    s->db = d;
    s->used = map_new();
    s->lookout = (struct lookout){"staff", "API tokens", write_and_look, s};
    *out = s;
    if ((e = look(s)) == ERR_OK && (e = lookout_start(&s->lookout)) == ERR_OK)
        return ERR_OK;
    snprintf(why, 256, "the API tokens could not be read: %s", err_text(e));
    staff_close(s);
    *out = NULL;
    return e;
}

void staff_close(struct staff *s)
{
    if (s == NULL)
        return;
    if (lookout_stop(&s->lookout))
        (void)write_used(s);
    roll_free(&s->roll);
    map_free(s->used);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->look_lock);
    free(s);
}
