/* rtmp/url_int.h - rtmp://host[:port]/app/key, taken apart. */
#ifndef MATINEE_RTMP_URL_INT_H
#define MATINEE_RTMP_URL_INT_H

#include "base/bytes.h"
#include "base/err.h"

struct rtmp_url {
    bool is_tls;
    struct bytes host; /* without the brackets of an IPv6 address */
    struct bytes port; /* as text; 1935, or 443 for rtmps, where none is given */
    struct bytes app;
    struct bytes key;  /* everything behind the app: a query too */
    struct bytes base; /* what connect calls tcUrl: scheme, authority and app */
};

/* Points into `text`. ERR_BAD when it is not such a URL. */
must_check enum err rtmp_url_parse(struct rtmp_url *out, const char *text);

#endif
