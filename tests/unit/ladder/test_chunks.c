/* What the map takes of a segment, whatever parts players get it in. */
#include "unit.h"

#include "ladder/ladder_int.h"

static const uint8_t avcc[] = {0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x0c,
                               0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
                               0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60, 0x01, 0x00,
                               0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00};

/* Pictures of 40 ms, a keyframe every `gop` of them, a fragment every `part` of them. */
static struct buffer *segment_of(unsigned pictures, unsigned gop, unsigned part)
{
    static const uint8_t picture[] = {0, 0, 0, 4, 0x65, 1, 2, 3, 0, 0, 0, 4, 0x65, 1, 2, 3};
    struct codec_config config;
    struct cmaf *c;
    const char *why;

    assert_int_equal(codec_config_parse(&config, CODEC_H264, bytes_of(avcc, sizeof avcc), &why), ERR_OK);
    assert_int_equal(cmaf_new(&c, &config, bytes_of(avcc, sizeof avcc), 0), ERR_OK);
    cmaf_reference_time(c, 900000, 1000);
    for (unsigned i = 0; i < pictures; i++) {
        struct sample s = {.payload = bytes_of(picture, i % 3 ? 8 : 16),
                           .dts = 900000 + i * 3600,
                           .pts = 900000 + i * 3600,
                           .duration = 3600,
                           .keyframe = i % gop == 0};

        if (i > 0 && i % part == 0)
            cmaf_end_chunk(c);
        assert_int_equal(cmaf_add(c, &s), ERR_OK);
    }
    cmaf_end_chunk(c);

    struct buffer *segment = cmaf_end_segment(c);

    cmaf_free(c);
    return segment;
}

/* Counts chunks, which must lie end to end and hold so many pictures each; the last one what is left. */
static size_t count_chunks(const struct buffer *segment, unsigned pictures_each)
{
    struct extent e[SEGMENT_CHUNKS_MAX];
    size_t count = chunks_find(buffer_bytes(segment), e, SEGMENT_CHUNKS_MAX);

    for (size_t i = 0; i < count; i++) {
        struct bytes chunk = bytes_head(bytes_from(buffer_bytes(segment), e[i].offset), e[i].size);

        if (i + 1 < count) {
            assert_int_equal(e[i].offset + e[i].size, e[i + 1].offset);
            assert_int_equal(pictures_count(chunk), pictures_each);
        } else {
            assert_int_equal(e[i].offset + e[i].size, segment->size);
        }
    }
    return count;
}

static void a_chunk_is_as_many_parts_as_two_seconds_are(void **state)
{
    struct buffer *parts = segment_of(250, 50, 5), *seconds = segment_of(250, 25, 5);

    assert_int_equal(count_chunks(parts, 50), 5);
    assert_int_equal(count_chunks(seconds, 50), 5); /* two GOPs of a second */
    buffer_unref(parts);
    buffer_unref(seconds);
}

static void a_segment_without_parts_has_the_chunks_it_always_had(void **state)
{
    struct buffer *s = segment_of(250, 50, 50);

    assert_int_equal(count_chunks(s, 50), 5);
    buffer_unref(s);
}

/* A keyframe within a part begins nothing: what cannot be decoded by itself is no chunk. */
static void a_chunk_begins_with_a_keyframe(void **state)
{
    struct buffer *s = segment_of(240, 60, 8); /* 60 is no multiple of 8; 120 is */

    assert_int_equal(count_chunks(s, 120), 2);
    buffer_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_is_as_many_parts_as_two_seconds_are),
        cmocka_unit_test(a_segment_without_parts_has_the_chunks_it_always_had),
        cmocka_unit_test(a_chunk_begins_with_a_keyframe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
