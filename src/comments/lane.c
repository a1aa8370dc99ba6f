/* comments/lane.c - calls on their way to the engine. A thread takes everything that came while the last commit took, and commits
 * it together: a flood costs few syncs, and a lone comment waits for nobody.
 *
 * There are two lanes. What goes to closed windows, which may be sealed in the object store, takes the late one: the sealed form
 * is taken away before the commit and once more after it, before anybody is answered. So no crash leaves a sealed window that
 * lacks what was acknowledged, or shows what was deleted; who seals looks again after sealing (window.c). */
#include "comments/comments_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

METRIC(commits, METRIC_COUNTER, "matinee_comment_commits_total", "Commits that comments were written in");
METRIC(written, METRIC_COUNTER, "matinee_comments_written_total",
       "Comments, deletions and approvals that are durable");
METRIC(refused, METRIC_COUNTER, "matinee_comments_unanswered_total",
       "Calls given up because the engine was away or busy");

struct lane {
    struct comments *room;
    bool late;
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct list queue;
    size_t waiting;
    bool stopping;
};

/* What is committed together. */
struct batch {
    struct lane *lane;
    struct comment_call *calls[COMMENT_BATCH_MAX];
    size_t count;
};

static void answer(struct comment_call *call, enum comment_answer a)
{
    if (a == COMMENT_BUSY || a == COMMENT_FULL)
        metric_add(&refused, 1);
    call->answer = a;
    call->done(call);
}

/* --- the queue --------------------------------------------------------------------------------------- */

void lane_add(struct lane *l, struct comment_call *call)
{
    bool taken;

    pthread_mutex_lock(&l->lock);
    taken = !l->stopping && l->waiting < COMMENTS_WAITING_MAX;
    if (taken) {
        list_push(&l->queue, &call->link);
        if (l->waiting++ == 0)
            pthread_cond_signal(&l->wake);
    }
    pthread_mutex_unlock(&l->lock);
    if (!taken)
        answer(call, COMMENT_BUSY);
}

/* Waits for calls and takes what is there. False: it is over. */
static bool take(struct lane *l, struct batch *b)
{
    struct list *link;

    b->count = 0;
    pthread_mutex_lock(&l->lock);
    while (list_empty(&l->queue) && !l->stopping)
        pthread_cond_wait(&l->wake, &l->lock);
    while (b->count < COMMENT_BATCH_MAX && (link = list_pop(&l->queue)) != NULL)
        b->calls[b->count++] = container_of(link, struct comment_call, link);
    l->waiting -= b->count;
    pthread_mutex_unlock(&l->lock);
    return b->count > 0;
}

static bool is_stopping(struct lane *l)
{
    bool stopping;

    pthread_mutex_lock(&l->lock);
    stopping = l->stopping;
    pthread_mutex_unlock(&l->lock);
    return stopping;
}

/* By video, and those of one in the order in which they came: an insertion sort, for nearly always they are of one. */
static void sort(struct batch *b)
{
    for (size_t i = 1; i < b->count; i++) {
        struct comment_call *call = b->calls[i];
        size_t at = i;

        for (; at > 0 && memcmp(b->calls[at - 1]->video.b, call->video.b, sizeof call->video.b) > 0; at--)
            b->calls[at] = b->calls[at - 1];
        b->calls[at] = call;
    }
}

/* --- sealed windows ------------------------------------------------------------------------------------ */

static bool take_offset(void *ctx, const struct comment *c)
{
    ((struct comment_call *)ctx)->offset_us = c->offset_us;
    return false;
}

/* Deletions and approvals name a comment: where it is has to be looked up. */
static enum err find_places(struct batch *b)
{
    struct comment_store *s = b->lane->room->store;
    enum err e = ERR_OK;

    for (size_t i = 0; i < b->count && e == ERR_OK; i++)
        if (b->calls[i]->kind != COMMENT_POST)
            e = s->kind->find(s, b->calls[i]->video, b->calls[i]->id, take_offset, b->calls[i]);
    return e;
}

/* Whether a call before this one is about the same window. */
static bool same_before(const struct batch *b, size_t at)
{
    for (size_t i = at; i > 0; i--) {
        const struct comment_call *c = b->calls[at], *other = b->calls[i - 1];

        if (!ulid_equal(other->video, c->video))
            return false;
        if (window_of(other->offset_us) == window_of(c->offset_us))
            return true;
    }
    return false;
}

static enum err unseal(struct batch *b)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < b->count && e == ERR_OK; i++)
        if (!same_before(b, i))
            e = window_unseal(b->lane->room, b->calls[i]->video, window_of(b->calls[i]->offset_us));
    return e;
}

/* --- one batch ------------------------------------------------------------------------------------------ */

