/* live/catalog.c - which events and videos there are, as the rows tell it: all of them when the room opens, and over a database
 * that other servers share whatever has changed since, looked for once a second.
 *
 * A video belongs to the server it is published to, its home, until it has ended: that alone writes it, and has its live edge.
 * To all others it is `away`: listed, and not live here. Once it has ended it is everybody's. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A version that no catalog has: whatever is there is read. */
#define CATALOG_UNREAD (-1)

/* A row of videos. */
struct listed {
    struct ulid id, event, home;
    bool live, importing, laddered;
    int64_t created_at_ms;
    uint32_t target_duration_s;
    uint64_t upload_bytes;
    int64_t segment_ms;
};

/* What was read at one moment. Both in the order of their ids. */
struct reading {
    int64_t version;
    struct event_row {
        struct event *event;
        bool taken; /* it is the room's now */
    } * events;
    size_t event_count;
    struct listed *videos;
    size_t video_count;
    struct ulid *ended; /* events that another server has ended */
    size_t ended_count;
};

/* --- reading ------------------------------------------------------------------------------------------ */

static bool read_version(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = db_column_int(r, 0);
    return false;
}

static bool read_event(void *ctx, const struct db_row *r)
{
    struct reading *g = ctx;
    struct event *e = mem_new(sizeof *e);
    struct bytes hash = db_column_blob(r, 4);

    if (!ulid_parse(bytes_text(db_column_text(r, 0)), &e->id) || hash.size != ACCESS_HASH_SIZE) {
        free(e); /* a row that no matinee wrote */
        return true;
    }
    e->title = mem_string(db_column_text(r, 1));
    e->access = strcmp(db_column_text(r, 2), "ticket") == 0 ? ACCESS_TICKET : ACCESS_PUBLIC;
    e->starts_at_ms = db_column_null(r, 3) ? -1 : db_column_int(r, 3);
    memcpy(e->key_hash, hash.at, hash.size);
    e->created_at_ms = db_column_int(r, 5);
    e->ended = e->row_ended = db_column_int(r, 6) != 0;
    if (db_column_text(r, 7)[0] != '\0')
        e->upload_problem = mem_string(db_column_text(r, 7));
    if (!ulid_parse(bytes_text(db_column_text(r, 8)), &e->inventory))
        e->inventory = (struct ulid){{0}};
    e->screens.count = (uint32_t)db_column_int(r, 9);
    e->screens.refuse = db_column_int(r, 10) != 0;
    g->events = mem_resize(g->events, (g->event_count + 1) * sizeof *g->events);
    g->events[g->event_count++] = (struct event_row){e, false};
    return true;
}

static bool read_video(void *ctx, const struct db_row *r)
{
    struct reading *g = ctx;
    struct listed v = {
        .importing = strcmp(db_column_text(r, 2), "importing") == 0,
        .live = strcmp(db_column_text(r, 2), "ended") != 0,
        .created_at_ms = db_column_int(r, 3),
        .target_duration_s = (uint32_t)db_column_int(r, 4),
        .upload_bytes = (uint64_t)db_column_int(r, 5),
        .segment_ms = db_column_int(r, 6),
        .laddered = db_column_int(r, 8) != 0,
    };

    if (!ulid_parse(bytes_text(db_column_text(r, 7)), &v.home))
        v.home = (struct ulid){{0}};
    if (ulid_parse(bytes_text(db_column_text(r, 0)), &v.id) &&
        ulid_parse(bytes_text(db_column_text(r, 1)), &v.event)) {
        g->videos = mem_resize(g->videos, (g->video_count + 1) * sizeof *g->videos);
        g->videos[g->video_count++] = v;
    }
    return true;
}

static enum err read_all(struct db *d, struct reading *g)
{
    enum err e = db_read(d, "SELECT version FROM catalog WHERE id = 1", NULL, 0, read_version, &g->version);

    if (e == ERR_OK)
        e = db_read(d,
                    "SELECT id, title, access, starts_at, key_hash, created_at, ended, upload_problem,"
                    " inventory_id, screens, screens_refuse FROM events ORDER BY id",
                    NULL, 0, read_event, g);
    if (e == ERR_OK)
        e = db_read(d,
                    "SELECT id, event_id, state, created_at, target_duration, upload_bytes, segment_ms, home,"
                    " laddered FROM videos ORDER BY id",
                    NULL, 0, read_video, g);
    return e;
}

