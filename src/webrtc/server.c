/* webrtc/server.c - the room: its port, and who gets what comes there.
 *
 * Cheapest first, so that a flood costs little: the first byte, STUN's length and cookie, its FINGERPRINT, a ufrag that we gave
 * out, and only then its HMAC. No DTLS state is made for an address from which no authenticated check came. Whatever fails is
 * not answered. */
#include "webrtc/room_int.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <ifaddrs.h>
#include <malloc.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

METRIC(ignored, METRIC_COUNTER, "matinee_webrtc_datagrams_ignored_total",
       "Datagrams of nobody: malformed, of an unknown ufrag or address, or not authentic");

/* --- what comes ------------------------------------------------------------------------------------------ */

/* The viewer whose ufrag stands before the colon of the check's USERNAME. */
static struct viewer *viewer_of_check(const struct webrtc *w, const struct stun *s)
{
    long colon = bytes_find(s->username, ':');

    return colon > 0 ? map_get(w->by_ufrag, bytes_head(s->username, (size_t)colon)) : NULL;
}

/* A STUN message; the viewer whose it was, or NULL. */
static struct viewer *take_check(struct webrtc *w, struct bytes in, const struct address *from,
                                 struct stream *tcp)
{
    struct stun s;
    struct viewer *v;

    if (!gate_hears(w, from) || stun_parse(&s, in) != ERR_OK || s.type != STUN_BINDING_REQUEST ||
        !s.fingerprint || (v = viewer_of_check(w, &s)) == NULL || !viewer_check(v, &s, in, from, tcp))
        return NULL;
    return v;
}

static void received(void *ctx, const struct address *from, struct bytes in)
{
    struct webrtc *w = ctx;
    struct viewer *v = NULL;

    if (in.size > 0 && in.at[0] < 4) {
        v = take_check(w, in, from, NULL);
    } else if (in.size > 0 && (v = map_get(w->by_address, bytes_of(&from->socket, from->size))) != NULL) {
        viewer_receive(v, in);
    }
    if (v == NULL)
        metric_add(&ignored, 1);
}

/* --- over TCP (RFC 4571, RFC 6544) -------------------------------------------------------------------------- */

struct connection {
    struct list link;
    struct webrtc *room;
    struct stream *stream;
    struct viewer *viewer; /* NULL until a check came */
};

static void take_frame(struct connection *c, struct bytes in)
{
    if (in.size > 0 && in.at[0] < 4) {
        struct viewer *v = take_check(c->room, in, stream_peer(c->stream), c->stream);

        if (v != NULL)
            c->viewer = v;
        else
            metric_add(&ignored, 1);
    } else if (c->viewer != NULL) {
        viewer_receive(c->viewer, in);
    }
}

static size_t tcp_read(void *ctx, struct stream *s, struct bytes in)
{
    struct connection *c = ctx;
    size_t taken = 0;

    while (in.size - taken >= 2) {
        size_t size = (size_t)(in.at[taken] << 8 | in.at[taken + 1]);

        if (size > WEBRTC_RECEIVE_BYTES_MAX) { /* whatever it speaks, it is not this */
            stream_close(s);
            return in.size;
        }
        if (in.size - taken - 2 < size)
            break;
        take_frame(c, bytes_of(in.at + taken + 2, size));
        taken += 2 + size;
    }
    if (c->viewer != NULL) /* it is the viewer's consent that counts from now on */
        stream_read_limit(s, WEBRTC_CONSENT_MS_MAX);
    return taken;
}

static void tcp_closed(void *ctx, struct stream *s, enum err why)
{
    struct connection *c = ctx;

    list_remove(&c->link);
    if (c->viewer != NULL)
        viewer_tcp_gone(c->viewer, s);
    free(c);
}

static void tcp_opened(void *ctx, struct stream *s)
{
    static const struct stream_events events = {.read = tcp_read, .closed = tcp_closed};
    struct webrtc *w = ctx;
    struct connection *c = mem_new(sizeof *c);

    c->room = w;
    c->stream = s;
    list_init(&c->link);
    list_push(&w->connections, &c->link);
    stream_use(s, &events, c);
    stream_read_limit(s, WEBRTC_HALF_OPEN_MS_MAX);
    stream_write_limit(s, WEBRTC_CONSENT_MS_MAX);
    if (w->closed)
        stream_close(s);
}

static void trim(void *ctx)
{
    malloc_trim(0);
}

