/* comments/window.c - windows: 10 s of a video's comments as one document, the counterpart of a segment.
 *
 * A closed window is sealed: stored beside the segments, so that a replay asks no engine. Comments may still be written to an old
 * place, and deleted; then the sealed form goes first (lane.c), and the keeper makes a new one. Two servers may do all this at once
 * without a lock between them: whoever seals looks into the log afterwards, and begins anew if something came into the window
 * meanwhile; whoever writes takes the sealed form away after the commit once more. One of the two is later. */
#include "comments/comments_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <openssl/sha.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

METRIC(sealed, METRIC_COUNTER, "matinee_comment_windows_sealed_total",
       "Closed windows stored beside the segments");
METRIC(asked, METRIC_COUNTER, "matinee_comment_windows_asked_total", "Windows read from the engine");

/* Counters of changes, by a hash of the window: two windows that share one only read once more than needed. */
#define TOUCHES 4096
/* How often a change may come in between before sealing is left for later. */
#define SEAL_TRIES 3
/* Windows sealed in one turn of the keeper, which has feeds to look after and may be asked to end: a whole archive that was
 * imported waits a little. */
#define SEALS_PER_TURN 64

struct window_key {
    struct ulid video;
    int64_t window;
};

/* A window in memory. */
struct kept {
    struct list link; /* the one used last is at the end */
    struct window_key key;
    struct comment_window window;
    int64_t until_ms; /* monotonic */
};

/* A window that is to be sealed. */
struct unsealed {
    struct window_key key;
    int64_t closed_ms; /* when it was first seen closed; 0: not yet */
};

struct windows {
    pthread_mutex_t lock;
    struct map *kept, *unsealed; /* by key */
    struct list used;
    size_t bytes;
    atomic_uint touches[TOUCHES];
};

static struct window_key key_of(struct ulid video, int64_t window)
{
    return (struct window_key){video, window};
}

static struct bytes key_bytes(const struct window_key *k)
{
    return bytes_of(k, sizeof *k);
}

static atomic_uint *touches_of(struct windows *w, const struct window_key *k)
{
    uint64_t hash = (uint64_t)k->window * 0x9e3779b97f4a7c15u;

    for (size_t i = 8; i < sizeof k->video.b; i++)
        hash = (hash ^ k->video.b[i]) * 0x100000001b3u;
    return &w->touches[(hash >> 20) % TOUCHES];
}

static char *object_name(const struct window_key *k)
{
    char id[ULID_TEXT_SIZE];

    return mem_printf("v/%s/comments/%06lld.json", ulid_text(k->video, id), (long long)k->window);
}

/* --- in memory --------------------------------------------------------------------------------------- */

/* What one takes: an empty window is not for nothing. */
static size_t cost(const struct comment_window *window)
{
    return window->json->size + sizeof(struct kept) + 128;
}

static void drop(struct windows *w, struct kept *k)
{
    map_remove(w->kept, key_bytes(&k->key));
    list_remove(&k->link);
    w->bytes -= cost(&k->window);
    buffer_unref(k->window.json);
    free(k);
}

void window_touch(struct comments *c, struct ulid video, int64_t offset_us)
{
    struct windows *w = c->windows;
    struct window_key key = key_of(video, window_of(offset_us));
    struct kept *k;

    atomic_fetch_add(touches_of(w, &key), 1);
    pthread_mutex_lock(&w->lock);
    if ((k = map_get(w->kept, key_bytes(&key))) != NULL)
        drop(w, k);
    pthread_mutex_unlock(&w->lock);
}

