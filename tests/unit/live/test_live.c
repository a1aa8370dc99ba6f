/* The live room as a whole: messages in, segments out, and a crash in between.
 *
 * A crash is played by copying the data folder while the room works on it, as a power loss would freeze it,
 * and opening the room on the copy. */
#include "unit.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "folder.h"
#include "live/live_int.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

/* A real avcC of 320x180, High profile, and AAC LC of 48 kHz stereo. */
static const uint8_t avcc[] = {0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x0c,
                               0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
                               0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60, 0x01, 0x00,
                               0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00};
static const uint8_t aac[] = {0x11, 0x90};

struct house {
    char *dir;
    struct net *net;
    struct store *store;
    struct db *db;
    struct live *live;
};

static struct house open_house(char *dir)
{
    struct house h = {.dir = dir};
    char url[128], why[256] = "";

    snprintf(url, sizeof url, "file:%s/store", dir);
    assert_int_equal(store_open(&h.store, url, why), ERR_OK);
    snprintf(url, sizeof url, "sqlite:%s/matinee.db", dir);
    assert_int_equal(db_open(&h.db, url, why), ERR_OK);
    assert_int_equal(net_start(&h.net, 2, 2), ERR_OK);

    struct live_options o = {h.net, h.store, h.db, dir, 10000, 30000};

    if (live_open(&h.live, &o, why) != ERR_OK)
        fail_msg("%s", why);
    return h;
}

static void close_house(struct house *h)
{
    live_drain(h->live, 10000);
    store_stop(h->store);
    net_stop(h->net);
    live_close(h->live);
    db_close(h->db);
    store_close(h->store);
}

/* --- a publisher that runs on a loop and is driven by the test --------------------------------------- */

struct show {
    struct house *house;
    struct loop *loop;
    struct publication *p;
    char key[ACCESS_KEY_SIZE];
    sem_t step;
    enum err refused;
    bool granted, evicted;
    _Atomic bool hurried;
    _Atomic uint64_t durable;
    uint64_t last_position;
    void (*act)(struct show *s);
    int64_t from_ms, to_ms; /* what to publish */
    bool silent;            /* no sound */
    bool dark;              /* a picture's configuration and no picture */
    int64_t late_ms;        /* how far the sound is behind */
};

static void on_granted(void *ctx)
{
    struct show *s = ctx;

    s->granted = true;
    sem_post(&s->step);
}

static void on_refused(void *ctx, enum err why, const char *text)
{
    struct show *s = ctx;

    s->refused = why;
    s->p = NULL;
    sem_post(&s->step);
}

static void on_durable(void *ctx, uint64_t position)
{
    struct show *s = ctx;

    s->durable = position;
}

static void on_notice(void *ctx, bool is_error, const char *text)
{
}

static void on_hold(void *ctx, bool on)
{
}

static void on_evicted(void *ctx, const char *text)
{
    struct show *s = ctx;

    s->evicted = true;
    s->p = NULL;
    sem_post(&s->step);
}

static void on_hurry(void *ctx, bool on)
{
    struct show *s = ctx;

    s->hurried = on;
    sem_post(&s->step);
}

static const struct publisher_events events = {on_granted, on_refused, on_durable, on_notice,
                                               on_hold,    on_evicted, on_hurry};

static void act_here(void *ctx)
{
    struct show *s = ctx;

    s->act(s);
}

static void do_publish(struct show *s)
{
    s->p = live_publish(s->house->live, s->loop, bytes_text(s->key), &events, s);
}

static void do_leave(struct show *s)
{
    if (s->p != NULL)
        live_unpublish(s->p, true);
    s->p = NULL;
    sem_post(&s->step);
}

static void say(struct show *s, enum message_kind kind, int64_t ms, const uint8_t *head, size_t head_size,
                struct bytes payload)
{
    struct builder b = {0};
    struct buffer *message;
    uint64_t position;
    const char *why;

    builder_add(&b, bytes_of(head, head_size));
    builder_add(&b, payload);
    message = builder_finish(&b);
    assert_int_equal(live_message(s->p, kind, (uint32_t)ms, message, buffer_bytes(message), &position, &why),
                     ERR_OK);
    if (position != 0)
        s->last_position = position;
    buffer_unref(message);
}

/* Pictures of 40 ms with a keyframe every 2 s, sounds of 1024 samples, in the order of their stamps. */
static void do_send(struct show *s)
{
    static const uint8_t video_config[] = {0x17, 0, 0, 0, 0}, audio_config[] = {0xaf, 0},
                         audio_frame[] = {0xaf, 1};
    uint8_t content[64];

    say(s, MESSAGE_VIDEO, s->from_ms, video_config, sizeof video_config, bytes_of(avcc, sizeof avcc));
    if (!s->silent)
        say(s, MESSAGE_AUDIO, s->from_ms, audio_config, sizeof audio_config, bytes_of(aac, sizeof aac));
    int64_t sound = 0;

    for (int64_t ms = s->from_ms; ms < s->to_ms; ms += 40) {
        uint8_t head[] = {ms % 2000 == 0 ? 0x17 : 0x27, 1, 0, 0, 80};

        memset(content, (int)(ms / 40 & 0xff), sizeof content);
        put_be32(content, sizeof content - 4);
        if (!s->dark)
            say(s, MESSAGE_VIDEO, ms, head, sizeof head, bytes_of(content, sizeof content));
        for (; !s->silent && s->from_ms + sound * 1024 / 48 <= ms - s->late_ms; sound++)
            say(s, MESSAGE_AUDIO, s->from_ms + sound * 1024 / 48, audio_frame, sizeof audio_frame,
                bytes_of(content, 20));
    }
    live_sync(s->p);
    sem_post(&s->step);
}

