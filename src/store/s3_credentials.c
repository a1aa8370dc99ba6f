/* store/s3_credentials.c - who we are to S3: keys from a file or the environment. Temporary ones end; whoever renews them writes the
 * file anew, and it is read again when S3 refuses what we have. */
#include "store/s3_int.h"

#include "base/mem.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Texts go into headers: no blanks or control characters, and no more than there is room for. */
static bool take(char *to, size_t room, const char *value)
{
    size_t size = strlen(value);

    if (size >= room)
        return false;
    for (size_t i = 0; i < size; i++)
        if (value[i] <= ' ' || value[i] == 0x7f)
            return false;
    memcpy(to, value, size + 1);
    return true;
}

static bool take_named(struct s3_credentials *out, const char *name, const char *value)
{
    if (strcmp(name, "aws_access_key_id") == 0)
        return take(out->key, sizeof out->key, value);
    if (strcmp(name, "aws_secret_access_key") == 0)
        return take(out->secret, sizeof out->secret, value);
    if (strcmp(name, "aws_session_token") == 0)
        return take(out->token, sizeof out->token, value);
    return true;
}

/* One "name = value"; others are passed over. */
static bool take_line(struct s3_credentials *out, char *line)
{
    char *name = line + strspn(line, " \t"), *equals = strchr(line, '=');

    if (equals == NULL || name[0] == '#' || name[0] == ';')
        return true;

    char *value = equals + 1 + strspn(equals + 1, " \t");

    *equals = '\0';
    name[strcspn(name, " \t")] = '\0';
    value[strcspn(value, " \t\r\n")] = '\0';
    return take_named(out, name, value);
}

/* AWS's own file: INI with a section a profile. Not by inih, whose lines end at 200 characters; a session token has a thousand. */
static enum err read_file(struct s3_credentials *out, const char *path, const char *profile, char why[256])
{
    FILE *file = fopen(path, "re");
    char line[S3_TOKEN_SIZE + 64];
    bool ours = false, good = true;

    if (file == NULL) {
        snprintf(why, 256, "the credentials file %.120s cannot be read", path);
        return ERR_DENIED;
    }
    while (good && fgets(line, sizeof line, file) != NULL) {
        char *end = line[0] == '[' ? strchr(line, ']') : NULL;

        if (end != NULL)
            ours = strlen(profile) == (size_t)(end - line - 1) &&
                   strncmp(line + 1, profile, strlen(profile)) == 0;
        else if (ours)
            good = take_line(out, line);
    }
    fclose(file);
    OPENSSL_cleanse(line, sizeof line);
    if (good && out->key[0] != '\0' && out->secret[0] != '\0')
        return ERR_OK;
    snprintf(why, 256,
             "the credentials file %.100s has no good aws_access_key_id and aws_secret_access_key in [%.40s]",
             path, profile);
    return ERR_DENIED;
}

static enum err read_environment(struct s3_credentials *out, const char *key, const char *secret,
                                 char why[256])
{
    const char *token = getenv("AWS_SESSION_TOKEN");

    if (take(out->key, sizeof out->key, key) && take(out->secret, sizeof out->secret, secret) &&
        take(out->token, sizeof out->token, token ? token : ""))
        return ERR_OK;
    snprintf(why, 256,
             "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN in the environment is malformed");
    return ERR_DENIED;
}

enum err s3_credentials_read(struct s3_credentials *out, const char *file, const char *profile, char why[256])
{
    const char *key = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY"),
               *home = getenv("HOME");
    char *usual = NULL;
    enum err e;

    *out = (struct s3_credentials){0};
    if (file == NULL && key != NULL && secret != NULL && key[0] != '\0' && secret[0] != '\0')
        return read_environment(out, key, secret, why);
    if (profile == NULL && (profile = getenv("AWS_PROFILE")) == NULL)
        profile = "default";
    if (file == NULL && (file = getenv("AWS_SHARED_CREDENTIALS_FILE")) == NULL && home != NULL)
        file = usual = mem_printf("%s/.aws/credentials", home);
    if (file != NULL && (usual == NULL || access(usual, F_OK) == 0)) {
        e = read_file(out, file, profile, why);
    } else {
        snprintf(
            why, 256,
            "S3 wants AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or …&credentials=FILE");
        e = ERR_DENIED;
    }
    free(usual);
    return e;
}
