/* db/mariadb.c - MariaDB behind db.h: pools of connections, transactions, and the schema's number.
 *
 * Connections are lent to one call or transaction at a time and kept. Those that read commit by themselves; those that write
 * never do, so that a transaction begins with its first statement and costs no trip of its own. A connection that is broken is
 * thrown away; one that ended while it rested is made anew by its first statement. */
#include "db/mariadb_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A server that takes no more connections is asked again this often, while ours come back one by one. */
#define CROWDED_MS 200
/* A server that went away under a change is asked again this often. */
#define SURELY_REST_MS 100

/* Connections of one use. */
struct pool {
    pthread_mutex_t lock;
    pthread_cond_t one_free;
    struct connection *free;
    unsigned count, most;
    enum connection_use use;
};

struct mariadb {
    struct db db;
    struct mariadb_server server;
    struct pool readers, writers;
    struct connection *schema; /* holds the schema's lock; NULL: nobody does */
};

/* What a transaction's work gets. */
struct handle {
    struct db db;
    struct connection *connection;
};

static struct mariadb *mariadb_of(struct db *d)
{
    assert(d->kind == &mariadb_kind);
    return (struct mariadb *)(void *)d;
}

static struct connection *connection_of(struct db *tx)
{
    assert(tx->kind == &mariadb_tx_kind);
    return ((struct handle *)(void *)tx)->connection;
}

const struct db_word mariadb_words[] = {
    {"lock", " FOR UPDATE"},
    {"or_keep:", "ON DUPLICATE KEY UPDATE % = %"},
    {"if_new", "IF NOT EXISTS"},
    {"id", "CHAR(26) CHARACTER SET ascii COLLATE ascii_bin"},
    {"name", "VARCHAR(64)"},
    {"key", "VARCHAR(255) CHARACTER SET ascii COLLATE ascii_nopad_bin"},
    {"text", "MEDIUMTEXT"},
    {"hash", "VARBINARY(64)"},
    {"blob", "LONGBLOB"},
    {"int", "BIGINT"},
    {"end", "ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"},
    {NULL, NULL},
};

/* --- pools ------------------------------------------------------------------------------------------- */

static void pool_init(struct pool *p, unsigned most, enum connection_use use)
{
    p->most = most;
    p->use = use;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->one_free, NULL);
}

static void pool_free(struct pool *p)
{
    for (struct connection *c = p->free, *next; c != NULL; c = next) {
        next = c->next;
        connection_close(c);
    }
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->one_free);
}

/* A free connection, or NULL with room made for a new one. Waits while all are lent. */
static struct connection *take_free(struct pool *p)
{
    struct connection *c;

    pthread_mutex_lock(&p->lock);
    while (p->free == NULL && p->count >= p->most)
        pthread_cond_wait(&p->one_free, &p->lock);
    if ((c = p->free) != NULL)
        p->free = c->next;
    else
        p->count++;
    pthread_mutex_unlock(&p->lock);
    return c;
}

/* `c` NULL: the room for one. */
static void give_back(struct pool *p, struct connection *c)
{
    bool keep = c != NULL && !c->broken;

    if (!keep)
        connection_close(c);
    pthread_mutex_lock(&p->lock);
    if (keep) {
        c->next = p->free;
        p->free = c;
    } else {
        p->count--;
    }
    pthread_cond_signal(&p->one_free);
    pthread_mutex_unlock(&p->lock);
}

/* The server takes no more connections: waits for one of ours. False where none is out. */
static bool wait_for_ours(struct pool *p)
{
    struct timespec until;
    bool any;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += CROWDED_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&p->lock);
    any = p->count > 0;
    if (any && p->free == NULL)
        pthread_cond_timedwait(&p->one_free, &p->lock, &until);
    pthread_mutex_unlock(&p->lock);
    return any;
}

static struct connection *borrow(struct mariadb *m, struct pool *p)
{
    struct connection *c;
    enum err e;

    do {
        if ((c = take_free(p)) != NULL) {
            c->rested = true;
            c->undone = ERR_OK;
            return c;
        }
        if ((e = connection_open(&c, &m->server, p->use, NULL)) == ERR_OK)
            return c;
        give_back(p, NULL);
    } while (e == ERR_LIMIT && wait_for_ours(p));
    return NULL;
}

