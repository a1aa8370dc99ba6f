/* store/s3_sign.c - Signature Version 4 of AWS, for headers.
 *
 * libcurl has its own (CURLOPT_AWS_SIGV4), and in Debian 12's 7.88 it signs the query in the order it was given (curl #9717),
 * leaves x-amz-content-sha256 to the caller (#8810), and knows no clock but its own, so that a wrong one cannot be
 * corrected. Pure; any thread. */
#include "store/s3_int.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HASH_BYTES 32

const char *s3_hex(char *hex, const uint8_t *at, size_t size)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        hex[2 * i] = digits[at[i] >> 4];
        hex[2 * i + 1] = digits[at[i] & 15];
    }
    hex[2 * size] = '\0';
    return hex;
}

/* Digests do not fail but for want of memory, and then the house stops (base/mem.h). */
static void digest(const EVP_MD *kind, struct bytes b, uint8_t *out)
{
    if (EVP_Digest(b.at, b.size, out, NULL, kind, NULL) != 1)
        abort();
}

const char *s3_sha256(struct bytes b, char hex[S3_HASH_SIZE])
{
    uint8_t hash[HASH_BYTES];

    digest(EVP_sha256(), b, hash);
    return s3_hex(hex, hash, sizeof hash);
}

void s3_md5(struct s3_md5 *out, struct bytes b)
{
    digest(EVP_md5(), b, out->raw);
    EVP_EncodeBlock((uint8_t *)out->base64, out->raw, sizeof out->raw);
    s3_hex(out->hex, out->raw, sizeof out->raw);
}

const char *s3_date(int64_t wall_ms, char text[S3_DATE_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(text, S3_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm);
    return text;
}

void s3_encode(struct builder *out, const char *text, bool slashes_too)
{
    for (const char *c = text; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');

        if (letter || strchr("-._~", *c) != NULL || (*c == '/' && !slashes_too))
            builder_u8(out, (uint8_t)*c);
        else
            builder_printf(out, "%%%02X", (uint8_t)*c);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct s3_pair *x = a, *y = b;
    int names = strcmp(x->name, y->name);

    return names != 0 ? names : strcmp(x->value, y->value);
}

void s3_query(struct builder *out, const struct s3_pair *parameters, size_t count)
{
    struct s3_pair sorted[S3_PARAMETERS_MAX];

    if (count == 0)
        return;
    memcpy(sorted, parameters, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 0; i < count; i++) {
        builder_text(out, i > 0 ? "&" : "");
        s3_encode(out, sorted[i].name, true);
        builder_text(out, "=");
        s3_encode(out, sorted[i].value, true);
    }
}

/* A header's value without spaces around it, and with one where there are several. */
static void trimmed(struct builder *out, const char *value)
{
    bool space = false, begun = false;

    for (; *value != '\0'; value++) {
        if (*value == ' ') {
            space = begun;
            continue;
        }
        if (space)
            builder_u8(out, ' ');
        builder_u8(out, (uint8_t)*value);
        space = false;
        begun = true;
    }
}

static void names_of(struct builder *out, const struct s3_pair *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++)
        builder_printf(out, "%s%s", i > 0 ? ";" : "", sorted[i].name);
}

/* Step 1: the request in a form that proxies cannot change. */
static void canonical(struct builder *out, const struct s3_message *m, const struct s3_pair *sorted)
{
    builder_printf(out, "%s\n", m->method);
    s3_encode(out, m->path, false);
    builder_text(out, "\n");
    s3_query(out, m->parameters, m->parameter_count);
    builder_text(out, "\n");
    for (size_t i = 0; i < m->header_count; i++) {
        builder_printf(out, "%s:", sorted[i].name);
        trimmed(out, sorted[i].value);
        builder_text(out, "\n");
    }
    builder_text(out, "\n");
    names_of(out, sorted, m->header_count);
    builder_printf(out, "\n%s", m->body_hash);
}

static void hmac(uint8_t out[HASH_BYTES], const void *key, size_t size, struct bytes text)
{
    if (HMAC(EVP_sha256(), key, (int)size, text.at, text.size, out, NULL) == NULL)
        abort();
}

/* Step 3: a key that is good for one day, region and service. */
static void signing_key(uint8_t key[HASH_BYTES], const char *secret, const char *date, const char *region,
                        const char *service)
{
    char first[S3_KEY_SIZE + 4];
    int size = snprintf(first, sizeof first, "AWS4%s", secret);

    hmac(key, first, (size_t)size, bytes_of(date, 8));
    hmac(key, key, HASH_BYTES, bytes_text(region));
    hmac(key, key, HASH_BYTES, bytes_text(service));
    hmac(key, key, HASH_BYTES, bytes_text("aws4_request"));
    OPENSSL_cleanse(first, sizeof first);
}

const char *s3_sign(char out[S3_AUTHORIZATION_SIZE], const struct s3_message *m,
                    const struct s3_credentials *c, const char *region, const char *service, const char *date)
{
    struct s3_pair sorted[S3_HEADERS_MAX];
    struct builder request = {0}, text = {0}, names = {0};
    char hash[S3_HASH_SIZE], signature[S3_HASH_SIZE];
    uint8_t key[HASH_BYTES], mac[HASH_BYTES];

    memcpy(sorted, m->headers, m->header_count * sizeof *sorted);
    qsort(sorted, m->header_count, sizeof *sorted, by_name);
    canonical(&request, m, sorted);
    builder_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s", date, date, region, service,
                   s3_sha256(builder_bytes(&request), hash));
    signing_key(key, c->secret, date, region, service);
    hmac(mac, key, sizeof key, builder_bytes(&text));
    names_of(&names, sorted, m->header_count);
    snprintf(out, S3_AUTHORIZATION_SIZE,
             "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=%.*s, Signature=%s",
             c->key, date, region, service, (int)builder_bytes(&names).size,
             (const char *)builder_bytes(&names).at, s3_hex(signature, mac, sizeof mac));
    OPENSSL_cleanse(key, sizeof key);
    builder_drop(&request);
    builder_drop(&text);
    builder_drop(&names);
    return out;
}
