/* live/live.h - events and their videos: publishing, the journal, segments, the index, and recovery.
 *
 * A video is on one loop while somebody publishes it, and on none while it waits or has ended. What players
 * need of it is an immutable snapshot that any thread may hold. */
#ifndef MATINEE_LIVE_LIVE_H
#define MATINEE_LIVE_LIVE_H

#include "access/access.h"
#include "base/ulid.h"
#include "db/db.h"
#include "media/media.h"
#include "net/net.h"
#include "store/store.h"

struct live;

/* --- what reads foreign files, for this room may not ------------------------------------------------- */

/* What a recording holds: first its tracks, then its samples, in the order of their dts over both. */
struct recorded {
    enum { RECORDED_TRACK, RECORDED_SAMPLE } kind;
    enum track track;
    enum codec codec;     /* of a track */
    bool keyframe;        /* of a sample */
    int64_t dts, pts;     /* of a sample, in ticks of its track (struct sample), from 0 */
    struct bytes payload; /* a track's decoder configuration, or the sample */
};

struct recording_taker {
    enum err (*take)(void *ctx, const struct recorded *r); /* anything but ERR_OK ends the reading */
    bool (*keep_on)(void *ctx); /* asked every 200 ms at most; false ends the reading: ERR_CLOSED */
    void *ctx;
    int64_t ms_max; /* 0: for as long as it takes */
};

struct recording_reader {
    /* Reads the open `file` from its start to its end, or to the taker's first error, which it returns. ERR_BAD,
     * ERR_UNSUPPORTED, ERR_LIMIT: the file's fault, and `why` says what. ERR_IO, ERR_TIMEOUT: what reads it broke down.
     * Blocks. */
    enum err (*read)(const char *program, int file, const struct recording_taker *taker, char why[256]);
    const char *program; /* our own executable */
};

struct live_options {
    struct net *net;
    struct store *store;
    struct db *db;
    const char *data_dir;
    int64_t segment_ms;
    int64_t grace_ms;
    uint64_t
        spool_bytes_max; /* of segments that wait for the store; beyond it publishers are held. 0: no bound */
    struct recording_reader reader; /* read NULL: no recordings are taken */
};

/* Opens the room, brings back what the journal holds beyond the store, and lists it: when this returns, all
 * that a crash left is playable again. Blocks; `why` says what to do on failure. */
must_check enum err live_open(struct live **out, const struct live_options *options, char why[256]);

/* This server's number among others, as text; it stays with the data folder. */
const char *live_server(const struct live *l, char text[ULID_TEXT_SIZE]);

/* Makes this server known at `url` to others over the same database; from now on each hears of what the others change, within
 * about a second. Once, when its doors are open. Does nothing where the database is this server's alone. Blocks. */
must_check enum err live_join(struct live *l, const char *url);

#define LIVE_URL_SIZE 256

/* Whether a video is live on another server that is heard from, and where. Any thread; quick. */
bool live_video_elsewhere(struct live *l, struct ulid video, char url[LIVE_URL_SIZE]);

/* Frees. After live_drain(), store_stop() (its threads work for this room) and net_stop(). Accepts NULL. */
void live_close(struct live *l);

/* --- what waits for the store ------------------------------------------------------------------------- */

enum spool_verdict {
    SPOOL_GOOD,
    SPOOL_BEHIND, /* a segment has waited for SPOOL_BEHIND_MS */
    SPOOL_AWAY,   /* the store takes nothing */
    SPOOL_FULL,   /* and publishers are held */
};

struct spool_view {
    enum spool_verdict verdict;
    size_t segments;
    uint64_t bytes;
    int64_t oldest_ms; /* how long the one that waits longest has waited */
    int64_t away_ms;   /* for how long the store has taken nothing; 0: it goes well */
};

void live_spool(struct live *l, struct spool_view *out); /* any thread; quick */
const char *spool_verdict_name(enum spool_verdict v);    /* "good", "behind", "away", "full" */

/* --- publishing: all of it on the publisher's loop --------------------------------------------------- */

struct publication;

enum message_kind {
    MESSAGE_AUDIO = 8,
    MESSAGE_VIDEO = 9,
    MESSAGE_DATA = 18
}; /* RTMP's and FLV's own numbers */

