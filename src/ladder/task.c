/* ladder/task.c - tasks and results as lines of text, so that a queue, a pipe and Hadoop Streaming carry the
 * same. Pure parsers: lines come from other machines. */
#include "ladder/ladder_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* More than a child may spend. */
#define COST_MS_MAX 10000000u

/* --- words -------------------------------------------------------------------------------------------- */

bool line_next(struct bytes *text, struct bytes *line)
{
    if (text->size == 0)
        return false;
    long end = bytes_find(*text, '\n');
    size_t size = end < 0 ? text->size : (size_t)end;

    *line = bytes_head(*text, size);
    *text = bytes_from(*text, end < 0 ? size : size + 1);
    return true;
}

/* Takes what stands before the next `mark`, or all that is left. */
static struct bytes take_until(struct bytes *from, uint8_t mark)
{
    long end = bytes_find(*from, mark);
    struct bytes word = bytes_head(*from, end < 0 ? from->size : (size_t)end);

    *from = bytes_from(*from, end < 0 ? from->size : (size_t)end + 1);
    return word;
}

static bool take_number(struct bytes *from, uint8_t mark, uint64_t max, uint64_t *out)
{
    struct bytes word = take_until(from, mark);

    return word.size > 0 && bytes_to_u64(word, max, out);
}

/* Copies a word of letters, digits, '.', '_', '-' and (in paths) '/'. */
static bool take_name(struct bytes *from, uint8_t mark, bool is_path, char *out, size_t room)
{
    struct bytes word = take_until(from, mark);

    if (word.size == 0 || word.size >= room)
        return false;
    for (size_t i = 0; i < word.size; i++) {
        uint8_t c = word.at[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
              c == '_' || c == '-' || (is_path && c == '/')))
            return false;
        out[i] = (char)c;
    }
    out[word.size] = '\0';
    return true;
}

static void add_hex(struct builder *b, struct bytes from)
{
    for (size_t i = 0; i < from.size; i++)
        builder_printf(b, "%02x", from.at[i]);
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex(struct bytes *from, uint8_t mark, uint8_t memory[TASK_RECORD_MAX], struct bytes *out)
{
    struct bytes word = take_until(from, mark);

    if (word.size == 0 || word.size % 2 != 0 || word.size / 2 > TASK_RECORD_MAX)
        return false;
    for (size_t i = 0; i < word.size; i += 2) {
        int high = hex_digit(word.at[i]), low = hex_digit(word.at[i + 1]);

        if (high < 0 || low < 0)
            return false;
        memory[i / 2] = (uint8_t)(high << 4 | low);
    }
    *out = bytes_of(memory, word.size / 2);
    return true;
}

static const struct {
    enum codec codec;
    const char *name;
} codecs[] = {{CODEC_H264, "h264"}, {CODEC_HEVC, "hevc"}, {CODEC_AV1, "av1"}};

static const char *codec_word(enum codec c)
{
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (codecs[i].codec == c)
            return codecs[i].name;
    return "none";
}

static bool take_codec(struct bytes *from, uint8_t mark, enum codec *out)
{
    struct bytes word = take_until(from, mark);

    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
        if (bytes_is(word, codecs[i].name)) {
            *out = codecs[i].codec;
            return true;
        }
    }
    return false;
}

/* The words an encoder may be given: a task is not trusted with others. */
static bool take_word(struct bytes *from, uint8_t mark, const char **out)
{
    static const char *const words[] = {
        "ultrafast", "superfast", "veryfast", "faster", "fast",   "medium", "slow", "slower",
        "veryslow",  "baseline",  "main",     "high",   "main10", "-",      "4",    "5",
        "6",         "7",         "8",        "9",      "10",     "11",     "12",
    };
    struct bytes word = take_until(from, mark);

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (bytes_is(word, words[i])) {
            *out = words[i][0] == '-' ? "" : words[i];
            return true;
        }
    }
    return false;
}

/* --- rungs: 720p:h264:1280x720:60:23:3000000:6000000:3:veryfast:high ------------------------------------ */

static void rung_write(const struct rung *r, struct builder *out)
{
    builder_printf(out, "%s:%s:%ux%u:%u:%u:%u:%u:%u:%s:%s", r->name, codec_word(r->codec), r->width,
                   r->height, r->fps_max, r->crf, r->bitrate_max, r->buffer_bits, r->bframes, r->preset,
                   r->profile[0] ? r->profile : "-");
}

static bool rung_read(struct rung *r, struct bytes text)
{
    uint64_t width, height, fps, crf, rate, buffer, bframes;

    if (!take_name(&text, ':', false, r->name, sizeof r->name) || !take_codec(&text, ':', &r->codec) ||
        !take_number(&text, 'x', 8192, &width) || !take_number(&text, ':', 8192, &height) ||
        !take_number(&text, ':', 240, &fps) || !take_number(&text, ':', 63, &crf) ||
        !take_number(&text, ':', 1000000000, &rate) || !take_number(&text, ':', 2000000000, &buffer) ||
        !take_number(&text, ':', 16, &bframes) || !take_word(&text, ':', &r->preset) ||
        !take_word(&text, ':', &r->profile))
        return false;
    r->width = (uint32_t)width;
    r->height = (uint32_t)height;
    r->fps_max = (uint32_t)fps;
    r->crf = (uint32_t)crf;
    r->bitrate_max = (uint32_t)rate;
    r->buffer_bits = (uint32_t)buffer;
    r->bframes = (uint32_t)bframes;
    return width >= 2 && height >= 2 && width % 2 == 0 && height % 2 == 0 && fps > 0;
}

