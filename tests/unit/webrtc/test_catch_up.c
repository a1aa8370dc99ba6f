/* Who comes late catches up: timestamps go on as fast as pictures are sent, and end where the newest has its own. */
#include "unit.h"

#include "base/limits.h"
#include "webrtc/webrtc_int.h"

#define FRAME_MS 40

/* Sends a keyframe that is `old_ms` old and what came and comes after it; how far a timestamp is away from when it is sent, at most (ms). */
static int64_t farthest_ms(uint32_t first, int64_t old_ms)
{
    const struct catch_up c = {
        .ms = 5000, .dts_ms = 700, .first = first, .shown = first + (uint32_t)old_ms * 90};
    int64_t farthest = 0, next_ms = 0;
    uint32_t before = c.shown - 1;

    for (int64_t now_ms = c.ms; now_ms < c.ms + 2 * old_ms + 1000; now_ms++) {
        int64_t newest_ms = old_ms + now_ms - c.ms;

        for (; next_ms <= newest_ms && c.dts_ms + next_ms <= catch_up_due_ms(&c, now_ms);
             next_ms += FRAME_MS) {
            uint32_t own = first + (uint32_t)next_ms * 90, sent = catch_up_timestamp(&c, own);
            int64_t away_ms = (int32_t)(sent - c.shown) / 90 - (now_ms - c.ms);

            assert_true((int32_t)(sent - before) > 0);
            before = sent;
            away_ms = away_ms < 0 ? -away_ms : away_ms;
            farthest = away_ms > farthest ? away_ms : farthest;
        }
    }
    assert_true(next_ms > 2 * old_ms); /* it did catch up */
    assert_int_equal(before, first + (uint32_t)(next_ms - FRAME_MS) * 90);
    return farthest;
}

static void timestamps_go_on_as_pictures_are_sent(void **state)
{
    assert_true(farthest_ms(1000, 40) <= FRAME_MS);
    assert_true(farthest_ms(1000, 2000) <= FRAME_MS);
    assert_true(farthest_ms(1000, 16000) <= FRAME_MS);
}

static void they_may_go_round_meanwhile(void **state)
{
    assert_true(farthest_ms(UINT32_MAX - 90000, 4000) <= FRAME_MS);
    assert_true(farthest_ms(UINT32_MAX - 450000, 4000) <= FRAME_MS);
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
        cmocka_unit_test(a_keyframe_that_is_new_has_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
