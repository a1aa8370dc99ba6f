/* cmd/edge_check_keep.c - rules of what an edge keeps: one copy for everybody, by the right key, for as long as it is told; see
 * edge_check_int.h. */
#include "cmd/edge_check_int.h"

#include "base/limits.h"
#include "base/random.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define CROWD 20
/* A CDN is several machines: two of them may have asked. */
#define ASKERS_MAX 2

/* How many answers of the origin these are; *good: how many are 200. */
static size_t count_answers(const struct edge_reply *replies, size_t count, size_t *good)
{
    size_t different = 0;

    *good = 0;
    for (size_t i = 0; i < count; i++) {
        size_t before = 0;

        *good += replies[i].status == 200;
        while (before < i && strcmp(replies[before].number, replies[i].number) != 0)
            before++;
        different += before == i;
    }
    return different;
}

static void free_all(struct edge_reply *replies, size_t count)
{
    for (size_t i = 0; i < count; i++)
        edge_reply_free(&replies[i]);
}

enum verdict edge_rule_hits(struct edge_check *c)
{
    struct edge_reply replies[10];
    size_t different, good;

    for (size_t i = 0; i < 10; i++)
        edge_fetch(c, &(struct edge_ask){.path = c->media}, &replies[i]);
    different = count_answers(replies, 10, &good);
    free_all(replies, 10);
    return edge_say(c, good == 10 && different <= ASKERS_MAX ? EDGE_PASS : EDGE_FAIL,
                    "10 requests for one segment: %zu good answers, %zu by the origin", good, different);
}

/* Many ask at once for what is not there yet. */
static bool is_shared(struct edge_check *c, const char *path, size_t *good, size_t *different)
{
    struct edge_reply replies[CROWD];

    edge_fetch_many(c, &(struct edge_ask){.path = path}, replies, CROWD);
    *different = count_answers(replies, CROWD, good);
    free_all(replies, CROWD);
    return *good == CROWD && *different <= ASKERS_MAX;
}

enum verdict edge_rule_coalescing(struct edge_check *c)
{
    char reload[EDGE_RELOAD_SIZE], part[EDGE_PATH_SIZE], unused[EDGE_PATH_SIZE];
    size_t lists, list_answers, parts, part_answers;

    if (!c->is_live)
        return edge_say(c, EDGE_SKIP, "shows on a live video only: this one has ended");
    if (!edge_next(c, reload, unused))
        return edge_say(c, EDGE_FAIL, "the playlist names no part to come");
    bool shared = is_shared(c, reload, &lists, &list_answers);

    if (!edge_next(c, reload, part))
        return edge_say(c, EDGE_FAIL, "the playlist names no part to come");
    shared &= is_shared(c, part, &parts, &part_answers);
    return edge_say(
        c, shared ? EDGE_PASS : EDGE_FAIL,
        "%d at once for a coming playlist: %zu good answers, %zu by the origin; for a coming part: %zu and %zu",
        CROWD, lists, list_answers, parts, part_answers);
}

/* --- keys ----------------------------------------------------------------------------------------------- */

/* Whether the segment comes from the same copy when it is asked for in this way. */
static enum verdict same_copy(struct edge_check *c, const struct edge_ask *otherwise, const char *what)
{
    struct edge_reply plain, other;
    bool same = false;

    for (int i = 0; i < 3 && !same; i++) { /* a CDN's second machine may not have had it */
        edge_fetch(c, &(struct edge_ask){.path = c->media}, &plain);
        edge_fetch(c, otherwise, &other);
        same = plain.status == 200 && other.status == 200 && strcmp(plain.number, other.number) == 0;
        edge_say(c, EDGE_PASS, "%s: answered %ld, %s", what, other.status,
                 same ? "from the same copy" : "from a copy of its own or by the origin");
        edge_reply_free(&plain);
        edge_reply_free(&other);
    }
    return same ? EDGE_PASS : EDGE_FAIL;
}

enum verdict edge_rule_query(struct edge_check *c)
{
    char path[EDGE_RELOAD_SIZE];

    snprintf(path, sizeof path, "%s?viewer=%llx", c->media, (unsigned long long)random_u64());
    return same_copy(c, &(struct edge_ask){.path = path}, "a segment with another query");
}

enum verdict edge_rule_cookie(struct edge_check *c)
{
    char line[64];

