/* http/exchange.c - the request's side of an exchange, and its beginning and end. Answers are in answer.c. */
#include "http/http_int.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>

/* --- life ---------------------------------------------------------------------------------------------- */

struct http_exchange *exchange_new(struct http_part *p, struct stream *s, const struct transport *t,
                                   void *carrier, const struct request *r)
{
    /* One allocation: the struct, the fields' places, the head's bytes, the decoded path. */
    size_t fields = r->field_count * sizeof(struct http1_field);
    struct http_exchange *x = mem_resize(NULL, sizeof *x + fields + r->head_size + r->path.size + 2);

    memset(x, 0, sizeof *x);
    x->transport = t;
    x->carrier = carrier;
    x->part = p;
    x->stream = s;
    x->method = r->method;
    x->query = r->query;
    x->authority = r->authority;
    x->field_count = r->field_count;
    x->fields = (struct http1_field *)(x + 1);
    x->head = (uint8_t *)x->fields + fields;
    x->path = (char *)x->head + r->head_size;
    if (fields > 0)
        memcpy(x->fields, r->fields, fields);
    memcpy(x->head, r->head, r->head_size);
    if (!http_path_normalise(span_bytes(r->head, r->path), x->path)) {
        free(x);
        return NULL;
    }
    return x;
}

static void bury(void *ctx)
{
    struct http_exchange *x = ctx;

    if (x->ended != NULL)
        x->ended(x->ended_ctx);
    builder_drop(&x->body);
    builder_drop(&x->added);
    free(x->origin);
    free(x);
}

void exchange_over(struct http_exchange *x)
{
    if (x->done)
        return;
    x->done = true;
    x->writable = NULL;
    x->piece = NULL;
    loop_after_turn(x->part->loop, bury, x);
}

void exchange_writable(struct http_exchange *x)
{
    void (*call)(void *ctx) = x->writable;

    x->writable = NULL;
    if (call != NULL && !x->done)
        call(x->writable_ctx);
}

void http_on_end(struct http_exchange *x, void (*ended)(void *ctx), void *ctx)
{
    x->ended = ended;
    x->ended_ctx = ctx;
}

/* --- the request ---------------------------------------------------------------------------------------- */

const char *http_method_name(enum http_method m)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", ""};

    return names[m];
}

enum http_method http_method(const struct http_exchange *x)
{
    return x->method;
}

const char *http_path(const struct http_exchange *x)
{
    return x->path;
}

struct bytes http_query(const struct http_exchange *x)
{
    return span_bytes(x->head, x->query);
}

struct bytes http_body(const struct http_exchange *x)
{
    return builder_bytes(&x->body);
}

struct loop *http_loop(const struct http_exchange *x)
{
    return x->part->loop;
}

const struct address *http_peer(const struct http_exchange *x)
{
    return stream_peer(x->stream);
}

bool http_is_tls(const struct http_exchange *x)
{
    return stream_is_tls(x->stream);
}

struct bytes http_field(const struct http_exchange *x, const char *name)
{
    size_t size = strlen(name);

    for (unsigned i = 0; i < x->field_count; i++) {
        const struct http1_field *f = &x->fields[i];

        if (f->name.size == size && bytes_is_nocase(span_bytes(x->head, f->name), name))
            return span_bytes(x->head, f->value);
    }
    return bytes_of(NULL, 0);
}

struct bytes http_field_last(const struct http_exchange *x, const char *name)
{
    size_t size = strlen(name);

    for (unsigned i = x->field_count; i > 0; i--) {
        const struct http1_field *f = &x->fields[i - 1];

        if (f->name.size == size && bytes_is_nocase(span_bytes(x->head, f->name), name))
            return span_bytes(x->head, f->value);
    }
    return bytes_of(NULL, 0);
}

const char *http_origin(const struct http_exchange *x)
{
    struct http_exchange *cache = (struct http_exchange *)x;
    struct bytes proto = http_field(x, "X-Forwarded-Proto"), host = span_bytes(x->head, x->authority);
    bool secure = proto.size > 0 ? bytes_is_nocase(proto, "https") : http_is_tls(x);

    if (x->origin == NULL)
        cache->origin = mem_printf("%s://%.*s", secure ? "https" : "http", host.size > 0 ? (int)host.size : 9,
                                   host.size > 0 ? (const char *)host.at : "localhost");
    return x->origin;
}

/* --- the query -------------------------------------------------------------------------------------------- */

static int hex(uint8_t b)
{
    if (b >= '0' && b <= '9')
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

/* Decodes `%41` and '+' of a form into `out` with a NUL. False when it does not fit or is not well formed. */
static bool form_decode(struct bytes in, char *out, size_t room)
{
    size_t end = 0;

    for (size_t i = 0; i < in.size; i++) {
        int b = in.at[i];

        if (b == '+') {
            b = ' ';
        } else if (b == '%') {
            int high = in.size - i > 2 ? hex(in.at[i + 1]) : -1, low = high >= 0 ? hex(in.at[i + 2]) : -1;

            b = low < 0 ? 0 : high << 4 | low;
            i += 2;
        }
        if (b == 0 || end + 1 >= room)
            return false;
        out[end++] = (char)b;
    }
    if (room == 0)
        return false;
    out[end] = '\0';
    return true;
}

bool http_query_get(const struct http_exchange *x, const char *name, char *out, size_t room, bool *present)
{
    struct bytes left = http_query(x);
    char found[64];

    *present = false;
    if (room > 0)
        out[0] = '\0';
    while (left.size > 0) {
        long end = bytes_find(left, '&');
        struct bytes pair = end < 0 ? left : bytes_head(left, (size_t)end);
        long equals = bytes_find(pair, '=');

        left = end < 0 ? bytes_of(NULL, 0) : bytes_from(left, (size_t)end + 1);
        if (!form_decode(equals < 0 ? pair : bytes_head(pair, (size_t)equals), found, sizeof found) ||
            strcmp(found, name) != 0)
            continue;
        *present = true;
        return form_decode(equals < 0 ? bytes_of(NULL, 0) : bytes_from(pair, (size_t)equals + 1), out, room);
    }
    return false;
}

/* --- streamed bodies --------------------------------------------------------------------------------------- */

void http_on_body(struct http_exchange *x, void (*piece)(void *ctx, struct bytes piece), void *ctx)
{
    if (x->done)
        return;
    x->piece = piece;
    x->piece_ctx = ctx;
    x->transport->body_wanted(x);
}

void http_body_pause(struct http_exchange *x)
{
    if (!x->done)
        x->transport->body_pause(x);
}

void http_body_resume(struct http_exchange *x)
{
    if (!x->done)
        x->transport->body_wanted(x);
}
