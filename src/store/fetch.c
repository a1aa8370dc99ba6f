/* store/fetch.c - gets objects into memory: many who want one object at a time share one fetch. A flight is a fetch under way; it is
 * on the map until it lands, or until the object is put, deleted or cooled meanwhile: who asks after that gets a flight of its own. */
#include "store/store_int.h"

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "net/net.h"

#include <stdlib.h>

METRIC(fetches, METRIC_COUNTER, "matinee_store_fetches_total", "Objects fetched from the store");
METRIC(shared, METRIC_COUNTER, "matinee_store_fetches_shared_total",
       "Requests for an object that was being fetched already");
METRIC(disk_hits, METRIC_COUNTER, "matinee_store_disk_hits_total",
       "Objects read from the local copy of a remote store");
METRIC(missing, METRIC_COUNTER, "matinee_store_missing_total",
       "Objects that were asked for and are not there");
METRIC(refused, METRIC_COUNTER, "matinee_store_refused_total",
       "Reads that were refused because too many wait for the store, or it is away");

struct flight {
    char *name;
    struct store *store;
    struct list wants;   /* told on their loops */
    unsigned references; /* by who waits in place, and by who flies */
    bool known;          /* it is on the map */
    bool landed;
    enum err e;
    struct buffer *content;
};

struct flights {
    pthread_mutex_t lock;
    pthread_cond_t landed;
    struct map *by_name;
};

struct flights *flights_new(void)
{
    struct flights *f = mem_new(sizeof *f);

    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->landed, NULL);
    f->by_name = map_new();
    return f;
}

void flights_free(struct flights *f)
{
    if (f == NULL)
        return;
    map_free(f->by_name);
    pthread_cond_destroy(&f->landed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* With the lock held. */
static void leave(struct flight *f)
{
    if (--f->references > 0)
        return;
    buffer_unref(f->content);
    free(f->name);
    free(f);
}

/* With the lock held: nobody joins it any more. */
static void unlist(struct flights *all, struct flight *f)
{
    if (f->known)
        map_remove(all->by_name, bytes_text(f->name));
    f->known = false;
}

/* With the lock held: the flight for `name`, with a reference for the caller; *mine: the caller is to fly it, with another one. */
static struct flight *join(struct store *s, const char *name, bool *mine)
{
    struct flight *f = map_get(s->flights->by_name, bytes_text(name));

    *mine = f == NULL;
    if (f == NULL) {
        f = mem_new(sizeof *f);
        f->name = mem_string(name);
        f->store = s;
        list_init(&f->wants);
        f->known = true;
        f->references = 1;
        map_put(s->flights->by_name, bytes_text(name), f);
    } else {
        metric_add(&shared, 1);
    }
    f->references++;
    return f;
}

static enum err read_object(struct store *s, const char *name, struct buffer **out)
{
    enum err e;

    *out = s->disk ? disk_get(s->disk, name) : NULL;
    if (*out != NULL) {
        metric_add(&disk_hits, 1);
        return ERR_OK;
    }
    if (s->kind->remote && !breaker_admits(&s->reads)) {
        metric_add(&refused, 1);
        return ERR_BUSY;
    }
    metric_add(&fetches, 1);
    e = s->kind->get(s, name, out);
    if (s->kind->remote)
        breaker_tell(&s->reads, e);
    metric_add(&missing, e == ERR_MISSING);
    return e;
}

static void want_told(void *ctx)
{
    struct store_want *w = ctx;

    w->done(w->ctx, w->e, w->content);
}

/* With the lock held. */
static void tell(struct flight *f)
{
    for (struct list *at; (at = list_pop(&f->wants)) != NULL;) {
        struct store_want *w = container_of(at, struct store_want, link);

        w->e = f->e;
        w->content = f->content ? buffer_ref(f->content) : NULL;
        loop_post(w->loop, want_told, w);
    }
}

static void fly(struct flight *f)
{
    struct store *s = f->store;
    struct flights *all = s->flights;
    struct buffer *content = NULL;
    enum err e = read_object(s, f->name, &content);

    pthread_mutex_lock(&all->lock);
    bool current = f->known;

    /* Under the lock, so that a deletion either finds it in memory or has made this flight an old one. */
    if (content != NULL && current)
        cache_put(s->cache, f->name, content, false);
    unlist(all, f);
    f->landed = true;
    f->e = e;
    f->content = content ? buffer_ref(content) : NULL;
    tell(f);
    pthread_cond_broadcast(&all->landed);
    pthread_mutex_unlock(&all->lock);
    if (content != NULL && current && s->kind->remote && s->disk != NULL)
        disk_keep(s->disk, f->name,
                  buffer_bytes(content)); /* after everybody was told: a slow disk delays nobody */
    buffer_unref(content);
    pthread_mutex_lock(&all->lock);
    leave(f);
    pthread_mutex_unlock(&all->lock);
}

static void fly_job(void *ctx)
{
    fly((struct flight *)ctx);
}

void flights_forget(struct flights *all, const char *name)
{
    pthread_mutex_lock(&all->lock);
    struct flight *f = map_get(all->by_name, bytes_text(name));

    if (f != NULL)
        unlist(all, f);
    pthread_mutex_unlock(&all->lock);
}

void flights_forget_all(struct flights *all)
{
    struct bytes key;
    void *value;

    pthread_mutex_lock(&all->lock);
    for (size_t at = 0; map_next(all->by_name, &at, &key, &value); at = 0)
        unlist(all, value);
    pthread_mutex_unlock(&all->lock);
}

enum err store_get(struct store *s, const char *name, struct buffer **out)
{
    struct flights *all = s->flights;
    struct flight *f;
    enum err e;
    bool mine;

    *out = NULL;
    if (!store_name_is_good(name))
        return ERR_BAD;
    if ((*out = cache_get(s->cache, name)) != NULL)
        return ERR_OK;
    pthread_mutex_lock(&all->lock);
    f = join(s, name, &mine);
    pthread_mutex_unlock(&all->lock);
    if (mine)
        fly(f);
    pthread_mutex_lock(&all->lock);
    while (!f->landed)
        pthread_cond_wait(&all->landed, &all->lock);
    e = f->e;
    *out = f->content ? buffer_ref(f->content) : NULL;
    leave(f);
    pthread_mutex_unlock(&all->lock);
    return e;
}

/* With the lock held: nobody flies it, for too many wait already. */
static void ground(struct flights *all, struct flight *f)
{
    metric_add(&refused, 1);
    unlist(all, f);
    f->landed = true;
    f->e = ERR_BUSY;
    tell(f);
    pthread_cond_broadcast(&all->landed);
    leave(f);
}

void store_fetch(struct store *s, const char *name, struct store_want *w)
{
    struct flights *all = s->flights;
    bool mine = false;

    list_init(&w->link);
    w->e = ERR_BAD;
    w->content = NULL;
    if (!store_name_is_good(name) || (w->content = cache_get(s->cache, name)) != NULL) {
        w->e = w->content ? ERR_OK : ERR_BAD;
        loop_post(w->loop, want_told, w);
        return;
    }
    pthread_mutex_lock(&all->lock);
    struct flight *f = join(s, name, &mine);

    list_push(&f->wants, &w->link);
    leave(f); /* it is told by the list; the flight has a reference of its own */
    pthread_mutex_unlock(&all->lock);
    if (mine && !crew_run(s->crew, STORE_READS, STORE_FETCHES_MAX, w->loop, fly_job, NULL, f)) {
        pthread_mutex_lock(&all->lock);
        ground(all, f);
        pthread_mutex_unlock(&all->lock);
    }
}
