/* relay/relay.c - who rides along with which fetch, what is kept, and the answers. */
#include "relay/relay_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

METRIC(requests, METRIC_COUNTER, "matinee_relay_requests_total",
       "Requests of viewers for what is live on another server");

static void ride(void *ctx);
static void advance(struct rider *rider);

/* --- flights, with the lock held --------------------------------------------------------------------------- */

static void release(struct flight *f)
{
    if (--f->users > 0)
        return;
    list_remove(&f->link);
    for (size_t i = 0; i < f->count; i++)
        buffer_unref(f->pieces[i]);
    free(f->pieces);
    builder_drop(&f->fields);
    curl_slist_free_all(f->headers);
    free(f->url);
    buffer_unref(f->body);
    free(f);
}

/* Nobody else rides along with it. */
static void unlist(struct flight *f)
{
    map_remove(f->relay->flights, bytes_text(f->url));
    f->listed = false;
    if (f->done)
        f->relay->kept_bytes -= f->bytes;
    list_remove(&f->link);
    release(f);
}

void flight_tell(struct flight *f)
{
    list_each(&f->riders, at, after)
    {
        struct rider *rider = container_of(at, struct rider, link);

        if (!rider->called)
            loop_post(rider->loop, ride, rider);
        rider->called = true;
    }
}

void flight_done(struct flight *f)
{
    struct relay *r = f->relay;

    f->done = true;
    r->going--;
    f->fresh_until_ms = clock_mono_ms() + f->max_age_s * 1000;
    list_remove(&f->link);
    flight_tell(f);
    if (f->listed) {
        r->kept_bytes += f->bytes;
        list_push(&r->kept, &f->link);
        if (f->failed || f->status != 200 || f->max_age_s == 0)
            unlist(f);
    }
    /* The ones that were used longest ago go first. */
    while (r->kept_bytes > RELAY_KEPT_BYTES_MAX && !list_empty(&r->kept))
        unlist(container_of(r->kept.next, struct flight, link));
    release(f);
}

static void say(struct flight *f, const char *name, struct bytes value)
{
    char *line;

    if (value.size == 0)
        return;
    line = mem_printf("%s: %.*s", name, (int)value.size, (const char *)value.at);
    f->headers = curl_slist_append(f->headers, line);
    OPENSSL_cleanse(line, strlen(line));
    free(line);
}

/* Who asks, as proxies say it: what was said before us, and then our peer. */
static void say_who(struct flight *f, const struct http_exchange *x)
{
    struct bytes before = http_field(x, "X-Forwarded-For");
    char peer[ADDRESS_TEXT_SIZE], *list;

    list = mem_printf("%.*s%s%s", (int)before.size, (const char *)before.at, before.size > 0 ? ", " : "",
                      address_text(http_peer(x), peer));
    say(f, "X-Forwarded-For", bytes_text(list));
    free(list);
}

/* What is asked for one exchange only, as it was asked here. */
static void say_own(struct flight *f, const struct http_exchange *x)
{
    static const char *const names[] = {"Host", "Content-Type", "If-Match", "Accept"};
    struct bytes body = http_body(x);

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        say(f, names[i], http_field(x, names[i]));
    say(f, "X-Forwarded-Proto", bytes_text(http_is_tls(x) ? "https" : "http"));
    say_who(f, x);
    f->method = http_method(x);
    if (body.size > 0)
        f->body = buffer_copy(body);
}

static struct flight *flight_new(struct relay *r, const struct relay_wish *w)
{
    struct flight *f = mem_new(sizeof *f);
    char *token = w->token ? mem_printf("Bearer %s", w->token) : NULL;

    f->relay = r;
    f->users = 1; /* the thread */
    list_init(&f->riders);
    list_init(&f->link);
    f->url = mem_printf("%s%s", w->base, w->target);
    if (w->edge_key != NULL)
        say(f, "Matinee-Edge", bytes_text(w->edge_key));
    if (token != NULL) {
        say(f, "Authorization", bytes_text(token));
        OPENSSL_cleanse(token, strlen(token));
        free(token);
    }
    return f;
}

static void take_off(struct flight *f)
{
    f->relay->going++;
    list_push(&f->relay->to_begin, &f->link);
    curl_multi_wakeup(f->relay->multi);
}

/* The one that has it or will have it, begun where there is none; `rides`: it was begun for another. NULL: too many are under way. */
static struct flight *find(struct relay *r, const struct relay_wish *w, bool *rides)
{
    char *key = mem_printf("%s%s", w->base, w->target);
    struct flight *f = map_get(r->flights, bytes_text(key));

