/* base/metrics.c - see metrics.h. */
#include "base/metrics.h"

#include <pthread.h>
#include <stdio.h>

static struct metric *first; /* sorted by name; written only before main() */

/* Guards the rows of all histograms: what they count comes a few times a second. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void metric_register(struct metric *m)
{
    struct metric **at = &first;

    while (*at != NULL && strcmp((*at)->name, m->name) < 0)
        at = &(*at)->next;
    m->next = *at;
    *at = m;
}

/* --- histograms ----------------------------------------------------------------------------------------- */

/* The row of a label's value, a new one where it has none; the last one where there is no more room. */
static size_t row_of(struct metric_histogram *h, const char *value)
{
    char text[HISTOGRAM_LABEL_SIZE];
    size_t i = 0;

    snprintf(text, sizeof text, "%s", value);
    while (i < h->row_count && strcmp(h->rows[i].value, text) != 0)
        i++;
    if (i < h->row_count)
        return i;
    if (i >= HISTOGRAM_ROWS_MAX - 1) {
        i = HISTOGRAM_ROWS_MAX - 1;
        snprintf(text, sizeof text, "other");
    }
    memcpy(h->rows[i].value, text, sizeof text);
    h->row_count = i + 1;
    return i;
}

void histogram_add(struct metric_histogram *h, const char *value, long long amount)
{
    size_t bound = 0;

    while (h->bounds[bound] != 0 && amount > h->bounds[bound])
        bound++;
    pthread_mutex_lock(&lock);
    size_t row = row_of(h, value);

    h->rows[row].counts[bound]++;
    h->rows[row].sum += amount;
    pthread_mutex_unlock(&lock);
}

static void print_row(struct builder *out, const struct metric_histogram *h, size_t row)
{
    const char *name = h->metric.name, *value = h->rows[row].value;
    long long count = 0;
    size_t i = 0;

    for (; h->bounds[i] != 0; i++) {
        count += h->rows[row].counts[i];
        builder_printf(out, "%s_bucket{%s=\"%s\",le=\"%lld\"} %lld\n", name, h->label, value, h->bounds[i],
                       count);
    }
    count += h->rows[row].counts[i];
    builder_printf(out, "%s_bucket{%s=\"%s\",le=\"+Inf\"} %lld\n", name, h->label, value, count);
    builder_printf(out, "%s_sum{%s=\"%s\"} %lld\n%s_count{%s=\"%s\"} %lld\n", name, h->label, value,
                   h->rows[row].sum, name, h->label, value, count);
}

static void print_histogram(struct builder *out, const struct metric_histogram *h)
{
    pthread_mutex_lock(&lock);
    for (size_t row = 0; row < h->row_count; row++)
        print_row(out, h, row);
    pthread_mutex_unlock(&lock);
}

/* --- all of them ---------------------------------------------------------------------------------------- */

void metrics_print(struct builder *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    for (const struct metric *m = first; m != NULL; m = m->next) {
        builder_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, kinds[m->kind]);
        if (m->kind == METRIC_HISTOGRAM)
            print_histogram(out, (const struct metric_histogram *)(const void *)m);
        else
            builder_printf(out, "%s %lld\n", m->name, atomic_load_explicit(&m->value, memory_order_relaxed));
    }
}
