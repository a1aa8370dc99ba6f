/* media/cmaf.c - one track's CMAF: its init segment by libavformat's MP4 muxer, its chunks by hand.
 *
 * Init segments are made once and are all about codecs, which libavformat knows best. Chunks are made every two
 * seconds for every publisher, and are the same few boxes for all codecs (ISO/IEC 14496-12 §8.8): laying them out
 * here copies each sample once, where libavformat copies it three times. They are byte for byte what it writes,
 * which tests/unit/media/test_cmaf.c holds them to. tfdt is the chunk's first dts and composition offsets are never
 * negative: signed ones would let a segment's tfdt be its presentation start, but libavformat's own demuxer then
 * shifts the picture against the sound. */
#include "media/media.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <libavformat/avformat.h>
#include <libavutil/mem.h>
#include <stdlib.h>

/* The muxer goes back to fill in the sizes of boxes, which it can do only within this buffer: the largest moov
 * (a configuration of CODEC_CONFIG_BYTES_MAX) must fit into it. */
#define IO_BYTES 131072
_Static_assert(IO_BYTES >= CODEC_CONFIG_BYTES_MAX + 4096, "a moov fits");

struct cmaf {
    struct codec_config config;
    struct buffer *record;
    struct sample *samples; /* of the open chunk, a reference to each buffer */
    size_t sample_count, sample_room;
    struct builder out; /* the segment's chunks */
    uint32_t chunk_count;
    size_t segment_bytes; /* what to make room for */
    bool begun;           /* the segment has a sample */
    bool reordered;       /* and one whose pts is not its dts */
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
    builder_add(ctx, bytes_of(data, (size_t)size));
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

static void close_muxer(AVFormatContext *muxer)
{
    if (muxer->pb != NULL) {
        av_freep(&muxer->pb->buffer);
        avio_context_free(&muxer->pb);
    }
    avformat_free_context(muxer);
}

static enum err write_header(AVFormatContext *muxer)
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
    muxer->flags |= AVFMT_FLAG_BITEXACT;
    muxer->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
    code = avformat_write_header(muxer, &options);
    av_dict_free(&options);
    return from_av(code);
}

enum err cmaf_init(struct cmaf *c, struct buffer **out)
{
    uint8_t *io = av_malloc(IO_BYTES);
    AVFormatContext *muxer = NULL;
    struct builder header = {0};
    AVStream *stream;
    enum err e = ERR_LIMIT;

    *out = NULL;
    if (io == NULL || avformat_alloc_output_context2(&muxer, NULL, "mp4", NULL) < 0) {
        av_free(io);
        return ERR_LIMIT;
    }
    muxer->pb = avio_alloc_context(io, IO_BYTES, 1, &header, NULL, collect, NULL);
    if (muxer->pb == NULL) {
        av_free(io);
        goto out;
    }
    muxer->pb->seekable = 0;
    stream = avformat_new_stream(muxer, NULL);
    if (stream == NULL || (e = fill_stream(c, stream)) != ERR_OK)
        goto out;
    e = write_header(muxer);
    avio_flush(muxer->pb);
out:
    close_muxer(muxer);
    if (e == ERR_OK)
        *out = builder_finish(&header);
    builder_drop(&header);
    return e;
}

/* --- chunks ------------------------------------------------------------------------------------------- */

/* Sample flags (ISO/IEC 14496-12 §8.8.3.1): depends on no other; depends on others and is no sync sample. */
#define FLAGS_SYNC  0x02000000u
#define FLAGS_OTHER 0x01010000u

/* What a trun has for each sample, or once (§8.8.8). */
#define TRUN_DATA_OFFSET 0x001u
#define TRUN_FIRST_FLAGS 0x004u
#define TRUN_DURATIONS   0x100u
#define TRUN_SIZES       0x200u
#define TRUN_FLAGS       0x400u
#define TRUN_OFFSETS     0x800u

/* Default duration, size and flags stand here, and offsets count from the moof (§8.8.7). */
#define TFHD_FLAGS 0x020038u

#define MFHD_BYTES 16u
#define TFHD_BYTES 28u
#define TFDT_BYTES 20u
#define PRFT_BYTES 32u
#define PRFT_HEAD                                                                                            \
    0x01000018u /* times of 64 bits; an arbitrary one, and consistent with those before it (§8.16.5.3) */
#define TRUN_BYTES 20u /* and what it has for each sample */

