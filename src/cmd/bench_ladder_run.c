/* cmd/bench_ladder_run.c - command lines that are put together, run and measured. */
#include "cmd/bench_ladder_int.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void words_add(struct words *w, const char *format, ...)
{
    va_list args;

    assert(w->count < WORDS_MAX);
    va_start(args, format);
    int size = vasprintf(&w->at[w->count++], format, args);

    va_end(args);
    assert(size >= 0);
}

void words_split(struct words *w, const char *text)
{
    for (const char *end; *text != '\0'; text = *end == ' ' ? end + 1 : end) {
        end = text;
        while (*end != ' ' && *end != '\0')
            end++;
        words_add(w, "%.*s", (int)(end - text), text);
    }
}

void words_drop(struct words *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->at[i]);
    *w = (struct words){0};
}

static double ms_of(const struct rusage *used)
{
    return (double)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1000 +
           (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec) / 1000;
}

bool words_run(const struct words *w, const char *said, double *cpu_ms)
{
    posix_spawn_file_actions_t actions;
    struct rusage used = {0};
    int status = -1, code;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (said != NULL)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, said, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    code = posix_spawnp(&pid, w->at[0], &actions, NULL, w->at, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (code != 0) {
        fprintf(stderr, "matinee bench ladder: %s cannot be started\n", w->at[0]);
        return false;
    }
    while (wait4(pid, &status, 0, &used) < 0 && errno == EINTR)
        continue;
    *cpu_ms = ms_of(&used);
    if (status != 0)
        fprintf(stderr, "matinee bench ladder: %s failed%s%s\n", w->at[0], said ? "; see " : "",
                said ? said : "");
    return status == 0;
}
