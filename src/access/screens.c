/* access/screens.c - one ticket, one screen: who watches with a pass, counted in the database. */
#include "access/access_int.h"

#include "base/clock.h"

#include <stdio.h>

enum err pass_lock(struct db *tx, struct ulid pass, struct ulid reservation)
{
    char id[ULID_TEXT_SIZE], of[ULID_TEXT_SIZE];

    /* The row that is there already is written, too, and so locked. */
    return db_run(
        tx, "INSERT INTO ticket_passes (id, reservation_id, name, made_at) VALUES (?,?,'',?) {or_keep:id}",
        DB_VALUES(db_str(ulid_text(pass, id)), db_str(ulid_text(reservation, of)), db_int(clock_wall_ms())),
        NULL);
}

struct screen {
    struct ulid session;
    int64_t seen_ms;
};

/* Somebody wants a place. */
struct taking {
    struct ulid pass, session; /* zero: a new screen */
    struct screen_rule rule;
    int64_t asked_ms, now_ms; /* now: when nobody else's turn is any more */
    enum screen_answer answer;
    /* Those who have one, in the order in which they came: */
    struct screen screens[SCREENS_MAX];
    size_t count;
    /* And those of them who lose theirs: */
    struct ulid ended[SCREENS_MAX];
    size_t ended_count;
};

static bool read_screen(void *ctx, const struct db_row *r)
{
    struct taking *t = ctx;
    struct screen *s = &t->screens[t->count];

    if (!ulid_parse(bytes_text(db_column_text(r, 0)), &s->session))
        return true;
    s->seen_ms = db_column_int(r, 1);
    return ++t->count < SCREENS_MAX;
}

static enum err read_screens(struct taking *t, struct db *tx)
{
    char id[ULID_TEXT_SIZE];

    t->count = t->ended_count = 0; /* the transaction may be tried again */
    return db_read(
        tx, "SELECT session_id, seen_at FROM ticket_screens WHERE pass_id = ? ORDER BY since, session_id",
        DB_VALUES(db_str(ulid_text(t->pass, id))), read_screen, t);
}

static bool has_place(const struct taking *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (ulid_equal(t->screens[i].session, t->session))
            return true;
    return false;
}

/* The screen leaves, and the others move up. */
static void end_screen(struct taking *t, size_t at)
{
    t->ended[t->ended_count++] = t->screens[at].session;
    t->count--;
    memmove(t->screens + at, t->screens + at + 1, (t->count - at) * sizeof *t->screens);
}

static void end_gone(struct taking *t)
{
    for (size_t i = t->count; i > 0; i--)
        if (t->screens[i - 1].seen_ms <= t->now_ms - SCREEN_HOLD_SECONDS * 1000LL)
            end_screen(t, i - 1);
}

/* Whether one more may come; others may have to leave for it. */
static bool make_room(struct taking *t)
{
    bool is_new = ulid_is_zero(t->session);

    end_gone(t);
    if (t->rule.count == 0 || t->count < t->rule.count)
        return true;
    if (t->rule.refuse || !is_new) {
        t->answer = t->rule.refuse ? SCREEN_FULL : SCREEN_TAKEN_OVER;
        return false;
    }
    while (t->count >= t->rule.count)
        end_screen(t, 0);
    return true;
}

static enum err write_ended(const struct taking *t, struct db *tx)
{
    char pass[ULID_TEXT_SIZE], session[ULID_TEXT_SIZE];
    enum err e = ERR_OK;

    ulid_text(t->pass, pass);
    for (size_t i = 0; i < t->ended_count && e == ERR_OK; i++) {
        e = db_run(tx, "DELETE FROM ticket_screens WHERE pass_id = ? AND session_id = ?",
                   DB_VALUES(db_str(pass), db_str(ulid_text(t->ended[i], session))), NULL);
        if (e == ERR_OK)
            e = revocation_write(tx, t->ended[i], t->now_ms);
    }
    return e;
}

static enum err write_new(struct taking *t, struct db *tx)
{
    char pass[ULID_TEXT_SIZE], session[ULID_TEXT_SIZE];

    t->session = ulid_secret();
    return db_run(tx, "INSERT INTO ticket_screens (pass_id, session_id, since, seen_at) VALUES (?,?,?,?)",
                  DB_VALUES(db_str(ulid_text(t->pass, pass)), db_str(ulid_text(t->session, session)),
                            db_int(t->asked_ms), db_int(t->asked_ms)),
                  NULL);
}

static enum err write_seen(const struct taking *t, struct db *tx)
{
    char pass[ULID_TEXT_SIZE], session[ULID_TEXT_SIZE];

    return db_run(
        tx, "UPDATE ticket_screens SET seen_at = ? WHERE pass_id = ? AND session_id = ? AND seen_at < ?",
        DB_VALUES(db_int(t->asked_ms), db_str(ulid_text(t->pass, pass)),
                  db_str(ulid_text(t->session, session)), db_int(t->asked_ms)),
        NULL);
}

static enum err take(void *ctx, struct db *tx)
{
    struct taking *wanted = ctx, t = *wanted;
    enum err e = pass_lock(tx, t.pass, t.pass);

    if (e == ERR_OK)
        e = read_screens(&t, tx);
    if (e != ERR_OK)
        return e;
    t.answer = SCREEN_GIVEN;
    t.now_ms = clock_wall_ms();
    if (has_place(&t))
        e = write_seen(&t, tx);
    else if (make_room(&t) && (e = write_ended(&t, tx)) == ERR_OK)
        e = write_new(&t, tx);
    *wanted = t;
    return e;
}

enum err tickets_screen(struct tickets *t, struct ulid pass, struct screen_rule rule, int64_t asked_ms,
                        struct ulid *session, enum screen_answer *out)
{
    struct taking wanted = {.pass = pass, .session = *session, .rule = rule, .asked_ms = asked_ms};
    enum err e = db_write(tickets_db(t), take, &wanted);

    if (e != ERR_OK)
        return e;
    *out = wanted.answer;
    if (*out == SCREEN_GIVEN) {
        *session = wanted.session;
        for (size_t i = 0; i < wanted.ended_count; i++)
            revocation_note(t, wanted.ended[i], wanted.now_ms);
    }
    return ERR_OK;
}

/* --- leaving ------------------------------------------------------------------------------------------- */

struct leaving {
    const struct ticket *ticket;
    int64_t count, at_ms;
};

static enum err leave(void *ctx, struct db *tx)
{
    struct leaving *l = ctx;
    char pass[ULID_TEXT_SIZE], session[ULID_TEXT_SIZE];
    enum err e = pass_lock(tx, l->ticket->pass, l->ticket->pass);

    ulid_text(l->ticket->pass, pass);
    ulid_text(l->ticket->session, session);
    l->at_ms = clock_wall_ms();
    if (e == ERR_OK)
        e = db_run(tx, "DELETE FROM ticket_screens WHERE pass_id = ? AND session_id = ? AND seen_at < ?",
                   DB_VALUES(db_str(pass), db_str(session), db_int((l->ticket->issued_s + 1) * 1000)),
                   &l->count);
    return e == ERR_OK && l->count > 0 ? revocation_write(tx, l->ticket->session, l->at_ms) : e;
}

enum err tickets_leave(struct tickets *t, const struct ticket *ticket)
{
    struct leaving l = {.ticket = ticket};
    enum err e = db_write(tickets_db(t), leave, &l);

    if (e == ERR_OK && l.count > 0)
        revocation_note(t, ticket->session, l.at_ms);
    return e;
}
