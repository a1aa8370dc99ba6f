/* cmd/demo.c - the test picture and tone as a source: drawn, encoded with libx264 and AAC, without an end.
 *
 * Pictures and sound count their own time from 0; source.wall_at_zero_ms says which moment of the wall clock
 * that is, and what is seen and heard belongs to that moment: a beep and a flash at each full second. A sample
 * is due when the input that brought it out of the encoder was, so the encoder's own delay is part of the
 * stream, as with a camera. */
#include "cmd/demo_int.h"
#include "cmd/source_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <libavcodec/avcodec.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define RATE      48000
#define BEEP_MS   60
#define BEEP_HZ   1000
#define MURMUR_HZ 220

struct demo {
    struct source source;
    struct demo_options options;
    AVCodecContext *encoders[TRACK_COUNT];
    AVFrame *frames[TRACK_COUNT];
    AVPacket *packet;
    struct builder converted; /* the payload of the last picture */
    struct canvas canvas;
    int64_t inputs[TRACK_COUNT]; /* pictures drawn, samples sounded */
    enum track last;             /* whose encoder is asked for packets first */
};

/* Until when the input of a track lasts that has gone in, and with one more picture, or one more frame of sound. */
static int64_t input_ms(const struct demo *d, enum track track, int more)
{
    return track == TRACK_VIDEO ? (d->inputs[track] + more) * 1000 / d->options.fps
                                : (d->inputs[track] + more * d->frames[track]->nb_samples) * 1000 / RATE;
}

/* What is over sooner goes in sooner, so that nothing that is due waits for what is not. */
static enum track next_track(const struct demo *d)
{
    return input_ms(d, TRACK_VIDEO, 1) <= input_ms(d, TRACK_AUDIO, 1) ? TRACK_VIDEO : TRACK_AUDIO;
}

static int draw(struct demo *d)
{
    AVFrame *f = d->frames[TRACK_VIDEO];
    int64_t wall_ms = d->source.wall_at_zero_ms + input_ms(d, TRACK_VIDEO, 0);
    int result = av_frame_make_writable(f);

    if (result < 0)
        return result;
    for (int i = 0; i < 3; i++) {
        d->canvas.planes[i] = f->data[i];
        d->canvas.stride[i] = (size_t)f->linesize[i];
    }
    demo_draw(&d->canvas, wall_ms, wall_ms % 1000 < BEEP_MS);
    f->pts = d->inputs[TRACK_VIDEO]++;
    return avcodec_send_frame(d->encoders[TRACK_VIDEO], f);
}

/* The beep where the wall clock is within BEEP_MS of a full second; below it a murmur, so that silence is a fault. */
static float tone_at(int64_t wall_us)
{
    double second = (double)(wall_us % 1000000) / 1e6, t = (double)(wall_us % 10000000) / 1e6;
    double murmur = 0.01 * sin(2 * M_PI * MURMUR_HZ * t);

    if (second >= BEEP_MS / 1000.0)
        return (float)murmur;
    return (float)(murmur + 0.5 * sin(2 * M_PI * BEEP_HZ * second));
}

static int sound(struct demo *d)
{
    AVFrame *f = d->frames[TRACK_AUDIO];
    int64_t *at = &d->inputs[TRACK_AUDIO];
    int result = av_frame_make_writable(f);

    if (result < 0)
        return result;
    for (int i = 0; i < f->nb_samples; i++) {
        float v = tone_at(d->source.wall_at_zero_ms * 1000 + (*at + i) * 1000000 / RATE);

        ((float *)(void *)f->data[0])[i] = v;
        ((float *)(void *)f->data[1])[i] = v;
    }
    f->pts = *at;
    *at += f->nb_samples;
    return avcodec_send_frame(d->encoders[TRACK_AUDIO], f);
}

static void fill(struct demo *d, enum track track, struct source_sample *out)
{
    AVRational base = d->encoders[track]->time_base, ms = {1, 1000};

    out->track = track;
    out->dts_ms = av_rescale_q(d->packet->dts, base, ms);
    out->pts_ms = av_rescale_q(d->packet->pts, base, ms);
    out->due_ms = input_ms(d, track, 0); /* behind the input that has just gone in */
    out->keyframe = track == TRACK_AUDIO || (d->packet->flags & AV_PKT_FLAG_KEY);
    out->payload = bytes_of(d->packet->data, (size_t)d->packet->size);
    if (track == TRACK_VIDEO) { /* libx264 gives start codes */
        builder_drop(&d->converted);
        annexb_to_lengths(&d->converted, out->payload);
        out->payload = builder_bytes(&d->converted);
    }
}

static enum err demo_next(struct source *s, struct source_sample *out, char why[SOURCE_WHY_SIZE])
{
    struct demo *d = (struct demo *)s;

    for (;;) {
        int result;

        av_packet_unref(d->packet);
        result = avcodec_receive_packet(d->encoders[d->last], d->packet);
        if (result == 0) {
            fill(d, d->last, out);
            return ERR_OK;
        }
        if (result == AVERROR(EAGAIN)) {
            d->last = next_track(d);
            result = d->last == TRACK_VIDEO ? draw(d) : sound(d);
        }
        if (result < 0) {
            snprintf(why, SOURCE_WHY_SIZE, "the demo cannot be encoded: %s", av_err2str(result));
            return ERR_IO;
        }
    }
}

