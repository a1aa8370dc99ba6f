/* net/unsent.c - what a stream has yet to send: stretches of shared buffers, and a buffer of its own for
 * small writes, which grows while it is the last. An empty queue keeps no memory: most streams wait most of the time. */
#include "net/net_int.h"

#include "base/mem.h"

#include <stdlib.h>

#define PIECES_FIRST 4
#define TAIL_BYTES   512

static struct piece *new_piece(struct stream *s)
{
    if (s->piece_first + s->piece_count == s->piece_room) {
        if (s->piece_first >= PIECES_FIRST && s->piece_first >= s->piece_room / 2) {
            memmove(s->pieces, s->pieces + s->piece_first, s->piece_count * sizeof *s->pieces);
        } else {
            unsigned room = s->piece_room ? s->piece_room * 2 : PIECES_FIRST;
            struct piece *pieces = mem_resize(NULL, room * sizeof *pieces);

            if (s->piece_count > 0)
                memcpy(pieces, s->pieces + s->piece_first, s->piece_count * sizeof *pieces);
            free(s->pieces);
            s->pieces = pieces;
            s->piece_room = room;
        }
        s->piece_first = 0;
    }
    return &s->pieces[s->piece_first + s->piece_count++];
}

void unsent_take(struct stream *s, struct buffer *b, size_t from, size_t size)
{
    if (size == 0) {
        buffer_unref(b);
        return;
    }
    *new_piece(s) = (struct piece){b, from, size};
    s->queued += size;
    s->tail_open = false;
}

void unsent_copy(struct stream *s, struct bytes b)
{
    if (b.size == 0)
        return;
    if (s->tail_open) {
        struct piece *tail = &s->pieces[s->piece_first + s->piece_count - 1];

        if (tail->buffer->capacity - tail->buffer->size >= b.size) {
            memcpy(tail->buffer->data + tail->buffer->size, b.at, b.size);
            tail->buffer->size += b.size;
            tail->size += b.size;
            s->queued += b.size;
            return;
        }
    }
    struct buffer *own = buffer_new(b.size > TAIL_BYTES ? b.size : TAIL_BYTES);

    memcpy(own->data, b.at, b.size);
    own->size = b.size;
    unsent_take(s, own, 0, b.size);
    s->tail_open = true;
}

void unsent_consume(struct stream *s, size_t size)
{
    s->queued -= size;
    while (size > 0) {
        struct piece *p = &s->pieces[s->piece_first];

        if (p->size > size) {
            p->from += size;
            p->size -= size;
            return;
        }
        size -= p->size;
        buffer_unref(p->buffer);
        s->piece_first++;
        s->piece_count--;
    }
    if (s->piece_count > 0)
        return;
    s->piece_first = 0;
    s->tail_open = false;
    free(s->pieces);
    s->pieces = NULL;
    s->piece_room = 0;
}

void unsent_drop(struct stream *s)
{
    for (unsigned i = 0; i < s->piece_count; i++)
        buffer_unref(s->pieces[s->piece_first + i].buffer);
    free(s->pieces);
    s->pieces = NULL;
    s->piece_first = s->piece_count = s->piece_room = 0;
    s->queued = 0;
    s->tail_open = false;
}
