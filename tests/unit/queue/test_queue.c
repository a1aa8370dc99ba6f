/* The queue's promises, told once and kept by both kinds; then crowds, kills and restarts. */
#include "unit.h"

#include "folder.h"
#include "queue/queue.h"
#include "stage.h"

#include <nats/nats.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static enum stage_kind kind;

static int play_local(void **state)
{
    kind = STAGE_LOCAL;
    return 0;
}

static int play_nats(void **state)
{
    kind = STAGE_NATS;
    return 0;
}

/* --- words of the stories ------------------------------------------------------------------------------ */

static void put(struct stage *s, const char *key)
{
    assert_int_equal(queue_put(s->leader, QUEUE_LIVE, 0, key, bytes_text(key)), ERR_OK);
}

static void take(struct queue *q, struct queue_job *job, const char *key)
{
    assert_int_equal(queue_take(q, PATIENCE_MS, job), ERR_OK);
    assert_string_equal(job->key, key);
}

static void nothing_to_take(struct queue *q)
{
    struct queue_job job;

    assert_int_equal(queue_take(q, 0, &job), ERR_TIMEOUT);
}

struct elsewhere {
    struct queue *queue;
    struct queue_job *job;
    int64_t wait_ms;
    enum err e;
};

static void *take_there(void *ctx)
{
    struct elsewhere *t = ctx;

    t->e = queue_take(t->queue, t->wait_ms, t->job);
    return NULL;
}

/* In a local queue a worker is a thread. */
static enum err take_elsewhere(struct queue *q, int64_t wait_ms, struct queue_job *job)
{
    struct elsewhere t = {.queue = q, .job = job, .wait_ms = wait_ms};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, take_there, &t), 0);
    pthread_join(thread, NULL);
    return t.e;
}

/* The next news that is not a beginning. */
static enum err hear(struct queue *q, int64_t wait_ms, struct queue_report *out)
{
    enum err e;

    while ((e = queue_listen(q, wait_ms, out)) == ERR_OK && out->news == QUEUE_STARTED)
        queue_report_free(out);
    return e;
}

static void hear_done(struct stage *s, const char *key, const char *result)
{
    struct queue_report r;

    assert_int_equal(hear(s->leader, PATIENCE_MS, &r), ERR_OK);
    assert_int_equal(r.news, QUEUE_DONE);
    assert_string_equal(r.key, key);
    assert_true(bytes_is(buffer_bytes(r.content), result));
    queue_report_free(&r);
}

static void hear_nothing(struct stage *s)
{
    struct queue_report r;

    assert_int_equal(hear(s->leader, 0, &r), ERR_TIMEOUT);
}

static void settle(struct stage *s, const char *key)
{
    assert_int_equal(queue_settle(s->leader, &key, 1), ERR_OK);
}

static void done(struct queue *q, struct queue_job *job, const char *result)
{
    assert_int_equal(queue_done(q, job, bytes_text(result)), ERR_OK);
    assert_null(job->lease);
}

/* Waits until the leader's books say so; they follow the workers by a message's way. */
static void wait_stats(struct stage *s, size_t open, size_t held)
{
    struct queue_stats stats;
    struct queue_report r;

    for (int i = 0; i < 200; i++) {
        queue_stats(s->leader, &stats);
        if (stats.open[QUEUE_LIVE] + stats.open[QUEUE_ARCHIVE] == open && stats.held == held)
            return;
        if (queue_listen(s->leader, 50, &r) == ERR_OK)
            queue_report_free(&r);
    }
    fail_msg("open %zu, held %zu", stats.open[QUEUE_LIVE] + stats.open[QUEUE_ARCHIVE], stats.held);
}

static void refuse(const char *url, enum err expected, const char *words)
{
    struct queue_options options = {url, "leader", "worker", 1000, 3, 5};
    struct queue *q = (void *)&options;
    char why[256] = "";

    assert_int_equal(queue_open(&q, &options, why), expected);
    assert_null(q);
    if (strstr(why, words) == NULL)
        fail_msg("'%s' does not say '%s'", why, words);
}

/* --- the promises --------------------------------------------------------------------------------------- */

static void a_job_is_put_taken_done_told_and_settled(void **state)
{
    struct queue_report r;
    struct queue_stats stats;
    struct queue_job job;
    struct stage s;

    stage_open(&s, kind, LEASE_LONG_MS, 3, 5, 1);
    put(&s, "v1/segment-0.720p");
    wait_stats(&s, 1, 0);
    queue_stats(s.leader, &stats);
    assert_true(stats.oldest_ms >= 0 && stats.oldest_ms < PATIENCE_MS);
    take(s.worker[0], &job, "v1/segment-0.720p");
    assert_true(bytes_is(buffer_bytes(job.task), "v1/segment-0.720p"));
    assert_int_equal(job.attempt, 1);
    assert_int_equal(queue_listen(s.leader, PATIENCE_MS, &r), ERR_OK);
    assert_int_equal(r.news, QUEUE_STARTED);
    assert_string_equal(r.key, "v1/segment-0.720p");
    assert_int_equal(r.attempt, 1);
    queue_report_free(&r);
    wait_stats(&s, 0, 1);
    assert_int_equal(queue_beat(s.worker[0], &job), ERR_OK);
    done(s.worker[0], &job, "made");

    assert_int_equal(queue_listen(s.leader, PATIENCE_MS, &r), ERR_OK);
    assert_int_equal(r.news, QUEUE_DONE);
    assert_true(bytes_is(buffer_bytes(r.content), "made"));
    assert_true(strncmp(r.worker, "worker", 6) == 0);
    assert_int_equal(r.attempt, 1);
    assert_int_equal(r.failures + r.deaths, 0);
    assert_true(r.took_ms >= 0 && r.took_ms < PATIENCE_MS);
    queue_report_free(&r);
    settle(&s, "v1/segment-0.720p");
    wait_stats(&s, 0, 0);
    hear_nothing(&s);
    nothing_to_take(s.worker[0]);
    stage_close(&s);
}

