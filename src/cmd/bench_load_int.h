/* cmd/bench_load_int.h - what `bench ingest` measures with: publishers in a process of their own, and the servers
 * they publish to. */
#ifndef MATINEE_CMD_BENCH_LOAD_INT_H
#define MATINEE_CMD_BENCH_LOAD_INT_H

#include "cmd/source_int.h"

#include <stdatomic.h>
#include <sys/types.h>

/* Of one publisher. */
#define LOAD_BITS  1000000.0
#define LOAD_GOP_S 2
/* What matinee keeps of each live video in memory, as it was told to: four segments of 10 s. */
#define LOAD_WINDOW_S 40.0

/* `matinee bench ingest`; words behind the benchmark's name. Returns an exit status. */
int bench_ingest(int argc, char **argv);

/* --- what is published: made once, sent by everybody over and over ------------------------------------ */

struct load_message {
    enum track track;
    uint32_t at_ms;
    struct buffer *body;
};

struct load_script {
    struct buffer *metadata, *configs[TRACK_COUNT];
    struct load_message *messages;
    size_t message_count;
    uint32_t length_ms;  /* after which it begins again */
    uint32_t chunk_size; /* of everybody's chunks */
    /* When the first publisher sent its nth picture, by the monotonic clock; shared with the child. NULL: nobody asks. */
    _Atomic int64_t *sent_us;
    size_t sent_room;
};

/* Encodes the demo and fills its pictures up to LOAD_BITS. */
must_check enum err load_script_make(struct load_script *out, char why[SOURCE_WHY_SIZE]);
void load_script_drop(struct load_script *s);

/* --- the publishers ----------------------------------------------------------------------------------- */

struct load {
    pid_t child;
    int stop; /* closing it ends the load */
    int said; /* the child's word */
};

/* Returns when everybody publishes; false when that was not so within 20 s. */
must_check bool load_start(struct load *out, const struct load_script *script, char **urls, size_t url_count);
/* Lets it run for so long, or until the child has died. */
void load_run(const struct load *l, int ms);
/* Ends the load; how many connections had broken. */
unsigned load_stop(struct load *l);

/* --- servers ------------------------------------------------------------------------------------------ */

struct bench_server {
    pid_t pid;
    char dir[256]; /* its own, removed at the end */
    char *http;    /* matinee: where its API is, HOST:PORT */
    char **urls;   /* where to publish, one each */
    size_t url_count;
};

/* One request of method, path and body (NULL: none) on a connection of its own; the body of the answer, or NULL. To be given to
 * free(). */
char *bench_server_ask(const char *http, const char *method, const char *path, const char *type,
                       struct bytes body);

enum nginx_keeps { NGINX_NOTHING, NGINX_RECORDING, NGINX_RECORDING_HLS };

/* Start a server with room for so many publishers in a new folder under `dir`, on the first core. False: it
 * could not be started, and was said. */
must_check bool bench_server_matinee(struct bench_server *out, const char *dir, unsigned publishers);
must_check bool bench_server_nginx(struct bench_server *out, const char *dir, unsigned publishers,
                                   enum nginx_keeps keeps);
void bench_server_stop(struct bench_server *s);
/* What matinee answers to a GET, without its head; to be given to free(). NULL: nothing. */
char *bench_server_get(const struct bench_server *s, const char *path);

/* Of the server's process and its children. */
double bench_server_cpu_ms(const struct bench_server *s);
double bench_server_pss_kb(const struct bench_server *s);

#endif
