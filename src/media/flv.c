/* media/flv.c - reads the body of an FLV audio or video tag, which is also that of an RTMP message 8 or 9.
 *
 * Two dialects: the legacy one (Adobe FLV 10.1, annex E.4.2 and E.4.3) with H.264 and AAC, and Enhanced RTMP
 * v1 and v2 with FourCC codecs, modifiers and several tracks. What it yields points into the body. */
#include "media/media_int.h"

/* Enhanced RTMP's VideoPacketType and AudioPacketType; the numbers of the two differ from 3 on. */
enum packet {
    PACKET_CONFIG,
    PACKET_FRAMES,
    PACKET_END,
    PACKET_FRAMES_X,  /* without a composition time */
    PACKET_METADATA,  /* and audio's channel layout */
    PACKET_TS_CONFIG, /* MPEG2TSSequenceStart */
    PACKET_MULTITRACK,
    PACKET_MODIFIER,
    PACKET_UNKNOWN
};

enum multitrack { ONE_TRACK, MANY_TRACKS, MANY_TRACKS_MANY_CODECS };

static enum packet packet_of(enum track track, unsigned number)
{
    static const enum packet video[8] = {PACKET_CONFIG,     PACKET_FRAMES,   PACKET_END,
                                         PACKET_FRAMES_X,   PACKET_METADATA, PACKET_TS_CONFIG,
                                         PACKET_MULTITRACK, PACKET_MODIFIER};
    static const enum packet audio[8] = {PACKET_CONFIG,   PACKET_FRAMES,     PACKET_END,     PACKET_UNKNOWN,
                                         PACKET_METADATA, PACKET_MULTITRACK, PACKET_UNKNOWN, PACKET_MODIFIER};

    if (number > 7)
        return PACKET_UNKNOWN;
    return track == TRACK_VIDEO ? video[number] : audio[number];
}

static int32_t signed_24(uint32_t v)
{
    return v & 0x800000 ? (int32_t)v - 0x1000000 : (int32_t)v;
}

static enum err cut_short(const char **why)
{
    *why = "an audio or video message is cut short";
    return ERR_BAD;
}

struct fourcc {
    enum track track;
    char text[5];
    enum codec codec; /* CODEC_NONE: known by name, and not taken */
    const char *refusal;
};

static const struct fourcc fourccs[] = {
    {TRACK_VIDEO, "avc1", CODEC_H264, NULL},
    {TRACK_VIDEO, "hvc1", CODEC_HEVC, NULL},
    {TRACK_VIDEO, "av01", CODEC_AV1, NULL},
    {TRACK_VIDEO, "vp08", CODEC_NONE, "VP8 is not taken; send H.264, HEVC or AV1"},
    {TRACK_VIDEO, "vp09", CODEC_NONE, "VP9 is not taken; send H.264, HEVC or AV1"},
    {TRACK_VIDEO, "vvc1", CODEC_NONE, "H.266 (VVC) is not taken; send H.264, HEVC or AV1"},
    {TRACK_AUDIO, "mp4a", CODEC_AAC, NULL},
    {TRACK_AUDIO, "Opus", CODEC_OPUS, NULL},
    {TRACK_AUDIO, ".mp3", CODEC_NONE, "MP3 is not taken; send AAC or Opus"},
    {TRACK_AUDIO, "fLaC", CODEC_NONE, "FLAC is not taken; send AAC or Opus"},
    {TRACK_AUDIO, "ac-3", CODEC_NONE, "AC-3 is not taken; send AAC or Opus"},
    {TRACK_AUDIO, "ec-3", CODEC_NONE, "E-AC-3 is not taken; send AAC or Opus"},
};

static enum err codec_of_fourcc(struct flv_tag *out, struct bytes fourcc, const char **why)
{
    for (size_t i = 0; i < sizeof fourccs / sizeof fourccs[0]; i++) {
        const struct fourcc *f = &fourccs[i];

        if (f->track != out->track || !bytes_is(fourcc, f->text))
            continue;
        out->codec = f->codec;
        *why = f->refusal;
        return f->codec == CODEC_NONE ? ERR_UNSUPPORTED : ERR_OK;
    }
    *why = out->track == TRACK_VIDEO ? "a video codec that is not known here; send H.264, HEVC or AV1"
                                     : "an audio codec that is not known here; send AAC or Opus";
    return ERR_UNSUPPORTED;
}

