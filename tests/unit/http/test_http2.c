/* HTTP/2: by curl, for what another hand has built; and by a client of our own, for what curl would not do. */
#include "unit.h"

#include "../net/certificate.h"
#include "../net/wait.h"
#include "base/limits.h"
#include "http/http.h"
#include "http/letters.h"

#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <sys/wait.h>

static struct net *net;
static struct http_server *server;
static struct tls_server *tls;
static struct address at;

/* --- the handler -------------------------------------------------------------------------------------------- */

static struct {
    struct http_exchange *waiting;
    sem_t suspended, ended;
    atomic_size_t uploaded;
    size_t left;
    bool hold;
} stage;

static void ended(void *ctx)
{
    sem_post(&stage.ended);
}

static void feed(void *ctx)
{
    struct http_exchange *x = ctx;

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
    char text[32];

    stage.uploaded += piece.size;
    if (piece.size == 0) {
        snprintf(text, sizeof text, "%zu bytes", (size_t)stage.uploaded);
        http_answer_text(x, 201, "text/plain", text);
    } else if (stage.hold) {
        stage.hold = false;
        stage.waiting = x;
        http_body_pause(x);
        sem_post(&stage.suspended);
    }
}

static void handle(void *ctx, struct http_exchange *x)
{
    const char *path = http_path(x);

    if (strcmp(path, "/tagged") == 0) {
        http_add(x, "ETag", "\"v1\"");
        http_add(x, "Connection", "close"); /* has no place in HTTP/2 and is left out */
        http_answer(x, 200, "video/mp4", letters(26));
    } else if (strcmp(path, "/list") == 0) {
        http_answer(x, 200, "application/vnd.apple.mpegurl", letters(20000));
    } else if (strcmp(path, "/big") == 0) {
        http_answer(x, 200, "video/mp4", letters(4 << 20));
    } else if (strcmp(path, "/echo") == 0) {
        http_answer(x, 200, "text/plain", buffer_copy(http_body(x)));
    } else if (strcmp(path, "/upload") == 0) {
        http_on_body(x, upload_piece, x);
    } else if (strcmp(path, "/deaf") == 0) {
        http_answer_text(x, 403, "text/plain", "no");
    } else if (strcmp(path, "/fed") == 0) {
        stage.left = 50;
        http_begin(x, 200, "video/mp4");
        http_when_writable(x, feed, x);
    } else if (strcmp(path, "/aborted") == 0) {
        http_begin(x, 200, "video/mp4");
        http_abort(x);
    } else if (strcmp(path, "/suspended") == 0) {
        stage.waiting = x;
        http_on_end(x, ended, NULL);
        sem_post(&stage.suspended);
    } else {
        http_answer_text(x, 200, "text/plain", http_origin(x));
    }
}

static bool streams_body(void *ctx, struct http_exchange *x)
{
    return strcmp(http_path(x), "/upload") == 0 || strcmp(http_path(x), "/deaf") == 0;
}

static int begin(void **state)
{
    struct http_handler handler = {streams_body, handle, NULL};
    char why[256];

    memset(&stage, 0, sizeof stage);
    sem_init(&stage.suspended, 0, 0);
    sem_init(&stage.ended, 0, 0);
    make_certificate(1);
    if (net_start(&net, 1, 1) != ERR_OK || !address_parse("127.0.0.1:0", &at) ||
        tls_server_new(&tls, cert_file, key_file, "h2,http/1.1", why) != ERR_OK)
        return -1;
    return http_server_start(&server, net, &at, tls, &handler) == ERR_OK ? 0 : -1;
}

static int end(void **state)
{
    http_server_stop(server, 0);
    net_stop(net);
    tls_server_free(tls);
    return 0;
}

/* --- curl ----------------------------------------------------------------------------------------------------- */

static char said[8 << 20];
static size_t said_size;

