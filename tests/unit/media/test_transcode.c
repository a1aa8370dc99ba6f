/* transcode(): every picture keeps its instant, times run on over chunks, damage is told, and the same
 * input gives the same bytes. Sources are made by ffmpeg. */
#include "unit.h"

#include "chunks.h"

#include "base/limits.h"

#include <libavutil/log.h>

static const struct rung rung_small = {.name = "144p",
                                       .codec = CODEC_H264,
                                       .width = 256,
                                       .height = 144,
                                       .fps_max = 60,
                                       .crf = 30,
                                       .bitrate_max = 300000,
                                       .buffer_bits = 600000,
                                       .bframes = 3,
                                       .preset = "veryfast",
                                       .profile = "high"};

static struct rung rung_with(enum codec codec, uint32_t width, uint32_t height, uint32_t bframes)
{
    struct rung r = rung_small;

    r.codec = codec;
    r.width = width;
    r.height = height;
    r.bframes = bframes;
    if (codec == CODEC_HEVC) {
        r.preset = "ultrafast";
        r.profile = "main";
    } else if (codec == CODEC_AV1) {
        r.preset = "12";
        r.profile = "";
    }
    return r;
}

static void made_free(struct transcoded *t)
{
    buffer_unref(t->record);
    buffer_unref(t->chunk);
    *t = (struct transcoded){0};
}

/* A chunk made and read back. */
static struct shown *shown_of(const struct transcoded *made, enum codec codec)
{
    struct buffer *init = chunks_init_of(codec, made->record);
    struct shown *s = chunks_shown(buffer_bytes(init), buffer_bytes(made->chunk));

    buffer_unref(init);
    return s;
}

static void same_instants(const struct shown *a, const struct shown *b)
{
    int64_t *left = mem_new(sizeof a->pts), *right = mem_new(sizeof b->pts);

    assert_int_equal(a->count, b->count);
    memcpy(left, a->pts, sizeof a->pts);
    memcpy(right, b->pts, sizeof b->pts);
    qsort(left, a->count, sizeof *left, chunks_compare);
    qsort(right, b->count, sizeof *right, chunks_compare);
    for (size_t i = 0; i < a->count; i++)
        assert_int_equal(left[i], right[i]);
    free(left);
    free(right);
}

static int64_t shown_until(const struct shown *s)
{
    int64_t end = 0;

    for (size_t i = 0; i < s->count; i++) {
        int64_t duration = i + 1 < s->count ? s->dts[i + 1] - s->dts[i] : s->dts[0] + s->ticks - s->dts[i];

        if (s->pts[i] + duration > end)
            end = s->pts[i] + duration;
    }
    return end;
}

/* A picture that lasts into the next chunk would be dropped by a player that goes on with another rendition there. */
static void ends_with(const struct shown *from, const struct shown *to)
{
    assert_true(shown_until(to) <= shown_until(from));
}

/* Encodes every chunk of a source as `rung` and holds it against the source: instants, first keyframe, dts
 * over all chunks rising, none after its pts, and where in the timeline the chunk begins and ends. */
static void check_source(const char *words, struct rung rung)
{
    struct chunks source = chunks_make(words);
    struct buffer *record = NULL;
    int64_t last_dts = -1;
    char why[256];

    for (size_t i = 0; i < source.count; i++) {
        struct transcoded made;

        assert_int_equal(
            transcode(buffer_bytes(source.init), buffer_bytes(source.chunks[i]), &rung, 1, &made, why),
            ERR_OK);
        struct shown *from = chunks_shown(buffer_bytes(source.init), buffer_bytes(source.chunks[i]));
        struct shown *to = shown_of(&made, rung.codec);

        same_instants(from, to);
        assert_int_equal(to->decoded, to->count);
        assert_int_equal(to->width, rung.width);
        assert_int_equal(to->height, rung.height);
        assert_true(to->keyframe[0]);
        for (size_t k = 0; k < to->count; k++) {
            assert_true(to->dts[k] > last_dts && to->dts[k] <= to->pts[k]);
            last_dts = to->dts[k];
        }
        assert_int_equal(to->dts[0], from->dts[0]);
        assert_int_equal(to->ticks, from->ticks);
        ends_with(from, to);
        if (record == NULL)
            record = buffer_ref(made.record);
        assert_true(bytes_equal(buffer_bytes(record), buffer_bytes(made.record)));
        free(from);
        free(to);
        made_free(&made);
    }
    buffer_unref(record);
    chunks_free(&source);
}

#define TEST_SOURCE(rate, size, seconds) "-f lavfi -i testsrc2=r=" rate ":s=" size ":d=" seconds " "
#define X264(gop, bframes)               "-c:v libx264 -preset ultrafast -g " gop " -keyint_min " gop " -bf " bframes " "

static void pictures_keep_their_instants_with_b_frames(void **state)
{
    check_source(TEST_SOURCE("30", "640x360", "4") X264("30", "3"), rung_small);
}

