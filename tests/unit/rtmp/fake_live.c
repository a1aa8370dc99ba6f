/* tests/unit/rtmp/fake_live.c - see fake_live.h. */
#include "fake_live.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct fake_live fake;

static void forget_publication(void)
{
    if (fake.publication == NULL)
        return;
    free(fake.publication->key);
    free(fake.publication);
    fake.publication = NULL;
}

void fake_reset(void)
{
    forget_publication();
    for (size_t i = 0; i < fake.message_count && !fake.forget; i++)
        buffer_unref(fake.messages[i].buffer);
    free(fake.messages);
    fake = (struct fake_live){0};
}

struct publication *live_publish(struct live *l, struct loop *loop, struct bytes key,
                                 const struct publisher_events *events, void *ctx)
{
    assert(fake.publication == NULL);
    fake.publishes++;
    fake.publication = mem_new(sizeof *fake.publication);
    *fake.publication = (struct publication){loop, events, ctx, mem_text(key.at, key.size), false};
    return fake.publication;
}

enum err live_message(struct publication *p, enum message_kind kind, uint32_t timestamp_ms,
                      struct buffer *message, struct bytes body, uint64_t *position, const char **why)
{
    struct fake_message *m;

    assert(p == fake.publication && p->granted);
    assert(kind == MESSAGE_AUDIO || kind == MESSAGE_VIDEO || kind == MESSAGE_DATA);
    assert(body.size == 0 ||
           (body.at >= message->data && body.at + body.size <= message->data + message->size));
    *position = 0;
    *why = fake.why;
    if (fake.evict_in_message)
        fake_evict("The event has ended.");
    if (fake.answer != ERR_OK || fake.publication == NULL)
        return fake.answer;
    if (!fake.skip)
        *position = fake.position += 10 + body.size;
    fake.message_count++;
    if (fake.forget)
        return ERR_OK;
    fake.messages = mem_resize(fake.messages, fake.message_count * sizeof *fake.messages);
    m = &fake.messages[fake.message_count - 1];
    *m = (struct fake_message){kind, timestamp_ms, buffer_ref(message), body, *position};
    return ERR_OK;
}

void live_heard(struct publication *p)
{
    assert(p == fake.publication);
    fake.heard++;
}

void live_sync(struct publication *p)
{
    assert(p == fake.publication);
    fake.syncs++;
}

void live_unpublish(struct publication *p, bool clean)
{
    assert(p == fake.publication);
    fake.unpublishes++;
    fake.last_was_clean = clean;
    forget_publication();
}

void fake_grant(void)
{
    fake.publication->granted = true;
    fake.publication->events->granted(fake.publication->ctx);
}

/* The publication is gone before its owner is told, as live/live.h has it. */
void fake_refuse(enum err why, const char *text)
{
    struct publication p = *fake.publication;

    forget_publication();
    p.events->refused(p.ctx, why, text);
}

void fake_evict(const char *text)
{
    struct publication p = *fake.publication;

    forget_publication();
    p.events->evicted(p.ctx, text);
}

void fake_durable(uint64_t position)
{
    fake.publication->events->durable(fake.publication->ctx, position);
}

void fake_hold(bool on)
{
    fake.publication->events->hold(fake.publication->ctx, on);
}

void fake_notice(bool is_error, const char *text)
{
    fake.publication->events->notice(fake.publication->ctx, is_error, text);
}
