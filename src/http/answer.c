/* http/answer.c - answers: what the handler said becomes what this request is to get (RFC 9110 §8 to §15):
 * compressed, not modified, a range, or as it is. Both protocols send what comes out of here. */
#include "http/http_int.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The fields of an ordinary answer fit without growing. */
#define ADDED_BYTES 256

/* --- fields ------------------------------------------------------------------------------------------------- */

static bool one_line(const char *text)
{
    return text[strcspn(text, "\r\n")] == '\0';
}

/* Notes the fields that the server has to look at itself. */
static void note(struct http_exchange *x, const char *name, size_t value_at, size_t value_size)
{
    size_t size = strlen(name);

    if (size == 4 && strcasecmp(name, "etag") == 0)
        x->etag = (struct added_span){value_at, value_size};
    else if (size == 16 && strcasecmp(name, "content-encoding") == 0)
        x->encoded = true;
}

void http_add(struct http_exchange *x, const char *name, const char *value)
{
    size_t name_size = strlen(name), value_size = strlen(value);

    if (x->done || x->begun)
        return;
    if (!one_line(name) || !one_line(value)) {
        /* A value made from what a peer sent, unchecked: our mistake, which must not become their field. */
        log_error("http", "a field with a line break was left out of an answer");
        return;
    }
    if (x->added.buffer == NULL)
        x->added.buffer = buffer_new(ADDED_BYTES);
    builder_add(&x->added, bytes_of(name, name_size));
    builder_add(&x->added, bytes_of(": ", 2));
    builder_add(&x->added, bytes_of(value, value_size));
    builder_add(&x->added, bytes_of("\r\n", 2));
    note(x, name, x->added.buffer->size - value_size - 2, value_size);
}

void http_addf(struct http_exchange *x, const char *name, const char *format, ...)
{
    char *value = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&value, format, args) >= 0)
        http_add(x, name, value);
    va_end(args);
    free(value);
}

static struct bytes etag_of(const struct http_exchange *x)
{
    return x->etag.size > 0 ? bytes_of(x->added.buffer->data + x->etag.at, x->etag.size) : bytes_of(NULL, 0);
}

/* The compressed form is another representation and needs another tag: "x" becomes "x-gzip". */
static void etag_for_gzip(struct http_exchange *x)
{
    static const char mark[] = "-gzip\"";
    size_t end = x->etag.at + x->etag.size, grown = sizeof mark - 2;

    if (x->etag.size < 2 || x->added.buffer->data[end - 1] != '"')
        return;
    builder_room(&x->added, grown);
    uint8_t *data = x->added.buffer->data;

    memmove(data + end + grown, data + end, x->added.buffer->size - grown - end);
    memcpy(data + end - 1, mark, sizeof mark - 1);
    x->etag.size += grown;
}

/* --- whole answers --------------------------------------------------------------------------------------------- */

/* What is to be sent: `parts` laid end to end, of these `size` bytes from `from` on. */
struct answer {
    struct http_exchange *x;
    int status;
    const char *type;
    struct buffer *const *parts;
    size_t count, total, from, size;
    struct buffer *zipped; /* takes the place of the parts */
};

static void drop_parts(struct answer *a)
{
    for (size_t i = 0; i < a->count; i++)
        buffer_unref(a->parts[i]);
    a->count = a->total = a->from = a->size = 0;
}

/* An answer without a body, in place of the one that was to be. */
static void become(struct answer *a, int status)
{
    drop_parts(a);
    a->status = status;
    a->type = NULL;
}

static bool is_read(const struct http_exchange *x)
{
    return x->method == HTTP_GET || x->method == HTTP_HEAD;
}

/* Whether this request is to get the compressed form. Says in the answer that it depends. */
static bool choose_gzip(struct answer *a)
{
    struct http_exchange *x = a->x;

    if (a->total < GZIP_BYTES_MIN || a->total > GZIP_BYTES_MAX || x->encoded || !gzip_worthwhile(a->type))
        return false;
    http_add(x, "Vary", "Accept-Encoding");
    if (!gzip_accepted(http_field(x, "Accept-Encoding")) ||
        (x->etag.size > 0 && http_field(x, "Range").at != NULL)) /* ranges are of the plain form */
        return false;
    etag_for_gzip(x);
    return true;
}

