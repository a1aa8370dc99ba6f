/* webrtc/sdp.c - reads an offer, and chooses of it what we send.
 *
 * Line by line, without allocation. Candidates are passed over: we are ICE-lite and never call first. */
#include "webrtc/webrtc_int.h"

#define TYPES_MAX 64 /* payload types of one m-line that are looked at; Chromium's video has 40 */

/* What is known of one payload type while its m-line is read. */
struct type {
    int number;
    enum { TYPE_OTHER, TYPE_H264, TYPE_OPUS, TYPE_RTX } codec;
    int apt; /* of RTX */
    bool has_fmtp, single_nal;
    uint8_t profile;
    bool nack, pli;
    char fmtp[SDP_FMTP_BYTES_MAX + 1];
};

struct reading {
    struct sdp_offer *out;
    struct sdp_media *media; /* the one being read; NULL: the session's part */
    struct type types[TYPES_MAX];
    size_t type_count;
    bool send_only; /* of this m-line: the peer does not receive */
    bool zero_port, bundle_only;
    bool all_nack, all_pli;
    bool muxed;
    uint8_t profile;
    const char *why;
};

/* --- words -------------------------------------------------------------------------------------------- */

/* Takes the bytes up to `end` (or all) off `left`. */
static struct bytes word(struct bytes *left, uint8_t end)
{
    long at = bytes_find(*left, end);
    struct bytes w = at < 0 ? *left : bytes_head(*left, (size_t)at);

    *left = at < 0 ? bytes_of(NULL, 0) : bytes_from(*left, (size_t)at + 1);
    return w;
}

static bool copy_word(char *to, size_t room, struct bytes w)
{
    if (w.size == 0 || w.size >= room)
        return false;
    for (size_t i = 0; i < w.size; i++)
        if (w.at[i] <= ' ' || w.at[i] > '~')
            return false;
    memcpy(to, w.at, w.size);
    to[w.size] = '\0';
    return true;
}

static int number_of(struct bytes w, int most)
{
    uint64_t n;

    return bytes_to_u64(w, (uint64_t)most, &n) ? (int)n : -1;
}

static struct type *find_type(struct reading *r, int number)
{
    for (size_t i = 0; i < r->type_count; i++)
        if (r->types[i].number == number)
            return &r->types[i];
    return NULL;
}

static int hex_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Two digits. */
static bool read_hex(struct bytes pair, uint8_t *out)
{
    int high = pair.size == 2 ? hex_of(pair.at[0]) : -1, low = pair.size == 2 ? hex_of(pair.at[1]) : -1;

    if (high < 0 || low < 0)
        return false;
    *out = (uint8_t)(high * 16 + low);
    return true;
}

/* --- attributes --------------------------------------------------------------------------------------- */

static bool read_fingerprint(struct reading *r, struct bytes value)
{
    struct sdp_offer *o = r->out;
    struct bytes hash = word(&value, ' ');
    size_t size = 0;

    if (o->fingerprint_size > 0)
        return true; /* the first one; with BUNDLE they are all the same */
    if (!copy_word(o->hash, sizeof o->hash, hash))
        return false;
    while (value.size > 0) {
        if (size == SDP_FINGERPRINT_MAX || !read_hex(word(&value, ':'), &o->fingerprint[size++]))
            return false;
    }
    o->fingerprint_size = size;
    return size > 0;
}

static void read_rtpmap(struct reading *r, struct bytes value)
{
    struct type *t = find_type(r, number_of(word(&value, ' '), 127));
    struct bytes name = word(&value, '/');

    if (t == NULL)
        return;
    if (bytes_is_nocase(name, "H264"))
        t->codec = TYPE_H264;
    else if (bytes_is_nocase(name, "opus"))
        t->codec = TYPE_OPUS;
    else if (bytes_is_nocase(name, "rtx"))
        t->codec = TYPE_RTX;
}

