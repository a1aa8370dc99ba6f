#include "http/http_int.h"
void http2_open(struct http_part *p, struct stream *s)
{
    http1_open(p, s);
}
