/* cmd/edge_check_answer.c - rules of what viewers get from an edge: the protocol, ranges, CORS, compression, nothing without a
 * ticket, and nothing of a video that was deleted; see edge_check_int.h. */
#include "cmd/edge_check_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum verdict edge_rule_tls(struct edge_check *c)
{
    struct edge_reply reply;
    long version;

    if (strncmp(c->server, "https:", 6) != 0)
        return edge_say(c, c->is_loopback ? EDGE_SKIP : EDGE_FAIL, "it is plain HTTP%s",
                        c->is_loopback ? " on loopback: TLS is in front of it" : "");
    edge_fetch(c, &(struct edge_ask){.path = c->playlist}, &reply);
    version = reply.version;
    edge_reply_free(&reply);
    return edge_say(c, version >= CURL_HTTP_VERSION_2_0 ? EDGE_PASS : EDGE_FAIL, "TLS with %s",
                    version >= CURL_HTTP_VERSION_3     ? "HTTP/3"
                    : version >= CURL_HTTP_VERSION_2_0 ? "HTTP/2"
                                                       : "HTTP/1.1");
}

enum verdict edge_rule_ranges(struct edge_check *c)
{
    struct edge_reply all, piece;
    char wanted[64];
    bool good = false;

    edge_fetch(c, &(struct edge_ask){.path = c->media}, &all);
    edge_fetch(c, &(struct edge_ask){.path = c->media, .fields = {"Range: bytes=100-199"}}, &piece);
    struct bytes whole = builder_bytes(&all.body), part = builder_bytes(&piece.body);

    snprintf(wanted, sizeof wanted, "bytes 100-199/%zu", whole.size);
    if (all.status == 200 && whole.size >= 200)
        good = piece.status == 206 && strcmp(piece.range, wanted) == 0 && part.size == 100 &&
               memcmp(part.at, whole.at + 100, 100) == 0;
    edge_say(c, EDGE_PASS, "bytes 100-199 of %zu: %ld with %zu bytes, '%.60s'", whole.size, piece.status,
             part.size, piece.range);
    edge_reply_free(&all);
    edge_reply_free(&piece);
    return good ? EDGE_PASS : EDGE_FAIL;
}

enum verdict edge_rule_conditional(struct edge_check *c)
{
    struct edge_reply first, again;
    char line[EDGE_FIELD_SIZE + 32];
    enum verdict v;

    edge_fetch(c, &(struct edge_ask){.path = c->media}, &first);
    snprintf(line, sizeof line, "If-None-Match: %s", first.etag);
    edge_fetch(c, &(struct edge_ask){.path = c->media, .fields = {line}}, &again);
    v = edge_say(c, first.etag[0] != '\0' && again.status == 304 ? EDGE_PASS : EDGE_FAIL,
                 "a segment's ETag is '%.80s'; who has it gets %ld", first.etag, again.status);
    edge_reply_free(&first);
    edge_reply_free(&again);
    return v;
}

enum verdict edge_rule_cors(struct edge_check *c)
{
    static const char origin[] = "Origin: https://another.example";
    struct edge_reply media, list, question;
    bool good;

    edge_fetch(c, &(struct edge_ask){.path = c->media, .fields = {origin}}, &media);
    edge_fetch(c, &(struct edge_ask){.path = c->playlist, .fields = {origin}}, &list);
    edge_fetch(c,
               &(struct edge_ask){.path = c->media,
                                  .method = "OPTIONS",
                                  .anonymous = true,
                                  .fields = {origin, "Access-Control-Request-Method: GET",
                                             "Access-Control-Request-Headers: authorization,range"}},
               &question);
    good = strcmp(media.origins, "*") == 0 && strcmp(list.origins, "*") == 0 && question.status / 100 == 2 &&
           strcmp(question.origins, "*") == 0 && strcasestr(question.headers, "authorization") != NULL;
    edge_say(c, EDGE_PASS,
             "allowed origins: a segment '%.20s', a playlist '%.20s', asked before (%ld) '%.20s'",
             media.origins, list.origins, question.status, question.origins);
    edge_reply_free(&media);
    edge_reply_free(&list);
    edge_reply_free(&question);
    return good ? EDGE_PASS : EDGE_FAIL;
}

/* Compressed first, so that what is kept of it would be handed to who cannot read it. */
enum verdict edge_rule_compression(struct edge_check *c)
{
    static const char *const accepts[] = {"Accept-Encoding: gzip, deflate, br", "Accept-Encoding: identity",
                                          "Accept-Encoding: gzip"};
    struct edge_reply replies[3];
    bool is_plain, is_short, is_zipped;

