/* ladder/recording_int.h - an uploaded recording, read in a child: what child and server say to each other, and the file as the
 * child sees it. */
#ifndef MATINEE_LADDER_RECORDING_INT_H
#define MATINEE_LADDER_RECORDING_INT_H

#include "ladder/ladder_int.h"

/* --- recording_frame.c: frames over the pipe ------------------------------------------------------------ */

struct recording_frame {
    enum { FRAME_TRACK = 1, FRAME_SAMPLE, FRAME_REFUSED, FRAME_END } kind;
    struct recorded recorded; /* FRAME_TRACK and FRAME_SAMPLE; points into what was parsed */
    enum err e; /* FRAME_REFUSED: ERR_BAD, ERR_UNSUPPORTED or ERR_LIMIT, and why, in printable ASCII */
    struct bytes why;
};

void recording_frame_write(struct builder *out, const struct recording_frame *f);

/* Reads one frame off `in`: the bytes it took, PARSE_MORE, or PARSE_BAD. Pure; bounded by RTMP_MESSAGE_BYTES_MAX. */
must_check long recording_frame_parse(struct recording_frame *out, struct bytes in);

/* --- recording_file.c: one track of the file, by libavformat --------------------------------------------- */

struct track_reader;

#define RECORDING_WHY_SIZE 200

/* Opens the file (descriptor `file`) for one of its tracks. *out is NULL with ERR_OK when it has no such track. ERR_BAD,
 * ERR_UNSUPPORTED, ERR_LIMIT with `why`. */
must_check enum err track_open(struct track_reader **out, int file, enum track track,
                               char why[RECORDING_WHY_SIZE]);
void track_close(struct track_reader *r); /* accepts NULL */

/* The codec, and the decoder configuration, which lives as long as the reader. */
struct bytes track_record(const struct track_reader *r, enum codec *codec);

/* Whether the format lets a stream's clock jump (MPEG-TS), so that a jump says nothing. */
bool track_resets(const struct track_reader *r);

/* One packet, its times in ticks of the track, as the file has them but for what is missing. */
struct track_packet {
    int64_t dts, pts, duration;
    bool keyframe;
    struct bytes payload; /* valid until the next */
};

/* The next packet; ERR_MISSING: there is none. Pictures before the first keyframe are left out. */
must_check enum err track_next(struct track_reader *r, struct track_packet *out,
                               char why[RECORDING_WHY_SIZE]);

#endif
