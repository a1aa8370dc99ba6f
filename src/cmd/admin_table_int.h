/* cmd/admin_table_int.h - text in columns, for people; scripts take --json. Pure. */
#ifndef MATINEE_CMD_ADMIN_TABLE_INT_H
#define MATINEE_CMD_ADMIN_TABLE_INT_H

#include "base/buffer.h"

/* Cells in the order they were added, row by row. Zero-initialised with `columns` set it is empty and valid. */
struct table {
    size_t columns, count; /* count of cells */
    char **cells;
};

/* Adds a copy of `text` (NULL or "": a dash) as the next cell. Control characters, with which a title could repaint the
 * terminal, come out as question marks. */
void table_add(struct table *t, const char *text);
void table_printf(struct table *t, const char *format, ...) printf_like(2, 3);

/* Appends the rows to `out`, each column as wide as its widest cell, counted in code points. A last row that
 * lacks cells is a bug. */
void table_write(const struct table *t, struct builder *out);

void table_free(struct table *t); /* frees what it holds */

#endif
