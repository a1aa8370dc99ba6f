/* ladder/encode_frame.c - requests and answers of encode_run() as bytes. Numbers are big-endian; a word
 * has a byte of length before it and a NUL behind it, so that a reader can point to it. */
#include "ladder/encode_int.h"

#include "base/limits.h"

#include <stdio.h>

#define REQUEST_MAGIC 0x4d454e31u
#define ANSWER_MAGIC  0x4d454e32u

#define INIT_BYTES_MAX (CODEC_CONFIG_BYTES_MAX + 4096u)

/* --- words ---------------------------------------------------------------------------------------------- */

static void put_word(struct builder *out, const char *word)
{
    struct bytes b = bytes_head(bytes_text(word), UINT8_MAX);

    builder_u8(out, (uint8_t)b.size);
    builder_add(out, b);
    builder_u8(out, 0);
}

/* Printable ASCII only; NULL when it is none or longer than `size_max`. */
static const char *take_word(struct cursor *c, size_t size_max)
{
    size_t size = cursor_u8(c);
    struct bytes b = cursor_take(c, size + 1);

    if (c->short_of || size > size_max || b.at[size] != '\0')
        return NULL;
    for (size_t i = 0; i < size; i++)
        if (b.at[i] < ' ' || b.at[i] > '~')
            return NULL;
    return (const char *)b.at;
}

/* --- requests ------------------------------------------------------------------------------------------- */

static void put_rung(struct builder *out, const struct rung *r)
{
    put_word(out, r->name);
    builder_u8(out, (uint8_t)r->codec);
    builder_be32(out, r->width);
    builder_be32(out, r->height);
    builder_be32(out, r->fps_max);
    builder_be32(out, r->crf);
    builder_be32(out, r->bitrate_max);
    builder_be32(out, r->buffer_bits);
    builder_be32(out, r->bframes);
    put_word(out, r->preset);
    put_word(out, r->profile);
}

void encode_request_write(struct builder *out, const struct encode_request *request)
{
    builder_be32(out, REQUEST_MAGIC);
    builder_u8(out, (uint8_t)request->rung_count);
    for (size_t i = 0; i < request->rung_count; i++)
        put_rung(out, &request->rungs[i]);
    builder_be32(out, (uint32_t)request->init.size);
    builder_be32(out, (uint32_t)request->chunk.size);
}

static bool is_possible(const struct rung *r)
{
    return (r->codec == CODEC_H264 || r->codec == CODEC_HEVC || r->codec == CODEC_AV1) && r->width >= 2 &&
           r->height >= 2 && r->width <= PICTURE_SIDE_MAX && r->height <= PICTURE_SIDE_MAX &&
           r->width % 2 == 0 && r->height % 2 == 0 && r->fps_max >= 1 && r->fps_max <= 1000 && r->crf <= 63 &&
           r->bitrate_max >= 1000 && r->bitrate_max <= INT32_MAX && r->buffer_bits >= 1000 &&
           r->buffer_bits <= INT32_MAX && r->bframes <= 16;
}

static bool take_rung(struct cursor *c, struct rung *out)
{
    const char *name = take_word(c, sizeof out->name - 1);

    *out = (struct rung){0};
    out->codec = (enum codec)cursor_u8(c);
    out->width = cursor_be32(c);
    out->height = cursor_be32(c);
    out->fps_max = cursor_be32(c);
    out->crf = cursor_be32(c);
    out->bitrate_max = cursor_be32(c);
    out->buffer_bits = cursor_be32(c);
    out->bframes = cursor_be32(c);
    out->preset = take_word(c, 31);
    out->profile = take_word(c, 31);
    if (name == NULL || out->preset == NULL || out->profile == NULL || !is_possible(out))
        return false;
    snprintf(out->name, sizeof out->name, "%s", name);
    return true;
}

enum err encode_request_parse(struct encode_request *out, struct rung rungs[RUNGS_MAX], struct bytes in)
{
    struct cursor c = cursor_of(in);
    uint32_t magic = cursor_be32(&c), init_size, chunk_size;
    size_t count = cursor_u8(&c);

    *out = (struct encode_request){.rungs = rungs, .rung_count = count};
    if (magic != REQUEST_MAGIC || count == 0 || count > RUNGS_MAX)
        return ERR_BAD;
    for (size_t i = 0; i < count; i++)
        if (!take_rung(&c, &rungs[i]))
            return ERR_BAD;
    init_size = cursor_be32(&c);
    chunk_size = cursor_be32(&c);
    if (init_size > INIT_BYTES_MAX || chunk_size > SEGMENT_BYTES_MAX)
        return ERR_BAD;
    out->init = cursor_take(&c, init_size);
    out->chunk = cursor_take(&c, chunk_size);
    return c.short_of || c.left.size > 0 ? ERR_BAD : ERR_OK;
}

/* --- answers -------------------------------------------------------------------------------------------- */

void encode_answer_write(struct builder *out, const struct encode_answer *answer)
{
    builder_be32(out, ANSWER_MAGIC);
    builder_u8(out, (uint8_t)answer->e);
    put_word(out, answer->why);
    builder_u8(out, (uint8_t)answer->count);
    for (size_t i = 0; i < answer->count; i++) {
        builder_be32(out, (uint32_t)answer->records[i].size);
        builder_be32(out, (uint32_t)answer->chunks[i].size);
        builder_add(out, answer->records[i]);
        builder_add(out, answer->chunks[i]);
    }
}

static bool take_made(struct cursor *c, struct bytes *record, struct bytes *chunk)
{
    uint32_t record_size = cursor_be32(c), chunk_size = cursor_be32(c);

    if (record_size == 0 || record_size > CODEC_CONFIG_BYTES_MAX || chunk_size == 0 ||
        chunk_size > SEGMENT_BYTES_MAX)
        return false;
    *record = cursor_take(c, record_size);
    *chunk = cursor_take(c, chunk_size);
    return !c->short_of;
}

enum err encode_answer_parse(struct encode_answer *out, size_t count, struct bytes in)
{
    struct cursor c = cursor_of(in);
    uint32_t magic = cursor_be32(&c);
    uint8_t e = cursor_u8(&c);
    const char *why = take_word(&c, UINT8_MAX);

    *out = (struct encode_answer){.e = (enum err)e, .count = cursor_u8(&c)};
    if (magic != ANSWER_MAGIC || e > ERR_STALE || why == NULL || out->count != (e == ERR_OK ? count : 0))
        return ERR_BAD;
    snprintf(out->why, sizeof out->why, "%s", why);
    for (size_t i = 0; i < out->count; i++)
        if (!take_made(&c, &out->records[i], &out->chunks[i]))
            return ERR_BAD;
    return c.short_of || c.left.size > 0 ? ERR_BAD : ERR_OK;
}
