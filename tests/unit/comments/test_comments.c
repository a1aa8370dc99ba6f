/* The comments room as a whole, over SQLite: many who post at once, two lanes, readers on several loops. */
#include "unit.h"

#include "folder.h"

#include "base/clock.h"
#include "base/mem.h"
#include "comments/comments_int.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct house {
    char *folder;
    struct net *net;
    struct store *store;
    struct db *db;
    struct live *live;
    struct comments *comments;
    struct ulid video;
};

static void open_comments(struct house *h)
{
    struct comments_options o = {.net = h->net, .db = h->db, .store = h->store, .live = h->live};
    char why[256];

    if (comments_open(&h->comments, &o, why) != ERR_OK)
        fail_msg("%s", why);
}

static void open_house(struct house *h)
{
    struct live_options o = {.segment_ms = 10000, .grace_ms = 30000};
    char url[128], why[256] = "";

    *h = (struct house){.folder = folder_new(), .video = ulid_new()};
    snprintf(url, sizeof url, "file:%s/store", h->folder);
    assert_int_equal(store_open(&h->store, url, why), ERR_OK);
    snprintf(url, sizeof url, "sqlite:%s/db", h->folder);
    assert_int_equal(db_open(&h->db, url, why), ERR_OK);
    assert_int_equal(net_start(&h->net, 2, 4), ERR_OK);
    o.net = h->net;
    o.store = h->store;
    o.db = h->db;
    o.data_dir = h->folder;
    assert_int_equal(live_open(&h->live, &o, why), ERR_OK);
    open_comments(h);
}

static void close_house(struct house *h)
{
    comments_stop(h->comments);
    store_stop(h->store);
    net_stop(h->net);
    comments_close(h->comments);
    live_close(h->live);
    db_close(h->db);
    store_close(h->store);
    folder_remove(h->folder);
}

static enum comment_answer post(struct house *h, const char *id, const char *data, bool late)
{
    struct comment_call call = {.kind = COMMENT_POST,
                                .video = h->video,
                                .id = id,
                                .author = "Anna",
                                .data = data,
                                .offset_us = 1500000,
                                .late = late};

    memcpy(call.digest, data, strlen(data) < sizeof call.digest ? strlen(data) : sizeof call.digest);
    comments_do(h->comments, &call);
    comment_call_free(&call);
    return call.answer;
}

static enum comment_answer do_one(struct house *h, enum comment_call_kind kind, const char *id)
{
    struct comment_call call = {.kind = kind, .video = h->video, .id = id};

    comments_do(h->comments, &call);
    comment_call_free(&call);
    return call.answer;
}

struct counted {
    size_t count;
    int64_t last_seq;
    bool rising;
};

static bool count_row(void *ctx, const struct comment *c)
{
    struct counted *n = ctx;

    n->count++;
    n->rising = n->rising && c->seq > n->last_seq;
    n->last_seq = c->seq;
    return true;
}

static struct counted log_of(struct house *h)
{
    struct counted n = {.rising = true};

    assert_int_equal(comments_log(h->comments, h->video, 0, 1000000, count_row, &n), ERR_OK);
    return n;
}

/* --- readers --------------------------------------------------------------------------------------------- */

struct listener {
    struct house *house;
    struct loop *loop;
    int64_t since;
    struct comment_reader *reader;
    _Atomic size_t queued_bytes; /* what it claims not to have taken */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct builder heard;
    sem_t step;
};

static void hear(void *ctx, struct buffer *events)
{
    struct listener *l = ctx;

    pthread_mutex_lock(&l->lock);
    builder_add(&l->heard, buffer_bytes(events));
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    buffer_unref(events);
}

static size_t queued(void *ctx)
{
    return ((struct listener *)ctx)->queued_bytes;
}

static void go_on(void *ctx)
{
    struct listener *l = ctx;

    if (l->reader != NULL)
        comments_reader_writable(l->reader);
}

static void wait_writable(void *ctx)
{
    struct listener *l = ctx;

    loop_after_turn(l->loop, go_on, l);
}

static const struct comment_reader_events events = {hear, queued, wait_writable};

