/* booking/rows.c - boards from and to SQL. */
#include "booking/booking_int.h"

#include "base/buffer.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct rows_of_db {
    struct rows rows;
    struct db *db;
};

static struct db *database(struct rows *r, void *tx)
{
    return tx != NULL ? tx : ((struct rows_of_db *)(void *)r)->db;
}

/* --- quantities as text ------------------------------------------------------------------------------ */

char *quantities_text(const struct inventory *i, const struct quantities *q)
{
    struct builder b = {0};
    char *text;

    for (size_t at = 0; at < q->count; at++)
        builder_printf(&b, "%s\t%lld\n", i->units[q->at[at].unit].key, (long long)q->at[at].quantity);
    text = mem_text(builder_bytes(&b).at, builder_bytes(&b).size);
    builder_drop(&b);
    return text;
}

bool quantities_parse(const struct inventory *i, const char *text, struct quantities *out)
{
    struct bytes left = bytes_text(text);
    size_t room = 0;

    *out = (struct quantities){NULL, 0};
    while (left.size > 0) {
        long tab = bytes_find(left, '\t'), line = bytes_find(left, '\n');
        uint64_t quantity = 0;
        uint32_t unit = UINT32_MAX;

        if (tab >= 0 && line > tab &&
            bytes_to_u64(bytes_of(left.at + tab + 1, (size_t)(line - tab - 1)), UNIT_CAPACITY_MAX, &quantity))
            unit = inventory_unit(i, bytes_head(left, (size_t)tab));
        if (unit == UINT32_MAX) {
            quantities_free(out);
            return false;
        }
        if (out->count == room) {
            room = room ? 2 * room : 4;
            out->at = mem_resize(out->at, room * sizeof *out->at);
        }
        out->at[out->count++] = (struct quantity){unit, (int64_t)quantity};
        left = bytes_from(left, (size_t)line + 1);
    }
    return true;
}

/* --- ids and states ---------------------------------------------------------------------------------- */

static const char *const reservation_states[] = {"held", "confirmed", "expired", "cancelled"};
static const char *const waiter_states[] = {"waiting", "offered", "left"};

const char *reservation_state_name(enum reservation_state s)
{
    return reservation_states[s];
}

bool reservation_state_parse(const char *name, enum reservation_state *out)
{
    for (int i = RESERVATION_HELD; i <= RESERVATION_CANCELLED; i++)
        if (strcmp(reservation_states[i], name) == 0) {
            *out = (enum reservation_state)i;
            return true;
        }
    return false;
}

const char *waiter_state_name(enum waiter_state s)
{
    return waiter_states[s];
}

static int named(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return 0;
}

static struct ulid id_of(const struct db_row *r, int at)
{
    struct ulid id;

    return ulid_parse(bytes_text(db_column_text(r, at)), &id) ? id : (struct ulid){{0}};
}

/* Texts of ids for the length of a statement. */
struct id_text {
    char text[ULID_TEXT_SIZE];
};

/* --- reading ----------------------------------------------------------------------------------------- */

#define RESERVATION_COLUMNS                                                                                  \
    "id, inventory_id, ikey, body, customer, state, expires_at, created_at, version, units, first_units"
#define WAITER_COLUMNS "id, inventory_id, customer, state, place, version, quantity, units, reservation_id"

struct reading {
    struct board *board;
    struct inventory *inventory;
    bool damaged;
    size_t wished; /* waiters that were wished for: those of the line may be among them */
    size_t line;   /* how many of the line there were, and the place of the last */
    int64_t line_end;
};

static bool read_reservation(void *ctx, const struct db_row *row)
{
    struct reading *g = ctx;
    struct board_reservation *r = board_add_reservation(g->board);
    struct bytes body = db_column_blob(row, 3);

    r->id = id_of(row, 0);
    r->inventory = g->inventory;
    r->idempotency_key = db_column_null(row, 2) ? NULL : mem_string(db_column_text(row, 2));
    memcpy(r->body, body.at, body.size < sizeof r->body ? body.size : sizeof r->body);
    r->customer = mem_string(db_column_text(row, 4));
    r->state = (enum reservation_state)named(reservation_states, 4, db_column_text(row, 5));
    r->expires_ms = db_column_int(row, 6);
    r->created_ms = db_column_int(row, 7);
    r->version = r->version_read = db_column_int(row, 8);
    if (!quantities_parse(g->inventory, db_column_text(row, 9), &r->units) ||
        !quantities_parse(g->inventory, db_column_text(row, db_column_null(row, 10) ? 9 : 10), &r->first))
        g->damaged = true;
    board_index(g->board, r);
    return true;
}

