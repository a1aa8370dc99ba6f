/* api/pages.c - the pages, and the files they are made of. */
#include "api/api_int.h"
#include "api/assets_int.h"

/* Everything comes from this server; a player makes its media from blobs. */
static const char policy[] =
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

struct buffer *asset_content(const char *name)
{
    const struct asset *a = asset_find(name);

    return a ? buffer_copy(a->plain) : NULL;
}

static bool accepts_gzip(struct http_exchange *x)
{
    struct bytes accepted = http_field(x, "Accept-Encoding");

    return accepted.at != NULL && memmem(accepted.at, accepted.size, "gzip", 4) != NULL;
}

static void answer(struct http_exchange *x, int status, const struct asset *a, bool immutable)
{
    bool packed = a->gzip.size > 0 && accepts_gzip(x);

    http_add(x, "Content-Security-Policy", policy);
    http_add(x, "X-Content-Type-Options", "nosniff");
    http_add(x, "Referrer-Policy", "same-origin");
    http_add(x, "Cache-Control", immutable ? "public, max-age=31536000, immutable" : "no-cache");
    if (a->gzip.size > 0)
        http_add(x, "Vary", "Accept-Encoding");
    if (packed)
        http_add(x, "Content-Encoding", "gzip");
    /* The two spellings of one file are two representations, so each has a tag of its own. */
    http_addf(x, "ETag", "%.*s%s\"", (int)strlen(a->etag) - 1, a->etag, packed ? "-gz" : "");
    http_answer(x, status, a->type, buffer_copy(packed ? a->gzip : a->plain));
}

bool pages_answer(struct http_exchange *x)
{
    static const struct {
        const char *path; /* ending in '/': whatever follows is for the page itself */
        const char *file;
    } pages[] = {
        {"/", "index.html"}, {"/studio", "studio.html"}, {"/watch/", "watch.html"}, {"/book/", "book.html"}};
    const char *path = http_path(x);
    const struct asset *a;

    if (strncmp(path, "/assets/", 8) == 0 && (a = asset_find(path + 8)) != NULL) {
        answer(x, 200, a, http_query(x).size > 0); /* with ?v=HASH it never changes */
        return true;
    }
    if (strcmp(path, "/favicon.ico") == 0 && (a = asset_find("favicon.svg")) != NULL) {
        answer(x, 200, a, false);
        return true;
    }
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        size_t size = strlen(pages[i].path);
        bool fits = size > 1 && pages[i].path[size - 1] == '/' ? strncmp(path, pages[i].path, size) == 0
                                                               : strcmp(path, pages[i].path) == 0;

        if (fits && (a = asset_find(pages[i].file)) != NULL) {
            answer(x, 200, a, false);
            return true;
        }
    }
    if (strncmp(path, "/healthz", 8) == 0 || strncmp(path, "/readyz", 7) == 0 ||
        strncmp(path, "/metrics", 8) == 0)
        return false;
    if ((a = asset_find("404.html")) == NULL)
        return false;
    answer(x, 404, a, false);
    return true;
}
