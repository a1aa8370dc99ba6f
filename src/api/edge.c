/* api/edge.c - what a live video has beyond its finished segments: playlists with parts, parts, and segments that still grow.
 *
 * A request for something that is not there yet waits on its connection's loop, as one small struct in the list of its video. When
 * the video has a new edge (live_on_edge) every loop that has waiting requests gets one message, and answers those that can be;
 * the text is printed and compressed once for all of them (play_edge_playlist). */
#include "api/api_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>

METRIC(requests_waiting, METRIC_GAUGE, "matinee_edge_requests_waiting",
       "Requests of low-latency players that wait for something to come");

/* A video that somebody on this loop waits for. */
struct awaited {
    struct ulid id;
    struct list waiters;
};

/* A loop's share. */
struct waiting_room {
    struct api *api;
    struct loop *loop;
    struct map *videos; /* struct awaited, by id */
    struct timer tick;
    atomic_size_t count;
};

struct waiter {
    struct list link; /* of its video's, in order of arrival */
    struct waiting_room *room;
    struct awaited *video;
    struct http_exchange *x;
    enum { WANTS_PLAYLIST, WANTS_MANIFEST, WANTS_MASTER, WANTS_PART, WANTS_SEGMENT } wants;
    enum track track;
    char rendition[RENDITION_NAME_SIZE]; /* "": the track */
    bool skips, begun, low, steady;
    struct play_wish wish; /* of a playlist */
    uint32_t segment;
    uint64_t part; /* of a growing segment: how many were sent */
    size_t sent;   /* of it, in bytes */
    int64_t due_ms;
};

/* --- waiting ----------------------------------------------------------------------------------------- */

static void gone(void *ctx)
{
    struct waiter *w = ctx;
    struct waiting_room *r = w->room;
    struct awaited *video = w->video;

    list_remove(&w->link);
    free(w);
    atomic_fetch_sub(&r->count, 1);
    metric_add(&requests_waiting, -1);
    if (list_empty(&video->waiters)) {
        map_remove(r->videos, bytes_of(video->id.b, sizeof video->id.b));
        free(video);
    }
}

/* Ends the waiting; the exchange is the caller's to answer. */
static struct http_exchange *take(struct waiter *w)
{
    struct http_exchange *x = w->x;

    http_on_end(x, NULL, NULL);
    gone(w);
    return x;
}

static void tick(void *ctx);

static void enter(struct waiter *w, struct ulid id)
{
    struct waiting_room *r = w->room;
    struct bytes key = bytes_of(id.b, sizeof id.b);

    w->video = map_get(r->videos, key);
    if (w->video == NULL) {
        w->video = mem_new(sizeof *w->video);
        w->video->id = id;
        list_init(&w->video->waiters);
        map_put(r->videos, key, w->video);
    }
    list_init(&w->link);
    list_push(&w->video->waiters, &w->link);
    atomic_fetch_add(&r->count, 1);
    metric_add(&requests_waiting, 1);
    http_on_end(w->x, gone, w);
    if (r->tick.loop == NULL)
        timer_start(r->loop, &r->tick, EDGE_TICK_MS, tick, r);
}

/* --- answers: fields are added when there is something to say, for until then they would cost memory -------------- */

static void refuse(struct api *a, struct http_exchange *x, int status, const char *slug, const char *detail)
{
    char text[384];

    allow_origins(x);
    snprintf(text, sizeof text,
             "{\"type\":\"/problems/%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}", slug, slug,
             status, detail);
    if (status == 503)
        http_add(x, "Retry-After", "1");
    http_add(x, "Cache-Control", "no-store");
    keep_number(a, x);
    http_answer_text(x, status, "application/problem+json", text);
}

static struct buffer *zip(void *ctx, struct buffer *text)
{
    return http_gzip(ctx, text);
}

/* A blocked request's answer never changes in what was asked for, and may be kept for as long as somebody could ask it again; that
 * to a plain one is old with the next part. */
