/* store/s3_url.c - the address of a bucket, taken apart: s3://BUCKET/PREFIX?endpoint=…&region=…&style=path. */
#include "store/s3_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define REGION_USUAL "us-east-1"

/* What S3 calls a bucket: 3 to 63 of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit. */
static bool bucket_is_good(const char *name)
{
    size_t size = strlen(name);

    for (size_t i = 0; i < size; i++) {
        bool letter = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9');

        if (!letter && ((name[i] != '-' && name[i] != '.') || i == 0 || i + 1 == size))
            return false;
    }
    return size >= 3 && size <= 63 && strstr(name, "..") == NULL;
}

/* http://HOST[:PORT], as scheme and Host: header. */
static bool parse_endpoint(struct s3_place *p, const char *endpoint)
{
    bool secure = strncmp(endpoint, "https://", 8) == 0;
    const char *host = endpoint + (secure ? 8 : 7);
    size_t size;

    if (!secure && strncmp(endpoint, "http://", 7) != 0)
        return false;
    size = strlen(host);
    size -= size > 0 && host[size - 1] == '/';
    if (size > 3 && !secure && strncmp(host + size - 3, ":80", 3) == 0)
        size -= 3; /* clients do not say the usual port, and the signature has to be over what they say */
    if (size > 4 && secure && strncmp(host + size - 4, ":443", 4) == 0)
        size -= 4;
    if (size == 0 || size > 255)
        return false;
    for (size_t i = 0; i < size; i++)
        if (strchr("/?#@\\", host[i]) != NULL)
            return false;
    p->scheme = mem_string(secure ? "https" : "http");
    p->host = mem_text(host, size);
    return true;
}

static bool parse_options(struct s3_place *p, struct bytes text, char **endpoint, char **style, char why[256])
{
    const struct remote_option options[] = {{"endpoint", endpoint},
                                            {"style", style},
                                            {"region", &p->region},
                                            {"sse", &p->encryption},
                                            {"sse-key", &p->encryption_key},
                                            {"credentials", &p->credentials_file},
                                            {"profile", &p->profile},
                                            {"ca", &p->authority_file},
                                            {NULL, NULL}};
    struct bytes wrong;

    if (remote_options_read(text, options, &wrong))
        return true;
    snprintf(
        why, 256,
        "--storage s3://…?%.*s: of endpoint, region, style, sse, sse-key, credentials, profile and ca each "
        "once, with a value",
        (int)(wrong.size < 60 ? wrong.size : 60), (const char *)wrong.at);
    return false;
}

static bool has_region_form(const char *region)
{
    size_t size = strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");

    return size > 0 && size < 64 && region[size] == '\0';
}

/* Options that stand for themselves, and what follows of those that are missing. */
static bool settle(struct s3_place *p, const char *endpoint, const char *style, char why[256])
{
    if (p->region == NULL)
        p->region = mem_string(REGION_USUAL);
    if (!has_region_form(p->region)) {
        snprintf(why, 256, "--storage s3://…: region=%.60s is no region", p->region);
    } else if (style != NULL && strcmp(style, "path") != 0 && strcmp(style, "host") != 0) {
        snprintf(why, 256, "--storage s3://…: style is path or host, not '%.60s'", style);
    } else if (p->encryption != NULL && strcmp(p->encryption, "AES256") != 0 &&
               strcmp(p->encryption, "aws:kms") != 0) {
        snprintf(why, 256, "--storage s3://…: sse is AES256 or aws:kms, not '%.60s'", p->encryption);
    } else if (endpoint != NULL && !parse_endpoint(p, endpoint)) {
        snprintf(why, 256, "--storage s3://…: endpoint is http://HOST:PORT or https://HOST, not '%.80s'",
                 endpoint);
    } else {
        if (endpoint == NULL) {
            p->scheme = mem_string("https");
            p->host = mem_printf("s3.%s.amazonaws.com", p->region);
        }
        /* Elsewhere than at AWS a bucket seldom has a name in the DNS; and one with a dot has no certificate. */
        p->path_style = style ? style[0] == 'p' : endpoint != NULL || strchr(p->bucket, '.') != NULL;
        if (!p->path_style) {
            char *host = mem_printf("%s.%s", p->bucket, p->host);

            free(p->host);
            p->host = host;
        }
        return true;
    }
    return false;
}

enum err s3_place_parse(struct s3_place *out, const char *url, char why[256])
{
    struct bytes rest = bytes_from(bytes_text(url), strlen("s3://")), options, prefix;
    char *endpoint = NULL, *style = NULL;
    bool good;

    *out = (struct s3_place){0};
    rest = remote_url_split(rest, &prefix, &options);
    out->bucket = mem_text(rest.size > 0 ? rest.at : (const uint8_t *)"", rest.size);
    out->prefix = mem_text(prefix.size > 0 ? prefix.at : (const uint8_t *)"", prefix.size);
    good = bucket_is_good(out->bucket) && (prefix.size == 0 || store_name_is_good(out->prefix));
    if (!good)
        snprintf(
            why, 256,
            "--storage %.100s: s3://BUCKET/PREFIX, the bucket of a-z, 0-9, '-' and '.', the prefix of A-Z, a-z, 0-9, "
            "'.', '_', '-' and '/'",
            url);
    good = good && parse_options(out, options, &endpoint, &style, why) && settle(out, endpoint, style, why);
    free(endpoint);
    free(style);
    return good ? ERR_OK : ERR_BAD;
}

void s3_place_drop(struct s3_place *p)
{
    char **texts[] = {&p->bucket,  &p->prefix,        &p->scheme,         &p->host,
                      &p->region,  &p->encryption,    &p->encryption_key, &p->credentials_file,
                      &p->profile, &p->authority_file};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
}
