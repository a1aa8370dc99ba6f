/* cmd/edge_check_fetch.c - requests of edge-check, one or many at once; see edge_check_int.h. */
#include "cmd/edge_check_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One question under way. */
struct transfer {
    struct edge_reply *reply;
    struct curl_slist *fields;
    char error[CURL_ERROR_SIZE];
};

void edge_reply_free(struct edge_reply *r)
{
    builder_drop(&r->body);
    *r = (struct edge_reply){.status = 0};
}

const char *edge_text(struct edge_reply *r)
{
    builder_u8(&r->body, '\0');
    return (const char *)builder_bytes(&r->body).at;
}

/* --- what libcurl calls --------------------------------------------------------------------------------- */

static size_t on_body(char *at, size_t one, size_t size, void *ctx)
{
    struct edge_reply *r = ctx;

    if (builder_bytes(&r->body).size + size > EDGE_CHECK_BYTES_MAX)
        return 0;
    builder_add(&r->body, bytes_of(at, size));
    return size;
}

/* Keeps the value of a header line, if it is called `name`. */
static void keep(struct bytes line, const char *name, char to[EDGE_FIELD_SIZE])
{
    size_t size = strlen(name);

    if (line.size <= size || line.at[size] != ':' || !bytes_is_nocase(bytes_head(line, size), name))
        return;
    line = bytes_from(line, size + 1);
    while (line.size > 0 && line.at[0] == ' ')
        line = bytes_from(line, 1);
    while (line.size > 0 && (line.at[line.size - 1] == '\r' || line.at[line.size - 1] == '\n'))
        line.size--;
    snprintf(to, EDGE_FIELD_SIZE, "%.*s", (int)line.size, (const char *)line.at);
}

static size_t on_field(char *at, size_t one, size_t size, void *ctx)
{
    struct edge_reply *r = ctx;
    struct bytes line = bytes_of(at, size);

    keep(line, "Matinee-Answer", r->number);
    keep(line, "Matinee-Access", r->access);
    keep(line, "Cache-Control", r->cache_control);
    keep(line, "Content-Encoding", r->encoding);
    keep(line, "Content-Range", r->range);
    keep(line, "ETag", r->etag);
    keep(line, "Access-Control-Allow-Origin", r->origins);
    keep(line, "Access-Control-Allow-Headers", r->headers);
    return size;
}

/* --- one transfer --------------------------------------------------------------------------------------- */

static struct curl_slist *fields_of(const struct edge_check *c, const struct edge_ask *ask)
{
    struct curl_slist *fields = NULL;

    for (size_t i = 0; i < sizeof ask->fields / sizeof *ask->fields && ask->fields[i] != NULL; i++)
        fields = curl_slist_append(fields, ask->fields[i]);
    if (c->token != NULL && !ask->anonymous) {
        char *line = mem_printf("Authorization: Bearer %s", c->token);

        fields = curl_slist_append(fields, line);
        free(line);
    }
    return fields;
}

static void prepare(const struct edge_check *c, CURL *curl, struct transfer *t, const struct edge_ask *ask)
{
    char *url = mem_printf("%s%s", ask->server ? ask->server : c->server, ask->path);
    const char *cacert = config_text(c->options, "cacert");

    curl_easy_reset(curl); /* connections stay open */
    t->fields = fields_of(c, ask);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, EDGE_CHECK_CONNECT_MS_MAX);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, EDGE_CHECK_ANSWER_MS_MAX);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, t->fields);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t->reply);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_field);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t->reply);
    if (ask->method != NULL)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
    if (cacert != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, cacert);
    if (c->is_loopback)
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    free(url);
}

static void finish(struct edge_check *c, CURL *curl, struct transfer *t, CURLcode code)
{
    if (code == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &t->reply->status);
        curl_easy_getinfo(curl, CURLINFO_HTTP_VERSION, &t->reply->version);
    } else {
        snprintf(c->why, sizeof c->why, "%.200s", t->error[0] ? t->error : curl_easy_strerror(code));
    }
    curl_slist_free_all(t->fields);
}

void edge_fetch(struct edge_check *c, const struct edge_ask *ask, struct edge_reply *out)
{
    struct transfer t = {.reply = out};

    *out = (struct edge_reply){.status = 0};
    prepare(c, c->curl, &t, ask);
    finish(c, c->curl, &t, curl_easy_perform(c->curl));
}

/* --- many at once --------------------------------------------------------------------------------------- */

static void run(CURLM *all)
{
    int running = 1;

    while (running > 0 && curl_multi_perform(all, &running) == CURLM_OK && running > 0)
        if (curl_multi_poll(all, NULL, 0, 1000, NULL) != CURLM_OK)
            break;
}

static CURLcode result_of(CURLM *all, CURL *one, CURLcode *codes, CURL **handles, size_t count)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(all, &left)) != NULL)
        for (size_t i = 0; i < count; i++)
            if (handles[i] == message->easy_handle)
                codes[i] = message->data.result;
    for (size_t i = 0; i < count; i++)
        if (handles[i] == one)
            return codes[i];
    return CURLE_OBSOLETE20;
}

void edge_fetch_many(struct edge_check *c, const struct edge_ask *ask, struct edge_reply *out, size_t count)
{
    struct transfer *transfers = mem_new(count * sizeof *transfers);
    CURL **handles = mem_new(count * sizeof(CURL *));
    CURLcode *codes = mem_new(count * sizeof *codes);
    CURLM *all = curl_multi_init();

    for (size_t i = 0; i < count; i++) {
        out[i] = (struct edge_reply){.status = 0};
        transfers[i].reply = &out[i];
        codes[i] = CURLE_GOT_NOTHING;
        handles[i] = curl_easy_init();
        prepare(c, handles[i], &transfers[i], ask);
        curl_multi_add_handle(all, handles[i]);
    }
    run(all);
    for (size_t i = 0; i < count; i++) {
        finish(c, handles[i], &transfers[i], result_of(all, handles[i], codes, handles, count));
        curl_multi_remove_handle(all, handles[i]);
        curl_easy_cleanup(handles[i]);
    }
    curl_multi_cleanup(all);
    free(transfers);
    free(handles);
    free(codes);
}
