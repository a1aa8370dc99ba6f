/* rtmp/client.c - publishes to a server: connecting, the commands, messages out and acknowledgements in.
 *
 * The counterpart of server.c and session.c in one, much smaller, because it trusts what it says itself. What
 * the server says goes through the same chunk reader and AMF reader, with the same limits. */
#include "rtmp/rtmp.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "rtmp/amf_int.h"
#include "rtmp/chunk_int.h"
#include "rtmp/handshake_int.h"
#include "rtmp/url_int.h"

#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#define OUT_CHUNK_BYTES 4096 /* as OBS does */
#define QUEUE_HIGH      1048576
#define QUEUE_LOW       524288
#define FINISH_MS_MAX   30000

enum state { CONNECTING, GREETING, GREETED, ASKING, READY, FINISHING };

/* Transactions; the server answers with the same number. */
enum { CALL_CONNECT = 1, CALL_RELEASE, CALL_FC_PUBLISH, CALL_CREATE_STREAM, CALL_PUBLISH, CALL_FC_UNPUBLISH };

enum {
    STREAM_CONTROL = 2,
    STREAM_COMMAND = 3,
    STREAM_AUDIO = 4,
    STREAM_DATA = 5,
    STREAM_VIDEO = 6,
    STREAM_COUNT
};

struct rtmp_client {
    struct loop *loop;
    const struct rtmp_client_events *events; /* NULL once aborted: nobody is told any more */
    void *ctx;
    char *url_text;
    struct rtmp_url url; /* points into url_text */
    char *host;
    struct address address;
    bool is_resolved;

    enum state state;
    struct stream *stream; /* NULL until connected */
    struct timer timer;
    struct chunk_reader reader;
    struct {
        bool used;
        uint32_t timestamp;
    } sent_on[STREAM_COUNT];
    uint32_t message_stream;
    uint32_t chunk_size;     /* in force */
    uint32_t announced_size; /* to be set with connect */
    uint64_t position;       /* bytes sent since the handshake */
    uint64_t media_end;      /* of which the last media message ended here */
    uint64_t acknowledged;   /* unwrapped */
    enum err why;            /* what `closed` will say, where it is ours to say */
    char text[256];
};

static void client_free(struct rtmp_client *c)
{
    timer_stop(&c->timer);
    chunk_reader_drop(&c->reader);
    free(c->url_text);
    free(c->host);
    free(c);
}

/* The last call. */
static void tell_closed(struct rtmp_client *c, enum err why)
{
    const struct rtmp_client_events *events = c->events;

    timer_stop(&c->timer);
    if (events != NULL)
        events->closed(c->ctx, why, c->text[0] != '\0' ? c->text : err_text(why));
    client_free(c);
}

/* Ends the connection for a reason of ours; on_closed() will tell it. */
static void fail(struct rtmp_client *c, enum err why, struct bytes text)
{
    size_t size = text.size < sizeof c->text - 1 ? text.size : sizeof c->text - 1;

    if (c->why != ERR_OK)
        return;
    c->why = why;
    if (size > 0)
        memcpy(c->text, text.at, size);
    c->text[size] = '\0';
    stream_close(c->stream);
}

static void on_timeout(void *ctx)
{
    struct rtmp_client *c = ctx;

    fail(c, ERR_TIMEOUT,
         bytes_text(c->state == FINISHING ? "the server did not acknowledge everything in time"
                                          : "the server did not let us publish in time"));
}

/* --- sending ----------------------------------------------------------------------------------------- */

static void send_message(struct rtmp_client *c, uint32_t stream, uint8_t type, uint32_t timestamp,
                         uint32_t message_stream, struct bytes body)
{
    bool is_delta = c->sent_on[stream].used && stream != STREAM_CONTROL && stream != STREAM_COMMAND &&
                    timestamp >= c->sent_on[stream].timestamp;
    struct chunk_outgoing m = {.stream = stream,
                               .type = type,
                               .timestamp = is_delta ? timestamp - c->sent_on[stream].timestamp : timestamp,
                               .message_stream = message_stream,
                               .is_delta = is_delta,
                               .body = body};
    struct builder wire = {0};

    chunk_write(&wire, &m, c->chunk_size);
    c->sent_on[stream].used = true;
    c->sent_on[stream].timestamp = timestamp;
    c->position += builder_bytes(&wire).size;
    stream_write_buffer(c->stream, builder_finish(&wire));
}

static void send_built(struct rtmp_client *c, uint32_t stream, uint8_t type, uint32_t message_stream,
                       struct builder *b)
{
    send_message(c, stream, type, 0, message_stream, builder_bytes(b));
    builder_drop(b);
}

