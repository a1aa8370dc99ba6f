/* The segmenter alone: what it does with samples that come late, alone, too many, or broken. */
#include "unit.h"

#include "base/limits.h"
#include "live/live_int.h"

/* A real avcC of 320x180, High profile, and AAC LC of 48 kHz stereo. */
static const uint8_t avcc[] = {0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x0c,
                               0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
                               0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60, 0x01, 0x00,
                               0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00};
static const uint8_t aac[] = {0x11, 0x90};
static const uint8_t picture[] = {0, 0, 0, 4, 0x65, 1, 2, 3};
static const uint8_t sound[] = {0x21, 1, 2, 3, 4, 5};
/* An ADTS head: the MP4 muxer refuses it at the beginning of a segment. */
static const uint8_t broken_sound[] = {0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 0x21};

#define SECOND 90000

struct bench {
    struct segmenter *segmenter;
    struct init init[TRACK_COUNT];
    struct list done;
    uint64_t position;
};

static void on_finished(void *ctx, struct finished *f)
{
    struct bench *b = ctx;

    list_push(&b->done, &f->link);
}

static void bench_open(struct bench *b)
{
    const char *why;

    *b = (struct bench){0};
    list_init(&b->done);
    b->init[TRACK_VIDEO].record = buffer_copy(bytes_of(avcc, sizeof avcc));
    b->init[TRACK_AUDIO].record = buffer_copy(bytes_of(aac, sizeof aac));
    assert_int_equal(codec_config_parse(&b->init[TRACK_VIDEO].config, CODEC_H264,
                                        buffer_bytes(b->init[TRACK_VIDEO].record), &why),
                     ERR_OK);
    assert_int_equal(codec_config_parse(&b->init[TRACK_AUDIO].config, CODEC_AAC,
                                        buffer_bytes(b->init[TRACK_AUDIO].record), &why),
                     ERR_OK);
    b->segmenter = segmenter_new(&(struct segmenter_events){on_finished}, b);
}

static void bench_close(struct bench *b)
{
    for (struct list *link; (link = list_pop(&b->done)) != NULL;)
        finished_free(container_of(link, struct finished, link));
    segmenter_free(b->segmenter);
    buffer_unref(b->init[TRACK_VIDEO].record);
    buffer_unref(b->init[TRACK_AUDIO].record);
}

static void open_at(struct bench *b, uint32_t number, int64_t start)
{
    struct segment_opening o = {
        .number = number, .start = start, .init = {&b->init[TRACK_VIDEO], &b->init[TRACK_AUDIO]}};

    b->position += 100;
    assert_int_equal(segmenter_open(b->segmenter, &o, b->position), ERR_OK);
}

static enum err add(struct bench *b, enum track track, int64_t at, struct buffer *content)
{
    struct sample s = {content, buffer_bytes(content), at, at, 0, true};
    enum err e;

    b->position += 100;
    e = segmenter_add(b->segmenter, track, &s, b->position);
    buffer_unref(content);
    return e;
}

static enum err add_picture(struct bench *b, int64_t at)
{
    return add(b, TRACK_VIDEO, at, buffer_copy(bytes_of(picture, sizeof picture)));
}

static enum err add_sound(struct bench *b, int64_t at)
{
    return add(b, TRACK_AUDIO, at, buffer_copy(bytes_of(sound, sizeof sound)));
}

static const struct finished *take(struct bench *b, size_t index)
{
    struct list *at = b->done.next;

    for (; index > 0 && at != &b->done; index--)
        at = at->next;
    assert_true(at != &b->done);
    return container_of(at, struct finished, link);
}

/* Pictures of 40 ms from `from` to `to` (in pictures), a keyframe every `gop`, and a sound of 1024 samples beside each. */
static void add_stream(struct bench *b, int from, int to, int gop)
{
    for (int i = from; i < to; i++) {
        struct buffer *content = buffer_copy(bytes_of(picture, sizeof picture));
        struct sample s = {content, buffer_bytes(content), i * 3600, i * 3600, 0, i % gop == 0};

        b->position += 100;
        assert_int_equal(segmenter_add(b->segmenter, TRACK_VIDEO, &s, b->position), ERR_OK);
        buffer_unref(content);
        for (int64_t n = ((int64_t)i * 1920 + 1023) / 1024; n * 1024 < (i + 1) * 1920; n++)
            assert_int_equal(add_sound(b, n * 1024), ERR_OK);
    }
}