struct publisher_events {
    /* The key is right and the place is free (or was made free): messages may be given. */
    void (*granted)(void *ctx);
    /* ERR_DENIED: no event has this key. ERR_BUSY: somebody publishes it and is alive. `text` is for the
     * publisher's eyes. The publication is gone. */
    void (*refused)(void *ctx, enum err why, const char *text);
    /* Every message whose position is at most this would survive a power loss. In order. */
    void (*durable)(void *ctx, uint64_t position);
    /* Something the publisher should show a person: the disk is full, the disk has room again. */
    void (*notice)(void *ctx, bool is_error, const char *text);
    /* Stop reading from the network (true) until told otherwise (false). */
    void (*hold)(void *ctx, bool on);
    /* The publication was ended by us (event ended, key changed, taken over, shutting down), and is gone:
     * tell the publisher why, and close. */
    void (*evicted)(void *ctx, const char *text);
    /* Somebody watches with low latency: hand over what comes as it comes (true), until nobody does any more (false). May
     * be NULL. */
    void (*hurry)(void *ctx, bool on);
};

/* Asks to publish with `key` on this loop's thread. Exactly one of `granted` or `refused` follows, never
 * from within this call, within RTMP_TAKEOVER_MS_MAX. The publication is the caller's until it is refused,
 * evicted or given to live_unpublish(). */
struct publication *live_publish(struct live *l, struct loop *loop, struct bytes key,
                                 const struct publisher_events *events, void *ctx);

/* Gives one whole message; `body` lies in `message`, which is referenced as long as it is needed and never
 * copied. *position is what `durable` will report for it, or 0 when there is nothing to wait for.
 * ERR_BAD, ERR_UNSUPPORTED, ERR_LIMIT: the publisher must be told `*why` and closed. */
must_check enum err live_message(struct publication *p, enum message_kind kind, uint32_t timestamp_ms,
                                 struct buffer *message, struct bytes body, uint64_t *position,
                                 const char **why);

/* Bytes came from the publisher, whole messages or not: it is alive. */
void live_heard(struct publication *p);

/* Asks for `durable` of everything given so far without waiting for the group's turn. */
void live_sync(struct publication *p);

/* The publisher is gone; no further call of its events comes. `clean` when it said so itself. The video
 * waits for its return for the grace. */
void live_unpublish(struct publication *p, bool clean);

/* --- following a live video: its samples as they come ------------------------------------------------ */

struct followed {
    enum {
        FOLLOWED_TRACK,  /* a decoder configuration: the first, or another one; `config` and `record` */
        FOLLOWED_SAMPLE, /* `sample`, in the order it came over both tracks; `duration` is not known yet */
        FOLLOWED_BREAK,  /* the publisher is gone, or samples are missing; the next picture is a keyframe */
        FOLLOWED_END,    /* the video has ended; the last one */
    } kind;
    enum track track;
    struct codec_config config;
    struct buffer *record;
    struct sample sample; /* whoever keeps it takes a reference of its buffer */
    int64_t received_us;  /* monotonic; when its last byte had come */
};

struct follower;

/* Has `tell` called on `loop`, which is the caller's: the configurations first, then what came since the newest keyframe, then
 * each sample as it comes. Not from within this call. NULL: no such video, or not live. */
struct follower *live_follow(struct live *l, struct ulid video, struct loop *loop,
                             void (*tell)(void *ctx, const struct followed *f), void *ctx);
/* No further call of `tell` comes. Also to be called after FOLLOWED_END, and before live_close(). On its loop. Accepts NULL. */
void live_unfollow(struct follower *f);

/* Somebody watches this video with low latency: for the next LIVE_HURRY_MS its publisher is read as soon as it sends. To be
 * repeated for as long as somebody watches; costs little more than the room's lock. Any thread; harmless when nobody
 * publishes the video, or there is none. */
void live_video_hurry(struct live *l, struct ulid video);

/* Ends every publication (`evicted`) and refuses new ones, then waits until all segments are stored, for at
 * most `patience_ms`; what is not stored then is in the journal. Videos wait for their publishers, over a
 * restart too. Blocks; not on a loop's thread. */
void live_drain(struct live *l, int64_t patience_ms);

/* --- events; blocking ones on pool threads only ------------------------------------------------------- */

enum event_access { ACCESS_PUBLIC, ACCESS_TICKET };
enum event_state { EVENT_SCHEDULED, EVENT_LIVE, EVENT_ENDED };

#define EVENT_TITLE_CODEPOINTS_MAX 200

