/* What only MariaDB does: it goes away and comes back, has many writers, and belongs to several servers. */
#include "unit.h"

#include "../net/certificate.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "db/db.h"
#include "mariadb.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct db *open_url(const char *url)
{
    char why[256] = "";
    struct db *d;

    if (db_open(&d, url, why) != ERR_OK)
        fail_msg("%s", why);
    return d;
}

static struct db *open_new(void)
{
    char url[MARIADB_URL_SIZE];

    return open_url(mariadb_database(url));
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

static enum err do_it(struct db *d, const char *sql)
{
    return db_do(d, sql, NULL, 0, NULL);
}

static void make_numbers(struct db *d)
{
    assert_int_equal(do_it(d, "CREATE TABLE t (id {int} PRIMARY KEY, n {int} NOT NULL) {end}"), ERR_OK);
    assert_int_equal(do_it(d, "INSERT INTO t (id, n) VALUES (0,0),(1,0)"), ERR_OK);
}

static int64_t status(struct db *d, const char *name)
{
    char sql[160];

    snprintf(sql, sizeof sql,
             "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status"
             " WHERE variable_name = '%s'",
             name);
    return number(d, sql);
}

/* --- cost -------------------------------------------------------------------------------------------- */

static enum err look_and_change(void *ctx, struct db *tx)
{
    int64_t n = -1;
    enum err e = db_read(tx, "SELECT n FROM t WHERE id = ?{lock}", DB_VALUES(db_int(0)), take_int, &n);

    return e == ERR_OK
               ? db_run(tx, "UPDATE t SET n = ? WHERE id = ?", DB_VALUES(db_int(n + 1), db_int(0)), NULL)
               : e;
}

static enum err change_hundred(void *ctx, struct db *tx)
{
    struct db_value values[200];

    for (int i = 0; i < 100; i++) {
        values[2 * i] = db_int(i);
        values[2 * i + 1] = db_int(i % 2);
    }
    return db_run_rows(tx, "UPDATE t SET n = ? WHERE id = ?", values, 2, 100, NULL);
}

/* Each trip is one command: the server counts them. */
static void a_transaction_costs_a_trip_for_each_statement_and_one(void **state)
{
    struct db *d = open_new();
    int64_t commands, prepared;

    make_numbers(d);
    assert_int_equal(db_write(d, look_and_change, NULL), ERR_OK);
    assert_int_equal(db_write(d, change_hundred, NULL), ERR_OK);
    assert_true(status(d, "questions") > 0); /* prepares what asks */
    prepared = status(d, "com_stmt_prepare");
    for (int i = 0; i < 10; i++)
        assert_int_equal(db_write(d, look_and_change, NULL), ERR_OK);
    assert_int_equal(status(d, "com_stmt_prepare"), prepared);
    commands = status(d, "questions");
    for (int i = 0; i < 10; i++)
        assert_int_equal(db_write(d, look_and_change, NULL), ERR_OK);
    assert_int_equal(status(d, "questions") - commands, 10 * 3 + 1);
    commands = status(d, "questions");
    assert_int_equal(db_write(d, change_hundred, NULL), ERR_OK);
    assert_int_equal(status(d, "questions") - commands, 2 + 1);
    db_close(d);
}

/* --- locks ------------------------------------------------------------------------------------------- */

/* Two that want what the other has, and wait for each other to have it. */
struct crossing {
    struct db *db;
    pthread_barrier_t both;
    bool ignores;
    _Atomic int done, busy;
};

struct crosser {
    struct crossing *crossing;
    int first;
};

static enum err add_to(struct db *tx, int id)
{
    return db_run(tx, "UPDATE t SET n = n + 1 WHERE id = ?", DB_VALUES(db_int(id)), NULL);
}

static enum err cross(void *ctx, struct db *tx)
{
    const struct crosser *c = ctx;
    enum err e = add_to(tx, c->first);