static void open_with_parts(struct bench *b, uint32_t number, int64_t start)
{
    struct segment_opening o = {
        .number = number, .start = start, .init = {&b->init[TRACK_VIDEO], &b->init[TRACK_AUDIO]}};

    o.part_90k[TRACK_VIDEO] = parts_of_pictures(3600);
    o.part_90k[TRACK_AUDIO] = parts_of_sounds(&b->init[TRACK_AUDIO].config);
    b->position += 100;
    assert_int_equal(segmenter_open(b->segmenter, &o, b->position), ERR_OK);
}

/* RFC 8216bis §4.4.4.9: none is longer than promised, and none but the last shorter than 85 % of it. */
static void check_parts(const struct shelf *s, enum track t, int64_t part_max)
{
    for (size_t i = 0; i < s->count[t]; i++) {
        assert_true(s->parts[t][i].duration <= part_max);
        assert_true(i + 1 == s->count[t] || s->parts[t][i].duration * 100 >= part_max * 85);
        assert_true(i == 0 || s->parts[t][i].start == s->parts[t][i - 1].start + s->parts[t][i - 1].duration);
        assert_int_equal(s->parts[t][i].at, i == 0 ? 0 : s->parts[t][i - 1].at + s->parts[t][i - 1].size);
    }
}

static void the_parts_of_a_segment_laid_end_to_end_are_the_segment(void **state)
{
    struct bench b;
    struct shelf open[2] = {{0}, {0}};
    struct builder laid = {0};
    int64_t end;

    bench_open(&b);
    open_with_parts(&b, 0, 0);
    add_stream(&b, 0, 50, 50);
    assert_int_equal(segmenter_shelves(b.segmenter, open), 1);
    assert_int_equal(open[0].count[TRACK_VIDEO],
                     9); /* 45 pictures; that the next part is whole the next picture tells */
    assert_true(open[0].parts[TRACK_VIDEO][0].independent && !open[0].parts[TRACK_VIDEO][1].independent);
    add_stream(&b, 50, 125, 50);
    assert_int_equal(segmenter_end(b.segmenter, b.position, &end), ERR_OK);

    const struct finished *f = take(&b, 0);

    check_parts(&f->shelf, TRACK_VIDEO, parts_of_pictures(3600));
    check_parts(&f->shelf, TRACK_AUDIO, parts_of_sounds(&b.init[TRACK_AUDIO].config) * 48 / 90);
    assert_int_equal(f->shelf.count[TRACK_VIDEO], 25);
    assert_true(f->shelf.parts[TRACK_VIDEO][10].independent); /* the second GOP begins a part */
    for (int t = 0; t < TRACK_COUNT; t++) {
        size_t last = f->shelf.count[t] - 1;

        assert_int_equal(f->shelf.parts[t][last].at + f->shelf.parts[t][last].size, f->bytes[t]->size);
    }
    /* What players were shown while it was open is what it has become. */
    for (size_t i = 0; i < open[0].count[TRACK_VIDEO]; i++)
        builder_add(&laid, buffer_bytes(open[0].parts[TRACK_VIDEO][i].bytes));
    assert_true(bytes_equal(builder_bytes(&laid),
                            bytes_head(buffer_bytes(f->bytes[TRACK_VIDEO]), builder_bytes(&laid).size)));
    builder_drop(&laid);
    shelf_drop(&open[0]);
    bench_close(&b);
}

/* Before 85 % of a part are there it goes on, keyframe or not; a segment's end may cut it. */
static void a_keyframe_that_comes_too_early_begins_no_part(void **state)
{
    struct bench b;

    bench_open(&b);
    open_with_parts(&b, 0, 0);
    add_stream(&b, 0, 252, 12);
    open_with_parts(&b, 1, 252 * 3600);
    add_stream(&b, 252, 260, 12);

    const struct finished *f = take(&b, 0);

    check_parts(&f->shelf, TRACK_VIDEO, parts_of_pictures(3600));
    assert_false(f->shelf.parts[TRACK_VIDEO][2].independent); /* its keyframe is its third picture */
    assert_true(f->shelf.parts[TRACK_VIDEO][12].independent);
    assert_int_equal(f->shelf.parts[TRACK_VIDEO][50].duration, 2 * 3600);
    bench_close(&b);
}

