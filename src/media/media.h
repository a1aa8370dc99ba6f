/* media/media.h - facts about media, without I/O: samples, codec configurations, FLV tag bodies, CMAF.
 *
 * Everything here is a pure function over bytes or an object of one thread. Bytes come from publishers, so
 * every parser is bounded, allocates nothing and is fuzzed. */
#ifndef MATINEE_MEDIA_MEDIA_H
#define MATINEE_MEDIA_MEDIA_H

#include "base/buffer.h"
#include "base/err.h"

enum codec { CODEC_NONE, CODEC_H264, CODEC_HEVC, CODEC_AV1, CODEC_AAC, CODEC_OPUS };

enum track { TRACK_VIDEO, TRACK_AUDIO };
#define TRACK_COUNT 2

const char *codec_name(enum codec c); /* "H.264", "AAC", … for messages; "none" */

/* What a decoder must know before the first sample: the record as it stands in avcC, hvcC, av1C, an
 * AudioSpecificConfig or an OpusHead, and what we read out of it. */
struct codec_config {
    enum codec codec;
    uint32_t width, height; /* video, in luma samples as shown (cropped) */
    uint32_t rate;          /* audio: samples a second */
    uint32_t channels;      /* audio */
    uint32_t frame_samples; /* audio: samples in one frame (AAC 1024, 960 or 2048; Opus 0: varies) */
    char rfc6381[48];       /* "avc1.64001f", "mp4a.40.2", "hvc1.…", "av01.…", "opus" */
};

/* Reads a decoder configuration record (ISO/IEC 14496-15 §5.3.3.1 and §8.3.3.1, AV1-ISOBMFF §2.3,
 * ISO/IEC 14496-3 §1.6.2.1, RFC 7845 §5.1). ERR_BAD or ERR_UNSUPPORTED with a reason in *why. */
must_check enum err codec_config_parse(struct codec_config *out, enum codec codec, struct bytes record,
                                       const char **why);

/* --- FLV tag bodies, and so RTMP messages 8 and 9 (Adobe FLV 10.1 annex E.4; Enhanced RTMP v2) -------- */

enum flv_kind {
    FLV_CONFIG,  /* a decoder configuration: `payload` is the record */
    FLV_SAMPLE,  /* one access unit: `payload`, with `composition_ms` */
    FLV_END,     /* end of sequence: nothing follows until a new configuration */
    FLV_IGNORED, /* well formed and of no use to us: metadata frames, seek commands */
};

struct flv_tag {
    enum flv_kind kind;
    enum track track;
    enum codec codec;
    bool keyframe;          /* audio: always true */
    int32_t composition_ms; /* pts - dts, may be negative */
    struct bytes payload;   /* within the body */
};

/* Reads the body of an audio (8) or video (9) message. ERR_BAD: malformed. ERR_UNSUPPORTED: a codec that
 * we do not take; *why names it. Enhanced RTMP multitrack bodies: track 0 only, others are FLV_IGNORED. */
must_check enum err flv_parse(struct flv_tag *out, enum track track, struct bytes body, const char **why);

/* The other way: appends the body that flv_parse() reads as `tag` (kinds FLV_CONFIG, FLV_SAMPLE, FLV_END), legacy
 * for H.264 and AAC, Enhanced RTMP for the others. */
void flv_write(struct builder *out, const struct flv_tag *tag);

/* --- byte streams (H.264 and H.265 annex B) ------------------------------------------------------------ */

/* Whether `b` begins with a start code. */
bool annexb_is(struct bytes b);

/* Appends every NAL unit of `stream` with its length in four bytes before it. */
void annexb_to_lengths(struct builder *out, struct bytes stream);

/* Appends an avcC or hvcC made of the parameter sets in `stream`. ERR_BAD when there are not all of them. */
must_check enum err annexb_to_record(struct builder *out, enum codec codec, struct bytes stream);

/* --- CMAF (ISO/IEC 23000-19) -------------------------------------------------------------------------- */

/* One access unit on the timeline of its video. Times count in ticks of the track's timescale:
 * CMAF_VIDEO_TIMESCALE for video, the sample rate for audio. */
struct sample {
    struct buffer *buffer; /* the whole message, referenced; NULL: the payload is kept alive otherwise */
    struct bytes payload;  /* within it */
    int64_t dts, pts;
    int64_t duration; /* 0 while not known */
    bool keyframe;
};

#define CMAF_VIDEO_TIMESCALE 90000

/* Writes the segments of one track. An object of one thread. */
struct cmaf;

/* `record` is the decoder configuration as codec_config_parse() took it; whether it can be stored, cmaf_init()
 * tells. `segment_bytes` is how large segments will be, for a first guess at memory; 0: not known. */
must_check enum err cmaf_new(struct cmaf **out, const struct codec_config *config, struct bytes record,
                             size_t segment_bytes);
void cmaf_free(struct cmaf *c); /* accepts NULL */

/* The init segment (ftyp, moov). The same configuration gives the same bytes. The caller's reference. */
must_check enum err cmaf_init(struct cmaf *c, struct buffer **out);

/* Adds a sample to the chunk that is open, CMAF_CHUNK_SAMPLES_MAX at most; durations must be set. Its buffer is
 * referenced until the chunk ends. tfdt is the chunk's first dts. ERR_BAD, and nothing added: a segment's first
 * sound is no AAC as the record says, but ADTS. */
