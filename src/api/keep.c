/* api/keep.c - how long caches may keep an answer about a video, who may, and by which name it is purged.
 *
 * A URL under /v/ never carries a viewer, so one copy serves everybody. What only ticket holders may see is `private`: a cache that
 * knows nothing of tickets must not hand it on. An edge that asks /admission for every viewer says so with the key that both were
 * configured with, and may keep it; it tells viewers `private` again (deploy/edge). */
#include "api/api_int.h"

#include "base/random.h"

#include <openssl/crypto.h>
#include <stdatomic.h>

bool keep_is_edge(const struct api *a, const struct http_exchange *x)
{
    struct bytes key = bytes_text(a->options.edge_key ? a->options.edge_key : "");
    struct bytes said = http_field(x, "Matinee-Edge");

    return key.size > 0 && said.size == key.size && CRYPTO_memcmp(said.at, key.at, key.size) == 0;
}

void keep_number(struct api *a, struct http_exchange *x)
{
    http_addf(x, "Matinee-Answer", "%llx-%llx", (unsigned long long)a->started,
              (unsigned long long)atomic_fetch_add_explicit(&a->answers, 1, memory_order_relaxed));
}

/* What all answers about a video say: the names by which it is purged (Fastly and Varnish; Cloudflare), and their number. */
static void name(struct api *a, struct http_exchange *x, const struct video_view *v)
{
    char video[ULID_TEXT_SIZE], event[ULID_TEXT_SIZE];

    ulid_text(v->id, video);
    ulid_text(v->event, event);
    http_addf(x, "Surrogate-Key", "video-%s event-%s", video, event);
    http_addf(x, "Cache-Tag", "video-%s,event-%s", video, event);
    if (v->access == ACCESS_TICKET)
        http_add(x, "Matinee-Access", "ticket");
    keep_number(a, x);
}

static bool is_shared(struct api *a, const struct http_exchange *x, const struct video_view *v)
{
    return v->access == ACCESS_PUBLIC || keep_is_edge(a, x);
}

void keep_forever(struct api *a, struct http_exchange *x, const struct video_view *v)
{
    name(a, x, v);
    http_addf(x, "Cache-Control", "%s, max-age=31536000, immutable",
              is_shared(a, x, v) ? "public" : "private");
}

/* stale-while-revalidate is for caches that serve a crowd. A browser would take it, too, and be a poll behind with every manifest:
 * it is told by the field that only CDNs read (RFC 9213), or to an edge, which does not pass it on. */
void keep_for(struct api *a, struct http_exchange *x, const struct video_view *v, unsigned seconds,
              unsigned stale)
{
    bool shared = is_shared(a, x, v);

    name(a, x, v);
    if (stale > 0 && keep_is_edge(a, x)) {
        http_addf(x, "Cache-Control", "public, max-age=%u, stale-while-revalidate=%u", seconds, stale);
        return;
    }
    http_addf(x, "Cache-Control", "%s, max-age=%u", shared ? "public" : "private", seconds);
    if (stale > 0 && shared)
        http_addf(x, "CDN-Cache-Control", "public, max-age=%u, stale-while-revalidate=%u", seconds, stale);
}
