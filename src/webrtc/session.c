/* webrtc/session.c - one viewer: connectivity checks, the handshake, reports both ways, and the end.
 *
 * Nothing is believed before it is authenticated: a check by the password of our answer, DTLS by the offer's fingerprint, RTCP
 * by the keys. What fails that changes nothing and is not answered. */
#include "webrtc/room_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>

/* Milliseconds from 1900, where NTP begins, to 1970. */
#define NTP_MS 2208988800000

METRIC(viewers, METRIC_GAUGE, "matinee_webrtc_viewers", "WebRTC viewers that play");
METRIC(shaken, METRIC_COUNTER, "matinee_webrtc_handshakes_total", "DTLS handshakes that made keys");
METRIC(unshaken, METRIC_COUNTER, "matinee_webrtc_handshakes_failed_total",
       "WebRTC sessions that ended before they had keys");
METRIC_HISTOGRAM_OF(loss, "matinee_webrtc_loss_percent",
                    "What viewers say of packets lost since their last report", "way", 1, 2, 5, 10, 25, 50);
METRIC(silent, METRIC_COUNTER, "matinee_webrtc_consents_expired_total",
       "WebRTC viewers that were not heard of for 15 s");
METRIC(turned_out, METRIC_COUNTER, "matinee_webrtc_turned_out_total",
       "Sessions ended because their ticket was, or another screen has taken its place.");
METRIC(sessions, METRIC_GAUGE, "matinee_webrtc_sessions",
       "WebRTC sessions, those without a finished handshake too");
METRIC(farewells, METRIC_COUNTER, "matinee_webrtc_farewells_total",
       "WebRTC viewers that ended their session by DTLS close_notify or RTCP BYE");

/* --- beginning ----------------------------------------------------------------------------------------- */

#define LETTERS  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define FOR_URLS LETTERS "-_"
#define FOR_ICE  LETTERS "+/" /* RFC 8839 §5.4 */

/* `size` characters of an alphabet of 64, 6 random bits each, and NUL. */
static void random_word(char *to, size_t size, const char *alphabet)
{
    random_fill(to, size);
    for (size_t i = 0; i < size; i++)
        to[i] = alphabet[(uint8_t)to[i] & 63];
    to[size] = '\0';
}

static uint32_t first_number(void)
{
    return (uint32_t)random_u64() & 0x7FFF;
}

static void new_credentials(struct viewer *v)
{
    struct webrtc *w = v->room;

    if (v->ufrag[0] != '\0')
        map_remove(w->by_ufrag, bytes_text(v->ufrag));
    do
        random_word(v->ufrag, sizeof v->ufrag - 1, FOR_ICE);
    while (map_get(w->by_ufrag, bytes_text(v->ufrag)) != NULL);
    random_word(v->password, sizeof v->password - 1, FOR_ICE);
    map_put(w->by_ufrag, bytes_text(v->ufrag), v);
    v->etag++;
}

static void take_media(struct viewer *v, const struct sdp_offer *o)
{
    const struct sdp_media *video = sdp_chosen(o, SDP_VIDEO), *audio = sdp_chosen(o, SDP_AUDIO);

    v->video.type = video ? video->payload_type : -1;
    v->rtx_type = video ? video->rtx_type : -1;
    v->playout_delay = video ? video->playout_delay : 0;
    v->sound.type = audio ? audio->payload_type : -1;
    v->video.start = first_number();
    v->sound.start = first_number();
    v->rtx_next = first_number();
    v->cursor = RING_NONE;
}

static void look_at_clock(void *ctx);

struct viewer *viewer_new(struct feed *f, const struct sdp_offer *offer, struct bytes host)
{
    struct viewer *v = mem_new(sizeof *v);
    struct webrtc *w = f->room;

    v->room = w;
    v->feed = f;
    list_init(&v->link);
    v->host_size = (uint8_t)(host.size < sizeof v->host ? host.size : sizeof v->host);
    memcpy(v->host, host.at, v->host_size);
    list_init(&v->waiting);
    list_push(&w->waiting, &v->waiting);
    random_word(v->id, sizeof v->id - 1, FOR_URLS);
    new_credentials(v);
    v->offer = mem_new(sizeof *v->offer);
    *v->offer = *offer;
    take_media(v, offer);
    v->began_ms = v->heard_ms = loop_now_ms(w->loop);
    map_put(w->by_id, bytes_text(v->id), v);
    w->half_open++;
    metric_add(&sessions, 1);
    timer_start(w->loop, &v->timer, WEBRTC_HALF_OPEN_MS_MAX, look_at_clock, v);
    feed_add(f, v);
    return v;
}

