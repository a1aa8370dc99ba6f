/* api/videos.c - /api/v1/videos: lists, getVideoData, thumbnails, downloads. */
#include "api/api_int.h"

#include "base/clock.h"
#include "ladder/ladder.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- printing ---------------------------------------------------------------------------------------- */

static json_t *rendition_json(const struct video_view *v, enum track t)
{
    const struct codec_config *c = &v->inits[t][v->init_count[t] - 1].config;
    json_t *r = json_pack("{s:s}", "name", track_rendition(t));

    if (t == TRACK_VIDEO) {
        json_object_set_new(r, "width", json_integer(c->width));
        json_object_set_new(r, "height", json_integer(c->height));
    }
    json_object_set_new(r, "bandwidth", json_integer(play_bandwidth(v, t).average));
    json_object_set_new(r, "codecs", json_string(c->rfc6381));
    json_object_set_new(r, "state", json_string(v->live ? "live" : "ready"));
    return r;
}

/* "making" until players see it, "live" while more comes, "ready" when it is whole. `lag` is how far it is behind the
 * source, in seconds of media. */
static json_t *made_json(const struct video_view *v, const struct rendition *r)
{
    bool listed = play_listed(v, r), whole = !v->live && r->shown == v->segment_count;
    double at = r->shown > 0 ? (double)v->segments[r->shown - 1].end / CMAF_VIDEO_TIMESCALE : 0;
    const char *codecs = r->init_count > 0 ? r->inits[r->init_count - 1].config.rfc6381 : "";
    json_t *json = json_pack("{s:s,s:i,s:i,s:I,s:s,s:s,s:f,s:i}", "name", r->name, "width", (int)r->width,
                             "height", (int)r->height, "bandwidth",
                             (json_int_t)play_rendition_bandwidth(v, r).average, "codecs", codecs, "state",
                             whole    ? "ready"
                             : listed ? "live"
                                      : "making",
                             "lag", video_view_duration_s(v) - at, "gaps", (int)r->gaps);

    if (r->gaps > 0)
        json_object_set_new(json, "reason", json_string(r->reason));
    return json;
}

static json_t *video_json(const struct video_view *v)
{
    char id[ULID_TEXT_SIZE], event[ULID_TEXT_SIZE], created[CLOCK_TEXT_SIZE];
    json_t *renditions = json_array();

    for (int t = 0; t < TRACK_COUNT; t++)
        if (v->init_count[t] > 0)
            json_array_append_new(renditions, rendition_json(v, (enum track)t));
    for (size_t i = 0; i < v->rendition_count; i++)
        json_array_append_new(renditions, made_json(v, &v->renditions[i]));
    json_t *json = json_pack("{s:s,s:s,s:s,s:f,s:s,s:o,s:i}", "id", ulid_text(v->id, id), "eventId",
                             ulid_text(v->event, event), "state", v->live ? "live" : "ended", "duration",
                             video_view_duration_s(v), "createdAt", clock_text(v->created_at_ms, created),
                             "renditions", renditions, "segments", (int)v->segment_count);

    if (v->live && !v->away && !v->imported) /* whatever its codec: what browsers do not take is converted */
        json_object_set_new(json, "whep", json_sprintf("/v/%s/whep", id));
    return json;
}

/* --- lists ------------------------------------------------------------------------------------------- */

static void list(struct call *c)
{
    struct live *live = c->api->options.live;
    struct ulid ids[501];
    size_t count = live_video_list(live, c->after, (size_t)c->limit + 1, ids);
    json_t *items = json_array();
    char id[ULID_TEXT_SIZE];

    for (size_t i = 0; i < count && i < (size_t)c->limit; i++) {
        bool known;
        struct video_view *v = live_video_peek(live, ids[i], &known);

        if (v != NULL || (known && live_video_load(live, ids[i], &v) == ERR_OK))
            json_array_append_new(items, video_json(v));
        video_view_unref(v);
    }
    if (count > (size_t)c->limit)
        call_field(c, "Link", "</api/v1/videos?limit=%ld&after=%s>; rel=\"next\"", c->limit,
                   ulid_text(ids[c->limit - 1], id));
    call_field(c, "Cache-Control", "no-store");
    call_json(c, 200, json_pack("{s:o}", "items", items));
}

static bool check_id(struct call *c)
{
    return call_id(c, "video");
}

static void get(struct call *c)
{
    if (!call_view(c))
        return;
    call_field(c, "Cache-Control", "no-store");
    call_json(c, 200, video_json(c->view));
}

