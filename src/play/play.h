/* play/play.h - what players ask for: HLS playlists, DASH manifests, and pictures with sound in one file.
 *
 * All texts are printed from one view of a video, live or years later, and kept with it. */
#ifndef MATINEE_PLAY_PLAY_H
#define MATINEE_PLAY_PLAY_H

#include "live/live.h"

/* Whether there is anything to play: a live video has nothing before its first segment is done. */
bool play_ready(const struct video_view *v);

/* RFC 8216: the multivariant playlist, and the media playlist of one track. A new reference; any thread.
 * The view must be ready, and the track in it. */
struct buffer *play_master(struct video_view *v);
struct buffer *play_media_playlist(struct video_view *v, enum track track);

/* The media playlist of a rendition of the view. */
struct buffer *play_rendition_playlist(struct video_view *v, const struct rendition *r);

/* --- low latency ------------------------------------------------------------------------------------- */

/* A media playlist of a live video, by what it lists: a made rendition, or a track of the source. */
struct play_list {
    enum track track;
    const struct rendition *rendition; /* of the edge's view; NULL: the track */
    bool
        steady; /* the track for players who may change to a made rendition: far enough from the edge to find it there */
};

/* How such a track's playlist is called; of who shares the edge, and of made renditions, it is playlist.m3u8. */
#define PLAY_STEADY "steady.m3u8"

/* What must be in a playlist before it is answered (RFC 8216bis §6.2.5.2). */
struct play_wish {
    bool waits; /* false: whatever there is */
    bool has_part;
    uint64_t msn, part;
};

enum play_answer { PLAY_NOW, PLAY_LATER, PLAY_NEVER };

/* Whether the edge has it, may have it soon, or is so far from it that the request must be a mistake. */
enum play_answer play_edge_has(const struct edge *e, const struct play_list *l, const struct play_wish *wish);

/* The media playlist of a live video with its parts (RFC 8216bis §4.4); `skips`: without the segments that are older than
 * CAN-SKIP-UNTIL. A new reference; any thread. */
struct buffer *play_edge_playlist(struct edge *e, const struct play_list *l, bool skips);

/* The same, compressed once by `zip`; NULL when that cannot. */
struct buffer *play_edge_zipped(struct edge *e, const struct play_list *l, bool skips,
                                struct buffer *(*zip)(void *ctx, struct buffer *text), void *ctx);

/* The manifest of a live video with its open segment (ISO/IEC 23009-1, DASH-IF low-latency-live-v5); `low`: only what shares the
 * edge. A new reference; any thread. */
struct buffer *play_edge_manifest(struct edge *e, bool low);

/* The part of that number in the segment of that number: PLAY_NOW and *out, the edge's. PLAY_LATER: it is announced, or could
 * be. PLAY_NEVER: the segment has no such part, or it is not known any more. */
enum play_answer play_edge_part(const struct edge *e, enum track track, uint32_t segment, uint64_t part,
                                const struct part **out);

/* The parts of the segment of that number, or NULL: they are not known, or not any more. */
const struct shelf *play_shelf(const struct edge *e, uint32_t number);

/* The multivariant playlist of what shares the edge; afterwards that of all. */
struct buffer *play_low_master(struct video_view *v);

/* The multivariant playlist of a live video: the source, and what is made of it and keeps up. A new reference; any thread. */
struct buffer *play_edge_master(struct edge *e);

/* Whether a made rendition is near enough to the source for players to change to it without waiting. */
bool play_keeps_up(const struct edge *e, const struct rendition *r);

/* The same for a part of a made rendition: PLAY_NOW and *out, which lives as long as the view. */
enum play_answer play_made_part(const struct video_view *v, const struct rendition *r, uint32_t segment,
                                uint64_t part, const struct made_part **out);

/* Whether players see the rendition: something of it is made, and if it was made later, all of it. */
bool play_listed(const struct video_view *v, const struct rendition *r);

/* Whether more is to come: it is live, or a listed rendition is not whole yet. */
bool play_open(const struct video_view *v);

/* Grows with every change that the texts show; the same after a restart. */
uint64_t play_revision(const struct video_view *v);

/* ISO/IEC 23009-1: the manifest; SegmentTimeline, a new Period wherever the decoder configuration changes. */
struct buffer *play_manifest(struct video_view *v);

/* WebVTT whose cues name pictures (thumbnails/N.jpg), one a segment that has video. */
struct buffer *play_thumbnails(struct video_view *v);

/* The average and the highest bit rate of a track's segments, in bits a second. */
struct play_bandwidth {
    int64_t average, peak;
};
struct play_bandwidth play_bandwidth(const struct video_view *v, enum track track);
struct play_bandwidth play_rendition_bandwidth(const struct video_view *v, const struct rendition *r);

/* The segment of that number, or NULL; and the one that covers a position in seconds, or NULL. */
const struct segment *play_segment(const struct video_view *v, uint32_t number);
const struct segment *play_segment_at(const struct video_view *v, double offset_s);

/* What kind of screen asks, and what is the most it can use. */
enum device { DEVICE_TV, DEVICE_DESKTOP, DEVICE_TABLET, DEVICE_PHONE };
bool device_parse(const char *text, enum device *out);
const char *device_name(enum device d);
uint32_t device_height_max(enum device d);

/* The rendition in which a screen of that height should get this segment: the tallest that fits, else the
 * smallest there is; NULL: the source. *settled: it will not be another one later. */
const struct rendition *play_choose(const struct video_view *v, const struct segment *segment,
                                    uint32_t height_max, bool *settled);

/* Whether this segment of a listed rendition can be had. */
bool play_has(const struct video_view *v, const struct rendition *r, const struct segment *segment);

/* One segment with picture and sound in one file: getVideoData. `r` NULL: the source. Blocks. */
must_check enum err play_data(struct store *s, const struct video_view *v, const struct rendition *r,
                              const struct segment *segment, enum container container, struct buffer **out);

/* The piece of a whole-video download that segment `index` makes; the first one has the header. Blocks. */
must_check enum err play_download_piece(struct store *s, const struct video_view *v, size_t index,
                                        struct buffer **out);

/* Whether one MP4 can hold it: every segment has the same decoder configuration. */
bool play_downloadable(const struct video_view *v);

#endif
