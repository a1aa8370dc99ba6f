/* live/live_int.h - between the files of this room. What each one is for:
 *
 *   journal.c    makes samples durable, one log for all videos
 *   timeline.c   mends a publisher's clock into one timeline
 *   segmenter.c  turns samples into segments
 *   parts.c      how long parts are, and shelves of them
 *   chunk.c      chunks of what is live, as they come, for those who make renditions of them
 *   edge.c       what low-latency players see of a segment that is still open
 *   spool.c      brings finished segments to the store and the index, in order
 *   index.c      the rows of events and videos
 *   renditions.c what was made of the source: rows, and what views show of them
 *   video.c      a video in memory, and what players see of it
 *   health.c     how a stream does, in numbers and in words
 *   publish.c    publishers: who may, who is dead, what they sent
 *   hurry.c      publishers whose viewers want low latency
 *   follow.c     samples as they come, for those who do not wait for segments
 *   events.c     what producers do
 *   recover.c    what a crash left in the journal
 *   upload.c     files of recordings, until they are whole
 *   import.c     a whole file becomes a video
 *   live.c       opens and closes the room, keeps its lists, ends videos whose grace is over */
#ifndef MATINEE_LIVE_LIVE_INT_H
#define MATINEE_LIVE_LIVE_INT_H

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "live/live.h"

#include <pthread.h>

/* --- journal.c --------------------------------------------------------------------------------------- */

/* The journal is one append-only log of all videos, so that fifty publishers cost one fdatasync a turn and
 * not fifty. It is kept in files of JOURNAL_FILE_BYTES_MAX; a position is a byte count over all of them,
 * ever growing. It knows nothing of RTMP or of segments. */
struct journal;

enum record_kind {
    RECORD_SAMPLE = 1,  /* one access unit */
    RECORD_SEGMENT = 2, /* a segment opens: a struct segment_opening, from which replay can begin */
    RECORD_LEFT = 3,    /* the publisher is gone: what is open was finished */
    RECORD_FORGET = 4,  /* the video was deleted */
};

struct record {
    enum record_kind kind;
    struct ulid video;
    enum track track;
    bool keyframe;
    int64_t dts, pts;       /* ticks of the track */
    struct buffer *message; /* holds `payload`; referenced until written */
    struct bytes payload;
};

struct journal_events {
    /* Everything before `position` would survive a power loss. On the journal's thread. */
    void (*durable)(void *ctx, uint64_t position);
    /* ERR_OK: writing goes (on). Otherwise it does not, and is tried again. On the journal's thread. */
    void (*trouble)(void *ctx, enum err why);
};

/* Opens the folder `dir`, creating it where it is missing, and shows every whole record to `replay`, in
 * order; the first damaged one ends its file. Then starts a new file behind them. Blocks. */
must_check enum err journal_open(struct journal **out, const char *dir,
                                 void (*replay)(void *ctx, const struct record *r, uint64_t position),
                                 const struct journal_events *events, void *ctx);
/* Syncs what is queued, and stops. Blocks. Accepts NULL. */
void journal_close(struct journal *j);

/* Appends one record and returns its position, the log's length after it. Any thread; never blocks. */
uint64_t journal_append(struct journal *j, const struct record *r);
uint64_t journal_position(struct journal *j); /* the log's length now */
void journal_sync(struct journal *j);         /* now, without waiting for the group's turn */

/* Nothing before `position` is needed any more: whole files of it are removed. Blocks; any thread. */
void journal_release(struct journal *j, uint64_t position);

/* --- timeline.c -------------------------------------------------------------------------------------- */

/* A publisher's clock as it was for a while: raw times near `last` lie on it. */
struct epoch {
    int64_t last;   /* raw milliseconds, unwrapped */
    int64_t offset; /* timeline minus raw, ms */
};

struct timeline {
    bool begun;
    struct epoch now, before; /* both tracks share them, so that their distance is kept */
    bool has_before;
    int64_t begin_ms;        /* nothing of this publisher lies before it */
    int64_t furthest_ms;     /* on the timeline, over both tracks */
    int64_t before_until_ms; /* stragglers of the epoch before are not expected beyond it */
    struct {
        bool begun;
        int64_t last; /* ticks */
    } track[TRACK_COUNT];
    uint64_t gaps; /* resets and jumps that were mended, and sound that was missing */
};