static void remove_video(struct call *c)
{
    enum err e = live_video_delete(c->api->options.live, c->id);

    if (e != ERR_OK) {
        call_error(c, e, "video");
        return;
    }
    comments_forget(c->api, NULL, &c->id, 1);
    call_empty(c, 204);
}

/* --- getVideoData ------------------------------------------------------------------------------------ */

/* Names that a rendition of some video may have: others are mistakes of the caller. */
static bool is_rendition_name(const char *name)
{
    static const char *const endings[] = {"p", "p-hevc", "p-av1"};
    size_t digits = strspn(name, "0123456789");
    bool good = strcmp(name, "source") == 0 || strcmp(name, "audio") == 0;

    for (size_t i = 0; i < sizeof endings / sizeof *endings && digits >= 3 && digits <= 4; i++)
        good |= strcmp(name + digits, endings[i]) == 0;
    return good;
}

static bool check_offset(struct call *c)
{
    char text[32] = "", *end;
    bool present;

    if (!http_query_get(c->x, "offset", text, sizeof text, &present) && !present)
        return true; /* the beginning */
    errno = 0;
    c->offset = strtod(text, &end);
    if (present && text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && isfinite(c->offset) &&
        strpbrk(text, "xXpPeE") == NULL)
        return true;
    call_problem(c, 400, "bad-parameter", "'offset' wants a position in seconds, 0 or more, like 754.5.");
    return false;
}

static bool check_data(struct call *c)
{
    char text[32];
    bool present;
    enum device device;

    if (!check_id(c) || !check_offset(c))
        return false;
    if (http_query_get(c->x, "device", text, sizeof text, &present) && device_parse(text, &device)) {
        c->device = device_name(device);
        c->height_max = device_height_max(device);
    } else if (present) {
        call_problem(c, 400, "bad-parameter", "'device' wants one of tv, desktop, tablet, phone.");
        return false;
    }
    if (http_query_get(c->x, "rendition", c->rendition, sizeof c->rendition, &present)
            ? !is_rendition_name(c->rendition)
            : present) {
        call_problem(c, 400, "bad-parameter", "'rendition' wants a name like source or 720p.");
        return false;
    }
    if (http_query_get(c->x, "format", text, sizeof text, &present) && strcmp(text, "ts") == 0) {
        c->container = CONTAINER_TS;
    } else if (present && strcmp(text, "mp4") != 0) {
        call_problem(c, 400, "bad-parameter", "'format' wants mp4 or ts.");
        return false;
    }
    return true;
}

/* Replies 404 for a position that no segment covers. */
static void reply_no_segment(struct call *c)
{
    double duration = video_view_duration_s(c->view);

    if (c->view->live) {
        call_problem(c, 404, "not-yet", "The video is live and has come to %.3f s; ask again in a moment.",
                     duration);
        call_field(c, "Retry-After", "%u", c->view->target_duration_s ? c->view->target_duration_s / 2 : 2);
    } else {
        call_problem(c, 404, "past-the-end", "The video ends at %.3f s.", duration);
    }
    call_field(c, "Cache-Control", "no-store");
}

static void describe(struct call *c, const struct segment *s, const struct rendition *r, bool settled)
{
    char id[ULID_TEXT_SIZE], query[48] = "";
    double start = (double)s->start / CMAF_VIDEO_TIMESCALE, end = (double)s->end / CMAF_VIDEO_TIMESCALE;
    bool last = s == &c->view->segments[c->view->segment_count - 1];

    ulid_text(c->id, id);
    if (c->rendition[0] != '\0')
        snprintf(query, sizeof query, "&rendition=%s", c->rendition);
    else if (c->device != NULL)
        snprintf(query, sizeof query, "&device=%s", c->device);
    call_field(c, "Matinee-Start", "%.6f", start);
    call_field(c, "Matinee-Duration", "%.6f", end - start);
    call_field(c, "Matinee-Rendition", "%s", r ? r->name : "source");
    if (!last || c->view->live)
        call_field(c, "Link", "</api/v1/videos/%s/data?offset=%.6f%s%s>; rel=\"next\"", id, end, query,
                   c->container == CONTAINER_TS ? "&format=ts" : "");
    call_field(c, "ETag", "\"%s-%u-%s-%d\"", id, s->number, r ? r->name : "source", (int)c->container);
    call_field(c, "Cache-Control", "%s, max-age=%d", cache_scope(c->view), settled ? 60 : 1);
}

static void no_such_rendition(struct call *c)
{
    struct builder b = {0};

    builder_text(&b, "source");
    for (size_t i = 0; i < c->view->rendition_count; i++)
        builder_printf(&b, ", %s", c->view->renditions[i].name);
    builder_u8(&b, '\0');
    call_problem(c, 404, "no-such-rendition", "This video has no rendition '%s'; it has: %s.", c->rendition,
                 (const char *)builder_bytes(&b).at);
    builder_drop(&b);
}

