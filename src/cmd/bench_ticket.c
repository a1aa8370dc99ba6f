/* cmd/bench_ticket.c - `matinee bench ticket`: what checking a viewer's token costs, as it is done for each request of a ticketed show:
 * one thread, and as many as there are cores, all over the same keys and revocations. */
#include "cmd/bench_int.h"

#include "access/access.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/mem.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TOKENS      1000
#define REVOKED     100
#define THREADS_MAX 16

static struct option ticket_options[] = {
    {"out", "DIR", "build/bench", "where ticket.csv goes", NULL},
    {"checks", "N", "1000000", "checks of each thread", NULL},
    {"quick", NULL, NULL, "a short run that shows that it works", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* --- what OpenSSL allocates ------------------------------------------------------------------------------- */

static _Atomic long allocations;

static void *count_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    atomic_fetch_add(&allocations, 1);
    return malloc(size);
}

static void *count_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    atomic_fetch_add(&allocations, 1);
    return realloc(p, size);
}

static void count_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

/* --- checking --------------------------------------------------------------------------------------------- */

struct hall {
    struct tickets *tickets;
    struct ulid event;
    char tokens[TOKENS][TICKET_TEXT_SIZE];
    long checks;
};

struct doorman {
    struct hall *hall;
    pthread_t thread;
    uint32_t *took_ns;
    long wrong;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void *check(void *ctx)
{
    struct doorman *d = ctx;
    struct hall *h = d->hall;

    for (long i = 0; i < h->checks; i++) {
        const char *token = h->tokens[(size_t)i * 7919 % TOKENS];
        int64_t began_ns = now_ns();
        enum ticket_verdict v = tickets_check(h->tickets, bytes_text(token), h->event, NULL);

        d->took_ns[i] = (uint32_t)(now_ns() - began_ns);
        d->wrong += v != TICKET_GOOD;
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

/* In microseconds; `of_1000` of a thousand are as quick or quicker. */
static const char *percentile(const uint32_t *sorted, size_t count, size_t of_1000)
{
    size_t at = count * of_1000 / 1000;

    return bench_number(sorted[at] / 1e3, 2);
}

/* One row: so many at once. False: a token was refused. */
static bool measure(struct hall *h, long threads, struct bench_table *t)
{
    struct doorman men[THREADS_MAX] = {{.hall = NULL}};
    size_t count = (size_t)(threads * h->checks);
    uint32_t *all = mem_new(count * sizeof *all);
    long wrong = 0, before = allocations;
    int64_t began_ns = now_ns();

    for (long i = 0; i < threads; i++) {
        men[i] = (struct doorman){.hall = h, .took_ns = all + i * h->checks};
        if (pthread_create(&men[i].thread, NULL, check, &men[i]) != 0)
            abort(); /* a benchmark without threads measures nothing */
    }
    for (long i = 0; i < threads; i++) {
        pthread_join(men[i].thread, NULL);
        wrong += men[i].wrong;
    }
    double seconds = (double)(now_ns() - began_ns) / 1e9;

    qsort(all, count, sizeof *all, compare);
    bench_add_row(t, (const char *const[]){
                         bench_number((double)threads, 0), bench_number((double)count / seconds / 1e6, 2),
                         percentile(all, count, 500), percentile(all, count, 990),
                         percentile(all, count, 999), bench_number((double)(allocations - before), 0), NULL});
    free(all);
    return wrong == 0;
}

static bool fill(struct hall *h)
{
    struct ticket t;

    h->event = ulid_new();
    for (size_t i = 0; i < TOKENS; i++)
        tickets_issue(h->tickets, ulid_secret(), h->event, ulid_secret(), clock_wall_ms(), &t, h->tokens[i]);
    for (size_t i = 0; i < REVOKED; i++)
        if (tickets_revoke(h->tickets, ulid_secret()) != ERR_OK)
            return false;
    return true;
}

static int run(struct hall *h, const char *out)
{
    struct bench_table *t = mem_new(sizeof *t);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    bool good;

    t->column_count = 6;
    bench_add_row(t, (const char *const[]){"threads", "M checks/s", "p50 us", "p99 us", "p99.9 us",
                                           "allocations", NULL});
    good = measure(h, 1, t) && measure(h, cores < THREADS_MAX ? cores : THREADS_MAX, t);
    printf("Checking a viewer's token, %d of them, %d revocations:\n\n", TOKENS, REVOKED);
    bench_table_print(t);
    good = bench_table_csv(t, out, "ticket") && good;
    free(t);
    return good ? 0 : 1;
}

int bench_ticket(int argc, char **argv)
{
    char why[256] = "", folder[] = "/tmp/matinee-bench-XXXXXX", url[64];
    struct hall *h = mem_new(sizeof *h);
    struct db *db = NULL;
    int status = 2;

    (void)CRYPTO_set_mem_functions(count_malloc, count_realloc,
                                   count_free); /* before it allocates anything */
    if (config_read(ticket_options, false, &argc, argv, why) != ERR_OK ||
        config_number(ticket_options, "checks", 1000, 10000000, &h->checks, why) != ERR_OK)
        goto out;
    if (config_text(ticket_options, "quick") != NULL)
        h->checks = 1000;
    status = 1;
    if (mkdtemp(folder) == NULL) {
        snprintf(why, sizeof why, "there is no room for a database in /tmp");
        goto out;
    }
    snprintf(url, sizeof url, "sqlite:%s/x.db", folder);
    if (db_open(&db, url, why) != ERR_OK || tickets_open(&h->tickets, db, why) != ERR_OK)
        goto out;
    status = fill(h) ? run(h, config_text(ticket_options, "out")) : 1;
out:
    if (why[0] != '\0')
        fprintf(stderr, "matinee bench ticket: %s\n", why);
    tickets_close(h->tickets);
    db_close(db);
    if (status != 2)
        bench_folder_remove(folder);
    config_free(ticket_options);
    free(h);
    return status;
}
