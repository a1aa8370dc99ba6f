/* Streams over real loopback sockets: every byte, in order, once; ends are noticed; nobody waits for ever. */
#include "unit.h"

#include "base/clock.h"
#include "base/limits.h"
#include "net/net.h"
#include "wait.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct net *net;
static struct listener *listener;
static struct address at;

/* One connection's owner; tests look at it after `closed` only, or after `told`. */
static struct host {
    const struct stream_events *events;
    void (*opened)(struct stream *s);
    sem_t open, told, closed;
    struct stream *stream;
    enum err why;
    size_t take;   /* at most so many bytes per read; 0: none */
    size_t seen;   /* bytes taken */
    size_t unread; /* what was shown at last */
    int reads, writables;
} host;

static void host_opened(void *ctx, struct stream *s)
{
    host.stream = s;
    stream_use(s, host.events, &host);
    if (host.opened != NULL)
        host.opened(s);
    sem_post(&host.open);
}

static void host_closed(void *ctx, struct stream *s, enum err why)
{
    host.why = why;
    host.stream = NULL;
    sem_post(&host.closed);
}

static void on_loop(void (*call)(void *ctx))
{
    loop_post(net_loop(net, 0), call, NULL);
}

static int begin(void **state)
{
    memset(&host, 0, sizeof host);
    sem_init(&host.open, 0, 0);
    sem_init(&host.told, 0, 0);
    sem_init(&host.closed, 0, 0);
    if (net_start(&net, 1, 1) != ERR_OK || !address_parse("127.0.0.1:0", &at))
        return -1;
    return listen_start(&listener, net, &at, NULL, host_opened, NULL) == ERR_OK ? 0 : -1;
}

static int end(void **state)
{
    listen_stop(listener);
    net_stop(net);
    return 0;
}

static size_t echo(void *ctx, struct stream *s, struct bytes in)
{
    stream_write(s, in);
    return in.size;
}

static const struct stream_events echoes = {echo, NULL, host_closed};

/* --- lazy streams ------------------------------------------------------------------------------------ */

static void be_lazy(struct stream *s)
{
    stream_lazy(s, true);
}

static void a_lazy_stream_is_read_once_in_a_while(void **state)
{
    char answer;

    host.events = &echoes;
    host.opened = be_lazy;
    int fd = client_of(&at);

    send_all(fd, "x", 1);
    receive_all(fd, &answer, 1);
    int64_t began_ms = clock_mono_ms();

    for (int i = 0; i < 3; i++) {
        send_all(fd, "x", 1);
        receive_all(fd, &answer, 1);
    }
    assert_true(clock_mono_ms() - began_ms >= 2 * STREAM_LAZY_MS);
    close(fd);
    wait_for(&host.closed);
    assert_int_equal(host.why, ERR_CLOSED);
}

/* A fast sender's window must not fill while the clock runs. */
static void much_to_read_does_not_wait_for_a_lazy_stream(void **state)
{
    static char much[STREAM_LAZY_BYTES], back[STREAM_LAZY_BYTES];

    host.events = &echoes;
    host.opened = be_lazy;
    int fd = client_of(&at);
    int64_t began_ms = clock_mono_ms();

    for (int i = 0; i < 40; i++) { /* which would take 4 s by the clock */
        send_all(fd, much, sizeof much);
        receive_all(fd, back, sizeof back);
    }
    assert_true(clock_mono_ms() - began_ms < 20 * STREAM_LAZY_MS);
    close(fd);
    wait_for(&host.closed);
}

/* What arrives between the two ways of watching is seen by one of them, and told once. */
static size_t waver(void *ctx, struct stream *s, struct bytes in)
{
    stream_write(s, in);
    stream_lazy(s, host.reads++ % 2 == 0);
    return in.size;
}