/* The rendition that was asked for by name, or that suits the device; false: there is none, and it was said. */
static bool choose(struct call *c, const struct segment *s, const struct rendition **out, bool *settled)
{
    *settled = true;
    *out = NULL;
    if (c->rendition[0] == '\0') {
        *out = play_choose(c->view, s, c->height_max, settled);
        return true;
    }
    if (strcmp(c->rendition, "source") == 0)
        return true;
    if ((*out = video_view_rendition(c->view, c->rendition)) == NULL) {
        no_such_rendition(c);
        return false;
    }
    if (play_has(c->view, *out, s))
        return true;
    if ((size_t)(s - c->view->segments) < (*out)->shown) {
        call_problem(c, 404, "gap", "This segment could not be made as %s; ask for another rendition.",
                     c->rendition);
    } else {
        call_problem(c, 404, "not-yet", "This segment is not made as %s yet; ask again in a moment.",
                     c->rendition);
        call_field(c, "Retry-After", "2");
    }
    call_field(c, "Cache-Control", "no-store");
    return false;
}

static void data(struct call *c)
{
    const struct rendition *r;
    struct buffer *content;
    const struct segment *s;
    bool settled;
    enum err e;

    if (!call_view(c) || !call_may_watch(c))
        return;
    if ((s = play_segment_at(c->view, c->offset)) == NULL) {
        if (c->rendition[0] != '\0' && strcmp(c->rendition, "source") != 0 &&
            video_view_rendition(c->view, c->rendition) == NULL)
            no_such_rendition(c);
        else
            reply_no_segment(c);
        return;
    }
    if (!choose(c, s, &r, &settled))
        return;
    if ((e = play_data(c->api->options.store, c->view, r, s, c->container, &content)) != ERR_OK) {
        call_error(c, e, "segment");
        return;
    }
    describe(c, s, r, settled);
    call_text(c, 200, c->container == CONTAINER_TS ? "video/mp2t" : "video/mp4", content);
}

/* --- thumbnails -------------------------------------------------------------------------------------- */

static void thumbnails(struct call *c)
{
    if (!call_view(c) || !call_may_watch(c))
        return;
    call_field(c, "Cache-Control", "%s, max-age=%d", cache_scope(c->view), c->view->live ? 5 : 60);
    call_text(c, 200, "text/vtt", play_thumbnails(c->view));
}

static bool check_thumbnail(struct call *c)
{
    struct bytes name = bytes_text(c->parameters[1]);
    uint64_t number;

    if (!check_id(c))
        return false;
    if (name.size > 4 && bytes_is(bytes_from(name, name.size - 4), ".jpg") &&
        bytes_to_u64(bytes_head(name, name.size - 4), UINT32_MAX, &number)) {
        c->number = (uint32_t)number;
        return true;
    }
    call_error(c, ERR_MISSING, "thumbnail");
    return false;
}

static enum err draw(struct call *c, const struct segment *s, const char *name, struct buffer **out)
{
    struct store *store = c->api->options.store;
    char segment[SEGMENT_NAME_SIZE];
    struct buffer *bytes = NULL;
    enum err e = store_get(store, segment_name(segment, c->id, TRACK_VIDEO, s), &bytes);

    if (e == ERR_OK)
        e = thumbnail_make(c->api->program,
                           buffer_bytes(c->view->inits[TRACK_VIDEO][s->track[TRACK_VIDEO].init].bytes),
                           buffer_bytes(bytes), out);
    if (e == ERR_OK && store_put(store, name, buffer_bytes(*out)) != ERR_OK)
        e = ERR_OK; /* it will be drawn again next time: nothing is lost */
    buffer_unref(bytes);
    return e;
}

static void thumbnail(struct call *c)
{
    char name[SEGMENT_NAME_SIZE], id[ULID_TEXT_SIZE];
    const struct segment *s;
    struct buffer *picture;
    enum err e;

    if (!call_view(c) || !call_may_watch(c))
        return;
    s = play_segment(c->view, c->number);
    if (s == NULL || s->track[TRACK_VIDEO].bytes == 0) {
        call_error(c, ERR_MISSING, "thumbnail");
        return;
    }
    snprintf(name, sizeof name, "v/%s/thumbnails/%06u.jpg", ulid_text(c->id, id), s->number);
    if ((e = store_get(c->api->options.store, name, &picture)) == ERR_MISSING)
        e = draw(c, s, name, &picture);
    if (e == ERR_BUSY) {
        call_problem(c, 503, "busy", "Too many pictures are being drawn at once; try again.");
        call_field(c, "Retry-After", "1");
    } else if (e != ERR_OK) {
        call_problem(c, 404, "no-picture", "No picture could be made of this segment.");
    } else {
        call_field(c, "ETag", "\"%s-t%u\"", id, s->number);
        call_field(c, "Cache-Control", "%s, max-age=31536000, immutable", cache_scope(c->view));
        call_text(c, 200, "image/jpeg", picture);
    }
}

