/* cmd/bench_ladder.c - `matinee bench ladder`: what making renditions costs; picks a part. */
#include "cmd/bench_int.h"
#include "cmd/bench_ladder_int.h"

#include "base/config.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define ROUNDS_MAX  20
#define SECONDS_MAX 600

static const struct {
    const char *name;
    int (*run)(const struct ladder_setup *s);
} parts[] = {
    {"cpu", bench_ladder_cpu},
    {"scale", bench_ladder_scale},
    {"straggler", bench_ladder_straggler},
    {"kill", bench_ladder_kill},
};

#define PART_COUNT (sizeof parts / sizeof *parts)

static struct option options[] = {
    {"only", "PART", NULL,
     "one part: cpu (the encoding beside a single ffmpeg), scale (1 to 8 workers), straggler (one of four is ten times slower), "
     "kill (one of four is killed midway); all when not given",
     NULL},
    {"rounds", "N", "5", "measurements of each, in turn", NULL},
    {"seconds", "N", "20", "of the source that is drawn", NULL},
    {"input", "FILE", NULL, "another source, with keyframes about every two seconds", NULL},
    {"ladder", "LIST", "1080p,720p,480p", "the renditions, of a source of the highest one's size", NULL},
    {"quick", NULL, NULL, "one round of a short source: does it work at all", NULL},
    {"out", "DIR", "build/bench", "where CSV and SVG are written", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Runs the part that is named, or all. */
static int run(const struct ladder_setup *s, const char *only)
{
    int status = 0;
    bool known = false;

    for (size_t i = 0; i < PART_COUNT && status == 0; i++) {
        if (only != NULL && strcmp(only, parts[i].name) != 0)
            continue;
        known = true;
        status = parts[i].run(s);
    }
    if (known)
        return status;
    fprintf(stderr, "matinee bench ladder: there is no part '%s'\n", only);
    return 2;
}

int bench_ladder(int argc, char **argv)
{
    struct ladder_setup s = {.rounds = 1, .seconds = 4};
    char why[CONFIG_WHY_SIZE] = "";
    int status = 2;

    log_set_level(LOG_WARN);
    if (config_read(options, NULL, &argc, argv, why) == ERR_OK && argc > 0)
        snprintf(why, sizeof why, "what is '%s'? See matinee bench --help", argv[0]);
    s.quick = config_text(options, "quick") != NULL;
    s.out = config_text(options, "out");
    s.input = config_text(options, "input");
    s.ladder = config_text(options, "ladder");
    if (why[0] == '\0' && !s.quick &&
        (config_number(options, "rounds", 1, ROUNDS_MAX, &s.rounds, why) != ERR_OK ||
         config_number(options, "seconds", 2, SECONDS_MAX, &s.seconds, why) != ERR_OK))
        status = 2;
    if (why[0] != '\0')
        fprintf(stderr, "matinee bench ladder: %s\n", why);
    else
        status = run(&s, config_text(options, "only"));
    config_free(options);
    return status;
}
