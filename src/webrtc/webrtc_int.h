/* webrtc/webrtc_int.h - between the files of this room. What each one is for:
 *
 *   stun.c     connectivity checks (ICE-lite)
 *   sdp.c      offers read; sdp_answer.c: answers printed
 *   srtp.c     keys and encryption of media; kdf and RTCP too
 *   rtp.c      a picture cut into packets
 *   rtcp.c     reports written, and what viewers say read
 *   dtls.c     the handshake that makes the keys
 *   farewell.c its keys for one thing: to know a true close_notify when the rest of DTLS is forgotten
 *   ring.c     a video's packets, made once for all viewers
 *   pictures.c one rendition's pictures as packets: B-frames left out, cut, put into its ring
 *   feed.c     a live video as packets: follower, renditions, its viewers
 *   low.c      the lower rendition, encoded while somebody's line wants it
 *   line.c     what a viewer's reports say of the line: when to go lower, and when to come back
 *   pace.c     when a sound is sent on: evenly
 *   catch_up.c how fast who comes gets what is there already, and with which timestamps
 *   send.c     packets of a ring encrypted for one viewer, and gathered for the kernel
 *   session.c  a viewer: checks, handshake, reports, its end
 *   companion.c  the process that makes Opus, and pictures without B-frames; companion_child.c is its own side
 *   crowd.c    viewers for benchmarks
 *   gate.c     floods: who is let in, who makes way, who is not read
 *   look.c     who watches what, for the API
 *   server.c   the room, its socket, its sessions by id, ufrag and address
 *
 * All but the pure parts is on one loop, the room's. */
#ifndef MATINEE_WEBRTC_WEBRTC_INT_H
#define MATINEE_WEBRTC_WEBRTC_INT_H

#include "base/limits.h"
#include "webrtc/webrtc.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>

/* --- stun.c (RFC 8489, RFC 8445 §7) ------------------------------------------------------------------- */

#define STUN_BINDING_REQUEST    0x0001
#define STUN_BINDING_SUCCESS    0x0101
#define STUN_BINDING_ERROR      0x0111
#define STUN_BINDING_INDICATION 0x0011
#define STUN_ANSWER_SIZE        192

struct stun {
    uint16_t type;
    uint8_t transaction[12];
    struct bytes username; /* "ours:theirs"; empty where there is none */
    bool use_candidate;
    bool fingerprint;    /* it has one, and it is right */
    uint16_t unknown;    /* an attribute that must be understood, and is not; 0: none */
    size_t integrity_at; /* where MESSAGE-INTEGRITY begins; 0: there is none */
};

/* Whether it may be STUN at all: length and magic cookie, nothing more. */
bool stun_looks(struct bytes in);
/* Reads a whole message. ERR_BAD where it is none, or its FINGERPRINT is wrong. What stands behind MESSAGE-INTEGRITY is
 * not believed. */
must_check enum err stun_parse(struct stun *out, struct bytes in);
/* Whether its MESSAGE-INTEGRITY was made with `password`. */
bool stun_authentic(const struct stun *s, struct bytes in, struct bytes password);
/* A success response with `from` as XOR-MAPPED-ADDRESS; returns its size. */
size_t stun_success(uint8_t to[STUN_ANSWER_SIZE], const struct stun *request, const struct address *from,
                    struct bytes password);
/* A check of ours, for a client that wants this pair (USE-CANDIDATE); returns its size. */
size_t stun_request(uint8_t to[STUN_ANSWER_SIZE], const uint8_t transaction[12], struct bytes username,
                    struct bytes password);
/* 420 Unknown Attribute, naming the request's. */
size_t stun_unknown(uint8_t to[STUN_ANSWER_SIZE], const struct stun *request, struct bytes password);

/* --- sdp.c (RFC 8866, RFC 9429, RFC 8839, RFC 8843) ---------------------------------------------------- */

#define SDP_WORD_SIZE       (SDP_WORD_BYTES_MAX + 1)
#define SDP_FINGERPRINT_MAX 64

