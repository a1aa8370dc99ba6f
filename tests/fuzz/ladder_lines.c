/* Fuzzes the ladder's lines, which come from queues, pipes and other machines: a task, a piece, the chunks of a segment. What
 * could be read must come out the same when it is written and read again. */
#include "ladder/ladder_int.h"

#include <assert.h>
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_task(struct bytes line)
{
    long tab = bytes_find(line, '\t');
    static struct task task, again;
    struct builder out = {0};
    char why[128], key[TASK_KEY_SIZE];

    if (tab < 0 ||
        task_read(&task, bytes_head(line, (size_t)tab), bytes_from(line, (size_t)tab + 1), why) != ERR_OK)
        return;
    task_key(&task, key);
    task_write(&task, &out);
    assert(task_read(&again, bytes_text(key), builder_bytes(&out), why) == ERR_OK);
    assert(again.rung_count == task.rung_count && bytes_equal(again.record, task.record));
    builder_drop(&out);
}

static void read_piece(struct bytes line)
{
    static struct piece piece, again;
    struct builder out = {0};
    struct bytes text, back;

    if (piece_read(&piece, line) != ERR_OK)
        return;
    piece_write(&piece, &out);
    text = builder_bytes(&out);
    assert(line_next(&text, &back) && piece_read(&again, back) == ERR_OK && again.bytes == piece.bytes);
    builder_drop(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes text = bytes_of(data, size), line;
    struct extent extents[SEGMENT_CHUNKS_MAX];

    size_t chunks = chunks_find(text, extents, SEGMENT_CHUNKS_MAX);

    for (size_t i = 0; i < chunks; i++)
        assert(extents[i].size > 0 && extents[i].offset + extents[i].size <= size);
    (void)pictures_count(text);
    assert(cost_read(text) >= 0);
    while (line_next(&text, &line)) {
        read_task(line);
        read_piece(line);
    }
    return 0;
}