/* What a producer wants to know of the stream that comes in; refreshed once a second. */
struct health {
    bool publishing;
    int64_t since_ms; /* wall clock; when this publisher came */
    int64_t heard_ms; /* wall clock; its last byte */
    enum codec video, audio;
    uint32_t width, height;
    double fps;
    int64_t bitrate;            /* bits a second over the last ten */
    double keyframe_interval_s; /* the longest of the last ten seconds' GOPs; 0 while not known */
    uint64_t gaps;              /* jumps of the publisher's clock that were mended */
    const char *notes[4];       /* static texts with advice; NULL where there is no more */
};

/* The newest upload of a recording to an event. */
struct upload_view {
    enum { UPLOAD_NONE, UPLOAD_RECEIVING, UPLOAD_IMPORTING, UPLOAD_FAILED } state;
    uint64_t received, total; /* receiving */
    struct ulid video;        /* importing */
    char *problem;            /* failed: what is wrong with the file */
};

/* A copy of an event as it is now. */
struct event_view {
    struct ulid id;
    char *title;
    enum event_access access;
    enum event_state state;
    int64_t starts_at_ms; /* -1: not said */
    int64_t created_at_ms;
    struct ulid inventory; /* whose confirmed reservations are tickets; zero: none */
    struct screen_rule screens;
    struct ulid *videos; /* newest first */
    size_t video_count;
    bool has_video; /* videos[0] is the video of this event; false before the first */
    struct health health;
    struct upload_view upload;
};

void event_view_free(struct event_view *v); /* frees what it holds */

/* What to change; NULL or -2 leaves a thing as it is. */
struct event_change {
    const char *title;
    const enum event_access *access;
    int64_t starts_at_ms;         /* -1: take it away */
    const struct ulid *inventory; /* zero: take it away */
    const uint32_t *screens;      /* 0: any number */
    const bool *refuse_screens;
};

#define EVENT_UNCHANGED (-2)

/* Makes an event; `key` receives its stream key, which nobody can read again. Blocks. */
must_check enum err live_event_create(struct live *l, const struct event_change *what, struct ulid *id,
                                      char key[ACCESS_KEY_SIZE]);
must_check enum err live_event_change(struct live *l, struct ulid id,
                                      const struct event_change *what); /* blocks */

/* A new key; who publishes with the old one is cut off. Blocks. */
must_check enum err live_event_rotate_key(struct live *l, struct ulid id, char key[ACCESS_KEY_SIZE]);

/* Ends its video at once: the publisher is told and cut off, the last segment stored. Blocks. */
must_check enum err live_event_end(struct live *l, struct ulid id);

/* Deletes the event and its videos, their objects too. Blocks. */
must_check enum err live_event_delete(struct live *l, struct ulid id);

/* Copies out one event, or up to `limit` of those after `after` (zero: from the newest), newest first.
 * Any thread; quick. */
must_check enum err live_event_get(struct live *l, struct ulid id, struct event_view *out);
size_t live_event_list(struct live *l, struct ulid after, size_t limit, struct event_view *out);

/* The newest event whose tickets are this inventory's reservations; false where there is none. Any thread; quick. */
bool live_event_of_inventory(struct live *l, struct ulid inventory, struct ulid *event);
/* The event of a video; false: there is no such video. Any thread; quick. */
bool live_event_of_video(struct live *l, struct ulid video, struct ulid *event);
/* On how many screens its tickets may be watched; where there is no such event, on any number. Any thread; quick. */
struct screen_rule live_event_screens(struct live *l, struct ulid event);

/* --- videos ------------------------------------------------------------------------------------------ */

/* One track's part of a segment, in ticks of the track's timescale; bytes 0: nothing of it in there. */
struct span {
    uint32_t init; /* which init segment it wants */
    uint32_t bytes;
    int64_t start, end;
};

struct segment {
    uint32_t number;
    bool discontinuity; /* a publisher came back, or a configuration changed, before it */
    bool torn; /* it was cut short by a crash, so its name differs from what may have been announced */
    int64_t start, end; /* on the video's timeline, in ticks of 1/90000 s */
    int64_t wall_ms;    /* the wall clock at its start */
    struct span track[TRACK_COUNT];
};

/* A track's decoder configuration with its init segment. */
struct init {
    uint32_t number;
    struct codec_config config;
    struct buffer *record; /* as the publisher sent it */
    struct buffer *bytes;  /* ftyp and moov */
};

