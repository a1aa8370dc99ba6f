/* ladder/recording_child.c - the process that reads an uploaded recording: merges its tracks by time, mends their clocks
 * into one timeline from 0, and writes frames to standard output. */
#include "ladder/child_int.h"
#include "ladder/recording_int.h"

#include "base/limits.h"

#include <libavutil/log.h>
#include <libavutil/mathematics.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reading 256 GB of MPEG-TS, twice, takes twenty minutes of a slow core. */
#define CPU_SECONDS_MAX 7200
/* The index of two days at 60 pictures a second is 700 MB, in each of two readers; most is never touched. */
#define MEMORY_BYTES_MAX ((size_t)2 << 30)

#define OUT_BYTES 65536
/* A clock that goes back by more than this was reset; less is damage to a single stamp. */
#define BACK_MS_MAX 1000
/* How far a sound's stamp may lie from where the one before it ends, and still be taken as rounded: Matroska and FLV
 * count milliseconds. */
#define AUDIO_ROUNDING_MS 16
/* Resets of the clock in one file: a camera that was switched off and on again all day. */
#define RESETS_MAX 1000
/* Beyond this a stamp is damaged, and no sum of two such can overflow. */
#define STAMP_MAX ((int64_t)1 << 52)

/* One track on its way out. */
struct lane {
    struct track_reader *reader;
    int64_t rate; /* ticks a second */
    bool has;     /* `packet` waits for its turn */
    struct track_packet packet;
    int64_t dts, pts;       /* of `packet`, on the timeline */
    bool begun;             /* there was one before it */
    int64_t last, expected; /* the dts of the one before, and where it ends; on the timeline */
    int64_t raw_next;       /* the same in the file's own times */
    size_t epoch;           /* how many resets it has passed */
};

struct recording {
    struct lane lane[TRACK_COUNT];
    /* By epoch: timeline minus the file's times, in 1/90000 s. Shared by the tracks, so that their distance is kept. */
    int64_t offset[RESETS_MAX + 1];
    size_t epoch; /* the newest */
    int64_t furthest_90k;
    struct builder out;
    char why[RECORDING_WHY_SIZE];
};

/* --- saying --------------------------------------------------------------------------------------------- */

static enum err flush(struct recording *r)
{
    enum err e = child_write(builder_bytes(&r->out));

    builder_drop(&r->out);
    return e;
}

static enum err say(struct recording *r, const struct recording_frame *f)
{
    recording_frame_write(&r->out, f);
    return builder_bytes(&r->out).size >= OUT_BYTES || f->kind != FRAME_SAMPLE ? flush(r) : ERR_OK;
}

/* Says why the file is refused; a failure of ours stays one. */
static enum err say_end(struct recording *r, enum err e)
{
    struct recording_frame f = {.kind = FRAME_END};

    if (e == ERR_BAD || e == ERR_UNSUPPORTED || e == ERR_LIMIT) {
        for (char *c = r->why; *c != '\0'; c++)
            if (*c < ' ' || *c > '~')
                *c = '?';
        f = (struct recording_frame){.kind = FRAME_REFUSED, .e = e, .why = bytes_text(r->why)};
        e = ERR_OK;
    }
    return e == ERR_OK ? say(r, &f) : e;
}

/* --- times ---------------------------------------------------------------------------------------------- */

static int64_t to_90k(const struct lane *l, int64_t ticks)
{
    return av_rescale_rnd(ticks, CMAF_VIDEO_TIMESCALE, l->rate, AV_ROUND_DOWN);
}

static int64_t from_90k(const struct lane *l, int64_t ticks)
{
    return av_rescale_rnd(ticks, l->rate, CMAF_VIDEO_TIMESCALE, AV_ROUND_DOWN);
}

/* The first track to pass a reset says where the timeline goes on; the other follows it. */
static enum err pass_resets(struct recording *r, struct lane *l)
{
    int64_t jump = l->packet.dts - l->raw_next;
    bool is_reset = jump < -BACK_MS_MAX * l->rate / 1000 ||
                    (jump > TIMESTAMP_JUMP_MS_MAX * l->rate / 1000 && track_resets(l->reader));

    if (!l->begun || !is_reset)
        return ERR_OK;
    if (l->epoch == RESETS_MAX) {
        snprintf(r->why, sizeof r->why, "its clock is reset again and again");
        return ERR_LIMIT;
    }
    if (++l->epoch > r->epoch) {
        r->epoch = l->epoch;
        r->offset[r->epoch] = r->furthest_90k - to_90k(l, l->packet.dts);
    }
    return ERR_OK;
}

static bool is_sane(int64_t stamp)
{
    return stamp > -STAMP_MAX && stamp < STAMP_MAX;
}

/* Finds the place of the packet that waits. dts grow strictly, and no picture is shown before it is decoded. */
static enum err place(struct recording *r, struct lane *l)
{
    struct track_packet *p = &l->packet;
    bool is_audio = l == &r->lane[TRACK_AUDIO];
    int64_t offset, composition_max = COMPOSITION_MS_MAX * l->rate / 1000;
    enum err e = pass_resets(r, l);