static void put_text(struct builder *b, const char *name, struct bytes text)
{
    amf_put_name(b, name);
    builder_u8(b, AMF_STRING);
    builder_be16(b, (uint16_t)text.size);
    builder_add(b, text);
}

static void send_connect(struct rtmp_client *c)
{
    static const char *const fourccs[] = {"avc1", "hvc1", "av01", "mp4a", "Opus"};
    struct builder b = {0};

    builder_be32(&b, c->announced_size);
    send_built(c, STREAM_CONTROL, TYPE_CHUNK_SIZE, 0, &b);
    c->chunk_size = c->announced_size;
    amf_put_string(&b, "connect");
    amf_put_number(&b, CALL_CONNECT);
    amf_put_object(&b);
    put_text(&b, "app", c->url.app);
    put_text(&b, "type", bytes_text("nonprivate"));
    put_text(&b, "flashVer", bytes_text("FMLE/3.0 (compatible; matinee)"));
    put_text(&b, "tcUrl", c->url.base);
    amf_put_name(&b, "fourCcList");
    builder_u8(&b, AMF_STRICT_ARRAY);
    builder_be32(&b, 5);
    for (size_t i = 0; i < 5; i++)
        amf_put_string(&b, fourccs[i]);
    amf_put_object_end(&b);
    send_built(c, STREAM_COMMAND, TYPE_COMMAND, 0, &b);
}

/* A command with no object and, if `argument` is not empty, one string. */
static void send_call(struct rtmp_client *c, const char *name, double transaction, struct bytes argument)
{
    struct builder b = {0};

    amf_put_string(&b, name);
    amf_put_number(&b, transaction);
    amf_put_null(&b);
    if (argument.size > 0) {
        builder_u8(&b, AMF_STRING);
        builder_be16(&b, (uint16_t)argument.size);
        builder_add(&b, argument);
    }
    if (transaction == CALL_PUBLISH)
        amf_put_string(&b, "live");
    send_built(c, STREAM_COMMAND, TYPE_COMMAND, transaction == CALL_PUBLISH ? c->message_stream : 0, &b);
}

static void send_delete_stream(struct rtmp_client *c)
{
    struct builder b = {0};

    amf_put_string(&b, "deleteStream");
    amf_put_number(&b, 0);
    amf_put_null(&b);
    amf_put_number(&b, c->message_stream);
    send_built(c, STREAM_COMMAND, TYPE_COMMAND, 0, &b);
}

/* --- what the server says ---------------------------------------------------------------------------- */

/* Everything is where it belongs: the clean end. */
static void finish_if_acknowledged(struct rtmp_client *c)
{
    if (c->state != FINISHING || c->acknowledged < c->media_end)
        return;
    timer_stop(&c->timer);
    stream_close_gently(c->stream);
}

static void heard_acknowledgement(struct rtmp_client *c, uint32_t low)
{
    uint64_t count = c->acknowledged + (uint32_t)(low - (uint32_t)c->acknowledged);

    if (count > c->position)
        return; /* back, or ahead of what was sent: no count of ours */
    c->acknowledged = count;
    c->events->acknowledged(c->ctx, count);
    finish_if_acknowledged(c);
}

static void heard_result(struct rtmp_client *c, double transaction, const struct amf_value *argument)
{
    if (transaction == CALL_CONNECT) {
        send_call(c, "releaseStream", CALL_RELEASE, c->url.key);
        send_call(c, "FCPublish", CALL_FC_PUBLISH, c->url.key);
        send_call(c, "createStream", CALL_CREATE_STREAM, (struct bytes){0});
    } else if (transaction == CALL_CREATE_STREAM) {
        c->message_stream =
            argument->number >= 0 && argument->number <= UINT32_MAX ? (uint32_t)argument->number : 1;
        send_call(c, "publish", CALL_PUBLISH, c->url.key);
    }
}

static struct bytes member_text(const struct amf_value *object, const char *name)
{
    struct amf_value v;

    return amf_member(object, name, &v) ? v.text : (struct bytes){0};
}

static void heard_status(struct rtmp_client *c, const struct amf_value *info)
{
    struct bytes code = member_text(info, "code"), description = member_text(info, "description");

    if (bytes_is(member_text(info, "level"), "error"))
        fail(c, ERR_DENIED, description.size > 0 ? description : code);
    if (bytes_is(code, "NetStream.Publish.Notice") && c->events->notice != NULL) {
        char text[LOG_SAFE_SIZE];

        c->events->notice(c->ctx, log_safe(description, text));
    }
    if (c->state != ASKING || !bytes_is(code, "NetStream.Publish.Start"))
        return;
    c->state = READY;
    timer_stop(&c->timer);
    c->events->ready(c->ctx);
}

