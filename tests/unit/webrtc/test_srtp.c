/* SRTP and SRTCP against libsrtp2: what we protect it reads, what it protects we read, and damage and replays change nothing. */
#include "unit.h"

#include "guard.h"
#include "webrtc/webrtc_int.h"

#include <srtp2/srtp.h>

static const enum srtp_profile profiles[] = {SRTP_GCM, SRTP_CM};

/* Ours is the server; theirs has the client's place. */
struct pair {
    struct srtp ours;
    srtp_t theirs_in, theirs_out;
};

static void policy_of(srtp_policy_t *p, enum srtp_profile profile, srtp_ssrc_type_t type, uint8_t *key)
{
    memset(p, 0, sizeof *p);
    if (profile == SRTP_GCM) {
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&p->rtp);
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&p->rtcp);
    } else {
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&p->rtp);
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&p->rtcp);
    }
    p->ssrc.type = type;
    p->key = key;
    p->window_size = 1024;
}

static void pair_open(struct pair *p, enum srtp_profile profile)
{
    uint8_t material[SRTP_MATERIAL_MAX], client[30], server[30];
    size_t size = srtp_material_size(profile), salt = size / 2 - SRTP_KEY_SIZE;
    srtp_policy_t in, out;

    for (size_t i = 0; i < size; i++)
        material[i] = (uint8_t)(i * 7 + 3);
    assert_int_equal(srtp_begin(&p->ours, profile, bytes_of(material, size), true), ERR_OK);
    memcpy(client, material, 16);
    memcpy(server, material + 16, 16);
    memcpy(client + 16, material + 32, salt);
    memcpy(server + 16, material + 32 + salt, salt);
    policy_of(&in, profile, ssrc_any_inbound, server);
    policy_of(&out, profile, ssrc_any_outbound, client);
    assert_int_equal(srtp_create(&p->theirs_in, &in), 0);
    assert_int_equal(srtp_create(&p->theirs_out, &out), 0);
}

static void pair_close(struct pair *p)
{
    srtp_drop(&p->ours);
    srtp_dealloc(p->theirs_in);
    srtp_dealloc(p->theirs_out);
}

/* Over the wrap of the number, with and without an extension, of every size. */
static void what_we_send_libsrtp_reads(void **state)
{
    for (size_t k = 0; k < 2; k++) {
        struct pair p;
        uint8_t header[RTP_HEADER_SIZE_MAX], payload[1200], out[1400];

        pair_open(&p, profiles[k]);
        for (size_t i = 0; i < sizeof payload; i++)
            payload[i] = (uint8_t)(i * i);
        for (uint32_t number = 65000; number < 66200; number++) {
            const struct rtp_header h = {.marker = number % 3 == 0,
                                         .type = 102,
                                         .number = (uint16_t)number,
                                         .timestamp = number * 3000,
                                         .ssrc = 0xDECAFBAD,
                                         .playout_delay = number % 2 ? 5 : 0};
            size_t head = rtp_header_write(header, &h), prefix = number % 5 == 0 ? 2 : 0,
                   size = number - 65000;
            int whole = (int)srtp_seal(&p.ours, bytes_of(header, head), number >> 16, bytes_of("xy", prefix),
                                       bytes_of(payload, size + 1), out);

            assert_int_equal(srtp_unprotect(p.theirs_in, out, &whole), 0);
            assert_int_equal(whole, head + prefix + size + 1);
            assert_memory_equal(out, header, head);
            assert_memory_equal(out + head, "xy", prefix);
            assert_memory_equal(out + head + prefix, payload, size + 1);
        }
        pair_close(&p);
    }
}

static void our_reports_libsrtp_reads(void **state)
{
    for (size_t k = 0; k < 2; k++) {
        struct pair p;

        pair_open(&p, profiles[k]);
        for (int i = 0; i < 100; i++) {
            uint8_t plain[RTCP_REPORT_SIZE], out[RTCP_REPORT_SIZE + SRTCP_GROWTH_MAX];
            const struct rtcp_report r = {
                .ssrc = 7, .ntp = 1234567890123, .timestamp = 90, .packets = 3, .bytes = 4};
            size_t size = rtcp_report_write(plain, &r);
            int whole = (int)srtcp_seal(&p.ours, bytes_of(plain, size), out);

            assert_int_equal(srtp_unprotect_rtcp(p.theirs_in, out, &whole), 0);
            assert_int_equal(whole, size);
            assert_memory_equal(out, plain, size);
        }
        pair_close(&p);
    }
}

static const uint8_t pli[12] = {0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2};

static struct bytes their_pli(struct pair *p, uint8_t room[64])
{
    int size = sizeof pli;

    memcpy(room, pli, sizeof pli);
    assert_int_equal(srtp_protect_rtcp(p->theirs_out, room, &size), 0);
    return bytes_of(room, (size_t)size);
}

static void what_libsrtp_says_we_read_once(void **state)
{
    struct guard guard = guard_new();

    for (size_t k = 0; k < 2; k++) {
        struct pair p;
        uint8_t room[80][64], plain[64];
        struct bytes said[80];

        pair_open(&p, profiles[k]);
        for (int i = 0; i < 80; i++)
            said[i] = their_pli(&p, room[i]);
        for (int i = 0; i < 80; i++) {
            int out_of_order = i ^ 1;

            assert_int_equal(srtcp_unseal(&p.ours, guard_place(guard, said[out_of_order]), plain),
                             sizeof pli);
            assert_memory_equal(plain, pli, sizeof pli);
        }
        for (int i = 0; i < 80; i++) /* a replay, within the window or before it */
            assert_int_equal(srtcp_unseal(&p.ours, said[i], plain), PARSE_BAD);
        pair_close(&p);
    }
    guard_free(guard);
}

static void a_forged_report_changes_nothing(void **state)
{
    struct guard guard = guard_new();

    for (size_t k = 0; k < 2; k++) {
        struct pair p;
        uint8_t room[64], forged[64], plain[64];
        struct bytes said;

        pair_open(&p, profiles[k]);
        said = their_pli(&p, room);
        for (size_t bit = 0; bit < said.size * 8; bit++) {
            memcpy(forged, said.at, said.size);
            forged[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(srtcp_unseal(&p.ours, guard_place(guard, bytes_of(forged, said.size)), plain),
                             PARSE_BAD);
        }
        for (size_t size = 0; size < said.size; size++)
            assert_int_equal(srtcp_unseal(&p.ours, guard_place(guard, bytes_head(said, size)), plain),
                             PARSE_BAD);
        assert_int_equal(srtcp_unseal(&p.ours, said, plain), sizeof pli); /* and the true one still counts */
        pair_close(&p);
    }
    guard_free(guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_we_send_libsrtp_reads),
        cmocka_unit_test(our_reports_libsrtp_reads),
        cmocka_unit_test(what_libsrtp_says_we_read_once),
        cmocka_unit_test(a_forged_report_changes_nothing),
    };

    if (srtp_init() != srtp_err_status_ok)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