/* Runs curl with these words and the URL of `path`; what it prints is in `said`. Returns its exit status. */
static int curl(const char *path, const char *const *words)
{
    const char *argv[24] = {"curl", "--http2", "-sk", "--max-time", "20"};
    char address[ADDRESS_TEXT_SIZE], url[128];
    int from_curl[2], status = -1, count = 5;

    snprintf(url, sizeof url, "https://%s%s", address_text(&at, address), path);
    for (; *words != NULL; words++)
        argv[count++] = *words;
    argv[count++] = url;
    assert_int_equal(pipe2(from_curl, O_CLOEXEC), 0);
    pid_t child = fork();

    if (child == 0) {
        dup2(from_curl[1], 1);
        execvp("curl", (char *const *)argv);
        _exit(127);
    }
    close(from_curl[1]);
    said_size = 0;
    for (ssize_t n; (n = read(from_curl[0], said + said_size, sizeof said - 1 - said_size)) > 0;)
        said_size += (size_t)n;
    said[said_size] = '\0';
    close(from_curl[0]);
    waitpid(child, &status, 0);
    if (WEXITSTATUS(status) == 127)
        fail_msg("curl is not there: 'tools/setup check' installs it");
    return WEXITSTATUS(status);
}

#define CURL(path, ...)                                                                                      \
    assert_int_equal(curl(path, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL}), 0)

static void curl_gets_what_it_asks_for(void **state)
{
    char expected[128], address[ADDRESS_TEXT_SIZE];

    CURL("/", "-w", " %{http_version} %{http_code}");
    snprintf(expected, sizeof expected, "https://%s 2 200", address_text(&at, address));
    assert_string_equal(said, expected);
    CURL("/tagged", "-i");
    assert_non_null(strstr(said, "HTTP/2 200 \r\ndate: "));
    assert_non_null(strstr(said, "\r\ncontent-type: video/mp4\r\ncontent-length: 26\r\netag: \"v1\"\r\n"));
    assert_null(strstr(said, "connection:"));
}

static void conditions_and_ranges_hold_over_http_2_too(void **state)
{
    CURL("/tagged", "-i", "-H", "If-None-Match: \"v1\"");
    assert_non_null(strstr(said, "HTTP/2 304"));
    CURL("/tagged", "-r", "3-5", "-w", " %{http_code}");
    assert_string_equal(said, "def 206");
    CURL("/list", "--compressed", "-i");
    assert_non_null(strstr(said, "content-encoding: gzip"));
    assert_non_null(strstr(said, "abcdefghijklmnopqrstuvwxyz"));
    CURL("/tagged", "-I");
    assert_non_null(strstr(said, "content-length: 26"));
    assert_null(strstr(said, "abc"));
}

static void bodies_are_collected_and_streamed(void **state)
{
    static char file[] = "/tmp/matinee-http2-XXXXXX";
    int fd = mkstemp(file);
    struct buffer *much = letters(3 << 20);
    char words[64];

    assert_int_equal(write(fd, much->data, much->size), much->size);
    close(fd);
    CURL("/echo", "-d", "hello");
    assert_string_equal(said, "hello");
    CURL("/upload", "-T", file);
    assert_string_equal(said, "3145728 bytes");
    stage.uploaded = 0;
    CURL("/upload", "-X", "POST");
    assert_string_equal(said, "0 bytes");
    CURL("/echo", "-T", file, "-w", "%{http_code}");
    assert_string_equal(said, "413");
    snprintf(words, sizeof words, "@%s", file);
    CURL("/deaf", "--data-binary", words, "-w", " %{http_code}"); /* answered before it is all said */
    assert_string_equal(said, "no 403");
    unlink(file);
    buffer_unref(much);
}

static void large_answers_come_whole(void **state)
{
    struct buffer *expected = letters(4 << 20);

    CURL("/big");
    assert_int_equal(said_size, expected->size);
    assert_memory_equal(said, expected->data, said_size);
    buffer_unref(expected);
    CURL("/fed");
    assert_int_equal(said_size, 50 * 100000);
}

static void an_aborted_answer_is_an_error(void **state)
{
    assert_int_not_equal(curl("/aborted", (const char *const[]){NULL}), 0);
}

static void ways_up_are_refused(void **state)
{
    CURL("/a/../../etc/passwd", "--path-as-is", "-w", "%{http_code}");
    assert_string_equal(said, "400");
    CURL("/%2e%2e/x", "-w", "%{http_code}");
    assert_string_equal(said, "400");
}

/* --- a client of our own ------------------------------------------------------------------------------------------ */

static struct peer {
    int fd;
    SSL_CTX *context;
    SSL *ssl;
    nghttp2_session *session;
    int closed, status;           /* streams; the last one's answer */
    uint32_t closed_with, goaway; /* errors; goaway UINT32_MAX: none came */
    char body[256];
    size_t body_size, sent;
    bool trailers;
} peer;