/* A publisher begins: its first time stamp will lie at `position_ms`. */
void timeline_begin(struct timeline *t, int64_t position_ms);

/* Places a time stamp of a track. Ticks are of 1/90000 s for video and of `audio->rate` for audio; they
 * grow strictly within a track. */
int64_t timeline_place(struct timeline *t, enum track track, uint32_t raw_ms,
                       const struct codec_config *audio);

/* --- segmenter.c ------------------------------------------------------------------------------------- */

/* What opens a segment; also a record of the journal, with both configurations behind it. */
struct segment_opening {
    uint32_t number;
    bool discontinuity;
    bool joined;   /* it is the first of a publisher: what was open before ended with the one before */
    int64_t start; /* ticks of 1/90000 s */
    int64_t wall_ms;
    const struct init *init[TRACK_COUNT]; /* NULL: no such track yet */
    uint32_t part_90k[TRACK_COUNT];       /* no part is longer; 0: it has chunks and no parts */
};

/* A segment that is done: its description and its bytes. */
struct finished {
    struct list link;
    struct segment segment;
    struct buffer *bytes[TRACK_COUNT]; /* NULL where the track has nothing in it */
    struct shelf shelf; /* its parts, which have no bytes of their own where nobody asked for them */
    bool held;          /* the store has the bytes, for `bytes` has none any more */
    int64_t since_ms;   /* monotonic; when it was finished */
    uint64_t position;  /* of the journal: all that lies before it is in this segment or an earlier one */
};

void finished_free(struct finished *f);

struct segmenter;

struct segmenter_events {
    /* A segment is whole; it becomes the callee's. */
    void (*finished)(void *ctx, struct finished *f);
};

struct segmenter *segmenter_new(const struct segmenter_events *events, void *ctx);
void segmenter_free(struct segmenter *s); /* accepts NULL; what is open is thrown away */

/* Opens a segment; the one before it is finished as soon as its sound is all there. `position` is the
 * journal's before this opening. */
must_check enum err segmenter_open(struct segmenter *s, const struct segment_opening *o, uint64_t position);

/* Whether a video keyframe (or, without video, a sound) with this pts should open a segment. */
bool segmenter_wants_cut(const struct segmenter *s, int64_t pts_90k, int64_t segment_ms);

/* Adds a sample; `position` is the journal's before its record. A segment must be open. On failure a sample,
 * this or an earlier one, was refused by the muxer and is left out; all others are kept for segmenter_end(). */
must_check enum err segmenter_add(struct segmenter *s, enum track track, const struct sample *sample,
                                  uint64_t position);

/* Finishes everything that is open: the publisher is gone. `position` is the journal's now; *end_90k is
 * where the timeline stands then. On failure nothing is open either; samples that were refused are missing. */
must_check enum err segmenter_end(struct segmenter *s, uint64_t position, int64_t *end_90k);

/* What is open, as shelves that are the caller's: the newest one, and the one before it while that is not finished. */
size_t segmenter_shelves(struct segmenter *s, struct shelf out[2]);
/* The newest segment and the parts of its pictures that are ended, and the bytes they lie in; all of it the segmenter's, until
 * its next call. False: there are none. */
bool segmenter_pictures(const struct segmenter *s, struct shelf *out, struct bytes *bytes);
/* Grows whenever there is more than there was. */
uint64_t segmenter_changes(const struct segmenter *s);
/* How far apart pictures are on average, in ticks of 1/90000 s; 0 while not known. */
int64_t segmenter_distance(const struct segmenter *s);

/* The length of the first whole GOP, in ticks of 1/90000 s; 0 while not known. */
int64_t segmenter_first_gop(const struct segmenter *s);
/* Whether the open segment has grown to SEGMENT_BYTES_MAX: it is to be cut, keyframe or not. */
bool segmenter_is_full(const struct segmenter *s);

/* A part has at least so much of the length that was promised, unless it is a segment's last (RFC 8216bis §4.4.4.9). */
#define PART_PERCENT_MIN 85

/* --- parts.c ----------------------------------------------------------------------------------------- */

/* How long the parts of a track are to be, in ticks of 1/90000 s: of pictures so far apart, or of sounds like these. */
uint32_t parts_of_pictures(int64_t distance_90k);
uint32_t parts_of_sounds(const struct codec_config *config);

