/* cmd/annexb_int.h - H.264 and HEVC from byte streams (start codes) into what MP4 and RTMP carry (lengths). */
#ifndef MATINEE_CMD_ANNEXB_INT_H
#define MATINEE_CMD_ANNEXB_INT_H

#include "media/media.h"

/* Whether `b` begins with a start code. */
bool annexb_is(struct bytes b);

/* Appends every NAL unit of `stream` with its length in four bytes before it. */
void annexb_to_lengths(struct builder *out, struct bytes stream);

/* Appends an avcC or hvcC made of the parameter sets in `stream`. ERR_BAD when there are not all of them. */
must_check enum err annexb_to_record(struct builder *out, enum codec codec, struct bytes stream);

#endif
