/* tests/fuzz/rtmp_chunk.c - chunk streams: whatever the split, the same messages, in bounded memory. */
#include "fuzz.h"

#include "base/limits.h"
#include "rtmp/chunk_int.h"

/* What a reader made of the input, folded into one number; false in *stands when it was refused. */
static uint64_t read_all(struct bytes in, size_t piece, bool *stands)
{
    struct chunk_reader r;
    uint64_t sum = 0;
    size_t at = 0, shown = 0;
    const char *why = NULL;
    long taken = 0;

    chunk_reader_init(&r);
    r.message_bytes_max = RTMP_MESSAGE_BYTES_MAX;
    while (shown < in.size && taken >= 0) {
        shown = in.size - shown > piece ? shown + piece : in.size;
        do {
            struct chunk_message m;

            taken = chunk_read(&r, &m, bytes_from(bytes_head(in, shown), at), &why);
            if (m.buffer != NULL) {
                sum = sum * 31 + m.type + m.timestamp + m.first + m.message_stream;
                for (size_t i = 0; i < m.buffer->size; i++)
                    sum = sum * 31 + m.buffer->data[i];
                if (m.type == TYPE_CHUNK_SIZE && m.buffer->size >= 4)
                    (void)!chunk_set_size(&r, (uint32_t)(m.buffer->data[2] << 8 | m.buffer->data[3]));
                if (m.type == TYPE_ABORT && m.buffer->size >= 1)
                    chunk_abort(&r, m.buffer->data[m.buffer->size - 1]);
            }
            buffer_unref(m.buffer);
            at += taken > 0 ? (size_t)taken : 0;
        } while (taken > 0 && at < shown);
        fuzz_check(r.partial_bytes <= RTMP_PARTIAL_BYTES_MAX && r.stream_count <= RTMP_CHUNK_STREAMS_MAX);
        fuzz_check(taken < 0 || r.position == at);
    }
    fuzz_check(taken >= 0 || why != NULL);
    *stands = taken >= 0;
    chunk_reader_drop(&r);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    bool whole, pieces;
    uint64_t a = read_all(in, size + 1, &whole),
             b = read_all(in, 1 + (size > 0 ? data[0] % 16u : 0), &pieces);

    fuzz_check(whole == pieces && a == b);
    return 0;
}
