/* cmd/bench_ladder_cpu.c - `matinee bench ladder --only cpu`: the CPU that a ladder takes, beside one ffmpeg
 * process that decodes once and makes the same renditions with the same settings; and how good the pictures
 * are.
 *
 * ffmpeg encodes the whole source in one go, with a keyframe where each of our chunks begins; we encode
 * every chunk by itself, in a process of its own, and once more with a process for every rendition of
 * every chunk. In turns. */
#include "cmd/bench_int.h"
#include "cmd/bench_ladder_int.h"

#include "base/mem.h"
#include "ladder/ladder.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS_MAX 20
#define SWS        "flags=bicubic+accurate_rnd+bitexact"

enum kind { KIND_TOGETHER, KIND_APART, KIND_FFMPEG_1, KIND_FFMPEG, KIND_COUNT };

static const char *const kind_names[] = {"matinee", "matinee, a task each", "ffmpeg -threads 1", "ffmpeg"};

struct measured {
    double cpu_ms[KIND_COUNT][ROUNDS_MAX];
    double start_ms; /* of a process of ours that does nothing */
    double psnr[KIND_COUNT][RUNGS_MAX], kilobits[KIND_COUNT][RUNGS_MAX];
    double peak_1_s[KIND_COUNT][RUNGS_MAX], peak_2_s[KIND_COUNT][RUNGS_MAX];
};

struct bench {
    const struct ladder_setup *setup;
    struct ladder_source source;
    struct rung rungs[RUNGS_MAX];
    size_t rung_count;
};

static char *path_of(const struct bench *b, enum kind kind, size_t rung)
{
    return mem_printf("%s/ladder-%d-%s.mp4", b->setup->out, (int)kind, b->rungs[rung].name);
}

/* --- ours ------------------------------------------------------------------------------------------------- */

/* Lays what was made end to end, behind an init segment, as it would be served. */
static bool append(const struct bench *b, enum kind kind, size_t rung, const struct transcoded *made,
                   bool first)
{
    char *path = path_of(b, kind, rung);
    FILE *f = fopen(path, first ? "wb" : "ab");
    struct codec_config config;
    struct cmaf *cmaf = NULL;
    struct buffer *init = NULL;
    const char *why;
    bool good = f != NULL;

    if (good && first) {
        good =
            codec_config_parse(&config, b->rungs[rung].codec, buffer_bytes(made->record), &why) == ERR_OK &&
            cmaf_new(&cmaf, &config, buffer_bytes(made->record), 0) == ERR_OK &&
            cmaf_init(cmaf, &init) == ERR_OK && fwrite(init->data, init->size, 1, f) == 1;
        buffer_unref(init);
        cmaf_free(cmaf);
    }
    good = good && fwrite(made->chunk->data, made->chunk->size, 1, f) == 1;
    if (f != NULL)
        good = fclose(f) == 0 && good;
    free(path);
    return good;
}

/* Rungs from `from` on, of one chunk, by one process. */
static bool encode_some(const struct bench *b, enum kind kind, size_t chunk, size_t from, size_t count,
                        double *cpu_ms)
{
    struct encode_request request = {b->source.init, b->source.chunks[chunk], &b->rungs[from], count};
    struct encode_result result;
    char why[256];
    bool good = encode_run("/proc/self/exe", &request, NULL, NULL, &result, why) == ERR_OK;

    if (!good)
        fprintf(stderr, "matinee bench ladder: chunk %zu: %s\n", chunk, why);
    *cpu_ms += (double)result.cpu_ms;
    for (size_t i = 0; i < count && good; i++)
        good = append(b, kind, from + i, &result.made[i], chunk == 0);
    encode_result_free(&result);
    return good;
}

static bool encode_ours(const struct bench *b, enum kind kind, double *cpu_ms)
{
    size_t each = kind == KIND_TOGETHER ? b->rung_count : 1;

    *cpu_ms = 0;
    for (size_t c = 0; c < b->source.chunk_count; c++)
        for (size_t r = 0; r < b->rung_count; r += each)
            if (!encode_some(b, kind, c, r, each, cpu_ms))
                return false;
    return true;
}

