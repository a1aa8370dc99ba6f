/* queue/nats.c - the connection to NATS JetStream: opening it, waiting its absences out, and the few requests the kind is made of.
 *
 * The library reconnects for ever. What it cannot know, that streams and consumers may be gone after a reconnect, is asked
 * anew by the next call. See nats_int.h for what is on the wire. */
#include "queue/nats_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RECONNECT_MS 200
/* A server that has left so many PINGs unanswered is cut off, and is asked for on a new connection: well within a lease, so that a
 * worker does not take what nobody hears for a beat. The library's own are four minutes. */
#define PING_MS        2000
#define PINGS_LOST_MAX 2
/* A server answers a pull in a millisecond or two. One that was killed may count messages that are gone, and then says nothing:
 * there is nothing. The next pull finds it counting right. */
#define PULL_MS 1000
/* The ear looks up so often, to notice a reconnect and its end. */
#define EAR_MS 100

/* --- subjects ------------------------------------------------------------------------------------------- */

struct bytes part_of(const char *subject, size_t at)
{
    const char *from = parts_from(subject, at);

    return bytes_of(from, strcspn(from, "."));
}

const char *parts_from(const char *subject, size_t at)
{
    for (; at > 0; at--) {
        const char *dot = strchr(subject, '.');

        if (dot == NULL)
            return "";
        subject = dot + 1;
    }
    return subject;
}

void id_make(struct job_id *out, const char *leader, const char *key, uint64_t birth)
{
    int at = snprintf(out->text, sizeof out->text, "%s.", leader);

    snprintf(out->text + at, sizeof out->text - (size_t)at, "%s.%016llx", key, (unsigned long long)birth);
    for (size_t i = 0; key[i] != '\0'; i++)
        if (key[i] == '.')
            out->text[(size_t)at + i] = '%';
}

bool id_key(const char *id, char key[QUEUE_KEY_MAX + 1])
{
    struct bytes from = part_of(id, 1);

    if (from.size == 0 || from.size > QUEUE_KEY_MAX || part_of(id, 2).size == 0 ||
        strlen(id) >= sizeof((struct job_id *)NULL)->text)
        return false;
    for (size_t i = 0; i < from.size; i++)
        key[i] = (char)(from.at[i] == '%' ? '.' : from.at[i]);
    key[from.size] = '\0';
    return true;
}

/* --- requests ------------------------------------------------------------------------------------------- */

natsMsg *nats_message(const char *subject, struct bytes content)
{
    natsMsg *m = NULL;

    /* It fails for want of memory only, and then this house ends. */
    if (natsMsg_Create(&m, subject, NULL, (const char *)content.at, (int)content.size) != NATS_OK)
        abort();
    return m;
}

unsigned nats_header_number(natsMsg *m, const char *name)
{
    const char *text = NULL;
    uint64_t number = 0;

    if (natsMsgHeader_Get(m, name, &text) != NATS_OK || !bytes_to_u64(bytes_text(text), UINT32_MAX, &number))
        return 0;
    return (unsigned)number;
}

/* Streams may be gone, or the server is: the next call looks. */
static enum err away(struct nats_queue *n)
{
    pthread_mutex_lock(&n->lock);
    n->ready = n->jobs_checked = false;
    pthread_mutex_unlock(&n->lock);
    return ERR_IO;
}

enum err nats_store(struct nats_queue *n, natsMsg *m, bool once)
{
    jsErrCode code = 0;
    jsPubAck *ack = NULL;
    jsPubOptions options;
    natsStatus s;

    jsPubOptions_Init(&options);
    options.MaxWait = ANSWER_MS;
    options.ExpectNoMessage = once;
    s = js_PublishMsg(&ack, n->js, m, &options, &code);
    jsPubAck_Destroy(ack);
    natsMsg_Destroy(m);
    if (s == NATS_OK)
        return ERR_OK;
    if (code == JSStreamWrongLastSequenceErr)
        return ERR_EXISTS;
    log_debug("queue", "storing: %s (%d)", natsStatus_GetText(s), (int)code);
    return s == NATS_MAX_PAYLOAD ? ERR_LIMIT : away(n);
}

