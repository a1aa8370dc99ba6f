/* cmd/admin_table.c - see admin_table_int.h. */
#include "cmd/admin_table_int.h"

#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define GAP_WIDTH 2

/* C0, DEL, and C1 (U+0080 to U+009F, in UTF-8 C2 80 to C2 9F). */
static void make_harmless(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
        else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f)
            c[0] = c[1] = '?';
    }
}

static void add_own(struct table *t, char *text)
{
    make_harmless(text);
    t->cells = mem_resize(t->cells, (t->count + 1) * sizeof *t->cells);
    t->cells[t->count++] = text;
}

void table_add(struct table *t, const char *text)
{
    add_own(t, mem_string(text != NULL && text[0] != '\0' ? text : "-"));
}

void table_printf(struct table *t, const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = mem_string("-");
    va_end(args);
    add_own(t, text);
}

/* In code points, which is what a terminal shows of most writing. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static size_t column_width(const struct table *t, size_t column)
{
    size_t widest = 0;

    for (size_t i = column; i < t->count; i += t->columns)
        if (width_of(t->cells[i]) > widest)
            widest = width_of(t->cells[i]);
    return widest;
}

void table_write(const struct table *t, struct builder *out)
{
    assert(t->columns > 0 && t->count % t->columns == 0);
    for (size_t i = 0; i < t->count; i++) {
        bool is_last = (i + 1) % t->columns == 0;
        size_t width = is_last ? 0 : column_width(t, i % t->columns) + GAP_WIDTH;

        builder_text(out, t->cells[i]);
        for (size_t w = width_of(t->cells[i]); w < width; w++)
            builder_u8(out, ' ');
        if (is_last)
            builder_u8(out, '\n');
    }
}

void table_free(struct table *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    *t = (struct table){.columns = t->columns};
}
