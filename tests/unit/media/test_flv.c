/* FLV tag bodies: the legacy dialect, Enhanced RTMP, and what is refused by name. */
#include "unit.h"

#include "guard.h"

#include "media/media.h"

#include <stdio.h>

#define V TRACK_VIDEO
#define A TRACK_AUDIO

static const struct vector {
    const char *name;
    enum track track;
    const char *hex;
    enum flv_kind kind;
    enum codec codec;
    bool keyframe;
    int32_t composition_ms;
    const char *payload;
} vectors[] = {
    {"AVC configuration", V, "17 00 000000 0142c01e", FLV_CONFIG, CODEC_H264, true, 0, "0142c01e"},
    {"AVC keyframe", V, "17 01 000043 00000001 65", FLV_SAMPLE, CODEC_H264, true, 67, "00000001 65"},
    {"AVC picture shown before it is decoded", V, "27 01 ffffdf 41", FLV_SAMPLE, CODEC_H264, false, -33,
     "41"},
    {"AVC end", V, "17 02 000000", FLV_END, CODEC_H264, true, 0, ""},
    {"AVC end, cut", V, "17 02", FLV_END, CODEC_H264, true, 0, ""},
    {"AVC sample of nothing", V, "27 01 000000", FLV_IGNORED, CODEC_H264, false, 0, ""},
    {"seek command", V, "57 00", FLV_IGNORED, CODEC_NONE, false, 0, ""},
    {"AAC configuration", A, "af 00 1190", FLV_CONFIG, CODEC_AAC, true, 0, "1190"},
    {"AAC frame", A, "af 01 2110", FLV_SAMPLE, CODEC_AAC, true, 0, "2110"},
    {"AAC frame of nothing", A, "af 01", FLV_IGNORED, CODEC_AAC, true, 0, ""},
    {"nothing", A, "", FLV_IGNORED, CODEC_NONE, false, 0, ""},
    {"HEVC SequenceStart", V, "90 68766331 0101", FLV_CONFIG, CODEC_HEVC, true, 0, "0101"},
    {"HEVC CodedFrames", V, "a1 68766331 000021 42", FLV_SAMPLE, CODEC_HEVC, false, 33, "42"},
    {"HEVC CodedFrames, negative", V, "a1 68766331 ffffff 42", FLV_SAMPLE, CODEC_HEVC, false, -1, "42"},
    {"HEVC CodedFramesX", V, "93 68766331 42", FLV_SAMPLE, CODEC_HEVC, true, 0, "42"},
    {"AVC by FourCC", V, "91 61766331 000010 65", FLV_SAMPLE, CODEC_H264, true, 16, "65"},
    {"AV1 SequenceStart", V, "90 61763031 8100", FLV_CONFIG, CODEC_AV1, true, 0, "8100"},
    {"AV1 CodedFrames", V, "91 61763031 1200", FLV_SAMPLE, CODEC_AV1, true, 0, "1200"},
    {"AV1 SequenceEnd", V, "92 61763031", FLV_END, CODEC_AV1, true, 0, ""},
    {"HEVC colour metadata", V, "d4 68766331 0200", FLV_IGNORED, CODEC_HEVC, false, 0, "0200"},
    {"enhanced command", V, "d1 00", FLV_IGNORED, CODEC_NONE, false, 0, ""},
    {"Opus SequenceStart", A, "90 4f707573 4f70", FLV_CONFIG, CODEC_OPUS, true, 0, "4f70"},
    {"Opus CodedFrames", A, "91 4f707573 fc", FLV_SAMPLE, CODEC_OPUS, true, 0, "fc"},
    {"AAC by FourCC", A, "91 6d703461 2110", FLV_SAMPLE, CODEC_AAC, true, 0, "2110"},
    {"Opus SequenceEnd", A, "92 4f707573", FLV_END, CODEC_OPUS, true, 0, ""},
    {"channel layout", A, "94 4f707573 0102", FLV_IGNORED, CODEC_OPUS, true, 0, "0102"},
    {"video modifier", V, "97 02 000102 01 68766331 000021 42", FLV_SAMPLE, CODEC_HEVC, true, 33, "42"},
    {"two audio modifiers", A, "97 00 aa 07 01 bbcc 01 4f707573 fc", FLV_SAMPLE, CODEC_OPUS, true, 0, "fc"},
    {"one track, of number 0", V, "96 01 68766331 00 000007 42", FLV_SAMPLE, CODEC_HEVC, true, 7, "42"},
    {"one track, another", V, "96 01 68766331 01 000007 42", FLV_IGNORED, CODEC_NONE, true, 0, ""},
    {"many tracks", V, "96 11 68766331 01 000004 00000743 00 000004 000007 42", FLV_SAMPLE, CODEC_HEVC, true,
     7, "42"},
    {"many codecs", V, "96 23 76703039 01 000001 99 61763031 00 000001 42", FLV_SAMPLE, CODEC_AV1, true, 0,
     "42"},
    {"many audio tracks", A, "95 11 4f707573 01 000001 fb 00 000001 fc", FLV_SAMPLE, CODEC_OPUS, true, 0,
     "fc"},
};

