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

/* What callers hold: the database, or (with `tx`) a transaction of its only writer. */
struct db {
    struct connection *tx; /* NULL: no transaction's handle */
    char *file;
    pthread_mutex_t write_lock;
    struct connection writer;
    pthread_mutex_t read_lock;
    pthread_cond_t reader_free;
    struct connection *free_readers;
    unsigned reader_count;
};

struct db_row {
    sqlite3_stmt *statement;
};

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

static enum err open_connection(const char *file, struct connection *out)
{
    static const char pragmas[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                                  "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-4000;";
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
static struct connection *borrow(struct db *d)
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

static void give_back(struct db *d, struct connection *c)
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

/* The text for SQLite: its one writer needs no {lock}. */
static char *translated(const char *sql)
{
    static const char lock[] = "{lock}";
    const char *at = strstr(sql, lock);

    return at == NULL ? mem_string(sql) : mem_printf("%.*s%s", (int)(at - sql), sql, at + sizeof lock - 1);
}

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
    own = translated(sql);
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
    struct db_row r = {statement};
    int code = SQLITE_OK;

    for (size_t i = 0; i < count && code == SQLITE_OK; i++)
        code = bind(statement, &values[i], (int)i + 1);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    while (code == SQLITE_ROW)
        code = row != NULL && row(ctx, &r) ? sqlite3_step(statement) : SQLITE_DONE;
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

enum err db_read(struct db *d, const char *sql, const struct db_value *values, size_t count,
                 bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    struct connection *c;
    enum err e;

    if (d->tx != NULL)
        return run(d->tx, sql, values, count, row, ctx);
    if ((c = borrow(d)) == NULL)
        return ERR_IO;
    e = run(c, sql, values, count, row, ctx);
    give_back(d, c);
    return e;
}

enum err db_run_rows(struct db *tx, const char *sql, const struct db_value *values, size_t columns,
                     size_t rows, int64_t *changed)
{
    int64_t sum = 0;
    enum err e = ERR_OK;

    assert(tx->tx != NULL);
    for (size_t i = 0; i < rows && e == ERR_OK; i++) {
        e = run(tx->tx, sql, values + i * columns, columns, NULL, NULL);
        sum += e == ERR_OK ? sqlite3_changes64(tx->tx->sqlite) : 0;
    }
    if (changed != NULL)
        *changed = e == ERR_OK ? sum : 0;
    return e;
}

enum err db_run(struct db *tx, const char *sql, const struct db_value *values, size_t count, int64_t *changed)
{
    return db_run_rows(tx, sql, values, count, 1, changed);
}

enum err db_write(struct db *d, enum err (*work)(void *ctx, struct db *tx), void *ctx)
{
    struct db handle = {.tx = &d->writer};
    enum err e;

    assert(d->tx == NULL);
    pthread_mutex_lock(&d->write_lock);
    e = run(&d->writer, "BEGIN IMMEDIATE", NULL, 0, NULL, NULL);
    if (e == ERR_OK) {
        if ((e = work(ctx, &handle)) == ERR_OK)
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

bool db_shared(const struct db *d)
{
    return false; /* the file is ours alone */
}

struct one_statement {
    const char *sql;
    const struct db_value *values;
    size_t count;
    int64_t *changed;
};

static enum err run_one(void *ctx, struct db *tx)
{
    const struct one_statement *o = ctx;

    return db_run(tx, o->sql, o->values, o->count, o->changed);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): db_run() writes through it */
enum err db_do(struct db *d, const char *sql, const struct db_value *values, size_t count, int64_t *changed)
{
    struct one_statement one = {sql, values, count, changed};

    return db_write(d, run_one, &one);
}

enum err db_open(struct db **out, const char *url, char why[256])
{
    struct db *d;
    enum err e;

    *out = NULL;
    if (strncmp(url, "sqlite:", 7) != 0 || url[7] == '\0') {
        snprintf(why, 256, "--database %.100s: this build keeps its rows in sqlite:FILE", url);
        return ERR_UNSUPPORTED;
    }
    d = mem_new(sizeof *d);
    d->file = mem_string(url + 7);
    pthread_mutex_init(&d->write_lock, NULL);
    pthread_mutex_init(&d->read_lock, NULL);
    pthread_cond_init(&d->reader_free, NULL);
    if ((e = open_connection(d->file, &d->writer)) != ERR_OK)
        snprintf(why, 256, "--database sqlite:%.120s: %s; the file and its folder must be writable", d->file,
                 e == ERR_BAD ? "this is no SQLite database, or it is damaged" : err_text(e));
    else
        e = schema_update(d, why);
    if (e != ERR_OK) {
        db_close(d);
        return e;
    }
    *out = d;
    return ERR_OK;
}

void db_close(struct db *d)
{
    if (d == NULL)
        return;
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

int64_t db_column_int(const struct db_row *r, int at)
{
    return sqlite3_column_int64(r->statement, at);
}

double db_column_real(const struct db_row *r, int at)
{
    return sqlite3_column_double(r->statement, at);
}

const char *db_column_text(const struct db_row *r, int at)
{
    const char *text = (const char *)sqlite3_column_text(r->statement, at);

    return text ? text : "";
}

struct bytes db_column_blob(const struct db_row *r, int at)
{
    const void *blob = sqlite3_column_blob(r->statement, at);

    return bytes_of(blob, (size_t)sqlite3_column_bytes(r->statement, at));
}

bool db_column_null(const struct db_row *r, int at)
{
    return sqlite3_column_type(r->statement, at) == SQLITE_NULL;
}
