/* webrtc/dtls.c - a DTLS 1.2 handshake, over datagrams that somebody else carries; the server's side, and for benchmarks the
 * client's.
 *
 * A BIO of our own and not a memory BIO: that one loses where a datagram ends. DTLSv1_listen() is not used, since
 * Chromium's ClientHello comes in two datagrams; nobody gets here who has not passed an authenticated check. */
#include "webrtc/webrtc_int.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#define PROFILES  "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"
#define EXPORTER  "EXTRACTOR-dtls_srtp"
#define CERT_DAYS 365
#define MTU       1200

struct dtls_house {
    SSL_CTX *context;
    BIO_METHOD *datagrams;
    char fingerprint[sizeof "sha-256 " + 32 * 3];
};

struct dtls {
    SSL *ssl;
    void (*send)(void *ctx, struct bytes datagram);
    void *ctx;
    struct bytes in; /* the datagram that is being read; empty: there is none */
};

/* --- datagrams ---------------------------------------------------------------------------------------- */

static int bio_write(BIO *b, const char *at, int size)
{
    struct dtls *d = BIO_get_data(b);

    d->send(d->ctx, bytes_of(at, (size_t)size));
    return size;
}

static int bio_read(BIO *b, char *to, int room)
{
    struct dtls *d = BIO_get_data(b);
    struct bytes part = bytes_head(d->in, (size_t)room);

    BIO_clear_retry_flags(b);
    if (d->in.size == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    memcpy(to, part.at, part.size);
    d->in = bytes_of(NULL, 0); /* what does not fit is cut off, as of any datagram */
    return (int)part.size;
}

static long bio_ctrl(BIO *b, int what, long number, void *at)
{
    switch (what) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
        return MTU;
    default:
        return 0;
    }
}

/* --- our certificate ---------------------------------------------------------------------------------- */

static X509 *certificate_new(EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509_NAME *name = x ? X509_get_subject_name(x) : NULL;

    if (x != NULL && X509_set_version(x, 2) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(x), -86400) != NULL && /* a viewer's clock may be behind */
        X509_gmtime_adj(X509_getm_notAfter(x), CERT_DAYS * 86400L) != NULL &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"matinee", -1, -1, 0) == 1 &&
        X509_set_issuer_name(x, name) == 1 && X509_set_pubkey(x, key) == 1 &&
        X509_sign(x, key, EVP_sha256()) > 0)
        return x;
    X509_free(x);
    return NULL;
}

static bool print_fingerprint(struct dtls_house *h, const X509 *x)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    char *to = h->fingerprint;

    if (X509_digest(x, EVP_sha256(), digest, &size) != 1)
        return false;
    to += snprintf(to, sizeof "sha-256 ", "sha-256 ");
    for (unsigned i = 0; i < size; i++)
        to += snprintf(to, 4, "%s%02X", i ? ":" : "", digest[i]);
    return true;
}

/* Every certificate is taken: dtls_keys() compares it with the offer's fingerprint before a key is used. */
static int take_any(int good, X509_STORE_CTX *store)
{
    return 1;
}

static bool configure(SSL_CTX *c, X509 *certificate, EVP_PKEY *key)
{
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, take_any);
    SSL_CTX_set_options(c, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(c, 1);
    return SSL_CTX_set_min_proto_version(c, DTLS1_2_VERSION) == 1 &&
           SSL_CTX_use_certificate(c, certificate) == 1 && SSL_CTX_use_PrivateKey(c, key) == 1 &&
           SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES") == 1 &&
           SSL_CTX_set_tlsext_use_srtp(c, PROFILES) == 0; /* 0 is success here, and nowhere else */
}

static BIO_METHOD *datagrams_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagrams");

    if (m != NULL && BIO_meth_set_write(m, bio_write) == 1 && BIO_meth_set_read(m, bio_read) == 1 &&
        BIO_meth_set_ctrl(m, bio_ctrl) == 1)
        return m;
    BIO_meth_free(m);
    return NULL;
}

enum err dtls_house_new(struct dtls_house **out)
{
    struct dtls_house *h = mem_new(sizeof *h);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? certificate_new(key) : NULL;
    enum err e = ERR_IO;

    *out = NULL;
    h->context = SSL_CTX_new(DTLS_method());
    h->datagrams = datagrams_new();
    if (certificate != NULL && h->context != NULL && h->datagrams != NULL &&
        configure(h->context, certificate, key) && print_fingerprint(h, certificate))
        e = ERR_OK;
    X509_free(certificate);
    EVP_PKEY_free(key);
    if (e != ERR_OK)
        dtls_house_free(h);
    else
        *out = h;
    return e;
}

void dtls_house_free(struct dtls_house *h)
{
    if (h == NULL)
        return;
    SSL_CTX_free(h->context);
    BIO_meth_free(h->datagrams);
    free(h);
}

