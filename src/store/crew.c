/* store/crew.c - threads that may wait for a store, so that the pool's never do: a store that hangs holds up its own crew, and SQL,
 * uploads and pages go on. Threads are started as they are needed, up to the lane's number, and end with the store. */
#include "store/store_int.h"

#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/net.h"

#include <pthread.h>
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
    pthread_cond_t some;
    pthread_t *threads;
    unsigned thread_count, idle_count, thread_max;
};

struct crew {
    pthread_mutex_t lock;
    bool stopping;
    struct lane lanes[STORE_LANE_COUNT];
};

struct crew *crew_new(void)
{
    static const unsigned most[STORE_LANE_COUNT] = {
        [STORE_WRITES] = STORE_WRITERS_MAX, [STORE_READS] = STORE_READERS_MAX, [STORE_SPILLS] = 1};
    struct crew *c = mem_new(sizeof *c);

    pthread_mutex_init(&c->lock, NULL);
    for (int i = 0; i < STORE_LANE_COUNT; i++) {
        struct lane *l = &c->lanes[i];

        l->crew = c;
        list_init(&l->jobs);
        pthread_cond_init(&l->some, NULL);
        l->thread_max = most[i];
        l->threads = mem_new(most[i] * sizeof *l->threads);
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

    pthread_setname_np(pthread_self(), "store");
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

/* With the lock held: whether there is somebody to work, after one more was started if that was wanted. */
static bool staffed(struct lane *l)
{
    if (l->job_count >= l->idle_count && l->thread_count < l->thread_max &&
        pthread_create(&l->threads[l->thread_count], NULL, lane_thread, l) == 0)
        l->thread_count++;
    return l->thread_count > 0;
}

bool crew_run(struct crew *c, enum store_lane lane, size_t waiting_max, struct loop *loop,
              void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct lane *l = &c->lanes[lane];
    struct job *j = mem_new(sizeof *j);

    *j = (struct job){.loop = loop, .work = work, .done = done, .ctx = ctx};
    list_init(&j->link);
    pthread_mutex_lock(&c->lock);
    bool full = l->job_count >= waiting_max, alone = !full && (c->stopping || !staffed(l));

    if (!full && !alone) {
        list_push(&l->jobs, &j->link);
        l->job_count++;
        pthread_cond_signal(&l->some);
    }
    pthread_mutex_unlock(&c->lock);
    if (alone)
        job_do(j); /* the house closes: nothing is left undone */
    else if (full)
        free(j);
    return !full;
}

void crew_stop(struct crew *c)
{
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    for (int i = 0; i < STORE_LANE_COUNT; i++)
        pthread_cond_broadcast(&c->lanes[i].some);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < STORE_LANE_COUNT; i++) {
        struct lane *l = &c->lanes[i];

        for (unsigned t = 0; t < l->thread_count; t++)
            pthread_join(l->threads[t], NULL);
        l->thread_count = 0;
    }
}

void crew_free(struct crew *c)
{
    if (c == NULL)
        return;
    crew_stop(c);
    for (int i = 0; i < STORE_LANE_COUNT; i++) {
        pthread_cond_destroy(&c->lanes[i].some);
        free(c->lanes[i].threads);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}
