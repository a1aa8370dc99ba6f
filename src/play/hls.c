/* play/hls.c - HLS playlists (RFC 8216, and RFC 8216bis where it says more).
 *
 * A media playlist lists every segment from the video's start: while it is live viewers may rewind all the
 * way, afterwards the same URL is a recording (VOD). While it is live hls_live.c prints it, with parts; here are the
 * recordings, and those that are being imported (EVENT). */
#include "play/play_int.h"

#include "base/clock.h"

#include <stdlib.h>

/* How far from its pictures' end a segment's sounds may end, and still be where the playlist has its end. */
#define SOUND_OFF_MAX (HLS_UNITS / 5)

static void print_stream(struct builder *b, const char *name, const char *leaf,
                         const struct codec_config *video, const struct codec_config *audio,
                         struct play_bandwidth picture, struct play_bandwidth sound)
{
    builder_printf(b, "#EXT-X-STREAM-INF:BANDWIDTH=%lld,AVERAGE-BANDWIDTH=%lld,CODECS=\"%s%s%s\"",
                   (long long)(picture.peak + sound.peak), (long long)(picture.average + sound.average),
                   video ? video->rfc6381 : "", video && audio ? "," : "", audio ? audio->rfc6381 : "");
    /* Players that are not told look for captions in the media, Shaka Player in a segment that is open. */
    if (video != NULL)
        builder_printf(b, ",RESOLUTION=%ux%u,CLOSED-CAPTIONS=NONE%s", video->width, video->height,
                       audio ? ",AUDIO=\"audio\"" : "");
    builder_printf(b, "\n%s/%s\n", name, leaf);
}