/* Gives every part its bytes; `of` are the segment's, as far as it has got. */
void shelf_fill(struct shelf *s, enum track track, struct bytes of);
struct shelf shelf_copy(const struct shelf *s);
void shelf_drop(struct shelf *s); /* frees what it holds */

/* --- edge.c ------------------------------------------------------------------------------------------ */

struct publication;
struct video;

/* Shows what has become of the open segment, to whom it may concern. On the publication's loop, without the lock. */
void edge_update(struct publication *p);
/* The same, whether or not somebody is known to watch. */
void edge_show(struct publication *p);
/* A segment of the video is done, and about to be shown: its last parts. On its publisher's loop, without the lock. */
void edge_finished(struct video *v, struct finished *f);
void edge_forget(struct video *v);       /* nobody watches with low latency; without the lock */
void edge_view_changed(struct video *v); /* with the lock held */
void edge_drop_done(struct video *v);    /* frees the shelves that are kept; with the lock held */

/* --- chunk.c ----------------------------------------------------------------------------------------- */

/* How far a segment has been told of. */
struct chunking {
    bool begun;
    uint32_t number;
    size_t from;    /* the part that the next chunk begins with */
    unsigned count; /* chunks before that */
};

/* Tells of the chunks that are whole by now; of a finished segment, of all that are left. On the publisher's loop, without the
 * lock. */
void chunk_update(struct video *v);
void chunk_finished(struct video *v, const struct finished *f);

/* --- health.c ---------------------------------------------------------------------------------------- */

#define PULSE_SECONDS 10

/* A ring of the last seconds of a stream, by the wall. On the publisher's loop. */
struct pulse {
    int64_t since_ms; /* wall clock */
    int64_t second;   /* monotonic, of the newest place */
    struct {
        uint64_t bytes;
        uint32_t pictures;
    } ring[PULSE_SECONDS];
    int64_t last_key_90k; /* -1: none yet */
    int64_t key_distance_90k;
};

void pulse_begin(struct pulse *p);
/* Counts a message; true when a second is over and pulse_read() has news. */
bool pulse_count(struct pulse *p, size_t bytes, enum track track, bool keyframe, int64_t pts_90k);
void pulse_read(const struct pulse *p, const struct codec_config config[TRACK_COUNT], double gop_s_max,
                struct health *out);

/* --- follow.c ---------------------------------------------------------------------------------------- */

/* What a video has for its followers. */
struct hub {
    pthread_mutex_t lock;
    struct list followers;
    struct followed *items; /* since the newest keyframe; none while there is none */
    size_t count, room, bytes;
    struct {
        struct codec_config config;
        struct buffer *record; /* NULL: not known yet */
    } track[TRACK_COUNT];
};

void hub_init(struct hub *h);
void hub_drop(struct hub *h);                     /* ends it, and frees what it holds */
void hub_join(struct hub *h, struct follower *f); /* both with the room's lock held */
void hub_leave(struct hub *h, struct follower *f);
/* A sample has come; `record` is its track's configuration, the same buffer as long as that is the same. */
void hub_sample(struct hub *h, enum track track, const struct codec_config *config, struct buffer *record,
                const struct sample *s);
void hub_break(struct hub *h); /* the publisher is gone */
void hub_end(struct hub *h);   /* nobody comes back */

/* --- the lists --------------------------------------------------------------------------------------- */

/* The publications of one loop: a list that only this loop touches. */
struct berth {
    struct live *live;
    struct loop *loop;
    struct list publications;
    atomic_size_t count;
};

struct publication {
    struct list link; /* on its berth's list */
    struct live *live;
    struct berth *berth;
    uint64_t serial; /* tells it from a later one at the same place in memory */
    const struct publisher_events *events;
    void *ctx;
    uint8_t key_hash[ACCESS_HASH_SIZE];
    struct timer attempt; /* while it waits for its place */
    int64_t arrived_ms;
    _Atomic int64_t heard_ms; /* read by whoever wants its place */
    struct event *event;      /* NULL until granted */
    struct video *video;      /* NULL until the first sample */
    bool held;                /* its socket is not read from */
    const char *warned;       /* what keeps its recording from going on, as it was told; NULL: nothing */
    bool opened;              /* it has opened a segment */
    bool has_key;             /* a keyframe has come */
    uint64_t shown_changes;   /* the segmenter's, when its edge was shown last */
    bool hurried;             /* somebody watches with low latency, and the publisher was told */
    struct timer calm;        /* looks whether that is still so */
    struct timeline timeline;
    struct codec_config config[TRACK_COUNT]; /* codec CODEC_NONE until it came */
    struct buffer *record[TRACK_COUNT];
    bool config_changed; /* the next keyframe opens a segment */
    const struct init *init[TRACK_COUNT];
    struct pulse pulse;
};

