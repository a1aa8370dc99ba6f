/* api/comment_rules.c - who may comment on an event: its rules, who is muted, and who follows. */
#include "api/comments_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

static const char *const audiences[] = {"everyone", "followers", "tickets"};

/* --- shared -------------------------------------------------------------------------------------------- */

static bool check_event(struct call *c)
{
    return call_id(c, "event");
}

/* Whether there is such an event; replies where not. */
static bool event_is_there(struct call *c)
{
    struct event_view v;
    enum err e = live_event_get(c->api->options.live, c->id, &v);

    event_view_free(&v);
    if (e != ERR_OK)
        call_error(c, e, "event");
    return e == ERR_OK;
}

static void reply_rules_away(struct call *c)
{
    call_problem(c, 503, "busy",
                 "The rules of these comments cannot be read or changed now: the database is busy or away.");
    call_field(c, "Retry-After", "1");
}

/* --- rules --------------------------------------------------------------------------------------------- */

static json_t *words_json(const char *words)
{
    json_t *list = json_array();

    while (*words != '\0') {
        size_t size = strcspn(words, "\n");

        json_array_append_new(list, json_stringn(words, size));
        words += size + (words[size] == '\n');
    }
    return list;
}

static void reply_rules(struct call *c, const struct comment_rules *r)
{
    json_t *document =
        json_pack("{s:b,s:s,s:I,s:s,s:I}", "open", r->open, "links", r->hold_links ? "hold" : "allow",
                  "slowSeconds", (json_int_t)r->slow_s, "audience", audiences[r->audience], "followedSeconds",
                  (json_int_t)r->followed_s);

    if (call_is_staff(c, ROLE_PRODUCER | ROLE_MODERATOR, c->id))
        json_object_set_new(document, "words", words_json(r->words));
    call_field(c, "Cache-Control", "no-store");
    call_json(c, 200, document);
}

static void get_rules(struct call *c)
{
    struct comment_rules r;

    if (!event_is_there(c))
        return;
    if (comments_rules(c->api->options.comments, c->id, &r) == ERR_OK)
        reply_rules(c, &r);
    else
        reply_rules_away(c);
    comment_rules_free(&r);
}

static bool read_open(struct call *c, struct comment_rules *r)
{
    const json_t *value = json_object_get(c->body, "open");

    if (value == NULL)
        return true;
    r->open = json_is_true(value);
    if (json_is_boolean(value))
        return true;
    call_problem(c, 422, "bad-field", "'open' wants true or false.");
    return false;
}

static bool read_links(struct call *c, struct comment_rules *r)
{
    const json_t *value = json_object_get(c->body, "links");
    const char *text = json_string_value(value);

    if (value == NULL)
        return true;
    r->hold_links = text != NULL && strcmp(text, "hold") == 0;
    if (r->hold_links || (text != NULL && strcmp(text, "allow") == 0))
        return true;
    call_problem(c, 422, "bad-field", "'links' wants \"allow\" or \"hold\".");
    return false;
}

static bool read_seconds(struct call *c, const char *name, int64_t most, int64_t *out)
{
    const json_t *value = json_object_get(c->body, name);

    if (value == NULL)
        return true;
    *out = json_integer_value(value);
    if (json_is_integer(value) && *out >= 0 && *out <= most)
        return true;
    call_problem(c, 422, "bad-field", "'%s' wants a whole number from 0 to %lld.", name, (long long)most);
    return false;
}

static bool read_audience(struct call *c, struct comment_rules *r)
{
    const json_t *value = json_object_get(c->body, "audience");
    const char *text = json_string_value(value);

    if (value == NULL)
        return true;
    for (size_t i = 0; text != NULL && i < sizeof audiences / sizeof *audiences; i++)
        if (strcmp(text, audiences[i]) == 0) {
            r->audience = (enum comment_audience)i;
            return true;
        }
    call_problem(c, 422, "bad-field", "'audience' wants \"everyone\", \"followers\" or \"tickets\".");
    return false;
}

static bool refuse_words(struct call *c)
{
    call_problem(c, 422, "bad-field", "'words' wants a list of up to %d words of 1 to %d characters.",
                 COMMENT_WORDS_MAX, COMMENT_WORD_CHARS);
    return false;
}

static bool read_words(struct call *c, struct comment_rules *r)
{
    json_t *list = json_object_get(c->body, "words");
    struct builder b = {0};

    if (list == NULL)
        return true;
    if (!json_is_array(list) || json_array_size(list) > COMMENT_WORDS_MAX)
        return refuse_words(c);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i)), *why;
        char *word = text != NULL ? comment_text(COMMENT_TEXT_NAME, text, &why) : NULL;

        if (word == NULL) {
            builder_drop(&b);
            return refuse_words(c);
        }
        builder_text(&b, i > 0 ? "\n" : "");
        builder_text(&b, word);
        free(word);
    }
    free(r->words);
    r->words = mem_text(builder_bytes(&b).at, builder_bytes(&b).size);
    builder_drop(&b);
    return true;
}

static bool read_change(struct call *c, struct comment_rules *r)
{
    static const char *const allowed[] = {"open",  "links", "slowSeconds", "audience", "followedSeconds",
                                          "words", NULL};

    return body_only(c, allowed) && read_open(c, r) && read_links(c, r) &&
           read_seconds(c, "slowSeconds", COMMENT_SLOW_S_MAX, &r->slow_s) && read_audience(c, r) &&
           read_seconds(c, "followedSeconds", COMMENT_FOLLOWED_S_MAX, &r->followed_s) && read_words(c, r);
}

