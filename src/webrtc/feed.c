/* webrtc/feed.c - one live video as packets, for as long as somebody watches.
 *
 * It follows the video (live/live.h), cuts each picture into packets once, and has them sent to its viewers. Browsers show
 * pictures in the order they come and know no B-frames: such as nothing depends on are left out, and where that is not
 * enough the video cannot be had this way. */
#include "webrtc/room_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/random.h"

#include <stdlib.h>

#define SOUND_RATE 48000
/* Sound that came longer ago than this when the feed began is not converted: it was there before anybody listened. */
#define SOUND_OLD_US 200000
/* What is converted is there with what was given last, but for what does not fill a packet, and a packet to begin with. */
#define SOUND_FLOW_48K (2 * 960)
/* A viewer who catches up is looked at so often. */
#define PUMP_MS 8
/* An offer waits so long for a publisher who is about to send. */
#define PATIENCE_MS 1000
/* A feed without viewers goes on for so long: who reloads the page finds it running. */
#define REST_MS 3000

METRIC_HISTOGRAM_OF(
    added_us, "matinee_webrtc_added_microseconds",
    "From a picture's last byte received to its last packet given to the kernel, over all viewers", "track",
    250, 500, 1000, 2000, 3000, 4000, 5000, 10000, 20000, 50000, 100000);
/* --- sending ------------------------------------------------------------------------------------------- */

static void pump(void *ctx)
{
    feed_flush(ctx);
}

void feed_flush(struct feed *f)
{
    int64_t now = clock_mono_ms();
    bool behind = false;

    list_each(&f->viewers, at, after)
    {
        behind |= viewer_send_pictures(container_of(at, struct viewer, link), now);
    }
    outbox_flush(&f->room->outbox);
    if (behind)
        timer_start(f->room->loop, &f->pump, PUMP_MS, pump, f);
}

static void second(void *ctx)
{
    struct feed *f = ctx;
    int64_t now = clock_mono_ms();

    live_video_hurry(f->room->options.live, f->video);
    server_trim(f->room, now);
    for (int i = 0; i < QUALITIES; i++)
        pictures_second(&f->pictures[i]);
    low_second(f, now);
    list_each(&f->viewers, at, after)
    {
        viewer_report(container_of(at, struct viewer, link), now);
    }
    timer_start(f->room->loop, &f->second, 1000, second, f);
}

/* --- clocks -------------------------------------------------------------------------------------------- */

static void anchor(struct feed *f, const struct followed *what, int64_t ticks, uint32_t rate)
{
    if (f->anchored || rate == 0)
        return;
    f->anchored = true;
    f->anchor_us = clock_wall_ms() * 1000 - (clock_mono_us() - what->received_us) - ticks * 1000000 / rate;
}

uint32_t feed_timestamp(const struct feed *f, bool sound, int64_t wall_us)
{
    int64_t media_us = wall_us - f->anchor_us;

    return sound ? (uint32_t)(media_us * SOUND_RATE / 1000000) + f->sound_shift
                 : (uint32_t)(media_us * 9 / 100) + f->video_shift;
}

/* --- pictures ------------------------------------------------------------------------------------------- */

static void told(void *ctx, const struct followed *what);

/* Pictures turned out to want encoding: everything since the keyframe comes once more, for the encoder this time. */
static void follow_again(void *ctx)
{
    struct feed *f = ctx;

    live_unfollow(f->follower);
    f->hears = false; /* what comes again was heard */
    f->follower = live_follow(f->room->options.live, f->video, f->room->loop, told, f);
    pictures_break(&f->pictures[QUALITY_FULL]);
    list_each(&f->viewers, at, after)
    {
        struct viewer *v = container_of(at, struct viewer, link);

        if (v->has == QUALITY_FULL)
            v->cursor = RING_NONE;
    }
    if (f->follower == NULL) /* it has ended meanwhile, and told the follower that was */
        feed_free(f);
}

/* A picture that comes too late for a browser's order is left out; where others depend on it, all are encoded anew. */
static bool is_in_order(struct feed *f, const struct sample *s)
{
    struct pictures *p = &f->pictures[QUALITY_FULL];

    if (pictures_in_order(p, s))
        return true;
    f->drops = true;
    if (!f->encodes && h264_is_reference(&p->sets, s->payload)) {
        f->encodes = true;
        timer_start(f->room->loop, &f->turn, 0, follow_again, f);
    }
    return false;
}

static void take_picture(struct feed *f, const struct sample *s)
{
    struct pictures *p = &f->pictures[QUALITY_FULL];

    p->awaits_key = p->awaits_key && !s->keyframe;
    if (!p->awaits_key && is_in_order(f, s))
        pictures_add(p, s, f->video_shift);
}