    for (int i = 0; i < 3; i++)
        edge_fetch(c, &(struct edge_ask){.path = c->playlist, .fields = {accepts[i]}}, &replies[i]);
    is_plain = replies[1].encoding[0] == '\0' && bytes_starts(builder_bytes(&replies[1].body), "#EXTM3U");
    is_short = builder_bytes(&replies[1].body).size < GZIP_BYTES_MIN;
    is_zipped = strcmp(replies[0].encoding, "gzip") == 0 && strcmp(replies[2].encoding, "gzip") == 0;
    edge_say(c, EDGE_PASS, "a playlist of %zu bytes: %s for who takes gzip, %s for who does not",
             builder_bytes(&replies[1].body).size, is_zipped ? "compressed" : "not compressed",
             is_plain ? "plain" : "not readable");
    for (int i = 0; i < 3; i++)
        edge_reply_free(&replies[i]);
    return is_plain && (is_zipped || is_short) ? EDGE_PASS : EDGE_FAIL;
}

/* --- who may -------------------------------------------------------------------------------------------- */

enum verdict edge_rule_tickets(struct edge_check *c)
{
    struct edge_reply holder, nobody, forger, list;
    bool good;

    if (!c->is_ticketed)
        return edge_say(c, EDGE_SKIP, "everybody may watch this video");
    edge_fetch(c, &(struct edge_ask){.path = c->media}, &holder); /* now an edge that keeps it has it */
    edge_fetch(c, &(struct edge_ask){.path = c->media, .anonymous = true}, &nobody);
    edge_fetch(
        c,
        &(struct edge_ask){.path = c->media, .anonymous = true, .fields = {"Cookie: matinee-ticket=forged"}},
        &forger);
    edge_fetch(c, &(struct edge_ask){.path = c->playlist}, &list);
    good = holder.status == 200 && nobody.status == 401 && forger.status == 403 &&
           strstr(holder.cache_control, "private") != NULL && strstr(list.cache_control, "private") != NULL;
    edge_say(
        c, EDGE_PASS,
        "a segment with a ticket: %ld, '%.40s'; without one: %ld; with a forged one: %ld; a playlist '%.30s'",
        holder.status, holder.cache_control, nobody.status, forger.status, list.cache_control);
    edge_reply_free(&holder);
    edge_reply_free(&nobody);
    edge_reply_free(&forger);
    edge_reply_free(&list);
    return good ? EDGE_PASS : EDGE_FAIL;
}

/* --- what was deleted ----------------------------------------------------------------------------------- */

static long status_of(struct edge_check *c, const struct edge_ask *ask)
{
    struct edge_reply reply;
    long status;

    edge_fetch(c, ask, &reply);
    status = reply.status;
    edge_reply_free(&reply);
    return status;
}

static long delete_at_origin(struct edge_check *c, const char *origin, const char *video)
{
    const char *token = getenv("MATINEE_TOKEN");
    char path[EDGE_PATH_SIZE], *line = mem_printf("Authorization: Bearer %s", token ? token : "");
    long status;

    snprintf(path, sizeof path, "/api/v1/videos/%.26s", video);
    status = status_of(
        c, &(struct edge_ask){
               .path = path, .method = "DELETE", .server = origin, .fields = {line}, .anonymous = true});
    free(line);
    return status;
}

enum verdict edge_rule_purge(struct edge_check *c)
{
    const char *video = config_text(c->options, "doomed"), *origin = config_text(c->options, "origin");
    char path[EDGE_PATH_SIZE];
    struct edge_ask ask = {.path = path};
    int64_t began = clock_mono_ms(), took;
    long before, deleted, after;

    if (video == NULL || origin == NULL)
        return edge_say(c, EDGE_SKIP, "wants --doomed ID, a video that may be deleted, and --origin URL");
    snprintf(path, sizeof path, "/v/%.26s/source/000000.m4s", video);
    before = status_of(c, &ask);
    deleted = delete_at_origin(c, origin, video);
    if (before != 200 || deleted != 204)
        return edge_say(c, EDGE_FAIL, "a segment of the doomed video was answered %ld, its deletion %ld",
                        before, deleted);
    do {
        after = status_of(c, &ask);
        took = clock_mono_ms() - began;
        if (after == 200)
            (void)poll(NULL, 0, 250);
    } while (after == 200 && took < EDGE_CHECK_PURGE_MS_MAX);
    return edge_say(c, after == 404 || after == 403 ? EDGE_PASS : EDGE_FAIL,
                    "%.1f s after its deletion a segment is answered %ld", (double)took / 1000, after);
}
