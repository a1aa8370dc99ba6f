/* webrtc/companion_int.h - a process of ours that makes of a live stream what browsers take over WebRTC: sound as Opus, and
 * pictures without B-frames. A decoder is a large parser of foreign bytes: it runs where it can do no harm (ladder/sandbox.c). */
#ifndef MATINEE_WEBRTC_COMPANION_INT_H
#define MATINEE_WEBRTC_COMPANION_INT_H

#include "base/buffer.h"
#include "media/media.h"
#include "net/net.h"

/* --- companion_frame.c: what the two say to each other --------------------------------------------------- */

#define COMPANION_HEAD_SIZE 32
/* The largest sample, and its head. */
#define COMPANION_FRAME_MAX (16777216 + COMPANION_HEAD_SIZE)

struct companion_frame {
    enum {
        COMPANION_TRACK = 1,
        COMPANION_SAMPLE
    } kind; /* a configuration (`codec`, `rate`), or a sample of it */
    enum codec codec;
    uint32_t
        rate; /* of a sound's configuration; of a picture's: bits a second at most, 0: what suits the size */
    uint32_t height; /* of a picture's configuration: lines at most; 0: LIVE_PICTURE_HEIGHT */
    bool keyframe;
    int64_t dts, pts;
    struct bytes payload;
};

void companion_frame_write(struct builder *out, const struct companion_frame *f);
/* Reads one frame. Returns the bytes it took, PARSE_MORE, or PARSE_BAD. */
must_check long companion_frame_parse(struct companion_frame *out, struct bytes in);

/* --- companion.c: from the server's side ------------------------------------------------------------------ */

struct companion;

struct companion_events {
    void (*made)(void *ctx, const struct companion_frame *f); /* Opus (1/48000 s), or H.264 and its record */
    void (*gone)(void *ctx); /* it broke down: it is to be given to companion_free(), from here too */
};

/* Starts the process. NULL: that failed. On the loop, as all of this. */
struct companion *companion_new(struct loop *l, const char *program, const struct companion_events *events,
                                void *ctx);
bool companion_is_gone(const struct companion *c);
/* False where it is too far behind and the frame was left out. */
bool companion_give(struct companion *c, const struct companion_frame *f);
void companion_free(struct companion *c); /* ends the process; accepts NULL */

#endif
