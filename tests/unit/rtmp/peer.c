/* tests/unit/rtmp/peer.c - see peer.h. */
#include "peer.h"

#include "fake_live.h"
#include "rtmp/handshake_int.h"

#include <assert.h>
#include <stdlib.h>

static void put_line(struct peer *p, const struct chunk_message *m)
{
    struct bytes body = buffer_bytes(m->buffer);
    struct cursor c = cursor_of(body);

    if (m->type == TYPE_ACKNOWLEDGEMENT) {
        uint32_t low = cursor_be32(&c);

        p->acknowledgements++;
        p->acknowledged += (uint32_t)(low - (uint32_t)p->acknowledged);
        return;
    }
    if (m->type != TYPE_COMMAND) {
        builder_printf(&p->said, "type %u: %u\n", m->type, cursor_be32(&c));
        return;
    }
    for (bool is_first = true; body.size > 0; is_first = false) {
        struct amf_value v, code;
        const char *why;
        long taken = amf_read(&v, body, &why);

        assert(taken > 0);
        body = bytes_from(body, (size_t)taken);
        if (v.kind == AMF_STRING)
            builder_printf(&p->said, "%s%.*s", is_first ? "" : " ", (int)v.text.size,
                           (const char *)v.text.at);
        else if (v.kind == AMF_NUMBER)
            builder_printf(&p->said, " %g", v.number);
        else if (v.kind == AMF_OBJECT && amf_member(&v, "code", &code))
            builder_printf(&p->said, " %.*s", (int)code.text.size, (const char *)code.text.at);
        if (v.kind == AMF_OBJECT && amf_member(&v, "description", &code) && code.text.size > 0)
            builder_printf(&p->said, " (%.*s)", (int)code.text.size, (const char *)code.text.at);
    }
    builder_text(&p->said, "\n");
}

static void read_answers(struct peer *p)
{
    struct bytes in = builder_bytes(&p->answers);
    size_t at = 0;
    const char *why;

    while (at < in.size) {
        struct chunk_message m;
        long taken = chunk_read(&p->reader, &m, bytes_from(in, at), &why);

        assert(taken > 0);
        at += (size_t)taken;
        if (m.buffer == NULL)
            break;
        if (m.type == TYPE_CHUNK_SIZE)
            assert(chunk_set_size(&p->reader, cursor_be32(&(struct cursor){buffer_bytes(m.buffer), false})));
        put_line(p, &m);
        buffer_unref(m.buffer);
    }
    assert(at == in.size);
    builder_drop(&p->answers);
}

static void on_write(void *ctx, struct bytes b)
{
    struct peer *p = ctx;
    size_t greeting = b.size < p->greeting_left ? b.size : p->greeting_left;

    assert(!p->closed);
    p->greeting_left -= greeting;
    builder_add(&p->answers, bytes_from(b, greeting));
    read_answers(p);
}

static void on_hold(void *ctx, bool on)
{
    struct peer *p = ctx;

    assert(p->held != on);
    p->held = on;
}

static void on_close(void *ctx)
{
    struct peer *p = ctx;

    assert(!p->closed);
    p->closed = true;
}

static const struct session_output output = {.write = on_write, .hold = on_hold, .close = on_close};

void peer_open(struct peer *p)
{
    *p = (struct peer){.greeting_left = HANDSHAKE_OUT_BYTES};
    chunk_reader_init(&p->reader);
    p->session = session_new(NULL, NULL, &output, p, "test");
}

void peer_close(struct peer *p)
{
    session_free(p->session);
    chunk_reader_drop(&p->reader);
    builder_drop(&p->out);
    builder_drop(&p->said);
    builder_drop(&p->answers);
}

void peer_handshake(struct peer *p)
{
    handshake_begin(0, builder_room(&p->out, HANDSHAKE_IN_BYTES));
    memset(builder_room(&p->out, HANDSHAKE_BYTES), 0, HANDSHAKE_BYTES);
}

void peer_message(struct peer *p, uint32_t stream, uint8_t type, uint32_t timestamp, struct bytes body)
{
    struct chunk_outgoing m = {
        .stream = stream, .type = type, .timestamp = timestamp, .message_stream = 1, .body = body};

    chunk_write(&p->out, &m, p->session->reader.chunk_size);
}

void peer_command(struct peer *p, const char *name, double transaction, const char *argument)
{
    struct builder b = {0};

    amf_put_string(&b, name);
    amf_put_number(&b, transaction);
    amf_put_null(&b);
    if (argument != NULL)
        amf_put_string(&b, argument);
    peer_message(p, 3, TYPE_COMMAND, 0, builder_bytes(&b));
    builder_drop(&b);
}

void peer_connect(struct peer *p, const char *app)
{
    struct builder b = {0};

    amf_put_string(&b, "connect");
    amf_put_number(&b, 1);
    amf_put_object(&b);
    if (app != NULL) {
        amf_put_name(&b, "app");
        amf_put_string(&b, app);
    }
    amf_put_name(&b, "objectEncoding");
    amf_put_number(&b, 0);
    amf_put_object_end(&b);
    peer_message(p, 3, TYPE_COMMAND, 0, builder_bytes(&b));
    builder_drop(&b);
}

/* What the session has not taken stays in `out`. */
void peer_send(struct peer *p, size_t piece)
{
    struct bytes all = builder_bytes(&p->out);
    size_t at = 0, shown = 0;

    while (shown < all.size && !p->held && !p->closed) {
        shown = piece > 0 && all.size - shown > piece ? shown + piece : all.size;
        size_t taken = session_read(p->session, bytes_from(bytes_head(all, shown), at));

        assert(taken <= shown - at);
        at += taken;
    }
    struct builder rest = {0};

    builder_add(&rest, bytes_from(all, at));
    builder_drop(&p->out);
    p->out = rest;
}

void peer_publish(struct peer *p)
{
    peer_handshake(p);
    peer_connect(p, "live");
    peer_command(p, "releaseStream", 2, "key");
    peer_command(p, "FCPublish", 3, "key");
    peer_command(p, "createStream", 4, NULL);
    peer_command(p, "publish", 5, "key");
    peer_send(p, 0);
    fake_grant();
}

const char *peer_heard(struct peer *p)
{
    static char text[65536];
    struct bytes said = builder_bytes(&p->said);

    assert(said.size < sizeof text);
    if (said.size > 0)
        memcpy(text, said.at, said.size);
    text[said.size] = '\0';
    builder_drop(&p->said);
    return text;
}
