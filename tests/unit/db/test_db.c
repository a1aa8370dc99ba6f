/* SQL behind its port: the same promises over both engines, and a few of one of them. */
#include "unit.h"

#include "base/limits.h"
#include "base/mem.h"
#include "db/db.h"
#include "folder.h"
#include "mariadb.h"

#include <pthread.h>

enum engine { SQLITE, MARIADB };

struct stage {
    enum engine engine;
    char *folder; /* SQLite's */
    char url[MARIADB_URL_SIZE];
    struct db *db;
};

static void stage_reopen(struct stage *s)
{
    char why[256] = "";

    db_close(s->db);
    if (db_open(&s->db, s->url, why) != ERR_OK)
        fail_msg("%s", why);
}

static void stage_open(struct stage *s, void **state)
{
    *s = (struct stage){.engine = *(const enum engine *)*state, .folder = folder_new()};
    if (s->engine == MARIADB)
        mariadb_database(s->url);
    else
        snprintf(s->url, sizeof s->url, "sqlite:%s/x.db", s->folder);
    stage_reopen(s);
}

static void stage_close(struct stage *s)
{
    db_close(s->db);
    folder_remove(s->folder);
}

static enum err run(struct stage *s, const char *sql)
{
    return db_do(s->db, sql, NULL, 0, NULL);
}

static bool take_int(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = db_column_int(r, 0);
    return true;
}

static int64_t number(struct db *d, const char *sql)
{
    int64_t n = -1;

    assert_int_equal(db_read(d, sql, NULL, 0, take_int, &n), ERR_OK);
    return n;
}

/* --- transactions ------------------------------------------------------------------------------------ */

static enum err add_event(struct db *d, const char *id)
{
    return db_run(d, "INSERT INTO events (id, title, access, key_hash, created_at) VALUES (?,?,?,?,?)",
                  DB_VALUES(db_str(id), db_str("t"), db_str("public"), db_blob(bytes_text(id)), db_int(1)),
                  NULL);
}

static int64_t count_events(struct db *d)
{
    return number(d, "SELECT count(*) FROM events");
}

static enum err add_two_and_fail(void *ctx, struct db *d)
{
    assert_int_equal(add_event(d, "A"), ERR_OK);
    assert_int_equal(count_events(d), 1);   /* a read within sees its own writes */
    assert_int_equal(count_events(ctx), 0); /* and nobody else does */
    return add_event(d, "A");
}

static enum err add_two(void *ctx, struct db *d)
{
    enum err e = add_event(d, "A");

    return e == ERR_OK ? add_event(d, "B") : e;
}

static void a_failed_transaction_leaves_nothing(void **state)
{
    struct stage s;

    stage_open(&s, state);
    assert_int_equal(db_write(s.db, add_two_and_fail, s.db), ERR_EXISTS);
    assert_int_equal(count_events(s.db), 0);
    assert_int_equal(db_write(s.db, add_two, NULL), ERR_OK);
    stage_reopen(&s);
    assert_int_equal(count_events(s.db), 2);
    stage_close(&s);
}

static enum err add_and_go_on(void *ctx, struct db *d)
{
    assert_int_equal(add_event(d, "A"), ERR_OK);
    assert_int_equal(add_event(d, "A"), ERR_EXISTS);
    return add_event(d, "B");
}

static void a_uniqueness_rule_undoes_nothing_else(void **state)
{
    struct stage s;

    stage_open(&s, state);
    assert_int_equal(db_write(s.db, add_and_go_on, NULL), ERR_OK);
    assert_int_equal(count_events(s.db), 2);
    stage_close(&s);
}

static enum err do_nothing(void *ctx, struct db *d)
{
    return ERR_OK;
}

static void an_empty_transaction_is_one(void **state)
{
    struct stage s;

    stage_open(&s, state);
    assert_int_equal(db_write(s.db, do_nothing, NULL), ERR_OK);
    assert_int_equal(db_write(s.db, add_two, NULL), ERR_OK);
    assert_int_equal(db_write(s.db, do_nothing, NULL), ERR_OK);
    assert_int_equal(count_events(s.db), 2);
    stage_close(&s);
}

