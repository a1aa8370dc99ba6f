/* Addresses as people write them, and who counts against which limit. */
#include "unit.h"

#include "base/limits.h"
#include "net/net_int.h"

#include <stdlib.h>

static void addresses_are_read_and_printed(void **state)
{
    static const char *const cases[][2] = {
        {"127.0.0.1:8080", "127.0.0.1:8080"}, {"localhost:1", "127.0.0.1:1"},
        {"[::1]:65535", "[::1]:65535"},       {":8080", "[::]:8080"},
        {"0.0.0.0:0", "0.0.0.0:0"},           {"[2001:db8::7]:443", "[2001:db8::7]:443"},
    };
    char text[ADDRESS_TEXT_SIZE];
    struct address a;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(address_parse(cases[i][0], &a));
        assert_string_equal(address_text(&a, text), cases[i][1]);
    }
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "1.2.3:80",
        "[::1]",
        "[::1:80",
        "::1]:80",
        "[]:80",
        "example.org:80",
        "[127.0.0.1]:1",
        "1.2.3.4 :80",
        "[::1%lo]:1",
        "1.2.3.4:+1",
        "a-very-long-name-that-does-not-fit-into-the-room-for-a-host-name-anyway.example:80"};
    struct address a;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(address_parse(bad[i], &a));
}

static void loopback_is_told_from_the_world(void **state)
{
    static const char *const here[] = {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"};
    static const char *const there[] = {"128.0.0.1:1", "[::2]:1", "[::ffff:10.0.0.1]:1", ":1"};
    struct address a;

    for (size_t i = 0; i < 4; i++) {
        assert_true(address_parse(here[i], &a));
        assert_true(address_is_loopback(&a));
        assert_true(address_parse(there[i], &a));
        assert_false(address_is_loopback(&a));
    }
}

/* One address has its share, another its own, loopback (our own proxy) no limit but that of all. */
static void one_address_cannot_take_all_connections(void **state)
{
    struct net *n;
    struct address one, other, same_home, loopback;

    assert_int_equal(net_start(&n, 1, 1), ERR_OK);
    assert_true(address_parse("[2001:db8::1]:1", &one));
    assert_true(address_parse("[2001:db8::2:1]:1", &same_home));
    assert_true(address_parse("192.0.2.1:1", &other));
    assert_true(address_parse("127.0.0.1:1", &loopback));
    for (int i = 0; i < CONNECTIONS_PER_ADDRESS_MAX; i++)
        assert_true(connection_admit(n, &one));
    assert_false(connection_admit(n, &one));
    assert_false(connection_admit(n, &same_home));
    assert_true(connection_admit(n, &other));
    for (int i = 0; i < CONNECTIONS_PER_ADDRESS_MAX * 2; i++)
        assert_true(connection_admit(n, &loopback));
    connection_leave(n, &one);
    assert_true(connection_admit(n, &same_home));
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        if (!connection_admit(n, &loopback))
            break;
    assert_int_equal(n->connections, CONNECTIONS_MAX);
    net_stop(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_printed),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(loopback_is_told_from_the_world),
        cmocka_unit_test(one_address_cannot_take_all_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
