/* Decoder configurations: what real encoders write is read right, and nothing else can do harm. */
#include "unit.h"

#include "guard.h"

#include "base/limits.h"
#include "media/media.h"

#include <stdio.h>
#include <stdlib.h>

/* Written by x264 (1918x1078 high, 640x360 baseline, 1440x1080 interlaced 4:2:2), x265 (1280x718 main,
 * 640x362 4:2:2 10 bit), libaom, SVT-AV1 (10 bit) and FFmpeg's AAC and Opus. */
static const struct vector {
    const char *name;
    enum codec codec;
    const char *hex;
    const char *rfc6381;
    uint32_t a, b, frame; /* width and height, or rate and channels */
} vectors[] = {
    {"x264 high", CODEC_H264,
     "0164 0028 ffe1 001b 6764 0028 acd9 4078 0227 a9b0 1100 0003 0001 0000 0300 3c0f 1831 9601 0006 68eb e3cb 22c0 "
     "fdf8 f800",
     "avc1.640028", 1918, 1078, 0},
    {"x264 baseline", CODEC_H264,
     "0142 c01e ffe1 0019 6742 c01e d900 a02f f970 1100 0003 0001 0000 0300 3c0f 162e 4801 0005 68cb 83cb 20",
     "avc1.42c01e", 640, 360, 0},
    {"x264 interlaced 4:2:2", CODEC_H264,
     "017a 0028 ffe1 001b 677a 0028 bcd9 405a 044f cb80 8800 0003 0008 0000 0301 e0f8 b16c b001 0006 68fb a3cb 22c0 "
     "fef8 f800",
     "avc1.7a0028", 1440, 1080, 0},
    {"x265 main", CODEC_HEVC,
     "0101 6000 0000 9000 0000 0000 5df0 00fc fdf8 f800 000f 0320 0001 0018 4001 0c01 ffff 0160 0000 0300 9000 0003 "
     "0000 0300 5d95 9809 2100 0100 2c42 0101 0160 0000 0300 9000 0003 0000 0300 5da0 0280 802d 1f59 6566 924c af01 "
     "6808 0000 0300 0800 0003 00f0 4022 0001 0007 4401 c172 b462 40",
     "hvc1.1.6.L93.90", 1280, 718, 0},
    {"x265 4:2:2 10 bit", CODEC_HEVC,
     "0104 0800 0000 9d08 0000 0000 3ff0 00fc fefa fa00 000f 0320 0001 0017 4001 0c01 ffff 0408 0000 0300 9d08 0000 "
     "0300 003f 9598 0921 0001 002b 4201 0104 0800 0003 009d 0800 0003 0000 3fb0 0502 0171 f3b6 5959 a493 2bc0 5a02 "
     "0000 0300 0200 0003 003c 1022 0001 0007 4401 c172 b462 40",
     "hvc1.4.10.L63.9d.8", 640, 362, 0},
    {"libaom", CODEC_AV1, "8100 0c00 0a0b 0000 0004 3ea7 bcda f900 40", "av01.0.00M.08", 426, 240, 0},
    {"SVT-AV1 10 bit", CODEC_AV1, "8100 4c00 0a0b 0000 0004 3ea7 bc02 f840 40", "av01.0.00M.10", 426, 240, 0},
    {"AAC stereo", CODEC_AAC, "1190 56e5 00", "mp4a.40.2", 48000, 2, 1024},
    {"AAC 5.1", CODEC_AAC, "1230 56e5 00", "mp4a.40.2", 44100, 6, 1024},
    {"AAC as OBS writes it", CODEC_AAC, "1210", "mp4a.40.2", 44100, 2, 1024},
    {"AAC of 960", CODEC_AAC, "1194", "mp4a.40.2", 48000, 2, 960},
    {"AAC of a rate written out", CODEC_AAC, "1780 5dc0 10", "mp4a.40.2", 48000, 2, 1024},
    {"HE-AAC by object type", CODEC_AAC, "2b11 8800", "mp4a.40.5", 48000, 2, 2048},
    {"HE-AAC by extension", CODEC_AAC, "1310 56e5 98", "mp4a.40.5", 48000, 2, 2048},
    {"HE-AAC v2", CODEC_AAC, "eb09 8800", "mp4a.40.29", 48000, 2, 2048},
    {"Opus", CODEC_OPUS, "4f70 7573 4865 6164 0102 3801 80bb 0000 0000 00", "opus", 48000, 2, 0},
    {"Opus 5.1", CODEC_OPUS, "4f70 7573 4865 6164 0106 3801 80bb 0000 0000 01 0402 0004 0102 0305", "opus",
     48000, 6, 0},
};

#define VECTORS (sizeof vectors / sizeof vectors[0])

