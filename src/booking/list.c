/* booking/list.c - the reservations of an inventory, page by page, for who works at the desk. */
#include "booking/booking_int.h"

#include "base/mem.h"

struct listing {
    struct inventory *inventory;
    int64_t now_ms;
    struct reservation_view *at;
    size_t count;
    bool damaged;
};

static enum reservation_state state_of(const char *name)
{
    enum reservation_state s = RESERVATION_CANCELLED;

    (void)reservation_state_parse(name, &s);
    return s;
}

static bool read_one(void *ctx, const struct db_row *row)
{
    struct listing *l = ctx;
    struct reservation_view *v = &l->at[l->count++];
    struct quantities units;

    *v = (struct reservation_view){.inventory = l->inventory->id,
                                   .customer = mem_string(db_column_text(row, 1)),
                                   .state = state_of(db_column_text(row, 2)),
                                   .expires_ms = db_column_int(row, 3),
                                   .created_ms = db_column_int(row, 4),
                                   .version = db_column_int(row, 5)};
    if (v->state == RESERVATION_HELD && v->expires_ms <= l->now_ms)
        v->state = RESERVATION_EXPIRED; /* since the sweep, a moment ago */
    if (!ulid_parse(bytes_text(db_column_text(row, 0)), &v->id) ||
        !quantities_parse(l->inventory, db_column_text(row, 6), &units)) {
        l->damaged = true;
        return false;
    }
    show_units(v, l->inventory, &units);
    quantities_free(&units);
    return true;
}

static enum err read_page(struct booking *b, const struct reservation_filter *f, struct ulid after,
                          size_t limit, struct listing *l)
{
    static const char last[] = "~"; /* after every id */
    const char *state = f->any_state ? "" : reservation_state_name(f->state);
    const char *customer = f->customer != NULL ? f->customer : "";
    char inventory[ULID_TEXT_SIZE], text[ULID_TEXT_SIZE];

    ulid_text(after, text);
    return db_read(b->db,
                   "SELECT id, customer, state, expires_at, created_at, version, units FROM reservations"
                   " WHERE inventory_id = ? AND id < ? AND (? = '' OR state = ?)"
                   " AND (? = '' OR INSTR(LOWER(customer), LOWER(?)) > 0) ORDER BY id DESC LIMIT ?",
                   DB_VALUES(db_str(ulid_text(l->inventory->id, inventory)),
                             db_str(ulid_is_zero(after) ? last : text), db_str(state), db_str(state),
                             db_str(customer), db_str(customer), db_int((int64_t)limit)),
                   read_one, l);
}

enum err booking_reservations(struct booking *b, struct ulid inventory, const struct reservation_filter *f,
                              struct ulid after, size_t limit, struct reservation_view *out, size_t *count)
{
    struct listing l = {.at = out};
    enum err e = inventory_find(b, inventory, &l.inventory);

    if (e == ERR_OK)
        e = expiry_sweep(b, l.inventory);
    l.now_ms = booking_now_ms(b);
    if (e == ERR_OK)
        e = read_page(b, f, after, limit, &l);
    *count = l.count;
    return e == ERR_OK && l.damaged ? ERR_BAD : e;
}