const char *dtls_fingerprint(const struct dtls_house *h)
{
    return h->fingerprint;
}

/* --- one handshake ------------------------------------------------------------------------------------ */

struct dtls *dtls_new(struct dtls_house *h, enum dtls_role role,
                      void (*send)(void *ctx, struct bytes datagram), void *ctx)
{
    struct dtls *d = mem_new(sizeof *d);
    BIO *b = BIO_new(h->datagrams);

    d->send = send;
    d->ctx = ctx;
    d->ssl = SSL_new(h->context);
    if (d->ssl == NULL || b == NULL)
        abort(); /* memory: base/mem.h says why this is the end */
    BIO_set_data(b, d);
    BIO_set_init(b, 1);
    SSL_set_bio(d->ssl, b, b);
    SSL_set_mtu(d->ssl, MTU);
    if (role == DTLS_SERVER)
        SSL_set_accept_state(d->ssl);
    else
        SSL_set_connect_state(d->ssl);
    return d;
}

void dtls_free(struct dtls *d)
{
    if (d == NULL)
        return;
    SSL_free(d->ssl);
    free(d);
}

static enum dtls_state state_after(const struct dtls *d, int result)
{
    int why = SSL_get_error(d->ssl, result);

    ERR_clear_error();
    if (result == 1 || SSL_is_init_finished(d->ssl))
        return why == SSL_ERROR_ZERO_RETURN || why == SSL_ERROR_SSL ? DTLS_FAILED : DTLS_DONE;
    return why == SSL_ERROR_WANT_READ ? DTLS_RUNNING : DTLS_FAILED;
}

enum dtls_state dtls_receive(struct dtls *d, struct bytes datagram)
{
    enum dtls_state state;
    uint8_t nothing[256]; /* application data, which nobody sends */

    ERR_clear_error();
    d->in = datagram;
    if (SSL_is_init_finished(d->ssl)) /* the peer's last flight again: ours is repeated */
        state = state_after(d, SSL_read(d->ssl, nothing, sizeof nothing) > 0 ? 1 : -1);
    else
        state = state_after(d, SSL_do_handshake(d->ssl));
    d->in = bytes_of(NULL, 0);
    return state;
}

int64_t dtls_wait_ms(const struct dtls *d)
{
    struct timeval left;

    if (DTLSv1_get_timeout(d->ssl, &left) != 1)
        return -1;
    return (int64_t)left.tv_sec * 1000 + (left.tv_usec + 999) / 1000;
}

enum dtls_state dtls_tick(struct dtls *d)
{
    ERR_clear_error();
    if (DTLSv1_handle_timeout(d->ssl) < 0)
        return DTLS_FAILED;
    return SSL_is_init_finished(d->ssl) ? DTLS_DONE : DTLS_RUNNING;
}

static bool is_the_offered(const struct dtls *d, const struct sdp_offer *o)
{
    static const char *const names[][2] = {
        {"sha-256", "SHA256"}, {"sha-384", "SHA384"}, {"sha-512", "SHA512"}};
    X509 *x = SSL_get1_peer_certificate(d->ssl);
    const EVP_MD *hash = NULL;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    bool same;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bytes_is_nocase(bytes_text(o->hash), names[i][0]))
            hash = EVP_get_digestbyname(names[i][1]);
    same = x != NULL && hash != NULL && X509_digest(x, hash, digest, &size) == 1 &&
           bytes_equal(bytes_of(digest, size), bytes_of(o->fingerprint, o->fingerprint_size));
    X509_free(x);
    return same;
}

enum err dtls_keys(struct dtls *d, const struct sdp_offer *o, struct srtp *out)
{
    const SRTP_PROTECTION_PROFILE *chosen = SSL_get_selected_srtp_profile(d->ssl);
    uint8_t material[SRTP_MATERIAL_MAX];
    enum srtp_profile profile;
    enum err e;

    memset(out, 0, sizeof *out);
    if (!is_the_offered(d, o))
        return ERR_DENIED;
    if (chosen == NULL)
        return ERR_UNSUPPORTED;
    profile = chosen->id == SRTP_AEAD_AES_128_GCM ? SRTP_GCM : SRTP_CM;
    if (SSL_export_keying_material(d->ssl, material, srtp_material_size(profile), EXPORTER, strlen(EXPORTER),
                                   NULL, 0, 0) != 1)
        return ERR_IO;
    e = srtp_begin(out, profile, bytes_of(material, srtp_material_size(profile)), SSL_is_server(d->ssl));
    OPENSSL_cleanse(material, sizeof material);
    return e;
}

void dtls_goodbye(struct dtls *d)
{
    ERR_clear_error();
    SSL_shutdown(d->ssl);
}

void farewell_of(struct farewell *out, const struct dtls *d)
{
    farewell_begin(out, d->ssl);
}
