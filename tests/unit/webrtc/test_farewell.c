/* close_notify of a viewer whose handshake is forgotten: the true one is known, and nothing else is. */
#include "unit.h"

#include "guard.h"
#include "webrtc/webrtc_int.h"

static struct guard guard;

/* One side's outgoing datagrams, as long as they fit; the other takes them. */
struct wire {
    uint8_t bytes[16][2048];
    size_t sizes[16], count;
};

static void put(void *ctx, struct bytes datagram)
{
    struct wire *w = ctx;

    assert_true(w->count < 16 && datagram.size <= sizeof w->bytes[0]);
    memcpy(w->bytes[w->count], datagram.at, datagram.size);
    w->sizes[w->count++] = datagram.size;
}

static void carry(struct wire *w, struct dtls *to)
{
    struct wire all = *w;

    w->count = 0;
    for (size_t i = 0; i < all.count; i++)
        (void)dtls_receive(to, bytes_of(all.bytes[i], all.sizes[i]));
}

struct pair {
    struct dtls_house *house;
    struct dtls *server, *client;
    struct wire from_server, from_client;
    struct farewell farewell;
};

static void shake(struct pair *p)
{
    memset(p, 0, sizeof *p);
    assert_int_equal(dtls_house_new(&p->house), ERR_OK);
    p->server = dtls_new(p->house, DTLS_SERVER, put, &p->from_server);
    p->client = dtls_new(p->house, DTLS_CLIENT, put, &p->from_client);
    (void)dtls_receive(p->client, bytes_of(NULL, 0));
    for (int i = 0; i < 6; i++) {
        carry(&p->from_client, p->server);
        carry(&p->from_server, p->client);
    }
    farewell_of(&p->farewell, p->server);
}

static void drop(struct pair *p)
{
    dtls_free(p->server);
    dtls_free(p->client);
    dtls_house_free(p->house);
}

static struct bytes goodbye_of(struct wire *w, struct dtls *d)
{
    w->count = 0;
    dtls_goodbye(d);
    assert_int_equal(w->count, 1);
    return guard_place(guard, bytes_of(w->bytes[0], w->sizes[0]));
}

static void a_true_close_notify_is_known_without_the_handshake(void **state)
{
    struct pair p;

    shake(&p);
    assert_true(p.farewell.kind != 0);
    assert_true(farewell_is(&p.farewell, goodbye_of(&p.from_client, p.client)));
    drop(&p);
}

static void one_that_is_cut_or_damaged_anywhere_or_the_servers_own_is_not(void **state)
{
    struct pair p;
    uint8_t copy[2048];
    struct bytes whole;

    shake(&p);
    whole = goodbye_of(&p.from_client, p.client);
    memcpy(copy, whole.at, whole.size);
    for (size_t size = 0; size < whole.size; size++)
        assert_false(farewell_is(&p.farewell, guard_place(guard, bytes_of(copy, size))));
    for (size_t i = 0; i < whole.size; i++) {
        copy[i] ^= 1;
        assert_false(farewell_is(&p.farewell, guard_place(guard, bytes_of(copy, whole.size))));
        copy[i] ^= 1;
    }
    assert_true(farewell_is(&p.farewell, guard_place(guard, bytes_of(copy, whole.size))));
    assert_false(farewell_is(&p.farewell, goodbye_of(&p.from_server, p.server)));
    assert_false(farewell_is(&(struct farewell){0}, bytes_of(copy, whole.size)));
    drop(&p);
}

static void an_alert_in_the_clear_ends_nothing(void **state)
{
    static const uint8_t alert[] = {21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0};
    struct pair p;

    shake(&p);
    assert_false(farewell_is(&p.farewell, guard_place(guard, bytes_of(alert, sizeof alert))));
    drop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_true_close_notify_is_known_without_the_handshake),
        cmocka_unit_test(one_that_is_cut_or_damaged_anywhere_or_the_servers_own_is_not),
        cmocka_unit_test(an_alert_in_the_clear_ends_nothing),
    };

    guard = guard_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    guard_free(guard);
    return failed;
}
