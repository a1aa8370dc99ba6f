/* media/live_sound.c - a live stream's sound as Opus, packet by packet, as soon as it can be had.
 *
 * The times of what goes out are counted in samples from the first that came; where what comes is more than a moment away from
 * that (a gap, a reset), counting begins anew. */
#include "media/av_int.h"

#include "base/mem.h"

#include <libavutil/audio_fifo.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include <stdlib.h>

#define RATE    48000
#define FRAME   960 /* 20 ms */
#define BITRATE 96000
/* What stamps may be off by, in samples: RTMP's are rounded to milliseconds. */
#define ROUNDING (RATE / 25)

struct live_sound {
    AVCodecContext *decoder, *encoder;
    SwrContext *resampler; /* NULL before the first frame */
    AVAudioFifo *waiting;
    AVFrame *raw, *out;
    AVPacket *packet;
    int raw_rate, raw_channels, raw_format;
    uint32_t rate;
    int64_t next; /* the pts of the first sample in `waiting`, in 1/48000 s; INT64_MIN: none yet */
};

static AVCodecContext *decoder_open(enum codec codec, struct bytes record)
{
    const AVCodec *c = avcodec_find_decoder(codec == CODEC_AAC ? AV_CODEC_ID_AAC : AV_CODEC_ID_OPUS);
    AVCodecContext *d = c ? avcodec_alloc_context3(c) : NULL;

    if (d == NULL || (d->extradata = av_mallocz(record.size + AV_INPUT_BUFFER_PADDING_SIZE)) == NULL) {
        avcodec_free_context(&d);
        return NULL;
    }
    memcpy(d->extradata, record.at, record.size);
    d->extradata_size = (int)record.size;
    if (avcodec_open2(d, c, NULL) < 0)
        avcodec_free_context(&d);
    return d;
}

static AVCodecContext *opus_open(void)
{
    const AVCodec *c = avcodec_find_encoder_by_name("libopus");
    AVCodecContext *e = c ? avcodec_alloc_context3(c) : NULL;

    if (e == NULL)
        return NULL;
    e->sample_rate = RATE;
    e->sample_fmt = AV_SAMPLE_FMT_FLT;
    av_channel_layout_default(&e->ch_layout, 2);
    e->bit_rate = BITRATE;
    e->time_base = (AVRational){1, RATE};
    av_opt_set(e->priv_data, "application", "lowdelay", 0); /* 4 ms sooner */
    if (avcodec_open2(e, c, NULL) < 0)
        avcodec_free_context(&e);
    return e;
}

enum err live_sound_new(struct live_sound **out, enum codec codec, struct bytes record, uint32_t rate)
{
    struct live_sound *s = mem_new(sizeof *s);

    *out = NULL;
    s->rate = rate;
    s->next = INT64_MIN;
    s->decoder = decoder_open(codec, record);
    s->encoder = opus_open();
    s->waiting = av_audio_fifo_alloc(AV_SAMPLE_FMT_FLT, 2, RATE);
    s->raw = av_frame_alloc();
    s->out = av_frame_alloc();
    s->packet = av_packet_alloc();
    if (rate == 0 || !s->decoder || !s->encoder || !s->waiting || !s->raw || !s->out || !s->packet) {
        live_sound_free(s);
        return ERR_UNSUPPORTED;
    }
    *out = s;
    return ERR_OK;
}

void live_sound_free(struct live_sound *s)
{
    if (s == NULL)
        return;
    avcodec_free_context(&s->decoder);
    avcodec_free_context(&s->encoder);
    swr_free(&s->resampler);
    av_audio_fifo_free(s->waiting);
    av_frame_free(&s->raw);
    av_frame_free(&s->out);
    av_packet_free(&s->packet);
    free(s);
}

