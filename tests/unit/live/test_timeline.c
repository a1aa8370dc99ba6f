/* A publisher's clock, mended. */
#include "unit.h"

#include "live/live_int.h"

static const struct codec_config aac = {
    .codec = CODEC_AAC, .rate = 48000, .channels = 2, .frame_samples = 1024};

static int64_t video(struct timeline *t, uint32_t raw)
{
    return timeline_place(t, TRACK_VIDEO, raw, &aac);
}

static int64_t audio(struct timeline *t, uint32_t raw)
{
    return timeline_place(t, TRACK_AUDIO, raw, &aac);
}

static void the_first_stamp_lies_where_the_timeline_stands(void **state)
{
    struct timeline t = {0};

    timeline_begin(&t, 12000);
    assert_int_equal(video(&t, 4000000000u), 12000 * 90);
    assert_int_equal(audio(&t, 4000000010u), 12010 * 48);
}

static void the_wrap_at_32_bits_is_no_jump(void **state)
{
    struct timeline t = {0};

    timeline_begin(&t, 0);
    assert_int_equal(video(&t, UINT32_MAX - 39), 0);
    assert_int_equal(video(&t, 0), 40 * 90);
    assert_int_equal(video(&t, 40), 80 * 90);
    assert_int_equal(t.gaps, 0);
}

static void a_jump_of_a_day_moves_on_by_a_frame_and_keeps_the_tracks_together(void **state)
{
    struct timeline t = {0};

    timeline_begin(&t, 0);
    (void)video(&t, 1000);
    (void)audio(&t, 1000);
    int64_t before = video(&t, 1040);
    int64_t after = video(&t, 1040 + 86400000);

    assert_in_range(after - before, 1, 100 * 90);
    /* A sound that was on its way still carries the old clock, the next one the new. */
    assert_int_equal(audio(&t, 1021), 1024);
    int64_t sound = audio(&t, 1040 + 86400000);

    assert_int_equal(sound / 48, after / 90);
    assert_int_equal(t.gaps >= 1, 1);
}

static void a_reset_to_zero_goes_on(void **state)
{
    struct timeline t = {0};

    timeline_begin(&t, 0);
    int64_t last = 0;

    for (uint32_t raw = 0; raw < 60000; raw += 40)
        last = video(&t, raw);
    int64_t after = video(&t, 0);

    assert_in_range(after - last, 1, 100 * 90);
    assert_int_equal(video(&t, 40) - after, 40 * 90);
}

static void sound_rounded_to_milliseconds_runs_sample_by_sample(void **state)
{
    struct timeline t = {0};

    timeline_begin(&t, 0);
    for (int64_t frame = 0; frame < 170000; frame++) { /* an hour */
        uint32_t raw = (uint32_t)(frame * 1024 * 1000 / 48000);

        assert_int_equal(audio(&t, raw), frame * 1024);
    }
    assert_int_equal(t.gaps, 0);
}

static void missing_sound_stays_missing(void **state)
{
    struct timeline t = {0};

    timeline_begin(&t, 0);
    (void)audio(&t, 0);
    assert_int_equal(audio(&t, 21), 1024);
    assert_int_equal(audio(&t, 2021), 2021 * 48); /* two seconds were lost */
    assert_int_equal(t.gaps, 1);
}

static void stamps_that_go_back_a_little_still_grow(void **state)
{
    struct timeline t = {0};

    timeline_begin(&t, 0);
    int64_t a = video(&t, 100), b = video(&t, 60), c = video(&t, 60), d = video(&t, 200);

    assert_true(a < b && b < c && c < d);
    assert_int_equal(d - a, 100 * 90);
}

static void any_stamps_at_all_grow_within_a_track(void **state)
{
    struct timeline t = {0};
    uint32_t raw = 1;
    int64_t last[TRACK_COUNT] = {-1, -1};

    timeline_begin(&t, 0);
    for (int i = 0; i < 100000; i++) {
        enum track track = raw >> 16 & 1 ? TRACK_AUDIO : TRACK_VIDEO;

        raw = raw * 1664525u + 1013904223u;
        int64_t at = timeline_place(&t, track, i % 7 ? (uint32_t)i * 20 : raw, &aac);

        assert_true(at > last[track]);
        last[track] = at;
    }
}

/* A publisher comes back: what its other track sent before its first stamp would lie in what is stored. */
static void nothing_lies_before_the_publisher_began(void **state)
{
    struct timeline t = {0};

    timeline_begin(&t, 12000);
    assert_int_equal(video(&t, 1000), 12000 * 90);
    assert_int_equal(audio(&t, 900), 12000 * 48);
    assert_int_equal(video(&t, 1040), 12040 * 90);
}

/* The clock from before a jump is remembered for stragglers only: when the encoder comes to those stamps again
 * much later, they are a jump like any other. */
static void a_clock_that_comes_back_to_old_stamps_goes_on(void **state)
{
    struct timeline t = {0};
    uint32_t raw = 0;

    timeline_begin(&t, 0);
    (void)video(&t, 1000);
    for (raw = 3600000; raw < 3660000; raw += 40)
        (void)video(&t, raw);
    int64_t before = video(&t, raw), back = video(&t, 1040), next = video(&t, 1080);

    assert_int_equal(back - before, 33 * 90);
    assert_int_equal(next - back, 40 * 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_stamp_lies_where_the_timeline_stands),
        cmocka_unit_test(the_wrap_at_32_bits_is_no_jump),
        cmocka_unit_test(a_jump_of_a_day_moves_on_by_a_frame_and_keeps_the_tracks_together),
        cmocka_unit_test(a_reset_to_zero_goes_on),
        cmocka_unit_test(sound_rounded_to_milliseconds_runs_sample_by_sample),
        cmocka_unit_test(missing_sound_stays_missing),
        cmocka_unit_test(stamps_that_go_back_a_little_still_grow),
        cmocka_unit_test(any_stamps_at_all_grow_within_a_track),
        cmocka_unit_test(nothing_lies_before_the_publisher_began),
        cmocka_unit_test(a_clock_that_comes_back_to_old_stamps_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
