/* booking/office.c - making inventories and looking at what is booked: what the box office's desk does while the engine sells. */
#include "booking/booking_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define NAME_CHARS_MAX 200

/* --- views ------------------------------------------------------------------------------------------- */

void inventory_view_free(struct inventory_view *v)
{
    free(v->name);
    v->name = NULL;
}

void reservation_view_free(struct reservation_view *v)
{
    for (size_t i = 0; i < v->unit_count; i++)
        free(v->units[i].key);
    free(v->units);
    free(v->customer);
    *v = (struct reservation_view){0};
}

/* --- checking a plan --------------------------------------------------------------------------------- */

static enum err bad(char why[256], const char *text)
{
    snprintf(why, 256, "%s", text);
    return ERR_BAD;
}

/* UTF-8 of 1 to `max` characters, none of them a control character. What comes from JSON is UTF-8. */
static bool plain_text(const char *text, size_t max)
{
    size_t count = 0;

    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
        count += ((unsigned char)*at & 0xc0) != 0x80;
    }
    return count >= 1 && count <= max;
}

static enum err check_common(const struct inventory_plan *p, char why[256])
{
    if (p->name == NULL || !plain_text(p->name, NAME_CHARS_MAX))
        return bad(why, "'name' wants 1 to 200 characters, without control characters");
    if (p->hold_seconds < 1 || p->hold_seconds > HOLD_SECONDS_MAX)
        return bad(why, "'holdSeconds' wants a whole number from 1 to 86400");
    return ERR_OK;
}

/* --- units of a plan --------------------------------------------------------------------------------- */

struct planned {
    char *key;
    int64_t capacity;
};

struct units {
    struct planned *at;
    size_t count;
};

static void units_free(struct units *u)
{
    for (size_t i = 0; i < u->count; i++)
        free(u->at[i].key);
    free(u->at);
}

static void units_add(struct units *u, const char *key, int64_t capacity)
{
    u->at[u->count++] = (struct planned){mem_string(key), capacity};
}

static enum err units_listed(const struct inventory_plan *p, struct units *u, char why[256])
{
    if (p->unit_count < 1 || p->unit_count > INVENTORY_UNITS_MAX)
        return bad(why, "'units' wants 1 to 100000 of them");
    u->at = mem_new(p->unit_count * sizeof *u->at);
    for (size_t i = 0; i < p->unit_count; i++) {
        if (!plain_text(p->units[i].key, UNIT_KEY_CHARS_MAX))
            return bad(why, "'key' wants 1 to 64 characters, without control characters");
        if (p->units[i].capacity < 1 || p->units[i].capacity > UNIT_CAPACITY_MAX)
            return bad(why, "'capacity' wants a whole number from 1 to 1000000000");
        units_add(u, p->units[i].key, p->units[i].capacity);
    }
    return ERR_OK;
}

static enum err units_pool(const struct inventory_plan *p, struct units *u, char why[256])
{
    if (p->pool < 1 || p->pool > UNIT_CAPACITY_MAX)
        return bad(why, "'pool' wants a whole number from 1 to 1000000000");
    u->at = mem_new(sizeof *u->at);
    units_add(u, "pool", p->pool);
    return ERR_OK;
}

static enum err units_seats(const struct inventory_plan *p, struct units *u, char why[256])
{
    char key[SEAT_KEY_SIZE];

    if (p->rows < 1 || p->per_row < 1 || p->rows > INVENTORY_UNITS_MAX || p->per_row > INVENTORY_UNITS_MAX ||
        p->rows * p->per_row > INVENTORY_UNITS_MAX)
        return bad(why, "'seats' wants rows and perRow of at least 1, and at most 100000 seats in all");
    u->at = mem_new((size_t)(p->rows * p->per_row) * sizeof *u->at);
    for (int64_t row = 0; row < p->rows; row++)
        for (int64_t place = 0; place < p->per_row; place++) {
            seat_key(key, row, place);
            units_add(u, key, 1);
        }
    return ERR_OK;
}

static enum err units_nights(const struct inventory_plan *p, struct units *u, char why[256])
{
    int64_t from, to;
    char night[NIGHT_SIZE];

