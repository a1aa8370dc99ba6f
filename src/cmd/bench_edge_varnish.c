/* cmd/bench_edge_varnish.c - one edge that is Varnish, by deploy/edge/varnish.vcl; see bench_edge_int.h. */
#include "cmd/bench_edge_int.h"
#include "cmd/bench_int.h"
#include "cmd/bench_load_int.h"

#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench edge: %s\n", what);
    return false;
}

/* The line with `old` in it, which is there once or not at all, with `new` in its place. */
static void write_line(FILE *to, const char *line, const char *old, const char *new)
{
    const char *at = strstr(line, old);

    if (at != NULL)
        fprintf(to, "%.*s%s%s", (int)(at - line), line, new, at + strlen(old));
    else
        fputs(line, to);
}

static bool write_rules(const char *file, const char *rules, const char *origin, const char *key)
{
    char *from = mem_printf("%s/varnish.vcl", rules), *port = mem_printf("\"%s\"", strrchr(origin, ':') + 1);
    FILE *in = fopen(from, "r"), *out = in != NULL ? fopen(file, "w") : NULL;
    char line[1024];
    bool done = out != NULL;

    while (done && fgets(line, sizeof line, in) != NULL)
        if (strstr(line, "change-me") != NULL)
            write_line(out, line, "change-me", key);
        else
            write_line(out, line, "\"8080\"", port);
    if (in != NULL)
        fclose(in);
    if (out != NULL)
        done = fclose(out) == 0;
    free(from);
    free(port);
    return done || failed("deploy/edge is not there; see --rules");
}

static bool spawn(struct bench_edges *n, const char *folder, const char *rules)
{
    char *work = mem_printf("%s/work", folder), at[64];
    /* No jail: its users would want folders that are their own. */
    char *const words[] = {"/usr/sbin/varnishd",
                           "-F",
                           "-j",
                           "none",
                           "-n",
                           work,
                           "-a",
                           at,
                           "-f",
                           (char *)(uintptr_t)rules,
                           "-s",
                           "malloc,512m",
                           "-T",
                           "none",
                           "-p",
                           "thread_pool_max=2000",
                           NULL};

    bench_edges_address(n, 0, at);
    if ((n->pid = fork()) == 0) {
        int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);

        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(quiet, 1);
        dup2(quiet, 2);
        execv(words[0], words);
        _exit(127);
    }
    free(work);
    return n->pid > 0;
}

bool bench_varnish_open(struct bench_edges *n, const char *folder, const char *rules, const char *origin,
                        const char *key)
{
    char *own = mem_printf("%s/varnish", folder), *file = mem_printf("%s/edge.vcl", own);
    bool done;

    *n = (struct bench_edges){.pid = -1, .count = 1, .port = bench_free_port()};
    done = mkdir(own, 0755) == 0 && write_rules(file, rules, origin, key) && spawn(n, own, file);
    if (done && !bench_edges_await(n))
        done = failed("Varnish did not start: apt-get install varnish");
    free(own);
    free(file);
    return done;
}
