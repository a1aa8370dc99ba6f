/* media/av_int.h - what this room's users of libav* share: reading stored media from memory, and the parts of
 * transcode(). */
#ifndef MATINEE_MEDIA_AV_INT_H
#define MATINEE_MEDIA_AV_INT_H

#include "media/media.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

/* --- libavformat over memory, demux.c ------------------------------------------------------------------ */

/* Two of the largest configurations must fit, for the muxer fills in box sizes within this buffer only. */
#define AV_IO_BYTES 262144

/* NULL without memory. Not seekable. */
AVIOContext *av_io_new(void *ctx, int (*read)(void *, uint8_t *, int), int (*write)(void *, uint8_t *, int));
void av_io_free(AVIOContext *io); /* accepts NULL */

/* One track being read: its init segment, then its media. Lies still while it is open. */
struct demux {
    struct bytes left[2];
    AVFormatContext *format; /* of one stream */
};

/* Opens what cmaf.c wrote; `init` and `media` stay with the caller. Close it in every case. */
must_check enum err demux_open(struct demux *d, struct bytes init, struct bytes media);
void demux_close(struct demux *d);

/* --- when the pictures of a chunk are shown, timing.c -------------------------------------------------- */

struct timing {
    int64_t *pts; /* of every picture, rising, none twice; owned */
    int64_t *dts; /* of every sample, in its order; owned */
    size_t count;
    size_t leading; /* so many of them come before the first sample's: an open GOP's, perhaps not decodable */
    int64_t ticks;  /* what the samples last together */
    size_t every;   /* pictures are kept whose index it divides */
};

/* Reads the chunk through without decoding. ERR_BAD when it is cut short or is none; `why` says it. */
must_check enum err timing_read(struct timing *out, struct bytes init, struct bytes chunk, uint32_t fps_max,
                                char why[256]);
void timing_drop(struct timing *t);

/* The index of the picture that is shown at `pts`, or -1. */
long timing_find(const struct timing *t, int64_t pts);

/* Pictures a second that are kept, for an encoder to plan with. */
AVRational timing_rate(const struct timing *t);

/* --- one picture in the size of a rung, scale.c -------------------------------------------------------- */

struct scaler;

struct scaler *scaler_new(const struct rung *rung);
void scaler_free(struct scaler *s); /* accepts NULL */

/* `from` in the rung's size as 8-bit 4:2:0, its time and colours with it; *out belongs to the scaler, or is
 * `from` where nothing is to be done, and is valid until the next call. The colour range of the first picture
 * is kept. */
must_check enum err scaler_picture(struct scaler *s, const AVFrame *from, const AVFrame **out);

/* --- one rendition, rendition.c ------------------------------------------------------------------------ */

struct rendition;

must_check enum err rendition_new(struct rendition **out, const struct rung *rung,
                                  const struct timing *timing);
void rendition_free(struct rendition *r); /* accepts NULL */

/* Encodes the next picture, already in the rung's size; its pts rises. */
must_check enum err rendition_add(struct rendition *r, const AVFrame *picture);

/* After the last one. */
must_check enum err rendition_finish(struct rendition *r, struct transcoded *out);

/* Opens the encoder of `rung` for pictures like `like`; the caller's. NULL: it is not there, or refuses.
 * encoder.c */
AVCodecContext *encoder_open(const struct rung *rung, const AVFrame *like, AVRational rate);

/* The decoder configuration of what `encoder` makes, as it stands in MP4. record.c */
must_check enum err record_of(const AVCodecContext *encoder, enum codec codec, struct builder *out);

#endif