    if (f != NULL && f->done && clock_mono_ms() >= f->fresh_until_ms) {
        unlist(f);
        f = NULL;
    }
    *rides = f != NULL;
    if (f == NULL && r->going < RELAY_FLIGHTS_MAX) {
        f = flight_new(r, w);
        f->listed = true;
        f->users++;
        map_put(r->flights, bytes_text(f->url), f);
        take_off(f);
    } else if (f != NULL && f->done) { /* used last */
        list_remove(&f->link);
        list_push(&r->kept, &f->link);
    }
    free(key);
    return f;
}

static struct flight *charter(struct relay *r, const struct http_exchange *x, const struct relay_wish *w)
{
    struct flight *f;

    if (r->going >= RELAY_FLIGHTS_MAX)
        return NULL;
    f = flight_new(r, w);
    say_own(f, x);
    take_off(f);
    return f;
}

/* --- riders, on their loops --------------------------------------------------------------------------------- */

/* What a rider sees of its flight at one moment. */
struct sight {
    bool has_head, done, failed, grows;
    struct buffer **pieces; /* from the rider's on; references */
    size_t count;
};

static struct sight look(struct rider *rider)
{
    struct flight *f = rider->flight;
    struct sight s;

    pthread_mutex_lock(&rider->relay->lock);
    s = (struct sight){f->has_head, f->done, f->failed, f->grows, NULL, f->count - rider->sent};
    s.pieces = mem_new((s.count + 1) * sizeof(struct buffer *));
    for (size_t i = 0; i < s.count; i++)
        s.pieces[i] = buffer_ref(f->pieces[rider->sent + i]);
    pthread_mutex_unlock(&rider->relay->lock);
    return s;
}

static void rider_free(struct rider *rider)
{
    if (rider->token != NULL)
        OPENSSL_cleanse(rider->token, strlen(rider->token));
    free(rider->token);
    free(rider);
}

static void drop_sight(struct sight *s)
{
    for (size_t i = 0; i < s->count; i++)
        buffer_unref(s->pieces[i]);
    free(s->pieces);
}

/* Ends the ride; the exchange is the caller's, NULL where the peer has hung up. */
static struct http_exchange *get_off(struct rider *rider)
{
    struct http_exchange *x = rider->x;
    struct relay *r = rider->relay;

    if (x != NULL)
        http_on_end(x, NULL, NULL);
    rider->x = NULL;
    pthread_mutex_lock(&r->lock);
    list_remove(&rider->link);
    release(rider->flight);
    bool called = rider->called;

    rider->over = true;
    pthread_mutex_unlock(&r->lock);
    if (!called)
        rider_free(rider);
    return x;
}

static void hung_up(void *ctx)
{
    struct rider *rider = ctx;

    rider->x = NULL;
    (void)get_off(rider);
}

/* "public, max-age=1, stale-while-revalidate=5" as it is for one who must not hand it on. */
static void add_private(struct http_exchange *x, const char *control)
{
    const char *stale = strstr(control, ", stale");
    size_t size = stale != NULL ? (size_t)(stale - control) : strlen(control);

    if (strncmp(control, "public", 6) == 0)
        http_addf(x, "Cache-Control", "private%.*s", (int)size - 6, control + 6);
    else
        http_add(x, "Cache-Control", control);
}

/* The head of a flight does not change any more once it is there. */
static void add_fields(struct http_exchange *x, const struct rider *rider)
{
    struct bytes fields = builder_bytes(&rider->flight->fields);

    while (fields.size > 0) {
        const char *name = (const char *)fields.at, *value = name + strlen(name) + 1;

        if (!rider->is_private)
            http_add(x, name, value);
        else if (strcasecmp(name, "Cache-Control") == 0)
            add_private(x, value);
        else if (strcasecmp(name, "CDN-Cache-Control") != 0 && strcasecmp(name, "Surrogate-Control") != 0)
            http_add(x, name, value);
        fields = bytes_from(fields, (size_t)(value + strlen(value) + 1 - name));
    }
}

static void refuse(struct http_exchange *x)
{
    http_add(x, "Access-Control-Allow-Origin", "*");
    http_add(x, "Cache-Control", "no-store");
    http_add(x, "Retry-After", "1");
    http_answer_text(
        x, 503, "application/problem+json",
        "{\"type\":\"/problems/server-away\",\"title\":\"server-away\",\"status\":503,\"detail\":"
        "\"This show is live on another server, which does not answer; ask again in a moment.\"}");
}

static void answer_whole(struct rider *rider, struct sight *s)
{
    struct http_exchange *x = rider->x;
    const struct flight *f = rider->flight;

    add_fields(x, rider);
    int status = f->status;
    char type[sizeof f->type];

    snprintf(type, sizeof type, "%s", f->type);
    x = get_off(rider);
    http_answer_parts(x, status, type[0] ? type : NULL, s->pieces, s->count);
    s->count = 0; /* the answer has them */
}

