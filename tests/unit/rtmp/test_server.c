/* Server and client against each other over TCP; and the client's URLs. */
#include "unit.h"

#include "echo_live.h"

#include "base/log.h"
#include "rtmp/rtmp.h"
#include "rtmp/url_int.h"

#include <semaphore.h>
#include <stdio.h>

static struct net *net;
static struct rtmp_server *server;
static char base[128];

static int start(void **state)
{
    struct address at;
    char text[ADDRESS_TEXT_SIZE];

    log_set_level(LOG_ERROR);
    assert_true(address_parse("127.0.0.1:0", &at));
    assert_int_equal(net_start(&net, 1, 2), ERR_OK);
    assert_int_equal(rtmp_server_start(&server, net, &at, NULL, NULL), ERR_OK);
    snprintf(base, sizeof base, "rtmp://%s", address_text(&at, text));
    return 0;
}

static int stop(void **state)
{
    rtmp_server_stop(server);
    net_stop(net);
    return 0;
}

/* A client that sends `messages` of `size` bytes when it may, and then ends or cuts the line. */
static struct run {
    struct rtmp_client *client;
    char url[256];
    int messages, sent;
    size_t size;
    bool cut;
    uint64_t end, acknowledged;
    enum err why;
    char text[256];
    sem_t done;
} run;

static void send_some(void *ctx)
{
    static uint8_t body[200000];
    static const uint8_t config[] = {0xaf, 0, 0x12, 0x10};
    bool has_room = true;

    if (run.sent == 0)
        rtmp_client_send(run.client, MESSAGE_AUDIO, 0, bytes_of(config, sizeof config), &run.end);
    body[0] = 0xaf;
    body[1] = 1;
    for (; run.sent < run.messages && has_room; run.sent++)
        has_room = rtmp_client_send(run.client, MESSAGE_AUDIO, (uint32_t)(run.sent * 23),
                                    bytes_of(body, run.size), &run.end);
    if (run.sent < run.messages)
        return;
    if (!run.cut) {
        rtmp_client_finish(run.client);
        return;
    }
    rtmp_client_abort(run.client);
    sem_post(&run.done);
}

static void on_acknowledged(void *ctx, uint64_t bytes)
{
    assert_true(bytes >= run.acknowledged);
    run.acknowledged = bytes;
}

static void on_closed(void *ctx, enum err why, const char *text)
{
    run.why = why;
    snprintf(run.text, sizeof run.text, "%s", text);
    sem_post(&run.done);
}

static const struct rtmp_client_events events = {
    .ready = send_some, .acknowledged = on_acknowledged, .writable = send_some, .closed = on_closed};

static void begin(void *ctx)
{
    run.why = rtmp_client_start(&run.client, net_loop(net, 0), run.url, &events, NULL);
    if (run.why != ERR_OK)
        sem_post(&run.done);
}

static void publish(const char *path, int messages, size_t size, bool cut)
{
    run = (struct run){.messages = messages, .size = size, .cut = cut};
    snprintf(run.url, sizeof run.url, "%s%s", base, path);
    sem_init(&run.done, 0, 0);
    loop_post(net_loop(net, 0), begin, NULL);
    sem_wait(&run.done);
    sem_destroy(&run.done);
}

static void what_was_sent_is_acknowledged_to_the_last_byte(void **state)
{
    publish("/live/key", 100, 300, false);
    assert_int_equal(run.why, ERR_OK);
    assert_true(run.end > 100 * 300);
    assert_true(run.acknowledged >= run.end);
    assert_int_equal(atomic_load(&echo.samples), 100);
    assert_int_equal(atomic_load(&echo.unpublished_clean), 1);
}

/* 20 MB through a queue of 1 MB: `writable` keeps it going. */
static void a_sender_faster_than_the_line_is_slowed_down(void **state)
{
    int before = atomic_load(&echo.samples);

    publish("/live/key2", 100, 200000, false);
    assert_int_equal(run.why, ERR_OK);
    assert_int_equal(atomic_load(&echo.samples) - before, 100);
}

static void a_refusal_reaches_the_person_at_the_client(void **state)
{
    publish("/live/wrong", 1, 10, false);
    assert_int_equal(run.why, ERR_DENIED);
    assert_string_equal(run.text, "No event has this stream key.");
    publish("/live/busy", 1, 10, false);
    assert_int_equal(run.why, ERR_DENIED);
    assert_non_null(strstr(run.text, "Somebody is publishing"));
    publish("/vod/key", 1, 10, false);
    assert_int_equal(run.why, ERR_DENIED);
    assert_non_null(strstr(run.text, "rtmp://HOST/live"));
}

static void a_client_that_cuts_the_line_leaves_nothing_behind(void **state)
{
    for (int i = 0; i < 20; i++)
        publish("/live/key", 3, 100000, true);
}

static void nobody_there_is_told(void **state)
{
    char was[sizeof base];

    snprintf(was, sizeof was, "%s", base);
    snprintf(base, sizeof base, "rtmp://127.0.0.1:1");
    publish("/live/key", 1, 10, false);
    assert_int_not_equal(run.why, ERR_OK);
    snprintf(base, sizeof base, "%s", was);
}

static void a_server_stops_while_connections_are_open(void **state)
{
    publish("/live/key", 1, 100, true);
    stop(state);
    start(state);
}

static void urls_are_taken_apart_or_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "http://h/a/k",
                                      "rtmp://",
                                      "rtmp://h",
                                      "rtmp://h/a",
                                      "rtmp://h/a/",
                                      "rtmp:///a/k",
                                      "rtmp://h:0/a/k",
                                      "rtmp://h:65536/a/k",
                                      "rtmp://h:x/a/k",
                                      "rtmp://h:/a/k",
                                      "rtmp://[::1/a/k",
                                      "rtmp://h//k"};
    struct rtmp_url u;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(rtmp_url_parse(&u, bad[i]), ERR_BAD);
    assert_int_equal(rtmp_url_parse(&u, "rtmp://host/live/key?a=b/c"), ERR_OK);
    assert_true(bytes_is(u.host, "host") && bytes_is(u.port, "1935") && bytes_is(u.app, "live"));
    assert_true(bytes_is(u.key, "key?a=b/c") && bytes_is(u.base, "rtmp://host/live") && !u.is_tls);
    assert_int_equal(rtmp_url_parse(&u, "rtmps://[::1]:99/live/key"), ERR_OK);
    assert_true(bytes_is(u.host, "::1") && bytes_is(u.port, "99") && u.is_tls);
    assert_int_equal(rtmp_url_parse(&u, "rtmps://[::1]/live/key"), ERR_OK);
    assert_true(bytes_is(u.host, "::1") && bytes_is(u.port, "443"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sent_is_acknowledged_to_the_last_byte),
        cmocka_unit_test(a_sender_faster_than_the_line_is_slowed_down),
        cmocka_unit_test(a_refusal_reaches_the_person_at_the_client),
        cmocka_unit_test(a_client_that_cuts_the_line_leaves_nothing_behind),
        cmocka_unit_test(nobody_there_is_told),
        cmocka_unit_test(a_server_stops_while_connections_are_open),
        cmocka_unit_test(urls_are_taken_apart_or_refused),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
