/* media/remux.c - reads stored segments and writes them into one file, in memory, by libavformat.
 *
 * What is read here was muxed by cmaf.c; nothing is decoded, and no stream is probed. */
#include "media/av_int.h"

struct source {
    struct demux demux;
    AVPacket *packet; /* the next one; NULL at the end */
    int stream;       /* of the output */
};

static int collect(void *ctx, uint8_t *data, int size)
{
    builder_add(ctx, bytes_of(data, (size_t)size));
    return size;
}

static void source_advance(struct source *s)
{
    av_packet_unref(s->packet);
    if (av_read_frame(s->demux.format, s->packet) < 0)
        av_packet_free(&s->packet);
}

static enum err source_open(struct source *s, const struct stored_track *track)
{
    enum err e = demux_open(&s->demux, buffer_bytes(track->init), buffer_bytes(track->bytes));

    if (e != ERR_OK)
        return e;
    if ((s->packet = av_packet_alloc()) == NULL)
        return ERR_LIMIT;
    source_advance(s);
    return ERR_OK;
}

static void source_close(struct source *s)
{
    av_packet_free(&s->packet);
    demux_close(&s->demux);
}

static enum err add_stream(AVFormatContext *muxer, struct source *s, enum container container)
{
    AVStream *stream = avformat_new_stream(muxer, NULL);
    const AVStream *from = s->demux.format->streams[0];

    if (stream == NULL || avcodec_parameters_copy(stream->codecpar, from->codecpar) < 0)
        return ERR_LIMIT;
    if (container == CONTAINER_TS)
        stream->codecpar->codec_tag = 0;
    stream->time_base = from->time_base;
    s->stream = stream->index;
    return ERR_OK;
}

static enum err write_header(AVFormatContext *muxer, enum container container, uint32_t fragment)
{
    AVDictionary *options = NULL;
    int code;

    if (container == CONTAINER_MP4) {
        av_dict_set(&options, "movflags",
                    "+frag_custom+empty_moov+default_base_moof+frag_discont+skip_trailer", 0);
        av_dict_set(&options, "use_editlist", "0", 0);
        av_dict_set_int(&options, "video_track_timescale", CMAF_VIDEO_TIMESCALE, 0);
        av_dict_set_int(&options, "fragment_index", fragment, 0);
    } else {
        av_dict_set(&options, "mpegts_copyts", "1", 0);
    }
    muxer->flags |= AVFMT_FLAG_BITEXACT;
    muxer->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
    code = avformat_write_header(muxer, &options);
    av_dict_free(&options);
    avio_flush(muxer->pb);
    return code < 0 ? ERR_BAD : ERR_OK;
}

/* The source whose next packet comes first, or NULL when all are empty. */
static struct source *first_of(struct source sources[TRACK_COUNT])
{
    struct source *first = NULL;

    for (int t = 0; t < TRACK_COUNT; t++) {
        struct source *s = &sources[t];

        if (s->packet != NULL &&
            (first == NULL ||
             av_compare_ts(s->packet->dts, s->demux.format->streams[0]->time_base, first->packet->dts,
                           first->demux.format->streams[0]->time_base) < 0))
            first = s;
    }
    return first;
}

static enum err copy_packets(AVFormatContext *muxer, struct source sources[TRACK_COUNT])
{
    for (struct source *s; (s = first_of(sources)) != NULL; source_advance(s)) {
        s->packet->stream_index = s->stream;
        av_packet_rescale_ts(s->packet, s->demux.format->streams[0]->time_base,
                             muxer->streams[s->stream]->time_base);
        s->packet->pos = -1;
        if (av_write_frame(muxer, s->packet) < 0)
            return ERR_BAD;
    }
    return av_write_frame(muxer, NULL) < 0 || av_write_trailer(muxer) < 0 ? ERR_BAD : ERR_OK;
}

enum err remux(struct buffer **out, const struct stored_track tracks[TRACK_COUNT], enum container container,
               bool header, uint32_t fragment)
{
    struct source sources[TRACK_COUNT] = {0};
    struct builder built = {0};
    AVFormatContext *muxer = NULL;
    enum err e = ERR_LIMIT;

    *out = NULL;
    if (avformat_alloc_output_context2(&muxer, NULL, container == CONTAINER_MP4 ? "mp4" : "mpegts", NULL) <
            0 ||
        (muxer->pb = av_io_new(&built, NULL, collect)) == NULL)
        goto out;
    e = ERR_OK;
    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++) {
        if (tracks[t].init == NULL || tracks[t].bytes == NULL)
            continue;
        if ((e = source_open(&sources[t], &tracks[t])) == ERR_OK)
            e = add_stream(muxer, &sources[t], container);
    }
    if (e != ERR_OK || (e = write_header(muxer, container, fragment)) != ERR_OK)
        goto out;
    if (container == CONTAINER_MP4 && !header)
        builder_drop(&built);
    if ((e = copy_packets(muxer, sources)) != ERR_OK)
        goto out;
    avio_flush(muxer->pb);
    *out = builder_finish(&built);
out:
    for (int t = 0; t < TRACK_COUNT; t++)
        source_close(&sources[t]);
    if (muxer != NULL)
        av_io_free(muxer->pb);
    avformat_free_context(muxer);
    builder_drop(&built);
    return e;
}
