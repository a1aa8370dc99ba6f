/* TLS streams: our client against our server, with certificates made here. */
#include "unit.h"

#include "base/mem.h"
#include "certificate.h"
#include "net/net.h"
#include "wait.h"

#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/stat.h>

static struct net *net;
static struct tls_server *tls;
static struct listener *listener;
static struct address at;

/* --- an echo over TLS ---------------------------------------------------------------------------------- */

static struct {
    char alpn[8];
    enum err why;
    sem_t open, closed;
} host;

static size_t echo(void *ctx, struct stream *s, struct bytes in)
{
    stream_write(s, in);
    return in.size;
}

static void host_closed(void *ctx, struct stream *s, enum err why)
{
    host.why = why;
    sem_post(&host.closed);
}

static void host_opened(void *ctx, struct stream *s)
{
    static const struct stream_events events = {echo, NULL, host_closed};

    snprintf(host.alpn, sizeof host.alpn, "%s", stream_alpn(s));
    stream_use(s, &events, NULL);
    sem_post(&host.open);
}

static int begin(void **state)
{
    char why[256];

    memset(&host, 0, sizeof host);
    sem_init(&host.open, 0, 0);
    sem_init(&host.closed, 0, 0);
    make_certificate(1);
    if (net_start(&net, 1, 1) != ERR_OK || !address_parse("127.0.0.1:0", &at) ||
        tls_server_new(&tls, cert_file, key_file, "h2,http/1.1", why) != ERR_OK)
        return -1;
    return listen_start(&listener, net, &at, tls, host_opened, NULL) == ERR_OK ? 0 : -1;
}

static int end(void **state)
{
    listen_stop(listener);
    net_stop(net);
    tls_server_free(tls);
    unlink(cert_file);
    unlink(key_file);
    return 0;
}

/* OpenSSL as the other side, blocking, so that a mistake of ours is not answered by the same mistake. */
struct other {
    int fd;
    SSL_CTX *context;
    SSL *ssl;
};

static struct other other_begin(int version_max, const char *alpn)
{
    struct other o = {.fd = client_of(&at), .context = SSL_CTX_new(TLS_client_method())};

    SSL_CTX_set_min_proto_version(o.context, TLS1_VERSION);
    SSL_CTX_set_security_level(o.context, 0);
    SSL_CTX_set_max_proto_version(o.context, version_max);
    o.ssl = SSL_new(o.context);
    SSL_set_fd(o.ssl, o.fd);
    if (alpn != NULL)
        SSL_set_alpn_protos(o.ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    return o;
}

static void other_end(struct other *o)
{
    SSL_free(o->ssl);
    SSL_CTX_free(o->context);
    close(o->fd);
}

static long serial_of(SSL *ssl)
{
    X509 *cert = SSL_get1_peer_certificate(ssl);

    assert_non_null(cert);
    long serial = ASN1_INTEGER_get(X509_get_serialNumber(cert));

    X509_free(cert);
    return serial;
}

/* --- promises ------------------------------------------------------------------------------------------ */

static void bytes_pass_over(int version)
{
    static char sent[300000], got[sizeof sent];
    struct other o = other_begin(version, NULL);
    int size = 0;

    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 7 + i / 1000);
    assert_int_equal(SSL_connect(o.ssl), 1);
    assert_int_equal(SSL_version(o.ssl), version);
    for (size_t from = 0; from < sizeof sent; from += 10000)
        assert_int_equal(SSL_write(o.ssl, sent + from, 10000), 10000);
    for (size_t have = 0; have < sizeof got; have += (size_t)size) {
        size = SSL_read(o.ssl, got + have, (int)(sizeof got - have));
        assert_true(size > 0);
    }
    assert_memory_equal(sent, got, sizeof sent);
    SSL_shutdown(o.ssl);
    other_end(&o);
    wait_for(&host.closed);
    assert_int_equal(host.why, ERR_CLOSED);
}

static void bytes_pass_over_tls_1_3(void **state)
{
    bytes_pass_over(TLS1_3_VERSION);
}

static void bytes_pass_over_tls_1_2(void **state)
{
    bytes_pass_over(TLS1_2_VERSION);
}

static void older_versions_are_refused(void **state)
{
    struct other o = other_begin(TLS1_1_VERSION, NULL);

    assert_true(SSL_connect(o.ssl) <= 0);
    other_end(&o);
}

static void the_protocol_is_agreed_by_our_preference(void **state)
{
    static const char *const cases[][2] = {
        {"\x08http/1.1\x02h2", "h2"}, {"\x08http/1.1", ""}, {"\x04spdy", ""}, {NULL, ""}};

    for (size_t i = 0; i < 4; i++) {
        struct other o = other_begin(TLS1_3_VERSION, cases[i][0]);

        assert_int_equal(SSL_connect(o.ssl), 1);
        wait_for(&host.open);
        assert_string_equal(host.alpn, cases[i][1]);
        other_end(&o);
        wait_for(&host.closed);
    }
}