void feed_wish(struct feed *f, struct viewer *v, enum quality wants)
{
    v->wants = wants;
    v->held = false;
    if (wants == QUALITY_LOW)
        low_begin(f);
}

/* --- sound ----------------------------------------------------------------------------------------------- */

static void take_sound(struct feed *f, int64_t pts_48k, struct bytes payload)
{
    uint64_t index = f->sounds++;

    list_each(&f->viewers, at, after)
    {
        viewer_send_sound(container_of(at, struct viewer, link), index, (uint32_t)pts_48k + f->sound_shift,
                          payload);
    }
    outbox_flush(&f->room->outbox);
}

static void send_early(void *ctx)
{
    struct feed *f = ctx;
    struct buffer *early = f->early;

    timer_stop(&f->early_due);
    if (early == NULL)
        return;
    f->early = NULL;
    take_sound(f, f->early_pts, buffer_bytes(early));
    buffer_unref(early);
}

/* One that comes while another waits sends that off. */
static void pace_sound(struct feed *f, int64_t pts_48k, struct bytes payload)
{
    int64_t wait_ms = pace_wait_us(&f->pace, clock_mono_us(), pts_48k * 1000000 / SOUND_RATE) / 1000;

    send_early(f);
    if (wait_ms == 0) {
        take_sound(f, pts_48k, payload);
        return;
    }
    f->early = buffer_copy(payload);
    f->early_pts = pts_48k;
    timer_start(f->room->loop, &f->early_due, wait_ms, send_early, f);
}

/* --- what is converted ------------------------------------------------------------------------------------- */

/* While the companion starts, sound waits for it, and then comes at once. A browser that hears such a rush keeps everything back for long. */
static void take_converted(struct feed *f, const struct companion_frame *c)
{
    if (f->waited_48k == INT64_MIN)
        f->waited_48k = f->given_48k;
    if (c->pts > f->waited_48k - SOUND_FLOW_48K)
        pace_sound(f, c->pts, c->payload);
}

/* What came of the companion: sound, or pictures and what a decoder must know of them. */
static void made(void *ctx, const struct companion_frame *c)
{
    struct feed *f = ctx;
    struct sample s = {.payload = c->payload, .dts = c->dts, .pts = c->pts, .keyframe = c->keyframe};

    if (c->codec == CODEC_OPUS && c->kind == COMPANION_SAMPLE) {
        take_converted(f, c);
    } else if (c->codec == CODEC_H264 && c->kind == COMPANION_TRACK) {
        pictures_made_record(&f->pictures[QUALITY_FULL], c->payload);
    } else if (c->codec == CODEC_H264 && f->pictures[QUALITY_FULL].made_record != NULL) {
        take_picture(f, &s);
        feed_flush(f);
    }
}

static void start_companions(void *ctx);

static void gone(void *ctx)
{
    struct feed *f = ctx;

    for (int t = 0; t < TRACK_COUNT; t++)
        if (f->companion[t] != NULL && companion_is_gone(f->companion[t])) {
            companion_free(f->companion[t]);
            f->companion[t] = NULL;
        }
    timer_start(f->room->loop, &f->companion_rest, COMPANION_REST_MS, start_companions, f);
}

static bool is_converted(const struct feed *f, enum track t)
{
    return t == TRACK_AUDIO ? f->config[t].codec == CODEC_AAC
                            : f->encodes && f->config[t].codec != CODEC_NONE;
}

static void give_track(struct feed *f, enum track t)
{
    if (f->companion[t] != NULL && f->record[t] != NULL)
        (void)companion_give(f->companion[t],
                             &(struct companion_frame){.kind = COMPANION_TRACK,
                                                       .codec = f->config[t].codec,
                                                       .rate = f->config[t].rate,
                                                       .payload = buffer_bytes(f->record[t])});
    f->companion_starves[t] = t == TRACK_VIDEO;
    if (t == TRACK_AUDIO)
        f->waited_48k = INT64_MIN;
}

/* Starts what is wanted and not there. The picture's gets what comes from the next keyframe on, or from the last where it all comes again. */
static void start_companions(void *ctx)
{
    static const struct companion_events events = {made, gone};
    struct feed *f = ctx;

    for (int t = 0; t < TRACK_COUNT; t++) {
        if (f->companion[t] != NULL || !is_converted(f, (enum track)t))
            continue;
        f->companion[t] = companion_new(f->room->loop, f->room->options.program, &events, f);
        give_track(f, (enum track)t);
    }
}

