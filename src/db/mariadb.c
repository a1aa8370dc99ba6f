/* db/mariadb.c - MariaDB behind db.h, by MariaDB Connector/C.
 *
 * Connections are lent to one call or transaction at a time and kept. Those that read commit by themselves; those that write
 * never do, so that a transaction begins with its first statement and costs no trip of its own. A connection that is broken is
 * thrown away; one that has rested is asked whether it still stands before it is used. */
#include "db/db_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <errmsg.h>
#include <mysql.h>
#include <mysqld_error.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Prepared statements that one connection keeps. */
#define STATEMENTS_MAX 256
/* A connection that has rested for so long is asked first. */
#define REST_MS 1000
/* A value's first room; what is longer is fetched again. */
#define COLUMN_ROOM 256
#define COLUMNS_MAX 32

struct connection {
    struct connection *next;
    MYSQL *mysql;
    struct map *statements; /* struct statement, by its text */
    bool broken;
    int64_t used_ms;
};

struct column {
    enum enum_field_types type; /* of the buffer */
    int64_t integer;
    double real;
    char *text;
    unsigned long room, size;
    my_bool null;
};

struct statement {
    MYSQL_STMT *stmt;
    unsigned column_count;
    struct column columns[COLUMNS_MAX];
    MYSQL_BIND binds[COLUMNS_MAX];
};

/* Connections of one use. */
struct pool {
    pthread_mutex_t lock;
    pthread_cond_t one_free;
    struct connection *free;
    unsigned count, most;
    bool writes;
};

struct server {
    struct db db;
    char *user, *password, *host, *name, *socket;
    unsigned port;
    struct pool readers, writers;
    struct connection *schema; /* holds the schema's lock; NULL: nobody does */
};

/* What a transaction's work gets. */
struct handle {
    struct db db;
    struct connection *connection;
};

struct row {
    struct db_row row;
    struct statement *statement;
};

static const struct db_kind mariadb_kind, mariadb_tx_kind;

static struct server *server_of(struct db *d)
{
    return (struct server *)(void *)d;
}

