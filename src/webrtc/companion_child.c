/* webrtc/companion_child.c - the companion's side: `matinee convert-live`. Frames in, frames out, until its input ends. */
#include "ladder/ladder.h"
#include "webrtc/companion_int.h"
#include "webrtc/webrtc.h"

#include "base/limits.h"

#include <libavutil/log.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* A show of a week. */
#define CPU_SECONDS_MAX 604800
/* Decoded pictures of 4K, and what two encoding threads keep. */
#define MEMORY_BYTES_MAX ((size_t)2 << 30)
/* Below the server's own loops, and above map tasks: somebody sees this now. */
#define NICE 2

struct child {
    struct live_sound *sound;
    struct live_picture *picture;
    struct builder in, out;
    struct builder record; /* as it was said last */
};

static bool say(struct child *c)
{
    struct bytes left = builder_bytes(&c->out);
    ssize_t n = 0;

    while (left.size > 0 && (n = write(STDOUT_FILENO, left.at, left.size)) > 0)
        left = bytes_from(left, (size_t)n);
    builder_drop(&c->out);
    return n >= 0;
}

static void sound_made(void *ctx, const struct sample *s)
{
    struct child *c = ctx;

    companion_frame_write(&c->out, &(struct companion_frame){.kind = COMPANION_SAMPLE,
                                                             .codec = CODEC_OPUS,
                                                             .keyframe = true,
                                                             .dts = s->dts,
                                                             .pts = s->pts,
                                                             .payload = s->payload});
}

static void picture_made(void *ctx, const struct sample *s, struct bytes record)
{
    struct child *c = ctx;

    if (!bytes_equal(builder_bytes(&c->record), record)) {
        builder_drop(&c->record);
        builder_add(&c->record, record);
        companion_frame_write(&c->out, &(struct companion_frame){
                                           .kind = COMPANION_TRACK, .codec = CODEC_H264, .payload = record});
    }
    companion_frame_write(&c->out, &(struct companion_frame){.kind = COMPANION_SAMPLE,
                                                             .codec = CODEC_H264,
                                                             .keyframe = s->keyframe,
                                                             .dts = s->dts,
                                                             .pts = s->pts,
                                                             .payload = s->payload});
}

static bool is_sound(enum codec codec)
{
    return codec == CODEC_AAC || codec == CODEC_OPUS;
}

static enum err take(struct child *c, const struct companion_frame *f)
{
    const struct sample s = {.payload = f->payload, .dts = f->dts, .pts = f->pts, .keyframe = f->keyframe};

    if (f->kind == COMPANION_TRACK && is_sound(f->codec)) {
        live_sound_free(c->sound);
        return live_sound_new(&c->sound, f->codec, f->payload, f->rate);
    }
    if (f->kind == COMPANION_TRACK) {
        live_picture_free(c->picture);
        return live_picture_new(&c->picture, f->codec, f->payload, f->height, f->rate);
    }
    if (is_sound(f->codec) && c->sound != NULL)
        live_sound_add(c->sound, &s, sound_made, c);
    else if (!is_sound(f->codec) && c->picture != NULL)
        live_picture_add(c->picture, &s, picture_made, c);
    return ERR_OK;
}

/* Takes the frames that are whole, and keeps the rest. */
static enum err take_all(struct child *c)
{
    struct bytes left = builder_bytes(&c->in);
    struct companion_frame f;
    struct builder rest = {0};
    enum err e = ERR_OK;
    long size = 0;

    while (e == ERR_OK && (size = companion_frame_parse(&f, left)) > 0) {
        e = take(c, &f);
        left = bytes_from(left, (size_t)size);
        if (e == ERR_OK && !say(c))
            e = ERR_CLOSED;
    }
    builder_add(&rest, left);
    builder_drop(&c->in);
    c->in = rest;
    return size == PARSE_BAD ? ERR_BAD : e;
}

int webrtc_companion(void)
{
    static uint8_t piece[65536];
    struct child c = {0};
    enum err e;
    ssize_t n;

    av_log_set_level(AV_LOG_QUIET);
    setpriority(PRIO_PROCESS, 0, NICE); /* where it is not allowed, without */
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    e = sandbox_enter(CPU_SECONDS_MAX, MEMORY_BYTES_MAX, SANDBOX_THREADS);
    while (e == ERR_OK && (n = read(STDIN_FILENO, piece, sizeof piece)) > 0) {
        builder_add(&c.in, bytes_of(piece, (size_t)n));
        e = take_all(&c);
    }
    live_sound_free(c.sound);
    live_picture_free(c.picture);
    builder_drop(&c.in);
    builder_drop(&c.out);
    builder_drop(&c.record);
    return e == ERR_OK ? 0 : 1;
}
