/* ladder/ladder_int.h - between the files of this room. */
#ifndef MATINEE_LADDER_LADDER_INT_H
#define MATINEE_LADDER_LADDER_INT_H

#include "ladder/ladder.h"

enum sandbox_threads { SANDBOX_ONE_THREAD, SANDBOX_THREADS };

/* Locks this process in for good: no new files, sockets or processes, nor threads unless they are allowed;
 * `seconds` of processor time and `bytes` of address space. ERR_IO where the kernel refuses. */
must_check enum err sandbox_enter(unsigned seconds, size_t bytes, enum sandbox_threads threads);

/* Decodes the first picture of an MP4 (init and segment laid end to end) and encodes it as a JPEG that fits
 * into width_max x height_max. */
must_check enum err picture_draw(struct bytes mp4, int width_max, int height_max, struct buffer **out);

#endif