/* If-Match and If-None-Match (§13.2.2): true when they decided the answer. */
static bool decided(struct answer *a)
{
    struct bytes etag = etag_of(a->x), match = http_field(a->x, "If-Match");
    struct bytes none = http_field(a->x, "If-None-Match");

    if (match.at != NULL && !etag_listed(match, etag, true))
        become(a, 412);
    else if (none.at != NULL && etag_listed(none, etag, false))
        become(a, 304);
    else
        return false;
    return true;
}

static void apply_range(struct answer *a)
{
    struct http_exchange *x = a->x;
    struct bytes field = http_field(x, "Range"), if_range = http_field(x, "If-Range");
    size_t from, length;

    http_add(x, "Accept-Ranges", "bytes");
    if (field.at == NULL || x->method != HTTP_GET ||
        (if_range.at != NULL && !etag_listed(if_range, etag_of(x), true)))
        return;
    switch (range_parse(field, a->total, &from, &length)) {
    case RANGE_WHOLE:
        return;
    case RANGE_NONE:
        http_addf(x, "Content-Range", "bytes */%zu", a->total);
        become(a, 416);
        return;
    case RANGE_PART:
        http_addf(x, "Content-Range", "bytes %zu-%zu/%zu", from, from + length - 1, a->total);
        a->status = 206;
        a->from = from;
        a->size = length;
        return;
    }
}

static void zip(struct answer *a)
{
    struct buffer *zipped = gzip_parts(&a->x->part->deflater, a->parts, a->count);

    if (zipped == NULL) /* out of memory in zlib: the plain form under the other's tag is still the truth */
        return;
    drop_parts(a);
    a->zipped = zipped;
    a->parts = &a->zipped;
    a->count = 1;
    a->size = a->total = zipped->size;
    http_add(a->x, "Content-Encoding", "gzip");
}

bool http_takes_gzip(const struct http_exchange *x)
{
    return gzip_accepted(http_field(x, "Accept-Encoding"));
}

struct buffer *http_gzip(struct http_exchange *x, struct buffer *text)
{
    return text->size < GZIP_BYTES_MIN ? NULL : gzip_parts(&x->part->deflater, &text, 1);
}

static void send_parts(struct answer *a)
{
    struct http_exchange *x = a->x;
    size_t skip = a->from, left = a->size;

    for (size_t i = 0; i < a->count; i++) {
        struct buffer *b = a->parts[i];
        size_t from = skip < b->size ? skip : b->size, size = b->size - from < left ? b->size - from : left;

        skip -= from;
        left -= size;
        if (size > 0)
            x->transport->send(x, b, from, size);
        else
            buffer_unref(b);
    }
}

static bool may_have_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

static void deliver(struct answer *a)
{
    struct http_exchange *x = a->x;
    bool has_length = may_have_body(a->status);
    struct reply r = {a->status, a->type, has_length ? (int64_t)a->size : -1,
                      x->method == HTTP_HEAD || !has_length};

    x->begun = true;
    x->bodiless = r.bodiless;
    x->transport->head(x, &r);
    if (r.bodiless)
        drop_parts(a);
    else
        send_parts(a);
    x->transport->finish(x);
}

void http_answer_parts(struct http_exchange *x, int status, const char *type, struct buffer *const *parts,
                       size_t count)
{
    struct answer a = {.x = x, .status = status, .type = type, .parts = parts, .count = count};

    for (size_t i = 0; i < count; i++)
        a.total += parts[i]->size;
    a.size = a.total;
    if (x->done || x->begun) { /* answered already, or the peer is gone: nothing to say, and to nobody */
        drop_parts(&a);
        return;
    }
    if (status == 200 && is_read(x)) {
        bool gzip = choose_gzip(&a);

        if (x->etag.size > 0 && !decided(&a) && !gzip)
            apply_range(&a);
        if (gzip && a.status == 200)
            zip(&a);
    }
    deliver(&a);
}