static void send_playlist(struct api *a, struct http_exchange *x, struct edge *e, const struct play_list *l,
                          bool skips, bool waited)
{
    struct buffer *text = http_takes_gzip(x) ? play_edge_zipped(e, l, skips, zip, x) : NULL;
    bool zipped = text != NULL;

    allow_origins(x);
    if (!zipped)
        text = play_edge_playlist(e, l, skips);
    else
        http_add(x, "Content-Encoding", "gzip");
    http_add(x, "Vary", "Accept-Encoding");
    http_addf(x, "ETag", "\"%llx%s%s%s\"", (unsigned long long)e->serial,
              l->rendition ? l->rendition->name : track_rendition(l->track),
              skips       ? l->steady ? "-ts" : "-s"
              : l->steady ? "-t"
                          : "",
              zipped ? "-gzip" : "");
    if (waited)
        keep_for(a, x, e->view, e->view->target_duration_s, 0);
    else
        keep_for(a, x, e->view, 1, EDGE_STALE_LIVE_SECONDS);
    http_answer(x, 200, "application/vnd.apple.mpegurl", text);
}

static const char *type_of(enum track t)
{
    return t == TRACK_AUDIO ? "audio/mp4" : "video/mp4";
}

static void immutable(struct api *a, struct http_exchange *x, const struct edge *e)
{
    allow_origins(x);
    keep_forever(a, x, e->view);
}

static void send_manifest(struct api *a, struct http_exchange *x, struct edge *e, bool low)
{
    allow_origins(x);
    http_addf(x, "ETag", "\"%llxm%s\"", (unsigned long long)e->serial, low ? "l" : "");
    keep_for(a, x, e->view, 1, EDGE_STALE_LIVE_SECONDS);
    http_answer(x, 200, "application/dash+xml", play_edge_manifest(e, low));
}

static void send_master(struct api *a, struct http_exchange *x, struct edge *e)
{
    allow_origins(x);
    http_addf(x, "ETag", "\"%llxh\"", (unsigned long long)e->serial);
    keep_for(a, x, e->view, 1, EDGE_STALE_LIVE_SECONDS);
    http_answer(x, 200, "application/vnd.apple.mpegurl", play_edge_master(e));
}

/* The waiter's playlist in this edge; false: the rendition is gone. */
static bool list_of(const struct waiter *w, const struct edge *e, struct play_list *out)
{
    *out = (struct play_list){w->track, w->rendition[0] ? video_view_rendition(e->view, w->rendition) : NULL,
                              w->steady};
    return !w->rendition[0] || out->rendition != NULL;
}

/* When parts must have been looked at to be fresh enough for who asks once. */
static int64_t fresh_ms(const struct waiter *w)
{
    return w->due_ms - EDGE_FRESH_MS_MAX - EDGE_AGE_MS_MAX;
}

/* Whether the parts that were asked for are still on their way. */
static bool is_stale(const struct waiter *w, const struct edge *e, int64_t now)
{
    return !w->wish.waits && e->publishing && e->parts_ms < fresh_ms(w) && now < w->due_ms;
}

static void try_manifest(struct waiter *w, struct edge *e, int64_t now)
{
    struct api *a = w->room->api;
    bool low = w->low;

    if (!is_stale(w, e, now))
        send_manifest(a, take(w), e, low);
}

static void try_playlist(struct waiter *w, struct edge *e, int64_t now)
{
    struct api *a = w->room->api;
    struct play_list l;
    bool waits = w->wish.waits;

    if (!list_of(w, e, &l)) {
        refuse(a, take(w), 404, "not-found", "There is no such file of this video.");
        return;
    }
    if (is_stale(w, e, now))
        return;
    if (waits && l.rendition != NULL && !play_keeps_up(e, l.rendition)) {
        /* Nobody's picture shall stop for it: players go to another rendition, with what they have left. */
        refuse(a, take(w), 404, "behind",
               "This rendition does not keep up with the source just now; take another.");
        return;
    }
    switch (play_edge_has(e, &l, &w->wish)) {
    case PLAY_NOW: {
        bool skips = w->skips;

        send_playlist(a, take(w), e, &l, skips, waits);
        break;
    }
    case PLAY_NEVER:
        refuse(a, take(w), 400, "too-far", "_HLS_msn and _HLS_part are too far ahead of the playlist.");
        break;
    case PLAY_LATER:
        break;
    }
}