struct event {
    struct ulid id;
    char *title;
    enum event_access access;
    bool ended;
    bool row_ended; /* what its row said when it was last read or written */
    bool closed;    /* it is being deleted: its key opens nothing any more */
    int64_t starts_at_ms, created_at_ms;
    struct ulid inventory;
    struct screen_rule screens;
    uint8_t key_hash[ACCESS_HASH_SIZE];
    struct publication *publication; /* NULL: nobody publishes */
    struct video *video;             /* the newest one, or NULL */
    struct health health;
    struct upload *upload; /* NULL: nobody uploads */
    char *upload_problem;  /* what was wrong with the last one; NULL: nothing */
};

struct video {
    struct ulid id;
    struct live *room;
    struct event *event;
    struct ulid home; /* the server it was published to; zero: this one */
    bool live;
    bool away;       /* live on another server, its home; here it is neither live nor written */
    bool unsettled;  /* another server may still add to it: what was loaded of it gets old */
    bool publishing; /* somebody has it */
    bool pins;       /* the journal's records of it are needed: something is not stored */
    int64_t created_at_ms;
    int64_t ends_at_ms;      /* monotonic; the grace's end while nobody publishes; 0: somebody does */
    struct video_view *view; /* NULL: has to be loaded */
    int64_t view_used_ms, view_loaded_ms;
    struct hub hub;                        /* has a lock of its own */
    _Atomic int64_t hurried_until_ms;      /* monotonic; somebody watches with low latency */
    struct edge *edge;                     /* NULL: nobody has asked for it; under the room's lock */
    struct shelf done[LIVE_PART_SEGMENTS]; /* of the newest segments that are done; under the room's lock */
    size_t done_count;
    uint32_t part_90k[TRACK_COUNT]; /* chosen once; 0: not yet; under the room's lock */
    uint32_t chunk_90k; /* no chunk is longer; 0: not known, or they are irregular; under the room's lock */
    bool chunks_irregular;
    /* Only while live, and then on the publisher's loop: */
    struct segmenter *segmenter;
    struct replay *replay; /* only while the room opens */
    uint32_t next_number;  /* of the segment that opens next */
    int64_t position_90k;  /* where the timeline stands while nobody publishes */
    struct chunking
        chunking[2];        /* of the open segment, and of the one before it while that is not finished */
    uint64_t chunk_changes; /* the segmenter's, when they were looked at last */
    /* Under the room's lock: */
    struct init **inits[TRACK_COUNT];
    size_t init_count[TRACK_COUNT];
    uint32_t target_duration_s;
    struct rendition *renditions; /* as long as there is a view; `made` is as long as its segments */
    size_t rendition_count;
    uint64_t rendition_changes; /* a load that overlaps one is repeated */
    struct list active;         /* on live->active while it is live or has something to store */
    struct list spool;          /* finished segments that are not stored */
    bool spooling;              /* a thread is at it */
    bool spool_fails;           /* it was said that a segment could not be stored */
    bool has_row;               /* its row is there; */
    bool row_to_tell,
        end_to_tell; /* it must be written before there is a segment; it must be told that the video ended */
    uint64_t row_since;   /* the room's readings when that was found */
    uint64_t needed_from; /* the journal's position from which it would have to be replayed, */
                          /* as long as somebody publishes or something waits to be stored */
    /* Of an upload; such a video has nothing in the journal: */
    uint64_t upload_bytes; /* of its file; 0: it was published */
    int64_t segment_ms;    /* as it was when the import began: it may begin again with other options */
    bool importing;        /* live, and made by import.c */
    _Atomic bool import_cancelled; /* it is being deleted */
};