static bool read_waiter(void *ctx, const struct db_row *row)
{
    struct reading *g = ctx;
    struct ulid id = id_of(row, 0);
    struct board_waiter *w;

    g->line++;
    g->line_end = db_column_int(row, 4);
    for (size_t i = 0; i < g->wished; i++)
        if (ulid_equal(g->board->waiters[i]->id, id))
            return true;
    w = board_add_waiter(g->board);
    w->id = id;
    w->inventory = g->inventory;
    w->customer = mem_string(db_column_text(row, 2));
    w->state = (enum waiter_state)named(waiter_states, 3, db_column_text(row, 3));
    w->place = db_column_int(row, 4);
    w->version = w->version_read = db_column_int(row, 5);
    w->quantity = db_column_int(row, 6);
    g->damaged |= !quantities_parse(g->inventory, db_column_text(row, 7), &w->units);
    w->reservation = id_of(row, 8);
    return true;
}

/* A statement takes 1, 8, 64 or 512 keys, so that there are few texts; the last key fills up. */
static size_t places_for(size_t count)
{
    return count <= 1 ? 1 : count <= 8 ? 8 : count <= 64 ? 64 : 512;
}

#define PLACES_MAX 512

/* "HEAD (?,?,…)TAIL" over keys[0..count), with `first` (an inventory's id) before them unless it is NULL. */
static enum err read_among(struct db *d, const char *head, const char *tail, const char *first,
                           const struct db_value *keys, size_t count,
                           bool (*row)(void *ctx, const struct db_row *r), struct reading *g)
{
    size_t places = places_for(count), before = first != NULL;
    struct db_value *values = mem_new((places + before) * sizeof *values);
    struct builder sql = {0};
    enum err e;

    builder_printf(&sql, "%s (", head);
    for (size_t i = 0; i < places; i++)
        builder_text(&sql, i > 0 ? ",?" : "?");
    builder_printf(&sql, ")%s", tail);
    builder_u8(&sql, '\0');
    if (first != NULL)
        values[0] = db_str(first);
    for (size_t i = 0; i < places; i++)
        values[before + i] = keys[i < count ? i : count - 1];
    e = db_read(d, (const char *)builder_bytes(&sql).at, values, places + before, row, g);
    builder_drop(&sql);
    free(values);
    return e == ERR_OK && g->damaged ? ERR_BAD : e;
}

/* The same over any number. */
static enum err read_all_among(struct db *d, const char *head, const char *tail, const char *first,
                               const struct db_value *keys, size_t count,
                               bool (*row)(void *ctx, const struct db_row *r), struct reading *g)
{
    enum err e = ERR_OK;

    for (size_t at = 0; at < count && e == ERR_OK; at += PLACES_MAX)
        e = read_among(d, head, tail, first, keys + at, count - at < PLACES_MAX ? count - at : PLACES_MAX,
                       row, g);
    return e;
}

static int wish_order(const void *left, const void *right)
{
    const struct board_wish *a = left, *b = right;
    int order = (a->what > b->what) - (a->what < b->what);

    if (order == 0 && a->inventory != b->inventory)
        order = memcmp(a->inventory->id.b, b->inventory->id.b, sizeof a->inventory->id.b);
    return order != 0            ? order
           : a->what == WISH_KEY ? strcmp(a->key, b->key)
                                 : memcmp(a->id.b, b->id.b, sizeof a->id.b);
}

/* Wishes of one kind and inventory, [from, to). */
static enum err read_same(struct db *d, struct board *b, size_t from, size_t to, bool lock)
{
    static const char *const heads[] = {
        [WISH_RESERVATION] = "SELECT " RESERVATION_COLUMNS " FROM reservations WHERE id IN",
        [WISH_KEY] = "SELECT " RESERVATION_COLUMNS " FROM reservations WHERE inventory_id = ? AND ikey IN",
        [WISH_WAITER] = "SELECT " WAITER_COLUMNS " FROM waiters WHERE id IN",
    };
    const struct board_wish *w = &b->wishes[from];
    struct reading g = {.board = b, .inventory = w->inventory};
    struct db_value *keys = mem_new((to - from) * sizeof *keys);
    struct id_text *ids = mem_new((to - from) * sizeof *ids), inventory;
    size_t count = 0;
    enum err e;