    if (p->from == NULL || p->to == NULL || !night_parse(p->from, &from) || !night_parse(p->to, &to))
        return bad(why, "'nights' wants from and to as dates like 2026-12-24");
    if (from >= to || to - from > INVENTORY_UNITS_MAX)
        return bad(why, "'nights' wants from before to, the morning of leaving");
    if (p->rooms < 1 || p->rooms > UNIT_CAPACITY_MAX)
        return bad(why, "'rooms' wants a whole number from 1 to 1000000000");
    u->at = mem_new((size_t)(to - from) * sizeof *u->at);
    for (int64_t day = from; day < to; day++) {
        night_text(night, day);
        units_add(u, night, p->rooms);
    }
    return ERR_OK;
}

static int by_key(const void *left, const void *right)
{
    return strcmp(((const struct planned *)left)->key, ((const struct planned *)right)->key);
}

static enum err plan_units(const struct inventory_plan *p, struct units *u, char why[256])
{
    static enum err (*const kinds[])(const struct inventory_plan *p, struct units *u, char why[256]) = {
        [INVENTORY_UNITS] = units_listed,
        [INVENTORY_POOL] = units_pool,
        [INVENTORY_SEATS] = units_seats,
        [INVENTORY_NIGHTS] = units_nights,
    };
    enum err e = kinds[p->kind](p, u, why);

    if (e != ERR_OK)
        return e;
    qsort(u->at, u->count, sizeof *u->at, by_key);
    for (size_t i = 1; i < u->count; i++)
        if (strcmp(u->at[i].key, u->at[i - 1].key) == 0) {
            snprintf(why, 256, "the unit key \"%.100s\" is there twice", u->at[i].key);
            return ERR_BAD;
        }
    return ERR_OK;
}

/* --- making and changing ----------------------------------------------------------------------------- */

struct making {
    const struct inventory_plan *plan;
    const struct units *units;
    char id[ULID_TEXT_SIZE];
    int64_t now_ms;
};

static enum err write_inventory(void *ctx, struct db *tx)
{
    const struct making *m = ctx;
    bool seats = m->plan->kind == INVENTORY_SEATS;
    struct db_value *values = mem_new(m->units->count * 3 * sizeof *values);
    enum err e =
        db_run(tx,
               "INSERT INTO inventories (id, name, locking, hold_ms, kind, seat_rows, per_row, unit_count,"
               " created_at, version) VALUES (?,?,?,?,?,?,?,?,?,1) {or_keep:id}",
               DB_VALUES(db_str(m->id), db_str(m->plan->name), db_str(booking_locking_name(m->plan->locking)),
                         db_int(m->plan->hold_seconds * 1000), db_str(inventory_kind_name(m->plan->kind)),
                         db_int(seats ? m->plan->rows : 0), db_int(seats ? m->plan->per_row : 0),
                         db_int((int64_t)m->units->count), db_int(m->now_ms)),
               NULL);

    for (size_t i = 0; i < m->units->count; i++) {
        values[3 * i] = db_str(m->id);
        values[3 * i + 1] = db_str(m->units->at[i].key);
        values[3 * i + 2] = db_int(m->units->at[i].capacity);
    }
    if (e == ERR_OK)
        e = db_run_rows(
            tx,
            "INSERT INTO units (inventory_id, ukey, capacity, held, sold, version) VALUES (?,?,?,0,0,1)"
            " {or_keep:inventory_id}",
            values, 3, m->units->count, NULL);
    free(values);
    return e;
}

enum err booking_create(struct booking *b, const struct inventory_plan *plan, struct inventory_view *out,
                        char why[256])
{
    struct units units = {NULL, 0};
    struct making m = {plan, &units, "", clock_wall_ms()};
    struct ulid id = ulid_new();
    enum err e;

    *out = (struct inventory_view){0};
    why[0] = '\0';
    if ((e = check_common(plan, why)) != ERR_OK || (e = plan_units(plan, &units, why)) != ERR_OK)
        goto out;
    ulid_text(id, m.id);
    if ((e = db_write_surely(b->db, write_inventory, &m)) == ERR_OK)
        e = booking_inventory(b, id, out);
out:
    units_free(&units);
    return e;
}

