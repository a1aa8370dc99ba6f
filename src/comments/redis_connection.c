/* comments/redis_connection.c - connections to Redis or Valkey, over hiredis.
 *
 * Whatever is answered must survive a power loss. So a server counts only if it writes every change to its append-only file and
 * syncs that before it answers, never skips that, and never throws anything away to make room. Each new connection looks: what
 * stood when we started may have been changed since. */
#include "comments/redis_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define PORT_STANDARD 6379
/* A connection that broke while it rested is noticed by its next command: that is tried on others, at most so many. */
#define CONNECTIONS_KEPT 16

struct connection {
    struct connection *next;
    redisContext *redis;
};

struct redis_server {
    char *host, *user, *password;
    int port;
    long number; /* of the database */
    pthread_mutex_t lock;
    struct connection *free;
    size_t free_count;
    int64_t said_ms; /* when it was last said that it is away */
};

/* --- words ------------------------------------------------------------------------------------------- */

void redis_word(struct redis_words *w, struct bytes b)
{
    if (w->count == w->room) {
        w->room = w->room > 0 ? w->room * 2 : 64;
        w->at = mem_resize(w->at, w->room * sizeof *w->at);
        w->sizes = mem_resize(w->sizes, w->room * sizeof *w->sizes);
    }
    w->at[w->count] = b.size > 0 ? (const char *)b.at : "";
    w->sizes[w->count++] = b.size;
}

void redis_words_free(struct redis_words *w)
{
    free(w->at);
    free(w->sizes);
    *w = (struct redis_words){.count = 0};
}

/* --- the address ------------------------------------------------------------------------------------- */

/* Takes %40 for @, as a URL has to write it. */
static char *unescaped(struct bytes text)
{
    char *out = mem_new(text.size + 1);
    size_t size = 0;

    for (size_t i = 0; i < text.size; i++) {
        char hex[3] = {0}, *end;

        if (text.at[i] == '%' && i + 2 < text.size) {
            memcpy(hex, text.at + i + 1, 2);
            out[size] = (char)strtol(hex, &end, 16);
            if (*end == '\0') {
                size++;
                i += 2;
                continue;
            }
        }
        out[size++] = (char)text.at[i];
    }
    out[size] = '\0';
    return out;
}

static void take_login(struct redis_server *s, struct bytes login)
{
    long colon = bytes_find(login, ':');

    if (colon < 0) {
        s->password = unescaped(login);
        return;
    }
    if (colon > 0)
        s->user = unescaped(bytes_head(login, (size_t)colon));
    s->password = unescaped(bytes_from(login, (size_t)colon + 1));
}

/* host[:port][/number], the host in brackets if it has colons. */
static bool take_place(struct redis_server *s, struct bytes place)
{
    long slash = bytes_find(place, '/'), colon;
    uint64_t number = 0, port = PORT_STANDARD;
    struct bytes host;

    if (slash >= 0 && place.size > (size_t)slash + 1 &&
        !bytes_to_u64(bytes_from(place, (size_t)slash + 1), 1000, &number))
        return false;
    place = slash >= 0 ? bytes_head(place, (size_t)slash) : place;
    if (bytes_starts(place, "[")) {
        long end = bytes_find(place, ']');

        if (end < 0)
            return false;
        host = bytes_of(place.at + 1, (size_t)end - 1);
        place = bytes_from(place, (size_t)end + 1);
        colon = bytes_find(place, ':');
    } else {
        colon = bytes_find(place, ':');
        host = colon >= 0 ? bytes_head(place, (size_t)colon) : place;
    }
    if (colon >= 0 && !bytes_to_u64(bytes_from(place, (size_t)colon + 1), 65535, &port))
        return false;
    s->host = mem_text(host.at, host.size);
    s->port = (int)port;
    s->number = (long)number;
    return host.size > 0;
}

static bool parse(struct redis_server *s, const char *url)
{
    struct bytes rest = bytes_text(url);
    const char *at;

    if (!bytes_starts(rest, "redis://"))
        return false;
    rest = bytes_from(rest, strlen("redis://"));
    if ((at = strrchr(url, '@')) != NULL) {
        size_t login = (size_t)(at - (const char *)rest.at);

        take_login(s, bytes_head(rest, login));
        rest = bytes_from(rest, login + 1);
    }
    return take_place(s, rest);
}

/* --- one connection ------------------------------------------------------------------------------------ */

static void connection_close(struct connection *c)
{
    if (c == NULL)
        return;
    if (c->redis != NULL)
        redisFree(c->redis);
    free(c);
}

/* What a refusal of the server means. */
static enum err refusal(const redisReply *r)
{
    if (strncmp(r->str, "OOM", 3) == 0 || strncmp(r->str, "MISCONF", 7) == 0)
        return ERR_FULL;
    if (strncmp(r->str, "NOSCRIPT", 8) == 0)
        return ERR_MISSING;
    if (strncmp(r->str, "NOAUTH", 6) == 0 || strncmp(r->str, "WRONGPASS", 9) == 0 ||
        strncmp(r->str, "NOPERM", 6) == 0)
        return ERR_DENIED;
    return ERR_IO; /* LOADING, READONLY, CLUSTERDOWN …: it may be over soon */
}