static void begin(void *ctx)
{
    struct listener *l = ctx;

    l->reader = comments_follow(l->house->comments, l->loop, l->house->video, l->since, &events, l);
    sem_post(&l->step);
}

static void end(void *ctx)
{
    struct listener *l = ctx;

    comments_unfollow(l->reader);
    l->reader = NULL;
    sem_post(&l->step);
}

static void listen_from(struct listener *l, struct house *h, unsigned loop, int64_t since)
{
    *l = (struct listener){.house = h, .loop = net_loop(h->net, loop), .since = since};
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    sem_init(&l->step, 0, 0);
    assert_int_equal(comments_feed_ready(h->comments, h->video, since), ERR_OK);
    loop_post(l->loop, begin, l);
    sem_wait(&l->step);
}

static void listen_end(struct listener *l)
{
    loop_post(l->loop, end, l);
    sem_wait(&l->step);
    builder_drop(&l->heard);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->changed);
    sem_destroy(&l->step);
}

/* Waits until `text` was heard, for 20 s at most. */
static void wait_to_hear(struct listener *l, const char *text)
{
    struct timespec until;
    bool heard = false, timed_out = false;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&l->lock);
    while (!heard && !timed_out) {
        struct bytes b = builder_bytes(&l->heard);

        heard = b.size > 0 && memmem(b.at, b.size, text, strlen(text)) != NULL;
        timed_out = !heard && pthread_cond_timedwait(&l->changed, &l->lock, &until) != 0;
    }
    pthread_mutex_unlock(&l->lock);
    if (!heard)
        fail_msg("never heard: %s", text);
}

/* How many events of a kind were heard, and whether their numbers rise. */
static size_t heard_of(struct listener *l, const char *kind, bool *rising)
{
    int64_t last = -1;
    size_t count = 0;
    char *text, *line;

    pthread_mutex_lock(&l->lock);
    text = mem_text(builder_bytes(&l->heard).at, builder_bytes(&l->heard).size);
    pthread_mutex_unlock(&l->lock);
    *rising = true;
    for (line = text; (line = strstr(line, "id: ")) != NULL; line++) {
        char *event;
        int64_t seq;

        if (line > text && line[-1] != '\n')
            continue;
        seq = strtoll(line + 4, NULL, 10);
        event = strstr(line, "event: ");
        if (event == NULL || strncmp(event + 7, kind, strlen(kind)) != 0)
            continue;
        *rising = *rising && seq > last;
        last = seq;
        count++;
    }
    free(text);
    return count;
}

/* --- promises -------------------------------------------------------------------------------------------- */

static void an_id_is_kept_once_and_a_deleted_one_stays_used(void **state)
{
    struct house h;

    open_house(&h);
    assert_int_equal(post(&h, "a", "one", false), COMMENTED);
    assert_int_equal(post(&h, "a", "one", false), COMMENTED_BEFORE);
    assert_int_equal(post(&h, "a", "one", true), COMMENTED_BEFORE);
    assert_int_equal(post(&h, "a", "two", false), COMMENTED_OTHER);
    assert_int_equal(do_one(&h, COMMENT_DELETE, "b"), COMMENT_MISSING);
    assert_int_equal(do_one(&h, COMMENT_DELETE, "a"), COMMENTED);
    assert_int_equal(do_one(&h, COMMENT_DELETE, "a"), COMMENTED_BEFORE);
    assert_int_equal(do_one(&h, COMMENT_APPROVE, "a"), COMMENT_MISSING);
    assert_int_equal(post(&h, "a", "one", false), COMMENTED_OTHER);
    assert_int_equal(log_of(&h).count, 2); /* what is left of it, and its deletion */
    assert_int_equal(comments_drop(h.comments, h.video), ERR_OK);
    assert_int_equal(log_of(&h).count, 0);
    close_house(&h);
}

#define POSTERS 8
#define POSTS   150

struct poster {
    struct house *house;
    int number;
    size_t kept, before;
};

