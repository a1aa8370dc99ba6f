/* cmd/publish.c - `matinee publish FILE|demo URL`: sends a source over RTMP as an encoder would, and knows what
 * has been acknowledged.
 *
 * The main thread pulls the source, waits for each sample's time and hands it to the loop's thread, where the
 * client lives. What the client reports comes back through an eventfd, beside the signals. */
#include "cmd/cmd.h"
#include "cmd/source_int.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "rtmp/rtmp.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/log.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Messages on their way from the main thread to the loop's. */
#define IN_FLIGHT_MAX 32
#define RETRY_MS      500

enum line { LINE_DOWN, LINE_TRYING, LINE_READY };

struct publish {
    const char *url;
    struct net *net;
    struct source *source;
    double speed; /* 0: as fast as it goes */
    int64_t duration_ms, reconnect_ms;
    int record; /* file descriptor, or -1 */
    int signals, wake;
    struct rtmp_client *client; /* loop's thread */

    pthread_mutex_t lock; /* all below */
    enum line line;
    bool may_send; /* the client's queue is not full */
    unsigned in_flight;
    uint64_t sent, acknowledged;          /* bytes, over all connections */
    uint64_t line_end, line_acknowledged; /* of this connection: its last message's end, and its count */
    bool lost;                            /* a connection broke before all of it was acknowledged */
    enum err why;                         /* of the last connection */
    char text[256];
};

/* --- the record, written on the loop's thread --------------------------------------------------------- */

/* One write() per line: what was written survives our own death. */
static void record_line(struct publish *p, const char *line)
{
    size_t size = strlen(line);

    if (p->record < 0 || write(p->record, line, size) == (ssize_t)size)
        return;
    log_error("publish", "the record cannot be written: %s", strerror(errno));
    close(p->record);
    p->record = -1;
}

static void record_message(struct publish *p, const char *kind, uint32_t timestamp, struct bytes unit,
                           uint64_t end)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[33] = "-", line[160];
    unsigned size = 0;

    if (p->record < 0)
        return;
    if (EVP_Digest(unit.at, unit.size, digest, &size, EVP_md5(), NULL) == 1)
        for (unsigned i = 0; i < size && i < 16; i++)
            snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(line, sizeof line, "%s %u %zu %s %llu\n", kind, timestamp, unit.size, hex,
             (unsigned long long)end);
    record_line(p, line);
}

/* --- the loop's thread -------------------------------------------------------------------------------- */

static void wake_main(struct publish *p)
{
    uint64_t one = 1;

    (void)!write(p->wake, &one, sizeof one);
}

static void set_line(struct publish *p, enum line line, bool may_send)
{
    pthread_mutex_lock(&p->lock);
    p->line = line;
    p->may_send = may_send;
    pthread_mutex_unlock(&p->lock);
    wake_main(p);
}

/* Sends one message and counts it. `unit` is the access unit in it, for the record. */
static void send_body(struct publish *p, enum message_kind kind, const char *name, uint32_t timestamp,
                      struct bytes body, struct bytes unit)
{
    uint64_t end;
    bool has_room = rtmp_client_send(p->client, kind, timestamp, body, &end);

    record_message(p, name, timestamp, unit, end);
    pthread_mutex_lock(&p->lock);
    p->sent += end - p->line_end;
    p->line_end = end;
    if (!has_room)
        p->may_send = false;
    pthread_mutex_unlock(&p->lock);
}

static void on_ready(void *ctx)
{
    static const enum message_kind kinds[] = {[TRACK_VIDEO] = MESSAGE_VIDEO, [TRACK_AUDIO] = MESSAGE_AUDIO};
    static const char *const names[] = {[TRACK_VIDEO] = "video-config", [TRACK_AUDIO] = "audio-config"};
    struct publish *p = ctx;
    struct builder b = {0};

    record_line(p, "connected\n");
    source_write_metadata(&b, p->source);
    send_body(p, MESSAGE_DATA, "data", 0, builder_bytes(&b), builder_bytes(&b));
    builder_drop(&b);
    for (int t = 0; t < TRACK_COUNT; t++) {
        if (p->source->tracks[t].codec == CODEC_NONE)
            continue;
        source_write_config(&b, p->source, (enum track)t);
        send_body(p, kinds[t], names[t], 0, builder_bytes(&b), buffer_bytes(p->source->tracks[t].record));
        builder_drop(&b);
    }
    set_line(p, LINE_READY, true);
}