static void again(void *ctx)
{
    struct rider *rider = ctx;

    rider->waits = false;
    advance(rider);
}

static void pass_on(struct rider *rider, struct sight *s)
{
    size_t i = 0;

    if (!rider->begun) {
        add_fields(rider->x, rider);
        http_begin(rider->x, 200, rider->flight->type);
        rider->begun = true;
    }
    for (; i < s->count && http_queued(rider->x) <= RELAY_UNREAD_BYTES_MAX; i++, rider->sent++)
        http_send(rider->x, buffer_ref(s->pieces[i]));
    if (i == s->count && s->done) {
        http_finish(get_off(rider));
    } else if (i < s->count && !rider->waits) {
        rider->waits = true;
        http_when_writable(rider->x, again, rider);
    }
}

/* The other server refused it to whom this rider rode along with, which says nothing of him. */
static bool is_anothers_refusal(const struct rider *rider, const struct sight *s)
{
    return rider->rides && s->done && !s->failed &&
           (rider->flight->status == 401 || rider->flight->status == 403);
}

/* Takes the next flight, which is begun with his token, or along with which he rides again. */
static void ask_again(struct rider *rider)
{
    struct relay *r = rider->relay;
    struct relay_wish w = {
        .base = rider->flight->url, .target = "", .token = rider->token, .edge_key = rider->edge_key};
    struct flight *next;

    pthread_mutex_lock(&r->lock);
    next = r->stopping ? NULL : find(r, &w, &rider->rides);
    if (next != NULL) {
        list_remove(&rider->link);
        release(rider->flight);
        rider->flight = next;
        next->users++;
        list_push(&next->riders, &rider->link);
    }
    pthread_mutex_unlock(&r->lock);
    if (next == NULL)
        refuse(get_off(rider));
    else
        advance(rider);
}

static void advance(struct rider *rider)
{
    struct sight s = look(rider);

    if (is_anothers_refusal(rider, &s))
        ask_again(rider);
    else if (s.failed && rider->begun)
        http_abort(get_off(rider)); /* the peer sees that it is not whole */
    else if (s.failed)
        refuse(get_off(rider));
    else if (s.done && !rider->begun)
        answer_whole(rider, &s);
    else if (s.has_head && s.grows && !rider->waits)
        pass_on(rider, &s);
    drop_sight(&s);
}

static void ride(void *ctx)
{
    struct rider *rider = ctx;

    pthread_mutex_lock(&rider->relay->lock);
    rider->called = false;
    pthread_mutex_unlock(&rider->relay->lock);
    if (rider->over)
        rider_free(rider);
    else
        advance(rider);
}

void relay_answer(struct relay *r, struct http_exchange *x, const struct relay_wish *w)
{
    struct rider *rider = mem_new(sizeof *rider);

    metric_add(&requests, 1);
    rider->relay = r;
    rider->loop = http_loop(x);
    rider->x = x;
    rider->is_private = w->is_private;
    rider->edge_key = w->edge_key;
    rider->token = w->token ? mem_string(w->token) : NULL;
    pthread_mutex_lock(&r->lock);
    if (!r->stopping)
        rider->flight = w->shared ? find(r, w, &rider->rides) : charter(r, x, w);
    bool refused = rider->flight == NULL;

    if (!refused) {
        rider->flight->users++;
        list_init(&rider->link);
        list_push(&rider->flight->riders, &rider->link);
    }
    pthread_mutex_unlock(&r->lock);
    if (refused) {
        rider_free(rider);
        refuse(x);
        return;
    }
    http_on_end(x, hung_up, rider);
    advance(rider);
}

/* --- opening and closing ------------------------------------------------------------------------------------ */

enum err relay_open(struct relay **out, char why[256])
{
    struct relay *r = mem_new(sizeof *r);

    *out = r;
    pthread_mutex_init(&r->lock, NULL);
    list_init(&r->to_begin);
    list_init(&r->under_way);
    list_init(&r->kept);
    r->flights = map_new();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (r->multi = curl_multi_init()) == NULL ||
        pthread_create(&r->thread, NULL, fetch_all, r) != 0) {
        r->stopping = true; /* there is no thread to stop */
        snprintf(why, 256, "the thread that asks other servers could not be started");
        return ERR_IO;
    }
    return ERR_OK;
}

void relay_stop(struct relay *r)
{
    if (r == NULL || r->stopping)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_mutex_unlock(&r->lock);
    curl_multi_wakeup(r->multi);
    pthread_join(r->thread, NULL);
}

void relay_close(struct relay *r)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    while (!list_empty(&r->kept))
        unlist(container_of(r->kept.next, struct flight, link));
    pthread_mutex_unlock(&r->lock);
    if (r->multi != NULL)
        curl_multi_cleanup(r->multi);
    curl_global_cleanup();
    map_free(r->flights);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