/* A process that is given nothing to encode. */
static double measure_start(const struct bench *b, size_t times)
{
    struct encode_request request = {b->source.init, {0}, b->rungs, b->rung_count};
    double *all = mem_new(times * sizeof *all);

    for (size_t i = 0; i < times; i++) {
        struct encode_result result;
        char why[256];

        if (encode_run("/proc/self/exe", &request, NULL, NULL, &result, why) != ERR_BAD)
            fprintf(stderr, "matinee bench ladder: nothing was encoded: %s\n", why);
        all[i] = (double)result.cpu_ms;
        encode_result_free(&result);
    }
    double middle = bench_median(all, times);

    free(all);
    return middle;
}

/* --- ffmpeg ----------------------------------------------------------------------------------------------- */

static void add_graph(struct words *w, const struct bench *b)
{
    struct builder graph = {0};

    builder_printf(&graph, "[0:v]split=%zu", b->rung_count);
    for (size_t i = 0; i < b->rung_count; i++)
        builder_printf(&graph, "[s%zu]", i);
    for (size_t i = 0; i < b->rung_count; i++)
        builder_printf(&graph, ";[s%zu]scale=%u:%u:" SWS "[v%zu]", i, b->rungs[i].width, b->rungs[i].height,
                       i);
    struct bytes text = builder_bytes(&graph);

    words_add(w, "-filter_complex");
    words_add(w, "%.*s", (int)text.size, (const char *)text.at);
    builder_drop(&graph);
}

/* The settings of media/encoder.c, but for the threads. */
static void add_output(struct words *w, const struct bench *b, enum kind kind, size_t i)
{
    const struct rung *r = &b->rungs[i];
    char *path = path_of(b, kind, i);

    words_add(w, "-map");
    words_add(w, "[v%zu]", i);
    words_split(w, "-c:v libx264 -force_key_frames source");
    words_add(w, "-preset");
    words_add(w, "%s", r->preset);
    words_add(w, "-profile:v");
    words_add(w, "%s", r->profile);
    words_add(w, "-crf");
    words_add(w, "%u", r->crf);
    words_add(w, "-maxrate");
    words_add(w, "%u", r->bitrate_max);
    words_add(w, "-bufsize");
    words_add(w, "%u", r->buffer_bits);
    words_add(w, "-x264-params");
    words_add(w, "keyint=infinite:open-gop=0:bframes=%u:b-pyramid=none%s", r->bframes,
              kind == KIND_FFMPEG_1 ? ":threads=1:lookahead-threads=1" : "");
    words_add(w, "%s", path);
    free(path);
}

static bool encode_ffmpeg(const struct bench *b, enum kind kind, double *cpu_ms)
{
    struct words w = {0};

    words_split(&w, "ffmpeg -v error -nostdin -y");
    if (kind == KIND_FFMPEG_1)
        words_split(&w, "-filter_complex_threads 1 -threads 1");
    words_add(&w, "-i");
    words_add(&w, "%s", b->source.path);
    add_graph(&w, b);
    for (size_t i = 0; i < b->rung_count; i++)
        add_output(&w, b, kind, i);
    bool good = words_run(&w, NULL, cpu_ms);

    words_drop(&w);
    return good;
}

/* --- quality ------------------------------------------------------------------------------------------------ */

/* The number behind "average:" in what the psnr filter says. */
static bool read_psnr(const char *path, double *psnr)
{
    FILE *f = fopen(path, "r");
    char line[1024];
    bool found = false;

    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *at = strstr(line, "average:");

        if (strstr(line, "PSNR") == NULL || at == NULL)
            continue;
        *psnr = strtod(at + strlen("average:"), NULL);
        found = true;
    }
    if (f != NULL)
        fclose(f);
    return found;
}

static double kilobits_of(const char *path, double seconds)
{
    FILE *f = fopen(path, "rb");
    long size = f != NULL && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : 0;

    if (f != NULL)
        fclose(f);
    return (double)size * 8 / 1000 / seconds;
}

