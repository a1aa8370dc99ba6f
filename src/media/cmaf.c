/* media/cmaf.c - one track's CMAF segments, written by libavformat's MP4 muxer into memory.
 *
 * A muxer lives for one segment, so that a segment is complete in itself: the same samples give the same
 * bytes, whoever muxes them. tfdt is the first sample's dts and composition offsets are never negative:
 * signed ones would let a segment's tfdt be its presentation start, but libavformat's own demuxer then
 * shifts the picture against the sound. */
#include "media/media.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <libavformat/avformat.h>
#include <libavutil/mem.h>
#include <stdlib.h>

/* The muxer goes back to fill in the sizes of boxes, which it can do only within this buffer: the largest moov
 * (a configuration of CODEC_CONFIG_BYTES_MAX) and the largest moof (16 bytes a sample) must fit into it. */
#define IO_BYTES 131072
_Static_assert(IO_BYTES >= CODEC_CONFIG_BYTES_MAX + 4096, "a moov fits");
_Static_assert(IO_BYTES >= CMAF_CHUNK_SAMPLES_MAX * 16 + 4096, "a moof fits");

struct cmaf {
    struct codec_config config;
    struct buffer *record;
    AVFormatContext *muxer; /* NULL between segments */
    AVPacket *packet;       /* for one sample after the other */
    struct builder out;     /* what the muxer wrote and nobody took yet */
    size_t segment_bytes;   /* what to make room for */
    int64_t last_dts;
};

static enum AVCodecID codec_id(enum codec c)
{
    switch (c) {
    case CODEC_H264:
        return AV_CODEC_ID_H264;
    case CODEC_HEVC:
        return AV_CODEC_ID_HEVC;
    case CODEC_AV1:
        return AV_CODEC_ID_AV1;
    case CODEC_AAC:
        return AV_CODEC_ID_AAC;
    case CODEC_OPUS:
        return AV_CODEC_ID_OPUS;
    case CODEC_NONE:
        break;
    }
    return AV_CODEC_ID_NONE;
}

static bool is_video(enum codec c)
{
    return c == CODEC_H264 || c == CODEC_HEVC || c == CODEC_AV1;
}

static enum err from_av(int code)
{
    return code >= 0                     ? ERR_OK
           : code == AVERROR(ENOMEM)     ? ERR_LIMIT
           : code == AVERROR_INVALIDDATA ? ERR_BAD
                                         : ERR_IO;
}

static int collect(void *ctx, uint8_t *data, int size)
{
    struct cmaf *c = ctx;

    builder_add(&c->out, bytes_of(data, (size_t)size));
    return size;
}

static enum err fill_stream(const struct cmaf *c, AVStream *stream)
{
    AVCodecParameters *p = stream->codecpar;

    p->codec_id = codec_id(c->config.codec);
    p->extradata = av_mallocz(c->record->size + AV_INPUT_BUFFER_PADDING_SIZE);
    if (p->extradata == NULL)
        return ERR_LIMIT;
    memcpy(p->extradata, c->record->data, c->record->size);
    p->extradata_size = (int)c->record->size;
    if (is_video(c->config.codec)) {
        p->codec_type = AVMEDIA_TYPE_VIDEO;
        p->width = (int)c->config.width;
        p->height = (int)c->config.height;
        p->codec_tag = c->config.codec == CODEC_HEVC ? MKTAG('h', 'v', 'c', '1')
                                                     : 0; /* parameter sets in the init only */
        stream->time_base = (AVRational){1, CMAF_VIDEO_TIMESCALE};
    } else {
        p->codec_type = AVMEDIA_TYPE_AUDIO;
        p->sample_rate = (int)c->config.rate;
        p->frame_size = (int)c->config.frame_samples;
        av_channel_layout_default(&p->ch_layout, (int)c->config.channels);
        stream->time_base = (AVRational){1, (int)c->config.rate};
    }
    return ERR_OK;
}

static void close_muxer(struct cmaf *c)
{
    if (c->muxer == NULL)
        return;
    if (c->muxer->pb != NULL) {
        av_freep(&c->muxer->pb->buffer);
        avio_context_free(&c->muxer->pb);
    }
    avformat_free_context(c->muxer);
    c->muxer = NULL;
}

static enum err write_header(struct cmaf *c)
{
    static const char flags[] =
        "+frag_custom+empty_moov+default_base_moof+frag_discont+skip_trailer+skip_sidx";
    AVDictionary *options = NULL;
    int code;