static void a_key_that_is_there_stays_as_it_is(void **state)
{
    struct queue_job job;
    struct stage s;

    stage_open(&s, kind, LEASE_LONG_MS, 3, 5, 1);
    put(&s, "a");
    assert_int_equal(queue_put(s.leader, QUEUE_ARCHIVE, 3, "a", bytes_text("other")), ERR_OK);
    take(s.worker[0], &job, "a");
    assert_true(bytes_is(buffer_bytes(job.task), "a"));
    put(&s, "a");
    nothing_to_take(s.worker[0]);
    done(s.worker[0], &job, "1");
    put(&s, "a");
    nothing_to_take(s.worker[0]);
    hear_done(&s, "a", "1");
    put(&s, "a");
    nothing_to_take(s.worker[0]);
    settle(&s, "a");
    put(&s, "a");
    take(s.worker[0], &job, "a");
    queue_give_back(s.worker[0], &job);
    stage_close(&s);
}

static void live_goes_before_archive_then_rank_then_order(void **state)
{
    static const char *const order[] = {"live-3", "live-2", "live-2b", "live-0", "archive-1", "archive-0"};
    struct queue_job job;
    struct stage s;

    stage_open(&s, kind, LEASE_LONG_MS, 3, 5, 1);
    assert_int_equal(queue_put(s.leader, QUEUE_ARCHIVE, 0, "archive-0", bytes_of(NULL, 0)), ERR_OK);
    assert_int_equal(queue_put(s.leader, QUEUE_ARCHIVE, 1, "archive-1", bytes_of(NULL, 0)), ERR_OK);
    assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 0, "live-0", bytes_of(NULL, 0)), ERR_OK);
    assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 2, "live-2", bytes_of(NULL, 0)), ERR_OK);
    assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 3, "live-3", bytes_of(NULL, 0)), ERR_OK);
    assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 2, "live-2b", bytes_of(NULL, 0)), ERR_OK);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        take(s.worker[0], &job, order[i]);
        assert_int_equal(job.task->size, 0);
        done(s.worker[0], &job, "");
    }
    stage_close(&s);
}

static void a_backup_goes_to_another_worker_and_the_first_result_wins(void **state)
{
    struct queue_job first, second, none;
    struct queue_stats stats;
    struct stage s;

    stage_open(&s, kind, LEASE_LONG_MS, 3, 5, 2);
    put(&s, "slow");
    assert_int_equal(queue_again(s.leader, "slow"), ERR_MISSING);
    take(s.worker[0], &first, "slow");
    wait_stats(&s, 0, 1);
    put(&s, "next");
    assert_int_equal(queue_again(s.leader, "slow"), ERR_OK);
    assert_int_equal(queue_again(s.leader, "nobodys"), ERR_MISSING);
    take(s.worker[0], &none, "next");
    nothing_to_take(s.worker[0]);
    assert_int_equal(take_elsewhere(s.worker[1], PATIENCE_MS, &second), ERR_OK);
    assert_string_equal(second.key, "slow");
    assert_true(bytes_is(buffer_bytes(second.task), "slow"));
    wait_stats(&s, 0, 3);
    assert_int_equal(queue_beat(s.worker[0], &first), ERR_OK);
    assert_int_equal(queue_beat(s.worker[1], &second), ERR_OK);
    done(s.worker[1], &second, "by the second");
    hear_done(&s, "slow", "by the second");
    while (queue_beat(s.worker[0], &first) == ERR_OK)
        ; /* the news is on its way */
    assert_int_equal(queue_beat(s.worker[0], &first), ERR_STALE);
    done(s.worker[0], &first, "by the first");
    done(s.worker[0], &none, "x");
    hear_done(&s, "next", "x");
    settle(&s, "slow");
    settle(&s, "next");
    wait_stats(&s, 0, 0);
    hear_nothing(&s);
    queue_stats(s.leader, &stats);
    assert_int_equal(stats.backups, 1);
    stage_close(&s);
}

struct racer {
    struct queue *queue;
    struct queue_job job;
    pthread_barrier_t *start;
    enum err e;
};

static void *race(void *ctx)
{
    struct racer *r = ctx;

    pthread_barrier_wait(r->start);
    r->e = queue_done(r->queue, &r->job, bytes_text("same"));
    return NULL;
}

static void two_that_finish_at_once_make_one_result(void **state)
{
    pthread_barrier_t start;
    pthread_t threads[2];
    struct racer r[2];
    struct stage s;

    stage_open(&s, kind, LEASE_LONG_MS, 3, 5, 2);
    for (int round = 0; round < 10; round++) {
        put(&s, "one");
        r[0] = (struct racer){.queue = s.worker[0], .start = &start};
        r[1] = (struct racer){.queue = s.worker[1], .start = &start};
        take(s.worker[0], &r[0].job, "one");
        wait_stats(&s, 0, 1);
        assert_int_equal(queue_again(s.leader, "one"), ERR_OK);
        assert_int_equal(take_elsewhere(s.worker[1], PATIENCE_MS, &r[1].job), ERR_OK);
        pthread_barrier_init(&start, NULL, 2);
        for (int i = 0; i < 2; i++)
            pthread_create(&threads[i], NULL, race, &r[i]);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        pthread_barrier_destroy(&start);
        assert_int_equal(r[0].e, ERR_OK);
        assert_int_equal(r[1].e, ERR_OK);
        hear_done(&s, "one", "same");
        hear_nothing(&s);
        settle(&s, "one");
        nothing_to_take(s.worker[0]);
    }
    stage_close(&s);
}

