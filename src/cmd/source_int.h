/* cmd/source_int.h - where `matinee publish` and the benchmarks get samples from: a file, or the drawn picture.
 *
 * A source is pulled by one thread. Samples come in the order in which they are to be sent, payloads as MP4
 * stores them, times in milliseconds from wherever the source begins. */
#ifndef MATINEE_CMD_SOURCE_INT_H
#define MATINEE_CMD_SOURCE_INT_H

#include "media/media.h"

#define SOURCE_WHY_SIZE 256

struct source_track {
    enum codec codec;      /* CODEC_NONE: the source has no such track */
    struct buffer *record; /* the decoder configuration */
    struct codec_config config;
};

struct source_sample {
    enum track track;
    int64_t dts_ms, pts_ms;
    int64_t due_ms; /* when it is to be sent in real time: its dts, or later where an encoder needed time */
    bool keyframe;
    struct bytes payload; /* until the next call */
};

struct source {
    struct source_track tracks[TRACK_COUNT];
    double frame_rate; /* 0 when not known */
    /* The wall clock that belongs to time 0: what a drawn clock shows. Set by the owner, also while it runs. */
    int64_t wall_at_zero_ms;
    /* ERR_MISSING: the end. Other failures put a reason into `why`. */
    enum err (*next)(struct source *s, struct source_sample *out, char why[SOURCE_WHY_SIZE]);
    void (*free)(struct source *s);
};

/* A file that libavformat reads; with `loop` it begins again at its end, the times going on. */
must_check enum err source_file_open(struct source **out, const char *file, bool loop,
                                     char why[SOURCE_WHY_SIZE]);

struct demo_options {
    int width, height, fps, gop_s, bframes;
    long bitrate;
    bool zerolatency;
};

/* The test picture and tone; it has no end. */
must_check enum err source_demo_open(struct source **out, const struct demo_options *options,
                                     char why[SOURCE_WHY_SIZE]);

/* Frees what source_file_open() or source_demo_open() made; accepts NULL. */
void source_free(struct source *s);

/* The two or three messages before the first sample (onMetaData, configurations), and a sample, as RTMP bodies. */
void source_write_metadata(struct builder *out, const struct source *s);
void source_write_config(struct builder *out, const struct source *s, enum track track);
void source_write_sample(struct builder *out, const struct source *s, const struct source_sample *sample);

/* Takes what `record` holds into `track`; on failure `why` says what is wrong. */
must_check enum err source_set_track(struct source *s, enum track track, enum codec codec,
                                     struct bytes record, char why[SOURCE_WHY_SIZE]);

#endif
