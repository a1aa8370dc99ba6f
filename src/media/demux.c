/* media/demux.c - stored media through libavformat, from memory. What is read here was muxed by cmaf.c;
 * nothing is decoded, and no stream is probed. */
#include "media/av_int.h"

#include "base/limits.h"

#include <libavutil/mem.h>

_Static_assert(AV_IO_BYTES >= TRACK_COUNT * CODEC_CONFIG_BYTES_MAX + 8192, "a moov fits");

AVIOContext *av_io_new(void *ctx, int (*read)(void *, uint8_t *, int), int (*write)(void *, uint8_t *, int))
{
    uint8_t *memory = av_malloc(AV_IO_BYTES);
    AVIOContext *io =
        memory ? avio_alloc_context(memory, AV_IO_BYTES, write != NULL, ctx, read, write, NULL) : NULL;

    if (io == NULL)
        av_free(memory);
    else
        io->seekable = 0;
    return io;
}

void av_io_free(AVIOContext *io)
{
    if (io != NULL)
        av_freep(&io->buffer);
    avio_context_free(&io);
}

static int read_parts(void *ctx, uint8_t *to, int room)
{
    struct demux *d = ctx;
    struct bytes *part = d->left[0].size > 0 ? &d->left[0] : &d->left[1];
    struct bytes taken = bytes_head(*part, (size_t)room);

    if (taken.size == 0)
        return AVERROR_EOF;
    memcpy(to, taken.at, taken.size);
    *part = bytes_from(*part, taken.size);
    return (int)taken.size;
}

enum err demux_open(struct demux *d, struct bytes init, struct bytes media)
{
    AVIOContext *io = av_io_new(d, read_parts, NULL);

    d->left[0] = init;
    d->left[1] = media;
    d->format = avformat_alloc_context();
    if (d->format == NULL || io == NULL) {
        av_io_free(io);
        return ERR_LIMIT;
    }
    d->format->pb = io;
    d->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    if (avformat_open_input(&d->format, NULL, av_find_input_format("mp4"), NULL) < 0) {
        av_io_free(io); /* the demuxer itself was freed by the failure */
        return ERR_BAD;
    }
    return d->format->nb_streams == 1 ? ERR_OK : ERR_BAD;
}

void demux_close(struct demux *d)
{
    AVIOContext *io = d->format ? d->format->pb : NULL;

    avformat_close_input(&d->format);
    av_io_free(io);
}
