/* store/s3.c - objects in S3, and in what speaks like it.
 *
 * A put is confirmed by a 200 with a tag that fits the content; the SHA-256 of the whole goes with the object, and a get that does not
 * give the same bytes is no get. A put may be repeated at any time. */
#include "store/s3_int.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* "" or "/": the bucket's own prefix needs no slash behind it. */
#define JOINT(p) ((p)->prefix[0] != '\0' ? "/" : "")

static struct s3 *s3_of(struct store *s)
{
    return (struct s3 *)(void *)s;
}

static char *key_of(const struct s3 *s, const char *name)
{
    return mem_printf("%s%s%s", s->place.prefix, JOINT(&s->place), name);
}

static void s3_close(struct store *store)
{
    struct s3 *s = s3_of(store);

    remote_drop(&s->remote);
    s3_place_drop(&s->place);
    pthread_mutex_destroy(&s->lock);
    OPENSSL_cleanse(&s->credentials, sizeof s->credentials);
    free(s);
}

static enum err put_whole(struct s3 *s, const char *key, struct bytes content, const char *hash)
{
    struct s3_md5 md5;
    const struct s3_request r = {
        .method = "PUT", .key = key, .body = content, .creates = true, .hash = hash, .md5 = md5.base64};
    struct s3_answer a;
    enum err e;

    s3_md5(&md5, content);
    e = s3_call_well(s, &r, &a);

    if (e == ERR_OK && a.tag[0] == '\0')
        e = s3_confirm(s, key, content.size, hash);
    else if (e == ERR_OK && !s3_tag_fits(&a, md5.hex)) {
        log_warn("store", "S3 took %s and names another content", key);
        e = ERR_IO;
    }
    s3_answer_drop(&a);
    return e == ERR_MISSING ? ERR_DENIED : e;
}

static enum err s3_put(struct store *store, const char *name, struct bytes content)
{
    struct s3 *s = s3_of(store);
    char *key = key_of(s, name), hash[S3_HASH_SIZE];
    enum err e;

    s3_sha256(content, hash);
    e = content.size > S3_PUT_BYTES_MAX ? s3_put_parts(s, key, content, hash)
                                        : put_whole(s, key, content, hash);
    free(key);
    return e;
}

/* What came is what was put: by our own hash, or, of an object that somebody else copied there, by its tag. */
static bool is_whole(const struct s3_answer *a)
{
    char hash[S3_HASH_SIZE];
    struct s3_md5 md5;
    struct bytes content = builder_bytes(&a->web.body);

    if (a->web.has_length && content.size != a->web.length)
        return false;
    if (a->hash[0] != '\0')
        return strcasecmp(a->hash, s3_sha256(content, hash)) == 0;
    if (strchr(a->tag, '-') != NULL)
        return true; /* of an object in parts */
    s3_md5(&md5, content);
    return s3_tag_fits(a, md5.hex);
}

static enum err s3_get(struct store *store, const char *name, struct buffer **out)
{
    struct s3 *s = s3_of(store);
    char *key = key_of(s, name);
    const struct s3_request r = {.method = "GET", .key = key, .answer_bytes_max = STORE_OBJECT_BYTES_MAX};
    enum err e = ERR_IO;

    for (unsigned attempt = 0; attempt < REMOTE_TRIES_MAX && e == ERR_IO && *out == NULL; attempt++) {
        struct s3_answer a;

        e = s3_call_well(s, &r, &a);
        if (e == ERR_OK && is_whole(&a)) {
            *out = builder_finish(&a.web.body);
        } else if (e == ERR_OK) {
            log_warn("store", "S3 gave %zu bytes as %s that are not what was stored",
                     builder_bytes(&a.web.body).size, key);
            e = ERR_IO;
        } else if (a.web.transport != CURLE_OK) {
            attempt = REMOTE_TRIES_MAX; /* that was tried often enough */
        }
        s3_answer_drop(&a);
    }
    free(key);
    return e;
}

static enum err s3_remove(struct store *store, const char *name)
{
    struct s3 *s = s3_of(store);
    char *key = key_of(s, name);
    const struct s3_request r = {.method = "DELETE", .key = key};
    struct s3_answer a;
    enum err e = s3_call_well(s, &r, &a);

    s3_answer_drop(&a);
    free(key);
    return e == ERR_MISSING ? ERR_OK : e;
}

/* --- lists ------------------------------------------------------------------------------------------- */

/* One page of a list, and the request that deletes what is on it. */
struct page {
    const char *prefix;
    struct builder doomed;
    size_t count;
    bool more, foreign;
    char token[S3_XML_TEXT_SIZE];
};

static void on_listed(void *ctx, const char *path, const char *text)
{
    struct page *p = ctx;

    if (strcmp(path, "ListBucketResult/IsTruncated") == 0) {
        p->more = strcmp(text, "true") == 0;
    } else if (strcmp(path, "ListBucketResult/NextContinuationToken") == 0) {
        snprintf(p->token, sizeof p->token, "%s", text);
    } else if (strcmp(path, "ListBucketResult/Contents/Key") == 0) {
        /* Only what is ours is deleted, whatever a list says; good names need no quoting in XML. */
        if (strncmp(text, p->prefix, strlen(p->prefix)) == 0 && store_name_is_good(text)) {
            builder_printf(&p->doomed, "<Object><Key>%s</Key></Object>", text);
            p->count++;
        } else {
            p->foreign = true;
        }
    }
}

