/* ladder/ladder.h - everything that decodes pictures of strangers, in processes of its own.
 *
 * A decoder is a large parser of outside bytes, so it never runs in the server: a child gets the bytes by a
 * pipe, has no files, no network and bounded memory and time, and gives its result back by another pipe. */
#ifndef MATINEE_LADDER_LADDER_H
#define MATINEE_LADDER_LADDER_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/err.h"

/* Draws the first picture of a stored video segment as a JPEG of at most 640 x 360. `program` is our own
 * executable. Blocks for tens of milliseconds, THUMBNAIL_MS_MAX at most. ERR_BUSY: enough are being drawn
 * already, ask again. ERR_BAD: the decoder refuses it. Any pool thread. */
must_check enum err thumbnail_make(const char *program, struct bytes init, struct bytes segment,
                                   struct buffer **out);

/* The child's side: `matinee draw-thumbnail`. Reads standard input, writes standard output; an exit status. */
int thumbnail_child(void);

/* The same of `matinee encode-chunk`, which makes the renditions of one chunk. */
int encode_child(void);

#endif
