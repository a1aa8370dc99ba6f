/* tests/fuzz/rtmp_session.c - a whole session behind its handshake, with a live room that the input plays too:
 * the first byte says how it is split, the second what live answers. */
#include "fuzz.h"

#include "rtmp/fake_live.h"
#include "rtmp/handshake_int.h"
#include "rtmp/session_int.h"

#include "base/clock.h"

static bool held, closed;

static void on_write(void *ctx, struct bytes b)
{
    fuzz_check(!closed && b.size > 0);
}

static void on_hold(void *ctx, bool on)
{
    held = on;
}

static void on_close(void *ctx)
{
    fuzz_check(!closed);
    closed = true;
}

static const struct session_output output = {.write = on_write, .hold = on_hold, .close = on_close};

/* What live says meanwhile. */
static void play_live(uint8_t mood)
{
    if (fake.publication == NULL)
        return;
    if (!fake.publication->granted && mood & 1)
        fake_refuse(ERR_BUSY, "busy");
    else if (!fake.publication->granted)
        fake_grant();
    else if (mood & 2)
        fake_hold(!held);
    if (fake.publication != NULL && fake.publication->granted && !(mood & 4))
        fake_durable(fake.position);
    if (fake.publication != NULL && fake.publication->granted && (mood & 24) == 24)
        fake_evict("over");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t hello[HANDSHAKE_IN_BYTES + HANDSHAKE_BYTES] = {HANDSHAKE_VERSION};
    struct bytes in = bytes_from(bytes_of(data, size), 2);
    size_t piece = size > 2 ? 1 + data[0] * 4u : 1, at = 0, shown = 0;
    uint8_t mood = size > 2 ? data[1] : 0;
    struct session *s;

    held = closed = false;
    log_set_level(LOG_ERROR);
    clock_test_set(1000000, 0);
    fake.answer = (mood & 224) == 224 ? ERR_UNSUPPORTED : ERR_OK;
    fake.why = "no";
    fake.skip = mood & 128;
    s = session_new(NULL, NULL, &output, NULL, "fuzz");
    fuzz_check(session_read(s, bytes_of(hello, sizeof hello)) == sizeof hello);
    for (unsigned idle = 0; shown < in.size && !closed && idle < 8;) {
        if (!held)
            shown = in.size - shown > piece ? shown + piece : in.size;
        at += session_read(s, bytes_from(bytes_head(in, shown), at));
        play_live(mood);
        clock_test_set(clock_mono_us() + 300000, 0);
        if (!closed)
            session_tick(s);
        idle = held ? idle + 1 : 0;
        fuzz_check(s->ack.sent <= s->reader.position || closed);
    }
    session_free(s);
    fake_reset();
    return 0;
}
