/* api/playback.c - /v/{video}/…: playlists, manifests, init segments and segments.
 *
 * This is the hot path of a show: a view that is in memory and bytes that are in memory are answered on the
 * loop, without a thread and without a copy. Only what has to be read from the store or the index waits. */
#include "api/api_int.h"

#include "access/access.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>

METRIC(requests, METRIC_COUNTER, "matinee_playback_requests_total",
       "Requests for playlists, manifests, parts and segments: what edges leave to the origin");

struct playback {
    struct api *api;
    struct http_exchange *x; /* NULL: the peer has hung up */
    struct ulid id;
    char *file; /* behind /v/{video}/ */
    bool is_admin;
    struct video_view *view;
    char object[SEGMENT_NAME_SIZE];
    struct store_want want;          /* of it */
    char instead[SEGMENT_NAME_SIZE]; /* where it is when it is not there any more; "": nowhere */
    size_t at, size;                 /* the piece of it that is wanted; size 0: all */
    bool whole;                      /* it is the whole segment that was fetched, not the part */
    enum err e;                      /* of reading the id, and then of loading the view */
};

static void playback_free(struct playback *p)
{
    video_view_unref(p->view);
    free(p->file);
    free(p);
}

static void refuse(struct playback *p, int status, const char *slug, const char *detail)
{
    char text[384];

    snprintf(text, sizeof text,
             "{\"type\":\"/problems/%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}", slug, slug,
             status, detail);
    allow_origins(p->x);
    if (status == 401)
        http_add(p->x, "WWW-Authenticate", "Bearer");
    http_add(p->x, "Cache-Control", "no-store");
    keep_number(p->api, p->x);
    http_answer_text(p->x, status, "application/problem+json", text);
    playback_free(p);
}

static void not_found(struct playback *p)
{
    refuse(p, 404, "not-found", "There is no such file of this video.");
}

/* --- texts ------------------------------------------------------------------------------------------- */

static void answer_text(struct playback *p, const char *type, struct buffer *text, const char *kind)
{
    char id[ULID_TEXT_SIZE];

    allow_origins(p->x);
    /* The text follows from the view: its segments, and whether it is live. The number of segments is not
     * enough: after a crash there may be as many, with another last one. */
    http_addf(p->x, "ETag", "\"%s-%s%zu-%u-%llu%s\"", ulid_text(p->id, id), kind, p->view->segment_count,
              p->view->segments[p->view->segment_count - 1].number,
              (unsigned long long)play_revision(p->view), p->view->live ? "l" : "e");
    if (play_open(p->view))
        keep_for(p->api, p->x, p->view, 1, EDGE_STALE_LIVE_SECONDS);
    else
        keep_for(p->api, p->x, p->view, 60, EDGE_STALE_ENDED_SECONDS);
    http_answer(p->x, 200, type, text);
    playback_free(p);
}

/* The made rendition in whose folder the file lies, or NULL; `leaf` NULL: any file there. */
static const struct rendition *rendition_of(const struct playback *p, const char *leaf)
{
    size_t size = strcspn(p->file, "/");
    char name[RENDITION_NAME_SIZE];

    if (size >= sizeof name || p->file[size] == '\0' ||
        (leaf != NULL && strcmp(p->file + size + 1, leaf) != 0))
        return NULL;
    memcpy(name, p->file, size);
    name[size] = '\0';
    return video_view_rendition(p->view, name);
}

static bool answer_playlist(struct playback *p)
{
    static const char hls[] = "application/vnd.apple.mpegurl";
    bool is_low = strcmp(p->file, "low.m3u8") == 0;
    bool is_master = is_low || strcmp(p->file, "master.m3u8") == 0;
    bool is_manifest = strcmp(p->file, "manifest.mpd") == 0 || strcmp(p->file, "low.mpd") == 0;
    bool is_video =
        strcmp(p->file, "source/playlist.m3u8") == 0 || strcmp(p->file, "source/" PLAY_STEADY) == 0;
    bool is_audio = strcmp(p->file, "audio/playlist.m3u8") == 0 || strcmp(p->file, "audio/" PLAY_STEADY) == 0;
    const struct rendition *made = is_video || is_audio ? NULL : rendition_of(p, "playlist.m3u8");

    if (!is_master && !is_manifest && !is_video && !is_audio && made == NULL)
        return false;
    if (!play_ready(p->view)) {
        http_add(p->x, "Retry-After", "2");
        refuse(p, 404, "not-yet", "The first segment of this video is not done yet; ask again in a moment.");
    } else if (is_master) {
        answer_text(p, hls, is_low ? play_low_master(p->view) : play_master(p->view), is_low ? "l" : "h");
    } else if (is_manifest) {
        answer_text(p, "application/dash+xml", play_manifest(p->view), "d");
    } else if (made != NULL) {
        answer_text(p, hls, play_rendition_playlist(p->view, made), made->name);
    } else if (p->view->init_count[is_video ? TRACK_VIDEO : TRACK_AUDIO] == 0) {
        not_found(p);
    } else {
        answer_text(p, hls, play_media_playlist(p->view, is_video ? TRACK_VIDEO : TRACK_AUDIO),
                    is_video ? "v" : "a");
    }
    return true;
}