static int open_video(struct demo *d)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    const struct demo_options *o = &d->options;
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    AVFrame *f = d->frames[TRACK_VIDEO];
    int result;

    if ((d->encoders[TRACK_VIDEO] = c) == NULL)
        return AVERROR_ENCODER_NOT_FOUND;
    c->width = f->width = o->width;
    c->height = f->height = o->height;
    c->pix_fmt = f->format = AV_PIX_FMT_YUV420P;
    c->time_base = (AVRational){1, o->fps};
    c->framerate = (AVRational){o->fps, 1};
    c->gop_size = c->keyint_min = o->fps * o->gop_s;
    c->max_b_frames = o->bframes;
    c->bit_rate = c->rc_max_rate = o->bitrate;
    c->rc_buffer_size = (int)o->bitrate;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->color_range = AVCOL_RANGE_MPEG;
    c->profile = FF_PROFILE_H264_HIGH;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    c->thread_count = 1; /* it shares the machine with the server */
    av_opt_set(c->priv_data, "preset", "veryfast", 0);
    if (o->zerolatency)
        av_opt_set(c->priv_data, "tune", "zerolatency", 0);
    av_opt_set(c->priv_data, "x264-params",
               o->zerolatency ? "annexb=1:scenecut=0:aud=0:nal-hrd=none:sliced-threads=0"
                              : "annexb=1:scenecut=0:rc-lookahead=5:aud=0:nal-hrd=none",
               0);
    if ((result = avcodec_open2(c, codec, NULL)) < 0)
        return result;
    return av_frame_get_buffer(f, 0);
}

static int open_audio(struct demo *d)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    AVFrame *f = d->frames[TRACK_AUDIO];
    int result;

    if ((d->encoders[TRACK_AUDIO] = c) == NULL)
        return AVERROR_ENCODER_NOT_FOUND;
    c->sample_rate = f->sample_rate = RATE;
    c->sample_fmt = f->format = AV_SAMPLE_FMT_FLTP;
    c->ch_layout = f->ch_layout = (AVChannelLayout)AV_CHANNEL_LAYOUT_STEREO;
    c->time_base = (AVRational){1, RATE};
    c->bit_rate = 128000;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if ((result = avcodec_open2(c, codec, NULL)) < 0)
        return result;
    f->nb_samples = c->frame_size;
    return av_frame_get_buffer(f, 0);
}

/* Paints what never changes; av_frame_make_writable() copies it along should the encoder keep a picture. */
static void draw_background(struct demo *d)
{
    AVFrame *f = d->frames[TRACK_VIDEO];

    d->canvas = (struct canvas){.width = d->options.width, .height = d->options.height};
    for (int i = 0; i < 3; i++) {
        d->canvas.planes[i] = f->data[i];
        d->canvas.stride[i] = (size_t)f->linesize[i];
    }
    demo_draw_background(&d->canvas);
}

static void demo_free(struct source *s)
{
    struct demo *d = (struct demo *)s;

    for (int t = 0; t < TRACK_COUNT; t++) {
        avcodec_free_context(&d->encoders[t]);
        av_frame_free(&d->frames[t]);
    }
    av_packet_free(&d->packet);
    builder_drop(&d->converted);
    free(d);
}

enum err source_demo_open(struct source **out, const struct demo_options *options, char why[SOURCE_WHY_SIZE])
{
    struct demo *d = mem_new(sizeof *d);
    struct builder avcc = {0};
    const AVCodecContext *video, *audio;
    int result;
    enum err e = ERR_IO;

    *out = NULL;
    d->source.next = demo_next;
    d->source.free = demo_free;
    d->source.frame_rate = options->fps;
    d->source.wall_at_zero_ms = clock_wall_ms();
    d->options = *options;
    d->packet = av_packet_alloc();
    d->frames[TRACK_VIDEO] = av_frame_alloc();
    d->frames[TRACK_AUDIO] = av_frame_alloc();
    if ((result = open_video(d)) < 0 || (result = open_audio(d)) < 0) {
        snprintf(why, SOURCE_WHY_SIZE, "the demo's encoders cannot be opened: %s", av_err2str(result));
        goto out;
    }
    draw_background(d);
    video = d->encoders[TRACK_VIDEO];
    audio = d->encoders[TRACK_AUDIO];
    if ((e = annexb_to_record(&avcc, CODEC_H264,
                              bytes_of(video->extradata, (size_t)video->extradata_size))) != ERR_OK)
        goto out;
    if ((e = source_set_track(&d->source, TRACK_VIDEO, CODEC_H264, builder_bytes(&avcc), why)) != ERR_OK ||
        (e = source_set_track(&d->source, TRACK_AUDIO, CODEC_AAC,
                              bytes_of(audio->extradata, (size_t)audio->extradata_size), why)) != ERR_OK)
        goto out;
    *out = &d->source;
out:
    builder_drop(&avcc);
    if (e != ERR_OK)
        source_free(&d->source);
    return e;
}
