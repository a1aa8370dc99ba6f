/* db/mariadb_url.c - the address of a MariaDB, taken apart. */
#include "db/mariadb_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define PORT_USUAL 3306

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %41 is A, as in any URL: passwords may hold what would end them. NULL where it is malformed, or holds a NUL. */
static char *decoded(struct bytes text)
{
    char *out = mem_new(text.size + 1);
    size_t size = 0;

    for (size_t i = 0; i < text.size; i++) {
        int high = 0, low = 0, c = text.at[i];

        if (c == '%') {
            high = i + 2 < text.size ? hex_digit(text.at[i + 1]) : -1;
            low = i + 2 < text.size ? hex_digit(text.at[i + 2]) : -1;
            c = high * 16 + low;
            i += 2;
        }
        if (high < 0 || low < 0 || c == 0) {
            free(out);
            return NULL;
        }
        out[size++] = (char)c;
    }
    return out;
}

/* [user[:password]@], the last @ being the end of it. */
static bool parse_user(struct mariadb_server *s, struct bytes user)
{
    long colon = bytes_find(user, ':');

    s->user = decoded(colon >= 0 ? bytes_head(user, (size_t)colon) : user);
    s->password = decoded(colon >= 0 ? bytes_from(user, (size_t)colon + 1) : bytes_of(NULL, 0));
    return s->user != NULL && s->password != NULL;
}

/* host, host:port, [::1] or [::1]:port. */
static bool parse_host(struct mariadb_server *s, struct bytes host)
{
    bool bracket = host.size > 0 && host.at[0] == '[';
    struct bytes name = bracket ? bytes_from(host, 1) : host, rest;
    long end = bytes_find(name, bracket ? ']' : ':');
    uint64_t port = PORT_USUAL;

    if (bracket && end < 0)
        return false;
    rest = end >= 0 ? bytes_from(name, (size_t)end + bracket) : bytes_of(NULL, 0);
    s->host = decoded(end >= 0 ? bytes_head(name, (size_t)end) : name);
    if (rest.size > 0 &&
        (rest.at[0] != ':' || !bytes_to_u64(bytes_from(rest, 1), UINT16_MAX, &port) || port == 0))
        return false;
    s->port = (unsigned)port;
    return s->host != NULL;
}

/* name=value, joined by &. */
static bool parse_options(struct mariadb_server *s, struct bytes options)
{
    while (options.size > 0) {
        long end = bytes_find(options, '&'), equals;
        struct bytes one = end >= 0 ? bytes_head(options, (size_t)end) : options, name, value;
        char **text = NULL;

        options = end >= 0 ? bytes_from(options, (size_t)end + 1) : bytes_of(NULL, 0);
        if ((equals = bytes_find(one, '=')) < 0)
            return false;
        name = bytes_head(one, (size_t)equals);
        value = bytes_from(one, (size_t)equals + 1);
        if (bytes_is(name, "socket"))
            text = &s->socket;
        else if (bytes_is(name, "ssl_ca"))
            text = &s->ssl_ca;
        else if (bytes_is(name, "ssl") && bytes_is(value, "1"))
            s->ssl = true;
        else
            return false;
        if (text != NULL && (*text != NULL || value.size == 0 || (*text = decoded(value)) == NULL))
            return false;
    }
    s->ssl |= s->ssl_ca != NULL;
    return true;
}

static bool parse(struct mariadb_server *s, struct bytes url)
{
    long question = bytes_find(url, '?'), at = -1, slash;
    struct bytes left = question >= 0 ? bytes_head(url, (size_t)question) : url;

    if (question >= 0 && !parse_options(s, bytes_from(url, (size_t)question + 1)))
        return false;
    for (long i = 0; i < (long)left.size; i++)
        if (left.at[i] == '@')
            at = i;
    if (!parse_user(s, bytes_head(left, at >= 0 ? (size_t)at : 0)))
        return false;
    left = bytes_from(left, (size_t)(at + 1));
    if ((slash = bytes_find(left, '/')) < 0 || !parse_host(s, bytes_head(left, (size_t)slash)))
        return false;
    s->name = decoded(bytes_from(left, (size_t)slash + 1));
    return s->name != NULL && s->name[0] != '\0' && (s->host[0] != '\0' || s->socket != NULL);
}

bool mariadb_server_parse(struct mariadb_server *out, const char *url, char why[256])
{
    *out = (struct mariadb_server){.port = 0};
    pthread_mutex_init(&out->lock, NULL);
    if (parse(out, bytes_from(bytes_text(url), strlen("mysql://"))))
        return true;
    snprintf(
        why, 256,
        "--database mysql://…: it wants mysql://USER:PASSWORD@HOST:PORT/DATABASE, then ?socket=FILE, ?ssl=1 or ?ssl_ca=FILE;"
        " write %% @ : / ? within names as %%25 %%40 %%3A %%2F %%3F");
    return false;
}

void mariadb_server_free(struct mariadb_server *s)
{
    pthread_mutex_destroy(&s->lock);
    free(s->host);
    free(s->user);
    free(s->password);
    free(s->name);
    free(s->socket);
    free(s->ssl_ca);
}
