/* encode_run(): a chunk is encoded in a child, and whatever becomes of the child is told. The program is
 * the built matinee, given as the only argument. */
#include "unit.h"

#include "../media/chunks.h"

#include "base/clock.h"
#include "ladder/ladder_int.h"

#include <fcntl.h>
#include <libavutil/log.h>
#include <signal.h>

static const char *program;
static struct chunks source, longer; /* a second of pictures; a minute */

static struct encode_request request_of(const struct chunks *from, const struct rung *rungs, size_t count)
{
    return (struct encode_request){buffer_bytes(from->init), buffer_bytes(from->chunks[0]), rungs, count};
}

static void what_a_child_makes_is_what_transcode_makes(void **state)
{
    struct rung rungs[RUNGS_MAX];
    size_t count = plan_rungs("240p,144p", 640, 360, 30, rungs);
    struct encode_request request = request_of(&source, rungs, count);
    struct transcoded here[RUNGS_MAX];
    struct encode_result there;
    char why[256];

    assert_int_equal(encode_run(program, &request, NULL, NULL, &there, why), ERR_OK);
    assert_int_equal(transcode(request.init, request.chunk, rungs, count, here, why), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        assert_true(bytes_equal(buffer_bytes(here[i].chunk), buffer_bytes(there.made[i].chunk)));
        assert_true(bytes_equal(buffer_bytes(here[i].record), buffer_bytes(there.made[i].record)));
        buffer_unref(here[i].chunk);
        buffer_unref(here[i].record);
    }
    assert_true(there.cpu_ms > 0);
    encode_result_free(&there);
}

/* Their encoders start threads, which the sandbox lets them. */
static void other_encoders_run_in_the_sandbox(void **state)
{
    static const char *const ladders[] = {"240p:hevc", "240p:av1"};

    for (size_t i = 0; i < 2; i++) {
        struct rung rungs[RUNGS_MAX];
        size_t count = plan_rungs(ladders[i], 640, 360, 30, rungs);
        struct encode_request request = request_of(&source, rungs, count);
        struct encode_result result, again;
        char why[256];

        assert_int_equal(encode_run(program, &request, NULL, NULL, &result, why), ERR_OK);
        assert_int_equal(encode_run(program, &request, NULL, NULL, &again, why), ERR_OK);
        assert_true(bytes_equal(buffer_bytes(result.made[0].chunk), buffer_bytes(again.made[0].chunk)));
        encode_result_free(&result);
        encode_result_free(&again);
    }
}

static void a_chunk_that_is_none_is_refused_with_words(void **state)
{
    struct rung rungs[RUNGS_MAX];
    struct encode_request request = request_of(&source, rungs, plan_rungs("144p", 640, 360, 30, rungs));
    struct encode_result result;
    char why[256];

    request.chunk = bytes_head(request.chunk, request.chunk.size - 1);
    assert_int_equal(encode_run(program, &request, NULL, NULL, &result, why), ERR_BAD);
    assert_non_null(strstr(why, "cut short"));
    assert_null(result.made[0].chunk);
    request.chunk = (struct bytes){0};
    assert_int_equal(encode_run(program, &request, NULL, NULL, &result, why), ERR_BAD);
    encode_result_free(&result);
}

static bool never(void *ctx)
{
    return false;
}

static bool until(void *ctx)
{
    return clock_mono_ms() < *(int64_t *)ctx;
}

static void a_task_that_nobody_wants_any_more_ends_at_once(void **state)
{
    struct rung rungs[RUNGS_MAX];
    struct encode_request request = request_of(&longer, rungs, plan_rungs("480p,360p", 1280, 720, 30, rungs));
    struct encode_result result;
    int64_t began_ms = clock_mono_ms(), due_ms = began_ms + 300;
    char why[256];

    assert_int_equal(encode_run(program, &request, never, NULL, &result, why), ERR_CLOSED);
    assert_int_equal(encode_run(program, &request, until, &due_ms, &result, why), ERR_CLOSED);
    assert_true(clock_mono_ms() - began_ms < 2000);
    encode_result_free(&result);
}