    pthread_barrier_wait(&c->crossing->both);
    if (e == ERR_OK)
        e = add_to(tx, 1 - c->first);
    return c->crossing->ignores ? ERR_OK : e;
}

static void *cross_over(void *ctx)
{
    const struct crosser *c = ctx;
    enum err e = db_write(c->crossing->db, cross, (void *)(uintptr_t)c);

    assert_true(e == ERR_OK || e == ERR_BUSY);
    if (e == ERR_OK)
        c->crossing->done++;
    else
        c->crossing->busy++;
    return NULL;
}

static void cross_paths(bool ignores)
{
    struct crossing c = {.db = open_new(), .ignores = ignores};
    struct crosser two[2] = {{&c, 0}, {&c, 1}};
    pthread_t threads[2];

    make_numbers(c.db);
    pthread_barrier_init(&c.both, NULL, 2);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, cross_over, &two[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.busy, 1);
    assert_int_equal(number(c.db, "SELECT SUM(n) FROM t"), 2); /* of one of them, whole */
    pthread_barrier_destroy(&c.both);
    db_close(c.db);
}

static void of_two_in_a_deadlock_one_is_told_and_undone(void **state)
{
    cross_paths(false);
}

static void what_the_engine_undid_is_not_committed_even_if_nobody_looked(void **state)
{
    cross_paths(true);
}

#define CROWD  16
#define ROUNDS 25

struct crowd {
    struct db *db;
    _Atomic int number, done, busy;
};

static enum err add_both_ways(void *ctx, struct db *tx)
{
    int first = *(const int *)ctx;
    int64_t n[2];
    enum err e = ERR_OK;

    for (int i = 0; i < 2 && e == ERR_OK; i++)
        e = db_read(tx, "SELECT n FROM t WHERE id = ?{lock}", DB_VALUES(db_int(i == 0 ? first : 1 - first)),
                    take_int, &n[i]);
    for (int i = 0; i < 2 && e == ERR_OK; i++)
        e = db_run(tx, "UPDATE t SET n = ? WHERE id = ?",
                   DB_VALUES(db_int(n[i] + 1), db_int(i == 0 ? first : 1 - first)), NULL);
    return e;
}

static void *add_in_any_order(void *ctx)
{
    struct crowd *c = ctx;
    int first = c->number++ % 2;

    for (int i = 0; i < ROUNDS;) {
        enum err e = db_write(c->db, add_both_ways, &first);

        assert_true(e == ERR_OK || e == ERR_BUSY);
        if (e == ERR_OK) {
            c->done++;
            i++;
        } else {
            c->busy++;
        }
    }
    return NULL;
}

static void locks_in_opposite_orders_never_hang_and_lose_nothing(void **state)
{
    struct crowd c = {.db = open_new()};
    pthread_t threads[CROWD];

    make_numbers(c.db);
    for (int i = 0; i < CROWD; i++)
        pthread_create(&threads[i], NULL, add_in_any_order, &c);
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(number(c.db, "SELECT MIN(n) FROM t"), CROWD * ROUNDS);
    assert_int_equal(number(c.db, "SELECT MAX(n) FROM t"), CROWD * ROUNDS);
    print_message("%d transactions, %d deadlocks\n", c.done, c.busy);
    db_close(c.db);
}

static enum err add_hundred(void *ctx, struct db *tx)
{
    return db_run(tx, "UPDATE t SET n = n + 100 WHERE id = 0", NULL, 0, NULL);
}

static enum err add_inside(void *ctx, struct db *tx)
{
    int64_t began = clock_mono_ms();
    enum err e = add_to(tx, 0);

    assert_int_equal(e, ERR_OK);
    assert_int_equal(db_write(ctx, add_hundred, NULL), ERR_BUSY);
    assert_in_range(clock_mono_ms() - began, DB_LOCK_SECONDS_MAX * 1000 - 500,
                    DB_LOCK_SECONDS_MAX * 1000 + 5000);
    return e;
}

static void a_lock_that_does_not_come_is_given_up(void **state)
{
    struct db *d = open_new();

    make_numbers(d);
    assert_int_equal(db_write(d, add_inside, d), ERR_OK);
    assert_int_equal(number(d, "SELECT n FROM t WHERE id = 0"), 1);
    db_close(d);
}

/* --- connections that end ---------------------------------------------------------------------------- */

static void end_all_connections(void)
{
    mariadb_root(NULL, "KILL HARD USER matinee");
}

static void a_connection_that_ended_while_it_rested_is_made_anew(void **state)
{
    struct db *d = open_new();

    make_numbers(d);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(db_write(d, look_and_change, NULL), ERR_OK);
        end_all_connections();
        assert_int_equal(number(d, "SELECT n FROM t WHERE id = 0"), 2 * i - 1);
        end_all_connections();
        assert_int_equal(db_write(d, look_and_change, NULL), ERR_OK);
    }
    db_close(d);
}

static enum err change_and_end(void *ctx, struct db *tx)
{
    assert_int_equal(add_to(tx, 0), ERR_OK);
    end_all_connections();
    assert_int_equal(add_to(tx, 1), ERR_IO);
    assert_int_equal(add_to(tx, 0), ERR_IO); /* not in another transaction, by itself */
    return ERR_OK;
}