/* --- statements and transactions --------------------------------------------------------------------- */

static enum err mariadb_read(struct db *d, const char *sql, const struct db_value *values, size_t count,
                             bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    struct mariadb *m = mariadb_of(d);
    struct connection *c = borrow(m, &m->readers);
    enum err e;

    if (c == NULL)
        return ERR_IO;
    e = statement_read(c, sql, values, count, row, ctx);
    give_back(&m->readers, c);
    return e;
}

static enum err mariadb_read_tx(struct db *tx, const char *sql, const struct db_value *values, size_t count,
                                bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    return statement_read(connection_of(tx), sql, values, count, row, ctx);
}

static enum err mariadb_run_rows(struct db *tx, const char *sql, const struct db_value *values,
                                 size_t columns, size_t rows, int64_t *changed)
{
    return statement_run_rows(connection_of(tx), sql, values, columns, rows, changed);
}

/* Nothing is committed of a transaction that the engine has undone, whatever `work` made of that. */
static enum err commit(struct connection *c)
{
    if (c->undone != ERR_OK)
        return c->undone;
    if (c->rested) /* it was asked for nothing */
        return ERR_OK;
    return mysql_commit(c->mysql) == 0
               ? ERR_OK
               : connection_failed(c, mysql_errno(c->mysql), mysql_error(c->mysql), "COMMIT");
}

/* *lost: the connection broke under it; as it was where none could be had. */
static enum err write_once(struct mariadb *m, enum err (*work)(void *ctx, struct db *tx), void *ctx,
                           bool *lost)
{
    struct handle handle = {{&mariadb_tx_kind}, borrow(m, &m->writers)};
    struct connection *c = handle.connection;
    enum err e;

    if (c == NULL)
        return ERR_IO;
    if ((e = work(ctx, &handle.db)) == ERR_OK)
        e = commit(c);
    if (e != ERR_OK && !c->broken && mysql_rollback(c->mysql) != 0)
        c->broken = true; /* closing it undoes what it did */
    if (!c->unreachable)
        *lost = c->broken;
    give_back(&m->writers, c);
    return e;
}

static enum err mariadb_write(struct db *d, enum err (*work)(void *ctx, struct db *tx), void *ctx)
{
    bool lost = false;

    return write_once(mariadb_of(d), work, ctx, &lost);
}

static enum err mariadb_write_surely(struct db *d, enum err (*work)(void *ctx, struct db *tx), void *ctx)
{
    static const struct timespec rest = {0, SURELY_REST_MS * 1000000L};
    int64_t until_ms = clock_mono_ms() + DB_SURELY_MS_MAX;
    bool lost = false;
    enum err e = write_once(mariadb_of(d), work, ctx, &lost);

    while (e == ERR_IO && lost && clock_mono_ms() < until_ms) {
        nanosleep(&rest, NULL);
        e = write_once(mariadb_of(d), work, ctx, &lost);
    }
    return e;
}

static int64_t mariadb_away_ms(const struct db *d)
{
    return mariadb_server_away_ms(&((const struct mariadb *)(const void *)d)->server);
}

/* --- the schema -------------------------------------------------------------------------------------- */

static bool take_int(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = mariadb_column_int(r, 0);
    return false;
}

/* Only one server at a time changes the tables; its lock ends with its connection. */
static enum err mariadb_schema_version(struct db *d, int64_t *version)
{
    struct mariadb *m = mariadb_of(d);
    int64_t mine = 0;
    enum err e = connection_open(&m->schema, &m->server, USE_SCHEMA, NULL);

    if (e == ERR_OK) /* a little less than what the connection waits for an answer */
        e = statement_read(m->schema, "SELECT GET_LOCK(CONCAT('matinee ', MD5(DATABASE())), ?)",
                           DB_VALUES(db_int(DB_SCHEMA_SECONDS_MAX - 10)), take_int, &mine);
    if (e == ERR_OK && mine != 1)
        e = ERR_TIMEOUT;
    if (e == ERR_OK)
        e = connection_plain(
            m->schema,
            "CREATE TABLE {if_new} matinee_schema (one INT PRIMARY KEY, version {int} NOT NULL) {end}");
    return e == ERR_OK
               ? statement_read(m->schema, "SELECT version FROM matinee_schema", NULL, 0, take_int, version)
               : e;
}