#define VECTORS (sizeof vectors / sizeof vectors[0])

static void both_dialects_are_read(void **state)
{
    struct guard g = guard_new();

    for (size_t i = 0; i < VECTORS; i++) {
        const struct vector *v = &vectors[i];
        uint8_t room[64], payload_room[64];
        struct bytes payload = guard_hex(v->payload, payload_room, sizeof payload_room);
        struct flv_tag t;
        const char *why;

        if (flv_parse(&t, v->track, guard_place(g, guard_hex(v->hex, room, sizeof room)), &why) != ERR_OK)
            fail_msg("%s: %s", v->name, why);
        if (t.kind != v->kind || t.codec != v->codec || t.keyframe != v->keyframe ||
            t.composition_ms != v->composition_ms || !bytes_equal(t.payload, payload))
            fail_msg("%s: kind %d codec %d key %d offset %d, %zu bytes", v->name, t.kind, t.codec, t.keyframe,
                     t.composition_ms, t.payload.size);
    }
    guard_free(g);
}

static void a_body_cut_at_any_byte_stays_within_its_bounds(void **state)
{
    struct guard g = guard_new();

    for (size_t i = 0; i < VECTORS; i++) {
        uint8_t room[64];
        struct bytes whole = guard_hex(vectors[i].hex, room, sizeof room);

        for (size_t size = 0; size < whole.size; size++) {
            struct bytes cut = guard_place(g, bytes_head(whole, size));
            struct flv_tag t;
            const char *why;
            enum err e = flv_parse(&t, vectors[i].track, cut, &why);

            if (e != ERR_OK)
                assert_non_null(why);
            else if (t.payload.size > 0)
                assert_true(t.payload.at >= cut.at && t.payload.at + t.payload.size == cut.at + cut.size);
        }
    }
    guard_free(g);
}

