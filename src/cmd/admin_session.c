/* cmd/admin_session.c - which server is meant, and the token that it wants. */
#include "cmd/admin_int.h"

#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define TOKEN_FILE "./data/admin.token"
/* Ours have 43 characters; a file that holds more is not the token's. */
#define TOKEN_BYTES_MAX 256

/* --- the address --------------------------------------------------------------------------------------- */

static bool is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
}

/* Whether libcurl reads it as http or https with a host, and nothing behind the path. */
static bool read_url(struct admin *a, CURLU *url)
{
    char *scheme = NULL, *host = NULL, *query = NULL, *fragment = NULL;
    bool good = curl_url_set(url, CURLUPART_URL, a->server, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_QUERY, &query, 0) != CURLUE_OK &&
                curl_url_get(url, CURLUPART_FRAGMENT, &fragment, 0) != CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);

    a->is_loopback = good && is_loopback(host);
    curl_free(scheme);
    curl_free(host);
    curl_free(query);
    curl_free(fragment);
    return good;
}

static enum err open_server(struct admin *a)
{
    const char *text = config_text(a->options, "server");
    size_t size = strlen(text);
    CURLU *url = curl_url();
    enum err e = ERR_OK;

    while (size > 0 && text[size - 1] == '/')
        size--;
    a->server = mem_text(text, size);
    if (url == NULL || !read_url(a, url)) {
        snprintf(a->why, sizeof a->why, "--server wants http://HOST:PORT or https://HOST:PORT, not '%.100s'",
                 text);
        e = ERR_BAD;
    }
    curl_url_cleanup(url);
    return e;
}

/* --- the token ----------------------------------------------------------------------------------------- */

/* The first line of the file. */
static enum err read_file(const char *name, char token[TOKEN_BYTES_MAX])
{
    FILE *file = fopen(name, "re");
    enum err e = ERR_OK;

    token[0] = '\0';
    if (file == NULL)
        return err_from_errno(errno);
    if (fgets(token, TOKEN_BYTES_MAX, file) == NULL && ferror(file))
        e = err_from_errno(errno);
    fclose(file);
    return e;
}

/* Whatever else stood in it could end the header field that it becomes. */
static bool is_token(const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return text[0] != '\0';
}

/* A file that was named outweighs MATINEE_TOKEN, and that the usual file, which need not be there. */
static enum err open_token(struct admin *a)
{
    char token[TOKEN_BYTES_MAX] = "";
    const char *named = config_text(a->options, "token-file"), *given = getenv("MATINEE_TOKEN");
    bool is_given = named == NULL && given != NULL && given[0] != '\0';
    enum err e = ERR_OK;

    if (is_given)
        snprintf(token, sizeof token, "%s", given);
    else
        e = read_file(named ? named : TOKEN_FILE, token);
    if (e == ERR_MISSING && named == NULL)
        return ERR_OK;
    if (e != ERR_OK) {
        snprintf(a->why, sizeof a->why, "the token's file %.200s cannot be read: %s",
                 named ? named : TOKEN_FILE, err_text(e));
        return ERR_IO;
    }
    token[strcspn(token, "\r\n")] = '\0';
    if (!is_token(token)) {
        snprintf(a->why, sizeof a->why, "there is no token in %.200s",
                 is_given ? "MATINEE_TOKEN"
                 : named  ? named
                          : TOKEN_FILE);
        return ERR_IO;
    }
    a->authorization = mem_printf("Authorization: Bearer %s", token);
    return ERR_OK;
}

/* --- both ---------------------------------------------------------------------------------------------- */

enum err admin_open(struct admin *a)
{
    enum err e;

    signal(SIGPIPE, SIG_IGN); /* a connection that breaks is an answer, over TLS too */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || (a->curl = curl_easy_init()) == NULL) {
        snprintf(a->why, sizeof a->why, "libcurl could not be started");
        return ERR_IO;
    }
    if ((e = open_server(a)) == ERR_OK)
        e = open_token(a);
    return e;
}

void admin_close(struct admin *a)
{
    curl_easy_cleanup(a->curl);
    curl_global_cleanup();
    free(a->server);
    free(a->authorization);
    a->curl = NULL;
    a->server = a->authorization = NULL;
}
