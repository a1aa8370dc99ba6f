/* Pictures into packets and back, as a receiver lays them together (RFC 6184); reports read and written. */
#include "unit.h"

#include "guard.h"
#include "webrtc/companion_int.h"
#include "webrtc/webrtc_int.h"

static const uint8_t record[] = {1,    0x64, 0,    0x1f, 0xff, 0xe1, 0,    4,    0x67,
                                 0x64, 0,    0x1f, 1,    0,    3,    0x68, 0xee, 0x3c};

static struct h264_sets sets_of_record(void)
{
    struct h264_sets sets;

    assert_int_equal(h264_sets_parse(&sets, bytes_of(record, sizeof record)), ERR_OK);
    assert_int_equal(sets.length_size, 4);
    return sets;
}

/* A unit of NAL units of these types and sizes; the byte behind each NAL's head counts on. */
static struct buffer *unit_of(const size_t (*nals)[2], size_t count)
{
    struct builder b = {0};

    for (size_t n = 0; n < count; n++) {
        builder_be32(&b, (uint32_t)nals[n][1]);
        builder_u8(&b, (uint8_t)(0x60 | nals[n][0]));
        for (size_t i = 1; i < nals[n][1]; i++)
            builder_u8(&b, (uint8_t)(i * 31 + n));
    }
    return builder_finish(&b);
}

/* What a receiver makes of the pieces: NAL units with their lengths. */
static struct buffer *lay_together(struct bytes bytes, const struct rtp_piece *pieces, size_t count)
{
    struct builder out = {0}, nal = {0};

    for (size_t i = 0; i < count; i++) {
        struct cursor c = cursor_of(bytes_of(bytes.at + pieces[i].at, pieces[i].size));
        uint8_t first = c.left.at[0];

        assert_true(pieces[i].size <= RTP_PAYLOAD_BYTES_MAX);
        if ((first & 31) == 24) {
            (void)cursor_u8(&c);
            while (c.left.size > 0) {
                struct bytes one = cursor_take(&c, cursor_be16(&c));

                assert_false(c.short_of);
                builder_be32(&out, (uint32_t)one.size);
                builder_add(&out, one);
            }
        } else if ((first & 31) == 28) {
            uint8_t fu = c.left.at[1];

            assert_int_equal((fu & 0x80) != 0, builder_bytes(&nal).size == 0);
            if (fu & 0x80)
                builder_u8(&nal, (uint8_t)((first & 0xe0) | (fu & 31)));
            builder_add(&nal, bytes_from(c.left, 2));
            if (fu & 0x40) {
                builder_be32(&out, (uint32_t)builder_bytes(&nal).size);
                builder_add(&out, builder_bytes(&nal));
                builder_drop(&nal);
            }
        } else {
            builder_be32(&out, (uint32_t)c.left.size);
            builder_add(&out, c.left);
        }
    }
    assert_int_equal(builder_bytes(&nal).size, 0);
    return builder_finish(&out);
}

static void a_picture_of_any_size_comes_out_as_it_went_in(void **state)
{
    const struct h264_sets sets = sets_of_record();
    struct rtp_piece pieces[64];

    for (size_t size = 1; size < 9000; size += size < 2400 ? 1 : 97) {
        const size_t nals[][2] = {{6, 20}, {1, size}};
        struct buffer *unit = unit_of(nals, 2), *back;
        struct builder bytes = {0};
        long count = rtp_cut(&sets, buffer_bytes(unit), false, &bytes, pieces, 64);

        assert_true(count > 0);
        back = lay_together(builder_bytes(&bytes), pieces, (size_t)count);
        assert_true(bytes_equal(buffer_bytes(back), buffer_bytes(unit)));
        buffer_unref(back);
        buffer_unref(unit);
        builder_drop(&bytes);
    }
}

/* The kernel cuts a train into equal datagrams; only its last may be shorter. */
static void a_large_pictures_pieces_are_equal_but_the_last(void **state)
{
    const struct h264_sets sets = sets_of_record();
    struct rtp_piece pieces[4096];

    for (size_t size = 1163; size < 400000; size = size * 5 / 4) {
        const size_t nals[][2] = {{5, size}};
        struct buffer *unit = unit_of(nals, 1);
        struct builder bytes = {0};
        long count = rtp_cut(&sets, buffer_bytes(unit), true, &bytes, pieces, 4096);

        assert_true(count > 2);
        for (long i = 2; i < count - 1; i++)
            assert_int_equal(pieces[i].size, pieces[1].size);
        assert_true(pieces[count - 1].size <= pieces[1].size);
        buffer_unref(unit);
        builder_drop(&bytes);
    }
}

