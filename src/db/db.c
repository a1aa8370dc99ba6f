/* db/db.c - picks the engine, and hands calls on to it. */
#include "db/db_int.h"

#include "base/buffer.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

char *db_translate(const struct db_word *words, const char *sql)
{
    struct builder b = {0};
    char *text;

    for (const char *brace; (brace = strchr(sql, '{')) != NULL;) {
        const char *end = strchr(brace, '}');
        const struct db_word *w = words;

        assert(end != NULL);
        while (w->word != NULL && strncmp(brace + 1, w->word, strlen(w->word)) != 0)
            w++;
        assert(w->word != NULL); /* a word that this engine has no meaning for */
        builder_add(&b, bytes_of(sql, (size_t)(brace - sql)));
        for (const char *at = w->meaning; *at != '\0'; at++)
            if (*at == '%')
                builder_add(
                    &b, bytes_of(brace + 1 + strlen(w->word), (size_t)(end - brace - 1) - strlen(w->word)));
            else
                builder_u8(&b, (uint8_t)*at);
        sql = end + 1;
    }
    builder_text(&b, sql);
    text = mem_text(builder_bytes(&b).at, builder_bytes(&b).size);
    builder_drop(&b);
    return text;
}

enum err db_open(struct db **out, const char *url, char why[256])
{
    enum err e;

    *out = NULL;
    if (strncmp(url, "sqlite:", 7) == 0 && url[7] != '\0') {
        e = db_sqlite_open(out, url, why);
    } else if (strncmp(url, "mysql://", 8) == 0) {
        e = db_mariadb_open(out, url, why);
    } else {
        snprintf(why, 256, "--database: rows are kept in sqlite:FILE or mysql://USER:PASSWORD@HOST/DATABASE");
        return ERR_UNSUPPORTED;
    }
    if (e == ERR_OK && (e = schema_update(*out, why)) != ERR_OK) {
        db_close(*out);
        *out = NULL;
    }
    return e;
}

void db_close(struct db *d)
{
    if (d != NULL)
        d->kind->close(d);
}

bool db_shared(const struct db *d)
{
    return d->kind->shared;
}

enum err db_read(struct db *d, const char *sql, const struct db_value *values, size_t count,
                 bool (*row)(void *ctx, const struct db_row *r), void *ctx)
{
    return d->kind->read(d, sql, values, count, row, ctx);
}

enum err db_write(struct db *d, enum err (*work)(void *ctx, struct db *tx), void *ctx)
{
    assert(d->kind->write != NULL);
    return d->kind->write(d, work, ctx);
}

enum err db_write_surely(struct db *d, enum err (*work)(void *ctx, struct db *tx), void *ctx)
{
    return d->kind->write_surely != NULL ? d->kind->write_surely(d, work, ctx) : db_write(d, work, ctx);
}

int64_t db_away_ms(const struct db *d)
{
    return d->kind->away_ms != NULL ? d->kind->away_ms(d) : 0;
}

enum err db_run_rows(struct db *tx, const char *sql, const struct db_value *values, size_t columns,
                     size_t rows, int64_t *changed)
{
    int64_t unwanted;

    assert(tx->kind->write == NULL);
    return tx->kind->run_rows(tx, sql, values, columns, rows, changed != NULL ? changed : &unwanted);
}

enum err db_run(struct db *tx, const char *sql, const struct db_value *values, size_t count, int64_t *changed)
{
    return db_run_rows(tx, sql, values, count, 1, changed);
}

/* A statement that is a whole transaction can be tried again by us: nobody has looked at anything before it. */
#define DO_TRIES_MAX 3

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
    enum err e = ERR_BUSY;

    for (int i = 0; i < DO_TRIES_MAX && e == ERR_BUSY; i++)
        e = db_write(d, run_one, &one);
    return e;
}

int64_t db_column_int(const struct db_row *r, int at)
{
    return r->kind->column_int(r, at);
}

double db_column_real(const struct db_row *r, int at)
{
    return r->kind->column_real(r, at);
}

const char *db_column_text(const struct db_row *r, int at)
{
    return r->kind->column_text(r, at);
}

struct bytes db_column_blob(const struct db_row *r, int at)
{
    return r->kind->column_blob(r, at);
}

bool db_column_null(const struct db_row *r, int at)
{
    return r->kind->column_null(r, at);
}
