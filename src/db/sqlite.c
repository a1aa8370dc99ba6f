/* db/sqlite.c - SQLite behind db.h.
 *
 * One connection writes, under a lock; a few more read, each lent to one call at a time. All are in WAL
 * mode with synchronous=FULL, so that a commit is on stable storage when it returns. */
#include "db/db_int.h"

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define READERS_MAX 8
/* Prepared statements that one connection keeps; all of matinee has about a hundred. */
#define STATEMENTS_MAX 256

struct connection {
    sqlite3 *sqlite;
    struct map *statements; /* by their text */
    struct connection *next;
};

struct database {
    struct db db;
    char *file;
    pthread_mutex_t write_lock;
    struct connection writer;
    pthread_mutex_t read_lock;
    pthread_cond_t reader_free;
    struct connection *free_readers;
    unsigned reader_count;
};

/* What a transaction's work gets: the only writer. */
struct handle {
    struct db db;
    struct connection *connection;
};

struct row {
    struct db_row row;
    sqlite3_stmt *statement;
};

static const struct db_kind sqlite_kind, sqlite_tx_kind;

static struct database *database_of(struct db *d)
{
    return (struct database *)(void *)d;
}

static struct connection *connection_of(struct db *tx)
{
    return ((struct handle *)(void *)tx)->connection;
}

static sqlite3_stmt *statement_of(const struct db_row *r)
{
    return ((const struct row *)(const void *)r)->statement;
}

static enum err from_sqlite(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return ERR_OK;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_CONSTRAINT:
        return ERR_EXISTS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_BAD;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return ERR_DENIED;
    default:
        return ERR_IO;
    }
}

/* Keys that clients choose are random: each of a commit's rows changes a page of its own in their index, and pages go into the
 * WAL whole. Small ones cost less (those of a file that is there already stay as they are); smaller still, and rows would no
 * longer fit. The WAL may be 32 MB: a page that is changed again and again goes into the file once for it, and not one commit in a hundred waits for that. */
static enum err open_connection(const char *file, struct connection *out)
{
    static const char pragmas[] =
        "PRAGMA page_size=2048; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=16000;"
        "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;"
        "PRAGMA cache_size=-4000;";
    int code = sqlite3_open_v2(file, &out->sqlite,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

    if (code == SQLITE_OK) {
        sqlite3_extended_result_codes(out->sqlite, 1);
        sqlite3_busy_timeout(out->sqlite, 10000);
        code = sqlite3_exec(out->sqlite, pragmas, NULL, NULL, NULL);
    }
    if (code != SQLITE_OK) {
        log_error("db", "%s: %s", file, out->sqlite ? sqlite3_errmsg(out->sqlite) : sqlite3_errstr(code));
        sqlite3_close(out->sqlite);
        out->sqlite = NULL;
        return from_sqlite(code);
    }
    out->statements = map_new();
    return ERR_OK;
}

static void forget_statements(struct connection *c)
{
    struct bytes sql;
    void *statement;

    for (size_t at = 0; map_next(c->statements, &at, &sql, &statement);)
        sqlite3_finalize(statement);
    map_free(c->statements);
    c->statements = map_new();
}

/* The last connection that closes folds the WAL into the file. */
static void close_connection(struct connection *c)
{
    if (c->sqlite == NULL)
        return;
    forget_statements(c);
    map_free(c->statements);
    sqlite3_close(c->sqlite);
}

/* Lends a reading connection; waits while all are out. NULL when none could be opened. */
static struct connection *borrow(struct database *d)
{
    struct connection *c = NULL;

    pthread_mutex_lock(&d->read_lock);
    while (d->free_readers == NULL && d->reader_count >= READERS_MAX)
        pthread_cond_wait(&d->reader_free, &d->read_lock);
    if (d->free_readers != NULL) {
        c = d->free_readers;
        d->free_readers = c->next;
    } else {
        d->reader_count++;
    }
    pthread_mutex_unlock(&d->read_lock);
    if (c != NULL)
        return c;

