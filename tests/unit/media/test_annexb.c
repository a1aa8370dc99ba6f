/* Byte streams into lengths, and the records made of their parameter sets. */
#include "unit.h"

#include "guard.h"

#include "media/media.h"

#define SPS_264 "67640028acd940780227a9b0110000030001000003003c0f183196"
#define PPS_264 "68ebe3cb22c0"
#define VPS_265 "40010c01ffff01600000030090000003000003005d959809"
#define SPS_265 "420101016000000300900000030000 03005da00280802d1f596566924caf016808000003000800000300f040"
#define PPS_265 "4401c172b46240"

static void start_codes_of_both_lengths_become_lengths(void **state)
{
    static const struct {
        const char *stream, *lengths;
    } vectors[] = {
        {"00000001 6588 000001 41 00000001 0c", "00000002 6588 00000001 41 00000001 0c"},
        {"000001 65000003 00 000001 41", "00000004 65000003 00000001 41"},
        {"000001", "00000000"},
        {"6588", ""},
        {"", ""},
        {"0000", ""},
    };
    struct guard g = guard_new();

    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint8_t room[64], expected[64];
        struct builder b = {0};

        annexb_to_lengths(&b, guard_place(g, guard_hex(vectors[i].stream, room, sizeof room)));
        assert_true(bytes_equal(builder_bytes(&b), guard_hex(vectors[i].lengths, expected, sizeof expected)));
        builder_drop(&b);
    }
    guard_free(g);
}

static void a_record_is_made_of_the_parameter_sets(void **state)
{
    static const struct {
        enum codec codec;
        const char *stream;
        uint32_t width;
        const char *rfc6381;
    } vectors[] = {
        {CODEC_H264, "00000001 09f0 00000001" SPS_264 "000001" PPS_264 "000001 6588", 1918, "avc1.640028"},
        {CODEC_HEVC, "00000001" VPS_265 "00000001" SPS_265 "000001" PPS_265, 1280, "hvc1.1.6.L93.90"},
    };
    struct guard g = guard_new();

    for (size_t i = 0; i < 2; i++) {
        uint8_t room[512];
        struct bytes stream = guard_hex(vectors[i].stream, room, sizeof room);
        struct builder b = {0};
        struct codec_config c;
        const char *why;

        assert_true(annexb_is(stream));
        assert_int_equal(annexb_to_record(&b, vectors[i].codec, guard_place(g, stream)), ERR_OK);
        assert_int_equal(codec_config_parse(&c, vectors[i].codec, builder_bytes(&b), &why), ERR_OK);
        assert_int_equal(c.width, vectors[i].width);
        assert_string_equal(c.rfc6381, vectors[i].rfc6381);
        builder_drop(&b);
    }
    guard_free(g);
}

static void a_stream_without_all_its_sets_makes_none(void **state)
{
    static const struct {
        enum codec codec;
        const char *stream;
    } vectors[] = {
        {CODEC_H264, "00000001" SPS_264},
        {CODEC_H264, "00000001" PPS_264},
        {CODEC_H264, "00000001 67"},
        {CODEC_H264, ""},
        {CODEC_HEVC, "00000001" SPS_265 "00000001" PPS_265},
        {CODEC_HEVC, "00000001" VPS_265 "00000001 4201"
                     "00000001" PPS_265},
    };

    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint8_t room[512];
        struct builder b = {0};

        assert_int_equal(
            annexb_to_record(&b, vectors[i].codec, guard_hex(vectors[i].stream, room, sizeof room)), ERR_BAD);
        builder_drop(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_codes_of_both_lengths_become_lengths),
        cmocka_unit_test(a_record_is_made_of_the_parameter_sets),
        cmocka_unit_test(a_stream_without_all_its_sets_makes_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
