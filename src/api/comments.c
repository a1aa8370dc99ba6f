/* api/comments.c - comments of a video: posting, listing, windows, and what the producer does with single ones.
 *
 * A post is read and judged on its loop where memory suffices for that, and on a pool thread where it does not; then the comments
 * room has it, and the answer is sent when it is durable. */
#include "api/comments_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <math.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

/* No position is beyond the longest recording by much; what is larger is no position. */
#define SECONDS_MAX 1e10

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

void reply_too_often(struct call *c, const char *slug, int64_t wait_ms, const char *what)
{
    long long seconds = (wait_ms + 999) / 1000;

    call_problem(c, 429, slug, "%s Try again in %lld s.", what, seconds);
    call_field(c, "Retry-After", "%lld", seconds);
}

static bool is_limited(const struct call *c)
{
    return !c->is_admin && (c->api->options.limit_loopback || !address_is_loopback(http_peer(c->x)));
}

/* An address without its port; IPv6 by its network, for that is what a peer has all of. */
static struct bytes address_key(const struct address *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a->socket;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a->socket;

    if (a->socket.ss_family == AF_INET)
        return bytes_of(&v4->sin_addr, sizeof v4->sin_addr);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return bytes_of(v6->sin6_addr.s6_addr + 12, 4);
    return bytes_of(&v6->sin6_addr, 8);
}

bool within_address_limit(struct call *c)
{
    int64_t wait_ms;

    if (!is_limited(c) || rate_take(c->api->per_address, address_key(http_peer(c->x)), &wait_ms))
        return true;
    reply_too_often(c, "too-many", wait_ms, "Too many comments come from this address.");
    return false;
}

bool within_author_limit(struct call *c, const char *author)
{
    int64_t wait_ms;

    if (!is_limited(c) || rate_take(c->api->per_author, bytes_text(author), &wait_ms))
        return true;
    reply_too_often(c, "too-many", wait_ms, "That is a little fast for one author.");
    return false;
}

/* --- posting ------------------------------------------------------------------------------------------- */

enum outcome {
    OUTCOME_PENDING, /* a pool thread has to look */
    OUTCOME_REPLIED,
    OUTCOME_READY, /* to be handed in */
};

/* A post on its way. */
struct post {
    struct call *call;
    struct comment_call comment;
    char *author, *data;
    const char *ticket; /* a reservation's id; NULL: none was given */
    bool has_offset;
    enum outcome outcome;
};

static void post_free(struct post *p)
{
    comment_call_free(&p->comment);
    free(p->author);
    free(p->data);
    free(p);
}

/* On the loop, when the reply is there and nothing is under way. */
static void post_reply(struct post *p)
{
    struct call *c = p->call;

    post_free(p);
    call_send(c);
}

static bool read_id(struct post *p)
{
    struct call *c = p->call;
    const char *id = json_string_value(json_object_get(c->body, "id"));

    if (id != NULL && comment_id_good(id)) {
        p->comment.id = id;
        return true;
    }
    call_problem(
        c, 422, "bad-field",
        "'id' wants 1 to %d of A-Z, a-z, 0-9, _ and -: choose one for each comment, and use it again when you "
        "send the same comment again.",
        COMMENT_ID_MAX);
    return false;
}

static bool read_offset(struct post *p)
{
    struct call *c = p->call;
    const json_t *value = json_object_get(c->body, "offset");
    double offset = json_number_value(value);

    if (value == NULL || json_is_null(value))
        return true;
    if (!json_is_number(value) || !isfinite(offset) || offset < 0 || offset > SECONDS_MAX) {
        call_problem(c, 422, "bad-field", "'offset' wants a number of seconds, from 0 to the live edge.");
        return false;
    }
    p->has_offset = true;
    p->comment.offset_us = llround(offset * 1e6);
    return true;
}

static bool read_ticket(struct post *p)
{
    const json_t *value = json_object_get(p->call->body, "ticket");

    p->ticket = json_string_value(value);
    if (value == NULL || p->ticket != NULL)
        return true;
    call_problem(p->call, 422, "bad-field", "'ticket' wants the id of a confirmed reservation.");
    return false;
}

/* What makes two posts the same: all that was said, and whether a place was. */
static void digest(struct post *p)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    char offset[32] = "";
    struct builder b = {0};

    if (p->has_offset)
        snprintf(offset, sizeof offset, "%lld", (long long)p->comment.offset_us);
    builder_add(&b, bytes_of(p->author, strlen(p->author) + 1));
    builder_add(&b, bytes_of(p->data, strlen(p->data) + 1));
    builder_text(&b, offset);
    SHA256(builder_bytes(&b).at, builder_bytes(&b).size, hash);
    builder_drop(&b);
    memcpy(p->comment.digest, hash, sizeof p->comment.digest);
}

