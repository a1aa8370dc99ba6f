/* api/comment_post.c - posting a comment.
 *
 * A post is read and judged on its loop where memory suffices for that, and on a pool thread where it does not; then the comments
 * room has it, and the answer is sent when it is durable. */
#include "api/comments_int.h"

#include "base/mem.h"

#include <math.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

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
    int64_t edge_us = llround(live_edge_s(c->api->options.live, c->view) * 1e6);

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

/* Whether the call itself bears a viewer's token: of a reservation, or of a link, whose holder knows no reservation. */
static bool carries_ticket(const struct call *c)
{
    return c->token != NULL &&
           tickets_check(c->api->options.tickets, bytes_text(c->token), c->view->event, NULL) == TICKET_GOOD;
}

static enum outcome judge(struct post *p, bool may_block)
{
    struct call *c = p->call;
    struct comment_case k = {.event = c->view->event,
                             .id = p->comment.id,
                             .author = p->author,
                             .data = p->data,
                             .may_block = may_block,
                             .has_ticket = carries_ticket(c),
                             .is_producer = call_is_staff(c, ROLE_PRODUCER | ROLE_MODERATOR, c->view->event)};
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

const struct route comment_post_routes[] = {
    {HTTP_POST, "/api/v1/videos/{}/comments", ROUTE_JSON | ROUTE_LATER | ROUTE_OPEN, NULL, post},
    {HTTP_POST, "/api/v1/comments", ROUTE_JSON | ROUTE_LATER | ROUTE_OPEN, NULL, post},
    {.pattern = NULL},
};