/* The pictures of a segment that has been cut are all there: players need not wait for its sounds to know that. */
static void the_last_part_of_pictures_does_not_wait_for_the_sounds(void **state)
{
    struct bench b;
    struct shelf open[2] = {{0}, {0}};

    bench_open(&b);
    open_with_parts(&b, 0, 0);
    add_stream(&b, 0, 50, 50);
    open_with_parts(&b, 1, 50 * 3600);
    assert_int_equal(add_picture(&b, 50 * 3600), ERR_OK);
    assert_int_equal(segmenter_shelves(b.segmenter, open), 2);
    assert_true(open[0].cut && !open[1].cut);
    assert_int_equal(open[0].count[TRACK_VIDEO], 10);
    assert_int_equal(open[1].count[TRACK_VIDEO], 0);
    shelf_drop(&open[0]);
    shelf_drop(&open[1]);
    bench_close(&b);
}

/* RTMP's stamps are whole milliseconds, and encoders leave pictures out when they cannot keep up. */
static void gaps_and_rounding_do_not_hide_how_far_pictures_are_apart(void **state)
{
    struct bench b;

    bench_open(&b);
    open_at(&b, 0, 0);
    assert_int_equal(segmenter_distance(b.segmenter), 0);
    for (int64_t i = 0; i < 300; i++)
        if (i % 20 < 18)
            assert_int_equal(add_picture(&b, i * 1000 / 30 * 90), ERR_OK);
    assert_in_range(segmenter_distance(b.segmenter), 2985, 3015);
    bench_close(&b);
}

/* Whole seconds are whole numbers of parts at every usual rate, so keyframes begin parts. */
static void parts_fit_seconds_at_every_usual_rate(void **state)
{
    static const int64_t rates[] = {5, 10, 15, 20, 24, 25, 30, 50, 60};

    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        int64_t distance = SECOND / rates[i], part = parts_of_pictures(distance) / distance * distance;

        assert_int_equal(2 * SECOND % part, 0);
        assert_in_range(part, SECOND / 5, SECOND / 2);
    }
    assert_in_range(parts_of_pictures(3003), 18018, 18200); /* 29.97 */
    assert_true(parts_of_pictures(SECOND) >= SECOND);       /* slides: a picture is a part */
    assert_int_equal(parts_of_pictures(0), 0);
}

static void a_sound_that_is_refused_costs_itself_and_not_the_segment(void **state)
{
    struct bench b;
    int64_t end;

    bench_open(&b);
    open_at(&b, 0, 0);
    assert_int_equal(add_picture(&b, 0), ERR_OK);
    assert_int_equal(add(&b, TRACK_AUDIO, 0, buffer_copy(bytes_of(broken_sound, sizeof broken_sound))),
                     ERR_OK);
    assert_int_equal(add_sound(&b, 1024), ERR_OK); /* they wait for the pictures */
    assert_int_equal(add_sound(&b, 2048), ERR_OK);
    assert_int_not_equal(add_picture(&b, SECOND), ERR_OK);
    assert_int_equal(segmenter_end(b.segmenter, b.position, &end), ERR_OK); /* the rest is good */

    const struct finished *f = take(&b, 0);

    assert_int_equal(f->segment.track[TRACK_VIDEO].start, 0);
    assert_non_null(f->bytes[TRACK_VIDEO]);
    assert_int_equal(f->segment.track[TRACK_AUDIO].end, 3072);
    assert_true(f->segment.track[TRACK_AUDIO].bytes > 0);
    /* Nothing of it is left over: another publisher begins anew. */
    open_at(&b, 1, SECOND);
    assert_int_equal(add_sound(&b, 48000), ERR_OK);
    assert_int_equal(add_picture(&b, SECOND), ERR_OK);
    assert_int_equal(segmenter_end(b.segmenter, b.position, &end), ERR_OK);
    assert_int_equal(take(&b, 1)->segment.number, 1);
    bench_close(&b);
}

static void a_segment_of_nothing_but_refused_samples_is_none(void **state)
{
    struct bench b;
    int64_t end;

    bench_open(&b);
    open_at(&b, 0, 0);
    assert_int_equal(add(&b, TRACK_AUDIO, 0, buffer_copy(bytes_of(broken_sound, sizeof broken_sound))),
                     ERR_OK);
    assert_int_not_equal(segmenter_end(b.segmenter, b.position, &end), ERR_OK);
    assert_true(list_empty(&b.done));
    bench_close(&b);
}

