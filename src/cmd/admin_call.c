/* cmd/admin_call.c - one HTTP call of the administration commands, by libcurl. */
#include "cmd/admin_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One call under way. */
struct transfer {
    struct admin *admin;
    const struct request *request;
    struct answer *answer;
    uint64_t moved;
    char broke[128]; /* what of our own files ended it; "" */
    char curl_text[CURL_ERROR_SIZE];
};

void answer_free(struct answer *a)
{
    json_decref(a->document);
    builder_drop(&a->body);
    free(a->range);
    free(a->next);
    *a = (struct answer){.status = 0};
}

void admin_pause(unsigned ms)
{
    (void)poll(NULL, 0, (int)ms);
}

/* --- what libcurl calls -------------------------------------------------------------------------------- */

static void moved(struct transfer *t, size_t size)
{
    t->moved += size;
    if (t->request->moved != NULL)
        t->request->moved(t->request->ctx, t->moved);
}

/* False: the disk refused it. */
static bool write_sink(struct transfer *t, struct bytes piece)
{
    while (piece.size > 0) {
        ssize_t n = write(t->request->sink, piece.at, piece.size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            snprintf(t->broke, sizeof t->broke, "it cannot be written: %s", strerror(errno));
            return false;
        }
        piece = bytes_from(piece, (size_t)n);
        moved(t, (size_t)n);
    }
    return true;
}

static size_t on_body(char *at, size_t one, size_t size, void *ctx)
{
    struct transfer *t = ctx;
    long status = 0;

    curl_easy_getinfo(t->admin->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->request->has_sink && status == 200) /* a refusal is for us, not for the file */
        return write_sink(t, bytes_of(at, size)) ? size : 0;
    if (builder_bytes(&t->answer->body).size + size > ADMIN_ANSWER_BYTES_MAX) {
        snprintf(t->broke, sizeof t->broke, "the answer is longer than %d bytes", ADMIN_ANSWER_BYTES_MAX);
        return 0;
    }
    builder_add(&t->answer->body, bytes_of(at, size));
    return size;
}

/* The value of a header line if it is called `name`, to be given to free(); NULL. */
static char *field_value(struct bytes line, const char *name)
{
    size_t from = strlen(name);

    if (!bytes_is_nocase(bytes_head(line, from), name) || line.size <= from || line.at[from] != ':')
        return NULL;
    line = bytes_from(line, from + 1);
    while (line.size > 0 && line.at[0] == ' ')
        line = bytes_from(line, 1);
    while (line.size > 0 && (line.at[line.size - 1] == '\r' || line.at[line.size - 1] == '\n'))
        line.size--;
    return mem_text(line.at, line.size);
}

/* The target in `</api/v1/events?limit=100&after=X>; rel="next"`; other targets than our own paths are none. */
static char *next_target(const char *link)
{
    const char *end = link[0] == '<' && link[1] == '/' ? strchr(link, '>') : NULL;

    return end != NULL && strstr(end, "rel=\"next\"") != NULL ? mem_text(link + 1, (size_t)(end - link - 1))
                                                              : NULL;
}

static size_t on_field(char *at, size_t one, size_t size, void *ctx)
{
    struct transfer *t = ctx;
    struct bytes line = bytes_of(at, size);
    char *value;

    t->admin->was_answered = true;
    if (t->answer->range == NULL)
        t->answer->range = field_value(line, "Range");
    if (t->answer->next == NULL && (value = field_value(line, "Link")) != NULL) {
        t->answer->next = next_target(value);
        free(value);
    }
    return size;
}

static size_t on_want(char *to, size_t one, size_t room, void *ctx)
{
    struct transfer *t = ctx;
    const struct request *r = t->request;
    uint64_t left = r->size - t->moved;
    ssize_t n = 0;

    if (left > 0)
        n = pread(r->file, to, left < room ? (size_t)left : room, (off_t)(r->from + t->moved));
    if (n < 0 || (n == 0 && left > 0)) {
        snprintf(t->broke, sizeof t->broke, "%s",
                 n < 0 ? strerror(errno) : "the file became shorter while it was sent");
        return CURL_READFUNC_ABORT;
    }
    moved(t, (size_t)n);
    return (size_t)n;
}

