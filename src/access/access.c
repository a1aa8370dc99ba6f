/* access/access.c - see access.h. */
#include "access/access.h"

#include "base/mem.h"
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void access_key_new(char key[ACCESS_KEY_SIZE])
{
    static const char alphabet[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* 32, none mistaken for another */
    uint8_t random[ACCESS_KEY_SIZE - 1];

    random_fill(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        key[i] = alphabet[random[i] & 31];
    key[ACCESS_KEY_SIZE - 1] = '\0';
}

void access_key_hash(struct bytes key, uint8_t hash[ACCESS_HASH_SIZE])
{
    if (EVP_Digest(key.at, key.size, hash, NULL, EVP_sha256(), NULL) != 1)
        abort(); /* SHA-256 over memory fails only where OpenSSL itself is broken */
}

static enum err write_token(const char *path)
{
    char token[ACCESS_KEY_SIZE];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    enum err e = ERR_OK;

    if (fd < 0)
        return err_from_errno(errno);
    access_key_new(token);
    if (dprintf(fd, "%s\n", token) < 0 || fsync(fd) != 0)
        e = err_from_errno(errno);
    close(fd);
    if (e != ERR_OK)
        unlink(path);
    return e;
}

/* Whole under its name, or not there: another server may be about to read it. */
static enum err make_token(const char *path)
{
    char number[ACCESS_KEY_SIZE], *draft;
    enum err e;

    access_key_new(number);
    draft = mem_printf("%s.%s", path, number);
    if ((e = write_token(draft)) == ERR_OK) {
        if (link(draft, path) != 0 && errno != EEXIST)
            e = errno == EPERM || errno == ENOTSUP ? write_token(path) /* no links here */
                                                   : err_from_errno(errno);
        unlink(draft);
    }
    free(draft);
    return e;
}

static enum err read_token(const char *path, char token[ACCESS_KEY_SIZE])
{
    FILE *f = fopen(path, "re");
    enum err e = ERR_BAD;

    if (f == NULL)
        return err_from_errno(errno);
    if (fgets(token, ACCESS_KEY_SIZE, f) != NULL && strcspn(token, "\r\n") >= 16)
        e = ERR_OK;
    token[strcspn(token, "\r\n")] = '\0';
    fclose(f);
    return e;
}

enum err access_admin_token(const char *path, char token[ACCESS_KEY_SIZE], char why[256])
{
    enum err e = read_token(path, token);

    if (e == ERR_MISSING && (e = make_token(path)) == ERR_OK)
        e = read_token(path, token);
    if (e == ERR_BAD)
        snprintf(why, 256, "%.160s holds no token of 16 characters or more: delete it to have a new one made",
                 path);
    else if (e != ERR_OK)
        snprintf(why, 256, "the admin token in %.160s: %s", path, err_text(e));
    return e;
}

bool access_admin_ok(struct bytes authorization, const char *token)
{
    return authorization.size > 7 && bytes_is_nocase(bytes_head(authorization, 7), "Bearer ") &&
           bytes_equal_secret(bytes_from(authorization, 7), bytes_text(token));
}
