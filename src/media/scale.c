/* media/scale.c - a picture in the size of a rung, by libswscale: to the same bytes on every machine. */
#include "media/av_int.h"

#include "base/mem.h"

#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>

/* Without the last two, each machine's vector units round in their own way. */
#define FLAGS (SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT)

struct shape {
    int width, height, format;
    bool full; /* range */
};

struct scaler {
    int width, height;
    struct SwsContext *sws; /* NULL before the first picture that is not right as it is */
    struct shape from;      /* which it was made for */
    bool begun, full;       /* the range of what goes out, as the first picture was */
    AVFrame *to;
};

struct scaler *scaler_new(const struct rung *rung)
{
    struct scaler *s = mem_new(sizeof *s);

    s->width = (int)rung->width;
    s->height = (int)rung->height;
    return s;
}

void scaler_free(struct scaler *s)
{
    if (s == NULL)
        return;
    sws_freeContext(s->sws);
    av_frame_free(&s->to);
    free(s);
}

/* The formats named after JPEG say the range a second time; libswscale would convert it. */
static int without_range(int format)
{
    switch (format) {
    case AV_PIX_FMT_YUVJ420P:
        return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
        return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P:
        return AV_PIX_FMT_YUV444P;
    case AV_PIX_FMT_YUVJ440P:
        return AV_PIX_FMT_YUV440P;
    default:
        return format;
    }
}

static struct shape shape_of(const AVFrame *f)
{
    return (struct shape){f->width, f->height, without_range(f->format),
                          f->color_range == AVCOL_RANGE_JPEG || without_range(f->format) != f->format};
}

static bool is_rgb(int format)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get((enum AVPixelFormat)format);

    return d != NULL && d->flags & AV_PIX_FMT_FLAG_RGB;
}

static enum err prepare(struct scaler *s, const struct shape *from)
{
    sws_freeContext(s->sws);
    if ((s->sws = sws_alloc_context()) == NULL)
        return ERR_LIMIT;
    s->from = *from;
    av_opt_set_int(s->sws, "srcw", from->width, 0);
    av_opt_set_int(s->sws, "srch", from->height, 0);
    av_opt_set_int(s->sws, "src_format", from->format, 0);
    av_opt_set_int(s->sws, "src_range", from->full, 0);
    av_opt_set_int(s->sws, "dstw", s->width, 0);
    av_opt_set_int(s->sws, "dsth", s->height, 0);
    av_opt_set_int(s->sws, "dst_format", AV_PIX_FMT_YUV420P, 0);
    av_opt_set_int(s->sws, "dst_range", s->full, 0);
    av_opt_set_int(s->sws, "sws_flags", FLAGS, 0);
    return sws_init_context(s->sws, NULL, NULL) < 0 ? ERR_UNSUPPORTED : ERR_OK;
}

static enum err make_room(struct scaler *s)
{
    if (s->to == NULL && (s->to = av_frame_alloc()) == NULL)
        return ERR_LIMIT;
    if (s->to->buf[0] != NULL)
        return av_frame_make_writable(s->to) < 0 ? ERR_LIMIT : ERR_OK;
    s->to->width = s->width;
    s->to->height = s->height;
    s->to->format = AV_PIX_FMT_YUV420P;
    return av_frame_get_buffer(s->to, 0) < 0 ? ERR_LIMIT : ERR_OK;
}

static void carry_over(const struct scaler *s, const AVFrame *from)
{
    AVFrame *to = s->to;

    to->pts = from->pts;
    to->sample_aspect_ratio = from->sample_aspect_ratio;
    to->color_range = s->full                                        ? AVCOL_RANGE_JPEG
                      : from->color_range == AVCOL_RANGE_UNSPECIFIED ? AVCOL_RANGE_UNSPECIFIED
                                                                     : AVCOL_RANGE_MPEG;
    to->color_primaries = from->color_primaries;
    to->color_trc = from->color_trc;
    to->colorspace = is_rgb(from->format) ? AVCOL_SPC_SMPTE170M : from->colorspace; /* libswscale's own */
    to->chroma_location = from->chroma_location;
}

static bool is_right(const struct scaler *s, const struct shape *shape)
{
    return shape->width == s->width && shape->height == s->height && shape->format == AV_PIX_FMT_YUV420P &&
           shape->full == s->full;
}

enum err scaler_picture(struct scaler *s, const AVFrame *from, const AVFrame **out)
{
    struct shape shape = shape_of(from);
    enum err e = ERR_OK;

    if (!s->begun)
        s->full = shape.full && !is_rgb(from->format);
    s->begun = true;
    if (is_right(s, &shape)) {
        *out = from;
        return ERR_OK;
    }
    if (s->sws == NULL || shape.width != s->from.width || shape.height != s->from.height ||
        shape.format != s->from.format || shape.full != s->from.full)
        e = prepare(s, &shape);
    if (e != ERR_OK || (e = make_room(s)) != ERR_OK)
        return e;
    if (sws_scale(s->sws, (const uint8_t *const *)from->data, from->linesize, 0, from->height, s->to->data,
                  s->to->linesize) != s->height)
        return ERR_IO;
    carry_over(s, from);
    *out = s->to;
    return ERR_OK;
}
