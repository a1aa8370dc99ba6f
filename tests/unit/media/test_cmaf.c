/* CMAF: its boxes are whole, whatever their size, the same samples give the same bytes, and chunks are those that
 * libavformat would write. */
#include "unit.h"

#include "base/limits.h"
#include "media/media.h"

#include <libavformat/avformat.h>
#include <libavutil/mem.h>
#include <stdlib.h>

/* Every box ends where the next begins; the count of those called `name`, or -1 where they do not. */
static int boxes(struct bytes in, const char *name)
{
    int count = 0;

    while (in.size > 0) {
        struct cursor c = cursor_of(in);
        uint32_t size = cursor_be32(&c);
        struct bytes kind = cursor_take(&c, 4);

        if (c.short_of || size < 8 || size > in.size)
            return -1;
        count += bytes_is(kind, name);
        in = bytes_from(in, size);
    }
    return count;
}

/* An avcC of version 1 that is `size` bytes long: the muxer stores it as it is. */
static struct buffer *record_of(size_t size)
{
    struct buffer *b = buffer_new(size);

    memset(b->data, 0x42, size);
    b->data[0] = 1;
    b->size = size;
    return b;
}

static struct buffer *segment_of(size_t samples, size_t record_bytes)
{
    const struct codec_config config = {.codec = CODEC_H264, .width = 640, .height = 360};
    struct buffer *record = record_of(record_bytes), *message = buffer_copy(bytes_text("0123456789abcdef")),
                  *segment;
    struct cmaf *c;

    assert_int_equal(cmaf_new(&c, &config, buffer_bytes(record), 0), ERR_OK);
    for (size_t i = 0; i < samples; i++) {
        struct sample s = {.buffer = message,
                           .payload = buffer_bytes(message),
                           .dts = (int64_t)i * 1500,
                           .pts = (int64_t)i * 1500 + (int64_t)(i % 3) * 1500,
                           .duration = 1500,
                           .keyframe = i == 0};

        assert_int_equal(cmaf_add(c, &s), ERR_OK);
    }
    cmaf_end_chunk(c);
    segment = cmaf_end_segment(c);
    cmaf_free(c);
    buffer_unref(message);
    buffer_unref(record);
    return segment;
}

static void boxes_of_any_size_are_whole(void **state)
{
    static const size_t counts[] = {1, 2, 600, 2500, CMAF_CHUNK_SAMPLES_MAX};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct buffer *s = segment_of(counts[i], 40);

        assert_int_equal(boxes(buffer_bytes(s), "moof"), 1);
        assert_int_equal(boxes(buffer_bytes(s), "mdat"), 1);
        assert_true(s->size > counts[i] * 16);
        buffer_unref(s);
    }
}

static void the_largest_configuration_fits_into_the_init_segment(void **state)
{
    const struct codec_config config = {.codec = CODEC_H264, .width = 640, .height = 360};
    struct buffer *record = record_of(CODEC_CONFIG_BYTES_MAX), *init;
    struct cmaf *c;

    assert_int_equal(cmaf_new(&c, &config, buffer_bytes(record), 0), ERR_OK);
    assert_int_equal(cmaf_init(c, &init), ERR_OK);
    assert_int_equal(boxes(buffer_bytes(init), "moov"), 1);
    assert_true(init->size > CODEC_CONFIG_BYTES_MAX);
    buffer_unref(init);
    cmaf_free(c);
    buffer_unref(record);
}

static void the_same_samples_give_the_same_bytes(void **state)
{
    struct buffer *a = segment_of(500, 40), *b = segment_of(500, 40);

    assert_true(bytes_equal(buffer_bytes(a), buffer_bytes(b)));
    buffer_unref(a);
    buffer_unref(b);
}

/* --- beside libavformat ------------------------------------------------------------------------------- */

#define CHUNKS        3
#define CHUNK_SAMPLES 7

struct kind_of_track {
    struct codec_config config;
    enum AVCodecID id;
    uint8_t record[40];
    size_t record_bytes, sizes; /* how many sizes of samples there are */
    bool reorders, keyframes_only;
};

static struct sample sample_at(const struct kind_of_track *k, struct buffer *message, int i)
{
    int64_t dts = 7777 + (int64_t)i * 1024 + (i > 10 ? 5 : 0); /* one lasts longer than the others */

    return (struct sample){.buffer = message,
                           .payload = bytes_of(message->data, 16 - (size_t)i % k->sizes),
                           .dts = dts,
                           .pts = dts + (k->reorders && i % 3 != 0 ? 2048 : 0),
                           .duration = 1024,
                           .keyframe = k->keyframes_only || i % CHUNK_SAMPLES == 0};
}

