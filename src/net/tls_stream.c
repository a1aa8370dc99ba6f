/* net/tls_stream.c - TLS inside a stream: OpenSSL on the stream's own socket, driven by its events. */
#include "net/net_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#define RECORD_BYTES 16384

/* What OpenSSL says after a call that returned `result`, as -errno; 0 is the end. */
static ssize_t verdict(SSL *tls, int result)
{
    int saved = errno;

    switch (SSL_get_error(tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN; /* both directions are watched: any event has us try again */
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        return saved > 0 ? -saved : 0;
    default:
        return -EPROTO;
    }
}

void tls_accept_begin(struct stream *s, struct tls_server *t)
{
    SSL_CTX *c = tls_server_context(t);

    s->tls = SSL_new(c);
    SSL_CTX_free(c); /* the connection holds it now */
    if (s->tls == NULL || SSL_set_fd(s->tls, s->fd) != 1) {
        stream_end(s, ERR_IO);
        return;
    }
    SSL_set_accept_state(s->tls);
}

static SSL_CTX *client_context;
static pthread_once_t client_once = PTHREAD_ONCE_INIT;

static void make_client_context(void)
{
    client_context = SSL_CTX_new(TLS_client_method());
    if (client_context == NULL)
        return;
    SSL_CTX_set_min_proto_version(client_context, TLS1_2_VERSION);
    SSL_CTX_set_options(client_context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(client_context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                         SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_default_verify_paths(client_context);
    SSL_CTX_set_read_ahead(client_context, 1);
}

/* Has the handshake fail unless the certificate is for `name`, a host or an address. */
static bool check_name(SSL *tls, const char *name)
{
    struct in6_addr ignored;
    bool is_address = inet_pton(AF_INET, name, &ignored) == 1 || inet_pton(AF_INET6, name, &ignored) == 1;

    SSL_set_verify(tls, SSL_VERIFY_PEER, NULL);
    if (is_address)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), name) == 1;
    return SSL_set1_host(tls, name) == 1 && SSL_set_tlsext_host_name(tls, name) == 1;
}

enum err tls_connect_begin(struct stream *s, const char *name)
{
    pthread_once(&client_once, make_client_context);
    s->tls = client_context ? SSL_new(client_context) : NULL;
    if (s->tls == NULL || SSL_set_fd(s->tls, s->fd) != 1)
        return ERR_IO;
    if (name[0] != '\0' && !check_name(s->tls, name))
        return ERR_BAD;
    SSL_set_connect_state(s->tls);
    return ERR_OK;
}

enum err tls_handshake(struct stream *s)
{
    ERR_clear_error();
    int result = SSL_do_handshake(s->tls);

    if (result == 1)
        return ERR_OK;
    ssize_t said = verdict(s->tls, result);

    if (said == -EAGAIN)
        return ERR_BUSY;
    return said == -EPROTO ? ERR_DENIED : ERR_CLOSED;
}

ssize_t tls_receive(struct stream *s, uint8_t *at, size_t room, bool *more)
{
    size_t got = 0;
    ssize_t said = -EAGAIN;

    while (got < room) {
        ERR_clear_error();
        errno = 0;
        int size = SSL_read(s->tls, at + got, (int)(room - got));

        if (size <= 0) {
            said = verdict(s->tls, size);
            break;
        }
        got += (size_t)size;
    }
    if (got == 0)
        return said;
    *more = got == room || said != -EAGAIN; /* an end or an error is told when asked again */
    return (ssize_t)got;
}

/* The first RECORD_BYTES of the queue, in place where they lie in one piece. OpenSSL wants to be asked
 * again for the same bytes after it was refused: the head of the queue never changes, it only grows. */
static struct bytes queue_head(const struct stream *s, uint8_t gathered[RECORD_BYTES])
{
    const struct piece *p = &s->pieces[s->piece_first];
    size_t size = 0;

    if (p->size >= RECORD_BYTES || s->piece_count == 1)
        return bytes_head(bytes_of(p->buffer->data + p->from, p->size), RECORD_BYTES);
    for (unsigned i = 0; i < s->piece_count && size < RECORD_BYTES; i++) {
        size_t part = p[i].size < RECORD_BYTES - size ? p[i].size : RECORD_BYTES - size;

        memcpy(gathered + size, p[i].buffer->data + p[i].from, part);
        size += part;
    }
    return bytes_of(gathered, size);
}

ssize_t tls_send(struct stream *s)
{
    uint8_t gathered[RECORD_BYTES];
    struct bytes head = queue_head(s, gathered);

    ERR_clear_error();
    errno = 0;
    int sent = SSL_write(s->tls, head.at, (int)head.size);

    if (sent > 0)
        return sent;
    ssize_t said = verdict(s->tls, sent);

    return said == 0 ? -EPIPE : said;
}

void tls_end(struct stream *s)
{
    if (s->tls == NULL || s->tls_sent_end)
        return;
    s->tls_sent_end = true;
    ERR_clear_error();
    SSL_shutdown(s->tls); /* one small record; if the kernel has no room for it, the FIN says it too */
}

void tls_free(struct stream *s)
{
    SSL_free(s->tls);
    s->tls = NULL;
}

const char *stream_alpn(const struct stream *s)
{
    const unsigned char *name = NULL;
    unsigned size = 0;

    if (s->tls != NULL)
        SSL_get0_alpn_selected(s->tls, &name, &size);
    return size == 2 && memcmp(name, "h2", 2) == 0 ? "h2" : "";
}