    snprintf(line, sizeof line, "Cookie: viewer=%llx", (unsigned long long)random_u64());
    return same_copy(c, &(struct edge_ask){.path = c->media, .fields = {line}},
                     "a segment with another cookie");
}

/* Plain, with a directive, plain, with it: a key that passes the directive over gives two neighbours the same answer. */
enum verdict edge_rule_reload_key(struct edge_check *c)
{
    char skip[EDGE_RELOAD_SIZE];
    struct edge_reply replies[4];
    bool apart = true;

    snprintf(skip, sizeof skip, "%s?_HLS_skip=YES", c->playlist);
    for (int i = 0; i < 4; i++)
        edge_fetch(c, &(struct edge_ask){.path = i % 2 ? skip : c->playlist}, &replies[i]);
    for (int i = 0; i < 3; i++)
        apart &= replies[i].status == 200 && strcmp(replies[i].number, replies[i + 1].number) != 0;
    apart &= replies[3].status == 200;
    free_all(replies, 4);
    return edge_say(c, apart ? EDGE_PASS : EDGE_FAIL, "a playlist with _HLS_skip and without: %s",
                    apart ? "two copies" : "the same copy");
}

/* --- how long ------------------------------------------------------------------------------------------- */

enum verdict edge_rule_lifetimes(struct edge_check *c)
{
    long list_max = c->is_live ? EDGE_CHECK_LIVE_SECONDS_MAX : EDGE_CHECK_ENDED_SECONDS_MAX;
    struct edge_reply media, list;
    enum verdict v;

    edge_fetch(c, &(struct edge_ask){.path = c->media}, &media);
    edge_fetch(c, &(struct edge_ask){.path = c->playlist}, &list);
    long age = edge_seconds(list.cache_control, "max-age");
    bool good = edge_seconds(media.cache_control, "max-age") >= 31536000 &&
                strstr(media.cache_control, "immutable") != NULL && age >= 0 && age <= list_max;

    v = edge_say(c, good ? EDGE_PASS : EDGE_FAIL, "a segment says '%.80s', a playlist '%.80s'",
                 media.cache_control, list.cache_control);
    edge_reply_free(&media);
    edge_reply_free(&list);
    return v;
}

/* Whatever it says: is it true? Some seconds later the question may still get the old copy, if it has it renewed; not twice. */
enum verdict edge_rule_freshness(struct edge_check *c)
{
    struct edge_reply first, later, again;
    enum verdict v;
    bool renewed;

    if (!c->is_live)
        return edge_say(c, EDGE_SKIP, "would take minutes on a video that has ended");
    edge_fetch(c, &(struct edge_ask){.path = c->playlist}, &first);
    (void)poll(NULL, 0, EDGE_CHECK_STALE_MS);
    edge_fetch(c, &(struct edge_ask){.path = c->playlist}, &later);
    (void)poll(NULL, 0, EDGE_CHECK_RENEWED_MS);
    edge_fetch(c, &(struct edge_ask){.path = c->playlist}, &again);
    renewed = again.status == 200 && strcmp(first.number, again.number) != 0;
    v = edge_say(
        c, renewed ? EDGE_PASS : EDGE_FAIL, "a live playlist is %s after %.1f s, and %s after %.1f s",
        strcmp(first.number, later.number) != 0 ? "new" : "the same copy", EDGE_CHECK_STALE_MS / 1000.0,
        renewed ? "new" : "the same copy", (EDGE_CHECK_STALE_MS + EDGE_CHECK_RENEWED_MS) / 1000.0);
    edge_reply_free(&first);
    edge_reply_free(&later);
    edge_reply_free(&again);
    return v;
}

/* What is not there now may be there in a moment. */
enum verdict edge_rule_refusals(struct edge_check *c)
{
    char path[EDGE_PATH_SIZE];
    struct edge_reply first, again;
    bool good;

    snprintf(path, sizeof path, "/v/%s/source/init-%u.mp4", c->video,
             10000 + (unsigned)(random_u64() % 1000000));
    edge_fetch(c, &(struct edge_ask){.path = path}, &first);
    edge_fetch(c, &(struct edge_ask){.path = path}, &again);
    good = first.status == 404 && again.status == 404 && strcmp(first.number, again.number) != 0;
    edge_say(c, EDGE_PASS, "a file that is not there: %ld, and again %ld %s", first.status, again.status,
             good ? "by the origin" : "by the edge");
    edge_reply_free(&first);
    edge_reply_free(&again);
    return good ? EDGE_PASS : EDGE_FAIL;
}
