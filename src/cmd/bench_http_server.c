/* cmd/bench_http_server.c - the two servers under measurement: our HTTP room in a forked child, with one
 * loop, and Debian's nginx with one worker and the same bytes as files in memory. */
#include "cmd/bench_http_int.h"
#include "cmd/bench_int.h"

#include "base/mem.h"
#include "http/http.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS 5000

static const struct {
    const char *name, *type;
    size_t size;
} things[] = {
    {"small", "text/plain", SMALL_BYTES},
    {"playlist", "application/vnd.apple.mpegurl", PLAYLIST_BYTES},
    {"segment", "video/mp4", SEGMENT_BYTES},
};

#define THING_COUNT (sizeof things / sizeof *things)

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench http: %s\n", what);
    return false;
}

/* What stands in a playlist, or looks like it. */
static struct buffer *thing(size_t size)
{
    static const char line[] = "#EXTINF:10.00000,\n000123.m4s\n";
    struct buffer *b = buffer_new(size);

    b->size = size;
    for (size_t i = 0; i < size; i++)
        b->data[i] = (uint8_t)line[i % (sizeof line - 1)];
    return b;
}

static void to_first_core(void)
{
    cpu_set_t cores;

    CPU_ZERO(&cores);
    CPU_SET(0, &cores);
    sched_setaffinity(0, sizeof cores, &cores);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* --- ours ----------------------------------------------------------------------------------------------------- */

static struct buffer *bodies[THING_COUNT];

static void handle(void *ctx, struct http_exchange *x)
{
    const char *path = http_path(x) + 1;

    for (size_t i = 0; i < THING_COUNT; i++) {
        if (strcmp(path, things[i].name) != 0)
            continue;
        http_add(x, "ETag", "\"6562f7d8-4e20\"");
        http_add(x, "Cache-Control", "max-age=1");
        http_answer(x, 200, things[i].type, buffer_ref(bodies[i]));
        return;
    }
    if (strcmp(path, "wait") != 0)
        http_answer_text(x, 404, "text/plain", "there is nothing here\n");
}

/* The child: serves until `stop` is closed by its parent. */
_Noreturn static void serve(int said, int stop)
{
    struct http_handler handler = {NULL, handle, NULL};
    struct http_server *server = NULL;
    struct net *net = NULL;
    struct address at;
    char word;

    to_first_core();
    for (size_t i = 0; i < THING_COUNT; i++)
        bodies[i] = thing(things[i].size);
    if (net_start(&net, 1, 1) != ERR_OK || !address_parse("127.0.0.1:0", &at) ||
        http_server_start(&server, net, &at, NULL, &handler) != ERR_OK ||
        write(said, &at, sizeof at) != (ssize_t)sizeof at)
        _exit(1);
    while (read(stop, &word, 1) > 0)
        ;
    http_server_stop(server, 0);
    net_stop(net);
    _exit(0);
}

bool web_server_ours(struct web_server *s)
{
    int said[2], stop[2];

    *s = (struct web_server){.pid = -1, .stop = -1};
    if (pipe2(said, O_CLOEXEC) != 0 || pipe2(stop, O_CLOEXEC) != 0)
        return failed("no pipe can be made");
    fflush(stdout);
    if ((s->pid = fork()) == 0) {
        close(stop[1]);
        serve(said[1], stop[0]);
    }
    close(said[1]);
    close(stop[0]);
    s->stop = stop[1];
    bool ready = s->pid > 0 && read(said[0], &s->at, sizeof s->at) == (ssize_t)sizeof s->at;

    close(said[0]);
    return ready || failed("our server did not start");
}

/* --- nginx ------------------------------------------------------------------------------------------------------ */

static bool write_file(const char *dir, const char *name, struct bytes content)
{
    char *path = mem_printf("%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    bool done = fd >= 0 && write(fd, content.at, content.size) == (ssize_t)content.size;

    if (fd >= 0)
        close(fd);
    free(path);
    return done;
}

static void remove_folder(const char *dir)
{
    DIR *d = opendir(dir);

    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        if (unlinkat(dirfd(d), e->d_name, 0) != 0) /* nginx makes empty folders for its temporary files */
            unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
    if (d != NULL)
        closedir(d);
    rmdir(dir);
}

/* As Debian ships it (sendfile, tcp_nopush), without a log, and with connections that are kept. */
static bool write_config(const char *dir, unsigned port)
{
    char *text =
        mem_printf("daemon off; master_process off; worker_processes 1;\n"
                   "pid %s/pid; error_log %s/error.log crit;\n"
                   "events { worker_connections 20000; }\n"
                   "http {\n  access_log off; sendfile on; tcp_nopush on;\n"
                   "  keepalive_requests 1000000000; keepalive_timeout 3600s;\n"
                   "  types { text/plain txt; } default_type text/plain;\n"
                   "  client_body_temp_path %s/body; proxy_temp_path %s/proxy;\n"
                   "  fastcgi_temp_path %s/fastcgi; uwsgi_temp_path %s/uwsgi; scgi_temp_path %s/scgi;\n"
                   "  server { listen 127.0.0.1:%u; root %s; }\n}\n",
                   dir, dir, dir, dir, dir, dir, dir, port, dir);
    bool done = write_file(dir, "nginx.conf", bytes_text(text));

    free(text);
    return done;
}

_Noreturn static void become_nginx(const char *dir)
{
    char *config = mem_printf("%s/nginx.conf", dir);

    to_first_core();
    execlp("nginx", "nginx", "-p", dir, "-c", config, (char *)NULL);
    _exit(127);
}

/* nginx writes its pid when it listens: waits for a file of that name to be made where `watch` looks. */
static bool wait_pid_file(int watch)
{
    struct pollfd ready = {.fd = watch, .events = POLLIN};
    _Alignas(struct inotify_event) char events[4096];

    while (poll(&ready, 1, READY_MS) == 1) {
        ssize_t size = read(watch, events, sizeof events);

        for (ssize_t at = 0; at < size;) {
            const struct inotify_event *e = (const struct inotify_event *)(events + at);

            if (e->len > 0 && strcmp(e->name, "pid") == 0)
                return true;
            at += (ssize_t)(sizeof *e + e->len);
        }
    }
    return false;
}

bool web_server_nginx(struct web_server *s)
{
    *s = (struct web_server){.pid = -1, .stop = -1};
    /* Files in memory, so that no disk is measured. */
    snprintf(s->dir, sizeof s->dir, "%s/matinee-bench-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(s->dir) == NULL || chmod(s->dir, 0755) != 0)
        return failed("no temporary folder can be made");
    for (size_t i = 0; i < THING_COUNT; i++) {
        struct buffer *b = thing(things[i].size);
        bool written = write_file(s->dir, things[i].name, buffer_bytes(b));

        buffer_unref(b);
        if (!written)
            return failed("a temporary file cannot be written");
    }
    int watch = inotify_init1(IN_CLOEXEC), port = bench_free_port();
    char address[32];

    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    bool ready = watch >= 0 && port != 0 && address_parse(address, &s->at) &&
                 write_config(s->dir, (unsigned)port) && inotify_add_watch(watch, s->dir, IN_CREATE) >= 0;

    if (ready && (s->pid = fork()) == 0)
        become_nginx(s->dir);
    ready = ready && s->pid > 0 && wait_pid_file(watch);
    if (watch >= 0)
        close(watch);
    return ready || failed("nginx did not start; is it installed?");
}

void web_server_stop(struct web_server *s)
{
    if (s->stop >= 0)
        close(s->stop);
    else if (s->pid > 0)
        kill(s->pid, SIGTERM);
    if (s->pid > 0)
        waitpid(s->pid, NULL, 0);
    if (s->dir[0] != '\0')
        remove_folder(s->dir);
    *s = (struct web_server){.pid = -1, .stop = -1};
}