static void what_is_dropped_is_over_and_may_be_put_anew(void **state)
{
    struct queue_job job, anew;
    struct stage s;

    stage_open(&s, kind, LEASE_LONG_MS, 3, 5, 1);
    assert_int_equal(queue_drop(s.leader, "never-there"), ERR_OK);
    put(&s, "open");
    assert_int_equal(queue_drop(s.leader, "open"), ERR_OK);
    nothing_to_take(s.worker[0]);
    put(&s, "held");
    take(s.worker[0], &job, "held");
    assert_int_equal(queue_drop(s.leader, "held"), ERR_OK);
    while (queue_beat(s.worker[0], &job) == ERR_OK)
        ; /* the news is on its way */
    put(&s, "held");
    done(s.worker[0], &job, "of the old one");
    hear_nothing(&s);
    take(s.worker[0], &anew, "held");
    done(s.worker[0], &anew, "of the new one");
    hear_done(&s, "held", "of the new one");
    assert_int_equal(queue_drop(s.leader, "held"), ERR_OK);
    stage_restart(&s);
    hear_nothing(&s);
    nothing_to_take(s.worker[0]);
    stage_close(&s);
}

static void fail_until_set_aside(bool died, unsigned times)
{
    struct queue_report r;
    struct queue_stats stats;
    struct queue_job job;
    struct stage s;

    stage_open(&s, kind, LEASE_LONG_MS, 3, 5, 2);
    put(&s, "poison");
    for (unsigned i = 1; i <= times; i++) {
        char reason[32];

        take(s.worker[i % 2], &job, "poison");
        assert_int_equal(job.attempt, i);
        snprintf(reason, sizeof reason, "reason %u", i);
        assert_int_equal(queue_fail(s.worker[i % 2], &job, died, reason), ERR_OK);
        if (i == 1)
            stage_restart(&s); /* counts are durable */
    }
    nothing_to_take(s.worker[0]);
    assert_int_equal(hear(s.leader, PATIENCE_MS, &r), ERR_OK);
    assert_int_equal(r.news, QUEUE_SET_ASIDE);
    assert_string_equal(r.key, "poison");
    assert_int_equal(r.failures, died ? 0 : times);
    assert_int_equal(r.deaths, died ? times : 0);
    assert_true(bytes_is(buffer_bytes(r.content), died ? "reason 5" : "reason 3"));
    queue_report_free(&r);
    stage_restart(&s);
    nothing_to_take(s.worker[0]);
    assert_int_equal(hear(s.leader, PATIENCE_MS, &r), ERR_OK);
    assert_int_equal(r.news, QUEUE_SET_ASIDE);
    queue_report_free(&r);
    settle(&s, "poison");
    queue_stats(s.leader, &stats);
    assert_int_equal(stats.open[QUEUE_LIVE], 0);
    stage_restart(&s);
    hear_nothing(&s);
    stage_close(&s);
}

static void a_job_that_fails_three_times_is_set_aside_with_its_reason(void **state)
{
    fail_until_set_aside(false, 3);
}

static void a_job_whose_workers_die_five_times_is_set_aside(void **state)
{
    fail_until_set_aside(true, 5);
}

static void a_lease_that_runs_out_gives_the_job_to_another_and_counts_as_a_death(void **state)
{
    struct queue_report r;
    struct queue_job lost, job;
    struct stage s;

    stage_open(&s, kind, 250, 3, 2, 2);
    put(&s, "left");
    take(s.worker[0], &lost, "left");
    take(s.worker[1], &job, "left");
    assert_int_equal(job.attempt, 2);
    while (queue_beat(s.worker[0], &lost) == ERR_OK)
        ; /* the lease was lost; the news is on its way */
    queue_give_back(s.worker[0], &lost);
    assert_int_equal(queue_beat(s.worker[1], &job), ERR_OK);
    buffer_unref(job.task); /* this one vanishes too, without a word */
    assert_int_equal(queue_take(s.worker[0], 1000, &job), ERR_TIMEOUT);
    assert_int_equal(hear(s.leader, PATIENCE_MS, &r), ERR_OK);
    assert_int_equal(r.news, QUEUE_SET_ASIDE);
    assert_int_equal(r.deaths, 2);
    assert_non_null(memmem(r.content->data, r.content->size, "worker", 6));
    queue_report_free(&r);
    stage_close(&s);
}

static void what_is_given_back_is_nobodys_fault_and_taken_at_once(void **state)
{
    struct queue_report r;
    struct queue_job job;
    struct stage s;

    stage_open(&s, kind, LEASE_LONG_MS, 1, 1, 2);
    put(&s, "a");
    put(&s, "b");
    for (unsigned i = 1; i <= 4; i++) {
        take(s.worker[i % 2], &job, "a");
        assert_int_equal(job.attempt, i);
        queue_give_back(s.worker[i % 2], &job);
    }
    take(s.worker[0], &job, "a");
    done(s.worker[0], &job, "x");
    assert_int_equal(hear(s.leader, PATIENCE_MS, &r), ERR_OK);
    assert_int_equal(r.failures + r.deaths, 0);
    assert_int_equal(r.attempt, 5);
    queue_report_free(&r);
    stage_close(&s);
}

