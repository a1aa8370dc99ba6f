/* api/elsewhere.c - requests for what is live on another server: the same request to that, without what is the viewer's own. */
#include "api/api_int.h"

#include "access/access.h"
#include "base/mem.h"

#include <stdlib.h>

/* Letters of a path that stand for themselves (RFC 3986 §3.3). */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("-._~/:@", c) != NULL;
}

static void add_path(struct builder *b, const char *path)
{
    for (; *path != '\0'; path++)
        if (is_plain(*path))
            builder_u8(b, (uint8_t)*path);
        else
            builder_printf(b, "%%%02X", (unsigned)(uint8_t)*path);
}

/* Whether a parameter goes along. A viewer's token goes as a field. Of what many share only what makes another answer: whatever else a
 * viewer may write there would make a URL of his own. */
static bool is_wanted(struct bytes one, bool shared)
{
    return one.size > 0 &&
           (shared ? bytes_is(bytes_head(one, 5), "_HLS_") : !bytes_is(bytes_head(one, 6), "token="));
}

static void add_query(struct builder *b, struct bytes query, bool shared)
{
    char mark = '?';

    while (query.size > 0) {
        const uint8_t *end = memchr(query.at, '&', query.size);
        struct bytes one = bytes_head(query, end ? (size_t)(end - query.at) : query.size);

        if (is_wanted(one, shared)) {
            builder_u8(b, (uint8_t)mark);
            builder_add(b, one);
            mark = '&';
        }
        query = bytes_from(query, one.size + (end != NULL));
    }
}

/* What only ticket holders may see is asked for as an edge does, which we are to the other server: it is looked at here who may have it, and
 * may be kept by edges of our own. */
void relay_exchange(struct api *a, struct http_exchange *x, const char *base, const struct video_view *shared)
{
    struct builder target = {0};
    char token[TICKET_TEXT_SIZE];
    bool in_query, is_admin = access_admin_ok(http_field(x, "Authorization"), a->admin_token);
    bool is_closed = shared != NULL && shared->access == ACCESS_TICKET;
    /* What is open to all is told no token, and another server nothing of an admin whom it does not know: he is no company for others. */
    bool has = (shared == NULL || is_closed) && (!is_admin || a->options.is_admin_shared) &&
               door_token(x, token, &in_query);

    add_path(&target, http_path(x));
    add_query(&target, http_query(x), shared != NULL);
    builder_u8(&target, 0);
    relay_answer(a->options.relay, x,
                 &(struct relay_wish){.base = base,
                                      .target = (const char *)builder_bytes(&target).at,
                                      .token = has ? token : NULL,
                                      .edge_key = is_closed ? a->options.edge_key : NULL,
                                      .is_private = is_closed && !keep_is_edge(a, x),
                                      .shared = shared != NULL && (has || !is_closed)});
    builder_drop(&target);
}
