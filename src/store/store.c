/* store/store.c - picks the kind of store by its URL and checks names before any kind sees them. */
#include "store/store_int.h"

#include <stdio.h>

bool store_name_is_good(const char *name)
{
    const char *part = name;

    for (const char *c = name;; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');

        if (*c == '/' || *c == '\0') {
            if (c == part)
                return false;
            if (*c == '\0')
                return c - name < 512;
            part = c + 1;
        } else if (!letter && *c != '_' && *c != '-' && (*c != '.' || c == part)) {
            return false;
        }
    }
}

enum err store_open(struct store **out, const char *url, char why[256])
{
    enum err e = ERR_UNSUPPORTED;

    *out = NULL;
    if (strncmp(url, "file:", 5) == 0 && url[5] != '\0')
        e = store_file_open(out, url + 5, why);
    else if (strncmp(url, "s3://", 5) == 0)
        e = store_s3_open(out, url, why);
    else
        snprintf(why, 256, "--storage %.100s: file:DIR or s3://BUCKET/PREFIX?endpoint=…&region=…", url);
    if (e == ERR_OK)
        (*out)->cache = cache_new(STORE_CACHE_BYTES_MAX);
    return e;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    cache_free(s->cache);
    s->kind->close(s);
}

enum err store_put(struct store *s, const char *name, struct bytes content)
{
    enum err e = store_name_is_good(name) ? s->kind->put(s, name, content) : ERR_BAD;

    if (e == ERR_OK)
        cache_let_go(s->cache, name);
    return e;
}

void store_hold(struct store *s, const char *name, struct buffer *content)
{
    cache_put(s->cache, name, content, true);
}

struct buffer *store_peek(struct store *s, const char *name)
{
    return cache_get(s->cache, name);
}

void store_cool(struct store *s, const char *name)
{
    cache_cool(s->cache, name);
}

enum err store_get(struct store *s, const char *name, struct buffer **out)
{
    enum err e;

    *out = NULL;
    if (!store_name_is_good(name))
        return ERR_BAD;
    if ((*out = cache_get(s->cache, name)) != NULL)
        return ERR_OK;
    if ((e = s->kind->get(s, name, out)) == ERR_OK)
        cache_put(s->cache, name, *out, false);
    return e;
}

enum err store_delete(struct store *s, const char *name)
{
    if (!store_name_is_good(name))
        return ERR_BAD;
    cache_remove(s->cache, name);
    return s->kind->remove(s, name);
}

enum err store_delete_all(struct store *s, const char *prefix)
{
    if (!store_name_is_good(prefix))
        return ERR_BAD;
    cache_remove_all(s->cache, prefix);
    return s->kind->remove_all(s, prefix);
}
