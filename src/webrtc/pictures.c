/* webrtc/pictures.c - one rendition's pictures as packets, cut once for all who watch it.
 *
 * It knows no viewers and no sockets: what is put into its ring is sent by send.c. */
#include "webrtc/room_int.h"

#include "base/clock.h"
#include "base/metrics.h"

/* Pieces of one picture: a keyframe of 8 MB. */
#define PIECES_MAX 8192

METRIC(left_out, METRIC_COUNTER, "matinee_webrtc_pictures_left_out_total",
       "B-frames not sent to WebRTC viewers");

void pictures_begin(struct pictures *p)
{
    *p = (struct pictures){.shown_90k = INT64_MIN};
    p->ring.key = RING_NONE;
}

void pictures_drop(struct pictures *p)
{
    ring_drop(&p->ring);
    buffer_unref(p->made_record);
    p->made_record = NULL;
}

void pictures_break(struct pictures *p)
{
    p->ring.key = RING_NONE;
    p->shown_90k = INT64_MIN;
}

bool pictures_record(struct pictures *p, struct bytes record, uint32_t width, uint32_t height)
{
    p->awaits_key = true;
    p->width = width;
    p->height = height;
    return h264_sets_parse(&p->sets, record) == ERR_OK;
}

/* The companion has read foreign bytes: a record of it that is none ends its pictures until there is another. */
void pictures_made_record(struct pictures *p, struct bytes record)
{
    struct codec_config config;
    struct buffer *copy = buffer_copy(record);
    const char *why;

    buffer_unref(p->made_record);
    p->made_record = NULL;
    if (codec_config_parse(&config, CODEC_H264, record, &why) != ERR_OK ||
        h264_sets_parse(&p->sets, buffer_bytes(copy)) != ERR_OK) {
        p->awaits_key = true;
        buffer_unref(copy);
        return;
    }
    p->made_record = copy;
    p->width = config.width;
    p->height = config.height;
}

bool pictures_in_order(struct pictures *p, const struct sample *s)
{
    if (!s->keyframe && s->pts <= p->shown_90k) {
        metric_add(&left_out, 1);
        return false;
    }
    p->shown_90k = s->pts;
    return true;
}

static void add_packets(struct pictures *p, const struct sample *s, uint32_t shift, struct buffer *bytes,
                        const struct rtp_piece *pieces, size_t count)
{
    int64_t now = clock_mono_ms();

    if (s->keyframe)
        p->ring.key = p->ring.next;
    for (size_t i = 0; i < count; i++)
        ring_add(&p->ring, &(struct ring_packet){.bytes = bytes,
                                                 .at = pieces[i].at,
                                                 .size = pieces[i].size,
                                                 .marker = i + 1 == count,
                                                 .timestamp = (uint32_t)s->pts + shift,
                                                 .dts_ms = s->dts / 90,
                                                 .added_ms = now});
    ring_trim(&p->ring, now);
}

void pictures_add(struct pictures *p, const struct sample *s, uint32_t shift)
{
    static _Thread_local struct rtp_piece pieces[PIECES_MAX];
    struct builder bytes = {0};
    struct buffer *cut;
    long count = rtp_cut(&p->sets, s->payload, s->keyframe, &bytes, pieces, PIECES_MAX);

    cut = builder_finish(&bytes);
    if (count < 0)
        p->awaits_key = true; /* damaged, or larger than anybody's picture: what follows cannot be decoded */
    else
        add_packets(p, s, shift, cut, pieces, (size_t)count);
    p->bytes += s->payload.size;
    buffer_unref(cut);
}

/* A quarter of it is the last second's, so that a keyframe more or less makes little difference. */
void pictures_second(struct pictures *p)
{
    uint64_t bits = p->bytes * 8;

    bits = bits < UINT32_MAX ? bits : UINT32_MAX;
    p->bits_second = p->bits_second ? p->bits_second / 4 * 3 + (uint32_t)bits / 4 : (uint32_t)bits;
    p->bytes = 0;
}