/* What a made rendition has of one segment of its source. */
struct made {
    enum { MADE_NOT, MADE_GAP, MADE_WHOLE } state; /* a gap stays one: players skip it */
    uint32_t init;                                 /* which init segment it wants; the source's number */
    uint32_t bytes;
};

/* A part of a made rendition: one chunk. */
struct made_part {
    uint32_t number;         /* of its segment */
    unsigned chunk;          /* from 0 */
    bool last;               /* of its segment */
    bool discontinuity;      /* before its segment */
    int64_t wall_ms;         /* at its segment's start */
    uint32_t init;           /* which init segment it wants */
    size_t at, size;         /* where it lies in its segment */
    int64_t start, duration; /* of its dts, in ticks of 1/90000 s */
};

#define RENDITION_NAME_SIZE 12

/* A quality that somebody makes of the source: same timeline, cut at the same instants. */
struct rendition {
    char name[RENDITION_NAME_SIZE]; /* "720p" */
    enum codec codec;
    uint32_t width, height;
    uint32_t fps;       /* of the source, for its encoder; 0: not known */
    bool archive;       /* it was asked for later: nobody sees it before it is whole */
    struct init *inits; /* in no order; find by number */
    size_t init_count;
    struct made *made;       /* of each segment of the view */
    struct made_part *parts; /* of the newest segments, in order, while it is live */
    size_t part_count;
    size_t shown;    /* the first so many are settled, and may be listed */
    size_t gaps;     /* among them */
    char reason[96]; /* of the newest gap; "" */
};

#define RENDITIONS_MAX    16
#define SEGMENT_NAME_SIZE 96
#define VIEW_CACHES       (6 + RENDITIONS_MAX)

/* A video as it is at one moment: immutable, any thread. What is printed from it is kept with it. */
struct video_view {
    atomic_uint references;
    struct ulid id, event;
    enum event_access access;
    bool live; /* false: ended */
    bool away; /* live on another server: its edge is not here, and what is here is what that has stored */
    bool imported; /* it was uploaded, and is live while it is imported: nobody waits for its edge */
    int64_t created_at_ms;
    uint32_t target_duration_s; /* 0 while there is no segment */
    uint32_t chunk_90k;         /* no part of a made rendition is longer; 0: they have none */
    struct init *inits[TRACK_COUNT];
    size_t init_count[TRACK_COUNT];
    struct segment *segments;
    size_t segment_count;
    struct rendition *renditions; /* in falling height */
    size_t rendition_count;
    _Atomic(struct buffer *)
        cache[VIEW_CACHES]; /* the players' edge keeps its texts here: video_view_cached() */
};

struct video_view *video_view_ref(struct video_view *v);
void video_view_unref(struct video_view *v); /* accepts NULL */

/* The text under `slot`, made by `make` the first time; a new reference. Any thread. */
struct buffer *video_view_cached(struct video_view *v, unsigned slot,
                                 struct buffer *(*make)(struct video_view *v, unsigned slot));

double video_view_duration_s(const struct video_view *v);

/* The view of a video, a new reference; NULL and *known when it has to be loaded by live_video_load().
 * Any thread; quick. */
struct video_view *live_video_peek(struct live *l, struct ulid id, bool *known);
must_check enum err live_video_load(struct live *l, struct ulid id, struct video_view **out); /* blocks */

/* --- the live edge: what is there of the segment that is still open ------------------------------------- */

/* A part: one CMAF chunk of a segment. The parts of a segment laid end to end are the segment. */
struct part {
    struct buffer *bytes;    /* NULL: nobody watched when its segment was done, which has them */
    size_t at, size;         /* where it lies in its segment */
    int64_t start, duration; /* of its dts, in ticks of the track */
    bool independent;        /* it begins with a keyframe */
};

/* A segment as far as it has got, or the parts of one that is done. */
struct shelf {
    uint32_t number;
    bool discontinuity;
    bool cut;               /* nothing more comes of its pictures; its sounds may be on their way */
    int64_t start, wall_ms; /* as in struct segment */
    bool has[TRACK_COUNT];  /* the track has a configuration in it */
    uint32_t init[TRACK_COUNT];
    struct part *parts[TRACK_COUNT];
    size_t count[TRACK_COUNT];
};