static void a_row_whose_key_is_there_is_kept(void **state)
{
    static const char sql[] =
        "INSERT INTO videos (id, event_id, state, created_at) VALUES ('V','E','live',?) {or_keep:id}";
    struct stage s;

    stage_open(&s, state);
    for (int i = 1; i <= 3; i++)
        assert_int_equal(db_do(s.db, sql, DB_VALUES(db_int(i)), NULL), ERR_OK);
    assert_int_equal(number(s.db, "SELECT created_at FROM videos"), 1);
    stage_close(&s);
}

static void what_is_found_counts_as_changed_even_if_it_stays_the_same(void **state)
{
    int64_t changed;
    struct stage s;

    stage_open(&s, state);
    assert_int_equal(db_write(s.db, add_two, NULL), ERR_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(db_do(s.db, "UPDATE events SET title = 'same'", NULL, 0, &changed), ERR_OK);
        assert_int_equal(changed, 2);
    }
    assert_int_equal(db_do(s.db, "UPDATE events SET title = 'x' WHERE id = 'C'", NULL, 0, &changed), ERR_OK);
    assert_int_equal(changed, 0);
    stage_close(&s);
}

/* --- values ------------------------------------------------------------------------------------------ */

#define LARGE 12000000

struct seen {
    struct bytes large;
    int rows;
};

static bool check_values(void *ctx, const struct db_row *r)
{
    struct seen *seen = ctx;
    struct bytes blob = db_column_blob(r, 3);

    seen->rows++;
    if (seen->rows == 1) {
        assert_true(db_column_int(r, 0) == INT64_MIN);
        assert_true(db_column_real(r, 1) == -0.1);
        assert_string_equal(db_column_text(r, 2), "\xf0\x9f\x8e\xad '\\\" \xc3\xa9\n");
        assert_int_equal(blob.size, 5);
        assert_memory_equal(blob.at, "a\0b\xff\0", 5);
    } else if (seen->rows == 2) {
        assert_true(db_column_int(r, 0) == INT64_MAX);
        assert_string_equal(db_column_text(r, 2), "");
        assert_false(db_column_null(r, 2));
        assert_false(db_column_null(r, 3));
        assert_int_equal(blob.size, 0);
    } else if (seen->rows == 3) {
        for (int i = 0; i < 4; i++)
            assert_true(db_column_null(r, i));
        assert_int_equal(db_column_int(r, 0), 0);
        assert_string_equal(db_column_text(r, 2), "");
        assert_int_equal(blob.size, 0);
    } else {
        assert_true(bytes_equal(blob, seen->large));
        assert_int_equal(strlen(db_column_text(r, 2)), 100000);
    }
    return true;
}

