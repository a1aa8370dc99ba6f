/* cmd/bench_load.c - publishers for `bench ingest`: a process with a loop of its own, which sends a prepared
 * script over many connections in real time; see bench_load_int.h. */
#include "cmd/bench_load_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "rtmp/rtmp.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define FPS       30
#define LENGTH_MS 8000 /* where 240 pictures and 375 frames of sound end together */
#define TICK_MS   1
#define START_MS  20000

/* --- the script --------------------------------------------------------------------------------------- */

/* A user data message (H.264 §D.1.7) of about `size`, so that a drawn picture weighs what a filmed one does. No filler unit:
 * who sends a stream on in packets leaves those out. */
static void add_filler(struct builder *b, size_t size)
{
    size_t body = size - 4 - size / 255, digits = body / 255 + 1;

    builder_be32(b, (uint32_t)(2 + digits + body + 1));
    builder_u8(b, 6);
    builder_u8(b, 5);
    memset(builder_room(b, digits - 1), 0xff, digits - 1);
    builder_u8(b, (uint8_t)(body % 255));
    memset(builder_room(b, body), 0x55, body);
    builder_u8(b, 0x80);
}

static struct buffer *message_body(const struct source *s, struct source_sample *sample)
{
    const size_t target = (size_t)(LOAD_BITS * 0.9 / 8 / FPS); /* a tenth is for sound and framing */
    struct builder unit = {0}, body = {0};

    builder_add(&unit, sample->payload);
    if (sample->track == TRACK_VIDEO && sample->payload.size + 32 < target)
        add_filler(&unit, target - sample->payload.size - 4);
    sample->payload = builder_bytes(&unit);
    source_write_sample(&body, s, sample);
    builder_drop(&unit);
    return builder_finish(&body);
}

static enum err read_samples(struct load_script *out, struct source *s, char why[SOURCE_WHY_SIZE])
{
    struct source_sample sample;
    int64_t base = INT64_MIN;
    enum err e;

    while ((e = s->next(s, &sample, why)) == ERR_OK) {
        if (base == INT64_MIN)
            base = sample.dts_ms;
        int64_t at = sample.dts_ms > base ? sample.dts_ms - base : 0;

        if (at >= LENGTH_MS)
            return ERR_OK;
        out->messages = mem_resize(out->messages, (out->message_count + 1) * sizeof *out->messages);
        out->messages[out->message_count++] =
            (struct load_message){sample.track, (uint32_t)at, message_body(s, &sample)};
    }
    return e;
}

static struct buffer *config_body(const struct source *s, enum track track)
{
    struct builder b = {0};

    source_write_config(&b, s, track);
    return builder_finish(&b);
}

/* Without delay, or the last pictures of a round would come when it is over, and be missing. */
enum err load_script_make(struct load_script *out, char why[SOURCE_WHY_SIZE])
{
    struct demo_options demo = {
        .width = 640, .height = 360, .fps = FPS, .gop_s = LOAD_GOP_S, .bitrate = 800000, .zerolatency = true};
    struct source *s = NULL;
    struct builder b = {0};
    enum err e;

    *out = (struct load_script){.length_ms = LENGTH_MS};
    if ((e = source_demo_open(&s, &demo, why)) != ERR_OK)
        return e;
    source_write_metadata(&b, s);
    out->metadata = builder_finish(&b);
    out->configs[TRACK_VIDEO] = config_body(s, TRACK_VIDEO);
    out->configs[TRACK_AUDIO] = config_body(s, TRACK_AUDIO);
    e = read_samples(out, s, why);
    source_free(s);
    return e;
}

void load_script_drop(struct load_script *s)
{
    for (size_t i = 0; i < s->message_count; i++)
        buffer_unref(s->messages[i].body);
    free(s->messages);
    buffer_unref(s->metadata);
    buffer_unref(s->configs[TRACK_VIDEO]);
    buffer_unref(s->configs[TRACK_AUDIO]);
    *s = (struct load_script){0};
}

/* --- in the child ------------------------------------------------------------------------------------- */

struct load_house;

struct publisher {
    struct load_house *house;
    struct rtmp_client *client;
    bool is_ready;
    int64_t began_ms;
    size_t next; /* message of the script */
    size_t pictures;
    uint32_t round;
};

struct load_house {
    const struct load_script *script;
    char **urls;
    struct net *net;
    struct publisher *publishers;
    size_t count, ready, broken;
    struct timer tick;
    int said;
};

static void say(struct load_house *h, unsigned word)
{
    (void)!write(h->said, &word, sizeof word);
}

static const enum message_kind kinds[] = {[TRACK_VIDEO] = MESSAGE_VIDEO, [TRACK_AUDIO] = MESSAGE_AUDIO};

/* Encoders in different houses do not tick together: their keyframes are spread over a GOP, and so their
 * frames over a frame's time. In step they would wake the server once for all of them, as no audience does. */
static int64_t phase_ms(const struct publisher *p)
{
    const struct load_house *h = p->house;

    return (p - h->publishers) * LOAD_GOP_S * 1000 / (int64_t)h->count;
}