/* Part of a made rendition. The store has it, so it is answered like any other file. */
static void try_made_part(struct waiter *w, struct edge *e)
{
    struct api *a = w->room->api;
    const struct rendition *r = video_view_rendition(e->view, w->rendition);
    const struct made_part *part;

    switch (r != NULL ? play_made_part(e->view, r, w->segment, w->part, &part) : PLAY_NEVER) {
    case PLAY_NOW:
        playback_again(a, take(w));
        break;
    case PLAY_NEVER:
        refuse(a, take(w), 404, "not-found", "There is no such part, or not any more: its segment has it.");
        break;
    case PLAY_LATER:
        break;
    }
}

static void try_part(struct waiter *w, struct edge *e)
{
    struct api *a = w->room->api;
    const struct part *found;
    enum track track = w->track;
    uint32_t segment = w->segment;
    uint64_t part = w->part;
    struct http_exchange *x;
    char id[ULID_TEXT_SIZE];

    switch (play_edge_part(e, track, segment, part, &found)) {
    case PLAY_NOW:
        x = take(w);
        if (found->bytes == NULL) {
            playback_piece(a, x, e->view, track, segment, found->at, found->size);
            break;
        }
        http_addf(x, "ETag", "\"%s-%s/%06u.%llu.m4s\"", ulid_text(e->view->id, id), track_rendition(track),
                  segment, (unsigned long long)part);
        immutable(a, x, e);
        http_answer(x, 200, type_of(track), buffer_ref(found->bytes));
        break;
    case PLAY_NEVER:
        refuse(a, take(w), 404, "not-found", "There is no such part, or not any more: its segment has it.");
        break;
    case PLAY_LATER:
        break;
    }
}

/* --- segments that grow ------------------------------------------------------------------------------ */

static void begin(struct waiter *w, const struct edge *e)
{
    if (w->begun)
        return;
    immutable(w->room->api, w->x, e);
    http_begin(w->x, 200, type_of(w->track));
    w->begun = true;
}

/* The segment is done: what is left of it, in one piece. */
static void send_rest(struct waiter *w, const struct video_view *v, const struct segment *s)
{
    char name[SEGMENT_NAME_SIZE];
    struct store *store = w->room->api->options.store;
    struct buffer *content = store_peek(store, segment_name(name, v->id, w->track, s));
    size_t sent = w->sent;
    struct http_exchange *x = take(w);

    if (content == NULL || sent > content->size) {
        http_abort(x); /* the peer sees that it is not whole, and asks again */
    } else {
        if (sent < content->size)
            http_send(x, buffer_copy(bytes_from(buffer_bytes(content), sent)));
        http_finish(x);
    }
    buffer_unref(content);
}

static void try_segment(struct waiter *w, struct edge *e)
{
    struct api *a = w->room->api;
    const struct segment *s = play_segment(e->view, w->segment);
    const struct shelf *shelf = play_shelf(e, w->segment);

    if (s == NULL && shelf == NULL &&
        play_edge_part(e, w->track, w->segment, 0, &(const struct part *){NULL}) == PLAY_NEVER && !w->begun) {
        refuse(a, take(w), 404, "not-found", "There is no such file of this video.");
        return;
    }
    while (shelf != NULL && w->part < shelf->count[w->track] && http_queued(w->x) <= EDGE_UNREAD_BYTES_MAX) {
        struct buffer *bytes = shelf->parts[w->track][w->part].bytes;

        if (bytes == NULL)
            break;
        begin(w, e);
        http_send(w->x, buffer_ref(bytes));
        w->sent += bytes->size;
        w->part++;
        w->due_ms = clock_mono_ms() + EDGE_WAIT_MS_MAX;
    }
    if (s != NULL && s->track[w->track].bytes == 0 && !w->begun) {
        refuse(a, take(w), 404, "not-found", "There is nothing of this track in the segment.");
    } else if (s != NULL) {
        begin(w, e);
        send_rest(w, e->view, s);
    }
}