/* Half of the ids are everybody's. */
static void *post_many(void *ctx)
{
    struct poster *p = ctx;

    for (int i = 0; i < POSTS; i++) {
        char id[32];
        enum comment_answer a;

        snprintf(id, sizeof id, i % 2 ? "all-%d" : "own-%d-%d", i % 2 ? i : p->number, i);
        a = post(p->house, id, "same", (i + p->number) % 3 == 0);
        p->kept += a == COMMENTED;
        p->before += a == COMMENTED_BEFORE;
    }
    return NULL;
}

static void many_who_post_at_once_over_both_lanes_are_told_in_order_and_once(void **state)
{
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    struct listener listeners[4];
    size_t kept = 0, before = 0;
    struct house h;
    bool rising;

    open_house(&h);
    for (unsigned i = 0; i < 4; i++)
        listen_from(&listeners[i], &h, i % 2, COMMENT_NEW_ONLY);
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.house = &h, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
        kept += posters[i].kept;
        before += posters[i].before;
    }
    assert_int_equal(kept, POSTERS * POSTS / 2 + POSTS / 2);
    assert_int_equal(before, (POSTERS - 1) * POSTS / 2);
    assert_int_equal(post(&h, "last", "x", false), COMMENTED);
    struct counted log = log_of(&h);

    assert_int_equal(log.count, kept + 1);
    assert_int_equal(log.last_seq, kept + 1);
    assert_true(log.rising);
    for (unsigned i = 0; i < 4; i++) {
        wait_to_hear(&listeners[i], "\"last\"");
        assert_int_equal(heard_of(&listeners[i], "comment", &rising), kept + 1);
        assert_true(rising);
        listen_end(&listeners[i]);
    }
    close_house(&h);
}

/* From the engine, then the ring, then what comes: one stream. */
static void who_returns_is_told_all_that_it_missed(void **state)
{
    struct listener l;
    struct house h;
    char id[32];
    bool rising;

    open_house(&h);
    for (int i = 0; i < 1300; i++) {
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(post(&h, id, "x", false), COMMENTED);
    }
    listen_from(&l, &h, 1, 50);
    assert_int_equal(post(&h, "last", "x", false), COMMENTED);
    wait_to_hear(&l, "\"last\"");
    assert_int_equal(heard_of(&l, "comment", &rising), 1251);
    assert_true(rising);
    assert_int_equal(heard_of(&l, "gap", &rising), 0);
    listen_end(&l);
    listen_from(&l, &h, 0, 50);
    listen_end(&l); /* while a page is on its way, perhaps */
    close_house(&h);
}

static void take_all(void *ctx)
{
    struct listener *l = ctx;

    l->queued_bytes = 0;
    sem_post(&l->step);
}

static void who_does_not_read_is_told_of_a_gap_and_the_newest(void **state)
{
    struct listener l;
    struct house h;
    char id[32];
    bool rising;

    open_house(&h);
    listen_from(&l, &h, 0, COMMENT_NEW_ONLY);
    l.queued_bytes = COMMENT_READER_BYTES_MAX; /* nobody else looks: the loop has nothing to tell yet */
    for (int i = 0; i < 600; i++) {
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(post(&h, id, "x", false), COMMENTED);
    }
    loop_post(l.loop, take_all, &l);
    sem_wait(&l.step);
    wait_to_hear(&l, "\"n599\"");
    assert_int_equal(heard_of(&l, "gap", &rising), 1);
    assert_int_equal(heard_of(&l, "comment", &rising), COMMENT_SLOW_LAST);
    listen_end(&l);
    close_house(&h);
}

/* Over a restart of the room: numbers go on where they were. */
static void the_log_goes_on_after_a_restart(void **state)
{
    struct listener l;
    struct house h;

    open_house(&h);
    assert_int_equal(post(&h, "a", "x", false), COMMENTED);
    comments_close(h.comments);
    open_comments(&h);
    assert_int_equal(post(&h, "a", "x", false), COMMENTED_BEFORE);
    listen_from(&l, &h, 0, 0);
    assert_int_equal(post(&h, "b", "x", false), COMMENTED);
    wait_to_hear(&l, "id: 2\nevent: comment");
    wait_to_hear(&l, "id: 1\nevent: comment");
    listen_end(&l);
    close_house(&h);
}

