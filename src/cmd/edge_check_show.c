/* cmd/edge_check_show.c - what edge-check can ask for: the video that the URL names, one of its segments, and what comes next. */
#include "cmd/edge_check_int.h"

#include "base/mem.h"
#include "base/ulid.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum verdict edge_say(struct edge_check *c, enum verdict v, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(c->found, sizeof c->found, format, args);
    va_end(args);
    return v;
}

long edge_seconds(const char *cache_control, const char *directive)
{
    size_t size = strlen(directive);

    for (const char *at = cache_control; (at = strstr(at, directive)) != NULL; at += size)
        if (at[size] == '=' && (at == cache_control || at[-1] == ' ' || at[-1] == ','))
            return strtol(at + size + 1, NULL, 10);
    return -1;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "localhost", 9) == 0 || strncmp(host, "127.", 4) == 0 ||
           strncmp(host, "[::1]", 5) == 0;
}

static enum err read_url(struct edge_check *c, const char *url)
{
    const char *host = strstr(url, "://"), *video = strstr(url, "/v/");
    struct ulid id;

    if (host == NULL || strncmp(url, "http", 4) != 0 || video == NULL || strlen(video) < 29 ||
        !ulid_parse(bytes_of(video + 3, 26), &id)) {
        snprintf(
            c->why, sizeof c->why,
            "it wants the address of a video behind the edge, like https://HOST/v/ID/master.m3u8, not '%.80s'",
            url);
        return ERR_BAD;
    }
    c->server = mem_text(url, (size_t)(video - url));
    c->is_loopback = is_loopback(host + 3);
    ulid_text(id, c->video);
    return ERR_OK;
}

/* The first segment that the playlist has: by now every edge could have it. */
static bool find_segment(struct edge_check *c, const char *text)
{
    const char *line = text;

    while (line != NULL && *line != '\0') {
        size_t size = strcspn(line, "\r\n");

        if (line[0] != '#' && size == 10 && strncmp(line + 6, ".m4s", 4) == 0) {
            snprintf(c->media, sizeof c->media, "/v/%s/source/%.10s", c->video, line);
            return true;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return false;
}

enum err edge_look(struct edge_check *c, const char *url)
{
    struct edge_reply anonymous = {.status = 0}, reply = {.status = 0};
    enum err e = read_url(c, url);
    const char *text;

    if (e != ERR_OK)
        return e;
    snprintf(c->playlist, sizeof c->playlist, "/v/%s/source/playlist.m3u8", c->video);
    edge_fetch(c, &(struct edge_ask){.path = c->playlist, .anonymous = true}, &anonymous);
    c->is_ticketed = anonymous.status == 401;
    edge_fetch(c, &(struct edge_ask){.path = c->playlist}, &reply);
    text = edge_text(&reply);
    e = ERR_BAD;
    if (reply.status == 0)
        goto out;
    if (reply.status != 200 || strncmp(text, "#EXTM3U", 7) != 0)
        snprintf(c->why, sizeof c->why, "%s is answered %ld%s", c->playlist, reply.status,
                 reply.status == 401 ? ": give a viewer's token by --ticket" : "");
    else if (reply.number[0] == '\0')
        snprintf(c->why, sizeof c->why,
                 "the answer has no field Matinee-Answer: let it through, or nothing can be counted");
    else if (!find_segment(c, text))
        snprintf(c->why, sizeof c->why, "the video has no segment yet; try again in a moment");
    else
        e = ERR_OK;
    c->is_live = strstr(text, "#EXT-X-ENDLIST") == NULL;
out:
    edge_reply_free(&anonymous);
    edge_reply_free(&reply);
    return e;
}

bool edge_next(struct edge_check *c, char reload[EDGE_RELOAD_SIZE], char part[EDGE_PATH_SIZE])
{
    static const char hint[] = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"";
    struct edge_reply reply;
    unsigned segment, number;
    const char *at;
    char *end;
    bool found = false;

    /* Once for the publisher to be hurried, and then for its parts: a playlist nobody asked for has none. */
    for (int i = 0; i < 8 && !found; i++) {
        edge_fetch(c, &(struct edge_ask){.path = c->playlist, .fields = {"Cache-Control: no-cache"}}, &reply);
        at = reply.status == 200 ? strstr(edge_text(&reply), hint) : NULL;
        if (at != NULL) {
            segment = (unsigned)strtoul(at + sizeof hint - 1, &end, 10);
            number = *end == '.' ? (unsigned)strtoul(end + 1, &end, 10) : 0;
            snprintf(reload, EDGE_RELOAD_SIZE, "%s?_HLS_msn=%u&_HLS_part=%u", c->playlist, segment, number);
            snprintf(part, EDGE_PATH_SIZE, "/v/%s/source/%06u.%u.m4s", c->video, segment, number);
            found = true;
        }
        edge_reply_free(&reply);
    }
    return found;
}
