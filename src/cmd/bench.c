/* cmd/bench.c - `matinee bench NAME`: measurements anyone can repeat; picks one. */
#include "cmd/bench_int.h"
#include "cmd/bench_ladder_house_int.h"
#include "cmd/bench_ladder_int.h"
#include "cmd/bench_load_int.h"
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *does;
} benchmarks[] = {
    {"booking", bench_booking, "reservations a second under each locking, beside plain row locks"},
    {"comments", bench_comments,
     "durable comments a second, beside one commit each; one told to 10,000 readers"},
    {"edge", bench_edge,
     "what a crowd at edges leaves to the origin: nginx with one tier and with two, and Varnish"},
    {"http", bench_http, "requests per CPU-second and memory per connection, beside nginx"},
    {"ingest", bench_ingest, "CPU and memory per publisher, beside nginx-rtmp"},
    {"ladder", bench_ladder,
     "CPU of making renditions, beside ffmpeg; many workers, slow ones and killed ones"},
    {"store", bench_store, "segments to S3 and back, beside curl with the same server"},
    {"webrtc", bench_webrtc, "packets per CPU-second, latency and memory per WebRTC viewer"},
    {"llhls", bench_llhls, "low-latency HLS: what waiting viewers cost, and how soon they have a part"},
    {"ladder-worker", bench_ladder_worker, NULL}, /* the ladder's own */
    {"ladder-encoder", bench_ladder_encoder, NULL},
};

#define BENCHMARK_COUNT (sizeof benchmarks / sizeof *benchmarks)

void cmd_bench_help(void)
{
    puts("Use: matinee bench NAME [OPTIONS]\n");
    for (size_t i = 0; i < BENCHMARK_COUNT; i++)
        if (benchmarks[i].does != NULL)
            printf("  %-8s %s\n", benchmarks[i].name, benchmarks[i].does);
    puts("\nEach takes --quick for a short run that only shows that it works.");
}

int cmd_bench(int argc, char **argv)
{
    for (size_t i = 0; i < BENCHMARK_COUNT && argc > 0; i++)
        if (strcmp(argv[0], benchmarks[i].name) == 0)
            return benchmarks[i].run(argc - 1, argv + 1);
    fprintf(stderr, "matinee: no benchmark is called '%s'; see 'matinee bench --help'\n",
            argc > 0 ? argv[0] : "");
    return 2;
}
