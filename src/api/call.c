/* api/call.c - what all routes share: replies, problems, and the checks that most of them begin with. */
#include "api/api_int.h"

#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LIST_LIMIT_MAX      500
#define LIST_LIMIT_STANDARD 100

/* --- replies ----------------------------------------------------------------------------------------- */

void call_field(struct call *c, const char *name, const char *format, ...)
{
    char *value = NULL;
    va_list args;

    assert(c->field_count < CALL_FIELDS_MAX);
    va_start(args, format);
    if (vasprintf(&value, format, args) < 0)
        value = mem_string("");
    va_end(args);
    c->fields[c->field_count++] = (struct field){name, value};
}

void call_text(struct call *c, int status, const char *type, struct buffer *content)
{
    buffer_unref(c->content);
    c->status = status;
    c->type = type;
    c->content = content;
}

void call_json(struct call *c, int status, json_t *document)
{
    char *text = json_dumps(document, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));

    assert(text != NULL); /* only our own documents come here */
    call_text(c, status, "application/json", buffer_copy(bytes_text(text)));
    json_decref(document);
    free(text);
}

void call_empty(struct call *c, int status)
{
    call_text(c, status, NULL, NULL);
}

/* Cuts off what is no UTF-8, from its end: a detail may quote what a peer sent and be cut within one of
 * its characters; JSON cannot hold that. */
static void cut_to_utf8(char *text)
{
    json_t *whole;

    for (size_t size = strlen(text); (whole = json_stringn(text, size)) == NULL; size--)
        text[size - 1] = '\0';
    json_decref(whole);
}

static void problem(struct call *c, int status, const char *slug, json_t *more, const char *format,
                    va_list args)
{
    char detail[512], type[64];
    json_t *document;

    vsnprintf(detail, sizeof detail, format, args);
    cut_to_utf8(detail);
    snprintf(type, sizeof type, "/problems/%s", slug);
    document =
        json_pack("{s:s,s:s,s:i,s:s}", "type", type, "title", slug, "status", status, "detail", detail);
    json_object_update(document, more);
    json_decref(more);
    call_json(c, status, document);
    c->type = "application/problem+json";
    if (status == 401)
        call_field(c, "WWW-Authenticate", "Bearer");
}

void call_problem(struct call *c, int status, const char *slug, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    problem(c, status, slug, NULL, format, args);
    va_end(args);
}

void call_problem_with(struct call *c, int status, const char *slug, json_t *more, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    problem(c, status, slug, more, format, args);
    va_end(args);
}

/* An engine that is elsewhere comes back by itself. */
static void call_unavailable(struct call *c, const char *what)
{
    call_problem(
        c, 503, "unavailable",
        "The %s could not be read or written now: the database or the store did not answer. What was to "
        "be changed may have been: look, and try again.",
        what);
    call_field(c, "Retry-After", "2");
}

void call_error(struct call *c, enum err e, const char *what)
{
    if (e == ERR_IO && db_shared(c->api->options.db)) {
        call_unavailable(c, what);
        return;
    }
    switch (e) {
    case ERR_MISSING:
        call_problem(c, 404, "not-found", "There is no such %s.", what);
        break;
    case ERR_BUSY:
        call_problem(c, 409, "in-use", "The %s is live; end its event first.", what);
        break;
    case ERR_FULL:
        call_problem(c, 507, "disk-full", "The server's disk is full; make room and try again.");
        break;
    case ERR_TIMEOUT:
        call_problem(c, 503, "busy", "The %s could not be changed in time; try again.", what);
        call_field(c, "Retry-After", "1");
        break;
    default:
        call_problem(c, 500, "internal",
                     "The %s could not be read or written (%s); the server's log says more.", what,
                     err_text(e));
    }
}

const char *cache_scope(const struct video_view *v)
{
    return v->access == ACCESS_TICKET ? "private" : "public";
}

void allow_origins(struct http_exchange *x)
{
    http_add(x, "Access-Control-Allow-Origin", "*");
    http_add(x, "Access-Control-Expose-Headers", "*");
}

void call_send(struct call *c)
{
    struct http_exchange *x = c->x;

    if (x != NULL && c->answer != NULL) {
        c->answer(c);
        return;
    }
    if (x != NULL) {
        http_on_end(x, NULL, NULL);
        for (size_t i = 0; i < c->field_count; i++)
            http_add(x, c->fields[i].name, c->fields[i].value);
        if (c->route->flags & ROUTE_OPEN)
            allow_origins(x);
        http_answer(x, c->status, c->type, c->content);
        c->content = NULL;
    }
    call_free(c);
}

