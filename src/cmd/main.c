/* cmd/main.c - picks the subcommand. */
#include "cmd/cmd.h"

#include "ladder/ladder.h"
#include "webrtc/webrtc.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int draw_thumbnail(int argc, char **argv)
{
    return thumbnail_child();
}

static int encode_chunk(int argc, char **argv)
{
    return encode_child();
}

static int read_recording(int argc, char **argv)
{
    return recording_child();
}

static int convert_live(int argc, char **argv)
{
    return webrtc_companion();
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    void (*help)(void);
    const char *does; /* NULL: ours alone, not for people */
} commands[] = {
    {"serve", cmd_serve, cmd_serve_help, "the whole house on one machine: RTMP in, HTTP out"},
    {"worker", cmd_worker, cmd_worker_help, "one more transcoding server: takes jobs from the shared queue"},
    {"map", cmd_map, cmd_map_help, "does ladder tasks, lines in, lines out"},
    {"reduce", cmd_reduce, cmd_reduce_help, "lays chunks together to segments, lines in, lines out"},
    {"publish", cmd_publish, cmd_publish_help, "publishes a file or a drawn test picture, by RTMP"},
    {"event", cmd_event, cmd_event_help, "makes, lists, changes, ends and deletes events"},
    {"video", cmd_video, cmd_video_help, "lists, uploads, downloads, transcodes and deletes videos"},
    {"inventory", cmd_inventory, cmd_inventory_help, "opens box offices, lists and changes them"},
    {"key", cmd_key, cmd_key_help, "makes a new stream key"},
    {"edge-check", cmd_edge_check, cmd_edge_check_help, "tries the CDN or the edge in front of a server"},
    {"bench", cmd_bench, cmd_bench_help, "measures, beside others of its kind"},
    {"draw-thumbnail", draw_thumbnail, NULL, NULL},
    {"encode-chunk", encode_chunk, NULL, NULL},
    {"read-recording", read_recording, NULL, NULL},
    {"convert-live", convert_live, NULL, NULL},
};

#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static int help(void)
{
    puts("matinee, a live-event server.\n\nUse: matinee COMMAND [OPTIONS]\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (commands[i].does != NULL)
            printf("  %-10s %s\n", commands[i].name, commands[i].does);
    puts("\n'matinee COMMAND --help' says more.");
    return 0;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
        return help();
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        if (commands[i].help != NULL && asks_for_help(argc, argv)) {
            commands[i].help();
            return 0;
        }
        return commands[i].run(argc - 2, argv + 2);
    }
    fprintf(stderr, "matinee: no command is called '%s'; see 'matinee help'\n", argv[1]);
    return 2;
}
