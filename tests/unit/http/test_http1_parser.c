/* Request heads: what is read, and what is refused because two servers could read it differently.
 *
 * Every vector is run whole, byte by byte, and split at every place, always against unreadable memory. */
#include "unit.h"

#include "edge.h"
#include "http/http1_parser_int.h"

#include <stdio.h>
#include <stdlib.h>

/* What a head was read as, in words, so that a vector and its meaning fit in one line. */
static void describe(char *out, size_t room, const struct http1_head *h, const uint8_t *head)
{
    static const char *const methods[] = {"GET",   "HEAD",   "POST",    "PUT",
                                          "PATCH", "DELETE", "OPTIONS", "OTHER"};
    char body[32] = "none";

    if (h->chunked)
        snprintf(body, sizeof body, "chunked");
    else if (h->has_length)
        snprintf(body, sizeof body, "%llu", (unsigned long long)h->length);
    snprintf(out, room, "%s %.*s?%.*s @%.*s 1.%u body=%s fields=%u%s%s%s", methods[h->method], h->path.size,
             (const char *)head + h->path.at, h->query.size, (const char *)head + h->query.at,
             h->authority.size, (const char *)head + h->authority.at, h->minor, body, h->field_count,
             h->keep_alive ? " keep" : "", h->expects_continue ? " expects" : "",
             h->for_server ? " server" : "");
}

static struct http1_head head;

/* Feeds `in` in two steps (`split` of them first), checks that nothing is decided too late, and returns
 * what the last step said. */
static long run_split(struct bytes in, size_t split, int *status)
{
    struct http1_scan scan = {0};
    long first = http1_head_parse(&head, &scan, at_edge(in, split), status);

    if (first != PARSE_MORE)
        return first;
    return http1_head_parse(&head, &scan, at_edge(in, in.size), status);
}

static long run_bytewise(struct bytes in, int *status)
{
    struct http1_scan scan = {0};
    long result = PARSE_MORE;

    for (size_t size = 0; size <= in.size && result == PARSE_MORE; size++)
        result = http1_head_parse(&head, &scan, at_edge(in, size), status);
    return result;
}

/* All ways to feed `in` must agree: on its meaning, or on the status of its refusal. */
static void means(const char *text, size_t size, const char *meaning, int refused)
{
    struct bytes in = bytes_of(text, size);

    for (size_t split = 0; split <= size + 1; split++) {
        char found[512];
        int status;
        long taken = split <= size ? run_split(in, split, &status) : run_bytewise(in, &status);

        if (refused != 0) {
            if (taken != PARSE_BAD || status != refused)
                fail_msg("split %zu: %ld with %d instead of %d: %s", split, taken, status, refused, text);
            continue;
        }
        if (taken < 0)
            fail_msg("split %zu: refused with %d: %s", split, status, text);
        describe(found, sizeof found, &head, (const uint8_t *)text);
        assert_string_equal(found, meaning);
    }
}

#define MEANS(text, meaning)   means(text, sizeof(text) - 1, meaning, 0)
#define REFUSED(text, status_) means(text, sizeof(text) - 1, NULL, status_)

static void ordinary_requests_are_read(void **state)
{
    MEANS("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /? @a 1.1 body=none fields=1 keep");
    MEANS("GET /a/b.m3u8?_HLS_msn=1&x=? HTTP/1.1\r\nhost:\tlive.example:8080 \r\nAccept: */*\r\n\r\n",
          "GET /a/b.m3u8?_HLS_msn=1&x=? @live.example:8080 1.1 body=none fields=2 keep");
    MEANS("POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
          "POST /c? @a 1.1 body=5 fields=2 keep");
    MEANS("PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nExpect: 100-Continue\r\n\r\n",
          "PUT /c? @a 1.1 body=chunked fields=3 keep expects");
    MEANS("DELETE /c HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n",
          "DELETE /c? @a 1.1 body=none fields=2");
    MEANS("HEAD /c HTTP/1.0\r\n\r\n", "HEAD /c? @ 1.0 body=none fields=0");
    MEANS("GET /c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /c? @ 1.0 body=none fields=1 keep");
    MEANS("PATCH /c HTTP/1.7\r\nHost:\r\n\r\n", "PATCH /c? @ 1.1 body=none fields=1 keep");
    MEANS("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS ? @a 1.1 body=none fields=1 keep server");
    MEANS("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "OTHER /pot? @a 1.1 body=none fields=1 keep");
    MEANS("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /? @a 1.1 body=none fields=1 keep");
    MEANS("GET / HTTP/1.1\r\nHost: [::1]:80\r\nX: \x80\xFF \t y\r\n\r\n",
          "GET /? @[::1]:80 1.1 body=none fields=2 keep");
}

static void absolute_targets_outweigh_host(void **state)
{
    MEANS("GET http://b:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x?y @b:1 1.1 body=none fields=1 keep");
    MEANS("GET HTTPS://b?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET ?y @b 1.1 body=none fields=1 keep");
    MEANS("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", "GET ? @b 1.1 body=none fields=1 keep");
    REFUSED("GET http://user@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET http://b/ HTTP/1.1\r\n\r\n", 400);
}

/* Shapes by which one connection is made to mean different requests to two servers. */
static void smuggling_shapes_are_refused(void **state)
{
    static const char *const shapes[] = {
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5,6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 9223372036854775808",
        "Content-Length : 5",
        "Content-Length\t: 5",
        " Content-Length: 5",
        "X: y\r\n Content-Length: 5",
        "X: y\r\n\tContent-Length: 5",
        "X: y\nContent-Length: 5",
        "X: y\rContent-Length: 5",
        "X: y\r\rContent-Length: 5",
        "X: y\vContent-Length: 5",
        "X: \x7F",
        ": nameless",
        "No colon",
        "Na me: x",
        "Na\"me: x",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\vchunked",
        "Host: b",
        "Host: a",
    };
    char text[256];

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        size_t size =
            (size_t)snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", shapes[i]);

        means(text, size, NULL, 400);
    }
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501);
    REFUSED("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\nHost: a\r\n\r\n", 400);
    REFUSED("POST / HTTP/1.1\r\nHost: a\r\n\n", 400);
}