static void act(struct show *s, void (*what)(struct show *s))
{
    s->act = what;
    loop_post(s->loop, act_here, s);
    sem_wait(&s->step);
}

static struct ulid make_event(struct house *h, char key[ACCESS_KEY_SIZE])
{
    struct event_change what = {.title = "Premiere", .starts_at_ms = -1};
    struct ulid id;

    assert_int_equal(live_event_create(h->live, &what, &id, key), ERR_OK);
    return id;
}

static struct show show_new(struct house *h, const char *key, unsigned loop)
{
    struct show s = {.house = h, .loop = net_loop(h->net, loop)};

    snprintf(s.key, sizeof s.key, "%s", key);
    sem_init(&s.step, 0, 0);
    return s;
}

static void send_span(struct show *s, int64_t from_ms, int64_t to_ms)
{
    s->from_ms = from_ms;
    s->to_ms = to_ms;
    act(s, do_send);
}

static struct video_view *view_of(struct house *h, struct ulid event)
{
    struct event_view e;
    struct video_view *v;
    bool known;

    assert_int_equal(live_event_get(h->live, event, &e), ERR_OK);
    assert_true(e.has_video);
    v = live_video_peek(h->live, e.videos[0], &known);
    if (v == NULL)
        assert_int_equal(live_video_load(h->live, e.videos[0], &v), ERR_OK);
    event_view_free(&e);
    return v;
}

static void wait_for_disk(struct show *s)
{
    while (s->durable < s->last_position)
        sched_yield();
}

/* --- promises ---------------------------------------------------------------------------------------- */