static void read_fmtp(struct reading *r, struct bytes value)
{
    struct type *t = find_type(r, number_of(word(&value, ' '), 127));

    if (t == NULL || value.size == 0 || value.size > SDP_FMTP_BYTES_MAX)
        return;
    for (size_t i = 0; i < value.size; i++)
        if (value.at[i] < ' ' || value.at[i] > '~')
            return;
    memcpy(t->fmtp, value.at, value.size);
    t->fmtp[value.size] = '\0';
    t->single_nal = true; /* packetization-mode is 0 where it is not said */
    t->has_fmtp = true;
    while (value.size > 0) {
        struct bytes pair = word(&value, ';');

        while (pair.size > 0 && pair.at[0] == ' ')
            pair = bytes_from(pair, 1);
        struct bytes name = word(&pair, '=');

        if (bytes_is_nocase(name, "packetization-mode"))
            t->single_nal = !bytes_is(pair, "1");
        else if (bytes_is_nocase(name, "apt"))
            t->apt = number_of(pair, 127);
        else if (bytes_is_nocase(name, "profile-level-id") && pair.size == 6)
            read_hex(bytes_head(pair, 2), &t->profile);
    }
}

static void read_feedback(struct reading *r, struct bytes value)
{
    struct bytes which = word(&value, ' ');
    struct type *t = find_type(r, number_of(which, 127));
    bool nack = bytes_is(value, "nack"), pli = bytes_is(value, "nack pli");

    if (bytes_is(which, "*")) {
        r->all_nack |= nack;
        r->all_pli |= pli;
    } else if (t != NULL) {
        t->nack |= nack;
        t->pli |= pli;
    }
}

static void read_extension(struct reading *r, struct bytes value)
{
    struct bytes id = word(&value, ' ');
    int number = number_of(word(&id, '/'), 14); /* one-byte headers have no more */

    if (number > 0 &&
        bytes_is(word(&value, ' '), "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"))
        r->media->playout_delay = number;
}

static bool bad(struct reading *r, const char *why)
{
    r->why = why;
    return false;
}

/* Those that stand in the session's part or in an m-line's. */
static bool read_attribute(struct reading *r, struct bytes name, struct bytes value)
{
    struct sdp_offer *o = r->out;

    if (bytes_is(name, "ice-ufrag"))
        return o->ufrag[0] || copy_word(o->ufrag, sizeof o->ufrag, value) ||
               bad(r, "its ice-ufrag is malformed");
    if (bytes_is(name, "ice-pwd"))
        return o->password[0] || copy_word(o->password, sizeof o->password, value) ||
               bad(r, "its ice-pwd is malformed");
    if (bytes_is(name, "fingerprint"))
        return read_fingerprint(r, value) || bad(r, "its fingerprint is malformed");
    if (bytes_is(name, "setup") && bytes_is(value, "passive"))
        return bad(r, "its DTLS role is passive, and so is ours; offer a=setup:actpass");
    if (r->media == NULL)
        return true;
    if (bytes_is(name, "mid"))
        return copy_word(r->media->mid, sizeof r->media->mid, value) || bad(r, "a mid is malformed");
    if (bytes_is(name, "rtpmap"))
        read_rtpmap(r, value);
    else if (bytes_is(name, "fmtp"))
        read_fmtp(r, value);
    else if (bytes_is(name, "rtcp-fb"))
        read_feedback(r, value);
    else if (bytes_is(name, "extmap"))
        read_extension(r, value);
    else if (bytes_is(name, "sendonly") || bytes_is(name, "inactive"))
        r->send_only = true;
    else if (bytes_is(name, "bundle-only"))
        r->bundle_only = true;
    else if (bytes_is(name, "rtcp-mux"))
        r->muxed = true;
    return true;
}

/* --- m-lines ------------------------------------------------------------------------------------------ */

static const struct type *best_type(const struct reading *r)
{
    const struct type *best = NULL;

    for (size_t i = 0; i < r->type_count; i++) {
        const struct type *t = &r->types[i];

        if (r->media->kind == SDP_AUDIO && t->codec == TYPE_OPUS)
            return t;
        if (r->media->kind != SDP_VIDEO || t->codec != TYPE_H264 || t->single_nal || !t->has_fmtp)
            continue;
        if (best == NULL || (t->profile == r->profile && best->profile != r->profile))
            best = t;
    }
    return best;
}

/* An m-line has been read to its end. */
static void settle(struct reading *r)
{
    struct sdp_media *m = r->media;

    if (m == NULL)
        return;
    const struct type *t = best_type(r);

    m->wanted = !r->send_only && (!r->zero_port || r->bundle_only) && m->kind != SDP_OTHER;
    if (t == NULL)
        return;
    m->payload_type = t->number;
    memcpy(m->fmtp, t->fmtp, sizeof m->fmtp);
    m->nack = t->nack || r->all_nack;
    m->pli = t->pli || r->all_pli;
    for (size_t i = 0; i < r->type_count && m->nack; i++)
        if (r->types[i].codec == TYPE_RTX && r->types[i].apt == t->number)
            m->rtx_type = r->types[i].number;
    m->chosen = m->wanted && r->muxed && sdp_chosen(r->out, (int)m->kind) == NULL;
}

