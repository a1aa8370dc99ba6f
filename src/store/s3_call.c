/* store/s3_call.c - one signed request and its answer, over libcurl.
 *
 * Whoever calls blocks; many may at once, each with a handle of its own that keeps its connection for the next. What an answer
 * says is only noted here: s3_retry.c judges it. */
#include "store/s3_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define TIME_TEXT_SIZE 64

/* A request while it is under way. */
struct exchange {
    struct s3 *s3;
    const struct s3_request *request;
    struct s3_answer *answer;
    struct bytes left; /* of the body */
    struct curl_slist *headers;
    bool too_large;
};

/* --- handles ----------------------------------------------------------------------------------------- */

static CURL *handle_take(struct s3 *s)
{
    CURL *h = NULL;

    pthread_mutex_lock(&s->lock);
    if (s->idle_count > 0)
        h = s->idle[--s->idle_count];
    pthread_mutex_unlock(&s->lock);
    if (h == NULL && (h = curl_easy_init()) == NULL)
        abort(); /* for want of memory (base/mem.h) */
    return h;
}

static void handle_give(struct s3 *s, CURL *h)
{
    curl_easy_reset(h); /* keeps its connection */
    pthread_mutex_lock(&s->lock);
    bool keep = s->idle_count < S3_CONNECTIONS_IDLE_MAX;

    if (keep)
        s->idle[s->idle_count++] = h;
    pthread_mutex_unlock(&s->lock);
    if (!keep)
        curl_easy_cleanup(h);
}

/* --- what goes out ----------------------------------------------------------------------------------- */

static char *path_of(const struct s3_place *p, const char *key)
{
    return mem_printf("/%s%s%s", p->path_style ? p->bucket : "", p->path_style && key ? "/" : "",
                      key ? key : "");
}

static char *url_of(const struct s3_place *p, const char *path, const struct s3_request *r)
{
    struct builder b = {0};
    char *url;

    builder_printf(&b, "%s://%s", p->scheme, p->host);
    s3_encode(&b, path, false);
    builder_text(&b, r->parameter_count > 0 ? "?" : "");
    s3_query(&b, r->parameters, r->parameter_count);
    url = mem_text(builder_bytes(&b).at, builder_bytes(&b).size);
    builder_drop(&b);
    return url;
}

static void header(struct exchange *x, const char *name, const char *value)
{
    char *line = mem_printf("%s: %s", name, value);
    struct curl_slist *more = curl_slist_append(x->headers, line);

    if (more == NULL)
        abort(); /* for want of memory */
    x->headers = more;
    free(line);
}

/* The headers of the message, signed. */
static void sign(struct exchange *x, const char *path)
{
    const struct s3_request *r = x->request;
    const struct s3_place *p = &x->s3->place;
    struct s3_credentials c;
    char hash[S3_HASH_SIZE], md5[S3_MD5_SIZE], md5_base64[25], date[S3_DATE_SIZE],
        authorization[S3_AUTHORIZATION_SIZE];
    struct s3_pair headers[S3_HEADERS_MAX];
    size_t n = 0;

    pthread_mutex_lock(&x->s3->lock);
    c = x->s3->credentials;
    s3_date(clock_wall_ms() + x->s3->clock_offset_ms, date);
    pthread_mutex_unlock(&x->s3->lock);
    if (r->creates && r->body.size > 0)
        memcpy(hash, r->hash, sizeof hash); /* the whole object is the body */
    else
        s3_sha256(r->body, hash);
    headers[n++] = (struct s3_pair){"host", p->host};
    headers[n++] = (struct s3_pair){"x-amz-content-sha256", hash};
    headers[n++] = (struct s3_pair){"x-amz-date", date};
    if (c.token[0] != '\0')
        headers[n++] = (struct s3_pair){"x-amz-security-token", c.token};
    if (r->body.size > 0) {
        s3_md5(r->body, md5, md5_base64);
        headers[n++] = (struct s3_pair){"content-md5", md5_base64};
    }
    if (r->creates) {
        headers[n++] = (struct s3_pair){"content-type", "application/octet-stream"};
        headers[n++] = (struct s3_pair){"x-amz-meta-sha256", r->hash};
        if (p->encryption != NULL)
            headers[n++] = (struct s3_pair){"x-amz-server-side-encryption", p->encryption};
        if (p->encryption_key != NULL)
            headers[n++] = (struct s3_pair){"x-amz-server-side-encryption-aws-kms-key-id", p->encryption_key};
    }

    const struct s3_message m = {r->method, path, r->parameters, r->parameter_count, headers, n, hash};

    header(x, "authorization", s3_sign(authorization, &m, &c, p->region, "s3", date));
    for (size_t i = 0; i < n; i++)
        header(x, headers[i].name, headers[i].value);
    OPENSSL_cleanse(&c, sizeof c);
}

static size_t on_send(char *to, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    struct bytes piece = bytes_head(x->left, size * count);

    if (piece.size > 0)
        memcpy(to, piece.at, piece.size);
    x->left = bytes_from(x->left, piece.size);
    return piece.size;
}

/* curl sends again from the beginning where a kept connection turns out to be dead. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct exchange *x = ctx;

    if (origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_FAIL;
    x->left = bytes_from(x->request->body, (size_t)offset);
    return CURL_SEEKFUNC_OK;
}

/* --- what comes back --------------------------------------------------------------------------------- */

static size_t on_body(char *from, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    struct s3_answer *a = x->answer;
    size_t have = builder_bytes(&a->body).size;

    size *= count;
    if (size > a->body_max - have) {
        x->too_large = true;
        return 0;
    }
    /* Room for all of it at once: growing to megabytes by doubling would copy each byte twice. */
    if (have == 0 && a->has_length && a->length <= a->body_max)
        a->body.buffer = buffer_new((size_t)a->length);
    builder_add(&a->body, bytes_of(from, size));
    return size;
}