static void every_value_comes_back_as_it_was(void **state)
{
    static const char insert[] = "INSERT INTO t (i, x, s, b, at) VALUES (?,?,?,?,?)";
    uint8_t *large = mem_new(LARGE);
    char *text = mem_new(100001);
    struct seen seen = {{large, LARGE}, 0};
    struct stage s;

    for (size_t i = 0; i < LARGE; i++)
        large[i] = (uint8_t)(i * 7 + i / 256);
    memset(text, 'x', 100000);
    stage_open(&s, state);
    assert_int_equal(
        run(&s, "CREATE TABLE t (at {int} PRIMARY KEY, i {int}, x DOUBLE, s {text}, b {blob}) {end}"),
        ERR_OK);
    assert_int_equal(
        db_do(s.db, insert,
              DB_VALUES(db_int(INT64_MIN), db_real(-0.1), db_str("\xf0\x9f\x8e\xad '\\\" \xc3\xa9\n"),
                        db_blob(bytes_of("a\0b\xff\0", 5)), db_int(1)),
              NULL),
        ERR_OK);
    assert_int_equal(
        db_do(s.db, insert,
              DB_VALUES(db_int(INT64_MAX), db_real(1), db_str(""), db_blob(bytes_of(NULL, 0)), db_int(2)),
              NULL),
        ERR_OK);
    assert_int_equal(
        db_do(s.db, insert, DB_VALUES(db_null(), db_null(), db_null(), db_null(), db_int(3)), NULL), ERR_OK);
    assert_int_equal(db_do(s.db, insert,
                           DB_VALUES(db_int(0), db_real(0), db_str(text), db_blob(seen.large), db_int(4)),
                           NULL),
                     ERR_OK);
    for (int i = 0; i < 2; i++) { /* with buffers that have grown, too */
        seen.rows = 0;
        assert_int_equal(db_read(s.db, "SELECT i, x, s, b FROM t ORDER BY at", NULL, 0, check_values, &seen),
                         ERR_OK);
        assert_int_equal(seen.rows, 4);
    }
    assert_true(number(s.db, "SELECT SUM(i) FROM t WHERE at IN (2, 4)") == INT64_MAX);
    assert_int_equal(number(s.db, "SELECT COUNT(*) FROM t WHERE s = '\\' || 'n'"), 0);
    stage_close(&s);
    free(text);
    free(large);
}

static bool join(void *ctx, const struct db_row *r)
{
    char *text = ctx;

    snprintf(text + strlen(text), 64 - strlen(text), "%s|", db_column_text(r, 0));
    return true;
}

static void texts_are_equal_byte_by_byte_and_sort_as_bytes(void **state)
{
    static const char *const keys[] = {"a",           "A", "a ", "b", "\xc3\xa9", "e", "\xf0\x9f\x8e\xad",
                                       "\xef\xbf\xbd"};
    char order[64] = "";
    struct stage s;

    stage_open(&s, state);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(db_do(s.db,
                               "INSERT INTO units (inventory_id, ukey, capacity, held, sold, version)"
                               " VALUES ('I',?,1,0,0,1)",
                               DB_VALUES(db_str(keys[i])), NULL),
                         ERR_OK);
    assert_int_equal(
        db_read(s.db, "SELECT ukey FROM units WHERE inventory_id = 'I' ORDER BY ukey", NULL, 0, join, order),
        ERR_OK);
    assert_string_equal(order, "A|a|a |b|e|\xc3\xa9|\xef\xbf\xbd|\xf0\x9f\x8e\xad|");
    assert_int_equal(number(s.db, "SELECT COUNT(*) FROM units WHERE ukey = 'a'"), 1);
    stage_close(&s);
}

static bool first_only(void *ctx, const struct db_row *r)
{
    ++*(int *)ctx;
    return false;
}

