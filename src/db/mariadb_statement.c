/* db/mariadb_statement.c - prepared statements of one connection (the binary protocol): values in, rows out. */
#include "db/mariadb_int.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <mysqld_error.h>
#include <stdlib.h>

/* Prepared statements that one connection keeps; all of matinee has about a hundred. */
#define STATEMENTS_MAX 256
/* A value's first room; what is longer is fetched again. */
#define COLUMN_ROOM 256
/* Room that a statement keeps for its next time. */
#define COLUMN_ROOM_KEPT_MAX 65536

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
    struct column *columns;
    MYSQL_BIND *binds;
};

struct row {
    struct db_row row;
    struct statement *statement;
};

/* --- preparing --------------------------------------------------------------------------------------- */

static void statement_free(struct statement *s)
{
    mysql_stmt_close(s->stmt);
    for (unsigned i = 0; i < s->column_count; i++)
        free(s->columns[i].text);
    free(s->columns);
    free(s->binds);
    free(s);
}

void statements_forget(struct connection *c)
{
    struct bytes sql;
    void *statement;

    for (size_t at = 0; map_next(c->statements, &at, &sql, &statement);)
        statement_free(statement);
    map_free(c->statements);
    c->statements = map_new();
}

/* Notes what a call on the statement failed with. */
static enum err failed(struct connection *c, const struct statement *s, const char *sql)
{
    return connection_failed(c, mysql_stmt_errno(s->stmt), mysql_stmt_error(s->stmt), sql);
}

/* Numbers go into numbers, everything else (a SUM too, which is a decimal) into text that grows. */
static void bind_column(struct column *c, MYSQL_BIND *b, enum enum_field_types type)
{
    b->is_null = &c->null;
    b->length = &c->size;
    if (type == MYSQL_TYPE_DOUBLE || type == MYSQL_TYPE_FLOAT) {
        b->buffer_type = c->type = MYSQL_TYPE_DOUBLE;
        b->buffer = &c->real;
    } else if (IS_NUM(type) && type != MYSQL_TYPE_NEWDECIMAL && type != MYSQL_TYPE_DECIMAL) {
        b->buffer_type = c->type = MYSQL_TYPE_LONGLONG;
        b->buffer = &c->integer;
    } else {
        b->buffer_type = c->type = MYSQL_TYPE_BLOB;
        c->room = COLUMN_ROOM;
        b->buffer = c->text = mem_new(c->room + 1);
        b->buffer_length = c->room;
    }
}

static void bind_columns(struct statement *s)
{
    MYSQL_RES *fields = mysql_stmt_result_metadata(s->stmt);

    if (fields == NULL)
        return;
    s->column_count = mysql_num_fields(fields);
    s->columns = mem_new(s->column_count * sizeof *s->columns);
    s->binds = mem_new(s->column_count * sizeof *s->binds);
    for (unsigned i = 0; i < s->column_count; i++)
        bind_column(&s->columns[i], &s->binds[i], mysql_fetch_field_direct(fields, i)->type);
    mysql_free_result(fields);
}

/* False with s->stmt's error set. */
static bool prepare(struct connection *c, struct statement *s, const char *sql)
{
    s->stmt = mysql_stmt_init(c->mysql);
    return mysql_stmt_prepare(s->stmt, sql, strlen(sql)) == 0;
}

/* The statement of that text, prepared once. */
static enum err prepared(struct connection *c, const char *sql, struct statement **out)
{
    struct bytes text = bytes_text(sql);
    struct statement *s;
    enum err e = ERR_OK;
    char *own;
    bool done;

