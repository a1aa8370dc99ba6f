/* ladder/filter.c - map and reduce over lines, for a shell and for Hadoop Streaming. */
#include "ladder/ladder_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* --- map ---------------------------------------------------------------------------------------------- */

static bool map_line(const struct map_means *means, struct bytes line, FILE *out)
{
    long tab = bytes_find(line, '\t');
    struct builder result = {0};
    struct task task;
    char why[256] = "there is no TAB between key and value";
    enum map_end end = MAP_FAULT;
    int64_t cpu_ms;

    if (tab >= 0 &&
        task_read(&task, bytes_head(line, (size_t)tab), bytes_from(line, (size_t)tab + 1), why) == ERR_OK)
        end = map_task(means, &task, &result, &cpu_ms, why);
    if (end == MAP_DONE) {
        struct bytes lines = builder_bytes(&result);

        fwrite(lines.at, 1, lines.size, out);
        fflush(out);
    } else {
        fprintf(stderr, "matinee map: %.*s: %s\n", (int)(tab < 0 ? 0 : tab), (const char *)line.at, why);
    }
    builder_drop(&result);
    return end == MAP_DONE;
}

int map_filter(struct store *store, const char *program, FILE *in, FILE *out)
{
    struct map_means means = {.store = store, .program = program};
    char *line = NULL;
    size_t room = 0;
    int status = 0;

    for (ssize_t size; (size = getline(&line, &room, in)) > 0;) {
        if (line[size - 1] == '\n')
            size--;
        if (size > 0 && !map_line(&means, bytes_of(line, (size_t)size), out))
            status = 1;
    }
    free(line);
    return ferror(in) || ferror(out) ? 1 : status;
}

/* --- reduce ------------------------------------------------------------------------------------------- */

/* The chunks of one segment of one rendition, as they come. */
struct heap {
    struct piece pieces[SEGMENT_CHUNKS_MAX]; /* by chunk; `of` 0: not come */
    unsigned of, have;
};

static bool same_segment(const struct piece *a, const struct piece *b)
{
    return ulid_equal(a->video, b->video) && strcmp(a->rendition, b->rendition) == 0 &&
           strcmp(a->segment, b->segment) == 0;
}

static const struct piece *any_of(const struct heap *h)
{
    for (unsigned i = 0; i < h->of; i++)
        if (h->pieces[i].of > 0)
            return &h->pieces[i];
    return NULL;
}

static bool reduce_heap(struct store *store, struct heap *h, FILE *out)
{
    const struct piece *any = any_of(h);
    char name[SEGMENT_NAME_SIZE], id[ULID_TEXT_SIZE];
    struct builder line = {0};
    enum err e = ERR_MISSING;
    uint32_t bytes = 0;

    if (any == NULL)
        return true;
    snprintf(name, sizeof name, "v/%s/%s/%s.m4s", ulid_text(any->video, id), any->rendition, any->segment);
    if (h->have == h->of)
        e = reduce_segment(store, h->pieces, h->of, name, &bytes);
    if (e == ERR_OK) {
        struct piece whole = h->pieces[0];

        whole.chunk = 0;
        whole.of = 1;
        whole.bytes = bytes;
        whole.record = h->pieces[0].record;
        piece_write(&whole, &line);
        fwrite(builder_bytes(&line).at, 1, builder_bytes(&line).size, out);
        reduce_sweep(store, h->pieces, h->of);
    } else {
        fprintf(stderr, "matinee reduce: %s: %u of %u chunks: %s\n", name, h->have, h->of, err_text(e));
    }
    builder_drop(&line);
    return e == ERR_OK;
}

static void heap_begin(struct heap *h, unsigned of)
{
    for (unsigned i = 0; i < h->of; i++)
        h->pieces[i].of = 0;
    h->of = of;
    h->have = 0;
}

static void heap_add(struct heap *h, const struct piece *p)
{
    struct piece *place = &h->pieces[p->chunk];

    if (place->of > 0)
        return; /* the same task was done twice, to the same bytes */
    *place = *p;
    place->record = bytes_of(place->memory, p->record.size);
    h->have++;
}

int reduce_filter(struct store *store, FILE *in, FILE *out)
{
    struct heap *heap = mem_new(sizeof *heap);
    char *line = NULL;
    size_t room = 0;
    int status = 0;

    for (ssize_t size; (size = getline(&line, &room, in)) > 0;) {
        struct piece p;

        if (line[size - 1] == '\n')
            size--;
        if (size == 0)
            continue;
        if (piece_read(&p, bytes_of(line, (size_t)size)) != ERR_OK || p.of == 0) {
            fprintf(stderr, "matinee reduce: not a line of matinee map: %.80s\n", line);
            status = 1;
            continue;
        }
        const struct piece *any = any_of(heap);

        if (any == NULL || !same_segment(any, &p) || any->of != p.of) {
            if (!reduce_heap(store, heap, out))
                status = 1;
            heap_begin(heap, p.of);
        }
        heap_add(heap, &p);
    }
    if (!reduce_heap(store, heap, out))
        status = 1;
    free(heap);
    free(line);
    return ferror(in) || fflush(out) != 0 ? 1 : status;
}
