/* ladder/map.c - one map task: the chunk comes from the store, is encoded in a sandboxed child, and what came
 * out goes to the store. The same for a worker of the queue and for `matinee map`. */
#include "ladder/ladder_int.h"

#include "base/mem.h"

#include <stdio.h>

static enum map_end failed(enum map_end end, char why[256], const char *what, enum err e)
{
    snprintf(why, 256, "%s: %s", what, err_text(e));
    return end;
}

static enum map_end from_encoder(enum err e)
{
    switch (e) {
    case ERR_OK:
        return MAP_DONE;
    case ERR_CLOSED:
        return MAP_STOPPED;
    case ERR_UNSUPPORTED:
        return MAP_REFUSED;
    case ERR_BAD:
        return MAP_FAULT;
    default:
        return MAP_DIED;
    }
}

static enum err make_init(const struct task *t, struct buffer **out)
{
    struct codec_config config;
    struct cmaf *c = NULL;
    const char *why;
    enum err e = codec_config_parse(&config, t->codec, t->record, &why);

    if (e == ERR_OK && (e = cmaf_new(&c, &config, t->record, 0)) == ERR_OK)
        e = cmaf_init(c, out);
    cmaf_free(c);
    return e;
}

static enum map_end store_results(const struct map_means *means, const struct task *t,
                                  const struct encode_result *made, struct builder *result, char why[256])
{
    char name[SEGMENT_NAME_SIZE];

    for (size_t i = 0; i < t->rung_count; i++) {
        struct bytes chunk = buffer_bytes(made->made[i].chunk);
        struct piece p = {.video = t->video,
                          .chunk = t->chunk,
                          .of = t->of,
                          .bytes = (uint32_t)chunk.size,
                          .init = t->init,
                          .record = buffer_bytes(made->made[i].record)};
        enum err e;

        snprintf(p.rendition, sizeof p.rendition, "%s", t->rungs[i].name);
        snprintf(p.segment, sizeof p.segment, "%s", t->segment);
        if (p.record.size > TASK_RECORD_MAX)
            return failed(MAP_FAULT, why, "the encoder's configuration", ERR_LIMIT);
        if ((e = store_put(means->store, piece_object(&p, name), chunk)) != ERR_OK)
            return failed(MAP_STORE, why, "a chunk cannot be stored", e);
        piece_write(&p, result);
    }
    return MAP_DONE;
}

static enum map_end encode(const struct map_means *means, const struct task *t, const struct buffer *segment,
                           struct builder *result, int64_t *cpu_ms, char why[256])
{
    struct encode_result made = {0};
    struct buffer *init = NULL;
    enum map_end end;
    enum err e;

    if (t->offset > buffer_bytes(segment).size || t->size > buffer_bytes(segment).size - t->offset)
        return failed(MAP_FAULT, why, "the chunk lies outside of its segment", ERR_BAD);
    if ((e = make_init(t, &init)) != ERR_OK)
        return failed(MAP_FAULT, why, "the source's configuration cannot be read", e);
    end = from_encoder(
        encode_run(means->program,
                   &(struct encode_request){buffer_bytes(init),
                                            bytes_head(bytes_from(buffer_bytes(segment), t->offset), t->size),
                                            t->rungs, t->rung_count},
                   means->keep_on, means->ctx, &made, why));
    *cpu_ms = made.cpu_ms;
    /* The chunk of one who comes late would lie there for ever: its segment is made, and the chunks are swept away. */
    if (end == MAP_DONE && means->wanted != NULL && !means->wanted(means->ctx))
        end = MAP_STOPPED;
    if (end == MAP_DONE)
        end = store_results(means, t, &made, result, why);
    encode_result_free(&made);
    buffer_unref(init);
    return end;
}

enum map_end map_task(const struct map_means *means, const struct task *t, struct builder *result,
                      int64_t *cpu_ms, char why[256])
{
    struct buffer *segment;
    enum err e = store_get(means->store, t->object, &segment);

    why[0] = '\0';
    *cpu_ms = 0;
    if (e != ERR_OK)
        return failed(e == ERR_MISSING ? MAP_FAULT : MAP_STORE, why, "the source's segment", e);
    enum map_end end = encode(means, t, segment, result, cpu_ms, why);

    buffer_unref(segment);
    return end;
}
