/* tests/fuzz/encode_frame.c - what encode_run() and its child say to each other: the first byte says
 * whether it is a request or an answer, and of how many renditions. What was read and is written reads the
 * same again. */
#include "fuzz.h"

#include "ladder/encode_int.h"

#include <string.h>

static void request(struct bytes in)
{
    struct encode_request request, again;
    struct rung rungs[RUNGS_MAX], rungs_again[RUNGS_MAX];
    struct builder b = {0};

    if (encode_request_parse(&request, rungs, in) != ERR_OK)
        return;
    fuzz_check(request.rung_count > 0 && request.rung_count <= RUNGS_MAX);
    fuzz_check(fuzz_within(request.init, in) && fuzz_within(request.chunk, in));
    encode_request_write(&b, &request);
    builder_add(&b, request.init);
    builder_add(&b, request.chunk);
    fuzz_check(encode_request_parse(&again, rungs_again, builder_bytes(&b)) == ERR_OK);
    fuzz_check(bytes_equal(again.init, request.init) && bytes_equal(again.chunk, request.chunk));
    for (size_t i = 0; i < request.rung_count; i++)
        fuzz_check(strcmp(rungs[i].name, rungs_again[i].name) == 0 &&
                   strcmp(rungs[i].preset, rungs_again[i].preset) == 0 &&
                   rungs[i].width == rungs_again[i].width && rungs[i].bframes == rungs_again[i].bframes);
    builder_drop(&b);
}

static void answer(size_t count, struct bytes in)
{
    struct encode_answer answer, again;
    struct builder b = {0};

    if (encode_answer_parse(&answer, count, in) != ERR_OK)
        return;
    fuzz_check(answer.count == (answer.e == ERR_OK ? count : 0));
    for (size_t i = 0; i < answer.count; i++)
        fuzz_check(fuzz_within(answer.records[i], in) && fuzz_within(answer.chunks[i], in));
    encode_answer_write(&b, &answer);
    fuzz_check(encode_answer_parse(&again, count, builder_bytes(&b)) == ERR_OK);
    fuzz_check(again.e == answer.e && strcmp(again.why, answer.why) == 0);
    builder_drop(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);

    if (size == 0)
        return 0;
    if (data[0] & 1)
        answer(1 + (data[0] >> 1) % RUNGS_MAX, bytes_from(in, 1));
    else
        request(bytes_from(in, 1));
    return 0;
}
