/* http/gzip.c - compressing textual answers, by zlib. A compressor is kept per loop: making one costs more
 * than a playlist takes to compress. */
#include "http/http_int.h"

#include "base/mem.h"

#include <stdlib.h>
#include <zlib.h>

/* A playlist at level 6 is a few percent smaller than at 4 and takes half as long again. */
#define LEVEL       4
#define GZIP_WINDOW (15 + 16) /* the largest window, and a gzip header around it */
#define MEMORY      8

struct deflater {
    z_stream z;
};

void deflater_free(struct deflater *d)
{
    if (d == NULL)
        return;
    deflateEnd(&d->z);
    free(d);
}

static bool ready(struct deflater **d)
{
    if (*d != NULL)
        return deflateReset(&(*d)->z) == Z_OK;
    *d = mem_new(sizeof **d);
    if (deflateInit2(&(*d)->z, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY, Z_DEFAULT_STRATEGY) == Z_OK)
        return true;
    free(*d);
    *d = NULL;
    return false;
}

struct buffer *gzip_parts(struct deflater **d, struct buffer *const *parts, size_t count)
{
    size_t total = 0;
    int said = Z_OK;

    for (size_t i = 0; i < count; i++)
        total += parts[i]->size;
    if (total > GZIP_BYTES_MAX || !ready(d))
        return NULL;
    z_stream *z = &(*d)->z;
    size_t room = deflateBound(z, total);
    struct buffer *out = buffer_new(room);

    z->next_out = out->data;
    z->avail_out = (uInt)room;
    for (size_t i = 0; i < count && said == Z_OK; i++) {
        if (parts[i]->size == 0 && i + 1 < count)
            continue; /* zlib calls nothing to do an error */
        z->next_in = parts[i]->data;
        z->avail_in = (uInt)parts[i]->size;
        said = deflate(z, i + 1 == count ? Z_FINISH : Z_NO_FLUSH);
    }
    if (said != Z_STREAM_END) {
        buffer_unref(out);
        return NULL;
    }
    out->size = room - z->avail_out;
    return out;
}

bool gzip_worthwhile(const char *type)
{
    static const char *const starts[] = {"text/",
                                         "application/json",
                                         "application/javascript",
                                         "application/vnd.apple.mpegurl",
                                         "application/x-mpegurl",
                                         "application/dash+xml",
                                         "application/xml",
                                         "application/problem+json",
                                         "application/manifest+json",
                                         "image/svg+xml"};

    if (type == NULL || (type[0] != 't' && type[0] != 'a' && type[0] != 'i'))
        return false;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (strncasecmp(type, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

/* Whether a weight like "q=0.5" is more than nothing; absent is 1. */
static bool wanted(struct bytes parameters)
{
    long at = bytes_find(parameters, '=');

    if (at < 0)
        return true;
    for (size_t i = (size_t)at + 1; i < parameters.size; i++)
        if (parameters.at[i] >= '1' && parameters.at[i] <= '9')
            return true;
    return false;
}

bool gzip_accepted(struct bytes accept_encoding)
{
    struct bytes left = accept_encoding;
    bool any = false;

    while (left.size > 0) {
        long comma = bytes_find(left, ',');
        struct bytes element = comma < 0 ? left : bytes_head(left, (size_t)comma);

        left = comma < 0 ? bytes_of(NULL, 0) : bytes_from(left, (size_t)comma + 1);
        while (element.size > 0 && (element.at[0] == ' ' || element.at[0] == '\t'))
            element = bytes_from(element, 1);
        size_t size = 0;

        while (size < element.size && element.at[size] != ';' && element.at[size] != ' ' &&
               element.at[size] != '\t')
            size++;
        if (bytes_is_nocase(bytes_head(element, size), "gzip"))
            return wanted(bytes_from(element, size)); /* named: its own weight outweighs that of "*" */
        if (bytes_is(bytes_head(element, size), "*"))
            any = wanted(bytes_from(element, size));
    }
    return any;
}