static void heard_command(struct rtmp_client *c, struct bytes body)
{
    struct amf_value v[4] = {{.kind = AMF_NULL}, {.kind = AMF_NULL}, {.kind = AMF_NULL}, {.kind = AMF_NULL}};
    const char *why;

    for (size_t i = 0; i < 4 && body.size > 0; i++) {
        long taken = amf_read(&v[i], body, &why);

        if (taken < 0)
            return;
        body = bytes_from(body, (size_t)taken);
    }
    if (bytes_is(v[0].text, "_result"))
        heard_result(c, v[1].number, &v[3]);
    else if (bytes_is(v[0].text, "onStatus"))
        heard_status(c, &v[3]);
    else if (bytes_is(v[0].text, "_error") &&
             (v[1].number == CALL_CONNECT || v[1].number == CALL_CREATE_STREAM))
        fail(c, ERR_DENIED, member_text(&v[3], "description"));
}

static void heard_control(struct rtmp_client *c, uint8_t type, struct bytes body)
{
    struct cursor at = cursor_of(body);
    struct builder pong = {0};

    if (type == TYPE_USER_CONTROL) {
        if (cursor_be16(&at) != 6 || at.left.size < 4)
            return;
        builder_be16(&pong, 7);
        builder_be32(&pong, cursor_be32(&at));
        send_built(c, STREAM_CONTROL, TYPE_USER_CONTROL, 0, &pong);
        return;
    }
    uint32_t value = cursor_be32(&at);

    if (at.short_of)
        return;
    if (type == TYPE_ACKNOWLEDGEMENT)
        heard_acknowledgement(c, value);
    else if (type == TYPE_CHUNK_SIZE && !chunk_set_size(&c->reader, value))
        fail(c, ERR_BAD, bytes_text("the server asks for an impossible chunk size"));
}

static void heard(struct rtmp_client *c, const struct chunk_message *m)
{
    struct bytes body = buffer_bytes(m->buffer);

    if (m->type == TYPE_COMMAND)
        heard_command(c, body);
    else if (m->type == TYPE_COMMAND_AMF3)
        heard_command(c, bytes_from(body, 1));
    else if (m->type <= TYPE_BANDWIDTH)
        heard_control(c, m->type, body);
}

/* S0, S1 and S2, each answered as soon as it is there. */
static long read_greeting(struct rtmp_client *c, struct bytes in, const char **why)
{
    long taken = HANDSHAKE_BYTES;

    if (c->state == GREETED) {
        if (in.size < HANDSHAKE_BYTES)
            return PARSE_MORE;
        c->state = ASKING;
        send_connect(c);
        return taken;
    }
    if ((taken = handshake_check(in, why)) < 0)
        return taken;
    stream_write(c->stream, bytes_of(in.at + 1, HANDSHAKE_BYTES)); /* C2: their S1 */
    c->state = GREETED;
    return taken;
}

static size_t on_read(void *ctx, struct stream *s, struct bytes in)
{
    struct rtmp_client *c = ctx;
    size_t at = 0;

    while (at < in.size && c->why == ERR_OK) {
        struct bytes left = bytes_from(in, at);
        struct chunk_message m = {0};
        const char *why = NULL;
        long taken =
            c->state < ASKING ? read_greeting(c, left, &why) : chunk_read(&c->reader, &m, left, &why);

        if (m.buffer != NULL && c->events != NULL)
            heard(c, &m);
        buffer_unref(m.buffer);
        if (taken == PARSE_BAD)
            fail(c, ERR_BAD, bytes_text(why));
        if (taken <= 0)
            break;
        at += (size_t)taken;
        if (c->events == NULL)
            return in.size; /* aborted by what it was told */
    }
    return at;
}

static void on_writable(void *ctx, struct stream *s)
{
    struct rtmp_client *c = ctx;

    if (c->events != NULL)
        c->events->writable(c->ctx);
}

static void on_closed(void *ctx, struct stream *s, enum err why)
{
    struct rtmp_client *c = ctx;

    if (c->why != ERR_OK)
        tell_closed(c, c->why);
    else if (c->state == FINISHING && c->acknowledged >= c->media_end)
        tell_closed(c, ERR_OK);
    else
        tell_closed(c, why == ERR_OK ? ERR_CLOSED : why);
}

