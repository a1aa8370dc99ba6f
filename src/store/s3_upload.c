/* store/s3_upload.c - a large object in parts: each is tried again by itself, and none is an object before all are there. */
#include "store/s3_int.h"

#include "base/limits.h"
#include "base/log.h"

#include <stdio.h>
#include <strings.h>

#define PARTS_MAX   10000 /* S3's own limit */
#define NUMBER_SIZE 8

struct upload {
    struct s3 *s3;
    const char *key;
    char id[S3_XML_TEXT_SIZE];
    struct builder list;    /* the body that completes it */
    struct builder digests; /* of the parts, one behind the other */
};

bool s3_tag_fits(const struct s3_answer *a, const char *md5_hex)
{
    size_t hex = strspn(a->tag, "0123456789abcdefABCDEF");
    bool has_md5 = hex == 32 && (a->tag[hex] == '\0' || a->tag[hex] == '-');

    if (a->tag[0] == '\0')
        return false; /* nothing was confirmed */
    /* Where it is no MD5, by KMS or another's habit, there is nothing to compare. */
    return !has_md5 || strncmp(a->encryption, "aws:kms", 7) == 0 || strcasecmp(a->tag, md5_hex) == 0;
}

enum err s3_confirm(struct s3 *s, const char *key, size_t size, const char *hash)
{
    const struct s3_request r = {.method = "HEAD", .key = key};
    struct s3_answer a;
    enum err e = s3_call_well(s, &r, &a);

    if (e == ERR_OK && (!a.web.has_length || a.web.length != size || strcasecmp(a.hash, hash) != 0))
        e = ERR_IO;
    s3_answer_drop(&a);
    return e == ERR_MISSING ? ERR_IO : e;
}

static void on_begun(void *ctx, const char *path, const char *text)
{
    struct upload *u = ctx;

    if (strcmp(path, "InitiateMultipartUploadResult/UploadId") == 0)
        snprintf(u->id, sizeof u->id, "%s", text);
}

static enum err begin(struct upload *u, const char *hash)
{
    const struct s3_request r = {.method = "POST",
                                 .key = u->key,
                                 .parameters = {{"uploads", ""}},
                                 .parameter_count = 1,
                                 .creates = true,
                                 .hash = hash};
    struct s3_answer a;
    enum err e = s3_call_well(u->s3, &r, &a);

    if (e == ERR_OK && (s3_xml_read(builder_bytes(&a.web.body), on_begun, u) != ERR_OK || u->id[0] == '\0'))
        e = ERR_IO;
    s3_answer_drop(&a);
    return e == ERR_MISSING ? ERR_DENIED : e;
}

static enum err send_part(struct upload *u, unsigned number, struct bytes part)
{
    char text[NUMBER_SIZE];
    struct s3_md5 md5;
    const struct s3_request r = {.method = "PUT",
                                 .key = u->key,
                                 .parameters = {{"partNumber", text}, {"uploadId", u->id}},
                                 .parameter_count = 2,
                                 .body = part,
                                 .md5 = md5.base64};
    struct s3_answer a;
    enum err e;

    s3_md5(&md5, part);
    snprintf(text, sizeof text, "%u", number);
    e = s3_call_well(u->s3, &r, &a);
    if (e == ERR_OK && !s3_tag_fits(&a, md5.hex))
        e = ERR_IO;
    if (e == ERR_OK) {
        /* A tag goes back as it came, but for what would end its element. */
        builder_printf(&u->list, "<Part><PartNumber>%u</PartNumber><ETag>\"%.*s\"</ETag></Part>", number,
                       (int)strcspn(a.tag, "<>&"), a.tag);
        builder_add(&u->digests, bytes_of(md5.raw, sizeof md5.raw));
    }
    s3_answer_drop(&a);
    return e;
}

static void on_completed(void *ctx, const char *path, const char *text)
{
    struct s3_answer *told = ctx;
    size_t quote = strspn(text, "\"");

    if (strcmp(path, "CompleteMultipartUploadResult/ETag") == 0)
        snprintf(told->tag, sizeof told->tag, "%.*s", (int)strcspn(text + quote, "\""), text + quote);
}

static enum err complete(struct upload *u, unsigned parts, size_t size, const char *hash)
{
    struct s3_request r = {
        .method = "POST", .key = u->key, .parameters = {{"uploadId", u->id}}, .parameter_count = 1};
    struct s3_md5 md5;
    char tag[sizeof md5.hex + NUMBER_SIZE];
    struct s3_answer a, told = {0}; /* the tag stands in the body */
    enum err e;

    builder_text(&u->list, "</CompleteMultipartUpload>");
    r.body = builder_bytes(&u->list);
    e = s3_call_well(u->s3, &r, &a);
    if (e == ERR_OK && s3_xml_read(builder_bytes(&a.web.body), on_completed, &told) != ERR_OK)
        e = ERR_IO; /* a 200 whose body was cut says nothing */
    s3_md5(&md5, builder_bytes(&u->digests));
    snprintf(tag, sizeof tag, "%s-%u", md5.hex, parts);
    /* Each part was confirmed; of the whole radosgw 16 says nothing, KMS something else, and s3rver the MD5 of all. */
    if (e == ERR_OK && strcasecmp(told.tag, tag) != 0)
        e = s3_confirm(u->s3, u->key, size, hash);
    s3_answer_drop(&a);
    return e;
}

/* Parts that nobody completes cost money for ever. */
static void take_back(struct upload *u)
{
    const struct s3_request r = {
        .method = "DELETE", .key = u->key, .parameters = {{"uploadId", u->id}}, .parameter_count = 1};
    struct s3_answer a;

    if (s3_call_well(u->s3, &r, &a) != ERR_OK)
        log_warn("store", "parts of %s may be left in S3; a lifecycle rule of the bucket can remove them",
                 u->key);
    s3_answer_drop(&a);
}

enum err s3_put_parts(struct s3 *s, const char *key, struct bytes content, const char *hash)
{
    struct upload u = {.s3 = s, .key = key};
    unsigned parts = 0;
    enum err e = content.size <= (size_t)PARTS_MAX * S3_PART_BYTES ? begin(&u, hash) : ERR_LIMIT;

    if (e != ERR_OK)
        return e;
    builder_text(&u.list, "<CompleteMultipartUpload>");
    for (size_t at = 0; at < content.size && e == ERR_OK; at += S3_PART_BYTES)
        e = send_part(&u, ++parts, bytes_head(bytes_from(content, at), S3_PART_BYTES));
    if (e == ERR_OK)
        e = complete(&u, parts, content.size, hash);
    if (e != ERR_OK)
        take_back(&u);
    builder_drop(&u.list);
    builder_drop(&u.digests);
    return e == ERR_MISSING ? ERR_IO : e; /* the upload is gone: it has to begin anew */
}
