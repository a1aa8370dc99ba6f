/* rtmp/url.c - see url_int.h. */
#include "rtmp/url_int.h"

/* Splits host and port; a bracketed host may hold colons. */
static bool split_authority(struct rtmp_url *out, struct bytes authority)
{
    long end = 0, colon;

    out->host = authority;
    if (bytes_starts(authority, "[")) {
        if ((end = bytes_find(authority, ']')) < 0)
            return false;
        out->host = bytes_from(bytes_head(authority, (size_t)end), 1);
    }
    colon = bytes_find(bytes_from(authority, (size_t)end), ':');
    if (colon >= 0) {
        out->port = bytes_from(authority, (size_t)(end + colon) + 1);
        if (end == 0)
            out->host = bytes_head(authority, (size_t)colon);
    }
    return out->host.size > 0 && out->port.size > 0;
}

enum err rtmp_url_parse(struct rtmp_url *out, const char *text)
{
    struct bytes all = bytes_text(text), rest;
    long slash;
    uint64_t port;

    *out = (struct rtmp_url){.is_tls = bytes_starts(all, "rtmps://")};
    if (!out->is_tls && !bytes_starts(all, "rtmp://"))
        return ERR_BAD;
    out->port = bytes_text(out->is_tls ? "443" : "1935");
    rest = bytes_from(all, out->is_tls ? 8 : 7);
    if ((slash = bytes_find(rest, '/')) < 0 || !split_authority(out, bytes_head(rest, (size_t)slash)) ||
        !bytes_to_u64(out->port, 65535, &port) || port == 0)
        return ERR_BAD;
    rest = bytes_from(rest, (size_t)slash + 1);
    if ((slash = bytes_find(rest, '/')) <= 0)
        return ERR_BAD;
    out->app = bytes_head(rest, (size_t)slash);
    out->key = bytes_from(rest, (size_t)slash + 1);
    out->base = bytes_of(all.at, (size_t)(out->app.at + out->app.size - all.at));
    return out->key.size > 0 ? ERR_OK : ERR_BAD;
}
