/* webrtc/look.c - who watches a video over WebRTC, as JSON for the API: which renditions there are, and which each viewer has. */
#include "webrtc/room_int.h"

static const char *const names[QUALITIES] = {[QUALITY_FULL] = "full", [QUALITY_LOW] = "low"};

static size_t viewers_of(const struct feed *f, enum quality q)
{
    size_t count = 0;

    list_each(&f->viewers, at, after)
    {
        const struct viewer *v = container_of(at, struct viewer, link);

        count += v->state == VIEWER_PLAYS && v->has == q;
    }
    return count;
}

static void print_rendition(struct builder *out, const struct feed *f, enum quality q)
{
    const struct pictures *p = &f->pictures[q];

    builder_printf(out, "%s{\"name\":\"%s\",\"width\":%u,\"height\":%u,\"bandwidth\":%u,\"viewers\":%zu}",
                   q == QUALITY_FULL ? "" : ",", names[q], p->width, p->height, p->bits_second,
                   viewers_of(f, q));
}

/* `loss`: what its last reports say is lost of the pictures, in percent. */
static void print_viewer(struct builder *out, const struct viewer *v, int64_t now_ms)
{
    builder_printf(out,
                   "{\"rendition\":\"%s\",\"wants\":\"%s\",\"loss\":%.1f,\"way\":\"%s\",\"seconds\":%lld}",
                   names[v->has], names[v->wants], v->line.mean * 100.0 / 256 / 16, v->tcp ? "tcp" : "udp",
                   (long long)(now_ms - v->shook_ms) / 1000);
}

void look_print(struct builder *out, const struct feed *f)
{
    bool first = true;

    builder_text(out, "{\"renditions\":[");
    if (f != NULL && f->known) {
        print_rendition(out, f, QUALITY_FULL);
        if (f->low != NULL)
            print_rendition(out, f, QUALITY_LOW);
    }
    builder_text(out, "],\"viewers\":[");
    if (f != NULL)
        list_each(&f->viewers, at, after)
        {
            const struct viewer *v = container_of(at, struct viewer, link);

            if (v->state != VIEWER_PLAYS)
                continue;
            builder_text(out, first ? "" : ",");
            print_viewer(out, v, loop_now_ms(f->room->loop));
            first = false;
        }
    builder_text(out, "]}\n");
}
