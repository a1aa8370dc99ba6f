/* db/db_int.h - what an engine implements, and how a statement is written once for both. */
#ifndef MATINEE_DB_DB_INT_H
#define MATINEE_DB_DB_INT_H

#include "db/db.h"

/* A word in braces, and what stands for it. A word that ends in ':' takes the rest up to the brace into its %s. */
struct db_word {
    const char *word, *meaning;
};

struct db_kind {
    bool shared;                 /* other processes may write too */
    const struct db_word *words; /* ended by a NULL word */
    void (*close)(struct db *d);
    enum err (*read)(struct db *d, const char *sql, const struct db_value *values, size_t count,
                     bool (*row)(void *ctx, const struct db_row *r), void *ctx);
    enum err (*write)(struct db *d, enum err (*work)(void *ctx, struct db *tx),
                      void *ctx); /* NULL: it is a transaction */
    enum err (*write_surely)(struct db *d, enum err (*work)(void *ctx, struct db *tx),
                             void *ctx);    /* NULL: it does not go away */
    int64_t (*away_ms)(const struct db *d); /* NULL: the same */
    enum err (*run_rows)(struct db *tx, const char *sql, const struct db_value *values, size_t columns,
                         size_t rows, int64_t *changed);
    /* How many steps of the schema have been taken; keeps others from taking any until the last `take_step`. */
    enum err (*schema_version)(struct db *d, int64_t *version);
    /* Takes step number `version`; `sql` is its statements, ended by NULL. */
    enum err (*schema_step)(struct db *d, const char *const *sql, int64_t version);
    void (*schema_done)(struct db *d);
    int64_t (*column_int)(const struct db_row *r, int at);
    double (*column_real)(const struct db_row *r, int at);
    const char *(*column_text)(const struct db_row *r, int at);
    struct bytes (*column_blob)(const struct db_row *r, int at);
    bool (*column_null)(const struct db_row *r, int at);
};

/* First member of every engine's own struct, and of what it gives for a transaction and a row. */
struct db {
    const struct db_kind *kind;
};

struct db_row {
    const struct db_kind *kind;
};

must_check enum err db_sqlite_open(struct db **out, const char *url, char why[256]);
must_check enum err db_mariadb_open(struct db **out, const char *url, char why[256]);

/* The statement with its words replaced; to be given to free(). A word that is not in the list stays. */
char *db_translate(const struct db_word *words, const char *sql);

/* Brings the tables from whatever version they have to the newest. A database of a newer matinee is refused. */
must_check enum err schema_update(struct db *d, char why[256]);

#endif
