/* api/comment_move.c - a video's comments as lines of JSON, out of one store and into another. */
#include "api/comments_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define EXPORT_LIMIT 1000
/* The shortest line there can be; so many lines at most are in one body. */
#define LINE_BYTES_MIN 8

/* --- out ------------------------------------------------------------------------------------------------- */

struct export
{
    struct builder lines;
    int64_t last_seq;
    size_t count;
};

static bool export_row(void *ctx, const struct comment *c)
{
    struct export *e = ctx;
    char created[CLOCK_TEXT_SIZE];

    e->count++;
    e->last_seq = c->seq;
    if (c->kind == COMMENT_GONE) /* the entry of its deletion says so, in every store */
        return true;
    builder_printf(&e->lines, "{\"id\":\"%.*s\",\"state\":\"%s\"", (int)c->id.size, (const char *)c->id.at,
                   c->kind == COMMENT_SHOWN  ? "shown"
                   : c->kind == COMMENT_HELD ? "held"
                                             : "deleted");
    builder_text(&e->lines, ",\"authorId\":");
    comment_print_text(&e->lines, c->author);
    builder_text(&e->lines, ",\"data\":");
    comment_print_text(&e->lines, c->data);
    builder_text(&e->lines, ",\"offset\":");
    comment_print_seconds(&e->lines, c->offset_us);
    builder_printf(&e->lines, ",\"createdAt\":\"%s\",\"digest\":\"", clock_text(c->created_ms, created));
    for (size_t i = 0; i < sizeof c->digest; i++)
        builder_printf(&e->lines, "%02x", c->digest[i]);
    builder_text(&e->lines, "\"}\n");
    return true;
}

static bool check_export(struct call *c)
{
    char text[32];
    uint64_t after = 0;
    bool present;

    if (!call_id(c, "video"))
        return false;
    if (http_query_get(c->x, "after", text, sizeof text, &present)
            ? !bytes_to_u64(bytes_text(text), INT64_MAX, &after)
            : present) {
        call_problem(c, 400, "bad-parameter", "'after' wants what the last page's link says.");
        return false;
    }
    c->since = (int64_t)after;
    return true;
}

static void export_page(struct call *c)
{
    struct export e = {.last_seq = c->since};
    char id[ULID_TEXT_SIZE];

    if (!call_view(c))
        return;
    if (comments_log(c->api->options.comments, c->id, c->since, EXPORT_LIMIT, export_row, &e) != ERR_OK) {
        builder_drop(&e.lines);
        reply_comments_away(c);
        return;
    }
    if (e.count == EXPORT_LIMIT)
        call_field(c, "Link", "</api/v1/videos/%s/comments/export?after=%lld>; rel=\"next\"",
                   ulid_text(c->id, id), (long long)e.last_seq);
    call_field(c, "Cache-Control", "no-store");
    call_text(c, 200, "application/x-ndjson", builder_finish(&e.lines));
}

/* --- in -------------------------------------------------------------------------------------------------- */

/* One line that is being taken in. */
struct arrival {
    struct comment_call comment;
    struct import *import;
    json_t *line;
    char *author, *data;
    bool gone;
};

struct import {
    struct call *call;
    struct arrival *arrivals;
    size_t count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t running;
};

