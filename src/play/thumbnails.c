/* play/thumbnails.c - the WebVTT file that tells a seek bar which picture belongs where. The pictures
 * themselves are made when somebody first asks for one. */
#include "play/play_int.h"

static void print_time(struct builder *b, int64_t ticks)
{
    int64_t ms = ticks * 1000 / CMAF_VIDEO_TIMESCALE;

    builder_printf(b, "%02lld:%02d:%02d.%03d", (long long)(ms / 3600000), (int)(ms / 60000 % 60),
                   (int)(ms / 1000 % 60), (int)(ms % 1000));
}

static struct buffer *print_thumbnails(struct video_view *v, unsigned slot)
{
    struct builder b = {0};

    builder_text(&b, "WEBVTT\n");
    for (size_t i = 0; i < v->segment_count; i++) {
        const struct segment *s = &v->segments[i];

        if (s->track[TRACK_VIDEO].bytes == 0)
            continue;
        builder_text(&b, "\n");
        print_time(&b, s->start);
        builder_text(&b, " --> ");
        print_time(&b, s->end);
        builder_printf(&b, "\nthumbnails/%u.jpg\n", s->number);
    }
    return builder_finish(&b);
}

struct buffer *play_thumbnails(struct video_view *v)
{
    return video_view_cached(v, SLOT_THUMBNAILS, print_thumbnails);
}