/* Where one sample is missing the rest of its GOP would be damage. */
static void convert(struct feed *f, enum track t, const struct sample *s)
{
    if (f->companion[t] == NULL || (f->companion_starves[t] && !s->keyframe))
        return;
    if (t == TRACK_AUDIO)
        f->given_48k = s->pts * SOUND_RATE / f->config[t].rate;
    f->companion_starves[t] =
        !companion_give(f->companion[t], &(struct companion_frame){.kind = COMPANION_SAMPLE,
                                                                   .codec = f->config[t].codec,
                                                                   .keyframe = s->keyframe,
                                                                   .dts = s->dts,
                                                                   .pts = s->pts,
                                                                   .payload = s->payload});
}

static void end_companions(struct feed *f)
{
    timer_stop(&f->companion_rest);
    for (int t = 0; t < TRACK_COUNT; t++) {
        companion_free(f->companion[t]);
        f->companion[t] = NULL;
    }
}

/* --- what comes of the video ------------------------------------------------------------------------------ */

static void answer_offers(void *ctx);

static void take_track(struct feed *f, const struct followed *what)
{
    buffer_unref(f->record[what->track]);
    f->record[what->track] = buffer_ref(what->record);
    f->config[what->track] = what->config;
    if (what->track == TRACK_VIDEO) {
        f->pictures[QUALITY_FULL].awaits_key = true;
        f->encodes |= what->config.codec != CODEC_H264;
        if (!f->encodes && !pictures_record(&f->pictures[QUALITY_FULL], buffer_bytes(what->record),
                                            what->config.width, what->config.height))
            f->config[TRACK_VIDEO].codec = CODEC_NONE; /* live has parsed it; this does not happen */
    }
    if (f->companion[what->track] != NULL)
        give_track(f, what->track);
    start_companions(f);
}

static void take_sample(struct feed *f, const struct followed *what)
{
    const struct sample *s = &what->sample;
    bool is_video = what->track == TRACK_VIDEO;

    if (is_video)
        f->filmed = (uint32_t)s->pts + f->video_shift;
    anchor(f, what, s->dts, is_video ? CMAF_VIDEO_TIMESCALE : f->config[TRACK_AUDIO].rate);
    if (is_converted(f, what->track)) {
        f->hears = f->hears || clock_mono_us() - what->received_us < SOUND_OLD_US;
        if (is_video || f->hears)
            convert(f, what->track, s);
    } else if (is_video && f->config[TRACK_VIDEO].codec == CODEC_H264) {
        take_picture(f, s);
        feed_flush(f);
        if (f->viewer_count > 0)
            histogram_add(&added_us, "video", clock_mono_us() - what->received_us);
    } else if (f->config[TRACK_AUDIO].codec == CODEC_OPUS) {
        take_sound(f, s->pts * SOUND_RATE / f->config[TRACK_AUDIO].rate, s->payload);
    }
    if (!f->known && (is_video || f->config[TRACK_VIDEO].codec == CODEC_NONE)) {
        f->known = true;
        timer_start(f->room->loop, &f->patience, 0, answer_offers, f); /* behind all that is there already */
    }
}

static void end(void *ctx)
{
    feed_free(ctx);
}

static void told(void *ctx, const struct followed *what)
{
    struct feed *f = ctx;

    switch (what->kind) {
    case FOLLOWED_TRACK:
        take_track(f, what);
        break;
    case FOLLOWED_SAMPLE:
        take_sample(f, what);
        break;
    case FOLLOWED_BREAK: /* who comes now waits for the publisher */
        f->pace = (struct pace){0};
        f->pictures[QUALITY_FULL].ring.key = RING_NONE;
        f->pictures[QUALITY_FULL].awaits_key = true;
        f->anchored = false;
        break;
    case FOLLOWED_END:
        f->over = true;
        timer_start(f->room->loop, &f->rest, 0, end, f);
        break;
    }
}

/* --- offers ----------------------------------------------------------------------------------------------- */

struct offer {
    struct list link;
    struct buffer *text;
    uint8_t host[16];
    size_t host_size;
    struct webrtc_stay stay;
    webrtc_told *told;
    void *ctx;
};

static enum err refuse(const struct feed *f, const char **why)
{
    if (!f->known) {
        *why = "nobody publishes this video at the moment";
        return ERR_MISSING;
    }
    return ERR_OK;
}

static uint8_t profile_of(const struct feed *f)
{
    return f->record[TRACK_VIDEO] != NULL && f->record[TRACK_VIDEO]->size > 1
               ? f->record[TRACK_VIDEO]->data[1]
               : 0;
}