/* --- the request --------------------------------------------------------------------------------------- */

static struct curl_slist *add_field(struct curl_slist *fields, const char *name, const char *value)
{
    char *line = mem_printf("%s: %s", name, value);

    fields = curl_slist_append(fields, line);
    free(line);
    return fields;
}

/* The body, and the header fields. */
static struct curl_slist *set_request(struct transfer *t, const char *text)
{
    const struct request *r = t->request;
    CURL *curl = t->admin->curl;
    struct curl_slist *fields = curl_slist_append(NULL, "Expect:"); /* nobody waits for 100 Continue */

    if (t->admin->authorization != NULL)
        fields = curl_slist_append(fields, t->admin->authorization);
    if (r->range != NULL)
        fields = add_field(fields, "Content-Range", r->range);
    if (text != NULL) {
        fields =
            add_field(fields, "Content-Type", r->lines != NULL ? "application/x-ndjson" : "application/json");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
    } else if (r->has_file) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->size);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_want);
        curl_easy_setopt(curl, CURLOPT_READDATA, t); /* no way back: libcurl would send it all again */
    }
    if (text == NULL)
        fields = curl_slist_append(fields, "Content-Type:"); /* libcurl takes a body for a form's */
    return fields;
}

static void set_connection(struct transfer *t, const char *method, const char *url)
{
    struct admin *a = t->admin;

    curl_easy_reset(a->curl); /* connections stay open */
    curl_easy_setopt(a->curl, CURLOPT_URL, url);
    curl_easy_setopt(a->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(a->curl, CURLOPT_ERRORBUFFER, t->curl_text);
    curl_easy_setopt(a->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS_MAX);
    curl_easy_setopt(a->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(a->curl, CURLOPT_LOW_SPEED_TIME, ADMIN_SILENCE_SECONDS_MAX);
    curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(a->curl, CURLOPT_HEADERFUNCTION, on_field);
    curl_easy_setopt(a->curl, CURLOPT_HEADERDATA, t);
    if (config_text(a->options, "cacert") != NULL)
        curl_easy_setopt(a->curl, CURLOPT_CAINFO, config_text(a->options, "cacert"));
    if (a->is_loopback)
        curl_easy_setopt(a->curl, CURLOPT_NOPROXY, "*");
    if (strcmp(method, "POST") == 0)
        curl_easy_setopt(a->curl, CURLOPT_POSTFIELDS,
                         ""); /* a body of no bytes; set_request() may know better */
}

static CURLcode perform(struct transfer *t, const char *method, const char *path)
{
    char *url = mem_printf("%s%s", t->admin->server, path);
    char *text = t->request->document ? json_dumps(t->request->document, JSON_COMPACT)
                 : t->request->lines  ? mem_string(t->request->lines)
                                      : NULL;
    struct curl_slist *fields;
    CURLcode code;

    set_connection(t, method, url);
    fields = set_request(t, text);
    curl_easy_setopt(t->admin->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(t->admin->curl, CURLOPT_HTTPHEADER, fields);
    code = curl_easy_perform(t->admin->curl);
    curl_easy_getinfo(t->admin->curl, CURLINFO_RESPONSE_CODE, &t->answer->status);
    curl_slist_free_all(fields);
    free(text);
    free(url);
    return code;
}

/* --- the answer ---------------------------------------------------------------------------------------- */

/* The call did not come to its end. */
static enum err explain_break(const struct transfer *t, CURLcode code)
{
    struct admin *a = t->admin;
    const char *reason = t->curl_text[0] ? t->curl_text : curl_easy_strerror(code);

    if (t->broke[0] != '\0') {
        snprintf(a->why, sizeof a->why, "%s", t->broke);
        return ERR_BAD;
    }
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        snprintf(a->why, sizeof a->why,
                 "the certificate of %s is not trusted (%.200s); --cacert FILE names one to trust", a->server,
                 reason);
    else if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        snprintf(a->why, sizeof a->why,
                 "no server was reached at %s (%.200s); is 'matinee serve' running there? --server URL or "
                 "MATINEE_SERVER names another",
                 a->server, reason);
    else
        snprintf(a->why, sizeof a->why, "the connection to %s broke: %.200s", a->server, reason);
    return ERR_IO;
}

/* Whatever answers at this address, it is some other program. */
static enum err explain_stranger(struct admin *a, const struct answer *out)
{
    snprintf(a->why, sizeof a->why, "%s answered %ld, and not as a matinee server does", a->server,
             out->status);
    return ERR_DENIED;
}

/* Where the last answer would have us go, or NULL. */
static const char *redirection(const struct admin *a)
{
    const char *target = NULL;

    curl_easy_getinfo(a->curl, CURLINFO_REDIRECT_URL, &target);
    return target;
}

/* The server has refused. */
static enum err explain_refusal(struct admin *a, const struct answer *out)
{
    const char *detail = text_of(out->document, "detail"), *elsewhere = redirection(a);

    if (elsewhere != NULL) { /* not followed: the token is for the server that was named */
        snprintf(a->why, sizeof a->why, "%s sends us on to %.300s; if that is right, name it with --server",
                 a->server, elsewhere);
        return ERR_DENIED;
    }
    if (detail == NULL && out->status < 500)
        return explain_stranger(a, out);
    if (detail == NULL)
        snprintf(a->why, sizeof a->why, "%s answered %ld", a->server, out->status);
    else if (out->status == 401)
        snprintf(a->why, sizeof a->why,
                 "%.400s --token-file FILE names it to this command, or MATINEE_TOKEN has it.", detail);
    else
        snprintf(a->why, sizeof a->why, "%.600s", detail);
    for (char *c = a->why; *c != '\0'; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    switch (out->status) {
    case 404:
        return ERR_MISSING;
    case 409:
        return ERR_BUSY;
    case 429:
        return ERR_IO;
    case 507:
        return ERR_FULL;
    default:
        return out->status >= 500 ? ERR_IO : ERR_DENIED;
    }
}

/* Whether a good answer is one of the kind that was asked for. */
static bool is_expected(const struct transfer *t)
{
    const struct request *r = t->request;
    const char *type = NULL;

    curl_easy_getinfo(t->admin->curl, CURLINFO_CONTENT_TYPE, &type);
    return (r->wants == NULL || json_object_get(t->answer->document, r->wants) != NULL) &&
           (r->type == NULL || (type != NULL && strncmp(type, r->type, strlen(r->type)) == 0));
}

enum err admin_call(struct admin *a, struct answer *out, const struct request *r, const char *method,
                    const char *path, ...)
{
    static const struct request nothing = {.file = -1};
    struct transfer t = {.admin = a, .request = r ? r : &nothing, .answer = out};
    struct bytes body;
    char *where = NULL;
    va_list args;
    CURLcode code;

    *out = (struct answer){.status = 0};
    va_start(args, path);
    if (vasprintf(&where, path, args) < 0)
        where = mem_string("/");
    va_end(args);
    code = perform(&t, method, where);
    free(where);
    body = builder_bytes(&out->body);
    if (body.size > 0)
        out->document = json_loadb((const char *)body.at, body.size, 0, NULL);
    if (code != CURLE_OK && out->status < 400) /* one that refuses need not have read all that we sent */
        return explain_break(&t, code);
    if (out->status == 308 && t.request->has_file &&
        redirection(a) == NULL) /* of an upload: more is wanted */
        return ERR_OK;
    if (out->status < 200 || out->status >= 300)
        return explain_refusal(a, out);
    return is_expected(&t) ? ERR_OK : explain_stranger(a, out);
}

enum err admin_pages(struct admin *a, const char *path,
                     enum err (*page)(struct admin *a, const struct answer *answer, void *ctx), void *ctx)
{
    static const struct request list = {.wants = "items"};
    char *next = mem_printf("%s%climit=500", path, strchr(path, '?') != NULL ? '&' : '?');
    enum err e = ERR_OK;

    while (e == ERR_OK && next != NULL) {
        struct answer answer;

        e = admin_call(a, &answer, &list, "GET", "%s", next);
        if (e == ERR_OK)
            e = page(a, &answer, ctx);
        free(next);
        next = answer.next;
        answer.next = NULL;
        answer_free(&answer);
    }
    free(next);
    return e;
}
