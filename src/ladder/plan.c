/* ladder/plan.c - which renditions a source gets: the one table of them, and the reader of `--ladder`. */
#include "ladder/ladder_int.h"

#include <stdio.h>

#define HEIGHT_MIN 144u
#define HEIGHT_MAX 2160u
#define FPS_MAX    60u
/* From here on pictures come so fast that the bits of a slower source would not do. */
#define FPS_FAST 35u

/* Bits a second at most, for H.264 of 16:9 at 30 pictures a second; heights between two rows get what lies
 * between. */
static const struct row {
    uint32_t height, kilobits;
} rows[] = {
    {144, 180},  {240, 400},   {360, 800},    {480, 1500},   {540, 2000},
    {720, 3200}, {1080, 6000}, {1440, 10000}, {2160, 18000},
};

#define ROW_COUNT (sizeof rows / sizeof *rows)

/* How each encoder is asked for about the same picture: in its own scale, at a speed that keeps up with
 * live. */
static const struct format {
    const char *name; /* behind the colon; the first is meant when there is none */
    enum codec codec;
    uint32_t crf, bframes, percent; /* of the table's bits */
    const char *preset, *profile;
} formats[] = {
    {"h264", CODEC_H264, 23, 3, 100, "veryfast", "high"},
    {"hevc", CODEC_HEVC, 26, 3, 70, "veryfast", "main"},
    {"av1", CODEC_AV1, 35, 0, 60, "10", ""},
};

#define FORMAT_COUNT (sizeof formats / sizeof *formats)

/* One word of a ladder: "720p", "720p:hevc". */
struct wish {
    uint32_t height;
    const struct format *format;
};

/* --- reading -------------------------------------------------------------------------------------------- */

static bool wish_parse(struct wish *out, struct bytes word)
{
    long colon = bytes_find(word, ':');
    struct bytes height = colon < 0 ? word : bytes_head(word, (size_t)colon);
    struct bytes codec = colon < 0 ? bytes_text(formats[0].name) : bytes_from(word, (size_t)colon + 1);
    uint64_t number;

    if (height.size < 2 || height.at[height.size - 1] != 'p' ||
        !bytes_to_u64(bytes_head(height, height.size - 1), HEIGHT_MAX, &number) || number < HEIGHT_MIN ||
        number % 2 != 0)
        return false;
    out->height = (uint32_t)number;
    for (out->format = formats; out->format < formats + FORMAT_COUNT; out->format++)
        if (bytes_is(codec, out->format->name))
            return true;
    return false;
}

/* Takes the next word of a list that is separated by commas, without the spaces around it; false behind
 * the last. */
static bool next_word(struct bytes *list, struct bytes *word)
{
    if (list->at == NULL)
        return false;
    long comma = bytes_find(*list, ',');

    *word = comma < 0 ? *list : bytes_head(*list, (size_t)comma);
    if (comma < 0)
        list->at = NULL;
    else
        *list = bytes_of(list->at + comma + 1, list->size - (size_t)comma - 1);
    while (word->size > 0 && word->at[0] == ' ')
        *word = bytes_from(*word, 1);
    while (word->size > 0 && word->at[word->size - 1] == ' ')
        word->size--;
    return true;
}

/* Adds `wish` behind those that are as high or higher; false when it is there already. */
static bool add_wish(struct wish *wishes, long count, struct wish wish)
{
    long at = count;

    for (long i = 0; i < count; i++)
        if (wishes[i].height == wish.height && wishes[i].format == wish.format)
            return false;
    for (; at > 0 && wishes[at - 1].height < wish.height; at--)
        wishes[at] = wishes[at - 1];
    wishes[at] = wish;
    return true;
}

/* Reads all words, in falling height. Returns how many, or -1 with the word that is at fault in *bad. */
static long read_wishes(const char *ladder, struct wish out[RUNGS_MAX], struct bytes *bad)
{
    struct bytes list = bytes_text(ladder);
    long count = 0;

    if (bytes_is(list, "none"))
        return 0;
    while (next_word(&list, bad)) {
        struct wish wish;

        if (count == RUNGS_MAX || !wish_parse(&wish, *bad) || !add_wish(out, count, wish))
            return -1;
        count++;
    }
    return count;
}

enum err plan_check(const char *ladder, char why[256])
{
    struct wish wishes[RUNGS_MAX];
    struct bytes bad = {0};

