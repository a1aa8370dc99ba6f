/* rtmp/session.c - the life of a connection: handshake, messages, protocol control, clocks; see session_int.h.
 * Commands are command.c, the publication is publish.c, answers are reply.c. */
#include "rtmp/session_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "rtmp/handshake_int.h"

#include <stdlib.h>

METRIC(bytes_received, METRIC_COUNTER, "matinee_rtmp_bytes_total", "Bytes received over RTMP");

#define PING 6

struct session *session_new(struct live *live, struct loop *loop, const struct session_output *output,
                            void *ctx, const char *peer)
{
    struct session *s = mem_new(sizeof *s);

    s->live = live;
    s->loop = loop;
    s->output = output;
    s->ctx = ctx;
    s->peer = peer;
    s->out_chunk_size = CHUNK_SIZE_STANDARD;
    s->giving = s->never_durable = UINT64_MAX;
    s->since_ms = s->heard_ms = clock_mono_ms();
    chunk_reader_init(&s->reader);
    ack_init(&s->ack, s->heard_ms);
    return s;
}

void session_free(struct session *s)
{
    if (s == NULL)
        return;
    session_lost(s);
    chunk_reader_drop(&s->reader);
    ack_drop(&s->ack);
    free(s);
}

void session_close(struct session *s, const char *why)
{
    if (s->state == SESSION_CLOSING)
        return;
    log_info("rtmp", "%s: closed: %s", s->peer, why);
    session_lost(s);
    s->state = SESSION_CLOSING;
    session_update_hold(s);
    s->output->close(s->ctx);
}

void session_update_hold(struct session *s)
{
    bool hold = s->state == SESSION_WAITING || s->state == SESSION_FINISHING ||
                (s->state == SESSION_PUBLISHING && s->live_holds);

    if (hold == s->is_held)
        return;
    s->is_held = hold;
    s->heard_ms = clock_mono_ms(); /* silence that we asked for does not count */
    s->output->hold(s->ctx, hold);
}

void session_acknowledge(struct session *s, bool at_once)
{
    uint64_t stop = chunk_first_partial(&s->reader);

    stop = s->giving < stop ? s->giving : stop;
    stop = s->never_durable < stop ? s->never_durable : stop;
    uint64_t count = ack_count(&s->ack, s->reader.position, stop);
    int64_t now = clock_mono_ms();

    if (s->state < SESSION_CONNECTED || s->state == SESSION_CLOSING)
        return;
    if (!ack_is_due(&s->ack, count, now) && !(at_once && count > s->ack.sent))
        return;
    reply_control(s, TYPE_ACKNOWLEDGEMENT, (uint32_t)count);
    ack_sent(&s->ack, count, now);
}

/* User Control (§6.2): a ping is answered, the rest is for players. */
static void user_control(struct session *s, struct bytes body)
{
    struct cursor c = cursor_of(body);
    uint16_t event = cursor_be16(&c);
    uint32_t value = cursor_be32(&c);

    if (event == PING && !c.short_of)
        reply_pong(s, value);
}

/* Protocol control (§5.4). NULL, or why the connection must end. */
static const char *control(struct session *s, uint8_t type, struct bytes body)
{
    struct cursor c = cursor_of(body);
    uint32_t value = cursor_be32(&c);

    if (c.short_of)
        return "a protocol control message that is cut short";
    if (type == TYPE_CHUNK_SIZE && !chunk_set_size(&s->reader, value))
        return "a chunk size of zero, or beyond the largest message";
    if (type == TYPE_ABORT)
        chunk_abort(&s->reader, value);
    if (type == TYPE_WINDOW)
        s->ack.window = value;
    return NULL; /* their acknowledgements and bandwidth limits are about bytes of ours, which are few */
}

/* NULL, or why the connection must end. */
static const char *message(struct session *s, struct chunk_message *m)
{
    struct bytes body = buffer_bytes(m->buffer);

    if (message_type_is_media(m->type)) {
        session_media(s, m);
        return NULL;
    }
    switch (m->type) {
    case TYPE_CHUNK_SIZE:
    case TYPE_ABORT:
    case TYPE_ACKNOWLEDGEMENT:
    case TYPE_WINDOW:
    case TYPE_BANDWIDTH:
        return control(s, m->type, body);
    case TYPE_USER_CONTROL:
        user_control(s, body);
        return NULL;
    case TYPE_COMMAND_AMF3:
        return session_command(s, bytes_from(body, 1), m->message_stream); /* behind the format selector */
    case TYPE_COMMAND:
        return session_command(s, body, m->message_stream);
    default:
        return NULL; /* shared objects and what nobody has defined */
    }
}

/* Takes C0 and C1, then C2. Its content is not compared: enough clients get it wrong. */
static long read_handshake(struct session *s, struct bytes in, const char **why)
{
    uint8_t out[HANDSHAKE_OUT_BYTES];
    long taken;

    if (s->state == SESSION_GREETED) {
        if (in.size < HANDSHAKE_BYTES)
            return PARSE_MORE;
        s->state = SESSION_NEW;
        return HANDSHAKE_BYTES;
    }
    taken = handshake_answer(in, (uint32_t)clock_mono_ms(), out, why);
    if (taken >= 0) {
        s->output->write(s->ctx, bytes_of(out, sizeof out));
        s->state = SESSION_GREETED;
    }
    return taken;
}

static long read_message(struct session *s, struct bytes in, const char **why)
{
    struct chunk_message m;
    long taken = chunk_read(&s->reader, &m, in, why);

    if (m.buffer != NULL) {
        *why = message(s, &m);
        buffer_unref(m.buffer);
    }
    if (*why != NULL)
        return PARSE_BAD;
    return taken == 0 ? PARSE_MORE : taken;
}

size_t session_read(struct session *s, struct bytes in)
{
    size_t at = 0;
    const char *why = NULL;

    s->heard_ms = clock_mono_ms();
    while (at < in.size && !s->is_held && s->state != SESSION_CLOSING) {
        struct bytes left = bytes_from(in, at);
        long taken = s->state < SESSION_NEW ? read_handshake(s, left, &why) : read_message(s, left, &why);

        if (taken == PARSE_BAD)
            session_close(s, why);
        if (taken < 0)
            break;
        at += (size_t)taken;
    }
    if (s->state == SESSION_CLOSING)
        at = in.size;
    metric_add(&bytes_received, (long long)at);
    if (s->publication != NULL)
        live_heard(s->publication);
    session_acknowledge(s, false);
    return at;
}

void session_tick(struct session *s)
{
    int64_t now = clock_mono_ms();
    bool is_granted = s->state == SESSION_PUBLISHING || s->state == SESSION_FINISHING;

    if (s->state == SESSION_CLOSING)
        return;
    if (!is_granted && now - s->since_ms >= RTMP_HELLO_MS_MAX)
        session_close(s, "no publication was begun in time");
    else if (!s->is_held && now - s->heard_ms >= RTMP_SILENCE_MS_MAX)
        session_close(s, "nothing was heard for too long");
    else
        session_acknowledge(s, false);
}
