/* api/ice_servers.c - STUN and TURN servers, as WHEP tells them: Link rel="ice-server" (RFC 9725 §4.6).
 *
 * Credentials are either fixed, or made for each viewer out of a secret that the TURN server has too (draft-uberti-behave-turn-rest):
 * the user's name says until when it is good, and the password is its HMAC. */
#include "api/api_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

struct ice_servers {
    char *list, *user, *password, *secret;
};

/* Whether it can stand between < and >, or between quotes, in a header. */
static bool is_plain(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~' || strchr("<>\"\\,;", *text) != NULL)
            return false;
    return true;
}

static bool is_turn(const char *uri)
{
    return strncmp(uri, "turn:", 5) == 0 || strncmp(uri, "turns:", 6) == 0;
}

static bool is_ice(const char *uri)
{
    return is_plain(uri) &&
           (is_turn(uri) || strncmp(uri, "stun:", 5) == 0 || strncmp(uri, "stuns:", 6) == 0) &&
           strchr(uri, ':')[1] != '\0';
}

static bool check_list(const struct ice_servers *s, char why[256])
{
    char *copy = mem_string(s->list), *rest = copy;
    bool good = true, any_turn = false;

    for (const char *uri; good && (uri = strsep(&rest, ",")) != NULL;) {
        good = is_ice(uri);
        any_turn |= is_turn(uri);
        if (!good)
            snprintf(
                why, 256,
                "--ice-server wants a list like turn:turn.example.net,stun:stun.example.net, not '%.60s'",
                uri);
    }
    if (good && any_turn && s->secret == NULL && (s->user == NULL || s->password == NULL)) {
        snprintf(why, 256, "a TURN server wants --turn-secret, or --turn-user and --turn-password");
        good = false;
    }
    if (good && s->secret == NULL && s->user != NULL && !(is_plain(s->user) && is_plain(s->password))) {
        snprintf(why, 256,
                 "--turn-user and --turn-password are of visible ASCII without quotes, < > \\ , and ;");
        good = false;
    }
    free(copy);
    return good;
}

static char *copy_of(const char *text)
{
    return text != NULL ? mem_string(text) : NULL;
}

enum err ice_servers_new(struct ice_servers **out, const struct ice_options *o, char why[256])
{
    struct ice_servers *s;

    *out = NULL;
    if (o->list == NULL)
        return ERR_OK;
    s = mem_new(sizeof *s);
    *s = (struct ice_servers){copy_of(o->list), copy_of(o->user), copy_of(o->password), copy_of(o->secret)};
    if (!check_list(s, why)) {
        ice_servers_free(s);
        return ERR_BAD;
    }
    *out = s;
    return ERR_OK;
}

void ice_servers_free(struct ice_servers *s)
{
    if (s == NULL)
        return;
    free(s->list);
    free(s->user);
    free(s->password);
    free(s->secret);
    free(s);
}

/* --- what a viewer is told -------------------------------------------------------------------------------- */

struct credentials {
    char user[64], password[64];
};

static void make_credentials(const struct ice_servers *s, struct credentials *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    int length = snprintf(out->user, sizeof out->user, "%lld:viewer",
                          (long long)(clock_wall_ms() / 1000) + TURN_CREDENTIAL_SECONDS);

    HMAC(EVP_sha1(), s->secret, (int)strlen(s->secret), (const uint8_t *)out->user, (size_t)length, digest,
         &size);
    EVP_EncodeBlock((uint8_t *)out->password, digest, (int)size); /* 20 bytes are 28 letters */
}

void ice_servers_tell(struct call *c)
{
    const struct ice_servers *s = c->api->options.ice_servers;
    struct credentials made = {"", ""};
    char *copy = s ? mem_string(s->list) : NULL, *rest = copy;
    struct builder link = {0};

    if (s == NULL)
        return;
    if (s->secret != NULL)
        make_credentials(s, &made);
    for (const char *uri; (uri = strsep(&rest, ",")) != NULL;) {
        builder_printf(&link, "%s<%s>; rel=\"ice-server\"", uri == copy ? "" : ", ", uri);
        if (is_turn(uri))
            builder_printf(&link, "; username=\"%s\"; credential=\"%s\"; credential-type=\"password\"",
                           s->secret ? made.user : s->user, s->secret ? made.password : s->password);
    }
    call_field(c, "Link", "%.*s", (int)builder_bytes(&link).size, (const char *)builder_bytes(&link).at);
    builder_drop(&link);
    free(copy);
}