static void a_restart_opens_what_is_unfinished_and_shows_what_is_not_settled(void **state)
{
    struct queue_report r;
    struct queue_job job;
    struct stage s;

    stage_open(&s, kind, 1000, 3, 5, 1);
    put(&s, "told");
    put(&s, "settled");
    put(&s, "untold");
    take(s.worker[0], &job, "told");
    done(s.worker[0], &job, "1");
    take(s.worker[0], &job, "settled");
    done(s.worker[0], &job, "2");
    hear_done(&s, "told", "1");
    hear_done(&s, "settled", "2");
    settle(&s, "settled");
    take(s.worker[0], &job, "untold");
    done(s.worker[0], &job, "3");
    put(&s, "held");
    put(&s, "open");
    take(s.worker[0], &job, "held");
    buffer_unref(job.task); /* its worker dies with the queue */
    stage_restart(&s);

    hear_done(&s, "told", "1");
    hear_done(&s, "untold", "3");
    put(&s, "told");
    assert_int_equal(queue_take(s.worker[0], PATIENCE_MS, &job), ERR_OK);
    done(s.worker[0], &job, "4");
    assert_int_equal(queue_take(s.worker[0], PATIENCE_MS, &job), ERR_OK);
    done(s.worker[0], &job, "5");
    nothing_to_take(s.worker[0]);
    settle(&s, "told");
    settle(&s, "untold");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hear(s.leader, PATIENCE_MS, &r), ERR_OK);
        assert_true(strcmp(r.key, "held") == 0 || strcmp(r.key, "open") == 0);
        settle(&s, r.key);
        queue_report_free(&r);
    }
    stage_restart(&s);
    hear_nothing(&s);
    nothing_to_take(s.worker[0]);
    stage_close(&s);
}

static void *stop_it(void *ctx)
{
    queue_stop(ctx);
    return NULL;
}

static void stopping_ends_every_wait(void **state)
{
    struct queue_report r;
    struct queue_job job;
    pthread_t thread;
    struct stage s;

    stage_open(&s, kind, LEASE_LONG_MS, 3, 5, 1);
    pthread_create(&thread, NULL, stop_it, s.worker[0]);
    assert_int_equal(queue_take(s.worker[0], PATIENCE_MS, &job), ERR_CLOSED);
    pthread_join(thread, NULL);
    assert_int_equal(queue_take(s.worker[0], PATIENCE_MS, &job), ERR_CLOSED);
    queue_stop(s.leader);
    assert_int_equal(queue_listen(s.leader, PATIENCE_MS, &r), ERR_CLOSED);
    stage_close(&s);
}

static void bad_keys_and_too_much_are_refused(void **state)
{
    static const char *const bad[] = {"", "a b", "a*", "a>", "a%", "\xc3\xa9", "a\n", "a\"b"};
    char key[QUEUE_KEY_MAX + 2];
    void *much = calloc(1, QUEUE_BYTES_MAX + 1);
    struct queue_report r;
    struct queue_job job;
    struct stage s;

    stage_open(&s, kind, LEASE_LONG_MS, 3, 5, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 0, bad[i], bytes_text("x")), ERR_BAD);
        assert_int_equal(queue_again(s.leader, bad[i]), ERR_BAD);
        assert_int_equal(queue_drop(s.leader, bad[i]), ERR_BAD);
        assert_int_equal(queue_settle(s.leader, &bad[i], 1), ERR_BAD);
    }
    memset(key, 'k', sizeof key);
    key[QUEUE_KEY_MAX + 1] = '\0';
    assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 0, key, bytes_text("x")), ERR_BAD);
    memcpy(key, "..+/-_..", 8);
    key[QUEUE_KEY_MAX] = '\0';
    assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 0, key, bytes_of(much, QUEUE_BYTES_MAX + 1)), ERR_LIMIT);
    assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 0, key, bytes_of(much, QUEUE_BYTES_MAX)), ERR_OK);
    take(s.worker[0], &job, key);
    assert_int_equal(job.task->size, QUEUE_BYTES_MAX);
    assert_int_equal(queue_done(s.worker[0], &job, bytes_of(much, QUEUE_BYTES_MAX + 1)), ERR_LIMIT);
    take(s.worker[0], &job, key);
    assert_int_equal(queue_done(s.worker[0], &job, bytes_of(much, QUEUE_BYTES_MAX)), ERR_OK);
    assert_int_equal(hear(s.leader, PATIENCE_MS, &r), ERR_OK);
    assert_int_equal(r.content->size, QUEUE_BYTES_MAX);
    assert_int_equal(r.failures, 1);
    queue_report_free(&r);
    stage_close(&s);
    free(much);
}

/* --- a crowd --------------------------------------------------------------------------------------------- */

#define CROWD_JOBS  1000
#define KILLED_JOBS 400

struct crowd {
    struct stage stage;
    unsigned jobs;
    atomic_uint seed;
    atomic_uint settled;
};

struct member {
    struct crowd *crowd;
    struct queue *queue;
    pthread_t thread;
};

/* Works, and one time in thirty vanishes with its job. */
static void *work(void *ctx)
{
    struct member *m = ctx;
    unsigned seed = atomic_fetch_add(&m->crowd->seed, 1);
    struct queue_job job;
    enum err e;

    while ((e = queue_take(m->queue, PATIENCE_MS, &job)) != ERR_CLOSED) {
        if (e != ERR_OK)
            continue;
        int chance = rand_r(&seed) % 30;

        if (chance == 0)
            buffer_unref(job.task);
        else if (chance == 1)
            queue_give_back(m->queue, &job);
        else if (chance == 2)
            (void)!queue_fail(m->queue, &job, false, "by chance");
        else
            (void)!queue_done(m->queue, &job, buffer_bytes(job.task)); /* a lost one is done by the next */
    }
    return NULL;
}

/* Counts the results of each job and settles them until all are settled. Over NATS one may come of a job that is settled. */
static void lead(struct crowd *c, void (*midway)(struct crowd *c, unsigned settled))
{
    unsigned results[CROWD_JOBS] = {0};

    while (c->settled < c->jobs) {
        struct queue_report r;
        const char *key = r.key;
        enum err e = hear(c->stage.leader, PATIENCE_MS, &r);
        uint64_t number;

        if (e == ERR_IO)
            continue;
        assert_int_equal(e, ERR_OK);
        assert_int_equal(r.news, QUEUE_DONE);
        assert_true(bytes_to_u64(bytes_text(r.key + 4), CROWD_JOBS - 1, &number));
        assert_true(bytes_is(buffer_bytes(r.content), r.key));
        while ((e = queue_settle(c->stage.leader, &key, 1)) == ERR_IO)
            ;
        assert_int_equal(e, ERR_OK);
        queue_report_free(&r);
        if (results[number]++ > 0) {
            assert_int_equal(kind, STAGE_NATS);
            continue;
        }
        c->settled++;
        if (midway != NULL)
            midway(c, c->settled);
    }
}