    for (size_t i = from; i < to; i++) {
        if (i > from && wish_order(&b->wishes[i - 1], &b->wishes[i]) == 0)
            continue;
        keys[count] =
            db_str(w->what == WISH_KEY ? b->wishes[i].key : ulid_text(b->wishes[i].id, ids[count].text));
        count++;
    }
    ulid_text(w->inventory->id, inventory.text);
    /* Keys are not there yet, and of waiters their version is enough: they come last in the order of locks. */
    e = read_all_among(d, heads[w->what], lock && w->what == WISH_RESERVATION ? "{lock}" : "",
                       w->what == WISH_KEY ? inventory.text : NULL, keys, count,
                       w->what == WISH_WAITER ? read_waiter : read_reservation, &g);
    free(ids);
    free(keys);
    return e;
}

static enum err sql_read_wishes(struct rows *r, void *tx, struct board *b, bool lock)
{
    enum err e = ERR_OK;

    if (b->wish_count > 1)
        qsort(b->wishes, b->wish_count, sizeof *b->wishes, wish_order);
    for (size_t from = 0, to; from < b->wish_count && e == ERR_OK; from = to) {
        for (to = from + 1; to < b->wish_count && b->wishes[to].what == b->wishes[from].what &&
                            b->wishes[to].inventory == b->wishes[from].inventory;)
            to++;
        e = read_same(database(r, tx), b, from, to, lock);
    }
    return e;
}

static bool read_unit(void *ctx, const struct db_row *row)
{
    const struct reading *g = ctx;
    struct board_unit *u =
        board_unit(g->board, g->inventory, inventory_unit(g->inventory, db_column_blob(row, 0)));

    if (u == NULL)
        return true;
    u->held = db_column_int(row, 1);
    u->sold = db_column_int(row, 2);
    u->version = u->version_read = db_column_int(row, 3);
    u->read = true;
    return true;
}

/* The units of one inventory, [from, to). */
static enum err read_units_of(struct db *d, struct board *b, size_t from, size_t to, bool lock)
{
    struct inventory *i = b->units[from].inventory;
    struct reading g = {.board = b, .inventory = i};
    struct db_value *keys;
    char id[ULID_TEXT_SIZE];
    enum err e;

    ulid_text(i->id, id);
    if (to - from == i->unit_count && to - from > 1)
        return db_read(
            d,
            lock ? "SELECT ukey, held, sold, version FROM units WHERE inventory_id = ? ORDER BY ukey{lock}"
                 : "SELECT ukey, held, sold, version FROM units WHERE inventory_id = ? ORDER BY ukey",
            DB_VALUES(db_str(id)), read_unit, &g);
    keys = mem_new((to - from) * sizeof *keys);
    for (size_t at = from; at < to; at++)
        keys[at - from] = db_str(i->units[b->units[at].unit].key);
    e = read_all_among(d, "SELECT ukey, held, sold, version FROM units WHERE inventory_id = ? AND ukey IN",
                       lock ? "{lock}" : "", id, keys, to - from, read_unit, &g);
    free(keys);
    return e;
}

static enum err sql_read_units(struct rows *r, void *tx, struct board *b, bool lock)
{
    enum err e = ERR_OK;

    for (size_t from = 0, to; from < b->unit_count && e == ERR_OK; from = to) {
        for (to = from + 1; to < b->unit_count && b->units[to].inventory == b->units[from].inventory;)
            to++;
        e = read_units_of(database(r, tx), b, from, to, lock);
    }
    for (size_t at = 0; at < b->unit_count && e == ERR_OK; at++)
        if (!b->units[at].read)
            e = ERR_BAD; /* rows that were never to go are gone */
    return e;
}

static bool read_number(void *ctx, const struct db_row *row)
{
    *(int64_t *)ctx = db_column_int(row, 0);
    return false;
}

/* How many wait after the last that was read. */
static enum err count_beyond(struct db *d, const char *inventory, struct board_inventory *on)
{
    return db_read(d,
                   "SELECT COUNT(*) FROM waiters WHERE inventory_id = ? AND state = 'waiting' AND place > ?",
                   DB_VALUES(db_str(inventory), db_int(on->line_end)), read_number, &on->beyond);
}