#define EDGE_CACHES (4 * (5 + RENDITIONS_MAX))

/* A live video as it is at one moment, parts included: immutable, any thread, like the view in it. Segments that the view has
 * are done, whether or not their parts are on a shelf; the others are open. */
struct edge {
    atomic_uint references;
    struct video_view *view;
    bool publishing;                /* somebody does, so more is to come */
    uint64_t serial;                /* tells edges apart, over restarts too */
    int64_t parts_ms;               /* monotonic; when the parts were looked at */
    uint32_t part_90k[TRACK_COUNT]; /* no part is longer; 0: there are none */
    struct shelf *shelves;          /* oldest first */
    size_t shelf_count;
    _Atomic(struct buffer *) cache[EDGE_CACHES]; /* edge_cached() */
};

struct edge *edge_ref(struct edge *e);
void edge_unref(struct edge *e); /* accepts NULL */

/* The text under `slot`, made by `make` the first time; a new reference. `make` may return NULL, which is not kept. Any
 * thread. */
struct buffer *edge_cached(struct edge *e, unsigned slot,
                           struct buffer *(*make)(struct edge *e, unsigned slot, void *ctx), void *ctx);

/* The edge of a live video, a new reference; NULL: there is no such video, or it has ended. It has shelves only while somebody
 * hurries the video, or asked just now. Any thread; quick. */
struct edge *live_edge_peek(struct live *l, struct ulid video);

/* Asks for an edge with the parts that there are now, once: for whoever may not go on asking. Any thread; quick. */
void live_edge_ask(struct live *l, struct ulid video);

/* How far the video of this view has come, in seconds: with the parts of the open segment, where somebody watches them; never
 * less than video_view_duration_s(). Any thread; quick. */
double live_edge_s(struct live *l, const struct video_view *view);

/* From now on `changed` is told of every video that has a new edge, was ended, or has a new segment of a rendition. It is called
 * with the room's lock held, so it must be quick and call nothing of this room. Once, before anything is published. */
void live_on_edge(struct live *l, void (*changed)(void *ctx, struct ulid video), void *ctx);

/* Up to `limit` ids after `after` (zero: from the newest), newest first. Any thread; quick. */
size_t live_video_list(struct live *l, struct ulid after, size_t limit, struct ulid *out);

/* Takes the video out of every list, then deletes its objects. ERR_BUSY while it is live. Blocks. */
must_check enum err live_video_delete(struct live *l, struct ulid id);

/* --- uploads of finished recordings ------------------------------------------------------------------- */

/* A file on its way to an event; one at a time. What has come outlives a broken connection and the server. */
struct upload;

#define UPLOAD_ASKS UINT64_MAX

/* Takes the event's place for an upload of `total` bytes of which `from` on will be sent; `from` UPLOAD_ASKS: it is only asked
 * how far it got. `anew` throws away what an earlier one left. What live_upload_have() says afterwards is durable.
 * ERR_MISSING: no event. ERR_BUSY: it is live, or another upload is running. ERR_STALE: what came is of a file of another size.
 * ERR_FULL: it does not fit on the disk. `why` says more. Blocks. */
must_check enum err live_upload_open(struct live *l, struct ulid event, uint64_t total, uint64_t from,
                                     bool anew, struct upload **out, char why[256]);
uint64_t live_upload_have(const struct upload *u); /* bytes that have come */

/* Appends. ERR_LIMIT: more than `total`; ERR_FULL. Blocks. */
must_check enum err live_upload_write(struct upload *u, struct bytes piece);
must_check enum err live_upload_sync(struct upload *u); /* makes durable what has come; blocks */

/* Once everything is there: looks into the file and begins a video of it, which is imported from then on. When this returns
 * ERR_OK both are durable. ERR_BAD, ERR_UNSUPPORTED, ERR_LIMIT: it is no recording that is taken, `why` says why, and nothing of
 * it is left. Others: it can be tried again. Blocks. */
must_check enum err live_upload_finish(struct upload *u, struct ulid *video, char why[256]);

/* Gives the event's place back, and keeps what came. Any thread; quick. Accepts NULL. */
void live_upload_close(struct upload *u);

/* The video that was made of the event's last upload, if that had `total` bytes and nothing has come since: what a sender asks
 * who did not hear the answer. Blocks. */
bool live_uploaded(struct live *l, struct ulid event, uint64_t total, struct ulid *video);