    if ((*out = map_get(c->statements, text)) != NULL)
        return ERR_OK;
    if (map_count(c->statements) >= STATEMENTS_MAX)
        statements_forget(c);
    s = mem_new(sizeof *s);
    own = db_translate(mariadb_words, sql);
    done = prepare(c, s, own);
    if (!done && mysql_stmt_errno(s->stmt) == ER_MAX_PREPARED_STMT_COUNT_REACHED) {
        statements_forget(c); /* all its clients together have too many: ours here make room */
        mysql_stmt_close(s->stmt);
        done = prepare(c, s, own);
    }
    if (done) {
        bind_columns(s);
        map_put(c->statements, text, s);
        *out = s;
    } else {
        e = failed(c, s, own);
        statement_free(s);
    }
    free(own);
    return e;
}

/* --- values in --------------------------------------------------------------------------------------- */

static enum enum_field_types type_of(enum db_type type)
{
    switch (type) {
    case DB_INT:
        return MYSQL_TYPE_LONGLONG;
    case DB_REAL:
        return MYSQL_TYPE_DOUBLE;
    case DB_BLOB:
        return MYSQL_TYPE_BLOB;
    case DB_TEXT:
        return MYSQL_TYPE_STRING;
    case DB_NULL:
        break;
    }
    return MYSQL_TYPE_NULL;
}

/* Bytes that are there, even if there are none: the connector takes a NULL pointer for NULL. */
static const uint8_t *bytes_at(const struct db_value *v)
{
    return v->b.at != NULL ? v->b.at : (const uint8_t *)"";
}

static size_t size_of(const struct db_value *v)
{
    return v->kind == DB_TEXT || v->kind == DB_BLOB ? v->b.size : sizeof v->i;
}

/* Of a statement's values; the server would end the connection over more than it takes. */
static bool too_large(const struct connection *c, const struct db_value *values, size_t count)
{
    size_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += size_of(&values[i]) + 16;
    if (c->server->packet_bytes_max == 0 || sum < c->server->packet_bytes_max)
        return false;
    log_error("db", "a row of %zu bytes is more than MariaDB takes (max_allowed_packet = %zu)", sum,
              c->server->packet_bytes_max);
    return true;
}

/* One row: values are bound where they are. */
static void fill_bind(MYSQL_BIND *b, const struct db_value *v)
{
    b->buffer_type = type_of(v->kind);
    if (v->kind == DB_INT)
        b->buffer = (void *)(uintptr_t)&v->i;
    else if (v->kind == DB_REAL)
        b->buffer = (void *)(uintptr_t)&v->real;
    else
        b->buffer = (void *)(uintptr_t)bytes_at(v);
    b->buffer_length = v->b.size;
}

static enum err executed(struct connection *c, struct statement *s, MYSQL_BIND *binds, size_t places,
                         unsigned rows, const char *sql)
{
    mysql_stmt_attr_set(s->stmt, STMT_ATTR_ARRAY_SIZE, &rows); /* 0: one row, the usual protocol */
    if ((places > 0 && mysql_stmt_bind_param(s->stmt, binds) != 0) || mysql_stmt_execute(s->stmt) != 0)
        return failed(c, s, sql);
    c->rested = false;
    mariadb_server_answers(c->server);
    return ERR_OK;
}

static enum err execute_one(struct connection *c, struct statement *s, const char *sql,
                            const struct db_value *values, size_t count)
{
    MYSQL_BIND *binds;
    enum err e;

    assert(mysql_stmt_param_count(s->stmt) == count);
    if (too_large(c, values, count))
        return ERR_LIMIT;
    binds = mem_new(count * sizeof *binds);
    for (size_t i = 0; i < count; i++)
        fill_bind(&binds[i], &values[i]);
    e = executed(c, s, binds, count, 0, sql);
    free(binds);
    return e;
}

/* A column of values for a statement's place, one for each row: the bulk protocol takes columns. */
struct place {
    char *indicators;
    void *values; /* int64_t, double or const uint8_t * */
    unsigned long *sizes;
};