/* With the lock held. */
static void keep(struct windows *w, const struct window_key *key, const struct comment_window *window,
                 int64_t ms)
{
    struct kept *k = mem_new(sizeof *k), *old;

    *k = (struct kept){.key = *key, .window = *window, .until_ms = clock_mono_ms() + ms};
    buffer_ref(window->json);
    if ((old = map_get(w->kept, key_bytes(key))) != NULL)
        drop(w, old);
    map_put(w->kept, key_bytes(&k->key), k);
    list_push(&w->used, &k->link);
    w->bytes += cost(window);
    while (w->bytes > COMMENT_WINDOWS_BYTES_MAX && w->used.next != &k->link)
        drop(w, container_of(w->used.next, struct kept, link));
}

bool comments_window_closed(const struct video_view *v, int64_t window)
{
    double end_s = (double)(window + 1) * COMMENT_WINDOW_S;

    return !v->live || video_view_duration_s(v) >= end_s + COMMENT_WINDOW_S;
}

bool comments_is_late(const struct video_view *v, int64_t offset_us)
{
    return comments_window_closed(v, window_of(offset_us));
}

bool comments_window_peek(struct comments *c, const struct video_view *v, int64_t window,
                          struct comment_window *out)
{
    struct windows *w = c->windows;
    struct window_key key = key_of(v->id, window);
    bool found = false;
    struct kept *k;

    pthread_mutex_lock(&w->lock);
    k = map_get(w->kept, key_bytes(&key));
    if (k != NULL && k->until_ms > clock_mono_ms() && k->window.closed == comments_window_closed(v, window)) {
        *out = k->window;
        buffer_ref(out->json);
        list_remove(&k->link);
        list_push(&w->used, &k->link);
        found = true;
    }
    pthread_mutex_unlock(&w->lock);
    return found;
}

/* --- reading ------------------------------------------------------------------------------------------- */

struct reading {
    struct builder json;
    size_t count;
    bool more;
};

static bool add_comment(void *ctx, const struct comment *c)
{
    struct reading *r = ctx;

    if (r->count == COMMENT_WINDOW_ITEMS_MAX) {
        r->more = true;
        return false;
    }
    if (r->count++ > 0)
        builder_u8(&r->json, ',');
    comment_print(&r->json, c);
    return true;
}

static void set_etag(struct comment_window *w)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];

    SHA256(w->json->data, w->json->size, hash);
    w->etag[0] = '"';
    for (size_t i = 0; i < (COMMENT_ETAG_SIZE - 3) / 2; i++)
        snprintf(w->etag + 1 + 2 * i, 3, "%02x", hash[i]);
    w->etag[COMMENT_ETAG_SIZE - 3] = '"';
    w->etag[COMMENT_ETAG_SIZE - 2] = '\0';
}

/* The window as the engine has it. */
static enum err read_window(struct comments *c, const struct window_key *key, bool closed, struct reading *r,
                            struct comment_window *out)
{
    struct comment_range range = {.from_us = key->window * COMMENT_WINDOW_US,
                                  .to_us = (key->window + 1) * COMMENT_WINDOW_US,
                                  .limit = COMMENT_WINDOW_ITEMS_MAX + 1};
    long long from_s = (long long)key->window * COMMENT_WINDOW_S;
    enum err e;

    *r = (struct reading){.count = 0};
    builder_printf(&r->json, "{\"window\":%lld,\"from\":%lld,\"to\":%lld,\"closed\":%s,\"comments\":[",
                   (long long)key->window, from_s, from_s + COMMENT_WINDOW_S, closed ? "true" : "false");
    metric_add(&asked, 1);
    if ((e = c->store->kind->range(c->store, key->video, &range, add_comment, r)) != ERR_OK) {
        builder_drop(&r->json);
        return e;
    }
    builder_text(&r->json, r->more ? "],\"more\":true}" : "]}");
    *out = (struct comment_window){.json = builder_finish(&r->json), .closed = closed};
    set_etag(out);
    return ERR_OK;
}

/* The sealed form, if there is one. It is read anew: what the store has in memory another server may have changed, and a get that
 * ran beside our own deletion may have put it back there. */
