/* webrtc/send.c - from the ring to a viewer: numbers, encryption, trains.
 *
 * Everybody has the same packets, source and clock; a viewer's own are its payload types, its numbers, and its keys. What is
 * encrypted lies one behind the other in the outbox, and goes to the kernel for many viewers at once. */
#include "webrtc/room_int.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <assert.h>

METRIC(packets_sent, METRIC_COUNTER, "matinee_webrtc_packets_sent_total", "RTP packets sent to viewers");
METRIC(packets_repaired, METRIC_COUNTER, "matinee_webrtc_packets_repaired_total",
       "RTP packets sent again (RTX)");
METRIC(tcp_skips, METRIC_COUNTER, "matinee_webrtc_tcp_skips_total",
       "Times a viewer over TCP did not keep up and was sent on to the next keyframe");

METRIC(lowered, METRIC_COUNTER, "matinee_webrtc_lowered_total",
       "Times a WebRTC viewer was put on the lower rendition");
METRIC(raised, METRIC_COUNTER, "matinee_webrtc_raised_total",
       "Times a WebRTC viewer was put back on the full rendition");

/* Pictures that are encoded anew come so much later than they were filmed, at most, once their encoder has caught up. */
#define MAKING_MS 250

/* --- the outbox ---------------------------------------------------------------------------------------- */

void outbox_flush(struct outbox *o)
{
    if (o->count > 0)
        udp_send(o->udp, o->trains, o->count);
    o->count = o->size = 0;
}

/* Sees to it that one train more fits. */
static uint8_t *outbox_room(struct outbox *o)
{
    if (o->count == OUTBOX_TRAINS || o->size + UDP_TRAIN_BYTES_MAX > OUTBOX_BYTES)
        outbox_flush(o);
    return o->bytes + o->size;
}

static void outbox_add(struct outbox *o, const struct address *to, size_t size, size_t piece)
{
    o->to[o->count] = *to;
    o->trains[o->count] =
        (struct udp_train){.to = &o->to[o->count], .at = o->bytes + o->size, .size = size, .piece = piece};
    o->count++;
    o->size += size;
}

const struct ring *viewer_ring(const struct viewer *v)
{
    return &v->feed->pictures[v->has].ring;
}

/* --- one packet ---------------------------------------------------------------------------------------- */

static uint64_t number_of(const struct numbering *n, uint64_t index)
{
    return index - n->base + n->start;
}

static size_t protect(struct viewer *v, const struct rtp_header *h, uint64_t number, struct bytes prefix,
                      struct bytes payload, uint8_t *to)
{
    uint8_t header[RTP_HEADER_SIZE_MAX];
    struct rtp_header numbered = *h;

    numbered.number = (uint16_t)number;
    size_t size = rtp_header_write(header, &numbered);

    return srtp_seal(&v->srtp, bytes_of(header, size), (uint32_t)(number >> 16), prefix, payload, to);
}

/* Over TCP each packet has its size before it (RFC 4571). */
static void send_framed(struct viewer *v, const uint8_t *at, size_t size)
{
    uint8_t head[2];

    put_be16(head, (uint16_t)size);
    stream_write(v->tcp, bytes_of(head, sizeof head));
    stream_write(v->tcp, bytes_of(at, size));
}

static uint32_t timestamp_of(const struct viewer *v, uint64_t index)
{
    uint32_t own = ring_at(viewer_ring(v), index)->timestamp;

    return index < v->caught_up ? catch_up_timestamp(&v->catch_up, own) : own;
}

static size_t picture_packet(struct viewer *v, uint64_t index, uint8_t *to)
{
    const struct ring_packet *p = ring_at(viewer_ring(v), index);
    const struct rtp_header h = {.marker = p->marker,
                                 .type = (uint8_t)v->video.type,
                                 .timestamp = timestamp_of(v, index),
                                 .ssrc = v->feed->video_ssrc,
                                 .playout_delay = v->playout_delay};

    v->video.packets++;
    v->video.bytes += p->size;
    v->sent_timestamp = p->timestamp;
    v->shown_timestamp = h.timestamp;
    return protect(v, &h, number_of(&v->video, index), bytes_of(NULL, 0),
                   bytes_of(p->bytes->data + p->at, p->size), to);
}

/* --- runs of packets ------------------------------------------------------------------------------------ */

/* Packets from `from` that make one train: of one size, and perhaps a shorter one behind them. */
static size_t train_length(const struct ring *r, uint64_t from, uint64_t to)
{
    size_t size = ring_at(r, from)->size, count = 1;
    size_t most = UDP_TRAIN_BYTES_MAX / (size + RTP_HEADER_SIZE_MAX + SRTP_GROWTH_MAX);

    most = most < UDP_TRAIN_PIECES_MAX ? most : UDP_TRAIN_PIECES_MAX;
    while (from + count < to && count < most && ring_at(r, from + count)->size <= size) {
        count++;
        if (ring_at(r, from + count - 1)->size < size)
            break;
    }
    return count;
}

