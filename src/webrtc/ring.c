/* webrtc/ring.c - packets of one video, in the clear, made once for all who watch.
 *
 * It holds what came since the newest keyframe, for those who join, and two seconds before that, for what was lost on the way. */
#include "webrtc/room_int.h"

#include "base/mem.h"

#include <stdlib.h>

#define ROOM_MIN 512

static struct ring_packet *place(const struct ring *r, uint64_t index)
{
    return &r->packets[index & (r->room - 1)];
}

const struct ring_packet *ring_at(const struct ring *r, uint64_t index)
{
    return place(r, index);
}

static void let_go(struct ring *r)
{
    struct ring_packet *p = place(r, r->first);

    r->bytes -= p->size;
    buffer_unref(p->bytes);
    r->first++;
    if (r->key != RING_NONE && r->first > r->key)
        r->key = RING_NONE;
}

void ring_drop(struct ring *r)
{
    while (r->first < r->next)
        let_go(r);
    free(r->packets);
    r->packets = NULL;
    r->room = 0;
}

static void grow(struct ring *r)
{
    struct ring wider = *r;

    wider.room = r->room ? r->room * 2 : ROOM_MIN;
    wider.packets = mem_new(wider.room * sizeof *wider.packets);
    for (uint64_t i = r->first; i < r->next; i++)
        *place(&wider, i) = *place(r, i);
    free(r->packets);
    *r = wider;
}

void ring_add(struct ring *r, const struct ring_packet *p)
{
    if (r->next - r->first == WEBRTC_RING_PACKETS_MAX)
        let_go(r);
    if (r->next - r->first == r->room)
        grow(r);
    *place(r, r->next) = *p;
    buffer_ref(p->bytes);
    r->bytes += p->size;
    r->next++;
}

void ring_trim(struct ring *r, int64_t now_ms)
{
    while (r->first < r->next &&
           (r->bytes > WEBRTC_RING_BYTES_MAX || ((r->key == RING_NONE || r->first < r->key) &&
                                                 now_ms - place(r, r->first)->added_ms > WEBRTC_RING_MS)))
        let_go(r);
}