static void who_has_seen_enough_leaves_the_rest(void **state)
{
    struct stage s;
    int rows = 0;

    stage_open(&s, state);
    assert_int_equal(db_write(s.db, add_two, NULL), ERR_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(db_read(s.db, "SELECT id FROM events", NULL, 0, first_only, &rows), ERR_OK);
    assert_int_equal(rows, 3);
    stage_close(&s);
}

/* --- many rows --------------------------------------------------------------------------------------- */

#define MANY 20000

struct sheet {
    struct db_value *values;
    size_t rows;
    int64_t changed;
};

static enum err add_rows(void *ctx, struct db *tx)
{
    struct sheet *s = ctx;

    return db_run_rows(tx, "INSERT INTO t (id, s, n, b) VALUES (?,?,?,?)", s->values, 4, s->rows,
                       &s->changed);
}

static enum err change_rows(void *ctx, struct db *tx)
{
    struct sheet *s = ctx;

    return db_run_rows(tx, "UPDATE t SET n = ? WHERE id = ?", s->values, 2, s->rows, &s->changed);
}

static void many_rows_are_as_good_as_one_by_one(void **state)
{
    struct db_value *values = mem_new(4 * MANY * sizeof *values);
    struct sheet sheet = {values, MANY, 0};
    char filler[301];
    struct stage s;

    memset(filler, 'f', 300);
    filler[300] = '\0';
    for (int64_t i = 0; i < MANY; i++) { /* some 6 MB: more than one trip */
        values[4 * i] = db_int(i);
        values[4 * i + 1] = i % 3 == 0 ? db_null() : db_str(filler + i % 300);
        values[4 * i + 2] = i % 5 == 0 ? db_null() : db_int(-i);
        values[4 * i + 3] = i % 7 == 0 ? db_null() : db_blob(bytes_of(filler, (size_t)i % 300));
    }
    stage_open(&s, state);
    assert_int_equal(run(&s, "CREATE TABLE t (id {int} PRIMARY KEY, s {text}, n {int}, b {blob}) {end}"),
                     ERR_OK);
    assert_int_equal(db_write(s.db, add_rows, &sheet), ERR_OK);
    assert_int_equal(sheet.changed, MANY);
    assert_int_equal(number(s.db, "SELECT COUNT(*) FROM t"), MANY);
    assert_int_equal(number(s.db, "SELECT COUNT(*) FROM t WHERE s IS NULL"), (MANY + 2) / 3);
    assert_int_equal(number(s.db, "SELECT COUNT(*) FROM t WHERE n = -id"), MANY - MANY / 5);
    assert_int_equal(number(s.db, "SELECT COUNT(*) FROM t WHERE LENGTH(b) = id % 300"),
                     MANY - (MANY + 6) / 7);

    /* Every second is there, and half of those get what they have. */
    for (int64_t i = 0; i < 1000; i++) {
        values[2 * i] = db_int(i % 4 == 0 ? -i : 1);
        values[2 * i + 1] = db_int(i % 2 == 0 ? i : MANY + i);
    }
    sheet.rows = 1000;
    assert_int_equal(db_write(s.db, change_rows, &sheet), ERR_OK);
    assert_int_equal(sheet.changed, 500);
    stage_close(&s);
    free(values);
}

static void the_first_row_that_fails_ends_it(void **state)
{
    struct db_value values[3 * 4];
    struct sheet sheet = {values, 3, 7};
    struct stage s;

    for (int i = 0; i < 3; i++) {
        values[4 * i] = db_int(i % 2);
        values[4 * i + 1] = values[4 * i + 2] = values[4 * i + 3] = db_null();
    }
    stage_open(&s, state);
    assert_int_equal(run(&s, "CREATE TABLE t (id {int} PRIMARY KEY, s {text}, n {int}, b {blob}) {end}"),
                     ERR_OK);
    assert_int_equal(db_write(s.db, add_rows, &sheet), ERR_EXISTS);
    assert_int_equal(number(s.db, "SELECT COUNT(*) FROM t"), 0);
    stage_close(&s);
}

/* --- side by side ------------------------------------------------------------------------------------ */

#define CROWD  16
#define ROUNDS 40
#define UNITS  3

struct crowd {
    struct db *db;
    _Atomic int busy;
};

static enum err add_one_to_each(void *ctx, struct db *tx)
{
    char sql[96];
    enum err e = ERR_OK;

    for (int unit = 0; unit < UNITS && e == ERR_OK; unit++) {
        int64_t n = -1;

        snprintf(sql, sizeof sql, "SELECT n FROM t WHERE id = %d{lock}", unit);
        e = db_read(tx, sql, NULL, 0, take_int, &n);
        if (e == ERR_OK)
            e = db_run(tx, "UPDATE t SET n = ? WHERE id = ?", DB_VALUES(db_int(n + 1), db_int(unit)), NULL);
    }
    return e;
}

static void *add_and_add(void *ctx)
{
    struct crowd *c = ctx;

    for (int i = 0; i < ROUNDS;) {
        enum err e = db_write(c->db, add_one_to_each, NULL);

        if (e == ERR_OK)
            i++;
        else if (e == ERR_BUSY)
            c->busy++;
        else
            fail_msg("%s", err_text(e));
    }
    return NULL;
}

static void locks_in_one_order_lose_no_update(void **state)
{
    pthread_t threads[CROWD];
    struct stage s;
    struct crowd c = {NULL, 0};

    stage_open(&s, state);
    c.db = s.db;
    assert_int_equal(run(&s, "CREATE TABLE t (id {int} PRIMARY KEY, n {int}) {end}"), ERR_OK);
    assert_int_equal(run(&s, "INSERT INTO t (id, n) VALUES (0,0),(1,0),(2,0)"), ERR_OK);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_and_add, &c), 0);
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(number(s.db, "SELECT MIN(n) FROM t"), CROWD * ROUNDS);
    assert_int_equal(number(s.db, "SELECT MAX(n) FROM t"), CROWD * ROUNDS);
    assert_int_equal(c.busy, 0); /* who comes in order finds no deadlock */
    stage_close(&s);
}

