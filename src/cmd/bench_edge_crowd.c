/* cmd/bench_edge_crowd.c - viewers of a low-latency show at its edges; see bench_edge_int.h.
 *
 * What a playlist says comes next is read once, from whoever has it first: it is the same for all who asked the same. */
#include "cmd/bench_edge_int.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#define EVENTS       512
#define PATIENCE_MS  20000
#define ANSWER_BYTES 1048576
#define LATE_MAX     8000000
/* A playlist, unpacked. */
#define TEXT_BYTES 65536

/* What is asked for; the whole of it is the key, so it has no holes. */
struct object {
    uint32_t list, kind, segment, part;
};
enum { PLAIN, RELOAD, PART };

struct known {
    struct object next; /* of a playlist: the reload that comes after it */
    int64_t first_us;
};

struct viewer {
    int fd;
    struct object asked, reload; /* the reload goes on where the playlist before it ended */
    size_t have, whole;          /* of the answer, in bytes; whole 0: its head is not there yet */
    size_t head_size;
    bool good;
    char head[4096];
};

struct run {
    struct edge_crowd *c;
    struct viewer *viewers;
    struct map *objects; /* struct known */
    char *in;
    int epoll;
    bool counts;
};

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench edge: %s\n", what);
    return false;
}

static struct known *known_of(struct run *r, const struct object *o)
{
    struct bytes key = bytes_of(o, sizeof *o);
    struct known *k = map_get(r->objects, key);

    if (k == NULL) {
        k = mem_new(sizeof *k);
        map_put(r->objects, key, k);
        r->c->objects++;
    }
    return k;
}

/* --- asking ------------------------------------------------------------------------------------------ */

static bool ask(struct run *r, struct viewer *v, const struct object *o)
{
    const char *video = r->c->video, *list = r->c->lists[o->list];
    char text[512], path[256];

    if (o->kind == PART)
        snprintf(path, sizeof path, "/v/%s/%s/%06u.%u.m4s", video, list, o->segment, o->part);
    else if (o->kind == RELOAD)
        snprintf(path, sizeof path, "/v/%s/%s/playlist.m3u8?_HLS_msn=%u&_HLS_part=%u&_HLS_skip=YES", video,
                 list, o->segment, o->part);
    else
        snprintf(path, sizeof path, "/v/%s/%s/playlist.m3u8", video, list);
    int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: bench\r\n%s\r\n", path,
                        o->kind != PART ? "Accept-Encoding: gzip\r\n" : "");

    v->asked = *o;
    if (o->kind == PLAIN) /* whose copies live for a second: it is another object then */
        v->asked.segment = (uint32_t)(clock_mono_ms() / 1000);
    (void)known_of(r, &v->asked);
    v->have = v->whole = v->head_size = 0;
    return send(v->fd, text, (size_t)size, MSG_NOSIGNAL) == size || failed("a request cannot be sent");
}

/* --- answers ----------------------------------------------------------------------------------------- */

/* The text of an answer, packed or not, into `text`; false: it is neither. */
static bool unpack(const char *head, const char *body, size_t size, char text[TEXT_BYTES])
{
    const char *encoding = strcasestr(head, "\r\ncontent-encoding: gzip");
    z_stream z = {.next_in = (Bytef *)(uintptr_t)body,
                  .avail_in = (uInt)size,
                  .next_out = (Bytef *)text,
                  .avail_out = TEXT_BYTES - 1};
    bool done;

    if (encoding == NULL || encoding > body) {
        snprintf(text, TEXT_BYTES, "%.*s", (int)size, body);
        return true;
    }
    if (inflateInit2(&z, 15 + 16) != Z_OK) /* gzip's frame */
        return false;
    done = inflate(&z, Z_FINISH) == Z_STREAM_END;
    text[TEXT_BYTES - 1 - z.avail_out] = '\0';
    inflateEnd(&z);
    return done;
}

/* What comes after the playlist `o`, out of an answer that came in one piece. */
static void read_next(struct known *k, const struct object *o, const char *answer, size_t size)
{
    static const char hint[] = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"";
    const char *body = strstr(answer, "\r\n\r\n"), *at = NULL;
    char text[TEXT_BYTES], *end;

    k->next = (struct object){.list = o->list, .kind = PLAIN};
    if (strncmp(answer, "HTTP/1.1 ", 9) == 0 && body != NULL &&
        unpack(answer, body + 4, size - (size_t)(body + 4 - answer), text))
        at = strstr(text, hint);
    if (at == NULL)
        return;
    k->next.kind = RELOAD;
    k->next.segment = (uint32_t)strtoul(at + sizeof hint - 1, &end, 10);
    k->next.part = *end == '.' ? (uint32_t)strtoul(end + 1, NULL, 10) : 0;
}

static void note(struct run *r, struct viewer *v, struct known *k)
{
    int64_t now = clock_mono_us();

    if (k->first_us == 0)
        k->first_us = now;
    if (!r->counts)
        return;
    r->c->answers += v->good;
    r->c->refused += !v->good;
    r->c->bytes += v->have;
    if (v->good && r->c->late_count < LATE_MAX)
        r->c->late_ms[r->c->late_count++] = (float)(now - k->first_us) / 1000;
}