static void a_connection_that_ends_within_a_transaction_undoes_it(void **state)
{
    struct db *d = open_new();

    make_numbers(d);
    assert_int_equal(db_write(d, change_and_end, NULL), ERR_IO);
    assert_int_equal(number(d, "SELECT SUM(n) FROM t"), 0);
    assert_int_equal(do_it(d, "UPDATE t SET n = 7"), ERR_OK);
    db_close(d);
}

static enum err change_twice(void *ctx, struct db *tx)
{
    int *times = ctx;
    enum err e = db_run(tx, "INSERT INTO t (id, n) VALUES (2,2) {or_keep:id}", NULL, 0, NULL);

    if (e == ERR_OK && ++*times == 1)
        end_all_connections();
    return e;
}

static void what_may_be_made_twice_is_made_though_its_connection_ends_in_it(void **state)
{
    struct db *d = open_new();
    int times = 0;

    make_numbers(d);
    assert_int_equal(db_write_surely(d, change_twice, &times), ERR_OK);
    assert_int_equal(times, 2);
    assert_int_equal(number(d, "SELECT COUNT(*) FROM t WHERE id = 2"), 1);
    db_close(d);
}

static void *look_in(void *ctx)
{
    struct crowd *c = ctx;

    for (int i = 0; i < 5; i++) {
        enum err e = db_write(c->db, look_and_change, NULL);

        assert_true(e == ERR_OK || e == ERR_BUSY);
        c->done += e == ERR_OK;
    }
    return NULL;
}

static void a_server_that_takes_few_connections_serves_a_crowd(void **state)
{
    struct crowd c = {.db = open_new()};
    pthread_t threads[3 * CROWD];

    make_numbers(c.db);
    assert_int_equal(db_write(c.db, look_and_change, NULL), ERR_OK);
    mariadb_root(NULL, "SET GLOBAL max_connections = 10");
    for (int i = 0; i < 3 * CROWD; i++)
        pthread_create(&threads[i], NULL, look_in, &c);
    for (int i = 0; i < 3 * CROWD; i++)
        pthread_join(threads[i], NULL);
    mariadb_root(NULL, "SET GLOBAL max_connections = 200");
    assert_int_equal(number(c.db, "SELECT n FROM t WHERE id = 0"), c.done + 1);
    db_close(c.db);
}

/* --- a server that goes away ------------------------------------------------------------------------- */

#define WRITERS 8

struct keeper {
    struct db *db;
    pthread_mutex_t lock;
    pthread_cond_t more;
    bool stop;
    int64_t next, count, kept[100000]; /* those that were answered with ERR_OK */
    int failures;
};

