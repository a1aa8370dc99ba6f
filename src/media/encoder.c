/* media/encoder.c - a rung in the words of its encoder: x264, x265, SVT-AV1, by libavcodec.
 *
 * What goes into the decoder configuration (level, rate, order of pictures) comes from the rung alone and
 * never from the chunk: every chunk of a rendition is played with the record of the first. */
#include "media/av_int.h"

#include "base/limits.h"

#include <libavutil/opt.h>
#include <stdio.h>

/* H.264 table A-1: macroblocks a second, of a picture, of the decoded picture buffer, and 1000 bits a
 * second. */
static const struct level {
    int number;
    uint32_t rate, size, stored, kilobits;
} levels[] = {
    {10, 1485, 99, 396, 64},
    {11, 3000, 396, 900, 192},
    {12, 6000, 396, 2376, 384},
    {13, 11880, 396, 2376, 768},
    {20, 11880, 396, 2376, 2000},
    {21, 19800, 792, 4752, 4000},
    {22, 20250, 1620, 8100, 4000},
    {30, 40500, 1620, 8100, 10000},
    {31, 108000, 3600, 18000, 14000},
    {32, 216000, 5120, 20480, 20000},
    {40, 245760, 8192, 32768, 20000},
    {42, 522240, 8704, 34816, 50000},
    {50, 589824, 22080, 110400, 135000},
    {51, 983040, 36864, 184320, 240000},
    {52, 2073600, 36864, 184320, 240000},
    {60, 4177920, 139264, 696320, 240000},
};

/* A few reference pictures, and one that waits for its turn. */
#define STORED_PICTURES 5

/* How full a player's buffer is taken to be where a chunk begins: each is encoded without knowing what the one before it
 * took, and may take so much more than its rate. With this share, sources that are too hard for the rate come out like those of
 * one process over all chunks (`matinee bench ladder`: +0.16 dB at 2 % more bits, 11 % less in the worst two seconds); with 0.5
 * they have 6 % fewer bits and 0.7 dB less. */
#define VBV_INIT "0.6"

/* The last pictures of a chunk are not referred to by any later one as far as its encoder knows, which makes them a little
 * coarser than within a stream. This much finer, chunks come out as good as a stream of the rung's crf. */
#define CRF_FINER 0.25

static int level_of(const struct rung *r)
{
    uint32_t blocks = (r->width + 15) / 16 * ((r->height + 15) / 16);

    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (blocks * r->fps_max <= levels[i].rate && blocks <= levels[i].size &&
            blocks * STORED_PICTURES <= levels[i].stored && r->bitrate_max / 1000 <= levels[i].kilobits &&
            r->buffer_bits / 1000 <= levels[i].kilobits)
            return levels[i].number;
    return 62;
}

/* One thread: no lookahead or slices of its own. No pyramid: at most one picture waits for another. */
static void set_x264(AVCodecContext *c, const struct rung *r, AVRational rate)
{
    char text[256];

    snprintf(
        text, sizeof text,
        "threads=1:lookahead-threads=1:cpu-independent=1:keyint=infinite:open-gop=0:bframes=%u:b-pyramid=none:vbv-init=" VBV_INIT,
        r->bframes);
    av_opt_set(c->priv_data, "x264-params", text, 0);
    c->level = level_of(r);
    c->framerate = rate;
    c->rc_max_rate = r->bitrate_max;
    c->rc_buffer_size = (int)r->buffer_bits;
}

/* x265 writes the rate that it is told into the record, and takes each picture to last that long: told the
 * rung's highest rate, it is given as much more to spend. */
static void set_x265(AVCodecContext *c, const struct rung *r, AVRational rate)
{
    char text[256];
    double scale = r->fps_max / av_q2d(rate);

    if (scale < 1)
        scale = 1;
    snprintf(
        text, sizeof text,
        "pools=none:frame-threads=1:wpp=0:info=0:log-level=none:keyint=-1:open-gop=0:bframes=%u:b-pyramid=0:"
        "vbv-maxrate=%.0f:vbv-bufsize=%.0f:vbv-init=" VBV_INIT,
        r->bframes, r->bitrate_max * scale / 1000, r->buffer_bits * scale / 1000);
    av_opt_set(c->priv_data, "x265-params", text, 0);
    c->framerate = (AVRational){(int)r->fps_max, 1};
}

static void set_svt_av1(AVCodecContext *c, const struct rung *r)
{
    av_opt_set(c->priv_data, "svtav1-params", "lp=1:enable-tf=0", 0);
    c->gop_size = CMAF_CHUNK_SAMPLES_MAX;
    c->framerate = (AVRational){(int)r->fps_max, 1};
    c->rc_max_rate = r->bitrate_max;
    c->rc_buffer_size = (int)r->buffer_bits;
}

static void set_picture(AVCodecContext *c, const struct rung *r, const AVFrame *like)
{
    c->width = (int)r->width;
    c->height = (int)r->height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->sample_aspect_ratio = like->sample_aspect_ratio;
    c->color_range = like->color_range;
    c->color_primaries = like->color_primaries;
    c->color_trc = like->color_trc;
    c->colorspace = like->colorspace;
    c->chroma_sample_location = like->chroma_location;
    c->time_base = (AVRational){1, CMAF_VIDEO_TIMESCALE};
}

static const AVCodec *codec_of(const struct rung *r)
{
    return avcodec_find_encoder_by_name(r->codec == CODEC_H264   ? "libx264"
                                        : r->codec == CODEC_HEVC ? "libx265"
                                                                 : "libsvtav1");
}

AVCodecContext *encoder_open(const struct rung *r, const AVFrame *like, AVRational rate)
{
    const AVCodec *codec = codec_of(r);
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;

    if (c == NULL)
        return NULL;
    set_picture(c, r, like);
    c->thread_count = 1;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_CLOSED_GOP;
    av_opt_set(c->priv_data, "preset", r->preset, 0);
    av_opt_set(c->priv_data, "profile", r->profile, 0);
    av_opt_set_double(c->priv_data, "crf", r->crf - (r->codec == CODEC_AV1 ? 0 : CRF_FINER), 0);
    if (r->codec == CODEC_H264)
        set_x264(c, r, rate);
    else if (r->codec == CODEC_HEVC)
        set_x265(c, r, rate);
    else
        set_svt_av1(c, r);
    if (avcodec_open2(c, codec, NULL) < 0)
        avcodec_free_context(&c);
    return c;
}
