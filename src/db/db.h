/* db/db.h - SQL, on SQLite: one writer, any number of readers, WAL with synchronous=FULL.
 *
 * A statement is text with ? places and its values; rows come back one by one. Calls block: pool threads
 * only (and the main thread at start). */
#ifndef MATINEE_DB_DB_H
#define MATINEE_DB_DB_H

#include "base/bytes.h"
#include "base/err.h"

struct db;
struct db_row;

/* Opens `url` ("sqlite:FILE") and brings its schema up to date. `why` says what to do on failure. */
must_check enum err db_open(struct db **out, const char *url, char why[256]);
void db_close(struct db *d); /* accepts NULL */

/* A value for a place. */
struct db_value {
    enum { DB_NULL, DB_INT, DB_REAL, DB_TEXT, DB_BLOB } kind;
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

/* Runs one statement that gives rows; `row` is called for each and returns false to stop. Reads see the
 * last commit, and within db_write() what that transaction wrote. */
must_check enum err db_read(struct db *d, const char *sql, const struct db_value *values, size_t count,
                            bool (*row)(void *ctx, const struct db_row *r), void *ctx);

/* Runs `work` in one transaction of the only writer: durable when this returns ERR_OK, undone when `work`
 * or the commit fails. `work` uses db_run() and db_read(), and never db_write(). */
must_check enum err db_write(struct db *d, enum err (*work)(void *ctx, struct db *d), void *ctx);

/* Runs one statement inside db_write(). ERR_EXISTS: a uniqueness rule said no. *changed may be NULL. */
must_check enum err db_run(struct db *d, const char *sql, const struct db_value *values, size_t count,
                           int64_t *changed);

/* Runs one statement in a transaction of its own. */
must_check enum err db_do(struct db *d, const char *sql, const struct db_value *values, size_t count,
                          int64_t *changed);

/* Columns of a row; valid during the call. Text is ended by NUL, "" where the column is NULL. */
int64_t db_column_int(const struct db_row *r, int at);
double db_column_real(const struct db_row *r, int at);
const char *db_column_text(const struct db_row *r, int at);
struct bytes db_column_blob(const struct db_row *r, int at);
bool db_column_null(const struct db_row *r, int at);

#endif