/* Modifiers (E-RTMP v2, ModEx): each has a size, its data, and the type of the packet behind it. The only one
 * defined is a nanosecond offset, finer than our timeline. */
static enum packet skip_modifiers(struct cursor *c, enum track track, enum packet packet)
{
    while (packet == PACKET_MODIFIER && !c->short_of) {
        size_t size = (size_t)cursor_u8(c) + 1;

        if (size == 256)
            size = (size_t)cursor_be16(c) + 1;
        cursor_take(c, size);
        packet = packet_of(track, cursor_u8(c) & 15);
    }
    return packet;
}

/* What one track's packet carries, its codec being known. */
static enum err read_packet(struct flv_tag *out, struct cursor *c, enum packet packet, const char **why)
{
    bool has_offset = out->codec == CODEC_H264 || out->codec == CODEC_HEVC;

    if (packet == PACKET_TS_CONFIG) {
        *why = "AV1 configured in the MPEG-2 TS manner is not taken; send an av1C";
        return ERR_UNSUPPORTED;
    }
    if (packet == PACKET_UNKNOWN || packet == PACKET_MULTITRACK || packet == PACKET_MODIFIER) {
        *why = "a packet type that Enhanced RTMP does not define";
        return ERR_BAD;
    }
    if (packet == PACKET_FRAMES && out->track == TRACK_VIDEO && has_offset)
        out->composition_ms = signed_24(cursor_be24(c));
    if (c->short_of)
        return cut_short(why);
    out->payload = c->left;
    if (packet == PACKET_END)
        out->kind = FLV_END;
    else if (packet == PACKET_METADATA || c->left.size == 0)
        out->kind = FLV_IGNORED;
    else
        out->kind = packet == PACKET_CONFIG ? FLV_CONFIG : FLV_SAMPLE;
    return ERR_OK;
}

/* Several tracks in one body: finds track 0, the default one; without it the body is of no use to us. */
static enum err read_multitrack(struct flv_tag *out, struct cursor *c, const char **why)
{
    uint8_t head = cursor_u8(c);
    enum packet packet = packet_of(out->track, head & 15);
    unsigned kind = head >> 4;
    struct bytes fourcc = {0};

    if (kind > MANY_TRACKS_MANY_CODECS) {
        *why = "a kind of multitrack that Enhanced RTMP does not define";
        return ERR_BAD;
    }
    if (kind != MANY_TRACKS_MANY_CODECS)
        fourcc = cursor_take(c, 4);
    while (c->left.size > 0) {
        if (kind == MANY_TRACKS_MANY_CODECS)
            fourcc = cursor_take(c, 4);
        uint8_t id = cursor_u8(c);
        size_t size = kind == ONE_TRACK ? c->left.size : cursor_be24(c);
        struct cursor body = cursor_of(cursor_take(c, size));

        if (c->short_of)
            return cut_short(why);
        if (id != 0)
            continue;
        enum err e = codec_of_fourcc(out, fourcc, why);

        return e == ERR_OK ? read_packet(out, &body, packet, why) : e;
    }
    return c->short_of ? cut_short(why) : ERR_OK;
}

static enum err read_enhanced(struct flv_tag *out, struct cursor *c, uint8_t head, bool is_command,
                              const char **why)
{
    enum packet packet = skip_modifiers(c, out->track, packet_of(out->track, head & 15));
    enum err e;

    if (c->short_of)
        return cut_short(why);
    if (is_command && packet != PACKET_METADATA)
        return ERR_OK;
    if (packet == PACKET_MULTITRACK)
        return read_multitrack(out, c, why);
    struct bytes fourcc = cursor_take(c, 4);

    if (c->short_of)
        return cut_short(why);
    if ((e = codec_of_fourcc(out, fourcc, why)) != ERR_OK)
        return e;
    return read_packet(out, c, packet, why);
}

