/* Offers: what browsers send, what cannot be answered and why, damage at every byte; and what the answer says. */
#include "unit.h"

#include "guard.h"
#include "webrtc/webrtc_int.h"

#include <stdlib.h>

static const char head[] =
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\n";
static const char fingerprint[] =
    "a=fingerprint:sha-256 "
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";
static const char ice[] =
    "a=ice-ufrag:4ZcD\r\na=ice-pwd:2/1muCWoOi3uLifh0NuRHlzn\r\na=ice-options:trickle\r\na=setup:actpass\r\n";
static const char video[] =
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104 105 106 107\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"
    "a=extmap:1 urn:ietf:params:rtp-hdrext:toffset\r\n"
    "a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n"
    "a=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
    "a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack\r\na=rtcp-fb:102 nack pli\r\n"
    "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n"
    "a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n"
    "a=rtpmap:104 H264/90000\r\na=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=64001f\r\n"
    "a=rtpmap:105 rtx/90000\r\na=fmtp:105 apt=104\r\n"
    "a=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\n"
    "a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f\r\n"
    "a=rtpmap:107 rtx/90000\r\na=fmtp:107 apt=106\r\n";
static const char audio[] =
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\n"
    "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\n";

#define OFFER_SIZE 8192

/* Texts one behind the other. */
static struct bytes lay(char room[OFFER_SIZE], const char *const *parts)
{
    room[0] = '\0';
    for (size_t i = 0; parts[i] != NULL; i++)
        strncat(room, parts[i], OFFER_SIZE - strlen(room) - 1);
    return bytes_text(room);
}

#define OFFER(room, ...) lay(room, (const char *const[]){head, __VA_ARGS__, NULL})

static void a_browsers_offer_is_read(void **state)
{
    char room[OFFER_SIZE];
    struct sdp_offer o;
    const char *why;

    assert_int_equal(sdp_offer_parse(&o, OFFER(room, video, ice, fingerprint, audio), 0x42, &why), ERR_OK);
    assert_string_equal(o.ufrag, "4ZcD");
    assert_string_equal(o.password, "2/1muCWoOi3uLifh0NuRHlzn");
    assert_string_equal(o.hash, "sha-256");
    assert_int_equal(o.fingerprint_size, 32);
    assert_int_equal(o.fingerprint[31], 0xFF);
    assert_int_equal(o.media_count, 2);
    assert_int_equal(sdp_chosen(&o, SDP_VIDEO)->payload_type, 102);
    assert_int_equal(sdp_chosen(&o, SDP_VIDEO)->rtx_type, 103);
    assert_int_equal(sdp_chosen(&o, SDP_VIDEO)->playout_delay, 6);
    assert_true(sdp_chosen(&o, SDP_VIDEO)->nack && sdp_chosen(&o, SDP_VIDEO)->pli);
    assert_int_equal(sdp_chosen(&o, SDP_AUDIO)->payload_type, 111);
}

static void the_streams_own_profile_is_preferred(void **state)
{
    char room[OFFER_SIZE];
    struct sdp_offer o;
    const char *why;

    assert_int_equal(sdp_offer_parse(&o, OFFER(room, video, ice, fingerprint), 0x64, &why), ERR_OK);
    assert_int_equal(sdp_chosen(&o, SDP_VIDEO)->payload_type,
                     106); /* and not 104, which takes single NAL units only */
    assert_int_equal(sdp_chosen(&o, SDP_VIDEO)->rtx_type, 107);
}

static void what_cannot_be_answered_says_why(void **state)
{
    static const struct {
        const char *parts[6];
        enum err e;
        const char *why;
    } cases[] = {
        {{head, video, fingerprint}, ERR_UNSUPPORTED, "ice-ufrag"},
        {{head, video, ice}, ERR_UNSUPPORTED, "fingerprint"},
        {{head, ice, fingerprint}, ERR_UNSUPPORTED, "m-line"},
        {{head, ice, fingerprint,
          "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"},
         ERR_UNSUPPORTED,
         "H.264"},
        {{head, ice, fingerprint, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n"},
         ERR_UNSUPPORTED,
         "m-line"},
        {{head, "a=setup:passive\r\n", video, ice, fingerprint}, ERR_BAD, "DTLS role"},
        {{head, video, ice, "a=fingerprint:sha-256 zz\r\n"}, ERR_BAD, "fingerprint"},
        {{head, video, "a=ice-ufrag:a b\r\n"}, ERR_BAD, "ice-ufrag"},
        {{"{\"type\":\"offer\"}"}, ERR_BAD, "no SDP"},
        {{""}, ERR_BAD, "no SDP"},
    };
    char room[OFFER_SIZE];
    struct sdp_offer o;
    const char *why;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(sdp_offer_parse(&o, lay(room, cases[i].parts), 0, &why), cases[i].e);
        assert_non_null(strstr(why, cases[i].why));
    }
}

