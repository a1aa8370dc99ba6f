/* tests/unit/media/chunks.h - chunks of video as ffmpeg makes them, and what stands in chunks that we
 * made. */
#ifndef MATINEE_UNIT_CHUNKS_H
#define MATINEE_UNIT_CHUNKS_H

#include "base/buffer.h"
#include "base/mem.h"
#include "media/media.h"

#include <assert.h>
#include <fcntl.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define CHUNKS_MAX 16

struct chunks {
    struct buffer *init, *chunks[CHUNKS_MAX];
    size_t count;
};

/* The next box of *in, which it is taken from. */
static inline struct bytes chunks_box(struct bytes *in, char kind[5])
{
    struct cursor c = cursor_of(*in);
    uint32_t size = cursor_be32(&c);
    struct bytes name = cursor_take(&c, 4), box = bytes_head(*in, size);

    assert(!c.short_of && size >= 8 && size <= in->size);
    memcpy(kind, name.at, 4);
    kind[4] = '\0';
    *in = bytes_from(*in, size);
    return box;
}

static inline struct chunks chunks_cut(struct bytes file)
{
    struct chunks out = {0};
    struct builder init = {0};
    char kind[5];

    while (file.size > 0) {
        struct bytes start = file, box = chunks_box(&file, kind);

        if (strcmp(kind, "moof") == 0) {
            struct bytes mdat = chunks_box(&file, kind);

            assert(strcmp(kind, "mdat") == 0 && out.count < CHUNKS_MAX);
            out.chunks[out.count++] = buffer_copy(bytes_head(start, box.size + mdat.size));
        } else if (out.count == 0) {
            builder_add(&init, box);
        }
    }
    out.init = builder_finish(&init);
    return out;
}

static inline void chunks_free(struct chunks *c)
{
    buffer_unref(c->init);
    for (size_t i = 0; i < c->count; i++)
        buffer_unref(c->chunks[i]);
}

static inline struct buffer *chunks_read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct builder b = {0};
    uint8_t piece[65536];
    size_t n;

    assert(f != NULL);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        builder_add(&b, bytes_of(piece, n));
    fclose(f);
    return builder_finish(&b);
}

/* Runs ffmpeg with these words (at most 50, spaces between them) into a fragmented MP4, one fragment for
 * each keyframe. */
static inline struct chunks chunks_make(const char *words)
{
    char path[] = "/tmp/matinee-chunks-XXXXXX";
    int fd = mkstemp(path), status = -1;
    char *text = mem_printf("ffmpeg -v error -nostdin -y %s -an -f mp4 -movflags "
                            "+frag_keyframe+empty_moov+default_base_moof+skip_trailer -use_editlist 0 "
                            "-video_track_timescale 90000 %s",
                            words, path);
    char *argv[80] = {0}, *rest = NULL;
    size_t count = 0;
    pid_t pid;

    assert(fd >= 0);
    close(fd);
    for (char *word = strtok_r(text, " ", &rest); word != NULL && count < 79;
         word = strtok_r(NULL, " ", &rest))
        argv[count++] = word;
    assert(posix_spawnp(&pid, "ffmpeg", NULL, NULL, argv, environ) == 0);
    assert(waitpid(pid, &status, 0) == pid && status == 0);
    struct buffer *file = chunks_read_file(path);
    struct chunks out = chunks_cut(buffer_bytes(file));

    unlink(path);
    buffer_unref(file);
    free(text);
    assert(out.count > 0);
    return out;
}

/* --- what stands in a chunk ----------------------------------------------------------------------------- */

#define SHOWN_MAX 4000

/* Samples in decoding order. */
struct shown {
    size_t count;
    int64_t pts[SHOWN_MAX], dts[SHOWN_MAX];
    bool keyframe[SHOWN_MAX];
    int64_t ticks; /* what they last together */
    int decoded;   /* pictures a decoder gives of them */
    int width, height, format, range;
    AVRational aspect;
};

struct chunks_reader {
    struct bytes left;
};

static inline int chunks_read(void *ctx, uint8_t *to, int room)
{
    struct chunks_reader *r = ctx;
    struct bytes part = bytes_head(r->left, (size_t)room);

    if (part.size == 0)
        return AVERROR_EOF;
    memcpy(to, part.at, part.size);
    r->left = bytes_from(r->left, part.size);
    return (int)part.size;
}

static inline void chunks_take_frames(struct shown *out, AVCodecContext *decoder, AVFrame *frame)
{
    while (avcodec_receive_frame(decoder, frame) == 0) {
        out->decoded++;
        out->width = frame->width;
        out->height = frame->height;
        out->format = frame->format;
        out->range = frame->color_range;
        out->aspect = frame->sample_aspect_ratio;
        av_frame_unref(frame);
    }
}

/* Reads `init` and `media` laid end to end, and decodes them. */
static inline struct shown *chunks_shown(struct bytes init, struct bytes media)
{
    struct shown *out = mem_new(sizeof *out);
    struct builder file = {0};

    builder_add(&file, init);
    builder_add(&file, media);
    struct chunks_reader reader = {builder_bytes(&file)};
    AVIOContext *io = avio_alloc_context(av_malloc(65536), 65536, 0, &reader, chunks_read, NULL, NULL);
    AVFormatContext *format = avformat_alloc_context();

    format->pb = io;
    assert(avformat_open_input(&format, NULL, av_find_input_format("mp4"), NULL) == 0);
    const AVCodec *codec = avcodec_find_decoder(format->streams[0]->codecpar->codec_id);
    AVCodecContext *decoder = avcodec_alloc_context3(codec);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();

    avcodec_parameters_to_context(decoder, format->streams[0]->codecpar);
    decoder->thread_count = 1;
    assert(avcodec_open2(decoder, codec, NULL) == 0);
    while (av_read_frame(format, packet) >= 0) {
        assert(out->count < SHOWN_MAX);
        out->pts[out->count] = packet->pts;
        out->dts[out->count] = packet->dts;
        out->keyframe[out->count++] = packet->flags & AV_PKT_FLAG_KEY;
        avcodec_send_packet(decoder, packet);
        chunks_take_frames(out, decoder, frame);
        av_packet_unref(packet);
    }
    avcodec_send_packet(decoder, NULL);
    chunks_take_frames(out, decoder, frame);
    out->ticks = format->streams[0]->duration - out->dts[0];
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&decoder);
    avformat_close_input(&format);
    av_freep(&io->buffer);
    avio_context_free(&io);
    builder_drop(&file);
    return out;
}

/* The init segment of a rendition. */
static inline struct buffer *chunks_init_of(enum codec codec, const struct buffer *record)
{
    struct codec_config config;
    struct buffer *init = NULL;
    struct cmaf *cmaf;
    const char *why;

    assert(codec_config_parse(&config, codec, buffer_bytes(record), &why) == ERR_OK);
    assert(cmaf_new(&cmaf, &config, buffer_bytes(record), 0) == ERR_OK);
    assert(cmaf_init(cmaf, &init) == ERR_OK);
    cmaf_free(cmaf);
    return init;
}

static inline int chunks_compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

#endif
