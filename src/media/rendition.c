/* media/rendition.c - one rendition of a chunk: encodes its pictures, gives them their times, writes the
 * chunk. */
#include "media/av_int.h"

#include "base/mem.h"

#include <stdlib.h>

/* One encoded picture, within `bytes`. */
struct coded {
    size_t at, size;
    int64_t pts;
    bool keyframe;
};

struct rendition {
    const struct rung *rung;
    const struct timing *timing;
    AVCodecContext *encoder; /* NULL before the first picture */
    AVFrame *frame;
    AVPacket *packet;
    struct builder bytes;
    struct coded *coded; /* in decoding order */
    int64_t *pts;        /* the same, rising: as pictures were added */
    size_t coded_count, picture_count;
};

enum err rendition_new(struct rendition **out, const struct rung *rung, const struct timing *timing)
{
    struct rendition *r = mem_new(sizeof *r);

    *out = NULL;
    r->rung = rung;
    r->timing = timing;
    r->coded = mem_new(timing->count * sizeof *r->coded);
    r->pts = mem_new(timing->count * sizeof *r->pts);
    r->frame = av_frame_alloc();
    r->packet = av_packet_alloc();
    if (r->frame == NULL || r->packet == NULL) {
        rendition_free(r);
        return ERR_LIMIT;
    }
    *out = r;
    return ERR_OK;
}

void rendition_free(struct rendition *r)
{
    if (r == NULL)
        return;
    avcodec_free_context(&r->encoder);
    av_frame_free(&r->frame);
    av_packet_free(&r->packet);
    builder_drop(&r->bytes);
    free(r->coded);
    free(r->pts);
    free(r);
}

/* --- encoding ------------------------------------------------------------------------------------------- */

static void keep(struct rendition *r)
{
    struct bytes data = bytes_of(r->packet->data, (size_t)r->packet->size);
    struct coded *c = &r->coded[r->coded_count++];

    c->at = builder_bytes(&r->bytes).size;
    if (r->rung->codec == CODEC_AV1)
        builder_add(&r->bytes, data);
    else
        annexb_to_lengths(&r->bytes, data);
    c->size = builder_bytes(&r->bytes).size - c->at;
    c->pts = r->packet->pts;
    c->keyframe = r->packet->flags & AV_PKT_FLAG_KEY;
}

/* Takes what the encoder has ready. */
static enum err collect(struct rendition *r)
{
    int code;

    while ((code = avcodec_receive_packet(r->encoder, r->packet)) == 0) {
        if (r->coded_count == r->picture_count)
            return ERR_IO; /* more than went in */
        keep(r);
        av_packet_unref(r->packet);
    }
    return code == AVERROR(EAGAIN) || code == AVERROR_EOF ? ERR_OK : ERR_IO;
}

enum err rendition_add(struct rendition *r, const AVFrame *picture)
{
    int code;

    if (r->encoder == NULL && (r->encoder = encoder_open(r->rung, picture, timing_rate(r->timing))) == NULL)
        return ERR_IO;
    if (r->picture_count == r->timing->count || av_frame_ref(r->frame, picture) < 0)
        return ERR_LIMIT;
    r->frame->pict_type = AV_PICTURE_TYPE_NONE; /* which kind it is to be is the encoder's to say */
    code = avcodec_send_frame(r->encoder, r->frame);
    av_frame_unref(r->frame);
    if (code < 0)
        return ERR_IO;
    r->pts[r->picture_count++] = picture->pts;
    return collect(r);
}

/* --- times ---------------------------------------------------------------------------------------------- */

/* By how many pictures decoding runs ahead of showing; the same in every chunk of a rendition. AV1 hides
 * the pictures that are decoded early in the sample of one that is shown. */
static size_t depth_of(const struct rung *rung)
{
    return rung->codec != CODEC_AV1 && rung->bframes > 0 ? 1 : 0;
}

/* When the source decodes the picture that is the `i`th to be shown of those that are kept. */
static int64_t source_dts(const struct rendition *r, size_t i)
{
    return r->timing->dts[timing_find(r->timing, r->pts[i])];
}

/* When the picture at `i` in decoding order is decoded: as the source does it, so that a chunk takes its place in
 * decoding time too, but not after it has to be shown. The first one has the source's time in any case: players
 * lay renditions over each other by it. Where the source decodes nothing ahead, the second one has half of the
 * first one's time. */
