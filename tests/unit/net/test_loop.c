/* Loops: mail, timers, the pool and other crews, and the end of it all. */
#include "unit.h"

#include "base/clock.h"
#include "net/net.h"
#include "wait.h"

#include <stdatomic.h>

static struct net *net;

static int start(void **state)
{
    return net_start(&net, 2, 2) == ERR_OK ? 0 : -1;
}

static int stop(void **state)
{
    net_stop(net);
    return 0;
}

/* --- mail -------------------------------------------------------------------------------------------- */

#define SENDERS 4
#define LETTERS 2000

struct sender {
    pthread_t thread;
    int next; /* what the loop expects of this one */
    bool in_order;
    sem_t *done;
};

struct letter {
    struct sender *from;
    int number;
};

static struct letter letters[SENDERS][LETTERS];

static void letter_came(void *ctx)
{
    struct letter *l = ctx;

    l->from->in_order = l->from->in_order && l->from->next == l->number;
    l->from->next++;
    if (l->from->next == LETTERS)
        sem_post(l->from->done);
}

static void *send_letters(void *ctx)
{
    struct letter *mine = ctx;

    for (int i = 0; i < LETTERS; i++)
        loop_post(net_loop(net, 1), letter_came, &mine[i]);
    return NULL;
}

static void what_one_thread_posts_arrives_in_order_and_nothing_is_lost(void **state)
{
    struct sender senders[SENDERS];
    sem_t done;

    sem_init(&done, 0, 0);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.in_order = true, .done = &done};
        for (int k = 0; k < LETTERS; k++)
            letters[i][k] = (struct letter){&senders[i], k};
        pthread_create(&senders[i].thread, NULL, send_letters, letters[i]);
    }
    for (int i = 0; i < SENDERS; i++)
        wait_for(&done);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        assert_true(senders[i].in_order);
    }
    sem_destroy(&done);
}

struct turn_story {
    sem_t done;
    char text[16];
};

static void tell(struct turn_story *s, const char *word)
{
    strncat(s->text, word, sizeof s->text - strlen(s->text) - 1);
}

static void last_of_turn(void *ctx)
{
    tell(ctx, "c");
}

static void after_turn(void *ctx)
{
    tell(ctx, "b");
    loop_after_turn(loop_here(), last_of_turn, ctx);
}

static void next_turn(void *ctx)
{
    struct turn_story *s = ctx;

    tell(s, "d");
    sem_post(&s->done);
}

static void first_turn(void *ctx)
{
    loop_after_turn(loop_here(), after_turn, ctx);
    loop_post(loop_here(), next_turn, ctx);
    tell(ctx, "a");
}

static void frees_come_at_the_end_of_the_turn_and_mail_in_the_next(void **state)
{
    struct turn_story s = {0};

    sem_init(&s.done, 0, 0);
    loop_post(net_loop(net, 0), first_turn, &s);
    wait_for(&s.done);
    assert_string_equal(s.text, "abcd");
    sem_destroy(&s.done);
}

static void a_thread_that_is_no_loop_has_none(void **state)
{
    assert_null(loop_here());
    assert_int_equal(net_loop_count(net), 2);
    assert_ptr_equal(loop_net(net_loop(net, 1)), net);
    assert_int_equal(loop_index(net_loop(net, 1)), 1);
}

/* --- timers ------------------------------------------------------------------------------------------ */

#define TIMERS 64

struct clockwork {
    sem_t done;
    struct timer timers[TIMERS];
    struct timer tick;
    int64_t last_due;
    int fired, ticks;
    bool in_order;
};

static void fired(void *ctx)
{
    struct clockwork *c = ctx;

    c->fired++;
    if (c->fired == TIMERS / 2)
        sem_post(&c->done);
}

static void wind_up(void *ctx)
{
    struct clockwork *c = ctx;

    for (int i = 0; i < TIMERS; i++)
        timer_start(loop_here(), &c->timers[i], (i * 37) % 20, fired, c);
    for (int i = 0; i < TIMERS; i += 4) /* moved: fires once, at the new time */
        timer_start(loop_here(), &c->timers[i], (i * 13) % 20, fired, c);
    for (int i = 1; i < TIMERS; i += 2)
        timer_stop(&c->timers[i]);
    timer_stop(&c->timers[1]); /* twice is harmless */
}

static void timers_fire_once_may_be_moved_and_stopped(void **state)
{
    struct clockwork c = {0};

    sem_init(&c.done, 0, 0);
    loop_post(net_loop(net, 0), wind_up, &c);
    wait_for(&c.done);
    assert_int_equal(c.fired, TIMERS / 2);
    for (int i = 0; i < TIMERS; i++)
        assert_null(c.timers[i].loop);
    sem_destroy(&c.done);
}

static void tick(void *ctx)
{
    struct clockwork *c = ctx;

    if (++c->ticks == 1000)
        sem_post(&c->done);
    else
        timer_start(loop_here(), &c->tick, 0, tick, c);
}

/* A timer that starts itself with no delay takes turns with everybody else. */
static void a_timer_without_delay_does_not_starve_the_mail(void **state)
{
    struct clockwork c = {0};
    struct turn_story s = {0};

    sem_init(&c.done, 0, 0);
    sem_init(&s.done, 0, 0);
    loop_post(net_loop(net, 0), tick, &c);
    loop_post(net_loop(net, 0), next_turn, &s);
    wait_for(&s.done);
    wait_for(&c.done);
    sem_destroy(&c.done);
    sem_destroy(&s.done);
}