/* --- renditions -------------------------------------------------------------------------------------- */

/* From now on `changed` is told, on pool threads, of every video that has a new segment in the store, has ended or was deleted. Once, before anything is published. */
void live_on_change(struct live *l, void (*changed)(void *ctx, struct ulid video), void *ctx);

/* How many segments of the view are in the store; the others only this process has. Any thread; quick. */
size_t live_video_stored(struct live *l, const struct video_view *view);

/* Begins a rendition of a video: views have it from now on, empty. ERR_OK also when there is one of this name,
 * which stays as it is. ERR_LIMIT: RENDITIONS_MAX. Durable; blocks. */
must_check enum err live_rendition_begin(struct live *l, struct ulid video, const struct rendition *r);

struct rendition_made {
    const char *name;
    uint32_t number;     /* of the segment */
    uint32_t bytes;      /* of its object, which is in the store; 0: a gap */
    uint32_t init;       /* the source's init number */
    struct bytes record; /* the decoder configuration */
    const char *reason;  /* of a gap */
};

/* Lists one segment of a rendition, or the gap in its place. What is there already stays as it is: ERR_OK. ERR_MISSING: no such video,
 * rendition or segment. ERR_BAD: a record that cannot be read. Durable; blocks. */
must_check enum err live_rendition_made(struct live *l, struct ulid video, const struct rendition_made *m);

/* A chunk of a live source that is in the store, under live_chunk_name(). */
struct live_chunk {
    struct ulid video;
    uint32_t number; /* of its segment */
    unsigned index;
    bool last;               /* of its segment */
    bool discontinuity;      /* before its segment */
    int64_t wall_ms;         /* at its segment's start */
    int64_t start, duration; /* of its dts, in ticks of 1/90000 s */
    uint32_t init;           /* the source's init number, */
    struct codec_config config;
    struct buffer *record; /* and what that is of; whoever keeps it takes a reference */
    size_t size;
};

/* The object that holds a chunk of a live source until its segment is made: v/ID/source/000012.c3.m4s. */
const char *live_chunk_name(char name[SEGMENT_NAME_SIZE], struct ulid video, uint32_t number, unsigned index);

/* From now on chunks of live sources are stored as they come, and `told` of each, on pool threads and not always in order. One
 * that cannot be stored is not told of: its segment will be. Once, before anything is published; NULL: no more. */
void live_on_chunk(struct live *l, void (*told)(void *ctx, const struct live_chunk *c), void *ctx);

/* Shows one more part of a rendition: that of the chunk behind the newest one of that segment, or the first of a newer
 * segment. Its bytes are in the store (rendition_part_name()) until the segment is, and then in that. ERR_MISSING: no such video or
 * rendition, or it is not live. ERR_BAD: a part that does not follow, or a record that cannot be read. Not kept over a restart. Any
 * thread. */
must_check enum err live_rendition_part(struct live *l, struct ulid video, const char *rendition,
                                        const struct made_part *part, struct bytes record);

/* All that was to be made of this video has been made: live_unfinished() does not name it any more. Durable; blocks. */
must_check enum err live_finished(struct live *l, struct ulid video);

/* Calls `each` with every video that is not finished. Blocks. */
must_check enum err live_unfinished(struct live *l, void (*each)(void *ctx, struct ulid video), void *ctx);

/* The rendition of that name, or NULL; and its init segment of that number, or NULL. */
const struct rendition *video_view_rendition(const struct video_view *v, const char *name);
const struct init *rendition_init(const struct rendition *r, uint32_t number);

/* The object that holds a rendition's segment: v/ID/720p/000012.m4s. */
const char *rendition_segment_name(char name[SEGMENT_NAME_SIZE], struct ulid video, const char *rendition,
                                   const struct segment *s);

/* The object that holds a chunk of a rendition until its segment is whole: v/ID/720p/000012.3of0.m4s. */
const char *rendition_part_name(char name[SEGMENT_NAME_SIZE], struct ulid video, const char *rendition,
                                uint32_t number, unsigned chunk);

/* The object that holds a segment's or an init's bytes, and what a URL calls it:
 * v/ID/source/000012.m4s, v/ID/audio/init-1.mp4. */
const char *segment_name(char name[SEGMENT_NAME_SIZE], struct ulid video, enum track track,
                         const struct segment *s);
const char *track_rendition(enum track t); /* "source" or "audio" */

#endif
