/* access/links.c - links that the buyer of a group ticket gives away, each by a name: passes of their own, which end with the
 * reservation. Who has one sees nothing of the reservation, and cannot give it back. */
#include "access/access_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct listing {
    struct ticket_link *links;
    size_t count;
};

static bool read_link(void *ctx, const struct db_row *r)
{
    struct listing *l = ctx;
    struct ticket_link *link = &l->links[l->count];

    if (!ulid_parse(bytes_text(db_column_text(r, 0)), &link->id) ||
        !ulid_parse(bytes_text(db_column_text(r, 1)), &link->reservation))
        return true;
    snprintf(link->name, sizeof link->name, "%s", db_column_text(r, 2));
    link->made_ms = db_column_int(r, 3);
    return ++l->count < LINKS_MAX;
}

#define COLUMNS "SELECT id, reservation_id, name, made_at FROM ticket_passes"

/* A reservation is a pass of its own, which is no link. */
static enum err read_links(struct db *d, struct ulid reservation, struct ticket_link out[LINKS_MAX],
                           size_t *count)
{
    struct listing l = {out, 0};
    char id[ULID_TEXT_SIZE];
    enum err e = db_read(d, COLUMNS " WHERE reservation_id = ? AND id <> ? ORDER BY made_at",
                         DB_VALUES(db_str(ulid_text(reservation, id)), db_str(id)), read_link, &l);

    *count = l.count;
    return e;
}

enum err tickets_links(struct tickets *t, struct ulid reservation, struct ticket_link out[LINKS_MAX],
                       size_t *count)
{
    return read_links(tickets_db(t), reservation, out, count);
}

/* --- giving one away ----------------------------------------------------------------------------------- */

struct giving {
    struct ticket_link *link;
    size_t most;
};

static bool read_number(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = db_column_int(r, 0);
    return false;
}

/* The other links that were given away. */
struct others {
    int64_t count, newest_ms;
};

static bool read_others(void *ctx, const struct db_row *r)
{
    *(struct others *)ctx = (struct others){db_column_int(r, 0), db_column_int(r, 1)};
    return false;
}

/* Each is newer than those before it, whatever the clock says: the oldest stay where a booking becomes smaller. */
static enum err write_link(void *ctx, struct db *tx)
{
    const struct giving *g = ctx;
    char id[ULID_TEXT_SIZE], of[ULID_TEXT_SIZE];
    struct others others = {0};
    enum err e = pass_lock(tx, g->link->reservation, g->link->reservation);

    ulid_text(g->link->reservation, of);
    ulid_text(g->link->id, id);
    if (e == ERR_OK)
        e = db_read(tx,
                    "SELECT COUNT(*), COALESCE(MAX(made_at), 0) FROM ticket_passes"
                    " WHERE reservation_id = ? AND id <> ? AND id <> ?",
                    DB_VALUES(db_str(of), db_str(of), db_str(id)), read_others, &others);
    if (e == ERR_OK && (size_t)others.count >= g->most)
        e = ERR_LIMIT;
    if (g->link->made_ms <= others.newest_ms)
        g->link->made_ms = others.newest_ms + 1;
    if (e == ERR_OK)
        e = db_run(
            tx, "INSERT INTO ticket_passes (id, reservation_id, name, made_at) VALUES (?,?,?,?) {or_keep:id}",
            DB_VALUES(db_str(id), db_str(of), db_str(g->link->name), db_int(g->link->made_ms)), NULL);
    return e;
}

enum err tickets_link(struct tickets *t, struct ulid reservation, const char *name, size_t most,
                      struct ticket_link *out)
{
    struct giving g = {out, most < LINKS_MAX ? most : LINKS_MAX};

    *out = (struct ticket_link){.id = ulid_secret(), .reservation = reservation, .made_ms = clock_wall_ms()};
    snprintf(out->name, sizeof out->name, "%s", name);
    return db_write_surely(tickets_db(t), write_link, &g);
}

/* --- finding one --------------------------------------------------------------------------------------- */

enum err tickets_link_get(struct tickets *t, struct ulid id, struct ticket_link *out, size_t *place)
{
    struct listing l = {out, 0};
    int64_t older = 0;
    char text[ULID_TEXT_SIZE], of[ULID_TEXT_SIZE];
    enum err e = db_read(tickets_db(t), COLUMNS " WHERE id = ? AND reservation_id <> id",
                         DB_VALUES(db_str(ulid_text(id, text))), read_link, &l);

    if (e != ERR_OK || l.count == 0)
        return e != ERR_OK ? e : ERR_MISSING;
    ulid_text(out->reservation, of);
    e = db_read(tickets_db(t),
                "SELECT COUNT(*) FROM ticket_passes WHERE reservation_id = ? AND id <> ?"
                " AND made_at < ?",
                DB_VALUES(db_str(of), db_str(of), db_int(out->made_ms)), read_number, &older);
    *place = (size_t)older;
    return e;
}

/* --- taking them back ---------------------------------------------------------------------------------- */

/* Its tokens first: a link without a row gets no fresh ones. */
static enum err forget_pass(struct tickets *t, struct ulid id)
{
    char text[ULID_TEXT_SIZE];
    enum err e = tickets_revoke(t, id);

    if (e == ERR_OK)
        e = db_do(tickets_db(t), "DELETE FROM ticket_passes WHERE id = ?",
                  DB_VALUES(db_str(ulid_text(id, text))), NULL);
    if (e == ERR_OK)
        e = db_do(tickets_db(t), "DELETE FROM ticket_screens WHERE pass_id = ?", DB_VALUES(db_str(text)),
                  NULL);
    return e;
}

enum err tickets_unlink(struct tickets *t, struct ulid reservation, struct ulid id)
{
    struct ticket_link link;
    size_t place;
    enum err e = tickets_link_get(t, id, &link, &place);

    if (e == ERR_OK && !ulid_equal(link.reservation, reservation))
        e = ERR_MISSING;
    return e == ERR_OK ? forget_pass(t, id) : e;
}

enum err tickets_revoke_all(struct tickets *t, struct ulid reservation)
{
    struct ticket_link *links = mem_new(LINKS_MAX * sizeof *links);
    size_t count = 0;
    enum err e = tickets_revoke(t, reservation);

    if (e == ERR_OK)
        e = tickets_links(t, reservation, links, &count);
    for (size_t i = 0; i < count && e == ERR_OK; i++)
        e = tickets_revoke(t, links[i].id);
    free(links);
    return e;
}