static void play_crowd(unsigned jobs, int64_t lease_ms, void (*midway)(struct crowd *c, unsigned settled))
{
    struct crowd c = {.jobs = jobs, .seed = (unsigned)getpid()};
    struct member members[STAGE_WORKERS];

    print_message("seed %u\n", c.seed);
    stage_open(&c.stage, kind, lease_ms, 1000, 1000, STAGE_WORKERS);
    for (int i = 0; i < STAGE_WORKERS; i++) {
        members[i] = (struct member){.crowd = &c, .queue = c.stage.worker[i]};
        pthread_create(&members[i].thread, NULL, work, &members[i]);
    }
    for (unsigned i = 0; i < jobs; i++) {
        char key[32];

        snprintf(key, sizeof key, "job-%u", i);
        assert_int_equal(
            queue_put(c.stage.leader, i % 2 ? QUEUE_LIVE : QUEUE_ARCHIVE, i % 3, key, bytes_text(key)),
            ERR_OK);
    }
    lead(&c, midway);
    hear_nothing(&c.stage);
    for (int i = 0; i < STAGE_WORKERS; i++)
        queue_stop(members[i].queue);
    for (int i = 0; i < STAGE_WORKERS; i++)
        pthread_join(members[i].thread, NULL);
    stage_close(&c.stage);
}

static void a_thousand_jobs_and_workers_that_vanish_make_a_thousand_results(void **state)
{
    play_crowd(CROWD_JOBS, 400, NULL);
}

static void restart_server(struct stage *s)
{
    stage_server_kill(s);
    stage_server_start(s);
}

static void kill_the_server_now_and_then(struct crowd *c, unsigned settled)
{
    if (settled % 45 == 0)
        restart_server(&c->stage);
}

static void kill_9_of_the_server_loses_and_doubles_nothing(void **state)
{
    play_crowd(KILLED_JOBS, 600, kill_the_server_now_and_then);
}

static void a_server_that_is_away_is_waited_for(void **state)
{
    struct queue_options options;
    struct queue_report r;
    struct queue_job job;
    struct queue *late;
    struct stage s;
    char why[256];
    enum err e;

    stage_open(&s, STAGE_NATS, LEASE_LONG_MS, 3, 5, 1);
    put(&s, "before");
    stage_server_kill(&s);
    assert_int_equal(queue_take(s.worker[0], 0, &job), ERR_IO);
    assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 0, "away", bytes_text("x")), ERR_IO);
    options = s.options;
    options.worker = "late";
    assert_int_equal(queue_open(&late, &options, why), ERR_OK);
    stage_server_start(&s);
    assert_int_equal(queue_take(late, PATIENCE_MS, &job), ERR_OK);
    assert_string_equal(job.key, "before");
    done(late, &job, "1");
    while ((e = hear(s.leader, PATIENCE_MS, &r)) == ERR_IO)
        ;
    assert_int_equal(e, ERR_OK);
    queue_report_free(&r);
    queue_close(late);
    stage_close(&s);
}

static void put_when_it_is_back(struct stage *s, const char *key)
{
    enum err e;

    while ((e = queue_put(s->leader, QUEUE_LIVE, 0, key, bytes_text(key))) == ERR_IO)
        ;
    assert_int_equal(e, ERR_OK);
}

static void hear_done_when_it_is_back(struct stage *s, const char *key)
{
    struct queue_report r;
    enum err e;

    while ((e = hear(s->leader, PATIENCE_MS, &r)) == ERR_IO)
        ;
    assert_int_equal(e, ERR_OK);
    assert_string_equal(r.key, key);
    assert_int_equal(r.failures + r.deaths, 0);
    queue_report_free(&r);
}

/* A stream that was emptied begins anew after a kill, and its consumers would wait for what comes after the messages of before. */
static void a_server_killed_when_idle_hands_out_what_comes_next(void **state)
{
    struct queue_job job;
    struct stage s;

    stage_open(&s, STAGE_NATS, LEASE_LONG_MS, 3, 5, 1);
    for (int life = 0; life < 3; life++) {
        for (int i = 0; i < 5; i++) {
            char key[32];

            snprintf(key, sizeof key, "job-%d-%d", life, i);
            put_when_it_is_back(&s, key);
            while (queue_take(s.worker[0], PATIENCE_MS, &job) == ERR_IO)
                ;
            assert_string_equal(job.key, key);
            done(s.worker[0], &job, "1");
            hear_done_when_it_is_back(&s, key);
            settle(&s, key);
        }
        restart_server(&s);
    }
    stage_close(&s);
}

static void whoever_is_at_a_job_when_the_server_is_killed_goes_on(void **state)
{
    struct queue_job job, other;
    struct stage s;
    enum err e;

    stage_open(&s, STAGE_NATS, LEASE_LONG_MS, 3, 5, 1);
    put(&s, "begun");
    take(s.worker[0], &job, "begun");
    restart_server(&s);
    put_when_it_is_back(&s, "next");
    while ((e = queue_take(s.worker[0], PATIENCE_MS, &other)) == ERR_IO)
        ;
    assert_int_equal(e, ERR_OK);
    assert_string_equal(other.key, "next"); /* "begun" came before it, and was not begun again */
    assert_int_equal(queue_beat(s.worker[0], &job), ERR_OK);
    nothing_to_take(s.worker[0]);
    done(s.worker[0], &job, "1");
    hear_done_when_it_is_back(&s, "begun");
    done(s.worker[0], &other, "2");
    hear_done_when_it_is_back(&s, "next");
    stage_close(&s);
}