static bool read_post(struct post *p)
{
    static const char *const allowed[] = {"id", "authorId", "data", "offset", "ticket", NULL};
    static const char *const allowed_flat[] = {"id", "authorId", "data", "offset", "ticket", "videoId", NULL};
    struct call *c = p->call;
    bool flat = c->parameters[0] == NULL;

    if (!body_only(c, flat ? allowed_flat : allowed) || !read_id(p) ||
        !body_comment_text(c, "authorId", COMMENT_TEXT_NAME, &p->author) ||
        !body_comment_text(c, "data", COMMENT_TEXT_DATA, &p->data) || !read_offset(p) || !read_ticket(p))
        return false;
    p->comment.author = p->author;
    p->comment.data = p->data;
    digest(p);
    return true;
}

/* The video of a post, from its path or, in the flat form, its body. */
static bool read_video(struct post *p)
{
    struct call *c = p->call;
    const char *text =
        c->parameters[0] ? c->parameters[0] : json_string_value(json_object_get(c->body, "videoId"));

    if (text == NULL) {
        call_problem(c, 422, "bad-field",
                     "'videoId' is missing, or no text: which video is this comment for?");
        return false;
    }
    if (!ulid_parse(bytes_text(text), &c->id)) {
        call_error(c, ERR_MISSING, "video");
        return false;
    }
    p->comment.video = c->id;
    return true;
}

/* The view of the post's video, from memory or, where it may block, loaded. */
static enum outcome see_video(struct post *p, bool may_block)
{
    struct call *c = p->call;
    bool known = true;
    enum err e = ERR_MISSING;

    if (c->view == NULL)
        c->view = live_video_peek(c->api->options.live, c->id, &known);
    if (c->view == NULL && known && !may_block)
        return OUTCOME_PENDING;
    if (c->view == NULL &&
        (!known || (e = live_video_load(c->api->options.live, c->id, &c->view)) != ERR_OK)) {
        call_error(c, e, "video");
        return OUTCOME_REPLIED;
    }
    return call_may_watch(c) ? OUTCOME_READY : OUTCOME_REPLIED;
}

/* Where in the video it belongs. */
static bool place(struct post *p)
{
    struct call *c = p->call;
    int64_t edge_us = llround(video_view_duration_s(c->view) * 1e6);

    if (!p->has_offset)
        p->comment.offset_us = edge_us;
    p->comment.late = comments_is_late(c->view, p->comment.offset_us);
    if (p->comment.offset_us <= edge_us)
        return true;
    call_problem(c, 422, "bad-field", "'offset' is past the live edge, which is at %.3f s.",
                 (double)edge_us / 1e6);
    return false;
}

static void reply_verdict(struct call *c, enum comment_verdict v, const struct comment_case *k)
{
    switch (v) {
    case COMMENT_CLOSED:
        call_problem(c, 403, "comments-closed", "The producer has closed the comments of this event.");
        break;
    case COMMENT_MUTE:
        call_problem(c, 403, "muted", "The producer has muted this author.");
        break;
    case COMMENT_TOO_SOON:
        reply_too_often(c, "slow-mode", k->wait_ms, "This event is in slow mode.");
        break;
    case COMMENT_NO_FOLLOWER:
        call_problem(c, 403, "followers-only",
                     "Only followers of this event may comment, once they have followed it for %lld s.",
                     (long long)k->followed_s);
        break;
    case COMMENT_NO_TICKET:
        call_problem(
            c, 403, "tickets-only",
            "Only ticket holders may comment: send the id of a confirmed reservation of this event as 'ticket'.");
        break;
    case COMMENT_BAD_WORD:
        call_problem(c, 422, "refused-word",
                     "There is a word in 'data' that the producer of this event does not want.");
        break;
    case COMMENT_ALLOWED:
    case COMMENT_TO_HOLD:
    case COMMENT_UNKNOWN:
        break;
    }
}

/* Whether the reservation that was given is a confirmed one of the event's inventory. Blocks. */
static bool has_ticket(struct post *p)
{
    struct event_view event;
    struct reservation_view reservation = {.customer = NULL};
    struct ulid id;
    bool good = false;

    if (p->ticket == NULL || !ulid_parse(bytes_text(p->ticket), &id) ||
        live_event_get(p->call->api->options.live, p->call->view->event, &event) != ERR_OK)
        return false;
    if (!ulid_is_zero(event.inventory) &&
        booking_reservation(p->call->api->options.booking, id, &reservation) == ERR_OK)
        good =
            reservation.state == RESERVATION_CONFIRMED && ulid_equal(reservation.inventory, event.inventory);
    reservation_view_free(&reservation);
    event_view_free(&event);
    return good;
}

