/* api/comments.c - comments of a video: listing, windows, and what the producer does with single ones. */
#include "api/comments_int.h"

#include "base/log.h"

#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

/* --- shared ------------------------------------------------------------------------------------------ */

void reply_comments_away(struct call *c)
{
    call_problem(c, 503, "busy",
                 "Comments cannot be kept or read now: their store is busy or away. Try again; the same "
                 "id is never kept twice.");
    call_field(c, "Retry-After", "1");
}

bool body_comment_text(struct call *c, const char *name, enum comment_text kind, char **out)
{
    const char *text = json_string_value(json_object_get(c->body, name)), *why = "is missing, or no text";

    *out = text != NULL ? comment_text(kind, text, &why) : NULL;
    if (*out == NULL)
        call_problem(c, 422, "bad-field", "'%s' %s.", name, why);
    return *out != NULL;
}

bool within_address_limit(struct call *c)
{
    int64_t wait_ms;

    if (!call_is_limited(c) || rate_take(c->api->per_address, address_host(&c->client), &wait_ms))
        return true;
    reply_too_often(c, "too-many", wait_ms, "Too many comments come from this address.");
    return false;
}

bool within_author_limit(struct call *c, const char *author)
{
    int64_t wait_ms;

    if (!call_is_limited(c) || rate_take(c->api->per_author, bytes_text(author), &wait_ms))
        return true;
    reply_too_often(c, "too-many", wait_ms, "That is a little fast for one author.");
    return false;
}

/* --- lists ----------------------------------------------------------------------------------------------- */

/* A list that is being printed. */
struct listing {
    struct builder json;
    size_t count, limit;
    int64_t last_us, last_seq;
    char last_id[COMMENT_ID_MAX + 1];
    bool more;
};

static bool list_row(void *ctx, const struct comment *c)
{
    struct listing *l = ctx;

    if (l->count == l->limit) {
        l->more = true;
        return false;
    }
    if (l->count++ > 0)
        builder_u8(&l->json, ',');
    comment_print(&l->json, c);
    l->last_us = c->offset_us;
    l->last_seq = c->seq;
    snprintf(l->last_id, sizeof l->last_id, "%.*s", (int)c->id.size, (const char *)c->id.at);
    return true;
}

static bool query_seconds(struct call *c, const char *name, double *out)
{
    char text[40], *end = text;
    bool present;

    if (http_query_get(c->x, name, text, sizeof text, &present)) {
        *out = strtod(text, &end);
        if (end == text || *end != '\0' || !isfinite(*out) || *out < 0 || *out > SECONDS_MAX ||
            text[0] == '+' || strpbrk(text, "xX ") != NULL)
            present = true;
        else
            return true;
    }
    if (present)
        call_problem(c, 400, "bad-parameter", "'%s' wants a number of seconds, 0 or more.", name);
    return !present;
}

/* Reads "US-SEQ", what a page ended with. */
static bool read_cursor(const char *text, int64_t *us, int64_t *seq)
{
    const char *dash = strchr(text, '-');
    uint64_t a, b;

    if (dash == NULL || !bytes_to_u64(bytes_of(text, (size_t)(dash - text)), INT64_MAX, &a) ||
        !bytes_to_u64(bytes_text(dash + 1), INT64_MAX, &b))
        return false;
    *us = (int64_t)a;
    *seq = (int64_t)b;
    return true;
}

static bool may_see_held(struct call *c)
{
    struct ulid event = {{0}};

    if (live_event_of_video(c->api->options.live, c->id, &event) &&
        call_is_staff(c, ROLE_PRODUCER | ROLE_MODERATOR, event))
        return true;
    if (c->role != ROLE_NONE)
        call_problem(c, 403, "role-needed",
                     "Comments that wait for approval are for the event's producer and its moderators.");
    else
        call_problem(c, 401, "admin-token-needed",
                     "Comments that wait for approval are for the event's producer and its moderators.");
    return false;
}