enum err cmaf_new(struct cmaf **out, const struct codec_config *config, struct bytes record,
                  size_t segment_bytes)
{
    struct cmaf *c;

    *out = NULL;
    if (codec_id(config->codec) == AV_CODEC_ID_NONE)
        return ERR_UNSUPPORTED;
    c = mem_new(sizeof *c);
    c->config = *config;
    c->record = buffer_copy(record);
    c->segment_bytes = segment_bytes;
    *out = c;
    return ERR_OK;
}

static void drop_samples(struct cmaf *c)
{
    for (size_t i = 0; i < c->sample_count; i++)
        buffer_unref(c->samples[i].buffer);
    c->sample_count = 0;
}

void cmaf_free(struct cmaf *c)
{
    if (c == NULL)
        return;
    drop_samples(c);
    free(c->samples);
    builder_drop(&c->out);
    buffer_unref(c->record);
    free(c);
}

/* Sound in ADTS frames is not what the configuration says; one look per segment finds who sends it. */
static bool is_adts(const struct cmaf *c, struct bytes payload)
{
    return c->config.codec == CODEC_AAC && payload.size > 2 && payload.at[0] == 0xff &&
           (payload.at[1] & 0xf0) == 0xf0;
}

/* AV1 in ISO files has no temporal delimiters (AV1-ISOBMFF §2.4). */
static struct bytes stored(const struct cmaf *c, struct bytes payload)
{
    static const uint8_t delimiter[] = {0x12, 0};

    while (c->config.codec == CODEC_AV1 && payload.size >= sizeof delimiter &&
           memcmp(payload.at, delimiter, sizeof delimiter) == 0)
        payload = bytes_from(payload, sizeof delimiter);
    return payload;
}

enum err cmaf_add(struct cmaf *c, const struct sample *s)
{
    assert(c->sample_count < CMAF_CHUNK_SAMPLES_MAX);
    if (!c->begun && is_adts(c, s->payload))
        return ERR_BAD;
    if (c->sample_count == c->sample_room) {
        c->sample_room = c->sample_room ? c->sample_room * 2 : 64;
        c->samples = mem_resize(c->samples, c->sample_room * sizeof *c->samples);
    }

    struct sample *to = &c->samples[c->sample_count++];

    *to = *s;
    if (s->buffer != NULL)
        buffer_ref(s->buffer);
    to->payload = stored(c, s->payload);
    if (c->begun && to->dts <= c->last_dts)
        to->dts = c->last_dts + 1; /* a tie cannot be written; one tick is 11 microseconds */
    if (to->pts < to->dts)
        to->pts = to->dts;
    c->reordered |= to->pts != to->dts;
    c->last_dts = to->dts;
    c->begun = true;
    return ERR_OK;
}

/* A sample lasts until the next one begins, whatever was thought of it before. */
static uint32_t duration(const struct cmaf *c, size_t i)
{
    const struct sample *s = &c->samples[i];

    return (uint32_t)(i + 1 < c->sample_count ? s[1].dts - s->dts : s->duration);
}

static uint32_t flags(const struct cmaf *c, size_t i)
{
    return !is_video(c->config.codec) || c->samples[i].keyframe ? FLAGS_SYNC : FLAGS_OTHER;
}

/* What most samples have; the first of a chunk of pictures is another matter. */
static uint32_t default_flags(const struct cmaf *c)
{
    return c->sample_count > 1 ? flags(c, 1) : is_video(c->config.codec) ? FLAGS_OTHER : FLAGS_SYNC;
}

/* What must be said of each sample because the defaults, which are the first one's, do not hold for all. */
static uint32_t trun_flags(const struct cmaf *c)
{
    uint32_t said = TRUN_DATA_OFFSET | (c->reordered ? TRUN_OFFSETS : 0);

    for (size_t i = 1; i < c->sample_count; i++) {
        said |= duration(c, i) != duration(c, 0) ? TRUN_DURATIONS : 0;
        said |= c->samples[i].payload.size != c->samples[0].payload.size ? TRUN_SIZES : 0;
        said |= flags(c, i) != default_flags(c) ? TRUN_FLAGS : 0;
    }
    if (!(said & TRUN_FLAGS) && flags(c, 0) != default_flags(c))
        said |= TRUN_FIRST_FLAGS;
    return said;
}

static uint32_t trun_bytes(const struct cmaf *c, uint32_t said)
{
    uint32_t fields =
        !!(said & TRUN_DURATIONS) + !!(said & TRUN_SIZES) + !!(said & TRUN_FLAGS) + !!(said & TRUN_OFFSETS);

    return TRUN_BYTES + (said & TRUN_FIRST_FLAGS ? 4 : 0) + (uint32_t)c->sample_count * fields * 4;
}