static void change_rules(struct call *c)
{
    struct comment_rules r;

    if (!event_is_there(c))
        return;
    if (comments_rules(c->api->options.comments, c->id, &r) != ERR_OK) {
        reply_rules_away(c);
    } else if (read_change(c, &r)) {
        if (comments_set_rules(c->api->options.comments, c->id, &r) == ERR_OK)
            reply_rules(c, &r);
        else
            reply_rules_away(c);
    }
    comment_rules_free(&r);
}

/* --- lists of authors ------------------------------------------------------------------------------------ */

static void enlist(struct call *c, enum comment_list list, const char *author, bool on)
{
    if (comments_enlist(c->api->options.comments, list, c->id, author, on) == ERR_OK)
        call_empty(c, 204);
    else
        reply_rules_away(c);
}

static void add_author(struct call *c, enum comment_list list)
{
    static const char *const allowed[] = {"authorId", NULL};
    char *author = NULL;

    if (event_is_there(c) && body_only(c, allowed) &&
        body_comment_text(c, "authorId", COMMENT_TEXT_NAME, &author))
        enlist(c, list, author, true);
    free(author);
}

static void mute(struct call *c)
{
    add_author(c, COMMENT_MUTED);
}

static void follow(struct call *c)
{
    add_author(c, COMMENT_FOLLOWING);
}

/* A name cannot stand in a path, for it may have a slash in it: `?authorId=` takes the place of the body. */
static bool check_author(struct call *c)
{
    char text[COMMENT_AUTHOR_CHARS * 12 + 1];
    const char *why = "is missing, or no text";
    char *author = NULL;
    bool present;

    if (!call_id(c, "event"))
        return false;
    if (http_query_get(c->x, "authorId", text, sizeof text, &present))
        author = comment_text(COMMENT_TEXT_NAME, text, &why);
    if (author == NULL)
        call_problem(c, 400, "bad-parameter", "'authorId' %s.", why);
    c->text = author;
    return author != NULL;
}

static void unmute(struct call *c)
{
    if (event_is_there(c))
        enlist(c, COMMENT_MUTED, c->text, false);
}

static void unfollow(struct call *c)
{
    if (event_is_there(c))
        enlist(c, COMMENT_FOLLOWING, c->text, false);
}

struct authors {
    json_t *items;
    size_t limit;
    bool more;
};

static bool add_item(void *ctx, const char *author, int64_t since_ms)
{
    struct authors *a = ctx;
    char since[CLOCK_TEXT_SIZE];

    a->more = json_array_size(a->items) == a->limit;
    if (!a->more)
        json_array_append_new(
            a->items, json_pack("{s:s,s:s}", "authorId", author, "since", clock_text(since_ms, since)));
    return !a->more;
}

/* limit, and `after` as a name. */
static bool check_authors(struct call *c)
{
    char after[COMMENT_AUTHOR_CHARS * 12 + 1] = "";
    bool present;

    if (!call_id(c, "event") || !call_limit(c))
        return false;
    if (!http_query_get(c->x, "after", after, sizeof after, &present) && present) {
        call_problem(c, 400, "bad-parameter", "'after' wants the author that the last page ended with.");
        return false;
    }
    c->text = mem_string(after);
    return true;
}

static void list_authors(struct call *c, enum comment_list list)
{
    struct authors a = {json_array(), (size_t)c->limit, false};

    if (event_is_there(c)) {
        enum err e =
            comments_enlisted(c->api->options.comments, list, c->id, c->text, a.limit + 1, add_item, &a);

        if (e == ERR_OK)
            call_json(c, 200, json_pack("{s:O,s:b}", "items", a.items, "more", a.more));
        else
            reply_rules_away(c);
    }
    json_decref(a.items);
}

static void list_muted(struct call *c)
{
    list_authors(c, COMMENT_MUTED);
}

static void list_followers(struct call *c)
{
    list_authors(c, COMMENT_FOLLOWING);
}

/* Anybody may follow, but not a million names from one address. */
static bool check_follow(struct call *c)
{
    return call_id(c, "event") && within_address_limit(c);
}

#define OF_EVENT "/api/v1/events/{}"

const struct route comment_rule_routes[] = {
    {HTTP_GET, OF_EVENT "/comments", ROUTE_OPEN | ROUTE_BLOCKS, check_event, get_rules},
    {HTTP_PATCH, OF_EVENT "/comments",
     ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_MODERATOR | ROUTE_BLOCKS | ROUTE_JSON, check_event, change_rules},
    {HTTP_GET, OF_EVENT "/comments/muted", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_MODERATOR | ROUTE_BLOCKS,
     check_authors, list_muted},
    {HTTP_POST, OF_EVENT "/comments/muted",
     ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_MODERATOR | ROUTE_BLOCKS | ROUTE_JSON, check_event, mute},
    {HTTP_DELETE, OF_EVENT "/comments/muted", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_MODERATOR | ROUTE_BLOCKS,
     check_author, unmute},
    {HTTP_GET, OF_EVENT "/followers", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_MODERATOR | ROUTE_BLOCKS,
     check_authors, list_followers},
    {HTTP_POST, OF_EVENT "/followers", ROUTE_OPEN | ROUTE_BLOCKS | ROUTE_JSON, check_follow, follow},
    {HTTP_DELETE, OF_EVENT "/followers", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_MODERATOR | ROUTE_BLOCKS,
     check_author, unfollow},
    {.pattern = NULL},
};