/* The text behind "NAME:" of a header line, or false. */
static bool header_is(struct bytes line, const char *name, char *value, size_t room)
{
    size_t size = strlen(name);

    if (line.size <= size || line.at[size] != ':' || strncasecmp((const char *)line.at, name, size) != 0)
        return false;
    line = bytes_from(line, size + 1);
    while (line.size > 0 && (line.at[0] == ' ' || line.at[0] == '"'))
        line = bytes_from(line, 1);
    while (line.size > 0 && strchr("\r\n \"", line.at[line.size - 1]) != NULL)
        line.size--;
    snprintf(value, room, "%.*s", (int)(line.size < room ? line.size : room),
             line.size > 0 ? (const char *)line.at : "");
    return true;
}

static size_t on_header(char *from, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    struct s3_answer *a = x->answer;
    struct bytes line = bytes_of(from, size * count);
    char text[TIME_TEXT_SIZE];

    if (bytes_starts(line, "HTTP/")) { /* what stood before was 100 Continue */
        a->tag[0] = a->hash[0] = a->encryption[0] = a->region[0] = '\0';
        a->has_length = false;
    } else if (header_is(line, "date", text, sizeof text)) {
        time_t at = curl_getdate(text, NULL);

        a->date_ms = at > 0 ? (int64_t)at * 1000 : 0;
    } else if (header_is(line, "content-length", text, sizeof text)) {
        a->has_length = bytes_to_u64(bytes_text(text), INT64_MAX, &a->length);
    } else if (!header_is(line, "etag", a->tag, sizeof a->tag) &&
               !header_is(line, "x-amz-meta-sha256", a->hash, sizeof a->hash) &&
               !header_is(line, "x-amz-server-side-encryption", a->encryption, sizeof a->encryption)) {
        (void)header_is(line, "x-amz-bucket-region", a->region, sizeof a->region);
    }
    return line.size;
}

/* Not zero: the house closes, and this has taken its time. */
static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    const struct exchange *x = ctx;
    int64_t closing_ms = atomic_load(&x->s3->store.closing_ms);

    return closing_ms != 0 && clock_mono_ms() - closing_ms > STORE_CLOSING_MS_MAX;
}

static void on_error_element(void *ctx, const char *path, const char *text)
{
    struct s3_answer *a = ctx;

    if (strcmp(path, "Error/Code") == 0)
        snprintf(a->code, sizeof a->code, "%s", text);
    else if (strcmp(path, "Error/Message") == 0)
        snprintf(a->message, sizeof a->message, "%s", text);
    else if (strcmp(path, "Error/Region") == 0)
        snprintf(a->region, sizeof a->region, "%s", text);
}

/* --- the exchange ------------------------------------------------------------------------------------ */

static void set_up(CURL *h, struct exchange *x, const char *url)
{
    const struct s3_request *r = x->request;
    size_t bytes = r->body.size > r->answer_bytes_max ? r->body.size : r->answer_bytes_max;

    curl_easy_setopt(h, CURLOPT_URL, url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION,
                     (long)CURL_HTTP_VERSION_1_1); /* one connection a handle: nothing to multiplex */
    curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)S3_CONNECT_MS_MAX);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, (long)S3_SILENCE_SECONDS_MAX);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)(S3_ANSWER_MS_MAX + bytes / S3_BYTES_A_MS_MIN));
    curl_easy_setopt(h, CURLOPT_BUFFERSIZE, (long)S3_BUFFER_BYTES);
    curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, (long)S3_BUFFER_BYTES);
    if (x->s3->place.authority_file != NULL)
        curl_easy_setopt(h, CURLOPT_CAINFO, x->s3->place.authority_file);
    if (r->body.size > 0 || strcmp(r->method, "PUT") == 0) {
        curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body.size);
        curl_easy_setopt(h, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(h, CURLOPT_READDATA, x);
        curl_easy_setopt(h, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(h, CURLOPT_SEEKDATA, x);
    } else if (strcmp(r->method, "POST") == 0) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, "");
    }
    if (strcmp(r->method, "HEAD") == 0)
        curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, r->method);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, x->headers);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, x);
}

void s3_call(struct s3 *s, const struct s3_request *r, struct s3_answer *out)
{
    struct exchange x = {.s3 = s, .request = r, .answer = out, .left = r->body};
    char *path = path_of(&s->place, r->key), *url = url_of(&s->place, path, r);
    CURL *h = handle_take(s);

    *out = (struct s3_answer){.body_max = r->answer_bytes_max > S3_XML_BYTES_MAX ? r->answer_bytes_max
                                                                                 : S3_XML_BYTES_MAX};
    sign(&x, path);
    header(&x, "Expect", ""); /* asking first would cost each object a round trip */
    header(&x, "Accept", "*/*");
    set_up(h, &x, url);
    out->transport = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &out->status);
    if (out->transport == CURLE_OK && (out->status >= 300 || strcmp(r->method, "POST") == 0) &&
        s3_xml_read(builder_bytes(&out->body), on_error_element, out) != ERR_OK)
        out->code[0] = '\0'; /* a proxy's page: the status has to do */
    if (out->transport != CURLE_OK)
        snprintf(out->message, sizeof out->message, "%s",
                 x.too_large ? "the answer is too large" : curl_easy_strerror(out->transport));
    curl_slist_free_all(x.headers);
    handle_give(s, h);
    free(path);
    free(url);
}

void s3_answer_drop(struct s3_answer *a)
{
    builder_drop(&a->body);
}
