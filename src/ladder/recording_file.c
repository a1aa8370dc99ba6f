/* ladder/recording_file.c - one track of a foreign file, by libavformat, within the sandbox. Nothing is decoded but for what libavformat
 * itself looks at to know its streams.
 *
 * Each track has a reader of its own over the same descriptor, so that sound and pictures come out in the order of their times
 * however the file lays them: one that has all its sound at the end costs no memory. */
#include "ladder/recording_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define IO_BYTES 65536
/* The demuxers that strangers' files are given to; libavformat has three hundred. */
#define DEMUXERS  "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,flv"
#define ADTS_HEAD 7
/* Pictures that may come before the first whose dts is known: as deep as any codec reorders. */
#define EARLY_MAX 17

struct track_reader {
    int file;
    int64_t at, size; /* of the file; the descriptor's own place is shared with the other reader */
    AVFormatContext *format;
    AVStream *stream;
    AVPacket *packet;
    AVPacket *early[EARLY_MAX]; /* looked at before their turn */
    size_t early_at, early_count;
    enum track track;
    struct codec_config config;
    struct builder record, converted;
    bool is_annexb, is_adts, has_key;
    int64_t next; /* where the packet before ends, in ticks; for stamps that are missing */
};

/* --- bytes ---------------------------------------------------------------------------------------------- */

static int read_file(void *ctx, uint8_t *to, int room)
{
    struct track_reader *r = ctx;
    ssize_t n = lseek(r->file, r->at, SEEK_SET) < 0 ? -1 : read(r->file, to, (size_t)room);

    if (n > 0)
        r->at += n;
    return n > 0 ? (int)n : n == 0 ? AVERROR_EOF : AVERROR(EIO);
}

static int64_t seek_file(void *ctx, int64_t offset, int whence)
{
    struct track_reader *r = ctx;

    if (whence & AVSEEK_SIZE)
        return r->size;
    switch (whence & ~AVSEEK_FORCE) {
    case SEEK_SET:
        break;
    case SEEK_CUR:
        offset += r->at;
        break;
    case SEEK_END:
        offset += r->size;
        break;
    default:
        return AVERROR(EINVAL);
    }
    return offset < 0 ? AVERROR(EINVAL) : (r->at = offset);
}

/* --- packets, as they come ------------------------------------------------------------------------------- */

/* The next packet of the stream, whole ones only; pictures from the first keyframe on. */
static bool read_packet(struct track_reader *r, AVPacket *p)
{
    while (av_read_frame(r->format, p) >= 0) {
        bool wanted = p->stream_index == r->stream->index && p->size > 0 && !(p->flags & AV_PKT_FLAG_CORRUPT);

        if (wanted && (r->has_key || r->track == TRACK_AUDIO || p->flags & AV_PKT_FLAG_KEY)) {
            r->has_key = true;
            return true;
        }
        av_packet_unref(p);
    }
    return false;
}

/* Matroska has no dts; libavformat knows them only from where reordering has been seen. Those before are counted back from it. */
static void read_early(struct track_reader *r)
{
    while (r->early_count < EARLY_MAX && (r->early[r->early_count] = av_packet_alloc()) != NULL &&
           read_packet(r, r->early[r->early_count]))
        if (r->early[r->early_count++]->dts != AV_NOPTS_VALUE)
            break;
    for (size_t i = r->early_count; i > 1; i--) {
        const AVPacket *known = r->early[i - 1];
        AVPacket *before = r->early[i - 2];

        if (known->dts != AV_NOPTS_VALUE)
            before->dts = known->dts - (before->duration > 0 ? before->duration : 1);
    }
}

static bool next_packet(struct track_reader *r)
{
    av_packet_unref(r->packet);
    if (r->early_at == r->early_count)
        return read_packet(r, r->packet);
    av_packet_move_ref(r->packet, r->early[r->early_at++]);
    return true;
}

/* --- what it is ----------------------------------------------------------------------------------------- */

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

/* How much a stream is wanted: one that can be taken before one that cannot, then the one meant to be played. */
static int rank(const AVStream *s, enum AVMediaType type)
{
    if (s->codecpar->codec_type != type || s->disposition & AV_DISPOSITION_ATTACHED_PIC)
        return 0;
    return 1 + (codec_of(s->codecpar->codec_id) != CODEC_NONE) * 2 +
           ((s->disposition & AV_DISPOSITION_DEFAULT) != 0);
}