static void on_acknowledged(void *ctx, uint64_t bytes)
{
    struct publish *p = ctx;
    char line[40];

    snprintf(line, sizeof line, "ack %llu\n", (unsigned long long)bytes);
    record_line(p, line);
    pthread_mutex_lock(&p->lock);
    p->acknowledged += bytes - p->line_acknowledged;
    p->line_acknowledged = bytes;
    pthread_mutex_unlock(&p->lock);
}

static void on_writable(void *ctx)
{
    struct publish *p = ctx;

    pthread_mutex_lock(&p->lock);
    p->may_send = true;
    pthread_mutex_unlock(&p->lock);
    wake_main(p);
}

static void on_closed(void *ctx, enum err why, const char *text)
{
    struct publish *p = ctx;

    p->client = NULL;
    pthread_mutex_lock(&p->lock);
    bool was_ready = p->line == LINE_READY;

    p->why = why;
    snprintf(p->text, sizeof p->text, "%s", text);
    if (p->line_acknowledged < p->line_end)
        p->lost = true;
    p->line_end = p->line_acknowledged = 0;
    pthread_mutex_unlock(&p->lock);
    if (was_ready)
        record_line(p, "closed\n");
    set_line(p, LINE_DOWN, false);
}

static void on_notice(void *ctx, const char *text)
{
    printf("the server says: %s\n", text);
    fflush(stdout);
}

static const struct rtmp_client_events events = {.notice = on_notice,
                                                 .ready = on_ready,
                                                 .acknowledged = on_acknowledged,
                                                 .writable = on_writable,
                                                 .closed = on_closed};

static void connect_now(void *ctx)
{
    struct publish *p = ctx;

    /* The URL was looked at before, so this does not fail. */
    if (rtmp_client_start(&p->client, net_loop(p->net, 0), p->url, &events, p) != ERR_OK)
        on_closed(p, ERR_BAD, "the URL is not rtmp://HOST[:PORT]/live/KEY");
}

static void finish_now(void *ctx)
{
    struct publish *p = ctx;

    if (p->client != NULL)
        rtmp_client_finish(p->client);
}

/* A sample on its way from the main thread. */
struct posted {
    struct publish *publish;
    enum track track;
    uint32_t timestamp;
    size_t unit_size; /* the access unit is the end of the body */
    struct buffer *body;
};

static void send_posted(void *ctx)
{
    struct posted *m = ctx;
    struct publish *p = m->publish;
    struct bytes body = buffer_bytes(m->body);
    bool is_video = m->track == TRACK_VIDEO;

    pthread_mutex_lock(&p->lock);
    bool is_ready = p->line == LINE_READY;

    p->in_flight--;
    pthread_mutex_unlock(&p->lock);
    if (is_ready && p->client != NULL)
        send_body(p, is_video ? MESSAGE_VIDEO : MESSAGE_AUDIO, is_video ? "video" : "audio", m->timestamp,
                  body, bytes_from(body, body.size - m->unit_size));
    buffer_unref(m->body);
    free(m);
    wake_main(p);
}

/* --- the main thread ---------------------------------------------------------------------------------- */

/* Waits until `until_ms` of the monotonic clock (-1: for ever) or until something happens. False: a signal came. */
static bool wait_until(struct publish *p, int64_t until_ms)
{
    struct pollfd fds[] = {{.fd = p->signals, .events = POLLIN}, {.fd = p->wake, .events = POLLIN}};
    int64_t now = clock_mono_ms();
    uint64_t count;

    if (until_ms >= 0 && until_ms < now)
        until_ms = now;
    if (poll(fds, 2, until_ms < 0 ? -1 : (int)(until_ms - now)) > 0 && fds[1].revents)
        (void)!read(p->wake, &count, sizeof count);
    return fds[0].revents == 0;
}

static enum line line_of(struct publish *p)
{
    pthread_mutex_lock(&p->lock);
    enum line line = p->line;

    pthread_mutex_unlock(&p->lock);
    return line;
}

