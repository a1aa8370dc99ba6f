/* store/remote_call.c - one request to a store that is elsewhere, and its answer, over libcurl.
 *
 * Whoever calls blocks; many may at once, each with a handle of its own that keeps its connection for the next. What an answer
 * means is the caller's to judge. */
#include "store/remote_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#define TIME_TEXT_SIZE 64

/* A request while it is under way. */
struct exchange {
    struct remote *remote;
    const struct remote_request *request;
    struct remote_answer *answer;
    struct bytes left; /* of the body */
    bool too_large;
};

/* --- handles ----------------------------------------------------------------------------------------- */

void remote_init(struct remote *r, const struct store *store)
{
    *r = (struct remote){.store = store};
    pthread_mutex_init(&r->lock, NULL);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort(); /* for want of memory (base/mem.h) */
}

void remote_drop(struct remote *r)
{
    while (r->idle_count > 0)
        curl_easy_cleanup(r->idle[--r->idle_count]);
    pthread_mutex_destroy(&r->lock);
}

static CURL *handle_take(struct remote *r)
{
    CURL *h = NULL;

    pthread_mutex_lock(&r->lock);
    if (r->idle_count > 0)
        h = r->idle[--r->idle_count];
    pthread_mutex_unlock(&r->lock);
    if (h == NULL && (h = curl_easy_init()) == NULL)
        abort(); /* for want of memory */
    return h;
}

static void handle_give(struct remote *r, CURL *h)
{
    curl_easy_reset(h); /* keeps its connection */
    pthread_mutex_lock(&r->lock);
    bool keep = r->idle_count < REMOTE_CONNECTIONS_IDLE_MAX;

    if (keep)
        r->idle[r->idle_count++] = h;
    pthread_mutex_unlock(&r->lock);
    if (!keep)
        curl_easy_cleanup(h);
}

/* --- what goes out ----------------------------------------------------------------------------------- */

struct curl_slist *remote_header(struct curl_slist *list, const char *name, const char *value)
{
    char *line = mem_printf("%s: %s", name, value);
    struct curl_slist *more = curl_slist_append(list, line);

    if (more == NULL)
        abort(); /* for want of memory */
    free(line);
    return more;
}

static size_t on_send(char *to, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    struct bytes piece = bytes_head(x->left, size * count);

    if (piece.size > 0)
        memcpy(to, piece.at, piece.size);
    x->left = bytes_from(x->left, piece.size);
    return piece.size;
}

/* curl sends again from the beginning where a kept connection turns out to be dead. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct exchange *x = ctx;

    if (origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_FAIL;
    x->left = bytes_from(x->request->body, (size_t)offset);
    return CURL_SEEKFUNC_OK;
}

/* --- what comes back --------------------------------------------------------------------------------- */

static size_t on_body(char *from, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    struct remote_answer *a = x->answer;
    size_t most = x->request->answer_bytes_max, have = builder_bytes(&a->body).size;

    size *= count;
    if (size > most - have) {
        x->too_large = true;
        return 0;
    }
    /* Room for all of it at once: growing to megabytes by doubling would copy each byte twice. */
    if (have == 0 && a->has_length && a->length <= most)
        a->body.buffer = buffer_new((size_t)a->length);
    builder_add(&a->body, bytes_of(from, size));
    return size;
}

bool remote_header_is(struct bytes line, const char *name, char *value, size_t room)
{
    size_t size = strlen(name);

    if (line.size <= size || line.at[size] != ':' || strncasecmp((const char *)line.at, name, size) != 0)
        return false;
    line = bytes_from(line, size + 1);
    while (line.size > 0 && (line.at[0] == ' ' || line.at[0] == '"'))
        line = bytes_from(line, 1);
    while (line.size > 0 && strchr("\r\n \"", line.at[line.size - 1]) != NULL)
        line.size--;
    snprintf(value, room, "%.*s", (int)(line.size < room ? line.size : room),
             line.size > 0 ? (const char *)line.at : "");
    return true;
}

