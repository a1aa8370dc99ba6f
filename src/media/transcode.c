/* media/transcode.c - one chunk, decoded once and encoded as several renditions. Decoding, scaling and
 * encoding go picture by picture, so that memory holds a few of them whatever the chunk's length. */
#include "media/av_int.h"

#include "base/limits.h"

#include <libavutil/pixdesc.h>
#include <stdio.h>

struct work {
    const struct rung *rungs;
    size_t rung_count;
    struct timing timing;
    struct demux demux;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    struct scaler *scalers[RUNGS_MAX];
    struct rendition *renditions[RUNGS_MAX];
    int64_t last_pts;       /* of the picture before */
    size_t decoded;         /* pictures, those that are left out too */
    size_t decoded_leading; /* of them before the first sample's */
    bool starved;           /* there was no memory for a picture */
    char *why;              /* 256 */
};

static enum err refuse(const struct work *w, enum err e, const char *text)
{
    snprintf(w->why, 256, "%s", text);
    return e;
}

/* --- before the first picture --------------------------------------------------------------------------- */

/* What a decoder makes of it when there is no memory for a picture is its own affair: some go on without. */
static int take_memory(AVCodecContext *decoder, AVFrame *frame, int flags)
{
    struct work *w = decoder->opaque;
    int code = avcodec_default_get_buffer2(decoder, frame, flags);

    w->starved = w->starved || code < 0;
    return code;
}

static enum err open_decoder(struct work *w)
{
    const AVCodecParameters *p = w->demux.format->streams[0]->codecpar;
    const AVCodec *codec = avcodec_find_decoder(p->codec_id);

    w->packet = av_packet_alloc();
    w->frame = av_frame_alloc();
    if (codec == NULL || p->codec_type != AVMEDIA_TYPE_VIDEO)
        return refuse(w, ERR_UNSUPPORTED, "no decoder is known for this stream");
    w->decoder = avcodec_alloc_context3(codec);
    if (w->packet == NULL || w->frame == NULL || w->decoder == NULL ||
        avcodec_parameters_to_context(w->decoder, p) < 0)
        return refuse(w, ERR_LIMIT, "no memory for a decoder");
    w->decoder->thread_count = 1;
    w->decoder->opaque = w;
    w->decoder->get_buffer2 = take_memory;
    w->decoder->max_pixels = (int64_t)PICTURE_SIDE_MAX * PICTURE_SIDE_MAX;
    w->decoder->pkt_timebase = w->demux.format->streams[0]->time_base;
    if (avcodec_open2(w->decoder, codec, NULL) < 0)
        return refuse(w, ERR_BAD, "the decoder refuses the stream's configuration");
    return ERR_OK;
}

static enum err open_renditions(struct work *w)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < w->rung_count && e == ERR_OK; i++) {
        w->scalers[i] = scaler_new(&w->rungs[i]);
        e = rendition_new(&w->renditions[i], &w->rungs[i], &w->timing);
    }
    return e == ERR_OK ? e : refuse(w, e, "no memory for encoders");
}

/* --- picture by picture --------------------------------------------------------------------------------- */

/* Brightness beyond what 8 bits and these renditions can say; it would come out grey. */
static bool is_hdr(const AVFrame *f)
{
    return f->color_trc == AVCOL_TRC_SMPTE2084 || f->color_trc == AVCOL_TRC_ARIB_STD_B67 ||
           f->color_primaries == AVCOL_PRI_BT2020 || f->colorspace == AVCOL_SPC_BT2020_NCL ||
           f->colorspace == AVCOL_SPC_BT2020_CL;
}

static enum err encode_picture(struct work *w)
{
    for (size_t i = 0; i < w->rung_count; i++) {
        const AVFrame *scaled;
        enum err e = scaler_picture(w->scalers[i], w->frame, &scaled);

        if (e == ERR_OK)
            e = rendition_add(w->renditions[i], scaled);
        if (e != ERR_OK) {
            snprintf(w->why, 256, "the encoder of %s does not take a picture", w->rungs[i].name);
            return e;
        }
    }
    return ERR_OK;
}

static enum err take_picture(struct work *w)
{
    long index = timing_find(&w->timing, w->frame->pts);

