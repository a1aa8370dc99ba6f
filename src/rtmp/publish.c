/* rtmp/publish.c - a session's dealings with live: the key, the messages, what is durable, and the end. */
#include "rtmp/session_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"

METRIC(publishers, METRIC_GAUGE, "matinee_rtmp_publishers", "Publishers that are connected and were granted");
METRIC(messages, METRIC_COUNTER, "matinee_rtmp_messages_total", "Media messages received from publishers");

/* The publication is over, whoever ended it. */
static void leave(struct session *s, enum session_state next)
{
    if (s->state == SESSION_PUBLISHING || s->state == SESSION_FINISHING)
        metric_add(&publishers, -1);
    s->publication = NULL;
    s->live_holds = s->live_hurries = false;
    s->state = next;
    s->since_ms = clock_mono_ms();
    s->given_position = s->durable_position = 0;
}

static void refuse_name(struct session *s, uint32_t message_stream, const char *why)
{
    reply_status(s, message_stream, "error", "NetStream.Publish.BadName", why);
    session_close(s, why);
}

/* A message that will never be durable: nothing behind its first byte is acknowledged any more. */
static void never_durable(struct session *s, const struct chunk_message *m)
{
    if (m->first < s->never_durable)
        s->never_durable = m->first;
}

void session_lost(struct session *s)
{
    struct publication *p = s->publication;
    bool clean = s->state == SESSION_FINISHING;

    if (p == NULL)
        return;
    leave(s, SESSION_CLOSING);
    live_unpublish(p, clean);
}

/* A publication that live has ended, or will have to: the peer is told, and the line is cut. */
static void evict(struct session *s, const char *code, const char *why)
{
    session_acknowledge(s, true);
    leave(s, SESSION_CONNECTED);
    reply_status(s, s->message_stream, "error", code, why);
    session_close(s, why);
}

static void on_granted(void *ctx)
{
    struct session *s = ctx;

    s->state = SESSION_PUBLISHING;
    s->reader.message_bytes_max = RTMP_MESSAGE_BYTES_MAX;
    metric_add(&publishers, 1);
    log_info("rtmp", "%s: publishes", s->peer);
    reply_status(s, s->message_stream, "status", "NetStream.Publish.Start", "Publishing.");
    session_update_hold(s);
}

static void on_refused(void *ctx, enum err why, const char *text)
{
    struct session *s = ctx;

    leave(s, SESSION_CONNECTED);
    /* Clients know BadName for both; the text tells a person which it is. */
    log_info("rtmp", "%s: refused: %s", s->peer, err_text(why));
    refuse_name(s, s->message_stream, text);
}

/* Everything is on the disk: the end can be answered. */
static void finish_now(struct session *s)
{
    struct publication *p = s->publication;
    uint32_t message_stream = s->message_stream;

    session_acknowledge(s, true);
    leave(s, SESSION_CONNECTED);
    live_unpublish(p, true);
    log_info("rtmp", "%s: ended its publication", s->peer);
    reply_fc(s, "onFCUnpublish", "NetStream.Unpublish.Success");
    reply_status(s, message_stream, "status", "NetStream.Unpublish.Success", "Everything sent is on disk.");
    if (s->finish_wants_answer)
        reply_result(s, s->finish_transaction);
    session_update_hold(s);
}

static void on_durable(void *ctx, uint64_t position)
{
    struct session *s = ctx;

    s->durable_position = position;
    ack_durable(&s->ack, position);
    if (s->state == SESSION_FINISHING && position >= s->given_position)
        finish_now(s);
    else
        session_acknowledge(s, false);
}

static void on_notice(void *ctx, bool is_error, const char *text)
{
    struct session *s = ctx;

    /* Never level "error": FFmpeg would take it for the end of the publication. */
    reply_status(s, s->message_stream, is_error ? "warning" : "status", "NetStream.Publish.Notice", text);
}

static void on_hold(void *ctx, bool on)
{
    struct session *s = ctx;

    s->live_holds = on;
    session_update_hold(s);
}

static void on_evicted(void *ctx, const char *text)
{
    evict(ctx, "NetStream.Publish.Rejected", text);
}

static void on_hurry(void *ctx, bool on)
{
    struct session *s = ctx;

    s->live_hurries = on; /* whoever has the socket looks at it with every tick */
}

static const struct publisher_events events = {
    .granted = on_granted,
    .refused = on_refused,
    .durable = on_durable,
    .notice = on_notice,
    .hold = on_hold,
    .evicted = on_evicted,
    .hurry = on_hurry,
};

