/* webrtc/farewell.c - a viewer says that it is over, long after its handshake was forgotten.
 *
 * A page that is closed sends close_notify, an encrypted record; whoever believes an unencrypted one can be told by anybody that any
 * viewer has left. What is needed to read it are 44 bytes of keys, so these are kept when the SSL object is let go. Replays need no
 * window: the first one that is true ends the session. */
#include "webrtc/webrtc_int.h"

#include "base/bytes.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

enum { KIND_NONE, KIND_AES_128, KIND_AES_256, KIND_CHACHA };
enum { RECORD_ALERT = 21, ALERT_FATAL = 2, ALERT_CLOSE = 0 };

#define HEAD_SIZE    13 /* of a DTLS 1.2 record */
#define TAG_SIZE     16
#define AES_IV_SIZE  4 /* the rest of the nonce stands in the record */
#define IV_SIZE      12
#define NUMBER_SIZE  8 /* epoch and sequence number */
#define ALERT_SIZE   2
#define KEY_SIZE_MAX 32

static size_t key_size(int kind)
{
    return kind == KIND_AES_128 ? 16 : KEY_SIZE_MAX;
}

static size_t iv_size(int kind)
{
    return kind == KIND_CHACHA ? IV_SIZE : AES_IV_SIZE;
}

/* --- keys (RFC 5246 §6.3) ----------------------------------------------------------------------------- */

static int kind_of(const SSL_CIPHER *c)
{
    switch (c ? SSL_CIPHER_get_cipher_nid(c) : NID_undef) {
    case NID_aes_128_gcm:
        return KIND_AES_128;
    case NID_aes_256_gcm:
        return KIND_AES_256;
    case NID_chacha20_poly1305:
        return KIND_CHACHA;
    default:
        return KIND_NONE;
    }
}

/* The client's key, the server's, then their IVs; AEAD ciphers have no MAC keys. */
static bool expand(const SSL *ssl, uint8_t *block, size_t size)
{
    static char label[] = "key expansion";
    uint8_t master[SSL_MAX_MASTER_KEY_LENGTH], seed[2 * SSL3_RANDOM_SIZE];
    const EVP_MD *hash = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
    size_t master_size = SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof master);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool good = context != NULL && hash != NULL && master_size > 0 &&
                SSL_get_server_random(ssl, seed, SSL3_RANDOM_SIZE) == SSL3_RANDOM_SIZE &&
                SSL_get_client_random(ssl, seed + SSL3_RANDOM_SIZE, SSL3_RANDOM_SIZE) == SSL3_RANDOM_SIZE;

    if (good) {
        char *name = (char *)(uintptr_t)EVP_MD_get0_name(hash);
        const OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, name, 0),
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, master_size),
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, label, sizeof label - 1),
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof seed),
            OSSL_PARAM_construct_end()};

        good = EVP_KDF_derive(context, block, size, params) == 1;
    }
    OPENSSL_cleanse(master, sizeof master);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return good;
}

void farewell_begin(struct farewell *out, const SSL *ssl)
{
    uint8_t block[2 * (KEY_SIZE_MAX + IV_SIZE)];
    int kind = kind_of(SSL_get_current_cipher(ssl));

    memset(out, 0, sizeof *out);
    if (kind == KIND_NONE || !expand(ssl, block, 2 * (key_size(kind) + iv_size(kind))))
        return;
    out->kind = (uint8_t)kind;
    memcpy(out->key, block, key_size(kind));
    memcpy(out->iv, block + 2 * key_size(kind), iv_size(kind));
    OPENSSL_cleanse(block, sizeof block);
}

/* --- records ------------------------------------------------------------------------------------------- */

/* Decrypts the two bytes of an alert. False: not authentic. */
static bool open_alert(const struct farewell *f, const uint8_t *head, struct bytes sealed,
                       uint8_t plain[ALERT_SIZE])
{
    const EVP_CIPHER *cipher = f->kind == KIND_AES_128   ? EVP_aes_128_gcm()
                               : f->kind == KIND_AES_256 ? EVP_aes_256_gcm()
                                                         : EVP_chacha20_poly1305();
    size_t explicit_size = f->kind == KIND_CHACHA ? 0 : NUMBER_SIZE;
    uint8_t nonce[IV_SIZE], known[HEAD_SIZE], tag[TAG_SIZE];
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int size = 0;
    bool good;

    memcpy(nonce, f->iv, IV_SIZE);
    if (explicit_size > 0)
        memcpy(nonce + AES_IV_SIZE, sealed.at, NUMBER_SIZE);
    else
        for (size_t i = 0; i < NUMBER_SIZE; i++)
            nonce[IV_SIZE - NUMBER_SIZE + i] ^= head[3 + i];
    memcpy(known, head + 3, NUMBER_SIZE);
    memcpy(known + NUMBER_SIZE, head, 3);
    put_be16(known + NUMBER_SIZE + 3, ALERT_SIZE);
    memcpy(tag, sealed.at + explicit_size + ALERT_SIZE, TAG_SIZE);
    good = c != NULL && EVP_DecryptInit_ex(c, cipher, NULL, f->key, nonce) == 1 &&
           EVP_DecryptUpdate(c, NULL, &size, known, sizeof known) == 1 &&
           EVP_DecryptUpdate(c, plain, &size, sealed.at + explicit_size, ALERT_SIZE) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
           EVP_DecryptFinal_ex(c, plain + size, &size) == 1;
    EVP_CIPHER_CTX_free(c);
    return good;
}

bool farewell_is(const struct farewell *f, struct bytes datagram)
{
    struct cursor c = cursor_of(datagram);
    size_t wanted = ALERT_SIZE + TAG_SIZE + (f->kind == KIND_CHACHA ? 0 : NUMBER_SIZE);

    while (f->kind != KIND_NONE && c.left.size > 0) {
        struct bytes head = cursor_take(&c, HEAD_SIZE), body;
        uint8_t alert[ALERT_SIZE];

        if (c.short_of)
            return false;
        body = cursor_take(&c, (size_t)(head.at[11] << 8 | head.at[12]));
        if (c.short_of)
            return false;
        if (head.at[0] == RECORD_ALERT && body.size == wanted && open_alert(f, head.at, body, alert) &&
            (alert[0] == ALERT_FATAL || alert[1] == ALERT_CLOSE))
            return true;
    }
    return false;
}
