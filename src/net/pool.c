/* net/pool.c - threads for what blocks: disks, databases, name look-ups. Work is done in the order of
 * asking, its `done` on the loop that asked. */
#include "net/net_int.h"

#include "base/mem.h"

#include <stdlib.h>

struct job {
    struct list link;
    struct loop *loop;
    void (*work)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t some; /* a job was queued, or the end is near */
    struct list jobs;
    bool stopping;
    bool stopped; /* nobody is left to work */
    unsigned thread_count;
    pthread_t *threads;
};

static void job_do(struct job *j)
{
    j->work(j->ctx);
    if (j->done != NULL)
        loop_post(j->loop, j->done, j->ctx);
    free(j);
}

static void *pool_thread(void *ctx)
{
    struct pool *p = ctx;

    pthread_setname_np(pthread_self(), "pool");
    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct list *first = list_pop(&p->jobs);

        if (first == NULL && p->stopping)
            break;
        if (first == NULL) {
            pthread_cond_wait(&p->some, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        job_do(container_of(first, struct job, link));
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void pool_run(struct loop *l, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct pool *p = l->net->pool;
    struct job *j = mem_new(sizeof *j);

    *j = (struct job){.loop = l, .work = work, .done = done, .ctx = ctx};
    list_init(&j->link);
    pthread_mutex_lock(&p->lock);
    bool alone = p->stopped;

    if (!alone) {
        list_push(&p->jobs, &j->link);
        pthread_cond_signal(&p->some);
    }
    pthread_mutex_unlock(&p->lock);
    if (alone)
        job_do(j); /* a last `done` asked for more while the house closes: nothing is left undone */
}

enum err pool_start(struct pool **out, unsigned thread_count)
{
    struct pool *p = mem_new(sizeof *p);

    *out = p;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->some, NULL);
    list_init(&p->jobs);
    p->threads = mem_new(thread_count * sizeof *p->threads);
    for (; p->thread_count < thread_count; p->thread_count++)
        if (pthread_create(&p->threads[p->thread_count], NULL, pool_thread, p) != 0)
            return ERR_IO;
    return ERR_OK;
}

void pool_stop(struct pool *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->some);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    pthread_mutex_lock(&p->lock);
    p->stopped = true;
    struct list left;

    list_move(&left, &p->jobs); /* queued between the last look of the last thread and now */
    pthread_mutex_unlock(&p->lock);
    for (struct list *at; (at = list_pop(&left)) != NULL;)
        job_do(container_of(at, struct job, link));
}

void pool_free(struct pool *p)
{
    if (p == NULL)
        return;
    pthread_cond_destroy(&p->some);
    pthread_mutex_destroy(&p->lock);
    free(p->threads);
    free(p);
}