static void a_keyframe_has_its_sets_before_it_once_and_no_delimiters(void **state)
{
    const struct h264_sets sets = sets_of_record();
    const size_t nals[][2] = {{9, 2}, {7, 9}, {8, 5}, {5, 3000}, {12, 40}};
    struct buffer *unit = unit_of(nals, 5), *back;
    struct rtp_piece pieces[16];
    struct builder bytes = {0};
    long count = rtp_cut(&sets, buffer_bytes(unit), true, &bytes, pieces, 16);

    assert_int_equal(count, 4);
    back = lay_together(builder_bytes(&bytes), pieces, (size_t)count);
    assert_memory_equal(back->data, "\0\0\0\x04\x67\x64\0\x1f\0\0\0\x03\x68\xee\x3c\0\0\x0b\xb8\x65", 20);
    assert_int_equal(back->size, 15 + 4 + 3000);
    buffer_unref(back);
    buffer_unref(unit);
    builder_drop(&bytes);
}

static void a_damaged_or_endless_unit_is_refused(void **state)
{
    struct guard guard = guard_new();
    const struct h264_sets sets = sets_of_record();
    const size_t nals[][2] = {{1, 40}, {1, 2500}};
    struct buffer *unit = unit_of(nals, 2);
    struct rtp_piece pieces[64];

    for (size_t size = 0; size < unit->size; size++) {
        struct builder bytes = {0};
        long count = rtp_cut(&sets, guard_place(guard, bytes_head(buffer_bytes(unit), size)), false, &bytes,
                             pieces, 64);

        assert_true(size == 0 ? count == 0 : size == 44 ? count == 1 : count == PARSE_BAD);
        (void)h264_is_reference(&sets, guard_place(guard, bytes_head(buffer_bytes(unit), size)));
        builder_drop(&bytes);
    }
    struct builder bytes = {0};

    assert_int_equal(rtp_cut(&sets, buffer_bytes(unit), false, &bytes, pieces, 3), PARSE_BAD);
    builder_drop(&bytes);
    buffer_unref(unit);
    guard_free(guard);
}

static void a_picture_that_nothing_depends_on_is_known(void **state)
{
    const struct h264_sets sets = sets_of_record();
    const uint8_t without[] = {0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 2, 0x01, 0xaa},
                  with[] = {0, 0, 0, 2, 0x41, 0xaa};

    assert_false(h264_is_reference(&sets, bytes_of(without, sizeof without)));
    assert_true(h264_is_reference(&sets, bytes_of(with, sizeof with)));
}

/* --- reports ------------------------------------------------------------------------------------------- */

static void what_was_lost_is_read_with_the_numbers_behind_it(void **state)
{
    static const uint8_t in[] = {0x81, 201,  0, 7, 0,    0,   0, 1, 0, 0, 0, 9, 64,   0,    0,    5,
                                 0,    1,    0, 0, 0,    0,   0, 0, 0, 0, 0, 0, 0,    0,    0,    0,
                                 0x81, 205,  0, 4, 0,    0,   0, 1, 0, 0, 0, 9, 0xff, 0xff, 0x80, 0x01,
                                 0x12, 0x34, 0, 0, 0x81, 206, 0, 2, 0, 0, 0, 1, 0,    0,    0,    9};
    struct rtcp_heard h;

    assert_int_equal(rtcp_parse(&h, bytes_of(in, sizeof in)), ERR_OK);
    assert_true(h.has_loss && h.loss == 64);
    assert_int_equal(h.block_count, 1);
    assert_int_equal(h.blocks[0].ssrc, 9);
    assert_int_equal(h.blocks[0].loss, 64);
    assert_true(h.keyframe_wanted);
    assert_false(h.bye);
    assert_int_equal(h.lost_count, 4);
    assert_int_equal(h.lost[0].number, 0xffff);
    assert_int_equal(h.lost[1].number, 0);
    assert_int_equal(h.lost[2].number, 15);
    assert_int_equal(h.lost[3].number, 0x1234);
    assert_int_equal(h.lost[3].ssrc, 9);
}

