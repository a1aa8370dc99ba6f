/* webrtc/gate.c - floods: sessions that nobody comes for, and datagrams of nobody.
 *
 * Who was there first is of no more worth here than who comes last, on the contrary: what a flood asked for is never used. So a full
 * house lets in who knocks, and the oldest session goes from whose viewer no true check has come. */
#include "webrtc/room_int.h"

#include "base/metrics.h"

METRIC(pushed_out, METRIC_COUNTER, "matinee_webrtc_half_open_pushed_out_total",
       "WebRTC sessions that nobody had come for and that made way for newer ones");
METRIC(unread, METRIC_COUNTER, "matinee_webrtc_datagrams_unread_total",
       "STUN datagrams that were not read, since too many of their address came to nothing");

static bool is_of(const struct viewer *v, struct bytes host)
{
    return host.at == NULL || bytes_equal(bytes_of(v->host, v->host_size), host);
}

/* Ends the oldest session of a host (of anybody, where host.at is NULL) from whose viewer nothing true has come. */
static bool push_out(struct webrtc *w, struct bytes host)
{
    list_each(&w->waiting, at, after)
    {
        struct viewer *v = container_of(at, struct viewer, waiting);

        if (v->known_count > 0 || v->tcp != NULL || !is_of(v, host))
            continue;
        metric_add(&pushed_out, 1);
        viewer_end(v);
        return true;
    }
    return false;
}

static size_t count_of(struct webrtc *w, struct bytes host)
{
    size_t count = 0;

    list_each(&w->waiting, at, after)
    {
        count += is_of(container_of(at, struct viewer, waiting), host);
    }
    return count;
}

bool gate_admits(struct webrtc *w, struct bytes host)
{
    if (w->half_open >= WEBRTC_HALF_OPEN_ADDRESS_MAX && count_of(w, host) >= WEBRTC_HALF_OPEN_ADDRESS_MAX)
        return push_out(w, host);
    return w->half_open < WEBRTC_HALF_OPEN_MAX || push_out(w, bytes_of(NULL, 0));
}

bool gate_hears(struct webrtc *w, const struct address *from)
{
    int64_t wait_ms;

    if ((!w->options.limit_loopback && address_is_loopback(from)) ||
        map_get(w->by_address, bytes_of(&from->socket, from->size)) != NULL ||
        rate_take(w->strangers, address_host(from), &wait_ms))
        return true;
    metric_add(&unread, 1);
    return false;
}
