/* store/store.c - picks the kind of store by its URL, checks names before any kind sees them, and keeps what is held until the kind has
 * confirmed it. */
#include "store/store_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "net/net.h"

#include <stdio.h>
#include <stdlib.h>

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

static enum err open_kind(struct store **out, const char *url, char why[256])
{
    if (strncmp(url, "file:", 5) == 0 && url[5] != '\0')
        return store_file_open(out, url + 5, why);
    if (strncmp(url, "s3://", 5) == 0)
        return store_s3_open(out, url, why);
    if (strncmp(url, "hdfs://", 7) == 0 || strncmp(url, "webhdfs://", 10) == 0 ||
        strncmp(url, "swebhdfs://", 11) == 0)
        return store_hdfs_open(out, url, why);
    snprintf(why, 256,
             "--storage %.100s: file:DIR, s3://BUCKET/PREFIX?endpoint=…&region=… or hdfs://HOST:PORT/PREFIX",
             url);
    return ERR_UNSUPPORTED;
}

enum err store_open_away(struct store **out, const char *url, char why[256])
{
    static const unsigned threads_max[STORE_LANE_COUNT] = {
        [STORE_WRITES] = STORE_WRITERS_MAX, [STORE_READS] = STORE_READERS_MAX, [STORE_SPILLS] = 1};
    enum err e;

    *out = NULL;
    why[0] = '\0';
    e = open_kind(out, url, why);
    if (*out == NULL)
        return e;

    struct store *s = *out;

    s->cache = cache_new(STORE_CACHE_BYTES_MAX);
    s->crew = crew_new("store", threads_max, STORE_LANE_COUNT);
    s->flights = flights_new();
    pthread_mutex_init(&s->spill_lock, NULL);
    breaker_init(&s->writes, "writes to the store");
    breaker_init(&s->reads, "reads from the store");
    if (e == ERR_OK)
        return ERR_OK;
    breaker_trip(&s->writes);
    breaker_trip(&s->reads);
    return ERR_OK;
}

enum err store_open(struct store **out, const char *url, char why[256])
{
    enum err e = store_open_away(out, url, why);

    if (e != ERR_OK || why[0] == '\0')
        return e;
    store_close(*out);
    *out = NULL;
    return ERR_BUSY;
}

enum err store_use_disk(struct store *s, const char *dir, size_t copies_bytes_max, size_t held_bytes_max,
                        char why[256])
{
    enum err e;

    if ((e = disk_open(&s->disk, dir, s->kind->remote ? copies_bytes_max : 0)) != ERR_OK)
        snprintf(why, 256, "the folder %.120s for copies of the store: %s", dir, err_text(e));
    s->held_in_memory_max = held_bytes_max;
    return e;
}

void store_hurry(struct store *s)
{
    atomic_store(&s->closing_ms, clock_mono_ms());
}

void store_stop(struct store *s)
{
    store_hurry(s);
    crew_stop(s->crew);
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    crew_free(s->crew);
    flights_free(s->flights);
    cache_free(s->cache);
    disk_close(s->disk);
    pthread_mutex_destroy(&s->spill_lock);
    breaker_drop(&s->writes);
    breaker_drop(&s->reads);
    s->kind->close(s);
}

void store_run(struct store *s, enum store_lane lane, struct loop *loop, void (*work)(void *ctx),
               void (*done)(void *ctx), void *ctx)
{
    (void)crew_run(s->crew, lane, SIZE_MAX, loop, work, done, ctx);
}

/* A call to the kind, unless it is known to be away. */
#define GUARDED(s, call)                                                                                     \
    (!(s)->kind->remote ? (call) : !breaker_admits(&(s)->writes) ? ERR_BUSY : told((s), (call)))

static enum err told(struct store *s, enum err e)
{
    breaker_tell(&s->writes, e);
    return e;
}

enum err store_put(struct store *s, const char *name, struct bytes content)
{
    enum err e = store_name_is_good(name) ? GUARDED(s, s->kind->put(s, name, content)) : ERR_BAD;

    if (e != ERR_OK)
        return e;
    flights_forget(s->flights, name);
    cache_let_go(s->cache, name);
    if (s->disk != NULL)
        disk_let_go(s->disk, name);
    return ERR_OK;
}

enum err store_put_held(struct store *s, const char *name)
{
    struct buffer *content = cache_get(s->cache, name);
    enum err e = ERR_MISSING;

    if (content == NULL && s->disk != NULL)
        content = disk_get(s->disk, name);
    if (content != NULL)
        e = store_put(s, name, buffer_bytes(content));
    buffer_unref(content);
    return e;
}

/* The oldest first. A disk that takes nothing is tried again with the next segment; memory has it meanwhile. */
void store_spill(struct store *s)
{
    struct buffer *content;
    char *name;
    enum err e = ERR_OK;

    pthread_mutex_lock(&s->spill_lock); /* one at a time, or both would take the same */
    while (e == ERR_OK && s->disk != NULL && cache_held_bytes(s->cache) > s->held_in_memory_max &&
           (content = cache_oldest_held(s->cache, &name)) != NULL) {
        e = disk_put(s->disk, name, buffer_bytes(content), true);
        if (e != ERR_OK)
            log_warn("store", "what waits for the store stays in memory: %s", err_text(e));
        else if (!cache_spilled(s->cache, name, content))
            disk_remove(s->disk, name);
        buffer_unref(content);
        free(name);
    }
    pthread_mutex_unlock(&s->spill_lock);
}

static void spill(void *ctx)
{
    struct store *s = ctx;

    atomic_store(&s->spilling, false); /* what is held from now on has a job of its own */
    store_spill(s);
}

void store_hold(struct store *s, const char *name, struct buffer *content)
{
    cache_put(s->cache, name, content, true);
    if (s->disk != NULL && cache_held_bytes(s->cache) > s->held_in_memory_max &&
        !atomic_exchange(&s->spilling, true))
        store_run(s, STORE_SPILLS, NULL, spill, NULL, s);
}

size_t store_held_bytes(struct store *s)
{
    return cache_held_bytes(s->cache) + (s->disk ? disk_held_bytes(s->disk) : 0);
}

int64_t store_away_ms(struct store *s)
{
    return s->kind->remote ? breaker_open_ms(&s->writes) : 0;
}

struct buffer *store_peek(struct store *s, const char *name)
{
    return cache_get(s->cache, name);
}

void store_cool(struct store *s, const char *name)
{
    flights_forget(s->flights, name);
    cache_cool(s->cache, name);
    if (s->disk != NULL)
        disk_cool(s->disk, name);
}

enum err store_delete(struct store *s, const char *name)
{
    if (!store_name_is_good(name))
        return ERR_BAD;
    flights_forget(s->flights, name);
    cache_remove(s->cache, name);
    if (s->disk != NULL)
        disk_remove(s->disk, name);
    return GUARDED(s, s->kind->remove(s, name));
}

enum err store_delete_all(struct store *s, const char *prefix)
{
    if (!store_name_is_good(prefix))
        return ERR_BAD;
    flights_forget_all(s->flights);
    cache_remove_all(s->cache, prefix);
    if (s->disk != NULL)
        disk_remove_all(s->disk, prefix);
    return GUARDED(s, s->kind->remove_all(s, prefix));
}
