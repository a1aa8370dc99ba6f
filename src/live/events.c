/* live/events.c - what producers do with events and videos, and the copies that the API prints. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* How long a publisher may take to be gone when its event is ended under it. */
#define LEAVE_MS_MAX 10000
/* How long a deletion waits for the journal to know of it. */
#define FORGET_MS_MAX 2000

/* --- copies ------------------------------------------------------------------------------------------ */

void event_view_free(struct event_view *v)
{
    free(v->title);
    free(v->videos);
    free(v->upload.problem);
    v->upload.problem = NULL;
    v->title = NULL;
    v->videos = NULL;
}

static enum event_state state_of(const struct event *e)
{
    if (e->video != NULL && ((e->video->live && !e->video->importing) || e->video->away))
        return EVENT_LIVE;
    return e->video != NULL || e->ended ? EVENT_ENDED : EVENT_SCHEDULED;
}

static void copy_event(const struct live *l, const struct event *e, struct event_view *out)
{
    *out = (struct event_view){
        .id = e->id,
        .title = mem_string(e->title),
        .access = e->access,
        .state = state_of(e),
        .starts_at_ms = e->starts_at_ms,
        .created_at_ms = e->created_at_ms,
        .inventory = e->inventory,
        .screens = e->screens,
        .has_video = e->video != NULL,
        .health = e->health,
    };
    upload_view_of(e, &out->upload);
    if (e->publication != NULL && e->health.publishing)
        out->health.heard_ms = clock_wall_ms() - (clock_mono_ms() - e->publication->heard_ms);
    for (size_t i = l->video_count; i > 0 && e->video != NULL; i--) {
        if (live_find_video(l, l->video_order[i - 1])->event != e)
            continue;
        out->videos = mem_resize(out->videos, (out->video_count + 1) * sizeof *out->videos);
        out->videos[out->video_count++] = l->video_order[i - 1];
    }
}

enum err live_event_get(struct live *l, struct ulid id, struct event_view *out)
{
    pthread_mutex_lock(&l->lock);
    const struct event *e = live_find_event(l, id);

    *out = (struct event_view){0};
    if (e != NULL)
        copy_event(l, e, out);
    pthread_mutex_unlock(&l->lock);
    return e ? ERR_OK : ERR_MISSING;
}

/* How many of the ascending `order` lie before `after`; all of them when it is zero. */
static size_t before(const struct ulid *order, size_t count, struct ulid after)
{
    size_t at = count;

    while (!ulid_is_zero(after) && at > 0 && memcmp(order[at - 1].b, after.b, sizeof after.b) >= 0)
        at--;
    return at;
}

size_t live_event_list(struct live *l, struct ulid after, size_t limit, struct event_view *out)
{
    size_t count = 0;

    pthread_mutex_lock(&l->lock);
    for (size_t at = before(l->event_order, l->event_count, after); at > 0 && count < limit; at--)
        copy_event(l, live_find_event(l, l->event_order[at - 1]), &out[count++]);
    pthread_mutex_unlock(&l->lock);
    return count;
}

bool live_event_of_inventory(struct live *l, struct ulid inventory, struct ulid *event)
{
    bool found = false;

    pthread_mutex_lock(&l->lock);
    for (size_t at = l->event_count; at > 0 && !found; at--) {
        const struct event *e = live_find_event(l, l->event_order[at - 1]);

        found = ulid_equal(e->inventory, inventory);
        *event = e->id;
    }
    pthread_mutex_unlock(&l->lock);
    return found;
}

bool live_event_of_video(struct live *l, struct ulid video, struct ulid *event)
{
    pthread_mutex_lock(&l->lock);
    const struct video *v = live_find_video(l, video);

    if (v != NULL)
        *event = v->event->id;
    pthread_mutex_unlock(&l->lock);
    return v != NULL;
}

struct screen_rule live_event_screens(struct live *l, struct ulid event)
{
    struct screen_rule rule = {.count = 0};

    pthread_mutex_lock(&l->lock);
    const struct event *e = live_find_event(l, event);

    if (e != NULL)
        rule = e->screens;
    pthread_mutex_unlock(&l->lock);
    return rule;
}

