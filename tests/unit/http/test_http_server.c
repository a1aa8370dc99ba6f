/* The server over real loopback sockets, as transcripts: what is sent, and every byte that must come back. */
#include "unit.h"

#include "../net/wait.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/http.h"
#include "http/letters.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <zlib.h>

static struct net *net;
static struct http_server *server;
static struct address at;

/* --- the handler ------------------------------------------------------------------------------------------- */

static struct {
    struct http_exchange *waiting; /* the loop's thread only */
    sem_t suspended, ended, told;
    atomic_size_t uploaded;
    atomic_int pieces, writables;
    size_t left;
    bool hold; /* pause an upload at its first piece */
} stage;

static void ended(void *ctx)
{
    stage.waiting = NULL;
    sem_post(&stage.ended);
}

static void suspend(struct http_exchange *x)
{
    stage.waiting = x;
    http_on_end(x, ended, NULL);
    sem_post(&stage.suspended);
}

static void feed(void *ctx)
{
    struct http_exchange *x = ctx;

    stage.writables++;
    while (stage.left > 0 && http_queued(x) < HTTP_OUT_QUEUE_BYTES_MAX) {
        http_send(x, letters(100000));
        stage.left--;
    }
    if (stage.left == 0)
        http_finish(x);
    else
        http_when_writable(x, feed, x);
}

static void upload_piece(void *ctx, struct bytes piece)
{
    struct http_exchange *x = ctx;

    if (piece.size > 0) {
        stage.uploaded += piece.size;
        stage.pieces++;
        if (stage.hold) {
            stage.hold = false;
            http_body_pause(x);
            suspend(x);
        }
        return;
    }
    char text[32];

    snprintf(text, sizeof text, "%zu bytes", (size_t)stage.uploaded);
    http_answer_text(x, 201, "text/plain", text);
}

static void answer_query(struct http_exchange *x)
{
    char value[8], text[64];
    bool present;
    bool good = http_query_get(x, "v", value, sizeof value, &present);

    snprintf(text, sizeof text, "%s:%s:%s", good ? value : "-", present ? "present" : "absent",
             http_origin(x));
    http_answer_text(x, 200, "text/plain", text);
}

static void answer_streamed(struct http_exchange *x)
{
    http_begin(x, 200, "text/plain");
    http_send(x, buffer_copy(bytes_text("one")));
    http_send(x, buffer_new(0)); /* must not end it */
    http_send(x, buffer_copy(bytes_text("two-two-two-two-two")));
    http_finish(x);
}

static void break_off(void *ctx)
{
    http_abort(ctx);
}

static void answer_parts(struct http_exchange *x)
{
    struct buffer *parts[] = {buffer_copy(bytes_text("abcde")), buffer_new(0), letters(3),
                              buffer_copy(bytes_text("xyz"))};

    http_add(x, "ETag", "\"p\"");
    http_answer_parts(x, 200, "video/mp4", parts, 4);
}

static void release_waiting(struct http_exchange *x)
{
    if (stage.waiting != NULL)
        http_answer_text(stage.waiting, 200, "text/plain", "late");
    stage.waiting = NULL;
    http_answer_text(x, 200, "text/plain", "released");
}

