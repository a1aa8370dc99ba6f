/* Two servers over real loopback sockets: one that has, one that relays; and a crowd of blocking clients. */
#include "unit.h"

#include "../net/wait.h"
#include "base/mem.h"
#include "relay/relay.h"

#include <stdatomic.h>

static struct net *net;
static struct http_server *home, *away;
static struct relay *relay;
static char base[96];
static struct address home_at, away_at;

/* --- the server that has ------------------------------------------------------------------------------------- */

static struct {
    atomic_int asked;
    _Atomic(struct http_exchange *) open; /* its loop's: an answer that grows, or that waits */
    struct loop *loop;
    sem_t suspended, passed;
} stage;

static void forget(void *ctx)
{
    stage.open = NULL;
}

static void suspend(struct http_exchange *x)
{
    stage.open = x;
    stage.loop = http_loop(x);
    http_on_end(x, forget, NULL);
    sem_post(&stage.suspended);
}

static void have(void *ctx, struct http_exchange *x)
{
    const char *path = http_path(x);

    atomic_fetch_add(&stage.asked, 1);
    if (strcmp(path, "/kept") == 0) {
        http_add(x, "Cache-Control", "public, max-age=60");
        http_add(x, "ETag", "\"k\"");
        http_answer_text(x, 200, "video/mp4", "0123456789");
    } else if (strcmp(path, "/now") == 0) {
        http_add(x, "Cache-Control", "no-store");
        http_answer_text(x, 200, "text/plain", "now");
    } else if (strcmp(path, "/grows") == 0) {
        http_add(x, "Cache-Control", "public, max-age=60");
        http_begin(x, 200, "video/mp4");
        http_send(x, buffer_copy(bytes_text("one ")));
        suspend(x);
    } else if (strcmp(path, "/waits") == 0) {
        suspend(x);
    } else if (strcmp(path, "/echo") == 0) {
        http_add(x, "Location", "/made/1");
        http_answer(x, 201, "text/plain", buffer_copy(http_body(x)));
    } else if (strcmp(path, "/closed") == 0 && bytes_is(http_field(x, "Authorization"), "Bearer bad")) {
        suspend(x);
    } else if (strcmp(path, "/closed") == 0) {
        http_add(x, "Cache-Control", "public, max-age=60, stale-while-revalidate=5");
        http_add(x, "CDN-Cache-Control", "public, max-age=60");
        http_answer_text(x, 200, "text/plain", "for who may");
    } else if (strcmp(path, "/who") == 0) {
        struct bytes token = http_field(x, "Authorization");
        char text[64];

        snprintf(text, sizeof text, "%.*s", (int)token.size, (const char *)token.at);
        http_answer_text(x, 200, "text/plain", text);
    } else {
        http_answer_text(x, 404, "text/plain", "nothing");
    }
}

static void finish(void *ctx)
{
    http_send(stage.open, buffer_copy(bytes_text("two")));
    http_on_end(stage.open, NULL, NULL);
    http_finish(stage.open);
    stage.open = NULL;
}

static void turn_away(void *ctx)
{
    http_on_end(stage.open, NULL, NULL);
    http_answer_text(stage.open, 403, "text/plain", "not you");
    stage.open = NULL;
}

static void break_off(void *ctx)
{
    http_on_end(stage.open, NULL, NULL);
    http_abort(stage.open);
    stage.open = NULL;
}

/* --- the server that relays ---------------------------------------------------------------------------------- */

static atomic_bool to_nowhere;

static void pass(void *ctx, struct http_exchange *x)
{
    const char *path = http_path(x);
    bool shared = http_method(x) == HTTP_GET && strcmp(path, "/who") != 0;
    struct bytes credentials = http_field(x, "Authorization");
    char token[32] = "t0ken";

    if (credentials.size > 7)
        snprintf(token, sizeof token, "%.*s", (int)credentials.size - 7, (const char *)credentials.at + 7);
    relay_answer(relay, x,
                 &(struct relay_wish){.base = to_nowhere ? "http://127.0.0.1:1" : base,
                                      .target = path,
                                      .token = token,
                                      .is_private = strcmp(path, "/closed") == 0,
                                      .shared = shared});
    sem_post(&stage.passed);
}