/* Sees to a resampler for frames like the one that came. */
static bool prepare(struct live_sound *s)
{
    AVFrame *f = s->raw;

    if (s->resampler != NULL && s->raw_rate == f->sample_rate &&
        s->raw_channels == f->ch_layout.nb_channels && s->raw_format == f->format)
        return true;
    swr_free(&s->resampler);
    s->raw_rate = f->sample_rate;
    s->raw_channels = f->ch_layout.nb_channels;
    s->raw_format = f->format;
    return swr_alloc_set_opts2(&s->resampler, &s->encoder->ch_layout, AV_SAMPLE_FMT_FLT, RATE, &f->ch_layout,
                               (enum AVSampleFormat)f->format, f->sample_rate, 0, NULL) >= 0 &&
           swr_init(s->resampler) >= 0;
}

/* The decoded frame, in 48 kHz, behind what waits. */
static bool append(struct live_sound *s)
{
    int most = swr_get_out_samples(s->resampler, s->raw->nb_samples), got = 0;
    uint8_t *at[1] = {mem_new((size_t)(most > 0 ? most : 1) * 2 * sizeof(float))};

    if (most > 0)
        got =
            swr_convert(s->resampler, at, most, (const uint8_t **)s->raw->extended_data, s->raw->nb_samples);
    if (got > 0)
        got = av_audio_fifo_write(s->waiting, (void **)at, got);
    free(at[0]);
    return got >= 0;
}

static bool take_packet(struct live_sound *s, void (*made)(void *ctx, const struct sample *packet), void *ctx)
{
    struct sample p;

    if (avcodec_receive_packet(s->encoder, s->packet) < 0)
        return false;
    p = (struct sample){.payload = bytes_of(s->packet->data, (size_t)s->packet->size),
                        .dts = s->packet->pts,
                        .pts = s->packet->pts,
                        .duration = FRAME,
                        .keyframe = true};
    made(ctx, &p);
    av_packet_unref(s->packet);
    return true;
}

/* Encodes 20 ms of what waits. */
static bool encode(struct live_sound *s, void (*made)(void *ctx, const struct sample *packet), void *ctx)
{
    AVFrame *f = s->out;
    bool good;

    av_frame_unref(f);
    f->nb_samples = FRAME;
    f->format = AV_SAMPLE_FMT_FLT;
    f->sample_rate = RATE;
    f->pts = s->next;
    good = av_channel_layout_copy(&f->ch_layout, &s->encoder->ch_layout) >= 0 &&
           av_frame_get_buffer(f, 0) >= 0 &&
           av_audio_fifo_read(s->waiting, (void **)f->extended_data, FRAME) == FRAME &&
           avcodec_send_frame(s->encoder, f) >= 0;
    s->next += FRAME;
    while (good && take_packet(s, made, ctx))
        continue;
    return good;
}

/* Where the stream stands, by its own stamp: what waits belongs to another time if that is far away. */
static void follow_clock(struct live_sound *s, int64_t pts_48k)
{
    int64_t expected = s->next + av_audio_fifo_size(s->waiting);

    if (s->next != INT64_MIN && llabs(pts_48k - expected) <= ROUNDING)
        return;
    av_audio_fifo_reset(s->waiting);
    s->next = pts_48k;
}

void live_sound_add(struct live_sound *s, const struct sample *frame,
                    void (*made)(void *ctx, const struct sample *packet), void *ctx)
{
    uint8_t *padded = mem_new(frame->payload.size + AV_INPUT_BUFFER_PADDING_SIZE);
    bool good;

    memcpy(padded, frame->payload.at, frame->payload.size);
    s->packet->data = padded;
    s->packet->size = (int)frame->payload.size;
    follow_clock(s, frame->pts * RATE / s->rate);
    good = avcodec_send_packet(s->decoder, s->packet) >= 0;
    av_packet_unref(s->packet);
    free(padded);
    while (good && avcodec_receive_frame(s->decoder, s->raw) >= 0)
        good = prepare(s) && append(s);
    while (av_audio_fifo_size(s->waiting) >= FRAME && encode(s, made, ctx))
        continue;
}
