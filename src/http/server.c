/* http/server.c - a server's life: listening, its share of each loop, and a polite end. */
#include "http/http_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct http_server {
    struct listener *listener;
    int64_t grace_ms;
    pthread_mutex_t lock;
    pthread_cond_t empty;
    unsigned living; /* parts that still have connections */
    unsigned part_count;
    struct http_part parts[];
};

struct bytes part_date_line(struct http_part *p)
{
    int64_t turn = loop_now_ms(p->loop);

    /* Made at most once per turn and, between seconds, compared only. */
    if (turn != p->date_turn_ms || p->date_line[0] == '\0') {
        int64_t now = clock_wall_ms() / 1000;

        if (now != p->date_s || p->date_line[0] == '\0') {
            char text[CLOCK_TEXT_SIZE];

            snprintf(p->date_line, sizeof p->date_line, "Date: %.29s\r\n", clock_http_text(now * 1000, text));
            p->date_s = now;
        }
        p->date_turn_ms = turn;
    }
    return bytes_of(p->date_line, DATE_LINE_BYTES);
}

static void opened(void *ctx, struct stream *s)
{
    struct http_server *server = ctx;
    struct http_part *p = &server->parts[loop_index(stream_loop(s))];

    stream_write_limit(s, HTTP_STALL_MS_MAX);
    if (strcmp(stream_alpn(s), "h2") == 0)
        http2_open(p, s);
    else
        http1_open(p, s);
}

enum err http_server_start(struct http_server **out, struct net *n, struct address *at,
                           struct tls_server *tls, const struct http_handler *handler)
{
    unsigned count = net_loop_count(n);
    struct http_server *s = mem_new(sizeof *s + count * sizeof s->parts[0]);

    *out = NULL;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->empty, NULL);
    s->part_count = count;
    for (unsigned i = 0; i < count; i++) {
        s->parts[i].server = s;
        s->parts[i].loop = net_loop(n, i);
        s->parts[i].handler = *handler;
        list_init(&s->parts[i].connections);
    }
    enum err e = listen_start(&s->listener, n, at, tls, opened, s);

    if (e != ERR_OK) {
        http_server_stop(s, 0);
        return e;
    }
    *out = s;
    return ERR_OK;
}

/* --- the end ------------------------------------------------------------------------------------------ */

static void part_is_empty(void *ctx)
{
    struct http_part *p = ctx;
    struct http_server *s = p->server;

    timer_stop(&p->grace);
    pthread_mutex_lock(&s->lock);
    s->living--;
    pthread_cond_signal(&s->empty);
    pthread_mutex_unlock(&s->lock); /* from here on the part may be freed */
}

void part_enter(struct http_part *p, struct http_connection *c)
{
    c->part = p;
    list_init(&c->link);
    list_push(&p->connections, &c->link);
}

void part_leave(struct http_connection *c)
{
    struct http_part *p = c->part;

    list_remove(&c->link);
    if (p->draining && list_empty(&p->connections))
        loop_after_turn(p->loop, part_is_empty, p);
}

static void grace_is_over(void *ctx)
{
    struct http_part *p = ctx;

    list_each(&p->connections, at, after)
    {
        stream_close(container_of(at, struct http_connection, link)->stream);
    }
}

static void part_drain(void *ctx)
{
    struct http_part *p = ctx;

    p->draining = true;
    if (list_empty(&p->connections)) {
        loop_after_turn(p->loop, part_is_empty, p);
        return;
    }
    timer_start(p->loop, &p->grace, p->server->grace_ms, grace_is_over, p);
    list_each(&p->connections, at, after)
    {
        struct http_connection *c = container_of(at, struct http_connection, link);

        c->drain(c);
    }
}

void http_server_stop(struct http_server *s, int64_t grace_ms)
{
    if (s == NULL)
        return;
    assert(loop_here() == NULL);
    s->grace_ms = grace_ms;
    if (s->listener != NULL) {
        listen_stop(s->listener);
        s->living = s->part_count;
        for (unsigned i = 0; i < s->part_count; i++)
            loop_post(s->parts[i].loop, part_drain, &s->parts[i]);
        pthread_mutex_lock(&s->lock);
        while (s->living > 0)
            pthread_cond_wait(&s->empty, &s->lock);
        pthread_mutex_unlock(&s->lock);
    }
    for (unsigned i = 0; i < s->part_count; i++)
        deflater_free(s->parts[i].deflater);
    pthread_cond_destroy(&s->empty);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
