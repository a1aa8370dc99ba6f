/* CMAF by libavformat: its boxes are whole, whatever their size, and the same samples give the same bytes. */
#include "unit.h"

#include "base/limits.h"
#include "media/media.h"

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
    assert_int_equal(cmaf_end_chunk(c), ERR_OK);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_of_any_size_are_whole),
        cmocka_unit_test(the_largest_configuration_fits_into_the_init_segment),
        cmocka_unit_test(the_same_samples_give_the_same_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