/* A playlist or manifest with whatever there is. */
static bool asks_once(const struct waiter *w)
{
    return w->wants == WANTS_MANIFEST || (w->wants == WANTS_PLAYLIST && !w->wish.waits);
}

/* --- one waiter -------------------------------------------------------------------------------------- */

static void attempt(struct waiter *w, struct edge *e, int64_t now)
{
    struct api *a = w->room->api;
    switch (w->wants) {
    case WANTS_PLAYLIST:
        try_playlist(w, e, now);
        break;
    case WANTS_MANIFEST:
        try_manifest(w, e, now);
        break;
    case WANTS_PART:
        if (w->rendition[0] != '\0')
            try_made_part(w, e);
        else
            try_part(w, e);
        break;
    case WANTS_MASTER:
        send_master(a, take(w), e);
        break;
    case WANTS_SEGMENT:
        try_segment(w, e);
        break;
    }
}

/* The video has ended, or is gone: the request is answered as any of a recording's. */
static void attempt_ended(struct waiter *w)
{
    struct api *a = w->room->api;
    bool known;
    struct video_view *v = w->begun ? live_video_peek(a->options.live, w->video->id, &known) : NULL;
    const struct segment *s = v != NULL ? play_segment(v, w->segment) : NULL;

    if (s != NULL)
        send_rest(w, v, s);
    else if (w->begun)
        http_abort(take(w));
    else
        playback_again(a, take(w));
    video_view_unref(v);
}

static void expire(struct waiter *w, struct edge *e)
{
    struct api *a = w->room->api;
    if (w->begun)
        http_abort(take(w));
    else if (asks_once(w))
        attempt(w, e, w->due_ms); /* with what there is */
    else
        refuse(a, take(w), 503, "not-in-time", "Nothing new has come of this video; ask again in a moment.");
}

/* --- messages ---------------------------------------------------------------------------------------- */

struct message {
    struct waiting_room *room;
    struct ulid video;
};

static void wake(struct waiting_room *r, struct awaited *video, bool closing)
{
    struct edge *e = live_edge_peek(r->api->options.live, video->id);
    int64_t now = clock_mono_ms();
    struct list waiters;
    struct list *link;

    /* The list itself may be freed with its last waiter: what is looked at is on ours. */
    list_move(&waiters, &video->waiters);
    struct waiter guard = {.room = r};

    list_push(&video->waiters, &guard.link);
    while ((link = list_pop(&waiters)) != NULL) {
        struct waiter *w = container_of(link, struct waiter, link);

        list_push(&video->waiters, &w->link);
        if (e == NULL)
            attempt_ended(w);
        else if (closing || now >= w->due_ms)
            expire(w, e);
        else
            attempt(w, e, now);
    }
    list_remove(&guard.link);
    if (list_empty(&video->waiters)) {
        map_remove(r->videos, bytes_of(video->id.b, sizeof video->id.b));
        free(video);
    }
    edge_unref(e);
}

static void hear(void *ctx)
{
    struct message *m = ctx;
    struct awaited *video = map_get(m->room->videos, bytes_of(m->video.b, sizeof m->video.b));

    if (video != NULL)
        wake(m->room, video, false);
    free(m);
}

/* Called under the live room's lock, on any thread. */
static void changed(void *ctx, struct ulid video)
{
    struct api *a = ctx;

    for (unsigned i = 0; i < a->room_count; i++) {
        struct message *m;

        if (atomic_load(&a->rooms[i].count) == 0)
            continue;
        m = mem_new(sizeof *m);
        *m = (struct message){&a->rooms[i], video};
        loop_post(a->rooms[i].loop, hear, m);
    }
}

