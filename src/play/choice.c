/* play/choice.c - which renditions players see, and which one suits a screen. */
#include "play/play_int.h"

bool play_listed(const struct video_view *v, const struct rendition *r)
{
    bool whole = !v->live && r->shown == v->segment_count;

    /* A rendition that is nothing but gaps has no configuration that could be announced. */
    return r->init_count > 0 && r->shown > 0 && play_rendition_config(r) != NULL && (whole || !r->archive);
}

const struct codec_config *play_rendition_config(const struct rendition *r)
{
    for (size_t i = r->shown; i > 0; i--)
        if (r->made[i - 1].state == MADE_WHOLE)
            return &rendition_init(r, r->made[i - 1].init)->config;
    return NULL;
}

bool play_open(const struct video_view *v)
{
    bool open = v->live;

    for (size_t i = 0; i < v->rendition_count && !open; i++)
        open = play_listed(v, &v->renditions[i]) && v->renditions[i].shown < v->segment_count;
    return open;
}

uint64_t play_revision(const struct video_view *v)
{
    uint64_t revision = 0;

    for (size_t i = 0; i < v->rendition_count; i++)
        if (play_listed(v, &v->renditions[i]))
            revision += v->renditions[i].shown + 1;
    return revision;
}

bool play_has(const struct video_view *v, const struct rendition *r, const struct segment *segment)
{
    size_t at = (size_t)(segment - v->segments);

    return at < r->shown && r->made[at].state == MADE_WHOLE;
}

/* What a screen is tall: a portrait picture stands in it with its longer side, and counts by its shorter. */
static uint32_t lines(uint32_t width, uint32_t height)
{
    return width < height ? width : height;
}

const struct rendition *play_choose(const struct video_view *v, const struct segment *segment,
                                    uint32_t height_max, bool *settled)
{
    const struct span *span = &segment->track[TRACK_VIDEO];
    const struct rendition *smallest = NULL;

    *settled = true;
    if (span->bytes == 0)
        return NULL;
    const struct codec_config *source = &v->inits[TRACK_VIDEO][span->init].config;

    if (height_max == 0 || lines(source->width, source->height) <= height_max)
        return NULL;
    for (size_t i = 0; i < v->rendition_count; i++) { /* in falling height */
        const struct rendition *r = &v->renditions[i];
        size_t at = (size_t)(segment - v->segments);

        if (play_has(v, r, segment)) {
            smallest = r;
            if (lines(r->width, r->height) <= height_max)
                return r;
        } else if (at >= r->shown) {
            *settled = false; /* it is on its way */
        }
    }
    return smallest;
}