static enum outcome judge(struct post *p, bool may_block)
{
    struct call *c = p->call;
    struct comment_case k = {.event = c->view->event,
                             .id = p->comment.id,
                             .author = p->author,
                             .data = p->data,
                             .may_block = may_block,
                             .is_producer = c->is_admin};
    enum comment_verdict v;
    enum err e = comments_judge(c->api->options.comments, &k, &v);

    if (e == ERR_OK && v == COMMENT_NO_TICKET && p->ticket != NULL) {
        if (!may_block)
            return OUTCOME_PENDING;
        k.has_ticket = has_ticket(p);
        e = comments_judge(c->api->options.comments, &k, &v);
    }
    if (e != ERR_OK) {
        reply_comments_away(c);
        return OUTCOME_REPLIED;
    }
    p->comment.hold = v == COMMENT_TO_HOLD;
    if (v == COMMENT_ALLOWED || v == COMMENT_TO_HOLD)
        return OUTCOME_READY;
    reply_verdict(c, v, &k);
    return v == COMMENT_UNKNOWN ? OUTCOME_PENDING : OUTCOME_REPLIED;
}

/* Everything between reading a post and handing it in. */
static enum outcome prepare(struct post *p, bool may_block)
{
    enum outcome o = see_video(p, may_block);

    if (o != OUTCOME_READY)
        return o;
    return place(p) ? judge(p, may_block) : OUTCOME_REPLIED;
}

/* On a thread of the room. */
static void posted(struct comment_call *comment)
{
    struct post *p = comment->ctx;
    struct call *c = p->call;

    switch (comment->answer) {
    case COMMENTED:
    case COMMENTED_BEFORE:
        call_text(c, comment->answer == COMMENTED ? 201 : 200, "application/json", buffer_ref(comment->json));
        break;
    case COMMENTED_OTHER:
        call_problem(c, 409, "id-used",
                     "This 'id' was used for another comment of this video, or for one that was deleted.");
        break;
    case COMMENT_FULL:
        call_error(c, ERR_FULL, "comment");
        break;
    case COMMENT_MISSING:
    case COMMENT_BUSY:
        reply_comments_away(c);
        break;
    }
    post_free(p);
    call_send_later(c);
}

static void hand_in(struct post *p)
{
    if (p->outcome != OUTCOME_READY) {
        post_reply(p);
        return;
    }
    p->comment.kind = COMMENT_POST;
    p->comment.done = posted;
    p->comment.ctx = p;
    comments_submit(p->call->api->options.comments, &p->comment);
}

static void prepare_blocking(void *ctx)
{
    struct post *p = ctx;

    p->outcome = prepare(p, true);
}

static void prepared(void *ctx)
{
    hand_in(ctx);
}

static void post(struct call *c)
{
    struct post *p = mem_new(sizeof *p);

    p->call = c;
    p->outcome = OUTCOME_REPLIED;
    if (read_video(p) && read_post(p) && within_address_limit(c) && within_author_limit(c, p->author))
        p->outcome = prepare(p, false);
    if (p->outcome == OUTCOME_PENDING)
        pool_run(c->loop, prepare_blocking, prepared, p);
    else
        hand_in(p);
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
    if (state[0] != '\0' && !c->is_admin) {
        call_problem(c, 401, "admin-token-needed", "Comments that wait for approval are for the producer.");
        return false;
    }
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
    if ((double)c->number * COMMENT_WINDOW_S <= video_view_duration_s(c->view))
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

    if (c->view == NULL && !(live_video_load(c->api->options.live, c->id, &c->view) == ERR_OK)) {
        call_error(c, ERR_MISSING, "video");
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
        pool_run(c->loop, read_window, window_is_read, c);
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
void comments_forget(struct api *a, const struct ulid *videos, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum err e = comments_drop(a->options.comments, videos[i]);

        if (e != ERR_OK)
            log_warn("api", "the comments of a deleted video are still there: %s", err_text(e));
    }
}

#define OF_VIDEO "/api/v1/videos/{}/comments"

const struct route comment_routes[] = {
    {HTTP_POST, OF_VIDEO, ROUTE_JSON | ROUTE_LATER | ROUTE_OPEN, NULL, post},
    {HTTP_POST, "/api/v1/comments", ROUTE_JSON | ROUTE_LATER | ROUTE_OPEN, NULL, post},
    {HTTP_GET, OF_VIDEO, ROUTE_OPEN | ROUTE_BLOCKS, check_list, list},
    {HTTP_GET, OF_VIDEO "/windows/{}", ROUTE_OPEN | ROUTE_LATER, check_window, window},
    {HTTP_DELETE, OF_VIDEO "/{}", ROUTE_ADMIN | ROUTE_BLOCKS, check_one, delete_one},
    {HTTP_POST, OF_VIDEO "/{}/approve", ROUTE_ADMIN | ROUTE_BLOCKS, check_one, approve_one},
    {.pattern = NULL},
};