static void write_box(struct builder *b, uint32_t bytes, const char *name)
{
    builder_be32(b, bytes);
    builder_text(b, name);
}

static void write_trun(struct builder *b, const struct cmaf *c, uint32_t said, uint32_t data_offset)
{
    write_box(b, trun_bytes(c, said), "trun");
    builder_be32(b, said);
    builder_be32(b, (uint32_t)c->sample_count);
    builder_be32(b, data_offset);
    if (said & TRUN_FIRST_FLAGS)
        builder_be32(b, flags(c, 0));
    for (size_t i = 0; i < c->sample_count; i++) {
        const struct sample *s = &c->samples[i];

        if (said & TRUN_DURATIONS)
            builder_be32(b, duration(c, i));
        if (said & TRUN_SIZES)
            builder_be32(b, (uint32_t)s->payload.size);
        if (said & TRUN_FLAGS)
            builder_be32(b, flags(c, i));
        if (said & TRUN_OFFSETS)
            builder_be32(b, (uint32_t)(s->pts - s->dts));
    }
}

static void write_moof(struct builder *b, const struct cmaf *c)
{
    uint32_t said = trun_flags(c);
    uint32_t traf_bytes = 8 + TFHD_BYTES + TFDT_BYTES + trun_bytes(c, said);
    uint32_t moof_bytes = 8 + MFHD_BYTES + traf_bytes;

    write_box(b, moof_bytes, "moof");
    write_box(b, MFHD_BYTES, "mfhd");
    builder_be32(b, 0);
    builder_be32(b, c->chunk_count);
    write_box(b, traf_bytes, "traf");
    write_box(b, TFHD_BYTES, "tfhd");
    builder_be32(b, TFHD_FLAGS);
    builder_be32(b, 1); /* the track's id */
    builder_be32(b, duration(c, 0));
    builder_be32(b, (uint32_t)c->samples[0].payload.size);
    builder_be32(b, default_flags(c));
    write_box(b, TFDT_BYTES, "tfdt");
    builder_be32(b, 0x01000000); /* a time of 64 bits */
    builder_be64(b, (uint64_t)c->samples[0].dts);
    write_trun(b, c, said, moof_bytes + 8);
}

void cmaf_end_chunk(struct cmaf *c)
{
    size_t bytes = 8;

    assert(c->sample_count > 0);
    if (c->out.buffer == NULL)
        c->out.buffer = buffer_new(c->segment_bytes + c->segment_bytes / 8);
    c->chunk_count++;
    write_moof(&c->out, c);
    for (size_t i = 0; i < c->sample_count; i++)
        bytes += c->samples[i].payload.size;
    write_box(&c->out, (uint32_t)bytes, "mdat");
    for (size_t i = 0; i < c->sample_count; i++)
        builder_add(&c->out, c->samples[i].payload);
    drop_samples(c);
}

struct bytes cmaf_so_far(const struct cmaf *c)
{
    return builder_bytes(&c->out);
}

/* Milliseconds since 1970 as NTP has them (RFC 5905 §6): seconds since 1900, and a fraction in 32 bits. */
static uint64_t ntp_of(int64_t wall_ms)
{
    uint64_t seconds = (uint64_t)(wall_ms / 1000) + 2208988800u, ms = (uint64_t)(wall_ms % 1000);

    return seconds << 32 | ((ms << 32) / 1000);
}

void cmaf_reference_time(struct cmaf *c, int64_t dts, int64_t wall_ms)
{
    if (c->out.buffer == NULL)
        c->out.buffer = buffer_new(c->segment_bytes + c->segment_bytes / 8);
    write_box(&c->out, PRFT_BYTES, "prft");
    builder_be32(&c->out, PRFT_HEAD);
    builder_be32(&c->out, 1); /* the track's id */
    builder_be64(&c->out, ntp_of(wall_ms));
    builder_be64(&c->out, (uint64_t)dts);
}

struct buffer *cmaf_end_segment(struct cmaf *c)
{
    struct buffer *segment = builder_finish(&c->out);

    c->begun = c->reordered = false;
    c->chunk_count = 0;
    segment = mem_resize(segment, sizeof *segment + segment->size); /* what was not needed is given back */
    segment->capacity = segment->size;
    return segment;
}