/* A reader goes from a server that told it of all to one that has not heard of that yet. */
static void who_comes_from_a_server_that_was_ahead_is_told_nothing_twice(void **state)
{
    struct house h, ahead;
    struct listener l;
    bool rising;

    open_house(&h);
    ahead = h;
    open_comments(&ahead);
    listen_from(&l, &h, 0, COMMENT_NEW_ONLY);
    listen_end(&l);
    assert_int_equal(post(&ahead, "a", "x", false), COMMENTED);
    assert_int_equal(post(&ahead, "b", "x", false), COMMENTED);
    listen_from(&l, &h, 0, 2);
    assert_int_equal(post(&h, "last", "x", false), COMMENTED);
    wait_to_hear(&l, "\"last\"");
    assert_int_equal(heard_of(&l, "comment", &rising), 1);
    assert_int_equal(heard_of(&l, "gap", &rising), 0);
    listen_end(&l);
    comments_close(ahead.comments);
    close_house(&h);
}

/* --- an engine that breaks ------------------------------------------------------------------------------- */

/* Hands on to the real one, and says that it broke: before doing anything, or after it was done. */
struct broken {
    struct comment_store store;
    struct comment_store_kind kind;
    struct comment_store *real;
    _Atomic int before, after; /* so often yet */
    sem_t tried;
    _Atomic int overtaken; /* so often yet another server writes while a window is read */
    int other_number;
    struct comments *room; /* somebody asks this for the window `of` while it is sealed; NULL: nobody does */
    const struct video_view *of;
};

static enum err broken_write(struct comment_store *s, struct comment_call **calls, size_t count)
{
    struct broken *b = (struct broken *)(void *)s;
    enum err e;

    sem_post(&b->tried);
    if (b->before > 0 && b->before-- > 0)
        return ERR_IO;
    e = b->real->kind->write(b->real, calls, count);
    return b->after > 0 && b->after-- > 0 ? ERR_IO : e;
}

static enum err whole_head(struct comment_store *s, struct ulid video, int64_t *seq)
{
    struct broken *b = (struct broken *)(void *)s;

    return b->real->kind->head(b->real, video, seq);
}

static enum err whole_log(struct comment_store *s, struct ulid video, int64_t seq, size_t limit,
                          bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    struct broken *b = (struct broken *)(void *)s;
    struct comment_window w;

    if (b->room != NULL) {
        assert_int_equal(comments_window(b->room, b->of, 0, &w), ERR_OK);
        buffer_unref(w.json);
        b->room = NULL;
    }
    return b->real->kind->log(b->real, video, seq, limit, row, ctx);
}

static enum err whole_find(struct comment_store *s, struct ulid video, const char *id,
                           bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    struct broken *b = (struct broken *)(void *)s;

    return b->real->kind->find(b->real, video, id, row, ctx);
}

/* What another server does between our reading a window and our storing it. */
static void write_elsewhere(struct broken *b, struct ulid video)
{
    char id[32];
    struct comment_call call = {.kind = COMMENT_POST,
                                .video = video,
                                .id = id,
                                .author = "Bea",
                                .data = "from elsewhere",
                                .offset_us = 2000000},
                        *calls[] = {&call};

    snprintf(id, sizeof id, "other-%d", b->other_number++);
    assert_int_equal(b->real->kind->write(b->real, calls, 1), ERR_OK);
    comment_call_free(&call);
}

static enum err overtaken_range(struct comment_store *s, struct ulid video, const struct comment_range *range,
                                bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    struct broken *b = (struct broken *)(void *)s;
    enum err e = b->real->kind->range(b->real, video, range, row, ctx);

    if (b->overtaken > 0 && b->overtaken-- > 0)
        write_elsewhere(b, video);
    return e;
}

static void break_engine(struct house *h, struct broken *b, int before, int after)
{
    *b = (struct broken){.real = h->comments->store, .before = before, .after = after};
    b->kind = (struct comment_store_kind){.write = broken_write,
                                          .head = whole_head,
                                          .log = whole_log,
                                          .find = whole_find,
                                          .range = overtaken_range};
    b->store.kind = &b->kind;
    sem_init(&b->tried, 0, 0);
    h->comments->store = &b->store;
}