static void pictures_keep_their_instants_without_b_frames(void **state)
{
    check_source(TEST_SOURCE("25", "640x360", "3") X264("25", "0"), rung_small);
    check_source(TEST_SOURCE("25", "640x360", "3") X264("25", "0"), rung_with(CODEC_H264, 256, 144, 0));
}

static void a_rate_that_is_no_whole_number_keeps_its_instants(void **state)
{
    check_source(TEST_SOURCE("30000/1001", "640x360", "3") X264("30", "2"), rung_small);
}

/* Frame distances of 33, 66 and 166 ms. */
static void a_variable_rate_keeps_its_instants(void **state)
{
    check_source(TEST_SOURCE("30", "640x360",
                             "4") "-vf select='not(mod(n,5))+not(mod(n,7))' -vsync vfr " X264("10", "2"),
                 rung_small);
}

static void a_chunk_of_one_picture_is_encoded(void **state)
{
    check_source(TEST_SOURCE("5", "640x360", "2") X264("1", "0"), rung_small);
}

static void portrait_and_odd_sizes_are_encoded(void **state)
{
    check_source(TEST_SOURCE("30", "360x640", "1") X264("30", "2"), rung_with(CODEC_H264, 144, 256, 3));
    check_source(TEST_SOURCE("30", "641x359", "1") "-pix_fmt yuv444p " X264("30", "2"),
                 rung_with(CODEC_H264, 258, 144, 3));
}

static void other_encoders_keep_the_instants_too(void **state)
{
    check_source(TEST_SOURCE("30", "640x360", "2") X264("30", "2"), rung_with(CODEC_HEVC, 256, 144, 3));
    check_source(TEST_SOURCE("30", "640x360", "2") X264("30", "2"), rung_with(CODEC_AV1, 256, 144, 0));
}

static void a_minute_in_one_chunk_is_encoded(void **state)
{
    check_source(TEST_SOURCE("30", "320x180", "60") X264("1800", "2"), rung_with(CODEC_H264, 256, 144, 3));
}

/* --- colours -------------------------------------------------------------------------------------------- */

static struct shown *transcode_first(const char *words, struct rung rung)
{
    struct chunks source = chunks_make(words);
    struct transcoded made;
    char why[256];

    assert_int_equal(
        transcode(buffer_bytes(source.init), buffer_bytes(source.chunks[0]), &rung, 1, &made, why), ERR_OK);
    struct shown *s = shown_of(&made, rung.codec);

    made_free(&made);
    chunks_free(&source);
    return s;
}

static void ten_bits_become_eight(void **state)
{
    struct shown *s = transcode_first(
        TEST_SOURCE("30", "640x360", "1") "-pix_fmt yuv420p10le " X264("30", "2"), rung_small);

    assert_int_equal(s->format, AV_PIX_FMT_YUV420P);
    assert_int_equal(s->count, 30);
    free(s);
}

static void range_and_sample_aspect_are_carried_over(void **state)
{
    struct shown *s = transcode_first(
        TEST_SOURCE("30", "640x360", "1") "-vf setsar=4/3,format=yuvj420p -color_range pc " X264("30", "0"),
        rung_small);

    assert_int_equal(s->range, AVCOL_RANGE_JPEG);
    assert_int_equal(s->aspect.num, 4);
    assert_int_equal(s->aspect.den, 3);
    free(s);
}

static void high_dynamic_range_is_refused_with_words(void **state)
{
    struct chunks source = chunks_make(TEST_SOURCE(
        "30", "320x180",
        "1") "-pix_fmt yuv420p10le -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc " X264("30",
                                                                                                            "0"));
    struct transcoded made;
    char why[256];

    assert_int_equal(
        transcode(buffer_bytes(source.init), buffer_bytes(source.chunks[0]), &rung_small, 1, &made, why),
        ERR_UNSUPPORTED);
    assert_non_null(strstr(why, "high dynamic range"));
    assert_null(made.chunk);
    chunks_free(&source);
}

static void above_sixty_every_other_picture_is_left_out(void **state)
{
    struct shown *s = transcode_first(TEST_SOURCE("120", "320x180", "1") X264("120", "2"), rung_small);

    assert_int_equal(s->count, 60);
    assert_int_equal(s->ticks, CMAF_VIDEO_TIMESCALE);
    free(s);
}

/* --- the same bytes, and damage ------------------------------------------------------------------------- */

static void the_same_chunk_gives_the_same_bytes(void **state)
{
    struct chunks source = chunks_make(TEST_SOURCE("30", "640x360", "1") X264("30", "2"));
    struct rung rungs[] = {rung_with(CODEC_H264, 426, 240, 3), rung_small};
    struct transcoded a[2], b[2], alone;
    char why[256];
    struct bytes init = buffer_bytes(source.init), chunk = buffer_bytes(source.chunks[0]);

    assert_int_equal(transcode(init, chunk, rungs, 2, a, why), ERR_OK);
    assert_int_equal(transcode(init, chunk, rungs, 2, b, why), ERR_OK);
    assert_int_equal(transcode(init, chunk, &rungs[1], 1, &alone, why), ERR_OK);
    for (int i = 0; i < 2; i++) {
        assert_true(bytes_equal(buffer_bytes(a[i].chunk), buffer_bytes(b[i].chunk)));
        assert_true(bytes_equal(buffer_bytes(a[i].record), buffer_bytes(b[i].record)));
        made_free(&b[i]);
    }
    assert_true(bytes_equal(buffer_bytes(a[1].chunk), buffer_bytes(alone.chunk)));
    made_free(&a[0]);
    made_free(&a[1]);
    made_free(&alone);
    chunks_free(&source);
}

