/* rtmp/reply.c - what the server says: one function per kind of answer (RTMP 1.0 §5.4, §7.2). */
#include "rtmp/session_int.h"

/* Chunk streams we write on; 2 is laid down, the others are what everybody uses. */
enum { STREAM_CONTROL = 2, STREAM_COMMAND = 3, STREAM_STATUS = 5 };

#define PONG          7
#define LIMIT_DYNAMIC 2
/* How often we would be acknowledged to, and ask to be: both far beyond what we send. */
#define WINDOW_BYTES 2500000
/* Every answer of ours fits one chunk. */
#define CHUNK_BYTES 4096

static void send_message(struct session *s, uint32_t stream, uint8_t type, uint32_t message_stream,
                         struct builder *body)
{
    struct builder wire = {0};
    struct chunk_outgoing m = {
        .stream = stream, .type = type, .message_stream = message_stream, .body = builder_bytes(body)};

    chunk_write(&wire, &m, s->out_chunk_size);
    s->output->write(s->ctx, builder_bytes(&wire));
    builder_drop(&wire);
    builder_drop(body);
}

void reply_control(struct session *s, uint8_t type, uint32_t value)
{
    struct builder b = {0};

    builder_be32(&b, value);
    send_message(s, STREAM_CONTROL, type, 0, &b);
    if (type == TYPE_CHUNK_SIZE)
        s->out_chunk_size = value;
}

void reply_pong(struct session *s, uint32_t time)
{
    struct builder b = {0};

    builder_be16(&b, PONG);
    builder_be32(&b, time);
    send_message(s, STREAM_CONTROL, TYPE_USER_CONTROL, 0, &b);
}

static void send_bandwidth(struct session *s)
{
    struct builder b = {0};

    builder_be32(&b, WINDOW_BYTES);
    builder_u8(&b, LIMIT_DYNAMIC);
    send_message(s, STREAM_CONTROL, TYPE_BANDWIDTH, 0, &b);
}

static void put_text(struct builder *b, const char *name, const char *text)
{
    amf_put_name(b, name);
    amf_put_string(b, text);
}

static void put_number(struct builder *b, const char *name, double number)
{
    amf_put_name(b, name);
    amf_put_number(b, number);
}

static void put_status(struct builder *b, const char *level, const char *code, const char *why)
{
    amf_put_object(b);
    put_text(b, "level", level);
    put_text(b, "code", code);
    put_text(b, "description", why);
    amf_put_object_end(b);
}

static void put_head(struct builder *b, const char *name, double transaction)
{
    amf_put_string(b, name);
    amf_put_number(b, transaction);
}

/* Which codecs are taken by FourCC (Enhanced RTMP v2, connect): "can forward" is what a server does. */
static void put_codecs(struct builder *b)
{
    const double can_forward = 4;

    amf_put_name(b, "videoFourCcInfoMap");
    amf_put_object(b);
    put_number(b, "avc1", can_forward);
    put_number(b, "hvc1", can_forward);
    put_number(b, "av01", can_forward);
    amf_put_object_end(b);
    amf_put_name(b, "audioFourCcInfoMap");
    amf_put_object(b);
    put_number(b, "mp4a", can_forward);
    put_number(b, "Opus", can_forward);
    amf_put_object_end(b);
}

void reply_connected(struct session *s, double transaction)
{
    struct builder b = {0};

    reply_control(s, TYPE_WINDOW, WINDOW_BYTES);
    send_bandwidth(s);
    reply_control(s, TYPE_CHUNK_SIZE, CHUNK_BYTES);
    put_head(&b, "_result", transaction);
    amf_put_object(&b);
    put_text(&b, "fmsVer", "FMS/3,5,7,7009"); /* what clients look for before they send H.264 */
    put_number(&b, "capabilities", 31);
    put_number(&b, "mode", 1);
    put_codecs(&b);
    amf_put_object_end(&b);
    amf_put_object(&b);
    put_text(&b, "level", "status");
    put_text(&b, "code", "NetConnection.Connect.Success");
    put_text(&b, "description", "Connection succeeded.");
    put_number(&b, "objectEncoding", 0);
    amf_put_object_end(&b);
    send_message(s, STREAM_COMMAND, TYPE_COMMAND, 0, &b);
}

void reply_rejected(struct session *s, double transaction, const char *why)
{
    struct builder b = {0};

    put_head(&b, "_error", transaction);
    amf_put_null(&b);
    put_status(&b, "error", "NetConnection.Connect.Rejected", why);
    send_message(s, STREAM_COMMAND, TYPE_COMMAND, 0, &b);
}

void reply_result(struct session *s, double transaction)
{
    struct builder b = {0};

    put_head(&b, "_result", transaction);
    amf_put_null(&b);
    amf_put_null(&b);
    send_message(s, STREAM_COMMAND, TYPE_COMMAND, 0, &b);
}

void reply_number(struct session *s, double transaction, double number)
{
    struct builder b = {0};

    put_head(&b, "_result", transaction);
    amf_put_null(&b);
    amf_put_number(&b, number);
    send_message(s, STREAM_COMMAND, TYPE_COMMAND, 0, &b);
}

void reply_error(struct session *s, double transaction, const char *why)
{
    struct builder b = {0};

    put_head(&b, "_error", transaction);
    amf_put_null(&b);
    put_status(&b, "error", "NetConnection.Call.Failed", why);
    send_message(s, STREAM_COMMAND, TYPE_COMMAND, 0, &b);
}

void reply_status(struct session *s, uint32_t message_stream, const char *level, const char *code,
                  const char *why)
{
    struct builder b = {0};

    put_head(&b, "onStatus", 0);
    amf_put_null(&b);
    put_status(&b, level, code, why);
    send_message(s, STREAM_STATUS, TYPE_COMMAND, message_stream, &b);
}

void reply_fc(struct session *s, const char *command, const char *code)
{
    struct builder b = {0};

    put_head(&b, command, 0);
    amf_put_null(&b);
    put_status(&b, "status", code, "");
    send_message(s, STREAM_COMMAND, TYPE_COMMAND, 0, &b);
}