static size_t on_header(char *from, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    struct remote_answer *a = x->answer;
    struct bytes line = bytes_of(from, size * count);
    char text[TIME_TEXT_SIZE];

    if (bytes_starts(line, "HTTP/")) { /* what stood before was 100 Continue */
        a->has_length = false;
        a->location[0] = '\0';
    } else if (remote_header_is(line, "date", text, sizeof text)) {
        time_t at = curl_getdate(text, NULL);

        a->date_ms = at > 0 ? (int64_t)at * 1000 : 0;
    } else if (remote_header_is(line, "content-length", text, sizeof text)) {
        a->has_length = bytes_to_u64(bytes_text(text), INT64_MAX, &a->length);
    } else {
        (void)remote_header_is(line, "location", a->location, sizeof a->location);
    }
    if (x->request->header != NULL)
        x->request->header(x->request->ctx, line);
    return line.size;
}

/* Not zero: the house closes, and this has taken its time. */
static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    const struct exchange *x = ctx;
    int64_t closing_ms = atomic_load(&x->remote->store->closing_ms);

    return closing_ms != 0 && clock_mono_ms() - closing_ms > STORE_CLOSING_MS_MAX;
}

/* --- the exchange ------------------------------------------------------------------------------------ */

static void set_up(CURL *h, struct exchange *x)
{
    const struct remote_request *r = x->request;
    size_t bytes = r->body.size > r->answer_bytes_max ? r->body.size : r->answer_bytes_max;

    curl_easy_setopt(h, CURLOPT_URL, r->url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION,
                     (long)CURL_HTTP_VERSION_1_1); /* one connection a handle: nothing to multiplex */
    curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)REMOTE_CONNECT_MS_MAX);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, (long)REMOTE_SILENCE_SECONDS_MAX);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)(REMOTE_ANSWER_MS_MAX + bytes / REMOTE_BYTES_A_MS_MIN));
    curl_easy_setopt(h, CURLOPT_BUFFERSIZE, (long)REMOTE_BUFFER_BYTES);
    curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, (long)REMOTE_BUFFER_BYTES);
    if (x->remote->authority_file != NULL)
        curl_easy_setopt(h, CURLOPT_CAINFO, x->remote->authority_file);
    if (r->body.size > 0 || strcmp(r->method, "PUT") == 0) {
        curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body.size);
        curl_easy_setopt(h, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(h, CURLOPT_READDATA, x);
        curl_easy_setopt(h, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(h, CURLOPT_SEEKDATA, x);
    } else if (strcmp(r->method, "POST") == 0) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, "");
    }
    if (strcmp(r->method, "HEAD") == 0)
        curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, r->method);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, x);
}

void remote_call(struct remote *remote, const struct remote_request *q, struct remote_answer *out)
{
    struct exchange x = {.remote = remote, .request = q, .answer = out, .left = q->body};
    CURL *h = handle_take(remote);

    *out = (struct remote_answer){0};
    set_up(h, &x);
    out->transport = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &out->status);
    if (out->transport != CURLE_OK)
        snprintf(out->message, sizeof out->message, "%s",
                 x.too_large ? "the answer is too large" : curl_easy_strerror(out->transport));
    handle_give(remote, h);
}

void remote_answer_drop(struct remote_answer *a)
{
    builder_drop(&a->body);
}

/* --- another time ------------------------------------------------------------------------------------ */

void remote_pause(unsigned attempt)
{
    uint64_t most_ms = (uint64_t)REMOTE_PAUSE_MS_MIN << attempt, ms;

    most_ms = most_ms < REMOTE_PAUSE_MS_MAX ? most_ms : REMOTE_PAUSE_MS_MAX;
    ms = most_ms / 2 + random_u64() % (most_ms / 2 + 1);
    nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000 * 1000000)}, NULL);
}

enum err remote_err(const struct remote_answer *a)
{
    return a->transport == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT
           : a->transport == CURLE_OK               ? ERR_BUSY
                                                    : ERR_IO;
}

bool remote_is_away(const struct remote_answer *a)
{
    switch (a->transport) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_WEIRD_SERVER_REPLY:
        return false;
    default:
        return true;
    }
}