static void choose_stream(struct track_reader *r)
{
    enum AVMediaType type = r->track == TRACK_VIDEO ? AVMEDIA_TYPE_VIDEO : AVMEDIA_TYPE_AUDIO;
    int best = 0;

    for (unsigned i = 0; i < r->format->nb_streams; i++) {
        AVStream *s = r->format->streams[i];

        if (rank(s, type) > best) {
            best = rank(s, type);
            r->stream = s;
        }
    }
    for (unsigned i = 0; i < r->format->nb_streams; i++)
        if (r->format->streams[i] != r->stream)
            r->format->streams[i]->discard = AVDISCARD_ALL;
}

/* An index that names bytes beyond the file's end: it was cut short on its way. */
static bool is_cut_short(const struct track_reader *r)
{
    int count = avformat_index_get_entries_count(r->stream);

    for (int i = count > 0 ? count - 1 : 0; i < count; i++) {
        const AVIndexEntry *e = avformat_index_get_entry(r->stream, i);

        if (e->pos + e->size > r->size)
            return true;
    }
    return false;
}

static enum err open_format(struct track_reader *r, char why[RECORDING_WHY_SIZE])
{
    uint8_t *memory = av_malloc(IO_BYTES);
    int result;

    r->format = avformat_alloc_context();
    if (memory == NULL || r->format == NULL)
        return ERR_LIMIT;
    r->format->pb = avio_alloc_context(memory, IO_BYTES, 0, r, read_file, NULL, seek_file);
    r->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    r->format->format_whitelist = av_strdup(DEMUXERS);
    r->format->protocol_whitelist = av_strdup("");
    AVIOContext *io = r->format->pb;

    result = avformat_open_input(&r->format, NULL, NULL, NULL);
    if (result < 0) { /* the demuxer itself was freed by the failure */
        av_freep(&io->buffer);
        avio_context_free(&io);
        snprintf(why, RECORDING_WHY_SIZE,
                 "it is no MP4, MOV, MKV, TS or FLV file, or one that is cut short or damaged");
        return ERR_BAD;
    }
    if (avformat_find_stream_info(r->format, NULL) < 0) {
        snprintf(why, RECORDING_WHY_SIZE, "its streams cannot be read");
        return ERR_BAD;
    }
    return ERR_OK;
}

/* --- configurations ------------------------------------------------------------------------------------- */

static bool is_adts(struct bytes b)
{
    return b.size > ADTS_HEAD && b.at[0] == 0xff && (b.at[1] & 0xf6) == 0xf0;
}

/* An AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1) of what an ADTS head (§1.A.2.2) says. */
static void adts_record(struct builder *out, struct bytes frame)
{
    unsigned profile = frame.at[2] >> 6, rate = frame.at[2] >> 2 & 15,
             channels = (frame.at[2] & 1u) << 2 | frame.at[3] >> 6;

    builder_be16(out, (uint16_t)((profile + 1) << 11 | rate << 7 | channels << 3));
}

/* AAC without a configuration has one in every frame: looks at the first. */
static enum err record_of_frames(struct track_reader *r, char why[RECORDING_WHY_SIZE])
{
    struct bytes frame;

    if (r->early_count == 0) {
        snprintf(why, RECORDING_WHY_SIZE, "its AAC has no configuration");
        return ERR_BAD;
    }
    frame = bytes_of(r->early[0]->data, (size_t)r->early[0]->size);
    if (!(r->is_adts = is_adts(frame))) {
        snprintf(why, RECORDING_WHY_SIZE, "its AAC has neither configuration nor ADTS");
        return ERR_BAD;
    }
    adts_record(&r->record, frame);
    return ERR_OK;
}

static enum err read_record(struct track_reader *r, enum codec codec, char why[RECORDING_WHY_SIZE])
{
    const AVCodecParameters *p = r->stream->codecpar;
    struct bytes extra = bytes_of(p->extradata, (size_t)p->extradata_size);
    enum err e = ERR_OK;

    if (codec == CODEC_AAC && extra.size == 0)
        return record_of_frames(r, why);
    if ((codec == CODEC_H264 || codec == CODEC_HEVC) && (extra.size == 0 || annexb_is(extra))) {
        r->is_annexb = true;
        if ((e = annexb_to_record(&r->record, codec, extra)) != ERR_OK)
            snprintf(why, RECORDING_WHY_SIZE, "its %s has no parameter sets", codec_name(codec));
    } else {
        builder_add(&r->record, extra);
    }
    return e;
}

static enum err set_codec(struct track_reader *r, char why[RECORDING_WHY_SIZE])
{
    enum AVCodecID id = r->stream->codecpar->codec_id;
    enum codec codec = codec_of(id);
    const char *reason;
    enum err e;