static void segments_are_cut_at_keyframes_and_touch(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    assert_true(s.granted);
    send_span(&s, 6000, 6000 + 35000);
    act(&s, do_leave);

    struct video_view *v = view_of(&h, event);

    assert_int_equal(v->segment_count, 4);
    assert_int_equal(v->target_duration_s, 13); /* 10 and a GOP of 2, and 1 */
    for (size_t i = 0; i < v->segment_count; i++) {
        const struct segment *g = &v->segments[i];

        assert_int_equal(g->number, i);
        assert_true(g->track[TRACK_VIDEO].bytes > 0 && g->track[TRACK_AUDIO].bytes > 0);
        if (i > 0) {
            /* The first keyframe is shown at 80 ms, and 6 GOPs of 2 s are the first length of 10 s or more. */
            assert_int_equal(g->start, v->segments[i - 1].end);
            assert_int_equal(g->track[TRACK_VIDEO].start, v->segments[i - 1].track[TRACK_VIDEO].end);
            assert_int_equal(g->track[TRACK_AUDIO].start, v->segments[i - 1].track[TRACK_AUDIO].end);
        }
    }
    assert_int_equal(v->segments[0].track[TRACK_VIDEO].start, 80 * 90);
    assert_int_equal(v->segments[0].track[TRACK_AUDIO].start, 0);
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

/* Copies what the shell pattern names from one folder to another, as it is at this moment. */
static void freeze(const char *from, const char *pattern, const char *to)
{
    char command[256];
    int status;
    pid_t child;

    snprintf(command, sizeof command, "cp -r %s/%s %s/", from, pattern, to);
    if ((child = fork()) == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void the_same_samples_give_the_same_bytes_after_a_crash(void **state)
{
    struct house h = open_house(folder_new()), after;
    char key[ACCESS_KEY_SIZE], name[SEGMENT_NAME_SIZE], *copy = folder_new();
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    freeze(h.dir, "matinee.db*", copy); /* no segment has a row yet */
    act(&s, do_publish);
    send_span(&s, 0, 25000);
    wait_for_disk(&s);
    freeze(h.dir, "journal", copy);
    act(&s, do_leave);

    struct video_view *live = view_of(&h, event);

    after = open_house(copy);
    struct video_view *found = view_of(&after, event);

    assert_int_equal(found->segment_count, 3);
    assert_true(found->live);
    for (size_t i = 0; i < 2; i++) { /* the third was open, so it is a torn one with a number of its own */
        struct buffer *a, *b;

        for (int t = 0; t < TRACK_COUNT; t++) {
            assert_int_equal(
                store_get(h.store, segment_name(name, live->id, (enum track)t, &live->segments[i]), &a),
                ERR_OK);
            assert_int_equal(store_get(after.store, name, &b), ERR_OK);
            assert_true(bytes_equal(buffer_bytes(a), buffer_bytes(b)));
            buffer_unref(a);
            buffer_unref(b);
        }
    }
    assert_true(found->segments[2].torn);
    assert_int_equal(found->segments[2].number, 3);
    assert_int_equal(found->segments[2].end, live->segments[2].end); /* every acknowledged sample is there */
    video_view_unref(live);
    video_view_unref(found);
    close_house(&after);
    close_house(&h);
    folder_remove(h.dir);
    folder_remove(copy);
}

/* As if the first configuration had been one that no sound followed: such a one has no row. */
static enum err leave_out_the_first(void *ctx, struct db *tx)
{
    enum err e = db_run(tx, "UPDATE inits SET number = 2 WHERE track = 1", NULL, 0, NULL);

    return e == ERR_OK ? db_run(tx, "UPDATE segments SET audio_init = 2", NULL, 0, NULL) : e;
}

static void a_configuration_keeps_its_number_though_those_before_it_have_no_row(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    send_span(&s, 0, 25000);
    act(&s, do_leave);
    assert_int_equal(live_event_end(h.live, event), ERR_OK);
    live_drain(h.live, 5000);
    assert_int_equal(db_write(h.db, leave_out_the_first, NULL), ERR_OK);
    close_house(&h);
    h = open_house(h.dir);

    struct video_view *v = view_of(&h, event);

    assert_int_equal(v->segments[0].track[TRACK_AUDIO].init, 2);
    assert_int_equal(v->init_count[TRACK_AUDIO], 3);
    assert_int_equal(v->init_count[TRACK_VIDEO], 1);
    assert_int_equal(v->inits[TRACK_AUDIO][2].number, 2);
    assert_int_equal(v->inits[TRACK_AUDIO][2].config.rate, 48000);
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

static void who_returns_goes_on_in_the_same_video(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];
    struct ulid event = make_event(&h, key);
    struct show first = show_new(&h, key, 0), second = show_new(&h, key, 1);

    act(&first, do_publish);
    send_span(&first, 100000, 112000);
    act(&first, do_leave);
    act(&second, do_publish); /* on another loop, with a clock that begins anew */
    send_span(&second, 0, 6000);
    act(&second, do_leave);

    struct video_view *v = view_of(&h, event);

    assert_int_equal(v->segment_count, 3);
    assert_false(v->segments[1].discontinuity);
    assert_true(v->segments[2].discontinuity);
    assert_int_equal(v->init_count[TRACK_VIDEO], 1);
    /* Its first sound stands where the timeline stopped, rounded up to a millisecond. */
    assert_in_range(v->segments[2].track[TRACK_AUDIO].start * 90000 / 48000 - v->segments[1].end, 0, 90);
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

static void a_wrong_key_and_a_second_publisher_are_refused(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];

    (void)make_event(&h, key);
    struct show stranger = show_new(&h, "not-the-key", 0), first = show_new(&h, key, 0),
                second = show_new(&h, key, 1);

    act(&stranger, do_publish);
    assert_int_equal(stranger.refused, ERR_DENIED);
    act(&first, do_publish);
    second.act = do_publish;
    loop_post(second.loop, act_here, &second);
    first.silent = true;
    while (sem_trywait(&second.step) != 0) { /* the first one goes on speaking */
        send_span(&first, 0, 40);
        live_heard(first.p);
    }
    assert_int_equal(second.refused, ERR_BUSY);
    assert_false(first.evicted);
    act(&first, do_leave);
    close_house(&h);
    folder_remove(h.dir);
}

static void a_dead_publisher_gives_way_within_five_seconds(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];

    (void)make_event(&h, key);
    struct show dead = show_new(&h, key, 0), second = show_new(&h, key, 1);

    act(&dead, do_publish);
    send_span(&dead, 0, 3000);
    int64_t before = clock_mono_ms();

    act(&second, do_publish);
    assert_true(second.granted);
    assert_in_range(clock_mono_ms() - before, 0, 5000);
    sem_wait(&dead.step);
    assert_true(dead.evicted);
    act(&second, do_leave);
    close_house(&h);
    folder_remove(h.dir);
}

static void ending_an_event_stores_all_and_keeps_it_after_a_restart(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE], name[SEGMENT_NAME_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    s.silent = true;
    send_span(&s, 0, 15000);
    assert_int_equal(live_event_end(h.live, event), ERR_OK);
    sem_wait(&s.step);
    assert_true(s.evicted);
    close_house(&h);

    struct house again = open_house(h.dir);
    struct video_view *v = view_of(&again, event);

    assert_false(v->live);
    assert_int_equal(v->segment_count, 2);
    for (size_t i = 0; i < v->segment_count; i++) {
        struct buffer *b;

        assert_int_equal(store_get(again.store, segment_name(name, v->id, TRACK_VIDEO, &v->segments[i]), &b),
                         ERR_OK);
        assert_int_equal(b->size, v->segments[i].track[TRACK_VIDEO].bytes);
        buffer_unref(b);
    }
    struct ulid video = v->id;

    video_view_unref(v);
    assert_int_equal(live_event_delete(again.live, event), ERR_OK);

    struct event_view gone;
    bool known;

    assert_int_equal(live_event_get(again.live, event, &gone), ERR_MISSING);
    assert_null(live_video_peek(again.live, video, &known));
    assert_false(known);
    close_house(&again);
    folder_remove(h.dir);
}

/* Waits until the store and the index have all that is finished. */
static void wait_for_store(struct house *h, struct ulid event)
{
    bool waits = true;

    while (waits) {
        pthread_mutex_lock(&h->live->lock);
        const struct video *v = live_find_event(h->live, event)->video;

        waits = !list_empty(&v->spool) || v->spooling || v->end_to_tell;
        pthread_mutex_unlock(&h->live->lock);
        sched_yield();
    }
}

/* The sounds that come after a cut and belong before it are stored with what is before it. */
static void a_crash_brings_no_sound_twice(void **state)
{
    struct house h = open_house(folder_new()), after;
    char key[ACCESS_KEY_SIZE], *copy = folder_new();
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    send_span(&s, 0, 25000);
    wait_for_disk(&s);
    wait_for_store(&h, event);
    freeze(h.dir, "*", copy);
    after = open_house(copy);

    struct video_view *v = view_of(&after, event);

    assert_int_equal(v->segment_count, 3);
    for (size_t i = 1; i < 3; i++)
        assert_int_equal(v->segments[i].track[TRACK_AUDIO].start, v->segments[i - 1].track[TRACK_AUDIO].end);
    video_view_unref(v);
    act(&s, do_leave);
    close_house(&after);
    close_house(&h);
    folder_remove(h.dir);
    folder_remove(copy);
}

/* The segment before the open one was still waiting for its sound: it is no more whole than the open one. */
static void all_that_a_crash_cut_short_has_other_names(void **state)
{
    struct house h = open_house(folder_new()), after;
    char key[ACCESS_KEY_SIZE], *copy = folder_new();
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    s.late_ms = 1000;
    send_span(&s, 0, 10600);
    wait_for_disk(&s);
    freeze(h.dir, "*", copy);
    for (int crash = 0; crash < 2; crash++) { /* nobody comes between: the second finds the same */
        after = open_house(copy);
        struct video_view *v = view_of(&after, event);

        assert_int_equal(v->segment_count, 2);
        for (size_t i = 0; i < 2; i++) {
            assert_true(v->segments[i].torn);
            assert_int_equal(v->segments[i].number, i + 1);
        }
        video_view_unref(v);
        close_house(&after);
    }
    act(&s, do_leave);
    close_house(&h);
    folder_remove(h.dir);
    folder_remove(copy);
}

static enum err try_to_say(struct show *s, enum message_kind kind, uint32_t ms, struct bytes body)
{
    struct buffer *message = buffer_copy(body);
    uint64_t position;
    const char *why;
    enum err e = live_message(s->p, kind, ms, message, buffer_bytes(message), &position, &why);

    if (position != 0)
        s->last_position = position;
    buffer_unref(message);
    return e;
}

static void do_send_broken_sound(struct show *s)
{
    static const uint8_t video_config[] = {0x17, 0, 0, 0, 0}, audio_config[] = {0xaf, 0};
    static const uint8_t picture[] = {0x17, 1, 0, 0, 0, 0, 0, 0, 4, 0x65, 1, 2, 3};
    static const uint8_t adts[] = {0xaf, 1, 0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 0x21};
    enum err e = ERR_OK;

    say(s, MESSAGE_VIDEO, 0, video_config, sizeof video_config, bytes_of(avcc, sizeof avcc));
    say(s, MESSAGE_AUDIO, 0, audio_config, sizeof audio_config, bytes_of(aac, sizeof aac));
    for (uint32_t ms = 0; ms < 200 && e == ERR_OK; ms += 20) {
        e = try_to_say(s, MESSAGE_VIDEO, ms, bytes_of(picture, sizeof picture));
        if (e == ERR_OK)
            e = try_to_say(s, MESSAGE_AUDIO, ms, bytes_of(adts, sizeof adts));
    }
    assert_int_equal(e, ERR_BAD);
    live_sync(s->p);
    sem_post(&s->step);
}

/* It is in the journal, and the muxer will refuse it again: that must cost nobody else anything. */
static void a_sample_that_cannot_be_stored_keeps_no_house_from_opening(void **state)
{
    struct house h = open_house(folder_new()), after;
    char key[ACCESS_KEY_SIZE], *copy = folder_new();
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    freeze(h.dir, "matinee.db*", copy);
    act(&s, do_publish);
    act(&s, do_send_broken_sound);
    wait_for_disk(&s);
    freeze(h.dir, "journal", copy);
    act(&s, do_leave);
    for (int side = 0; side < 2; side++) {
        if (side == 1)
            after = open_house(copy);
        struct video_view *v = view_of(side ? &after : &h, event);

        assert_int_equal(v->segment_count, 1);
        assert_true(v->segments[0].track[TRACK_VIDEO].bytes > 0);
        assert_int_equal(v->segments[0].track[TRACK_AUDIO].bytes, 0);
        video_view_unref(v);
    }
    close_house(&after);
    close_house(&h);
    folder_remove(h.dir);
    folder_remove(copy);
}

static void who_announces_pictures_and_sends_none_is_cut_all_the_same(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    s.dark = true;
    send_span(&s, 0, 35000);

    struct video_view *v = view_of(&h, event);

    assert_true(v->segment_count >= 2);
    video_view_unref(v);
    act(&s, do_leave);
    v = view_of(&h, event);
    for (size_t i = 1; i < v->segment_count; i++)
        assert_int_equal(v->segments[i].track[TRACK_AUDIO].start, v->segments[i - 1].track[TRACK_AUDIO].end);
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

static void a_video_that_was_deleted_stays_so_after_a_crash_and_a_start(void **state)
{
    struct house h = open_house(folder_new()), after;
    char key[ACCESS_KEY_SIZE], *copy = folder_new();
    struct ulid event = make_event(&h, key), video;
    struct show s = show_new(&h, key, 0);
    struct video_view *v;
    bool known;

    act(&s, do_publish);
    send_span(&s, 0, 3000);
    act(&s, do_leave);
    v = view_of(&h, event);
    video = v->id;
    video_view_unref(v);
    assert_int_equal(live_event_end(h.live, event), ERR_OK);
    wait_for_store(&h, event);
    freeze(h.dir, "matinee.db*", copy); /* the crash comes before the row is gone */
    freeze(h.dir, "store", copy);
    assert_int_equal(live_video_delete(h.live, video), ERR_OK);
    freeze(h.dir, "journal", copy);
    for (int start = 0; start < 2; start++) {
        after = open_house(copy);
        assert_null(live_video_peek(after.live, video, &known));
        assert_false(known);
        close_house(&after);
        char *journal = mem_printf("%s/journal", copy);

        folder_remove(journal); /* by and by it is let go, and must not be what keeps the video away */
    }
    close_house(&h);
    folder_remove(h.dir);
    folder_remove(copy);
}

/* Views that were made before must not go on telling everybody may watch. */
static void a_changed_access_rule_holds_for_what_is_in_memory(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);
    enum event_access ticket = ACCESS_TICKET;
    struct event_change what = {.access = &ticket, .starts_at_ms = EVENT_UNCHANGED};

    act(&s, do_publish);
    send_span(&s, 0, 3000);
    act(&s, do_leave);
    assert_int_equal(live_event_change(h.live, event, &what), ERR_OK);

    struct video_view *v = view_of(&h, event);

    assert_int_equal(v->access, ACCESS_TICKET);
    assert_int_equal(v->segment_count, 1);
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

static void a_viewer_with_low_latency_hurries_the_publisher_and_is_forgotten(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    live_video_hurry(h.live, event); /* no video has this id */
    send_span(&s, 0, 3000);

    struct video_view *v = view_of(&h, event);
    int64_t before = clock_mono_ms();

    assert_false(s.hurried);
    live_video_hurry(h.live, v->id);
    sem_wait(&s.step);
    assert_true(s.hurried);
    live_video_hurry(h.live, v->id); /* a repetition changes nothing */
    sem_wait(&s.step);
    assert_false(s.hurried);
    assert_in_range(clock_mono_ms() - before, LIVE_HURRY_MS, 2 * LIVE_HURRY_MS);
    live_video_hurry(h.live, v->id);
    sem_wait(&s.step);
    assert_true(s.hurried);
    act(&s, do_leave); /* and is not told any more: who is gone has no socket to read */
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

/* The parts on the edge's shelf of that number, laid end to end. */
static struct buffer *laid_end_to_end(const struct edge *e, uint32_t number, enum track t)
{
    struct builder b = {0};

    for (size_t i = 0; i < e->shelf_count; i++)
        for (size_t n = 0; e->shelves[i].number == number && n < e->shelves[i].count[t]; n++)
            builder_add(&b, buffer_bytes(e->shelves[i].parts[t][n].bytes));
    return builder_finish(&b);
}

static atomic_int edges_told;

static void on_edge(void *ctx, struct ulid video)
{
    atomic_fetch_add(&edges_told, 1);
}

static void who_hurries_sees_the_open_segment_in_parts_and_the_same_bytes_when_it_is_done(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE], name[SEGMENT_NAME_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    live_on_edge(h.live, on_edge, NULL);
    act(&s, do_publish);
    send_span(&s, 0, 13000);

    struct video_view *v = view_of(&h, event);
    struct edge *e = live_edge_peek(h.live, v->id);

    assert_int_equal(v->segment_count, 1);
    assert_int_equal(e->shelf_count, 0); /* nobody has asked */
    edge_unref(e);
    live_video_hurry(h.live, v->id);
    sem_wait(&s.step);
    int told = edges_told;

    send_span(&s, 13000, 15000);
    e = live_edge_peek(h.live, v->id);
    assert_true(e->publishing && e->part_90k[TRACK_VIDEO] > 0 && e->part_90k[TRACK_AUDIO] > 0);
    assert_true(live_edge_s(h.live, v) > 14 && video_view_duration_s(v) < 13); /* the open segment counts */
    assert_int_equal(e->shelf_count, 1);
    assert_int_equal(e->shelves[0].number, 1);
    assert_true(e->shelves[0].parts[TRACK_VIDEO][0].independent);
    assert_true(edges_told > told);
    edge_unref(e);
    send_span(&s, 15000, 21000);
    e = live_edge_peek(h.live, v->id);
    assert_int_equal(e->view->segment_count, 2);
    for (int t = 0; t < TRACK_COUNT; t++) {
        struct buffer *stored, *laid = laid_end_to_end(e, 1, (enum track)t);

        assert_int_equal(
            store_get(h.store, segment_name(name, v->id, (enum track)t, &e->view->segments[1]), &stored),
            ERR_OK);
        assert_true(bytes_equal(buffer_bytes(stored), buffer_bytes(laid)));
        buffer_unref(stored);
        buffer_unref(laid);
    }
    edge_unref(e);
    live_on_edge(h.live, NULL, NULL);
    act(&s, do_leave);
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

/* --- chunks of what is live, and what is made of them -------------------------------------------------- */

#define CHUNKS_MAX 32

struct ear {
    pthread_mutex_t lock;
    struct live_chunk heard[CHUNKS_MAX]; /* without their records */
    size_t count;
};

static void on_chunk(void *ctx, const struct live_chunk *c)
{
    struct ear *ear = ctx;

    pthread_mutex_lock(&ear->lock);
    assert_true(ear->count < CHUNKS_MAX && c->record != NULL);
    ear->heard[ear->count++] = *c;
    pthread_mutex_unlock(&ear->lock);
}

/* Waits for the last chunk of that segment; how many it has, and all there are laid end to end. */
static struct buffer *laid_chunks(struct house *h, struct ear *ear, struct ulid video, uint32_t number,
                                  unsigned *count)
{
    struct builder b = {0};
    char name[SEGMENT_NAME_SIZE];
    size_t there = 0;

    for (*count = 0; *count == 0 || there < *count; sched_yield()) {
        pthread_mutex_lock(&ear->lock);
        there = 0;
        for (size_t i = 0; i < ear->count; i++) {
            there += ear->heard[i].number == number;
            if (ear->heard[i].number == number && ear->heard[i].last)
                *count = ear->heard[i].index + 1;
        }
        pthread_mutex_unlock(&ear->lock);
    }
    for (unsigned i = 0; i < *count; i++) {
        struct buffer *chunk;

        assert_int_equal(store_get(h->store, live_chunk_name(name, video, number, i), &chunk), ERR_OK);
        builder_add(&b, buffer_bytes(chunk));
        buffer_unref(chunk);
    }
    return builder_finish(&b);
}

static void the_chunks_that_are_told_of_laid_end_to_end_are_the_segment(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE], name[SEGMENT_NAME_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);
    struct ear ear = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct buffer *stored, *laid;
    unsigned count;

    live_on_chunk(h.live, on_chunk, &ear);
    act(&s, do_publish);
    send_span(&s, 0, 21000);
    wait_for_store(&h, event);

    struct video_view *v = view_of(&h, event);

    assert_int_equal(v->segment_count, 2);
    laid = laid_chunks(&h, &ear, v->id, 1, &count);
    assert_int_equal(count, 5); /* two seconds each */
    assert_true(v->chunk_90k >= 2 * CMAF_VIDEO_TIMESCALE && v->chunk_90k < 3 * CMAF_VIDEO_TIMESCALE);
    assert_int_equal(store_get(h.store, segment_name(name, v->id, TRACK_VIDEO, &v->segments[1]), &stored),
                     ERR_OK);
    assert_true(bytes_equal(buffer_bytes(stored), buffer_bytes(laid)));
    buffer_unref(stored);
    buffer_unref(laid);
    live_on_chunk(h.live, NULL, NULL);
    act(&s, do_leave);
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

static enum err show_part(struct house *h, struct ulid video, uint32_t number, unsigned chunk, bool last)
{
    return live_rendition_part(
        h->live, video, "90p",
        &(struct made_part){.number = number, .chunk = chunk, .last = last, .size = 10},
        bytes_of(avcc, sizeof avcc));
}

static void parts_of_a_rendition_are_shown_in_order_and_old_ones_let_go(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    send_span(&s, 0, 13000);
    wait_for_store(&h, event);

    struct video_view *v = view_of(&h, event);
    struct rendition r = {.name = "90p", .codec = CODEC_H264, .width = 160, .height = 90};

    assert_int_equal(show_part(&h, v->id, 1, 0, false), ERR_MISSING); /* no such rendition */
    assert_int_equal(live_rendition_begin(h.live, v->id, &r), ERR_OK);
    assert_int_equal(show_part(&h, v->id, 1, 1, false), ERR_BAD); /* the first one is missing */
    assert_int_equal(show_part(&h, v->id, 1, 0, false), ERR_OK);
    assert_int_equal(show_part(&h, v->id, 1, 2, false), ERR_BAD);
    assert_int_equal(show_part(&h, v->id, 1, 0, false), ERR_BAD);
    assert_int_equal(show_part(&h, v->id, 1, 1, true), ERR_OK);
    assert_int_equal(show_part(&h, v->id, 0, 0, false), ERR_BAD); /* of the past */
    for (uint32_t number = 2; number < 6; number++)
        assert_int_equal(show_part(&h, v->id, number, 0, true), ERR_OK);
    video_view_unref(v);
    v = view_of(&h, event);

    const struct rendition *shown = video_view_rendition(v, "90p");

    assert_int_equal(shown->part_count, LIVE_PART_SEGMENTS);
    assert_int_equal(shown->parts[0].number, 6 - LIVE_PART_SEGMENTS);
    assert_non_null(rendition_init(shown, 0));
    act(&s, do_leave);
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

static void who_asks_once_gets_the_parts_there_are_and_the_publisher_is_not_hurried(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);
    struct edge *e = NULL;

    act(&s, do_publish);
    send_span(&s, 0, 13000);

    struct video_view *v = view_of(&h, event);

    live_edge_ask(h.live, v->id);
    send_span(&s, 13000, 13040); /* behind the question on the same loop */
    e = live_edge_peek(h.live, v->id);
    assert_int_equal(e->shelf_count, 1);
    assert_true(e->shelves[0].count[TRACK_VIDEO] > 0);
    assert_false(s.hurried);
    edge_unref(e);
    assert_int_equal(live_event_end(h.live, event), ERR_OK);
    sem_wait(&s.step);
    while ((e = live_edge_peek(h.live, v->id)) != NULL) { /* an ended video has no edge */
        edge_unref(e);
        sched_yield();
    }
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

static void who_comes_first_is_told_where_the_parts_lie_of_segments_that_nobody_watched(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE], name[SEGMENT_NAME_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    send_span(&s, 0, 63000);

    struct video_view *v = view_of(&h, event);
    struct edge *e = live_edge_peek(h.live, v->id);

    assert_int_equal(v->segment_count, 6);
    assert_int_equal(e->shelf_count, LIVE_PART_SEGMENTS); /* of what is done; nobody has asked for more */
    edge_unref(e);
    live_video_hurry(h.live, v->id);
    sem_wait(&s.step);
    send_span(&s, 63000, 63040); /* behind the showing on the same loop */
    e = live_edge_peek(h.live, v->id);
    assert_int_equal(e->shelf_count, LIVE_PART_SEGMENTS + 1); /* and the open one */
    for (size_t i = 0; i < LIVE_PART_SEGMENTS; i++) {
        const struct shelf *shelf = &e->shelves[i];

        assert_int_equal(shelf->number, 6 - LIVE_PART_SEGMENTS + i);
        for (int t = 0; t < TRACK_COUNT; t++) {
            struct buffer *stored;
            size_t at = 0;

            assert_int_equal(store_get(h.store,
                                       segment_name(name, v->id, (enum track)t, &v->segments[shelf->number]),
                                       &stored),
                             ERR_OK);
            for (size_t n = 0; n < shelf->count[t]; n++) {
                assert_null(shelf->parts[t][n].bytes);
                assert_int_equal(shelf->parts[t][n].at, at);
                at += shelf->parts[t][n].size;
            }
            assert_int_equal(at, stored->size);
            buffer_unref(stored);
        }
    }
    edge_unref(e);
    act(&s, do_leave);
    video_view_unref(v);
    close_house(&h);
    folder_remove(h.dir);
}

/* --- followers ----------------------------------------------------------------------------------------- */

/* Somebody on the second loop who notes what he is told. */
struct fan {
    struct house *house;
    struct loop *loop;
    struct ulid video;
    struct follower *follower;
    sem_t step, told;
    unsigned tracks, samples[TRACK_COUNT], breaks, ends;
    bool first_is_key;
    int64_t first_pts, last_dts;
};

static void fan_told(void *ctx, const struct followed *f)
{
    struct fan *a = ctx;

    assert_ptr_equal(loop_here(), a->loop);
    a->tracks += f->kind == FOLLOWED_TRACK;
    a->breaks += f->kind == FOLLOWED_BREAK;
    a->ends += f->kind == FOLLOWED_END;
    if (f->kind == FOLLOWED_SAMPLE && f->track == TRACK_VIDEO && a->samples[TRACK_VIDEO] == 0) {
        a->first_is_key = f->sample.keyframe;
        a->first_pts = f->sample.pts;
    }
    if (f->kind == FOLLOWED_SAMPLE) {
        a->samples[f->track]++;
        assert_non_null(f->sample.buffer);
        assert_true(f->track != TRACK_VIDEO || f->sample.dts > a->last_dts);
        a->last_dts = f->track == TRACK_VIDEO ? f->sample.dts : a->last_dts;
    }
    sem_post(&a->told);
}

static void fan_follows(void *ctx)
{
    struct fan *a = ctx;

    a->follower = live_follow(a->house->live, a->video, a->loop, fan_told, a);
    sem_post(&a->step);
}

static void fan_leaves(void *ctx)
{
    struct fan *a = ctx;

    live_unfollow(a->follower);
    a->follower = NULL;
    sem_post(&a->step);
}

static void fan_does(struct fan *a, void (*what)(void *ctx))
{
    loop_post(a->loop, what, a);
    sem_wait(&a->step);
}

static void fan_waits(struct fan *a, const unsigned *count, unsigned until)
{
    while (*count < until)
        sem_wait(&a->told);
    assert_int_equal(*count, until);
}

static struct fan fan_new(struct house *h, struct ulid event)
{
    struct video_view *v = view_of(h, event);
    struct fan a = {.house = h, .loop = net_loop(h->net, 1), .video = v->id, .last_dts = -1};

    sem_init(&a.step, 0, 0);
    sem_init(&a.told, 0, 0);
    video_view_unref(v);
    return a;
}

static void a_follower_gets_what_came_since_the_keyframe_and_then_all_that_comes(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    send_span(&s, 0, 5000);
    struct fan a = fan_new(&h, event);

    fan_does(&a, fan_follows);
    assert_non_null(a.follower);
    fan_waits(&a, &a.samples[TRACK_VIDEO], 25); /* of 4 s to 5 s */
    assert_int_equal(a.tracks, 2);
    assert_true(a.first_is_key);
    assert_int_equal(a.first_pts, 4080 * 90);
    send_span(&s, 5000, 7000);
    fan_waits(&a, &a.samples[TRACK_VIDEO], 75);
    assert_int_equal(a.tracks, 2); /* configurations that are repeated are no news */
    assert_true(a.samples[TRACK_AUDIO] > 100);
    act(&s, do_leave);
    fan_waits(&a, &a.breaks, 1);
    assert_int_equal(live_event_end(h.live, event), ERR_OK);
    fan_waits(&a, &a.ends, 1);
    fan_does(&a, fan_leaves);
    fan_does(&a, fan_follows);
    assert_null(a.follower); /* it is not live any more */
    close_house(&h);
    folder_remove(h.dir);
}

static void who_follows_no_longer_is_told_nothing_more(void **state)
{
    struct house h = open_house(folder_new());
    char key[ACCESS_KEY_SIZE];
    struct ulid event = make_event(&h, key);
    struct show s = show_new(&h, key, 0);

    act(&s, do_publish);
    send_span(&s, 0, 1000);
    struct fan a = fan_new(&h, event), b = a;

    sem_init(&b.step, 0, 0);
    sem_init(&b.told, 0, 0);
    fan_does(&a, fan_follows);
    fan_does(&b, fan_follows);
    fan_waits(&a, &a.samples[TRACK_VIDEO], 25);
    fan_does(&a, fan_leaves);
    send_span(&s, 1000, 2000);
    fan_waits(&b, &b.samples[TRACK_VIDEO], 50); /* told on the same loop, so the other would have been too */
    assert_int_equal(a.samples[TRACK_VIDEO], 25);
    fan_does(&b, fan_leaves);
    act(&s, do_leave);
    close_house(&h);
    folder_remove(h.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_are_cut_at_keyframes_and_touch),
        cmocka_unit_test(the_same_samples_give_the_same_bytes_after_a_crash),
        cmocka_unit_test(a_configuration_keeps_its_number_though_those_before_it_have_no_row),
        cmocka_unit_test(who_returns_goes_on_in_the_same_video),
        cmocka_unit_test(a_wrong_key_and_a_second_publisher_are_refused),
        cmocka_unit_test(a_dead_publisher_gives_way_within_five_seconds),
        cmocka_unit_test(ending_an_event_stores_all_and_keeps_it_after_a_restart),
        cmocka_unit_test(a_crash_brings_no_sound_twice),
        cmocka_unit_test(all_that_a_crash_cut_short_has_other_names),
        cmocka_unit_test(a_sample_that_cannot_be_stored_keeps_no_house_from_opening),
        cmocka_unit_test(who_announces_pictures_and_sends_none_is_cut_all_the_same),
        cmocka_unit_test(a_video_that_was_deleted_stays_so_after_a_crash_and_a_start),
        cmocka_unit_test(a_changed_access_rule_holds_for_what_is_in_memory),
        cmocka_unit_test(who_hurries_sees_the_open_segment_in_parts_and_the_same_bytes_when_it_is_done),
        cmocka_unit_test(who_comes_first_is_told_where_the_parts_lie_of_segments_that_nobody_watched),
        cmocka_unit_test(the_chunks_that_are_told_of_laid_end_to_end_are_the_segment),
        cmocka_unit_test(parts_of_a_rendition_are_shown_in_order_and_old_ones_let_go),
        cmocka_unit_test(who_asks_once_gets_the_parts_there_are_and_the_publisher_is_not_hurried),
        cmocka_unit_test(a_viewer_with_low_latency_hurries_the_publisher_and_is_forgotten),
        cmocka_unit_test(a_follower_gets_what_came_since_the_keyframe_and_then_all_that_comes),
        cmocka_unit_test(who_follows_no_longer_is_told_nothing_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