/* A viewer holds 70 KB during its handshake and 5 KB afterwards; the heap keeps the hole between two of them for itself. */
void server_trim(struct webrtc *w, int64_t now_ms)
{
    if (w->dropped == 0 || now_ms - w->trimmed_ms < WEBRTC_TRIM_MS)
        return;
    w->dropped = 0;
    w->trimmed_ms = now_ms;
    pool_run(w->loop, trim, NULL, NULL);
}

void server_forget(struct webrtc *w, const struct viewer *v)
{
    list_each(&w->connections, at, after)
    {
        struct connection *c = container_of(at, struct connection, link);

        if (c->viewer != v)
            continue;
        c->viewer = NULL;
        stream_close_gently(c->stream);
    }
}

/* --- who asks ------------------------------------------------------------------------------------------------- */

struct ask {
    struct webrtc *room;
    struct ulid video;
    struct buffer *text;
    struct address from; /* of an offer */
    struct webrtc_stay stay;
    char session[WEBRTC_SESSION_SIZE], etag[WEBRTC_ETAG_SIZE];
    webrtc_told *told;
    void *ctx;
};

static struct ask *ask_new(struct webrtc *w, struct ulid video, struct bytes text, webrtc_told *told,
                           void *ctx)
{
    struct ask *a = mem_new(sizeof *a);

    *a = (struct ask){.room = w, .video = video, .text = buffer_copy(text), .told = told, .ctx = ctx};
    return a;
}

static void ask_free(struct ask *a)
{
    buffer_unref(a->text);
    stay_end(&a->stay);
    free(a);
}

static void refuse(struct ask *a, enum err e, const char *why)
{
    a->told(a->ctx, &(struct webrtc_reply){.e = e, .why = why, .adapts = "none"});
}

static void offer_here(void *ctx)
{
    struct ask *a = ctx;
    struct webrtc *w = a->room;
    struct feed *f;

    if (w->closed)
        refuse(a, ERR_CLOSED, "the server is shutting down; try again in a moment");
    else if (map_count(w->by_id) >= WEBRTC_SESSIONS_MAX)
        refuse(a, ERR_BUSY, "there are too many WebRTC sessions; try again in a moment");
    else if ((f = feed_watch(w, a->video)) == NULL)
        refuse(a, ERR_MISSING, "this video is not live");
    else
        feed_offer(f, buffer_bytes(a->text), address_host(&a->from), &a->stay, a->told, a->ctx);
    ask_free(a);
}

static struct viewer *session_of(const struct ask *a)
{
    struct viewer *v = map_get(a->room->by_id, bytes_text(a->session));

    return v != NULL && ulid_equal(v->feed->video, a->video) ? v : NULL;
}

/* Whether a line of the fragment begins with `text`. */
static bool has_line(struct bytes fragment, const char *text)
{
    while (fragment.size > 0) {
        long end = bytes_find(fragment, '\n');

        if (bytes_starts(fragment, text))
            return true;
        fragment = end < 0 ? bytes_of(NULL, 0) : bytes_from(fragment, (size_t)end + 1);
    }
    return false;
}

static void patch_here(void *ctx)
{
    struct ask *a = ctx;
    struct viewer *v = session_of(a);
    struct webrtc_reply r = {.why = "", .adapts = "none"};
    struct builder fragment = {0};
    bool restart = strcmp(a->etag, "*") == 0;

    if (v == NULL) {
        refuse(a, ERR_MISSING, "there is no such session (any more)");
        goto out;
    }
    viewer_etag(v, r.etag);
    if (!restart && strcmp(a->etag, r.etag) != 0) {
        refuse(a, ERR_STALE, "the session's ICE has been restarted since; its ETag is another");
        goto out;
    }
    if (restart && (!has_line(buffer_bytes(a->text), "a=ice-ufrag:") ||
                    !has_line(buffer_bytes(a->text), "a=ice-pwd:"))) {
        refuse(a, ERR_BAD, "an ICE restart ('If-Match: *') wants a=ice-ufrag and a=ice-pwd in the fragment");
        goto out;
    }
    if (restart) {
        viewer_restart(v, &fragment);
        viewer_etag(v, r.etag);
        r.body = builder_finish(&fragment);
    }
    a->told(a->ctx, &r);
    buffer_unref(r.body);
out:
    ask_free(a);
}