/* A thread that stands still has lost its job to the next of the same process, and that is one death, however long it stands. */
static void a_lease_that_runs_out_in_ones_own_process_is_begun_anew(void **state)
{
    struct queue_job slow, job;
    struct queue_report r;
    struct stage s;

    stage_open(&s, STAGE_NATS, 500, 3, 5, 1);
    put(&s, "job");
    take(s.worker[0], &slow, "job");
    take(s.worker[0], &job, "job");
    assert_int_equal(queue_beat(s.worker[0], &slow), ERR_STALE);
    queue_give_back(s.worker[0], &slow);
    done(s.worker[0], &job, "1");
    assert_int_equal(hear(s.leader, PATIENCE_MS, &r), ERR_OK);
    assert_int_equal(r.deaths, 1);
    assert_int_equal(r.attempt, 2);
    queue_report_free(&r);
    stage_close(&s);
}

/* How many tasks the server thinks are with somebody. */
static int64_t with_workers(const struct stage *s)
{
    natsConnection *connection = NULL;
    jsConsumerInfoList *list = NULL;
    jsCtx *js = NULL;
    int64_t count = 0;

    assert_int_equal(natsConnection_ConnectTo(&connection, s->url), NATS_OK);
    assert_int_equal(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    assert_int_equal(js_Consumers(&list, js, "MATINEE_JOBS", NULL, NULL), NATS_OK);
    for (int i = 0; i < list->Count; i++)
        count += list->List[i]->NumAckPending;
    jsConsumerInfoList_Destroy(list);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
    return count;
}

/* Else the server would look for the lost backup's task each time its lease runs out, and whoever asks meanwhile would wait in vain. */
static void a_lost_backup_of_a_settled_job_is_forgotten(void **state)
{
    struct queue_job first, backup, job;
    struct queue_report r;
    struct stage s;

    stage_open(&s, STAGE_NATS, LEASE_LONG_MS, 3, 5, 2);
    put(&s, "stays");
    take(s.worker[0], &job, "stays");
    done(s.worker[0], &job, "1");
    hear_done(&s, "stays", "1");
    put(&s, "job");
    take(s.worker[0], &first, "job");
    wait_stats(&s, 0, 1);
    assert_int_equal(queue_again(s.leader, "job"), ERR_OK);
    take(s.worker[1], &backup, "job");
    wait_stats(&s, 0, 2);
    assert_int_equal(with_workers(&s), 2);
    done(s.worker[0], &first, "2");
    hear_done(&s, "job", "2");
    settle(&s, "job");
    buffer_unref(backup.task); /* its worker dies with the queue */
    for (int i = 0; i < 100 && with_workers(&s) > 0; i++)
        assert_int_equal(queue_listen(s.leader, 20, &r), ERR_TIMEOUT);
    assert_int_equal(with_workers(&s), 0);
    stage_close(&s);
}

static void expect_result(struct queue *leader, const char *key, const char *result)
{
    struct queue_report r;

    assert_int_equal(hear(leader, PATIENCE_MS, &r), ERR_OK);
    assert_string_equal(r.key, key);
    assert_true(bytes_is(buffer_bytes(r.content), result));
    queue_report_free(&r);
}

static struct queue *second_leader(const struct stage *s)
{
    struct queue_options options = s->options;
    struct queue *second;
    char why[256];

    options.leader = options.worker = "second";
    assert_int_equal(queue_open(&second, &options, why), ERR_OK);
    return second;
}

static void do_two(struct queue *worker)
{
    struct queue_job job;

    for (int i = 0; i < 2; i++) {
        char result[64];

        assert_int_equal(queue_take(worker, PATIENCE_MS, &job), ERR_OK);
        snprintf(result, sizeof result, "done: %.*s", (int)job.task->size, (const char *)job.task->data);
        done(worker, &job, result);
    }
}

static void leaders_share_a_queue_and_each_hears_its_own_results_only(void **state)
{
    const char *key = "segment-1";
    struct queue_report r;
    struct queue *second;
    struct queue_job job;
    struct stage s;

    stage_open(&s, STAGE_NATS, LEASE_LONG_MS, 3, 5, 1);
    second = second_leader(&s);
    assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 0, key, bytes_text("the first's")), ERR_OK);
    assert_int_equal(queue_put(second, QUEUE_LIVE, 0, key, bytes_text("the second's")), ERR_OK);
    do_two(s.worker[0]);
    expect_result(second, key, "done: the second's");
    queue_close(second); /* before it settled: it is shown again, and to nobody else */
    expect_result(s.leader, key, "done: the first's");
    assert_int_equal(hear(s.leader, 0, &r), ERR_TIMEOUT);
    assert_int_equal(queue_settle(s.leader, &key, 1), ERR_OK);
    second = second_leader(&s);
    expect_result(second, key, "done: the second's");
    assert_int_equal(queue_put(s.leader, QUEUE_LIVE, 0, key, bytes_text("again")), ERR_OK);
    assert_int_equal(queue_drop(second, key), ERR_OK);
    assert_int_equal(queue_take(s.worker[0], PATIENCE_MS, &job), ERR_OK);
    assert_true(bytes_is(buffer_bytes(job.task), "again"));
    queue_give_back(s.worker[0], &job);
    queue_close(second);
    stage_close(&s);
}

/* What a worker tells comes in its order: a leader that hears that one job was begun has heard of all before it. */
static void do_and_hear_all(struct queue *leader, struct queue *worker)
{
    struct queue_report r;
    struct queue_job job;

    assert_int_equal(queue_put(leader, QUEUE_LIVE, 0, "last", bytes_text("x")), ERR_OK);
    assert_int_equal(queue_take(worker, PATIENCE_MS, &job), ERR_OK);
    do {
        assert_int_equal(queue_listen(leader, PATIENCE_MS, &r), ERR_OK);
        assert_int_equal(r.news, QUEUE_STARTED);
    } while (strcmp(r.key, "last") != 0);
    done(worker, &job, "1");
    assert_int_equal(hear(leader, PATIENCE_MS, &r), ERR_OK);
    assert_string_equal(r.key, "last");
    queue_report_free(&r);
}