size_t live_video_list(struct live *l, struct ulid after, size_t limit, struct ulid *out)
{
    size_t count = 0;

    pthread_mutex_lock(&l->lock);
    for (size_t at = before(l->video_order, l->video_count, after); at > 0 && count < limit; at--)
        out[count++] = l->video_order[at - 1];
    pthread_mutex_unlock(&l->lock);
    return count;
}

/* --- events ------------------------------------------------------------------------------------------ */

static void apply_screens(struct event *e, const struct event_change *what)
{
    if (what->screens != NULL)
        e->screens.count = *what->screens;
    if (what->refuse_screens != NULL)
        e->screens.refuse = *what->refuse_screens;
}

enum err live_event_create(struct live *l, const struct event_change *what, struct ulid *id,
                           char key[ACCESS_KEY_SIZE])
{
    struct event *e = mem_new(sizeof *e);
    enum err failed;

    access_key_new(key);
    access_key_hash(bytes_text(key), e->key_hash);
    *id = e->id = ulid_new();
    e->title = mem_string(what->title);
    e->access = what->access ? *what->access : ACCESS_PUBLIC;
    e->starts_at_ms = what->starts_at_ms >= 0 ? what->starts_at_ms : -1;
    e->created_at_ms = clock_wall_ms();
    if (what->inventory != NULL)
        e->inventory = *what->inventory;
    apply_screens(e, what);
    pthread_mutex_lock(&l->change_lock); /* or it could be read back before it is listed */
    if ((failed = index_add_event(l->options.db, e)) == ERR_OK) {
        pthread_mutex_lock(&l->lock);
        live_add_event(l, e);
        pthread_mutex_unlock(&l->lock);
    } else {
        event_free(e);
    }
    pthread_mutex_unlock(&l->change_lock);
    return failed;
}

/* Players' views carry the access rule: they are made anew with it. With the lock held. */
static void show_access(const struct live *l, const struct event *e)
{
    for (size_t i = 0; i < l->video_count; i++) {
        struct video *v = live_find_video(l, l->video_order[i]);

        if (v->event == e && v->view != NULL && v->view->access != e->access)
            video_show(v, NULL);
    }
}

void live_adopt_event(struct live *l, struct event *e, struct event *copy)
{
    char *old = e->title;

    map_remove(l->keys, bytes_of(e->key_hash, ACCESS_HASH_SIZE));
    e->title = copy->title;
    copy->title = old;
    e->access = copy->access;
    e->starts_at_ms = copy->starts_at_ms;
    e->ended = copy->ended;
    e->row_ended = copy->row_ended;
    e->inventory = copy->inventory;
    e->screens = copy->screens;
    memcpy(e->key_hash, copy->key_hash, sizeof e->key_hash);
    if (!e->closed)
        map_put(l->keys, bytes_of(e->key_hash, ACCESS_HASH_SIZE), e);
    show_access(l, e);
}

/* Changes go to a copy, then to the row, then to the event, so that a failed write changes nothing. One after
 * the other: a change that began from an older copy would bring back what another has just changed, a key
 * that was rotated away above all. */
static enum err change(struct live *l, struct ulid id, void (*apply)(struct event *copy, const void *what),
                       const void *what)
{
    struct event copy = {0};
    enum err failed = ERR_MISSING;

    pthread_mutex_lock(&l->change_lock);
    if ((failed = catalog_now(l)) != ERR_OK)
        goto out;
    failed = ERR_MISSING;
    pthread_mutex_lock(&l->lock);
    struct event *e = live_find_event(l, id);

    if (e != NULL) {
        copy = *e;
        copy.title = mem_string(e->title);
    }
    pthread_mutex_unlock(&l->lock);
    if (e == NULL)
        goto out;
    apply(&copy, what);
    copy.row_ended = copy.ended;
    if ((failed = index_change_event(l->options.db, &copy)) != ERR_OK)
        goto out;
    pthread_mutex_lock(&l->lock);
    if ((e = live_find_event(l, id)) != NULL)
        live_adopt_event(l, e, &copy);
    pthread_mutex_unlock(&l->lock);
out:
    pthread_mutex_unlock(&l->change_lock);
    free(copy.title);
    return failed;
}

