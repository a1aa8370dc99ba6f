/* webrtc/sdp_answer.c - prints the answer to an offer: its m-lines in its order, those that we do not send refused. */
#include "webrtc/webrtc_int.h"

#include <stdio.h>

#define CNAME "matinee"

static void print_head(struct builder *out, const struct sdp_answer *a)
{
    builder_printf(out, "v=0\r\no=- %llu 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE",
                   (unsigned long long)a->id);
    for (size_t i = 0; i < a->offer->media_count; i++)
        if (a->offer->media[i].chosen) /* refused ones stay out (RFC 8843 §7.3.3) */
            builder_printf(out, " %s", a->offer->media[i].mid);
    builder_text(out, "\r\na=ice-lite\r\na=msid-semantic: WMS *\r\n");
}

static void print_candidates(struct builder *out, const struct sdp_answer *a)
{
    for (size_t i = 0; i < a->candidate_count; i++) {
        char text[ADDRESS_TEXT_SIZE], *host, *colon;

        address_text(&a->candidates[i], text);
        colon = strrchr(text, ':');
        *colon = '\0';
        host = text;
        if (*host == '[') {
            host++;
            colon[-1] = '\0';
        }
        /* RFC 8445 §5.1.2.1; the first has the highest local preference, TCP stands below all UDP (RFC 6544 §4.2). */
        builder_printf(out, "a=candidate:%zu 1 udp %u %s %s typ host\r\n", i + 1,
                       126u << 24 | (65535u - (unsigned)i) << 8 | 255, host, colon + 1);
        if (a->tcp)
            builder_printf(out, "a=candidate:%zu 1 tcp %u %s %s typ host tcptype passive\r\n", i + 65,
                           90u << 24 | (65535u - (unsigned)i) << 8 | 255, host, colon + 1);
    }
    builder_text(out, "a=end-of-candidates\r\n");
}

static void print_transport(struct builder *out, const struct sdp_answer *a)
{
    builder_printf(out,
                   "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:%s\r\na=setup:passive\r\n"
                   "a=rtcp-mux\r\n",
                   a->ufrag, a->password, a->fingerprint);
    print_candidates(out, a);
}

/* The primary a=ssrc stands before RTX's: Chromium shows no picture otherwise, and says nothing. */
static void print_video(struct builder *out, const struct sdp_answer *a, const struct sdp_media *m)
{
    builder_printf(out, "a=rtpmap:%d H264/90000\r\na=fmtp:%d %s\r\n", m->payload_type, m->payload_type,
                   m->fmtp);
    if (m->nack)
        builder_printf(out, "a=rtcp-fb:%d nack\r\n", m->payload_type);
    if (m->pli)
        builder_printf(out, "a=rtcp-fb:%d nack pli\r\n", m->payload_type);
    if (m->rtx_type >= 0)
        builder_printf(out, "a=rtpmap:%d rtx/90000\r\na=fmtp:%d apt=%d\r\na=ssrc-group:FID %u %u\r\n",
                       m->rtx_type, m->rtx_type, m->payload_type, a->video_ssrc, a->rtx_ssrc);
    builder_printf(out, "a=msid:%s video\r\na=ssrc:%u cname:%s\r\n", CNAME, a->video_ssrc, CNAME);
    if (m->rtx_type >= 0)
        builder_printf(out, "a=ssrc:%u cname:%s\r\n", a->rtx_ssrc, CNAME);
}

static void print_audio(struct builder *out, const struct sdp_answer *a, const struct sdp_media *m)
{
    builder_printf(out, "a=rtpmap:%d opus/48000/2\r\na=fmtp:%d minptime=10;stereo=1;sprop-stereo=1\r\n",
                   m->payload_type, m->payload_type);
    builder_printf(out, "a=msid:%s audio\r\na=ssrc:%u cname:%s\r\n", CNAME, a->audio_ssrc, CNAME);
}

static void print_chosen(struct builder *out, const struct sdp_answer *a, const struct sdp_media *m)
{
    builder_printf(out, "m=%s 9 %s %d", m->name, m->protocol, m->payload_type);
    if (m->rtx_type >= 0)
        builder_printf(out, " %d", m->rtx_type);
    builder_printf(out, "\r\nc=IN IP4 0.0.0.0\r\na=mid:%s\r\na=sendonly\r\n", m->mid);
    print_transport(out, a);
    if (m->playout_delay > 0)
        builder_printf(out, "a=extmap:%d http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\n",
                       m->playout_delay);
    if (m->kind == SDP_VIDEO)
        print_video(out, a, m);
    else
        print_audio(out, a, m);
}

static void print_refused(struct builder *out, const struct sdp_media *m)
{
    builder_printf(out, "m=%s 0 %s %d\r\nc=IN IP4 0.0.0.0\r\n", m->name, m->protocol,
                   m->first_type >= 0 ? m->first_type : 0);
    if (m->mid[0] != '\0')
        builder_printf(out, "a=mid:%s\r\n", m->mid);
    builder_text(out, "a=inactive\r\n");
}

void sdp_answer_print(struct builder *out, const struct sdp_answer *a)
{
    print_head(out, a);
    for (size_t i = 0; i < a->offer->media_count; i++) {
        if (a->offer->media[i].chosen)
            print_chosen(out, a, &a->offer->media[i]);
        else
            print_refused(out, &a->offer->media[i]);
    }
}