enum err booking_change(struct booking *b, struct ulid id, const char *name, enum booking_locking locking,
                        int64_t hold_seconds, struct inventory_view *out, char why[256])
{
    char text[ULID_TEXT_SIZE];
    struct inventory *i;
    int64_t changed = 0;
    enum err e;

    *out = (struct inventory_view){0};
    if (name != NULL && !plain_text(name, NAME_CHARS_MAX))
        return bad(why, "'name' wants 1 to 200 characters, without control characters");
    if (hold_seconds < 0 || hold_seconds > HOLD_SECONDS_MAX)
        return bad(why, "'holdSeconds' wants a whole number from 1 to 86400");
    if ((e = inventory_find(b, id, &i)) != ERR_OK)
        return e;
    e = db_do(b->db,
              "UPDATE inventories SET name = COALESCE(?, name), locking = COALESCE(?, locking),"
              " hold_ms = COALESCE(?, hold_ms), version = version + 1 WHERE id = ?",
              DB_VALUES(name != NULL ? db_str(name) : db_null(),
                        locking != LOCKING_COUNT ? db_str(booking_locking_name(locking)) : db_null(),
                        hold_seconds > 0 ? db_int(hold_seconds * 1000) : db_null(),
                        db_str(ulid_text(id, text))),
              &changed);
    if (e == ERR_OK && changed == 0)
        e = ERR_MISSING;
    if (e == ERR_OK)
        e = b->rows->kind->refresh(b->rows, i);
    return e == ERR_OK ? booking_inventory(b, id, out) : e;
}

/* --- looking ----------------------------------------------------------------------------------------- */

#define INVENTORY_SUMS                                                                                       \
    "SELECT i.id, i.name, i.locking, i.hold_ms, i.kind, i.seat_rows, i.per_row, i.created_at, i.unit_count," \
    " SUM(u.capacity), SUM(u.held), SUM(u.sold), i.version + SUM(u.version)"                                 \
    " FROM inventories i JOIN units u ON u.inventory_id = i.id"

struct views {
    struct inventory_view *at;
    size_t count;
};

static bool read_view(void *ctx, const struct db_row *row)
{
    struct views *views = ctx;
    struct inventory_view *v = &views->at[views->count++];

    *v = (struct inventory_view){.name = mem_string(db_column_text(row, 1)), .locking = LOCKING_ADAPTIVE};
    if (!ulid_parse(bytes_text(db_column_text(row, 0)), &v->id))
        v->id = (struct ulid){{0}};
    if (!booking_locking_parse(db_column_text(row, 2), &v->locking))
        v->locking = LOCKING_ADAPTIVE;
    v->hold_seconds = db_column_int(row, 3) / 1000;
    for (int kind = INVENTORY_UNITS; kind <= INVENTORY_NIGHTS; kind++)
        if (strcmp(inventory_kind_name((enum inventory_kind)kind), db_column_text(row, 4)) == 0)
            v->kind = (enum inventory_kind)kind;
    v->rows = db_column_int(row, 5);
    v->per_row = db_column_int(row, 6);
    v->created_ms = db_column_int(row, 7);
    v->unit_count = db_column_int(row, 8);
    v->capacity = db_column_int(row, 9);
    v->held = db_column_int(row, 10);
    v->sold = db_column_int(row, 11);
    v->version = db_column_int(row, 12);
    return true;
}

enum err booking_inventory(struct booking *b, struct ulid id, struct inventory_view *out)
{
    struct views views = {out, 0};
    char text[ULID_TEXT_SIZE];
    struct inventory *i;
    enum err e = inventory_find(b, id, &i);

    *out = (struct inventory_view){0};
    if (e == ERR_OK)
        e = expiry_sweep(b, i);
    if (e == ERR_OK)
        e = db_read(b->db, INVENTORY_SUMS " WHERE i.id = ? GROUP BY i.id",
                    DB_VALUES(db_str(ulid_text(id, text))), read_view, &views);
    return e == ERR_OK && views.count == 0 ? ERR_MISSING : e;
}

enum err booking_inventories(struct booking *b, struct ulid after, size_t limit, struct inventory_view *out,
                             size_t *count)
{
    static const char last[] = "~"; /* after every id */
    struct views views = {out, 0};
    char text[ULID_TEXT_SIZE];
    enum err e = expiry_sweep_all(b);

    ulid_text(after, text);
    if (e == ERR_OK)
        e = db_read(b->db, INVENTORY_SUMS " WHERE i.id < ? GROUP BY i.id ORDER BY i.id DESC LIMIT ?",
                    DB_VALUES(db_str(ulid_is_zero(after) ? last : text), db_int((int64_t)limit)), read_view,
                    &views);
    *count = views.count;
    return e;
}

struct unit_list {
    struct unit_view *at;
    size_t count;
};