/* Looks for requests that have waited too long. */
static void tick(void *ctx)
{
    struct waiting_room *r = ctx;
    struct bytes key;
    void *value;
    size_t at = 0, count = 0, room = 16;
    struct ulid *ids = mem_new(room * sizeof *ids);

    while (map_next(r->videos, &at, &key, &value)) { /* waking changes the map */
        if (count == room)
            ids = mem_resize(ids, (room *= 2) * sizeof *ids);
        ids[count++] = ((struct awaited *)value)->id;
    }
    for (size_t i = 0; i < count; i++) {
        struct awaited *video = map_get(r->videos, bytes_of(ids[i].b, sizeof ids[i].b));

        if (video != NULL)
            wake(r, video, r->api->draining);
    }
    free(ids);
    if (atomic_load(&r->count) > 0)
        timer_start(r->loop, &r->tick, EDGE_TICK_MS, tick, r);
}

/* --- requests ---------------------------------------------------------------------------------------- */

/* False, and answered: a directive that cannot be read (RFC 8216bis §6.2.5). */
static bool read_number(struct http_exchange *x, const char *name, bool *present, uint64_t *out)
{
    char text[24];

    if (http_query_get(x, name, text, sizeof text, present) &&
        bytes_to_u64(bytes_text(text), UINT32_MAX, out))
        return true;
    return !*present;
}

static bool read_wish(struct http_exchange *x, struct play_wish *wish, bool *skips)
{
    char text[8];
    bool has_skip;

    *wish = (struct play_wish){0};
    *skips = false;
    if (!read_number(x, "_HLS_msn", &wish->waits, &wish->msn) ||
        !read_number(x, "_HLS_part", &wish->has_part, &wish->part) || (wish->has_part && !wish->waits))
        return false;
    *skips = http_query_get(x, "_HLS_skip", text, sizeof text, &has_skip);
    return !has_skip || (*skips && (strcmp(text, "YES") == 0 || strcmp(text, "v2") == 0));
}

/* "source/…" and "audio/…", or a made rendition's; what stands behind the slash is *leaf. */
static bool find_list(const struct video_view *v, const char *file, struct waiter *w, const char **leaf)
{
    size_t size = strcspn(file, "/");

    if (file[size] == '\0' || size >= sizeof w->rendition)
        return false;
    *leaf = file + size + 1;
    memcpy(w->rendition, file, size);
    w->rendition[size] = '\0';
    if (video_view_rendition(v, w->rendition) != NULL)
        return true;
    for (int t = 0; t < TRACK_COUNT; t++) {
        if (strcmp(w->rendition, track_rendition((enum track)t)) != 0)
            continue;
        w->track = (enum track)t;
        w->rendition[0] = '\0';
        return v->init_count[t] > 0;
    }
    return false;
}

/* "000012.3.m4s": part 3 of segment 12; "000012.m4s" when the view does not have it yet. */
static bool find_media(const struct video_view *v, const char *leaf, struct waiter *w)
{
    struct bytes left = bytes_text(leaf);
    uint64_t number;

    if (left.size < 10 || !bytes_to_u64(bytes_head(left, 6), UINT32_MAX, &number) || leaf[6] != '.')
        return false;
    w->segment = (uint32_t)number;
    if (strcmp(leaf + 6, ".m4s") == 0) {
        w->wants = WANTS_SEGMENT;
        return w->rendition[0] == '\0' && play_segment(v, w->segment) == NULL;
    }
    left = bytes_from(left, 7);
    w->wants = WANTS_PART;
    return left.size > 4 && left.size < 12 && bytes_is(bytes_from(left, left.size - 4), ".m4s") &&
           bytes_to_u64(bytes_head(left, left.size - 4), UINT32_MAX, &w->part);
}