/* Against the source in the rendition's size. */
static bool measure_quality(const struct bench *b, enum kind kind, size_t rung, struct measured *m)
{
    char *path = path_of(b, kind, rung), *said = mem_printf("%s.txt", path);
    struct words w = {0};
    double cpu_ms;

    words_split(&w, "ffmpeg -nostdin -hide_banner -nostats -i");
    words_add(&w, "%s", path);
    words_add(&w, "-i");
    words_add(&w, "%s", b->source.path);
    words_add(&w, "-lavfi");
    words_add(&w, "[1:v]scale=%u:%u:" SWS "[reference];[0:v][reference]psnr", b->rungs[rung].width,
              b->rungs[rung].height);
    words_split(&w, "-f null -");
    bool good = words_run(&w, said, &cpu_ms) && read_psnr(said, &m->psnr[kind][rung]) &&
                ladder_peaks(path, &m->peak_1_s[kind][rung], &m->peak_2_s[kind][rung]);

    m->kilobits[kind][rung] = kilobits_of(path, b->source.seconds);
    remove(said);
    remove(path);
    words_drop(&w);
    free(said);
    free(path);
    return good;
}

/* --- reports ------------------------------------------------------------------------------------------------ */

static void print_cpu(const struct bench *b, const struct measured *m, const double *middle)
{
    static struct bench_table t = {.column_count = 4};
    double best = middle[KIND_FFMPEG_1] < middle[KIND_FFMPEG] ? middle[KIND_FFMPEG_1] : middle[KIND_FFMPEG];

    bench_add_row(&t, (const char *[]){"CPU", "ms", "ms/second of video", "against the better ffmpeg", NULL});
    for (int k = 0; k < KIND_COUNT; k++)
        bench_add_row(&t, (const char *[]){kind_names[k], bench_number(middle[k], 0),
                                           bench_number(middle[k] / b->source.seconds, 1),
                                           bench_number(middle[k] / best, 3), NULL});
    bench_table_print(&t);
    printf("\nof it, the start of our processes: %.1f ms each, %.1f %%; target: 1.05 of ffmpeg\n\n",
           m->start_ms, m->start_ms * (double)b->source.chunk_count * 100 / middle[KIND_TOGETHER]);
}

/* A process begins with a full buffer of a second's and a half worth of bits, which nobody gives it again. */
#define SECONDS_FAIR 16

static void print_quality(const struct bench *b, const struct measured *m)
{
    static struct bench_table t = {.column_count = 6};

    bench_add_row(
        &t, (const char *[]){"rendition", "PSNR, dB", "ffmpeg's", "difference", "kbit/s", "ffmpeg's", NULL});
    for (size_t r = 0; r < b->rung_count; r++)
        bench_add_row(&t,
                      (const char *[]){b->rungs[r].name, bench_number(m->psnr[KIND_TOGETHER][r], 2),
                                       bench_number(m->psnr[KIND_FFMPEG_1][r], 2),
                                       bench_number(m->psnr[KIND_TOGETHER][r] - m->psnr[KIND_FFMPEG_1][r], 2),
                                       bench_number(m->kilobits[KIND_TOGETHER][r], 0),
                                       bench_number(m->kilobits[KIND_FFMPEG_1][r], 0), NULL});
    bench_table_print(&t);
    if (b->source.seconds < SECONDS_FAIR)
        printf(
            "of so short a source the bits that ffmpeg's rate buffer holds at first are a large part: where the rate limit binds, "
            "compare %d s or more\n",
            SECONDS_FAIR);
}

/* Beside what the rung may take: its rate holds over any long time, and within a window its buffer comes on top. */
static void print_peaks(const struct bench *b, const struct measured *m)
{
    static struct bench_table t = {.column_count = 6};

    bench_add_row(&t, (const char *[]){"kbit/s at most", "in 1 s", "ffmpeg's", "in 2 s", "ffmpeg's",
                                       "rung's rate", NULL});
    for (size_t r = 0; r < b->rung_count; r++)
        bench_add_row(&t, (const char *[]){b->rungs[r].name, bench_number(m->peak_1_s[KIND_TOGETHER][r], 0),
                                           bench_number(m->peak_1_s[KIND_FFMPEG_1][r], 0),
                                           bench_number(m->peak_2_s[KIND_TOGETHER][r], 0),
                                           bench_number(m->peak_2_s[KIND_FFMPEG_1][r], 0),
                                           bench_number(b->rungs[r].bitrate_max / 1000.0, 0), NULL});
    putchar('\n');
    bench_table_print(&t);
}