enum err nats_pull(struct nats_queue *n, const char *stream, const char *consumer, natsMsg **out)
{
    static const char ask[] = "{\"batch\":1,\"no_wait\":true}";
    char subject[SUBJECT_MAX];
    const char *status = NULL;
    natsStatus s;

    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, consumer);
    s = natsConnection_RequestString(out, n->connection, subject, ask, PULL_MS);
    if (s != NATS_OK) {
        *out = NULL;
        return s == NATS_TIMEOUT ? ERR_OK : away(n);
    }
    if (natsMsgHeader_Get(*out, "Status", &status) == NATS_OK && natsMsg_GetDataLength(*out) == 0) {
        natsMsg_Destroy(*out); /* nothing there, or others are asking: the next time */
        *out = NULL;
    }
    return ERR_OK;
}

enum err nats_purge(struct nats_queue *n, const char *stream, const char *subject)
{
    jsOptions options;

    jsOptions_Init(&options);
    options.Wait = ANSWER_MS;
    options.Stream.Purge.Subject = subject;
    return js_PurgeStream(n->js, stream, &options, NULL) == NATS_OK ? ERR_OK : away(n);
}

enum err nats_subjects(struct nats_queue *n, const char *stream, const char *filter,
                       void (*each)(void *ctx, const char *subject, uint64_t count), void *ctx)
{
    jsStreamInfo *info = NULL;
    jsOptions options;

    jsOptions_Init(&options);
    options.Wait = ANSWER_MS;
    options.Stream.Info.SubjectsFilter = filter;
    if (js_GetStreamInfo(&info, n->js, stream, &options, NULL) != NATS_OK)
        return away(n);
    for (int i = 0; info->State.Subjects != NULL && i < info->State.Subjects->Count; i++)
        each(ctx, info->State.Subjects->List[i].Subject, info->State.Subjects->List[i].Msgs);
    jsStreamInfo_Destroy(info);
    return ERR_OK;
}

/* What is told may be lost: whoever misses it asks within SWEEP_MS. */
void nats_tell(struct nats_queue *n, const char *kind, const char *text)
{
    char subject[64];

    snprintf(subject, sizeof subject, "matinee.tell.%s", kind);
    if (natsConnection_PublishString(n->connection, subject, text) != NATS_OK)
        log_debug("queue", "%s: not told: %s", subject, text);
}

void nats_answer(struct nats_queue *n, const char *reply, const char *text)
{
    if (natsConnection_PublishString(n->connection, reply, text) != NATS_OK)
        log_debug("queue", "not answered: %s", text);
}

void nats_return(struct nats_queue *n, const char *reply)
{
    natsMsg *heard = NULL;

    if (natsConnection_RequestString(&heard, n->connection, reply, "-NAK", ANSWER_MS) != NATS_OK)
        log_debug("queue", "a task's return was not heard; its lease will run out");
    natsMsg_Destroy(heard);
}

/* --- streams and consumers ------------------------------------------------------------------------------ */

static natsStatus make_stream(struct nats_queue *n, const char *name, const char *subject,
                              jsStorageType storage, jsErrCode *code)
{
    const char *subjects[] = {subject};
    jsStreamConfig config;
    natsStatus s;

    jsStreamConfig_Init(&config);
    config.Name = name;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = storage;
    s = js_AddStream(NULL, n->js, &config, NULL, code);
    /* Whoever runs the server may have given it replicas or limits: theirs to decide. */
    return *code == JSStreamNameExistErr ? NATS_OK : s;
}

/* The class of a consumer's name, or of what was told. False: of somebody who looks on. */
static bool class_of(const char *name, char class[CLASS_SIZE])
{
    snprintf(class, CLASS_SIZE, "%.12s", name);
    return strspn(name, "01") == 1 && name[1] == '-' && strspn(name + 2, "0123456789") == 10 &&
           (name[12] == '\0' || name[12] == '-');
}

/* Keeps them in the order in which they are asked. `life`: in which its consumer was seen to be there, or 0. */
static void class_note(struct nats_queue *n, const char *name, int64_t life)
{
    struct job_class *c = n->class;

    pthread_mutex_lock(&n->lock);
    while (c < n->class + n->class_count && strcmp(c->name, name) < 0)
        c++;
    if (c < n->class + n->class_count && strcmp(c->name, name) == 0) {
        c->life = life > c->life ? life : c->life;
    } else if (n->class_count < CLASSES_MAX) {
        memmove(c + 1, c, (size_t)(n->class + n->class_count - c) * sizeof *c);
        snprintf(c->name, sizeof c->name, "%s", name);
        c->life = life;
        n->class_count++;
    }
    pthread_mutex_unlock(&n->lock);
}

