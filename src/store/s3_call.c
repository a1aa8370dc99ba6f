/* store/s3_call.c - one signed request and its answer. What an answer says is only noted here: s3_retry.c judges it. */
#include "store/s3_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

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

/* The headers of the message, signed. */
static struct curl_slist *sign(struct s3 *s, const struct s3_request *r, const char *path)
{
    const struct s3_place *p = &s->place;
    struct curl_slist *list = NULL;
    struct s3_credentials c;
    char hash[S3_HASH_SIZE], date[S3_DATE_SIZE], authorization[S3_AUTHORIZATION_SIZE];
    struct s3_pair headers[S3_HEADERS_MAX];
    struct s3_md5 md5;
    size_t n = 0;

    pthread_mutex_lock(&s->lock);
    c = s->credentials;
    s3_date(clock_wall_ms() + s->clock_offset_ms, date);
    pthread_mutex_unlock(&s->lock);
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
        if (r->md5 == NULL)
            s3_md5(&md5, r->body);
        headers[n++] = (struct s3_pair){"content-md5", r->md5 ? r->md5 : md5.base64};
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

    list = remote_header(list, "authorization", s3_sign(authorization, &m, &c, p->region, "s3", date));
    for (size_t i = 0; i < n; i++)
        list = remote_header(list, headers[i].name, headers[i].value);
    OPENSSL_cleanse(&c, sizeof c);
    return list;
}

/* --- what comes back --------------------------------------------------------------------------------- */

static void on_header(void *ctx, struct bytes line)
{
    struct s3_answer *a = ctx;

    if (bytes_starts(line, "HTTP/")) /* what stood before was 100 Continue */
        a->tag[0] = a->hash[0] = a->encryption[0] = a->region[0] = '\0';
    else if (!remote_header_is(line, "etag", a->tag, sizeof a->tag) &&
             !remote_header_is(line, "x-amz-meta-sha256", a->hash, sizeof a->hash) &&
             !remote_header_is(line, "x-amz-server-side-encryption", a->encryption, sizeof a->encryption))
        (void)remote_header_is(line, "x-amz-bucket-region", a->region, sizeof a->region);
}

static void on_error_element(void *ctx, const char *path, const char *text)
{
    struct s3_answer *a = ctx;

    if (strcmp(path, "Error/Code") == 0)
        snprintf(a->code, sizeof a->code, "%s", text);
    else if (strcmp(path, "Error/Message") == 0)
        snprintf(a->web.message, sizeof a->web.message, "%s", text);
    else if (strcmp(path, "Error/Region") == 0)
        snprintf(a->region, sizeof a->region, "%s", text);
}

/* --- the exchange ------------------------------------------------------------------------------------ */

void s3_call(struct s3 *s, const struct s3_request *r, struct s3_answer *out)
{
    char *path = path_of(&s->place, r->key), *url = url_of(&s->place, path, r);
    struct remote_request q = {.method = r->method,
                               .url = url,
                               .headers = sign(s, r, path),
                               .body = r->body,
                               .answer_bytes_max = r->answer_bytes_max,
                               .header = on_header,
                               .ctx = out};

    *out = (struct s3_answer){0};
    if (q.answer_bytes_max < S3_XML_BYTES_MAX)
        q.answer_bytes_max = S3_XML_BYTES_MAX;
    q.headers = remote_header(q.headers, "Expect", ""); /* asking first would cost each object a round trip */
    q.headers = remote_header(q.headers, "Accept", "*/*");
    remote_call(&s->remote, &q, &out->web);
    if (out->web.transport == CURLE_OK && (out->web.status >= 300 || strcmp(r->method, "POST") == 0) &&
        s3_xml_read(builder_bytes(&out->web.body), on_error_element, out) != ERR_OK)
        out->code[0] = '\0'; /* a proxy's page: the status has to do */
    curl_slist_free_all(q.headers);
    free(path);
    free(url);
}

void s3_answer_drop(struct s3_answer *a)
{
    remote_answer_drop(&a->web);
}