/* --- media ------------------------------------------------------------------------------------------- */

/* The part of a segment that was asked for. */
static struct buffer *cut(const struct playback *p, struct buffer *content)
{
    struct bytes all = buffer_bytes(content);
    struct buffer *piece;

    if (!p->whole || p->size == 0 || p->at > all.size || p->size > all.size - p->at)
        return content;
    piece = buffer_copy(bytes_head(bytes_from(all, p->at), p->size));
    buffer_unref(content);
    return piece;
}

static void answer_media(struct playback *p, struct buffer *content)
{
    char id[ULID_TEXT_SIZE];

    content = cut(p, content);
    allow_origins(p->x);
    http_addf(p->x, "ETag", "\"%s-%s\"", ulid_text(p->id, id), p->file);
    keep_forever(p->api, p->x, p->view);
    http_answer(p->x, 200, p->file[0] == 'a' ? "audio/mp4" : "video/mp4", content);
    playback_free(p);
}

/* The number between `before` and `after`; false when `text` is not made so. */
static bool number_in(const char *text, const char *before, const char *after, uint64_t *out)
{
    size_t head = strlen(before), tail = strlen(after), size = strlen(text);

    return size > head + tail && size <= head + tail + 10 && strncmp(text, before, head) == 0 &&
           strcmp(text + size - tail, after) == 0 &&
           bytes_to_u64(bytes_of(text + head, size - head - tail), UINT32_MAX, out);
}

static void hung_up(void *ctx)
{
    struct playback *p = ctx;

    p->x = NULL;
}

static void answer_object(struct playback *p);

static void fetched(void *ctx, enum err e, struct buffer *content)
{
    struct playback *p = ctx;

    if (p->x == NULL) {
        buffer_unref(content);
        playback_free(p);
        return;
    }
    http_on_end(p->x, NULL, NULL);
    if (e == ERR_MISSING && p->instead[0] != '\0') {
        memcpy(p->object, p->instead, sizeof p->object);
        p->instead[0] = '\0';
        p->whole = true;
        answer_object(p);
        return;
    }
    if (e == ERR_OK) {
        answer_media(p, content);
    } else if (e == ERR_MISSING) {
        not_found(p);
    } else {
        http_add(p->x, "Retry-After", "2");
        refuse(p, 503, "store-unavailable", "The store does not answer; try again in a moment.");
    }
}

/* Sends the object named in p->object. */
static void answer_object(struct playback *p)
{
    struct buffer *content = store_peek(p->api->options.store, p->object);

    if (content != NULL) {
        answer_media(p, content);
        return;
    }
    http_on_end(p->x, hung_up, p);
    p->want = (struct store_want){.loop = http_loop(p->x), .done = fetched, .ctx = p};
    store_fetch(p->api->options.store, p->object, &p->want);
}

/* The segment that a file name like 000012.m4s means, or NULL. */
static const struct segment *segment_of(const struct playback *p, const char *leaf)
{
    uint64_t number;

    return strlen(leaf) == 10 && number_in(leaf, "", ".m4s", &number)
               ? play_segment(p->view, (uint32_t)number)
               : NULL;
}

static void answer_track_file(struct playback *p, enum track track, const char *leaf)
{
    const struct segment *s = segment_of(p, leaf);
    uint64_t number;

    if (number_in(leaf, "init-", ".mp4", &number) && number < p->view->init_count[track]) {
        answer_media(p, buffer_ref(p->view->inits[track][number].bytes));
    } else if (s != NULL && s->track[track].bytes > 0) {
        segment_name(p->object, p->id, track, s);
        answer_object(p);
    } else {
        not_found(p);
    }
}

/* The part that a file name like 000012.3.m4s means, or NULL. */
static const struct made_part *part_of(const struct rendition *r, const char *leaf)
{
    uint64_t number, chunk;

    if (strlen(leaf) < 12 || !bytes_to_u64(bytes_of(leaf, 6), UINT32_MAX, &number) ||
        !number_in(leaf + 6, ".", ".m4s", &chunk))
        return NULL;
    for (size_t i = 0; i < r->part_count; i++)
        if (r->parts[i].number == number && r->parts[i].chunk == chunk)
            return &r->parts[i];
    return NULL;
}

/* Until its segment is whole it is an object of its own; that may happen just now. */
static void answer_part(struct playback *p, const struct rendition *r, const struct made_part *part)
{
    const struct segment *s = play_segment(p->view, part->number);

    p->at = part->at;
    p->size = part->size;
    rendition_part_name(p->object, p->id, r->name, part->number, part->chunk);
    rendition_segment_name(p->instead, p->id, r->name,
                           s != NULL ? s : &(struct segment){.number = part->number});
    if (s != NULL && play_has(p->view, r, s)) {
        memcpy(p->object, p->instead, sizeof p->object);
        p->whole = true;
    }
    answer_object(p);
}