    why[0] = '\0';
    if (read_wishes(ladder, wishes, &bad) >= 0)
        return ERR_OK;
    snprintf(
        why, 256,
        "'%.*s' is no rendition, is there twice, or is beyond %d: say '720p' or '720p:hevc' (h264, hevc, av1), even "
        "heights from %up to %up, commas between them, or 'none'",
        bad.size < 40 ? (int)bad.size : 40, bad.size > 0 ? (const char *)bad.at : "", RUNGS_MAX, HEIGHT_MIN,
        HEIGHT_MAX);
    return ERR_BAD;
}

/* --- the rule ------------------------------------------------------------------------------------------- */

static uint64_t table_bits(uint32_t height)
{
    size_t i = 1;

    while (i < ROW_COUNT - 1 && rows[i].height < height)
        i++;
    const struct row *below = &rows[i - 1], *above = &rows[i];

    return 1000ull * (below->kilobits + (uint64_t)(above->kilobits - below->kilobits) *
                                            (height - below->height) / (above->height - below->height));
}

/* The other side that keeps the aspect, rounded to an even number. */
static uint32_t other_side(uint32_t height, uint32_t longer, uint32_t shorter)
{
    uint64_t side = ((uint64_t)height * longer + shorter) / (2ull * shorter) * 2;

    return side < 2 ? 2 : (uint32_t)side;
}

static struct rung rung_of(const struct wish *wish, uint32_t width, uint32_t height, uint32_t fps)
{
    const struct format *f = wish->format;
    bool portrait = height > width;
    uint32_t other =
        portrait ? other_side(wish->height, height, width) : other_side(wish->height, width, height);
    uint64_t bits = table_bits(wish->height) * f->percent / 100;
    struct rung r = {.codec = f->codec,
                     .width = portrait ? wish->height : other,
                     .height = portrait ? other : wish->height,
                     .fps_max = FPS_MAX,
                     .crf = f->crf,
                     .bframes = f->bframes,
                     .preset = f->preset,
                     .profile = f->profile};

    bits = bits * other * 9 / (wish->height * 16ull); /* more or fewer pixels than of 16:9 */
    bits = fps >= FPS_FAST ? bits * 3 / 2 : bits;
    r.bitrate_max = (uint32_t)(bits / 1000 * 1000);
    r.buffer_bits = r.bitrate_max / 2 * 3; /* more would let a chunk of two seconds take twice its rate */
    snprintf(r.name, sizeof r.name, f == formats ? "%hup" : "%hup-%s", (unsigned short)wish->height, f->name);
    return r;
}

size_t plan_rungs(const char *ladder, uint32_t width, uint32_t height, uint32_t fps,
                  struct rung out[RUNGS_MAX])
{
    uint32_t shorter = width < height ? width : height, longer = width < height ? height : width;
    struct wish wishes[RUNGS_MAX];
    struct bytes bad;
    long wished = read_wishes(ladder, wishes, &bad);
    size_t count = 0;

    for (long i = 0; i < wished && shorter > 0; i++)
        if (wishes[i].height < shorter && other_side(wishes[i].height, longer, shorter) <= longer)
            out[count++] = rung_of(&wishes[i], width, height, fps);
    return count;
}

/* --- tasks ---------------------------------------------------------------------------------------------- */

/* A task does its work on one core. So much of it, of a chunk of two seconds at 30 pictures a second, is done in
 * about four: 1080p, 720p and 480p together, or 1440p alone. */
#define GROUP_PIXELS_MAX 4000000u

/* What a rung costs, in pixels that x264 would encode in that time. */
static uint64_t cost_of(const struct rung *r)
{
    return (uint64_t)r->width * r->height * (r->codec == CODEC_H264 ? 1 : 3);
}

size_t plan_groups(const struct rung *rungs, size_t count, size_t group[RUNGS_MAX])
{
    uint64_t taken[RUNGS_MAX] = {0};
    size_t groups = 0;

    for (size_t i = 0; i < count; i++) {
        size_t g = 0;

        while (g < groups && taken[g] + cost_of(&rungs[i]) > GROUP_PIXELS_MAX)
            g++;
        if (g == groups)
            groups++;
        taken[g] += cost_of(&rungs[i]);
        group[i] = g;
    }
    return groups;
}
