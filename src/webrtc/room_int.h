/* webrtc/room_int.h - what lives on the room's loop: feeds, viewers, and the way out. */
#ifndef MATINEE_WEBRTC_ROOM_INT_H
#define MATINEE_WEBRTC_ROOM_INT_H

#include "base/map.h"
#include "base/rate.h"
#include "base/ulid.h"
#include "webrtc/companion_int.h"
#include "webrtc/webrtc_int.h"

struct feed;
struct viewer;

/* --- ring.c ------------------------------------------------------------------------------------------- */

#define RING_NONE UINT64_MAX

/* One packet's payload, in the bytes of its picture. */
struct ring_packet {
    struct buffer *bytes;
    uint32_t at;
    uint16_t size;
    bool marker;
    uint32_t timestamp;
    int64_t dts_ms, added_ms;
};

/* Packets by index, which only grows. */
struct ring {
    struct ring_packet *packets;
    size_t room; /* a power of two */
    uint64_t first, next;
    uint64_t key; /* where the newest keyframe begins; RING_NONE: it is not here */
    size_t bytes;
};

void ring_drop(struct ring *r);
/* Adds one packet; takes a reference of its bytes. */
void ring_add(struct ring *r, const struct ring_packet *p);
/* Lets go what nobody will ask for any more. */
void ring_trim(struct ring *r, int64_t now_ms);
const struct ring_packet *ring_at(const struct ring *r, uint64_t index); /* from first to next */

/* --- pictures.c ----------------------------------------------------------------------------------------- */

/* A viewer is on one of these at a time. Both are on the feed's one timeline. */
enum quality { QUALITY_FULL, QUALITY_LOW, QUALITIES };

/* One rendition's pictures as packets. */
struct pictures {
    struct h264_sets sets;
    struct buffer *made_record; /* where it is encoded anew */
    uint32_t width, height;     /* 0: not known yet */
    struct ring ring;
    bool awaits_key;      /* pictures are left out up to the next keyframe */
    int64_t shown_90k;    /* the furthest pts of a picture that was sent */
    uint64_t bytes;       /* since the rate was taken last */
    uint32_t bits_second; /* what it takes, over some seconds */
};

void pictures_begin(struct pictures *p);
void pictures_drop(struct pictures *p);
/* The publisher is gone, or it all comes once more: nobody joins before the next keyframe. */
void pictures_break(struct pictures *p);
/* What a decoder must know of what follows, an avcC. False: it is none. */
must_check bool pictures_record(struct pictures *p, struct bytes record, uint32_t width, uint32_t height);
/* The same of an encoder of ours; its bytes are copied. */
void pictures_made_record(struct pictures *p, struct bytes record);
/* Whether it comes after all that were sent, as a browser needs it; if so that is where it is now. */
bool pictures_in_order(struct pictures *p, const struct sample *s);
/* Cuts one into packets. `shift` is between pts and RTP's clock. */
void pictures_add(struct pictures *p, const struct sample *s, uint32_t shift);
void pictures_second(struct pictures *p); /* takes the rate */

/* --- send.c ------------------------------------------------------------------------------------------- */

#define OUTBOX_BYTES  2097152
#define OUTBOX_TRAINS 256

/* What goes to the kernel together, for many viewers. */
struct outbox {
    struct udp *udp;
    uint8_t *bytes;
    size_t size;
    struct udp_train trains[OUTBOX_TRAINS];
    struct address to[OUTBOX_TRAINS];
    size_t count;
};

void outbox_flush(struct outbox *o);

/* --- a viewer ----------------------------------------------------------------------------------------- */

/* Each viewer numbers a stream's packets from a small number on: its roll-over counter then begins at 0 with it, and no loss of
 * the first packets can make the two ends disagree about it. */
struct numbering {
    uint64_t base;  /* the index whose packet has number `start` */
    uint64_t from;  /* before it other packets had these numbers */
    uint32_t start; /* at most 2^15 */
    int type;       /* payload type; -1: not sent */
    uint32_t packets, bytes;
};

#define VIEWER_ADDRESSES 4