static int open_both(void **state)
{
    static const struct http_handler has = {.handle = have}, passes = {.handle = pass};
    char why[256], text[ADDRESS_TEXT_SIZE];

    sem_init(&stage.suspended, 0, 0);
    sem_init(&stage.passed, 0, 0);
    stage.asked = 0;
    to_nowhere = false;
    if (!address_parse("127.0.0.1:0", &home_at) || !address_parse("127.0.0.1:0", &away_at) ||
        net_start(&net, 2, 2) != ERR_OK || relay_open(&relay, why) != ERR_OK ||
        http_server_start(&home, net, &home_at, NULL, &has) != ERR_OK ||
        http_server_start(&away, net, &away_at, NULL, &passes) != ERR_OK)
        return -1;
    snprintf(base, sizeof base, "http://%s", address_text(&home_at, text));
    return 0;
}

static int close_both(void **state)
{
    http_server_stop(away, 1000);
    http_server_stop(home, 1000);
    relay_stop(relay);
    net_stop(net);
    relay_close(relay);
    return 0;
}

/* --- clients --------------------------------------------------------------------------------------------------- */

static int dial(const char *request)
{
    int fd = client_of(&away_at);

    send_text(fd, request);
    return fd;
}

/* All that comes until the peer closes. */
static void hear(int fd, char *text, size_t room)
{
    size_t size = 0;
    ssize_t got;

    while (size + 1 < room && (got = recv(fd, text + size, room - 1 - size, 0)) > 0)
        size += (size_t)got;
    text[size] = '\0';
    close(fd);
}

struct client {
    pthread_t thread;
    const char *request;
    char heard[1024];
};

