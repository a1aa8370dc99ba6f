/* media/media_int.h - what the bitstream readers of this room share: one reader per codec, one dispatcher. */
#ifndef MATINEE_MEDIA_MEDIA_INT_H
#define MATINEE_MEDIA_MEDIA_INT_H

#include "media/media.h"

/* Each reads one kind of record into a zeroed *out whose codec is set; the contract is codec_config_parse()'s. */
must_check enum err avcc_parse(struct codec_config *out, struct bytes record, const char **why);
must_check enum err hvcc_parse(struct codec_config *out, struct bytes record, const char **why);
must_check enum err av1c_parse(struct codec_config *out, struct bytes record, const char **why);
must_check enum err aac_config_parse(struct codec_config *out, struct bytes record, const char **why);
must_check enum err opus_head_parse(struct codec_config *out, struct bytes record, const char **why);

/* Room for the head of an SPS without its emulation prevention: what stands before the picture's size is
 * under 2,200 bytes even with every optional list at its longest. */
#define SPS_HEAD_BYTES_MAX 4096

/* Copies a NAL unit's payload without emulation prevention bytes (H.264 §7.4.1.1, H.265 §7.4.2), at most
 * `room` bytes of it. Returns how many were written. */
size_t nal_unescape(struct bytes nal, uint8_t *to, size_t room);

/* The size as shown, from a coded size and a crop in units of `unit_x` by `unit_y` samples. ERR_LIMIT beyond
 * PICTURE_SIDE_MAX, ERR_BAD when nothing would be left. */
struct crop {
    uint64_t left, right, top, bottom;
    unsigned unit_x, unit_y;
};
must_check enum err picture_size(struct codec_config *out, uint64_t width, uint64_t height,
                                 const struct crop *c, const char **why);

#endif