struct buffer *viewer_answer(struct viewer *v)
{
    struct builder out = {0};
    const struct sdp_answer a = {
        .offer = v->offer,
        .ufrag = v->ufrag,
        .password = v->password,
        .fingerprint = dtls_fingerprint(v->room->dtls),
        .id = random_u64() >> 2,
        .video_ssrc = v->feed->video_ssrc,
        .rtx_ssrc = v->feed->rtx_ssrc,
        .audio_ssrc = v->feed->sound_ssrc,
        .candidates = v->room->candidates,
        .candidate_count = v->room->candidate_count,
        .tcp = true,
    };

    sdp_answer_print(&out, &a);
    return builder_finish(&out);
}

void viewer_etag(const struct viewer *v, char etag[WEBRTC_ETAG_SIZE])
{
    snprintf(etag, WEBRTC_ETAG_SIZE, "ice-%u", v->etag);
}

void viewer_restart(struct viewer *v, struct builder *fragment)
{
    new_credentials(v);
    builder_printf(fragment, "a=ice-lite\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", v->ufrag, v->password);
}

/* --- the end -------------------------------------------------------------------------------------------- */

void stay_end(struct webrtc_stay *s)
{
    if (s->end != NULL)
        s->end(s->ctx);
    *s = (struct webrtc_stay){.may = NULL};
}

static void free_later(void *ctx)
{
    struct viewer *v = ctx;

    stay_end(&v->stay);
    dtls_free(v->dtls);
    srtp_drop(&v->srtp);
    free(v->offer);
    free(v);
}

static void forget_addresses(struct viewer *v)
{
    for (size_t i = 0; i < v->known_count; i++) {
        struct bytes key = bytes_of(&v->known[i].socket, v->known[i].size);

        if (map_get(v->room->by_address, key) == v)
            map_remove(v->room->by_address, key);
    }
}

static void say_bye(struct viewer *v)
{
    uint8_t plain[RTCP_REPORT_SIZE], out[RTCP_REPORT_SIZE + SRTCP_GROWTH_MAX];
    size_t size = rtcp_bye_write(plain, v->feed->video_ssrc);

    viewer_send_raw(v, bytes_of(out, srtcp_seal(&v->srtp, bytes_of(plain, size), out)));
    if (v->dtls != NULL)
        dtls_goodbye(v->dtls);
}

void viewer_end(struct viewer *v)
{
    struct webrtc *w = v->room;

    if (v->state == VIEWER_OVER)
        return;
    metric_add(&sessions, -1);
    if (v->state == VIEWER_PLAYS) {
        metric_add(&viewers, -1);
        say_bye(v);
        outbox_flush(&w->outbox);
    } else {
        metric_add(&unshaken, 1);
        w->half_open--;
        list_remove(&v->waiting);
    }
    v->state = VIEWER_OVER;
    timer_stop(&v->timer);
    map_remove(w->by_id, bytes_text(v->id));
    map_remove(w->by_ufrag, bytes_text(v->ufrag));
    forget_addresses(v);
    feed_remove(v->feed, v);
    v->tcp = NULL;
    server_forget(w, v);
    loop_after_turn(w->loop, free_later, v);
}

void viewer_tcp_gone(struct viewer *v, struct stream *tcp)
{
    if (v->tcp != tcp || v->state == VIEWER_OVER)
        return;
    v->tcp = NULL;
    if (!v->has_peer || v->peer.size == 0)
        viewer_end(v);
}

/* --- the way to the peer --------------------------------------------------------------------------------- */

void viewer_send_raw(struct viewer *v, struct bytes datagram)
{
    uint8_t head[2];

    if (v->tcp != NULL) {
        put_be16(head, (uint16_t)datagram.size);
        stream_write(v->tcp, bytes_of(head, sizeof head));
        stream_write(v->tcp, datagram);
    } else if (v->has_peer) {
        const struct udp_train one = {&v->peer, datagram.at, datagram.size, datagram.size};

        udp_send(v->room->udp, &one, 1);
    }
}

/* An authenticated check came from here: DTLS and RTCP from here are its. The oldest is forgotten beyond a few. */
static void learn_address(struct viewer *v, const struct address *from)
{
    struct bytes key = bytes_of(&from->socket, from->size);

    if (map_get(v->room->by_address, key) == v)
        return;
    if (v->known_count == VIEWER_ADDRESSES) {
        struct bytes old = bytes_of(&v->known[0].socket, v->known[0].size);

        if (map_get(v->room->by_address, old) == v)
            map_remove(v->room->by_address, old);
        memmove(v->known, v->known + 1, (VIEWER_ADDRESSES - 1) * sizeof *v->known);
        v->known_count--;
    }
    v->known[v->known_count++] = *from;
    map_put(v->room->by_address, key, v);
}