static void set_patience(struct waiter *w, const struct video_view *v, int64_t now)
{
    int64_t patience_ms = (int64_t)EDGE_WAIT_TARGETS_MAX * v->target_duration_s * 1000;

    w->due_ms = now + (patience_ms < EDGE_WAIT_MS_MAX ? patience_ms : EDGE_WAIT_MS_MAX);
    if (asks_once(w))
        w->due_ms = now + EDGE_FRESH_MS_MAX;
}

static bool is_media(const struct waiter *w)
{
    return w->wants != WANTS_MANIFEST && w->wants != WANTS_MASTER;
}

/* The part is there: it is answered from the store. */
static bool is_made(const struct video_view *v, const struct waiter *w)
{
    const struct rendition *r = w->rendition[0] != '\0' ? video_view_rendition(v, w->rendition) : NULL;
    const struct made_part *part;

    return w->wants == WANTS_PART && r != NULL &&
           play_made_part(v, r, w->segment, w->part, &part) == PLAY_NOW;
}

bool edge_answer(struct api *a, struct http_exchange *x, const struct video_view *v, const char *file)
{
    struct waiter found = {.room = &a->rooms[loop_index(http_loop(x))], .x = x};
    int64_t now = clock_mono_ms();
    const char *leaf = file;
    bool is_playlist = false;

    found.low = strcmp(file, "low.mpd") == 0;
    if (found.low || strcmp(file, "manifest.mpd") == 0)
        found.wants = WANTS_MANIFEST;
    else if (strcmp(file, "master.m3u8") == 0)
        found.wants = WANTS_MASTER;
    else if (!find_list(v, file, &found, &leaf))
        return false;
    else
        found.steady = found.rendition[0] == '\0' && strcmp(leaf, PLAY_STEADY) == 0;
    is_playlist = found.steady || strcmp(leaf, "playlist.m3u8") == 0;
    if (is_playlist && !read_wish(x, &found.wish, &found.skips)) {
        refuse(a, x, 400, "bad-parameter",
               "_HLS_msn and _HLS_part are numbers, _HLS_part needs _HLS_msn, and _HLS_skip is YES or v2.");
        return true;
    }
    if (!v->live || v->away || v->imported || !play_ready(v) ||
        (!is_playlist && is_media(&found) && !find_media(v, leaf, &found)))
        return false;
    if (is_made(v, &found))
        return false;
    set_patience(&found, v, now);

    struct waiter *w = mem_new(sizeof *w);
    struct edge *e;

    *w = found;
    enter(w, v->id); /* before the edge is looked at: none that comes from now on is missed */
    if (!asks_once(w) && w->wants != WANTS_MASTER)
        live_video_hurry(a->options.live, v->id);
    e = live_edge_peek(a->options.live, v->id);
    if (e == NULL) {
        attempt_ended(w);
    } else {
        if (asks_once(w) && e->publishing && e->parts_ms < fresh_ms(w))
            live_edge_ask(a->options.live, v->id);
        attempt(w, e, now);
    }
    edge_unref(e);
    return true;
}

void edge_open(struct api *a)
{
    a->room_count = net_loop_count(a->options.net);
    a->rooms = mem_new(a->room_count * sizeof *a->rooms);
    for (unsigned i = 0; i < a->room_count; i++) {
        a->rooms[i].api = a;
        a->rooms[i].loop = net_loop(a->options.net, i);
        a->rooms[i].videos = map_new();
    }
    live_on_edge(a->options.live, changed, a);
}

void edge_close(struct api *a)
{
    struct bytes key;
    void *value;

    live_on_edge(a->options.live, NULL, NULL);
    for (unsigned i = 0; i < a->room_count; i++) {
        for (size_t at = 0; map_next(a->rooms[i].videos, &at, &key, &value);) {
            struct awaited *video = value;

            for (struct list *link; (link = list_pop(&video->waiters)) != NULL;)
                free(container_of(link, struct waiter, link));
            free(video);
        }
        map_free(a->rooms[i].videos);
    }
    free(a->rooms);
}
