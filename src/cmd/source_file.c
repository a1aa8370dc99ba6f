/* cmd/source_file.c - samples of a file, by libavformat: stream copied, never decoded.
 *
 * MP4, MOV, MKV and FLV carry what RTMP wants already. MPEG-TS carries byte streams and ADTS: those are turned
 * into lengths and raw frames here, their configurations made from what the stream says. */
#include "cmd/source_int.h"

#include "base/mem.h"

#include <libavformat/avformat.h>
#include <stdio.h>
#include <stdlib.h>

struct source_file {
    struct source source;
    char *file;
    bool loop;
    AVFormatContext *format;
    AVPacket *packet;
    int index[TRACK_COUNT]; /* the stream of each track, or -1 */
    bool is_annexb, is_adts;
    struct builder converted; /* the payload of the last sample, where it is not the packet's */
    int64_t offset_ms;        /* what earlier rounds of the loop took */
    int64_t end_ms;           /* where the file's latest sample ends, offset included */
};

static enum codec codec_of(enum AVCodecID id)
{
    switch (id) {
    case AV_CODEC_ID_H264:
        return CODEC_H264;
    case AV_CODEC_ID_HEVC:
        return CODEC_HEVC;
    case AV_CODEC_ID_AV1:
        return CODEC_AV1;
    case AV_CODEC_ID_AAC:
        return CODEC_AAC;
    case AV_CODEC_ID_OPUS:
        return CODEC_OPUS;
    default:
        return CODEC_NONE;
    }
}

/* An AudioSpecificConfig of AAC-LC, for streams that say it in every frame instead (ISO/IEC 14496-3 §1.6.2.1). */
static void make_aac_record(struct builder *out, const AVCodecParameters *p)
{
    static const int rates[] = {96000, 88200, 64000, 48000, 44100, 32000,
                                24000, 22050, 16000, 12000, 11025, 8000};
    unsigned index = 0;

    while (index < sizeof rates / sizeof rates[0] && rates[index] != p->sample_rate)
        index++;
    builder_be16(out, (uint16_t)(2u << 11 | index << 7 | (unsigned)p->ch_layout.nb_channels << 3));
}

static enum err set_track(struct source_file *f, enum track track, char why[SOURCE_WHY_SIZE])
{
    const AVCodecParameters *p = f->format->streams[f->index[track]]->codecpar;
    enum codec codec = codec_of(p->codec_id);
    struct bytes extra = bytes_of(p->extradata, (size_t)p->extradata_size);
    struct builder record = {0};
    enum err e = ERR_OK;

    if (codec == CODEC_NONE) {
        snprintf(why, SOURCE_WHY_SIZE, "%s: %s cannot be published; convert it to H.264 and AAC", f->file,
                 avcodec_get_name(p->codec_id));
        return ERR_UNSUPPORTED;
    }
    if ((codec == CODEC_H264 || codec == CODEC_HEVC) && annexb_is(extra)) {
        f->is_annexb = true;
        e = annexb_to_record(&record, codec, extra);
    } else if (codec == CODEC_AAC && extra.size == 0) {
        f->is_adts = true;
        make_aac_record(&record, p);
    } else {
        builder_add(&record, extra);
    }
    if (e != ERR_OK)
        snprintf(why, SOURCE_WHY_SIZE, "%s: the %s stream has no parameter sets", f->file, codec_name(codec));
    else
        e = source_set_track(&f->source, track, codec, builder_bytes(&record), why);
    builder_drop(&record);
    return e;
}

static enum err open_format(struct source_file *f, char why[SOURCE_WHY_SIZE])
{
    static const enum AVMediaType types[] = {
        [TRACK_VIDEO] = AVMEDIA_TYPE_VIDEO, [TRACK_AUDIO] = AVMEDIA_TYPE_AUDIO};
    int result = avformat_open_input(&f->format, f->file, NULL, NULL);

    if (result >= 0)
        result = avformat_find_stream_info(f->format, NULL);
    if (result < 0) {
        snprintf(why, SOURCE_WHY_SIZE, "%s: %s", f->file, av_err2str(result));
        return ERR_BAD;
    }
    for (int t = 0; t < TRACK_COUNT; t++)
        f->index[t] = av_find_best_stream(f->format, types[t], -1, -1, NULL, 0);
    for (unsigned i = 0; i < f->format->nb_streams; i++)
        if ((int)i != f->index[0] && (int)i != f->index[1])
            f->format->streams[i]->discard = AVDISCARD_ALL;
    return ERR_OK;
}