/* The page behind the one that `p` is, or the first one. */
static enum err list_page(struct s3 *s, struct page *p)
{
    char token[S3_XML_TEXT_SIZE];
    struct s3_request r = {.method = "GET",
                           .parameters = {{"list-type", "2"}, {"prefix", p->prefix}},
                           .parameter_count = 2,
                           .answer_bytes_max = S3_XML_BYTES_MAX};
    struct s3_answer a;
    enum err e;

    memcpy(token, p->token, sizeof token);
    if (token[0] != '\0')
        r.parameters[r.parameter_count++] = (struct s3_pair){"continuation-token", token};
    builder_drop(&p->doomed);
    *p = (struct page){.prefix = p->prefix};
    builder_text(&p->doomed, "<Delete><Quiet>true</Quiet>");
    e = s3_call_well(s, &r, &a);
    if (e == ERR_OK && s3_xml_read(builder_bytes(&a.web.body), on_listed, p) != ERR_OK)
        e = ERR_IO;
    builder_text(&p->doomed, "</Delete>");
    s3_answer_drop(&a);
    return e == ERR_MISSING ? ERR_DENIED : e;
}

static void on_not_deleted(void *ctx, const char *path, const char *text)
{
    bool *good = ctx;

    if (strcmp(path, "DeleteResult/Error/Code") == 0 && strcmp(text, "NoSuchKey") != 0)
        *good = false;
}

static enum err delete_page(struct s3 *s, const struct page *p)
{
    const struct s3_request r = {.method = "POST",
                                 .parameters = {{"delete", ""}},
                                 .parameter_count = 1,
                                 .body = builder_bytes(&p->doomed)};
    struct s3_answer a;
    bool good = true;
    enum err e = s3_call_well(s, &r, &a);

    if (e == ERR_OK && (s3_xml_read(builder_bytes(&a.web.body), on_not_deleted, &good) != ERR_OK || !good))
        e = ERR_IO;
    s3_answer_drop(&a);
    return e;
}

static enum err s3_remove_all(struct store *store, const char *prefix)
{
    struct s3 *s = s3_of(store);
    char *key = key_of(s, prefix), *below = mem_printf("%s/", key);
    struct page p = {.prefix = below};
    enum err e;

    do {
        e = list_page(s, &p);
        if (e == ERR_OK && p.foreign)
            log_warn("store", "S3 lists below %s what does not belong there; it is left alone", below);
        if (e == ERR_OK && p.count > 0)
            e = delete_page(s, &p);
    } while (e == ERR_OK && p.more && p.token[0] != '\0');
    builder_drop(&p.doomed);
    free(below);
    free(key);
    return e;
}

/* --- opening ----------------------------------------------------------------------------------------- */

static void explain(const struct s3 *s, const struct s3_answer *a, char why[256])
{
    const struct s3_place *p = &s->place;

    if (a->web.transport != CURLE_OK)
        snprintf(why, 256, "--storage: %s://%.80s does not answer: %.80s", p->scheme, p->host,
                 a->web.message);
    else if (a->region[0] != '\0' && strcmp(a->region, p->region) != 0)
        snprintf(why, 256, "--storage: the bucket %.63s is in region %.40s; say region=%.40s", p->bucket,
                 a->region, a->region);
    else if (s3_judge(a) == S3_NO_BUCKET || s3_judge(a) == S3_MISSING)
        snprintf(why, 256, "--storage: there is no bucket %.63s at %.80s; make it first", p->bucket, p->host);
    else
        snprintf(why, 256, "--storage: %.60s refuses the bucket %.63s: %ld %.40s", p->host, p->bucket,
                 a->web.status, a->code);
}

/* One key of ours, if there is one: whether the bucket is there, answers, and knows us. Below our prefix, for we may have no
 * right to look elsewhere. */
static enum err look(struct s3 *s, char why[256])
{
    const struct s3_request r = {
        .method = "GET",
        .parameters = {{"list-type", "2"}, {"max-keys", "1"}, {"prefix", s->place.prefix}},
        .parameter_count = 3,
        .answer_bytes_max = S3_XML_BYTES_MAX};
    struct s3_answer a;
    enum err e = s3_call_well(s, &r, &a);

    if (e != ERR_OK)
        explain(s, &a, why);
    if (e != ERR_OK && s3_judge(&a) == S3_AGAIN)
        e = remote_is_away(&a.web) ? ERR_BUSY : ERR_IO;
    s3_answer_drop(&a);
    return e;
}

enum err store_s3_open(struct store **out, const char *url, char why[256])
{
    static const struct store_kind kind = {true, s3_close, s3_put, s3_get, s3_remove, s3_remove_all};
    struct s3 *s = mem_new(sizeof *s);
    enum err e;

    *out = NULL;
    s->store.kind = &kind;
    pthread_mutex_init(&s->lock, NULL);
    remote_init(&s->remote, &s->store);
    if ((e = s3_place_parse(&s->place, url, why)) == ERR_OK &&
        (e = s3_credentials_read(&s->credentials, s->place.credentials_file, s->place.profile, why)) ==
            ERR_OK) {
        s->remote.authority_file = s->place.authority_file;
        e = look(s, why);
    }
    if (e == ERR_OK || e == ERR_BUSY)
        *out = &s->store;
    else
        s3_close(&s->store);
    return e;
}