    if (codec == CODEC_NONE) {
        snprintf(why, RECORDING_WHY_SIZE, "its %s is %s; %s", r->track == TRACK_VIDEO ? "video" : "audio",
                 avcodec_get_name(id),
                 r->track == TRACK_VIDEO ? "H.264, HEVC and AV1 are taken" : "AAC and Opus are taken");
        return ERR_UNSUPPORTED;
    }
    if ((e = read_record(r, codec, why)) != ERR_OK)
        return e;
    if ((e = codec_config_parse(&r->config, codec, builder_bytes(&r->record), &reason)) != ERR_OK)
        snprintf(why, RECORDING_WHY_SIZE, "%s", reason);
    return e;
}

enum err track_open(struct track_reader **out, int file, enum track track, char why[RECORDING_WHY_SIZE])
{
    struct track_reader *r = mem_new(sizeof *r);
    enum err e;

    *out = NULL;
    r->file = file;
    r->track = track;
    r->size = lseek(file, 0, SEEK_END);
    r->packet = av_packet_alloc();
    why[0] = '\0';
    e = r->packet ? open_format(r, why) : ERR_LIMIT;
    if (e == ERR_OK)
        choose_stream(r);
    if (e == ERR_OK && r->stream != NULL && is_cut_short(r)) {
        snprintf(why, RECORDING_WHY_SIZE, "it is cut short: its index names bytes that are not there");
        e = ERR_BAD;
    }
    if (e == ERR_OK && r->stream != NULL) {
        read_early(r);
        e = set_codec(r, why);
    }
    if (e == ERR_OK && r->stream != NULL)
        *out = r;
    else
        track_close(r);
    return e;
}

void track_close(struct track_reader *r)
{
    AVIOContext *io;

    if (r == NULL)
        return;
    io = r->format ? r->format->pb : NULL;
    avformat_close_input(&r->format);
    if (io != NULL)
        av_freep(&io->buffer);
    avio_context_free(&io);
    av_packet_free(&r->packet);
    for (size_t i = 0; i < EARLY_MAX; i++)
        av_packet_free(&r->early[i]);
    builder_drop(&r->record);
    builder_drop(&r->converted);
    free(r);
}

bool track_resets(const struct track_reader *r)
{
    return r->format->iformat->flags & AVFMT_TS_DISCONT;
}

struct bytes track_record(const struct track_reader *r, enum codec *codec)
{
    *codec = r->config.codec;
    return builder_bytes(&r->record);
}

/* --- packets -------------------------------------------------------------------------------------------- */

/* The payload as MP4 stores it. */
static struct bytes payload_of(struct track_reader *r)
{
    struct bytes in = bytes_of(r->packet->data, (size_t)r->packet->size);

    if (r->is_annexb && annexb_is(in)) {
        builder_drop(&r->converted);
        annexb_to_lengths(&r->converted, in);
        return builder_bytes(&r->converted);
    }
    if (r->is_adts && is_adts(in))
        return bytes_from(in, in.at[1] & 1 ? ADTS_HEAD : ADTS_HEAD + 2); /* longer with a checksum */
    return in;
}

/* Muxers repeat the configuration; another one in mid stream is none that a single track of MP4 could have. */
static bool has_other_record(const struct track_reader *r)
{
    size_t size = 0;
    const uint8_t *at = av_packet_get_side_data(r->packet, AV_PKT_DATA_NEW_EXTRADATA, &size);

    return at != NULL && !r->is_annexb && !r->is_adts &&
           !bytes_equal(bytes_of(at, size), builder_bytes(&r->record));
}

enum err track_next(struct track_reader *r, struct track_packet *out, char why[RECORDING_WHY_SIZE])
{
    AVRational ticks = {1, r->track == TRACK_VIDEO ? CMAF_VIDEO_TIMESCALE : (int)r->config.rate};
    const AVPacket *p = r->packet;

    if (!next_packet(r))
        return ERR_MISSING;
    if (has_other_record(r)) {
        snprintf(why, RECORDING_WHY_SIZE,
                 "the configuration of its %s changes in the middle; convert it to one",
                 r->track == TRACK_VIDEO ? "video" : "audio");
        return ERR_UNSUPPORTED;
    }
    out->payload = payload_of(r);
    out->keyframe = r->track == TRACK_AUDIO || p->flags & AV_PKT_FLAG_KEY;
    out->duration = av_rescale_q(p->duration, r->stream->time_base, ticks);
    if (r->track == TRACK_AUDIO && r->config.frame_samples > 0)
        out->duration = r->config.frame_samples;
    out->dts = p->dts != AV_NOPTS_VALUE ? av_rescale_q(p->dts, r->stream->time_base, ticks) : r->next;
    out->pts = p->pts != AV_NOPTS_VALUE ? av_rescale_q(p->pts, r->stream->time_base, ticks) : out->dts;
    r->next = out->dts + out->duration;
    return ERR_OK;
}