/* --- tasks -------------------------------------------------------------------------------------------- */

void task_key(const struct task *t, char key[TASK_KEY_SIZE])
{
    char id[ULID_TEXT_SIZE];
    int size =
        snprintf(key, TASK_KEY_SIZE, "%s/%s/%u-%u/", ulid_text(t->video, id), t->segment, t->chunk, t->of);

    for (size_t i = 0; i < t->rung_count; i++)
        size += snprintf(key + size, TASK_KEY_SIZE - (size_t)size, "%s%s", i ? "+" : "", t->rungs[i].name);
}

void task_write(const struct task *t, struct builder *out)
{
    builder_printf(out, "%s %zu %zu %s ", t->object, t->offset, t->size, codec_word(t->codec));
    add_hex(out, t->record);
    builder_printf(out, " %u ", t->init);
    for (size_t i = 0; i < t->rung_count; i++) {
        builder_text(out, i ? "," : "");
        rung_write(&t->rungs[i], out);
    }
}

static bool read_place(struct task *t, struct bytes key)
{
    uint64_t chunk, of;

    if (!ulid_parse(take_until(&key, '/'), &t->video) ||
        !take_name(&key, '/', false, t->segment, sizeof t->segment) ||
        !take_number(&key, '-', SEGMENT_CHUNKS_MAX, &chunk) ||
        !take_number(&key, '/', SEGMENT_CHUNKS_MAX, &of) || (of > 0 && chunk >= of))
        return false;
    t->chunk = (unsigned)chunk;
    t->of = (unsigned)of;
    return true;
}

static bool read_work(struct task *t, struct bytes value)
{
    uint64_t offset, size, init;

    if (!take_name(&value, ' ', true, t->object, sizeof t->object) ||
        !take_number(&value, ' ', UINT32_MAX, &offset) || !take_number(&value, ' ', UINT32_MAX, &size) ||
        !take_codec(&value, ' ', &t->codec) || !take_hex(&value, ' ', t->memory, &t->record) ||
        !take_number(&value, ' ', UINT32_MAX, &init) || value.size == 0)
        return false;
    t->offset = (size_t)offset;
    t->size = (size_t)size;
    t->init = (uint32_t)init;
    while (value.size > 0)
        if (t->rung_count == RUNGS_MAX || !rung_read(&t->rungs[t->rung_count++], take_until(&value, ',')))
            return false;
    return true;
}

enum err task_read(struct task *out, struct bytes key, struct bytes value, char why[128])
{
    char again[TASK_KEY_SIZE];

    *out = (struct task){.chunk = 0};
    if (!read_place(out, key)) {
        snprintf(why, 128, "the key is not VIDEO/SEGMENT/CHUNK-OF/RENDITIONS");
        return ERR_BAD;
    }
    if (!read_work(out, value)) {
        snprintf(why, 128, "the value is not OBJECT OFFSET SIZE CODEC RECORD INIT RENDITIONS");
        return ERR_BAD;
    }
    task_key(out, again);
    if (!bytes_is(key, again)) {
        snprintf(why, 128, "key and value name different renditions");
        return ERR_BAD;
    }
    return ERR_OK;
}

/* --- pieces ------------------------------------------------------------------------------------------- */

void piece_write(const struct piece *p, struct builder *out)
{
    char id[ULID_TEXT_SIZE];

    builder_printf(out, "%s/%s/%s\t%u %u %u %u ", ulid_text(p->video, id), p->rendition, p->segment, p->chunk,
                   p->of, p->bytes, p->init);
    add_hex(out, p->record);
    builder_u8(out, '\n');
}

enum err piece_read(struct piece *out, struct bytes line)
{
    uint64_t chunk, of, bytes, init;

    *out = (struct piece){.chunk = 0};
    if (!ulid_parse(take_until(&line, '/'), &out->video) ||
        !take_name(&line, '/', false, out->rendition, sizeof out->rendition) ||
        !take_name(&line, '\t', false, out->segment, sizeof out->segment) ||
        !take_number(&line, ' ', SEGMENT_CHUNKS_MAX, &chunk) ||
        !take_number(&line, ' ', SEGMENT_CHUNKS_MAX, &of) || !take_number(&line, ' ', UINT32_MAX, &bytes) ||
        !take_number(&line, ' ', UINT32_MAX, &init) || !take_hex(&line, ' ', out->memory, &out->record) ||
        (of > 0 && chunk >= of) || line.size > 0)
        return ERR_BAD;
    out->chunk = (unsigned)chunk;
    out->of = (unsigned)of;
    out->bytes = (uint32_t)bytes;
    out->init = (uint32_t)init;
    return ERR_OK;
}

const char *piece_object(const struct piece *p, char name[SEGMENT_NAME_SIZE])
{
    char id[ULID_TEXT_SIZE];

    snprintf(name, SEGMENT_NAME_SIZE, "v/%s/%s/%s.%uof%u.m4s", ulid_text(p->video, id), p->rendition,
             p->segment, p->chunk, p->of);
    return name;
}

void cost_write(int64_t cpu_ms, struct builder *out)
{
    builder_printf(out, "cpu\t%lld\n", (long long)cpu_ms);
}

int64_t cost_read(struct bytes result)
{
    struct bytes line;
    uint64_t cpu_ms = 0;

    while (line_next(&result, &line))
        if (bytes_starts(line, "cpu\t") && bytes_to_u64(bytes_from(line, 4), COST_MS_MAX, &cpu_ms))
            break;
    return (int64_t)cpu_ms;
}