static void send_run(struct viewer *v, uint64_t from, uint64_t to)
{
    struct outbox *o = &v->room->outbox;

    metric_add(&packets_sent, (long long)(to - from));
    while (from < to) {
        size_t count = train_length(viewer_ring(v), from, to), size = 0, piece = 0;
        uint8_t *at = outbox_room(o);

        for (size_t i = 0; i < count; i++) {
            size_t one = picture_packet(v, from + i, at + size);

            if (v->tcp != NULL) {
                send_framed(v, at, one);
                continue;
            }
            piece = i == 0 ? one : piece;
            size += one;
        }
        if (v->tcp == NULL)
            outbox_add(o, &v->peer, size, piece);
        from += count;
    }
}

/* A viewer that is to change is held where the other rendition's next keyframe will stand, if that is known and it is not past: what is
 * sent before it goes on to it without a picture twice. The encoder of the lower one says where by its habit. */
static uint64_t hold(struct viewer *v, uint64_t to, int64_t now_ms)
{
    const struct ring *r = viewer_ring(v), *other = &v->feed->pictures[v->wants].ring;
    uint64_t at = v->cursor;
    uint32_t key;

    if (v->wants != QUALITY_LOW || v->has == v->wants || other->key == RING_NONE || v->video.packets == 0)
        return to;
    key = ring_at(other, other->key)->timestamp + LIVE_PICTURE_KEY_TICKS;
    if (rtp_later_by(key, v->sent_timestamp) <= 0)
        return to;
    while (at < to && rtp_later_by(ring_at(r, at)->timestamp, key) < 0)
        at++;
    if (at == to)
        return to;
    if (!v->held || v->held_at != key)
        v->held_ms = now_ms;
    v->held = true;
    v->held_at = key;
    return now_ms - v->held_ms > WEBRTC_HOLD_MS_MAX ? to : at;
}

/* Where the viewer may get to now. */
static uint64_t limit_of(struct viewer *v, int64_t now_ms)
{
    const struct ring *r = viewer_ring(v);
    uint64_t to = r->next;

    if (v->caught_up == RING_NONE) {
        int64_t due = catch_up_due_ms(&v->catch_up, now_ms);

        to = v->cursor;
        while (to < r->next && ring_at(r, to)->dts_ms <= due)
            to++;
    }
    to = hold(v, to, now_ms);
    return to - v->cursor > WEBRTC_TURN_PACKETS_MAX ? v->cursor + WEBRTC_TURN_PACKETS_MAX : to;
}

/* What is new now: the newest picture of the ring, unless that is being made still of much older ones; never what was sent before. */
static uint32_t new_timestamp(const struct viewer *v)
{
    const struct ring *r = viewer_ring(v);
    uint32_t at = ring_at(r, r->next - 1)->timestamp;
    uint32_t made = v->feed->filmed - MAKING_MS * 90, sent = v->shown_timestamp + 1;

    at = rtp_later_by(made, at) > 0 ? made : at;
    return v->video.packets > 0 && rtp_later_by(sent, at) > 0 ? sent : at;
}

/* The numbers go on without a gap where packets are passed over: a gap would be asked for. */
static void jump(struct viewer *v, uint64_t to, int64_t now_ms)
{
    const struct ring *r = viewer_ring(v);

    assert(r->first <= to && to < r->next);
    v->video.base += to - v->cursor;
    v->cursor = v->video.from = to;
    v->caught_up = RING_NONE;
    v->catch_up = (struct catch_up){.ms = now_ms,
                                    .dts_ms = ring_at(r, to)->dts_ms,
                                    .first = ring_at(r, to)->timestamp,
                                    .shown = new_timestamp(v)};
}

/* Puts a viewer who waits, or who was left behind, to the newest keyframe. False: there is none. */
static bool find_key(struct viewer *v, int64_t now_ms)
{
    const struct ring *r = viewer_ring(v);

    if (v->cursor != RING_NONE && v->cursor >= r->first)
        return true;
    if (r->key == RING_NONE)
        return false;
    if (v->video.packets == 0)
        v->video.base = r->key;
    if (v->cursor == RING_NONE) /* the next number is known by how many went before */
        v->cursor = v->video.base + v->video.packets;
    jump(v, r->key, now_ms);
    return true;
}