enum err nats_class(struct nats_queue *n, const char *class, char consumer[CONSUMER_SIZE])
{
    char filter[64];
    jsConsumerConfig config;
    jsErrCode code = 0;
    bool there = false;
    int64_t life;

    pthread_mutex_lock(&n->lock);
    life = n->life;
    for (size_t i = 0; i < n->class_count; i++)
        there = there || (strcmp(n->class[i].name, class) == 0 && n->class[i].life == life);
    pthread_mutex_unlock(&n->lock);
    snprintf(consumer, CONSUMER_SIZE, "%.15s-%016llx", class, (unsigned long long)life);
    if (there)
        return ERR_OK;
    snprintf(filter, sizeof filter, "matinee.job.%.1s.%s.>", class, class + 2);
    jsConsumerConfig_Init(&config);
    config.Durable = consumer;
    config.AckPolicy = js_AckExplicit;
    config.AckWait = n->lease_ms * 1000000;
    config.MaxAckPending = -1;
    config.FilterSubject = filter;
    if (js_AddConsumer(NULL, n->js, JOBS_STREAM, &config, NULL, &code) != NATS_OK)
        return away(n);
    class_note(n, class, life);
    return ERR_OK;
}

/* The consumer of an earlier life goes when its class has one in this. One of a later life is left alone: others have reconnected
 * before us, and we hear of it with the next call. */
static enum err class_renew(struct nats_queue *n, const char *class, const char *old)
{
    char consumer[CONSUMER_SIZE];
    jsErrCode code = 0;
    enum err e = nats_class(n, class, consumer);

    if (e == ERR_OK && strcmp(old, consumer) < 0 &&
        js_DeleteConsumer(n->js, JOBS_STREAM, old, NULL, &code) != NATS_OK && code != JSConsumerNotFoundErr)
        e = away(n);
    return e;
}

enum err nats_read_classes(struct nats_queue *n)
{
    jsConsumerNamesList *names = NULL;
    natsStatus s = js_ConsumerNames(&names, n->js, JOBS_STREAM, NULL, NULL);
    enum err e = ERR_OK;

    if (s != NATS_OK && s != NATS_NOT_FOUND)
        return ERR_IO;
    for (int i = 0; names != NULL && i < names->Count && e == ERR_OK; i++) {
        char class[CLASS_SIZE];

        if (class_of(names->List[i], class))
            e = class_renew(n, class, names->List[i]);
    }
    jsConsumerNamesList_Destroy(names);
    return e;
}

static enum err read_life(struct nats_queue *n, int64_t *life)
{
    jsStreamInfo *info = NULL;

    if (js_GetStreamInfo(&info, n->js, LIFE_STREAM, NULL, NULL) != NATS_OK)
        return ERR_IO;
    *life = info->Created;
    jsStreamInfo_Destroy(info);
    return ERR_OK;
}

/* Makes what is missing. `code` says what the server had against it. */
static enum err set_up(struct nats_queue *n, jsErrCode *code)
{
    uint64_t reconnects;
    int64_t life;

    pthread_mutex_lock(&n->lock);
    reconnects = n->reconnects;
    pthread_mutex_unlock(&n->lock);
    if (make_stream(n, LIFE_STREAM, "matinee.life", js_MemoryStorage, code) != NATS_OK ||
        make_stream(n, JOBS_STREAM, "matinee.job.>", js_FileStorage, code) != NATS_OK ||
        make_stream(n, NEWS_STREAM, "matinee.news.>", js_FileStorage, code) != NATS_OK ||
        read_life(n, &life) != ERR_OK)
        return ERR_IO;
    pthread_mutex_lock(&n->lock);
    n->life = life;
    for (size_t i = 0; i < n->class_count; i++)
        n->class[i].life = 0; /* consumers may be gone */
    pthread_mutex_unlock(&n->lock);
    if (nats_read_classes(n) != ERR_OK)
        return ERR_IO;
    pthread_mutex_lock(&n->lock);
    n->ready = reconnects == n->reconnects;
    pthread_mutex_unlock(&n->lock);
    return ERR_OK;
}

/* --- the ear -------------------------------------------------------------------------------------------- */

bool nats_wait(struct nats_queue *n, uint64_t wakes, int64_t deadline_ms)
{
    int64_t now_ms = clock_mono_ms(), wait_ms = deadline_ms - now_ms;
    struct timespec until;

    if (wait_ms <= 0)
        return false;
    if (wait_ms > SWEEP_MS)
        wait_ms = SWEEP_MS;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&n->lock);
    while (!n->stopped && n->wakes == wakes && pthread_cond_timedwait(&n->changed, &n->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&n->lock);
    return true;
}