static void mend_engine(struct house *h, struct broken *b)
{
    h->comments->store = b->real;
    sem_destroy(&b->tried);
}

/* Whether it was done or not, the sender hears 201 and readers are told once; and a real repeat is told from our own. */
static void a_commit_whose_answer_was_lost_is_done_once_and_answered_as_done(void **state)
{
    struct listener l;
    struct broken b;
    struct house h;
    bool rising;

    open_house(&h);
    break_engine(&h, &b, 2, 2);
    listen_from(&l, &h, 0, COMMENT_NEW_ONLY);
    assert_int_equal(post(&h, "a", "x", false), COMMENTED);
    assert_int_equal(post(&h, "a", "x", false), COMMENTED_BEFORE);
    b.after = 1;
    assert_int_equal(post(&h, "b", "x", true), COMMENTED);
    b.after = 1;
    assert_int_equal(do_one(&h, COMMENT_DELETE, "a"),
                     COMMENTED_BEFORE); /* our own, but that makes no difference */
    wait_to_hear(&l, "event: deleted");
    assert_int_equal(post(&h, "last", "x", false), COMMENTED);
    wait_to_hear(&l, "\"last\"");
    assert_int_equal(heard_of(&l, "comment", &rising), 3);
    assert_int_equal(heard_of(&l, "deleted", &rising), 1);
    listen_end(&l);
    mend_engine(&h, &b);
    close_house(&h);
}

static bool is_sealed_with(struct house *h, const char *text)
{
    char name[96], id[ULID_TEXT_SIZE];
    struct buffer *object = NULL;
    bool found;

    snprintf(name, sizeof name, "v/%s/comments/000000.json", ulid_text(h->video, id));
    if (store_get(h->store, name, &object) != ERR_OK)
        return false;
    found = memmem(object->data, object->size, text, strlen(text)) != NULL;
    buffer_unref(object);
    return found;
}

/* Another server's comment that comes while we seal is in what we seal, or nothing is sealed. */
static void what_comes_while_a_window_is_sealed_is_never_missing_from_it(void **state)
{
    struct broken b;
    struct house h;

    open_house(&h);
    assert_int_equal(post(&h, "a", "x", true), COMMENTED);
    break_engine(&h, &b, 0, 0);
    b.overtaken = 1;
    assert_true(window_seal(h.comments, h.video, 0));
    assert_true(is_sealed_with(&h, "\"a\"") && is_sealed_with(&h, "\"other-0\""));
    b.overtaken = 1000;
    assert_false(window_seal(h.comments, h.video, 0));
    assert_false(is_sealed_with(&h, "window"));
    b.overtaken = 0;
    assert_true(window_seal(h.comments, h.video, 0));
    assert_int_equal(post(&h, "b", "x", true), COMMENTED);
    assert_false(is_sealed_with(&h, "window"));
    assert_true(window_seal(h.comments, h.video, 0));
    assert_int_equal(do_one(&h, COMMENT_DELETE, "b"), COMMENTED);
    assert_false(is_sealed_with(&h, "window"));
    mend_engine(&h, &b);
    close_house(&h);
}

/* A sealed form that is taken back was perhaps read in between: nobody is shown it later. */
static void what_was_read_of_a_window_that_is_sealed_anew_is_not_kept(void **state)
{
    struct comment_window w;
    struct video_view view;
    struct broken b;
    struct house h;

    open_house(&h);
    assert_int_equal(post(&h, "a", "x", true), COMMENTED);
    view = (struct video_view){.id = h.video};
    break_engine(&h, &b, 0, 0);
    b.of = &view;
    b.room = h.comments;
    b.overtaken = 1;
    assert_true(window_seal(h.comments, h.video, 0));
    assert_null(b.room);
    assert_false(comments_window_peek(h.comments, &view, 0, &w));
    assert_int_equal(comments_window(h.comments, &view, 0, &w), ERR_OK);
    assert_non_null(memmem(w.json->data, w.json->size, "other-0", 7));
    buffer_unref(w.json);
    mend_engine(&h, &b);
    close_house(&h);
}

