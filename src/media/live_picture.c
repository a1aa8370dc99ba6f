/* media/live_picture.c - a live stream's pictures again, as a browser can show them as they come: no B-frames, no more than
 * so many lines, encoded without looking ahead. */
#include "media/av_int.h"

#include "base/mem.h"

#include <libavutil/opt.h>
#include <stdlib.h>

#define CRF 24
/* Bits a second at most, by picture size: what 720p of a stage takes, and its share for smaller ones. */
#define BITS_A_PIXEL 3
#define BITRATE_MIN  400000
/* An encoder that is given more time than there is makes the show late; these make 720p of 30 pictures in half a core. */
#define PRESET "superfast"

struct live_picture {
    AVCodecContext *decoder, *encoder;
    struct scaler *scaler;
    struct rung rung;
    uint32_t height_max, bits_max; /* bits_max 0: what suits the size */
    AVFrame *raw;
    AVPacket *packet;
    struct builder record;
    int64_t last_key, last_pts; /* of what was encoded */
};

static AVCodecContext *decoder_open(enum codec codec, struct bytes record)
{
    static const enum AVCodecID ids[] = {
        [CODEC_H264] = AV_CODEC_ID_H264, [CODEC_HEVC] = AV_CODEC_ID_HEVC, [CODEC_AV1] = AV_CODEC_ID_AV1};
    const AVCodec *c = codec >= CODEC_H264 && codec <= CODEC_AV1 ? avcodec_find_decoder(ids[codec]) : NULL;
    AVCodecContext *d = c ? avcodec_alloc_context3(c) : NULL;

    if (d == NULL || (d->extradata = av_mallocz(record.size + AV_INPUT_BUFFER_PADDING_SIZE)) == NULL) {
        avcodec_free_context(&d);
        return NULL;
    }
    memcpy(d->extradata, record.at, record.size);
    d->extradata_size = (int)record.size;
    d->thread_count = 1; /* threads over frames would each hold one back */
    d->pkt_timebase = (AVRational){1, CMAF_VIDEO_TIMESCALE};
    if (avcodec_open2(d, c, NULL) < 0)
        avcodec_free_context(&d);
    return d;
}

enum err live_picture_new(struct live_picture **out, enum codec codec, struct bytes record,
                          uint32_t height_max, uint32_t bits_max)
{
    struct live_picture *p = mem_new(sizeof *p);

    *out = NULL;
    p->last_key = p->last_pts = INT64_MIN;
    p->height_max = height_max ? height_max : LIVE_PICTURE_HEIGHT;
    p->bits_max = bits_max;
    p->decoder = decoder_open(codec, record);
    p->raw = av_frame_alloc();
    p->packet = av_packet_alloc();
    if (!p->decoder || !p->raw || !p->packet) {
        live_picture_free(p);
        return ERR_UNSUPPORTED;
    }
    *out = p;
    return ERR_OK;
}

void live_picture_free(struct live_picture *p)
{
    if (p == NULL)
        return;
    avcodec_free_context(&p->decoder);
    avcodec_free_context(&p->encoder);
    scaler_free(p->scaler);
    av_frame_free(&p->raw);
    av_packet_free(&p->packet);
    builder_drop(&p->record);
    free(p);
}

static void choose_size(struct rung *r, const AVFrame *f, uint32_t height_max)
{
    int64_t height = f->height < (int64_t)height_max ? f->height : (int64_t)height_max;

    r->height = (uint32_t)height & ~1u;
    r->width = (uint32_t)(height * f->width / f->height) & ~1u;
}