static void any_two_bytes_at_the_front_are_answered(void **state)
{
    uint8_t body[] = {0, 0, 0x68, 0x76, 0x63, 0x31, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    struct guard g = guard_new();

    for (unsigned n = 0; n < 0x20000; n++) {
        struct flv_tag t;
        const char *why;

        put_be16(body, (uint16_t)n);
        if (flv_parse(&t, n >> 16 ? A : V, guard_place(g, bytes_of(body, sizeof body)), &why) != ERR_OK)
            assert_non_null(why);
    }
    guard_free(g);
}

static void refuse(enum track track, const char *hex, enum err as, const char *word)
{
    uint8_t room[64];
    struct flv_tag t;
    const char *why;

    assert_int_equal(flv_parse(&t, track, guard_hex(hex, room, sizeof room), &why), as);
    if (strstr(why, word) == NULL)
        fail_msg("%s does not say %s", why, word);
}

static void what_is_not_taken_is_named(void **state)
{
    refuse(V, "12 00", ERR_UNSUPPORTED, "Sorenson");
    refuse(V, "14 00", ERR_UNSUPPORTED, "VP6");
    refuse(V, "13 00", ERR_UNSUPPORTED, "Screen");
    refuse(V, "1c 00", ERR_UNSUPPORTED, "HEVC");
    refuse(V, "90 76703039 01", ERR_UNSUPPORTED, "VP9");
    refuse(V, "90 76766331 01", ERR_UNSUPPORTED, "VVC");
    refuse(V, "90 78787878 01", ERR_UNSUPPORTED, "not known");
    refuse(V, "95 61763031 01", ERR_UNSUPPORTED, "MPEG-2 TS");
    refuse(A, "2f 01", ERR_UNSUPPORTED, "MP3");
    refuse(A, "b6 01", ERR_UNSUPPORTED, "Speex");
    refuse(A, "7f 01", ERR_UNSUPPORTED, "G.711");
    refuse(A, "8f 01", ERR_UNSUPPORTED, "G.711");
    refuse(A, "3f 01", ERR_UNSUPPORTED, "PCM");
    refuse(A, "90 664c6143 00", ERR_UNSUPPORTED, "FLAC");
    refuse(A, "90 2e6d7033 00", ERR_UNSUPPORTED, "MP3");
    refuse(A, "90 61632d33 00", ERR_UNSUPPORTED, "AC-3");
}

static void what_is_malformed_is_refused(void **state)
{
    refuse(V, "17", ERR_BAD, "short");
    refuse(V, "17 03 000000 00", ERR_BAD, "packet type");
    refuse(V, "98 68766331 00", ERR_BAD, "packet type");
    refuse(V, "96 06 68766331 00 42", ERR_BAD, "packet type");
    refuse(V, "96 31 68766331 00 42", ERR_BAD, "multitrack");
    refuse(V, "96 11 68766331 00 000009 42", ERR_BAD, "short");
    refuse(V, "97 ff ffff 00", ERR_BAD, "short");
    refuse(A, "af 02 00", ERR_BAD, "packet type");
}

static void what_is_written_is_read_back(void **state)
{
    static const int32_t offsets[] = {0, 1, 83, -1, -8388608, 8388607};

    for (enum codec codec = CODEC_H264; codec <= CODEC_OPUS; codec++) {
        for (unsigned i = 0; i < 6 * 2 * 3; i++) {
            bool is_video = codec < CODEC_AAC, has_offset = codec == CODEC_H264 || codec == CODEC_HEVC;
            struct flv_tag in = {.kind = i / 12,
                                 .track = is_video ? V : A,
                                 .codec = codec,
                                 .keyframe = !is_video || i / 12 != FLV_SAMPLE || i % 2,
                                 .composition_ms =
                                     has_offset && i / 12 == FLV_SAMPLE ? offsets[i / 2 % 6] : 0,
                                 .payload = i / 12 == FLV_END ? (struct bytes){0} : bytes_text("payload")};
            struct flv_tag out;
            struct builder b = {0};
            const char *why;

            if (codec == CODEC_AAC && in.kind == FLV_END)
                continue;
            flv_write(&b, &in);
            assert_int_equal(flv_parse(&out, in.track, builder_bytes(&b), &why), ERR_OK);
            assert_true(out.kind == in.kind && out.codec == in.codec && out.keyframe == in.keyframe);
            assert_int_equal(out.composition_ms, in.composition_ms);
            assert_true(bytes_equal(out.payload, in.payload));
            builder_drop(&b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_dialects_are_read),
        cmocka_unit_test(a_body_cut_at_any_byte_stays_within_its_bounds),
        cmocka_unit_test(any_two_bytes_at_the_front_are_answered),
        cmocka_unit_test(what_is_not_taken_is_named),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(what_is_written_is_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
