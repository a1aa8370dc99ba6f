/* Metrics as Prometheus reads them. */
#include "unit.h"

#include "base/metrics.h"

#include <stdio.h>

METRIC(visits, METRIC_COUNTER, "test_a_visits_total", "Who came");
METRIC_HISTOGRAM_OF(age, "test_b_age", "How old", "name", 10, 20);
METRIC_HISTOGRAM_OF(crowd, "test_c_crowd", "How many", "name", 10);

static void says(const char *words)
{
    struct builder b = {0};

    metrics_print(&b);
    builder_u8(&b, 0);
    if (strstr((const char *)builder_bytes(&b).at, words) == NULL)
        fail_msg("'%s' is not in:\n%s", words, (const char *)builder_bytes(&b).at);
    builder_drop(&b);
}

static void a_counter_is_said_with_help_and_type(void **state)
{
    metric_add(&visits, 3);
    says("# HELP test_a_visits_total Who came\n# TYPE test_a_visits_total counter\ntest_a_visits_total 3\n");
}

static void a_histogram_counts_up_to_and_with_each_bound_for_each_label(void **state)
{
    histogram_add(&age, "one", 10);
    histogram_add(&age, "one", 11);
    histogram_add(&age, "two", 21);
    histogram_add(&age, "one", -5); /* clocks are not always of one mind */
    says("# TYPE test_b_age histogram\n"
         "test_b_age_bucket{name=\"one\",le=\"10\"} 2\n"
         "test_b_age_bucket{name=\"one\",le=\"20\"} 3\n"
         "test_b_age_bucket{name=\"one\",le=\"+Inf\"} 3\n"
         "test_b_age_sum{name=\"one\"} 16\n"
         "test_b_age_count{name=\"one\"} 3\n"
         "test_b_age_bucket{name=\"two\",le=\"10\"} 0\n"
         "test_b_age_bucket{name=\"two\",le=\"20\"} 0\n"
         "test_b_age_bucket{name=\"two\",le=\"+Inf\"} 1\n"
         "test_b_age_sum{name=\"two\"} 21\n"
         "test_b_age_count{name=\"two\"} 1\n");
}

static void more_labels_than_there_are_rows_share_the_last(void **state)
{
    char name[64];

    for (int i = 0; i < 2 * HISTOGRAM_ROWS_MAX; i++) {
        snprintf(name, sizeof name, "name-%d-that-is-longer-than-a-row-has-room-for", i);
        histogram_add(&crowd, name, 1);
    }
    says("test_c_crowd_count{name=\"name-0-that-is-longer-t\"} 1\n");
    says("test_c_crowd_count{name=\"other\"} 25\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_counter_is_said_with_help_and_type),
        cmocka_unit_test(a_histogram_counts_up_to_and_with_each_bound_for_each_label),
        cmocka_unit_test(more_labels_than_there_are_rows_share_the_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