must_check enum err cmaf_add(struct cmaf *c, const struct sample *s);

/* Ends the chunk that is open, which has a sample: its moof and mdat. Laid end to end, the chunks of a segment are the segment. */
void cmaf_end_chunk(struct cmaf *c);

/* What has been laid out of the segment so far: its ended chunks. Valid until the next call on `c`. */
struct bytes cmaf_so_far(const struct cmaf *c);

/* Lays out a producer reference time (ISO/IEC 14496-12 §8.16.5) for the chunk that comes next: the sample at `dts` was there at
 * `wall_ms`. */
void cmaf_reference_time(struct cmaf *c, int64_t dts, int64_t wall_ms);

/* Hands over the segment, the caller's; the next sample opens a new one. */
struct buffer *cmaf_end_segment(struct cmaf *c);

/* --- pictures and sound in one file, by libavformat -------------------------------------------------- */

enum container { CONTAINER_MP4, CONTAINER_TS };

/* One track of a segment as it is stored: its init segment and its bytes; init NULL: no such track. */
struct stored_track {
    struct buffer *init, *bytes;
};

/* Puts the tracks of one segment into one file, times unchanged. MP4: fragmented, playable by itself with
 * `header`; without it only the fragments, numbered from `fragment`, to be laid behind an earlier result of
 * the same init segments. TS is always playable by itself. Blocks for milliseconds: pool threads. */
must_check enum err remux(struct buffer **out, const struct stored_track tracks[TRACK_COUNT],
                          enum container container, bool header, uint32_t fragment);

/* --- other qualities of the same pictures, by libavcodec and libswscale --------------------------------- */

/* One rendition as its encoder is to make it; ladder/plan.c has the table. */
struct rung {
    char name[12];          /* "720p" */
    enum codec codec;       /* CODEC_H264, CODEC_HEVC, CODEC_AV1 */
    uint32_t width, height; /* even; what a player shows (portrait: height is the longer one) */
    uint32_t fps_max;       /* pictures beyond it are left out, evenly */
    uint32_t crf;           /* quality, in the encoder's own scale */
    uint32_t bitrate_max;   /* bits a second, over buffer_bits */
    uint32_t buffer_bits;
    uint32_t bframes;
    const char *preset, *profile; /* the encoder's own words; static */
};

#define RUNGS_MAX 8

/* What one rendition has of one chunk; both are the caller's. */
struct transcoded {
    struct buffer *record; /* decoder configuration: avcC, hvcC, av1C */
    struct buffer *chunk;  /* one moof and mdat, as cmaf_end_chunk() makes them */
};

/* Decodes one chunk of video (`init` and `chunk` as they are stored) once, and encodes it as each of
 * `rungs`. Every picture keeps its pts to the tick; dts grow strictly, over the chunks of a video too; the
 * first picture is a keyframe and no other has to be. The same input gives the same bytes on every
 * machine: one thread, no clock. dts run one picture ahead of pts where the rung has B-frames, and are
 * never below zero. ERR_BAD: not decodable (cut short, damaged, another stream than `init` says),
 * ERR_UNSUPPORTED: decodable and not to be had (HDR), ERR_LIMIT: no memory; `why` says what. Leading
 * pictures of an open GOP may be missing. A picture whose size changed within the chunk is scaled to the
 * rung. Takes seconds; only in a process that may be killed (ladder/sandbox.c). */
must_check enum err transcode(struct bytes init, struct bytes chunk, const struct rung *rungs, size_t count,
                              struct transcoded *out, char why[256]);

/* --- live streams as browsers want them over WebRTC, by libavcodec ---------------------------------------- */

/* Both decode foreign bytes: only in a process that may be killed (ladder/sandbox.c). One thread each. */

/* Sound as Opus, 48 kHz, stereo, in packets of 20 ms. */
struct live_sound;

/* ERR_UNSUPPORTED: there is no decoder, or it refuses the record. */
must_check enum err live_sound_new(struct live_sound **out, enum codec codec, struct bytes record,
                                   uint32_t rate);
void live_sound_free(struct live_sound *s); /* accepts NULL */
/* Adds a frame; `made` gets every packet that is whole, its pts in 1/48000 s. A frame that cannot be decoded is silence. */
void live_sound_add(struct live_sound *s, const struct sample *frame,
                    void (*made)(void *ctx, const struct sample *packet), void *ctx);

/* Pictures as H.264 without B-frames; the first of every two seconds is a keyframe: the one at or after LIVE_PICTURE_KEY_TICKS
 * behind the keyframe before. */
struct live_picture;

#define LIVE_PICTURE_KEY_TICKS (2 * CMAF_VIDEO_TIMESCALE)
#define LIVE_PICTURE_HEIGHT    720

/* At most `height_max` lines (0: LIVE_PICTURE_HEIGHT) and `bits_max` a second (0: what suits the size). */
must_check enum err live_picture_new(struct live_picture **out, enum codec codec, struct bytes record,
                                     uint32_t height_max, uint32_t bits_max);
void live_picture_free(struct live_picture *p); /* accepts NULL */
/* Adds a sample; `made` gets every picture as it is done, in the order of pts. `record` (its avcC) is the same bytes for all of
 * one size. What cannot be decoded is left out. */
void live_picture_add(struct live_picture *p, const struct sample *sample,
                      void (*made)(void *ctx, const struct sample *picture, struct bytes record), void *ctx);

#endif