static bool write_files(const struct bench *b, const struct measured *m, const double *middle)
{
    static struct bench_table t = {.column_count = 5};
    struct bench_bars bars = {.title = "A ladder: CPU per second of video (less is better)",
                              .unit = "ms",
                              .group_count = 1,
                              .series_count = KIND_COUNT,
                              .groups = {b->setup->ladder}};

    bench_add_row(&t, (const char *[]){"what", "by", "round", "value", "unit", NULL});
    for (int k = 0; k < KIND_COUNT; k++) {
        for (long r = 0; r < b->setup->rounds; r++)
            bench_add_row(&t, (const char *[]){"cpu", kind_names[k], bench_number((double)r + 1, 0),
                                               bench_number(m->cpu_ms[k][r], 0), "ms", NULL});
        for (size_t r = 0; r < b->rung_count; r++) {
            bench_add_row(&t, (const char *[]){b->rungs[r].name, kind_names[k], "1",
                                               bench_number(m->psnr[k][r], 3), "dB", NULL});
            bench_add_row(&t, (const char *[]){b->rungs[r].name, kind_names[k], "1",
                                               bench_number(m->kilobits[k][r], 0), "kbit/s", NULL});
        }
        bars.series[k] = kind_names[k];
        bars.values[0][k] = middle[k] / b->source.seconds;
    }
    return bench_table_csv(&t, b->setup->out, "ladder-cpu") &&
           bench_bars_svg(&bars, b->setup->out, "ladder-cpu");
}

static bool report(const struct bench *b, const struct measured *m)
{
    double middle[KIND_COUNT];

    for (int k = 0; k < KIND_COUNT; k++)
        middle[k] = bench_median(m->cpu_ms[k], (size_t)b->setup->rounds);
    print_cpu(b, m, middle);
    print_quality(b, m);
    print_peaks(b, m);
    printf("\n%.0f s of %ux%u in %zu chunks; medians of %ld rounds in turn\n", b->source.seconds,
           b->source.width, b->source.height, b->source.chunk_count, b->setup->rounds);
    return write_files(b, m, middle);
}

/* --- the whole ---------------------------------------------------------------------------------------------- */

static bool measure_all(const struct bench *b, struct measured *m)
{
    m->start_ms = measure_start(b, b->setup->quick ? 3 : 21);
    for (long r = 0; r < b->setup->rounds; r++)
        for (int k = 0; k < KIND_COUNT; k++)
            if (!(k <= KIND_APART ? encode_ours(b, (enum kind)k, &m->cpu_ms[k][r])
                                  : encode_ffmpeg(b, (enum kind)k, &m->cpu_ms[k][r])))
                return false;
    for (int k = 0; k < KIND_COUNT; k++)
        for (size_t r = 0; r < b->rung_count; r++)
            if (!measure_quality(b, (enum kind)k, r, m))
                return false;
    return true;
}

int bench_ladder_cpu(const struct ladder_setup *s)
{
    static struct bench b;
    static struct measured m;
    char why[256];
    int status = 1;

    b = (struct bench){.setup = s};
    if (plan_check(s->ladder, why) != ERR_OK) {
        fprintf(stderr, "matinee bench ladder: %s\n", why);
        return 2;
    }
    if (ladder_source_make(&b.source, s)) {
        /* planned as of a source twice the size, for a rung of the source's own is wanted here */
        b.rung_count = plan_rungs(s->ladder, b.source.width * 2, b.source.height * 2, 30, b.rungs);
        if (b.rung_count > 0 && measure_all(&b, &m) && report(&b, &m))
            status = 0;
    }
    ladder_source_drop(&b.source);
    return status;
}