struct live {
    struct live_options options;
    char *data_dir;
    struct journal *journal;
    struct recovery *recovery;              /* only while the room opens */
    pthread_mutex_t lock;                   /* guards the lists, events, and what is marked in struct video */
    pthread_cond_t changed;                 /* a spool is empty, a publication is gone */
    pthread_mutex_t change_lock;            /* held over a whole change of an event, its row included */
    struct map *events;                     /* by id, 16 bytes */
    struct map *keys;                       /* events by key hash */
    struct map *videos;                     /* by id */
    struct ulid *event_order, *video_order; /* ascending, so newest last */
    size_t event_count, video_count;
    struct map *deleted;       /* ids of what was deleted here, while other servers may still list it */
    struct ulid server;        /* who we are */
    int64_t catalog_version;   /* under change_lock */
    _Atomic uint64_t readings; /* of the catalog */
    struct peer *peers;
    _Atomic size_t peer_count;
    unsigned looks;     /* so often was looked for others */
    struct timer look;  /* on the first loop */
    struct list active; /* videos that are live or have something to store */
    unsigned berth_count;
    struct berth *berths; /* one a loop */
    size_t publication_count;
    _Atomic uint64_t serials;
    _Atomic uint64_t durable; /* the journal's */
    _Atomic bool disk_full;
    _Atomic bool spool_full; /* so much waits for the store that publishers have to */
    void (*changed_told)(void *ctx, struct ulid video); /* NULL: nobody wants to know */
    void *changed_ctx;
    void (*edge_told)(void *ctx, struct ulid video); /* NULL: nobody wants to know */
    void *edge_ctx;
    void (*chunk_told)(void *ctx, const struct live_chunk *c); /* NULL: nobody wants to know */
    void *chunk_ctx;
    unsigned chunks_waiting; /* for the store */
    struct {
        pthread_t thread;
        bool runs;
        struct video *video; /* in hand, by the lock; not to be freed meanwhile */
    } importer;
    struct timer tick; /* on the first loop */
    _Atomic bool draining;
    bool drained; /* the pool is about to end: nothing is given to it any more */
};

/* live.c: with the lock held, or before anybody else is there. */
struct event *live_find_event(const struct live *l, struct ulid id); /* NULL: none */
struct video *live_find_video(const struct live *l, struct ulid id);
void live_add_event(struct live *l, struct event *e);
void live_add_video(struct live *l, struct video *v);     /* becomes its event's newest */
void live_remove_event(struct live *l, struct event *e);  /* frees it */
void live_forget_view(struct video *v);                   /* it is loaded again when somebody wants it */
void live_remove_video(struct live *l, struct video *v);  /* frees it */
void live_end_video(struct live *l, struct video *v);     /* nobody publishes it */
void live_abandon_video(struct live *l, struct video *v); /* not live any more, to be deleted */
void live_release_journal(struct live *l);                /* without the lock; blocks */

/* video.c */
struct video *video_new(struct live *l, struct event *e, struct ulid id);
void video_free(struct video *v);
void video_has_row(struct video *v); /* from now on; any thread */
/* Adds an init segment, the newest of its track from now on. With the lock held once others see the video. */
enum err video_add_init(struct video *v, enum track track, const struct codec_config *config,
                        struct bytes record);
const struct init *video_newest_init(const struct video *v, enum track track); /* NULL: none */
/* Publishes a new view: with one more segment (or NULL), or with the segments loaded. With the lock held. */
void video_show(struct video *v, const struct segment *added);
void video_show_loaded(struct video *v, const struct segment *segments, size_t count);

/* renditions.c */
void renditions_free(struct rendition *r, size_t count);
/* A deep copy, `made` of `segment_count` each and `shown` counted anew over `segments`. */
struct rendition *renditions_copy(const struct rendition *from, size_t count, size_t made_count,
                                  const struct segment *segments, size_t segment_count);
/* Gives `v` the renditions of its rows, for these segments. Blocks. */
must_check enum err renditions_load(struct db *d, struct video *v, const struct segment *segments,
                                    size_t count);
void renditions_tell(struct live *l, struct ulid video); /* live_on_change(); without the lock */

/* upload.c */
/* Opens the file of an uploaded video for reading; -1: it is not there. */
int upload_file(struct live *l, struct ulid video);
void upload_remove_file(struct live *l, struct ulid video);
/* Removes what was uploaded to the event, whole or not. */
void upload_forget(struct live *l, struct ulid event);
/* While the room opens: makes the folder, and removes files that nobody needs any more. */
must_check enum err upload_sweep(struct live *l);
void upload_view_of(const struct event *e, struct upload_view *out); /* with the lock held */