static void drop_reading(struct reading *g)
{
    for (size_t i = 0; i < g->event_count; i++)
        if (!g->events[i].taken)
            event_free(g->events[i].event);
    free(g->events);
    free(g->videos);
    free(g->ended);
}

/* --- events, with the lock held --------------------------------------------------------------------------- */

static void leave(const struct event *e, const char *why)
{
    if (e->publication != NULL)
        publication_evict(e->publication, why);
}

/* What another server has changed of an event that is known. */
static void adopt_event(struct live *l, struct event *e, struct event *row, struct reading *g)
{
    char *problem = e->upload_problem;

    e->upload_problem = row->upload_problem;
    row->upload_problem = problem;
    if (memcmp(row->key_hash, e->key_hash, sizeof e->key_hash) != 0)
        leave(e, "the stream key was changed");
    if (row->row_ended && !e->row_ended) {
        g->ended = mem_resize(g->ended, (g->ended_count + 1) * sizeof *g->ended);
        g->ended[g->ended_count++] = e->id;
    }
    if (row->row_ended == e->row_ended)
        row->ended = e->ended; /* a show that goes on after its end says so here only */
    live_adopt_event(l, e, row);
}

static bool was_deleted(const struct live *l, struct ulid id)
{
    return map_get(l->deleted, bytes_of(id.b, sizeof id.b)) != NULL;
}

static void merge_events(struct live *l, struct reading *g)
{
    for (size_t i = 0; i < g->event_count; i++) {
        struct event_row *row = &g->events[i];
        struct event *e = live_find_event(l, row->event->id);

        if (e != NULL) {
            adopt_event(l, e, row->event, g);
        } else if (!was_deleted(l, row->event->id)) {
            live_add_event(l, row->event);
            row->taken = true;
        }
    }
}

/* Another server has deleted it, and its videos before. Who publishes it, or sends a file, is sent away first. */
static void drop_event(struct live *l, struct event *e)
{
    leave(e, "the event was deleted");
    if (e->publication == NULL && e->upload == NULL && e->video == NULL)
        live_remove_event(l, e);
}

/* --- videos, with the lock held --------------------------------------------------------------------------- */

static bool is_ours(const struct live *l, struct ulid home)
{
    return ulid_is_zero(home) || ulid_equal(home, l->server);
}

static void add_video(struct live *l, const struct listed *row)
{
    struct event *e = live_find_event(l, row->event);
    struct video *v;

    if (e == NULL || was_deleted(l, row->id))
        return;
    v = video_new(l, e, row->id);
    video_has_row(v);
    v->home = row->home;
    v->away = row->live && !is_ours(l, row->home);
    v->live = row->live && !v->away;
    v->importing = row->importing && !v->away;
    v->unsettled = !row->laddered && !is_ours(l, row->home);
    v->created_at_ms = row->created_at_ms;
    v->target_duration_s = row->target_duration_s;
    v->upload_bytes = row->upload_bytes;
    v->segment_ms = row->segment_ms;
    if (v->importing)
        v->needed_from = UINT64_MAX;
    live_add_video(l, v);
}

/* What its home has done with a video: ours we know better than the row does. */
static void adopt_video(const struct live *l, struct video *v, const struct listed *row)
{
    bool unsettled = !row->laddered;

    if (is_ours(l, v->home) || (v->away == row->live && v->unsettled == unsettled))
        return;
    v->away = row->live;
    v->unsettled = unsettled;
    v->target_duration_s = row->target_duration_s;
    live_forget_view(v);
}

static void merge_videos(struct live *l, const struct reading *g)
{
    for (size_t i = 0; i < g->video_count; i++) {
        struct video *v = live_find_video(l, g->videos[i].id);

        if (v == NULL)
            add_video(l, &g->videos[i]);
        else
            adopt_video(l, v, &g->videos[i]);
    }
}

/* Another server has deleted it. One that is written here, or whose row is younger than the reading, stays. */
static void drop_video(struct live *l, struct video *v, uint64_t reading)
{
    bool in_hand =
        v->live || v->spooling || v->end_to_tell || !list_empty(&v->spool) || l->importer.video == v;

    if (v->has_row && v->row_since < reading && !in_hand)
        live_remove_video(l, v);
}