/* `others[i]`: the view's rendition i is in it. */
static struct buffer *print_streams(const struct video_view *v, const bool others[RENDITIONS_MAX],
                                    bool steady)
{
    const char *leaf = steady ? PLAY_STEADY : "playlist.m3u8";
    const struct codec_config *video = play_config(v, TRACK_VIDEO), *audio = play_config(v, TRACK_AUDIO);
    struct play_bandwidth sound = play_bandwidth(v, TRACK_AUDIO);
    struct builder b = {0};

    builder_text(&b, "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    if (video != NULL && audio != NULL)
        builder_printf(&b,
                       "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Sound\",DEFAULT=YES,AUTOSELECT=YES,"
                       "CHANNELS=\"%u\",URI=\"audio/%s\"\n",
                       audio->channels, leaf);
    print_stream(&b, video ? "source" : "audio", leaf, video, audio, play_bandwidth(v, TRACK_VIDEO), sound);
    for (size_t i = 0; i < v->rendition_count; i++)
        if (others[i])
            print_stream(&b, v->renditions[i].name, "playlist.m3u8", play_rendition_config(&v->renditions[i]),
                         audio, play_rendition_bandwidth(v, &v->renditions[i]), sound);
    return builder_finish(&b);
}

static struct buffer *print_master(struct video_view *v, unsigned slot)
{
    bool others[RENDITIONS_MAX] = {false};

    for (size_t i = 0; i < v->rendition_count; i++)
        others[i] = slot == SLOT_MASTER && play_listed(v, &v->renditions[i]);
    return print_streams(v, others, false);
}

/* As long as nothing is listed that is made, the source may be as near to the edge as it can. Who comes later finds it so far away
 * that the others are there, too. */
static struct buffer *print_edge_master(struct edge *e, unsigned slot, void *ctx)
{
    const struct video_view *v = e->view;
    bool others[RENDITIONS_MAX] = {false}, any = false;

    for (size_t i = 0; i < v->rendition_count; i++)
        any |= others[i] = play_listed(v, &v->renditions[i]) && play_keeps_up(e, &v->renditions[i]);
    return print_streams(v, others, any);
}

struct buffer *play_edge_master(struct edge *e)
{
    return edge_cached(e, EDGE_MASTER, print_edge_master, NULL);
}

struct buffer *play_master(struct video_view *v)
{
    return video_view_cached(v, SLOT_MASTER, print_master);
}

/* What is made of chunks cannot share the edge of parts: a player that changed to it would have to wait for it. */
struct buffer *play_low_master(struct video_view *v)
{
    return v->live && !v->away ? video_view_cached(v, SLOT_LOW_MASTER, print_master) : play_master(v);
}

static bool has(const struct listing *l, size_t at, uint32_t *init)
{
    const struct span *span = &l->view->segments[at].track[l->track];

    if (l->rendition == NULL) {
        *init = span->init;
        return span->bytes > 0;
    }
    *init = l->rendition->made[at].init;
    return l->rendition->made[at].state == MADE_WHOLE;
}

void hls_before(struct builder *b, bool breaks, bool first, int64_t *init, uint32_t wanted, int64_t wall_ms)
{
    char time[CLOCK_TEXT_SIZE];

    if (breaks && !first)
        builder_text(b, "#EXT-X-DISCONTINUITY\n");
    if (wanted != *init) {
        *init = wanted;
        builder_printf(b, "#EXT-X-MAP:URI=\"init-%u.mp4\"\n", wanted);
    }
    if (first || breaks) /* from here on the clock of the wall follows from the durations */
        builder_printf(b, "#EXT-X-PROGRAM-DATE-TIME:%s\n", clock_text(wall_ms, time));
}

bool hls_breaks(const struct segment *s)
{
    return s->discontinuity || s->torn;
}

/* --- where segments lie ------------------------------------------------------------------------------ */

int64_t hls_units(int64_t ticks, uint32_t rate)
{
    return (ticks * HLS_UNITS + rate - 1) / rate;
}

/* Sounds do not end where pictures do, and the next segment's begin where these end: a player that lays them where the playlist
 * says would overlap them, or leave a hole. Where there are none, the pictures' end holds. */
static int64_t end_of(const struct listing *l, size_t at)
{
    const struct segment *s = &l->view->segments[at];
    const struct span *sounds = &s->track[TRACK_AUDIO];
    int64_t end = hls_units(s->end, CMAF_VIDEO_TIMESCALE);

    if (l->rendition == NULL && l->track == TRACK_AUDIO && sounds->bytes > 0) {
        int64_t own = hls_units(sounds->end, l->view->inits[TRACK_AUDIO][sounds->init].config.rate);

        if (llabs(own - end) <= SOUND_OFF_MAX)
            end = own;
    }
    return end + 1;
}

int64_t hls_begin(const struct listing *l, size_t at)
{
    const struct segment *s = &l->view->segments[at];

    if (at == 0)
        return s->start * HLS_UNITS / CMAF_VIDEO_TIMESCALE;
    if (s[-1].end == s->start)
        return end_of(l, at - 1);
    return hls_units(s->start, CMAF_VIDEO_TIMESCALE) + 1;
}

/* A picture or two without sound, before a publisher was gone, may end before the sounds of the segment before. */
int64_t hls_length(const struct listing *l, size_t at)
{
    int64_t length = end_of(l, at) - hls_begin(l, at);

    return length > 0 ? length : 1;
}

void hls_segment(struct builder *b, const struct listing *l, size_t at, int64_t *init,
                 void (*between)(struct builder *b, const void *ctx, size_t at), const void *ctx)
{
    const struct segment *s = &l->view->segments[at];
    uint32_t wanted;
    bool there = has(l, at, &wanted);

    hls_before(b, hls_breaks(s), at == 0, init, there ? wanted : (uint32_t)*init, s->wall_ms);
    if (!there)
        builder_text(b, "#EXT-X-GAP\n");
    if (between != NULL)
        between(b, ctx, at);
    builder_printf(b, "#EXTINF:%.5f,\n%06u.m4s\n", (double)hls_length(l, at) / HLS_UNITS, s->number);
}

static struct buffer *print_media(const struct listing *l)
{
    bool is_open = l->view->live || (l->rendition != NULL && l->rendition->shown < l->view->segment_count);
    struct builder b = {0};
    int64_t init = -1;

    builder_printf(&b,
                   "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:%u\n#EXT-X-MEDIA-SEQUENCE:0\n"
                   "#EXT-X-PLAYLIST-TYPE:%s\n#EXT-X-INDEPENDENT-SEGMENTS\n",
                   l->view->target_duration_s, is_open ? "EVENT" : "VOD");
    for (size_t i = 0; i < l->count; i++)
        hls_segment(&b, l, i, &init, NULL, NULL);
    if (!is_open)
        builder_text(&b, "#EXT-X-ENDLIST\n");
    return builder_finish(&b);
}

/* Nothing of the track is listed behind the last segment that has some of it, for players that do not know
 * EXT-X-GAP ask for what it stands for. */
static struct buffer *print_track(struct video_view *v, unsigned slot)
{
    struct listing l = {v, NULL, slot == SLOT_AUDIO ? TRACK_AUDIO : TRACK_VIDEO, v->segment_count};

    while (l.count > 0 && v->segments[l.count - 1].track[l.track].bytes == 0)
        l.count--;
    return print_media(&l);
}

struct buffer *play_media_playlist(struct video_view *v, enum track track)
{
    return video_view_cached(v, track == TRACK_AUDIO ? SLOT_AUDIO : SLOT_VIDEO, print_track);
}

static struct buffer *print_rendition(struct video_view *v, unsigned slot)
{
    const struct rendition *r = &v->renditions[slot - SLOT_RENDITIONS];

    return print_media(&(struct listing){v, r, TRACK_VIDEO, r->shown});
}

struct buffer *play_rendition_playlist(struct video_view *v, const struct rendition *r)
{
    return video_view_cached(v, SLOT_RENDITIONS + (unsigned)(r - v->renditions), print_rendition);
}