/* Kills what this process started that is called encode-chunk; true when there was one. */
static bool kill_a_child(void *ctx)
{
    char path[64], text[64] = "";
    long pid = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    if ((f = fopen(path, "r")) != NULL) {
        if (fgets(text, sizeof text, f) != NULL)
            pid = strtol(text, NULL, 10);
        fclose(f);
    }
    if (pid > 0)
        kill((pid_t)pid, SIGKILL);
    return true;
}

static void a_child_that_is_killed_is_an_error_of_ours(void **state)
{
    struct rung rungs[RUNGS_MAX];
    struct encode_request request = request_of(&longer, rungs, plan_rungs("480p,360p", 1280, 720, 30, rungs));
    struct encode_result result;
    char why[256];

    assert_int_equal(encode_run(program, &request, kill_a_child, NULL, &result, why), ERR_IO);
    assert_true(why[0] != '\0');
    encode_result_free(&result);
}

static void a_program_that_is_not_there_is_an_error_of_ours(void **state)
{
    struct rung rungs[RUNGS_MAX];
    struct encode_request request = request_of(&source, rungs, plan_rungs("144p", 640, 360, 30, rungs));
    struct encode_result result;
    char why[256];

    assert_int_equal(encode_run("/nonexistent", &request, NULL, NULL, &result, why), ERR_IO);
    assert_int_equal(encode_run("/bin/true", &request, NULL, NULL, &result, why), ERR_IO);
    assert_true(why[0] != '\0');
    encode_result_free(&result);
}

/* --- the sandbox ---------------------------------------------------------------------------------------- */

/* Runs `work` in a process of its own that is locked in; its exit status, or -1 when a signal ended it. */
static int locked_in(size_t bytes, enum sandbox_threads threads, int (*work)(void))
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0)
        _exit(sandbox_enter(10, bytes, threads) == ERR_OK ? work() : 99);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int opens_a_file(void)
{
    return open("/etc/hostname", O_RDONLY | O_CLOEXEC) < 0 ? 7 : 1;
}

static int forks(void)
{
    return fork() < 0 ? 7 : 1;
}

static int takes_memory(void)
{
    void *volatile p = malloc((size_t)2 << 30);

    return p == NULL ? 7 : 1;
}

static void the_sandbox_has_no_files_processes_or_more_memory(void **state)
{
    assert_int_equal(locked_in((size_t)1 << 30, SANDBOX_ONE_THREAD, opens_a_file), 7);
    assert_int_equal(locked_in((size_t)1 << 30, SANDBOX_ONE_THREAD, forks), 7);
    assert_int_equal(locked_in((size_t)1 << 30, SANDBOX_THREADS, forks), 7);
    if (getenv("ASAN_OPTIONS") == NULL) /* under AddressSanitizer address space has no limit */
        assert_int_equal(locked_in((size_t)1 << 30, SANDBOX_ONE_THREAD, takes_memory), 7);
}

static int make_sources(void **state)
{
    av_log_set_level(AV_LOG_QUIET);
    source =
        chunks_make("-f lavfi -i testsrc2=r=30:s=640x360:d=1 -c:v libx264 -preset ultrafast -bf 2 -g 30");
    longer = chunks_make("-f lavfi -i testsrc2=r=30:s=1280x720:d=20 -c:v libx264 -preset ultrafast -g 600");
    return 0;
}

static int free_sources(void **state)
{
    chunks_free(&source);
    chunks_free(&longer);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_child_makes_is_what_transcode_makes),
        cmocka_unit_test(other_encoders_run_in_the_sandbox),
        cmocka_unit_test(a_chunk_that_is_none_is_refused_with_words),
        cmocka_unit_test(a_task_that_nobody_wants_any_more_ends_at_once),
        cmocka_unit_test(a_child_that_is_killed_is_an_error_of_ours),
        cmocka_unit_test(a_program_that_is_not_there_is_an_error_of_ours),
        cmocka_unit_test(the_sandbox_has_no_files_processes_or_more_memory),
    };

    assert(argc == 2);
    program = argv[1];
    signal(SIGPIPE, SIG_IGN); /* as the server does */
    if (getenv("ASAN_OPTIONS") != NULL)
        setenv("ASAN_OPTIONS", "detect_leaks=0",
               1); /* of children: looking for leaks needs what the sandbox refuses */
    return cmocka_run_group_tests(tests, make_sources, free_sources);
}