static void *ask(void *ctx)
{
    struct client *c = ctx;

    hear(dial(c->request), c->heard, sizeof c->heard);
    return NULL;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"

static void one(const char *request, char heard[1024])
{
    hear(dial(request), heard, 1024);
}

/* --- tests ----------------------------------------------------------------------------------------------------- */

static void a_crowd_is_one_to_the_other_server_and_what_may_be_kept_is(void **state)
{
    struct client crowd[40] = {0};
    char heard[1024];

    for (size_t i = 0; i < 40; i++) {
        crowd[i].request = GET("/kept");
        assert_int_equal(pthread_create(&crowd[i].thread, NULL, ask, &crowd[i]), 0);
    }
    for (size_t i = 0; i < 40; i++) {
        pthread_join(crowd[i].thread, NULL);
        assert_non_null(strstr(crowd[i].heard, "200 OK"));
        assert_non_null(strstr(crowd[i].heard, "ETag: \"k\"\r\n"));
        assert_non_null(strstr(crowd[i].heard, "\r\n\r\n0123456789"));
    }
    assert_int_equal(stage.asked, 1);
    one("GET /kept HTTP/1.1\r\nHost: here\r\nRange: bytes=2-4\r\nConnection: close\r\n\r\n", heard);
    assert_non_null(strstr(heard, "206 "));
    assert_non_null(strstr(heard, "\r\n\r\n234"));
    one("GET /kept HTTP/1.1\r\nHost: here\r\nIf-None-Match: \"k\"\r\nConnection: close\r\n\r\n", heard);
    assert_non_null(strstr(heard, "304 "));
    assert_int_equal(stage.asked, 1);
    for (int i = 0; i < 2; i++) {
        one(GET("/now"), heard);
        assert_non_null(strstr(heard, "\r\n\r\nnow"));
    }
    assert_int_equal(stage.asked, 3);
    one(GET("/none"), heard);
    assert_non_null(strstr(heard, "404 "));
}

static void what_grows_is_passed_on_as_it_comes_to_who_came_late_too(void **state)
{
    int first = dial(GET("/grows")), late;
    char heard[1024], peek[512];
    size_t size = 0;

    wait_for(&stage.suspended);
    while (size < sizeof peek - 1 &&
           memmem(peek, size, "one ", 4) == NULL) { /* before the other server has ended it */
        ssize_t got = recv(first, peek + size, sizeof peek - size, 0);

        assert_true(got > 0);
        size += (size_t)got;
    }
    late = dial(GET("/grows"));
    int gone = dial(GET("/grows"));

    close(gone);
    loop_post(stage.loop, finish, NULL);
    hear(first, heard, sizeof heard);
    assert_non_null(strstr(heard, "two"));
    hear(late, heard, sizeof heard);
    assert_non_null(strstr(heard, "one "));
    assert_non_null(strstr(heard, "two"));
    one(GET("/grows"), heard); /* kept, as a whole */
    assert_non_null(strstr(heard, "Content-Length: 7\r\n"));
    assert_int_equal(stage.asked, 1);
}

static void what_breaks_off_is_seen_to_be_broken_off_and_not_kept(void **state)
{
    struct client c = {.request = GET("/grows")};

    assert_int_equal(pthread_create(&c.thread, NULL, ask, &c), 0);
    wait_for(&stage.suspended);
    loop_post(stage.loop, break_off, NULL);
    pthread_join(c.thread, NULL);
    assert_null(strstr(c.heard, "\r\n0\r\n\r\n")); /* a chunked answer's end */
    assert_int_equal(pthread_create(&c.thread, NULL, ask, &c), 0);
    wait_for(&stage.suspended);
    loop_post(stage.loop, finish, NULL);
    pthread_join(c.thread, NULL);
    assert_int_equal(stage.asked, 2);
}

static void a_server_that_does_not_answer_is_503(void **state)
{
    char heard[1024];

    to_nowhere = true;
    one(GET("/kept"), heard);
    assert_non_null(strstr(heard, "503 "));
    assert_non_null(strstr(heard, "Retry-After: 1\r\n"));
    to_nowhere = false;
    one(GET("/kept"), heard);
    assert_non_null(strstr(heard, "200 OK"));
}

static void methods_bodies_and_tokens_go_along_and_places_come_back(void **state)
{
    char heard[1024];

    one("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        heard);
    assert_non_null(strstr(heard, "201 "));
    assert_non_null(strstr(heard, "Location: /made/1\r\n"));
    assert_non_null(strstr(heard, "\r\n\r\nhello"));
    one(GET("/who"), heard);
    assert_non_null(strstr(heard, "\r\n\r\nBearer t0ken"));
}

#define GET_AS(token)                                                                                        \
    "GET /closed HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer " token "\r\nConnection: close\r\n\r\n"

static void who_rides_along_with_one_that_is_refused_is_asked_for_himself(void **state)
{
    char heard[1024];
    int bad = dial(GET_AS("bad")), good;

    wait_for(&stage.suspended);
    wait_for(&stage.passed);
    good = dial(GET_AS("good"));
    wait_for(&stage.passed);
    assert_int_equal(stage.asked, 1);
    loop_post(stage.loop, turn_away, NULL);
    hear(bad, heard, sizeof heard);
    assert_non_null(strstr(heard, "403 "));
    hear(good, heard, sizeof heard);
    assert_non_null(strstr(heard, "\r\n\r\nfor who may"));
    assert_non_null(strstr(heard, "Cache-Control: private, max-age=60\r\n"));
    assert_null(strstr(heard, "public"));
    assert_int_equal(stage.asked, 2);
}

static void who_waits_when_the_house_closes_is_told(void **state)
{
    struct client c = {.request = GET("/waits")};
    char heard[1024];

    assert_int_equal(pthread_create(&c.thread, NULL, ask, &c), 0);
    wait_for(&stage.suspended);
    relay_stop(relay);
    pthread_join(c.thread, NULL);
    assert_non_null(strstr(c.heard, "503 "));
    one(GET("/kept"), heard); /* and whoever comes afterwards */
    assert_non_null(strstr(heard, "503 "));
}

#define OVER_BOTH(test) cmocka_unit_test_setup_teardown(test, open_both, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OVER_BOTH(a_crowd_is_one_to_the_other_server_and_what_may_be_kept_is),
        OVER_BOTH(what_grows_is_passed_on_as_it_comes_to_who_came_late_too),
        OVER_BOTH(what_breaks_off_is_seen_to_be_broken_off_and_not_kept),
        OVER_BOTH(a_server_that_does_not_answer_is_503),
        OVER_BOTH(methods_bodies_and_tokens_go_along_and_places_come_back),
        OVER_BOTH(who_rides_along_with_one_that_is_refused_is_asked_for_himself),
        OVER_BOTH(who_waits_when_the_house_closes_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