static void send_now(void *ctx)
{
    call_send(ctx);
}

void call_send_later(struct call *c)
{
    loop_post(c->loop, send_now, c);
}

void call_free(struct call *c)
{
    for (size_t i = 0; i < CALL_PARAMETERS_MAX; i++)
        free(c->parameters[i]);
    for (size_t i = 0; i < c->field_count; i++)
        free(c->fields[i].value);
    free(c->origin);
    free(c->token);
    free(c->text);
    json_decref(c->body);
    buffer_unref(c->content);
    video_view_unref(c->view);
    free(c);
}

/* --- checks ------------------------------------------------------------------------------------------ */

bool call_id(struct call *c, const char *what)
{
    if (ulid_parse(bytes_text(c->parameters[0]), &c->id))
        return true;
    call_error(c, ERR_MISSING, what);
    return false;
}

bool call_limit(struct call *c)
{
    uint64_t limit = LIST_LIMIT_STANDARD;
    bool present, good;
    char text[32];

    good = http_query_get(c->x, "limit", text, sizeof text, &present)
               ? bytes_to_u64(bytes_text(text), LIST_LIMIT_MAX, &limit) && limit > 0
               : !present;
    c->limit = (long)limit;
    if (!good)
        call_problem(c, 400, "bad-parameter", "'limit' wants a whole number from 1 to %d.", LIST_LIMIT_MAX);
    return good;
}

bool call_page(struct call *c)
{
    char text[32];
    bool present, good;

    if (!call_limit(c))
        return false;
    good = http_query_get(c->x, "after", text, sizeof text, &present)
               ? ulid_parse(bytes_text(text), &c->after)
               : !present;
    if (!good)
        call_problem(c, 400, "bad-parameter", "'after' wants the id that the last page ended with.");
    return good;
}

bool call_view(struct call *c)
{
    bool known = true;

    if (c->view == NULL)
        c->view = live_video_peek(c->api->options.live, c->id, &known);
    if (c->view != NULL)
        return true;
    if (known && c->route->flags & ROUTE_BLOCKS) {
        enum err e = live_video_load(c->api->options.live, c->id, &c->view);

        if (e == ERR_OK)
            return true;
        call_error(c, e, "video");
        return false;
    }
    call_error(c, ERR_MISSING, "video");
    return false;
}

bool call_may_watch(struct call *c)
{
    const struct refusal *r;

    if (c->view->access == ACCESS_PUBLIC || call_is_staff(c, ROLE_PRODUCER | ROLE_MODERATOR, c->view->event))
        return true;
    if (c->role != ROLE_NONE) {
        call_problem(
            c, 403, "role-needed",
            "This token is for the role '%s', or for other events: it does not open this video. Ask the "
            "admin for one that does.",
            role_name(c->role));
        return false;
    }
    r = door_refuses(c->api, c->view, c->token);
    if (r != NULL)
        call_problem(c, r->status, r->slug, "%s", r->detail);
    return r == NULL;
}

/* --- JSON bodies ------------------------------------------------------------------------------------- */

bool body_only(struct call *c, const char *const *allowed)
{
    const char *name;
    json_t *value;

    json_object_foreach(c->body, name, value)
    {
        size_t i = 0;

        while (allowed[i] != NULL && strcmp(allowed[i], name) != 0)
            i++;
        if (allowed[i] == NULL) {
            char safe[64];

            snprintf(safe, sizeof safe, "%.60s", name);
            call_problem(c, 422, "unknown-field", "There is no field '%s' here.", safe);
            return false;
        }
    }
    return true;
}

static size_t codepoints(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static bool has_controls(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            return true;
    return false;
}

bool body_text(struct call *c, const char *name, size_t codepoints_max, const char **out)
{
    const json_t *value = json_object_get(c->body, name);
    const char *text = json_string_value(value);

    *out = NULL;
    if (value == NULL)
        return true;
    if (text == NULL || text[0] == '\0' || codepoints(text) > codepoints_max || has_controls(text)) {
        call_problem(c, 422, "bad-field", "'%s' wants a text of 1 to %zu characters on one line.", name,
                     codepoints_max);
        return false;
    }
    *out = text;
    return true;
}