static void place_fill(struct place *p, MYSQL_BIND *b, const struct db_value *values, size_t columns,
                       size_t rows)
{
    enum db_type type = DB_NULL;

    p->indicators = mem_new(rows);
    p->values = mem_new(rows * sizeof(int64_t));
    p->sizes = mem_new(rows * sizeof *p->sizes);
    for (size_t r = 0; r < rows; r++) {
        const struct db_value *v = &values[r * columns];

        assert(type == DB_NULL || v->kind == DB_NULL || v->kind == type); /* a column is of one type */
        type = v->kind != DB_NULL ? v->kind : type;
        p->indicators[r] = v->kind == DB_NULL ? STMT_INDICATOR_NULL : STMT_INDICATOR_NONE;
        if (v->kind == DB_INT)
            ((int64_t *)p->values)[r] = v->i;
        else if (v->kind == DB_REAL)
            ((double *)p->values)[r] = v->real;
        else
            ((const uint8_t **)p->values)[r] = bytes_at(v);
        p->sizes[r] = v->b.size;
    }
    b->buffer_type = type == DB_NULL ? MYSQL_TYPE_STRING : type_of(type);
    b->buffer = p->values;
    b->length = p->sizes;
    b->u.indicator = p->indicators;
}

static void place_free(struct place *p)
{
    free(p->indicators);
    free(p->values);
    free(p->sizes);
}

static enum err execute_rows(struct connection *c, struct statement *s, const char *sql,
                             const struct db_value *values, size_t columns, size_t rows)
{
    MYSQL_BIND *binds = mem_new(columns * sizeof *binds);
    struct place *places = mem_new(columns * sizeof *places);
    enum err e;

    assert(mysql_stmt_param_count(s->stmt) == columns);
    for (size_t i = 0; i < columns; i++)
        place_fill(&places[i], &binds[i], values + i, columns, rows);
    e = executed(c, s, binds, columns, (unsigned)rows, sql);
    for (size_t i = 0; i < columns; i++)
        place_free(&places[i]);
    free(places);
    free(binds);
    return e;
}

/* --- rows out ---------------------------------------------------------------------------------------- */

/* Fetches again what was longer than its room, and ends every text by NUL. */
static bool complete(struct statement *s)
{
    bool grown = false;

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
            grown = true;
        }
        c->text[c->size] = '\0';
    }
    return !grown || mysql_stmt_bind_result(s->stmt, s->binds) == 0;
}

/* A large picture once is no reason to hold its room for ever, in every connection. */
static void let_go(struct statement *s)
{
    for (unsigned i = 0; i < s->column_count; i++) {
        struct column *c = &s->columns[i];

        if (c->room <= COLUMN_ROOM_KEPT_MAX)
            continue;
        c->room = COLUMN_ROOM;
        s->binds[i].buffer = c->text = mem_resize(c->text, c->room + 1);
        s->binds[i].buffer_length = c->room;
    }
}

/* Rows come as they are read, so that a large answer is never in memory as a whole. */
static enum err show_rows(struct connection *c, struct statement *s, const char *sql,
                          bool (*row)(void *ctx, const struct db_row *r), void *ctx, bool *told)
{
    struct row r = {{&mariadb_kind}, s};
    enum err e = ERR_OK;
    int code = mysql_stmt_bind_result(s->stmt, s->binds) != 0;

    while (code == 0) {
        code = mysql_stmt_fetch(s->stmt);
        if (code == MYSQL_DATA_TRUNCATED)
            code = 0;
        if (code == 0 && !complete(s))
            code = 1;
        if (code == 0) {
            *told = true;
            if (!row(ctx, &r.row))
                code = MYSQL_NO_DATA;
        }
    }
    if (code != MYSQL_NO_DATA)
        e = failed(c, s, sql);
    mysql_stmt_free_result(s->stmt);
    let_go(s);
    return e;
}