struct ordered {
    struct timer timer;
    struct clockwork *of;
    int64_t due;
};

static void in_order(void *ctx)
{
    struct ordered *o = ctx;

    o->of->in_order = o->of->in_order && o->of->last_due <= o->due;
    o->of->last_due = o->due;
    if (++o->of->fired == TIMERS)
        sem_post(&o->of->done);
}

static struct ordered many[TIMERS];

static void start_many(void *ctx)
{
    for (int i = 0; i < TIMERS; i++) {
        many[i].of = ctx;
        many[i].due = (i * 7919) % 50;
        timer_start(loop_here(), &many[i].timer, many[i].due, in_order, &many[i]);
    }
}

static void timers_fire_in_the_order_they_are_due(void **state)
{
    struct clockwork c = {.in_order = true};

    sem_init(&c.done, 0, 0);
    loop_post(net_loop(net, 1), start_many, &c);
    wait_for(&c.done);
    assert_true(c.in_order);
    sem_destroy(&c.done);
}

/* --- the pool ---------------------------------------------------------------------------------------- */

struct errand {
    sem_t done;
    pthread_t worked_on;
    struct loop *done_on;
    atomic_int *count;
};

static void work(void *ctx)
{
    struct errand *e = ctx;

    e->worked_on = pthread_self();
}

static void work_done(void *ctx)
{
    struct errand *e = ctx;

    e->done_on = loop_here();
    sem_post(&e->done);
}

static void work_is_done_elsewhere_and_its_end_is_told_on_the_loop(void **state)
{
    struct errand e = {0};

    sem_init(&e.done, 0, 0);
    pool_run(net_loop(net, 1), work, work_done, &e);
    wait_for(&e.done);
    assert_ptr_equal(e.done_on, net_loop(net, 1));
    assert_false(pthread_equal(e.worked_on, pthread_self()));
    sem_destroy(&e.done);
}

static void count_work(void *ctx)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static void count_more(void *ctx)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
    pool_run(loop_here(), count_work, count_work, ctx); /* asked while the house closes, done all the same */
}

static void the_house_ends_with_all_its_work_done(void **state)
{
    struct net *n;
    atomic_int count = 0;

    assert_int_equal(net_start(&n, 1, 3), ERR_OK);
    for (int i = 0; i < 100; i++)
        pool_run(net_loop(n, 0), count_work, count_more, &count);
    net_stop(n);
    assert_int_equal(count, 400);
}

/* --- crews ------------------------------------------------------------------------------------------- */

/* Stands in a lane until it is let go. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int inside;
    bool open;
};

static void stand(void *ctx)
{
    struct gate *g = ctx;

    pthread_mutex_lock(&g->lock);
    g->inside++;
    pthread_cond_broadcast(&g->changed);
    while (!g->open)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void a_lane_that_hangs_stops_no_other_and_its_line_is_bounded(void **state)
{
    struct gate g = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    const unsigned threads_max[] = {3, 1};
    struct crew *c = crew_new("test", threads_max, 2);
    atomic_int done = 0;

    for (int i = 0; i < 3; i++)
        assert_true(crew_run(c, 0, SIZE_MAX, NULL, stand, NULL, &g));
    pthread_mutex_lock(&g.lock);
    while (g.inside < 3)
        pthread_cond_wait(&g.changed, &g.lock);
    pthread_mutex_unlock(&g.lock);
    assert_true(crew_run(c, 0, 2, NULL, count_work, NULL, &done));
    assert_true(crew_run(c, 0, 2, NULL, count_work, NULL, &done));
    assert_false(crew_run(c, 0, 2, NULL, count_work, NULL, &done));

    struct gate other = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .open = true};

    assert_true(crew_run(c, 1, SIZE_MAX, NULL, stand, NULL, &other));
    pthread_mutex_lock(&other.lock);
    while (other.inside == 0) /* it runs, though all of the first stand */
        pthread_cond_wait(&other.changed, &other.lock);
    pthread_mutex_unlock(&other.lock);
    assert_int_equal(atomic_load(&done), 0);
    pthread_mutex_lock(&g.lock);
    g.open = true;
    pthread_cond_broadcast(&g.changed);
    pthread_mutex_unlock(&g.lock);
    crew_stop(c);
    assert_int_equal(atomic_load(&done), 2);
    assert_true(crew_run(c, 0, SIZE_MAX, NULL, count_work, NULL, &done)); /* in place */
    assert_int_equal(atomic_load(&done), 3);
    crew_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_thread_posts_arrives_in_order_and_nothing_is_lost),
        cmocka_unit_test(frees_come_at_the_end_of_the_turn_and_mail_in_the_next),
        cmocka_unit_test(a_thread_that_is_no_loop_has_none),
        cmocka_unit_test(timers_fire_once_may_be_moved_and_stopped),
        cmocka_unit_test(a_timer_without_delay_does_not_starve_the_mail),
        cmocka_unit_test(timers_fire_in_the_order_they_are_due),
        cmocka_unit_test(work_is_done_elsewhere_and_its_end_is_told_on_the_loop),
        cmocka_unit_test(the_house_ends_with_all_its_work_done),
        cmocka_unit_test(a_lane_that_hangs_stops_no_other_and_its_line_is_bounded),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
