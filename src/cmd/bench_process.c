/* cmd/bench_process.c - what a process costs, from the outside. */
#include "cmd/bench_int.h"

#include "base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In nanoseconds, from /proc/PID/task/TID/schedstat: finer than the ticks of /proc/PID/stat. */
double bench_cpu_us(pid_t pid)
{
    char *tasks = mem_printf("/proc/%d/task", (int)pid);
    DIR *d = opendir(tasks);
    double ns = 0;

    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char *path = mem_printf("%s/%s/schedstat", tasks, e->d_name);
        FILE *f = e->d_name[0] != '.' ? fopen(path, "r") : NULL;
        char line[128];

        if (f != NULL && fgets(line, sizeof line, f) != NULL)
            ns += strtod(line, NULL);
        if (f != NULL)
            fclose(f);
        free(path);
    }
    if (d != NULL)
        closedir(d);
    free(tasks);
    return ns / 1000;
}

double bench_anonymous_kb(pid_t pid)
{
    char *path = mem_printf("/proc/%d/status", (int)pid), line[256];
    FILE *f = fopen(path, "r");
    double kb = 0;

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "RssAnon:", 8) == 0)
            kb = strtod(line + 8, NULL);
    if (f != NULL)
        fclose(f);
    free(path);
    return kb;
}
