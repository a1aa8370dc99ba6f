/* api/events.c - /api/v1/events. */
#include "api/booking_int.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

/* --- printing ---------------------------------------------------------------------------------------- */

static json_t *time_or_null(int64_t wall_ms)
{
    char text[CLOCK_TEXT_SIZE];

    return wall_ms < 0 ? json_null() : json_string(clock_text(wall_ms, text));
}

static json_t *health_json(const struct health *h, unsigned shed)
{
    json_t *notes;

    if (!h->publishing)
        return json_null();
    notes = json_array();
    for (size_t i = 0; i < sizeof h->notes / sizeof *h->notes && h->notes[i] != NULL; i++)
        json_array_append_new(notes, json_string(h->notes[i]));
    if (shed > 0)
        json_array_append_new(notes,
                              json_sprintf("The workers cannot keep up: the %u tallest renditions are left "
                                           "out for now. Add workers, or shorten the ladder.",
                                           shed));
    return json_pack("{s:b,s:o,s:o,s:s,s:s,s:i,s:i,s:f,s:I,s:f,s:I,s:o}", "publishing", 1, "since",
                     time_or_null(h->since_ms), "heardAt", time_or_null(h->heard_ms), "videoCodec",
                     codec_name(h->video), "audioCodec", codec_name(h->audio), "width", (int)h->width,
                     "height", (int)h->height, "fps", h->fps, "bitrate", (json_int_t)h->bitrate,
                     "keyframeInterval", h->keyframe_interval_s, "gaps", (json_int_t)h->gaps, "notes", notes);
}

/* "rtmp://host:1935/live": the host is the one the producer called us by. */
static json_t *publish_url(const struct call *c)
{
    const char *host = strstr(c->origin, "://") + 3;
    size_t size = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
    bool tls = c->api->options.rtmp_port == 0;

    return json_sprintf("rtmp%s://%.*s:%u/live", tls ? "s" : "", (int)size, host,
                        tls ? c->api->options.rtmps_port : c->api->options.rtmp_port);
}

static json_t *upload_json(const struct upload_view *u)
{
    char id[ULID_TEXT_SIZE];

    switch (u->state) {
    case UPLOAD_RECEIVING:
        return json_pack("{s:s,s:I,s:I}", "state", "receiving", "received", (json_int_t)u->received, "total",
                         (json_int_t)u->total);
    case UPLOAD_IMPORTING:
        return json_pack("{s:s,s:s}", "state", "importing", "video", ulid_text(u->video, id));
    case UPLOAD_FAILED:
        return json_pack("{s:s,s:s}", "state", "failed", "problem", u->problem);
    case UPLOAD_NONE:
        break;
    }
    return json_null();
}

static json_t *event_json(const struct call *c, const struct event_view *v)
{
    static const char *const states[] = {"scheduled", "live", "ended"};
    char id[ULID_TEXT_SIZE], video[ULID_TEXT_SIZE], inventory[ULID_TEXT_SIZE];
    json_t *videos = json_array();

    for (size_t i = 0; i < v->video_count; i++)
        json_array_append_new(videos, json_string(ulid_text(v->videos[i], video)));
    ulid_text(v->id, id);
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:o,s:o}", "id", id, "title", v->title,
        "access", v->access == ACCESS_TICKET ? "ticket" : "public", "state", states[v->state], "startsAt",
        time_or_null(v->starts_at_ms), "createdAt", time_or_null(v->created_at_ms), "publishUrl",
        publish_url(c), "watchUrl", json_sprintf("%s/watch/%s", c->origin, id), "video",
        v->has_video ? json_string(ulid_text(v->videos[0], video)) : json_null(), "videos", videos,
        "inventory",
        ulid_is_zero(v->inventory) ? json_null() : json_string(ulid_text(v->inventory, inventory)), "screens",
        v->screens.count == 0 ? json_null() : json_integer(v->screens.count), "newScreen",
        v->screens.refuse ? "refuse" : "takeover", "health",
        health_json(&v->health, v->has_video ? ladder_shed(c->api->options.ladder, v->videos[0]) : 0),
        "upload", upload_json(&v->upload));
}

/* Replies with the event as it is now, and its key where one was made. */
static void reply_event(struct call *c, int status, const char *key)
{
    struct event_view v;
    json_t *document;
    enum err e = live_event_get(c->api->options.live, c->id, &v);

    if (e != ERR_OK) {
        call_error(c, e, "event");
        return;
    }
    document = event_json(c, &v);
    if (key != NULL)
        json_object_set_new(document, "streamKey", json_string(key));
    call_field(c, "Cache-Control", "no-store");
    call_json(c, status, document);
    event_view_free(&v);
}