static void apply_change(struct event *copy, const void *ctx)
{
    const struct event_change *what = ctx;

    if (what->title != NULL) {
        free(copy->title);
        copy->title = mem_string(what->title);
    }
    if (what->access != NULL)
        copy->access = *what->access;
    if (what->starts_at_ms != EVENT_UNCHANGED)
        copy->starts_at_ms = what->starts_at_ms;
    if (what->inventory != NULL)
        copy->inventory = *what->inventory;
    apply_screens(copy, what);
}

enum err live_event_change(struct live *l, struct ulid id, const struct event_change *what)
{
    return change(l, id, apply_change, what);
}

static void apply_key(struct event *copy, const void *hash)
{
    memcpy(copy->key_hash, hash, ACCESS_HASH_SIZE);
}

static void evict_publisher(struct live *l, struct ulid id, const char *text)
{
    pthread_mutex_lock(&l->lock);
    const struct event *e = live_find_event(l, id);

    if (e != NULL && e->publication != NULL)
        publication_evict(e->publication, text);
    pthread_mutex_unlock(&l->lock);
}

enum err live_event_rotate_key(struct live *l, struct ulid id, char key[ACCESS_KEY_SIZE])
{
    uint8_t hash[ACCESS_HASH_SIZE];
    enum err e;

    access_key_new(key);
    access_key_hash(bytes_text(key), hash);
    if ((e = change(l, id, apply_key, hash)) == ERR_OK)
        evict_publisher(l, id, "the stream key was changed");
    return e;
}

static void apply_end(struct event *copy, const void *nothing)
{
    copy->ended = true;
}

/* Evicts who publishes the event, with the lock held, until nobody does: an encoder that comes back on its own
 * may be there before we look. */
static enum err make_leave(struct live *l, struct ulid id)
{
    int64_t due_ms = clock_wall_ms() + LEAVE_MS_MAX;
    struct timespec due = {due_ms / 1000, due_ms % 1000 * 1000000};
    uint64_t told = 0;
    const struct event *e;

    while ((e = live_find_event(l, id)) != NULL && e->publication != NULL) {
        if (e->publication->serial != told)
            publication_evict(e->publication, "the event was ended");
        told = e->publication->serial;
        if (pthread_cond_timedwait(&l->changed, &l->lock, &due) != 0)
            return ERR_TIMEOUT;
    }
    return e ? ERR_OK : ERR_MISSING;
}

enum err live_end_publishing(struct live *l, struct ulid id)
{
    enum err e;

    pthread_mutex_lock(&l->lock);
    if ((e = make_leave(l, id)) == ERR_OK) {
        struct video *v = live_find_event(l, id)->video;

        if (v != NULL && v->live && !v->importing)
            live_end_video(l, v);
    }
    pthread_mutex_unlock(&l->lock);
    return e;
}

/* A video whose home is silent, or zero: the event has none. With the lock held. */
static struct ulid orphan_of(const struct live *l, struct ulid event)
{
    for (size_t i = 0; i < l->video_count; i++) {
        const struct video *v = live_find_video(l, l->video_order[i]);

        if (v->away && ulid_equal(v->event->id, event) && !catalog_is_heard(l, v->home))
            return v->id;
    }
    return (struct ulid){{0}};
}

/* Videos of servers that may never come back. What one of them has not stored it adds when it does. */
static enum err end_orphans(struct live *l, struct ulid event)
{
    enum err e = ERR_OK;

    pthread_mutex_lock(&l->change_lock);
    while (e == ERR_OK) {
        pthread_mutex_lock(&l->lock);
        struct ulid orphan = orphan_of(l, event);

        pthread_mutex_unlock(&l->lock);
        if (ulid_is_zero(orphan))
            break;
        if ((e = index_end_video(l->options.db, orphan, clock_wall_ms())) == ERR_OK)
            e = catalog_now(l);
    }
    pthread_mutex_unlock(&l->change_lock);
    return e;
}

enum err live_event_end(struct live *l, struct ulid id)
{
    enum err e = change(l, id, apply_end, NULL);