static enum err attempt(struct batch *b)
{
    struct comment_store *s = b->lane->room->store;
    enum err e = ERR_OK;

    if (b->lane->late && (e = find_places(b)) == ERR_OK)
        e = unseal(b);
    if (e == ERR_OK) {
        e = s->kind->write(s, b->calls, b->count);
        for (size_t i = 0; i < b->count && e != ERR_OK; i++)
            b->calls[i]->written = true;
        metric_add(&commits, e == ERR_OK);
    }
    return e;
}

/* A prompt call that took so long that its window may have been closed and sealed meanwhile. */
static bool was_slow(const struct comment_call *call)
{
    return clock_mono_ms() - call->handed_ms > COMMENT_ANSWER_MS_MAX;
}

static void touch_windows(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct comment_call *call = b->calls[i];

        window_touch(b->lane->room, call->video, call->offset_us);
        if (!same_before(b, i))
            window_note(b->lane->room, call->video, window_of(call->offset_us));
    }
}

static void tell_feeds(struct batch *b)
{
    for (size_t from = 0, to = 0; from < b->count; from = to) {
        while (to < b->count && ulid_equal(b->calls[to]->video, b->calls[from]->video))
            to++;
        feed_tell(b->lane->room, b->calls + from, to - from);
        comments_announce(b->lane->room, b->calls[from]->video);
    }
}

static void finish(struct batch *b)
{
    bool seals = b->lane->late;
    enum err e = ERR_OK;

    for (size_t i = 0; i < b->count; i++)
        seals = seals || was_slow(b->calls[i]);
    if (seals)
        e = unseal(b);
    touch_windows(b);
    tell_feeds(b);
    for (size_t i = 0; i < b->count; i++) {
        metric_add(&written, b->calls[i]->answer == COMMENTED);
        answer(b->calls[i], e == ERR_OK ? b->calls[i]->answer : COMMENT_BUSY);
    }
}

static void refuse(struct batch *b, enum comment_answer a)
{
    for (size_t i = 0; i < b->count; i++)
        answer(b->calls[i], a);
    b->count = 0;
}

/* Those that have waited as long as anybody will. */
static void refuse_old(struct batch *b, bool all)
{
    size_t kept = 0;

    for (size_t i = 0; i < b->count; i++) {
        if (all || was_slow(b->calls[i]))
            answer(b->calls[i], COMMENT_BUSY);
        else
            b->calls[kept++] = b->calls[i];
    }
    b->count = kept;
}

static void rest(unsigned tries)
{
    long ms = tries < 4 ? 20L << tries : COMMENT_RETRY_MS;
    struct timespec pause = {0, ms * 1000000};

    nanosleep(&pause, NULL);
}

static bool passes(enum err e)
{
    return e == ERR_BUSY || e == ERR_IO || e == ERR_TIMEOUT || e == ERR_CLOSED;
}

/* Tries until it is done or nobody waits any more. What an attempt left behind is known again by its ids. */
static void run(struct batch *b)
{
    enum err e = ERR_OK;

    for (unsigned tries = 0; b->count > 0 && (e = attempt(b)) != ERR_OK && passes(e); tries++) {
        refuse_old(b, is_stopping(b->lane));
        if (b->count > 0)
            rest(tries);
    }
    if (b->count == 0)
        return;
    if (e == ERR_OK) {
        finish(b);
    } else if (b->count > 1 && e != ERR_FULL) { /* one of them is at fault; the others are not to suffer */
        for (size_t i = 0; i < b->count; i++) {
            struct batch one = {.lane = b->lane, .calls = {b->calls[i]}, .count = 1};

            run(&one);
        }
    } else {
        log_error("comments", "could not be written: %s", err_text(e));
        refuse(b, e == ERR_FULL ? COMMENT_FULL : COMMENT_BUSY);
    }
}

static void *work(void *ctx)
{
    struct lane *l = ctx;
    struct batch *b = mem_new(sizeof *b);

    b->lane = l;
    while (take(l, b)) {
        sort(b);
        run(b);
    }
    free(b);
    return NULL;
}

struct lane *lane_start(struct comments *c, bool late)
{
    struct lane *l = mem_new(sizeof *l);

    l->room = c;
    l->late = late;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    list_init(&l->queue);
    if (pthread_create(&l->thread, NULL, work, l) != 0)
        abort(); /* no threads at the start: beyond help, and nothing is promised yet */
    l->runs = true;
    return l;
}

void lane_stop(struct lane *l)
{
    if (l == NULL || !l->runs)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    l->runs = false;
}

void lane_free(struct lane *l)
{
    if (l == NULL)
        return;
    lane_stop(l);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->wake);
    free(l);
}
