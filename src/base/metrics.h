/* base/metrics.h - counters, gauges and histograms, printed in the Prometheus text format.
 *
 * A metric is a static object at file scope, declared with METRIC and registered before main() runs:
 *
 *     METRIC(journal_syncs, METRIC_COUNTER, "matinee_journal_syncs_total", "fdatasync calls of the journal");
 *     metric_add(&journal_syncs, 1);
 *
 * Counting is one relaxed atomic addition; any thread. */
#ifndef MATINEE_BASE_METRICS_H
#define MATINEE_BASE_METRICS_H

#include "base/buffer.h"

#include <stdatomic.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    const char *name;
    const char *help;
    enum metric_kind kind;
    atomic_llong value;
    struct metric *next;
};

#define METRIC(var, kind_, name_, help_)                                                                     \
    static struct metric var = {.name = (name_), .help = (help_), .kind = (kind_)};                          \
    __attribute__((constructor)) static void register_##var(void)                                            \
    {                                                                                                        \
        metric_register(&var);                                                                               \
    }                                                                                                        \
    struct metric

void metric_register(struct metric *m);

static inline void metric_add(struct metric *m, long long amount)
{
    atomic_fetch_add_explicit(&m->value, amount, memory_order_relaxed);
}

static inline void metric_set(struct metric *m, long long value)
{
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

/* --- histograms: how often what was how large, for each value of one label ------------------------------- */

/* Values of a label get a row each as they come; when all rows but one are taken, the others share the last, as "other", so
 * that nobody's choice of names can grow a histogram. */
#define HISTOGRAM_ROWS_MAX   24
#define HISTOGRAM_BOUNDS_MAX 12
#define HISTOGRAM_LABEL_SIZE 24

struct metric_histogram {
    struct metric metric; /* first */
    const char *label;
    long long bounds[HISTOGRAM_BOUNDS_MAX + 1]; /* rising, each belongs to what is below it; 0 ends them */
    size_t row_count;
    struct {
        char value[HISTOGRAM_LABEL_SIZE];
        long long counts[HISTOGRAM_BOUNDS_MAX + 1],
            sum; /* not cumulative; the last is what lies above all bounds */
    } rows[HISTOGRAM_ROWS_MAX];
};

/* METRIC_HISTOGRAM_OF(age, "matinee_age_milliseconds", "How old", "rendition", 500, 1000, 2000); */
#define METRIC_HISTOGRAM_OF(var, name_, help_, label_, ...)                                                  \
    static struct metric_histogram var = {                                                                   \
        .metric = {.name = (name_), .help = (help_), .kind = METRIC_HISTOGRAM},                              \
        .label = (label_),                                                                                   \
        .bounds = {__VA_ARGS__}};                                                                            \
    __attribute__((constructor)) static void register_##var(void)                                            \
    {                                                                                                        \
        metric_register(&var.metric);                                                                        \
    }                                                                                                        \
    struct metric_histogram

/* Counts `amount` under the label's `value`, of [A-Za-z0-9._-], cut to HISTOGRAM_LABEL_SIZE. Takes a lock; any thread. */
void histogram_add(struct metric_histogram *h, const char *value, long long amount);

/* Appends every registered metric, sorted by name, with HELP and TYPE lines. */
void metrics_print(struct builder *out);

#endif