static void handle(void *ctx, struct http_exchange *x)
{
    const char *path = http_path(x);

    if (strcmp(path, "/hello") == 0) {
        http_answer_text(x, 200, "text/plain", "hello");
    } else if (strcmp(path, "/tagged") == 0) {
        http_add(x, "ETag", "\"v1\"");
        http_answer(x, 200, "video/mp4", letters(26));
    } else if (strcmp(path, "/list") == 0) {
        http_add(x, "ETag", "\"l1\"");
        http_answer(x, 200, "application/vnd.apple.mpegurl", letters(20000));
    } else if (strcmp(path, "/big") == 0) {
        http_answer(x, 200, "video/mp4", letters(4 << 20));
    } else if (strcmp(path, "/echo") == 0) {
        http_answer(x, 200, "text/plain", buffer_copy(http_body(x)));
    } else if (strcmp(path, "/upload") == 0) {
        http_on_body(x, upload_piece, x);
    } else if (strcmp(path, "/deaf") == 0) {
        http_answer_text(x, 403, "text/plain", "no");
    } else if (strcmp(path, "/streamed") == 0) {
        answer_streamed(x);
    } else if (strcmp(path, "/fed") == 0) {
        stage.left = 100;
        http_begin(x, 200, "video/mp4");
        http_when_writable(x, feed, x);
    } else if (strcmp(path, "/broken") == 0) {
        http_begin(x, 200, "text/plain");
        http_send(x, buffer_copy(bytes_text("half")));
        http_when_writable(x, break_off, x);
    } else if (strcmp(path, "/suspended") == 0) {
        suspend(x);
    } else if (strcmp(path, "/release") == 0) {
        release_waiting(x);
    } else if (strcmp(path, "/parts") == 0) {
        answer_parts(x);
    } else if (strcmp(path, "/query") == 0) {
        answer_query(x);
    } else if (strcmp(path, "/nothing") == 0) {
        http_add(x, "X-Split", "a\r\nSet-Cookie: b"); /* must not get out */
        http_answer(x, 204, NULL, NULL);
        http_answer_text(x, 200, "text/plain", "twice"); /* is ignored */
    } else {
        http_answer_text(x, 404, "text/plain", path);
    }
}

static bool streams_body(void *ctx, struct http_exchange *x)
{
    return strcmp(http_path(x), "/upload") == 0 || strcmp(http_path(x), "/deaf") == 0;
}

static int begin(void **state)
{
    struct http_handler handler = {streams_body, handle, NULL};

    memset(&stage, 0, sizeof stage);
    sem_init(&stage.suspended, 0, 0);
    sem_init(&stage.ended, 0, 0);
    sem_init(&stage.told, 0, 0);
    if (net_start(&net, 1, 1) != ERR_OK || !address_parse("127.0.0.1:0", &at))
        return -1;
    return http_server_start(&server, net, &at, NULL, &handler) == ERR_OK ? 0 : -1;
}

static int end(void **state)
{
    http_server_stop(server, 0);
    net_stop(net);
    return 0;
}

/* --- transcripts ---------------------------------------------------------------------------------------------- */

static char received[16 << 20];

/* Takes the Date lines out: the only thing that differs from run to run. */
static size_t without_dates(char *text, size_t size)
{
    for (char *date; (date = memmem(text, size, "Date: ", 6)) != NULL;) {
        assert_memory_equal(date + 9, ", ", 2);
        assert_memory_equal(date + 31, " GMT\r\n", 6);
        memmove(date, date + 37, size - (size_t)(date + 37 - text));
        size -= 37;
    }
    text[size] = '\0';
    return size;
}

/* Sends and reads until the server closes. */
static size_t say(const char *text)
{
    int fd = client_of(&at);

    send_all(fd, text, strlen(text));
    size_t size = receive_to_end(fd, received, sizeof received - 1);

    close(fd);
    return without_dates(received, size);
}

static void answers(const char *asked, const char *answered)
{
    say(asked);
    assert_string_equal(received, answered);
}

static long status_of(const char *answer)
{
    return strtol(answer + strlen("HTTP/1.1 "), NULL, 10);
}

#define CLOSE  " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
#define CLOSED "Connection: close\r\n\r\n"

