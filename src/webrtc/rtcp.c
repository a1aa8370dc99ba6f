/* webrtc/rtcp.c - reports: ours written, viewers' read. Pure. */
#include "webrtc/webrtc_int.h"

enum { RTCP_SR = 200, RTCP_RR = 201, RTCP_SDES = 202, RTCP_BYE = 203, RTCP_RTPFB = 205, RTCP_PSFB = 206 };
enum { FB_NACK = 1, FB_PLI = 1, FB_FIR = 4 };

static void head(uint8_t *to, unsigned count, unsigned type, size_t size)
{
    to[0] = (uint8_t)(0x80 | count);
    to[1] = (uint8_t)type;
    put_be16(to + 2, (uint16_t)(size / 4 - 1));
}

/* A compound packet has to name its source (RFC 3550 §6.1). */
static size_t name(uint8_t *to, uint32_t ssrc)
{
    head(to, 1, RTCP_SDES, 20);
    put_be32(to + 4, ssrc);
    to[8] = 1; /* CNAME */
    to[9] = 7;
    memcpy(to + 10, "matinee\0\0", 10);
    return 20;
}

size_t rtcp_report_write(uint8_t to[RTCP_REPORT_SIZE], const struct rtcp_report *r)
{
    head(to, 0, RTCP_SR, 28);
    put_be32(to + 4, r->ssrc);
    put_be64(to + 8, r->ntp);
    put_be32(to + 16, r->timestamp);
    put_be32(to + 20, r->packets);
    put_be32(to + 24, r->bytes);
    return 28 + name(to + 28, r->ssrc);
}

size_t rtcp_bye_write(uint8_t to[RTCP_REPORT_SIZE], uint32_t ssrc)
{
    head(to, 0, RTCP_RR, 8);
    put_be32(to + 4, ssrc);
    size_t size = 8 + name(to + 8, ssrc);

    head(to + size, 1, RTCP_BYE, 8);
    put_be32(to + size + 4, ssrc);
    return size + 8;
}

/* --- reading ------------------------------------------------------------------------------------------ */

static void read_blocks(struct rtcp_heard *h, struct cursor *c, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct bytes block = cursor_take(c, 24);

        if (block.size == 0)
            return;
        if (!h->has_loss || block.at[4] > h->loss)
            h->loss = block.at[4];
        h->has_loss = true;
        if (h->block_count == RTCP_BLOCKS_MAX)
            continue;
        struct cursor source = cursor_of(block);

        h->blocks[h->block_count].ssrc = cursor_be32(&source);
        h->blocks[h->block_count++].loss = block.at[4];
    }
}

static void add_lost(struct rtcp_heard *h, uint32_t ssrc, uint16_t number)
{
    if (h->lost_count == RTCP_LOST_MAX) /* the rest is asked for again, if anybody still wants it */
        return;
    h->lost[h->lost_count].ssrc = ssrc;
    h->lost[h->lost_count++].number = number;
}

/* RFC 4585 §6.2.1: a number, and which of the 16 behind it. */
static void read_nacks(struct rtcp_heard *h, struct cursor *c)
{
    (void)cursor_be32(c);
    uint32_t ssrc = cursor_be32(c);

    while (c->left.size >= 4) {
        uint16_t number = cursor_be16(c), others = cursor_be16(c);

        add_lost(h, ssrc, number);
        for (unsigned i = 0; i < 16; i++)
            if (others >> i & 1)
                add_lost(h, ssrc, (uint16_t)(number + 1 + i));
    }
}

static bool read_one(struct rtcp_heard *h, unsigned type, unsigned count, struct cursor *body)
{
    switch (type) {
    case RTCP_SR:
        (void)cursor_take(body, 24);
        read_blocks(h, body, count);
        break;
    case RTCP_RR:
        (void)cursor_take(body, 4);
        read_blocks(h, body, count);
        break;
    case RTCP_BYE:
        h->bye = true;
        break;
    case RTCP_RTPFB:
        if (count == FB_NACK)
            read_nacks(h, body);
        break;
    case RTCP_PSFB:
        if (count == FB_PLI || count == FB_FIR)
            h->keyframe_wanted = true;
        break;
    default: /* SDES, APP, XR: of no use to us */
        break;
    }
    return !body->short_of;
}

enum err rtcp_parse(struct rtcp_heard *out, struct bytes in)
{
    struct cursor c = cursor_of(in);

    memset(out, 0, sizeof *out);
    while (c.left.size > 0) {
        uint8_t first = cursor_u8(&c), type = cursor_u8(&c);
        struct cursor body = cursor_of(cursor_take(&c, (size_t)cursor_be16(&c) * 4));

        if (c.short_of || first >> 6 != 2 || !read_one(out, type, first & 31u, &body))
            return ERR_BAD;
    }
    return ERR_OK;
}
