/* relay/fetch.c - the one thread that talks to other servers, over libcurl's multi interface. */
#include "relay/relay_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <stdio.h>
#include <stdlib.h>

METRIC(fetches, METRIC_COUNTER, "matinee_relay_fetches_total",
       "Requests to other servers for what is live there");
METRIC(fetched_bytes, METRIC_COUNTER, "matinee_relay_bytes_total", "Bytes that came from other servers");
METRIC(fetch_failures, METRIC_COUNTER, "matinee_relay_failures_total",
       "Requests to other servers without an answer");

/* --- what comes in --------------------------------------------------------------------------------------- */

/* The fields of an answer that say something to players and caches; what else there is, this server says itself. */
static bool is_passed_on(struct bytes name)
{
    static const char *const names[] = {"cache-control",
                                        "etag",
                                        "retry-after",
                                        "access-control-allow-origin",
                                        "access-control-expose-headers",
                                        "surrogate-key",
                                        "surrogate-control",
                                        "cache-tag",
                                        "cdn-cache-control",
                                        "matinee-access",
                                        "matinee-answer",
                                        "www-authenticate",
                                        "location",
                                        "link",
                                        "accept-patch",
                                        "accept-post",
                                        "allow",
                                        "matinee-adapts"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bytes_is_nocase(name, names[i]))
            return true;
    return false;
}

static long max_age_of(struct bytes value)
{
    char text[256];
    const char *at;

    snprintf(text, sizeof text, "%.*s", (int)value.size, (const char *)value.at);
    at = strstr(text, "max-age=");
    return at == NULL || strstr(text, "no-store") != NULL ? 0 : strtol(at + 8, NULL, 10);
}

static struct bytes trim(struct bytes b)
{
    while (b.size > 0 && (b.at[0] == ' ' || b.at[0] == '\t'))
        b = bytes_from(b, 1);
    while (b.size > 0 && (b.at[b.size - 1] <= ' '))
        b.size--;
    return b;
}

static void take_field(struct flight *f, struct bytes line)
{
    const uint8_t *colon = memchr(line.at, ':', line.size);

    if (colon == NULL)
        return;
    struct bytes name = bytes_of(line.at, (size_t)(colon - line.at));
    struct bytes value = trim(bytes_from(line, name.size + 1));

    if (bytes_is_nocase(name, "content-length"))
        f->has_length = true;
    if (bytes_is_nocase(name, "content-type"))
        snprintf(f->type, sizeof f->type, "%.*s", (int)value.size, (const char *)value.at);
    if (bytes_is_nocase(name, "cache-control"))
        f->max_age_s = max_age_of(value);
    if (!is_passed_on(name))
        return;
    builder_add(&f->fields, name);
    builder_u8(&f->fields, 0);
    builder_add(&f->fields, value);
    builder_u8(&f->fields, 0);
}

static size_t on_header(char *at, size_t one, size_t size, void *ctx)
{
    struct flight *f = ctx;
    struct bytes line = trim(bytes_of(at, size));
    long status = 0;

    pthread_mutex_lock(&f->relay->lock);
    if (line.size > 0) {
        take_field(f, line);
    } else {
        curl_easy_getinfo(f->handle, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 200) {
            f->status = (int)status;
            f->has_head = true;
            f->grows = status == 200 && !f->has_length;
            if (f->grows)
                flight_tell(f);
        }
    }
    pthread_mutex_unlock(&f->relay->lock);
    return size;
}

static size_t on_content(char *at, size_t one, size_t size, void *ctx)
{
    struct flight *f = ctx;

    if (f->bytes + size > RELAY_ANSWER_BYTES_MAX)
        return 0; /* ends it */
    metric_add(&fetched_bytes, (long long)size);
    pthread_mutex_lock(&f->relay->lock);
    f->pieces = mem_resize(f->pieces, (f->count + 1) * sizeof(struct buffer *));
    f->pieces[f->count++] = buffer_copy(bytes_of(at, size));
    f->bytes += size;
    if (f->grows)
        flight_tell(f);
    pthread_mutex_unlock(&f->relay->lock);
    return size;
}

/* --- going, and coming back ------------------------------------------------------------------------------ */

static void begin(struct relay *r, struct flight *f)
{
    CURL *h = curl_easy_init();

    if (h == NULL)
        abort(); /* for want of memory (base/mem.h) */
    f->handle = h;
    curl_easy_setopt(h, CURLOPT_URL, f->url);
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)RELAY_CONNECT_MS_MAX);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)RELAY_ANSWER_MS_MAX);
    curl_easy_setopt(h, CURLOPT_BUFFERSIZE, (long)RELAY_PIECE_BYTES);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, f->headers);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_content);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(h, CURLOPT_PRIVATE, f);
    if (f->method != HTTP_GET && f->method != HTTP_HEAD) {
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, http_method_name(f->method));
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, f->body ? (long)f->body->size : 0L);
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, f->body ? (const char *)f->body->data : "");
    }
    curl_multi_add_handle(r->multi, h);
    metric_add(&fetches, 1);
}

static void end(struct relay *r, struct flight *f, CURLcode code)
{
    curl_multi_remove_handle(r->multi, f->handle);
    curl_easy_cleanup(f->handle);
    f->handle = NULL;
    if (code != CURLE_OK) {
        metric_add(&fetch_failures, 1);
        log_debug("relay", "%s: %s", f->url, curl_easy_strerror(code));
    }
    pthread_mutex_lock(&r->lock);
    f->failed = code != CURLE_OK || !f->has_head;
    flight_done(f);
    pthread_mutex_unlock(&r->lock);
}

static void end_those_that_are(struct relay *r)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(r->multi, &left)) != NULL) {
        struct flight *f = NULL;
        CURLcode code = m->data.result;

        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &f);
        end(r, f, code);
    }
}

/* False: the house closes. */
static bool begin_those_that_wait(struct relay *r)
{
    struct list waiting;

    pthread_mutex_lock(&r->lock);
    list_move(&waiting, &r->to_begin);
    list_each(&waiting, at, after)
    {
        list_remove(at);
        list_push(&r->under_way, at);
        begin(r, container_of(at, struct flight, link));
    }
    bool goes_on = !r->stopping;

    pthread_mutex_unlock(&r->lock);
    return goes_on;
}

void *fetch_all(void *relay)
{
    struct relay *r = relay;
    int running;

    pthread_setname_np(pthread_self(), "relay");
    while (begin_those_that_wait(r)) {
        curl_multi_perform(r->multi, &running);
        end_those_that_are(r);
        curl_multi_poll(r->multi, NULL, 0, RELAY_POLL_MS, NULL);
    }
    for (;;) {
        pthread_mutex_lock(&r->lock);
        struct list *first = list_empty(&r->under_way) ? NULL : r->under_way.next;

        pthread_mutex_unlock(&r->lock);
        if (first == NULL)
            break;
        end(r, container_of(first, struct flight, link), CURLE_ABORTED_BY_CALLBACK);
    }
    return NULL;
}
