/* net/crew.c - threads for what blocks: disks, databases, stores, name look-ups. A crew has lanes, so that what hangs in one
 * holds up its own lane alone. Threads are started as they are needed, up to the lane's number, and end with the crew. */
#include "net/net_int.h"

#include "base/mem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct job {
    struct list link;
    struct loop *loop;
    void (*work)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

struct lane {
    struct crew *crew;
    struct list jobs;
    size_t job_count;
    pthread_cond_t some; /* a job was queued, or the end is near */
    pthread_t *threads;
    unsigned thread_count, idle_count, thread_max;
};

struct crew {
    pthread_mutex_t lock;
    char name[16];
    bool stopping;
    bool stopped; /* nobody is left to work */
    unsigned lane_count;
    struct lane lanes[];
};

struct crew *crew_new(const char *name, const unsigned *thread_max, unsigned lane_count)
{
    struct crew *c = mem_new(sizeof *c + lane_count * sizeof c->lanes[0]);

    pthread_mutex_init(&c->lock, NULL);
    snprintf(c->name, sizeof c->name, "%s", name);
    c->lane_count = lane_count;
    for (unsigned i = 0; i < lane_count; i++) {
        struct lane *l = &c->lanes[i];

        l->crew = c;
        list_init(&l->jobs);
        pthread_cond_init(&l->some, NULL);
        l->thread_max = thread_max[i];
        l->threads = mem_new(thread_max[i] * sizeof *l->threads);
    }
    return c;
}

static void job_do(struct job *j)
{
    j->work(j->ctx);
    if (j->done != NULL)
        loop_post(j->loop, j->done, j->ctx);
    free(j);
}

static void *lane_thread(void *ctx)
{
    struct lane *l = ctx;
    struct crew *c = l->crew;

    pthread_setname_np(pthread_self(), c->name);
    pthread_mutex_lock(&c->lock);
    for (;;) {
        struct list *first = list_pop(&l->jobs);

        if (first == NULL && c->stopping)
            break;
        if (first == NULL) {
            l->idle_count++;
            pthread_cond_wait(&l->some, &c->lock);
            l->idle_count--;
            continue;
        }
        l->job_count--;
        pthread_mutex_unlock(&c->lock);
        job_do(container_of(first, struct job, link));
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Signals belong to the main thread; a thread inherits the mask of who starts it. */
static bool start_thread(struct lane *l)
{
    sigset_t every, before;

    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    bool started = pthread_create(&l->threads[l->thread_count], NULL, lane_thread, l) == 0;

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

/* With the lock held: whether there is somebody to work, after one more was started if that was wanted. */
static bool staffed(struct lane *l)
{
    if (l->job_count >= l->idle_count && l->thread_count < l->thread_max && !l->crew->stopping &&
        start_thread(l))
        l->thread_count++;
    return l->thread_count > 0;
}

bool crew_run(struct crew *c, unsigned lane, size_t waiting_max, struct loop *loop, void (*work)(void *ctx),
              void (*done)(void *ctx), void *ctx)
{
    struct lane *l = &c->lanes[lane];
    struct job *j = mem_new(sizeof *j);

    *j = (struct job){.loop = loop, .work = work, .done = done, .ctx = ctx};
    list_init(&j->link);
    pthread_mutex_lock(&c->lock);
    bool full = l->job_count >= waiting_max, alone = !full && (c->stopped || !staffed(l));

    if (!full && !alone) {
        list_push(&l->jobs, &j->link);
        l->job_count++;
        pthread_cond_signal(&l->some);
    }
    pthread_mutex_unlock(&c->lock);
    if (alone)
        job_do(j); /* a last `done` asked for more while the house closes: nothing is left undone */
    else if (full)
        free(j);
    return !full;
}

/* With `stopping` set no thread is started any more, and the threads end when nothing is left. */
static void join_lane(struct lane *l)
{
    pthread_mutex_lock(&l->crew->lock);
    unsigned count = l->thread_count;

    pthread_mutex_unlock(&l->crew->lock);
    for (unsigned t = 0; t < count; t++)
        pthread_join(l->threads[t], NULL);
}

/* What was queued between the last look of a lane's last thread and now. */
static void do_what_is_left(struct lane *l)
{
    struct list left;

    pthread_mutex_lock(&l->crew->lock);
    list_move(&left, &l->jobs);
    l->job_count = l->thread_count = 0;
    pthread_mutex_unlock(&l->crew->lock);
    for (struct list *at; (at = list_pop(&left)) != NULL;)
        job_do(container_of(at, struct job, link));
}

void crew_stop(struct crew *c)
{
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    for (unsigned i = 0; i < c->lane_count; i++)
        pthread_cond_broadcast(&c->lanes[i].some);
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < c->lane_count; i++)
        join_lane(&c->lanes[i]);
    pthread_mutex_lock(&c->lock);
    c->stopped = true;
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < c->lane_count; i++)
        do_what_is_left(&c->lanes[i]);
}

void crew_free(struct crew *c)
{
    if (c == NULL)
        return;
    crew_stop(c);
    for (unsigned i = 0; i < c->lane_count; i++) {
        pthread_cond_destroy(&c->lanes[i].some);
        free(c->lanes[i].threads);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}
