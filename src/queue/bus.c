/* queue/bus.c - the bus between servers, over core NATS; or nothing, where there is only one. */
#include "queue/nats_int.h"

#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* An ear looks up so often, to notice its end. */
#define EAR_MS 100

struct bus {
    natsConnection *connection; /* NULL: there is nobody else */
};

struct bus_ear {
    natsSubscription *subscription;
    pthread_t thread;
    atomic_bool ends;
    void (*heard)(void *ctx, struct bytes message);
    void *ctx;
};

enum err bus_open(struct bus **out, const char *url, char why[256])
{
    struct bus *b = mem_new(sizeof *b);
    char name[QUEUE_WORKER_SIZE];
    natsStatus s = NATS_OK;

    *out = NULL;
    queue_worker_name(name);
    if (strncmp(url, "local:", 6) != 0 &&
        (s = nats_connect(&b->connection, url, name, false, false)) != NATS_OK)
        s = nats_connect(&b->connection, url, name, false, true);
    if (s != NATS_OK) {
        snprintf(why, 256, "--queue: messages between servers: %s", natsStatus_GetText(s));
        free(b);
        return ERR_BAD;
    }
    *out = b;
    return ERR_OK;
}

void bus_close(struct bus *b)
{
    if (b == NULL)
        return;
    natsConnection_Destroy(b->connection);
    free(b);
}

static void subject_of(const char *topic, char subject[64])
{
    assert(strlen(topic) <= BUS_TOPIC_MAX);
    snprintf(subject, 64, "matinee.bus.%s", topic);
}

void bus_tell(struct bus *b, const char *topic, struct bytes message)
{
    char subject[64];

    assert(message.size <= BUS_MESSAGE_MAX);
    if (b->connection == NULL)
        return;
    subject_of(topic, subject);
    if (natsConnection_Publish(b->connection, subject, message.at, (int)message.size) != NATS_OK)
        log_debug("queue", "%s: not told", subject);
}

static void *listen_on(void *ctx)
{
    struct bus_ear *ear = ctx;

    while (!atomic_load(&ear->ends)) {
        natsMsg *m = nats_next(ear->subscription, EAR_MS);

        if (m != NULL)
            ear->heard(ear->ctx, bytes_of(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m)));
        natsMsg_Destroy(m);
    }
    return NULL;
}

struct bus_ear *bus_listen(struct bus *b, const char *topic, void (*heard)(void *ctx, struct bytes message),
                           void *ctx)
{
    struct bus_ear *ear;
    char subject[64];

    if (b->connection == NULL)
        return NULL;
    ear = mem_new(sizeof *ear);
    ear->heard = heard;
    ear->ctx = ctx;
    subject_of(topic, subject);
    if (natsConnection_SubscribeSync(&ear->subscription, b->connection, subject) != NATS_OK ||
        pthread_create(&ear->thread, NULL, listen_on, ear) != 0) {
        log_warn("queue", "%s: other servers are not heard; what they tell is seen a little later", subject);
        natsSubscription_Destroy(ear->subscription);
        free(ear);
        return NULL;
    }
    return ear;
}

void bus_unlisten(struct bus_ear *ear)
{
    if (ear == NULL)
        return;
    atomic_store(&ear->ends, true);
    pthread_join(ear->thread, NULL);
    natsSubscription_Destroy(ear->subscription);
    free(ear);
}
