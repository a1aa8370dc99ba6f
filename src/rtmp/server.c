/* rtmp/server.c - listeners and connections: the glue between net's streams and sessions.
 *
 * A connection belongs to the loop that accepted it. The server knows its connections per loop, so that it can
 * cut off those that never published when it stops. */
#include "rtmp/rtmp.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "rtmp/session_int.h"

#include <pthread.h>
#include <stdlib.h>

METRIC(connections, METRIC_GAUGE, "matinee_rtmp_connections", "RTMP connections that are open");

struct rtmp_server {
    struct net *net;
    struct live *live;
    struct listener *listener;
    struct list *connections; /* one list per loop, touched on that loop only */
    pthread_mutex_t lock;     /* the two below */
    pthread_cond_t changed;
    unsigned loops_left; /* rtmp_server_stop(): loops that have yet to cut off theirs */
    unsigned references; /* connections, and rtmp_server_stop() to come */
};

struct connection {
    struct list link;
    struct rtmp_server *server;
    struct stream *stream;
    struct session *session;
    struct timer tick;
    char peer[ADDRESS_TEXT_SIZE];
};

static void server_ref(struct rtmp_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->references++;
    pthread_mutex_unlock(&s->lock);
}

static void server_unref(struct rtmp_server *s)
{
    pthread_mutex_lock(&s->lock);
    bool is_last = --s->references == 0;

    pthread_mutex_unlock(&s->lock);
    if (!is_last)
        return;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s->connections);
    free(s);
}

static struct list *list_of(struct rtmp_server *s, const struct loop *l)
{
    return &s->connections[loop_index(l)];
}

/* --- one connection ---------------------------------------------------------------------------------- */

static void output_write(void *ctx, struct bytes b)
{
    struct connection *c = ctx;

    stream_write(c->stream, b);
}

static void output_hold(void *ctx, bool on)
{
    struct connection *c = ctx;

    if (on)
        stream_pause(c->stream);
    else
        stream_resume(c->stream);
}

static void output_close(void *ctx)
{
    struct connection *c = ctx;

    timer_stop(&c->tick);
    stream_close_gently(c->stream);
}

static const struct session_output output = {
    .write = output_write, .hold = output_hold, .close = output_close};

static void on_tick(void *ctx)
{
    struct connection *c = ctx;

    timer_start(stream_loop(c->stream), &c->tick, SESSION_TICK_MS, on_tick, c);
    session_tick(c->session);
    stream_lazy(c->stream, c->session->state == SESSION_PUBLISHING && !c->session->live_hurries);
}

static size_t on_read(void *ctx, struct stream *s, struct bytes in)
{
    struct connection *c = ctx;
    size_t taken = session_read(c->session, in);

    /* Answers are small and few; a peer that lets them pile up is asking for the sake of asking. */
    if (stream_queued(s) > RTMP_OUT_QUEUE_BYTES_MAX) {
        log_info("rtmp", "%s: closed: it does not read our answers", c->peer);
        stream_close(s);
        return in.size;
    }
    return taken;
}

static void on_closed(void *ctx, struct stream *s, enum err why)
{
    struct connection *c = ctx;
    struct rtmp_server *server = c->server;

    (void)s;
    log_debug("rtmp", "%s: gone: %s", c->peer, err_text(why));
    timer_stop(&c->tick);
    session_free(c->session);
    list_remove(&c->link);
    free(c);
    metric_add(&connections, -1);
    server_unref(server);
}

static const struct stream_events events = {.read = on_read, .closed = on_closed};

static void on_opened(void *ctx, struct stream *s)
{
    struct rtmp_server *server = ctx;
    struct connection *c = mem_new(sizeof *c);

    c->server = server;
    c->stream = s;
    address_text(stream_peer(s), c->peer);
    c->session = session_new(server->live, stream_loop(s), &output, c, c->peer);
    list_init(&c->link);
    list_push(list_of(server, stream_loop(s)), &c->link);
    server_ref(server);
    metric_add(&connections, 1);
    stream_use(s, &events, c);
    stream_write_limit(s, RTMP_SILENCE_MS_MAX);
    timer_start(stream_loop(s), &c->tick, SESSION_TICK_MS, on_tick, c);
}

/* --- the server -------------------------------------------------------------------------------------- */

enum err rtmp_server_start(struct rtmp_server **out, struct net *n, struct address *at,
                           struct tls_server *tls, struct live *live)
{
    struct rtmp_server *s = mem_new(sizeof *s);
    unsigned loops = net_loop_count(n);
    enum err e;

    *out = NULL;
    s->net = n;
    s->live = live;
    s->references = 1;
    s->connections = mem_new(loops * sizeof *s->connections);
    for (unsigned i = 0; i < loops; i++)
        list_init(&s->connections[i]);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if ((e = listen_start(&s->listener, n, at, tls, on_opened, s)) != ERR_OK) {
        server_unref(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

/* On each loop: those that publish leave by live_drain(), the others now. */
static void cut_off(void *ctx)
{
    struct rtmp_server *s = ctx;

    list_each(list_of(s, loop_here()), at, after)
    {
        struct connection *c = container_of(at, struct connection, link);

        if (c->session->publication == NULL)
            stream_close_gently(c->stream);
    }
    pthread_mutex_lock(&s->lock);
    s->loops_left--;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void rtmp_server_stop(struct rtmp_server *s)
{
    if (s == NULL)
        return;
    listen_stop(s->listener);
    s->loops_left = net_loop_count(s->net);
    for (unsigned i = 0; i < net_loop_count(s->net); i++)
        loop_post(net_loop(s->net, i), cut_off, s);
    pthread_mutex_lock(&s->lock);
    while (s->loops_left > 0)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    server_unref(s);
}