static void what_real_encoders_write_is_read_right(void **state)
{
    for (size_t i = 0; i < VECTORS; i++) {
        const struct vector *v = &vectors[i];
        uint8_t room[512];
        struct codec_config c;
        const char *why;
        enum err e = codec_config_parse(&c, v->codec, guard_hex(v->hex, room, sizeof room), &why);

        if (e != ERR_OK)
            fail_msg("%s: %s", v->name, why);
        assert_int_equal(c.codec, v->codec);
        assert_string_equal(c.rfc6381, v->rfc6381);
        assert_int_equal(c.width ? c.width : c.rate, v->a);
        assert_int_equal(c.width ? c.height : c.channels, v->b);
        assert_int_equal(c.frame_samples, v->frame);
    }
}

/* avcC and hvcC must hold all they announce; the others may have been complete before the cut. */
static void a_record_cut_at_any_byte_is_refused_or_read_within_its_bounds(void **state)
{
    struct guard g = guard_new();

    for (size_t i = 0; i < VECTORS; i++) {
        uint8_t room[512];
        struct bytes whole = guard_hex(vectors[i].hex, room, sizeof room);

        for (size_t size = 0; size < whole.size; size++) {
            struct codec_config c;
            const char *why;
            enum err e =
                codec_config_parse(&c, vectors[i].codec, guard_place(g, bytes_head(whole, size)), &why);

            /* the high profiles' four bytes at the end of an avcC are optional */
            if (vectors[i].codec == CODEC_H264 || vectors[i].codec == CODEC_HEVC ? size + 4 < whole.size
                                                                                 : size < 2)
                assert_int_equal(e, ERR_BAD);
            if (e != ERR_OK) {
                assert_non_null(why);
                assert_int_equal(c.codec, CODEC_NONE);
            }
        }
    }
    guard_free(g);
}

static void a_record_with_any_one_byte_changed_stays_within_its_bounds(void **state)
{
    struct guard g = guard_new();

    for (size_t i = 0; i < VECTORS; i++) {
        uint8_t room[512];
        struct bytes whole = guard_hex(vectors[i].hex, room, sizeof room);

        for (size_t at = 0; at < whole.size; at++) {
            for (unsigned v = 0; v < 256; v++) {
                uint8_t was = room[at];
                struct codec_config c;
                const char *why;

                room[at] = (uint8_t)v;
                if (codec_config_parse(&c, vectors[i].codec, guard_place(g, whole), &why) == ERR_OK &&
                    vectors[i].codec < CODEC_AAC) {
                    assert_in_range(c.width, 1, PICTURE_SIDE_MAX);
                    assert_in_range(c.height, 1, PICTURE_SIDE_MAX);
                }
                room[at] = was;
            }
        }
    }
    guard_free(g);
}

/* --- records made by hand ---------------------------------------------------------------------------- */

struct writer {
    uint8_t bytes[256];
    size_t at; /* in bits */
};

static void put(struct writer *w, uint64_t v, unsigned count)
{
    for (unsigned i = count; i-- > 0; w->at++)
        w->bytes[w->at / 8] |= (uint8_t)((v >> i & 1) << (7 - w->at % 8));
}

static void put_ue(struct writer *w, uint64_t v)
{
    unsigned bits = 0;

    while ((v + 1) >> (bits + 1))
        bits++;
    put(w, 0, bits);
    put(w, v + 1, bits + 1);
}

/* A baseline SPS of so many macroblocks in an avcC. */
static enum err avcc_of(uint64_t wide, uint64_t high, uint64_t crop, uint64_t poc_cycle, const char **why)
{
    struct writer w = {0};
    struct codec_config c;

    put(&w, 0x0142001effe10000, 64);
    size_t start = w.at / 8;

    put(&w, 0x6742001e, 32);
    put_ue(&w, 0); /* id */
    put_ue(&w, 0); /* log2_max_frame_num */
    put_ue(&w, poc_cycle > 0 ? 1 : 2);
    if (poc_cycle > 0) {
        put(&w, 7, 3); /* always zero: yes, and two offsets of 0 */
        put_ue(&w, poc_cycle);
    }
    for (uint64_t i = 0; i < poc_cycle && i < 255; i++)
        put_ue(&w, 0);
    put_ue(&w, 1);
    put(&w, 0, 1);
    put_ue(&w, wide - 1);
    put_ue(&w, high - 1);
    put(&w, 3, 2); /* frames only, direct 8x8 */
    put(&w, crop > 0, 1);
    for (int i = 0; i < 4 && crop > 0; i++)
        put_ue(&w, crop);
    put(&w, 1, 1);
    w.at = (w.at + 7) / 8 * 8;
    put_be16(w.bytes + 6, (uint16_t)(w.at / 8 - start));
    put(&w, 0, 8); /* no PPS */
    return codec_config_parse(&c, CODEC_H264, bytes_of(w.bytes, w.at / 8), why);
}

