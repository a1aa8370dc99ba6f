/* cmd/admin_call.c - one HTTP call of the administration commands, by libcurl. */
#include "cmd/admin_int.h"

#include "base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The largest answer: the task lines of a whole day. */
#define ANSWER_BYTES_MAX    ((size_t)256 << 20)
#define CONNECT_SECONDS_MAX 10L
/* No byte either way for so long: the server looks into an uploaded file for a minute at most. */
#define SILENT_SECONDS_MAX 90L

struct transfer {
    const struct request *request;
    struct answer *answer;
    uint64_t sent;
};

void answer_free(struct answer *a)
{
    json_decref(a->document);
    builder_drop(&a->body);
    *a = (struct answer){.status = 0};
}

static size_t on_body(char *at, size_t one, size_t size, void *ctx)
{
    struct transfer *t = ctx;

    if (builder_bytes(&t->answer->body).size + size > ANSWER_BYTES_MAX)
        return 0;
    builder_add(&t->answer->body, bytes_of(at, size));
    return size;
}

static size_t on_field(char *at, size_t one, size_t size, void *ctx)
{
    static const char name[] = "Range:";
    struct transfer *t = ctx;
    struct bytes line = bytes_of(at, size);

    if (bytes_is_nocase(bytes_head(line, sizeof name - 1), name)) {
        struct bytes value = bytes_from(line, sizeof name - 1);

        while (value.size > 0 && value.at[0] == ' ')
            value = bytes_from(value, 1);
        snprintf(t->answer->range, sizeof t->answer->range, "%.*s",
                 (int)strcspn((const char *)value.at, "\r\n"), (const char *)value.at);
    }
    return size;
}

static size_t on_want(char *to, size_t one, size_t room, void *ctx)
{
    struct transfer *t = ctx;
    uint64_t left = t->request->size - t->sent;
    ssize_t n =
        pread(t->request->file, to, left < room ? (size_t)left : room, (off_t)(t->request->from + t->sent));

    if (n < 0 || (n == 0 && left > 0))
        return CURL_READFUNC_ABORT; /* it was cut short under us */
    t->sent += (uint64_t)n;
    if (t->request->sent != NULL)
        t->request->sent(t->request->ctx, t->sent);
    return (size_t)n;
}

static struct curl_slist *add_field(struct curl_slist *fields, const char *name, const char *value)
{
    char *line = mem_printf("%s: %s", name, value);

    fields = curl_slist_append(fields, line);
    free(line);
    return fields;
}