/* The last place: of each state apart, since the index has them so, and the line's past grows for ever. */
#define LAST_PLACE(state) "SELECT MAX(place) AS place FROM waiters WHERE inventory_id = ? AND state = " state
#define LAST_PLACES                                                                                          \
    "SELECT COALESCE(MAX(place), 0) FROM (" LAST_PLACE("'waiting'") " UNION ALL " LAST_PLACE(                \
        "'offered'") " UNION ALL " LAST_PLACE("'left'") ") AS places"

static enum err read_line(struct db *d, struct board *b, struct board_inventory *on)
{
    struct reading g = {.board = b, .inventory = on->inventory, .wished = b->waiter_count};
    int64_t most = on->whole_line ? INT64_MAX : LINE_READ_MAX;
    char id[ULID_TEXT_SIZE];
    enum err e;

    ulid_text(on->inventory->id, id);
    e = db_read(d, LAST_PLACES, DB_VALUES(db_str(id), db_str(id), db_str(id)), read_number, &on->last_place);
    if (e == ERR_OK && on->last_place > 0)
        e = db_read(d,
                    "SELECT " WAITER_COLUMNS " FROM waiters WHERE inventory_id = ? AND state = 'waiting'"
                    " ORDER BY place, id LIMIT ?",
                    DB_VALUES(db_str(id), db_int(most)), read_waiter, &g);
    on->line_cut = (int64_t)g.line == most;
    on->line_end = g.line_end;
    if (e == ERR_OK && on->line_cut)
        e = count_beyond(d, id, on);
    on->line_read = true;
    return e == ERR_OK && g.damaged ? ERR_BAD : e;
}

static enum err sql_read_inventories(struct rows *r, void *tx, struct board *b, bool lock)
{
    struct db *d = database(r, tx);
    enum err e = ERR_OK;

    for (size_t i = 0; i < b->inventory_count && e == ERR_OK; i++) {
        struct board_inventory *on = &b->inventories[i];
        char id[ULID_TEXT_SIZE];

        ulid_text(on->inventory->id, id);
        if (on->want_version)
            e = db_read(d,
                        lock ? "SELECT version FROM inventories WHERE id = ?{lock}"
                             : "SELECT version FROM inventories WHERE id = ?",
                        DB_VALUES(db_str(id)), read_number, &on->version);
        if (e == ERR_OK && on->want_line)
            e = read_line(d, b, on);
    }
    return e;
}

/* --- writing ----------------------------------------------------------------------------------------- */

/* Values for a statement that is run for many rows, and the texts they point to. */
struct sheet {
    struct db_value *values;
    char **texts;
    struct id_text *ids;
    size_t columns, rows, text_count, id_count;
};

static struct sheet sheet_new(size_t columns, size_t rows_max)
{
    return (struct sheet){
        .values = mem_new(columns * rows_max * sizeof(struct db_value)),
        .texts = mem_new(2 * rows_max * sizeof(char *)),
        .ids = mem_new(3 * rows_max * sizeof(struct id_text)),
        .columns = columns,
    };
}

static void sheet_free(struct sheet *s)
{
    for (size_t i = 0; i < s->text_count; i++)
        free(s->texts[i]);
    free(s->values);
    free(s->texts);
    free(s->ids);
}

static struct db_value sheet_id(struct sheet *s, struct ulid id)
{
    return db_str(ulid_text(id, s->ids[s->id_count++].text));
}

static struct db_value sheet_units(struct sheet *s, const struct inventory *i, const struct quantities *q)
{
    s->texts[s->text_count] = quantities_text(i, q);
    return db_str(s->texts[s->text_count++]);
}

static void sheet_row(struct sheet *s, const struct db_value *values)
{
    memcpy(s->values + s->rows++ * s->columns, values, s->columns * sizeof *values);
}

#define SHEET_ROW(s, ...) sheet_row(s, (const struct db_value[]){__VA_ARGS__})

/* Runs `sql` for every row; each must find its row, or somebody else was there first. */
static enum err sheet_run(struct sheet *s, struct db *d, const char *sql)
{
    int64_t changed = 0;
    enum err e = ERR_OK;