static void a_stream_may_turn_lazy_and_back_at_any_time(void **state)
{
    static const struct stream_events events = {waver, NULL, host_closed};
    char answer[7];

    host.events = &events;
    int fd = client_of(&at);

    for (int i = 0; i < 8; i++) {
        send_all(fd, "curtain", 7);
        receive_all(fd, answer, 7);
        assert_memory_equal(answer, "curtain", 7);
    }
    send_all(fd, "last", 4);
    shutdown(fd, SHUT_WR);
    assert_int_equal(receive_to_end(fd, answer, sizeof answer), 4);
    wait_for(&host.closed);
    close(fd);
}

/* --- bytes ------------------------------------------------------------------------------------------- */

static void bytes_come_back_and_the_hang_up_is_told(void **state)
{
    char answer[5];

    host.events = &echoes;
    int fd = client_of(&at);

    send_all(fd, "hello", 5);
    receive_all(fd, answer, 5);
    assert_memory_equal(answer, "hello", 5);
    close(fd);
    wait_for(&host.closed);
    assert_int_equal(host.why, ERR_CLOSED);
}

/* A client may close its half when it has asked its question; it still gets the answer. */
static void a_half_closed_peer_gets_what_it_asked_for(void **state)
{
    char answer[16];

    host.events = &echoes;
    int fd = client_of(&at);

    send_all(fd, "question", 8);
    shutdown(fd, SHUT_WR);
    assert_int_equal(receive_to_end(fd, answer, sizeof answer), 8);
    wait_for(&host.closed);
    close(fd);
}

static size_t take_some(void *ctx, struct stream *s, struct bytes in)
{
    size_t taken = in.size < host.take ? in.size : host.take;

    host.reads++;
    host.seen += taken;
    host.unread = in.size;
    stream_write(s, bytes_head(in, taken));
    if (in.size > taken)
        stream_resume(s); /* show the rest in the next turn, without new bytes */
    return taken;
}

static void what_is_not_taken_is_shown_again(void **state)
{
    static const struct stream_events events = {take_some, NULL, host_closed};
    uint8_t sent[3000], answer[3000];

    host.events = &events;
    host.take = 7;
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (uint8_t)(i * 31);
    int fd = client_of(&at);

    send_all(fd, sent, sizeof sent);
    receive_all(fd, answer, sizeof answer);
    assert_memory_equal(answer, sent, sizeof sent);
    close(fd);
    wait_for(&host.closed);
    assert_true(host.reads >= 3000 / 7);
}

static size_t take_nothing(void *ctx, struct stream *s, struct bytes in)
{
    host.unread = in.size;
    return 0;
}

static void who_takes_nothing_of_a_megabyte_is_closed(void **state)
{
    static const struct stream_events events = {take_nothing, NULL, host_closed};
    static char much[STREAM_UNREAD_BYTES_MAX + 2 * STREAM_READ_BYTES];

    host.events = &events;
    int fd = client_of(&at);

    for (size_t sent = 0; sent < sizeof much;) {
        ssize_t n = send(fd, much, sizeof much - sent, MSG_NOSIGNAL);

        if (n < 0)
            break; /* closed under our hands, as it should */
        sent += (size_t)n;
    }
    wait_for(&host.closed);
    assert_int_equal(host.why, ERR_LIMIT);
    close(fd);
}

#define BIG (6u << 20)

static void send_big(struct stream *s)
{
    struct buffer *b = buffer_new(BIG);

    b->size = BIG;
    for (size_t i = 0; i < BIG; i++)
        b->data[i] = (uint8_t)(i >> 8);
    stream_write(s, bytes_text("head"));
    stream_write_part(s, buffer_ref(b), 100, BIG - 100);
    stream_write(s, bytes_text("tail"));
    stream_write_buffer(s, b);
    stream_close_gently(s);
    stream_write(s, bytes_text("too late"));
}