static const struct stream_events stream_events = {
    .read = on_read, .writable = on_writable, .closed = on_closed};

/* --- connecting -------------------------------------------------------------------------------------- */

static void on_opened(void *ctx, struct stream *s, enum err why)
{
    struct rtmp_client *c = ctx;
    uint8_t hello[HANDSHAKE_IN_BYTES];

    if (s == NULL) {
        tell_closed(c, why);
        return;
    }
    c->stream = s;
    stream_use(s, &stream_events, c);
    if (c->events == NULL) {
        stream_close(s);
        return;
    }
    c->state = GREETING;
    handshake_begin((uint32_t)clock_mono_ms(), hello);
    stream_write(s, bytes_of(hello, sizeof hello));
    timer_start(c->loop, &c->timer, RTMP_HELLO_MS_MAX, on_timeout, c);
}

/* On a pool thread: the only thing here that blocks. */
static void resolve(void *ctx)
{
    struct rtmp_client *c = ctx;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char *port = mem_text(c->url.port.at, c->url.port.size);

    if (getaddrinfo(c->host, port, &hints, &found) == 0) {
        memcpy(&c->address.socket, found->ai_addr, found->ai_addrlen);
        c->address.size = found->ai_addrlen;
        c->is_resolved = true;
        freeaddrinfo(found);
    }
    free(port);
}

static void resolved(void *ctx)
{
    struct rtmp_client *c = ctx;

    if (c->events != NULL && c->is_resolved) {
        stream_connect(c->loop, &c->address, c->url.is_tls ? c->host : NULL, on_opened, c);
        return;
    }
    snprintf(c->text, sizeof c->text, "no address is known for the host %.200s", c->host);
    tell_closed(c, ERR_MISSING);
}

enum err rtmp_client_start(struct rtmp_client **out, struct loop *loop, const char *url,
                           const struct rtmp_client_events *events, void *ctx)
{
    struct rtmp_client *c;
    struct rtmp_url parsed;

    *out = NULL;
    if (rtmp_url_parse(&parsed, url) != ERR_OK || parsed.key.size > UINT16_MAX ||
        parsed.base.size > UINT16_MAX)
        return ERR_BAD;
    c = mem_new(sizeof *c);
    c->loop = loop;
    c->events = events;
    c->ctx = ctx;
    c->url_text = mem_string(url);
    (void)!rtmp_url_parse(&c->url, c->url_text); /* the same once more, into our own copy */
    c->host = mem_text(c->url.host.at, c->url.host.size);
    c->chunk_size = CHUNK_SIZE_STANDARD;
    c->announced_size = OUT_CHUNK_BYTES;
    chunk_reader_init(&c->reader);
    pool_run(loop, resolve, resolved, c);
    *out = c;
    return ERR_OK;
}

/* --- the owner's side -------------------------------------------------------------------------------- */

void rtmp_client_chunk_size(struct rtmp_client *c, uint32_t size)
{
    assert(size > 0 && size <= RTMP_CHUNK_BYTES_MAX);
    c->announced_size = size;
}

bool rtmp_client_send(struct rtmp_client *c, enum message_kind kind, uint32_t timestamp_ms, struct bytes body,
                      uint64_t *end)
{
    uint32_t stream = kind == MESSAGE_VIDEO   ? STREAM_VIDEO
                      : kind == MESSAGE_AUDIO ? STREAM_AUDIO
                                              : STREAM_DATA;

    assert(c->state == READY);
    send_message(c, stream, (uint8_t)kind, timestamp_ms, c->message_stream, body);
    *end = c->media_end = c->position;
    if (stream_queued(c->stream) <= QUEUE_HIGH)
        return true;
    stream_wait_writable(c->stream, QUEUE_LOW);
    return false;
}

void rtmp_client_finish(struct rtmp_client *c)
{
    if (c->state != READY)
        return; /* nothing was sent, or it is finishing already: its time limit runs */
    c->state = FINISHING;
    send_call(c, "FCUnpublish", CALL_FC_UNPUBLISH, c->url.key);
    send_delete_stream(c);
    timer_start(c->loop, &c->timer, FINISH_MS_MAX, on_timeout, c);
    finish_if_acknowledged(c);
}

void rtmp_client_abort(struct rtmp_client *c)
{
    if (c == NULL)
        return;
    c->events = NULL;
    timer_stop(&c->timer);
    if (c->stream != NULL)
        stream_close(c->stream); /* on_closed() frees; before that `resolved` or `on_opened` see to it */
}
