/* queue/ledger.c - the durable half of a local queue: one SQLite table of jobs that are open or not settled.
 *
 * It knows nothing of leases or of who waits; that is local.c. One connection, held by this process alone for as
 * long as it is open: leases live in memory, so a second process on the same file would hand jobs out twice. */
#include "queue/queue_int.h"

#include "base/log.h"
#include "base/mem.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define LEDGER_VERSION 1
/* What the write-ahead log keeps on disk between bursts. */
#define LEDGER_LOG_BYTES "16777216"

enum { ADD, CONTENT, CHANGE, CHANGE_CONTENT, FORGET, BEGIN, COMMIT, ROLLBACK, STATEMENTS };

static const char *const statement_text[STATEMENTS] = {
    [ADD] = "INSERT INTO job (key, lane, rank, content) VALUES (?, ?, ?, ?)",
    [CONTENT] = "SELECT content FROM job WHERE number = ?",
    [CHANGE] = "UPDATE job SET state = ?, attempt = ?, failures = ?, deaths = ?, took_ms = ?, worker = ?"
               " WHERE number = ?",
    [CHANGE_CONTENT] = "UPDATE job SET state = ?, attempt = ?, failures = ?, deaths = ?, took_ms = ?,"
                       " worker = ?, content = ? WHERE number = ?",
    [FORGET] = "DELETE FROM job WHERE number = ?",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

struct ledger {
    sqlite3 *sqlite;
    sqlite3_stmt *statement[STATEMENTS];
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

/* Steps a statement whose places are filled, and makes it ready for the next time. */
static enum err finish(struct ledger *l, sqlite3_stmt *s)
{
    enum err e = from_sqlite(sqlite3_step(s));

    if (e != ERR_OK)
        log_error("queue", "%s: %s", sqlite3_errmsg(l->sqlite), sqlite3_sql(s));
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return e;
}

static void bind_bytes(sqlite3_stmt *s, int at, struct bytes b)
{
    if (b.size == 0)
        sqlite3_bind_zeroblob(s, at, 0);
    else
        sqlite3_bind_blob64(s, at, b.at, b.size, SQLITE_STATIC);
}

enum err ledger_add(struct ledger *l, struct ledger_entry *e, struct bytes task)
{
    sqlite3_stmt *s = l->statement[ADD];
    enum err result;

    sqlite3_bind_text(s, 1, e->key, -1, SQLITE_STATIC);
    sqlite3_bind_int(s, 2, (int)e->lane);
    sqlite3_bind_int(s, 3, e->rank);
    bind_bytes(s, 4, task);
    result = finish(l, s);
    e->number = sqlite3_last_insert_rowid(l->sqlite);
    return result;
}

enum err ledger_content(struct ledger *l, int64_t number, struct buffer **out)
{
    sqlite3_stmt *s = l->statement[CONTENT];
    enum err e;
    int code;

    *out = NULL;
    sqlite3_bind_int64(s, 1, number);
    code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        const void *at = sqlite3_column_blob(s, 0);

        *out = buffer_copy(bytes_of(at, (size_t)sqlite3_column_bytes(s, 0)));
        e = ERR_OK;
    } else {
        e = code == SQLITE_DONE ? ERR_MISSING : from_sqlite(code);
        log_error("queue", "a job cannot be read: %s", sqlite3_errmsg(l->sqlite));
    }
    sqlite3_reset(s);
    return e;
}

enum err ledger_change(struct ledger *l, const struct ledger_entry *e, const struct bytes *content)
{
    sqlite3_stmt *s = l->statement[content == NULL ? CHANGE : CHANGE_CONTENT];
    int at = 1;

    sqlite3_bind_int(s, at++, (int)e->state);
    sqlite3_bind_int64(s, at++, e->attempt);
    sqlite3_bind_int64(s, at++, e->failures);
    sqlite3_bind_int64(s, at++, e->deaths);
    sqlite3_bind_int64(s, at++, e->took_ms);
    sqlite3_bind_text(s, at++, e->worker, -1, SQLITE_STATIC);
    if (content != NULL)
        bind_bytes(s, at++, *content);
    sqlite3_bind_int64(s, at, e->number);
    return finish(l, s);
}

enum err ledger_forget(struct ledger *l, const int64_t *numbers, size_t count)
{
    enum err e = finish(l, l->statement[BEGIN]);

    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        sqlite3_bind_int64(l->statement[FORGET], 1, numbers[i]);
        e = finish(l, l->statement[FORGET]);
    }
    if (e == ERR_OK)
        e = finish(l, l->statement[COMMIT]);
    if (e != ERR_OK && !sqlite3_get_autocommit(l->sqlite)) {
        enum err undone = finish(l, l->statement[ROLLBACK]);

        if (undone != ERR_OK)
            log_error("queue", "a transaction could not be undone: %s", err_text(undone));
    }
    return e;
}