/* --- reading ----------------------------------------------------------------------------------------- */

static bool read_access(struct call *c, const enum event_access **out)
{
    static const enum event_access public = ACCESS_PUBLIC, ticket = ACCESS_TICKET;
    const json_t *value = json_object_get(c->body, "access");
    const char *text = json_string_value(value);

    *out = NULL;
    if (value == NULL)
        return true;
    if (text != NULL && strcmp(text, "public") == 0)
        *out = &public;
    else if (text != NULL && strcmp(text, "ticket") == 0)
        *out = &ticket;
    else
        call_problem(c, 422, "bad-field", "'access' wants \"public\" or \"ticket\".");
    return *out != NULL;
}

static bool read_start(struct call *c, int64_t *out)
{
    const json_t *value = json_object_get(c->body, "startsAt");
    const char *text = json_string_value(value);

    *out = value == NULL ? EVENT_UNCHANGED : -1;
    if (value == NULL || json_is_null(value))
        return true;
    if (text != NULL && clock_parse(text, out))
        return true;
    call_problem(c, 422, "bad-field",
                 "'startsAt' wants an RFC 3339 time like 2026-11-23T19:30:00Z, or null.");
    return false;
}

/* Nobody makes the tickets of another's show tickets of their own; what belongs to no event is the admin's to give. */
static bool may_use(const struct call *c, struct ulid inventory)
{
    struct ulid event;

    return c->is_admin || (live_event_of_inventory(c->api->options.live, inventory, &event) &&
                           call_is_staff(c, ROLE_PRODUCER, event));
}

/* The id of an inventory there is, null for none, or the body of one to make; that one is made here, as the last thing that can
 * fail for what the body says. */
static bool read_inventory(struct call *c, struct ulid *id, const struct ulid **out)
{
    json_t *value = json_object_get(c->body, "inventory");
    struct inventory_view v = {.name = NULL};

    *id = (struct ulid){{0}};
    *out = value != NULL ? id : NULL;
    if (value == NULL || json_is_null(value))
        return true;
    if (json_is_object(value))
        return inventory_of_body(c, value, id);
    if (json_is_string(value) && ulid_parse(bytes_text(json_string_value(value)), id)) {
        enum err e = booking_inventory(c->api->options.booking, *id, &v);

        inventory_view_free(&v);
        if (e == ERR_OK && may_use(c, *id))
            return true;
        if (e == ERR_OK) {
            call_problem(
                c, 403, "role-needed",
                "This inventory is of another producer's event, or of none: the admin may give it to yours. Or "
                "make one with the event, as 'inventory': {…}.");
            return false;
        }
        if (e != ERR_MISSING) {
            call_error(c, e, "inventory");
            return false;
        }
    }
    call_problem(c, 422, "bad-field",
                 "'inventory' wants the id of an inventory, the body of one to make, or null.");
    return false;
}

static bool read_screens(struct call *c, uint32_t *count, const uint32_t **out)
{
    const json_t *value = json_object_get(c->body, "screens");

    *count = (uint32_t)json_integer_value(value);
    *out = value != NULL ? count : NULL;
    if (value == NULL || json_is_null(value) ||
        (json_is_integer(value) && json_integer_value(value) >= 1 &&
         json_integer_value(value) <= SCREENS_MAX))
        return true;
    call_problem(
        c, 422, "bad-field",
        "'screens' wants a whole number from 1 to %d, or null for any number: on how many screens a ticket "
        "may be watched at once.",
        SCREENS_MAX);
    return false;
}

static bool read_new_screen(struct call *c, const bool **out)
{
    static const bool refuse = true, takeover = false;
    const json_t *value = json_object_get(c->body, "newScreen");
    const char *text = json_string_value(value);

    *out = NULL;
    if (value == NULL)
        return true;
    if (text != NULL && strcmp(text, "refuse") == 0)
        *out = &refuse;
    else if (text != NULL && strcmp(text, "takeover") == 0)
        *out = &takeover;
    else
        call_problem(c, 422, "bad-field", "'newScreen' wants \"takeover\" or \"refuse\".");
    return *out != NULL;
}

/* `screens` is where the number is kept. */
static bool read_change(struct call *c, struct event_change *out, uint32_t *screens)
{
    static const char *const allowed[] = {"title",   "startsAt",  "access", "inventory",
                                          "screens", "newScreen", NULL};

    return body_only(c, allowed) && body_text(c, "title", EVENT_TITLE_CODEPOINTS_MAX, &out->title) &&
           read_access(c, &out->access) && read_start(c, &out->starts_at_ms) &&
           read_screens(c, screens, &out->screens) && read_new_screen(c, &out->refuse_screens);
}