static void take_way(struct viewer *v, const struct stun *s, const struct address *from, struct stream *tcp)
{
    if (tcp == NULL)
        learn_address(v, from);
    if (!s->use_candidate && (v->has_peer || v->tcp != NULL))
        return;
    if (tcp != NULL) {
        v->tcp = tcp;
    } else {
        v->tcp = NULL; /* its connection stays open until the peer or its own limit closes it */
        v->peer = *from;
        v->has_peer = true;
    }
}

static void reply(struct viewer *v, const struct address *to, struct stream *tcp, struct bytes datagram)
{
    uint8_t head[2];
    const struct udp_train one = {to, datagram.at, datagram.size, datagram.size};

    if (tcp == NULL) {
        udp_send(v->room->udp, &one, 1);
        return;
    }
    put_be16(head, (uint16_t)datagram.size);
    stream_write(tcp, bytes_of(head, sizeof head));
    stream_write(tcp, datagram);
}

bool viewer_check(struct viewer *v, const struct stun *s, struct bytes in, const struct address *from,
                  struct stream *tcp)
{
    uint8_t answer[STUN_ANSWER_SIZE];
    size_t size;

    if (!stun_authentic(s, in, bytes_text(v->password)))
        return false;
    v->heard_ms = loop_now_ms(v->room->loop);
    if (s->unknown != 0) {
        size = stun_unknown(answer, s, bytes_text(v->password));
    } else {
        size = stun_success(answer, s, from, bytes_text(v->password));
        take_way(v, s, from, tcp);
    }
    reply(v, from, tcp, bytes_of(answer, size));
    return true;
}

/* --- the handshake -------------------------------------------------------------------------------------- */

static void send_flight(void *ctx, struct bytes datagram)
{
    viewer_send_raw(ctx, datagram);
}

static void begin_playing(struct viewer *v)
{
    enum err e = dtls_keys(v->dtls, v->offer, &v->srtp);

    if (e != ERR_OK) {
        log_info("webrtc", "a viewer's handshake is refused: %s",
                 e == ERR_DENIED ? "its certificate is not the one of its offer" : err_text(e));
        viewer_end(v);
        return;
    }
    farewell_of(&v->farewell, v->dtls);
    metric_add(&shaken, 1);
    metric_add(&viewers, 1);
    v->state = VIEWER_PLAYS;
    v->room->half_open--;
    list_remove(&v->waiting);
    v->shook_ms = loop_now_ms(v->room->loop);
    free(v->offer);
    v->offer = NULL;
    timer_start(v->room->loop, &v->timer, DTLS_LINGER_MS, look_at_clock, v);
    feed_flush(v->feed);
}

static void after_dtls(struct viewer *v, enum dtls_state state)
{
    int64_t wait_ms = dtls_wait_ms(v->dtls);

    if (state == DTLS_FAILED) {
        if (v->state == VIEWER_PLAYS)
            metric_add(&farewells, 1);
        viewer_end(v);
    } else if (v->state == VIEWER_SHAKES && state == DTLS_DONE) {
        begin_playing(v);
    } else if (v->state == VIEWER_SHAKES) {
        int64_t left = v->began_ms + WEBRTC_HALF_OPEN_MS_MAX - loop_now_ms(v->room->loop);

        timer_start(v->room->loop, &v->timer, wait_ms >= 0 && wait_ms < left ? wait_ms : left, look_at_clock,
                    v);
    }
}

/* Nobody repeats its last flight any more. */
static void drop_dtls(struct viewer *v)
{
    if (v->dtls != NULL)
        v->room->dropped++;
    dtls_free(v->dtls);
    v->dtls = NULL;
}

static void look_at_clock(void *ctx)
{
    struct viewer *v = ctx;

    if (v->state == VIEWER_PLAYS) {
        drop_dtls(v);
    } else if (loop_now_ms(v->room->loop) - v->began_ms >= WEBRTC_HALF_OPEN_MS_MAX) {
        viewer_end(v);
    } else {
        after_dtls(v, dtls_tick(v->dtls));
    }
}

static void receive_dtls(struct viewer *v, struct bytes in)
{
    if (v->state == VIEWER_NEW) {
        v->dtls = dtls_new(v->room->dtls, DTLS_SERVER, send_flight, v);
        v->state = VIEWER_SHAKES;
    }
    if (v->dtls != NULL) {
        after_dtls(v, dtls_receive(v->dtls, in));
    } else if (farewell_is(&v->farewell, in)) {
        metric_add(&farewells, 1);
        viewer_end(v);
    }
}

