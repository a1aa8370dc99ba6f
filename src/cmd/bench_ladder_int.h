/* cmd/bench_ladder_int.h - what the parts of `bench ladder` share: the source, and processes that are
 * measured. */
#ifndef MATINEE_CMD_BENCH_LADDER_INT_H
#define MATINEE_CMD_BENCH_LADDER_INT_H

#include "base/buffer.h"

/* `matinee bench ladder`; words behind the benchmark's name. Returns an exit status. */
int bench_ladder(int argc, char **argv);

struct ladder_setup {
    long rounds, seconds;
    const char *input;  /* a file, or NULL: one is drawn */
    const char *ladder; /* the renditions, from a source of the highest one's size */
    const char *out;
    bool quick;
};

/* `--only cpu`: an exit status. bench_ladder_cpu.c */
int bench_ladder_cpu(const struct ladder_setup *s);

/* `--only scale`, `straggler`, `kill`: exit statuses. bench_ladder_crowd.c */
int bench_ladder_scale(const struct ladder_setup *s);
int bench_ladder_straggler(const struct ladder_setup *s);
int bench_ladder_kill(const struct ladder_setup *s);

/* --- processes, bench_ladder_run.c ------------------------------------------------------------------------ */

#define WORDS_MAX 128

/* A command line that is put together. Zero-initialised is empty. */
struct words {
    char *at[WORDS_MAX + 1];
    size_t count;
};

/* Adds every word of a text without quotes; then one word of its own. */
void words_split(struct words *w, const char *text);
void words_add(struct words *w, const char *format, ...) printf_like(2, 3);
void words_drop(struct words *w);

/* Runs it to its end, its standard error in the file `said` (NULL: ours), and counts its time on the CPU.
 * False: it failed, and that was said. */
must_check bool words_run(const struct words *w, const char *said, double *cpu_ms);

/* The most that comes within any one and any two seconds of a video, in kbit/s. False: it cannot be read, and that was said.
 * bench_ladder_peak.c */
must_check bool ladder_peaks(const char *path, double *of_1_s, double *of_2_s);

/* --- the source, bench_ladder_source.c -------------------------------------------------------------------- */

#define LADDER_CHUNKS_MAX 1024

/* A video as it would be stored: its chunks begin with keyframes. */
struct ladder_source {
    char *path; /* of the same as one MP4 */
    struct buffer *file;
    struct bytes init, chunks[LADDER_CHUNKS_MAX];
    size_t chunk_count;
    uint32_t width, height;
    double seconds;
};

/* Draws or takes over the source of `s`. False: it could not be, and that was said. */
must_check bool ladder_source_make(struct ladder_source *out, const struct ladder_setup *s);
void ladder_source_drop(struct ladder_source *s);

#endif