static void *keep(void *ctx)
{
    struct keeper *k = ctx;

    pthread_mutex_lock(&k->lock);
    while (!k->stop) {
        int64_t id = ++k->next;
        enum err e;

        pthread_mutex_unlock(&k->lock);
        e = db_do(k->db, "INSERT INTO t (id, n) VALUES (?,?)", DB_VALUES(db_int(id), db_int(id)), NULL);
        assert_true(e == ERR_OK || e == ERR_IO);
        pthread_mutex_lock(&k->lock);
        if (e == ERR_OK)
            k->kept[k->count++] = id;
        else
            k->failures++;
        pthread_cond_broadcast(&k->more);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

static void await_more(struct keeper *k, int64_t more)
{
    pthread_mutex_lock(&k->lock);
    for (int64_t before = k->count; k->count < before + more;)
        pthread_cond_wait(&k->more, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

static void await_failure(struct keeper *k)
{
    pthread_mutex_lock(&k->lock);
    for (int before = k->failures; k->failures == before;)
        pthread_cond_wait(&k->more, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

static bool mark(void *ctx, const struct db_row *r)
{
    ((bool *)ctx)[db_column_int(r, 0)] = true;
    return true;
}

static void kill_9_of_the_server_loses_nothing_that_was_answered(void **state)
{
    struct keeper *k = mem_new(sizeof *k);
    pthread_t threads[WRITERS];
    bool *there;

    k->db = open_new();
    assert_int_equal(do_it(k->db, "CREATE TABLE t (id {int} PRIMARY KEY, n {int} NOT NULL) {end}"), ERR_OK);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->more, NULL);
    for (int i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, keep, k);
    for (int round = 0; round < 3; round++) {
        await_more(k, 200);
        mariadb_stop(SIGKILL);
        await_failure(k);
        mariadb_start();
        await_more(k, 200); /* it came back by itself */
    }
    pthread_mutex_lock(&k->lock);
    k->stop = true;
    pthread_mutex_unlock(&k->lock);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    there = mem_new((size_t)k->next + 1);
    assert_int_equal(db_read(k->db, "SELECT id FROM t", NULL, 0, mark, there), ERR_OK);
    for (int64_t i = 0; i < k->count; i++)
        assert_true(there[k->kept[i]]);
    print_message("%lld answered and all there, %d refused\n", (long long)k->count, k->failures);
    free(there);
    db_close(k->db);
    free(k);
}

static void a_server_that_is_not_there_is_known_to_be_away_and_nobody_waits_for_it(void **state)
{
    struct db *d = open_new();
    int times = 0;
    int64_t began_ms;

    make_numbers(d);
    assert_int_equal(db_away_ms(d), 0);
    mariadb_stop(SIGKILL);
    began_ms = clock_mono_ms();
    assert_int_equal(db_write_surely(d, change_twice, &times), ERR_IO);
    assert_int_equal(times, 0);
    assert_true(clock_mono_ms() - began_ms <
                DB_SURELY_MS_MAX / 2); /* nothing was begun: nothing is in doubt */
    assert_true(db_away_ms(d) > 0);
    mariadb_start();
    assert_int_equal(number(d, "SELECT COUNT(*) FROM t"), 2);
    assert_int_equal(db_away_ms(d), 0);
    db_close(d);
}

static void who_cannot_connect_is_told_what_to_do_and_no_password(void **state)
{
    char url[MARIADB_URL_SIZE], why[256];
    struct db *d;

    snprintf(url, sizeof url, "mysql://matinee:s3cret@127.0.0.1:1/x");
    assert_int_equal(db_open(&d, url, why), ERR_IO);
    assert_non_null(strstr(why, "is it running"));
    assert_null(strstr(why, "s3cret"));
    mariadb_database(url);
    snprintf(url, sizeof url, "mysql://matinee:s3cret@127.0.0.1:%d/%s", mariadb.port, mariadb_last());
    assert_int_equal(db_open(&d, url, why), ERR_DENIED);
    assert_non_null(strstr(why, "GRANT"));
    assert_null(strstr(why, "s3cret"));
    snprintf(url, sizeof url, "mysql://root@127.0.0.1:%d/none?socket=%s/s", mariadb.port, mariadb.folder);
    assert_int_equal(db_open(&d, url, why), ERR_MISSING);
    assert_non_null(strstr(why, "CREATE DATABASE"));
    assert_null(strchr(why, '\n'));
}

static void an_address_that_is_none_is_not_repeated(void **state)
{
    static const char *const bad[] = {
        "mysql://",
        "mysql://s3cret",
        "mysql://u:s3cret@h",
        "mysql://u:s3cret@h/",
        "mysql://u:p@/x",
        "mysql://u:s3cret@h:0/x",
        "mysql://u:s3cret@h:x/x",
        "mysql://u:s3cret@[::1/x",
        "mysql://u:%zz@h/x",
        "mysql://u:%4@h/x",
        "mysql://u:%00s3cret@h/x",
        "mysql://u:s3cret@h/x?y=1",
        "mysql://u@h/x?ssl",
        "mysql://u@h/x?socket=",
        "mysql://u:s3cret@h:70000/x",
        "mysql://u@h/x?ssl=2",
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char why[256] = "";
        struct db *d;

        assert_int_equal(db_open(&d, bad[i], why), ERR_BAD);
        assert_non_null(strstr(why, "mysql://USER"));
        assert_null(strstr(why, "s3cret"));
        assert_null(d);
    }
}

static void a_socket_is_as_good_as_a_port(void **state)
{
    char url[MARIADB_URL_SIZE];
    struct db *d;

    mariadb_database(url);
    snprintf(url, sizeof url, "mysql://root@localhost/%s?socket=%s%%2Fs", mariadb_last(), mariadb.folder);
    d = open_url(url);
    assert_int_equal(number(d, "SELECT COUNT(*) FROM events"), 0);
    db_close(d);
}

static enum err open_with(const char *url, const char *option, const char *value, char why[256])
{
    char whole[MARIADB_URL_SIZE + 128];
    struct db *d;
    enum err e;

    snprintf(whole, sizeof whole, "%s?%s=%s", url, option, value);
    if ((e = db_open(&d, whole, why)) == ERR_OK)
        assert_int_equal(number(d, "SELECT LENGTH(variable_value) > 0 FROM information_schema.session_status"
                                   " WHERE variable_name = 'ssl_cipher'"),
                         1);
    db_close(d);
    return e;
}

static void tls_is_spoken_with_whom_it_should_and_nobody_else(void **state)
{
    char url[MARIADB_URL_SIZE], why[256], kept[64];

    assert_int_equal(certificate_folder(state), 0);
    make_certificate(1);
    mariadb_database(url);
    assert_int_equal(open_with(url, "ssl_ca", cert_file, why), ERR_IO); /* it speaks none */
    mariadb_stop(SIGTERM);
    mariadb.certificate = cert_file;
    mariadb.key = key_file;
    mariadb_start();
    assert_int_equal(open_with(url, "ssl_ca", cert_file, why), ERR_OK);
    assert_int_equal(open_with(url, "ssl", "1", why), ERR_IO); /* no authority knows it */
    snprintf(kept, sizeof kept, "%s", cert_file);
    snprintf(cert_file, sizeof cert_file, "%s/other.pem", certificate_in);
    make_certificate(2); /* somebody else's, for the same name */
    assert_int_equal(open_with(url, "ssl_ca", cert_file, why), ERR_IO);
    assert_non_null(strstr(why, "--database"));
    remove(cert_file);
    snprintf(cert_file, sizeof cert_file, "%s", kept);
    mariadb_stop(SIGTERM);
    mariadb.certificate = mariadb.key = NULL;
    mariadb_start();
    certificate_folder_end(state);
}

/* --- several servers --------------------------------------------------------------------------------- */

struct opening {
    const char *url;
    pthread_barrier_t all;
};

static void *open_at_once(void *ctx)
{
    struct opening *o = ctx;
    struct db *d;

    pthread_barrier_wait(&o->all);
    d = open_url(o->url);
    assert_int_equal(number(d, "SELECT COUNT(*) FROM matinee_schema"), 1);
    assert_int_equal(number(d, "SELECT COUNT(*) FROM waiters"), 0);
    db_close(d);
    return NULL;
}

static void servers_that_start_at_once_make_the_tables_once(void **state)
{
    char url[MARIADB_URL_SIZE];
    struct opening o = {.url = mariadb_database(url)};
    pthread_t threads[6];

    pthread_barrier_init(&o.all, NULL, 6);
    for (int i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, open_at_once, &o);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&o.all);
}

static void tables_that_were_half_made_are_finished(void **state)
{
    char url[MARIADB_URL_SIZE];
    struct db *d = open_url(mariadb_database(url));
    int64_t tables = mariadb_root(mariadb_last(), "SELECT COUNT(*) FROM information_schema.columns"
                                                  " WHERE table_schema = DATABASE()");

    db_close(d);
    for (int version = 0; version < 4; version++) { /* broken off before the mark, and some before that */
        mariadb_root(mariadb_last(), "UPDATE matinee_schema SET version = %d", version);
        mariadb_root(mariadb_last(), version % 2 == 0 ? "DROP TABLE waiters" : "DROP TABLE units");
        d = open_url(url);
        assert_int_equal(mariadb_root(mariadb_last(), "SELECT COUNT(*) FROM information_schema.columns"
                                                      " WHERE table_schema = DATABASE()"),
                         tables);
        db_close(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_costs_a_trip_for_each_statement_and_one),
        cmocka_unit_test(of_two_in_a_deadlock_one_is_told_and_undone),
        cmocka_unit_test(what_the_engine_undid_is_not_committed_even_if_nobody_looked),
        cmocka_unit_test(locks_in_opposite_orders_never_hang_and_lose_nothing),
        cmocka_unit_test(a_lock_that_does_not_come_is_given_up),
        cmocka_unit_test(a_connection_that_ended_while_it_rested_is_made_anew),
        cmocka_unit_test(a_connection_that_ends_within_a_transaction_undoes_it),
        cmocka_unit_test(what_may_be_made_twice_is_made_though_its_connection_ends_in_it),
        cmocka_unit_test(a_server_that_takes_few_connections_serves_a_crowd),
        cmocka_unit_test(kill_9_of_the_server_loses_nothing_that_was_answered),
        cmocka_unit_test(a_server_that_is_not_there_is_known_to_be_away_and_nobody_waits_for_it),
        cmocka_unit_test(who_cannot_connect_is_told_what_to_do_and_no_password),
        cmocka_unit_test(an_address_that_is_none_is_not_repeated),
        cmocka_unit_test(a_socket_is_as_good_as_a_port),
        cmocka_unit_test(tls_is_spoken_with_whom_it_should_and_nobody_else),
        cmocka_unit_test(servers_that_start_at_once_make_the_tables_once),
        cmocka_unit_test(tables_that_were_half_made_are_finished),
    };

    return cmocka_run_group_tests(tests, mariadb_setup, mariadb_teardown);
}