static enum err read_legacy_video(struct flv_tag *out, struct cursor *c, unsigned codec, const char **why)
{
    static const char *const refusals[16] = {
        [1] = "JPEG video is not taken; send H.264",
        [2] = "Sorenson H.263 is not taken; send H.264",
        [3] = "Screen video is not taken; send H.264",
        [4] = "On2 VP6 is not taken; send H.264",
        [5] = "On2 VP6 with alpha is not taken; send H.264",
        [6] = "Screen video 2 is not taken; send H.264",
        [8] = "H.263 is not taken; send H.264",
        [9] = "MPEG-4 part 2 video is not taken; send H.264",
        [12] = "HEVC under the legacy codec number 12 is not taken; send it by Enhanced RTMP",
        [13] = "AV1 under the legacy codec number 13 is not taken; send it by Enhanced RTMP",
    };

    if (codec != 7) {
        *why = refusals[codec] ? refusals[codec] : "a video codec that is not known here; send H.264";
        return ERR_UNSUPPORTED;
    }
    uint8_t packet = cursor_u8(c);

    out->codec = CODEC_H264;
    out->composition_ms = signed_24(cursor_be24(c));
    if (packet == 2) { /* some end their stream with this byte alone */
        out->kind = FLV_END;
        out->composition_ms = 0;
        return ERR_OK;
    }
    if (c->short_of)
        return cut_short(why);
    if (packet > 2) {
        *why = "an H.264 packet type that FLV does not define";
        return ERR_BAD;
    }
    out->payload = c->left;
    if (c->left.size > 0)
        out->kind = packet == 0 ? FLV_CONFIG : FLV_SAMPLE;
    return ERR_OK;
}

static enum err read_legacy_audio(struct flv_tag *out, struct cursor *c, unsigned format, const char **why)
{
    static const char *const refusals[16] = {
        [0] = "PCM audio is not taken; send AAC",
        [1] = "ADPCM audio is not taken; send AAC",
        [2] = "MP3 is not taken; send AAC",
        [3] = "PCM audio is not taken; send AAC",
        [4] = "Nellymoser audio is not taken; send AAC",
        [5] = "Nellymoser audio is not taken; send AAC",
        [6] = "Nellymoser audio is not taken; send AAC",
        [7] = "G.711 A-law audio is not taken; send AAC",
        [8] = "G.711 mu-law audio is not taken; send AAC",
        [11] = "Speex is not taken; send AAC",
        [14] = "MP3 is not taken; send AAC",
    };

    if (format != 10) {
        *why = refusals[format] ? refusals[format] : "an audio codec that is not known here; send AAC";
        return ERR_UNSUPPORTED;
    }
    uint8_t packet = cursor_u8(c);

    if (c->short_of)
        return cut_short(why);
    if (packet > 1) {
        *why = "an AAC packet type that FLV does not define";
        return ERR_BAD;
    }
    out->codec = CODEC_AAC;
    out->payload = c->left;
    if (c->left.size > 0)
        out->kind = packet == 0 ? FLV_CONFIG : FLV_SAMPLE;
    return ERR_OK;
}

static enum err read_body(struct flv_tag *out, struct bytes body, const char **why)
{
    struct cursor c = cursor_of(body);
    uint8_t head = cursor_u8(&c);

    if (out->track == TRACK_AUDIO) {
        out->keyframe = true;
        if (head >> 4 == 9)
            return read_enhanced(out, &c, head, false, why);
        return read_legacy_audio(out, &c, head >> 4, why);
    }
    unsigned frame = head >> 4 & 7; /* the eighth bit marks the enhanced dialect */

    out->keyframe = frame == 1 || frame == 4;
    if (head & 128)
        return read_enhanced(out, &c, head, frame == 5, why);
    if (frame == 5)
        return ERR_OK; /* a seek command */
    return read_legacy_video(out, &c, head & 15, why);
}

enum err flv_parse(struct flv_tag *out, enum track track, struct bytes body, const char **why)
{
    enum err e = ERR_OK;

    *why = NULL;
    *out = (struct flv_tag){.kind = FLV_IGNORED, .track = track};
    if (body.size == 0)
        return ERR_OK; /* Flash and its heirs mark silence so */
    e = read_body(out, body, why);
    if (e != ERR_OK)
        *out = (struct flv_tag){.kind = FLV_IGNORED, .track = track};
    return e;
}