/* A name that could be a key: what stands before '?', visible ASCII without a path in it. */
static const char *check_name(struct bytes *name)
{
    long query = bytes_find(*name, '?');

    if (query >= 0)
        *name = bytes_head(*name, (size_t)query);
    if (name->size == 0)
        return "The stream key is missing.";
    if (name->size > STREAM_KEY_BYTES_MAX)
        return "The stream key is too long.";
    for (size_t i = 0; i < name->size; i++)
        if (name->at[i] <= ' ' || name->at[i] > '~' || name->at[i] == '/' || name->at[i] == '\\')
            return "The stream key has characters that no key has.";
    return NULL;
}

void session_publish(struct session *s, const struct session_call *call)
{
    struct bytes name = call->argument.text;
    const char *why = check_name(&name);

    if (s->state == SESSION_PUBLISHING) {
        reply_status(s, call->message_stream, "warning", "NetStream.Publish.BadName",
                     "This connection publishes already.");
        return;
    }
    if (why != NULL) {
        refuse_name(s, call->message_stream, why);
        return;
    }
    s->message_stream = call->message_stream;
    s->state = SESSION_WAITING;
    s->publication = live_publish(s->live, s->loop, name, &events, s);
    session_update_hold(s);
}

void session_finish(struct session *s, const struct session_call *call)
{
    /* deleteStream has no answer in the specification, and some clients count answers. */
    bool wants_answer = call->transaction != 0 && bytes_is(call->name, "FCUnpublish");

    if (s->state != SESSION_PUBLISHING) {
        if (wants_answer)
            reply_result(s, call->transaction);
        return;
    }
    s->finish_wants_answer = wants_answer;
    s->finish_transaction = call->transaction;
    s->state = SESSION_FINISHING;
    if (s->durable_position >= s->given_position) {
        finish_now(s);
        return;
    }
    session_update_hold(s);
    live_sync(s->publication);
}

/* One message or one part of an aggregate. False when the publication is over. */
static bool give(struct session *s, uint8_t type, uint32_t timestamp, const struct chunk_message *m,
                 struct bytes body)
{
    struct publication *p = s->publication;
    uint64_t position = 0;
    const char *why = NULL;
    enum err e;

    metric_add(&messages, 1);
    s->giving = m->first;
    e = live_message(p, (enum message_kind)type, timestamp, m->buffer, body, &position, &why);
    if (s->publication == NULL || e != ERR_OK)
        never_durable(s, m);
    s->giving = UINT64_MAX;
    if (s->publication == NULL)
        return false; /* evicted meanwhile */
    if (e != ERR_OK) {
        evict(s, "NetStream.Publish.Rejected", why ? why : err_text(e));
        live_unpublish(p, false);
        return false;
    }
    if (position > 0) {
        ack_message(&s->ack, m->first, position);
        s->given_position = position;
    }
    return true;
}

/* FLV tags laid end to end (type 22): timestamps count from that of the first one. */
static void give_aggregate(struct session *s, const struct chunk_message *m)
{
    struct cursor c = cursor_of(buffer_bytes(m->buffer));
    uint32_t base = 0;
    bool is_first = true;

    while (c.left.size > 0) {
        uint8_t type = cursor_u8(&c);
        uint32_t size = cursor_be24(&c), low = cursor_be24(&c);
        uint32_t timestamp = (uint32_t)cursor_u8(&c) << 24 | low;

        cursor_take(&c, 3);
        struct bytes body = cursor_take(&c, size);

        cursor_take(&c, 4); /* the size again */
        if (c.short_of) {
            never_durable(s, m); /* a torn tail is dropped */
            return;
        }
        if (is_first)
            base = timestamp;
        is_first = false;
        if ((type == TYPE_AUDIO || type == TYPE_VIDEO) &&
            !give(s, type, m->timestamp + (timestamp - base), m, body))
            return;
    }
}

/* Metadata as FLV files hold it: without the "@setDataFrame" that tells a server to keep it. */
static struct bytes data_body(const struct chunk_message *m)
{
    struct bytes body = buffer_bytes(m->buffer);
    struct amf_value first;
    const char *why;

    if (m->type == TYPE_DATA_AMF3)
        body = bytes_from(body, 1); /* the format selector */
    if (amf_read(&first, body, &why) < 0 || first.kind != AMF_STRING ||
        !bytes_is(first.text, "@setDataFrame"))
        return body;
    return bytes_from(body, 3 + first.text.size);
}

void session_media(struct session *s, struct chunk_message *m)
{
    if (s->state != SESSION_PUBLISHING) {
        never_durable(s, m); /* before or after a publication media is nobody's */
        return;
    }
    if (m->type == TYPE_AGGREGATE)
        give_aggregate(s, m);
    else if (m->type == TYPE_DATA || m->type == TYPE_DATA_AMF3)
        give(s, TYPE_DATA, m->timestamp, m, data_body(m));
    else
        give(s, m->type, m->timestamp, m, buffer_bytes(m->buffer));
}
