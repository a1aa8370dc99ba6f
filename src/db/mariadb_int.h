/* db/mariadb_int.h - between MariaDB's address (mariadb_url.c), one connection (mariadb_connection.c), its statements
 * (mariadb_statement.c), and the pools of them (mariadb.c). */
#ifndef MATINEE_DB_MARIADB_INT_H
#define MATINEE_DB_MARIADB_INT_H

#include "db/db_int.h"

#include <mysql.h>
#include <pthread.h>
#include <stdatomic.h>

/* --- the server -------------------------------------------------------------------------------------- */

struct mariadb_server {
    char *host, *user, *password, *name; /* `name` of the database */
    char *socket;                        /* NULL: TCP */
    char *ssl_ca;                        /* NULL: with `ssl`, the system's authorities */
    unsigned port;
    bool ssl;
    size_t packet_bytes_max; /* what one statement and its values may be; 0: not known yet */

    pthread_mutex_t lock;
    _Atomic int64_t away_since_ms; /* no connection could be made since; 0: it was heard of later */
    int64_t said_ms;               /* when that was last said */
    unsigned attempts;             /* to connect, under way */
};

/* Takes mysql://[user[:password]@]host[:port]/database[?socket=FILE&ssl=1&ssl_ca=FILE] apart. False where it is malformed,
 * and `why` says what is expected and nothing of what was given. Free in both cases. */
must_check bool mariadb_server_parse(struct mariadb_server *out, const char *url, char why[256]);
void mariadb_server_free(struct mariadb_server *s);

/* --- one connection ---------------------------------------------------------------------------------- */

enum connection_use {
    USE_READS,  /* every statement commits by itself */
    USE_WRITES, /* never does: a transaction begins with its first statement, and that costs no trip */
    USE_SCHEMA, /* as reads, and changes of tables may take their time */
};

struct connection {
    struct connection *next; /* in its pool */
    struct mariadb_server *server;
    enum connection_use use;
    MYSQL *mysql;
    struct map *statements; /* struct statement, by its text */
    bool broken;            /* to be thrown away */
    bool unreachable;       /* it could not be made anew: nothing was said over it */
    bool rested;     /* it may have ended in the pool: no statement of this borrower's was answered yet */
    enum err undone; /* the engine has undone the transaction, and nothing more is run in it */
};

/* Connects. `why` (may be NULL) says what to do about a failure; that the server is away is logged too, now and then. */
must_check enum err connection_open(struct connection **out, struct mariadb_server *s,
                                    enum connection_use use, char why[256]);
void connection_close(struct connection *c); /* accepts NULL */
/* Connects anew in place of what broke. */
must_check enum err connection_renew(struct connection *c);
/* Runs a text as it is, words apart; its rows are dropped. */
must_check enum err connection_plain(struct connection *c, const char *sql);
/* What an error number stands for, noted in the connection, and logged where a person has to know. */
enum err connection_failed(struct connection *c, unsigned number, const char *message, const char *sql);

/* The server has just answered. */
void mariadb_server_answers(struct mariadb_server *s);
/* As db_away_ms(). */
int64_t mariadb_server_away_ms(const struct mariadb_server *s);

extern const struct db_word mariadb_words[];

/* --- statements -------------------------------------------------------------------------------------- */

/* As db_read() and db_run_rows(). On a connection that has ended while it rested they connect anew first. */
must_check enum err statement_read(struct connection *c, const char *sql, const struct db_value *values,
                                   size_t count, bool (*row)(void *ctx, const struct db_row *r), void *ctx);
must_check enum err statement_run_rows(struct connection *c, const char *sql, const struct db_value *values,
                                       size_t columns, size_t rows, int64_t *changed);
/* Closes the statements of a connection. */
void statements_forget(struct connection *c);

int64_t mariadb_column_int(const struct db_row *r, int at);
double mariadb_column_real(const struct db_row *r, int at);
const char *mariadb_column_text(const struct db_row *r, int at);
struct bytes mariadb_column_blob(const struct db_row *r, int at);
bool mariadb_column_null(const struct db_row *r, int at);

extern const struct db_kind mariadb_kind, mariadb_tx_kind;

#endif