static void one_question_one_answer(void **state)
{
    answers("GET /hello" CLOSE "\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n" CLOSED "hello");
    answers("GET /a%20b/./c//d" CLOSE "\r\n",
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n" CLOSED "/a b/c/d");
    answers("GET /nothing" CLOSE "\r\n", "HTTP/1.1 204 No Content\r\n" CLOSED);
}

static void head_says_what_get_would(void **state)
{
    answers("HEAD /hello" CLOSE "\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n" CLOSED);
    answers("HEAD /streamed" CLOSE "\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" CLOSED);
}

static void pipelined_questions_are_answered_in_order(void **state)
{
    answers("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"
            "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
            "\r\nHEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n"
            "GET /streamed HTTP/1.1\r\nHost: h\r\n\r\n"
            "GET /hello" CLOSE "\r\nGET /never HTTP/1.1\r\nHost: h\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc"
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\none\r\n13\r\ntwo-two-two-two-two\r\n0\r\n\r\n"
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n" CLOSED "hello");
}

/* More than a turn's worth in one packet, and all are answered. */
static void a_long_pipeline_is_answered_to_its_end(void **state)
{
    enum { COUNT = HTTP_PIPELINE_TURN_MAX * 5 };
    static char asked[COUNT * 40 + 100];
    size_t size = 0, answers_seen = 0;

    for (int i = 0; i < COUNT; i++)
        size += (size_t)snprintf(asked + size, sizeof asked - size, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    snprintf(asked + size, sizeof asked - size, "GET /x" CLOSE "\r\n");
    say(asked);
    for (const char *found = received; (found = strstr(found, "\r\n\r\nhello")) != NULL; found++)
        answers_seen++;
    assert_int_equal(answers_seen, COUNT);
}

static void http_1_0_is_answered_its_way(void **state)
{
    answers("GET /hello HTTP/1.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n" CLOSED "hello");
    answers(
        "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /streamed HTTP/1.0\r\n"
        "Connection: keep-alive\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello"
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" CLOSED "onetwo-two-two-two-two");
}

static void options_of_the_server_are_told(void **state)
{
    answers("OPTIONS *" CLOSE "\r\n",
            "HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" CLOSED);
}

static void what_cannot_be_served_is_refused_and_closed(void **state)
{
    static const struct {
        const char *asked;
        int status;
    } cases[] = {
        {"GET /../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\nGET /hello" CLOSE "\r\n", 400},
        {"GET /%2e%2e/x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /a%2fb HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n", 413},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: x\r\n\r\n", 417},
        {"GET /hello HTTP/1.1\r\n\r\n", 400},
        {"GET /hello HTTP/3.0\r\n\r\n", 505},
        {"\x16\x03\x01\x02", 400},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        say(cases[i].asked);
        assert_int_equal(status_of(received), cases[i].status);
        assert_non_null(strstr(received, "Connection: close\r\n"));
        assert_null(strstr(received, "hello"));
    }
}

/* --- bodies ------------------------------------------------------------------------------------------------------ */

static void bodies_are_collected_however_they_come(void **state)
{
    answers("POST /echo" CLOSE "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x\r\ncde\r\n0\r\nT: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n" CLOSED "abcde");
    answers("POST /echo" CLOSE "Content-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n" CLOSED);
}

static void a_chunked_body_has_a_limit_too(void **state)
{
    int fd = client_of(&at);
    struct buffer *chunk = letters(65536);

    send_text(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 17; i++) {
        send_text(fd, "10000\r\n");
        send_all(fd, chunk->data, chunk->size);
        send_text(fd, "\r\n");
    }
    receive_to_end(fd, received, sizeof received);
    assert_int_equal(status_of(received), 413);
    buffer_unref(chunk);
    close(fd);
}

static void a_body_is_asked_for_when_it_waits(void **state)
{
    char interim[25];
    int fd = client_of(&at);
    const char *head = "POST /echo" CLOSE "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n";

    send_all(fd, head, strlen(head));
    receive_all(fd, interim, sizeof interim);
    assert_memory_equal(interim, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    send_text(fd, "ok");
    without_dates(received, receive_to_end(fd, received, sizeof received));
    assert_string_equal(received,
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n" CLOSED "ok");
    close(fd);
    /* One that cannot be served is refused before it is sent. */
    say("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(status_of(received), 413);
}

static void a_streamed_body_comes_in_pieces(void **state)
{
    int fd = client_of(&at);
    struct buffer *much = letters(3 << 20);
    char head[128];
    int size = snprintf(head, sizeof head, "PUT /upload" CLOSE "Content-Length: %d\r\n\r\n", 3 << 20);

    send_all(fd, head, (size_t)size);
    send_all(fd, much->data, much->size);
    receive_to_end(fd, received, sizeof received);
    assert_non_null(strstr(received, "\r\n\r\n3145728 bytes"));
    assert_true(stage.pieces > 1);
    buffer_unref(much);
    close(fd);
    stage.uploaded = 0;
    answers("PUT /upload" CLOSE "Content-Length: 0\r\n\r\n",
            "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n" CLOSED "0 bytes");
    answers("PUT /upload" CLOSE "\r\n",
            "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n" CLOSED "0 bytes");
}

static void go_on(void *ctx)
{
    http_on_end(stage.waiting, NULL, NULL);
    http_body_resume(stage.waiting);
}

static void a_paused_body_goes_on_where_it_stopped(void **state)
{
    stage.hold = true;
    int fd = client_of(&at);
    const char *text =
        "PUT /upload" CLOSE "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n";

    send_all(fd, text, strlen(text));
    wait_for(&stage.suspended);
    assert_int_equal(stage.uploaded, 2);
    loop_post(net_loop(net, 0), go_on, NULL);
    receive_to_end(fd, received, sizeof received);
    assert_non_null(strstr(received, "\r\n\r\n5 bytes"));
    close(fd);
}

/* The answer comes before the body has; the connection cannot go on, and the answer is not lost. */
static void an_early_answer_ends_the_connection(void **state)
{
    int fd = client_of(&at);
    struct buffer *much = letters(1 << 20);
    const char *head = "PUT /deaf HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n";

    send_all(fd, head, strlen(head));
    send_all(fd, much->data, much->size);
    without_dates(received, receive_to_end(fd, received, sizeof received));
    assert_string_equal(
        received, "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n" CLOSED "no");
    buffer_unref(much);
    close(fd);
}

/* --- conditions, ranges, gzip ------------------------------------------------------------------------------------- */

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define TAGGED                                                                                               \
    "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 26\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\n"

static void what_the_peer_has_is_not_sent_again(void **state)
{
    static const char *const same[] = {"\"v1\"", "W/\"v1\"", "\"a\", \"v1\"", "*", "W/\"x\",W/\"v1\""};
    static const char *const other[] = {"\"v2\"", "v1", "\"v1", "", "\"v1-gzip\""};
    char text[256];

    for (size_t i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "GET /tagged" CLOSE "If-None-Match: %s\r\n\r\n", same[i]);
        answers(text, "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n" CLOSED);
        snprintf(text, sizeof text, "GET /tagged" CLOSE "If-None-Match: %s\r\n\r\n", other[i]);
        answers(text, TAGGED CLOSED LETTERS);
    }
    answers("GET /tagged" CLOSE "If-Match: \"v2\"\r\n\r\n",
            "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\nETag: \"v1\"\r\n" CLOSED);
    answers("GET /tagged" CLOSE "If-Match: W/\"v1\"\r\n\r\n",
            "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\nETag: \"v1\"\r\n" CLOSED);
    answers("GET /tagged" CLOSE "If-Match: \"v1\"\r\n\r\n", TAGGED CLOSED LETTERS);
}

static void ranges_are_cut_out(void **state)
{
    static const char *const cases[][3] = {
        {"bytes=0-4", "0-4", "abcde"}, {"bytes=24-99", "24-25", "yz"}, {"bytes=25-", "25-25", "z"},
        {"bytes=-3", "23-25", "xyz"},  {"bytes=-99", "0-25", LETTERS}, {"Bytes=0-0", "0-0", "a"},
    };
    char asked[256], expected[512];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(asked, sizeof asked, "GET /tagged" CLOSE "Range: %s\r\n\r\n", cases[i][0]);
        snprintf(
            expected, sizeof expected,
            "HTTP/1.1 206 Partial Content\r\nContent-Type: video/mp4\r\nContent-Length: %zu\r\nETag: \"v1\"\r\n"
            "Accept-Ranges: bytes\r\nContent-Range: bytes %s/26\r\n" CLOSED "%s",
            strlen(cases[i][2]), cases[i][1], cases[i][2]);
        answers(asked, expected);
    }
    answers("GET /parts" CLOSE "Range: bytes=3-8\r\n\r\n",
            "HTTP/1.1 206 Partial Content\r\nContent-Type: video/mp4\r\nContent-Length: 6\r\nETag: \"p\"\r\n"
            "Accept-Ranges: bytes\r\nContent-Range: bytes 3-8/11\r\n" CLOSED "deabcx");
    answers("GET /parts" CLOSE "Range: bytes=8-\r\n\r\n",
            "HTTP/1.1 206 Partial Content\r\nContent-Type: video/mp4\r\nContent-Length: 3\r\nETag: \"p\"\r\n"
            "Accept-Ranges: bytes\r\nContent-Range: bytes 8-10/11\r\n" CLOSED "xyz");
}

static void ranges_that_mean_nothing_get_the_whole(void **state)
{
    static const char *const whole[] = {"bytes=4-2",   "bytes=",    "bytes=-",       "bytes=a-b",
                                        "lines=1-2",   "bytes 0-4", "bytes=0-1,3-4", "bytes=0 - 4",
                                        "bytes=1-2-3", "bytes=--1"};
    static const char *const nothing[] = {"bytes=26-", "bytes=99-100", "bytes=-0",
                                          "bytes=18446744073709551615-"};
    char asked[256];

    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        snprintf(asked, sizeof asked, "GET /tagged" CLOSE "Range: %s\r\n\r\n", whole[i]);
        answers(asked, TAGGED CLOSED LETTERS);
    }
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        snprintf(asked, sizeof asked, "GET /tagged" CLOSE "Range: %s\r\n\r\n", nothing[i]);
        answers(asked, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nETag: \"v1\"\r\n"
                       "Accept-Ranges: bytes\r\nContent-Range: bytes */26\r\n" CLOSED);
    }
    answers("GET /tagged" CLOSE "Range: bytes=0-1\r\nIf-Range: \"v0\"\r\n\r\n", TAGGED CLOSED LETTERS);
    answers("GET /tagged" CLOSE "Range: bytes=0-1\r\nIf-Range: W/\"v1\"\r\n\r\n", TAGGED CLOSED LETTERS);
    answers("GET /tagged" CLOSE "Range: bytes=0-1\r\nIf-Range: Mon, 23 Nov 2026 19:34:00 GMT\r\n\r\n",
            TAGGED CLOSED LETTERS);
    answers("HEAD /tagged" CLOSE "Range: bytes=0-1\r\n\r\n", TAGGED CLOSED);
    say("GET /tagged" CLOSE "Range: bytes=0-1\r\nIf-Range: \"v1\"\r\n\r\n");
    assert_int_equal(status_of(received), 206);
}

static void inflated_is(const char *body, size_t size, const struct buffer *expected)
{
    static uint8_t out[100000];
    z_stream z = {
        .next_in = (uint8_t *)body, .avail_in = (uInt)size, .next_out = out, .avail_out = sizeof out};

    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, expected->size);
    assert_memory_equal(out, expected->data, expected->size);
    inflateEnd(&z);
}

static void text_is_compressed_for_those_who_take_it(void **state)
{
    struct buffer *expected = letters(20000);

    for (int round = 0; round < 3; round++) { /* the compressor is used again */
        size_t size = say("GET /list" CLOSE "Accept-Encoding: br, gzip;q=0.8\r\n\r\n");
        char *body = strstr(received, "\r\n\r\n") + 4;

        assert_non_null(strstr(received, "\r\nContent-Encoding: gzip\r\n"));
        assert_non_null(strstr(received, "\r\nVary: Accept-Encoding\r\n"));
        assert_non_null(strstr(received, "\r\nETag: \"l1-gzip\"\r\n"));
        inflated_is(body, size - (size_t)(body - received), expected);
    }
    buffer_unref(expected);
    answers("GET /list" CLOSE "Accept-Encoding: gzip\r\nIf-None-Match: \"l1-gzip\"\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nETag: \"l1-gzip\"\r\nVary: Accept-Encoding\r\n" CLOSED);
    say("GET /list" CLOSE "Accept-Encoding: gzip\r\nIf-None-Match: \"l1\"\r\n\r\n"); /* has the plain form */
    assert_int_equal(status_of(received), 200);
}

static void text_is_plain_for_those_who_do_not(void **state)
{
    static const char *const plain[] = {"", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0\r\n",
                                        "Accept-Encoding: *;q=1, gzip;q=0.000\r\n",
                                        "Accept-Encoding: gzip\r\nRange: bytes=0-99999\r\n"};
    char asked[256];

    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        snprintf(asked, sizeof asked, "GET /list" CLOSE "%s\r\n", plain[i]);
        say(asked);
        assert_null(strstr(received, "Content-Encoding"));
        assert_non_null(strstr(received, "\r\nVary: Accept-Encoding\r\n"));
        assert_non_null(strstr(received, "\r\nETag: \"l1\"\r\n"));
        assert_non_null(strstr(received, "\r\nContent-Length: 20000\r\n"));
    }
    say("GET /hello" CLOSE "Accept-Encoding: gzip\r\n\r\n"); /* too small to be worth it */
    assert_null(strstr(received, "Vary"));
}

static void queries_are_decoded(void **state)
{
    static const char *const cases[][2] = {
        {"", "-:absent"},          {"?v=a", "a:present"},    {"?w=1&v=a+b%21", "a b!:present"},
        {"?v", ":present"},        {"?v=", ":present"},      {"?v=12345678", "-:present"},
        {"?v=%00", "-:present"},   {"?v=%4", "-:present"},   {"?%76=x", "x:present"},
        {"?v=1&v=2", "1:present"}, {"?vv=1&&=", "-:absent"},
    };
    char asked[256], expected[64];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(asked, sizeof asked, "GET /query%s" CLOSE "\r\n", cases[i][0]);
        snprintf(expected, sizeof expected, "\r\n\r\n%s:http://h", cases[i][1]);
        say(asked);
        assert_non_null(strstr(received, expected));
    }
    say("GET http://live.example:81/query" CLOSE "X-Forwarded-Proto: https\r\n\r\n");
    assert_non_null(strstr(received, ":https://live.example:81"));
}