struct viewer {
    struct list link;    /* of its feed */
    struct list waiting; /* the room's, until it plays */
    uint8_t host[16];    /* address_host() of who asked */
    uint8_t host_size;
    struct webrtc *room;
    struct feed *feed;
    char id[WEBRTC_SESSION_SIZE];
    char ufrag[12], password[28];
    enum { VIEWER_NEW, VIEWER_SHAKES, VIEWER_PLAYS, VIEWER_OVER } state;
    struct sdp_offer *offer;  /* until the keys are there */
    struct dtls *dtls;        /* until the peer can't repeat its last flight any more */
    struct farewell farewell; /* by which its end is known afterwards */
    struct srtp srtp;
    struct timer timer; /* of the handshake */
    int64_t began_ms, heard_ms, shook_ms;
    bool has_peer;
    struct address peer;                    /* where we send to */
    struct stream *tcp;                     /* instead, over TCP */
    struct address known[VIEWER_ADDRESSES]; /* from which authenticated checks came */
    size_t known_count;
    struct numbering video, sound;
    int rtx_type, playout_delay;
    uint32_t rtx_next;
    enum quality has, wants; /* they differ until a keyframe comes at which they can be exchanged */
    struct line line;
    uint32_t sent_timestamp;  /* the last picture's that was sent */
    uint32_t shown_timestamp; /* with which it was sent */
    bool held; /* it waits for the other rendition's keyframe that stands at `held_at`, since then */
    uint32_t held_at;
    int64_t held_ms;
    uint64_t cursor; /* of its rendition's ring: the next to send; RING_NONE: waits for a keyframe */
    struct catch_up catch_up;
    uint64_t caught_up; /* before this index timestamps are the catch-up's; RING_NONE: it goes on */
    int64_t repaired_ms, keyed_ms; /* the second in which `repairs` were; the last answer to a PLI */
    uint32_t repairs;
    uint32_t etag;
    struct webrtc_stay stay; /* whether it may */
};

/* --- the room ----------------------------------------------------------------------------------------- */

struct webrtc {
    struct webrtc_options options;
    struct loop *loop;
    struct udp *udp;
    struct listener *listener;
    struct address at;
    struct address candidates[16];
    size_t candidate_count;
    struct dtls_house *dtls;
    bool closed;
    struct map *by_id, *by_ufrag, *by_address, *feeds;
    size_t half_open;
    struct list waiting;    /* those, the oldest first */
    struct rate *strangers; /* STUN from where no true check has come */
    size_t dropped;         /* SSL objects let go since the heap was last given back */
    int64_t trimmed_ms;     /* when that was */
    struct outbox outbox;
    struct list connections; /* TCP */
};

/* server.c */
/* Gives memory back to the kernel after a wave of handshakes, now and then. */
void server_trim(struct webrtc *w, int64_t now_ms);
void server_forget(struct webrtc *w, const struct viewer *v); /* closes its TCP connections, gently */

/* gate.c */
/* Whether one more session of this host may begin; another may have ended for it. */
bool gate_admits(struct webrtc *w, struct bytes host);
/* Whether a STUN message from here is to be read at all. */
bool gate_hears(struct webrtc *w, const struct address *from);

/* session.c */
/* Makes a viewer of the feed of an offer that came from `host`, and prints the answer. */
struct viewer *viewer_new(struct feed *f, const struct sdp_offer *offer, struct bytes host);
/* Nobody asks it any more. */
void stay_end(struct webrtc_stay *s);
struct buffer *viewer_answer(struct viewer *v);
void viewer_etag(const struct viewer *v, char etag[WEBRTC_ETAG_SIZE]);
/* Ends it, and tells the peer. It is freed at the end of the turn. */
void viewer_end(struct viewer *v);
/* A STUN message that bears its ufrag. `reply` gets the answer; false: it was not authentic. */
bool viewer_check(struct viewer *v, const struct stun *s, struct bytes in, const struct address *from,
                  struct stream *tcp);
/* Anything else from one of its addresses. */
void viewer_receive(struct viewer *v, struct bytes in);
void viewer_restart(struct viewer *v, struct builder *fragment); /* new ufrag and password */
void viewer_send_raw(struct viewer *v, struct bytes datagram);
void viewer_report(struct viewer *v,
                   int64_t now_ms); /* once a second: sender reports, and whether it is there still */