static void absurd_pictures_are_refused(void **state)
{
    const char *why;

    assert_int_equal(avcc_of(40, 30, 0, 0, &why), ERR_OK);
    assert_int_equal(avcc_of(1024, 1024, 0, 0, &why), ERR_OK);
    assert_int_equal(avcc_of(1025, 1, 0, 0, &why), ERR_LIMIT);
    assert_int_equal(avcc_of(1, 1025, 0, 0, &why), ERR_LIMIT);
    assert_int_equal(avcc_of(0xfffffffe, 0xfffffffe, 0, 0, &why), ERR_LIMIT);
    assert_int_equal(avcc_of(1, 1, 4, 0, &why), ERR_BAD);
    assert_int_equal(avcc_of(1, 1, 0xfffffffe, 0, &why), ERR_BAD);
    assert_int_equal(avcc_of(40, 30, 0, 255, &why), ERR_OK);
    assert_int_equal(avcc_of(40, 30, 0, 256, &why), ERR_BAD);
    assert_int_equal(avcc_of(40, 30, 0, 0xfffffffe, &why), ERR_BAD);
}

static enum err parse_hex(enum codec codec, const char *hex, const char **why)
{
    uint8_t room[512];
    struct codec_config c;

    return codec_config_parse(&c, codec, guard_hex(hex, room, sizeof room), why);
}

static void what_is_well_formed_and_not_taken_is_named(void **state)
{
    const char *why;

    assert_int_equal(parse_hex(CODEC_AAC, "0990", &why), ERR_UNSUPPORTED); /* Main */
    assert_non_null(strstr(why, "Main"));
    assert_int_equal(parse_hex(CODEC_AAC, "f947 8000", &why), ERR_UNSUPPORTED); /* USAC, 42 */
    assert_non_null(strstr(why, "USAC"));
    assert_int_equal(parse_hex(CODEC_NONE, "00", &why), ERR_UNSUPPORTED);
}

static void reserved_values_are_malformed(void **state)
{
    const char *why;

    assert_int_equal(parse_hex(CODEC_AAC, "1690", &why), ERR_BAD);         /* rate index 13 */
    assert_int_equal(parse_hex(CODEC_AAC, "11c8", &why), ERR_BAD);         /* channel configuration 9 */
    assert_int_equal(parse_hex(CODEC_AAC, "1780 0000 10", &why), ERR_BAD); /* 0 Hz */
    assert_int_equal(parse_hex(CODEC_AV1, "8100 0c00", &why), ERR_BAD);
    assert_int_equal(parse_hex(CODEC_OPUS, "4f70 7573 4865 6164 0100 3801 80bb 0000 0000 00", &why), ERR_BAD);
    assert_int_equal(parse_hex(CODEC_OPUS, "4f70 7573 4865 6164 0103 3801 80bb 0000 0000 00", &why), ERR_BAD);
    assert_int_equal(parse_hex(CODEC_H264, "0164 0028 ffe0 00", &why), ERR_BAD);
}

static void a_record_beyond_the_limit_is_not_even_looked_at(void **state)
{
    uint8_t *big = calloc(1, CODEC_CONFIG_BYTES_MAX + 1);
    struct codec_config c;
    const char *why;

    assert_int_equal(codec_config_parse(&c, CODEC_H264, bytes_of(big, CODEC_CONFIG_BYTES_MAX + 1), &why),
                     ERR_LIMIT);
    assert_int_equal(codec_config_parse(&c, CODEC_H264, bytes_of(big, CODEC_CONFIG_BYTES_MAX), &why),
                     ERR_BAD);
    free(big);
}

/* Channel configuration 0: two front channels, a rear pair and a subwoofer by a program config element. */
static void channels_may_be_spelt_out(void **state)
{
    struct writer w = {0};
    struct codec_config c;
    const char *why;

    put(&w, 2, 5);  /* LC */
    put(&w, 3, 4);  /* 48 kHz */
    put(&w, 0, 4);  /* see below */
    put(&w, 0, 3);  /* 1024, no core coder, no extension */
    put(&w, 0, 4);  /* tag */
    put(&w, 1, 2);  /* LC */
    put(&w, 3, 4);  /* 48 kHz */
    put(&w, 1, 4);  /* front */
    put(&w, 0, 4);  /* side */
    put(&w, 1, 4);  /* back */
    put(&w, 1, 2);  /* low frequency */
    put(&w, 0, 7);  /* data, coupling */
    put(&w, 0, 3);  /* no mixdown */
    put(&w, 16, 5); /* a pair */
    put(&w, 17, 5); /* another */
    put(&w, 0, 4);
    assert_int_equal(codec_config_parse(&c, CODEC_AAC, bytes_of(w.bytes, (w.at + 7) / 8), &why), ERR_OK);
    assert_int_equal(c.channels, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_real_encoders_write_is_read_right),
        cmocka_unit_test(a_record_cut_at_any_byte_is_refused_or_read_within_its_bounds),
        cmocka_unit_test(a_record_with_any_one_byte_changed_stays_within_its_bounds),
        cmocka_unit_test(absurd_pictures_are_refused),
        cmocka_unit_test(what_is_well_formed_and_not_taken_is_named),
        cmocka_unit_test(reserved_values_are_malformed),
        cmocka_unit_test(a_record_beyond_the_limit_is_not_even_looked_at),
        cmocka_unit_test(channels_may_be_spelt_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