static void a_new_certificate_is_served_without_a_restart(void **state)
{
    char why[256];
    struct other before = other_begin(TLS1_3_VERSION, NULL);

    assert_int_equal(SSL_connect(before.ssl), 1);
    assert_int_equal(serial_of(before.ssl), 1);
    make_certificate(2);
    assert_int_equal(tls_server_reload(tls, why), ERR_OK);
    struct other after = other_begin(TLS1_3_VERSION, NULL);

    assert_int_equal(SSL_connect(after.ssl), 1);
    assert_int_equal(serial_of(after.ssl), 2);
    char letter = 'x';

    assert_int_equal(SSL_write(before.ssl, &letter, 1), 1); /* the old connection goes on */
    assert_int_equal(SSL_read(before.ssl, &letter, 1), 1);
    other_end(&before);
    other_end(&after);
    wait_for(&host.closed);
    wait_for(&host.closed);
}

static void a_bad_file_is_named_and_the_old_certificate_stays(void **state)
{
    char why[256];
    struct tls_server *none;
    FILE *f = fopen(cert_file, "w");

    fputs("not a certificate\n", f);
    fclose(f);
    assert_int_equal(tls_server_reload(tls, why), ERR_BAD);
    assert_non_null(strstr(why, cert_file));
    struct other o = other_begin(TLS1_3_VERSION, NULL);

    assert_int_equal(SSL_connect(o.ssl), 1);
    assert_int_equal(serial_of(o.ssl), 1);
    other_end(&o);
    assert_int_equal(tls_server_new(&none, "/nowhere/cert.pem", key_file, NULL, why), ERR_BAD);
    assert_null(none);
    assert_non_null(strstr(why, "/nowhere/cert.pem"));
    assert_non_null(strstr(why, "No such file"));
}

/* A key that is not the certificate's is found at once, not at the first handshake. */
static void a_key_of_another_certificate_is_refused(void **state)
{
    char why[256], other_key[80];
    struct tls_server *none;

    snprintf(other_key, sizeof other_key, "%s.other", key_file);
    assert_int_equal(rename(key_file, other_key), 0);
    make_certificate(3);
    assert_int_equal(tls_server_new(&none, cert_file, other_key, NULL, why), ERR_BAD);
    assert_non_null(strstr(why, other_key));
    unlink(other_key);
}

static void plain_bytes_on_a_tls_port_end_the_connection(void **state)
{
    char answer[64];
    int fd = client_of(&at);

    send_all(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    receive_to_end(fd, answer, sizeof answer); /* an alert at most, then the end */
    close(fd);
}

/* --- our own client ------------------------------------------------------------------------------------ */

static struct {
    enum err why;
    bool opened;
    char got[8];
    sem_t told;
} guest;

static size_t guest_read(void *ctx, struct stream *s, struct bytes in)
{
    memcpy(guest.got, in.at, in.size < 8 ? in.size : 8);
    stream_close_gently(s);
    return in.size;
}

static void guest_closed(void *ctx, struct stream *s, enum err why)
{
    sem_post(&guest.told);
}

static void guest_opened(void *ctx, struct stream *s, enum err why)
{
    static const struct stream_events events = {guest_read, NULL, guest_closed};

    guest.why = why;
    guest.opened = s != NULL;
    if (s == NULL) {
        sem_post(&guest.told);
        return;
    }
    stream_use(s, &events, NULL);
    stream_write(s, bytes_text("hello"));
}

static void our_client_talks_to_our_server(void **state)
{
    memset(&guest, 0, sizeof guest);
    sem_init(&guest.told, 0, 0);
    stream_connect(net_loop(net, 0), &at, "", guest_opened, NULL);
    wait_for(&guest.told);
    assert_true(guest.opened);
    assert_string_equal(guest.got, "hello");
    wait_for(&host.closed);
}

static void our_client_refuses_a_certificate_nobody_vouches_for(void **state)
{
    memset(&guest, 0, sizeof guest);
    sem_init(&guest.told, 0, 0);
    stream_connect(net_loop(net, 0), &at, "localhost", guest_opened, NULL);
    wait_for(&guest.told);
    assert_false(guest.opened);
    assert_int_equal(guest.why, ERR_DENIED);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(bytes_pass_over_tls_1_3),
        CASE(bytes_pass_over_tls_1_2),
        CASE(older_versions_are_refused),
        CASE(the_protocol_is_agreed_by_our_preference),
        CASE(a_new_certificate_is_served_without_a_restart),
        CASE(a_bad_file_is_named_and_the_old_certificate_stays),
        CASE(a_key_of_another_certificate_is_refused),
        CASE(plain_bytes_on_a_tls_port_end_the_connection),
        CASE(our_client_talks_to_our_server),
        CASE(our_client_refuses_a_certificate_nobody_vouches_for),
    };

    return cmocka_run_group_tests(tests, certificate_folder, certificate_folder_end);
}
