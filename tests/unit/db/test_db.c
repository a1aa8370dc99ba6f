/* SQL behind its port. */
#include "unit.h"

#include "db/db.h"
#include "folder.h"

static struct db *open_db(const char *dir)
{
    char url[128], why[256];
    struct db *d;

    snprintf(url, sizeof url, "sqlite:%s/x.db", dir);
    assert_int_equal(db_open(&d, url, why), ERR_OK);
    return d;
}

static bool take_int(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = db_column_int(r, 0);
    return true;
}

static int64_t count_events(struct db *d)
{
    int64_t n = -1;

    assert_int_equal(db_read(d, "SELECT count(*) FROM events", NULL, 0, take_int, &n), ERR_OK);
    return n;
}

static enum err add_event(struct db *d, const char *id)
{
    return db_run(d, "INSERT INTO events (id, title, access, key_hash, created_at) VALUES (?,?,?,?,?)",
                  DB_VALUES(db_str(id), db_str("t"), db_str("public"), db_blob(bytes_text(id)), db_int(1)),
                  NULL);
}

static enum err add_two_and_fail(void *ctx, struct db *d)
{
    assert_int_equal(add_event(d, "A"), ERR_OK);
    assert_int_equal(count_events(d), 1); /* a read within sees its own writes */
    return add_event(d, "A");
}

static enum err add_two(void *ctx, struct db *d)
{
    enum err e = add_event(d, "A");

    return e == ERR_OK ? add_event(d, "B") : e;
}

static void a_failed_transaction_leaves_nothing(void **state)
{
    char *dir = folder_new();
    struct db *d = open_db(dir);

    assert_int_equal(db_write(d, add_two_and_fail, NULL), ERR_EXISTS);
    assert_int_equal(count_events(d), 0);
    assert_int_equal(db_write(d, add_two, NULL), ERR_OK);
    db_close(d);
    d = open_db(dir);
    assert_int_equal(count_events(d), 2);
    db_close(d);
    folder_remove(dir);
}

static void every_commit_is_synced(void **state)
{
    char *dir = folder_new();
    struct db *d = open_db(dir);
    int64_t synchronous = 0;

    assert_int_equal(db_read(d, "PRAGMA synchronous", NULL, 0, take_int, &synchronous), ERR_OK);
    assert_int_equal(synchronous, 2); /* FULL */
    db_close(d);
    folder_remove(dir);
}

static void a_newer_database_is_refused_and_left_alone(void **state)
{
    char *dir = folder_new(), url[128], why[256];
    struct db *d = open_db(dir);

    assert_int_equal(db_do(d, "PRAGMA user_version = 9999", NULL, 0, NULL), ERR_OK);
    db_close(d);
    snprintf(url, sizeof url, "sqlite:%s/x.db", dir);
    assert_int_equal(db_open(&d, url, why), ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "newer"));
    assert_null(d);
    folder_remove(dir);
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
    folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_transaction_leaves_nothing),
        cmocka_unit_test(every_commit_is_synced),
        cmocka_unit_test(a_newer_database_is_refused_and_left_alone),
        cmocka_unit_test(what_is_no_database_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