static void wake(struct nats_queue *n)
{
    pthread_mutex_lock(&n->lock);
    n->wakes++;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

static void notice_reconnect(struct nats_queue *n)
{
    natsStatistics *counts = NULL;
    uint64_t reconnects = 0;
    bool news;

    if (natsStatistics_Create(&counts) != NATS_OK)
        return;
    if (natsConnection_GetStats(n->connection, counts) == NATS_OK)
        (void)natsStatistics_GetCounts(counts, NULL, NULL, NULL, NULL, &reconnects);
    natsStatistics_Destroy(counts);
    pthread_mutex_lock(&n->lock);
    news = reconnects != n->reconnects;
    if (news) {
        n->reconnects = reconnects;
        n->ready = n->jobs_checked = false;
    }
    pthread_mutex_unlock(&n->lock);
    if (news)
        wake(n);
}

enum err nats_ready(struct nats_queue *n)
{
    jsErrCode code = 0;
    bool ready;

    notice_reconnect(n);
    pthread_mutex_lock(&n->lock);
    ready = n->ready;
    pthread_mutex_unlock(&n->lock);
    if (natsConnection_Status(n->connection) != NATS_CONN_STATUS_CONNECTED)
        return ERR_IO;
    return ready ? ERR_OK : set_up(n, &code);
}

static void hear(struct nats_queue *n, natsMsg *m)
{
    const char *kind = parts_from(natsMsg_GetSubject(m), 2);
    char *text = mem_text(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m)), class[CLASS_SIZE];

    if (strcmp(kind, "over") == 0)
        worker_told_over(n, text);
    else if (strcmp(kind, "wake") != 0)
        leader_told(n, kind, text);
    else if (class_of(text, class))
        class_note(n, class, 0);
    free(text);
    if (strcmp(kind, "beat") != 0)
        wake(n);
}

static void *ear(void *ctx)
{
    struct nats_queue *n = ctx;
    bool closing = false;

    while (!closing) {
        natsMsg *m = nats_next(n->told, EAR_MS);

        if (m != NULL)
            hear(n, m);
        natsMsg_Destroy(m);
        notice_reconnect(n);
        pthread_mutex_lock(&n->lock);
        closing = n->closing;
        pthread_mutex_unlock(&n->lock);
    }
    return NULL;
}

/* --- the beginning and the end -------------------------------------------------------------------------- */