/* --- routes ------------------------------------------------------------------------------------------ */

static bool check_id(struct call *c)
{
    return call_id(c, "event");
}

/* What a producer's token makes is its own. */
static enum err give_to_maker(struct call *c)
{
    enum err e = c->role == ROLE_PRODUCER ? staff_own(c->api->options.staff, c->staff, c->id) : ERR_OK;

    if (e != ERR_OK && live_event_delete(c->api->options.live, c->id) != ERR_OK)
        e = ERR_IO;
    return e;
}

static void create(struct call *c)
{
    struct event_change what;
    char key[ACCESS_KEY_SIZE];
    struct ulid inventory;
    uint32_t screens;
    enum err e;

    if (!read_change(c, &what, &screens))
        return;
    if (what.title == NULL) {
        call_problem(c, 422, "bad-field", "'title' is missing: what is the event called?");
        return;
    }
    if (!read_inventory(c, &inventory, &what.inventory))
        return;
    if ((e = live_event_create(c->api->options.live, &what, &c->id, key)) != ERR_OK ||
        (e = give_to_maker(c)) != ERR_OK) {
        call_error(c, e, "event");
        return;
    }

    char id[ULID_TEXT_SIZE];

    call_field(c, "Location", "/api/v1/events/%s", ulid_text(c->id, id));
    reply_event(c, 201, key);
}

static void list(struct call *c)
{
    struct event_view *views = malloc((size_t)(c->limit + 1) * sizeof *views);
    json_t *items = json_array();
    size_t count = views ? live_event_list(c->api->options.live, c->after, (size_t)c->limit + 1, views) : 0;
    char id[ULID_TEXT_SIZE];

    for (size_t i = 0; i < count; i++) {
        if (i < (size_t)c->limit)
            json_array_append_new(items, event_json(c, &views[i]));
        else
            call_field(c, "Link", "</api/v1/events?limit=%ld&after=%s>; rel=\"next\"", c->limit,
                       ulid_text(views[i - 1].id, id));
    }
    for (size_t i = 0; i < count; i++)
        event_view_free(&views[i]);
    free(views);
    call_field(c, "Cache-Control", "no-store");
    call_json(c, 200, json_pack("{s:o}", "items", items));
}

static void get(struct call *c)
{
    reply_event(c, 200, NULL);
}

static void change(struct call *c)
{
    struct event_change what;
    struct ulid inventory;
    uint32_t screens;
    enum err e;

    if (!read_change(c, &what, &screens) || !read_inventory(c, &inventory, &what.inventory))
        return;
    if ((e = live_event_change(c->api->options.live, c->id, &what)) != ERR_OK)
        call_error(c, e, "event");
    else
        reply_event(c, 200, NULL);
}

static void rotate(struct call *c)
{
    char key[ACCESS_KEY_SIZE];
    enum err e = live_event_rotate_key(c->api->options.live, c->id, key);

    if (e != ERR_OK)
        call_error(c, e, "event");
    else
        reply_event(c, 200, key);
}

static void end(struct call *c)
{
    enum err e = live_event_end(c->api->options.live, c->id);

    if (e != ERR_OK)
        call_error(c, e, "event");
    else
        reply_event(c, 200, NULL);
}

static void remove_event(struct call *c)
{
    struct event_view v;
    enum err e = live_event_get(c->api->options.live, c->id, &v);

    if (e == ERR_OK)
        e = live_event_delete(c->api->options.live, c->id);
    if (e != ERR_OK) {
        call_error(c, e, "event");
    } else {
        comments_forget(c->api, &c->id, v.videos, v.video_count);
        call_empty(c, 204);
    }
    event_view_free(&v);
}

const struct route event_routes[] = {
    {HTTP_POST, "/api/v1/events", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_NEW | ROUTE_BLOCKS | ROUTE_JSON, NULL,
     create},
    {HTTP_GET, "/api/v1/events", ROUTE_OPEN, call_page, list},
    {HTTP_GET, "/api/v1/events/{}", ROUTE_OPEN, check_id, get},
    {HTTP_PATCH, "/api/v1/events/{}", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_BLOCKS | ROUTE_JSON, check_id,
     change},
    {HTTP_DELETE, "/api/v1/events/{}", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_STORE, check_id, remove_event},
    {HTTP_POST, "/api/v1/events/{}/stream-key", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_BLOCKS, check_id,
     rotate},
    {HTTP_POST, "/api/v1/events/{}/end", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_BLOCKS, check_id, end},
    {.pattern = NULL},
};