    if (s->rows > 0)
        e = db_run_rows(d, sql, s->values, s->columns, s->rows, &changed);
    if (e == ERR_OK && changed != (int64_t)s->rows)
        e = ERR_STALE;
    sheet_free(s);
    return e;
}

static enum err save_units(struct db *d, const struct board *b)
{
    struct sheet s = sheet_new(6, b->unit_count);

    for (size_t i = 0; i < b->unit_count; i++) {
        const struct board_unit *u = &b->units[i];

        if (u->version != u->version_read)
            SHEET_ROW(&s, db_int(u->held), db_int(u->sold), db_int(u->version),
                      sheet_id(&s, u->inventory->id), db_str(u->inventory->units[u->unit].key),
                      db_int(u->version_read));
    }
    return sheet_run(
        &s, d,
        "UPDATE units SET held = ?, sold = ?, version = ? WHERE inventory_id = ? AND ukey = ? AND version = ?");
}

static enum err add_reservations(struct db *d, const struct board *b)
{
    struct sheet s = sheet_new(11, b->reservation_count);

    for (size_t i = 0; i < b->reservation_count; i++) {
        const struct board_reservation *r = b->reservations[i];

        if (r->version_read != 0)
            continue;
        SHEET_ROW(&s, sheet_id(&s, r->id), sheet_id(&s, r->inventory->id),
                  r->idempotency_key != NULL ? db_str(r->idempotency_key) : db_null(),
                  db_blob(bytes_of(r->body, sizeof r->body)), db_str(r->customer),
                  db_str(reservation_states[r->state]), db_int(r->expires_ms), db_int(r->created_ms),
                  db_int(r->version), sheet_units(&s, r->inventory, &r->units),
                  r->version > 1 ? sheet_units(&s, r->inventory, &r->first) : db_null());
    }
    return sheet_run(&s, d,
                     "INSERT INTO reservations (" RESERVATION_COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?)");
}

static enum err change_reservations(struct db *d, const struct board *b)
{
    struct sheet s = sheet_new(6, b->reservation_count);

    for (size_t i = 0; i < b->reservation_count; i++) {
        const struct board_reservation *r = b->reservations[i];

        if (r->version_read == 0 || r->version == r->version_read)
            continue;
        SHEET_ROW(&s, db_str(reservation_states[r->state]), db_int(r->version),
                  sheet_units(&s, r->inventory, &r->units), sheet_units(&s, r->inventory, &r->first),
                  sheet_id(&s, r->id), db_int(r->version_read));
    }
    return sheet_run(
        &s, d,
        "UPDATE reservations SET state = ?, version = ?, units = ?, first_units = ? WHERE id = ? AND version = ?");
}

static enum err add_waiters(struct db *d, const struct board *b)
{
    struct sheet s = sheet_new(9, b->waiter_count);

    for (size_t i = 0; i < b->waiter_count; i++) {
        const struct board_waiter *w = b->waiters[i];

        if (w->version_read != 0)
            continue;
        SHEET_ROW(&s, sheet_id(&s, w->id), sheet_id(&s, w->inventory->id), db_str(w->customer),
                  db_str(waiter_states[w->state]), db_int(w->place), db_int(w->version), db_int(w->quantity),
                  sheet_units(&s, w->inventory, &w->units),
                  ulid_is_zero(w->reservation) ? db_null() : sheet_id(&s, w->reservation));
    }
    return sheet_run(&s, d, "INSERT INTO waiters (" WAITER_COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?)");
}

static enum err change_waiters(struct db *d, const struct board *b)
{
    struct sheet s = sheet_new(6, b->waiter_count);

    for (size_t i = 0; i < b->waiter_count; i++) {
        const struct board_waiter *w = b->waiters[i];

        if (w->version_read == 0 || w->version == w->version_read)
            continue;
        SHEET_ROW(&s, db_str(waiter_states[w->state]), db_int(w->version),
                  sheet_units(&s, w->inventory, &w->units),
                  ulid_is_zero(w->reservation) ? db_null() : sheet_id(&s, w->reservation),
                  sheet_id(&s, w->id), db_int(w->version_read));
    }
    return sheet_run(
        &s, d,
        "UPDATE waiters SET state = ?, version = ?, units = ?, reservation_id = ? WHERE id = ? AND version = ?");
}