static void an_offer_cut_anywhere_is_never_read_past_its_end(void **state)
{
    struct guard guard = guard_new();
    char room[OFFER_SIZE];
    struct bytes whole = OFFER(room, video, ice, fingerprint, audio);
    struct sdp_offer o;
    const char *why;

    for (size_t size = 0; size < whole.size; size++)
        if (sdp_offer_parse(&o, guard_place(guard, bytes_head(whole, size)), 0x42, &why) != ERR_OK)
            assert_true(why[0] != '\0');
    guard_free(guard);
}

static void ten_thousand_lines_are_refused(void **state)
{
    struct builder b = {0};
    struct sdp_offer o;
    const char *why;

    builder_text(&b, head);
    for (int i = 0; i < 10000; i++)
        builder_text(&b, "a=x\r\n");
    assert_int_equal(sdp_offer_parse(&o, builder_bytes(&b), 0, &why), ERR_BAD);
    assert_non_null(strstr(why, "lines"));
    builder_drop(&b);
    builder_text(&b, head);
    for (int i = 0; i < 50; i++)
        builder_text(&b, "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n");
    assert_int_equal(sdp_offer_parse(&o, builder_bytes(&b), 0, &why), ERR_BAD);
    assert_non_null(strstr(why, "m-lines"));
    builder_drop(&b);
}

static const char *at_of(const char *text, const char *what)
{
    const char *at = strstr(text, what);

    assert_non_null(at);
    return at;
}

/* Chromium shows nothing where RTX's ssrc comes first, and refuses a refused m-line within BUNDLE. */
static void the_answer_has_the_offers_lines_in_its_order(void **state)
{
    static const char data[] = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\n";
    char room[OFFER_SIZE];
    struct sdp_offer o;
    struct address at[2];
    struct builder out = {0};
    const char *why;

    assert_true(address_parse("192.0.2.7:8443", &at[0]) && address_parse("[2001:db8::7]:8443", &at[1]));
    assert_int_equal(sdp_offer_parse(&o, OFFER(room, audio, data, video, ice, fingerprint), 0x42, &why),
                     ERR_OK);
    const struct sdp_answer a = {.offer = &o,
                                 .ufrag = "ours",
                                 .password = "secret",
                                 .fingerprint = "sha-256 AB:CD",
                                 .id = 9,
                                 .video_ssrc = 11,
                                 .rtx_ssrc = 12,
                                 .audio_ssrc = 13,
                                 .candidates = at,
                                 .candidate_count = 2,
                                 .tcp = true};

    sdp_answer_print(&out, &a);
    builder_u8(&out, 0);
    const char *text = (const char *)builder_bytes(&out).at;
    const char *sound = at_of(text, "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n");
    const char *refused = at_of(text, "m=application 0 UDP/DTLS/SCTP 0\r\n");
    const char *picture = at_of(text, "m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n");

    assert_true(sound < refused && refused < picture);
    (void)at_of(text, "a=group:BUNDLE 1 0\r\n");
    (void)at_of(text, "a=ice-lite\r\n");
    (void)at_of(picture, "a=setup:passive\r\n");
    (void)at_of(picture, "a=sendonly\r\n");
    (void)at_of(picture, "a=ssrc-group:FID 11 12\r\n");
    assert_true(at_of(picture, "a=ssrc:11 ") < at_of(picture, "a=ssrc:12 "));
    (void)at_of(picture, "a=extmap:6 ");
    (void)at_of(picture, " udp 2130706431 192.0.2.7 8443 typ host\r\n");
    (void)at_of(picture, " 2001:db8::7 8443 typ host tcptype passive\r\n");
    assert_null(strstr(picture, "VP8"));
    builder_drop(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_browsers_offer_is_read),
        cmocka_unit_test(the_streams_own_profile_is_preferred),
        cmocka_unit_test(what_cannot_be_answered_says_why),
        cmocka_unit_test(an_offer_cut_anywhere_is_never_read_past_its_end),
        cmocka_unit_test(ten_thousand_lines_are_refused),
        cmocka_unit_test(the_answer_has_the_offers_lines_in_its_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
