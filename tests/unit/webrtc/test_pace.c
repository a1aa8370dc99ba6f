/* Sound at an even pace: whatever frames it is made of. */
#include "unit.h"

#include "webrtc/webrtc_int.h"

#define PACKET_US 20000

/* When packet `i` can be there: with the frame that its last sample is in. */
static int64_t there_us(int64_t i, int64_t frame_us)
{
    return ((i + 1) * PACKET_US + frame_us - 1) / frame_us * frame_us;
}

/* The widest span of how far behind their pts packets are sent. */
static int64_t unevenness(struct pace *p, int64_t frame_us, int64_t from, int64_t to, int64_t clock_us)
{
    int64_t least = INT64_MAX, most = INT64_MIN;

    for (int64_t i = from; i < to; i++) {
        int64_t now_us = there_us(i, frame_us) + clock_us;
        int64_t behind_us = now_us + pace_wait_us(p, now_us, i * PACKET_US) - i * PACKET_US;

        least = behind_us < least ? behind_us : least;
        most = behind_us > most ? behind_us : most;
    }
    return most - least;
}

static void packets_of_longer_frames_leave_evenly(void **state)
{
    static const int64_t frames_us[] = {21333, 23220};

    for (size_t i = 0; i < 2; i++) {
        struct pace p = {0};

        (void)unevenness(&p, frames_us[i], 0, 50, 1000000); /* until the soonest is known */
        assert_true(unevenness(&p, frames_us[i], 50, 5000, 1000000) <= frames_us[i] - PACKET_US + 1000);
    }
}

static void what_is_late_goes_at_once_and_what_comes_soonest_waits_no_longer_than_a_packet(void **state)
{
    struct pace p = {0};

    assert_int_equal(pace_wait_us(&p, 5000000, 0), PACKET_US);
    assert_int_equal(pace_wait_us(&p, 5000000 + PACKET_US + 300000, PACKET_US), 0);
    assert_true(pace_wait_us(&p, 5000000 + 2 * PACKET_US, 2 * PACKET_US) > PACKET_US - 1000);
    assert_int_equal(pace_wait_us(&p, 4000000 + 3 * PACKET_US, 3 * PACKET_US),
                     PACKET_US); /* sooner than ever */
}

static void who_was_away_is_paced_as_before(void **state)
{
    struct pace p = {0};

    (void)unevenness(&p, 21333, 0, 500, 1000000);
    (void)unevenness(&p, 21333, 500, 550, 11000000); /* ten seconds later than it would have been */
    assert_true(unevenness(&p, 21333, 550, 1000, 11000000) <= 21333 - PACKET_US + 1000);
}

/* A publisher whose clock loses 0.1 ms in a second is followed, and nothing is sent at uneven times for long. */
static void a_slow_clock_is_followed(void **state)
{
    struct pace p = {0};
    int64_t longest = 0;

    for (int64_t i = 0; i < 180000; i++) { /* an hour */
        int64_t now_us = i * PACKET_US + i * 2, wait_us = pace_wait_us(&p, now_us, i * PACKET_US);

        longest = wait_us > longest ? wait_us : longest;
        assert_true(wait_us > PACKET_US - 1000);
    }
    assert_true(longest <= PACKET_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_of_longer_frames_leave_evenly),
        cmocka_unit_test(what_is_late_goes_at_once_and_what_comes_soonest_waits_no_longer_than_a_packet),
        cmocka_unit_test(who_was_away_is_paced_as_before),
        cmocka_unit_test(a_slow_clock_is_followed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