static int64_t dts_of(const struct rendition *r, size_t i, int64_t before)
{
    size_t depth = depth_of(r->rung);
    int64_t shown, dts;

    if (i == 0)
        return r->timing->dts[0];
    shown = r->pts[i < depth ? 0 : i - depth];
    dts = source_dts(r, i);
    if (dts > shown)
        dts = shown;
    if (dts > before)
        return dts;
    return before + (r->pts[i] - before > 3 ? (r->pts[i] - before) / 2 : 1);
}

/* The picture that is shown last must not last into the next chunk, be it by a tick: a player that goes on with another
 * rendition there would drop it, and what depends on it, and show a hole instead. What is decoded after it comes earlier then; where
 * nothing is, it comes later itself, so that the chunk lasts in decoding time, too, as long as it is said to. */
static void end_in_time(const struct rendition *r, struct sample *samples)
{
    int64_t most, excess;
    size_t last = 0;

    for (size_t i = 1; i < r->coded_count; i++)
        if (samples[i].pts > samples[last].pts)
            last = i;
    most = r->timing->pts[0] + r->timing->ticks - samples[last].pts;
    excess = samples[last].duration - (most > 1 ? most : 1);
    if (excess <= 0)
        return;
    samples[last].duration -= excess;
    if (last + 1 < r->coded_count) {
        samples[last + 1].dts -= excess;
        samples[last + 1].duration += excess;
    } else if (last > 0) {
        samples[last].dts += excess;
        samples[last - 1].duration += excess;
    }
}

static enum err set_times(const struct rendition *r, struct sample *samples)
{
    const struct timing *t = r->timing;
    int64_t before = t->dts[0];

    for (size_t i = 0; i < r->coded_count; i++) {
        samples[i].pts = r->coded[i].pts;
        samples[i].dts = before = dts_of(r, i, before);
        if (samples[i].pts < samples[i].dts)
            return ERR_IO; /* an order that was not asked for */
        if (i > 0)
            samples[i - 1].duration = samples[i].dts - samples[i - 1].dts;
    }
    samples[r->coded_count - 1].duration = t->dts[0] + t->ticks > before ? t->dts[0] + t->ticks - before : 1;
    end_in_time(r, samples);
    return ERR_OK;
}

/* --- writing -------------------------------------------------------------------------------------------- */

static enum err write_samples(struct rendition *r, struct cmaf *cmaf, struct sample *samples)
{
    enum err e = set_times(r, samples);

    for (size_t i = 0; i < r->coded_count && e == ERR_OK; i++) {
        samples[i].payload =
            bytes_head(bytes_from(builder_bytes(&r->bytes), r->coded[i].at), r->coded[i].size);
        samples[i].keyframe = r->coded[i].keyframe;
        e = cmaf_add(cmaf, &samples[i]);
    }
    if (e == ERR_OK)
        cmaf_end_chunk(cmaf);
    return e;
}

static enum err write_chunk(struct rendition *r, struct transcoded *out)
{
    struct sample *samples = mem_new(r->coded_count * sizeof *samples);
    struct builder record = {0};
    struct codec_config config;
    struct cmaf *cmaf = NULL;
    const char *why;
    enum err e;

    if ((e = record_of(r->encoder, r->rung->codec, &record)) != ERR_OK ||
        (e = codec_config_parse(&config, r->rung->codec, builder_bytes(&record), &why)) != ERR_OK ||
        (e = cmaf_new(&cmaf, &config, builder_bytes(&record), builder_bytes(&r->bytes).size)) != ERR_OK ||
        (e = write_samples(r, cmaf, samples)) != ERR_OK)
        goto out;
    out->record = builder_finish(&record);
    out->chunk = cmaf_end_segment(cmaf);
out:
    cmaf_free(cmaf);
    builder_drop(&record);
    free(samples);
    return e;
}

enum err rendition_finish(struct rendition *r, struct transcoded *out)
{
    enum err e;

    if (r->encoder == NULL || avcodec_send_frame(r->encoder, NULL) < 0)
        return ERR_IO;
    if ((e = collect(r)) != ERR_OK)
        return e;
    if (r->coded_count != r->picture_count || !r->coded[0].keyframe)
        return ERR_IO;
    return write_chunk(r, out);
}
