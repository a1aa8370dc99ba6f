/* db/db.h - SQL, on SQLite or MariaDB.
 *
 *   sqlite:FILE                            embedded: one writer, any number of readers, WAL with synchronous=FULL
 *   mysql://[user[:password]@]host[:port]/database[?socket=FILE&ssl=1&ssl_ca=FILE]
 *                                          MariaDB 10.6 or newer: as many writers as connections, READ COMMITTED;
 *                                          several servers may share one
 *
 * A statement is text with ? places and its values; rows come back one by one. It is written once for both
 * engines: words in braces stand for what differs (sqlite_words, mariadb_words). {lock} after a SELECT is FOR UPDATE
 * where there are several writers and nothing where there is one; {or_keep:COLUMN} after an INSERT leaves a row whose
 * key is there already as it is (what *changed then says differs). Statements are prepared once for each connection
 * and kept by their text, so a text that varies (a list of places) should vary little.
 *
 * In both, texts are compared byte by byte and sort as strcmp() sorts, || joins them, and a backslash is only that.
 * Not the same, and so not used: 5 / 2, types and functions of dates, RETURNING.
 *
 * Calls block: pool threads and threads of one's own only (and the main thread at start). */
#ifndef MATINEE_DB_DB_H
#define MATINEE_DB_DB_H

#include "base/bytes.h"
#include "base/err.h"

struct db;
struct db_row;

/* Opens `url` and brings its schema up to date. `why` says what to do on failure, and holds no password. */
must_check enum err db_open(struct db **out, const char *url, char why[256]);
void db_close(struct db *d); /* accepts NULL */

/* Whether other processes may write too, so that what was read outside a transaction says nothing about now. */
bool db_shared(const struct db *d);

/* How long the engine has not been reached by anybody who tried, in milliseconds; 0: it is there. Any thread; returns at once. */
int64_t db_away_ms(const struct db *d);

/* A value for a place. */
struct db_value {
    enum db_type { DB_NULL, DB_INT, DB_REAL, DB_TEXT, DB_BLOB } kind;
    int64_t i;
    double real;
    struct bytes b;
};

#define db_null()    ((struct db_value){.kind = DB_NULL})
#define db_int(v)    ((struct db_value){.kind = DB_INT, .i = (v)})
#define db_real(v)   ((struct db_value){.kind = DB_REAL, .real = (v)})
#define db_str(v)    ((struct db_value){.kind = DB_TEXT, .b = bytes_text(v)})
#define db_blob(at_) ((struct db_value){.kind = DB_BLOB, .b = (at_)})

#define DB_VALUES(...)                                                                                       \
    (const struct db_value[]){__VA_ARGS__},                                                                  \
        sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value)

/* Runs one statement that gives rows; `row` is called for each and returns false to stop; it runs no statement itself. Reads
 * see the last commit, and with the handle that db_write() gives what that transaction wrote. */
must_check enum err db_read(struct db *d, const char *sql, const struct db_value *values, size_t count,
                            bool (*row)(void *ctx, const struct db_row *r), void *ctx);

/* Runs `work` in one transaction: durable when this returns ERR_OK, undone when `work` or the commit fails.
 * `work` gets a handle of the transaction and uses no other, with db_run(), db_run_rows() and db_read() only.
 * ERR_BUSY: a deadlock, or a lock that did not come within DB_LOCK_SECONDS_MAX; undone, may be tried again.
 * ERR_IO: the engine is away or went away; where that was during the commit, nobody knows whether it is
 * done, and the caller looks before it tries again. */
must_check enum err db_write(struct db *d, enum err (*work)(void *ctx, struct db *tx), void *ctx);

/* As db_write(), for work that does no harm when it is done twice: new rows have keys of their own and {or_keep:…}. Where the
 * engine goes away under it, in the commit too, it is asked again for up to DB_SURELY_MS_MAX. ERR_IO: it is away still, and
 * nobody knows; or it was away from the beginning, and then nothing is done. */
must_check enum err db_write_surely(struct db *d, enum err (*work)(void *ctx, struct db *tx), void *ctx);

/* Runs one statement inside db_write(). ERR_EXISTS: a uniqueness rule said no (nothing else is undone by that). *changed (may be
 * NULL) counts rows that the statement found, whether or not their values differ from before. */
must_check enum err db_run(struct db *tx, const char *sql, const struct db_value *values, size_t count,
                           int64_t *changed);

/* Runs one statement once for each of `rows` rows of `columns` values, in as few trips to the engine as it can.
 * The first that fails ends it; the transaction should then be given up. *changed (may be NULL) is the sum. */
must_check enum err db_run_rows(struct db *tx, const char *sql, const struct db_value *values, size_t columns,
                                size_t rows, int64_t *changed);

/* Runs one statement in a transaction of its own. ERR_BUSY only after it was tried again a few times. */
must_check enum err db_do(struct db *d, const char *sql, const struct db_value *values, size_t count,
                          int64_t *changed);

/* Columns of a row; valid during the call. Text is ended by NUL, "" where the column is NULL. */
int64_t db_column_int(const struct db_row *r, int at);
double db_column_real(const struct db_row *r, int at);
const char *db_column_text(const struct db_row *r, int at);
struct bytes db_column_blob(const struct db_row *r, int at);
bool db_column_null(const struct db_row *r, int at);

#endif