    if (is_hdr(w->frame))
        return refuse(w, ERR_UNSUPPORTED,
                      "pictures of high dynamic range (BT.2020, PQ or HLG) are not converted");
    if (index < 0 || (w->decoded > 0 && w->frame->pts <= w->last_pts))
        return ERR_OK; /* a second one of the same instant, of damage: it is missing elsewhere */
    w->last_pts = w->frame->pts;
    w->decoded++;
    w->decoded_leading += (size_t)index < w->timing.leading;
    return (size_t)index % w->timing.every == 0 ? encode_picture(w) : ERR_OK;
}

static enum err take_pictures(struct work *w)
{
    enum err e = ERR_OK;
    int code = 0;

    while (e == ERR_OK && (code = avcodec_receive_frame(w->decoder, w->frame)) == 0) {
        e = take_picture(w);
        av_frame_unref(w->frame);
    }
    if (e != ERR_OK || code == AVERROR(EAGAIN) || code == AVERROR_EOF)
        return e;
    return code == AVERROR(ENOMEM) || w->starved ? refuse(w, ERR_LIMIT, "no memory for a picture")
                                                 : refuse(w, ERR_BAD, "a picture cannot be decoded");
}

/* A packet that is refused lacks its picture in the end; only a lack of memory is not the packet's fault. */
static enum err decode_packet(struct work *w, const AVPacket *packet)
{
    return avcodec_send_packet(w->decoder, packet) == AVERROR(ENOMEM)
               ? refuse(w, ERR_LIMIT, "no memory for a picture")
               : take_pictures(w);
}

static enum err decode_all(struct work *w)
{
    enum err e = ERR_OK;

    for (; e == ERR_OK && av_read_frame(w->demux.format, w->packet) >= 0; av_packet_unref(w->packet))
        e = decode_packet(w, w->packet);
    return e == ERR_OK ? decode_packet(w, NULL) : e;
}

/* --- after the last ------------------------------------------------------------------------------------- */

/* Leading pictures of an open GOP need the GOP before; some decoders leave them out, which is no loss. */
static enum err check_count(const struct work *w)
{
    size_t due = w->timing.count - w->timing.leading, came = w->decoded - w->decoded_leading;

    if (came == due)
        return ERR_OK;
    if (w->starved)
        return refuse(w, ERR_LIMIT, "no memory for a picture");
    snprintf(w->why, 256, "%zu of %zu pictures can be decoded", came, due);
    return ERR_BAD;
}

static enum err finish(struct work *w, struct transcoded *out)
{
    for (size_t i = 0; i < w->rung_count; i++) {
        enum err e = rendition_finish(w->renditions[i], &out[i]);

        if (e != ERR_OK) {
            snprintf(w->why, 256, "the encoder of %s does not finish", w->rungs[i].name);
            return e;
        }
    }
    return ERR_OK;
}

static void drop(struct work *w)
{
    for (size_t i = 0; i < w->rung_count; i++) {
        scaler_free(w->scalers[i]);
        rendition_free(w->renditions[i]);
    }
    avcodec_free_context(&w->decoder);
    av_packet_free(&w->packet);
    av_frame_free(&w->frame);
    demux_close(&w->demux);
    timing_drop(&w->timing);
}

enum err transcode(struct bytes init, struct bytes chunk, const struct rung *rungs, size_t count,
                   struct transcoded *out, char why[256])
{
    struct work w = {.rungs = rungs, .rung_count = count, .why = why};
    enum err e;

    why[0] = '\0';
    for (size_t i = 0; i < count; i++)
        out[i] = (struct transcoded){0};
    if (count == 0 || count > RUNGS_MAX)
        return refuse(&w, ERR_LIMIT, "no renditions are asked for, or too many");
    if ((e = timing_read(&w.timing, init, chunk, rungs[0].fps_max, why)) != ERR_OK)
        return e;
    if ((e = demux_open(&w.demux, init, chunk)) != ERR_OK)
        e = refuse(&w, e, "the chunk cannot be read");
    else if ((e = open_decoder(&w)) == ERR_OK && (e = open_renditions(&w)) == ERR_OK &&
             (e = decode_all(&w)) == ERR_OK && (e = check_count(&w)) == ERR_OK)
        e = finish(&w, out);
    for (size_t i = 0; i < count && e != ERR_OK; i++) {
        buffer_unref(out[i].record);
        buffer_unref(out[i].chunk);
        out[i] = (struct transcoded){0};
    }
    drop(&w);
    return e;
}