/* Begins the file again; the same streams are there, so the configurations stand. */
static enum err rewind_file(struct source_file *f, char why[SOURCE_WHY_SIZE])
{
    avformat_close_input(&f->format);
    if (f->end_ms == f->offset_ms) {
        snprintf(why, SOURCE_WHY_SIZE, "%s: there is nothing in it to loop", f->file);
        return ERR_BAD;
    }
    f->offset_ms = f->end_ms;
    return open_format(f, why);
}

/* The packet's payload as MP4 stores it. */
static struct bytes convert(struct source_file *f, enum track track)
{
    struct bytes in = bytes_of(f->packet->data, (size_t)f->packet->size);

    if (track == TRACK_VIDEO && f->is_annexb && annexb_is(in)) {
        builder_drop(&f->converted);
        annexb_to_lengths(&f->converted, in);
        return builder_bytes(&f->converted);
    }
    if (track == TRACK_AUDIO && f->is_adts && in.size > 7 && in.at[0] == 0xff && in.at[1] >= 0xf0)
        return bytes_from(in, in.at[1] & 1 ? 7 : 9); /* the head is longer with a checksum */
    return in;
}

static void fill(struct source_file *f, enum track track, struct source_sample *out)
{
    const AVPacket *p = f->packet;
    AVRational base = f->format->streams[p->stream_index]->time_base, ms = {1, 1000};
    int64_t dts = p->dts != AV_NOPTS_VALUE ? p->dts : p->pts != AV_NOPTS_VALUE ? p->pts : 0;
    int64_t pts = p->pts != AV_NOPTS_VALUE ? p->pts : dts;

    out->track = track;
    out->dts_ms = out->due_ms = f->offset_ms + av_rescale_q(dts, base, ms);
    out->pts_ms = f->offset_ms + av_rescale_q(pts, base, ms);
    out->keyframe = track == TRACK_AUDIO || (p->flags & AV_PKT_FLAG_KEY);
    out->payload = convert(f, track);
    int64_t end = f->offset_ms + av_rescale_q(dts + p->duration, base, ms);

    if (end > f->end_ms)
        f->end_ms = end;
}

static enum err file_next(struct source *s, struct source_sample *out, char why[SOURCE_WHY_SIZE])
{
    struct source_file *f = (struct source_file *)s;
    enum err e;

    for (;;) {
        av_packet_unref(f->packet);
        int result = av_read_frame(f->format, f->packet);

        if (result == AVERROR_EOF && !f->loop)
            return ERR_MISSING;
        if (result == AVERROR_EOF) {
            if ((e = rewind_file(f, why)) != ERR_OK)
                return e;
            continue;
        }
        if (result < 0) {
            snprintf(why, SOURCE_WHY_SIZE, "%s: %s", f->file, av_err2str(result));
            return ERR_IO;
        }
        for (int t = 0; t < TRACK_COUNT; t++) {
            if (f->packet->stream_index == f->index[t]) {
                fill(f, (enum track)t, out);
                return ERR_OK;
            }
        }
    }
}

static void file_free(struct source *s)
{
    struct source_file *f = (struct source_file *)s;

    avformat_close_input(&f->format);
    av_packet_free(&f->packet);
    builder_drop(&f->converted);
    free(f->file);
    free(f);
}

enum err source_file_open(struct source **out, const char *file, bool loop, char why[SOURCE_WHY_SIZE])
{
    struct source_file *f = mem_new(sizeof *f);
    enum err e;

    *out = NULL;
    f->source.next = file_next;
    f->source.free = file_free;
    f->file = mem_string(file);
    f->loop = loop;
    f->packet = av_packet_alloc();
    if ((e = open_format(f, why)) != ERR_OK)
        goto out;
    e = ERR_MISSING;
    snprintf(why, SOURCE_WHY_SIZE, "%s: there is neither picture nor sound in it", file);
    for (int t = 0; t < TRACK_COUNT; t++) {
        if (f->index[t] >= 0 && (e = set_track(f, (enum track)t, why)) != ERR_OK)
            goto out;
    }
    if (e != ERR_OK)
        goto out;
    if (f->index[TRACK_VIDEO] >= 0)
        f->source.frame_rate = av_q2d(f->format->streams[f->index[TRACK_VIDEO]]->avg_frame_rate);
    *out = &f->source;
    return ERR_OK;
out:
    source_free(&f->source);
    return e;
}