static void a_segment_cut_by_a_sound_keeps_the_picture_that_waits_for_its_length(void **state)
{
    struct bench b;
    int64_t end;

    bench_open(&b);
    open_at(&b, 0, 0);
    assert_int_equal(add_picture(&b, 0), ERR_OK);
    assert_int_equal(add_picture(&b, SECOND), ERR_OK);
    open_at(&b, 1, SECOND * 10); /* by a sound: the last picture's length is not known */
    for (int64_t i = 0; i < 200; i++)
        assert_int_equal(add_sound(&b, 480000 + i * 1024), ERR_OK);
    assert_int_equal(take(&b, 0)->segment.track[TRACK_VIDEO].end, SECOND * 2);
    assert_int_equal(add_picture(&b, SECOND * 14), ERR_OK);
    assert_int_equal(segmenter_end(b.segmenter, b.position, &end), ERR_OK);
    assert_int_equal(take(&b, 1)->segment.track[TRACK_VIDEO].start, SECOND * 14);
    bench_close(&b);
}

static void sounds_before_a_cut_come_into_the_segment_before_it(void **state)
{
    struct bench b;
    int64_t end;

    bench_open(&b);
    open_at(&b, 0, 0);
    assert_int_equal(add_picture(&b, 0), ERR_OK);
    open_at(&b, 1, SECOND * 10);
    assert_int_equal(add_picture(&b, SECOND * 10), ERR_OK);
    assert_int_equal(add_sound(&b, 479000), ERR_OK);
    assert_int_equal(add_sound(&b, 480024),
                     ERR_OK); /* the first one behind the cut finishes the one before */
    assert_int_equal(add_picture(&b, SECOND * 11), ERR_OK);
    assert_int_equal(take(&b, 0)->segment.track[TRACK_AUDIO].start, 479000);
    assert_int_equal(take(&b, 0)->segment.track[TRACK_AUDIO].end, 480024);
    assert_int_equal(segmenter_end(b.segmenter, b.position, &end), ERR_OK);
    assert_int_equal(take(&b, 1)->segment.track[TRACK_AUDIO].start, 480024);
    bench_close(&b);
}

/* What is let go of the journal must not be needed: a sound that came before the opening of its segment is. */
static void the_journal_is_needed_from_the_first_sound_that_is_not_finished(void **state)
{
    struct bench b;
    int64_t end;

    bench_open(&b);
    open_at(&b, 0, 0);
    assert_int_equal(add_picture(&b, 0), ERR_OK);
    assert_int_equal(add_sound(&b, 480000), ERR_OK); /* ten seconds early */
    uint64_t sound_at = b.position;

    open_at(&b, 1, SECOND * 10);
    assert_int_equal(add_picture(&b, SECOND * 10), ERR_OK);
    assert_int_equal(take(&b, 0)->position, sound_at);
    assert_int_equal(segmenter_end(b.segmenter, 12345, &end), ERR_OK);
    assert_int_equal(take(&b, 1)->position, 12345);
    bench_close(&b);
}

static void a_segment_that_has_grown_too_large_is_to_be_cut(void **state)
{
    struct bench b;
    struct buffer *large = buffer_new(SEGMENT_BYTES_MAX / 16);

    memset(large->data, 0x21, large->capacity);
    large->size = large->capacity;
    bench_open(&b);
    open_at(&b, 0, 0);
    for (int i = 0; i < 16; i++) { /* they wait for pictures, so nothing is copied */
        assert_false(segmenter_is_full(b.segmenter));
        assert_int_equal(add(&b, TRACK_AUDIO, i * 1024, buffer_ref(large)), ERR_OK);
    }
    assert_false(segmenter_is_full(b.segmenter));
    assert_int_equal(add_sound(&b, 17 * 1024), ERR_OK);
    assert_true(segmenter_is_full(b.segmenter));
    bench_close(&b);
    buffer_unref(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_parts_of_a_segment_laid_end_to_end_are_the_segment),
        cmocka_unit_test(a_keyframe_that_comes_too_early_begins_no_part),
        cmocka_unit_test(the_last_part_of_pictures_does_not_wait_for_the_sounds),
        cmocka_unit_test(gaps_and_rounding_do_not_hide_how_far_pictures_are_apart),
        cmocka_unit_test(parts_fit_seconds_at_every_usual_rate),
        cmocka_unit_test(a_sound_that_is_refused_costs_itself_and_not_the_segment),
        cmocka_unit_test(a_segment_of_nothing_but_refused_samples_is_none),
        cmocka_unit_test(a_segment_cut_by_a_sound_keeps_the_picture_that_waits_for_its_length),
        cmocka_unit_test(sounds_before_a_cut_come_into_the_segment_before_it),
        cmocka_unit_test(the_journal_is_needed_from_the_first_sound_that_is_not_finished),
        cmocka_unit_test(a_segment_that_has_grown_too_large_is_to_be_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