static bool refuse_line(struct import *im, const char *what)
{
    call_problem(im->call, 422, "bad-line", "Line %zu: %s.", im->count, what);
    return false;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The digest of what was asked when it was posted, so that the same post is known again. */
static bool read_digest(const char *text, uint8_t out[COMMENT_DIGEST_SIZE])
{
    if (text == NULL || strlen(text) != (size_t)COMMENT_DIGEST_SIZE * 2)
        return false;
    for (size_t i = 0; i < COMMENT_DIGEST_SIZE; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static const char *member(const json_t *line, const char *name)
{
    const char *text = json_string_value(json_object_get(line, name));

    return text != NULL ? text : "";
}

static bool read_texts(struct import *im, struct arrival *a)
{
    const char *why = "";

    if (a->gone) { /* nothing of it is left but its id */
        a->author = mem_string("-");
        a->data = mem_string("-");
        return true;
    }
    if ((a->author = comment_text(COMMENT_TEXT_NAME, member(a->line, "authorId"), &why)) == NULL ||
        (a->data = comment_text(COMMENT_TEXT_DATA, member(a->line, "data"), &why)) == NULL)
        return refuse_line(im, a->author == NULL ? "'authorId' may not be said" : "'data' may not be said");
    return true;
}

static bool read_line(struct import *im, struct bytes text)
{
    struct arrival *a = &im->arrivals[im->count];
    double offset;
    const char *state;

    *a = (struct arrival){.import = im,
                          .line = json_loadb((const char *)text.at, text.size, JSON_REJECT_DUPLICATES, NULL)};
    im->count++; /* what it holds is freed with the others */
    if (!json_is_object(a->line))
        return refuse_line(im, "this is no JSON object");
    state = member(a->line, "state");
    offset = json_number_value(json_object_get(a->line, "offset"));
    a->gone = strcmp(state, "deleted") == 0;
    a->comment = (struct comment_call){.kind = COMMENT_POST,
                                       .video = im->call->id,
                                       .id = member(a->line, "id"),
                                       .hold = a->gone || strcmp(state, "held") == 0,
                                       .late = true};
    if (!comment_id_good(a->comment.id) || !isfinite(offset) || offset < 0 || offset > SECONDS_MAX ||
        !clock_parse(member(a->line, "createdAt"), &a->comment.created_ms) ||
        (!a->gone && !read_digest(member(a->line, "digest"), a->comment.digest)) ||
        (!a->comment.hold && strcmp(state, "shown") != 0))
        return refuse_line(
            im, "'id', 'state', 'offset', 'createdAt' or 'digest' is missing, or not what an export writes");
    a->comment.offset_us = llround(offset * 1e6);
    if (!read_texts(im, a))
        return false;
    a->comment.author = a->author;
    a->comment.data = a->data;
    return true;
}

static bool read_lines(struct import *im, struct bytes body)
{
    im->arrivals = mem_new((body.size / LINE_BYTES_MIN + 1) * sizeof *im->arrivals);
    while (body.size > 0) {
        long end = bytes_find(body, '\n');
        struct bytes line = end < 0 ? body : bytes_head(body, (size_t)end);

        if (line.size >= LINE_BYTES_MIN ? !read_line(im, line)
                                        : line.size > 0 && !refuse_line(im, "this is no comment"))
            return false;
        body = bytes_from(body, line.size + 1);
    }
    return true;
}

static void arrived(struct comment_call *comment)
{
    struct import *im = ((struct arrival *)comment->ctx)->import;

    pthread_mutex_lock(&im->lock);
    if (--im->running == 0)
        pthread_cond_signal(&im->changed);
    pthread_mutex_unlock(&im->lock);
}

/* Hands in those that `wanted` says, and waits for all. */
static void run_all(struct import *im, bool (*wanted)(const struct arrival *a))
{
    pthread_mutex_lock(&im->lock);
    for (size_t i = 0; i < im->count; i++)
        im->running += wanted(&im->arrivals[i]);
    pthread_mutex_unlock(&im->lock);
    for (size_t i = 0; i < im->count; i++) {
        struct arrival *a = &im->arrivals[i];

        if (!wanted(a))
            continue;
        comment_call_free(&a->comment);
        a->comment.done = arrived;
        a->comment.ctx = a;
        comments_submit(im->call->api->options.comments, &a->comment);
    }
    pthread_mutex_lock(&im->lock);
    while (im->running > 0)
        pthread_cond_wait(&im->changed, &im->lock);
    pthread_mutex_unlock(&im->lock);
}

static bool every(const struct arrival *a)
{
    return true;
}

static bool to_delete(const struct arrival *a)
{
    return a->comment.kind == COMMENT_DELETE;
}

/* Those that were deleted there are deleted here: their ids stay used. */
static void delete_gone(struct import *im)
{
    for (size_t i = 0; i < im->count; i++)
        if (im->arrivals[i].gone && im->arrivals[i].comment.answer == COMMENTED)
            im->arrivals[i].comment.kind = COMMENT_DELETE;
    run_all(im, to_delete);
}

static void reply_import(struct import *im)
{
    json_int_t taken = 0, known = 0, other = 0;

    for (size_t i = 0; i < im->count; i++) {
        const struct comment_call *comment = &im->arrivals[i].comment;
        bool was_gone = im->arrivals[i].gone && comment->answer == COMMENTED_OTHER; /* here too */

        if (comment->answer == COMMENT_BUSY || comment->answer == COMMENT_FULL) {
            reply_comments_away(im->call);
            return;
        }
        taken += comment->answer == COMMENTED;
        known += comment->answer == COMMENTED_BEFORE || was_gone;
        other += (comment->answer == COMMENTED_OTHER && !was_gone) || comment->answer == COMMENT_MISSING;
    }
    call_json(im->call, 200,
              json_pack("{s:I,s:I,s:I}", "imported", taken, "known", known, "conflicts", other));
}

static void import_free(struct import *im)
{
    for (size_t i = 0; i < im->count; i++) {
        struct arrival *a = &im->arrivals[i];

        comment_call_free(&a->comment);
        json_decref(a->line);
        free(a->author);
        free(a->data);
    }
    free(im->arrivals);
    pthread_mutex_destroy(&im->lock);
    pthread_cond_destroy(&im->changed);
}

static bool check_import(struct call *c)
{
    struct bytes body = http_body(c->x), type = http_field(c->x, "Content-Type");

    if (!call_id(c, "video"))
        return false;
    if (!bytes_is_nocase(type, "application/x-ndjson")) {
        call_problem(c, 415, "not-ndjson", "Send the lines as 'Content-Type: application/x-ndjson'.");
        return false;
    }
    c->content = buffer_copy(body);
    return true;
}

static void import_lines(struct call *c)
{
    struct import im = {.call = c, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct buffer *body = c->content;

    c->content = NULL;
    if (call_view(c) && read_lines(&im, buffer_bytes(body))) {
        run_all(&im, every);
        delete_gone(&im);
        reply_import(&im);
    }
    import_free(&im);
    buffer_unref(body);
}

const struct route comment_move_routes[] = {
    {HTTP_GET, "/api/v1/videos/{}/comments/export", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_BLOCKS, check_export,
     export_page},
    {HTTP_POST, "/api/v1/videos/{}/comments/import", ROUTE_ADMIN | ROUTE_PRODUCER | ROUTE_BLOCKS,
     check_import, import_lines},
    {.pattern = NULL},
};
