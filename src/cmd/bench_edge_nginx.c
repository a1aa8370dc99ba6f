/* cmd/bench_edge_nginx.c - many edges and a shield in one nginx; see bench_edge_int.h. */
#include "cmd/bench_edge_int.h"
#include "cmd/bench_int.h"
#include "cmd/bench_load_int.h"

#include "base/mem.h"

#include <fcntl.h>
#include <netinet/in.h>
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

#define READY_MS 20000

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench edge: %s\n", what);
    return false;
}

void bench_edges_address(const struct bench_edges *n, unsigned edge, char out[64])
{
    snprintf(out, 64, "127.0.1.%u:%d", edge + 1, n->port);
}

static void print_zone(FILE *f, const char *folder, const char *name)
{
    fprintf(
        f,
        "  proxy_cache_path %s/cache-%s levels=1 use_temp_path=off keys_zone=%s:1m max_size=1g inactive=1h;\n",
        folder, name, name);
}

static void print_server(FILE *f, const char *at, const char *zone, const char *upstream)
{
    fprintf(f,
            "  server {\n    listen %s backlog=4096;\n    set $edge_zone %s;\n    set $edge_origin %s;\n"
            "    include edge-server.conf;\n  }\n",
            at, zone, upstream);
}

static void print_config(FILE *f, const struct bench_edges *n, const char *folder, const char *origin,
                         const char *key)
{
    static const char *const kinds[] = {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"};
    char at[64], zone[16];

    fprintf(
        f,
        "%sworker_processes 2;\nworker_rlimit_nofile 20000;\ndaemon off;\npid %s/pid;\nerror_log %s/error.log;\n"
        "events { worker_connections 19000; }\nhttp {\n",
        geteuid() == 0 ? "user root;\n" : "", folder, folder);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        fprintf(f, "  %s_temp_path %s/%s;\n", kinds[i], folder, kinds[i]);
    fprintf(f, "  map \"\" $edge_key { default \"%s\"; }\n  include edge-http.conf;\n", key);
    fprintf(f, "  upstream origin { server %s; keepalive 64; }\n", origin);
    fprintf(f, "  upstream shield { server 127.0.2.1:%d; keepalive 256; }\n", n->port);
    for (unsigned i = 0; i < n->count; i++) {
        snprintf(zone, sizeof zone, "edge%u", i);
        bench_edges_address(n, i, at);
        print_zone(f, folder, zone);
        print_server(f, at, zone, n->count > 1 ? "shield" : "origin");
    }
    if (n->count > 1) {
        snprintf(at, sizeof at, "127.0.2.1:%d", n->port);
        print_zone(f, folder, "shield");
        print_server(f, at, "shield", "origin");
    }
    fprintf(f, "}\n");
}

/* The rules are read where they are; nginx looks for what is included beside its configuration. */
static bool write_config(const struct bench_edges *n, const char *folder, const char *rules,
                         const char *origin, const char *key)
{
    static const char *const names[] = {"edge-http.conf", "edge-server.conf"};
    char *whole = realpath(rules, NULL), *path = mem_printf("%s/nginx.conf", folder);
    bool done = whole != NULL;
    FILE *f;

    for (size_t i = 0; i < 2 && done; i++) {
        char *from = mem_printf("%s/%s", whole, names[i]), *to = mem_printf("%s/%s", folder, names[i]);

        done = access(from, R_OK) == 0 && symlink(from, to) == 0;
        free(from);
        free(to);
    }
    if (!done)
        failed("deploy/edge is not there; see --rules");
    f = done ? fopen(path, "w") : NULL;
    if (f != NULL)
        print_config(f, n, folder, origin, key);
    done = f != NULL && fclose(f) == 0;
    free(whole);
    free(path);
    return done;
}

static bool spawn(struct bench_edges *n, const char *folder)
{
    char *config = mem_printf("%s/nginx.conf", folder), *errors = mem_printf("%s/error.log", folder);
    char *const words[] = {
        "/usr/sbin/nginx", "-p", (char *)(uintptr_t)folder, "-c", config, "-e", errors, NULL};

    if ((n->pid = fork()) == 0) {
        int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);

        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(quiet, 1);
        dup2(quiet, 2);
        execv(words[0], words);
        _exit(127);
    }
    free(config);
    free(errors);
    return n->pid > 0;
}

bool bench_edges_await(const struct bench_edges *n)
{
    int waited_ms = 0, fd = -1;
    char at[64];

    bench_edges_address(n, 0, at);
    while ((fd = bench_connect(at)) < 0 && waited_ms < READY_MS && waitpid(n->pid, NULL, WNOHANG) == 0) {
        poll(NULL, 0, 50); /* neither says when it is ready */
        waited_ms += 50;
    }
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

bool bench_nginx_open(struct bench_edges *n, const char *folder, const char *rules, const char *origin,
                      const char *key, unsigned edges)
{
    char *own = mem_printf("%s/nginx-%u", folder, edges);
    bool done;

    *n = (struct bench_edges){.pid = -1, .count = edges, .port = bench_free_port()};
    done = mkdir(own, 0755) == 0 && write_config(n, own, rules, origin, key) && spawn(n, own);
    if (done && !bench_edges_await(n))
        done = failed("nginx did not start: apt-get install nginx");
    free(own);
    return done;
}

void bench_edges_close(struct bench_edges *n)
{
    if (n->pid <= 0)
        return;
    kill(n->pid, SIGTERM);
    waitpid(n->pid, NULL, 0);
    n->pid = -1;
}