static AVCodecContext *x264_open(const struct rung *r, const AVFrame *like, uint32_t bits_max)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    int64_t bits = (int64_t)r->width * r->height * BITS_A_PIXEL;

    if (c == NULL)
        return NULL;
    c->width = (int)r->width;
    c->height = (int)r->height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->sample_aspect_ratio = like->sample_aspect_ratio;
    c->color_range = like->color_range;
    c->color_primaries = like->color_primaries;
    c->color_trc = like->color_trc;
    c->colorspace = like->colorspace;
    c->time_base = (AVRational){1, CMAF_VIDEO_TIMESCALE};
    c->framerate = (AVRational){30, 1}; /* for the rate control; stamps are exact */
    c->thread_count = 2;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_CLOSED_GOP;
    c->rc_max_rate = bits > BITRATE_MIN ? bits : BITRATE_MIN;
    if (bits_max > 0 && bits_max < c->rc_max_rate)
        c->rc_max_rate = bits_max;
    c->rc_buffer_size = (int)(c->rc_max_rate / 2);
    av_opt_set(c->priv_data, "preset", PRESET, 0);
    av_opt_set(c->priv_data, "tune", "zerolatency", 0);
    av_opt_set(c->priv_data, "profile", "main", 0);
    av_opt_set(c->priv_data, "x264-params", "keyint=infinite:scenecut=0", 0);
    av_opt_set_int(c->priv_data, "forced-idr", 1, 0);
    av_opt_set_double(c->priv_data, "crf", CRF, 0);
    if (avcodec_open2(c, codec, NULL) < 0)
        avcodec_free_context(&c);
    return c;
}

/* Sees to an encoder for pictures like this one. */
static bool prepare(struct live_picture *p, const AVFrame *f)
{
    struct rung wanted = {.codec = CODEC_H264};

    if (f->width <= 0 || f->height < 2)
        return false;
    choose_size(&wanted, f, p->height_max);
    if (p->encoder != NULL && wanted.width == p->rung.width && wanted.height == p->rung.height)
        return true;
    avcodec_free_context(&p->encoder);
    scaler_free(p->scaler);
    builder_drop(&p->record);
    p->rung = wanted;
    p->scaler = scaler_new(&wanted);
    p->last_key = INT64_MIN;
    p->encoder = x264_open(&wanted, f, p->bits_max);
    return p->encoder != NULL && record_of(p->encoder, CODEC_H264, &p->record) == ERR_OK;
}

static bool take_packet(struct live_picture *p,
                        void (*made)(void *ctx, const struct sample *picture, struct bytes record), void *ctx)
{
    struct builder lengths = {0};
    struct sample s;

    if (avcodec_receive_packet(p->encoder, p->packet) < 0)
        return false;
    annexb_to_lengths(&lengths, bytes_of(p->packet->data, (size_t)p->packet->size));
    s = (struct sample){.payload = builder_bytes(&lengths),
                        .dts = p->packet->pts,
                        .pts = p->packet->pts,
                        .keyframe = (p->packet->flags & AV_PKT_FLAG_KEY) != 0};
    made(ctx, &s, builder_bytes(&p->record));
    builder_drop(&lengths);
    av_packet_unref(p->packet);
    return true;
}

static bool encode(struct live_picture *p,
                   void (*made)(void *ctx, const struct sample *picture, struct bytes record), void *ctx)
{
    const AVFrame *scaled = NULL;
    AVFrame *f = NULL;
    bool good = p->raw->pts > p->last_pts && prepare(p, p->raw) &&
                scaler_picture(p->scaler, p->raw, &scaled) == ERR_OK && (f = av_frame_clone(scaled)) != NULL;

    if (good) {
        bool key = p->last_key == INT64_MIN || p->raw->pts - p->last_key >= LIVE_PICTURE_KEY_TICKS;

        f->pts = p->last_pts = p->raw->pts;
        f->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
        p->last_key = key ? f->pts : p->last_key;
        good = avcodec_send_frame(p->encoder, f) >= 0;
        while (good && take_packet(p, made, ctx))
            continue;
    }
    av_frame_free(&f);
    return good;
}

void live_picture_add(struct live_picture *p, const struct sample *sample,
                      void (*made)(void *ctx, const struct sample *picture, struct bytes record), void *ctx)
{
    uint8_t *padded = mem_new(sample->payload.size + AV_INPUT_BUFFER_PADDING_SIZE);
    bool good;

    memcpy(padded, sample->payload.at, sample->payload.size);
    p->packet->data = padded;
    p->packet->size = (int)sample->payload.size;
    p->packet->pts = sample->pts;
    p->packet->dts = sample->dts;
    p->packet->flags = sample->keyframe ? AV_PKT_FLAG_KEY : 0;
    good = avcodec_send_packet(p->decoder, p->packet) >= 0;
    av_packet_unref(p->packet);
    free(padded);
    while (good && avcodec_receive_frame(p->decoder, p->raw) >= 0)
        (void)encode(p, made, ctx);
}