static void a_report_cut_anywhere_is_refused_or_a_shorter_one(void **state)
{
    static const uint8_t in[] = {0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9, 64, 0, 0,    5,   0, 1,
                                 0,    0,   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0, 0x84, 206, 0, 4,
                                 0,    0,   0, 1, 0, 0, 0, 9, 0, 0, 0, 9, 1,  0, 0,    0};
    struct guard guard = guard_new();
    struct rtcp_heard h;

    for (size_t size = 1; size < sizeof in; size++)
        assert_int_equal(rtcp_parse(&h, guard_place(guard, bytes_of(in, size))),
                         size == 32 ? ERR_OK : ERR_BAD);
    assert_int_equal(rtcp_parse(&h, bytes_of(in, sizeof in)), ERR_OK);
    assert_true(h.keyframe_wanted);
    guard_free(guard);
}

static void more_losses_than_are_answered_are_no_overflow(void **state)
{
    uint8_t in[1212] = {0x81, 205, 1, 46};
    struct rtcp_heard h;

    memset(in + 12, 0xff, sizeof in - 12);
    put_be16(in + 2, sizeof in / 4 - 1);
    assert_int_equal(rtcp_parse(&h, bytes_of(in, sizeof in)), ERR_OK);
    assert_int_equal(h.lost_count, RTCP_LOST_MAX);
}

static void our_own_reports_are_well_formed(void **state)
{
    uint8_t out[RTCP_REPORT_SIZE];
    const struct rtcp_report r = {
        .ssrc = 5, .ntp = 0x0102030405060708, .timestamp = 9, .packets = 10, .bytes = 11};
    struct rtcp_heard h;

    assert_int_equal(rtcp_parse(&h, bytes_of(out, rtcp_report_write(out, &r))), ERR_OK);
    assert_memory_equal(out + 8, "\1\2\3\4\5\6\7\x08\0\0\0\x09\0\0\0\x0a\0\0\0\x0b", 20);
    assert_false(h.bye);
    assert_int_equal(rtcp_parse(&h, bytes_of(out, rtcp_bye_write(out, 5))), ERR_OK);
    assert_true(h.bye);
}

/* --- what the server and its companion say --------------------------------------------------------------- */

static void a_companions_frame_comes_out_as_it_went_in_and_waits_until_it_is_whole(void **state)
{
    struct guard guard = guard_new();
    const struct companion_frame f = {.kind = COMPANION_SAMPLE,
                                      .codec = CODEC_H264,
                                      .rate = 44100,
                                      .keyframe = true,
                                      .dts = -5,
                                      .pts = (int64_t)1 << 40,
                                      .payload = bytes_text("picture")};
    struct companion_frame g;
    struct builder b = {0};

    companion_frame_write(&b, &f);
    struct bytes whole = builder_bytes(&b);

    for (size_t size = 0; size < whole.size; size++)
        assert_int_equal(companion_frame_parse(&g, guard_place(guard, bytes_head(whole, size))), PARSE_MORE);
    assert_int_equal(companion_frame_parse(&g, guard_place(guard, whole)), whole.size);
    assert_true(g.kind == f.kind && g.codec == f.codec && g.rate == f.rate && g.keyframe && g.dts == -5 &&
                g.pts == f.pts);
    assert_true(bytes_is(g.payload, "picture"));
    b.buffer->data[4] = 9; /* a kind there is not */
    assert_int_equal(companion_frame_parse(&g, whole), PARSE_BAD);
    b.buffer->data[4] = COMPANION_SAMPLE;
    b.buffer->data[0] = 0xff; /* larger than any sample */
    assert_int_equal(companion_frame_parse(&g, whole), PARSE_BAD);
    builder_drop(&b);
    guard_free(guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_of_any_size_comes_out_as_it_went_in),
        cmocka_unit_test(a_large_pictures_pieces_are_equal_but_the_last),
        cmocka_unit_test(a_keyframe_has_its_sets_before_it_once_and_no_delimiters),
        cmocka_unit_test(a_damaged_or_endless_unit_is_refused),
        cmocka_unit_test(a_picture_that_nothing_depends_on_is_known),
        cmocka_unit_test(what_was_lost_is_read_with_the_numbers_behind_it),
        cmocka_unit_test(a_report_cut_anywhere_is_refused_or_a_shorter_one),
        cmocka_unit_test(more_losses_than_are_answered_are_no_overflow),
        cmocka_unit_test(our_own_reports_are_well_formed),
        cmocka_unit_test(a_companions_frame_comes_out_as_it_went_in_and_waits_until_it_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