/* The answer is whole; `text` is its last piece, where a playlist's end is. */
static bool go_on(struct run *r, struct viewer *v)
{
    struct object asked = v->asked;
    struct known *k = known_of(r, &asked);
    struct object next = {.list = asked.list, .kind = PLAIN};

    note(r, v, k);
    if (v->good && asked.kind == PART) {
        next = v->reload;
    } else if (v->good && asked.kind == RELOAD) {
        v->reload = k->next;
        next = asked;
        next.kind = PART;
    } else if (v->good) {
        next = k->next;
    }
    return ask(r, v, &next);
}

/* Reads the head out of what has come. False: it cannot be used. */
static bool read_head(struct viewer *v)
{
    const char *end = strstr(v->head, "\r\n\r\n"), *length = strcasestr(v->head, "\r\ncontent-length:");

    if (end == NULL)
        return v->head_size < sizeof v->head - 1 || failed("a head is too long");
    if (length == NULL || length > end || strncmp(v->head, "HTTP/1.1 ", 9) != 0)
        return failed("an answer has no length");
    v->good = strncmp(v->head + 9, "200", 3) == 0;
    v->whole = (size_t)(end + 4 - v->head) + strtoul(length + 17, NULL, 10);
    return true;
}

static bool take(struct run *r, struct viewer *v)
{
    ssize_t size = recv(v->fd, r->in, ANSWER_BYTES - 1, MSG_DONTWAIT);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (size <= 0)
        return failed("a connection ended");
    r->in[size] = '\0';
    if (v->whole == 0) {
        size_t room = sizeof v->head - 1 - v->head_size, part = (size_t)size < room ? (size_t)size : room;

        memcpy(v->head + v->head_size, r->in, part);
        v->head_size += part;
        v->head[v->head_size] = '\0';
        if (!read_head(v))
            return false;
    }
    v->have += (size_t)size;
    if (v->whole == 0 || v->have < v->whole)
        return true;
    struct known *k = known_of(r, &v->asked);

    if (v->good && v->asked.kind != PART && (v->asked.kind == PLAIN || k->next.kind != RELOAD))
        read_next(k, &v->asked, r->in, (size_t)size);
    return go_on(r, v);
}

/* --- the crowd --------------------------------------------------------------------------------------- */

static bool gather(struct run *r)
{
    struct edge_crowd *c = r->c;
    char at[64];

    for (unsigned i = 0; i < c->viewers; i++)
        r->viewers[i].fd = -1;
    for (unsigned i = 0; i < c->viewers; i++) {
        struct viewer *v = &r->viewers[i];
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = v};

        bench_edges_address(c->edges, i % c->edges->count, at);
        v->fd = bench_connect(at);
        if (v->fd < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, v->fd, &e) != 0)
            return failed("a connection cannot be made: see ulimit -n");
        if (!ask(r, v,
                 &(struct object){.list = (uint32_t)(i / c->edges->count % c->list_count), .kind = PLAIN}))
            return false;
    }
    return true;
}

static bool watch(struct run *r, double seconds)
{
    int64_t until_us = clock_mono_us() + (int64_t)(seconds * 1e6);
    struct epoll_event events[EVENTS];

    while (clock_mono_us() < until_us) {
        int count = epoll_wait(r->epoll, events, EVENTS, PATIENCE_MS);

        if (count <= 0)
            return failed("the edges do not answer");
        for (int i = 0; i < count; i++)
            if (!take(r, events[i].data.ptr))
                return false;
    }
    return true;
}

static void disperse(struct run *r)
{
    size_t at = 0;
    struct bytes key;
    void *value;

    for (unsigned i = 0; i < r->c->viewers; i++)
        if (r->viewers[i].fd >= 0)
            close(r->viewers[i].fd);
    while (map_next(r->objects, &at, &key, &value))
        free(value);
    map_free(r->objects);
    close(r->epoll);
    free(r->viewers);
    free(r->in);
}

bool edge_crowd_run(struct edge_crowd *c, double warm_s, double seconds, void (*moment)(void *ctx, int which),
                    void *ctx)
{
    struct run r = {.c = c,
                    .viewers = mem_new(c->viewers * sizeof *r.viewers),
                    .objects = map_new(),
                    .in = mem_new(ANSWER_BYTES),
                    .epoll = epoll_create1(EPOLL_CLOEXEC)};
    bool done;

    c->late_ms = mem_new(LATE_MAX * sizeof *c->late_ms);
    moment(ctx, EDGE_EMPTY);
    done = gather(&r) && watch(&r, warm_s);
    if (done) {
        moment(ctx, EDGE_BEGUN);
        r.counts = true;
        done = watch(&r, seconds);
        moment(ctx, EDGE_OVER);
    }
    disperse(&r);
    return done;
}
