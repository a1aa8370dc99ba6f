/* rtmp/chunk_reader.c - puts messages together from chunks; see chunk_int.h.
 *
 * A chunk is read in two steps, so that a peer with chunks of megabytes never makes us hold one before it is
 * whole: its header at once, then its payload as it comes, straight into the message's buffer. */
#include "rtmp/chunk_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* Up to this a message gets all its memory when it begins; larger ones double as their bytes arrive. */
#define FIRST_BYTES_MAX 16384
/* Protocol control; librtmp opens it with a header of format 1, whose delta counts from zero. */
#define CONTROL_STREAM 2

struct chunk_stream {
    uint32_t id;
    struct chunk_header last; /* what a later header may leave out */
    uint32_t timestamp;       /* of the message that is begun, or of the last one */
    struct buffer *partial;   /* NULL between two messages */
    uint64_t first;           /* where the partial message began */
};

void chunk_reader_init(struct chunk_reader *r)
{
    *r =
        (struct chunk_reader){.chunk_size = CHUNK_SIZE_STANDARD, .message_bytes_max = RTMP_COMMAND_BYTES_MAX};
}

void chunk_reader_drop(struct chunk_reader *r)
{
    for (size_t i = 0; i < r->stream_count; i++)
        buffer_unref(r->streams[i].partial);
    free(r->streams);
    *r = (struct chunk_reader){0};
}

/* The chunk stream of this id, made if it is new; NULL when there are too many. */
static struct chunk_stream *find_stream(struct chunk_reader *r, uint32_t id)
{
    for (size_t i = 0; i < r->stream_count; i++)
        if (r->streams[i].id == id)
            return &r->streams[i];
    if (r->stream_count == RTMP_CHUNK_STREAMS_MAX)
        return NULL;
    if ((r->stream_count & (r->stream_count - 1)) == 0) /* grow at 0, 1, 2, 4, … */
        r->streams = mem_resize(r->streams, (r->stream_count ? r->stream_count * 2 : 1) * sizeof *r->streams);
    r->streams[r->stream_count] = (struct chunk_stream){.id = id, .last = {.format = 3}};
    return &r->streams[r->stream_count++];
}

static void forget_partial(struct chunk_reader *r, struct chunk_stream *s)
{
    if (s->partial == NULL)
        return;
    r->partial_bytes -= s->partial->capacity;
    buffer_unref(s->partial);
    s->partial = NULL;
}

/* Makes room for `more` bytes in the partial message, never beyond its declared size. False when the
 * connection's partial messages would take too much memory together. */
static bool grow(struct chunk_reader *r, struct chunk_stream *s, size_t more)
{
    size_t capacity = s->partial->capacity, wanted = s->partial->size + more;

    if (wanted <= capacity)
        return true;
    if (capacity * 2 > wanted)
        wanted = capacity * 2 < s->last.size ? capacity * 2 : s->last.size;
    if (r->partial_bytes - capacity + wanted > RTMP_PARTIAL_BYTES_MAX)
        return false;
    r->partial_bytes += wanted - capacity;
    s->partial = mem_resize(s->partial, sizeof *s->partial + wanted);
    s->partial->capacity = wanted;
    return true;
}

/* §5.3.1.3: a chunk of format 3 repeats the extended timestamp of the chunk before. Some writers leave it out
 * when they continue a message: four bytes that are not the timestamp are payload then. Returns how many
 * bytes it takes, or PARSE_MORE. */
static long repeated_timestamp(const struct chunk_stream *s, struct bytes in, bool continues)
{
    struct cursor c = cursor_of(in);
    uint32_t time;

    if (!s->last.extended)
        return 0;
    time = cursor_be32(&c);
    if (c.short_of)
        return PARSE_MORE;
    return continues && time != s->last.time ? 0 : 4;
}

/* The header of a message's first chunk: fills in what it leaves out. NULL, or why it is refused. */
static const char *begin_message(struct chunk_reader *r, struct chunk_stream *s, const struct chunk_header *h)
{
    struct chunk_header *last = &s->last;

    if (last->format == 3 && h->format != 0 && !(h->format == 1 && h->stream == CONTROL_STREAM))
        return "a chunk stream that begins without a full header";
    if (h->format == 0)
        last->message_stream = h->message_stream;
    if (h->format <= 1) {
        last->size = h->size;
        last->type = h->type;
    }
    if (h->format <= 2) {
        last->time = h->time;
        last->extended = h->extended;
        last->format = h->format;
    }
    /* A header of format 3 repeats the delta, which after a format 0 is its timestamp (§5.3.1.2.4). */
    s->timestamp = h->format == 0 ? h->time : s->timestamp + last->time;
    if (last->size > r->message_bytes_max)
        return "a message longer than is taken here";
    s->partial = buffer_new(last->size <= FIRST_BYTES_MAX ? last->size : FIRST_BYTES_MAX);
    s->first = r->position;
    r->partial_bytes += s->partial->capacity;
    if (r->partial_bytes > RTMP_PARTIAL_BYTES_MAX)
        return "too many messages begun at once";
    return NULL;
}