static struct curl_slist *set_request(struct admin *a, const struct request *r, struct transfer *t,
                                      char *text)
{
    struct curl_slist *fields = curl_slist_append(NULL, "Expect:"); /* nobody waits for 100 Continue */

    if (a->authorization != NULL)
        fields = curl_slist_append(fields, a->authorization);
    if (r->range != NULL)
        fields = add_field(fields, "Content-Range", r->range);
    if (text != NULL) {
        fields = add_field(fields, "Content-Type", "application/json");
        curl_easy_setopt(a->curl, CURLOPT_POSTFIELDS, text);
    } else if (r->has_body) {
        curl_easy_setopt(a->curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(a->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->size);
        curl_easy_setopt(a->curl, CURLOPT_READFUNCTION, on_want);
        curl_easy_setopt(a->curl, CURLOPT_READDATA, t);
    }
    return fields;
}

/* What the server, or the lack of one, has to say. */
static enum err explain(struct admin *a, CURLcode code, const char *curl_text, const struct answer *out)
{
    const char *detail = json_string_value(json_object_get(out->document, "detail"));

    if (code != CURLE_OK && out->status < 400) {
        snprintf(a->why, sizeof a->why, "%s: %s", a->server,
                 curl_text[0] ? curl_text : curl_easy_strerror(code));
        return ERR_IO;
    }
    if ((out->status >= 200 && out->status < 300) || out->status == 308)
        return ERR_OK;
    if (detail != NULL)
        snprintf(a->why, sizeof a->why, "%s", detail);
    else
        snprintf(a->why, sizeof a->why, "%s answered with status %ld", a->server, out->status);
    for (char *c = a->why; *c != '\0'; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    return out->status == 404                         ? ERR_MISSING
           : out->status == 409                       ? ERR_BUSY
           : out->status >= 500 && out->status != 507 ? ERR_IO
                                                      : ERR_DENIED;
}

static CURLcode perform(struct admin *a, const struct request *r, struct answer *out, const char *method,
                        const char *url, char curl_text[CURL_ERROR_SIZE])
{
    struct transfer t = {.request = r, .answer = out};
    char *text = r->document ? json_dumps(r->document, JSON_COMPACT) : NULL;
    struct curl_slist *fields;
    CURLcode code;

    curl_easy_reset(a->curl);
    curl_easy_setopt(a->curl, CURLOPT_URL, url);
    curl_easy_setopt(a->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(a->curl, CURLOPT_ERRORBUFFER, curl_text);
    curl_easy_setopt(a->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS_MAX);
    curl_easy_setopt(a->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(a->curl, CURLOPT_LOW_SPEED_TIME, SILENT_SECONDS_MAX);
    curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(a->curl, CURLOPT_HEADERFUNCTION, on_field);
    curl_easy_setopt(a->curl, CURLOPT_HEADERDATA, &t);
    fields = set_request(a, r, &t, text);
    curl_easy_setopt(a->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, fields);
    code = curl_easy_perform(a->curl);
    curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &out->status);
    curl_slist_free_all(fields);
    free(text);
    return code;
}

enum err admin_call(struct admin *a, struct answer *out, const struct request *r, const char *method,
                    const char *path, ...)
{
    static const struct request nothing = {.file = -1};
    char *where = NULL, *url, curl_text[CURL_ERROR_SIZE] = "";
    va_list args;
    CURLcode code;

    *out = (struct answer){.status = 0};
    va_start(args, path);
    if (vasprintf(&where, path, args) < 0)
        where = mem_string("");
    va_end(args);
    url = mem_printf("%s%s", a->server, where);
    code = perform(a, r ? r : &nothing, out, method, url, curl_text);
    if (builder_bytes(&out->body).size > 0)
        out->document =
            json_loadb((const char *)builder_bytes(&out->body).at, builder_bytes(&out->body).size, 0, NULL);
    free(url);
    free(where);
    return explain(a, code, curl_text, out);
}

enum err admin_do(struct admin *a, const char *method, const char *path)
{
    struct answer answer;
    enum err e = admin_call(a, &answer, NULL, method, "%s", path);

    answer_free(&answer);
    return e;
}

/* A member of `items` with its id; what is none of ours ends the list. */
static enum err each_item(struct admin *a, const json_t *items, char last[32],
                          enum err (*each)(struct admin *a, json_t *item, void *ctx), void *ctx)
{
    enum err e = ERR_OK;
    size_t i;
    json_t *item;

    last[0] = '\0';
    json_array_foreach(items, i, item)
    {
        const char *id = json_string_value(json_object_get(item, "id"));

        if (id == NULL || (e = each(a, item, ctx)) != ERR_OK)
            break;
        snprintf(last, 32, "%s", id);
    }
    return e;
}

enum err admin_each(struct admin *a, const char *path,
                    enum err (*each)(struct admin *a, json_t *item, void *ctx), void *ctx)
{
    char last[32] = "";
    enum err e;

    do {
        struct answer answer;

        e = admin_call(a, &answer, NULL, "GET", "%s?limit=500%s%s", path, last[0] ? "&after=" : "", last);
        if (e == ERR_OK)
            e = each_item(a, json_object_get(answer.document, "items"), last, each, ctx);
        answer_free(&answer);
    } while (e == ERR_OK && last[0] != '\0');
    return e;
}