static bool may_post(struct publish *p)
{
    pthread_mutex_lock(&p->lock);
    bool yes = p->line != LINE_READY || (p->may_send && p->in_flight < IN_FLIGHT_MAX);

    pthread_mutex_unlock(&p->lock);
    return yes;
}

static void show_progress(struct publish *p, int64_t media_ms)
{
    static int64_t last_ms;
    int64_t now = clock_mono_ms();

    if (now - last_ms < 1000 || !isatty(2))
        return;
    last_ms = now;
    pthread_mutex_lock(&p->lock);
    fprintf(stderr, "\r%02lld:%02lld:%02lld  sent %.1f MB  acknowledged %.1f MB  %s   ",
            (long long)media_ms / 3600000, (long long)media_ms / 60000 % 60, (long long)media_ms / 1000 % 60,
            (double)p->sent / 1e6, (double)p->acknowledged / 1e6,
            p->line == LINE_READY ? "" : "(no connection)");
    pthread_mutex_unlock(&p->lock);
}

/* Connects, trying again for the time allowed when `is_again`. False: it did not work, or a signal came. */
static bool connect_line(struct publish *p, bool is_again)
{
    int64_t give_up_ms = clock_mono_ms() + p->reconnect_ms;

    for (;;) {
        set_line(p, LINE_TRYING, false);
        loop_post(net_loop(p->net, 0), connect_now, p);
        while (line_of(p) == LINE_TRYING)
            if (!wait_until(p, -1))
                return false;
        if (line_of(p) == LINE_READY)
            return true;
        int64_t retry_ms = clock_mono_ms() + RETRY_MS;

        if (!is_again || retry_ms > give_up_ms)
            return false;
        while (clock_mono_ms() < retry_ms)
            if (!wait_until(p, retry_ms))
                return false;
    }
}

/* How the times of the source lie on our clocks; set anew with each connection. */
struct pace {
    bool is_set;
    int64_t base_ms;   /* the dts that is sent as timestamp 0 */
    int64_t origin_ms; /* the monotonic clock when the sample due at base_due_ms may go */
    int64_t base_due_ms;
    bool wants_keyframe;
};

static void set_pace(struct publish *p, struct pace *pace, const struct source_sample *s)
{
    pace->is_set = true;
    pace->base_ms = s->dts_ms;
    pace->base_due_ms = s->due_ms;
    pace->origin_ms = clock_mono_ms();
    p->source->wall_at_zero_ms = clock_wall_ms() - s->due_ms;
}

/* Waits for the sample's time and for room. False: a signal came. */
static bool wait_for_turn(struct publish *p, const struct pace *pace, const struct source_sample *s)
{
    int64_t due = pace->origin_ms;

    if (p->speed > 0)
        due += (int64_t)((double)(s->due_ms - pace->base_due_ms) / p->speed);
    while ((p->speed > 0 && clock_mono_ms() < due) || !may_post(p))
        if (!wait_until(p, may_post(p) ? due : -1))
            return false;
    return wait_until(p, 0); /* signals are looked at however fast it goes */
}

static void post_sample(struct publish *p, const struct pace *pace, const struct source_sample *s)
{
    struct posted *m = mem_new(sizeof *m);
    struct builder b = {0};
    int64_t timestamp = s->dts_ms - pace->base_ms;

    source_write_sample(&b, p->source, s);
    *m = (struct posted){p, s->track, (uint32_t)(timestamp > 0 ? timestamp : 0), s->payload.size,
                         builder_finish(&b)};
    pthread_mutex_lock(&p->lock);
    p->in_flight++;
    pthread_mutex_unlock(&p->lock);
    loop_post(net_loop(p->net, 0), send_posted, m);
}

/* Sends until the source, the duration or a signal ends it, or the line breaks for good. */
static enum err run(struct publish *p, char why[SOURCE_WHY_SIZE])
{
    struct source_sample s;
    struct pace pace = {0};
    bool has_video = p->source->tracks[TRACK_VIDEO].codec != CODEC_NONE, is_first = true;
    int64_t start_ms = 0;
    enum err e;

