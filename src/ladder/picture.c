/* ladder/picture.c - decodes one picture and encodes it as a JPEG, by libavcodec. In the child only. */
#include "ladder/ladder_int.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>

#define IO_BYTES 65536

struct reader {
    struct bytes left;
};

static int read_bytes(void *ctx, uint8_t *to, int room)
{
    struct reader *r = ctx;
    struct bytes taken = bytes_head(r->left, (size_t)room);

    if (taken.size == 0)
        return AVERROR_EOF;
    memcpy(to, taken.at, taken.size);
    r->left = bytes_from(r->left, taken.size);
    return (int)taken.size;
}

/* Feeds packets until the decoder gives a picture. */
static enum err decode(AVFormatContext *demuxer, AVCodecContext *decoder, AVFrame *frame)
{
    AVPacket *packet = av_packet_alloc();
    enum err e = ERR_BAD;
    bool drained = false;

    while (packet != NULL) {
        int code = avcodec_receive_frame(decoder, frame);

        if (code == 0)
            e = ERR_OK;
        if (code != AVERROR(EAGAIN) || drained)
            break;
        drained = av_read_frame(demuxer, packet) < 0;
        if (avcodec_send_packet(decoder, drained ? NULL : packet) < 0 && !drained)
            break;
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
    return e;
}

static AVFrame *scale(const AVFrame *from, int width_max, int height_max)
{
    int width = from->width < width_max ? from->width : width_max; /* never larger than it is */
    int height = (int)((int64_t)from->height * width / from->width);
    AVFrame *to = av_frame_alloc();
    struct SwsContext *scaler;

    if (height > height_max) {
        height = height_max;
        width = (int)((int64_t)from->width * height_max / from->height);
    }
    if (to == NULL)
        return NULL;
    to->width = width < 2 ? 2 : width & ~1;
    to->height = height < 2 ? 2 : height & ~1;
    to->format = AV_PIX_FMT_YUVJ420P;
    scaler = sws_getContext(from->width, from->height, (enum AVPixelFormat)from->format, to->width,
                            to->height, AV_PIX_FMT_YUVJ420P, SWS_BICUBIC, NULL, NULL, NULL);
    if (scaler == NULL || av_frame_get_buffer(to, 0) < 0 ||
        sws_scale(scaler, (const uint8_t *const *)from->data, from->linesize, 0, from->height, to->data,
                  to->linesize) <= 0)
        av_frame_free(&to);
    sws_freeContext(scaler);
    return to;
}

static enum err encode(const AVFrame *frame, struct buffer **out)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
    AVCodecContext *encoder = codec ? avcodec_alloc_context3(codec) : NULL;
    AVPacket *packet = av_packet_alloc();
    enum err e = ERR_IO;

    if (encoder == NULL || packet == NULL)
        goto out;
    encoder->width = frame->width;
    encoder->height = frame->height;
    encoder->pix_fmt = AV_PIX_FMT_YUVJ420P;
    encoder->time_base = (AVRational){1, 25};
    encoder->flags |= AV_CODEC_FLAG_QSCALE;
    encoder->global_quality = 5 * FF_QP2LAMBDA;
    encoder->thread_count = 1;
    if (avcodec_open2(encoder, codec, NULL) < 0 || avcodec_send_frame(encoder, frame) < 0 ||
        avcodec_receive_packet(encoder, packet) < 0)
        goto out;
    *out = buffer_copy(bytes_of(packet->data, (size_t)packet->size));
    e = ERR_OK;
out:
    av_packet_free(&packet);
    avcodec_free_context(&encoder);
    return e;
}

static enum err draw_from(AVFormatContext *demuxer, int width_max, int height_max, struct buffer **out)
{
    const AVCodecParameters *parameters = demuxer->streams[0]->codecpar;
    const AVCodec *codec = avcodec_find_decoder(parameters->codec_id);
    AVCodecContext *decoder = codec ? avcodec_alloc_context3(codec) : NULL;
    AVFrame *frame = av_frame_alloc(), *small = NULL;
    enum err e = ERR_BAD;

    if (decoder == NULL || frame == NULL || avcodec_parameters_to_context(decoder, parameters) < 0)
        goto out;
    decoder->thread_count = 1; /* the sandbox allows no second thread */
    if (avcodec_open2(decoder, codec, NULL) < 0 || (e = decode(demuxer, decoder, frame)) != ERR_OK)
        goto out;
    small = scale(frame, width_max, height_max);
    e = small ? encode(small, out) : ERR_BAD;
out:
    av_frame_free(&small);
    av_frame_free(&frame);
    avcodec_free_context(&decoder);
    return e;
}

enum err picture_draw(struct bytes mp4, int width_max, int height_max, struct buffer **out)
{
    struct reader reader = {mp4};
    uint8_t *memory = av_malloc(IO_BYTES);
    AVIOContext *io =
        memory ? avio_alloc_context(memory, IO_BYTES, 0, &reader, read_bytes, NULL, NULL) : NULL;
    AVFormatContext *demuxer = avformat_alloc_context();
    enum err e = ERR_BAD;

    *out = NULL;
    if (io == NULL || demuxer == NULL) {
        avformat_free_context(demuxer);
        goto out;
    }
    io->seekable = 0;
    demuxer->pb = io;
    demuxer->flags |= AVFMT_FLAG_CUSTOM_IO;
    if (avformat_open_input(&demuxer, NULL, av_find_input_format("mp4"), NULL) < 0)
        goto out;
    if (demuxer->nb_streams == 1 && demuxer->streams[0]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO)
        e = draw_from(demuxer, width_max, height_max, out);
    avformat_close_input(&demuxer);
out:
    if (io != NULL)
        av_freep(&io->buffer);
    avio_context_free(&io);
    return e;
}