/* What the checks of a list read; it takes the place of the body. */
static bool check_list(struct call *c)
{
    double from = 0, to = SECONDS_MAX;
    char after[80] = "", state[16] = "";
    int64_t us, seq;
    bool present;

    if (!call_id(c, "video") || !call_limit(c) || !query_seconds(c, "from", &from) ||
        !query_seconds(c, "to", &to))
        return false;
    if (!http_query_get(c->x, "state", state, sizeof state, &present) && present)
        snprintf(state, sizeof state, "?");
    if (state[0] != '\0' && strcmp(state, "held") != 0) {
        call_problem(c, 400, "bad-parameter", "'state' wants \"held\", or is left out.");
        return false;
    }
    if (state[0] != '\0' && !may_see_held(c))
        return false;
    if ((!http_query_get(c->x, "after", after, sizeof after, &present) && present) ||
        (after[0] != '\0' && (state[0] != '\0' ? !comment_id_good(after) : !read_cursor(after, &us, &seq)))) {
        call_problem(c, 400, "bad-parameter", "'after' wants what the last page's link says.");
        return false;
    }
    c->body =
        json_pack("{s:f,s:f,s:s,s:b}", "from", from, "to", to, "after", after, "held", state[0] != '\0');
    return true;
}

static int64_t microseconds(double seconds)
{
    return llround(seconds * 1e6);
}

static enum err list_shown(struct call *c, struct listing *l)
{
    struct comment_range range = {
        .from_us = microseconds(json_real_value(json_object_get(c->body, "from"))),
        .to_us = microseconds(json_real_value(json_object_get(c->body, "to"))),
        .limit = l->limit + 1,
    };
    const char *after = json_string_value(json_object_get(c->body, "after"));

    if (after[0] != '\0' && !read_cursor(after, &range.after_us, &range.after_seq))
        return ERR_BAD; /* it was looked at before */
    return comments_list(c->api->options.comments, c->id, &range, list_row, l);
}

static void link_next(struct call *c, const struct listing *l, bool held)
{
    char id[ULID_TEXT_SIZE];

    ulid_text(c->id, id);
    if (held)
        call_field(c, "Link", "</api/v1/videos/%s/comments?state=held&limit=%ld&after=%s>; rel=\"next\"", id,
                   c->limit, l->last_id);
    else
        call_field(c, "Link",
                   "</api/v1/videos/%s/comments?from=%.15g&to=%.15g&limit=%ld&after=%lld-%lld>; rel=\"next\"",
                   id, json_real_value(json_object_get(c->body, "from")),
                   json_real_value(json_object_get(c->body, "to")), c->limit, (long long)l->last_us,
                   (long long)l->last_seq);
}

static void list(struct call *c)
{
    struct listing l = {.limit = (size_t)c->limit};
    bool held = json_is_true(json_object_get(c->body, "held"));
    int64_t seq = 0;
    enum err e;

    if (!call_view(c) || !call_may_watch(c))
        return;
    builder_text(&l.json, "{\"items\":[");
    e = comments_head(c->api->options.comments, c->id,
                      &seq); /* before the list: a feed from there on misses nothing */
    if (e == ERR_OK)
        e = held ? comments_held(c->api->options.comments, c->id,
                                 json_string_value(json_object_get(c->body, "after")), l.limit + 1, list_row,
                                 &l)
                 : list_shown(c, &l);
    if (e != ERR_OK) {
        builder_drop(&l.json);
        reply_comments_away(c);
        return;
    }
    builder_text(&l.json, "]}");
    if (l.more)
        link_next(c, &l, held);
    call_field(c, "Matinee-Sequence", "%lld", (long long)seq);
    call_field(c, "Cache-Control", "no-store");
    call_text(c, 200, "application/json", builder_finish(&l.json));
}

/* --- windows ------------------------------------------------------------------------------------------------ */

static bool check_window(struct call *c)
{
    uint64_t number;

    if (!call_id(c, "video"))
        return false;
    if (bytes_to_u64(bytes_text(c->parameters[1]), COMMENT_WINDOWS_MAX, &number)) {
        c->number = (uint32_t)number;
        return true;
    }
    call_error(c, ERR_MISSING, "window");
    return false;
}

static void reply_window(struct call *c, const struct comment_window *w)
{
    call_field(c, "ETag", "%s", w->etag);
    call_field(c, "Cache-Control", "%s, max-age=%d", cache_scope(c->view), w->closed ? 3600 : 1);
    call_text(c, 200, "application/json", w->json);
}