static void nats_stop(struct queue *q)
{
    struct nats_queue *n = nats_of(q);

    pthread_mutex_lock(&n->lock);
    n->stopped = true;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

static void nats_close(struct queue *q)
{
    struct nats_queue *n = nats_of(q);

    pthread_mutex_lock(&n->lock);
    n->closing = true;
    pthread_mutex_unlock(&n->lock);
    if (n->ear_runs)
        pthread_join(n->ear, NULL);
    if (n->connection != NULL) /* what was answered last shall arrive */
        (void)natsConnection_FlushTimeout(n->connection, ANSWER_MS);
    natsSubscription_Destroy(n->told);
    jsCtx_Destroy(n->js);
    natsConnection_Destroy(n->connection);
    worker_free(n);
    leader_free(n);
    pthread_cond_destroy(&n->changed);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

static const struct queue_kind nats_kind = {
    .close = nats_close,
    .stop = nats_stop,
    .put = nats_put,
    .again = nats_again,
    .drop = nats_drop,
    .listen = nats_listen,
    .settle = nats_settle,
    .stats = nats_stats,
    .take = nats_take,
    .beat = nats_beat,
    .done = nats_done,
    .fail = nats_fail,
    .give_back = nats_give_back,
};

/* The part of a URL that may be shown: without its password. */
static const char *shown(const char *url)
{
    const char *at = strrchr(url, '@');

    return at != NULL ? at + 1 : url;
}

/* With no callback at all the library would wait inside the call. */
static void connected_late(natsConnection *connection, void *ctx)
{
    log_info("queue", "the NATS server is there now");
}

natsStatus nats_connect(natsConnection **out, const char *url, const char *name, bool echo, bool waiting)
{
    natsOptions *options = NULL;
    natsStatus s = natsOptions_Create(&options);

    if (s == NATS_OK)
        s = natsOptions_SetURL(options, url);
    if (s == NATS_OK && strncmp(url, "tls:", 4) == 0)
        s = natsOptions_SetSecure(options, true);
    if (s == NATS_OK)
        s = natsOptions_SetMaxReconnect(options, -1);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectWait(options, RECONNECT_MS);
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(options, ANSWER_MS);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(options, PING_MS);
    if (s == NATS_OK)
        s = natsOptions_SetMaxPingsOut(options, PINGS_LOST_MAX);
    if (s == NATS_OK)
        s = natsOptions_SetName(options, name);
    if (s == NATS_OK)
        s = natsOptions_SetNoEcho(options, !echo);
    /* Each request hears its answer at a subject of its own. What nobody waits for any more has no listener then, and the server
     * gives no task to it. */
    if (s == NATS_OK)
        s = natsOptions_UseOldRequestStyle(options, true);
    if (s == NATS_OK && waiting)
        s = natsOptions_SetRetryOnFailedConnect(options, true, connected_late, NULL);
    if (s == NATS_OK)
        s = natsConnection_Connect(out, options);
    if (s == NATS_NOT_YET_CONNECTED)
        s = NATS_OK;
    natsOptions_Destroy(options);
    return s;
}

natsMsg *nats_next(natsSubscription *from, int64_t ms)
{
    natsMsg *m = NULL;
    natsStatus s = natsSubscription_NextMsg(&m, from, ms);

    if (s != NATS_OK && s != NATS_TIMEOUT)
        nats_Sleep(ms);
    return m;
}

static enum err refused(natsStatus s, jsErrCode code, const char *url, char why[256])
{
    const char *advice = natsStatus_GetText(s);

    if (s == NATS_CONNECTION_AUTH_FAILED)
        advice = "the server refuses this user or password";
    else if (code == JSNotEnabledErr || code == JSNotEnabledForAccountErr || s == NATS_NO_RESPONDERS)
        advice = "JetStream is off there; start nats-server with -js";
    else if (code != 0)
        advice = "the server refuses to make our streams; its log says why";
    snprintf(why, 256, "--queue %.100s: %s", shown(url), advice);
    return s == NATS_CONNECTION_AUTH_FAILED ? ERR_DENIED : code != 0 ? ERR_UNSUPPORTED : ERR_BAD;
}

/* Connects, or begins to try for ever where the server is away. */
static enum err begin(struct nats_queue *n, const char *url, char why[256])
{
    natsStatus s = nats_connect(&n->connection, url, n->worker, true, false);
    bool there = s == NATS_OK;

    if (s == NATS_INVALID_ARG || s == NATS_ERR || s == NATS_CONNECTION_AUTH_FAILED || s == NATS_SSL_ERROR)
        return refused(s, 0, url, why);
    if (!there) {
        log_warn("queue", "%s is not there (%s); waiting for it", shown(url), natsStatus_GetText(s));
        s = nats_connect(&n->connection, url, n->worker, true, true);
    }
    if (s == NATS_OK)
        s = natsConnection_JetStream(&n->js, n->connection, NULL);
    if (s == NATS_OK)
        s = natsConnection_SubscribeSync(&n->told, n->connection, "matinee.tell.*");
    if (s != NATS_OK)
        return refused(s, 0, url, why);
    if (there) {
        jsErrCode code = 0;

        if (set_up(n, &code) != ERR_OK && code != 0)
            return refused(NATS_OK, code, url, why);
    }
    n->ear_runs = pthread_create(&n->ear, NULL, ear, n) == 0;
    snprintf(why, 256, "no thread for the queue");
    return n->ear_runs ? ERR_OK : ERR_IO;
}

enum err queue_nats_open(struct queue **out, const struct queue_options *options, char why[256])
{
    struct nats_queue *n = mem_new(sizeof *n);
    pthread_condattr_t monotonic;
    enum err e;

    n->queue.kind = &nats_kind;
    snprintf(n->leader, sizeof n->leader, "%s", options->leader != NULL ? options->leader : "");
    snprintf(n->worker, sizeof n->worker, "%s", options->worker);
    n->lease_ms = options->lease_ms;
    n->failures_max = options->failures_max;
    n->deaths_max = options->deaths_max;
    list_init(&n->attempts);
    list_init(&n->started);
    n->jobs = map_new();
    pthread_mutex_init(&n->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&n->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if ((e = begin(n, options->url, why)) != ERR_OK) {
        nats_close(&n->queue);
        return e;
    }
    *out = &n->queue;
    return ERR_OK;
}