/* --- RTCP ------------------------------------------------------------------------------------------------ */

/* A picture cannot be decoded: what came since the keyframe is sent again, without stopping what comes. */
static void give_keyframe(struct viewer *v)
{
    const struct ring *r = viewer_ring(v);
    int64_t now = loop_now_ms(v->room->loop);

    if (now - v->keyed_ms < WEBRTC_PLI_MS_MIN || r->key == RING_NONE || v->cursor == RING_NONE)
        return;
    v->keyed_ms = now;
    for (uint64_t i = r->key > v->video.from ? r->key : v->video.from; i < v->cursor; i++)
        viewer_repair(v, i, now);
}

/* Whether its line carries the full rendition: by what it says of the pictures, for sound is little, and repairs are few. */
static void judge_line(struct viewer *v, const struct rtcp_heard *h, int64_t now_ms)
{
    for (size_t i = 0; i < h->block_count; i++)
        if (h->blocks[i].ssrc == v->feed->video_ssrc && line_report(&v->line, h->blocks[i].loss, now_ms))
            feed_wish(v->feed, v, v->line.low ? QUALITY_LOW : QUALITY_FULL);
}

static void hear(struct viewer *v, const struct rtcp_heard *h)
{
    int64_t now = loop_now_ms(v->room->loop);

    for (size_t i = 0; i < h->lost_count; i++) {
        uint64_t index =
            h->lost[i].ssrc == v->feed->video_ssrc ? viewer_index_of(v, h->lost[i].number) : RING_NONE;

        if (index != RING_NONE)
            viewer_repair(v, index, now);
    }
    if (h->has_loss)
        histogram_add(&loss, v->tcp ? "tcp" : "udp", h->loss * 100 / 256);
    judge_line(v, h, now);
    if (h->keyframe_wanted)
        give_keyframe(v);
    outbox_flush(&v->room->outbox);
    if (h->bye) {
        metric_add(&farewells, 1);
        viewer_end(v);
    }
}

static void receive_rtcp(struct viewer *v, struct bytes in)
{
    uint8_t plain[WEBRTC_RECEIVE_BYTES_MAX];
    struct rtcp_heard heard;
    long size = srtcp_unseal(&v->srtp, in, plain);

    if (size > 0) /* it has our keys, so it has our last flight */
        drop_dtls(v);
    if (size > 0 && rtcp_parse(&heard, bytes_of(plain, (size_t)size)) == ERR_OK)
        hear(v, &heard);
}

void viewer_receive(struct viewer *v, struct bytes in)
{
    if (v->state == VIEWER_OVER || in.size < 2)
        return;
    if (in.at[0] >= 20 && in.at[0] <= 63)
        receive_dtls(v, in);
    else if (v->state == VIEWER_PLAYS && in.at[0] >= 128 && in.at[0] <= 191 && in.at[1] >= 192 &&
             in.at[1] <= 223)
        receive_rtcp(v, in); /* else: RTP, which nobody sends us, or nothing we know */
}

static void report(struct viewer *v, const struct numbering *n, uint32_t ssrc, bool sound)
{
    int64_t wall_ms = clock_wall_ms();
    uint8_t plain[RTCP_REPORT_SIZE], out[RTCP_REPORT_SIZE + SRTCP_GROWTH_MAX];
    uint64_t ntp_ms = (uint64_t)wall_ms + NTP_MS;
    const struct rtcp_report r = {.ssrc = ssrc,
                                  .ntp = (ntp_ms / 1000) << 32 | (ntp_ms % 1000 << 32) / 1000,
                                  .timestamp = feed_timestamp(v->feed, sound, wall_ms * 1000),
                                  .packets = n->packets,
                                  .bytes = n->bytes};
    size_t size = rtcp_report_write(plain, &r);

    viewer_send_raw(v, bytes_of(out, srtcp_seal(&v->srtp, bytes_of(plain, size), out)));
}

void viewer_report(struct viewer *v, int64_t now_ms)
{
    if (v->state != VIEWER_PLAYS)
        return;
    if (now_ms - v->heard_ms > WEBRTC_CONSENT_MS_MAX) {
        metric_add(&silent, 1);
        viewer_end(v);
        return;
    }
    if (v->stay.may != NULL && !v->stay.may(v->stay.ctx)) {
        metric_add(&turned_out, 1);
        viewer_end(v);
        return;
    }
    if (v->video.packets > 0)
        report(v, &v->video, v->feed->video_ssrc, false);
    if (v->sound.packets > 0)
        report(v, &v->sound, v->feed->sound_ssrc, true);
}