/* The chunks as libavformat makes them, behind its header; av_free() them. */
static int by_libavformat(const struct kind_of_track *k, struct buffer *message, uint8_t **out)
{
    AVFormatContext *muxer = NULL;
    AVDictionary *options = NULL;
    uint8_t *header;

    assert_true(avformat_alloc_output_context2(&muxer, NULL, "mp4", NULL) >= 0);
    AVCodecParameters *p = avformat_new_stream(muxer, NULL)->codecpar;

    p->codec_id = k->id;
    p->codec_type = k->config.rate ? AVMEDIA_TYPE_AUDIO : AVMEDIA_TYPE_VIDEO;
    p->extradata = av_mallocz(sizeof k->record + AV_INPUT_BUFFER_PADDING_SIZE);
    memcpy(p->extradata, k->record, k->record_bytes);
    p->extradata_size = (int)k->record_bytes;
    p->width = 640;
    p->height = 360;
    p->sample_rate = (int)k->config.rate;
    p->frame_size = (int)k->config.frame_samples;
    av_channel_layout_default(&p->ch_layout, 2);
    muxer->streams[0]->time_base =
        (AVRational){1, k->config.rate ? (int)k->config.rate : CMAF_VIDEO_TIMESCALE};
    av_dict_set(&options, "movflags", "+frag_custom+empty_moov+default_base_moof+frag_discont+skip_trailer",
                0);
    av_dict_set(&options, "use_editlist", "0", 0);
    av_dict_set_int(&options, "video_track_timescale", CMAF_VIDEO_TIMESCALE, 0);
    muxer->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
    assert_int_equal(avio_open_dyn_buf(&muxer->pb), 0);
    assert_true(avformat_write_header(muxer, &options) >= 0);
    av_dict_free(&options);
    assert_true(avio_close_dyn_buf(muxer->pb, &header) > 0);
    av_free(header);
    assert_int_equal(avio_open_dyn_buf(&muxer->pb), 0);
    for (int i = 0; i < CHUNKS * CHUNK_SAMPLES; i++) {
        struct sample s = sample_at(k, message, i);
        AVPacket packet = {.data = (uint8_t *)(uintptr_t)s.payload.at, .size = (int)s.payload.size};

        packet.dts = s.dts;
        packet.pts = s.pts;
        packet.duration = s.duration;
        packet.flags = s.keyframe ? AV_PKT_FLAG_KEY : 0;
        assert_true(av_write_frame(muxer, &packet) >= 0);
        if ((i + 1) % CHUNK_SAMPLES == 0)
            assert_true(av_write_frame(muxer, NULL) >= 0);
    }
    int size = avio_close_dyn_buf(muxer->pb, out);

    avformat_free_context(muxer);
    return size;
}

static void chunks_are_those_that_libavformat_writes(void **state)
{
    static const struct kind_of_track kinds[] = {
        {{.codec = CODEC_H264, .width = 640, .height = 360},
         AV_CODEC_ID_H264,
         {1, 0x42, 0xc0, 0x1e},
         40,
         5,
         true,
         false},
        {{.codec = CODEC_H264, .width = 640, .height = 360},
         AV_CODEC_ID_H264,
         {1, 0x42, 0xc0, 0x1e},
         40,
         1,
         false,
         false},
        {{.codec = CODEC_H264, .width = 640, .height = 360},
         AV_CODEC_ID_H264,
         {1, 0x42, 0xc0, 0x1e},
         40,
         5,
         false,
         true},
        {{.codec = CODEC_AAC, .rate = 48000, .channels = 2, .frame_samples = 1024},
         AV_CODEC_ID_AAC,
         {0x11, 0x90},
         2,
         4,
         false,
         false},
        {{.codec = CODEC_AAC, .rate = 48000, .channels = 2, .frame_samples = 1024},
         AV_CODEC_ID_AAC,
         {0x11, 0x90},
         2,
         1,
         false,
         true},
    };
    struct buffer *message = buffer_copy(bytes_text("0123456789abcdef"));

    for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++) {
        const struct kind_of_track *k = &kinds[n];
        uint8_t *expected;
        int size = by_libavformat(k, message, &expected);
        struct cmaf *c;

        assert_int_equal(cmaf_new(&c, &k->config, bytes_of(k->record, k->record_bytes), 0), ERR_OK);
        for (int i = 0; i < CHUNKS * CHUNK_SAMPLES; i++) {
            struct sample s = sample_at(k, message, i);

            assert_int_equal(cmaf_add(c, &s), ERR_OK);
            if ((i + 1) % CHUNK_SAMPLES == 0)
                cmaf_end_chunk(c);
        }
        struct buffer *segment = cmaf_end_segment(c);

        assert_true(bytes_equal(buffer_bytes(segment), bytes_of(expected, (size_t)size)));
        buffer_unref(segment);
        cmaf_free(c);
        av_free(expected);
    }
    buffer_unref(message);
}

/* RTMP senders may leave them in; files must not have them (AV1-ISOBMFF §2.4). */
static void temporal_delimiters_of_av1_are_left_out(void **state)
{
    static const uint8_t unit[] = {0x12, 0, 0x32, 1, 0xaa};
    const struct codec_config config = {.codec = CODEC_AV1, .width = 640, .height = 360};
    const struct sample s = {.payload = bytes_of(unit, sizeof unit), .duration = 1500, .keyframe = true};
    struct cmaf *c;

    assert_int_equal(cmaf_new(&c, &config, bytes_of(NULL, 0), 0), ERR_OK);
    assert_int_equal(cmaf_add(c, &s), ERR_OK);
    cmaf_end_chunk(c);
    struct buffer *segment = cmaf_end_segment(c);

    assert_memory_equal(segment->data + segment->size - 7, "mdat\x32\x01\xaa", 7);
    buffer_unref(segment);
    cmaf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_of_any_size_are_whole),
        cmocka_unit_test(the_largest_configuration_fits_into_the_init_segment),
        cmocka_unit_test(the_same_samples_give_the_same_bytes),
        cmocka_unit_test(chunks_are_those_that_libavformat_writes),
        cmocka_unit_test(temporal_delimiters_of_av1_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