    while ((e = p->source->next(p->source, &s, why)) == ERR_OK) {
        if (is_first)
            start_ms = s.dts_ms;
        is_first = false;
        if (p->duration_ms > 0 && s.dts_ms - start_ms >= p->duration_ms)
            return ERR_OK;
        if (line_of(p) !=
            LINE_READY) { /* like an encoder that connects again: from a keyframe, from time 0 */
            if (p->reconnect_ms == 0 || !connect_line(p, true))
                return ERR_CLOSED;
            pace = (struct pace){.wants_keyframe = has_video};
        }
        if (pace.wants_keyframe && (s.track != TRACK_VIDEO || !s.keyframe))
            continue;
        pace.wants_keyframe = false;
        if (!pace.is_set)
            set_pace(p, &pace, &s);
        if (!wait_for_turn(p, &pace, &s))
            return ERR_OK;
        post_sample(p, &pace, &s);
        show_progress(p, s.dts_ms - start_ms);
    }
    return e == ERR_MISSING ? ERR_OK : e;
}

/* Waits for the samples on their way, then for the last acknowledgement. A second signal does not wait. */
static void finish(struct publish *p)
{
    struct signalfd_siginfo taken;

    (void)!read(p->signals, &taken, sizeof taken);
    loop_post(net_loop(p->net, 0), finish_now, p); /* behind all that was posted */
    while (line_of(p) != LINE_DOWN)
        if (!wait_until(p, -1))
            break;
}

static int summarize(struct publish *p, enum err e, const char *why)
{
    bool is_complete = e == ERR_OK && p->why == ERR_OK && !p->lost;

    if (isatty(2))
        fputc('\n', stderr);
    printf("sent %llu bytes, acknowledged %llu bytes%s\n", (unsigned long long)p->sent,
           (unsigned long long)(p->acknowledged < p->sent ? p->acknowledged : p->sent),
           is_complete ? "" : ", not all of it is safe");
    if (e != ERR_OK && e != ERR_CLOSED)
        fprintf(stderr, "matinee publish: %s\n", why);
    else if (p->why != ERR_OK)
        fprintf(stderr, "matinee publish: %s\n", p->text);
    return is_complete ? 0 : 1;
}

/* --- the command line --------------------------------------------------------------------------------- */

