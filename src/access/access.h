/* access/access.h - stream keys and the admin token: how they are made, kept and compared.
 *
 * A stream key is shown once and kept only as its SHA-256; the admin token lies in a file that its owner
 * alone may read. Both carry 160 random bits, so a plain hash is enough: there is nothing to guess. */
#ifndef MATINEE_ACCESS_ACCESS_H
#define MATINEE_ACCESS_ACCESS_H

#include "base/bytes.h"
#include "base/err.h"

#define ACCESS_KEY_SIZE  33 /* 32 letters and digits, and a NUL */
#define ACCESS_HASH_SIZE 32

/* Writes a new key or token. */
void access_key_new(char key[ACCESS_KEY_SIZE]);

void access_key_hash(struct bytes key, uint8_t hash[ACCESS_HASH_SIZE]);

/* Reads DATA/admin.token, or makes it (mode 0600). Blocks. On failure `why` says what to do. */
must_check enum err access_admin_token(const char *data_dir, char token[ACCESS_KEY_SIZE], char why[256]);

/* Whether an Authorization field's value is "Bearer TOKEN", compared in constant time. */
bool access_admin_ok(struct bytes authorization, const char *token);

#endif