static enum err sql_save(struct rows *r, void *tx, const struct board *b)
{
    static enum err (*const steps[])(struct db * d, const struct board *b) = {
        change_reservations, save_units, change_waiters, add_reservations, add_waiters};
    enum err e = ERR_OK;

    for (size_t i = 0; i < sizeof steps / sizeof *steps && e == ERR_OK; i++)
        e = steps[i](database(r, tx), b);
    return e;
}

struct writing {
    enum err (*work)(void *ctx, void *tx);
    void *ctx;
};

static enum err write_within(void *ctx, struct db *tx)
{
    const struct writing *w = ctx;

    return w->work(w->ctx, tx);
}

static enum err sql_write(struct rows *r, enum err (*work)(void *ctx, void *tx), void *ctx)
{
    struct writing w = {work, ctx};

    return db_write(database(r, NULL), write_within, &w);
}

/* --- looking ----------------------------------------------------------------------------------------- */

struct id_list {
    struct ulid *ids;
    size_t count;
};

static bool read_id(void *ctx, const struct db_row *row)
{
    struct id_list *l = ctx;

    l->ids[l->count++] = id_of(row, 0);
    return true;
}

static enum err sql_due(struct rows *r, void *tx, const struct inventory *i, int64_t now_ms, struct ulid *ids,
                        size_t room, size_t *count)
{
    struct id_list l = {ids, 0};
    char id[ULID_TEXT_SIZE];
    enum err e =
        db_read(database(r, tx),
                "SELECT id FROM reservations WHERE state = 'held' AND expires_at <= ? AND inventory_id = ?"
                " ORDER BY expires_at LIMIT ?",
                DB_VALUES(db_int(now_ms), db_str(ulid_text(i->id, id)), db_int((int64_t)room)), read_id, &l);

    *count = l.count;
    return e;
}

static enum err sql_due_inventories(struct rows *r, int64_t now_ms, struct ulid *ids, size_t room,
                                    size_t *count)
{
    struct id_list l = {ids, 0};
    enum err e = db_read(
        database(r, NULL),
        "SELECT DISTINCT inventory_id FROM reservations WHERE state = 'held' AND expires_at <= ? LIMIT ?",
        DB_VALUES(db_int(now_ms), db_int((int64_t)room)), read_id, &l);

    *count = l.count;
    return e;
}

/* --- inventories ------------------------------------------------------------------------------------- */

static const char *const inventory_kinds[] = {"units", "pool", "seats", "nights"};

const char *inventory_kind_name(enum inventory_kind k)
{
    return inventory_kinds[k];
}

static void set_changeable(struct inventory *i, const char *name, const char *locking, int64_t hold_ms)
{
    enum booking_locking l;

    if (booking_locking_parse(locking, &l))
        atomic_store(&i->locking, l);
    atomic_store(&i->hold_ms, hold_ms);
    pthread_mutex_lock(&i->lock);
    if (strcmp(i->name, name) != 0) {
        free(i->name);
        i->name = mem_string(name);
    }
    pthread_mutex_unlock(&i->lock);
}

static bool read_head(void *ctx, const struct db_row *row)
{
    struct inventory **out = ctx, *i = inventory_new(id_of(row, 0), db_column_text(row, 1),
                                                     (uint32_t)db_column_int(row, 8));

    set_changeable(i, db_column_text(row, 1), db_column_text(row, 2), db_column_int(row, 3));
    i->kind = (enum inventory_kind)named(inventory_kinds, 4, db_column_text(row, 4));
    i->rows = db_column_int(row, 5);
    i->per_row = db_column_int(row, 6);
    i->created_ms = db_column_int(row, 7);
    *out = i;
    return false;
}

struct filling {
    struct inventory *inventory;
    uint32_t at;
};

static bool read_whole_unit(void *ctx, const struct db_row *row)
{
    struct filling *f = ctx;
    struct unit *u;

    if (f->at == f->inventory->unit_count)
        return false;
    u = &f->inventory->units[f->at++];
    u->key = mem_string(db_column_text(row, 0));
    u->capacity = db_column_int(row, 1);
    u->held = db_column_int(row, 2);
    u->sold = db_column_int(row, 3);
    u->version = db_column_int(row, 4);
    return true;
}

static enum err sql_read_inventory(struct rows *r, struct ulid id, struct inventory **out)
{
    struct db *d = database(r, NULL);
    struct filling f = {NULL, 0};
    char text[ULID_TEXT_SIZE];
    enum err e;

