/* Who comes late catches up: timestamps go on as fast as pictures are sent, and end where the newest has its own. */
#include "unit.h"

#include "webrtc/webrtc_int.h"

#define FRAME_MS 40
#define BEGAN_MS 100000

/* A show whose newest keyframe has timestamp `first` and is `old_ms` old when a viewer comes. What is to come `late_from_ms` behind that or
 * later comes `late_ms` later. */
struct show {
    uint32_t first;
    int64_t old_ms, late_from_ms, late_ms;
};

static int64_t comes_ms(const struct show *s, int64_t media_ms)
{
    int64_t at_ms = media_ms - s->old_ms;

    return BEGAN_MS + at_ms + (at_ms >= s->late_from_ms ? s->late_ms : 0);
}

/* Sends it as send.c does. Timestamps never go back, and become the pictures' own. How far one is away from when it is sent, at most (ms). */
static int64_t farthest_ms(const struct show *s)
{
    const struct catch_up c = {
        .ms = BEGAN_MS, .dts_ms = 700, .first = s->first, .shown = s->first + (uint32_t)s->old_ms * 90};
    int64_t farthest = 0, next_ms = 0;
    uint32_t before = c.shown - 1, own = 0;
    bool over = false;

    for (int64_t now_ms = c.ms; now_ms < c.ms + 2 * s->old_ms + s->late_from_ms + s->late_ms + 1000;
         now_ms++) {
        for (; comes_ms(s, next_ms) <= now_ms && (over || c.dts_ms + next_ms <= catch_up_due_ms(&c, now_ms));
             next_ms += FRAME_MS) {
            own = s->first + (uint32_t)next_ms * 90;
            uint32_t sent = over ? own : catch_up_timestamp(&c, own);
            int64_t away_ms = rtp_later_by(sent, c.shown) / 90 - (now_ms - c.ms);

            assert_true(rtp_later_by(sent, before) > 0);
            before = sent;
            away_ms = away_ms < 0 ? -away_ms : away_ms;
            farthest = away_ms > farthest ? away_ms : farthest;
        }
        over = over || (comes_ms(s, next_ms) > now_ms && before == own);
    }
    assert_true(over);
    assert_int_equal(before, own);
    return farthest;
}

static void timestamps_go_on_as_pictures_are_sent(void **state)
{
    static const int64_t old_ms[] = {40, 2000, 16000};

    for (size_t i = 0; i < 3; i++)
        assert_true(farthest_ms(&(struct show){.first = 1000, .old_ms = old_ms[i]}) <= FRAME_MS);
}

static void they_may_go_round_meanwhile(void **state)
{
    assert_true(farthest_ms(&(struct show){.first = UINT32_MAX - 90000, .old_ms = 4000}) <= FRAME_MS);
    assert_true(farthest_ms(&(struct show){.first = UINT32_MAX - 450000, .old_ms = 4000}) <= FRAME_MS);
}

static void they_never_go_back_when_the_publisher_falls_behind(void **state)
{
    static const int64_t late_ms[] = {1, 40, 80, 300, 8000};

    for (int64_t old_ms = 0; old_ms <= 8000; old_ms += 400)
        for (int64_t from_ms = 0; from_ms < 3000; from_ms += 130)
            for (size_t i = 0; i < 5; i++)
                assert_true(
                    farthest_ms(&(struct show){
                        .first = 1000, .old_ms = old_ms, .late_from_ms = from_ms, .late_ms = late_ms[i]}) <=
                    FRAME_MS + late_ms[i]);
}

static void a_picture_from_before_the_keyframe_is_not_hours_late(void **state)
{
    const struct catch_up c = {.ms = 5000, .dts_ms = 700, .first = 90000, .shown = 180000};

    assert_int_equal(catch_up_timestamp(&c, 90000 - 3600), 180000 - 3600 / WEBRTC_JOIN_PACE);
}

static void a_keyframe_that_is_new_has_its_own(void **state)
{
    const struct catch_up c = {.ms = 5000, .dts_ms = 700, .first = 90, .shown = 90};

    assert_int_equal(catch_up_due_ms(&c, 5000), 700);
    assert_int_equal(catch_up_timestamp(&c, 90), 90);
    assert_int_equal(catch_up_timestamp(&c, 90 + 3600), 90 + 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timestamps_go_on_as_pictures_are_sent),
        cmocka_unit_test(they_may_go_round_meanwhile),
        cmocka_unit_test(they_never_go_back_when_the_publisher_falls_behind),
        cmocka_unit_test(a_picture_from_before_the_keyframe_is_not_hours_late),
        cmocka_unit_test(a_keyframe_that_is_new_has_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