static void a_chunk_cut_short_anywhere_is_refused_with_words(void **state)
{
    struct chunks source = chunks_make(TEST_SOURCE("30", "320x180", "1") X264("30", "2"));
    struct bytes chunk = buffer_bytes(source.chunks[0]);
    struct transcoded made;
    char why[256];

    for (size_t size = 0; size < chunk.size; size += size < 600 ? 7 : chunk.size / 23) {
        assert_int_equal(
            transcode(buffer_bytes(source.init), bytes_head(chunk, size), &rung_small, 1, &made, why),
            ERR_BAD);
        assert_true(why[0] != '\0');
        assert_null(made.chunk);
        assert_null(made.record);
    }
    chunks_free(&source);
}

/* Whatever stands in it, it is encoded or refused with words. */
static void damaged_bytes_do_no_harm(void **state)
{
    struct chunks source = chunks_make(TEST_SOURCE("30", "320x180", "1") X264("30", "2"));
    uint32_t seed = 20231123;
    char why[256];

    print_message("seed %u\n", seed);
    for (int round = 0; round < 40; round++) {
        struct buffer *init = buffer_copy(buffer_bytes(source.init));
        struct buffer *chunk = buffer_copy(buffer_bytes(source.chunks[0]));
        struct buffer *victim = round % 4 == 0 ? init : chunk;
        struct transcoded made;

        for (int k = 0; k < 1 + round % 8; k++) {
            seed = seed * 1664525 + 1013904223;
            size_t at = (seed >> 8) % (round % 4 == 1 ? 600 : victim->size);

            victim->data[at] = (uint8_t)(victim->data[at] ^ (1u << (seed & 7)));
        }
        enum err e = transcode(buffer_bytes(init), buffer_bytes(chunk), &rung_small, 1, &made, why);

        assert_true(e == ERR_OK ? made.chunk != NULL && made.record != NULL
                                : why[0] != '\0' && made.chunk == NULL && made.record == NULL);
        made_free(&made);
        buffer_unref(init);
        buffer_unref(chunk);
    }
    chunks_free(&source);
}

/* The pictures before the keyframe's in an open GOP need those of the GOP before. */
static void leading_pictures_of_an_open_gop_may_be_missing(void **state)
{
    struct chunks source = chunks_make(TEST_SOURCE(
        "30", "640x360", "3") "-c:v libx264 -preset veryfast -g 30 -x264-params open-gop=1:scenecut=0 ");
    struct transcoded made;
    char why[256];

    assert(source.count >= 2 && source.chunks[1] != NULL);
    assert_int_equal(
        transcode(buffer_bytes(source.init), buffer_bytes(source.chunks[1]), &rung_small, 1, &made, why),
        ERR_OK);
    struct shown *from = chunks_shown(buffer_bytes(source.init), buffer_bytes(source.chunks[1]));
    struct shown *to = shown_of(&made, CODEC_H264);
    size_t leading = 0;

    for (size_t i = 0; i < from->count; i++)
        leading += from->pts[i] < from->pts[0];
    assert_true(leading > 0);
    assert_in_range(to->count, from->count - leading, from->count);
    assert_int_equal(to->decoded, to->count);
    free(from);
    free(to);
    made_free(&made);
    chunks_free(&source);
}

/* x265 3.5 keeps some of its parameters for good. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:libx265";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_keep_their_instants_with_b_frames),
        cmocka_unit_test(pictures_keep_their_instants_without_b_frames),
        cmocka_unit_test(a_rate_that_is_no_whole_number_keeps_its_instants),
        cmocka_unit_test(a_variable_rate_keeps_its_instants),
        cmocka_unit_test(a_chunk_of_one_picture_is_encoded),
        cmocka_unit_test(portrait_and_odd_sizes_are_encoded),
        cmocka_unit_test(other_encoders_keep_the_instants_too),
        cmocka_unit_test(a_minute_in_one_chunk_is_encoded),
        cmocka_unit_test(ten_bits_become_eight),
        cmocka_unit_test(range_and_sample_aspect_are_carried_over),
        cmocka_unit_test(high_dynamic_range_is_refused_with_words),
        cmocka_unit_test(above_sixty_every_other_picture_is_left_out),
        cmocka_unit_test(the_same_chunk_gives_the_same_bytes),
        cmocka_unit_test(a_chunk_cut_short_anywhere_is_refused_with_words),
        cmocka_unit_test(damaged_bytes_do_no_harm),
        cmocka_unit_test(leading_pictures_of_an_open_gop_may_be_missing),
    };

    av_log_set_level(AV_LOG_QUIET);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