static void on_ready(void *ctx)
{
    struct publisher *p = ctx;
    const struct load_script *s = p->house->script;
    uint64_t end;

    rtmp_client_send(p->client, MESSAGE_DATA, 0, buffer_bytes(s->metadata), &end);
    for (int t = 0; t < TRACK_COUNT; t++)
        rtmp_client_send(p->client, kinds[t], 0, buffer_bytes(s->configs[t]), &end);
    p->is_ready = true;
    p->began_ms = loop_now_ms(net_loop(p->house->net, 0)) + phase_ms(p);
    if (++p->house->ready == p->house->count)
        say(p->house, 0);
}

static void on_acknowledged(void *ctx, uint64_t bytes)
{
    (void)ctx;
    (void)bytes;
}

static void on_writable(void *ctx)
{
    (void)ctx; /* a server that falls behind shows in its figures */
}

static void on_closed(void *ctx, enum err why, const char *text)
{
    struct publisher *p = ctx;

    fprintf(stderr, "matinee bench ingest: a publisher was closed: %s\n", text);
    p->client = NULL;
    p->is_ready = false;
    p->house->broken++;
}

static const struct rtmp_client_events events = {
    .ready = on_ready, .acknowledged = on_acknowledged, .writable = on_writable, .closed = on_closed};

static void send_due(struct publisher *p, int64_t now_ms)
{
    const struct load_script *s = p->house->script;
    uint64_t end;

    while (p->is_ready) {
        const struct load_message *m = &s->messages[p->next];
        uint32_t timestamp = p->round * s->length_ms + m->at_ms;

        if (now_ms - p->began_ms < timestamp)
            return;
        if (m->track == TRACK_VIDEO && p == p->house->publishers && s->sent_us != NULL &&
            p->pictures < s->sent_room)
            s->sent_us[p->pictures++] = clock_mono_us();
        rtmp_client_send(p->client, kinds[m->track], timestamp, buffer_bytes(m->body), &end);
        if (++p->next == s->message_count) {
            p->next = 0;
            p->round++;
        }
    }
}

static void on_tick(void *ctx)
{
    struct load_house *h = ctx;
    struct loop *l = net_loop(h->net, 0);

    for (size_t i = 0; i < h->count; i++)
        send_due(&h->publishers[i], loop_now_ms(l));
    timer_start(l, &h->tick, TICK_MS, on_tick, h);
}

static void begin(void *ctx)
{
    struct load_house *h = ctx;

    for (size_t i = 0; i < h->count; i++) {
        h->publishers[i].house = h;
        if (rtmp_client_start(&h->publishers[i].client, net_loop(h->net, 0), h->urls[i], &events,
                              &h->publishers[i]) != ERR_OK)
            h->broken++;
        else
            rtmp_client_chunk_size(h->publishers[i].client, h->script->chunk_size);
    }
    on_tick(h);
}

static void end(void *ctx)
{
    struct load_house *h = ctx;

    timer_stop(&h->tick);
    for (size_t i = 0; i < h->count; i++)
        rtmp_client_abort(h->publishers[i].client);
    say(h, (unsigned)h->broken);
}

static void run_child(struct load_house *h, int stop)
{
    struct pollfd waits = {.fd = stop, .events = POLLIN};

    h->publishers = mem_new(h->count * sizeof *h->publishers);
    if (net_start(&h->net, 1, 4) != ERR_OK)
        _exit(1);
    loop_post(net_loop(h->net, 0), begin, h);
    while (poll(&waits, 1, -1) <= 0)
        ;
    loop_post(net_loop(h->net, 0), end, h);
    net_stop(h->net);
    _exit(0);
}

/* --- in the parent ------------------------------------------------------------------------------------ */

bool load_start(struct load *out, const struct load_script *script, char **urls, size_t url_count)
{
    struct load_house house = {.script = script, .urls = urls, .count = url_count};
    int stop[2], said[2];
    unsigned word = 1;
    cpu_set_t cores;

    if (pipe2(stop, O_CLOEXEC) != 0 || pipe2(said, O_CLOEXEC) != 0 || (out->child = fork()) < 0) {
        fputs("matinee bench ingest: the load cannot be started\n", stderr);
        return false;
    }
    if (out->child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        CPU_ZERO(&cores);
        CPU_SET(1, &cores);
        sched_setaffinity(0, sizeof cores, &cores); /* with one core only it fails, and shares it */
        close(stop[1]);
        close(said[0]);
        house.said = said[1];
        run_child(&house, stop[0]);
    }
    close(stop[0]);
    close(said[1]);
    out->stop = stop[1];
    out->said = said[0];
    struct pollfd waits = {.fd = out->said, .events = POLLIN};

    if (poll(&waits, 1, START_MS) == 1 && read(out->said, &word, sizeof word) == sizeof word && word == 0)
        return true;
    fputs("matinee bench ingest: not all publishers were let in within 20 s\n", stderr);
    load_stop(out);
    return false;
}

void load_run(const struct load *l, int ms)
{
    struct pollfd waits = {.fd = l->said, .events = POLLIN};

    (void)!poll(&waits, 1, ms);
}

unsigned load_stop(struct load *l)
{
    unsigned broken = 0;

    close(l->stop);
    (void)!read(l->said, &broken, sizeof broken);
    close(l->said);
    waitpid(l->child, NULL, 0);
    return broken;
}