/* --- opening ----------------------------------------------------------------------------------------- */

static void a_newer_database_is_refused_and_left_alone(void **state)
{
    char why[256];
    struct stage s;

    stage_open(&s, state);
    assert_int_equal(run(&s, s.engine == MARIADB ? "UPDATE matinee_schema SET version = 9999"
                                                 : "PRAGMA user_version = 9999"),
                     ERR_OK);
    db_close(s.db);
    assert_int_equal(db_open(&s.db, s.url, why), ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "newer"));
    assert_null(s.db);
    stage_close(&s);
}

static void every_commit_is_synced(void **state)
{
    struct stage s;

    stage_open(&s, state);
    if (s.engine == SQLITE)
        assert_int_equal(number(s.db, "PRAGMA synchronous"), 2); /* FULL */
    else
        assert_int_equal(number(s.db, "SELECT @@innodb_flush_log_at_trx_commit"), 1);
    assert_int_equal(db_shared(s.db), s.engine == MARIADB);
    stage_close(&s);
}

static void what_is_no_database_is_named(void **state)
{
    char *dir = folder_new(), path[128], url[160], why[256];
    struct db *d;

    snprintf(path, sizeof path, "%s/x.db", dir);
    FILE *f = fopen(path, "w");

    fputs("this is a text and surely no database, whatever its name may say about it", f);
    fclose(f);
    snprintf(url, sizeof url, "sqlite:%s", path);
    assert_int_equal(db_open(&d, url, why), ERR_BAD);
    assert_non_null(strstr(why, "no SQLite database"));
    assert_null(d);
    folder_remove(dir);
}

static enum engine sqlite = SQLITE, maria = MARIADB;

#define BOTH(test)                                                                                           \
    {#test " (SQLite)", test, NULL, NULL, &sqlite},                                                          \
    {                                                                                                        \
#test " (MariaDB)", test, NULL, NULL, &maria                                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_failed_transaction_leaves_nothing),
        BOTH(a_uniqueness_rule_undoes_nothing_else),
        BOTH(an_empty_transaction_is_one),
        BOTH(a_row_whose_key_is_there_is_kept),
        BOTH(what_is_found_counts_as_changed_even_if_it_stays_the_same),
        BOTH(every_value_comes_back_as_it_was),
        BOTH(texts_are_equal_byte_by_byte_and_sort_as_bytes),
        BOTH(who_has_seen_enough_leaves_the_rest),
        BOTH(many_rows_are_as_good_as_one_by_one),
        BOTH(the_first_row_that_fails_ends_it),
        BOTH(locks_in_one_order_lose_no_update),
        BOTH(a_newer_database_is_refused_and_left_alone),
        BOTH(every_commit_is_synced),
        cmocka_unit_test(what_is_no_database_is_named),
    };

    return cmocka_run_group_tests(tests, mariadb_setup, mariadb_teardown);
}