    if (e != ERR_OK)
        return e;
    offset = from_90k(l, r->offset[l->epoch]);
    l->dts = p->dts + offset;
    if (is_audio && l->begun && llabs(l->dts - l->expected) <= AUDIO_ROUNDING_MS * l->rate / 1000)
        l->dts = l->expected;
    if (l->begun && l->dts <= l->last)
        l->dts = l->last + 1;
    if (l->dts < 0)
        l->dts = 0;
    l->pts = is_audio || p->pts + offset < l->dts ? l->dts : p->pts + offset;
    if (l->pts - l->dts > composition_max)
        l->pts = l->dts + composition_max;
    if (l->pts > RECORDING_SECONDS_MAX * l->rate) {
        snprintf(r->why, sizeof r->why, "it is longer than %d hours", RECORDING_SECONDS_MAX / 3600);
        return ERR_LIMIT;
    }
    return ERR_OK;
}

/* --- tracks --------------------------------------------------------------------------------------------- */

/* Reads the next packet of a track, without its place on the timeline. */
static enum err fetch(struct recording *r, struct lane *l)
{
    enum err e = l->reader ? track_next(l->reader, &l->packet, r->why) : ERR_MISSING;

    l->has = e == ERR_OK;
    if (e == ERR_OK && (!is_sane(l->packet.dts) || !is_sane(l->packet.pts) || !is_sane(l->packet.duration) ||
                        l->packet.payload.size > RTMP_MESSAGE_BYTES_MAX)) {
        snprintf(r->why, sizeof r->why, "its times or sizes are damaged");
        return ERR_BAD;
    }
    return e == ERR_MISSING ? ERR_OK : e;
}

static enum err open_lane(struct recording *r, enum track t)
{
    struct lane *l = &r->lane[t];
    struct recording_frame f = {.kind = FRAME_TRACK, .recorded = {.track = t}};
    struct codec_config config;
    const char *why;
    enum err e = track_open(&l->reader, STDIN_FILENO, t, r->why);

    if (e != ERR_OK || l->reader == NULL)
        return e;
    f.recorded.payload = track_record(l->reader, &f.recorded.codec);
    if ((e = codec_config_parse(&config, f.recorded.codec, f.recorded.payload, &why)) != ERR_OK)
        return e;
    l->rate = t == TRACK_AUDIO ? config.rate : CMAF_VIDEO_TIMESCALE;
    if ((e = fetch(r, l)) != ERR_OK || !l->has) /* a track without a packet is none */
        return e;
    return say(r, &f);
}

/* Gives out what waits in a track and fetches the next. */
static enum err give(struct recording *r, enum track t)
{
    struct lane *l = &r->lane[t];
    const struct recording_frame f = {.kind = FRAME_SAMPLE,
                                      .recorded = {.track = t,
                                                   .keyframe = l->packet.keyframe,
                                                   .dts = l->dts,
                                                   .pts = l->pts,
                                                   .payload = l->packet.payload}};
    enum err e = say(r, &f);

    l->begun = true;
    l->last = l->dts;
    l->expected = l->dts + l->packet.duration;
    l->raw_next = l->packet.dts + l->packet.duration;
    if (to_90k(l, l->expected) > r->furthest_90k)
        r->furthest_90k = to_90k(l, l->expected);
    if (e == ERR_OK)
        e = fetch(r, l);
    return e == ERR_OK && l->has ? place(r, l) : e;
}

/* The timeline begins with the file's first stamp, of whichever track. */
static enum err begin(struct recording *r)
{
    int64_t first = INT64_MAX;
    enum err e = ERR_OK;

    for (int t = 0; t < TRACK_COUNT; t++)
        if (r->lane[t].has && to_90k(&r->lane[t], r->lane[t].packet.dts) < first)
            first = to_90k(&r->lane[t], r->lane[t].packet.dts);
    r->offset[0] = -first;
    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++)
        if (r->lane[t].has)
            e = place(r, &r->lane[t]);
    return e;
}

static enum err read_all(struct recording *r)
{
    const struct lane *video = &r->lane[TRACK_VIDEO], *audio = &r->lane[TRACK_AUDIO];
    enum err e = ERR_OK;

    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++)
        e = open_lane(r, (enum track)t);
    if (e == ERR_OK && !video->has && !audio->has) {
        snprintf(r->why, sizeof r->why, "there is neither picture nor sound in it");
        e = ERR_BAD;
    }
    if (e == ERR_OK)
        e = begin(r);
    while (e == ERR_OK && (video->has || audio->has)) {
        bool is_video = video->has && (!audio->has || to_90k(video, video->dts) <= to_90k(audio, audio->dts));

        e = give(r, is_video ? TRACK_VIDEO : TRACK_AUDIO);
    }
    return e;
}

int recording_child(void)
{
    static struct recording r;
    enum err e;

    av_log_set_level(AV_LOG_QUIET);
    if (sandbox_enter(CPU_SECONDS_MAX, MEMORY_BYTES_MAX, SANDBOX_ONE_THREAD) != ERR_OK)
        return 1;
    e = say_end(&r, read_all(&r));
    for (int t = 0; t < TRACK_COUNT; t++)
        track_close(r.lane[t].reader);
    builder_drop(&r.out);
    return e == ERR_OK ? 0 : 1;
}
