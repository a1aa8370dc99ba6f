/* store/hdfs_url.c - the address of a folder of HDFS, taken apart: hdfs://HOST:PORT[,HOST:PORT…]/PREFIX?user=…, and who we are there. */
#include "store/hdfs_int.h"

#include "base/mem.h"

#include <openssl/crypto.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LETTERS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS   "0123456789"
#define PORT     "9870"
#define PORT_TLS "9871"

static bool consists_of(const char *text, const char *letters, size_t size_max)
{
    size_t size = strspn(text, letters);

    return size > 0 && size <= size_max && text[size] == '\0';
}

/* HOST[:PORT], or [ADDRESS][:PORT] in IPv6. NULL: it is none. */
static char *host_of(struct bytes text, bool secure)
{
    char *host = mem_text(text.size > 0 ? text.at : (const uint8_t *)"", text.size);
    char *bracket = strrchr(host, ']'), *colon = strchr(bracket ? bracket : host, ':');
    bool good = consists_of(host, LETTERS DIGITS ".-_:[]", 255) && (host[0] == '[') == (bracket != NULL) &&
                colon != host;
    uint64_t port;

    if (good && colon != NULL)
        good = bytes_to_u64(bytes_text(colon + 1), 65535, &port) && port > 0;
    if (good && colon == NULL) {
        char *longer = mem_printf("%s:%s", host, secure ? PORT_TLS : PORT);

        free(host);
        host = longer;
    }
    if (good)
        return host;
    free(host);
    return NULL;
}

static bool parse_hosts(struct hdfs_place *p, struct bytes text)
{
    for (bool more = true; more;) {
        long comma = bytes_find(text, ',');
        struct bytes one = comma >= 0 ? bytes_head(text, (size_t)comma) : text;
        char *host = p->host_count < HDFS_HOSTS_MAX ? host_of(one, p->secure) : NULL;

        if (host == NULL)
            return false;
        p->hosts[p->host_count++] = host;
        more = comma >= 0;
        text = more ? bytes_from(text, (size_t)comma + 1) : text;
    }
    return true;
}

/* As Hadoop's own clients do it: what is said, the environment, and who runs this. */
static char *user_of_process(void)
{
    const char *user = getenv("HADOOP_USER_NAME");
    struct passwd entry, *found = NULL;
    char room[4096];

    if (user == NULL && getpwuid_r(geteuid(), &entry, room, sizeof room, &found) == 0 && found != NULL)
        user = found->pw_name;
    return mem_string(user != NULL ? user : "");
}

static bool settle(struct hdfs_place *p, char why[256])
{
    uint64_t copies;

    if (p->user == NULL && p->token_file == NULL)
        p->user = user_of_process();
    if (p->user != NULL && p->token_file != NULL)
        snprintf(why, 256, "--storage hdfs://…: user or token, not both: the token says who we are");
    else if (p->user != NULL && !consists_of(p->user, LETTERS DIGITS "._-", HDFS_USER_SIZE - 1))
        snprintf(why, 256, "--storage hdfs://…: '%.60s' is no user of HDFS; say user=NAME", p->user);
    else if (p->replication != NULL &&
             (!bytes_to_u64(bytes_text(p->replication), HDFS_REPLICATION_MAX, &copies) || copies == 0))
        snprintf(why, 256, "--storage hdfs://…: replication is a number up to %d, not '%.40s'",
                 HDFS_REPLICATION_MAX, p->replication);
    else
        return true;
    return false;
}

enum err hdfs_place_parse(struct hdfs_place *out, const char *url, char why[256])
{
    const struct remote_option options[] = {{"user", &out->user},
                                            {"token", &out->token_file},
                                            {"replication", &out->replication},
                                            {"ca", &out->authority_file},
                                            {NULL, NULL}};
    struct bytes rest = bytes_text(strstr(url, "://") + 3), text, prefix, wrong;

    *out = (struct hdfs_place){.secure = url[0] == 's'};
    rest = remote_url_split(rest, &prefix, &text);
    out->prefix = mem_text(prefix.size > 0 ? prefix.at : (const uint8_t *)"", prefix.size);
    if (!parse_hosts(out, rest) || (prefix.size > 0 && !store_name_is_good(out->prefix))) {
        snprintf(
            why, 256,
            "--storage %.100s: hdfs://HOST:PORT/PREFIX, the port of the NameNode's or HttpFS' HTTP, the prefix of "
            "A-Z, a-z, 0-9, '.', '_', '-' and '/'",
            url);
        return ERR_BAD;
    }
    if (!remote_options_read(text, options, &wrong)) {
        snprintf(why, 256,
                 "--storage hdfs://…?%.*s: of user, token, replication and ca each once, with a value",
                 (int)(wrong.size < 60 ? wrong.size : 60), (const char *)wrong.at);
        return ERR_BAD;
    }
    return settle(out, why) ? ERR_OK : ERR_BAD;
}

void hdfs_place_drop(struct hdfs_place *p)
{
    char **texts[] = {&p->prefix, &p->user, &p->token_file, &p->replication, &p->authority_file};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
    while (p->host_count > 0)
        free(p->hosts[--p->host_count]);
}

enum err hdfs_token_read(char out[HDFS_TOKEN_SIZE], const char *file, char why[256])
{
    char line[HDFS_TOKEN_SIZE + 2] = "";
    FILE *f = fopen(file, "re");
    bool good = f != NULL && fgets(line, sizeof line, f) != NULL;

    if (f != NULL)
        fclose(f);
    line[strcspn(line, "\r\n")] = '\0';
    good = good && consists_of(line, LETTERS DIGITS "-_", HDFS_TOKEN_SIZE - 1);
    if (good)
        memcpy(out, line, HDFS_TOKEN_SIZE);
    else
        snprintf(why, 256, "--storage hdfs://…: the file %.120s holds no delegation token, in one line",
                 file);
    OPENSSL_cleanse(line, sizeof line);
    return good ? ERR_OK : ERR_DENIED;
}