/* Whether the video has got there. */
static bool window_begun(struct call *c)
{
    if ((double)c->number * COMMENT_WINDOW_S <= live_edge_s(c->api->options.live, c->view))
        return true;
    call_error(c, ERR_MISSING, "window");
    if (c->view->live)
        call_field(c, "Retry-After", "%d", COMMENT_WINDOW_S);
    return false;
}

static void read_window(void *ctx)
{
    struct call *c = ctx;
    struct comment_window w;
    enum err e;

    if (c->view == NULL && (e = live_video_load(c->api->options.live, c->id, &c->view)) != ERR_OK) {
        call_error(c, e, "video");
        return;
    }
    if (!call_may_watch(c) || !window_begun(c))
        return;
    if (comments_window(c->api->options.comments, c->view, c->number, &w) == ERR_OK)
        reply_window(c, &w);
    else
        reply_comments_away(c);
}

static void window_is_read(void *ctx)
{
    call_send(ctx);
}

/* On the loop: from memory where it is there. */
static void window(struct call *c)
{
    struct comment_window w;
    bool known;

    c->view = live_video_peek(c->api->options.live, c->id, &known);
    if (c->view == NULL && !known) {
        call_error(c, ERR_MISSING, "video");
    } else if (c->view != NULL && (!call_may_watch(c) || !window_begun(c))) {
        call_send(c);
        return;
    } else if (c->view == NULL || !comments_window_peek(c->api->options.comments, c->view, c->number, &w)) {
        store_run(c->api->options.store, STORE_READS, c->loop, read_window, window_is_read, c);
        return;
    } else {
        reply_window(c, &w);
    }
    call_send(c);
}

/* --- what the producer does with one ------------------------------------------------------------------------- */

static bool check_one(struct call *c)
{
    if (!call_id(c, "video"))
        return false;
    if (comment_id_good(c->parameters[1]))
        return true;
    call_error(c, ERR_MISSING, "comment");
    return false;
}

static void do_one(struct call *c, enum comment_call_kind kind)
{
    struct comment_call comment = {.kind = kind, .video = c->id, .id = c->parameters[1]};

    if (!call_view(c))
        return;
    comments_do(c->api->options.comments, &comment);
    if (comment.answer == COMMENT_MISSING)
        call_error(c, ERR_MISSING, "comment");
    else if (comment.answer == COMMENT_FULL)
        call_error(c, ERR_FULL, "comment");
    else if (comment.answer == COMMENT_BUSY)
        reply_comments_away(c);
    else if (kind == COMMENT_DELETE)
        call_empty(c, 204);
    else
        call_text(c, 200, "application/json", buffer_ref(comment.json));
    comment_call_free(&comment);
}

static void delete_one(struct call *c)
{
    do_one(c, COMMENT_DELETE);
}

static void approve_one(struct call *c)
{
    do_one(c, COMMENT_APPROVE);
}

/* What is left where that fails belongs to nothing, and nobody finds it: it only takes room. */
void comments_forget(struct api *a, const struct ulid *event, const struct ulid *videos, size_t count)
{
    enum err e = event != NULL ? comments_forget_rules(a->options.comments, *event) : ERR_OK;

    for (size_t i = 0; i < count; i++) {
        enum err failed = comments_drop(a->options.comments, videos[i]);

        e = failed != ERR_OK ? failed : e;
    }
    if (e != ERR_OK)
        log_warn("api", "some comments of what was deleted are still there: %s", err_text(e));
}

#define OF_VIDEO "/api/v1/videos/{}/comments"

const struct route comment_routes[] = {
    {HTTP_GET, OF_VIDEO, ROUTE_OPEN | ROUTE_BLOCKS, check_list, list},
    {HTTP_GET, OF_VIDEO "/windows/{}", ROUTE_OPEN | ROUTE_LATER, check_window, window},
    {HTTP_DELETE, OF_VIDEO "/{}", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_MODERATOR | ROUTE_BLOCKS, check_one,
     delete_one},
    {HTTP_POST, OF_VIDEO "/{}/approve", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_MODERATOR | ROUTE_BLOCKS,
     check_one, approve_one},
    {.pattern = NULL},
};