static ssize_t peer_send(nghttp2_session *session, const uint8_t *at_, size_t size, int flags, void *ctx)
{
    int sent = SSL_write(peer.ssl, at_, (int)size);

    return sent > 0 ? sent : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int peer_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                       size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags, void *ctx)
{
    if (name_size == 7 && memcmp(name, ":status", 7) == 0)
        peer.status = (int)strtol((const char *)value, NULL, 10);
    return 0;
}

static int peer_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *at_, size_t size,
                     void *ctx)
{
    for (size_t i = 0; i < size && peer.body_size < sizeof peer.body - 1; i++)
        peer.body[peer.body_size++] = (char)at_[i];
    return 0;
}

static int peer_closed(nghttp2_session *session, int32_t id, uint32_t error, void *ctx)
{
    peer.closed++;
    peer.closed_with = error;
    return 0;
}

static int peer_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    if (frame->hd.type == NGHTTP2_GOAWAY)
        peer.goaway = frame->goaway.error_code;
    return 0;
}

static void peer_begin(void)
{
    nghttp2_session_callbacks *callbacks;

    peer = (struct peer){
        .fd = client_of(&at), .context = SSL_CTX_new(TLS_client_method()), .goaway = UINT32_MAX};
    peer.ssl = SSL_new(peer.context);
    SSL_set_fd(peer.ssl, peer.fd);
    SSL_set_alpn_protos(peer.ssl, (const unsigned char *)"\x02h2", 3);
    assert_int_equal(SSL_connect(peer.ssl), 1);
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_send_callback(callbacks, peer_send);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, peer_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, peer_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, peer_closed);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, peer_frame);
    nghttp2_session_client_new(&peer.session, callbacks, NULL);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(peer.session, NGHTTP2_FLAG_NONE, NULL, 0);
}

