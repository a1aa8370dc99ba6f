/* tests/unit/rtmp/echo_live.c - see echo_live.h. */
#include "echo_live.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct echo_live echo = {.durable_after_ms = 50};

struct publication {
    struct loop *loop;
    const struct publisher_events *events;
    void *ctx;
    struct timer timer;
    enum err answer;
    uint64_t position;
};

static void answer(void *ctx)
{
    struct publication *p = ctx;

    if (p->answer == ERR_OK) {
        atomic_fetch_add(&echo.granted, 1);
        p->events->granted(p->ctx);
        return;
    }
    atomic_fetch_add(&echo.refused, 1);
    p->events->refused(p->ctx, p->answer,
                       p->answer == ERR_BUSY ? "Somebody is publishing with this stream key."
                                             : "No event has this stream key.");
    free(p);
}

struct publication *live_publish(struct live *l, struct loop *loop, struct bytes key,
                                 const struct publisher_events *events, void *ctx)
{
    struct publication *p = mem_new(sizeof *p);

    p->loop = loop;
    p->events = events;
    p->ctx = ctx;
    p->answer = bytes_starts(key, "key") ? ERR_OK : bytes_is(key, "busy") ? ERR_BUSY : ERR_DENIED;
    timer_start(loop, &p->timer, 0, answer, p);
    return p;
}

static void durable(void *ctx)
{
    struct publication *p = ctx;

    p->events->durable(p->ctx, p->position);
}

static enum err look(enum message_kind kind, struct bytes body, const char **why)
{
    struct flv_tag tag;
    struct codec_config config;
    enum err e = flv_parse(&tag, kind == MESSAGE_VIDEO ? TRACK_VIDEO : TRACK_AUDIO, body, why);

    if (e != ERR_OK || tag.kind == FLV_IGNORED || tag.kind == FLV_END)
        return e;
    if (tag.kind == FLV_SAMPLE) {
        atomic_fetch_add(&echo.samples, 1);
        return ERR_OK;
    }
    if ((e = codec_config_parse(&config, tag.codec, tag.payload, why)) != ERR_OK)
        return e;
    atomic_fetch_add(&echo.configs, 1);
    size_t used = strlen(echo.configs_seen);

    snprintf(echo.configs_seen + used, sizeof echo.configs_seen - used, "%s ", config.rfc6381);
    return ERR_OK;
}

enum err live_message(struct publication *p, enum message_kind kind, uint32_t timestamp_ms,
                      struct buffer *message, struct bytes body, uint64_t *position, const char **why)
{
    enum err e = ERR_OK;

    *position = 0;
    if (kind == MESSAGE_DATA)
        atomic_fetch_add(&echo.data, 1);
    else
        e = look(kind, body, why);
    if (e != ERR_OK)
        return e;
    atomic_fetch_add(&echo.bytes, (long long)body.size);
    *position = ++p->position;
    if (p->timer.loop == NULL)
        timer_start(p->loop, &p->timer, echo.durable_after_ms, durable, p);
    return ERR_OK;
}

void live_heard(struct publication *p)
{
    (void)p;
}

void live_sync(struct publication *p)
{
    timer_start(p->loop, &p->timer, 0, durable, p);
}

void live_unpublish(struct publication *p, bool clean)
{
    atomic_fetch_add(clean ? &echo.unpublished_clean : &echo.unpublished_lost, 1);
    timer_stop(&p->timer);
    free(p);
}