struct sdp_media {
    enum { SDP_VIDEO, SDP_AUDIO, SDP_OTHER } kind;
    char mid[SDP_WORD_SIZE];
    char protocol[32]; /* "UDP/TLS/RTP/SAVPF" */
    char name[16];     /* the first word of its line, for the answer where it is refused */
    bool wanted;       /* it is not refused by the offer itself, and would receive */
    bool chosen;       /* we send it */
    int payload_type;  /* of H.264 or Opus; -1: it has neither */
    int rtx_type;      /* -1: none */
    int first_type;    /* the first one offered */
    bool nack, pli;
    char fmtp[SDP_FMTP_BYTES_MAX + 1];
    int playout_delay; /* the extension's id; 0: not offered */
};

struct sdp_offer {
    char ufrag[SDP_WORD_SIZE], password[SDP_WORD_SIZE];
    char hash[16]; /* "sha-256" */
    uint8_t fingerprint[SDP_FINGERPRINT_MAX];
    size_t fingerprint_size;
    struct sdp_media media[SDP_MEDIA_MAX];
    size_t media_count;
};

/* Reads an offer and chooses what to send of it: the first m-line of video that takes H.264 (packetization mode 1, of
 * `profile`, profile_idc, where there is a choice), and the first of audio that takes Opus. ERR_BAD: it is no offer.
 * ERR_UNSUPPORTED: it is one, and can't be answered. *why says what is wrong. */
must_check enum err sdp_offer_parse(struct sdp_offer *out, struct bytes text, uint8_t profile,
                                    const char **why);
/* The offer's m-line that we send as `kind`, or NULL. */
const struct sdp_media *sdp_chosen(const struct sdp_offer *o, int kind);

struct sdp_answer {
    const struct sdp_offer *offer;
    const char *ufrag, *password;
    const char *fingerprint; /* "sha-256 AA:BB…" */
    uint64_t id;
    uint32_t video_ssrc, rtx_ssrc, audio_ssrc;
    const struct address *candidates;
    size_t candidate_count;
    bool tcp; /* they take TCP too */
};

void sdp_answer_print(struct builder *out, const struct sdp_answer *a);

/* --- srtp.c (RFC 3711, RFC 7714, RFC 5764 §4.2) -------------------------------------------------------- */

enum srtp_profile { SRTP_CM = 1, SRTP_GCM = 7 }; /* RFC 5764's and RFC 7714's own numbers */

#define SRTP_KEY_SIZE      16
#define SRTP_SALT_SIZE_MAX 14
#define SRTP_MATERIAL_MAX  (2 * (SRTP_KEY_SIZE + SRTP_SALT_SIZE_MAX))
/* What protection adds to an RTP packet, and to RTCP. */
#define SRTP_GROWTH_MAX  16
#define SRTCP_GROWTH_MAX 20

/* What DTLS has to export for this profile. */
size_t srtp_material_size(enum srtp_profile profile);

/* One direction's keys; of what comes, RTCP's only: nobody sends us media. */
struct srtp_keys {
    uint8_t rtcp_key[SRTP_KEY_SIZE], rtcp_auth[20];
    uint8_t rtp_salt[SRTP_SALT_SIZE_MAX], rtcp_salt[SRTP_SALT_SIZE_MAX];
    EVP_CIPHER_CTX *rtp;  /* has its key */
    EVP_MAC_CTX *rtp_mac; /* SRTP_CM only; has its key */
};

struct srtp {
    enum srtp_profile profile;
    struct srtp_keys out, in;
    uint32_t rtcp_index; /* of the next we send */
    uint32_t seen_top;   /* replays: the newest index seen, and which of the 64 up to it */
    uint64_t seen;
};

/* `material` is as RFC 5764 §4.2 orders it; `is_server`: of the two, ours are the server's. Zeroed and valid for
 * srtp_drop() on failure. */
must_check enum err srtp_begin(struct srtp *s, enum srtp_profile profile, struct bytes material,
                               bool is_server);
void srtp_drop(struct srtp *s); /* frees what it holds */

/* Writes `header`, then `prefix` and `payload` encrypted, then the tag to `to`, which has room for SRTP_GROWTH_MAX more.
 * Returns the whole size. `roll_over` and the header's number must never come twice with different bytes. */