void http_answer(struct http_exchange *x, int status, const char *type, struct buffer *body)
{
    http_answer_parts(x, status, type, &body, body != NULL ? 1 : 0);
}

void http_answer_text(struct http_exchange *x, int status, const char *type, const char *text)
{
    http_answer(x, status, type, buffer_copy(bytes_text(text)));
}

void answer_refusal(struct http_exchange *x, int status)
{
    char text[64];

    const char *said = status_text(status);

    snprintf(text, sizeof text, "%s\n", said ? said : "");
    http_answer_text(x, status, "text/plain", text);
}

/* --- answers bit by bit ----------------------------------------------------------------------------------------- */

void http_begin(struct http_exchange *x, int status, const char *type)
{
    struct reply r = {status, type, -1, x->method == HTTP_HEAD || !may_have_body(status)};

    if (x->done || x->begun)
        return;
    x->begun = true;
    x->bodiless = r.bodiless;
    x->transport->head(x, &r);
    builder_drop(&x->added); /* what goes on for hours need not keep its head */
    x->etag.size = 0;
}

void http_send(struct http_exchange *x, struct buffer *piece)
{
    if (x->done || !x->begun || x->bodiless || piece->size == 0)
        buffer_unref(piece); /* an empty chunk would say that all is over */
    else
        x->transport->send(x, piece, 0, piece->size);
}

size_t http_queued(const struct http_exchange *x)
{
    return x->done ? 0 : x->transport->queued(x);
}

void http_when_writable(struct http_exchange *x, void (*call)(void *ctx), void *ctx)
{
    if (x->done)
        return;
    x->writable = call;
    x->writable_ctx = ctx;
    x->transport->wait_writable(x);
}

void http_finish(struct http_exchange *x)
{
    if (!x->done && x->begun)
        x->transport->finish(x);
}

void http_abort(struct http_exchange *x)
{
    if (!x->done)
        x->transport->abort(x);
}

/* --- status lines ------------------------------------------------------------------------------------------------- */

const char *status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {
        {200, "200 OK"},
        {201, "201 Created"},
        {202, "202 Accepted"},
        {204, "204 No Content"},
        {206, "206 Partial Content"},
        {301, "301 Moved Permanently"},
        {302, "302 Found"},
        {303, "303 See Other"},
        {304, "304 Not Modified"},
        {307, "307 Temporary Redirect"},
        {308, "308 Permanent Redirect"},
        {400, "400 Bad Request"},
        {401, "401 Unauthorized"},
        {402, "402 Payment Required"},
        {403, "403 Forbidden"},
        {404, "404 Not Found"},
        {405, "405 Method Not Allowed"},
        {406, "406 Not Acceptable"},
        {408, "408 Request Timeout"},
        {409, "409 Conflict"},
        {410, "410 Gone"},
        {411, "411 Length Required"},
        {412, "412 Precondition Failed"},
        {413, "413 Content Too Large"},
        {414, "414 URI Too Long"},
        {415, "415 Unsupported Media Type"},
        {416, "416 Range Not Satisfiable"},
        {417, "417 Expectation Failed"},
        {422, "422 Unprocessable Content"},
        {423, "423 Locked"},
        {425, "425 Too Early"},
        {428, "428 Precondition Required"},
        {429, "429 Too Many Requests"},
        {431, "431 Request Header Fields Too Large"},
        {500, "500 Internal Server Error"},
        {501, "501 Not Implemented"},
        {502, "502 Bad Gateway"},
        {503, "503 Service Unavailable"},
        {504, "504 Gateway Timeout"},
        {505, "505 HTTP Version Not Supported"},
        {507, "507 Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].status == status)
            return known[i].text;
    return NULL;
}