static void much_is_sent_in_order_and_then_closed_gently(void **state)
{
    static uint8_t got[2 * BIG];

    host.events = &echoes;
    host.opened = send_big;
    int fd = client_of(&at);

    assert_int_equal(receive_to_end(fd, got, sizeof got), 2 * BIG - 100 + 8);
    assert_memory_equal(got, "head", 4);
    for (size_t i = 100; i < BIG; i++)
        assert_true(got[i - 96] == (uint8_t)(i >> 8));
    assert_memory_equal(got + 4 + BIG - 100, "tail", 4);
    close(fd);
    wait_for(&host.closed);
    assert_int_equal(host.why, ERR_OK);
}

/* Many small writes become few pieces; what was written before a buffer stays before it. */
static void send_small(struct stream *s)
{
    for (int i = 0; i < 1000; i++) {
        stream_write(s, bytes_text("ab"));
        if (i % 10 == 0)
            stream_write_buffer(s, buffer_copy(bytes_text("C")));
    }
    stream_close_gently(s);
}

static void small_and_shared_writes_keep_their_order(void **state)
{
    char got[4096], expected[4096] = "";
    size_t size = 0;

    for (int i = 0; i < 1000; i++)
        size += (size_t)snprintf(expected + size, sizeof expected - size, "ab%s", i % 10 == 0 ? "C" : "");
    host.events = &echoes;
    host.opened = send_small;
    int fd = client_of(&at);

    assert_int_equal(receive_to_end(fd, got, sizeof got), size);
    assert_memory_equal(got, expected, size);
    close(fd);
    wait_for(&host.closed);
}

/* --- closing ----------------------------------------------------------------------------------------- */

static size_t answer_and_close(void *ctx, struct stream *s, struct bytes in)
{
    stream_write(s, bytes_text("no"));
    stream_close_gently(s);
    return in.size;
}

/* Closing on unread bytes makes the kernel send a reset that eats our answer; so we wait for their end. */
static void an_answer_before_the_end_of_the_question_is_not_lost(void **state)
{
    static const struct stream_events events = {answer_and_close, NULL, host_closed};
    static char much[1 << 20];
    char answer[4];

    host.events = &events;
    int fd = client_of(&at);

    send_all(fd, much, sizeof much);
    wait_for(&host.closed);
    send_all(fd, much, sizeof much);
    assert_int_equal(receive_to_end(fd, answer, sizeof answer), 2);
    close(fd);
}

static size_t close_at_once(void *ctx, struct stream *s, struct bytes in)
{
    stream_close(s);
    stream_close(s);
    stream_close_gently(s);
    stream_write(s, in);
    stream_wait_writable(s, 0);
    stream_resume(s);
    return in.size;
}

static void after_closing_nothing_more_happens(void **state)
{
    static const struct stream_events events = {close_at_once, NULL, host_closed};
    char answer[4];

    host.events = &events;
    int fd = client_of(&at);

    send_all(fd, "x", 1);
    wait_for(&host.closed);
    assert_int_equal(host.why, ERR_OK);
    assert_int_equal(receive_to_end(fd, answer, sizeof answer), 0);
    close(fd);
}

static void pause_it(struct stream *s)
{
    stream_pause(s);
}

static void a_hang_up_is_noticed_while_paused(void **state)
{
    host.events = &echoes;
    host.opened = pause_it;
    int fd = client_of(&at);

    send_all(fd, "a pipelined question", 20);
    wait_for(&host.open);
    close(fd);
    wait_for(&host.closed);
    assert_int_equal(host.why, ERR_CLOSED);
}

static void resume_it(void *ctx)
{
    stream_resume(host.stream);
}

static void a_resumed_stream_goes_on_where_it_stopped(void **state)
{
    char answer[4];

    host.events = &echoes;
    host.opened = pause_it;
    int fd = client_of(&at);

    send_all(fd, "abcd", 4);
    wait_for(&host.open);
    on_loop(resume_it);
    receive_all(fd, answer, 4);
    assert_memory_equal(answer, "abcd", 4);
    close(fd);
    wait_for(&host.closed);
}

static void reset_is_a_hang_up(void **state)
{
    struct linger at_once = {1, 0};

    host.events = &echoes;
    int fd = client_of(&at);

    wait_for(&host.open);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
    wait_for(&host.closed);
    assert_int_equal(host.why, ERR_CLOSED);
}

