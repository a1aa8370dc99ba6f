/* webrtc/crowd.c - viewers for benchmarks: real checks, real handshakes, sockets of their own; pictures are counted and not
 * decoded. One thread, its own epoll, no loop of the house: it stands for machines elsewhere. */
#include "webrtc/webrtc_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BATCH      64
#define CONSENT_MS 4000
#define EVENTS     256

/* What has come of one stream. */
struct heard {
    uint32_t ssrc;
    bool begun;
    uint16_t next;
    uint64_t packets, lost;
};

struct spectator {
    struct crowd *crowd;
    int fd;
    char ufrag[8], password[28];
    char username[2 * SDP_WORD_SIZE], their_password[SDP_WORD_SIZE];
    struct dtls *dtls;
    struct srtp srtp; /* made, and not used: what comes is not decrypted */
    bool keyed;
    int64_t asked_us, first_us, checked_ms;
    struct heard video, audio;
    int64_t *whole_us; /* crowd_watch() */
    size_t pictures, room;
};

struct crowd {
    size_t count;
    int epoll;
    struct dtls_house *house;
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    uint8_t bytes[BATCH][WEBRTC_RECEIVE_BYTES_MAX];
    struct spectator all[];
};

struct crowd *crowd_new(size_t count)
{
    struct crowd *c = mem_new(sizeof *c + count * sizeof c->all[0]);

    c->count = count;
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < count; i++)
        c->all[i] = (struct spectator){.crowd = c, .fd = -1};
    if (c->epoll >= 0 && dtls_house_new(&c->house) == ERR_OK)
        return c;
    crowd_free(c);
    return NULL;
}

void crowd_free(struct crowd *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++) {
        dtls_free(c->all[i].dtls);
        srtp_drop(&c->all[i].srtp);
        if (c->all[i].fd >= 0)
            close(c->all[i].fd);
    }
    if (c->epoll >= 0)
        close(c->epoll);
    dtls_house_free(c->house);
    free(c);
}

/* --- offer and answer --------------------------------------------------------------------------------- */

struct buffer *crowd_offer(struct crowd *c, size_t who)
{
    struct spectator *s = &c->all[who];
    struct builder out = {0};

    s->asked_us = clock_mono_us();
    snprintf(s->ufrag, sizeof s->ufrag, "u%06x", (unsigned)(random_u64() & 0xFFFFFF));
    snprintf(s->password, sizeof s->password, "%016llx%08llx", (unsigned long long)random_u64(),
             (unsigned long long)(random_u64() & 0xFFFFFFFF));
    builder_printf(
        &out,
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\n"
        "a=fingerprint:%s\r\na=setup:actpass\r\n",
        s->ufrag, s->password, dtls_fingerprint(c->house));
    builder_text(
        &out,
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n"
        "a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n"
        "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
        "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\n"
        "a=rtpmap:111 opus/48000/2\r\n");
    return builder_finish(&out);
}

/* What stands behind `name` up to the end of its line, the first time from *at on; moves *at behind it. */
static bool find_line(const char **at, const char *name, char *to, size_t room)
{
    const char *found = strstr(*at, name);
    size_t size = found ? strcspn(found + strlen(name), "\r\n") : 0;

    if (found == NULL || size >= room)
        return false;
    memcpy(to, found + strlen(name), size);
    to[size] = '\0';
    *at = found + strlen(name) + size;
    return true;
}

/* "1 1 udp 2130706431 127.0.0.1 39053 typ host" */
static bool read_candidate(char *line, struct address *to)
{
    char *words[6], *rest = line, text[ADDRESS_TEXT_SIZE];

    for (int i = 0; i < 6; i++)
        if ((words[i] = strsep(&rest, " ")) == NULL)
            return false;
    snprintf(text, sizeof text, strchr(words[4], ':') ? "[%s]:%s" : "%s:%s", words[4], words[5]);
    return strcmp(words[2], "udp") == 0 && address_parse(text, to);
}

static void check(struct spectator *s)
{
    uint8_t out[STUN_ANSWER_SIZE], transaction[12];
    size_t size;

    random_fill(transaction, sizeof transaction);
    size = stun_request(out, transaction, bytes_text(s->username), bytes_text(s->their_password));
    if (send(s->fd, out, size, MSG_DONTWAIT) < 0)
        s->checked_ms = 0; /* again with the next look */
    else
        s->checked_ms = clock_mono_ms();
}