static void answer(struct feed *f, struct offer *o)
{
    struct webrtc_reply r = {.why = "",
                             .adapts = f->encodes ? "encodes"
                                       : f->drops ? "drops-b-frames"
                                                  : "none"};
    struct sdp_offer *offer = mem_new(sizeof *offer);
    struct bytes host = bytes_of(o->host, o->host_size);

    r.e = refuse(f, &r.why);
    if (r.e == ERR_OK)
        r.e = sdp_offer_parse(offer, buffer_bytes(o->text), profile_of(f), &r.why);
    if (r.e == ERR_OK && !gate_admits(f->room, host)) {
        r.e = ERR_BUSY;
        r.why = "there are too many WebRTC sessions; try again in a moment";
    }
    if (r.e == ERR_OK) {
        struct viewer *v = viewer_new(f, offer, host);

        v->stay = o->stay;
        o->stay = (struct webrtc_stay){.may = NULL};
        r.body = viewer_answer(v);
        memcpy(r.session, v->id, sizeof r.session);
        viewer_etag(v, r.etag);
    }
    o->told(o->ctx, &r);
    buffer_unref(r.body);
    free(offer);
}

static void answer_offers(void *ctx)
{
    struct feed *f = ctx;

    for (struct list *link; (link = list_pop(&f->offers)) != NULL;) {
        struct offer *o = container_of(link, struct offer, link);

        answer(f, o);
        stay_end(&o->stay);
        buffer_unref(o->text);
        free(o);
    }
    if (f->viewer_count == 0)
        timer_start(f->room->loop, &f->rest, REST_MS, end, f);
}

void feed_offer(struct feed *f, struct bytes offer, struct bytes host, struct webrtc_stay *stay,
                webrtc_told *tell, void *ctx)
{
    struct offer *o = mem_new(sizeof *o);

    *o = (struct offer){.text = buffer_copy(offer), .stay = *stay, .told = tell, .ctx = ctx};
    *stay = (struct webrtc_stay){.may = NULL};
    o->host_size = host.size < sizeof o->host ? host.size : sizeof o->host;
    memcpy(o->host, host.at, o->host_size);
    list_init(&o->link);
    list_push(&f->offers, &o->link);
    if (f->known)
        answer_offers(f);
    else if (f->patience.loop == NULL)
        timer_start(f->room->loop, &f->patience, PATIENCE_MS, answer_offers, f);
}

/* --- beginning and end -------------------------------------------------------------------------------------- */

static struct bytes key_of(const struct ulid *video)
{
    return bytes_of(video->b, sizeof video->b);
}

struct feed *feed_watch(struct webrtc *w, struct ulid video)
{
    struct feed *f = map_get(w->feeds, key_of(&video));
    uint32_t random[5];

    if (f != NULL)
        return f->over ? NULL : f;
    f = mem_new(sizeof *f);
    f->follower = live_follow(w->options.live, video, w->loop, told, f);
    if (f->follower == NULL) {
        free(f);
        return NULL;
    }
    random_fill(random, sizeof random);
    f->room = w;
    f->video = video;
    f->video_ssrc = random[0] | 1; /* 0 is nobody; and three that differ */
    f->rtx_ssrc = (random[1] & ~3u) | 2;
    f->sound_ssrc = (random[2] & ~3u) | 4;
    f->video_shift = random[3];
    f->sound_shift = random[4];
    for (int i = 0; i < QUALITIES; i++)
        pictures_begin(&f->pictures[i]);
    list_init(&f->viewers);
    list_init(&f->offers);
    map_put(w->feeds, key_of(&video), f);
    second(f);
    return f;
}

static void free_later(void *ctx)
{
    struct feed *f = ctx;

    for (int i = 0; i < QUALITIES; i++)
        pictures_drop(&f->pictures[i]);
    for (int t = 0; t < TRACK_COUNT; t++)
        buffer_unref(f->record[t]);
    buffer_unref(f->early);
    free(f);
}

void feed_free(struct feed *f)
{
    struct webrtc *w = f->room;

    f->over = true;
    f->known = false;
    list_each(&f->viewers, at, after)
    {
        viewer_end(container_of(at, struct viewer, link));
    }
    answer_offers(f);
    timer_stop(&f->patience);
    timer_stop(&f->pump);
    timer_stop(&f->second);
    timer_stop(&f->rest);
    timer_stop(&f->turn);
    timer_stop(&f->early_due);
    end_companions(f);
    low_end(f);
    live_unfollow(f->follower);
    map_remove(w->feeds, key_of(&f->video));
    loop_after_turn(w->loop, free_later, f);
}

void feed_add(struct feed *f, struct viewer *v)
{
    list_push(&f->viewers, &v->link);
    f->viewer_count++;
    timer_stop(&f->rest);
}

void feed_remove(struct feed *f, struct viewer *v)
{
    list_remove(&v->link);
    f->viewer_count--;
    if (f->viewer_count == 0 && !f->over)
        timer_start(f->room->loop, &f->rest, REST_MS, end, f);
}
