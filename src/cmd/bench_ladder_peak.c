/* cmd/bench_ladder_peak.c - how many bits come at once: what a viewer's line has to carry at the worst moment. */
#include "cmd/bench_ladder_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define PACKETS_MAX 100000

struct packets {
    double *at_s, *bits;
    size_t count;
};

/* Times and sizes as ffprobe tells them, in decoding order. */
static bool read_packets(const char *path, struct packets *out)
{
    char *said = mem_printf("%s.packets", path), line[256];
    struct words w = {0};
    double cpu_ms;
    FILE *f = NULL;

    words_split(&w, "ffprobe -v error -select_streams v -show_entries packet=dts_time,size -of csv=p=0 -o");
    words_add(&w, "%s", said);
    words_add(&w, "%s", path);
    if (words_run(&w, NULL, &cpu_ms))
        f = fopen(said, "r");
    while (f != NULL && out->count < PACKETS_MAX && fgets(line, sizeof line, f) != NULL) {
        char *comma;

        out->at_s[out->count] = strtod(line, &comma);
        if (*comma == ',')
            out->bits[out->count++] = strtod(comma + 1, NULL) * 8;
    }
    if (f != NULL)
        fclose(f);
    remove(said);
    words_drop(&w);
    free(said);
    return out->count > 0;
}

/* The most that any window of so many seconds holds, in kbit/s. */
static double peak_of(const struct packets *p, double seconds)
{
    double held = 0, most = 0;
    size_t from = 0;

    for (size_t i = 0; i < p->count; i++) {
        held += p->bits[i];
        while (p->at_s[i] - p->at_s[from] > seconds - 0.001) /* the time stamps are rounded */
            held -= p->bits[from++];
        most = held > most ? held : most;
    }
    return most / 1000 / seconds;
}

bool ladder_peaks(const char *path, double *of_1_s, double *of_2_s)
{
    struct packets p = {.at_s = mem_new(PACKETS_MAX * sizeof *p.at_s),
                        .bits = mem_new(PACKETS_MAX * sizeof *p.bits)};
    bool good = read_packets(path, &p);

    *of_1_s = peak_of(&p, 1);
    *of_2_s = peak_of(&p, 2);
    free(p.at_s);
    free(p.bits);
    return good;
}