static void delete_here(void *ctx)
{
    struct ask *a = ctx;
    struct viewer *v = session_of(a);

    if (v == NULL) {
        refuse(a, ERR_MISSING, "there is no such session (any more)");
    } else {
        viewer_end(v);
        a->told(a->ctx, &(struct webrtc_reply){.why = "", .adapts = "none"});
    }
    ask_free(a);
}

void webrtc_offer(struct webrtc *w, struct ulid video, const struct address *from, struct bytes offer,
                  struct webrtc_stay stay, webrtc_told *told, void *ctx)
{
    struct ask *a = ask_new(w, video, offer, told, ctx);

    a->from = *from;
    a->stay = stay;
    loop_post(w->loop, offer_here, a);
}

void webrtc_patch(struct webrtc *w, struct ulid video, const char *session, const char *etag,
                  struct bytes fragment, webrtc_told *told, void *ctx)
{
    struct ask *a = ask_new(w, video, fragment, told, ctx);

    snprintf(a->session, sizeof a->session, "%s", session);
    snprintf(a->etag, sizeof a->etag, "%s", etag);
    loop_post(w->loop, patch_here, a);
}

static void look_here(void *ctx)
{
    struct ask *a = ctx;
    struct feed *f = map_get(a->room->feeds, bytes_of(a->video.b, sizeof a->video.b));
    struct builder out = {0};
    struct webrtc_reply r = {.why = "", .adapts = "none"};

    look_print(&out, f);
    r.body = builder_finish(&out);
    a->told(a->ctx, &r);
    buffer_unref(r.body);
    ask_free(a);
}

void webrtc_look(struct webrtc *w, struct ulid video, webrtc_told *told, void *ctx)
{
    loop_post(w->loop, look_here, ask_new(w, video, bytes_of(NULL, 0), told, ctx));
}

void webrtc_delete(struct webrtc *w, struct ulid video, const char *session, webrtc_told *told, void *ctx)
{
    struct ask *a = ask_new(w, video, bytes_of(NULL, 0), told, ctx);

    snprintf(a->session, sizeof a->session, "%s", session);
    loop_post(w->loop, delete_here, a);
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static bool is_any(const struct address *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->socket;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->socket;

    return a->socket.ss_family == AF_INET ? v4->sin_addr.s_addr == INADDR_ANY
                                          : IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

static void add_candidate(struct webrtc *w, const struct sockaddr *host)
{
    struct address *a = &w->candidates[w->candidate_count];
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (w->candidate_count == sizeof w->candidates / sizeof *w->candidates)
        return;
    memset(a, 0, sizeof *a);
    if (host->sa_family == AF_INET) {
        memcpy(&v4, host, sizeof v4);
        v4.sin_port =
            ((const struct sockaddr_in *)&w->at.socket)->sin_port; /* at the same place in both kinds */
        memcpy(&a->socket, &v4, sizeof v4);
        a->size = sizeof v4;
    } else {
        memcpy(&v6, host, sizeof v6);
        v6.sin6_port = ((const struct sockaddr_in *)&w->at.socket)->sin_port;
        memcpy(&a->socket, &v6, sizeof v6);
        a->size = sizeof v6;
    }
    w->candidate_count++;
}

/* The addresses of this machine, those that only it can reach if there are no others. */
static void add_interfaces(struct webrtc *w)
{
    bool takes_v6 = w->at.socket.ss_family == AF_INET6;
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) != 0)
        return;
    for (int loopback = 0; loopback < 2 && w->candidate_count == 0; loopback++)
        for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
            bool is_loopback = (i->ifa_flags & IFF_LOOPBACK) != 0;

            if (i->ifa_addr == NULL || !(i->ifa_flags & IFF_UP) || is_loopback != (loopback == 1))
                continue;
            if (i->ifa_addr->sa_family == AF_INET ||
                (takes_v6 && i->ifa_addr->sa_family == AF_INET6 &&
                 !IN6_IS_ADDR_LINKLOCAL(
                     &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr)))
                add_candidate(w, i->ifa_addr);
        }
    freeifaddrs(all);
}

static enum err find_candidates(struct webrtc *w)
{
    const char *host = w->options.public_host;
    char text[ADDRESS_TEXT_SIZE];
    struct address a;