/* --- waiting -------------------------------------------------------------------------------------------------------- */

static void a_suspended_answer_comes_later_and_the_pipeline_goes_on(void **state)
{
    int fd = client_of(&at);
    const char *text = "GET /suspended HTTP/1.1\r\nHost: h\r\n\r\nGET /hello" CLOSE "\r\n";

    send_all(fd, text, strlen(text));
    wait_for(&stage.suspended);
    say("GET /release" CLOSE "\r\n");
    wait_for(&stage.ended);
    without_dates(received, receive_to_end(fd, received, sizeof received));
    assert_string_equal(
        received, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nlate"
                  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n" CLOSED "hello");
    close(fd);
}

static void a_hang_up_ends_a_suspended_exchange_at_once(void **state)
{
    static const char *const asked[] = {
        "GET /suspended HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /suspended HTTP/1.1\r\nHost: h\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n"};

    for (size_t i = 0; i < 2; i++) {
        int fd = client_of(&at);

        send_all(fd, asked[i], strlen(asked[i]));
        wait_for(&stage.suspended);
        close(fd);
        wait_for(&stage.ended);
    }
    say("GET /release" CLOSE "\r\n"); /* nobody is there any more, and nothing breaks */
}

static void a_long_answer_is_fed_as_it_is_taken(void **state)
{
    size_t size = say("GET /fed" CLOSE "\r\n");

    assert_true(size > 100 * 100000);
    assert_memory_equal(received + size - 5, "0\r\n\r\n", 5);
    assert_true(stage.writables > 2);
}

static void a_broken_off_answer_can_be_told_from_a_whole_one(void **state)
{
    int fd = client_of(&at);
    size_t size = 0;

    send_text(fd, "GET /broken HTTP/1.1\r\nHost: h\r\n\r\n");
    for (ssize_t n; (n = recv(fd, received + size, 1000, 0)) > 0;)
        size += (size_t)n;
    received[size] = '\0';
    assert_non_null(strstr(received, "chunked"));
    assert_null(strstr(received, "0\r\n\r\n"));
    close(fd);
}

static void large_answers_come_whole(void **state)
{
    struct buffer *expected = letters(4 << 20);
    size_t size = say("GET /big HTTP/1.1\r\nHost: h\r\n\r\nGET /big" CLOSE "\r\n");
    char *first = strstr(received, "\r\n\r\n") + 4;

    assert_memory_equal(first, expected->data, expected->size);
    assert_memory_equal(received + size - expected->size, expected->data, expected->size);
    buffer_unref(expected);
}

/* Who asks for more than it reads is not read from any further: the server's memory stays bounded. */
static void a_greedy_pipeline_is_held_back(void **state)
{
    enum { COUNT = 200 };
    static char asked[COUNT * 40 + 100];
    size_t size = 0, got = 0;
    int fd = client_of(&at);

    for (int i = 0; i < COUNT; i++)
        size += (size_t)snprintf(asked + size, sizeof asked - size, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
    send_all(fd, asked, size);
    for (size_t expected = (size_t)COUNT * (4 << 20); got < expected;) {
        ssize_t n = recv(fd, received, sizeof received, 0);

        assert_true(n > 0);
        got += (size_t)n;
    }
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    print_message("greatest memory %ld KB of %zu KB asked for\n", usage.ru_maxrss, got / 1024);
    close(fd);
}

/* --- time limits, on a clock of our own ----------------------------------------------------------------- */

static void tell(void *ctx)
{
    sem_post(&stage.told);
}

/* The loop has done a turn, or two, at the present time of the test's clock. */
static void turns_pass(void)
{
    for (int i = 0; i < 2; i++) {
        loop_post(net_loop(net, 0), tell, NULL);
        wait_for(&stage.told);
    }
}

static int64_t test_now_ms;

static void time_passes(int64_t ms)
{
    test_now_ms += ms;
    clock_test_set(test_now_ms * 1000, 1795462440000 + test_now_ms);
    turns_pass();
}

static int begin_with_clock(void **state)
{
    test_now_ms = 1000;
    clock_test_set(test_now_ms * 1000, 1795462440000);
    return begin(state);
}

static int end_with_clock(void **state)
{
    clock_test_off();
    return end(state);
}

/* Whether the server has anything for us, or has closed, at this moment. */
static bool has_something(int fd)
{
    char byte;
    ssize_t size;

    turns_pass();
    size = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return size >= 0;
}

/* A peer may not keep a connection with a byte now and then ("slowloris"). */
static void a_head_must_be_whole_in_time(void **state)
{
    static const char head[] = "GET /hello HTTP/1.1\r\nHost: h\r\nX-Slow: ";
    int fd = client_of(&at);

    time_passes(0);
    send_text(fd, head);
    while (test_now_ms < 1000 + HTTP_HEAD_MS_MAX - 1000) {
        time_passes(1000);
        send_text(fd, "x");
        assert_false(has_something(fd));
    }
    time_passes(2000);
    receive_to_end(fd, received, sizeof received);
    assert_int_equal(status_of(received), 408);
    close(fd);
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    int fd = client_of(&at);

    send_text(fd, "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(recv(fd, received, 1000, 0) > 0);
    time_passes(HTTP_IDLE_MS_MAX - 1);
    assert_false(has_something(fd));
    time_passes(2);
    assert_int_equal(receive_to_end(fd, received, sizeof received), 0);
    close(fd);
}

static void a_body_must_make_progress(void **state)
{
    int fd = client_of(&at);

    send_text(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nsome");
    turns_pass();
    time_passes(HTTP_STALL_MS_MAX - 1);
    send_text(fd, "more");
    assert_false(has_something(fd));
    time_passes(HTTP_STALL_MS_MAX - 1);
    assert_false(has_something(fd));
    time_passes(2);
    receive_to_end(fd, received, sizeof received);
    assert_int_equal(status_of(received), 408);
    close(fd);
}

/* Waiting for us is not the peer's fault: a long poll may be as long as its handler likes. */
static void a_suspended_exchange_has_no_limit_of_ours(void **state)
{
    int fd = client_of(&at);

    send_text(fd, "GET /suspended HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for(&stage.suspended);
    time_passes(10 * HTTP_IDLE_MS_MAX);
    assert_false(has_something(fd));
    say("GET /release" CLOSE "\r\n");
    assert_true(recv(fd, received, 1000, 0) > 0);
    close(fd);
}

/* --- the end ----------------------------------------------------------------------------------------------------------- */

static void answer_late(void *ctx)
{
    http_on_end(stage.waiting, NULL, NULL);
    http_answer_text(stage.waiting, 200, "text/plain", "late");
}

static void *stop_it(void *ctx)
{
    http_server_stop(server, 60000);
    server = NULL;
    return NULL;
}

static void idle_connections_end_and_running_exchanges_may_finish(void **state)
{
    int idle = client_of(&at), busy = client_of(&at);
    pthread_t stopper;

    send_text(idle, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    receive_all(idle, received, 60);
    send_text(busy, "GET /suspended HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for(&stage.suspended);
    pthread_create(&stopper, NULL, stop_it, NULL);
    receive_to_end(idle, received, sizeof received); /* closed now: the server is on its way out */
    loop_post(net_loop(net, 0), answer_late, NULL);
    size_t size = without_dates(received, receive_to_end(busy, received, sizeof received));

    assert_true(size > 0);
    assert_non_null(strstr(received, "Connection: close"));
    pthread_join(stopper, NULL);
    close(idle);
    close(busy);
}

static void the_grace_ends_what_does_not(void **state)
{
    int busy = client_of(&at);

    send_text(busy, "GET /suspended HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for(&stage.suspended);
    http_server_stop(server, 10);
    server = NULL;
    wait_for(&stage.ended);
    assert_int_equal(recv(busy, received, 10, 0), 0);
    close(busy);
}

int main(void)
{
#define CASE(name)  cmocka_unit_test_setup_teardown(name, begin, end)
#define TIMED(name) cmocka_unit_test_setup_teardown(name, begin_with_clock, end_with_clock)
    const struct CMUnitTest tests[] = {
        CASE(one_question_one_answer),
        CASE(head_says_what_get_would),
        CASE(pipelined_questions_are_answered_in_order),
        CASE(a_long_pipeline_is_answered_to_its_end),
        CASE(http_1_0_is_answered_its_way),
        CASE(options_of_the_server_are_told),
        CASE(what_cannot_be_served_is_refused_and_closed),
        CASE(bodies_are_collected_however_they_come),
        CASE(a_chunked_body_has_a_limit_too),
        CASE(a_body_is_asked_for_when_it_waits),
        CASE(a_streamed_body_comes_in_pieces),
        CASE(a_paused_body_goes_on_where_it_stopped),
        CASE(an_early_answer_ends_the_connection),
        CASE(what_the_peer_has_is_not_sent_again),
        CASE(ranges_are_cut_out),
        CASE(ranges_that_mean_nothing_get_the_whole),
        CASE(text_is_compressed_for_those_who_take_it),
        CASE(text_is_plain_for_those_who_do_not),
        CASE(queries_are_decoded),
        CASE(a_suspended_answer_comes_later_and_the_pipeline_goes_on),
        CASE(a_hang_up_ends_a_suspended_exchange_at_once),
        CASE(a_long_answer_is_fed_as_it_is_taken),
        CASE(a_broken_off_answer_can_be_told_from_a_whole_one),
        CASE(large_answers_come_whole),
        CASE(a_greedy_pipeline_is_held_back),
        TIMED(a_head_must_be_whole_in_time),
        TIMED(an_idle_connection_is_closed_without_a_word),
        TIMED(a_body_must_make_progress),
        TIMED(a_suspended_exchange_has_no_limit_of_ours),
        CASE(idle_connections_end_and_running_exchanges_may_finish),
        CASE(the_grace_ends_what_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
