/* comments/redis_int.h - between the engine without SQL (redis.c) and its connections (redis_connection.c). */
#ifndef MATINEE_COMMENTS_REDIS_INT_H
#define MATINEE_COMMENTS_REDIS_INT_H

#include "comments/comments_int.h"

#include <hiredis/hiredis.h>

/* A Redis or Valkey server, and connections to it that are lent to one call at a time. */
struct redis_server;

/* Takes redis://[user:password@]host[:port][/number] apart, connects, and refuses a server that would lose what it answered for.
 * `why` says how to change that, and holds no password. Blocks. */
must_check enum err redis_server_open(struct redis_server **out, const char *url, char why[256]);
void redis_server_close(struct redis_server *s); /* accepts NULL */

/* A command's arguments, built one by one. Zero-initialised is empty. */
struct redis_words {
    const char **at;
    size_t *sizes;
    size_t count, room;
};
void redis_word(struct redis_words *w, struct bytes b); /* `b` stays as it is until the call */
void redis_words_free(struct redis_words *w);

struct redis_script {
    const char *text;
};

/* Runs one command; *out is the caller's, never an error. ERR_IO: away, and nobody knows whether it is done. ERR_FULL. Blocks. */
must_check enum err redis_run(struct redis_server *s, const struct redis_words *words, redisReply **out);
/* Runs a script with `keys` keys that are the first of `words`. */
must_check enum err redis_run_script(struct redis_server *s, const struct redis_script *script, size_t keys,
                                     const struct redis_words *words, redisReply **out);

#endif
