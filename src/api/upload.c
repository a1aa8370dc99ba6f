/* api/upload.c - PUT /api/v1/events/{id}/video: a recording comes in, piece by piece, and goes to the disk (live/upload.c).
 *
 * The exchange lives on its loop, the file on pool threads; one of the two works at a time. What has come is gathered up to
 * UPLOAD_WRITE_BYTES while the peer sends, then the peer is held back while it is written. A peer that hangs up
 * leaves what it sent. */
#include "api/api_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* What a request says it is. */
struct announced {
    bool asks;  /* Content-Range: bytes * / total, without a body: how far did it get? */
    bool whole; /* no Content-Range: the file from its first byte, anew */
    uint64_t from, size, total;
};

struct receipt {
    struct call *call;
    struct loop *loop;
    struct announced announced;
    struct upload *upload;
    struct builder waiting; /* came, and is not written */
    bool at_pool;           /* `upload` and `waiting` are a pool thread's */
    bool over;              /* the body has come to its end */
    bool made;              /* the file is whole, and `video` was begun */
    struct ulid video;
    enum err e;
    char why[256];
};

/* --- what the request says ------------------------------------------------------------------------------ */

/* Takes a number off `b` that ends at `end` (or with `b`, where that is 0). */
static bool take_number(struct bytes *b, char end, uint64_t *out)
{
    long at = end != '\0' ? bytes_find(*b, (uint8_t)end) : (long)b->size;
    bool good = at > 0 && bytes_to_u64(bytes_head(*b, (size_t)at), INT64_MAX, out);

    *b = good ? bytes_from(*b, (size_t)at + 1) : *b;
    return good;
}

/* Content-Range (RFC 9110 §14.4) of a request: "bytes 0-99/1000", or "bytes * / 1000" without the spaces. */
static bool parse_range(struct bytes field, struct announced *out)
{
    uint64_t last;

    if (!bytes_is_nocase(bytes_head(field, 6), "bytes "))
        return false;
    field = bytes_from(field, 6);
    if (bytes_starts(field, "*/")) {
        field = bytes_from(field, 2);
        out->asks = true;
        return take_number(&field, '\0', &out->total) && out->total > 0;
    }
    if (!take_number(&field, '-', &out->from) || !take_number(&field, '/', &last) ||
        !take_number(&field, '\0', &out->total) || last < out->from || last >= out->total)
        return false;
    return out->size == last - out->from + 1; /* as Content-Length says */
}

static bool read_announced(struct call *c, struct announced *out)
{
    struct bytes range = http_field(c->x, "Content-Range"), length = http_field(c->x, "Content-Length");

    *out = (struct announced){.whole = range.at == NULL};
    if (length.at != NULL && !bytes_to_u64(length, INT64_MAX, &out->size)) {
        call_problem(c, 400, "bad-parameter", "'Content-Length' cannot be read.");
    } else if (range.at != NULL && !parse_range(range, out)) {
        call_problem(
            c, 400, "bad-parameter",
            "'Content-Range' wants bytes FIRST-LAST/TOTAL with as many bytes behind it as 'Content-Length' says, or "
            "bytes */TOTAL to ask how far the upload got.");
    } else if (length.at == NULL && !out->asks) {
        call_problem(c, 411, "length-needed", "Say with 'Content-Length' how many bytes are coming.");
    } else if (out->whole && out->size == 0) {
        call_problem(c, 422, "not-a-recording", "The file is empty.");
    } else {
        if (out->whole)
            out->total = out->size;
        if (out->total <= UPLOAD_BYTES_MAX)
            return true;
        call_problem(c, 413, "too-large", "A recording may have %lld bytes; cut it, or lower its bitrate.",
                     (long long)UPLOAD_BYTES_MAX);
    }
    return false;
}

/* --- the answer ------------------------------------------------------------------------------------------ */

static void reply_video(struct call *c, int status, struct ulid video)
{
    char id[ULID_TEXT_SIZE];

    call_field(c, "Location", "/api/v1/videos/%s", ulid_text(video, id));
    call_json(c, status, json_pack("{s:s}", "video", id));
}

/* 308: more is wanted, from the byte behind `Range` on. */
static void reply_progress(struct call *c, uint64_t have)
{
    if (have > 0)
        call_field(c, "Range", "bytes=0-%llu", (unsigned long long)have - 1);
    call_field(c, "Cache-Control", "no-store");
    call_empty(c, 308);
}