static bool read_sealed(struct comments *c, const struct window_key *key, struct comment_window *out)
{
    char *name = object_name(key);
    enum err e;

    store_cool(c->options.store, name);
    *out = (struct comment_window){.closed = true};
    e = store_get(c->options.store, name, &out->json);
    free(name);
    if (e != ERR_OK)
        return false;
    set_etag(out);
    return true;
}

/* Keeps what was read since there were `before` touches. Who touches counts first and then drops what is kept: looking under the
 * lock sees the one or is seen by the other. */
static void keep_if_calm(struct comments *c, const struct window_key *key,
                         const struct comment_window *window, unsigned before, bool crowded)
{
    struct windows *w = c->windows;
    bool calm;

    pthread_mutex_lock(&w->lock);
    calm = atomic_load(touches_of(w, key)) == before;
    if (calm || crowded)
        keep(w, key, window, c->store->shared || !calm ? COMMENT_WINDOW_FRESH_MS : COMMENT_WINDOW_KEPT_MS);
    pthread_mutex_unlock(&w->lock);
}

enum err comments_window(struct comments *c, const struct video_view *v, int64_t window,
                         struct comment_window *out)
{
    struct windows *w = c->windows;
    struct window_key key = key_of(v->id, window);
    bool closed = comments_window_closed(v, window), crowded = false;
    unsigned before = atomic_load(touches_of(w, &key));
    struct reading r;
    enum err e;

    if (!closed || !read_sealed(c, &key, out)) {
        if ((e = read_window(c, &key, closed, &r, out)) != ERR_OK)
            return e;
        crowded = !closed && r.count > COMMENT_PAGE;
        if (closed)
            window_note(c, v->id, window);
    }
    keep_if_calm(c, &key, out, before, crowded);
    return ERR_OK;
}

/* --- sealing ------------------------------------------------------------------------------------------- */

enum err window_unseal(struct comments *c, struct ulid video, int64_t window)
{
    struct window_key key = key_of(video, window);
    char *name = object_name(&key);
    enum err e = store_delete(c->options.store, name);

    free(name);
    return e;
}

void window_note(struct comments *c, struct ulid video, int64_t window)
{
    struct windows *w = c->windows;
    struct window_key key = key_of(video, window);

    pthread_mutex_lock(&w->lock);
    if (map_count(w->unsealed) < COMMENT_UNSEALED_MAX && map_get(w->unsealed, key_bytes(&key)) == NULL) {
        struct unsealed *u = mem_new(sizeof *u);

        u->key = key;
        map_put(w->unsealed, key_bytes(&u->key), u);
    }
    pthread_mutex_unlock(&w->lock);
}

struct after {
    int64_t seq;
    int64_t window;
    bool changed;
};

static bool look_at_entry(void *ctx, const struct comment *c)
{
    struct after *a = ctx;

    a->seq = c->seq;
    a->changed = a->changed || window_of(c->offset_us) == a->window;
    return !a->changed;
}

/* Whether anything came into the window after entry `seq`. */
static enum err changed_after(struct comments *c, const struct window_key *key, int64_t seq, bool *changed)
{
    struct after a = {.seq = seq, .window = key->window};
    enum err e;

    do {
        seq = a.seq;
        e = c->store->kind->log(c->store, key->video, seq, COMMENT_FEED_ENTRIES, look_at_entry, &a);
    } while (e == ERR_OK && !a.changed && a.seq > seq);
    *changed = a.changed;
    return e;
}

static enum err seal_once(struct comments *c, const struct window_key *key, bool *changed)
{
    struct comment_window window = {.json = NULL};
    char *name = object_name(key);
    struct reading r;
    int64_t seq;
    enum err e = c->store->kind->head(c->store, key->video, &seq);

