/* cmd/bench_ladder_house.c - see bench_ladder_house_int.h. */
#include "cmd/bench_int.h"
#include "cmd/bench_ladder_house_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nothing that is waited for here takes so long, unless it will not come. */
#define PATIENCE_MS 120000
#define SEGMENT_MS  10000
/* What a queue says of itself is as fresh as the last second. */
#define STEADY_MS 2500

void house_nap(int ms)
{
    int64_t until_ms = clock_mono_ms() + ms;

    for (int64_t left; (left = until_ms - clock_mono_ms()) > 0;)
        poll(NULL, 0, (int)left);
}

static bool failed(const char *what, const char *why)
{
    fprintf(stderr, "matinee bench ladder: %s: %s\n", what, why);
    return false;
}

/* --- processes -------------------------------------------------------------------------------------------- */

/* Runs it for not longer than we live; its standard error goes to `says`, or where ours goes. -1: it cannot be started. */
static pid_t spawn(char *const *words, int says)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (says >= 0)
        dup2(says, STDERR_FILENO);
    execvp(words[0], words);
    _exit(127);
}

static void end_process(pid_t *pid, int signal)
{
    if (*pid > 0) {
        kill(*pid, signal);
        while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    *pid = -1;
}

/* Returns when it is ready. What it says goes on being open: a Go program ends when nobody reads it. */
static bool start_nats(struct house *h)
{
    char *port = mem_printf("%d", bench_free_port()), *folder = mem_printf("%s/nats", h->setup.dir),
         line[512] = "";
    char *words[] = {"nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd", folder, NULL};
    int says[2];
    bool good = pipe2(says, O_CLOEXEC) == 0;

    if (good) {
        h->nats = spawn(words, says[1]);
        close(says[1]);
        h->nats_says = fdopen(says[0], "r");
        while (good && strstr(line, "Server is ready") == NULL)
            good = fgets(line, sizeof line, h->nats_says) != NULL;
    }
    h->queue_url = mem_printf("nats://127.0.0.1:%s", port);
    free(folder);
    free(port);
    return good || failed("nats-server cannot be started", "tools/setup check installs it");
}

/* --- opening and closing ---------------------------------------------------------------------------------- */

static bool open_rooms(struct house *h)
{
    struct house_setup *s = &h->setup;
    char *database = mem_printf("sqlite:%s/matinee.db", s->dir), name[QUEUE_WORKER_SIZE], why[256] = "";
    struct queue_options queue = {h->queue_url, "bench", queue_worker_name(name), QUEUE_LEASE_MS, 3, 5};
    bool good = store_open(&h->store, h->storage, why) == ERR_OK &&
                db_open(&h->db, database, why) == ERR_OK && net_start(&h->net, 1, 0) == ERR_OK &&
                live_open(&h->live,
                          &(struct live_options){.net = h->net,
                                                 .store = h->store,
                                                 .db = h->db,
                                                 .data_dir = s->dir,
                                                 .segment_ms = SEGMENT_MS,
                                                 .reader = {recording_read, "/proc/self/exe"}},
                          why) == ERR_OK &&
                queue_open(&h->queue, &queue, why) == ERR_OK &&
                ladder_open(&h->ladder,
                            &(struct ladder_options){.live = h->live,
                                                     .store = h->store,
                                                     .queue = h->queue,
                                                     .ladder = "none",
                                                     .no_backups = s->no_backups},
                            why) == ERR_OK;

    free(database);
    return good || failed("the house cannot be opened", why);
}

bool house_open(struct house *h, const struct house_setup *setup)
{
    *h = (struct house){.setup = *setup, .nats = -1};
    for (unsigned i = 0; i < HOUSE_WORKERS_MAX; i++)
        h->workers[i].pid = -1;
    h->storage = mem_printf("file:%s/store", setup->dir);
    if ((mkdir(setup->dir, 0777) != 0 && errno != EEXIST) ||
        (mkdir(setup->answers, 0777) != 0 && errno != EEXIST))
        return failed(setup->dir, strerror(errno));
    return start_nats(h) && open_rooms(h);
}

void house_close(struct house *h)
{
    for (unsigned i = 0; i < HOUSE_WORKERS_MAX; i++)
        end_process(&h->workers[i].pid, SIGTERM);
    if (h->queue != NULL)
        queue_stop(h->queue);
    if (h->live != NULL)
        live_drain(h->live, PATIENCE_MS);
    if (h->store != NULL)
        store_stop(h->store);
    net_stop(h->net);
    ladder_close(h->ladder);
    queue_close(h->queue);
    live_close(h->live);
    db_close(h->db);
    store_close(h->store);
    end_process(&h->nats, SIGKILL);
    if (h->nats_says != NULL)
        fclose(h->nats_says);
    bench_folder_remove(h->setup.dir);
    free(h->queue_url);
    free(h->storage);
}

/* --- workers ---------------------------------------------------------------------------------------------- */

bool house_hire(struct house *h, unsigned first, unsigned count, double factor)
{
    char *pace = mem_printf("%.3f", factor * HOUSE_PACE), *answers = realpath(h->setup.answers, NULL);
    char *words[] = {
        "/proc/self/exe", "bench", "ladder-worker", h->queue_url, h->storage, answers, pace, NULL};
    bool good = true;

    for (unsigned i = first; i < first + count && good; i++) {
        h->workers[i].factor = factor;
        h->workers[i].pid = spawn(words, -1);
        good = h->workers[i].pid > 0;
    }
    free(answers);
    free(pace);
    return good || failed("a worker cannot be started", strerror(errno));
}

void house_kill(struct house *h, unsigned place)
{
    end_process(&h->workers[place].pid, SIGKILL);
}

/* --- videos ----------------------------------------------------------------------------------------------- */

static struct video_view *view_of(struct house *h, struct ulid video)
{
    bool known;
    struct video_view *v = live_video_peek(h->live, video, &known);

    if (v == NULL && live_video_load(h->live, video, &v) != ERR_OK)
        return NULL;
    return v;
}

static bool is_stored(struct house *h, struct ulid video)
{
    struct video_view *v = view_of(h, video);
    bool stored =
        v != NULL && !v->live && v->segment_count > 0 && live_video_stored(h->live, v) == v->segment_count;

    video_view_unref(v);
    return stored;
}

static bool upload(struct house *h, struct bytes file, struct ulid *video)
{
    struct event_change what = {.title = "bench", .starts_at_ms = EVENT_UNCHANGED};
    char key[ACCESS_KEY_SIZE], why[256] = "";
    struct upload *u = NULL;
    struct ulid event;
    bool good = live_event_create(h->live, &what, &event, key) == ERR_OK &&
                live_upload_open(h->live, event, file.size, 0, true, &u, why) == ERR_OK &&
                live_upload_write(u, file) == ERR_OK && live_upload_sync(u) == ERR_OK &&
                live_upload_finish(u, video, why) == ERR_OK;

    live_upload_close(u);
    return good || failed("the source cannot be uploaded", why);
}

bool house_video(struct house *h, struct bytes file, struct ulid *video)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;

    if (!upload(h, file, video))
        return false;
    while (!is_stored(h, *video)) {
        if (clock_mono_ms() > until_ms)
            return failed("the source", "it is not imported");
        house_nap(2);
    }
    return true;
}

bool house_ask(struct house *h, struct ulid video)
{
    char why[256] = "";

    return ladder_add(h->ladder, video, HOUSE_RENDITION, why) == ERR_OK || failed(HOUSE_RENDITION, why);
}

size_t house_lacks(struct house *h, struct ulid video)
{
    struct video_view *v = view_of(h, video);
    const struct rendition *r = v != NULL ? video_view_rendition(v, HOUSE_RENDITION) : NULL;
    size_t lacks = v == NULL ? 1 : v->segment_count - (r != NULL ? r->shown : 0);

    if (lacks == 0 && r != NULL && r->gaps > 0) {
        h->gaps += r->gaps;
        failed("there is a gap", r->reason);
    }
    video_view_unref(v);
    return lacks;
}

size_t house_wait_open(struct house *h)
{
    int64_t steady_ms = clock_mono_ms();
    size_t open = 0;

    while (open == 0 || clock_mono_ms() - steady_ms < STEADY_MS) {
        struct queue_stats stats;

        house_nap(20);
        queue_stats(h->queue, &stats);
        if (stats.open[QUEUE_ARCHIVE] != open)
            steady_ms = clock_mono_ms();
        open = stats.open[QUEUE_ARCHIVE];
    }
    return open;
}