static void reply_failure(struct receipt *r)
{
    struct call *c = r->call;

    if (r->e == ERR_STALE)
        call_problem(c, 409, "other-upload", "%s", r->why);
    else if (r->e == ERR_BUSY)
        call_problem(c, 409, "in-use", "%s", r->why);
    else if (r->e == ERR_BAD || r->e == ERR_UNSUPPORTED || r->e == ERR_LIMIT)
        call_problem(c, 422, "not-a-recording", "The file is not taken: %s.", r->why);
    else
        call_error(c, r->e, r->e == ERR_MISSING ? "event" : "upload");
}

/* Gives the event's place back, so that whoever hears the answer can go on at once, and answers. */
static void end(struct receipt *r)
{
    uint64_t have = r->upload ? live_upload_have(r->upload) : 0;

    live_upload_close(r->upload);
    builder_drop(&r->waiting);
    if (r->e != ERR_OK)
        reply_failure(r);
    else if (r->made)
        reply_video(r->call, 201, r->video);
    else
        reply_progress(r->call, have);
    call_send(r->call);
    free(r);
}

/* --- pieces ---------------------------------------------------------------------------------------------- */

static void finish_if_whole(struct receipt *r)
{
    if (r->e != ERR_OK || live_upload_have(r->upload) < r->announced.total)
        return;
    r->e = live_upload_finish(r->upload, &r->video, r->why);
    r->made = r->e == ERR_OK;
}

/* On the pool: writes what waits; at the end, makes it durable. */
static void write_waiting(void *ctx)
{
    struct receipt *r = ctx;

    r->e = live_upload_write(r->upload, builder_bytes(&r->waiting));
    builder_drop(&r->waiting);
    if (r->over && r->e == ERR_OK)
        r->e = live_upload_sync(r->upload);
    if (r->over)
        finish_if_whole(r);
}

/* Back on the loop. */
static void written(void *ctx)
{
    struct receipt *r = ctx;

    r->at_pool = false;
    if (r->e != ERR_OK || r->over || r->call->x == NULL)
        end(r);
    else
        http_body_resume(r->call->x);
}

static void on_piece(void *ctx, struct bytes piece)
{
    struct receipt *r = ctx;

    builder_add(&r->waiting, piece);
    r->over = piece.size == 0;
    if (!r->over && builder_bytes(&r->waiting).size < UPLOAD_WRITE_BYTES)
        return;
    http_body_pause(r->call->x);
    r->at_pool = true;
    pool_run(r->loop, write_waiting, written, r);
}

/* The peer is gone: what it sent stays. */
static void on_hung_up(void *ctx)
{
    struct receipt *r = ctx;

    r->call->x = NULL;
    if (r->at_pool)
        return;
    r->at_pool = true;
    pool_run(r->loop, write_waiting, written, r);
}

/* --- the beginning --------------------------------------------------------------------------------------- */

static void open_upload(void *ctx)
{
    struct receipt *r = ctx;
    const struct announced *a = &r->announced;
    struct live *live = r->call->api->options.live;

    r->made = a->asks && live_uploaded(live, r->call->id, a->total, &r->video);
    if (r->made)
        return; /* its sender did not hear the answer */
    r->e = live_upload_open(live, r->call->id, a->total, a->asks ? UPLOAD_ASKS : a->from, a->whole,
                            &r->upload, r->why);
    if (r->e == ERR_OK)
        finish_if_whole(r);
}

static void opened(void *ctx)
{
    struct receipt *r = ctx;

    r->at_pool = false;
    if (r->e != ERR_OK || r->made || r->call->x == NULL || r->announced.asks ||
        r->announced.from != live_upload_have(r->upload))
        end(r);
    else
        http_on_body(r->call->x, on_piece, r);
}

static void receive(struct call *c)
{
    struct announced announced;
    struct receipt *r;

    if (!call_id(c, "event") || !read_announced(c, &announced)) {
        call_send(c);
        return;
    }
    r = mem_new(sizeof *r);
    r->call = c;
    r->loop = http_loop(c->x);
    r->announced = announced;
    r->at_pool = true;
    http_on_end(c->x, on_hung_up, r);
    pool_run(r->loop, open_upload, opened, r);
}

const struct route upload_routes[] = {
    {HTTP_PUT, "/api/v1/events/{}/video", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_STREAMS, NULL, receive},
    {.pattern = NULL},
};