static bool begin_media(struct reading *r, struct bytes line)
{
    struct bytes name = word(&line, ' '), port = word(&line, ' '), protocol = word(&line, ' ');
    struct sdp_media *m;

    settle(r);
    if (r->out->media_count == SDP_MEDIA_MAX)
        return bad(r, "it has too many m-lines");
    m = r->media = &r->out->media[r->out->media_count++];
    m->payload_type = m->rtx_type = -1;
    m->kind = bytes_is(name, "video") ? SDP_VIDEO : bytes_is(name, "audio") ? SDP_AUDIO : SDP_OTHER;
    if (!copy_word(m->name, sizeof m->name, name) || !copy_word(m->protocol, sizeof m->protocol, protocol))
        return bad(r, "an m-line is malformed");
    if (!bytes_is(protocol, "UDP/TLS/RTP/SAVPF") && !bytes_is(protocol, "TCP/TLS/RTP/SAVPF"))
        m->kind = SDP_OTHER;
    r->zero_port = bytes_is(port, "0");
    r->send_only = r->bundle_only = r->all_nack = r->all_pli = r->muxed = false;
    r->type_count = 0;
    struct bytes first = line;

    m->first_type = number_of(word(&first, ' '), 127);
    while (line.size > 0 && m->kind != SDP_OTHER && r->type_count < TYPES_MAX) {
        int number = number_of(word(&line, ' '), 127);

        if (number >= 0)
            r->types[r->type_count++] = (struct type){.number = number, .apt = -1};
    }
    return true;
}

static bool read_line(struct reading *r, struct bytes line)
{
    if (line.size < 2 || line.at[1] != '=')
        return bad(r, "it is no SDP");
    struct bytes value = bytes_from(line, 2);

    if (line.at[0] == 'm')
        return begin_media(r, value);
    if (line.at[0] == 'a') {
        struct bytes name = word(&value, ':');

        return read_attribute(r, name, value);
    }
    return true;
}

static bool read_lines(struct reading *r, struct bytes text)
{
    if (!bytes_starts(text, "v=0"))
        return bad(r, "it is no SDP");
    for (size_t i = 0; text.size > 0; i++) {
        struct bytes line = word(&text, '\n');

        if (line.size > 0 && line.at[line.size - 1] == '\r')
            line.size--;
        if (i == SDP_LINES_MAX)
            return bad(r, "it has too many lines");
        if ((line.size > 0 || text.size > 0) && !read_line(r, line))
            return false;
    }
    settle(r);
    return true;
}

/* --- the whole ---------------------------------------------------------------------------------------- */

const struct sdp_media *sdp_chosen(const struct sdp_offer *o, int kind)
{
    for (size_t i = 0; i < o->media_count; i++)
        if (o->media[i].chosen && (int)o->media[i].kind == kind)
            return &o->media[i];
    return NULL;
}

static const char *what_is_missing(const struct sdp_offer *o)
{
    bool video_wanted = false;

    for (size_t i = 0; i < o->media_count; i++) {
        video_wanted |= o->media[i].wanted && o->media[i].kind == SDP_VIDEO;
        if (o->media[i].chosen && o->media[i].mid[0] == '\0')
            return "an m-line has no mid";
    }
    if (o->ufrag[0] == '\0' || o->password[0] == '\0')
        return "it has no ice-ufrag or no ice-pwd";
    if (o->fingerprint_size == 0)
        return "it has no fingerprint";
    if (sdp_chosen(o, SDP_VIDEO) == NULL && sdp_chosen(o, SDP_AUDIO) == NULL)
        return video_wanted ? "it does not take H.264 with packetization-mode=1 and rtcp-mux"
                            : "it has no m-line that would receive H.264 or Opus";
    return NULL;
}

enum err sdp_offer_parse(struct sdp_offer *out, struct bytes text, uint8_t profile, const char **why)
{
    struct reading r = {.out = out, .profile = profile, .why = ""};
    enum err e = ERR_OK;

    memset(out, 0, sizeof *out);
    if (!read_lines(&r, text)) {
        *why = r.why;
        e = ERR_BAD;
    } else if ((*why = what_is_missing(out)) != NULL) {
        e = ERR_UNSUPPORTED;
    }
    return e;
}