static void *post_one(void *ctx)
{
    struct house *h = ctx;

    assert_int_equal(post(h, "a", "x", false), COMMENT_BUSY);
    return NULL;
}

/* The room can be closed while the engine is away, and whoever waits is answered. */
static void who_waits_for_an_engine_is_answered_when_the_room_closes(void **state)
{
    pthread_t thread;
    struct broken b;
    struct house h;

    open_house(&h);
    break_engine(&h, &b, 1000000, 0);
    assert_int_equal(pthread_create(&thread, NULL, post_one, &h), 0);
    sem_wait(&b.tried);
    comments_stop(h.comments);
    pthread_join(thread, NULL);
    assert_int_equal(post(&h, "late", "x", false), COMMENT_BUSY);
    mend_engine(&h, &b);
    close_house(&h);
}

static void rules_are_kept_and_counted(void **state)
{
    struct comment_rules r;
    struct comment_case k = {.id = "x", .author = "Anna", .data = "hello word", .may_block = true};
    enum comment_verdict v;
    struct house h;

    open_house(&h);
    k.event = ulid_new();
    assert_int_equal(comments_judge(h.comments, &k, &v), ERR_OK);
    assert_int_equal(v, COMMENT_ALLOWED);
    assert_int_equal(comments_rules(h.comments, k.event, &r), ERR_OK);
    free(r.words);
    r.words = mem_string("word\nother");
    assert_int_equal(comments_set_rules(h.comments, k.event, &r), ERR_OK);
    assert_int_equal(comments_judge(h.comments, &k, &v), ERR_OK);
    assert_int_equal(v, COMMENT_BAD_WORD);
    k.is_producer = true;
    assert_int_equal(comments_judge(h.comments, &k, &v), ERR_OK);
    assert_int_equal(v, COMMENT_ALLOWED);
    k.is_producer = false;
    r.words[0] = '\0';
    r.slow_s = 10;
    assert_int_equal(comments_set_rules(h.comments, k.event, &r), ERR_OK);
    assert_int_equal(comments_judge(h.comments, &k, &v), ERR_OK);
    assert_int_equal(v, COMMENT_ALLOWED);
    assert_int_equal(comments_judge(h.comments, &k, &v), ERR_OK);
    assert_int_equal(v, COMMENT_ALLOWED); /* the same one again */
    k.id = "y";
    assert_int_equal(comments_judge(h.comments, &k, &v), ERR_OK);
    assert_int_equal(v, COMMENT_TOO_SOON);
    assert_true(k.wait_ms > 0 && k.wait_ms <= 10000);
    assert_int_equal(comments_enlist(h.comments, COMMENT_MUTED, k.event, "Anna", true), ERR_OK);
    assert_int_equal(comments_judge(h.comments, &k, &v), ERR_OK);
    assert_int_equal(v, COMMENT_MUTE);
    comment_rules_free(&r);
    close_house(&h);
}

#define RULERS 4 /* threads of a kind */
#define TURNS  100

struct ruling {
    struct house *house;
    struct ulid event;
    char name[16];
    atomic_bool over;
};

static void *judge_often(void *ctx)
{
    struct ruling *r = ctx;
    struct comment_case k = {
        .event = r->event, .id = "x", .author = "Anna", .data = "hello", .may_block = true};
    enum comment_verdict v;

    while (!atomic_load(&r->over)) {
        enum err e = comments_judge(r->house->comments, &k, &v);

        assert_true(e == ERR_BUSY || (e == ERR_OK && v != COMMENT_UNKNOWN));
    }
    return NULL;
}

static void *forget_often(void *ctx)
{
    const struct ruling *r = ctx;

    for (int i = 0; i < TURNS; i++)
        assert_int_equal(comments_forget_rules(r->house->comments, r->event), ERR_OK);
    return NULL;
}