static const struct db_word mariadb_words[] = {
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

/* --- errors ------------------------------------------------------------------------------------------ */

static bool connection_lost(unsigned number)
{
    switch (number) {
    case CR_SERVER_GONE_ERROR:
    case CR_SERVER_LOST:
    case CR_CONN_HOST_ERROR:
    case CR_CONNECTION_ERROR:
    case ER_SERVER_SHUTDOWN:
    case ER_CONNECTION_KILLED:
    case ER_NORMAL_SHUTDOWN:
    case CR_COMMANDS_OUT_OF_SYNC:
        return true;
    default:
        return false;
    }
}

static enum err from_mariadb(unsigned number)
{
    switch (number) {
    case 0:
        return ERR_OK;
    case ER_LOCK_DEADLOCK:
    case ER_LOCK_WAIT_TIMEOUT:
        return ERR_BUSY;
    case ER_DUP_ENTRY:
        return ERR_EXISTS;
    case ER_DISK_FULL:
    case ER_RECORD_FILE_FULL:
        return ERR_FULL;
    case ER_ACCESS_DENIED_ERROR:
    case ER_DBACCESS_DENIED_ERROR:
    case ER_TABLEACCESS_DENIED_ERROR:
        return ERR_DENIED;
    case ER_BAD_DB_ERROR:
        return ERR_MISSING;
    default:
        return ERR_IO;
    }
}

static enum err failed(struct connection *c, unsigned number, const char *message, const char *sql)
{
    enum err e = from_mariadb(number);

    if (connection_lost(number)) {
        c->broken = true;
        return ERR_IO;
    }
    if (e != ERR_EXISTS && e != ERR_BUSY)
        log_error("db", "%s: %s", message, sql);
    return e;
}

/* --- connections ------------------------------------------------------------------------------------- */

static void statement_free(struct statement *s)
{
    if (s->stmt != NULL)
        mysql_stmt_close(s->stmt);
    for (unsigned i = 0; i < s->column_count; i++)
        free(s->columns[i].text);
    free(s);
}

static void connection_close(struct connection *c)
{
    struct bytes sql;
    void *statement;

    for (size_t at = 0; map_next(c->statements, &at, &sql, &statement);)
        statement_free(statement);
    map_free(c->statements);
    mysql_close(c->mysql);
    free(c);
}

static enum err connect_to(const struct server *s, bool writes, struct connection **out, char why[256])
{
    unsigned connect_s = DB_CONNECT_SECONDS_MAX, talk_s = DB_ANSWER_SECONDS_MAX;
    struct connection *c = mem_new(sizeof *c);
    char settings[320];
    enum err e;

    *out = NULL;
    snprintf(
        settings, sizeof settings,
        "SET autocommit = %d, tx_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = %d, time_zone = '+00:00', "
        "sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'",
        !writes, DB_LOCK_SECONDS_MAX);
    c->statements = map_new();
    c->mysql = mysql_init(NULL);
    mysql_options(c->mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_options(c->mysql, MYSQL_OPT_READ_TIMEOUT, &talk_s);
    mysql_options(c->mysql, MYSQL_OPT_WRITE_TIMEOUT, &talk_s);
    mysql_options(c->mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options(c->mysql, MYSQL_INIT_COMMAND, settings);
    if (mysql_real_connect(c->mysql, s->host, s->user, s->password, s->name, s->port, s->socket,
                           CLIENT_FOUND_ROWS) != NULL) {
        c->used_ms = clock_mono_ms();
        *out = c;
        return ERR_OK;
    }
    e = from_mariadb(mysql_errno(c->mysql));
    if (why != NULL)
        snprintf(why, 256, "--database mysql://%.40s/%.40s: %.140s", s->socket != NULL ? s->socket : s->host,
                 s->name, mysql_error(c->mysql));
    connection_close(c);
    return e;
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

static void give_back(struct pool *p, struct connection *c)
{
    bool keep = c != NULL && !c->broken;

    if (c != NULL && !keep)
        connection_close(c);
    pthread_mutex_lock(&p->lock);
    if (keep) {
        c->used_ms = clock_mono_ms();
        c->next = p->free;
        p->free = c;
    } else {
        p->count--;
    }
    pthread_cond_signal(&p->one_free);
    pthread_mutex_unlock(&p->lock);
}

static struct connection *borrow(struct server *s, struct pool *p)
{
    struct connection *c = take_free(p);

    if (c != NULL && clock_mono_ms() - c->used_ms > REST_MS && mysql_ping(c->mysql) != 0) {
        connection_close(c); /* it ended while it rested: nothing was under way */
        c = NULL;
    }
    if (c == NULL && connect_to(s, p->writes, &c, NULL) != ERR_OK)
        give_back(p, NULL);
    return c;
}

/* --- statements -------------------------------------------------------------------------------------- */

/* Where the values of the statement's rows go: numbers into numbers, everything else into text that grows. */
static void bind_columns(struct statement *s)
{
    MYSQL_RES *fields = mysql_stmt_result_metadata(s->stmt);

    if (fields == NULL)
        return;
    s->column_count = mysql_num_fields(fields);
    assert(s->column_count <= COLUMNS_MAX);
    for (unsigned i = 0; i < s->column_count; i++) {
        const MYSQL_FIELD *f = mysql_fetch_field_direct(fields, i);
        struct column *c = &s->columns[i];
        MYSQL_BIND *b = &s->binds[i];

        b->is_null = &c->null;
        b->length = &c->size;
        if (IS_NUM(f->type) && f->type != MYSQL_TYPE_NEWDECIMAL && f->type != MYSQL_TYPE_DOUBLE) {
            b->buffer_type = c->type = MYSQL_TYPE_LONGLONG;
            b->buffer = &c->integer;
        } else if (f->type == MYSQL_TYPE_DOUBLE) {
            b->buffer_type = c->type = MYSQL_TYPE_DOUBLE;
            b->buffer = &c->real;
        } else {
            b->buffer_type = c->type = MYSQL_TYPE_BLOB;
            c->room = COLUMN_ROOM;
            b->buffer = c->text = mem_new(c->room + 1);
            b->buffer_length = c->room;
        }
    }
    mysql_free_result(fields);
}

/* The statement of that text, prepared once. */
static enum err prepared(struct connection *c, const char *sql, struct statement **out)
{
    struct bytes text = bytes_text(sql), key;
    enum err e = ERR_OK;
    char *own;
    void *old;

    if ((*out = map_get(c->statements, text)) != NULL)
        return ERR_OK;
    if (map_count(c->statements) >= STATEMENTS_MAX) {
        for (size_t at = 0; map_next(c->statements, &at, &key, &old);)
            statement_free(old);
        map_free(c->statements);
        c->statements = map_new();
    }
    *out = mem_new(sizeof **out);
    own = db_translate(mariadb_words, sql);
    (*out)->stmt = mysql_stmt_init(c->mysql);
    if (mysql_stmt_prepare((*out)->stmt, own, strlen(own)) != 0) {
        e = failed(c, mysql_stmt_errno((*out)->stmt), mysql_stmt_error((*out)->stmt), own);
        statement_free(*out);
    } else {
        bind_columns(*out);
        map_put(c->statements, text, *out);
    }
    free(own);
    return e;
}

/* A column of values for a statement's place, one for each row. */
struct place {
    char *none; /* indicators */
    union {
        int64_t *integers;
        double *reals;
        const uint8_t **texts;
        void *any;
    } at;
    unsigned long *sizes;
};

static enum enum_field_types type_of(const struct db_value *values, size_t columns, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        switch (values[r * columns].kind) {
        case DB_INT:
            return MYSQL_TYPE_LONGLONG;
        case DB_REAL:
            return MYSQL_TYPE_DOUBLE;
        case DB_TEXT:
            return MYSQL_TYPE_STRING;
        case DB_BLOB:
            return MYSQL_TYPE_BLOB;
        case DB_NULL:
            break;
        }
    return MYSQL_TYPE_STRING;
}

/* Lays out one column for all rows (the bulk protocol binds columns). */
static void fill_place(struct place *p, MYSQL_BIND *b, const struct db_value *values, size_t columns,
                       size_t rows)
{
    b->buffer_type = type_of(values, columns, rows);
    p->none = mem_new(rows);
    p->sizes = mem_new(rows * sizeof *p->sizes);
    p->at.any = mem_new(rows * sizeof(int64_t));
    b->buffer = p->at.any;
    b->u.indicator = p->none;
    b->length = p->sizes;
    for (size_t r = 0; r < rows; r++) {
        const struct db_value *v = &values[r * columns];

        p->none[r] = v->kind == DB_NULL ? STMT_INDICATOR_NULL : STMT_INDICATOR_NONE;
        if (v->kind == DB_INT) {
            p->at.integers[r] = v->i;
        } else if (v->kind == DB_REAL) {
            p->at.reals[r] = v->real;
        } else {
            p->at.texts[r] = v->b.at != NULL ? v->b.at : (const uint8_t *)"";
            p->sizes[r] = v->b.size;
        }
    }
}

/* The usual case, one row: values are bound where they are. */
static void fill_bind(MYSQL_BIND *b, const struct db_value *v, unsigned long *size)
{
    b->buffer_type = v->kind == DB_NULL ? MYSQL_TYPE_NULL : type_of(v, 1, 1);
    b->length = size;
    *size = v->b.size;
    b->buffer_length = v->b.size;
    if (v->kind == DB_INT)
        b->buffer = (void *)(uintptr_t)&v->i;
    else if (v->kind == DB_REAL)
        b->buffer = (void *)(uintptr_t)&v->real;
    else
        b->buffer = (void *)(uintptr_t)(v->b.at != NULL ? v->b.at : (const uint8_t *)"");
}

static enum err executed(struct connection *c, struct statement *s, const char *sql)
{
    if (mysql_stmt_execute(s->stmt) == 0)
        return ERR_OK;
    return failed(c, mysql_stmt_errno(s->stmt), mysql_stmt_error(s->stmt), sql);
}

static enum err execute_one(struct connection *c, struct statement *s, const char *sql,
                            const struct db_value *values, size_t count)
{
    MYSQL_BIND *binds = mem_new(count * sizeof *binds);
    unsigned long *sizes = mem_new(count * sizeof *sizes);
    unsigned rows = 0;
    enum err e = ERR_OK;

    assert(mysql_stmt_param_count(s->stmt) == count);
    for (size_t i = 0; i < count; i++)
        fill_bind(&binds[i], &values[i], &sizes[i]);
    mysql_stmt_attr_set(s->stmt, STMT_ATTR_ARRAY_SIZE, &rows);
    if (count > 0 && mysql_stmt_bind_param(s->stmt, binds) != 0)
        e = failed(c, mysql_stmt_errno(s->stmt), mysql_stmt_error(s->stmt), sql);
    if (e == ERR_OK)
        e = executed(c, s, sql);
    free(sizes);
    free(binds);
    return e;
}

static enum err execute_rows(struct connection *c, struct statement *s, const char *sql,
                             const struct db_value *values, size_t columns, size_t rows)
{
    MYSQL_BIND *binds = mem_new(columns * sizeof *binds);
    struct place *places = mem_new(columns * sizeof *places);
    unsigned count = (unsigned)rows;
    enum err e = ERR_OK;

    for (size_t i = 0; i < columns; i++)
        fill_place(&places[i], &binds[i], values + i, columns, rows);
    mysql_stmt_attr_set(s->stmt, STMT_ATTR_ARRAY_SIZE, &count);
    if (mysql_stmt_bind_param(s->stmt, binds) != 0)
        e = failed(c, mysql_stmt_errno(s->stmt), mysql_stmt_error(s->stmt), sql);
    if (e == ERR_OK)
        e = executed(c, s, sql);
    for (size_t i = 0; i < columns; i++) {
        free(places[i].none);
        free(places[i].sizes);
        free(places[i].at.any);
    }
    free(places);
    free(binds);
    return e;
}

/* --- rows -------------------------------------------------------------------------------------------- */

/* Fetches again what was longer than its room, and ends every text by NUL. */
static bool complete(struct statement *s)
{
    for (unsigned i = 0; i < s->column_count; i++) {
        struct column *c = &s->columns[i];

        if (c->text == NULL || c->null)
            continue;
        if (c->size > c->room) {
            c->room = c->size;
            s->binds[i].buffer = c->text = mem_resize(c->text, c->room + 1);
            s->binds[i].buffer_length = c->room;
            if (mysql_stmt_fetch_column(s->stmt, &s->binds[i], i, 0) != 0)
                return false;
            mysql_stmt_bind_result(s->stmt, s->binds);
        }
        c->text[c->size] = '\0';
    }
    return true;
}

static enum err show_rows(struct connection *c, struct statement *s, const char *sql,
                          bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    struct row r = {{&mariadb_kind}, s};
    enum err e = ERR_OK;
    int code;

    if (mysql_stmt_bind_result(s->stmt, s->binds) != 0)
        return failed(c, mysql_stmt_errno(s->stmt), mysql_stmt_error(s->stmt), sql);
    while ((code = mysql_stmt_fetch(s->stmt)) == 0 || code == MYSQL_DATA_TRUNCATED) {
        if (!complete(s)) {
            code = 1;
            break;
        }
        if (!row(ctx, &r.row))
            break;
    }
    if (code == 1)
        e = failed(c, mysql_stmt_errno(s->stmt), mysql_stmt_error(s->stmt), sql);
    mysql_stmt_free_result(s->stmt);
    return e;
}

static enum err read_on(struct connection *c, const char *sql, const struct db_value *values, size_t count,
                        bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    struct statement *s;
    enum err e = prepared(c, sql, &s);

    if (e == ERR_OK)
        e = execute_one(c, s, sql, values, count);
    if (e == ERR_OK && s->column_count > 0)
        e = show_rows(c, s, sql, row, ctx);
    return e;
}

static enum err mariadb_read(struct db *d, const char *sql, const struct db_value *values, size_t count,
                             bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    struct server *s = server_of(d);
    struct connection *c = borrow(s, &s->readers);
    enum err e;

    if (c == NULL)
        return ERR_IO;
    e = read_on(c, sql, values, count, row, ctx);
    give_back(&s->readers, c);
    return e;
}

static enum err mariadb_read_tx(struct db *tx, const char *sql, const struct db_value *values, size_t count,
                                bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    return read_on(((struct handle *)(void *)tx)->connection, sql, values, count, row, ctx);
}

/* How many of the rows go into one packet. */
static size_t rows_that_fit(const struct db_value *values, size_t columns, size_t rows)
{
    size_t bytes = 0, count = 0;

    while (count < rows && (count == 0 || bytes <= DB_PACKET_BYTES_MAX)) {
        for (size_t i = 0; i < columns; i++)
            bytes += sizeof(int64_t) + values[count * columns + i].b.size;
        count++;
    }
    return bytes <= DB_PACKET_BYTES_MAX || count == 1 ? count : count - 1;
}

static enum err mariadb_run_rows(struct db *tx, const char *sql, const struct db_value *values,
                                 size_t columns, size_t rows, int64_t *changed)
{
    struct connection *c = ((struct handle *)(void *)tx)->connection;
    struct statement *s;
    enum err e = prepared(c, sql, &s);

    *changed = 0;
    for (size_t at = 0, some; at < rows && e == ERR_OK; at += some) {
        const struct db_value *from = values + at * columns;

        some = rows_that_fit(from, columns, rows - at);
        e = some == 1 ? execute_one(c, s, sql, from, columns) : execute_rows(c, s, sql, from, columns, some);
        if (e == ERR_OK)
            *changed += (int64_t)mysql_stmt_affected_rows(s->stmt);
    }
    return e;
}

static enum err mariadb_write(struct db *d, enum err (*work)(void *ctx, struct db *tx), void *ctx)
{
    struct server *s = server_of(d);
    struct handle handle = {{&mariadb_tx_kind}, borrow(s, &s->writers)};
    struct connection *c = handle.connection;
    enum err e;

    if (c == NULL)
        return ERR_IO;
    if ((e = work(ctx, &handle.db)) == ERR_OK && mysql_commit(c->mysql) != 0)
        e = failed(c, mysql_errno(c->mysql), mysql_error(c->mysql), "COMMIT");
    if (e != ERR_OK && !c->broken && mysql_rollback(c->mysql) != 0)
        c->broken = true; /* closing it undoes what it did */
    give_back(&s->writers, c);
    return e;
}

/* --- the schema -------------------------------------------------------------------------------------- */

static enum err plain(struct connection *c, const char *sql)
{
    char *own = db_translate(mariadb_words, sql);
    enum err e = ERR_OK;

    if (mysql_real_query(c->mysql, own, strlen(own)) != 0)
        e = failed(c, mysql_errno(c->mysql), mysql_error(c->mysql), own);
    else
        mysql_free_result(mysql_store_result(c->mysql));
    free(own);
    return e;
}

static bool take_int(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = r->kind->column_int(r, 0);
    return false;
}

/* Only one server at a time changes the tables. */
static enum err mariadb_schema_version(struct db *d, int64_t *version)
{
    struct server *s = server_of(d);
    enum err e = ERR_IO;
    int64_t mine = 0;

    if ((s->schema = borrow(s, &s->readers)) == NULL)
        return ERR_IO;
    e = read_on(s->schema, "SELECT GET_LOCK('matinee-schema', 60)", NULL, 0, take_int, &mine);
    if (e == ERR_OK && mine != 1)
        e = ERR_TIMEOUT;
    if (e == ERR_OK)
        e = plain(s->schema,
                  "CREATE TABLE IF NOT EXISTS matinee_schema (one INT PRIMARY KEY, version BIGINT NOT NULL)");
    return e == ERR_OK ? read_on(s->schema, "SELECT version FROM matinee_schema", NULL, 0, take_int, version)
                       : e;
}

/* Tables are made outside transactions here: a step that was cut short is taken again from its first statement. */
static enum err mariadb_schema_step(struct db *d, const char *const *sql, int64_t version)
{
    struct server *s = server_of(d);
    char mark[96];
    enum err e = ERR_OK;

    for (; *sql != NULL && e == ERR_OK; sql++)
        e = plain(s->schema, *sql);
    snprintf(mark, sizeof mark, "REPLACE INTO matinee_schema VALUES (1, %lld)", (long long)version);
    return e == ERR_OK ? plain(s->schema, mark) : e;
}

static void mariadb_schema_done(struct db *d)
{
    struct server *s = server_of(d);

    if (s->schema == NULL)
        return;
    if (plain(s->schema, "DO RELEASE_LOCK('matinee-schema')") != ERR_OK)
        s->schema->broken = true; /* its end releases the lock */
    give_back(&s->readers, s->schema);
    s->schema = NULL;
}

/* --- opening and closing ----------------------------------------------------------------------------- */

static void pool_init(struct pool *p, unsigned most, bool writes)
{
    p->most = most;
    p->writes = writes;
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

static void mariadb_close(struct db *d)
{
    struct server *s = server_of(d);

    pool_free(&s->readers);
    pool_free(&s->writers);
    free(s->user);
    free(s->password);
    free(s->host);
    free(s->name);
    free(s->socket);
    free(s);
}

/* %41 is A, as in any URL: passwords may hold what would end them. NULL where it is malformed. */
static char *decoded(struct bytes text)
{
    char *out = mem_new(text.size + 1);
    size_t size = 0;

    for (size_t i = 0; i < text.size; i++) {
        char hex[3] = {0}, *end = hex;

        if (text.at[i] != '%') {
            out[size++] = (char)text.at[i];
            continue;
        }
        if (i + 2 < text.size) {
            memcpy(hex, text.at + i + 1, 2);
            out[size++] = (char)strtoul(hex, &end, 16);
            i += 2;
        }
        if (hex[0] == '\0' || *end != '\0') {
            free(out);
            return NULL;
        }
    }
    return out;
}

/* user[:password]@host[:port]/database[?socket=FILE] */
static bool parse(struct server *s, struct bytes url)
{
    long question = bytes_find(url, '?'), at = -1, slash, colon;
    struct bytes options = question >= 0 ? bytes_from(url, (size_t)question + 1) : bytes_of(NULL, 0);
    struct bytes left = question >= 0 ? bytes_head(url, (size_t)question) : url, user, host;
    uint64_t port = 3306;

    for (long i = (long)left.size - 1; i >= 0 && at < 0; i--)
        if (left.at[i] == '@')
            at = i;
    user = bytes_head(left, at >= 0 ? (size_t)at : 0);
    left = bytes_from(left, (size_t)(at + 1));
    if ((slash = bytes_find(left, '/')) < 0 || (size_t)slash + 1 == left.size)
        return false;
    host = bytes_head(left, (size_t)slash);
    s->name = decoded(bytes_from(left, (size_t)slash + 1));
    if ((colon = bytes_find(host, ':')) >= 0 &&
        !bytes_to_u64(bytes_from(host, (size_t)colon + 1), 65535, &port))
        return false;
    s->host = decoded(colon >= 0 ? bytes_head(host, (size_t)colon) : host);
    s->port = (unsigned)port;
    colon = bytes_find(user, ':');
    s->user = decoded(colon >= 0 ? bytes_head(user, (size_t)colon) : user);
    s->password = decoded(colon >= 0 ? bytes_from(user, (size_t)colon + 1) : bytes_of(NULL, 0));
    if (bytes_starts(options, "socket="))
        s->socket = decoded(bytes_from(options, strlen("socket=")));
    return (options.size == 0 || s->socket != NULL) && s->name != NULL && s->host != NULL &&
           s->user != NULL && s->password != NULL && (s->host[0] != '\0' || s->socket != NULL);
}

/* A commit that is not synced is no commit: says so where the server is set up like that. */
static void check_durability(struct server *s)
{
    int64_t flush = 1, binlog = 0, sync = 1;

    if (mariadb_read(&s->db, "SELECT @@innodb_flush_log_at_trx_commit", NULL, 0, take_int, &flush) ==
            ERR_OK &&
        flush != 1)
        log_warn(
            "db",
            "this MariaDB does not sync every commit (innodb_flush_log_at_trx_commit = %lld): what is answered may be "
            "lost with the power; set it to 1",
            (long long)flush);
    if (mariadb_read(&s->db, "SELECT @@log_bin", NULL, 0, take_int, &binlog) == ERR_OK && binlog != 0 &&
        mariadb_read(&s->db, "SELECT @@sync_binlog", NULL, 0, take_int, &sync) == ERR_OK && sync != 1)
        log_warn("db", "this MariaDB does not sync its binary log (sync_binlog = %lld): set it to 1",
                 (long long)sync);
}

enum err db_mariadb_open(struct db **out, const char *url, char why[256])
{
    struct server *s = mem_new(sizeof *s);
    struct connection *first;
    enum err e = ERR_BAD;

    s->db.kind = &mariadb_kind;
    pool_init(&s->readers, DB_READERS_MAX, false);
    pool_init(&s->writers, DB_WRITERS_MAX, true);
    if (!parse(s, bytes_from(bytes_text(url), strlen("mysql://"))))
        snprintf(why, 256,
                 "--database mysql://…: it wants mysql://USER:PASSWORD@HOST:PORT/DATABASE, with ?socket=FILE "
                 "for a local socket; write @, : and / within names as %%40, %%3A and %%2F");
    else if ((e = connect_to(s, false, &first, why)) == ERR_OK) {
        s->readers.count = 1;
        s->readers.free = first;
        check_durability(s);
        *out = &s->db;
        return ERR_OK;
    }
    mariadb_close(&s->db);
    return e;
}

/* --- columns ----------------------------------------------------------------------------------------- */

static const struct column *column_of(const struct db_row *r, int at)
{
    const struct statement *s = ((const struct row *)(const void *)r)->statement;

    assert(at >= 0 && (unsigned)at < s->column_count);
    return &s->columns[at];
}

static int64_t mariadb_column_int(const struct db_row *r, int at)
{
    const struct column *c = column_of(r, at);

    if (c->null)
        return 0;
    if (c->type == MYSQL_TYPE_LONGLONG)
        return c->integer;
    return c->type == MYSQL_TYPE_DOUBLE ? (int64_t)c->real
                                        : strtoll(c->text, NULL, 10); /* a sum is a decimal, as text */
}

static double mariadb_column_real(const struct db_row *r, int at)
{
    const struct column *c = column_of(r, at);

    if (c->null)
        return 0;
    if (c->type == MYSQL_TYPE_DOUBLE)
        return c->real;
    return c->type == MYSQL_TYPE_LONGLONG ? (double)c->integer : strtod(c->text, NULL);
}

static const char *mariadb_column_text(const struct db_row *r, int at)
{
    const struct column *c = column_of(r, at);

    return c->null || c->text == NULL ? "" : c->text;
}

static struct bytes mariadb_column_blob(const struct db_row *r, int at)
{
    const struct column *c = column_of(r, at);

    return c->null || c->text == NULL ? bytes_of(NULL, 0) : bytes_of(c->text, c->size);
}

static bool mariadb_column_null(const struct db_row *r, int at)
{
    return column_of(r, at)->null;
}

#define COLUMNS                                                                                              \
    .column_int = mariadb_column_int, .column_real = mariadb_column_real,                                    \
    .column_text = mariadb_column_text, .column_blob = mariadb_column_blob,                                  \
    .column_null = mariadb_column_null

static const struct db_kind mariadb_kind = {
    .shared = true,
    .words = mariadb_words,
    .close = mariadb_close,
    .read = mariadb_read,
    .write = mariadb_write,
    .schema_version = mariadb_schema_version,
    .schema_step = mariadb_schema_step,
    .schema_done = mariadb_schema_done,
    COLUMNS,
};

static const struct db_kind mariadb_tx_kind = {
    .shared = true,
    .words = mariadb_words,
    .read = mariadb_read_tx,
    .run_rows = mariadb_run_rows,
    COLUMNS,
};