static void peer_end(void)
{
    nghttp2_session_del(peer.session);
    SSL_free(peer.ssl);
    SSL_CTX_free(peer.context);
    close(peer.fd);
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

/* Sends "x" as long as peer.sent lasts, then perhaps trailers. */
static ssize_t peer_body(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *ctx)
{
    size_t size = peer.sent < room ? peer.sent : room;

    memset(buffer, 'x', size);
    peer.sent -= size;
    if (peer.sent == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (peer.trailers) {
            nghttp2_nv trailer = nv("checksum", "1");

            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(session, id, &trailer, 1);
        }
    }
    return (ssize_t)size;
}

static int32_t peer_ask(const char *method, const char *path)
{
    nghttp2_nv head[] = {nv(":method", method), nv(":scheme", "https"), nv(":authority", "h"),
                         nv(":path", path)};
    nghttp2_data_provider body = {.read_callback = peer_body};
    int32_t id = nghttp2_submit_request(peer.session, NULL, head, 4, method[0] == 'P' ? &body : NULL, NULL);

    assert_true(id > 0);
    return id;
}

/* One exchange of bytes with the server. False at its end. */
static bool peer_step(void)
{
    static uint8_t in[65536];

    if (nghttp2_session_send(peer.session) != 0)
        return false;
    int size = SSL_read(peer.ssl, in, sizeof in);

    return size > 0 && nghttp2_session_mem_recv(peer.session, in, (size_t)size) >= 0;
}

static void trailers_are_ignored(void **state)
{
    peer_begin();
    peer.sent = 5;
    peer.trailers = true;
    peer_ask("POST", "/echo");
    while (peer.closed == 0)
        assert_true(peer_step());
    assert_string_equal(peer.body, "xxxxx");
    peer_end();
}

static void a_reset_ends_a_suspended_exchange_at_once(void **state)
{
    peer_begin();
    int32_t id = peer_ask("GET", "/suspended");

    nghttp2_session_send(peer.session);
    wait_for(&stage.suspended);
    nghttp2_submit_rst_stream(peer.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    nghttp2_session_send(peer.session);
    wait_for(&stage.ended);
    peer_ask("GET", "/tagged"); /* the connection goes on */
    while (peer.closed < 2)
        assert_true(peer_step());
    assert_int_equal(peer.status, 200);
    peer_end();
}

static void a_hang_up_ends_all_its_exchanges(void **state)
{
    peer_begin();
    for (int i = 0; i < 5; i++)
        peer_ask("GET", "/suspended");
    nghttp2_session_send(peer.session);
    for (int i = 0; i < 5; i++)
        wait_for(&stage.suspended);
    peer_end();
    for (int i = 0; i < 5; i++)
        wait_for(&stage.ended);
}

/* CVE-2023-44487: requests that are taken back at once are work for us and none for the peer. */
static void rapid_resets_end_the_connection(void **state)
{
    peer_begin();
    for (unsigned i = 0; i < 2 * HTTP2_RESETS_MAX; i++) {
        int32_t id = peer_ask("GET", "/suspended");

        nghttp2_session_send(peer.session);
        nghttp2_submit_rst_stream(peer.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    }
    while (peer_step())
        ;
    assert_int_equal(peer.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    peer_end();
}

static void go_on(void *ctx)
{
    http_body_resume(stage.waiting);
}

/* While a handler pauses, the peer can send a window and no more; then all of it comes. */
static void a_paused_upload_holds_the_peer_back(void **state)
{
    enum { SIZE = 3 * HTTP2_WINDOW_BYTES };

    stage.hold = true;
    peer_begin();
    peer.sent = SIZE;
    int32_t id = peer_ask("PUT", "/upload");

    assert_true(peer_step()); /* its settings */
    nghttp2_session_send(peer.session);
    wait_for(&stage.suspended);
    peer_ask("GET", "/"); /* another stream is not held back: its answer says that all before it was read */
    while (peer.closed == 0)
        assert_true(peer_step());
    assert_true(peer.sent >= SIZE - HTTP2_WINDOW_BYTES);
    assert_int_equal(nghttp2_session_get_stream_remote_window_size(peer.session, id), 0);
    loop_post(net_loop(net, 0), go_on, NULL);
    peer.body_size = 0;
    while (peer.closed < 2)
        assert_true(peer_step());
    peer.body[peer.body_size] = '\0';
    assert_string_equal(peer.body, "786432 bytes");
    peer_end();
}

static void answer_it(void *ctx)
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

static void a_stopping_server_lets_streams_finish(void **state)
{
    pthread_t stopper;

    peer_begin();
    peer_ask("GET", "/suspended");
    nghttp2_session_send(peer.session);
    wait_for(&stage.suspended);
    pthread_create(&stopper, NULL, stop_it, NULL);
    while (peer.goaway == UINT32_MAX)
        assert_true(peer_step());
    assert_int_equal(peer.goaway, NGHTTP2_NO_ERROR);
    loop_post(net_loop(net, 0), answer_it, NULL);
    while (peer_step())
        ;
    assert_string_equal(peer.body, "late");
    pthread_join(stopper, NULL);
    peer_end();
}

static void heads_have_a_limit(void **state)
{
    static char value[HTTP_HEAD_BYTES_MAX];

    memset(value, 'v', sizeof value - 1);
    peer_begin();
    nghttp2_nv head[] = {nv(":method", "GET"), nv(":scheme", "https"), nv(":authority", "h"),
                         nv(":path", "/"), nv("x", value)};

    nghttp2_submit_request(peer.session, NULL, head, 5, NULL, NULL);
    while (peer.closed == 0)
        assert_true(peer_step());
    assert_int_equal(peer.status, 431);
    peer_end();
}

static void noise_instead_of_the_preface_ends_the_connection(void **state)
{
    peer_begin();
    assert_true(SSL_write(peer.ssl, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27) == 27);
    char in[256];

    while (SSL_read(peer.ssl, in, sizeof in) > 0)
        ;
    peer_end();
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(curl_gets_what_it_asks_for),
        CASE(conditions_and_ranges_hold_over_http_2_too),
        CASE(bodies_are_collected_and_streamed),
        CASE(large_answers_come_whole),
        CASE(an_aborted_answer_is_an_error),
        CASE(ways_up_are_refused),
        CASE(trailers_are_ignored),
        CASE(a_reset_ends_a_suspended_exchange_at_once),
        CASE(a_hang_up_ends_all_its_exchanges),
        CASE(rapid_resets_end_the_connection),
        CASE(a_paused_upload_holds_the_peer_back),
        CASE(a_stopping_server_lets_streams_finish),
        CASE(heads_have_a_limit),
        CASE(noise_instead_of_the_preface_ends_the_connection),
    };

    return cmocka_run_group_tests(tests, certificate_folder, certificate_folder_end);
}