    av_dict_set(&options, "movflags", flags, 0);
    av_dict_set(&options, "use_editlist", "0", 0);
    av_dict_set(&options, "write_tmcd", "0", 0);
    av_dict_set_int(&options, "video_track_timescale", CMAF_VIDEO_TIMESCALE, 0);
    av_dict_set(&options, "brand", "cmf2", 0);
    c->muxer->flags |= AVFMT_FLAG_BITEXACT;
    c->muxer->flush_packets = 0; /* cmaf_end_chunk() does */
    c->muxer->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
    code = avformat_write_header(c->muxer, &options);
    av_dict_free(&options);
    return from_av(code);
}

/* Opens a muxer; its header (ftyp, moov) is then in c->out. */
static enum err open_muxer(struct cmaf *c)
{
    uint8_t *io = av_malloc(IO_BYTES);
    AVStream *stream;
    enum err e = ERR_LIMIT;

    builder_drop(&c->out);
    if (io == NULL || avformat_alloc_output_context2(&c->muxer, NULL, "mp4", NULL) < 0) {
        av_free(io);
        return ERR_LIMIT;
    }
    c->muxer->pb = avio_alloc_context(io, IO_BYTES, 1, c, NULL, collect, NULL);
    if (c->muxer->pb == NULL) {
        av_free(io);
        goto out;
    }
    c->muxer->pb->seekable = 0;
    stream = avformat_new_stream(c->muxer, NULL);
    if (stream == NULL || (e = fill_stream(c, stream)) != ERR_OK)
        goto out;
    e = write_header(c);
    avio_flush(c->muxer->pb);
out:
    if (e != ERR_OK)
        close_muxer(c);
    return e;
}

enum err cmaf_new(struct cmaf **out, const struct codec_config *config, struct bytes record,
                  size_t segment_bytes)
{
    struct cmaf *c = mem_new(sizeof *c);
    enum err e;

    *out = NULL;
    c->config = *config;
    c->record = buffer_copy(record);
    c->segment_bytes = segment_bytes;
    if ((c->packet = av_packet_alloc()) == NULL) {
        cmaf_free(c);
        return ERR_LIMIT;
    }
    if ((e = open_muxer(c)) !=
        ERR_OK) { /* tells a configuration that libavformat refuses before it matters */
        cmaf_free(c);
        return e;
    }
    close_muxer(c);
    *out = c;
    return ERR_OK;
}

void cmaf_free(struct cmaf *c)
{
    if (c == NULL)
        return;
    close_muxer(c);
    builder_drop(&c->out);
    av_packet_free(&c->packet);
    buffer_unref(c->record);
    free(c);
}

enum err cmaf_init(struct cmaf *c, struct buffer **out)
{
    enum err e;

    assert(c->muxer == NULL);
    *out = NULL;
    if ((e = open_muxer(c)) != ERR_OK)
        return e;
    *out = builder_finish(&c->out);
    close_muxer(c);
    return ERR_OK;
}

enum err cmaf_add(struct cmaf *c, const struct sample *s)
{
    AVPacket *packet = c->packet;
    enum err e;

    if (c->muxer == NULL) {
        if ((e = open_muxer(c)) != ERR_OK)
            return e;
        builder_drop(&c->out); /* the header stands in the init segment */
        c->out.buffer = buffer_new(c->segment_bytes + c->segment_bytes / 8);
        c->last_dts = INT64_MIN;
    }
    packet->data = (uint8_t *)(uintptr_t)s->payload.at; /* the muxer reads it only */
    packet->size = (int)s->payload.size;
    packet->dts = s->dts;
    if (packet->dts <= c->last_dts)
        packet->dts = c->last_dts + 1; /* a tie would be refused; one tick is 11 microseconds */
    c->last_dts = packet->dts;
    packet->pts = s->pts;
    if (packet->pts < packet->dts)
        packet->pts = packet->dts;
    packet->duration = s->duration;
    packet->flags = s->keyframe ? AV_PKT_FLAG_KEY : 0;
    return from_av(av_write_frame(c->muxer, packet));
}

enum err cmaf_end_chunk(struct cmaf *c)
{
    enum err e;

    assert(c->muxer != NULL);
    e = from_av(av_write_frame(c->muxer, NULL));
    avio_flush(c->muxer->pb);
    return e;
}

struct buffer *cmaf_end_segment(struct cmaf *c)
{
    struct buffer *segment = builder_finish(&c->out);

    close_muxer(c);
    segment = mem_resize(segment, sizeof *segment + segment->size); /* what was not needed is given back */
    segment->capacity = segment->size;
    return segment;
}