    if (e == ERR_OK)
        e = live_end_publishing(l, id);
    return e == ERR_OK ? end_orphans(l, id) : e;
}

/* --- videos ------------------------------------------------------------------------------------------ */

struct video_view *live_video_peek(struct live *l, struct ulid id, bool *known)
{
    struct video_view *view = NULL;

    pthread_mutex_lock(&l->lock);
    struct video *v = live_find_video(l, id);

    *known = v != NULL;
    if (v != NULL && v->view != NULL && v->unsettled && clock_mono_ms() - v->view_loaded_ms > FOREIGN_VIEW_MS)
        live_forget_view(v);
    if (v != NULL && v->view != NULL) {
        view = video_view_ref(v->view);
        v->view_used_ms = clock_mono_ms();
    }
    pthread_mutex_unlock(&l->lock);
    return view;
}

/* Gives what was loaded into `scratch` to the video itself, unless another thread was first. */
static void adopt(struct video *v, struct video *scratch, const struct segment *segments, size_t count)
{
    if (v->view != NULL)
        return;
    for (int t = 0; t < TRACK_COUNT; t++) {
        if (v->init_count[t] > 0) /* they stayed when the view was dropped */
            continue;
        v->inits[t] = scratch->inits[t];
        v->init_count[t] = scratch->init_count[t];
        scratch->inits[t] = NULL;
        scratch->init_count[t] = 0;
    }
    v->renditions = scratch->renditions;
    v->rendition_count = scratch->rendition_count;
    scratch->renditions = NULL;
    scratch->rendition_count = 0;
    video_show_loaded(v, segments, count);
}

static uint64_t changes_of(struct live *l, struct ulid id)
{
    pthread_mutex_lock(&l->lock);
    const struct video *v = live_find_video(l, id);
    uint64_t changes = v ? v->rendition_changes : 0;

    pthread_mutex_unlock(&l->lock);
    return changes;
}

/* One attempt; ERR_STALE: the rows have changed meanwhile. */
static enum err load_video(struct live *l, struct ulid id, struct video_view **out)
{
    struct video *scratch = video_new(l, NULL, id);
    struct segment *segments = NULL;
    size_t count = 0;
    uint64_t changes = changes_of(l, id);
    enum err e = index_load_video(l->options.db, scratch, &segments, &count);

    pthread_mutex_lock(&l->lock);
    struct video *v = live_find_video(l, id);

    if (e == ERR_OK && v == NULL)
        e = ERR_MISSING;
    else if (e == ERR_OK && v->view == NULL && v->rendition_changes != changes)
        e = ERR_STALE;
    if (e == ERR_OK) {
        if (v->unsettled)
            v->target_duration_s = scratch->target_duration_s;
        adopt(v, scratch, segments, count);
        *out = video_view_ref(v->view);
    }
    pthread_mutex_unlock(&l->lock);
    free(segments);
    video_free(scratch);
    return e;
}

enum err live_video_load(struct live *l, struct ulid id, struct video_view **out)
{
    enum err e;

    *out = NULL;
    while ((e = load_video(l, id, out)) == ERR_STALE)
        continue;
    return e;
}

/* Waits, with the lock held, until the journal's `position` is durable. A disk that refuses is not waited
 * for long: it may be full, and this deletion is what makes room. */
static void wait_for_disk(struct live *l, uint64_t position)
{
    int64_t due_ms = clock_wall_ms() + FORGET_MS_MAX;
    struct timespec due = {due_ms / 1000, due_ms % 1000 * 1000000};

    journal_sync(l->journal);
    while (l->durable < position && pthread_cond_timedwait(&l->changed, &l->lock, &due) == 0)
        continue;
}

/* With the lock held: ends its import, and waits until no other thread has it in hand. NULL: it is gone. */
static struct video *wait_for_hands(struct live *l, struct ulid id)
{
    struct video *v;

    while ((v = live_find_video(l, id)) != NULL) {
        if (v->importing)
            import_cancel(l, v);
        if (!v->spooling && l->importer.video != v)
            break;
        pthread_cond_wait(&l->changed, &l->lock);
    }
    return v;
}