static void what_goes_wrong_with_ones_jobs_is_counted_by_its_leader_alone(void **state)
{
    struct queue_stats first, other;
    struct queue_report r;
    struct queue *second;
    struct queue_job job;
    struct stage s;

    stage_open(&s, STAGE_NATS, LEASE_LONG_MS, 1, 5, 1);
    second = second_leader(&s);
    assert_int_equal(queue_put(second, QUEUE_LIVE, 0, "poison", bytes_text("x")), ERR_OK);
    assert_int_equal(queue_take(s.worker[0], PATIENCE_MS, &job), ERR_OK);
    assert_int_equal(queue_fail(s.worker[0], &job, false, "no"), ERR_OK);
    assert_int_equal(hear(second, PATIENCE_MS, &r), ERR_OK);
    assert_int_equal(r.news, QUEUE_SET_ASIDE);
    queue_report_free(&r);
    do_and_hear_all(second, s.worker[0]);
    queue_stats(second, &other);
    assert_int_equal(other.set_aside, 1);
    assert_int_equal(other.failures, 1);
    do_and_hear_all(s.leader, s.worker[0]);
    queue_stats(s.leader, &first);
    assert_int_equal(first.failures + first.set_aside, 0);
    assert_int_equal(first.open[QUEUE_LIVE] + first.held, 0);
    queue_close(second);
    stage_close(&s);
}

static void a_server_without_jetstream_is_refused_with_advice(void **state)
{
    struct stage s = {.folder = folder_new(), .bare = true};

    stage_server_start(&s);
    snprintf(s.url, sizeof s.url, "nats://somebody:secret@127.0.0.1:%d", s.port);
    refuse(s.url, ERR_UNSUPPORTED, "nats-server with -js");
    stage_server_kill(&s);
    folder_remove(s.folder);
    refuse("nats://127.0.0.1:notaport", ERR_BAD, "127.0.0.1:notaport");
}

/* --- kill -9 --------------------------------------------------------------------------------------------- */

#define KILL_ROUNDS 12
#define KILL_JOBS   400

/* What a process says it did: puts that were acknowledged, results it was shown, settles it began and that returned. */
struct word {
    enum { PUT, SHOWN, SETTLING, SETTLED } what;
    unsigned number;
};

static void say(int fd, int what, unsigned number)
{
    struct word w = {what, number};

    if (write(fd, &w, sizeof w) != sizeof w)
        _exit(1);
}

static void number_key(char key[32], unsigned number)
{
    snprintf(key, 32, "n-%u", number);
}

/* Puts from `number` on, works, settles; until it is killed, or all is done. */
static void live_until_killed(const char *url, int fd, unsigned number, unsigned seed)
{
    struct queue_options options = {url, "leader", "worker", LEASE_LONG_MS, 1000, 1000};
    struct queue_report r;
    struct queue_job job;
    struct queue *q;
    char key[32], why[256];

    if (queue_open(&q, &options, why) != ERR_OK)
        _exit(2);
    for (;;) {
        const char *name = r.key;
        uint64_t found;

        for (int i = rand_r(&seed) % 4; i > 0 && number < KILL_JOBS; i--, number++) {
            number_key(key, number);
            if (queue_put(q, QUEUE_LIVE, 0, key, bytes_text(key)) != ERR_OK)
                _exit(3);
            say(fd, PUT, number);
        }
        if (queue_take(q, 0, &job) == ERR_OK &&
            queue_done(q, &job, rand_r(&seed) % 9 ? bytes_text("1") : bytes_text("22")) != ERR_OK)
            _exit(4);
        if (hear(q, 0, &r) == ERR_OK) {
            if (!bytes_to_u64(bytes_text(r.key + 2), KILL_JOBS, &found))
                _exit(5);
            say(fd, SHOWN, (unsigned)found);
            if (found >= number)
                number = (unsigned)found + 1; /* put by one that was killed before it could say so */
            if (rand_r(&seed) % 3 != 0 || number >= KILL_JOBS) {
                say(fd, SETTLING, (unsigned)found);
                if (queue_settle(q, &name, 1) != ERR_OK)
                    _exit(6);
                say(fd, SETTLED, (unsigned)found);
            }
            queue_report_free(&r);
        } else if (number >= KILL_JOBS) {
            struct queue_stats stats;

            queue_stats(q, &stats);
            if (stats.open[QUEUE_LIVE] + stats.held == 0)
                _exit(0);
        }
    }
}

struct book {
    bool put[KILL_JOBS], settling[KILL_JOBS], settled[KILL_JOBS];
    unsigned next; /* to be put */
};

static void write_down(struct book *b, struct word w)
{
    assert_true(w.number < KILL_JOBS);
    assert_false(b->settled[w.number]); /* nothing is ever heard again of what was settled */
    if (w.what == PUT || (w.what == SHOWN && w.number >= b->next)) {
        b->put[w.number] = true;
        b->next = w.number + 1;
    }
    if (w.what == SETTLING)
        b->settling[w.number] = true; /* a kill may hide whether it was; nothing else may */
    if (w.what == SETTLED)
        b->settled[w.number] = true;
}