/* --- limits ------------------------------------------------------------------------------------------ */

static void limit_reading(struct stream *s)
{
    stream_read_limit(s, 60000);
    stream_read_limit(s, 30);
}

static void silence_has_a_limit(void **state)
{
    host.events = &echoes;
    host.opened = limit_reading;
    int fd = client_of(&at);

    wait_for(&host.closed);
    assert_int_equal(host.why, ERR_TIMEOUT);
    close(fd);
}

static void pause_under_a_limit(struct stream *s)
{
    stream_read_limit(s, 10);
    stream_pause(s);
}

static void tell_when_late(void *ctx)
{
    sem_post(&host.told);
}

static struct timer late;

static void wait_a_while(void *ctx)
{
    timer_start(loop_here(), &late, 60, tell_when_late, NULL);
}

static void silence_while_paused_does_not_count(void **state)
{
    char answer[2];

    host.events = &echoes;
    host.opened = pause_under_a_limit;
    int fd = client_of(&at);

    wait_for(&host.open);
    on_loop(wait_a_while);
    wait_for(&host.told); /* six times the limit have passed */
    send_all(fd, "ok", 2);
    on_loop(resume_it);
    receive_all(fd, answer, 2);
    close(fd);
    wait_for(&host.closed);
}

static void flood_under_a_limit(struct stream *s)
{
    stream_write_limit(s, 50);
    for (int i = 0; i < 4; i++) {
        struct buffer *b = buffer_new(BIG);

        memset(b->data, 0, BIG);
        b->size = BIG;
        stream_write_buffer(s, b);
    }
}

static void a_reader_that_takes_nothing_is_closed(void **state)
{
    host.events = &echoes;
    host.opened = flood_under_a_limit;
    int fd = client_of(&at);

    wait_for(&host.closed);
    assert_int_equal(host.why, ERR_TIMEOUT);
    close(fd);
}

static void feed(void *ctx, struct stream *s)
{
    static const char block[65536];

    host.unread = host.unread > stream_queued(s) ? host.unread : stream_queued(s);
    if (++host.writables > 200) {
        stream_close_gently(s);
        return;
    }
    stream_write(s, bytes_of(block, sizeof block));
    stream_wait_writable(s, 1000);
}

static void ask_to_feed(struct stream *s)
{
    stream_wait_writable(s, 1000);
}

static void a_feeder_is_asked_when_there_is_room(void **state)
{
    static const struct stream_events events = {echo, feed, host_closed};
    static char got[200 * 65536 + 1];

    host.events = &events;
    host.opened = ask_to_feed;
    int fd = client_of(&at);

    assert_int_equal(receive_to_end(fd, got, sizeof got), 200 * 65536);
    close(fd);
    wait_for(&host.closed);
    assert_true(host.unread <= 1000); /* never asked while more was queued */
}

/* --- listening and connecting -------------------------------------------------------------------------- */

static void an_address_in_use_is_busy(void **state)
{
    struct listener *second = (struct listener *)&at;
    struct address same = at;

    assert_int_equal(listen_start(&second, net, &same, NULL, host_opened, NULL), ERR_BUSY);
    assert_null(second);
    listen_stop(second);
}

/* A port can be used again at once, with the last server's connections still in TIME_WAIT. */
static void a_restart_gets_its_port_back(void **state)
{
    host.events = &echoes;
    host.opened = stream_close_gently;
    int fd = client_of(&at);

    wait_for(&host.closed);
    close(fd);
    listen_stop(listener);
    assert_int_equal(listen_start(&listener, net, &at, NULL, host_opened, NULL), ERR_OK);
    close(client_of(&at));
    wait_for(&host.open);
}

static struct {
    struct stream *stream;
    enum err why;
    sem_t opened, closed;
    char got[8];
    size_t size;
} guest;