size_t srtp_seal(struct srtp *s, struct bytes header, uint32_t roll_over, struct bytes prefix,
                 struct bytes payload, uint8_t *to);
/* The same for RTCP; room for SRTCP_GROWTH_MAX more. */
size_t srtcp_seal(struct srtp *s, struct bytes packet, uint8_t *to);
/* Checks and decrypts RTCP into `to`, which has room for as much; returns its size. PARSE_BAD: not authentic, or a
 * replay; nothing has changed then. */
must_check long srtcp_unseal(struct srtp *s, struct bytes in, uint8_t *to);

/* --- rtp.c (RFC 3550 §5.1, RFC 6184, RFC 7587) --------------------------------------------------------- */

#define RTP_HEADER_SIZE     12
#define RTP_HEADER_SIZE_MAX 20 /* with the playout-delay extension */

struct rtp_header {
    bool marker, padded;
    uint8_t type;
    uint16_t number;
    uint32_t timestamp, ssrc;
    int playout_delay; /* the extension's id; 0: none */
};

size_t rtp_header_write(uint8_t to[RTP_HEADER_SIZE_MAX], const struct rtp_header *h);
/* How far on RTP's clock, which goes round, `a` is behind `b`. */
int32_t rtp_later_by(uint32_t a, uint32_t b);

/* One packet of a picture, in the bytes of that picture. */
struct rtp_piece {
    uint32_t at;
    uint16_t size;
};

/* H.264's parameter sets as they stand in an avcC, and the size of NAL lengths. */
struct h264_sets {
    struct bytes record;
    unsigned length_size;
};

must_check enum err h264_sets_parse(struct h264_sets *out, struct bytes record);

/* Cuts one access unit (NAL units with their lengths before them) into payloads appended to `bytes`: parameter sets as one
 * STAP-A before a keyframe, small NAL units as they are, others as FU-A of equal sizes. Returns how many pieces, or
 * PARSE_BAD when the unit is malformed or wants more than `room`. Delimiters and filler are left out. */
must_check long rtp_cut(const struct h264_sets *sets, struct bytes unit, bool keyframe, struct builder *bytes,
                        struct rtp_piece *pieces, size_t room);

/* Whether a unit holds a picture that others are predicted from (nal_ref_idc). */
bool h264_is_reference(const struct h264_sets *sets, struct bytes unit);

/* --- rtcp.c (RFC 3550 §6, RFC 4585, RFC 5104) ---------------------------------------------------------- */

#define RTCP_REPORT_SIZE 72
#define RTCP_LOST_MAX    256
#define RTCP_BLOCKS_MAX  8 /* a viewer hears three streams */

struct rtcp_report {
    uint32_t ssrc;
    uint64_t ntp;
    uint32_t timestamp, packets, bytes;
};

size_t rtcp_report_write(uint8_t to[RTCP_REPORT_SIZE], const struct rtcp_report *r);
size_t rtcp_bye_write(uint8_t to[RTCP_REPORT_SIZE], uint32_t ssrc);

/* What a viewer says. */
struct rtcp_heard {
    bool keyframe_wanted; /* PLI or FIR */
    bool bye;
    bool has_loss;
    uint8_t loss; /* the worst of its receiver reports, in 1/256 */
    size_t block_count;
    struct {
        uint32_t ssrc;
        uint8_t loss; /* since its last report, in 1/256 */
    } blocks[RTCP_BLOCKS_MAX];
    size_t lost_count;
    struct {
        uint32_t ssrc;
        uint16_t number;
    } lost[RTCP_LOST_MAX];
};

/* Reads a compound packet. ERR_BAD: malformed; what stood before the damage is not to be used. */
must_check enum err rtcp_parse(struct rtcp_heard *out, struct bytes in);

/* --- line.c --------------------------------------------------------------------------------------------- */

