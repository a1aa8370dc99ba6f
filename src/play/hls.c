/* play/hls.c - HLS playlists (RFC 8216, and RFC 8216bis where it says more).
 *
 * A media playlist lists every segment from the video's start: while it is live viewers may rewind all the
 * way (EVENT), afterwards the same URL is a recording (VOD). */
#include "play/play_int.h"

#include "base/clock.h"

static void print_codecs(const struct video_view *v, struct builder *b)
{
    const char *comma = "";

    builder_text(b, "CODECS=\"");
    for (int t = 0; t < TRACK_COUNT; t++) {
        const struct codec_config *c = play_config(v, (enum track)t);

        if (c == NULL)
            continue;
        builder_printf(b, "%s%s", comma, c->rfc6381);
        comma = ",";
    }
    builder_text(b, "\"");
}

static struct buffer *print_master(struct video_view *v, unsigned slot)
{
    const struct codec_config *video = play_config(v, TRACK_VIDEO), *audio = play_config(v, TRACK_AUDIO);
    struct play_bandwidth picture = play_bandwidth(v, TRACK_VIDEO), sound = play_bandwidth(v, TRACK_AUDIO);
    struct builder b = {0};

    builder_text(&b, "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    if (video != NULL && audio != NULL)
        builder_printf(&b,
                       "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Sound\",DEFAULT=YES,AUTOSELECT=YES,"
                       "CHANNELS=\"%u\",URI=\"audio/playlist.m3u8\"\n",
                       audio->channels);
    builder_printf(&b, "#EXT-X-STREAM-INF:BANDWIDTH=%lld,AVERAGE-BANDWIDTH=%lld,",
                   (long long)(picture.peak + sound.peak), (long long)(picture.average + sound.average));
    print_codecs(v, &b);
    if (video != NULL)
        builder_printf(&b, ",RESOLUTION=%ux%u%s\nsource/playlist.m3u8\n", video->width, video->height,
                       audio ? ",AUDIO=\"audio\"" : "");
    else
        builder_text(&b, "\naudio/playlist.m3u8\n");
    return builder_finish(&b);
}

struct buffer *play_master(struct video_view *v)
{
    return video_view_cached(v, SLOT_MASTER, print_master);
}

/* How many segments to list: nothing of the track behind the last one that has some of it, for players that
 * do not know EXT-X-GAP ask for what it stands for. */
static size_t listed(const struct video_view *v, enum track t)
{
    size_t count = v->segment_count;

    while (count > 0 && v->segments[count - 1].track[t].bytes == 0)
        count--;
    return count;
}

static struct buffer *print_media(struct video_view *v, unsigned slot)
{
    enum track t = slot == SLOT_AUDIO ? TRACK_AUDIO : TRACK_VIDEO;
    struct builder b = {0};
    int64_t init = -1;
    char time[CLOCK_TEXT_SIZE];

    builder_printf(&b,
                   "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:%u\n#EXT-X-MEDIA-SEQUENCE:0\n"
                   "#EXT-X-PLAYLIST-TYPE:%s\n#EXT-X-INDEPENDENT-SEGMENTS\n",
                   v->target_duration_s, v->live ? "EVENT" : "VOD");
    for (size_t i = 0, count = listed(v, t); i < count; i++) {
        const struct segment *s = &v->segments[i];
        bool there = s->track[t].bytes > 0;

        bool breaks = s->discontinuity || s->torn;

        if (i > 0 && breaks)
            builder_text(&b, "#EXT-X-DISCONTINUITY\n");
        if (there && (int64_t)s->track[t].init != init) {
            init = s->track[t].init;
            builder_printf(&b, "#EXT-X-MAP:URI=\"init-%lld.mp4\"\n", (long long)init);
        }
        if (!there)
            builder_text(&b, "#EXT-X-GAP\n");
        if (i == 0 || breaks) /* from here on the clock of the wall follows from the durations */
            builder_printf(&b, "#EXT-X-PROGRAM-DATE-TIME:%s\n", clock_text(s->wall_ms, time));
        builder_printf(&b, "#EXTINF:%.5f,\n%06u.m4s\n", (double)(s->end - s->start) / CMAF_VIDEO_TIMESCALE,
                       s->number);
    }
    if (!v->live)
        builder_text(&b, "#EXT-X-ENDLIST\n");
    return builder_finish(&b);
}

struct buffer *play_media_playlist(struct video_view *v, enum track track)
{
    return video_view_cached(v, track == TRACK_AUDIO ? SLOT_AUDIO : SLOT_VIDEO, print_media);
}
