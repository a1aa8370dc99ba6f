/* store/cache.c - objects in memory: held ones until they are let go, others until room is needed. */
#include "store/store_int.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

struct entry {
    struct list link; /* on the list of its kind; the one used last is at the end */
    char *name;
    struct buffer *content;
    bool held;
};

struct cache {
    pthread_mutex_t lock;
    struct map *entries;
    struct list used, held;
    size_t bytes, bytes_max; /* of those not held */
    size_t held_bytes;
};

struct cache *cache_new(size_t bytes_max)
{
    struct cache *c = mem_new(sizeof *c);

    pthread_mutex_init(&c->lock, NULL);
    c->entries = map_new();
    list_init(&c->used);
    list_init(&c->held);
    c->bytes_max = bytes_max;
    return c;
}

static void drop(struct cache *c, struct entry *e)
{
    *(e->held ? &c->held_bytes : &c->bytes) -= e->content->size;
    map_remove(c->entries, bytes_text(e->name));
    list_remove(&e->link);
    buffer_unref(e->content);
    free(e->name);
    free(e);
}

static void make_room(struct cache *c)
{
    while (c->bytes > c->bytes_max && !list_empty(&c->used))
        drop(c, container_of(c->used.next, struct entry, link));
}

void cache_free(struct cache *c)
{
    if (c == NULL)
        return;
    while (!list_empty(&c->used))
        drop(c, container_of(c->used.next, struct entry, link));
    while (!list_empty(&c->held))
        drop(c, container_of(c->held.next, struct entry, link));
    map_free(c->entries);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void cache_put(struct cache *c, const char *name, struct buffer *content, bool held)
{
    pthread_mutex_lock(&c->lock);
    struct entry *e = map_get(c->entries, bytes_text(name));

    if (e != NULL)
        drop(c, e);
    e = mem_new(sizeof *e);
    e->name = mem_string(name);
    e->content = buffer_ref(content);
    e->held = held;
    *(held ? &c->held_bytes : &c->bytes) += content->size;
    list_push(held ? &c->held : &c->used, &e->link);
    map_put(c->entries, bytes_text(name), e);
    make_room(c);
    pthread_mutex_unlock(&c->lock);
}

void cache_let_go(struct cache *c, const char *name)
{
    pthread_mutex_lock(&c->lock);
    struct entry *e = map_get(c->entries, bytes_text(name));

    if (e != NULL && e->held) {
        e->held = false;
        c->held_bytes -= e->content->size;
        c->bytes += e->content->size;
        list_remove(&e->link);
        list_push(&c->used, &e->link);
        make_room(c);
    }
    pthread_mutex_unlock(&c->lock);
}

void cache_cool(struct cache *c, const char *name)
{
    pthread_mutex_lock(&c->lock);
    struct entry *e = map_get(c->entries, bytes_text(name));

    if (e != NULL && !e->held)
        drop(c, e);
    pthread_mutex_unlock(&c->lock);
}

void cache_remove(struct cache *c, const char *name)
{
    pthread_mutex_lock(&c->lock);
    struct entry *e = map_get(c->entries, bytes_text(name));

    if (e != NULL)
        drop(c, e);
    pthread_mutex_unlock(&c->lock);
}

/* Those of one list whose name begins with `prefix` and a '/'. */
static void drop_below(struct cache *c, struct list *list, const char *prefix)
{
    size_t size = strlen(prefix);

    list_each(list, at, after)
    {
        struct entry *e = container_of(at, struct entry, link);

        if (strncmp(e->name, prefix, size) == 0 && e->name[size] == '/')
            drop(c, e);
    }
}

void cache_remove_all(struct cache *c, const char *prefix)
{
    pthread_mutex_lock(&c->lock);
    drop_below(c, &c->held, prefix);
    drop_below(c, &c->used, prefix);
    pthread_mutex_unlock(&c->lock);
}

struct buffer *cache_get(struct cache *c, const char *name)
{
    struct buffer *found = NULL;

    pthread_mutex_lock(&c->lock);
    struct entry *e = map_get(c->entries, bytes_text(name));

    if (e != NULL) {
        found = buffer_ref(e->content);
        if (!e->held) {
            list_remove(&e->link);
            list_push(&c->used, &e->link);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

size_t cache_held_bytes(struct cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t bytes = c->held_bytes;

    pthread_mutex_unlock(&c->lock);
    return bytes;
}

struct buffer *cache_oldest_held(struct cache *c, char **name)
{
    struct buffer *content = NULL;

    pthread_mutex_lock(&c->lock);
    if (!list_empty(&c->held)) {
        const struct entry *e = container_of(c->held.next, struct entry, link);

        *name = mem_string(e->name);
        content = buffer_ref(e->content);
    }
    pthread_mutex_unlock(&c->lock);
    return content;
}

bool cache_spilled(struct cache *c, const char *name, const struct buffer *content)
{
    pthread_mutex_lock(&c->lock);
    struct entry *e = map_get(c->entries, bytes_text(name));
    bool same = e != NULL && e->held && e->content == content;

    if (same)
        drop(c, e);
    pthread_mutex_unlock(&c->lock);
    return same;
}
