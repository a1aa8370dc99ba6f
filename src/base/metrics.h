/* base/metrics.h - counters and gauges, printed in the Prometheus text format.
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

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

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

/* Appends every registered metric, sorted by name, with HELP and TYPE lines. */
void metrics_print(struct builder *out);

#endif