    if (e == ERR_OK)
        e = read_window(c, key, true, &r, &window);
    if (e == ERR_OK)
        e = store_put(c->options.store, name, buffer_bytes(window.json));
    if (e == ERR_OK)
        e = changed_after(c, key, seq, changed);
    if (e != ERR_OK || *changed) {
        e = store_delete(c->options.store, name) == ERR_OK ? e : ERR_IO;
        window_touch(c, key->video, key->window * COMMENT_WINDOW_US); /* somebody may have read it by now */
    }
    buffer_unref(window.json);
    free(name);
    return e;
}

bool window_seal(struct comments *c, struct ulid video, int64_t window)
{
    struct window_key key = key_of(video, window);
    bool changed = true;
    enum err e = ERR_OK;

    for (int i = 0; i < SEAL_TRIES && e == ERR_OK && changed; i++) {
        changed = false;
        e = seal_once(c, &key, &changed);
    }
    if (e != ERR_OK)
        log_debug("comments", "a window could not be sealed: %s", err_text(e));
    metric_add(&sealed, e == ERR_OK && !changed);
    return e == ERR_OK && !changed;
}

enum ripeness { RIPE_LATER, RIPE_NOW, RIPE_NEVER };

static enum ripeness ripeness(struct comments *c, struct unsealed *u)
{
    struct video_view *v;
    bool known, closed;

    if ((v = live_video_peek(c->options.live, u->key.video, &known)) == NULL &&
        (!known || live_video_load(c->options.live, u->key.video, &v) != ERR_OK))
        return known ? RIPE_LATER : RIPE_NEVER;
    closed = comments_window_closed(v, u->key.window);
    video_view_unref(v);
    if (!closed)
        return RIPE_LATER;
    if (u->closed_ms == 0)
        u->closed_ms = clock_mono_ms();
    return clock_mono_ms() - u->closed_ms >= COMMENT_SEAL_MS ? RIPE_NOW : RIPE_LATER;
}

/* The entries as they are now; only the keeper takes any away. */
static struct unsealed **list_unsealed(struct windows *w, size_t *count)
{
    struct unsealed **all;
    struct bytes key;
    void *value;

    *count = 0;
    pthread_mutex_lock(&w->lock);
    all = mem_new(map_count(w->unsealed) * sizeof *all);
    for (size_t at = 0; map_next(w->unsealed, &at, &key, &value);)
        all[(*count)++] = value;
    pthread_mutex_unlock(&w->lock);
    return all;
}

/* An entry is taken off before its window is sealed: what comes into it then puts it back. Returns whether it was due. */
static bool try_one(struct comments *c, struct unsealed *u)
{
    struct windows *w = c->windows;
    enum ripeness ripe = ripeness(c, u);
    struct window_key key = u->key;

    if (ripe == RIPE_LATER)
        return false;
    pthread_mutex_lock(&w->lock);
    map_remove(w->unsealed, key_bytes(&key));
    pthread_mutex_unlock(&w->lock);
    free(u);
    if (ripe == RIPE_NOW && !window_seal(c, key.video, key.window))
        window_note(c, key.video, key.window);
    return ripe == RIPE_NOW;
}

void windows_seal(struct comments *c)
{
    size_t count, sealed_now = 0;
    struct unsealed **all = list_unsealed(c->windows, &count);

    for (size_t i = 0; i < count && sealed_now < SEALS_PER_TURN; i++)
        sealed_now += try_one(c, all[i]);
    free(all);
}

/* --- opening and closing --------------------------------------------------------------------------------- */

struct windows *windows_new(void)
{
    struct windows *w = mem_new(sizeof *w);

    pthread_mutex_init(&w->lock, NULL);
    w->kept = map_new();
    w->unsealed = map_new();
    list_init(&w->used);
    return w;
}

void windows_free(struct windows *w)
{
    struct bytes key;
    void *value;

    while (!list_empty(&w->used))
        drop(w, container_of(w->used.next, struct kept, link));
    for (size_t at = 0; map_next(w->unsealed, &at, &key, &value);)
        free(value);
    map_free(w->kept);
    map_free(w->unsealed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