static struct option options[] = {
    {"speed", "X|max", "1", "how fast, against real time", NULL},
    {"loop", NULL, NULL, "begin the file again at its end", NULL},
    {"duration", "S", NULL, "end after so many seconds of the source", NULL},
    {"record", "FILE", NULL, "write what is sent and acknowledged: kind, timestamp, size, MD5, end; ack N",
     NULL},
    {"reconnect", "S", "0", "when the line breaks, try for so many seconds", NULL},
    {"size", "WxH", "1280x720", "demo: the picture", NULL},
    {"fps", "N", "30", "demo: pictures a second", NULL},
    {"bitrate", "N[k]", "2500k", "demo: video bits a second", NULL},
    {"gop", "S", "2", "demo: seconds between keyframes", NULL},
    {"bframes", "N", "0", "demo: B-frames between others", NULL},
    {"zerolatency", NULL, NULL, "demo: each picture leaves the encoder at once, as x264's tune has it", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

void cmd_publish_help(void)
{
    puts("matinee publish FILE|demo rtmp://HOST[:PORT]/live/KEY [OPTIONS]\n\n"
         "Publishes a file, or a drawn test picture with a clock and a tone, as an encoder would.\n"
         "Exit status 0: everything that was sent was acknowledged, so it is on the server's disk.\n");
    config_help(options);
}

static bool read_seconds(const char *name, int64_t *ms)
{
    const char *text = config_text(options, name);
    char *end;

    *ms = 0;
    if (text == NULL)
        return true;
    *ms = (int64_t)(strtod(text, &end) * 1000);
    return end != text && *end == '\0' && *ms >= 0;
}

static bool read_speed(double *speed)
{
    const char *text = config_text(options, "speed");
    char *end;

    *speed = 0;
    if (strcmp(text, "max") == 0)
        return true;
    *speed = strtod(text, &end);
    return end != text && *end == '\0' && *speed > 0 && *speed <= 1000;
}

static enum err read_demo(struct demo_options *d, char why[CONFIG_WHY_SIZE])
{
    const char *size = config_text(options, "size"), *bitrate = config_text(options, "bitrate");
    char *end = NULL;
    long fps, gop, bframes;
    enum err e;

    d->width = (int)strtol(size, &end, 10);
    d->height = *end == 'x' ? (int)strtol(end + 1, &end, 10) : 0;
    if (*end != '\0' || d->width < 256 || d->height < 144 || d->width > 4096 || d->height > 2304 ||
        d->width % 2 || d->height % 2) {
        snprintf(why, CONFIG_WHY_SIZE, "--size %s: give an even width and height, 256x144 to 4096x2304",
                 size);
        return ERR_BAD;
    }
    d->bitrate = strtol(bitrate, &end, 10) * (*end == 'k' ? 1000 : 1);
    if ((*end != '\0' && strcmp(end, "k") != 0) || d->bitrate < 50000 || d->bitrate > 100000000) {
        snprintf(why, CONFIG_WHY_SIZE, "--bitrate %s: give 50k to 100000k", bitrate);
        return ERR_BAD;
    }
    if ((e = config_number(options, "fps", 1, 120, &fps, why)) != ERR_OK ||
        (e = config_number(options, "gop", 1, 60, &gop, why)) != ERR_OK ||
        (e = config_number(options, "bframes", 0, 16, &bframes, why)) != ERR_OK)
        return e;
    d->fps = (int)fps;
    d->gop_s = (int)gop;
    d->bframes = (int)bframes;
    d->zerolatency = config_text(options, "zerolatency") != NULL;
    return ERR_OK;
}

/* Opens source and record. Returns an exit status; 0: go on. */
static int prepare(struct publish *p, const char *file)
{
    char why[CONFIG_WHY_SIZE] = "";
    struct demo_options demo;
    enum err e;

    if (!read_seconds("duration", &p->duration_ms) || !read_seconds("reconnect", &p->reconnect_ms) ||
        !read_speed(&p->speed)) {
        fputs("matinee publish: --duration and --reconnect take seconds, --speed a factor or max\n", stderr);
        return 2;
    }
    if (strcmp(file, "demo") == 0 && read_demo(&demo, why) != ERR_OK) {
        fprintf(stderr, "matinee publish: %s\n", why);
        return 2;
    }
    e = strcmp(file, "demo") == 0
            ? source_demo_open(&p->source, &demo, why)
            : source_file_open(&p->source, file, config_text(options, "loop") != NULL, why);
    if (e != ERR_OK) {
        fprintf(stderr, "matinee publish: %s\n", why);
        return 1;
    }
    if (config_text(options, "record") == NULL)
        return 0;
    p->record =
        open(config_text(options, "record"), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (p->record < 0) {
        fprintf(stderr, "matinee publish: --record %s: %s\n", config_text(options, "record"),
                strerror(errno));
        return 1;
    }
    return 0;
}

static int publish_all(struct publish *p)
{
    char why[SOURCE_WHY_SIZE] = "";
    sigset_t set;
    enum err e = ERR_CLOSED;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before the threads begin, so that they block them too */
    p->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->signals < 0 || p->wake < 0 || net_start(&p->net, 1, 1) != ERR_OK) {
        fputs("matinee publish: no thread or file descriptor could be had\n", stderr);
        return 1;
    }
    if (connect_line(p, p->reconnect_ms > 0))
        e = run(p, why);
    finish(p);
    net_stop(p->net);
    return summarize(p, e, why);
}

int cmd_publish(int argc, char **argv)
{
    struct publish p = {.record = -1, .signals = -1, .wake = -1, .lock = PTHREAD_MUTEX_INITIALIZER};
    char why[CONFIG_WHY_SIZE] = "";
    int status = 2;

    av_log_set_level(AV_LOG_ERROR);
    log_set_level(LOG_WARN);
    if (config_read(options, NULL, &argc, argv, why) != ERR_OK)
        fprintf(stderr, "matinee publish: %s\n", why);
    else if (argc != 2)
        fputs("usage: matinee publish FILE|demo rtmp://HOST[:PORT]/live/KEY [options]; see --help\n", stderr);
    else if ((status = prepare(&p, argv[0])) == 0) {
        p.url = argv[1];
        status = publish_all(&p);
    }
    source_free(p.source);
    if (p.record >= 0)
        close(p.record);
    if (p.signals >= 0)
        close(p.signals);
    if (p.wake >= 0)
        close(p.wake);
    config_free(options);
    return status;
}