static void answer_rendition_file(struct playback *p, const struct rendition *r, const char *leaf)
{
    const struct segment *s = segment_of(p, leaf);
    const struct made_part *part;
    const struct init *init;
    uint64_t number;

    if (number_in(leaf, "init-", ".mp4", &number) && (init = rendition_init(r, (uint32_t)number)) != NULL) {
        answer_media(p, buffer_ref(init->bytes));
    } else if ((part = part_of(r, leaf)) != NULL) {
        answer_part(p, r, part);
    } else if (s != NULL && play_has(p->view, r, s)) {
        rendition_segment_name(p->object, p->id, r->name, s);
        answer_object(p);
    } else {
        not_found(p);
    }
}

static void answer_file(struct playback *p)
{
    const char *slash = strchr(p->file, '/');
    const struct rendition *made = rendition_of(p, NULL);

    if (slash == NULL)
        not_found(p);
    else if (made != NULL)
        answer_rendition_file(p, made, slash + 1);
    else if (strncmp(p->file, "source/", 7) == 0)
        answer_track_file(p, TRACK_VIDEO, slash + 1);
    else if (strncmp(p->file, "audio/", 6) == 0)
        answer_track_file(p, TRACK_AUDIO, slash + 1);
    else
        not_found(p);
}

/* --- the view ---------------------------------------------------------------------------------------- */

/* False: it is refused. */
static bool let_in(struct playback *p)
{
    char token[TICKET_TEXT_SIZE];
    bool in_query, has = door_token(p->x, token, &in_query);
    const struct refusal *r = door_refuses(p->api, p->view, has ? token : NULL);

    if (r != NULL)
        refuse(p, r->status, r->slug, r->detail);
    else if (in_query &&
             !keep_is_edge(p->api, p->x)) /* an edge sets it itself: what it keeps is everybody's */
        door_set_cookie(p->x, p->id, token);
    return r == NULL;
}

static void answer(struct playback *p)
{
    char url[LIVE_URL_SIZE];

    if (p->view->access == ACCESS_TICKET && !p->is_admin && !let_in(p))
        return;
    if (live_video_elsewhere(p->api->options.live, p->id, url)) {
        relay_exchange(p->api, p->x, url, p->view);
        playback_free(p);
        return;
    }
    if (edge_answer(p->api, p->x, p->view, p->file))
        playback_free(p);
    else if (!answer_playlist(p))
        answer_file(p);
}

static void load(void *ctx)
{
    struct playback *p = ctx;

    p->e = live_video_load(p->api->options.live, p->id, &p->view);
}

static void loaded(void *ctx)
{
    struct playback *p = ctx;

    if (p->x == NULL) {
        playback_free(p);
        return;
    }
    http_on_end(p->x, NULL, NULL);
    if (p->e == ERR_OK)
        answer(p);
    else
        not_found(p);
}

static struct playback *playback_of(struct api *a, struct http_exchange *x)
{
    struct playback *p = mem_new(sizeof *p);
    const char *path = http_path(x) + 3; /* behind "/v/" */
    size_t size = strcspn(path, "/");

    p->api = a;
    p->x = x;
    p->file = mem_string(path[size] ? path + size + 1 : "");
    p->e = ulid_parse(bytes_of(path, size), &p->id) ? ERR_OK : ERR_MISSING;
    return p;
}

void playback_piece(struct api *a, struct http_exchange *x, struct video_view *v, enum track track,
                    uint32_t segment, size_t at, size_t size)
{
    struct playback *p = playback_of(a, x);
    const struct segment *s = play_segment(v, segment);

    p->view = video_view_ref(v);
    p->at = at;
    p->size = size;
    p->whole = true;
    if (s == NULL) {
        not_found(p);
        return;
    }
    segment_name(p->object, p->id, track, s);
    answer_object(p);
}

void playback_again(struct api *a, struct http_exchange *x)
{
    struct playback *p = playback_of(a, x);
    struct bytes authorization = http_field(x, "Authorization");
    bool known = false;

    p->is_admin = access_admin_ok(authorization, a->admin_token);
    if (http_method(x) != HTTP_GET && http_method(x) != HTTP_HEAD) {
        http_add(x, "Allow", "GET, HEAD");
        refuse(p, 405, "method-not-allowed", "Use GET or HEAD.");
    } else if (p->e != ERR_OK) {
        not_found(p);
    } else if ((p->view = live_video_peek(a->options.live, p->id, &known)) != NULL) {
        answer(p);
    } else if (known) {
        http_on_end(x, hung_up, p);
        pool_run(http_loop(x), load, loaded, p);
    } else {
        not_found(p);
    }
}

void playback_answer(struct api *a, struct http_exchange *x)
{
    metric_add(&requests, 1);
    playback_again(a, x);
}
