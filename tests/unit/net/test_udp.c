/* Datagrams over loopback: trains come as the datagrams they are made of, each whole and in order. */
#include "unit.h"

#include "net/net.h"
#include "wait.h"

#include <semaphore.h>

static struct net *net;
static struct udp *udp;
static struct address at;
static sem_t told;
static size_t sizes[256], count;
static uint8_t firsts[256];

static void received(void *ctx, const struct address *from, struct bytes datagram)
{
    assert_ptr_equal(loop_here(), net_loop(net, 0));
    assert_memory_equal(&from->socket, &at.socket, at.size); /* it talks to itself */
    sizes[count] = datagram.size;
    firsts[count++] = datagram.at[0];
    sem_post(&told);
}

static void watch(void *ctx)
{
    assert_int_equal(udp_watch(udp, net_loop(net, 0), received, NULL), ERR_OK);
    sem_post(&told);
}

static void close_here(void *ctx)
{
    udp_close(udp);
    sem_post(&told);
}

static void on_loop(void (*call)(void *ctx))
{
    loop_post(net_loop(net, 0), call, NULL);
    wait_for(&told);
}

static int begin(void **state)
{
    count = 0;
    sem_init(&told, 0, 0);
    if (net_start(&net, 1, 1) != ERR_OK || !address_parse("127.0.0.1:0", &at) ||
        udp_open(&udp, &at) != ERR_OK)
        return -1;
    on_loop(watch);
    return 0;
}

static int end(void **state)
{
    on_loop(close_here);
    net_stop(net);
    return 0;
}

static void a_train_comes_as_the_datagrams_it_is_made_of(void **state)
{
    static uint8_t bytes[3 * 1000 + 400];
    const struct udp_train trains[] = {{&at, bytes, sizeof bytes, 1000}, {&at, bytes + 500, 1, 1}};

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i / 100);
    assert_int_equal(udp_send(udp, trains, 2), 0);
    for (int i = 0; i < 5; i++)
        wait_for(&told);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(sizes[i], 1000);
        assert_int_equal(firsts[i], i * 10);
    }
    assert_int_equal(sizes[3], 400);
    assert_int_equal(sizes[4], 1);
    assert_int_equal(firsts[4], 5);
}

static void more_trains_than_one_call_takes_all_come(void **state)
{
    static uint8_t bytes[200][2];
    struct udp_train trains[200];

    for (size_t i = 0; i < 200; i++) {
        bytes[i][0] = (uint8_t)i;
        trains[i] = (struct udp_train){&at, bytes[i], 2, 2};
    }
    assert_int_equal(udp_send(udp, trains, 200), 0);
    for (int i = 0; i < 200; i++)
        wait_for(&told);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(firsts[i], i);
}

static void a_taken_port_is_told(void **state)
{
    struct address same = at;
    struct udp *other;

    assert_int_equal(udp_open(&other, &same), ERR_BUSY);
    assert_null(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_train_comes_as_the_datagrams_it_is_made_of, begin, end),
        cmocka_unit_test_setup_teardown(more_trains_than_one_call_takes_all_come, begin, end),
        cmocka_unit_test_setup_teardown(a_taken_port_is_told, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