static size_t guest_read(void *ctx, struct stream *s, struct bytes in)
{
    memcpy(guest.got + guest.size, in.at, in.size);
    guest.size += in.size;
    if (guest.size == 5)
        stream_close(s);
    return in.size;
}

static void guest_closed(void *ctx, struct stream *s, enum err why)
{
    sem_post(&guest.closed);
}

static void guest_opened(void *ctx, struct stream *s, enum err why)
{
    static const struct stream_events events = {guest_read, NULL, guest_closed};

    guest.stream = s;
    guest.why = why;
    if (s != NULL) {
        stream_use(s, &events, NULL);
        stream_write(s, bytes_text("guest"));
    }
    sem_post(&guest.opened);
}

static void guest_begin(void)
{
    memset(&guest, 0, sizeof guest);
    sem_init(&guest.opened, 0, 0);
    sem_init(&guest.closed, 0, 0);
}

static void we_can_be_the_client_too(void **state)
{
    host.events = &echoes;
    guest_begin();
    stream_connect(net_loop(net, 0), &at, NULL, guest_opened, NULL);
    wait_for(&guest.opened);
    wait_for(&guest.closed);
    assert_memory_equal(guest.got, "guest", 5);
    wait_for(&host.closed);
}

static void a_connection_that_cannot_be_made_is_told(void **state)
{
    guest_begin();
    listen_stop(listener);
    listener = NULL;
    stream_connect(net_loop(net, 0), &at, NULL, guest_opened, NULL);
    wait_for(&guest.opened);
    assert_null(guest.stream);
    assert_int_equal(guest.why, ERR_MISSING);
}

/* Out of file descriptors the backlog waits, and is served when there are some again. */
static void without_file_descriptors_connections_wait(void **state)
{
    struct rlimit all, none;
    char answer[2];

    host.events = &echoes;
    int fd = client_of(&at);

    wait_for(&host.open);
    int next = dup(fd);

    close(next);
    getrlimit(RLIMIT_NOFILE, &all);
    none = all;
    int waiting = socket(AF_INET, SOCK_STREAM, 0);

    none.rlim_cur = (rlim_t)waiting + 1;
    setrlimit(RLIMIT_NOFILE, &none);
    assert_int_equal(connect(waiting, (struct sockaddr *)&at.socket, at.size), 0);
    send_all(waiting, "hi", 2);
    on_loop(wait_a_while);
    wait_for(&host.told);
    setrlimit(RLIMIT_NOFILE, &all);
    receive_all(waiting, answer, 2);
    close(waiting);
    close(fd);
    wait_for(&host.closed);
    wait_for(&host.closed);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(bytes_come_back_and_the_hang_up_is_told),
        CASE(a_half_closed_peer_gets_what_it_asked_for),
        CASE(what_is_not_taken_is_shown_again),
        CASE(a_lazy_stream_is_read_once_in_a_while),
        CASE(much_to_read_does_not_wait_for_a_lazy_stream),
        CASE(a_stream_may_turn_lazy_and_back_at_any_time),
        CASE(who_takes_nothing_of_a_megabyte_is_closed),
        CASE(much_is_sent_in_order_and_then_closed_gently),
        CASE(small_and_shared_writes_keep_their_order),
        CASE(an_answer_before_the_end_of_the_question_is_not_lost),
        CASE(after_closing_nothing_more_happens),
        CASE(a_hang_up_is_noticed_while_paused),
        CASE(a_resumed_stream_goes_on_where_it_stopped),
        CASE(reset_is_a_hang_up),
        CASE(silence_has_a_limit),
        CASE(silence_while_paused_does_not_count),
        CASE(a_reader_that_takes_nothing_is_closed),
        CASE(a_feeder_is_asked_when_there_is_room),
        CASE(an_address_in_use_is_busy),
        CASE(a_restart_gets_its_port_back),
        CASE(we_can_be_the_client_too),
        CASE(a_connection_that_cannot_be_made_is_told),
        CASE(without_file_descriptors_connections_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