/* With the lock held: takes the video out of the lists. */
static enum err take_out(struct live *l, struct ulid id)
{
    uint64_t position;
    struct video *v;
    struct buffer *nothing;
    struct record r = {.kind = RECORD_FORGET, .video = id};

    if ((v = wait_for_hands(l, id)) == NULL)
        return ERR_MISSING;
    if (v->live || v->away)
        return ERR_BUSY;
    map_put(l->deleted, bytes_of(id.b, sizeof id.b), l);
    nothing = buffer_new(0);
    r.message = nothing;
    position = journal_append(l->journal, &r);
    buffer_unref(nothing);
    live_remove_video(l, v);
    wait_for_disk(l, position); /* or a crash would bring it back */
    return ERR_OK;
}

enum err live_video_delete(struct live *l, struct ulid id)
{
    char text[ULID_TEXT_SIZE], prefix[ULID_TEXT_SIZE + 2];
    enum err e;

    pthread_mutex_lock(&l->change_lock);
    e = catalog_now(l); /* without its rows it could not go: it stays as it is while they are out of reach */
    pthread_mutex_unlock(&l->change_lock);
    if (e != ERR_OK)
        return e;
    pthread_mutex_lock(&l->lock);
    e = take_out(l, id);
    pthread_mutex_unlock(&l->lock);
    if (e != ERR_OK)
        return e;
    /* The row goes first: objects that nobody lists are harmless, a listed video without them is not. */
    snprintf(prefix, sizeof prefix, "v/%s", ulid_text(id, text));
    if ((e = index_remove_video(l->options.db, id)) != ERR_OK)
        catalog_bring_back(l, id);
    else
        e = store_delete_all(l->options.store, prefix);
    upload_remove_file(l, id);
    renditions_tell(l, id);
    return e;
}

/* From here on nobody can begin to publish it. */
static void close_door(struct live *l, struct ulid id)
{
    pthread_mutex_lock(&l->lock);
    struct event *e = live_find_event(l, id);

    if (e != NULL) {
        e->closed = true;
        map_remove(l->keys, bytes_of(e->key_hash, ACCESS_HASH_SIZE));
    }
    pthread_mutex_unlock(&l->lock);
}

/* Until the server where it is live has heard that the event was ended. */
static enum err wait_for_home(struct live *l, struct ulid id)
{
    int64_t due_ms = clock_wall_ms() + LEAVE_MS_MAX;
    struct timespec due = {due_ms / 1000, due_ms % 1000 * 1000000};
    enum err e = ERR_OK;
    const struct event *event;

    pthread_mutex_lock(&l->lock);
    while ((event = live_find_event(l, id)) != NULL && catalog_is_elsewhere(l, event) && e == ERR_OK)
        if (pthread_cond_timedwait(&l->changed, &l->lock, &due) != 0)
            e = ERR_TIMEOUT;
    pthread_mutex_unlock(&l->lock);
    return e;
}

enum err live_event_delete(struct live *l, struct ulid id)
{
    struct event_view view;
    enum err e = live_event_end(l, id);

    if (e == ERR_OK)
        close_door(l, id);
    if (e == ERR_OK) /* somebody may have come between the two */
        e = live_end_publishing(l, id);
    if (e == ERR_OK)
        e = wait_for_home(l, id);
    if (e != ERR_OK)
        return e;
    while ((e = live_event_get(l, id, &view)) == ERR_OK && view.videos != NULL) {
        e = live_video_delete(l, view.videos[0]);
        event_view_free(&view);
        if (e != ERR_OK && e != ERR_MISSING)
            return e;
    }
    event_view_free(&view);
    if (e != ERR_OK || (e = index_remove_event(l->options.db, id)) != ERR_OK)
        return e;
    pthread_mutex_lock(&l->lock);
    map_put(l->deleted, bytes_of(id.b, sizeof id.b), l);
    struct event *gone = live_find_event(l, id);

    if (gone != NULL)
        live_remove_event(l, gone);
    pthread_mutex_unlock(&l->lock);
    upload_forget(l, id);
    return ERR_OK;
}
