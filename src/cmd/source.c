/* cmd/source.c - what file and demo sources share: configurations, and samples as RTMP message bodies. */
#include "cmd/source_int.h"

#include <stdio.h>

void source_free(struct source *s)
{
    if (s == NULL)
        return;
    buffer_unref(s->tracks[TRACK_VIDEO].record);
    buffer_unref(s->tracks[TRACK_AUDIO].record);
    s->free(s);
}

enum err source_set_track(struct source *s, enum track track, enum codec codec, struct bytes record,
                          char why[SOURCE_WHY_SIZE])
{
    struct source_track *t = &s->tracks[track];
    const char *reason;
    enum err e = codec_config_parse(&t->config, codec, record, &reason);

    if (e != ERR_OK) {
        snprintf(why, SOURCE_WHY_SIZE, "%s: %s", codec_name(codec), reason);
        return e;
    }
    t->codec = codec;
    t->record = buffer_copy(record);
    return ERR_OK;
}

static void put_string(struct builder *b, const char *text)
{
    builder_be16(b, (uint16_t)strlen(text));
    builder_text(b, text);
}

/* A member of AMF0 type number (marker 0). */
static void put_number(struct builder *b, const char *name, double number)
{
    uint64_t bits;

    put_string(b, name);
    builder_u8(b, 0);
    memcpy(&bits, &number, sizeof bits);
    builder_be64(b, bits);
}

/* What the legacy numbers are for AVC and AAC, a FourCC is for the others (Enhanced RTMP v2, onMetaData). */
static double codec_number(enum codec codec)
{
    static const double numbers[] = {[CODEC_H264] = 7,
                                     [CODEC_HEVC] = 0x68766331,
                                     [CODEC_AV1] = 0x61763031,
                                     [CODEC_AAC] = 10,
                                     [CODEC_OPUS] = 0x4f707573};

    return numbers[codec];
}

void source_write_metadata(struct builder *out, const struct source *s)
{
    const struct source_track *video = &s->tracks[TRACK_VIDEO], *audio = &s->tracks[TRACK_AUDIO];
    unsigned members = (video->codec != CODEC_NONE ? 4 : 0) + (audio->codec != CODEC_NONE ? 3 : 0);

    builder_u8(out, 2); /* string */
    put_string(out, "@setDataFrame");
    builder_u8(out, 2);
    put_string(out, "onMetaData");
    builder_u8(out, 8); /* ECMA array */
    builder_be32(out, members);
    if (video->codec != CODEC_NONE) {
        put_number(out, "width", video->config.width);
        put_number(out, "height", video->config.height);
        put_number(out, "framerate", s->frame_rate);
        put_number(out, "videocodecid", codec_number(video->codec));
    }
    if (audio->codec != CODEC_NONE) {
        put_number(out, "audiosamplerate", audio->config.rate);
        put_number(out, "audiochannels", audio->config.channels);
        put_number(out, "audiocodecid", codec_number(audio->codec));
    }
    builder_be24(out, 9); /* end of object */
}

void source_write_config(struct builder *out, const struct source *s, enum track track)
{
    struct flv_tag tag = {.kind = FLV_CONFIG,
                          .track = track,
                          .codec = s->tracks[track].codec,
                          .keyframe = true,
                          .payload = buffer_bytes(s->tracks[track].record)};

    flv_write(out, &tag);
}

void source_write_sample(struct builder *out, const struct source *s, const struct source_sample *sample)
{
    struct flv_tag tag = {.kind = FLV_SAMPLE,
                          .track = sample->track,
                          .codec = s->tracks[sample->track].codec,
                          .keyframe = sample->keyframe,
                          .composition_ms = (int32_t)(sample->pts_ms - sample->dts_ms),
                          .payload = sample->payload};

    flv_write(out, &tag);
}
