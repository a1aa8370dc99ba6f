/* cmd/filters.c - `matinee map` and `matinee reduce`: the ladder's work as Unix filters. */
#include "cmd/cmd.h"

#include "base/config.h"
#include "base/log.h"
#include "ladder/ladder.h"
#include "store/store.h"

#include <libavutil/log.h>
#include <stdio.h>
#include <stdlib.h>

static struct option options[] = {
    {"storage", "URL", "file:./data/store",
     "where segments live: file:DIR, s3://BUCKET/PREFIX?endpoint=URL&region=NAME or hdfs://HOST:PORT/PREFIX",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static int run(const char *name, int argc, char **argv,
               int (*filter)(struct store *store, const char *program))
{
    char why[256] = "", *program = realpath("/proc/self/exe", NULL);
    struct store *store = NULL;
    int status = 2;

    log_set_level(LOG_WARN);
    av_log_set_level(AV_LOG_ERROR);
    if (config_read(options, NULL, &argc, argv, why) == ERR_OK && argc > 0)
        snprintf(why, sizeof why, "'%.60s' is not expected here; lines come by standard input", argv[0]);
    if (why[0] == '\0') {
        status = 1;
        if (store_open(&store, config_text(options, "storage"), why) == ERR_OK)
            status = filter(store, program);
    }
    if (why[0] != '\0')
        fprintf(stderr, "matinee %s: %s\n", name, why);
    store_close(store);
    config_free(options);
    free(program);
    return status;
}

static int map(struct store *store, const char *program)
{
    return map_filter(store, program, stdin, stdout);
}

static int reduce(struct store *store, const char *program)
{
    return reduce_filter(store, stdin, stdout);
}

int cmd_map(int argc, char **argv)
{
    return run("map", argc, argv, map);
}

int cmd_reduce(int argc, char **argv)
{
    return run("reduce", argc, argv, reduce);
}

static const char example[] = "\n    matinee video tasks VIDEO 360p | matinee map --storage URL | sort |\n"
                              "        matinee reduce --storage URL | matinee video publish VIDEO 360p\n";

void cmd_map_help(void)
{
    puts(
        "matinee map [OPTIONS]: reads ladder tasks (key TAB value), does them, prints a line for each chunk of\n"
        "each rendition. What it makes lies in the store.\n");
    config_help(options);
    puts(example);
}

void cmd_reduce_help(void)
{
    puts(
        "matinee reduce [OPTIONS]: reads sorted lines of matinee map, lays the chunks of each segment end to end\n"
        "in the store, and prints a line for each segment.\n");
    config_help(options);
    puts(example);
}