/* What the room has and the rows have not. Both are in order. */
static void drop_missing(struct live *l, const struct reading *g, uint64_t reading)
{
    size_t row = g->video_count;

    for (size_t i = l->video_count; i > 0; i--) {
        struct ulid id = l->video_order[i - 1];

        while (row > 0 && memcmp(g->videos[row - 1].id.b, id.b, sizeof id.b) > 0)
            row--;
        if (row == 0 || !ulid_equal(g->videos[row - 1].id, id))
            drop_video(l, live_find_video(l, id), reading);
    }
    row = g->event_count;
    for (size_t i = l->event_count; i > 0; i--) {
        struct ulid id = l->event_order[i - 1];

        while (row > 0 && memcmp(g->events[row - 1].event->id.b, id.b, sizeof id.b) > 0)
            row--;
        if (row == 0 || !ulid_equal(g->events[row - 1].event->id, id))
            drop_event(l, live_find_event(l, id));
    }
}

/* --- the whole -------------------------------------------------------------------------------------------- */

/* With change_lock held, so that no change of ours lies between what is read and what is done with it. */
static enum err refresh(struct live *l)
{
    struct reading g = {0};
    uint64_t reading = atomic_fetch_add(&l->readings, 1) + 1;
    int64_t version = -1;
    enum err e =
        db_read(l->options.db, "SELECT version FROM catalog WHERE id = 1", NULL, 0, read_version, &version);

    if (e != ERR_OK || version == l->catalog_version)
        return e;
    e = read_all(l->options.db, &g);
    if (e == ERR_OK) {
        pthread_mutex_lock(&l->lock);
        merge_events(l, &g);
        merge_videos(l, &g);
        if (l->catalog_version != 0)
            drop_missing(l, &g, reading);
        l->catalog_version = g.version;
        pthread_cond_broadcast(&l->changed);
        pthread_mutex_unlock(&l->lock);
    }
    for (size_t i = 0; i < g.ended_count; i++)
        if (live_end_publishing(l, g.ended[i]) == ERR_TIMEOUT)
            log_warn("live", "an event that another server ended is still published here");
    drop_reading(&g);
    return e;
}

enum err catalog_now(struct live *l)
{
    return db_shared(l->options.db) ? refresh(l) : ERR_OK;
}

void catalog_bring_back(struct live *l, struct ulid video)
{
    if (!db_shared(l->options.db))
        return;
    pthread_mutex_lock(&l->change_lock);
    pthread_mutex_lock(&l->lock);
    map_remove(l->deleted, bytes_of(video.b, sizeof video.b));
    pthread_mutex_unlock(&l->lock);
    l->catalog_version = CATALOG_UNREAD;
    pthread_mutex_unlock(&l->change_lock);
}

/* --- servers ---------------------------------------------------------------------------------------------- */

struct peers_read {
    struct peer *peers;
    size_t count;
};

static bool read_peer(void *ctx, const struct db_row *r)
{
    struct peers_read *read = ctx;
    struct peer p = {.beat = db_column_int(r, 2)};

    if (ulid_parse(bytes_text(db_column_text(r, 0)), &p.id)) {
        snprintf(p.url, sizeof p.url, "%s", db_column_text(r, 1));
        read->peers = mem_resize(read->peers, (read->count + 1) * sizeof p);
        read->peers[read->count++] = p;
    }
    return true;
}

static const struct peer *find_peer(const struct live *l, struct ulid id)
{
    for (size_t i = 0; i < l->peer_count; i++)
        if (ulid_equal(l->peers[i].id, id))
            return &l->peers[i];
    return NULL;
}

/* A server lives as long as its beat goes on, whatever the clocks of the two say. */
static enum err hear_peers(struct live *l)
{
    struct peers_read read = {0};
    char id[ULID_TEXT_SIZE];
    enum err e = db_do(l->options.db, "UPDATE servers SET beat = beat + 1 WHERE id = ?",
                       DB_VALUES(db_str(ulid_text(l->server, id))), NULL);

    if (e == ERR_OK)
        e = db_read(l->options.db, "SELECT id, url, beat FROM servers", NULL, 0, read_peer, &read);
    if (e == ERR_OK) {
        pthread_mutex_lock(&l->lock);
        for (size_t i = 0; i < read.count; i++) {
            const struct peer *before = find_peer(l, read.peers[i].id);

            if (before != NULL && before->beat == read.peers[i].beat)
                read.peers[i].still = before->still + 1;
        }
        free(l->peers);
        l->peers = read.peers;
        l->peer_count = read.count;
        l->looks++;
        pthread_mutex_unlock(&l->lock);
    } else {
        free(read.peers);
    }
    return e;
}

