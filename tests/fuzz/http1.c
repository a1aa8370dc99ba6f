/* Fuzzes the HTTP/1.1 head parser, the chunk decoder and path normalisation. The first byte says where the
 * input is split; whatever the bytes are, a split must not change what they mean. */
#include "http/http1_parser_int.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

/* A copy whose end is the end of an allocation, so that the sanitizer sees each byte read too many. */
static struct bytes tight(struct bytes in, size_t size)
{
    uint8_t *copy = malloc(size);

    if (size > 0)
        memcpy(copy, in.at, size);
    return bytes_of(copy, size);
}

static long parse_head(struct http1_head *head, struct http1_scan *scan, struct bytes in, size_t size,
                       int *status)
{
    struct bytes copy = tight(in, size);
    long taken = http1_head_parse(head, scan, copy, status);

    if (taken == PARSE_BAD)
        assert(*status >= 400 && *status <= 505);
    free((void *)copy.at);
    return taken;
}

static void check_path(const struct http1_head *head, struct bytes in)
{
    struct bytes raw = span_bytes(in.at, head->path);
    char *out = malloc(raw.size + 2);

    if (http_path_normalise(raw, out)) {
        assert(out[0] == '/' && strstr(out, "//") == NULL && strstr(out, "/../") == NULL &&
               strstr(out, "/./") == NULL);
        size_t end = strlen(out);

        assert(end <= raw.size + 1 && (end < 3 || strcmp(out + end - 3, "/..") != 0));
    }
    free(out);
}

static void check_head(struct bytes in, size_t split)
{
    static struct http1_head whole, parted;
    struct http1_scan scan = {0}, again = {0};
    int status, other;
    long taken = parse_head(&whole, &scan, in, in.size, &status);
    long first = parse_head(&parted, &again, in, split, &other);

    if (first == PARSE_MORE)
        first = parse_head(&parted, &again, in, in.size, &other);
    assert(first == taken && other == status);
    if (taken < 0)
        return;
    assert(whole.field_count == parted.field_count && whole.length == parted.length);
    assert(!(whole.chunked && whole.has_length));
    for (unsigned i = 0; i < whole.field_count; i++)
        assert((long)whole.fields[i].value.at + whole.fields[i].value.size <= taken);
    check_path(&whole, in);
}

/* Decodes all of `in`, at most `step` bytes at once, into `out`. Returns bytes taken, or PARSE_BAD. */
static long decode(struct http1_chunks *c, struct bytes in, size_t step, uint8_t *out, size_t *out_size)
{
    size_t at = 0;

    while (at < in.size && !http1_chunks_done(c)) {
        struct bytes data, copy = tight(bytes_from(in, at), step < in.size - at ? step : in.size - at);
        long taken = http1_chunks_parse(c, copy, &data);

        assert(taken == PARSE_BAD || (taken > 0 && (size_t)taken <= copy.size && data.size <= copy.size));
        if (taken > 0 && data.size > 0) {
            memcpy(out + *out_size, data.at, data.size);
            *out_size += data.size;
        }
        free((void *)copy.at);
        if (taken < 0)
            return taken;
        at += (size_t)taken;
    }
    return (long)at;
}

static void check_chunks(struct bytes in, size_t step)
{
    struct http1_chunks whole = {0}, parted = {0};
    uint8_t *one = malloc(in.size + 1), *other = malloc(in.size + 1);
    size_t one_size = 0, other_size = 0;
    long taken = decode(&whole, in, SIZE_MAX, one, &one_size);

    assert(decode(&parted, in, step, other, &other_size) == taken);
    assert(one_size == other_size && memcmp(one, other, one_size) == 0);
    assert(whole.phase == parted.phase && whole.left == parted.left);
    free(one);
    free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    if (size < 1)
        return 0;
    struct bytes in = bytes_of(at + 1, size - 1);

    check_head(in, in.size > 0 ? at[0] * in.size / 256 : 0);
    check_chunks(in, at[0] % 7 + 1);
    return 0;
}
