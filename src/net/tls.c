/* net/tls.c - certificates: loading them, and changing them under a running server.
 *
 * OpenSSL's context is immutable once it is in use; a reload makes a new one and swaps it, and connections
 * that began with the old one keep it until they end. */
#include "net/net_int.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ALPN_BYTES_MAX 64

/* A list of protocols as the handshake has them: each with its length before it. */
struct alpn {
    unsigned char size;
    unsigned char wire[ALPN_BYTES_MAX];
};

struct tls_server {
    char *cert_file, *key_file;
    struct alpn alpn; /* size 0: none is spoken */
    pthread_mutex_t lock;
    SSL_CTX *context;
};

/* --- ALPN -------------------------------------------------------------------------------------------- */

/* The list hangs on the context itself, which may outlive the tls_server. */
static int alpn_slot;
static pthread_once_t alpn_once = PTHREAD_ONCE_INIT;

static void alpn_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    free(ptr);
}

static void alpn_make_slot(void)
{
    alpn_slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, alpn_free);
}

static bool alpn_set(struct alpn *a, const char *list)
{
    for (const char *at = list; at != NULL && *at != '\0';) {
        size_t size = strcspn(at, ",");

        if (size == 0 || a->size + 1 + size > ALPN_BYTES_MAX)
            return false;
        a->wire[a->size] = (unsigned char)size;
        memcpy(a->wire + a->size + 1, at, size);
        a->size = (unsigned char)(a->size + 1 + size);
        at += size + (at[size] == ',');
    }
    return true;
}

static int alpn_choose(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *in,
                       unsigned in_size, void *arg)
{
    const struct alpn *a = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), alpn_slot);
    unsigned char *chosen;

    if (a == NULL ||
        SSL_select_next_proto(&chosen, out_size, a->wire, a->size, in, in_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK; /* nothing in common: HTTP/1.1 without its name */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* --- the context --------------------------------------------------------------------------------------- */

static void explain(char why[256], const char *what, const char *file)
{
    unsigned long code = ERR_peek_last_error();
    char reason[160] = "not a PEM file of the right kind";

    if (access(file, R_OK) != 0)
        snprintf(reason, sizeof reason, "%s", strerror(errno));
    else if (code != 0 && ERR_reason_error_string(code) != NULL)
        snprintf(reason, sizeof reason, "%s", ERR_reason_error_string(code));
    else if (code != 0)
        ERR_error_string_n(code, reason, sizeof reason);
    snprintf(why, 256, "the %s file %.60s cannot be used: %s", what, file, reason);
    ERR_clear_error();
}

static void settle(SSL_CTX *c, const struct alpn *alpn)
{
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    /* TLS 1.2 with forward secrecy and AEAD only: what RFC 9113 §9.2.2 leaves over for HTTP/2. */
    SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                               SSL_OP_PRIORITIZE_CHACHA | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF); /* tickets need no memory here */
    SSL_CTX_set_read_ahead(c, 1);
    if (alpn->size > 0) {
        struct alpn *own = mem_new(sizeof *own);

        *own = *alpn;
        SSL_CTX_set_ex_data(c, alpn_slot, own);
        SSL_CTX_set_alpn_select_cb(c, alpn_choose, NULL);
    }
}

static enum err load(SSL_CTX **out, const struct tls_server *t, char why[256])
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    enum err e = ERR_BAD;

    *out = NULL;
    why[0] = '\0';
    if (c == NULL) {
        snprintf(why, 256, "OpenSSL cannot make a TLS context");
        return ERR_IO;
    }
    ERR_clear_error();
    settle(c, &t->alpn);
    if (SSL_CTX_use_certificate_chain_file(c, t->cert_file) != 1) {
        explain(why, "certificate", t->cert_file);
        goto out;
    }
    if (SSL_CTX_use_PrivateKey_file(c, t->key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(c) != 1) {
        explain(why, "key", t->key_file);
        goto out;
    }
    *out = c;
    c = NULL;
    e = ERR_OK;
out:
    SSL_CTX_free(c);
    return e;
}

enum err tls_server_new(struct tls_server **out, const char *cert_file, const char *key_file,
                        const char *alpn, char why[256])
{
    struct tls_server *t = mem_new(sizeof *t);
    enum err e = ERR_BAD;

    *out = NULL;
    pthread_once(&alpn_once, alpn_make_slot);
    pthread_mutex_init(&t->lock, NULL);
    t->cert_file = mem_string(cert_file);
    t->key_file = mem_string(key_file);
    if (!alpn_set(&t->alpn, alpn))
        snprintf(why, 256, "'%.100s' is no list of protocols", alpn);
    else
        e = load(&t->context, t, why);
    if (e != ERR_OK) {
        tls_server_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

enum err tls_server_reload(struct tls_server *t, char why[256])
{
    SSL_CTX *fresh, *old;
    enum err e = load(&fresh, t, why);

    if (e != ERR_OK)
        return e;
    pthread_mutex_lock(&t->lock);
    old = t->context;
    t->context = fresh;
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(old);
    return ERR_OK;
}

struct ssl_ctx_st *tls_server_context(struct tls_server *t)
{
    pthread_mutex_lock(&t->lock);
    SSL_CTX *c = t->context;

    SSL_CTX_up_ref(c);
    pthread_mutex_unlock(&t->lock);
    return c;
}

void tls_server_free(struct tls_server *t)
{
    if (t == NULL)
        return;
    SSL_CTX_free(t->context);
    pthread_mutex_destroy(&t->lock);
    free(t->cert_file);
    free(t->key_file);
    free(t);
}