/* Tables are made outside transactions here: a step that was cut short is taken again from its first statement. */
static enum err mariadb_schema_step(struct db *d, const char *const *sql, int64_t version)
{
    struct mariadb *m = mariadb_of(d);
    char mark[96];
    enum err e = ERR_OK;

    for (; *sql != NULL && e == ERR_OK; sql++)
        e = connection_plain(m->schema, *sql);
    snprintf(mark, sizeof mark, "REPLACE INTO matinee_schema VALUES (1, %lld)", (long long)version);
    return e == ERR_OK ? connection_plain(m->schema, mark) : e;
}

static void mariadb_schema_done(struct db *d)
{
    struct mariadb *m = mariadb_of(d);

    connection_close(m->schema);
    m->schema = NULL;
}

/* --- opening and closing ----------------------------------------------------------------------------- */

static void mariadb_close(struct db *d)
{
    struct mariadb *m = mariadb_of(d);

    pool_free(&m->readers);
    pool_free(&m->writers);
    mariadb_server_free(&m->server);
    free(m);
}

struct settings {
    int64_t flush, binlog, sync, packet_bytes;
};

static bool take_settings(void *ctx, const struct db_row *r)
{
    *(struct settings *)ctx = (struct settings){mariadb_column_int(r, 0), mariadb_column_int(r, 1),
                                                mariadb_column_int(r, 2), mariadb_column_int(r, 3)};
    return false;
}

/* A commit that is not synced is no commit: says so where the server is set up like that. */
static enum err check_settings(struct mariadb *m)
{
    struct settings s = {0};
    enum err e = mariadb_read(&m->db,
                              "SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog,"
                              " @@max_allowed_packet",
                              NULL, 0, take_settings, &s);

    if (e != ERR_OK)
        return e;
    m->server.packet_bytes_max = (size_t)s.packet_bytes;
    if (s.flush != 1 && s.flush != 3) /* 3: as in MariaDB 5.5, with one sync more */
        log_warn(
            "db",
            "this MariaDB does not sync every commit (innodb_flush_log_at_trx_commit = %lld): what was answered may"
            " be lost with the power; set it to 1",
            (long long)s.flush);
    if (s.binlog != 0 && s.sync != 1)
        log_warn(
            "db",
            "this MariaDB does not sync its binary log (sync_binlog = %lld): what was answered may be lost"
            " with the power; set it to 1",
            (long long)s.sync);
    return ERR_OK;
}

enum err db_mariadb_open(struct db **out, const char *url, char why[256])
{
    struct mariadb *m = mem_new(sizeof *m);
    struct connection *first;
    enum err e = ERR_BAD;

    m->db.kind = &mariadb_kind;
    pool_init(&m->readers, DB_READERS_MAX, USE_READS);
    pool_init(&m->writers, DB_WRITERS_MAX, USE_WRITES);
    if (mariadb_server_parse(&m->server, url, why) &&
        (e = connection_open(&first, &m->server, USE_READS, why)) == ERR_OK) {
        m->readers.count = 1;
        m->readers.free = first;
        if ((e = check_settings(m)) == ERR_OK) {
            *out = &m->db;
            return ERR_OK;
        }
        snprintf(why, 256, "--database: MariaDB did not say how it is set up: %s", err_text(e));
    }
    mariadb_close(&m->db);
    return e;
}

#define COLUMNS                                                                                              \
    .column_int = mariadb_column_int, .column_real = mariadb_column_real,                                    \
    .column_text = mariadb_column_text, .column_blob = mariadb_column_blob,                                  \
    .column_null = mariadb_column_null

const struct db_kind mariadb_kind = {
    .shared = true,
    .words = mariadb_words,
    .close = mariadb_close,
    .read = mariadb_read,
    .write = mariadb_write,
    .write_surely = mariadb_write_surely,
    .away_ms = mariadb_away_ms,
    .schema_version = mariadb_schema_version,
    .schema_step = mariadb_schema_step,
    .schema_done = mariadb_schema_done,
    COLUMNS,
};

const struct db_kind mariadb_tx_kind = {
    .shared = true,
    .words = mariadb_words,
    .read = mariadb_read_tx,
    .run_rows = mariadb_run_rows,
    COLUMNS,
};