void viewer_tcp_gone(struct viewer *v, struct stream *tcp);

/* send.c */
/* Sends what is due of the ring. True when more is there than may go now. */
bool viewer_send_pictures(struct viewer *v, int64_t now_ms);
void viewer_send_sound(struct viewer *v, uint64_t index, uint32_t timestamp, struct bytes payload);
/* Repeats one packet over RTX, if it is there and the viewer has not had too many. */
void viewer_repair(struct viewer *v, uint64_t index, int64_t now_ms);
/* The ring of the rendition that it has. */
const struct ring *viewer_ring(const struct viewer *v);
/* The ring's index of a number that was sent; RING_NONE where there is none. */
uint64_t viewer_index_of(const struct viewer *v, uint16_t number);

/* --- feed.c: a live video as packets ------------------------------------------------------------------- */

struct feed {
    struct webrtc *room;
    struct ulid video;
    struct list viewers;
    struct list offers; /* that wait until it is known what the video is */
    size_t viewer_count;
    struct follower *follower;
    bool known, over;
    struct timer patience; /* offers wait no longer */
    struct timer pump;     /* somebody catches up */
    struct timer second;   /* reports */
    struct timer turn;     /* from dropping pictures to encoding them */
    struct timer rest;     /* nobody watches: it ends in a moment */
    struct codec_config config[TRACK_COUNT];
    struct buffer *record[TRACK_COUNT];
    struct pictures pictures[QUALITIES];
    struct low *low;                          /* what makes the lower rendition; NULL: nobody wants it */
    bool drops;                               /* pictures that nothing depends on are left out */
    bool encodes;                             /* pictures are encoded anew */
    struct companion *companion[TRACK_COUNT]; /* what converts the sound, and the pictures; NULL: not now */
    bool companion_starves[TRACK_COUNT];      /* it missed a sample: nothing before the next keyframe */
    struct timer companion_rest;              /* one broke down */

    uint32_t video_ssrc, rtx_ssrc, sound_ssrc, video_shift, sound_shift;
    uint64_t sounds;    /* how many have been sent */
    bool hears;         /* what comes was not there before the feed began */
    int64_t given_48k;  /* the pts of the last sound that was given to its companion */
    int64_t waited_48k; /* the same when the first came of it; INT64_MIN: none has */
    uint32_t filmed;    /* the timestamp of the newest picture that came */
    struct pace pace;
    struct buffer *early; /* a sound that waits for its time; NULL: none */
    int64_t early_pts;
    struct timer early_due;
    bool anchored;
    int64_t anchor_us; /* the wall clock, in µs, at media time 0 */
};

struct feed *feed_watch(struct webrtc *w,
                        struct ulid video); /* makes it where there is none; NULL: not live */
void feed_free(struct feed *f);             /* ends its viewers, and answers its offers */
void feed_add(struct feed *f, struct viewer *v);
void feed_remove(struct feed *f, struct viewer *v);
/* Sends everybody what is due. */
void feed_flush(struct feed *f);
/* Takes what an offer is to be answered with once it is known what the video is: now, or soon. */
void feed_offer(struct feed *f, struct bytes offer, struct bytes host, struct webrtc_stay *stay,
                webrtc_told *tell, void *ctx); /* *stay is taken over */
/* Has this viewer's rendition changed to this one as soon as it can be. */
void feed_wish(struct feed *f, struct viewer *v, enum quality wants);
/* What the clock of a stream shows at this wall time, for sender reports. */
uint32_t feed_timestamp(const struct feed *f, bool sound, int64_t wall_us);

/* --- look.c ------------------------------------------------------------------------------------------------ */

void look_print(struct builder *out, const struct feed *f); /* NULL: nobody watches */

/* --- low.c ------------------------------------------------------------------------------------------------- */

/* Begins the lower rendition where it is not made yet. It is there a moment later, or not at all: then viewers are told so. */
void low_begin(struct feed *f);
/* Ends it when nobody has wanted it for a while. Once a second. */
void low_second(struct feed *f, int64_t now_ms);
void low_end(struct feed *f); /* at once; where there is none, nothing */

#endif