    c = mem_new(sizeof *c);
    if (open_connection(d->file, c) == ERR_OK)
        return c;
    free(c);
    pthread_mutex_lock(&d->read_lock);
    d->reader_count--;
    pthread_cond_signal(&d->reader_free);
    pthread_mutex_unlock(&d->read_lock);
    return NULL;
}

static void give_back(struct database *d, struct connection *c)
{
    pthread_mutex_lock(&d->read_lock);
    c->next = d->free_readers;
    d->free_readers = c;
    pthread_cond_signal(&d->reader_free);
    pthread_mutex_unlock(&d->read_lock);
}

static int bind(sqlite3_stmt *statement, const struct db_value *v, int at)
{
    switch (v->kind) {
    case DB_INT:
        return sqlite3_bind_int64(statement, at, v->i);
    case DB_REAL:
        return sqlite3_bind_double(statement, at, v->real);
    case DB_TEXT:
        return sqlite3_bind_text64(statement, at, (const char *)v->b.at, v->b.size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case DB_BLOB:
        return v->b.at == NULL ? sqlite3_bind_zeroblob(statement, at, 0)
                               : sqlite3_bind_blob64(statement, at, v->b.at, v->b.size, SQLITE_STATIC);
    case DB_NULL:
        break;
    }
    return sqlite3_bind_null(statement, at);
}

/* Its one writer needs no {lock}; types are what SQLite makes of them. */
static const struct db_word sqlite_words[] = {
    {"lock", ""},
    {"or_keep:", "ON CONFLICT DO NOTHING"},
    {"if_new", ""},
    {"id", "TEXT"},
    {"name", "TEXT"},
    {"key", "TEXT"},
    {"text", "TEXT"},
    {"hash", "BLOB"},
    {"blob", "BLOB"},
    {"int", "INTEGER"},
    {"end", "WITHOUT ROWID"},
    {NULL, NULL},
};

/* The statement of that text, prepared once. */
static int prepared(struct connection *c, const char *sql, sqlite3_stmt **out)
{
    struct bytes text = bytes_text(sql);
    char *own;
    int code;

    if ((*out = map_get(c->statements, text)) != NULL)
        return SQLITE_OK;
    if (map_count(c->statements) >= STATEMENTS_MAX)
        forget_statements(c);
    own = db_translate(sqlite_words, sql);
    code = sqlite3_prepare_v3(c->sqlite, own, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    free(own);
    if (code == SQLITE_OK && *out != NULL)
        map_put(c->statements, text, *out);
    return code;
}

/* Binds and steps a statement, and makes it ready for the next time. */
static int step(sqlite3_stmt *statement, const struct db_value *values, size_t count,
                bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    struct row r = {{&sqlite_kind}, statement};
    int code = SQLITE_OK;

    for (size_t i = 0; i < count && code == SQLITE_OK; i++)
        code = bind(statement, &values[i], (int)i + 1);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    while (code == SQLITE_ROW)
        code = row != NULL && row(ctx, &r.row) ? sqlite3_step(statement) : SQLITE_DONE;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code;
}

static enum err run(struct connection *c, const char *sql, const struct db_value *values, size_t count,
                    bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    sqlite3_stmt *statement = NULL;
    int code = prepared(c, sql, &statement);
    enum err e;

    if (code == SQLITE_OK)
        code = step(statement, values, count, row, ctx);
    e = from_sqlite(code);
    if (e != ERR_OK && e != ERR_EXISTS)
        log_error("db", "%s: %s", sqlite3_errmsg(c->sqlite), sql);
    return e;
}

static enum err sqlite_read(struct db *db, const char *sql, const struct db_value *values, size_t count,
                            bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    struct database *d = database_of(db);
    struct connection *c = borrow(d);
    enum err e;

    if (c == NULL)
        return ERR_IO;
    e = run(c, sql, values, count, row, ctx);
    give_back(d, c);
    return e;
}

static enum err sqlite_read_tx(struct db *tx, const char *sql, const struct db_value *values, size_t count,
                               bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    return run(connection_of(tx), sql, values, count, row, ctx);
}

static enum err sqlite_run_rows(struct db *tx, const char *sql, const struct db_value *values, size_t columns,
                                size_t rows, int64_t *changed)
{
    struct connection *c = connection_of(tx);
    enum err e = ERR_OK;

    *changed = 0;
    for (size_t i = 0; i < rows && e == ERR_OK; i++) {
        e = run(c, sql, columns > 0 ? values + i * columns : NULL, columns, NULL, NULL);
        *changed += e == ERR_OK ? sqlite3_changes64(c->sqlite) : 0;
    }
    return e;
}

static enum err sqlite_write(struct db *db, enum err (*work)(void *ctx, struct db *tx), void *ctx)
{
    struct database *d = database_of(db);
    struct handle handle = {{&sqlite_tx_kind}, &d->writer};
    enum err e;

    pthread_mutex_lock(&d->write_lock);
    e = run(&d->writer, "BEGIN IMMEDIATE", NULL, 0, NULL, NULL);
    if (e == ERR_OK) {
        if ((e = work(ctx, &handle.db)) == ERR_OK)
            e = run(&d->writer, "COMMIT", NULL, 0, NULL, NULL);
        if (e != ERR_OK && !sqlite3_get_autocommit(d->writer.sqlite)) {
            enum err undone = run(&d->writer, "ROLLBACK", NULL, 0, NULL, NULL);

            if (undone != ERR_OK)
                log_error("db", "a transaction could not be undone: %s", err_text(undone));
        }
    }
    pthread_mutex_unlock(&d->write_lock);
    return e;
}

/* --- the schema -------------------------------------------------------------------------------------- */

static bool take_int(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = sqlite3_column_int64(statement_of(r), 0);
    return false;
}

static enum err sqlite_schema_version(struct db *db, int64_t *version)
{
    return run(&database_of(db)->writer, "PRAGMA user_version", NULL, 0, take_int, version);
}

struct step {
    const char *const *sql;
    int64_t version;
};

static enum err take_step(void *ctx, struct db *tx)
{
    const struct step *step = ctx;
    char version[64];
    enum err e = ERR_OK;

    for (const char *const *sql = step->sql; *sql != NULL && e == ERR_OK; sql++)
        e = run(connection_of(tx), *sql, NULL, 0, NULL, NULL);
    snprintf(version, sizeof version, "PRAGMA user_version = %lld", (long long)step->version);
    return e == ERR_OK ? run(connection_of(tx), version, NULL, 0, NULL, NULL) : e;
}

static enum err sqlite_schema_step(struct db *db, const char *const *sql, int64_t version)
{
    struct step step = {sql, version};

    return sqlite_write(db, take_step, &step);
}

static void sqlite_schema_done(struct db *db)
{
}

/* --- opening and closing ----------------------------------------------------------------------------- */

static void sqlite_close(struct db *db)
{
    struct database *d = database_of(db);

    for (struct connection *c = d->free_readers, *next; c != NULL; c = next) {
        next = c->next;
        close_connection(c);
        free(c);
    }
    close_connection(&d->writer);
    pthread_mutex_destroy(&d->write_lock);
    pthread_mutex_destroy(&d->read_lock);
    pthread_cond_destroy(&d->reader_free);
    free(d->file);
    free(d);
}

enum err db_sqlite_open(struct db **out, const char *url, char why[256])
{
    struct database *d = mem_new(sizeof *d);
    enum err e;

    d->db.kind = &sqlite_kind;
    d->file = mem_string(url + strlen("sqlite:"));
    pthread_mutex_init(&d->write_lock, NULL);
    pthread_mutex_init(&d->read_lock, NULL);
    pthread_cond_init(&d->reader_free, NULL);
    if ((e = open_connection(d->file, &d->writer)) == ERR_OK) {
        *out = &d->db;
        return ERR_OK;
    }
    snprintf(why, 256, "--database sqlite:%.120s: %s; the file and its folder must be writable", d->file,
             e == ERR_BAD ? "this is no SQLite database, or it is damaged" : err_text(e));
    sqlite_close(&d->db);
    return e;
}

/* --- columns ----------------------------------------------------------------------------------------- */

static int64_t sqlite_column_integer(const struct db_row *r, int at)
{
    return sqlite3_column_int64(statement_of(r), at);
}

static double sqlite_column_real(const struct db_row *r, int at)
{
    return sqlite3_column_double(statement_of(r), at);
}

static const char *sqlite_column_string(const struct db_row *r, int at)
{
    const char *text = (const char *)sqlite3_column_text(statement_of(r), at);

    return text ? text : "";
}

static struct bytes sqlite_column_bytes(const struct db_row *r, int at)
{
    const void *blob = sqlite3_column_blob(statement_of(r), at);

    return bytes_of(blob, (size_t)sqlite3_column_bytes(statement_of(r), at));
}

static bool sqlite_column_null(const struct db_row *r, int at)
{
    return sqlite3_column_type(statement_of(r), at) == SQLITE_NULL;
}

#define COLUMNS                                                                                              \
    .column_int = sqlite_column_integer, .column_real = sqlite_column_real,                                  \
    .column_text = sqlite_column_string, .column_blob = sqlite_column_bytes,                                 \
    .column_null = sqlite_column_null

static const struct db_kind sqlite_kind = {
    .words = sqlite_words,
    .close = sqlite_close,
    .read = sqlite_read,
    .write = sqlite_write,
    .schema_version = sqlite_schema_version,
    .schema_step = sqlite_schema_step,
    .schema_done = sqlite_schema_done,
    COLUMNS,
};

static const struct db_kind sqlite_tx_kind = {
    .words = sqlite_words,
    .read = sqlite_read_tx,
    .run_rows = sqlite_run_rows,
    COLUMNS,
};