/* A full header in the middle of a message is what a peer sends that has lost its place, but for a repetition
 * of what stands already: that some writers use instead of format 3. */
static const char *continue_message(const struct chunk_stream *s, const struct chunk_header *h)
{
    if (h->format == 3 || (h->format <= 1 && h->size == s->last.size && h->type == s->last.type))
        return NULL;
    return "a message that begins before the one on its chunk stream is whole";
}

/* Reads a chunk's header and makes its stream the current one. */
static long read_head(struct chunk_reader *r, struct bytes in, const char **why)
{
    struct chunk_header h;
    long taken = chunk_header_parse(&h, in, why), extended = 0;

    if (taken < 0)
        return taken == PARSE_MORE ? 0 : taken;
    struct chunk_stream *s = find_stream(r, h.stream);

    if (s == NULL) {
        *why = "more chunk streams than are taken here";
        return PARSE_BAD;
    }
    if (h.format == 3 &&
        (extended = repeated_timestamp(s, bytes_from(in, (size_t)taken), s->partial != NULL)) == PARSE_MORE)
        return 0;
    *why = s->partial ? continue_message(s, &h) : begin_message(r, s, &h);
    if (*why != NULL)
        return PARSE_BAD;
    r->current = (size_t)(s - r->streams);
    r->chunk_left = s->last.size - s->partial->size;
    if (r->chunk_left > r->chunk_size)
        r->chunk_left = r->chunk_size;
    r->position += (size_t)(taken + extended);
    return taken + extended;
}

/* Hands over the current stream's message when it is whole. */
static void finish_message(struct chunk_reader *r, struct chunk_message *out)
{
    struct chunk_stream *s = &r->streams[r->current];

    if (r->chunk_left > 0 || s->partial->size < s->last.size)
        return;
    *out = (struct chunk_message){.type = s->last.type,
                                  .timestamp = s->timestamp,
                                  .message_stream = s->last.message_stream,
                                  .buffer = s->partial,
                                  .first = s->first};
    r->partial_bytes -= s->partial->capacity;
    s->partial = NULL;
}

/* Takes payload of the current chunk. */
static long read_payload(struct chunk_reader *r, struct bytes in, const char **why)
{
    struct chunk_stream *s = &r->streams[r->current];
    size_t size = in.size < r->chunk_left ? in.size : r->chunk_left;

    if (!grow(r, s, size)) {
        *why = "too many bytes in messages that are not whole";
        return PARSE_BAD;
    }
    if (size > 0)
        memcpy(s->partial->data + s->partial->size, in.at, size);
    s->partial->size += size;
    r->chunk_left -= size;
    r->position += size;
    return (long)size;
}

long chunk_read(struct chunk_reader *r, struct chunk_message *out, struct bytes in, const char **why)
{
    size_t at = 0;

    *out = (struct chunk_message){0};
    *why = NULL;
    while (at < in.size && out->buffer == NULL) {
        if (r->chunk_left == 0) {
            long taken = read_head(r, bytes_from(in, at), why);

            if (taken < 0)
                return taken;
            if (taken == 0)
                break;
            at += (size_t)taken;
        }
        long taken = read_payload(r, bytes_from(in, at), why);

        if (taken < 0)
            return taken;
        at += (size_t)taken;
        finish_message(r, out);
    }
    return (long)at;
}

bool chunk_set_size(struct chunk_reader *r, uint32_t size)
{
    if (size == 0 || size > RTMP_CHUNK_BYTES_MAX)
        return false;
    r->chunk_size = size;
    return true;
}

void chunk_abort(struct chunk_reader *r, uint32_t stream)
{
    assert(r->chunk_left == 0); /* an abort is a message, so no other chunk is open */
    for (size_t i = 0; i < r->stream_count; i++)
        if (r->streams[i].id == stream)
            forget_partial(r, &r->streams[i]);
}

uint64_t chunk_first_partial(const struct chunk_reader *r)
{
    uint64_t first = UINT64_MAX;

    for (size_t i = 0; i < r->stream_count; i++) {
        const struct chunk_stream *s = &r->streams[i];

        if (s->partial != NULL && message_type_is_media(s->last.type) && s->first < first)
            first = s->first;
    }
    return first;
}