static bool read_unit_view(void *ctx, const struct db_row *row)
{
    struct unit_list *l = ctx;
    struct unit_view *v = &l->at[l->count++];

    snprintf(v->key, sizeof v->key, "%s", db_column_text(row, 0));
    v->capacity = db_column_int(row, 1);
    v->held = db_column_int(row, 2);
    v->sold = db_column_int(row, 3);
    v->version = db_column_int(row, 4);
    return true;
}

enum err booking_units(struct booking *b, struct ulid inventory, const char *after, size_t limit,
                       struct unit_view *out, size_t *count)
{
    struct unit_list l = {out, 0};
    char text[ULID_TEXT_SIZE];
    struct inventory *i;
    enum err e = inventory_find(b, inventory, &i);

    if (e == ERR_OK)
        e = expiry_sweep(b, i);
    if (e == ERR_OK)
        e = db_read(
            b->db,
            "SELECT ukey, capacity, held, sold, version FROM units WHERE inventory_id = ? AND ukey > ?"
            " ORDER BY ukey LIMIT ?",
            DB_VALUES(db_str(ulid_text(inventory, text)), db_str(after), db_int((int64_t)limit)),
            read_unit_view, &l);
    *count = l.count;
    return e;
}

/* Reads one reservation or waiter through a board, so that there is one way to read a row. */
static enum err look(struct booking *b, struct ulid id, bool waiter, struct inventory **i,
                     struct board *board)
{
    struct ulid inventory;
    enum err e = b->rows->kind->inventory_of(b->rows, waiter, id, &inventory);

    if (e == ERR_OK)
        e = inventory_find(b, inventory, i);
    if (e != ERR_OK)
        return e;
    board_wish(board, (struct board_wish){waiter ? WISH_WAITER : WISH_RESERVATION, *i, id, NULL});
    return b->rows->kind->read_wishes(b->rows, NULL, board, false);
}

/* True where the reservation is held past its time: then it has been expired, and is to be read again. */
static enum err look_at_reservation(struct booking *b, struct ulid id, struct booking_call *answer,
                                    bool *again)
{
    struct board_reservation *r;
    struct inventory *i;
    struct board board;
    enum err e;

    board_init(&board);
    *again = false;
    if ((e = look(b, id, false, &i, &board)) == ERR_OK && (r = board_reservation(&board, id)) == NULL)
        e = ERR_MISSING;
    if (e == ERR_OK && r->state == RESERVATION_HELD && r->expires_ms <= booking_now_ms(b)) {
        *again = true;
        e = expiry_sweep(b, i);
    } else if (e == ERR_OK) {
        answer_reservation(answer, r, false);
    }
    board_free(&board);
    return e;
}

enum err booking_reservation(struct booking *b, struct ulid id, struct reservation_view *out)
{
    struct booking_call answer = {0};
    bool again = true;
    enum err e = ERR_OK;

    while (again && e == ERR_OK)
        e = look_at_reservation(b, id, &answer, &again);
    *out = answer.reservation;
    return e;
}

static bool read_count(void *ctx, const struct db_row *row)
{
    *(int64_t *)ctx = db_column_int(row, 0);
    return false;
}

/* Counts those before `w`, however many there are. */
static enum err look_at_position(struct booking *b, const struct board_waiter *w, struct waiter_view *out)
{
    char id[ULID_TEXT_SIZE], inventory[ULID_TEXT_SIZE];
    int64_t before = 0;
    enum err e = db_read(b->db,
                         "SELECT COUNT(*) FROM waiters WHERE inventory_id = ? AND state = 'waiting'"
                         " AND (place < ? OR (place = ? AND id < ?))",
                         DB_VALUES(db_str(ulid_text(w->inventory->id, inventory)), db_int(w->place),
                                   db_int(w->place), db_str(ulid_text(w->id, id))),
                         read_count, &before);

    out->position = before + 1;
    return e;
}

enum err booking_waiter(struct booking *b, struct ulid id, struct waiter_view *out)
{
    struct booking_call answer = {0};
    struct inventory *i;
    struct board board;
    enum err e;

    board_init(&board);
    if ((e = look(b, id, true, &i, &board)) == ERR_OK) {
        const struct board_waiter *w = board_waiter(&board, id);

        if (w != NULL)
            answer_waiter(&answer, &board, w);
        else
            e = ERR_MISSING;
        if (e == ERR_OK && w->state == WAITER_WAITING)
            e = look_at_position(b, w, &answer.waiter);
    }
    board_free(&board);
    *out = answer.waiter;
    return e;
}
