/* webrtc/rtp.c - pictures as RTP payloads, and the header before each. Pure: it knows no viewers and no clocks. */
#include "webrtc/webrtc_int.h"

enum { NAL_SPS = 7, NAL_PPS = 8, NAL_DELIMITER = 9, NAL_FILLER = 12, NAL_STAP_A = 24, NAL_FU_A = 28 };

#define NAL_TYPE 0x1F
#define NAL_REF  0x60

int32_t rtp_later_by(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

size_t rtp_header_write(uint8_t to[RTP_HEADER_SIZE_MAX], const struct rtp_header *h)
{
    to[0] = (uint8_t)(0x80 | (h->padded ? 0x20 : 0) | (h->playout_delay ? 0x10 : 0));
    to[1] = (uint8_t)((h->marker ? 0x80 : 0) | h->type);
    put_be16(to + 2, h->number);
    put_be32(to + 4, h->timestamp);
    put_be32(to + 8, h->ssrc);
    if (h->playout_delay == 0)
        return RTP_HEADER_SIZE;
    /* RFC 8285 §4.2; from 0 ms on, and to 600 at most where the network wants it (units of 10 ms, 12 bits each). At 500 and less
     * Chromium shows pictures as they come, and no longer with their sound. */
    put_be32(to + 12, 0xBEDE0001);
    put_be32(to + 16, (uint32_t)(h->playout_delay << 4 | 2) << 24 | 60);
    return RTP_HEADER_SIZE_MAX;
}

/* --- H.264 (RFC 6184) --------------------------------------------------------------------------------- */

enum err h264_sets_parse(struct h264_sets *out, struct bytes record)
{
    struct cursor c = cursor_of(record);

    *out = (struct h264_sets){.record = record};
    (void)cursor_take(&c, 4);
    out->length_size = (cursor_u8(&c) & 3u) + 1;
    return c.short_of || out->length_size == 3 ? ERR_BAD : ERR_OK;
}

/* Takes the next NAL unit off `unit`. False at the end, or with *bad where it is malformed. */
static bool next_nal(const struct h264_sets *sets, struct cursor *unit, struct bytes *nal, bool *bad)
{
    size_t size;

    while (unit->left.size > 0) {
        size = sets->length_size == 1   ? cursor_u8(unit)
               : sets->length_size == 2 ? cursor_be16(unit)
                                        : cursor_be32(unit);
        *nal = cursor_take(unit, size);
        if (unit->short_of) {
            *bad = true;
            return false;
        }
        if (size > 0)
            return true;
    }
    return false;
}

struct cutting {
    struct builder *bytes;
    struct rtp_piece *pieces;
    size_t count, room;
};

static bool begin_piece(struct cutting *c, size_t size)
{
    if (c->count == c->room)
        return false;
    c->pieces[c->count++] = (struct rtp_piece){(uint32_t)builder_bytes(c->bytes).size, (uint16_t)size};
    return true;
}

/* Equal pieces: the kernel cuts a train of them by itself (UDP_SEGMENT), and only its last may be shorter. */
static bool cut_nal(struct cutting *c, struct bytes nal)
{
    size_t rest = nal.size - 1, most = RTP_PAYLOAD_BYTES_MAX - 2;
    size_t count = (rest + most - 1) / most, piece = count ? (rest + count - 1) / count : 0;

    if (nal.size <= RTP_PAYLOAD_BYTES_MAX) {
        if (!begin_piece(c, nal.size))
            return false;
        builder_add(c->bytes, nal);
        return true;
    }
    for (size_t at = 0; at < rest; at += piece) {
        size_t size = rest - at < piece ? rest - at : piece;
        uint8_t *to;

        if (!begin_piece(c, size + 2))
            return false;
        to = builder_room(c->bytes, size + 2);
        to[0] = (uint8_t)((nal.at[0] & ~NAL_TYPE) | NAL_FU_A);
        to[1] = (uint8_t)((at == 0 ? 0x80 : 0) | (at + size == rest ? 0x40 : 0) | (nal.at[0] & NAL_TYPE));
        memcpy(to + 2, nal.at + 1 + at, size);
    }
    return true;
}

/* Gathers the record's sets (behind its head: a count and sets for SPS, and again for PPS). */
static void gather_sets(struct bytes record, struct builder *out)
{
    struct cursor c = cursor_of(bytes_from(record, 5));

    for (int kind = 0; kind < 2; kind++) {
        unsigned count = cursor_u8(&c) & (kind == 0 ? 31u : 255u);

        for (unsigned i = 0; i < count && !c.short_of; i++) {
            struct bytes set = cursor_take(&c, cursor_be16(&c));

            if (c.short_of || set.size == 0)
                continue;
            builder_be16(out, (uint16_t)set.size);
            builder_add(out, set);
        }
    }
}

/* The record's sets in one STAP-A (§5.7.1), or one by one where they do not fit into a packet. */
static bool cut_sets(struct cutting *c, struct bytes record)
{
    struct builder sets = {0};
    struct bytes all;
    bool good = true;

    gather_sets(record, &sets);
    all = builder_bytes(&sets);
    if (all.size > 0 && all.size + 1 <= RTP_PAYLOAD_BYTES_MAX) {
        if ((good = begin_piece(c, all.size + 1))) {
            builder_u8(c->bytes, NAL_REF | NAL_STAP_A);
            builder_add(c->bytes, all);
        }
    } else {
        for (struct cursor left = cursor_of(all); left.left.size > 0 && good;)
            good = cut_nal(c, cursor_take(&left, cursor_be16(&left)));
    }
    builder_drop(&sets);
    return good;
}

long rtp_cut(const struct h264_sets *sets, struct bytes unit, bool keyframe, struct builder *bytes,
             struct rtp_piece *pieces, size_t room)
{
    struct cutting c = {.bytes = bytes, .pieces = pieces, .room = room};
    struct cursor left = cursor_of(unit);
    struct bytes nal;
    bool bad = false;

    if (keyframe && !cut_sets(&c, sets->record))
        return PARSE_BAD;
    while (next_nal(sets, &left, &nal, &bad)) {
        int type = nal.at[0] & NAL_TYPE;

        /* The record's sets are before every keyframe already; delimiters and filler are for byte streams. */
        if (type == NAL_DELIMITER || type == NAL_FILLER ||
            (keyframe && (type == NAL_SPS || type == NAL_PPS)) || type == 0 || type >= NAL_STAP_A)
            continue;
        if (!cut_nal(&c, nal))
            return PARSE_BAD;
    }
    return bad ? PARSE_BAD : (long)c.count;
}

bool h264_is_reference(const struct h264_sets *sets, struct bytes unit)
{
    struct cursor left = cursor_of(unit);
    struct bytes nal;
    bool bad = false;

    while (next_nal(sets, &left, &nal, &bad)) {
        int type = nal.at[0] & NAL_TYPE;

        if (type >= 1 && type <= 5)
            return (nal.at[0] & NAL_REF) != 0;
    }
    return true;
}