/* import.c */
void import_start(struct live *l); /* the thread that imports, one video at a time */
/* Ends it; what is under way is taken up again at the next start. Blocks. Harmless when it does not run. */
void import_stop(struct live *l);
/* With the lock held: ends the import of a video that is to be deleted. It is not live afterwards. */
void import_cancel(struct live *l, struct video *v);

/* catalog.c */

/* Another server over the same database. */
struct peer {
    struct ulid id;
    char url[LIVE_URL_SIZE];
    int64_t beat;   /* grows as long as it lives */
    unsigned still; /* for so many looks it has not */
};

/* While the room opens: lists what there is. Blocks. */
enum err catalog_open(struct live *l, char why[256]);
/* With change_lock held: takes over what other servers have changed until now. Blocks. */
enum err catalog_now(struct live *l);
/* A video that was taken out of the lists has its rows still, for all we know: it comes back with the next look, if it has. Takes both locks. */
void catalog_bring_back(struct live *l, struct ulid video);
/* With the lock held: whether a server lives, and whether an event is live on one that does. */
bool catalog_is_heard(const struct live *l, struct ulid server);
bool catalog_is_elsewhere(const struct live *l, const struct event *e);

/* events.c: with the lock held. Takes over what differs in `copy`, which then has what was there before. */
void live_adopt_event(struct live *l, struct event *e, struct event *copy);
enum err live_end_publishing(struct live *l, struct ulid id); /* without the lock; blocks */
void event_free(struct event *e);                             /* accepts NULL */

/* index.c: rows. All block. */
enum err index_catalog_changes(struct db *tx); /* in a transaction that changes what other servers list */
enum err index_add_event(struct db *d, const struct event *e);
enum err index_change_event(struct db *d, const struct event *e);
enum err index_remove_event(struct db *d, struct ulid id);
enum err index_add_video(struct db *d, const struct video *v);
/* The video of an upload, to be imported; its event has no upload's problem any more. */
enum err index_add_import(struct db *d, const struct video *v);
enum err index_fail_import(struct db *d, struct ulid event, const char *problem);
enum err index_finish_ladder(struct db *d, const char *video); /* nothing more is made of it */
enum err index_end_video(struct db *d, struct ulid id, int64_t wall_ms);
enum err index_remove_video(struct db *d, struct ulid id);
enum err index_add_segment(struct db *d, const struct video *v, const struct segment *s,
                           const struct init *const init[TRACK_COUNT]);
/* Gives `v` its init segments and returns its segments, to be freed by the caller. */
enum err index_load_video(struct db *d, struct video *v, struct segment **segments, size_t *count);

/* spool.c */
/* Takes over a finished segment: players see it at once, the store and the index get it in order. */
void spool_add(struct live *l, struct video *v, struct finished *f);
void spool_hold(struct live *l, const struct video *v,
                struct finished *f);              /* gives its bytes to the store to hold */
void spool_kick(struct live *l, struct video *v); /* with the lock held: sees to it that a thread is at it */
void spool_watch(struct live *l); /* now and then, without the lock: gauges, and whether it is full */
/* Stores and indexes one segment, the video's row first. Blocks. */
must_check enum err spool_store(struct live *l, struct video *v, const struct finished *f);
/* The target duration of a video whose first segment is `s`. */
uint32_t spool_target_duration(int64_t segment_ms, int64_t first_gop_90k, const struct segment *s);

/* recover.c */
struct recovery;
struct recovery *recovery_new(struct live *l);
void recovery_record(void *ctx, const struct record *r, uint64_t position);
must_check enum err recovery_finish(struct recovery *r); /* frees it; blocks */
/* A segment opening as a record's payload, and back. */
struct buffer *opening_write(struct ulid event, const struct segment_opening *o);

/* hurry.c */
/* It has taken its video, which may be hurried already. On its loop. */
void hurry_begin(struct publication *p);

/* publish.c */
/* Calls `call` with the publication on its loop, if it is there still. Any thread, with the lock held. */
void publication_post(struct publication *p, void (*call)(struct publication *p, const char *text),
                      const char *text);
void publish_finished(void *ctx, struct finished *f); /* a segmenter's event; ctx is the video */
void publication_evict(struct publication *p,
                       const char *text);                /* any thread, with the lock held; `text` static */
void publish_durable(struct live *l, uint64_t position); /* the journal's thread */
void publish_trouble(struct live *l, enum err why);      /* the journal's thread */
void publish_spool_changed(struct live *l);              /* any thread: it is full, or not any more */

#endif
