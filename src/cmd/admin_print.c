/* cmd/admin_print.c - answers on standard output: as they came with --json, in columns otherwise. */
#include "cmd/admin_int.h"

#include <stdio.h>

void print_body(const struct answer *answer)
{
    struct bytes body = builder_bytes(&answer->body);

    if (body.size == 0)
        return;
    fwrite(body.at, 1, body.size, stdout); /* whether it went is asked once, at the end */
    if (body.at[body.size - 1] != '\n')
        putchar('\n');
}

void print_table(struct table *t)
{
    struct builder out = {0};
    struct bytes text;

    table_write(t, &out);
    text = builder_bytes(&out);
    if (text.size > 0)
        fwrite(text.at, 1, text.size, stdout);
    builder_drop(&out);
    table_free(t);
}

const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

const char *duration_text(double seconds, char text[DURATION_TEXT_SIZE])
{
    unsigned s = seconds > 0 && seconds < 1e9 ? (unsigned)(seconds + 0.5) : 0;

    snprintf(text, DURATION_TEXT_SIZE, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    return text;
}

struct printing {
    const struct listing *listing;
    struct table table;
};

static enum err add_page(struct admin *a, const struct answer *answer, void *ctx)
{
    struct printing *p = ctx;
    const json_t *item;

    if (a->wants_json) {
        print_body(answer);
        return ERR_OK;
    }
    for (size_t i = 0; (item = json_array_get(json_object_get(answer->document, "items"), i)) != NULL; i++)
        p->listing->add(&p->table, item);
    return ERR_OK;
}

enum err print_list(struct admin *a, const char *path, const struct listing *l)
{
    struct printing p = {.listing = l};
    enum err e;

    while (l->heads[p.table.columns] != NULL)
        p.table.columns++;
    for (size_t i = 0; i < p.table.columns; i++)
        table_add(&p.table, l->heads[i]);
    e = admin_pages(a, path, add_page, &p);
    if (e == ERR_OK && !a->wants_json)
        print_table(&p.table);
    table_free(&p.table);
    return e;
}