/* --- downloads --------------------------------------------------------------------------------------- */

static void send_more(void *ctx);

/* The peer hung up while a pool thread makes a piece, which will find out; */
static void gone(void *ctx)
{
    struct call *c = ctx;

    c->x = NULL;
}

/* or while we wait for it to take what it has. */
static void gone_waiting(void *ctx)
{
    call_free(ctx);
}

static void make_piece(void *ctx)
{
    struct call *c = ctx;

    if (play_download_piece(c->api->options.store, c->view, c->piece, &c->content) != ERR_OK)
        c->content = NULL;
}

static void piece_made(void *ctx)
{
    struct call *c = ctx;

    if (c->x == NULL) {
        call_free(c);
        return;
    }
    if (c->content == NULL) { /* a segment cannot be read: the client must see that it has not all */
        http_on_end(c->x, NULL, NULL);
        http_abort(c->x);
        call_free(c);
        return;
    }
    struct buffer *piece = c->content;

    c->content = NULL;
    http_on_end(c->x, gone_waiting, c);
    http_send(c->x, piece);
    http_when_writable(c->x, send_more, c);
}

static void send_more(void *ctx)
{
    struct call *c = ctx;

    if (c->piece + 1 >= c->view->segment_count) {
        http_on_end(c->x, NULL, NULL);
        http_finish(c->x);
        call_free(c);
        return;
    }
    c->piece++;
    http_on_end(c->x, gone, c);
    store_run(c->api->options.store, STORE_READS, http_loop(c->x), make_piece, piece_made, c);
}

static void begin_download(struct call *c)
{
    struct http_exchange *x = c->x;

    for (size_t i = 0; i < c->field_count; i++)
        http_add(x, c->fields[i].name, c->fields[i].value);
    allow_origins(x);
    http_begin(x, 200, "video/mp4");
    if (http_method(x) == HTTP_HEAD) { /* nothing would be sent of what we made */
        http_on_end(x, NULL, NULL);
        http_finish(x);
        call_free(c);
        return;
    }
    http_on_end(x, gone, c);
    store_run(c->api->options.store, STORE_READS, http_loop(x), make_piece, piece_made, c);
}

static void download(struct call *c)
{
    char id[ULID_TEXT_SIZE];

    if (!call_view(c) || !call_may_watch(c))
        return;
    if (!play_ready(c->view)) {
        reply_no_segment(c);
    } else if (!play_downloadable(c->view)) {
        call_problem(
            c, 409, "several-configurations",
            "The encoder's settings changed in the middle, so one MP4 cannot hold it; fetch the parts by "
            "/api/v1/videos/%s/data?offset=…",
            ulid_text(c->id, id));
    } else {
        call_field(c, "Content-Disposition", "attachment; filename=\"%s.mp4\"", ulid_text(c->id, id));
        call_field(c, "Cache-Control", "no-store");
        c->answer = begin_download;
    }
}

const struct route video_routes[] = {
    {HTTP_GET, "/api/v1/videos", ROUTE_OPEN | ROUTE_BLOCKS, call_page, list},
    {HTTP_GET, "/api/v1/videos/{}", ROUTE_OPEN | ROUTE_BLOCKS | ROUTE_RELAYS, check_id, get},
    {HTTP_DELETE, "/api/v1/videos/{}", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_STORE, check_id, remove_video},
    {HTTP_GET, "/api/v1/videos/{}/data", ROUTE_OPEN | ROUTE_STORE | ROUTE_RELAYS, check_data, data},
    {HTTP_GET, "/api/v1/videos/{}/thumbnails.vtt", ROUTE_OPEN | ROUTE_BLOCKS | ROUTE_RELAYS, check_id,
     thumbnails},
    {HTTP_GET, "/api/v1/videos/{}/thumbnails/{}", ROUTE_OPEN | ROUTE_STORE | ROUTE_RELAYS, check_thumbnail,
     thumbnail},
    {HTTP_GET, "/api/v1/videos/{}/download", ROUTE_OPEN | ROUTE_BLOCKS, check_id, download},
    {.pattern = NULL},
};
