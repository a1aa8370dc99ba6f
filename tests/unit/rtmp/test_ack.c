/* Acknowledgement: never ahead of the disk, never slower than promised. */
#include "unit.h"

#include "rtmp/ack_int.h"

#include <stdlib.h>

#define NONE UINT64_MAX

static void what_has_nothing_to_wait_for_counts_at_once(void **state)
{
    struct ack a;

    ack_init(&a, 0);
    assert_int_equal(ack_count(&a, 1000, NONE), 1000);
    ack_drop(&a);
}

static void a_message_counts_when_it_is_durable(void **state)
{
    struct ack a;

    ack_init(&a, 0);
    ack_message(&a, 100, 1);
    ack_message(&a, 200, 2);
    assert_int_equal(ack_count(&a, 300, NONE), 100);
    ack_durable(&a, 1);
    assert_int_equal(ack_count(&a, 300, NONE), 200);
    ack_durable(&a, 2);
    assert_int_equal(ack_count(&a, 300, NONE), 300);
    ack_drop(&a);
}

static void a_message_that_is_not_whole_holds_back_what_lies_behind_its_first_byte(void **state)
{
    struct ack a;

    ack_init(&a, 0);
    assert_int_equal(ack_count(&a, 300, 120), 120);
    ack_message(&a, 100, 1);
    assert_int_equal(ack_count(&a, 300, 120), 100);
    ack_durable(&a, 1);
    assert_int_equal(ack_count(&a, 300, 120), 120);
    ack_drop(&a);
}

/* Video from 100, audio within it from 150 to 180; the audio is whole first and given first. */
static void an_interleaved_message_that_began_earlier_holds_back_the_later_one(void **state)
{
    struct ack a;

    ack_init(&a, 0);
    ack_message(&a, 150, 1);
    assert_int_equal(ack_count(&a, 200, 100), 100);
    ack_message(&a, 100, 2);
    ack_durable(&a, 1);
    assert_int_equal(ack_count(&a, 300, NONE), 100);
    ack_durable(&a, 2);
    assert_int_equal(ack_count(&a, 300, NONE), 300);
    ack_drop(&a);
}

/* Against the definition: the smallest first byte of everything that waits. Any interleaving, any lag. */
static void the_count_is_that_of_the_definition(void **state)
{
    struct {
        uint64_t first, position;
    } all[2000];
    struct ack a;
    uint64_t received = 0, durable = 0, before = 0, partial = NONE;
    unsigned seed = 20261123;

    print_message("seed %u\n", seed);
    ack_init(&a, 0);
    for (uint64_t i = 0; i < 2000; i++) {
        all[i].position = i + 1;
        if (partial != NONE && rand_r(&seed) % 3 == 0) { /* the one that was begun is whole now */
            all[i].first = partial;
            partial = NONE;
        } else {
            if (partial == NONE && rand_r(&seed) % 4 == 0)
                partial = received++;
            all[i].first = received;
        }
        received += 1 + (unsigned)rand_r(&seed) % 1000;
        ack_message(&a, all[i].first, all[i].position);
        if (rand_r(&seed) % 5 == 0)
            durable += (unsigned)rand_r(&seed) % (i + 2 - durable);
        ack_durable(&a, durable);

        uint64_t expected = partial < received ? partial : received;

        for (uint64_t j = durable; j <= i; j++)
            if (all[j].first < expected)
                expected = all[j].first;
        assert_int_equal(ack_count(&a, received, partial), expected);
        assert_true(expected >= before);
        before = expected;
    }
    ack_drop(&a);
}

static void a_disk_that_stands_still_costs_bounded_memory_and_never_too_great_a_count(void **state)
{
    struct ack a;

    ack_init(&a, 0);
    for (uint64_t i = 0; i < 3 * ACK_WAITING_MAX; i++)
        ack_message(&a, i * 10, i + 1);
    assert_true(a.capacity <= ACK_WAITING_MAX);
    for (uint64_t durable = 0; durable <= 3 * ACK_WAITING_MAX; durable++) {
        ack_durable(&a, durable);
        assert_true(ack_count(&a, 30 * ACK_WAITING_MAX, NONE) <= durable * 10);
    }
    assert_int_equal(ack_count(&a, 30 * ACK_WAITING_MAX, NONE), 30 * ACK_WAITING_MAX);
    ack_drop(&a);
}

static void it_is_due_after_half_a_second_or_half_a_window(void **state)
{
    struct ack a;

    ack_init(&a, 1000);
    a.window = 1000;
    assert_false(ack_is_due(&a, 0, 9000)); /* nothing new */
    assert_false(ack_is_due(&a, 499, 1499));
    assert_true(ack_is_due(&a, 1, 1500));
    assert_true(ack_is_due(&a, 500, 1000));
    ack_sent(&a, 500, 1200);
    assert_false(ack_is_due(&a, 999, 1600));
    assert_true(ack_is_due(&a, 1000, 1600));
    a.window = UINT32_MAX;
    assert_false(ack_is_due(&a, 1000, 1600));
    a.window = 0;
    assert_true(ack_is_due(&a, 501, 1200));
    ack_drop(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_nothing_to_wait_for_counts_at_once),
        cmocka_unit_test(a_message_counts_when_it_is_durable),
        cmocka_unit_test(a_message_that_is_not_whole_holds_back_what_lies_behind_its_first_byte),
        cmocka_unit_test(an_interleaved_message_that_began_earlier_holds_back_the_later_one),
        cmocka_unit_test(the_count_is_that_of_the_definition),
        cmocka_unit_test(a_disk_that_stands_still_costs_bounded_memory_and_never_too_great_a_count),
        cmocka_unit_test(it_is_due_after_half_a_second_or_half_a_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