/* A viewer's line as its reports tell it. Zeroed: nothing is known, and the best is thought. */
struct line {
    uint32_t mean;         /* loss, 1/256 in 1/16ths, over some reports */
    unsigned bad, reports; /* bad ones in a row; all */
    bool low;              /* it is thought not to carry the full rendition */
    int64_t clean_ms;      /* since when it loses next to nothing */
    int64_t raised_ms;     /* when it came back last */
    int64_t patience_ms;   /* how long it has to be clean; 0: LINE_CLEAN_MS_MIN */
};

/* Takes one report's loss (RFC 3550 §6.4.1, fraction lost). True when `low` has changed. */
bool line_report(struct line *l, uint8_t loss, int64_t now_ms);
/* It did not take what was sent (TCP): it is low from now on. True when that is news. */
bool line_choked(struct line *l, int64_t now_ms);
/* The lower rendition cannot be had: it begins anew. */
void line_forget(struct line *l);

/* --- pace.c --------------------------------------------------------------------------------------------- */

struct pace {
    bool begun;
    int64_t soonest_us; /* how far behind its pts, on our clock, the soonest packet came */
};

/* How long a packet of sound of that pts, which is there now, is to wait. Zeroed: none has come. */
int64_t pace_wait_us(struct pace *p, int64_t now_us, int64_t pts_us);

/* --- catch_up.c ----------------------------------------------------------------------------------------- */

struct catch_up {
    int64_t ms, dts_ms; /* when it began, and the keyframe's dts */
    uint32_t first;     /* the keyframe's timestamp */
    uint32_t shown;     /* the later one that it is sent with: what is new then has that */
};

/* Up to which dts pictures are due now. */
int64_t catch_up_due_ms(const struct catch_up *c, int64_t now_ms);
/* What a picture is sent with: `own`, its own timestamp, or a later one. Timestamps go round. */
uint32_t catch_up_timestamp(const struct catch_up *c, uint32_t own);

/* --- dtls.c (RFC 6347, RFC 5764) ------------------------------------------------------------------------ */

struct dtls_house; /* our certificate, made anew at every start */
must_check enum err dtls_house_new(struct dtls_house **out);
void dtls_house_free(struct dtls_house *h);               /* accepts NULL */
const char *dtls_fingerprint(const struct dtls_house *h); /* "sha-256 AA:BB…" */

struct dtls;
enum dtls_state { DTLS_RUNNING, DTLS_DONE, DTLS_FAILED };

enum dtls_role { DTLS_SERVER, DTLS_CLIENT };

/* One side of a handshake; `send` gets every datagram. The client's begins with dtls_receive() of nothing. */
struct dtls *dtls_new(struct dtls_house *h, enum dtls_role role,
                      void (*send)(void *ctx, struct bytes datagram), void *ctx);
void dtls_free(struct dtls *d); /* accepts NULL */
enum dtls_state dtls_receive(struct dtls *d, struct bytes datagram);
/* Until when it wants dtls_tick(), in ms from now; -1: never. */
int64_t dtls_wait_ms(const struct dtls *d);
enum dtls_state dtls_tick(struct dtls *d); /* repeats what was lost */
/* Once it is done: whether the peer's certificate is the one of the offer, and the keys. ERR_DENIED where it is not. */
must_check enum err dtls_keys(struct dtls *d, const struct sdp_offer *o, struct srtp *out);
/* Tells the peer that this is over. */
void dtls_goodbye(struct dtls *d);

/* --- farewell.c (RFC 5246 §6.3, §7.2.1; RFC 5288, RFC 7905) --------------------------------------------- */

/* How the client's records are encrypted. An SSL object would know too, and holds 70 KB. */
struct farewell {
    uint8_t kind; /* 0: not known, and nothing is recognized */
    uint8_t key[32], iv[12];
};

/* The client's side of what a finished handshake agreed on; kind is 0 where its cipher is none of ours. */
void farewell_begin(struct farewell *out, const SSL *ssl);
void farewell_of(struct farewell *out, const struct dtls *d); /* the same, dtls.c */
/* Whether this datagram holds a true alert that ends the session: close_notify, or a fatal one. Whatever else it is, and
 * whoever forged it: false. */
bool farewell_is(const struct farewell *f, struct bytes datagram);

#endif