    *out = NULL;
    ulid_text(id, text);
    e = db_read(
        d,
        "SELECT id, name, locking, hold_ms, kind, seat_rows, per_row, created_at, unit_count FROM inventories"
        " WHERE id = ?",
        DB_VALUES(db_str(text)), read_head, &f.inventory);
    if (e == ERR_OK && f.inventory == NULL)
        e = ERR_MISSING;
    if (e == ERR_OK)
        e = db_read(
            d, "SELECT ukey, capacity, held, sold, version FROM units WHERE inventory_id = ? ORDER BY ukey",
            DB_VALUES(db_str(text)), read_whole_unit, &f);
    if (e == ERR_OK && (f.at != f.inventory->unit_count || !inventory_draw(f.inventory)))
        e = ERR_BAD;
    if (e == ERR_OK)
        *out = f.inventory;
    else
        inventory_free(f.inventory);
    return e;
}

static bool read_changeable(void *ctx, const struct db_row *row)
{
    set_changeable(ctx, db_column_text(row, 0), db_column_text(row, 1), db_column_int(row, 2));
    return false;
}

static bool see_unit(void *ctx, const struct db_row *row)
{
    struct inventory *i = ctx;
    uint32_t unit = inventory_unit(i, db_column_blob(row, 0));

    if (unit != UINT32_MAX)
        inventory_saw(i, unit, db_column_int(row, 1), db_column_int(row, 2), db_column_int(row, 3));
    return true;
}

/* For followers: what another server has sold. All units are read only where anything is new. */
static enum err see_units(struct db *d, struct inventory *i, const char *id)
{
    int64_t sum = 0;
    enum err e = db_read(d, "SELECT SUM(version) FROM units WHERE inventory_id = ?", DB_VALUES(db_str(id)),
                         read_number, &sum);

    if (e != ERR_OK || sum <= inventory_seen(i))
        return e;
    return db_read(d, "SELECT ukey, held, sold, version FROM units WHERE inventory_id = ? ORDER BY ukey",
                   DB_VALUES(db_str(id)), see_unit, i);
}

static enum err sql_refresh(struct rows *r, struct inventory *i)
{
    struct db *d = database(r, NULL);
    char id[ULID_TEXT_SIZE];
    enum err e;

    e = db_read(d, "SELECT name, locking, hold_ms FROM inventories WHERE id = ?",
                DB_VALUES(db_str(ulid_text(i->id, id))), read_changeable, i);
    return e == ERR_OK && r->shared && inventory_followed(i) ? see_units(d, i, id) : e;
}

static bool read_due(void *ctx, const struct db_row *row)
{
    if (!db_column_null(row, 0))
        *(int64_t *)ctx = db_column_int(row, 0);
    return false;
}

static enum err sql_next_due(struct rows *r, int64_t *expires_ms)
{
    *expires_ms = INT64_MAX;
    return db_read(database(r, NULL), "SELECT MIN(expires_at) FROM reservations WHERE state = 'held'", NULL,
                   0, read_due, expires_ms);
}

static enum err sql_inventory_of(struct rows *r, bool waiter, struct ulid id, struct ulid *inventory)
{
    struct id_list l = {inventory, 0};
    char text[ULID_TEXT_SIZE];
    enum err e = db_read(database(r, NULL),
                         waiter ? "SELECT inventory_id FROM waiters WHERE id = ?"
                                : "SELECT inventory_id FROM reservations WHERE id = ?",
                         DB_VALUES(db_str(ulid_text(id, text))), read_id, &l);

    return e == ERR_OK && l.count == 0 ? ERR_MISSING : e;
}

static const struct rows_kind sql_kind = {
    .write = sql_write,
    .read_wishes = sql_read_wishes,
    .read_units = sql_read_units,
    .read_inventories = sql_read_inventories,
    .save = sql_save,
    .due = sql_due,
    .due_inventories = sql_due_inventories,
    .next_due = sql_next_due,
    .read_inventory = sql_read_inventory,
    .refresh = sql_refresh,
    .inventory_of = sql_inventory_of,
};

struct rows *rows_sql(struct db *d)
{
    struct rows_of_db *r = mem_new(sizeof *r);

    r->rows.kind = &sql_kind;
    r->rows.shared = db_shared(d);
    r->db = d;
    return &r->rows;
}
