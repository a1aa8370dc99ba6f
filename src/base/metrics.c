/* base/metrics.c - see metrics.h. */
#include "base/metrics.h"

static struct metric *first; /* sorted by name; written only before main() */

void metric_register(struct metric *m)
{
    struct metric **at = &first;

    while (*at != NULL && strcmp((*at)->name, m->name) < 0)
        at = &(*at)->next;
    m->next = *at;
    *at = m;
}

void metrics_print(struct builder *out)
{
    for (const struct metric *m = first; m != NULL; m = m->next)
        builder_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", m->name, m->help, m->name,
                       m->kind == METRIC_COUNTER ? "counter" : "gauge", m->name,
                       atomic_load_explicit(&m->value, memory_order_relaxed));
}