static void request_lines_have_one_form(void **state)
{
    REFUSED("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400);
    REFUSED(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / http/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    REFUSED("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    REFUSED("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505);
    REFUSED("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    REFUSED("AMETHODWHOSENAMEISLONGERTHANANYOFTHEM / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    REFUSED("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("\r\r\n\r\n", 400); /* found by the fuzzer: a line that only begins like an empty one */
    REFUSED("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("\x16\x03\x01", 400);
}

static void hosts_are_needed_once_and_well_formed(void **state)
{
    REFUSED("GET / HTTP/1.1\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a'b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400);
}

static void expectations_we_do_not_know_are_refused(void **state)
{
    REFUSED("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n", 417);
    MEANS("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
          "PUT /? @a 1.1 body=0 fields=3 keep");
    MEANS("PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n", "PUT /? @ 1.0 body=1 fields=2");
}

/* --- limits ------------------------------------------------------------------------------------------ */

static char big[EDGE_BYTES];

/* Only a few splits: these are long. */
static long run_long(size_t size, int *status)
{
    long whole = run_split(bytes_of(big, size), 0, status);

    for (size_t split = 1; split < size; split = split * 2 + 7) {
        int other;

        assert_int_equal(run_split(bytes_of(big, size), split, &other), whole);
        assert_int_equal(other, *status);
    }
    return whole;
}

static size_t request_with_target(size_t target)
{
    size_t at = (size_t)snprintf(big, sizeof big, "GET /");

    memset(big + at, 'a', target - 1);
    return at + target - 1 +
           (size_t)snprintf(big + at + target - 1, sizeof big - (at + target - 1),
                            " HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void targets_have_a_limit(void **state)
{
    int status;

    assert_true(run_long(request_with_target(HTTP_TARGET_BYTES_MAX), &status) > 0);
    assert_int_equal(run_long(request_with_target(HTTP_TARGET_BYTES_MAX + 1), &status), PARSE_BAD);
    assert_int_equal(status, 414);
    memset(big, 'a', sizeof big); /* a line that does not end */
    assert_int_equal(run_long(HTTP_HEAD_BYTES_MAX - 1, &status), PARSE_BAD);
    assert_int_equal(status, 414);
}

static size_t request_of_size(size_t size)
{
    size_t at = (size_t)snprintf(big, sizeof big, "GET / HTTP/1.1\r\nHost: a\r\nX: ");

    memset(big + at, 'x', size - at - 4);
    memcpy(big + size - 4, "\r\n\r\n", 4);
    return size;
}

static void heads_have_a_limit(void **state)
{
    int status;

    assert_int_equal(run_long(request_of_size(HTTP_HEAD_BYTES_MAX), &status), HTTP_HEAD_BYTES_MAX);
    assert_int_equal(run_long(request_of_size(HTTP_HEAD_BYTES_MAX + 1), &status), PARSE_BAD);
    assert_int_equal(status, 431);
    request_of_size(HTTP_HEAD_BYTES_MAX);
    memcpy(big + HTTP_HEAD_BYTES_MAX - 4, "xxxx", 4); /* as large as may be, and not at its end */
    assert_int_equal(run_long(HTTP_HEAD_BYTES_MAX, &status), PARSE_BAD);
    assert_int_equal(status, 431);
}

static size_t request_with_fields(int count)
{
    size_t at = (size_t)snprintf(big, sizeof big, "GET / HTTP/1.1\r\nHost: a\r\n");

    for (int i = 1; i < count; i++)
        at += (size_t)snprintf(big + at, sizeof big - (at), "f%d: v\r\n", i);
    return at + (size_t)snprintf(big + at, sizeof big - (at), "\r\n");
}

static void fields_have_a_limit(void **state)
{
    int status;

    assert_true(run_long(request_with_fields(HTTP_FIELDS_MAX), &status) > 0);
    assert_int_equal(head.field_count, HTTP_FIELDS_MAX);
    assert_int_equal(run_long(request_with_fields(HTTP_FIELDS_MAX + 1), &status), PARSE_BAD);
    assert_int_equal(status, 431);
}

static void what_follows_a_head_is_left(void **state)
{
    struct http1_scan scan = {0};
    const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n";
    int status;

    assert_int_equal(http1_head_parse(&head, &scan, at_edge(bytes_text(text), sizeof text - 1), &status), 27);
}

static int begin(void **state)
{
    edge_begin();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_requests_are_read),
        cmocka_unit_test(absolute_targets_outweigh_host),
        cmocka_unit_test(smuggling_shapes_are_refused),
        cmocka_unit_test(request_lines_have_one_form),
        cmocka_unit_test(hosts_are_needed_once_and_well_formed),
        cmocka_unit_test(expectations_we_do_not_know_are_refused),
        cmocka_unit_test(targets_have_a_limit),
        cmocka_unit_test(heads_have_a_limit),
        cmocka_unit_test(fields_have_a_limit),
        cmocka_unit_test(what_follows_a_head_is_left),
    };

    return cmocka_run_group_tests(tests, begin, NULL);
}