bool live_video_elsewhere(struct live *l, struct ulid video, char url[LIVE_URL_SIZE])
{
    const struct peer *p = NULL;

    if (l->peer_count == 0)
        return false; /* one server alone: nobody waits for its lock */
    pthread_mutex_lock(&l->lock);
    const struct video *v = live_find_video(l, video);

    if (v != NULL && v->away)
        p = find_peer(l, v->home);
    bool is_heard = p != NULL && catalog_is_heard(l, p->id) && p->url[0] != '\0';

    snprintf(url, LIVE_URL_SIZE, "%s", is_heard ? p->url : "");
    pthread_mutex_unlock(&l->lock);
    return is_heard;
}

bool catalog_is_heard(const struct live *l, struct ulid server)
{
    const struct peer *p = find_peer(l, server);

    /* One that was not seen yet, by a server that has just begun to look, may live as well as not. */
    return p != NULL ? p->still < PEER_SILENT_LOOKS : l->looks < PEER_SILENT_LOOKS;
}

bool catalog_is_elsewhere(const struct live *l, const struct event *e)
{
    return e->video != NULL && e->video->away && catalog_is_heard(l, e->video->home);
}

/* --- once a second ------------------------------------------------------------------------------------------ */

static void look(void *ctx)
{
    struct live *l = ctx;
    enum err e = hear_peers(l); /* a database that is away is waited for here, where nobody waits for us */

    if (e != ERR_IO) {
        pthread_mutex_lock(&l->change_lock);
        e = refresh(l);
        pthread_mutex_unlock(&l->change_lock);
    }
    if (e != ERR_OK)
        log_debug("live", "what other servers have changed could not be read: %s", err_text(e));
}

static void looked(void *ctx);

static void look_again(void *ctx)
{
    struct live *l = ctx;

    if (!l->draining)
        pool_run(net_loop(l->options.net, 0), look, looked, l);
}

static void looked(void *ctx)
{
    struct live *l = ctx;

    timer_start(net_loop(l->options.net, 0), &l->look, CATALOG_LOOK_MS, look_again, l);
}

/* Who we are: a number that stays with the data folder. */
static enum err read_server(struct live *l)
{
    char text[ULID_TEXT_SIZE] = "", *path = mem_printf("%s/server.id", l->data_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    enum err e = fd < 0 ? err_from_errno(errno) : ERR_OK;

    if (e == ERR_OK && (read(fd, text, ULID_TEXT_SIZE - 1) != ULID_TEXT_SIZE - 1 ||
                        !ulid_parse(bytes_text(text), &l->server))) {
        l->server = ulid_new();
        ulid_text(l->server, text);
        if (pwrite(fd, text, ULID_TEXT_SIZE - 1, 0) != ULID_TEXT_SIZE - 1 || fsync(fd) != 0)
            e = err_from_errno(errno);
    }
    if (fd >= 0)
        close(fd);
    free(path);
    return e;
}

enum err catalog_open(struct live *l, char why[256])
{
    enum err e = ERR_OK;

    if ((e = read_server(l)) != ERR_OK) {
        snprintf(why, 256, "the file server.id in %.120s: %s", l->data_dir, err_text(e));
        return e;
    }
    if ((e = refresh(l)) != ERR_OK)
        snprintf(why, 256, "the index of events and videos could not be read: %s", err_text(e));
    return e;
}

const char *live_server(const struct live *l, char text[ULID_TEXT_SIZE])
{
    return ulid_text(l->server, text);
}

enum err live_join(struct live *l, const char *url)
{
    char id[ULID_TEXT_SIZE];
    enum err e;

    if (!db_shared(l->options.db))
        return ERR_OK;
    e = db_do(l->options.db, "INSERT INTO servers (id, url, beat) VALUES (?,?,1) {or_keep:id}",
              DB_VALUES(db_str(ulid_text(l->server, id)), db_str(url)), NULL);
    if (e == ERR_OK)
        e = db_do(l->options.db, "UPDATE servers SET url = ? WHERE id = ?",
                  DB_VALUES(db_str(url), db_str(id)), NULL);
    if (e == ERR_OK)
        loop_post(net_loop(l->options.net, 0), look_again, l);
    return e;
}
