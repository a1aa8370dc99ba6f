/* What the child that reads uploads says: frames are read whole, byte by byte and at the end of a page, and nothing that none of ours
 * would say gets through. */
#include "unit.h"

#include "guard.h"

#include "base/limits.h"
#include "ladder/recording_int.h"

static struct guard guard;

static const struct recording_frame track = {.kind = FRAME_TRACK,
                                             .recorded = {.kind = RECORDED_TRACK,
                                                          .track = TRACK_AUDIO,
                                                          .codec = CODEC_AAC,
                                                          .payload = {(const uint8_t *)"\x11\x90", 2}}};
static const struct recording_frame sample = {.kind = FRAME_SAMPLE,
                                              .recorded = {.kind = RECORDED_SAMPLE,
                                                           .track = TRACK_VIDEO,
                                                           .keyframe = true,
                                                           .dts = 3000,
                                                           .pts = 9000,
                                                           .payload = {(const uint8_t *)"picture", 7}}};

static void assert_same(const struct recorded *a, const struct recorded *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->track, b->track);
    assert_int_equal(a->codec, b->codec);
    assert_int_equal(a->keyframe, b->keyframe);
    assert_int_equal(a->dts, b->dts);
    assert_int_equal(a->pts, b->pts);
    assert_true(bytes_equal(a->payload, b->payload));
}

/* However little has come, it is not looked beyond. */
static void what_is_written_is_read_and_a_part_of_it_is_waited_for(void **state)
{
    const struct recording_frame *frames[] = {&track, &sample};

    for (size_t i = 0; i < 2; i++) {
        struct recording_frame out;
        struct builder b = {0};

        recording_frame_write(&b, frames[i]);
        for (size_t size = 0; size < builder_bytes(&b).size; size++)
            assert_int_equal(
                recording_frame_parse(&out, guard_place(guard, bytes_head(builder_bytes(&b), size))),
                PARSE_MORE);
        assert_int_equal(recording_frame_parse(&out, guard_place(guard, builder_bytes(&b))),
                         (long)builder_bytes(&b).size);
        assert_same(&out.recorded, &frames[i]->recorded);
        builder_drop(&b);
    }
}

static void a_refusal_carries_its_reason_in_words_that_can_be_printed(void **state)
{
    struct recording_frame f = {
        .kind = FRAME_REFUSED, .e = ERR_UNSUPPORTED, .why = bytes_text("its video is vp9")};
    struct recording_frame out;
    struct builder b = {0};

    recording_frame_write(&b, &f);
    assert_true(recording_frame_parse(&out, builder_bytes(&b)) > 0);
    assert_int_equal(out.e, ERR_UNSUPPORTED);
    assert_true(bytes_is(out.why, "its video is vp9"));
    builder_drop(&b);
    f.why = bytes_text("a line\nand another");
    recording_frame_write(&b, &f);
    assert_int_equal(recording_frame_parse(&out, builder_bytes(&b)), PARSE_BAD);
    builder_drop(&b);
}

/* Each byte of the head, one after the other, set to what no child of ours writes there. */
static void what_cannot_be_is_refused(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{0, 0}, {0, 5}, {1, 2}, {2, 6}, {3, 2}, {20, 0xff}};
    struct recording_frame out;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct builder b = {0};

        recording_frame_write(&b, &sample);
        b.buffer->data[wrong[i].at] = wrong[i].value;
        assert_int_equal(recording_frame_parse(&out, builder_bytes(&b)), PARSE_BAD);
        builder_drop(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_and_a_part_of_it_is_waited_for),
        cmocka_unit_test(a_refusal_carries_its_reason_in_words_that_can_be_printed),
        cmocka_unit_test(what_cannot_be_is_refused),
    };

    guard = guard_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    guard_free(guard);
    return failed;
}
