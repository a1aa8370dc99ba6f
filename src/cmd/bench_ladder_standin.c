/* cmd/bench_ladder_standin.c - workers that do everything but encode; see bench_ladder_house_int.h. */
#include "cmd/bench_ladder_house_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* --- the child -------------------------------------------------------------------------------------------- */

static bool read_all(int fd, struct builder *out)
{
    uint8_t piece[65536];
    ssize_t n;

    while ((n = read(fd, piece, sizeof piece)) > 0)
        builder_add(out, bytes_of(piece, (size_t)n));
    return n == 0;
}

static bool write_all(int fd, struct bytes b)
{
    while (b.size > 0) {
        ssize_t n = write(fd, b.at, b.size);

        if (n <= 0)
            return false;
        b = bytes_from(b, (size_t)n);
    }
    return true;
}

/* FNV-1a. */
static uint64_t hash_of(struct bytes b)
{
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < b.size; i++)
        hash = (hash ^ b.at[i]) * 1099511628211u;
    return hash;
}

/* What is known of a request: the answer behind its CPU time in a line of its own. */
static bool recall(const char *path, long *cpu_ms, struct builder *answer)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char line[16] = "";
    bool good = fd >= 0 && read(fd, line, 12) == 12 && read_all(fd, answer);

    *cpu_ms = strtol(line, NULL, 10);
    if (fd >= 0)
        close(fd);
    return good;
}

static bool remember(const char *path, long cpu_ms, struct bytes answer)
{
    char *begun = mem_printf("%s.%d", path, (int)getpid()), line[16];
    int fd = open(begun, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    snprintf(line, sizeof line, "%11ld\n", cpu_ms);
    bool good = fd >= 0 && write_all(fd, bytes_text(line)) && write_all(fd, answer);

    if (fd >= 0)
        good = close(fd) == 0 && good && rename(begun, path) == 0;
    free(begun);
    return good;
}

/* Has the true encoder answer the request in that file. */
static bool encode(const char *request, long *cpu_ms, struct builder *answer)
{
    char *const words[] = {(char *)(uintptr_t) "/proc/self/exe", (char *)(uintptr_t) "encode-chunk", NULL};
    posix_spawn_file_actions_t actions;
    struct rusage used = {0};
    int out[2], status = -1;
    pid_t pid;

    if (pipe2(out, O_CLOEXEC) != 0)
        return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, request, O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    int code = posix_spawn(&pid, words[0], &actions, NULL, words, environ);

    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    bool good = code == 0 && read_all(out[0], answer);

    close(out[0]);
    while (code == 0 && wait4(pid, &status, 0, &used) < 0 && errno == EINTR)
        continue;
    *cpu_ms = used.ru_utime.tv_sec * 1000 + used.ru_utime.tv_usec / 1000 + used.ru_stime.tv_sec * 1000 +
              used.ru_stime.tv_usec / 1000;
    return good && status == 0;
}

static bool learn(const char *path, struct bytes request, long *cpu_ms, struct builder *answer)
{
    char *asked = mem_printf("%s.%d.request", path, (int)getpid());
    int fd = open(asked, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = fd >= 0 && write_all(fd, request);

    if (fd >= 0)
        close(fd);
    good = good && encode(asked, cpu_ms, answer) && remember(path, *cpu_ms, builder_bytes(answer));
    unlink(asked);
    free(asked);
    return good;
}

/* CPU of this process so far: its start is part of what the true encoder was counted, too. */
static int64_t spent_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* FOLDER FACTOR: a request on standard input, its answer on standard output. */
int bench_ladder_encoder(int argc, char **argv)
{
    int64_t began_ms = clock_mono_ms() - spent_ms();
    struct builder request = {0}, answer = {0};
    long cpu_ms = 0;

    if (argc < 2 || !read_all(STDIN_FILENO, &request))
        return 1;
    char *path = mem_printf("%s/%016llx", argv[0], (unsigned long long)hash_of(builder_bytes(&request)));
    bool good = recall(path, &cpu_ms, &answer);

    if (good) {
        int64_t wait_ms = (int64_t)((double)cpu_ms * strtod(argv[1], NULL)) + began_ms - clock_mono_ms();

        house_nap(wait_ms > 0 ? (int)wait_ms : 0);
    } else {
        builder_drop(&answer);
        good = learn(path, builder_bytes(&request), &cpu_ms, &answer);
    }
    good = good && write_all(STDOUT_FILENO, builder_bytes(&answer));
    builder_drop(&request);
    builder_drop(&answer);
    free(path);
    return good ? 0 : 1;
}

double standin_mean_ms(const char *folder)
{
    DIR *dir = opendir(folder);
    double sum = 0;
    size_t count = 0;

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        struct builder answer = {0};
        long cpu_ms;
        char *path = mem_printf("%s/%s", folder, entry->d_name);

        if (strlen(entry->d_name) == 16 && recall(path, &cpu_ms, &answer)) {
            sum += (double)cpu_ms;
            count++;
        }
        builder_drop(&answer);
        free(path);
    }
    if (dir != NULL)
        closedir(dir);
    return count > 0 ? sum / (double)count : 0;
}

/* --- the worker ------------------------------------------------------------------------------------------- */

/* A worker runs `program encode-chunk`; this one runs the stand-in instead. The caller's. */
static char *make_program(const char *folder, const char *factor)
{
    char *self = realpath("/proc/self/exe", NULL);
    char *path = mem_printf("%s/encoder-%d", folder, (int)getpid());
    FILE *f = fopen(path, "we");
    bool good = f != NULL &&
                fprintf(f, "#!/bin/sh\nexec '%s' bench ladder-encoder '%s' %s\n", self, folder, factor) > 0;

    if (f != NULL)
        good = fclose(f) == 0 && chmod(path, 0755) == 0 && good;
    free(self);
    if (!good)
        free(path);
    return good ? path : NULL;
}

static void wait_for_end(void)
{
    sigset_t set;
    int signal;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigwait(&set, &signal);
}

/* QUEUE STORAGE FOLDER FACTOR: as cmd/worker.c, of one task at a time. */
int bench_ladder_worker(int argc, char **argv)
{
    char name[QUEUE_WORKER_SIZE], why[256] = "", *program = NULL;
    struct store *store = NULL;
    struct queue *queue = NULL;
    int status = 1;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (argc == 4 && (program = make_program(argv[2], argv[3])) != NULL &&
        store_open(&store, argv[1], why) == ERR_OK &&
        queue_open(&queue,
                   &(struct queue_options){.url = argv[0],
                                           .worker = queue_worker_name(name),
                                           .lease_ms = QUEUE_LEASE_MS,
                                           .failures_max = 3,
                                           .deaths_max = 5},
                   why) == ERR_OK) {
        struct workers *workers = workers_start(queue, store, program, 1);

        wait_for_end();
        queue_stop(queue);
        workers_stop(workers);
        status = 0;
    }
    if (status != 0)
        fprintf(stderr, "matinee bench ladder: a worker cannot begin: %s\n", why);
    queue_close(queue);
    store_close(store);
    free(program);
    return status;
}