    if (host == NULL && is_any(&w->at)) {
        add_interfaces(w);
    } else if (host == NULL) {
        add_candidate(w, (const struct sockaddr *)&w->at.socket);
    } else {
        bool is_v6 = strchr(host, ':') != NULL && host[0] != '[';

        snprintf(text, sizeof text, is_v6 ? "[%s]:0" : "%s:0", host);
        if (strlen(host) + 4 >= sizeof text || !address_parse(text, &a))
            return ERR_BAD;
        add_candidate(w, (const struct sockaddr *)&a.socket);
    }
    return w->candidate_count > 0 ? ERR_OK : ERR_BAD;
}

/* TCP and UDP on one number. A port that the kernel chose for TCP may be taken for UDP: then another. */
static enum err open_port(struct webrtc *w, struct address *at)
{
    const struct address wished = *at;
    enum err e = ERR_BUSY;

    for (int i = 0; i < 10 && e == ERR_BUSY; i++) {
        *at = wished;
        if ((e = listen_start_on(&w->listener, w->loop, at, tcp_opened, w)) == ERR_OK &&
            (e = udp_open(&w->udp, at)) != ERR_OK) {
            listen_stop(w->listener);
            w->listener = NULL;
        }
        if (((const struct sockaddr_in *)&wished.socket)->sin_port != 0)
            break;
    }
    return e;
}

static void begin(void *ctx)
{
    struct webrtc *w = ctx;

    if (udp_watch(w->udp, w->loop, received, w) != ERR_OK)
        log_error("webrtc", "the UDP port cannot be watched; only TCP works");
}

enum err webrtc_open(struct webrtc **out, const struct webrtc_options *options, struct address *at)
{
    struct webrtc *w = mem_new(sizeof *w);
    enum err e;

    *out = NULL;
    w->options = *options;
    w->loop = net_loop(options->net, net_loop_count(options->net) - 1);
    list_init(&w->connections);
    list_init(&w->waiting);
    w->strangers = rate_new(WEBRTC_STRANGERS_ADDRESS_MINUTE, WEBRTC_STRANGERS_BURST_SECONDS);
    w->by_id = map_new();
    w->by_ufrag = map_new();
    w->by_address = map_new();
    w->feeds = map_new();
    w->outbox.bytes = mem_resize(NULL, OUTBOX_BYTES);
    if ((e = dtls_house_new(&w->dtls)) != ERR_OK || (e = open_port(w, at)) != ERR_OK)
        goto out;
    w->at = *at;
    w->outbox.udp = w->udp;
    e = find_candidates(w);
out:
    if (e != ERR_OK) {
        listen_stop(w->listener);
        w->listener = NULL;
        udp_close(w->udp);
        w->udp = NULL;
        webrtc_close(w);
        return e;
    }
    loop_post(w->loop, begin, w);
    *out = w;
    return ERR_OK;
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

struct closing {
    struct webrtc *room;
    pthread_mutex_t lock;
    pthread_cond_t done_told;
    bool done;
};

static void close_here(void *ctx)
{
    struct closing *c = ctx;
    struct webrtc *w = c->room;
    struct bytes key;
    void *feed;

    w->closed = true;
    for (size_t at = 0; map_next(w->feeds, &at, &key, &feed); at = 0)
        feed_free(feed);
    list_each(&w->connections, at, after)
    {
        stream_close(container_of(at, struct connection, link)->stream);
    }
    udp_close(w->udp);
    w->udp = NULL;
    pthread_mutex_lock(&c->lock);
    c->done = true;
    pthread_cond_signal(&c->done_told);
    pthread_mutex_unlock(&c->lock);
}

void webrtc_stop(struct webrtc *w)
{
    struct closing c = {.room = w, .lock = PTHREAD_MUTEX_INITIALIZER, .done_told = PTHREAD_COND_INITIALIZER};

    if (w == NULL)
        return;
    listen_stop(w->listener);
    w->listener = NULL;
    loop_post(w->loop, close_here, &c);
    pthread_mutex_lock(&c.lock);
    while (!c.done)
        pthread_cond_wait(&c.done_told, &c.lock);
    pthread_mutex_unlock(&c.lock);
    pthread_mutex_destroy(&c.lock);
    pthread_cond_destroy(&c.done_told);
}

void webrtc_close(struct webrtc *w)
{
    if (w == NULL)
        return;
    map_free(w->by_id);
    map_free(w->by_ufrag);
    map_free(w->by_address);
    map_free(w->feeds);
    dtls_house_free(w->dtls);
    rate_free(w->strangers);
    free(w->outbox.bytes);
    free(w);
}
