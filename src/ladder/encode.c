/* ladder/encode.c - one chunk is encoded in a child: from the server's side, and from the child's. */
#include "ladder/child_int.h"
#include "ladder/encode_int.h"

#include "base/limits.h"
#include "base/log.h"

#include <libavutil/log.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* The request's head: a few words for each rung. */
#define HEAD_BYTES_MAX 4096u

/* Beyond this the chunk is not one that anybody waits for: the longest, of 60 s, takes ten times that long
 * on a slow core. */
#define CPU_SECONDS_MAX 1800

/* Reading ingest's sockets goes before. */
#define NICE 5

/* --- the server's side ------------------------------------------------------------------------------- */

void encode_result_free(struct encode_result *r)
{
    for (size_t i = 0; i < RUNGS_MAX; i++) {
        buffer_unref(r->made[i].record);
        buffer_unref(r->made[i].chunk);
    }
    *r = (struct encode_result){0};
}

static void keep(struct encode_result *out, const struct encode_answer *answer)
{
    for (size_t i = 0; i < answer->count; i++) {
        out->made[i].record = buffer_copy(answer->records[i]);
        out->made[i].chunk = buffer_copy(answer->chunks[i]);
    }
}

/* Says how the child ended when it did not say so itself. */
static enum err say_end(int status, char why[256])
{
    if (status != -1 && WIFSIGNALED(status))
        snprintf(why, 256, "the encoding process was killed: %s", strsignal(WTERMSIG(status)));
    else
        snprintf(why, 256, "the encoding process ended without an answer");
    return ERR_IO;
}

static enum err read_answer(const struct encode_request *request, const struct child_end *end,
                            struct encode_result *out, char why[256])
{
    struct encode_answer answer;

    if (end->status != 0 ||
        encode_answer_parse(&answer, request->rung_count, builder_bytes(&end->answer)) != ERR_OK)
        return say_end(end->status, why);
    snprintf(why, 256, "%s", answer.why);
    keep(out, &answer);
    return answer.e == ERR_LIMIT ? ERR_IO : answer.e;
}

enum err encode_run(const char *program, const struct encode_request *request, bool (*keep_on)(void *ctx),
                    void *ctx, struct encode_result *out, char why[256])
{
    struct builder head = {0};
    struct child_job job = {.program = program,
                            .command = "encode-chunk",
                            .answer_bytes_max =
                                (size_t)SEGMENT_BYTES_MAX + RUNGS_MAX * CODEC_CONFIG_BYTES_MAX,
                            .keep_on = keep_on,
                            .ctx = ctx};
    struct child_end end;
    enum err e;

    *out = (struct encode_result){0};
    why[0] = '\0';
    encode_request_write(&head, request);
    job.parts[0] = builder_bytes(&head);
    job.parts[1] = request->init;
    job.parts[2] = request->chunk;
    e = child_run(&job, &end);
    out->cpu_ms = end.cpu_ms;
    if (e == ERR_OK)
        e = read_answer(request, &end, out, why);
    else if (e != ERR_CLOSED)
        e = say_end(end.status, why);
    builder_drop(&end.answer);
    builder_drop(&head);
    return e;
}

/* --- the child's side -------------------------------------------------------------------------------- */

/* Address space: the decoder's pictures (of 8K, a gigabyte), and for each rung some sixty pictures that
 * its encoder looks ahead over, keeps and refers to, with what it knows of each; the chunk once in the
 * request, once in parts, once encoded. */
static size_t bytes_for(const struct encode_request *r)
{
    size_t bytes = (size_t)3 << 29;

    for (size_t i = 0; i < r->rung_count; i++)
        bytes += (size_t)r->rungs[i].width * r->rungs[i].height * 256;
    return bytes + 4 * r->chunk.size;
}

/* x265 and SVT-AV1 cannot do without threads. */
static enum sandbox_threads threads_for(const struct encode_request *r)
{
    for (size_t i = 0; i < r->rung_count; i++)
        if (r->rungs[i].codec != CODEC_H264)
            return SANDBOX_THREADS;
    return SANDBOX_ONE_THREAD;
}

static void encode(const struct encode_request *request, struct builder *out)
{
    struct transcoded made[RUNGS_MAX] = {0};
    struct encode_answer answer = {.count = 0};

    answer.e =
        transcode(request->init, request->chunk, request->rungs, request->rung_count, made, answer.why);
    for (size_t i = 0; i < request->rung_count && answer.e == ERR_OK; i++) {
        answer.records[i] = buffer_bytes(made[i].record);
        answer.chunks[i] = buffer_bytes(made[i].chunk);
        answer.count++;
    }
    encode_answer_write(out, &answer);
    for (size_t i = 0; i < RUNGS_MAX; i++) {
        buffer_unref(made[i].record);
        buffer_unref(made[i].chunk);
    }
}

/* The request's head is ours and read before the doors are locked, for it says how much room is needed; no
 * foreign byte has been looked at by then. */
int encode_child(void)
{
    struct builder in = {0}, out = {0};
    struct encode_request request;
    struct rung rungs[RUNGS_MAX];
    enum err e;

    av_log_set_level(AV_LOG_QUIET);
    setenv("SVT_LOG", "0", 1);          /* it writes to standard error of its own accord */
    setpriority(PRIO_PROCESS, 0, NICE); /* where it is not allowed, without */
    signal(SIGXFSZ, SIG_IGN); /* last words go nowhere when standard error is a file; they do not kill */
    if ((e = child_read(&in, (size_t)HEAD_BYTES_MAX + 2 * CODEC_CONFIG_BYTES_MAX + SEGMENT_BYTES_MAX)) ==
            ERR_OK &&
        (e = encode_request_parse(&request, rungs, builder_bytes(&in))) == ERR_OK &&
        (e = sandbox_enter(CPU_SECONDS_MAX, bytes_for(&request), threads_for(&request))) == ERR_OK) {
        encode(&request, &out);
        e = child_write(builder_bytes(&out));
    }
    builder_drop(&out);
    builder_drop(&in);
    return e == ERR_OK ? 0 : 1;
}
