/* The plan: which renditions a source gets, and what a ladder may say. */
#include "unit.h"

#include "base/limits.h"
#include "ladder/ladder_int.h"

#include <stdio.h>
#include <string.h>

static void rungs_are_below_the_source_and_fall(void **state)
{
    struct rung r[RUNGS_MAX];

    assert_int_equal(plan_rungs("480p,2160p,720p,1080p", 1920, 1080, 30, r), 2);
    assert_string_equal(r[0].name, "720p");
    assert_int_equal(r[0].width, 1280);
    assert_int_equal(r[0].height, 720);
    assert_string_equal(r[1].name, "480p");
    assert_int_equal(r[1].width, 854);
    assert_int_equal(plan_rungs("2160p,1080p,720p,480p", 3840, 2160, 30, r), 3);
    assert_int_equal(plan_rungs("720p", 1280, 720, 30, r), 0);
    assert_int_equal(plan_rungs("none", 1920, 1080, 30, r), 0);
    assert_int_equal(plan_rungs("720p", 0, 0, 30, r), 0);
}

static void a_portrait_source_keeps_its_aspect(void **state)
{
    struct rung r[RUNGS_MAX];

    assert_int_equal(plan_rungs("1080p,720p", 1080, 1920, 30, r), 1);
    assert_int_equal(r[0].width, 720);
    assert_int_equal(r[0].height, 1280);
}

static void sides_are_even_for_every_source_and_height(void **state)
{
    struct rung r[RUNGS_MAX];
    char ladder[16];

    for (uint32_t height = 144; height <= 2160; height += 2) {
        snprintf(ladder, sizeof ladder, "%up", height);
        for (uint32_t width = 201; width < 8000; width += 311) {
            if (plan_rungs(ladder, width, 2161, 30, r) == 0)
                continue;
            assert_int_equal(r[0].width % 2, 0);
            assert_int_equal(r[0].height % 2, 0);
            assert_true(r[0].width >= 2 && r[0].width <= PICTURE_SIDE_MAX);
            assert_true(r[0].bitrate_max > 0 && r[0].buffer_bits > 0);
        }
    }
}

static void more_pixels_and_faster_pictures_may_take_more_bits(void **state)
{
    struct rung slow[RUNGS_MAX], fast[RUNGS_MAX];
    uint32_t last = 0;
    char ladder[16];

    for (uint32_t height = 144; height <= 2158; height += 2) {
        snprintf(ladder, sizeof ladder, "%up", height);
        assert_int_equal(plan_rungs(ladder, 3840, 2160, 30, slow), 1);
        assert_int_equal(plan_rungs(ladder, 3840, 2160, 50, fast), 1);
        assert_true(slow[0].bitrate_max >= last && fast[0].bitrate_max > slow[0].bitrate_max);
        last = slow[0].bitrate_max;
    }
}

static void another_codec_is_asked_for_behind_a_colon(void **state)
{
    struct rung r[RUNGS_MAX];

    assert_int_equal(plan_rungs("720p, 720p:hevc ,480p:av1", 1920, 1080, 30, r), 3);
    assert_string_equal(r[0].name, "720p");
    assert_string_equal(r[1].name, "720p-hevc");
    assert_int_equal(r[1].codec, CODEC_HEVC);
    assert_string_equal(r[2].name, "480p-av1");
    assert_int_equal(r[2].codec, CODEC_AV1);
    assert_true(r[1].bitrate_max < r[0].bitrate_max);
}

static void what_is_no_ladder_is_said_with_the_word(void **state)
{
    static const char *const bad[] = {"",
                                      "720",
                                      "720p,",
                                      "720p,,480p",
                                      "721p",
                                      "142p",
                                      "2162p",
                                      "720p:vp9",
                                      "720p,720p",
                                      "p",
                                      "-720p",
                                      "99999999999p",
                                      "720p;1",
                                      "none,720p",
                                      "720p:hevc:",
                                      "720P",
                                      "144p,146p,148p,150p,152p,154p,156p,158p,160p"};
    static const char *const good[] = {"none", "2160p,1080p,720p,480p", "144p", "720p:h264",
                                       "480p,720p,480p:av1"};
    char why[256];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(plan_check(bad[i], why), ERR_BAD);
        assert_true(why[0] != '\0');
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(plan_check(good[i], why), ERR_OK);
    assert_int_equal(plan_check("480p,xyz", why), ERR_BAD);
    assert_non_null(strstr(why, "'xyz'"));
}

static void every_rung_is_in_a_group_and_groups_are_without_gaps(void **state)
{
    struct rung r[RUNGS_MAX];
    size_t group[RUNGS_MAX], count = plan_rungs("1440p,1080p,720p,480p,360p,240p,144p", 3840, 2160, 60, r);
    size_t groups = plan_groups(r, count, group), highest = 0;

    assert_int_equal(count, 7);
    for (size_t i = 0; i < count; i++)
        highest = group[i] > highest ? group[i] : highest;
    assert_int_equal(groups, highest + 1);
    assert_int_equal(plan_groups(r, 0, group), 0);
}

static void renditions_share_a_task_until_it_would_be_late(void **state)
{
    struct rung r[RUNGS_MAX];
    size_t group[RUNGS_MAX], count = plan_rungs("1440p,1080p,720p,480p", 3840, 2160, 30, r);

    assert_int_equal(plan_groups(r, count, group), 2);
    assert_int_equal(group[0], 0);
    for (size_t i = 1; i < count; i++)
        assert_int_equal(group[i], 1);
    count = plan_rungs("720p,480p,360p,240p", 1920, 1080, 30, r);
    assert_int_equal(plan_groups(r, count, group), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rungs_are_below_the_source_and_fall),
        cmocka_unit_test(a_portrait_source_keeps_its_aspect),
        cmocka_unit_test(sides_are_even_for_every_source_and_height),
        cmocka_unit_test(more_pixels_and_faster_pictures_may_take_more_bits),
        cmocka_unit_test(another_codec_is_asked_for_behind_a_colon),
        cmocka_unit_test(what_is_no_ladder_is_said_with_the_word),
        cmocka_unit_test(every_rung_is_in_a_group_and_groups_are_without_gaps),
        cmocka_unit_test(renditions_share_a_task_until_it_would_be_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