/* Locks the file, makes the table where it is new, and looks whether it is one of ours. */
static int prepare_file(struct ledger *l, int *version)
{
    static const char pragmas[] = "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                                  "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
                                  "PRAGMA cache_size=-4000; PRAGMA journal_size_limit=" LEDGER_LOG_BYTES ";";
    static const char create[] =
        "BEGIN IMMEDIATE;"
        "CREATE TABLE IF NOT EXISTS job (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,"
        " lane INTEGER NOT NULL, rank INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0,"
        " attempt INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,"
        " deaths INTEGER NOT NULL DEFAULT 0, took_ms INTEGER NOT NULL DEFAULT 0,"
        " worker TEXT NOT NULL DEFAULT '', content BLOB NOT NULL);"
        "PRAGMA user_version=1; COMMIT;";
    sqlite3_stmt *s = NULL;
    int code = sqlite3_exec(l->sqlite, pragmas, NULL, NULL, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(l->sqlite, "PRAGMA user_version", -1, &s, NULL);
    if (code == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        *version = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    if (code != SQLITE_OK || *version > LEDGER_VERSION)
        return code;
    code = sqlite3_exec(l->sqlite, create, NULL, NULL, NULL);
    for (size_t i = 0; i < STATEMENTS && code == SQLITE_OK; i++)
        code = sqlite3_prepare_v3(l->sqlite, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &l->statement[i], NULL);
    return code;
}

static int show_entries(struct ledger *l, void (*each)(void *ctx, const struct ledger_entry *e), void *ctx)
{
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(l->sqlite,
                                  "SELECT number, key, lane, rank, state, attempt, failures, deaths, took_ms,"
                                  " worker FROM job ORDER BY number",
                                  -1, &s, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(s);
    for (; code == SQLITE_ROW; code = sqlite3_step(s)) {
        struct ledger_entry e = {
            .number = sqlite3_column_int64(s, 0),
            .key = (const char *)sqlite3_column_text(s, 1),
            .lane = sqlite3_column_int(s, 2) == QUEUE_LIVE ? QUEUE_LIVE : QUEUE_ARCHIVE,
            .rank = sqlite3_column_int(s, 3),
            .state = (enum ledger_state)sqlite3_column_int(s, 4),
            .attempt = (unsigned)sqlite3_column_int64(s, 5),
            .failures = (unsigned)sqlite3_column_int64(s, 6),
            .deaths = (unsigned)sqlite3_column_int64(s, 7),
            .took_ms = sqlite3_column_int64(s, 8),
            .worker = (const char *)sqlite3_column_text(s, 9),
        };

        each(ctx, &e);
    }
    sqlite3_finalize(s);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static const char *advice(int code, sqlite3 *sqlite)
{
    switch (from_sqlite(code)) {
    case ERR_BUSY:
        return "another process has it open; a local queue belongs to one";
    case ERR_BAD:
        return "this is no SQLite database, or it is damaged";
    case ERR_DENIED:
        return "the file and its folder must be there and writable";
    default:
        return sqlite != NULL ? sqlite3_errmsg(sqlite) : sqlite3_errstr(code);
    }
}

enum err ledger_open(struct ledger **out, const char *file,
                     void (*each)(void *ctx, const struct ledger_entry *e), void *ctx, char why[256])
{
    struct ledger *l = mem_new(sizeof *l);
    enum err e = ERR_OK;
    int version = 0, code;

    *out = NULL;
    code = sqlite3_open_v2(file, &l->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                           NULL);
    if (code == SQLITE_OK)
        code = prepare_file(l, &version);
    if (code == SQLITE_OK && version > LEDGER_VERSION) {
        snprintf(why, 256, "--queue local:%.100s: it was written by a newer matinee (version %d)", file,
                 version);
        e = ERR_UNSUPPORTED;
        goto out;
    }
    if (code == SQLITE_OK)
        code = show_entries(l, each, ctx);
    if ((e = from_sqlite(code)) != ERR_OK)
        snprintf(why, 256, "--queue local:%.100s: %.100s", file, advice(code, l->sqlite));
out:
    if (e == ERR_OK)
        *out = l;
    else
        ledger_close(l);
    return e;
}

void ledger_close(struct ledger *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(l->statement[i]);
    sqlite3_close(l->sqlite); /* folds the WAL into the file */
    free(l);
}