/* One command; what the server refuses is an error too, and logged unless it is an ordinary part of things. */
static enum err exchange(struct connection *c, const struct redis_words *w, redisReply **out)
{
    redisReply *r = redisCommandArgv(c->redis, (int)w->count, w->at, w->sizes);
    enum err e;

    *out = NULL;
    if (r == NULL)
        return ERR_IO;
    if (r->type != REDIS_REPLY_ERROR) {
        *out = r;
        return ERR_OK;
    }
    if ((e = refusal(r)) != ERR_MISSING)
        log_warn("comments", "redis refuses: %.120s", r->str);
    freeReplyObject(r);
    return e;
}

static enum err ask(struct connection *c, redisReply **out, const char *a, const char *b, const char *d)
{
    struct redis_words w = {.count = 0};
    enum err e;

    redis_word(&w, bytes_text(a));
    redis_word(&w, bytes_text(b));
    if (d != NULL)
        redis_word(&w, bytes_text(d));
    e = exchange(c, &w, out);
    redis_words_free(&w);
    return e;
}

static enum err log_in(struct connection *c, const struct redis_server *s)
{
    redisReply *r = NULL;
    char number[24];
    enum err e = ERR_OK;

    if (s->password != NULL && s->user != NULL)
        e = ask(c, &r, "AUTH", s->user, s->password);
    else if (s->password != NULL)
        e = ask(c, &r, "AUTH", s->password, NULL);
    freeReplyObject(r);
    r = NULL;
    if (e == ERR_OK && s->number > 0) {
        snprintf(number, sizeof number, "%ld", s->number);
        e = ask(c, &r, "SELECT", number, NULL);
        freeReplyObject(r);
    }
    return e;
}

/* The server's setting `name`. */
static enum err setting(struct connection *c, const char *name, char value[32])
{
    redisReply *r = NULL;
    enum err e = ask(c, &r, "CONFIG", "GET", name);

    value[0] = '\0';
    if (e == ERR_OK && r->type == REDIS_REPLY_ARRAY && r->elements == 2)
        snprintf(value, 32, "%s", r->element[1]->str);
    freeReplyObject(r);
    return e;
}

/* ERR_UNSUPPORTED: it would lose comments, and `why` says what to change. */
static enum err check_settings(struct connection *c, char why[256])
{
    static const struct {
        const char *name, *wanted, *means;
    } wants[] = {
        {"appendonly", "yes", "what it answers for is not on disk"},
        {"appendfsync", "always", "a power loss takes what it has answered for"},
        {"no-appendfsync-on-rewrite", "no", "it stops syncing now and then"},
        {"maxmemory-policy", "noeviction", "it throws comments away when memory is short"},
    };
    char value[32];
    enum err e;

    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        if ((e = setting(c, wants[i].name, value)) != ERR_OK) {
            snprintf(
                why, 256,
                "--comments: this Redis does not say whether it is durable (CONFIG GET %s); allow it to our user",
                wants[i].name);
            return e == ERR_IO && c->redis->err != 0 ? ERR_IO : ERR_UNSUPPORTED;
        }
        if (strcmp(value, wants[i].wanted) == 0)
            continue;
        snprintf(
            why, 256,
            "--comments: this Redis has %s %s, so %s; run 'redis-cli CONFIG SET %s %s' and 'redis-cli CONFIG REWRITE'",
            wants[i].name, value[0] ? value : "unset", wants[i].means, wants[i].name, wants[i].wanted);
        return ERR_UNSUPPORTED;
    }
    return ERR_OK;
}

static enum err connection_open(struct redis_server *s, struct connection **out, char why[256])
{
    struct timeval connect = {DB_CONNECT_SECONDS_MAX, 0}, answer = {COMMENT_ANSWER_MS_MAX / 1000, 0};
    struct connection *c = mem_new(sizeof *c);
    enum err e = ERR_IO;

    *out = NULL;
    c->redis = redisConnectWithTimeout(s->host, s->port, connect);
    snprintf(why, 256, "--comments redis://%.100s:%d: %s", s->host, s->port,
             c->redis != NULL && c->redis->errstr[0] ? c->redis->errstr : "cannot connect");
    if (c->redis == NULL || c->redis->err != 0 || redisSetTimeout(c->redis, answer) != REDIS_OK)
        goto out;
    (void)redisEnableKeepAlive(c->redis); /* only notices a dead peer sooner */
    if ((e = log_in(c, s)) != ERR_OK)
        snprintf(why, 256, "--comments redis://%.100s:%d: it refuses this user or password, or this database",
                 s->host, s->port);
    else
        e = check_settings(c, why);
out:
    if (e == ERR_OK)
        *out = c;
    else
        connection_close(c);
    return e;
}