/* Goes over to the rendition that it wants, where a keyframe of it is later than all that was sent. */
static void cross(struct viewer *v, int64_t now_ms)
{
    const struct ring *other = &v->feed->pictures[v->wants].ring;

    if (v->has == v->wants || other->key == RING_NONE ||
        (v->video.packets > 0 && rtp_later_by(ring_at(other, other->key)->timestamp, v->sent_timestamp) <= 0))
        return;
    if (v->video.packets == 0) /* find_key() begins with it */
        v->cursor = RING_NONE;
    else if (v->cursor == RING_NONE)
        v->cursor = v->video.base + v->video.packets;
    v->has = v->wants;
    v->held = false;
    if (v->cursor != RING_NONE)
        jump(v, other->key, now_ms);
    if (v->has == QUALITY_LOW)
        metric_add(&lowered, 1);
    else
        metric_add(&raised, 1);
}

/* A viewer over TCP who does not keep up is sent on to the next keyframe: old pictures are no use to anybody. */
static bool tcp_keeps_up(struct viewer *v, int64_t now_ms)
{
    if (v->tcp == NULL || stream_queued(v->tcp) < WEBRTC_TCP_QUEUE_BYTES_MAX)
        return true;
    if (v->cursor != RING_NONE) {
        metric_add(&tcp_skips, 1);
        v->cursor = RING_NONE;
        if (line_choked(&v->line, now_ms))
            feed_wish(v->feed, v, QUALITY_LOW);
    }
    return false;
}

bool viewer_send_pictures(struct viewer *v, int64_t now_ms)
{
    uint64_t to;

    if (v->state != VIEWER_PLAYS || v->video.type < 0 || !tcp_keeps_up(v, now_ms))
        return false;
    cross(v, now_ms);
    if (!find_key(v, now_ms))
        return false;
    to = limit_of(v, now_ms);
    send_run(v, v->cursor, to);
    v->cursor = to;
    if (to == viewer_ring(v)->next && v->caught_up == RING_NONE && v->shown_timestamp == v->sent_timestamp)
        v->caught_up = to;
    return to < viewer_ring(v)->next;
}

void viewer_send_sound(struct viewer *v, uint64_t index, uint32_t timestamp, struct bytes payload)
{
    struct outbox *o = &v->room->outbox;
    const struct rtp_header h = {.marker = v->sound.packets == 0,
                                 .type = (uint8_t)v->sound.type,
                                 .timestamp = timestamp,
                                 .ssrc = v->feed->sound_ssrc};
    uint8_t *at;
    size_t size;

    if (v->state != VIEWER_PLAYS || v->sound.type < 0 || payload.size > RTP_PAYLOAD_BYTES_MAX)
        return;
    if (v->sound.packets == 0)
        v->sound.base = index;
    at = outbox_room(o);
    size = protect(v, &h, number_of(&v->sound, index), bytes_of(NULL, 0), payload, at);
    v->sound.packets++;
    v->sound.bytes += (uint32_t)payload.size;
    metric_add(&packets_sent, 1);
    if (v->tcp == NULL)
        outbox_add(o, &v->peer, size, size);
    else if (stream_queued(v->tcp) < WEBRTC_TCP_QUEUE_BYTES_MAX)
        send_framed(v, at, size);
}

/* --- repairs (RFC 4588) ----------------------------------------------------------------------------------- */

uint64_t viewer_index_of(const struct viewer *v, uint16_t number)
{
    uint64_t top, behind, index;

    if (v->cursor == RING_NONE || v->video.packets == 0)
        return RING_NONE;
    top = number_of(&v->video, v->cursor - 1);
    behind = (uint16_t)(top - number);
    index = v->cursor - 1 - behind;
    return behind < v->cursor && index >= v->video.from && index >= viewer_ring(v)->first ? index : RING_NONE;
}

static bool may_repair(struct viewer *v, int64_t now_ms)
{
    if (now_ms - v->repaired_ms >= 1000) {
        v->repaired_ms = now_ms;
        v->repairs = 0;
    }
    return v->repairs++ < WEBRTC_REPAIRS_A_SECOND_MAX;
}

void viewer_repair(struct viewer *v, uint64_t index, int64_t now_ms)
{
    const struct ring_packet *p = ring_at(viewer_ring(v), index);
    const struct rtp_header h = {.marker = p->marker,
                                 .type = (uint8_t)v->rtx_type,
                                 .timestamp = timestamp_of(v, index),
                                 .ssrc = v->feed->rtx_ssrc,
                                 .playout_delay = v->playout_delay};
    struct outbox *o = &v->room->outbox;
    uint8_t original[2], *at;
    size_t size;

    if (v->rtx_type < 0 || v->tcp != NULL || !may_repair(v, now_ms))
        return;
    at = outbox_room(o);
    put_be16(original, (uint16_t)number_of(&v->video, index));
    size =
        protect(v, &h, v->rtx_next++, bytes_of(original, 2), bytes_of(p->bytes->data + p->at, p->size), at);
    outbox_add(o, &v->peer, size, size);
    metric_add(&packets_repaired, 1);
}
