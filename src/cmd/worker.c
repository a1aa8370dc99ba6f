/* cmd/worker.c - `matinee worker`: takes the next open job from the shared queue whenever it is free. */
#include "cmd/cmd.h"

#include "base/config.h"
#include "base/log.h"
#include "ladder/ladder.h"
#include "queue/queue.h"
#include "store/store.h"

#include <libavutil/log.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct option options[] = {
    {"queue", "URL", NULL, "where jobs come from: nats://HOST:4222", NULL},
    {"storage", "URL", NULL, "where segments live, as the server has it", NULL},
    {"workers", "N", NULL, "jobs at a time, each in a process of its own [cores]", NULL},
    {"config", "FILE", NULL, "INI file with these options by name", NULL},
    {"verbose", NULL, NULL, "say more on standard error", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static bool check(char why[256], long *count)
{
    const char *queue = config_text(options, "queue");

    *count = sysconf(_SC_NPROCESSORS_ONLN);
    if (queue == NULL || strncmp(queue, "local:", 6) == 0 || config_text(options, "storage") == NULL) {
        snprintf(why, 256,
                 "--queue nats://HOST:PORT and --storage URL are needed, the same as the server's; the "
                 "server's own workers are enough for local:");
        return false;
    }
    return config_text(options, "workers") == NULL ||
           config_number(options, "workers", 1, 1024, count, why) == ERR_OK;
}

static void wait_for_end(const sigset_t *set)
{
    int signal;

    while (sigwait(set, &signal) != 0)
        continue;
}

/* 0: ended by a signal; 1: could not begin. */
static int work(long count, char why[256])
{
    char name[QUEUE_WORKER_SIZE], *program = realpath("/proc/self/exe", NULL);
    struct store *store = NULL;
    struct queue *queue = NULL;
    int status = 1;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (store_open(&store, config_text(options, "storage"), why) == ERR_OK &&
        queue_open(&queue,
                   &(struct queue_options){.url = config_text(options, "queue"),
                                           .worker = queue_worker_name(name),
                                           .lease_ms = QUEUE_LEASE_MS,
                                           .failures_max = 3,
                                           .deaths_max = 5},
                   why) == ERR_OK) {
        struct workers *workers = workers_start(queue, store, program, (unsigned)count);

        printf("worker %s\nready\n", name);
        fflush(stdout);
        wait_for_end(&set);
        queue_stop(queue);
        workers_stop(workers);
        status = 0;
    }
    queue_close(queue);
    store_close(store);
    free(program);
    return status;
}

int cmd_worker(int argc, char **argv)
{
    char why[256] = "";
    int status = 2;
    long count;

    av_log_set_level(AV_LOG_ERROR);
    if (config_read(options, "worker", &argc, argv, why) == ERR_OK && argc > 0)
        snprintf(why, sizeof why, "'%.60s' is not expected here; see 'matinee worker --help'", argv[0]);
    if (why[0] == '\0' && check(why, &count)) {
        if (config_text(options, "verbose") != NULL)
            log_set_level(LOG_DEBUG);
        status = work(count, why);
    }
    if (status != 0)
        fprintf(stderr, "matinee worker: %s\n", why);
    config_free(options);
    return status;
}

void cmd_worker_help(void)
{
    puts(
        "matinee worker [OPTIONS]: one more transcoding server. Takes the next open job from the shared queue\n"
        "when it is free; SIGTERM gives back what it has in hand.\n");
    config_help(options);
}
