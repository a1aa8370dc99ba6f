/* cmd/edge_check_int.h - between the files of `matinee edge-check URL`, which tries whatever stands in front of a matinee:
 *
 *   edge_check.c        the command: which rules there are, what is printed
 *   edge_check_fetch.c  requests, one or many at once, by libcurl
 *   edge_check_show.c   what there is to ask for: the video, a segment, what comes next
 *   edge_check_keep.c   rules of what is kept: once for all, by which key, for how long
 *   edge_check_answer.c rules of what viewers get: ranges, CORS, compression, tickets, and nothing of a deleted video
 *
 * Every answer of the origin about a video carries a number of its own (Matinee-Answer). Two answers with the same number are one
 * answer of the origin, told twice by a cache: so hits, shared requests and keys are counted without asking any CDN. One thread. */
#ifndef MATINEE_CMD_EDGE_CHECK_INT_H
#define MATINEE_CMD_EDGE_CHECK_INT_H

#include "base/buffer.h"
#include "base/config.h"

#include <curl/curl.h>

enum verdict { EDGE_PASS, EDGE_FAIL, EDGE_SKIP };

#define EDGE_FIELD_SIZE  256
#define EDGE_PATH_SIZE   160
#define EDGE_RELOAD_SIZE 224 /* a path with its query */
#define EDGE_FOUND_SIZE  320

struct edge_check {
    const struct option *options;
    CURL *curl;
    char *server; /* "https://host:port" */
    char video[32];
    const char *token; /* a viewer's; NULL */
    bool is_ticketed, is_live, is_loopback;
    char media[EDGE_PATH_SIZE]; /* a whole segment, as a path */
    char playlist[EDGE_PATH_SIZE];
    char found[EDGE_FOUND_SIZE]; /* what the rule that runs has seen */
    char why[CONFIG_WHY_SIZE];   /* why nothing can be tried at all */
};

/* One question. `fields` are header lines, ended by a NULL. */
struct edge_ask {
    const char *path, *method; /* NULL: GET */
    const char *fields[4];
    const char *server; /* NULL: the edge */
    bool anonymous;     /* without the viewer's token */
};

struct edge_reply {
    long status; /* 0: no answer */
    long version;
    char number[EDGE_FIELD_SIZE], cache_control[EDGE_FIELD_SIZE], encoding[EDGE_FIELD_SIZE],
        etag[EDGE_FIELD_SIZE];
    char range[EDGE_FIELD_SIZE], origins[EDGE_FIELD_SIZE], headers[EDGE_FIELD_SIZE], access[EDGE_FIELD_SIZE];
    struct builder body;
};

/* --- edge_check_fetch.c --------------------------------------------------------------------------------- */

/* Asks and waits. *out is the caller's, to be given to edge_reply_free(); status 0 where nothing came, with the reason in c->why. */
void edge_fetch(struct edge_check *c, const struct edge_ask *ask, struct edge_reply *out);
/* The same question `count` times at once. */
void edge_fetch_many(struct edge_check *c, const struct edge_ask *ask, struct edge_reply *out, size_t count);
void edge_reply_free(struct edge_reply *r);
/* Text of a body that is known to be one; valid until the reply is freed. */
const char *edge_text(struct edge_reply *r);

/* --- edge_check_show.c ---------------------------------------------------------------------------------- */

/* Reads the URL and looks at the show. ERR_BAD: c->why says what is wrong with it. */
must_check enum err edge_look(struct edge_check *c, const char *url);
/* The playlist request that is answered when the next part is there, and that part; false: none is to come. */
must_check bool edge_next(struct edge_check *c, char reload[EDGE_RELOAD_SIZE], char part[EDGE_PATH_SIZE]);

/* Says what the rule has seen; the verdict is returned, so that a rule can end with it. */
enum verdict edge_say(struct edge_check *c, enum verdict v, const char *format, ...) printf_like(3, 4);
/* The seconds of a directive of Cache-Control, or -1. */
long edge_seconds(const char *cache_control, const char *directive);

/* --- the rules ------------------------------------------------------------------------------------------ */

enum verdict edge_rule_hits(struct edge_check *c);
enum verdict edge_rule_coalescing(struct edge_check *c);
enum verdict edge_rule_query(struct edge_check *c);
enum verdict edge_rule_cookie(struct edge_check *c);
enum verdict edge_rule_reload_key(struct edge_check *c);
enum verdict edge_rule_lifetimes(struct edge_check *c);
enum verdict edge_rule_freshness(struct edge_check *c);
enum verdict edge_rule_refusals(struct edge_check *c);

enum verdict edge_rule_tls(struct edge_check *c);
enum verdict edge_rule_ranges(struct edge_check *c);
enum verdict edge_rule_conditional(struct edge_check *c);
enum verdict edge_rule_cors(struct edge_check *c);
enum verdict edge_rule_compression(struct edge_check *c);
enum verdict edge_rule_tickets(struct edge_check *c);
enum verdict edge_rule_purge(struct edge_check *c);

#endif