static void kill_9_of_the_process_loses_and_doubles_nothing(void **state)
{
    unsigned seed = (unsigned)getpid();
    char *folder = folder_new(), url[128];
    struct book b = {.next = 0};
    int status = -1;

    print_message("seed %u\n", seed);
    snprintf(url, sizeof url, "local:%s/queue", folder);
    for (int round = 0; round <= KILL_ROUNDS; round++) {
        int pipes[2], left = round == KILL_ROUNDS ? -1 : rand_r(&seed) % 120;
        struct word w;
        pid_t child;

        assert_int_equal(pipe(pipes), 0);
        if ((child = fork()) == 0)
            live_until_killed(url, pipes[1], b.next, seed + (unsigned)round);
        close(pipes[1]);
        while (left-- != 0 && read(pipes[0], &w, sizeof w) == sizeof w)
            write_down(&b, w);
        if (round < KILL_ROUNDS)
            kill(child, SIGKILL);
        while (read(pipes[0], &w, sizeof w) == sizeof w)
            write_down(&b, w);
        close(pipes[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    struct stage s = {.folder = folder};
    struct queue_options options = {url, "leader", "worker", LEASE_LONG_MS, 3, 5};
    struct queue_report r;
    char why[256];

    assert_int_equal(queue_open(&s.leader, &options, why), ERR_OK);
    while (hear(s.leader, 0, &r) == ERR_OK) { /* shown and not settled before the last kill */
        const char *key = r.key;
        uint64_t number;

        assert_true(bytes_to_u64(bytes_text(r.key + 2), KILL_JOBS, &number));
        write_down(&b, (struct word){SETTLED, (unsigned)number});
        assert_int_equal(queue_settle(s.leader, &key, 1), ERR_OK);
        queue_report_free(&r);
    }
    for (unsigned i = 0; i < KILL_JOBS; i++)
        assert_true(b.put[i] && (b.settled[i] || b.settling[i]));
    queue_close(s.leader);
    folder_remove(folder);
}

/* --- what belongs to one kind ---------------------------------------------------------------------------- */

static void a_bad_url_is_refused_with_advice(void **state)
{
    char *folder = folder_new(), url[160], file[128];
    struct queue_options options = {url, "leader", "worker", 1000, 3, 5};
    struct queue *q;
    char why[256];
    FILE *f;

    refuse("", ERR_UNSUPPORTED, "local:FILE");
    refuse("nats://", ERR_UNSUPPORTED, "nats://HOST:PORT");
    refuse("local:", ERR_UNSUPPORTED, "local:FILE");
    refuse("redis://x", ERR_UNSUPPORTED, "local:FILE");
    refuse("local:/nowhere/at/all", ERR_DENIED, "folder must be there");
    snprintf(file, sizeof file, "%s/text", folder);
    f = fopen(file, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database", f);
    fclose(f);
    snprintf(url, sizeof url, "local:%s", file);
    refuse(url, ERR_BAD, "no SQLite database");
    snprintf(url, sizeof url, "local:%s/queue", folder);
    assert_int_equal(queue_open(&q, &options, why), ERR_OK);
    refuse(url, ERR_BUSY, "another process has it open");
    queue_close(q);
    options.worker = "has a space";
    assert_int_equal(queue_open(&q, &options, why), ERR_BAD);
    options.worker = "worker";
    options.leader = "a.dot";
    assert_int_equal(queue_open(&q, &options, why), ERR_BAD);
    options.leader = "";
    assert_int_equal(queue_open(&q, &options, why), ERR_BAD);
    options.leader = NULL;
    options.lease_ms = 0;
    assert_int_equal(queue_open(&q, &options, why), ERR_BAD);
    folder_remove(folder);
    queue_close(NULL);
}

#define PROMISES                                                                                             \
    cmocka_unit_test(a_job_is_put_taken_done_told_and_settled),                                              \
        cmocka_unit_test(a_key_that_is_there_stays_as_it_is),                                                \
        cmocka_unit_test(live_goes_before_archive_then_rank_then_order),                                     \
        cmocka_unit_test(a_backup_goes_to_another_worker_and_the_first_result_wins),                         \
        cmocka_unit_test(two_that_finish_at_once_make_one_result),                                           \
        cmocka_unit_test(what_is_dropped_is_over_and_may_be_put_anew),                                       \
        cmocka_unit_test(a_job_that_fails_three_times_is_set_aside_with_its_reason),                         \
        cmocka_unit_test(a_job_whose_workers_die_five_times_is_set_aside),                                   \
        cmocka_unit_test(a_lease_that_runs_out_gives_the_job_to_another_and_counts_as_a_death),              \
        cmocka_unit_test(what_is_given_back_is_nobodys_fault_and_taken_at_once),                             \
        cmocka_unit_test(a_restart_opens_what_is_unfinished_and_shows_what_is_not_settled),                  \
        cmocka_unit_test(stopping_ends_every_wait), cmocka_unit_test(bad_keys_and_too_much_are_refused),     \
        cmocka_unit_test(a_thousand_jobs_and_workers_that_vanish_make_a_thousand_results)

int main(void)
{
    const struct CMUnitTest local[] = {
        cmocka_unit_test(kill_9_of_the_process_loses_and_doubles_nothing),
        cmocka_unit_test(a_bad_url_is_refused_with_advice),
        PROMISES,
    };

    const struct CMUnitTest nats[] = {
        PROMISES,
        cmocka_unit_test(kill_9_of_the_server_loses_and_doubles_nothing),
        cmocka_unit_test(a_server_that_is_away_is_waited_for),
        cmocka_unit_test(a_server_killed_when_idle_hands_out_what_comes_next),
        cmocka_unit_test(whoever_is_at_a_job_when_the_server_is_killed_goes_on),
        cmocka_unit_test(a_lease_that_runs_out_in_ones_own_process_is_begun_anew),
        cmocka_unit_test(a_lost_backup_of_a_settled_job_is_forgotten),
        cmocka_unit_test(leaders_share_a_queue_and_each_hears_its_own_results_only),
        cmocka_unit_test(what_goes_wrong_with_ones_jobs_is_counted_by_its_leader_alone),
        cmocka_unit_test(a_server_without_jetstream_is_refused_with_advice),
    };
    int failed = cmocka_run_group_tests_name("local", local, play_local, NULL);

    failed += cmocka_run_group_tests_name("nats", nats, play_nats, NULL);
    return failed;
}
