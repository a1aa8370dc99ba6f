/* tests/unit/queue/stage.c - see stage.h. */
#include "unit.h"

#include "folder.h"
#include "port.h"
#include "stage.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static pid_t running; /* the server of the moment */

/* A story that failed has left its server behind. */
static void kill_what_runs(void)
{
    if (running > 0)
        kill(running, SIGKILL);
}

/* Returns when the server says that it is ready: it says so on its standard error. */
void stage_server_start(struct stage *s)
{
    char port[16], store[128], line[512] = "";
    char *arguments[] = {"nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd", store, NULL};

    posix_spawn_file_actions_t actions;
    int pipes[2];
    FILE *said;

    if (s->bare)
        arguments[5] = NULL;
    s->port = s->port != 0 ? s->port : port_free();
    snprintf(port, sizeof port, "%d", s->port);
    snprintf(store, sizeof store, "%s/nats", s->folder);
    assert_int_equal(pipe(pipes), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], STDERR_FILENO);
    posix_spawn_file_actions_addclose(&actions, pipes[0]);
    if (posix_spawnp(&s->server, "nats-server", &actions, NULL, arguments, environ) != 0)
        fail_msg("nats-server cannot be started; install it: tools/setup check");
    if (running == 0)
        atexit(kill_what_runs);
    kill_what_runs();
    running = s->server;
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    said = fdopen(pipes[0], "r");
    while (strstr(line, "Server is ready") == NULL)
        if (fgets(line, sizeof line, said) == NULL)
            fail_msg("nats-server ended before it was ready");
    s->said = said; /* kept open: a Go program ends when nobody reads what it says */
}

void stage_server_kill(struct stage *s)
{
    kill(s->server, SIGKILL);
    waitpid(s->server, NULL, 0);
    running = -1;
    fclose(s->said);
    s->server = 0;
}

static void open_all(struct stage *s, unsigned workers)
{
    char why[256] = "", name[32];

    s->options.url = s->url;
    s->options.leader = "first";
    s->options.worker = "worker-0";
    if (queue_open(&s->leader, &s->options, why) != ERR_OK)
        fail_msg("%s", why);
    for (unsigned i = 0; i < workers; i++) {
        s->worker[i] = s->leader;
        if (s->kind == STAGE_LOCAL)
            continue;
        snprintf(name, sizeof name, "worker-%u", i + 1);
        struct queue_options options = s->options;

        options.leader = NULL;
        options.worker = name;
        if (queue_open(&s->worker[i], &options, why) != ERR_OK)
            fail_msg("%s", why);
    }
}

static unsigned close_all(struct stage *s)
{
    unsigned workers = 0;

    for (unsigned i = 0; i < STAGE_WORKERS && s->worker[i] != NULL; i++, workers++) {
        if (s->worker[i] != s->leader)
            queue_close(s->worker[i]);
        s->worker[i] = NULL;
    }
    queue_close(s->leader);
    return workers;
}

void stage_open(struct stage *s, enum stage_kind kind, int64_t lease_ms, unsigned failures_max,
                unsigned deaths_max, unsigned workers)
{
    memset(s, 0, sizeof *s);
    s->kind = kind;
    s->folder = folder_new();
    s->options.lease_ms = lease_ms;
    s->options.failures_max = failures_max;
    s->options.deaths_max = deaths_max;
    snprintf(s->url, sizeof s->url, "local:%s/queue", s->folder);
    if (kind == STAGE_NATS) {
        stage_server_start(s);
        snprintf(s->url, sizeof s->url, "nats://127.0.0.1:%d", s->port);
    }
    open_all(s, workers);
}

void stage_restart(struct stage *s)
{
    open_all(s, close_all(s));
}

void stage_close(struct stage *s)
{
    close_all(s);
    if (s->server != 0)
        stage_server_kill(s);
    folder_remove(s->folder);
}
