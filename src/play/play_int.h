/* play/play_int.h - between the files of this room. */
#ifndef MATINEE_PLAY_PLAY_INT_H
#define MATINEE_PLAY_PLAY_INT_H

#include "play/play.h"

/* Which text of a view is kept where. */
enum slot {
    SLOT_MASTER,
    SLOT_VIDEO,
    SLOT_AUDIO,
    SLOT_MANIFEST,
    SLOT_THUMBNAILS,
    SLOT_LOW_MASTER,
    SLOT_RENDITIONS
};

/* Which text of an edge is kept where: four of each media playlist, and manifests and the multivariant one behind them. */
#define EDGE_MANIFEST (4 * (2 * TRACK_COUNT + RENDITIONS_MAX))
#define EDGE_MASTER   (EDGE_MANIFEST + 2)
_Static_assert(EDGE_MASTER + 1 <= EDGE_CACHES, "there is a place for each text");

/* The segment of an edge that is open: the oldest that its view does not have; NULL: none. */
const struct shelf *play_open_shelf(const struct edge *e);

/* --- what hls.c and hls_live.c print alike ------------------------------------------------------------- */

/* What one media playlist is of: a track of the publisher's own bits, or a rendition. */
struct listing {
    const struct video_view *view;
    const struct rendition *rendition; /* NULL: the track */
    enum track track;
    size_t count; /* of segments to list */
};

/* A playlist's times are printed in hundred-thousandths of a second. Each is where something begins or ends on the video's timeline,
 * rounded, and never a length by itself: what is rounded does not add up, however long the show. They are rounded up and one more,
 * but for the very beginning: Shaka Player adds up what it reads in floating point, and what so comes to lie a hair before its media
 * is laid a millisecond later, by starting the decoder anew in mid picture; 10 to 20 microseconds behind nothing is done. */
#define HLS_UNITS 100000

int64_t hls_units(int64_t ticks, uint32_t rate); /* rounded up */
/* Where a playlist has the segment at `at`, and how long it says that is. */
int64_t hls_begin(const struct listing *l, size_t at);
int64_t hls_length(const struct listing *l, size_t at);

/* Whether the timeline breaks before the segment. */
bool hls_breaks(const struct segment *s);

/* Prints the segment at `at`, and what has to be said before it; *init is the init segment that holds. `between` (may be NULL)
 * prints what stands between the two. */
void hls_segment(struct builder *b, const struct listing *l, size_t at, int64_t *init,
                 void (*between)(struct builder *b, const void *ctx, size_t at), const void *ctx);
/* What has to be said before a segment: that the timeline breaks, the init segment, the wall's clock. */
void hls_before(struct builder *b, bool breaks, bool first, int64_t *init, uint32_t wanted, int64_t wall_ms);

/* --- made.c: parts of made renditions ------------------------------------------------------------------ */

/* What is known of the segment at `at` of the view, which is the first that the rendition does not have whole if `at` is
 * r->shown: its parts, in order. 0: none, or not all of a whole one. */
size_t made_parts(const struct video_view *v, const struct rendition *r, size_t at,
                  const struct made_part **out);

/* The configuration of a track's newest segment, or NULL when the video has no such track. */
const struct codec_config *play_config(const struct video_view *v, enum track track);

/* The configuration of a listed rendition's newest segment. */
const struct codec_config *play_rendition_config(const struct rendition *r);

#endif
