/* comments/comments.c - opens and closes the room, hands calls and reads on, and has one thread that keeps it: seals windows, and
 * looks after feeds that other servers write to. */
#include "comments/comments_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TOPIC "comments"
/* What the keeper does is due this often. */
#define KEEPER_MS 1000

/* --- calls ------------------------------------------------------------------------------------------- */

void comment_settle_known(struct comment_call *call, const struct comment *known)
{
    bool same = known->kind <= COMMENT_HELD && memcmp(call->digest, known->digest, sizeof call->digest) == 0;
    bool ours = same && call->written && known->created_ms == call->created_ms;

    call->answer = ours ? COMMENTED : same ? COMMENTED_BEFORE : COMMENTED_OTHER;
    call->seq = ours ? known->seq : 0;
    if (!same)
        return;
    call->offset_us = known->offset_us; /* it may have been left to the live edge, which has moved on */
    buffer_unref(call->json);
    call->json = comment_json(known);
}

void comments_submit(struct comments *c, struct comment_call *call)
{
    assert(call->done != NULL);
    call->handed_ms = clock_mono_ms();
    call->seq = 0;
    call->written = false;
    call->json = NULL;
    if (call->created_ms == 0)
        call->created_ms = clock_wall_ms();
    if (call->kind == COMMENT_POST)
        call->json = comment_json(&(struct comment){.video = call->video,
                                                    .kind = call->hold ? COMMENT_HELD : COMMENT_SHOWN,
                                                    .id = bytes_text(call->id),
                                                    .author = bytes_text(call->author),
                                                    .data = bytes_text(call->data),
                                                    .offset_us = call->offset_us,
                                                    .created_ms = call->created_ms});
    lane_add(call->late || call->kind != COMMENT_POST ? c->late : c->prompt, call);
}

void comment_call_free(struct comment_call *call)
{
    buffer_unref(call->json);
    call->json = NULL;
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t is_answered;
    bool answered;
    void (*done)(struct comment_call *call); /* the caller's own, kept for it */
    void *ctx;
};

static void wake(struct comment_call *call)
{
    struct waiting *w = call->ctx;

    pthread_mutex_lock(&w->lock);
    w->answered = true;
    pthread_cond_signal(&w->is_answered);
    pthread_mutex_unlock(&w->lock);
}

void comments_do(struct comments *c, struct comment_call *call)
{
    struct waiting w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, call->done, call->ctx};

    call->done = wake;
    call->ctx = &w;
    comments_submit(c, call);
    pthread_mutex_lock(&w.lock);
    while (!w.answered)
        pthread_cond_wait(&w.is_answered, &w.lock);
    pthread_mutex_unlock(&w.lock);
    call->done = w.done;
    call->ctx = w.ctx;
}

/* --- reading ------------------------------------------------------------------------------------------- */

enum err comments_list(struct comments *c, struct ulid video, const struct comment_range *range,
                       bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    return c->store->kind->range(c->store, video, range, row, ctx);
}

enum err comments_head(struct comments *c, struct ulid video, int64_t *seq)
{
    return c->store->kind->head(c->store, video, seq);
}

enum err comments_log(struct comments *c, struct ulid video, int64_t seq, size_t limit,
                      bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    return c->store->kind->log(c->store, video, seq, limit, row, ctx);
}

enum err comments_held(struct comments *c, struct ulid video, const char *after, size_t limit,
                       bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    return c->store->kind->held(c->store, video, after, limit, row, ctx);
}

enum err comments_drop(struct comments *c, struct ulid video)
{
    return c->store->kind->drop(c->store, video);
}

/* --- other servers ------------------------------------------------------------------------------------- */

void comments_announce(struct comments *c, struct ulid video)
{
    char text[ULID_TEXT_SIZE];

    if (c->options.bus != NULL && c->store->shared)
        bus_tell(c->options.bus, TOPIC, bytes_text(ulid_text(video, text)));
}

/* On the bus's thread. What is lost of this is made up for by the keeper. */
static void heard(void *ctx, struct bytes message)
{
    struct ulid video;

    if (ulid_parse(message, &video))
        feed_catch_up(ctx, video);
}

/* --- the keeper ---------------------------------------------------------------------------------------- */

/* False: it is over. */
static bool keeper_rests(struct comments *c)
{
    int64_t due_ms = clock_wall_ms() + KEEPER_MS;
    struct timespec due = {due_ms / 1000, due_ms % 1000 * 1000000};
    bool goes_on;

    pthread_mutex_lock(&c->keeper.lock);
    while (!c->keeper.stopping && pthread_cond_timedwait(&c->keeper.wake, &c->keeper.lock, &due) == 0)
        continue;
    goes_on = !c->keeper.stopping;
    pthread_mutex_unlock(&c->keeper.lock);
    return goes_on;
}

static void *keep(void *ctx)
{
    struct comments *c = ctx;

    while (keeper_rests(c)) {
        feeds_look(c);
        windows_seal(c);
    }
    return NULL;
}

static void start_keeper(struct comments *c)
{
    pthread_mutex_init(&c->keeper.lock, NULL);
    pthread_cond_init(&c->keeper.wake, NULL);
    if (pthread_create(&c->keeper.thread, NULL, keep, c) != 0)
        abort(); /* no threads at the start: beyond help, and nothing is promised yet */
    c->keeper.runs = true;
}

static void stop_keeper(struct comments *c)
{
    if (!c->keeper.runs)
        return;
    pthread_mutex_lock(&c->keeper.lock);
    c->keeper.stopping = true;
    pthread_cond_signal(&c->keeper.wake);
    pthread_mutex_unlock(&c->keeper.lock);
    pthread_join(c->keeper.thread, NULL);
    c->keeper.runs = false;
}

/* --- opening and closing ------------------------------------------------------------------------------- */

static enum err open_store(struct comments *c, char why[256])
{
    return c->options.url == NULL ? comment_sql_open(&c->store, c->options.db, why)
                                  : comment_redis_open(&c->store, c->options.url, why);
}

enum err comments_open(struct comments **out, const struct comments_options *options, char why[256])
{
    struct comments *c = mem_new(sizeof *c);
    enum err e;

    *out = NULL;
    c->options = *options;
    pthread_mutex_init(&c->lock, NULL);
    c->feeds = map_new();
    c->rules = rules_new();
    c->windows = windows_new();
    if ((e = open_store(c, why)) != ERR_OK) {
        comments_close(c);
        return e;
    }
    c->prompt = lane_start(c, false);
    c->late = lane_start(c, true);
    start_keeper(c);
    if (options->bus != NULL)
        c->ear = bus_listen(options->bus, TOPIC, heard, c);
    *out = c;
    return ERR_OK;
}

void comments_stop(struct comments *c)
{
    if (c == NULL)
        return;
    bus_unlisten(c->ear);
    c->ear = NULL;
    lane_stop(c->prompt);
    lane_stop(c->late);
    stop_keeper(c);
}

void comments_close(struct comments *c)
{
    if (c == NULL)
        return;
    comments_stop(c);
    lane_free(c->prompt);
    lane_free(c->late);
    feeds_free(c);
    windows_free(c->windows);
    rules_free(c->rules);
    if (c->store != NULL)
        c->store->kind->close(c->store);
    map_free(c->feeds);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