/* An event can be deleted while somebody posts to it. */
static void an_event_may_go_while_its_comments_are_judged(void **state)
{
    pthread_t judges[RULERS], forgetters[RULERS];
    struct ruling r;
    struct house h;

    open_house(&h);
    r = (struct ruling){.house = &h, .event = ulid_new()};
    for (int n = 0; n < RULERS; n++) {
        assert_int_equal(pthread_create(&judges[n], NULL, judge_often, &r), 0);
        assert_int_equal(pthread_create(&forgetters[n], NULL, forget_often, &r), 0);
    }
    for (int n = 0; n < RULERS; n++)
        pthread_join(forgetters[n], NULL);
    atomic_store(&r.over, true);
    for (int n = 0; n < RULERS; n++)
        pthread_join(judges[n], NULL);
    close_house(&h);
}

/* So many that reading them takes longer than muting one more. */
static enum err mute_many(void *ctx, struct db *tx)
{
    char id[ULID_TEXT_SIZE], name[16];
    enum err e = ERR_OK;

    ulid_text(((const struct ruling *)ctx)->event, id);
    for (int i = 0; i < 5000 && e == ERR_OK; i++) {
        snprintf(name, sizeof name, "Bea %d", i);
        e = db_run(tx, "INSERT INTO comment_muted (event_id, author, since) VALUES (?, ?, 1)",
                   DB_VALUES(db_str(id), db_str(name)), NULL);
    }
    return e;
}

static void *mute_one(void *ctx)
{
    const struct ruling *r = ctx;

    assert_int_equal(comments_enlist(r->house->comments, COMMENT_MUTED, r->event, r->name, true), ERR_OK);
    return NULL;
}

/* However calls of the producer overlap, what each of them changed is in force once they are answered. */
static void rules_that_are_changed_at_once_are_all_in_force(void **state)
{
    struct ruling rulings[RULERS];
    pthread_t threads[RULERS];
    struct house h;

    open_house(&h);
    for (int n = 0; n < RULERS; n++)
        rulings[n] = (struct ruling){.house = &h, .event = n == 0 ? ulid_new() : rulings[0].event};
    assert_int_equal(db_write(h.db, mute_many, &rulings[0]), ERR_OK);
    for (int i = 0; i < TURNS / 4; i++) {
        for (int n = 0; n < RULERS; n++) {
            snprintf(rulings[n].name, sizeof rulings[n].name, "Anna %d-%d", i, n);
            assert_int_equal(pthread_create(&threads[n], NULL, mute_one, &rulings[n]), 0);
        }
        for (int n = 0; n < RULERS; n++)
            pthread_join(threads[n], NULL);
        for (int n = 0; n < RULERS; n++) {
            struct comment_case k = {
                .event = rulings[n].event, .id = "x", .author = rulings[n].name, .data = "hello"};
            enum comment_verdict v;

            assert_int_equal(comments_judge(h.comments, &k, &v), ERR_OK);
            assert_int_equal(v, COMMENT_MUTE);
        }
    }
    close_house(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_kept_once_and_a_deleted_one_stays_used),
        cmocka_unit_test(many_who_post_at_once_over_both_lanes_are_told_in_order_and_once),
        cmocka_unit_test(who_returns_is_told_all_that_it_missed),
        cmocka_unit_test(who_does_not_read_is_told_of_a_gap_and_the_newest),
        cmocka_unit_test(the_log_goes_on_after_a_restart),
        cmocka_unit_test(who_comes_from_a_server_that_was_ahead_is_told_nothing_twice),
        cmocka_unit_test(a_commit_whose_answer_was_lost_is_done_once_and_answered_as_done),
        cmocka_unit_test(what_comes_while_a_window_is_sealed_is_never_missing_from_it),
        cmocka_unit_test(what_was_read_of_a_window_that_is_sealed_anew_is_not_kept),
        cmocka_unit_test(who_waits_for_an_engine_is_answered_when_the_room_closes),
        cmocka_unit_test(rules_are_kept_and_counted),
        cmocka_unit_test(an_event_may_go_while_its_comments_are_judged),
        cmocka_unit_test(rules_that_are_changed_at_once_are_all_in_force),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