bool crowd_answer(struct crowd *c, size_t who, const char *answer)
{
    struct spectator *s = &c->all[who];
    char theirs[SDP_WORD_SIZE], ours[sizeof s->ufrag], candidate[256], ssrc[64];
    const char *at = answer, *video = strstr(answer, "m=video"), *audio = strstr(answer, "m=audio");
    struct address to;

    if (!find_line(&at, "a=ice-ufrag:", theirs, sizeof theirs) ||
        !find_line(&at, "a=ice-pwd:", s->their_password, sizeof s->their_password) ||
        !find_line(&at, "a=candidate:", candidate, sizeof candidate) || !read_candidate(candidate, &to) ||
        video == NULL || audio == NULL || !find_line(&video, "a=ssrc:", ssrc, sizeof ssrc))
        return false;
    s->video.ssrc = (uint32_t)strtoul(ssrc, NULL, 10);
    if (!find_line(&audio, "a=ssrc:", ssrc, sizeof ssrc))
        return false;
    s->audio.ssrc = (uint32_t)strtoul(ssrc, NULL, 10);
    memcpy(ours, s->ufrag, sizeof ours);
    snprintf(s->username, sizeof s->username, "%s:%s", theirs, ours);
    s->fd = socket(to.socket.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&to.socket, to.size) != 0 ||
        epoll_ctl(c->epoll, EPOLL_CTL_ADD, s->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = s}) !=
            0)
        return false;
    check(s);
    return true;
}

/* --- what comes --------------------------------------------------------------------------------------- */

static void send_flight(void *ctx, struct bytes datagram)
{
    const struct spectator *s = ctx;

    (void)!send(s->fd, datagram.at, datagram.size, MSG_DONTWAIT); /* what is lost is repeated */
}

static void take_dtls(struct spectator *s, struct bytes in)
{
    if (s->dtls == NULL || s->keyed || dtls_receive(s->dtls, in) != DTLS_DONE)
        return;
    s->keyed = true;
    dtls_free(s->dtls);
    s->dtls = NULL;
}

static void count(struct heard *h, uint16_t number)
{
    if (h->begun)
        h->lost += (uint16_t)(number - h->next);
    h->begun = true;
    h->next = (uint16_t)(number + 1);
    h->packets++;
}

/* One is whole. */
static void picture(struct spectator *s)
{
    int64_t now_us = clock_mono_us();

    if (s->first_us == 0)
        s->first_us = now_us;
    if (s->pictures < s->room)
        s->whole_us[s->pictures++] = now_us;
}

void crowd_watch(struct crowd *c, size_t who, int64_t *whole_us, size_t room)
{
    struct spectator *s = &c->all[who];

    s->whole_us = whole_us;
    s->room = room;
    s->pictures = 0;
}

static void take(struct spectator *s, struct bytes in)
{
    struct cursor c = cursor_of(in);
    uint8_t first = cursor_u8(&c), type = cursor_u8(&c);
    uint16_t number = cursor_be16(&c);

    (void)cursor_be32(&c);
    uint32_t ssrc = cursor_be32(&c);

    if (first < 4) {
        if (s->dtls == NULL && !s->keyed) { /* the way stands */
            s->dtls = dtls_new(s->crowd->house, DTLS_CLIENT, send_flight, s);
            take_dtls(s, bytes_of(NULL, 0));
        }
    } else if (first < 64) {
        take_dtls(s, in);
    } else if (!c.short_of && ssrc == s->video.ssrc && (type < 192 || type > 223)) {
        count(&s->video, number);
        if (type & 0x80)
            picture(s);
    } else if (!c.short_of && ssrc == s->audio.ssrc && (type < 192 || type > 223)) {
        count(&s->audio, number);
    }
}

static void receive(struct crowd *c, struct spectator *s)
{
    int got;

    do {
        for (int i = 0; i < BATCH; i++) {
            c->vectors[i] = (struct iovec){c->bytes[i], sizeof c->bytes[i]};
            c->messages[i].msg_hdr = (struct msghdr){.msg_iov = &c->vectors[i], .msg_iovlen = 1};
        }
        got = recvmmsg(s->fd, c->messages, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < got; i++)
            take(s, bytes_of(c->bytes[i], c->messages[i].msg_len));
    } while (got == BATCH);
}

void crowd_run(struct crowd *c, int64_t ms)
{
    struct epoll_event events[EVENTS];
    int64_t until = clock_mono_ms() + ms, now, looked = 0;

    while ((now = clock_mono_ms()) < until) {
        int n = epoll_wait(c->epoll, events, EVENTS, until - now < 50 ? (int)(until - now) : 50);

        for (int i = 0; i < n; i++)
            receive(c, events[i].data.ptr);
        if (now - looked < 100)
            continue;
        looked = now;
        for (size_t i = 0; i < c->count; i++) {
            struct spectator *s = &c->all[i];

            if (s->fd >= 0 && now - s->checked_ms > (s->keyed ? CONSENT_MS : 500))
                check(s);
            if (s->dtls != NULL && dtls_wait_ms(s->dtls) == 0)
                (void)dtls_tick(s->dtls);
        }
    }
}

void crowd_counted(const struct crowd *c, size_t who, struct crowd_count *out)
{
    const struct spectator *s = &c->all[who];

    *out = (struct crowd_count){.packets = s->video.packets + s->audio.packets,
                                .lost = s->video.lost + s->audio.lost,
                                .sounds = s->audio.packets,
                                .pictures = s->pictures,
                                .first_us = s->first_us > 0 ? s->first_us - s->asked_us : -1};
}