static enum err read_once(struct connection *c, const char *sql, const struct db_value *values, size_t count,
                          bool (*row)(void *ctx, const struct db_row *r), void *ctx, bool *told)
{
    struct statement *s;
    enum err e = c->undone;

    if (e == ERR_OK && (e = prepared(c, sql, &s)) == ERR_OK)
        e = execute_one(c, s, sql, values, count);
    if (e == ERR_OK && s->column_count > 0)
        e = show_rows(c, s, sql, row, ctx, told);
    return e;
}

enum err statement_read(struct connection *c, const char *sql, const struct db_value *values, size_t count,
                        bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    bool told = false;
    enum err e = read_once(c, sql, values, count, row, ctx, &told);

    if (c->broken && c->rested && !told && (e = connection_renew(c)) == ERR_OK)
        e = read_once(c, sql, values, count, row, ctx, &told);
    return e;
}

/* Of the rows from `values` on, how many make one trip. */
static size_t batch_of(const struct db_value *values, size_t columns, size_t rows)
{
    size_t count = 0, bytes = 0;

    do
        for (size_t i = 0; i < columns; i++)
            bytes += size_of(&values[count * columns + i]);
    while (++count < rows && bytes < DB_BATCH_BYTES_MAX);
    return count;
}

static enum err run_once(struct connection *c, const char *sql, const struct db_value *values, size_t columns,
                         size_t rows, int64_t *changed)
{
    struct statement *s;
    enum err e = c->undone;

    *changed = 0;
    if (e != ERR_OK || (e = prepared(c, sql, &s)) != ERR_OK)
        return e;
    for (size_t at = 0, count; at < rows && e == ERR_OK; at += count) {
        const struct db_value *from = columns > 0 ? values + at * columns : NULL;
        my_ulonglong found;

        count = batch_of(from, columns, rows - at);
        e = count == 1 ? execute_one(c, s, sql, from, columns)
                       : execute_rows(c, s, sql, from, columns, count);
        found = mysql_stmt_affected_rows(s->stmt);
        *changed += e == ERR_OK && found != (my_ulonglong)-1 ? (int64_t)found : 0;
    }
    return e;
}

enum err statement_run_rows(struct connection *c, const char *sql, const struct db_value *values,
                            size_t columns, size_t rows, int64_t *changed)
{
    enum err e = run_once(c, sql, values, columns, rows, changed);

    if (c->broken && c->rested && (e = connection_renew(c)) == ERR_OK)
        e = run_once(c, sql, values, columns, rows, changed);
    return e;
}

/* --- columns ----------------------------------------------------------------------------------------- */

static const struct column *column_of(const struct db_row *r, int at)
{
    const struct statement *s = ((const struct row *)(const void *)r)->statement;

    assert(at >= 0 && (unsigned)at < s->column_count);
    return &s->columns[at];
}

int64_t mariadb_column_int(const struct db_row *r, int at)
{
    const struct column *c = column_of(r, at);

    if (c->null)
        return 0;
    if (c->type == MYSQL_TYPE_LONGLONG)
        return c->integer;
    return c->type == MYSQL_TYPE_DOUBLE ? (int64_t)c->real : strtoll(c->text, NULL, 10);
}

double mariadb_column_real(const struct db_row *r, int at)
{
    const struct column *c = column_of(r, at);

    if (c->null)
        return 0;
    if (c->type == MYSQL_TYPE_DOUBLE)
        return c->real;
    return c->type == MYSQL_TYPE_LONGLONG ? (double)c->integer : strtod(c->text, NULL);
}

const char *mariadb_column_text(const struct db_row *r, int at)
{
    const struct column *c = column_of(r, at);

    return c->null || c->text == NULL ? "" : c->text;
}

struct bytes mariadb_column_blob(const struct db_row *r, int at)
{
    const struct column *c = column_of(r, at);

    return c->null || c->text == NULL ? bytes_of(NULL, 0) : bytes_of(c->text, c->size);
}

bool mariadb_column_null(const struct db_row *r, int at)
{
    return column_of(r, at)->null;
}