/* --- lending them ---------------------------------------------------------------------------------------- */

static struct connection *take_free(struct redis_server *s)
{
    struct connection *c;

    pthread_mutex_lock(&s->lock);
    if ((c = s->free) != NULL) {
        s->free = c->next;
        s->free_count--;
    }
    pthread_mutex_unlock(&s->lock);
    return c;
}

static void give_back(struct redis_server *s, struct connection *c)
{
    pthread_mutex_lock(&s->lock);
    if (c->redis->err == 0 && s->free_count < CONNECTIONS_KEPT) {
        c->next = s->free;
        s->free = c;
        s->free_count++;
        c = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    connection_close(c);
}

static void say_away(struct redis_server *s, const char *why)
{
    int64_t now = clock_mono_ms();
    bool say;

    pthread_mutex_lock(&s->lock);
    say = s->said_ms == 0 || now - s->said_ms > DB_AWAY_SAY_MS;
    if (say)
        s->said_ms = now;
    pthread_mutex_unlock(&s->lock);
    if (say)
        log_warn("comments", "%s; waiting for it", why);
}

static enum err borrow(struct redis_server *s, struct connection **out, bool fresh)
{
    char why[256];
    enum err e;

    if (!fresh && (*out = take_free(s)) != NULL)
        return ERR_OK;
    if ((e = connection_open(s, out, why)) != ERR_OK)
        say_away(s, why);
    return e == ERR_OK || e == ERR_FULL ? e : ERR_IO;
}

/* Silence, and no end: another connection would hear no more. To be asked right after the call. */
static bool timed_out(const redisContext *c)
{
    return c->err == REDIS_ERR_IO && (errno == EAGAIN || errno == ETIMEDOUT);
}

/* A connection that rested may have ended since: then once more, on a new one. What is repeated is known again by its ids. */
enum err redis_run(struct redis_server *s, const struct redis_words *words, redisReply **out)
{
    enum err e = ERR_IO;

    *out = NULL;
    for (int fresh = 0; fresh < 2 && e == ERR_IO; fresh++) {
        struct connection *c;
        bool again;

        if ((e = borrow(s, &c, fresh > 0)) != ERR_OK)
            return e;
        e = exchange(c, words, out);
        again = c->redis->err != 0 && !timed_out(c->redis);
        give_back(s, c);
        if (!again)
            break;
    }
    return e == ERR_DENIED ? ERR_IO : e;
}

static void name_script(const struct redis_script *script, char sha[41])
{
    uint8_t hash[SHA_DIGEST_LENGTH];

    SHA1((const uint8_t *)script->text, strlen(script->text), hash);
    for (size_t i = 0; i < sizeof hash; i++)
        snprintf(sha + 2 * i, 3, "%02x", hash[i]);
}

enum err redis_run_script(struct redis_server *s, const struct redis_script *script, size_t keys,
                          const struct redis_words *words, redisReply **out)
{
    struct redis_words all = {.count = 0};
    char sha[41], count[24];
    enum err e;

    name_script(script, sha);
    snprintf(count, sizeof count, "%zu", keys);
    redis_word(&all, bytes_text("EVALSHA"));
    redis_word(&all, bytes_text(sha));
    redis_word(&all, bytes_text(count));
    for (size_t i = 0; i < words->count; i++)
        redis_word(&all, bytes_of(words->at[i], words->sizes[i]));
    if ((e = redis_run(s, &all, out)) == ERR_MISSING) { /* it was restarted: it learns the script again */
        all.at[0] = "EVAL";
        all.sizes[0] = strlen("EVAL");
        all.at[1] = script->text;
        all.sizes[1] = strlen(script->text);
        e = redis_run(s, &all, out);
    }
    redis_words_free(&all);
    return e == ERR_MISSING ? ERR_IO : e;
}

/* --- opening and closing ------------------------------------------------------------------------------------ */

enum err redis_server_open(struct redis_server **out, const char *url, char why[256])
{
    struct redis_server *s = mem_new(sizeof *s);
    struct connection *c;
    enum err e;

    *out = NULL;
    pthread_mutex_init(&s->lock, NULL);
    if (!parse(s, url)) {
        snprintf(why, 256,
                 "--comments: comments without SQL are kept in redis://[USER:PASSWORD@]HOST[:PORT]");
        e = ERR_UNSUPPORTED;
    } else if ((e = connection_open(s, &c, why)) == ERR_OK) {
        give_back(s, c);
        *out = s;
        return ERR_OK;
    }
    redis_server_close(s);
    return e;
}

void redis_server_close(struct redis_server *s)
{
    if (s == NULL)
        return;
    for (struct connection *c = s->free, *next; c != NULL; c = next) {
        next = c->next;
        connection_close(c);
    }
    pthread_mutex_destroy(&s->lock);
    free(s->host);
    free(s->user);
    free(s->password);
    free(s);
}
