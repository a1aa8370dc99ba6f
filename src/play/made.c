/* play/made.c - parts of made renditions, and how far these are behind the source.
 *
 * A part of a made rendition is a chunk, so its playlist ends some seconds before the source's: the chunk has to be whole, and then
 * to be made. Who plays at the source's edge cannot change to it; who plays a few chunks away can, as long as it keeps up. */
#include "play/play_int.h"

/* A rendition may be behind by so much in chunks, half a chunk each: the one that is being filled, and as much again and a half
 * for making it. Without parts it is whole segments that are waited for. */
#define BEHIND_HALVES  5
#define BEHIND_TARGETS 2

static size_t parts_of(const struct rendition *r, uint32_t number, const struct made_part **out)
{
    size_t from = 0, count = 0;

    while (from < r->part_count && r->parts[from].number != number)
        from++;
    while (from + count < r->part_count && r->parts[from + count].number == number)
        count++;
    *out = r->parts + from;
    return count;
}

/* Where they end, in bytes of their segment. */
static size_t end_of(const struct made_part *parts, size_t count)
{
    return count > 0 ? parts[count - 1].at + parts[count - 1].size : 0;
}

size_t made_parts(const struct video_view *v, const struct rendition *r, size_t at,
                  const struct made_part **out)
{
    size_t count;

    *out = NULL;
    if (v->chunk_90k == 0)
        return 0;
    if (at < v->segment_count) {
        count = parts_of(r, v->segments[at].number, out);
        return at < r->shown && end_of(*out, count) != r->made[at].bytes ? 0 : count;
    }
    for (size_t i = 0; i < r->part_count; i++)
        if (v->segment_count == 0 || r->parts[i].number > v->segments[v->segment_count - 1].number)
            return parts_of(r, r->parts[i].number, out);
    return 0;
}

enum play_answer play_made_part(const struct video_view *v, const struct rendition *r, uint32_t segment,
                                uint64_t part, const struct made_part **out)
{
    const struct made_part *made;
    size_t count = parts_of(r, segment, &made), open_count;
    uint32_t newest = v->segment_count > 0 ? v->segments[v->segment_count - 1].number : 0;

    *out = NULL;
    if (part < count) {
        *out = &made[part];
        return PLAY_NOW;
    }
    if (!v->live || v->chunk_90k == 0 || (r->shown > 0 && segment <= v->segments[r->shown - 1].number))
        return PLAY_NEVER;
    open_count = made_parts(v, r, r->shown, &made);
    if (open_count > 0 && segment == made->number)
        return part <= open_count + 1 && !made[open_count - 1].last ? PLAY_LATER : PLAY_NEVER;
    return segment <= newest + 2 && part == 0 ? PLAY_LATER : PLAY_NEVER;
}

/* --- keeping up --------------------------------------------------------------------------------------- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t source_end(const struct edge *e)
{
    const struct video_view *v = e->view;
    const struct shelf *s = e->shelf_count > 0 ? &e->shelves[e->shelf_count - 1] : NULL;
    size_t count = s != NULL ? s->count[TRACK_VIDEO] : 0;
    int64_t end = v->segment_count > 0 ? v->segments[v->segment_count - 1].end : 0;

    if (count > 0)
        end = later(end, s->parts[TRACK_VIDEO][count - 1].start + s->parts[TRACK_VIDEO][count - 1].duration);
    return end;
}

static int64_t made_end(const struct video_view *v, const struct rendition *r)
{
    const struct made_part *open;
    size_t count = made_parts(v, r, r->shown, &open);
    int64_t end = r->shown > 0 ? v->segments[r->shown - 1].end : 0;

    return count > 0 ? later(end, open[count - 1].start + open[count - 1].duration) : end;
}

bool play_keeps_up(const struct edge *e, const struct rendition *r)
{
    const struct video_view *v = e->view;
    int64_t behind = source_end(e) - made_end(v, r);

    if (r->shown > 0 && r->made[r->shown - 1].state == MADE_GAP)
        return false;
    if (v->chunk_90k > 0)
        return behind * 2 <= (int64_t)BEHIND_HALVES * v->chunk_90k;
    return behind <= (int64_t)BEHIND_TARGETS * v->target_duration_s * CMAF_VIDEO_TIMESCALE;
}
