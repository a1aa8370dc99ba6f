/* comments/redis.c - comments without SQL: Redis or Valkey Streams.
 *
 * Of each video: `log`, a stream whose entries are named by their sequence numbers; `ids`, which number an id has, "x" and a
 * position where it was deleted, and under the empty name the newest number; `pos`, positions and numbers as texts that sort;
 * `held`, the ids that wait for approval. A script does a batch of calls, so it is done whole or not at all, and its syncing is
 * shared by everything that the server does in the same turn. Sequence numbers are given by the server, which does one script at
 * a time: they grow in the order of arrival over all of ours. */
#include "comments/redis_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS 4

/* Entries are k(ind) i(d) a(uthor) d(ata) o(ffset) c(reated) h(digest), in this order. */
#define COMMON                                                                                               \
    "local log, ids, pos, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4]\n"                                       \
    "local function place(o, s) return string.format('%016d%016d', tonumber(o), tonumber(s)) end\n"          \
    "local function entry(s)\n"                                                                              \
    "  local e = redis.call('XRANGE', log, s .. '-0', s .. '-0')[1]\n"                                       \
    "  return e and e[2]\n"                                                                                  \
    "end\n"

static const struct redis_script write_script = {
    COMMON
    "local seq = tonumber(redis.call('HGET', ids, '') or '0')\n"
    "local function add(k, i, a, d, o, c, h)\n"
    "  seq = seq + 1\n"
    "  redis.call('XADD', log, string.format('%d-0', seq), 'k', k, 'i', i, 'a', a, 'd', d, 'o', o, 'c', c, 'h', h)\n"
    "  return string.format('%d', seq)\n"
    "end\n"
    "local function post(i, a, d, o, c, h, hold)\n"
    "  local known = redis.call('HGET', ids, i)\n"
    "  if known and known:sub(1, 1) == 'x' then return {'g'} end\n"
    "  if known then return {'k', known, entry(known)} end\n"
    "  local s = add(hold, i, a, d, o, c, h)\n"
    "  redis.call('HSET', ids, i, s)\n"
    "  if hold == '0' then redis.call('ZADD', pos, 0, place(o, s)) else redis.call('ZADD', held, 0, i) end\n"
    "  return {'n', s}\n"
    "end\n"
    "local function delete(i, c)\n"
    "  local known = redis.call('HGET', ids, i)\n"
    "  if not known then return {'m'} end\n"
    "  if known:sub(1, 1) == 'x' then return {'b', known:sub(2)} end\n"
    "  local o = entry(known)[10]\n"
    "  redis.call('XDEL', log, known .. '-0')\n"
    "  redis.call('ZREM', pos, place(o, known))\n"
    "  redis.call('ZREM', held, i)\n"
    "  redis.call('HSET', ids, i, 'x' .. o)\n"
    "  return {'n', add('3', i, '', '', o, c, ''), o}\n"
    "end\n"
    "local function approve(i)\n"
    "  local known = redis.call('HGET', ids, i)\n"
    "  if not known or known:sub(1, 1) == 'x' then return {'m'} end\n"
    "  local e = entry(known)\n"
    "  if e[2] == '0' then return {'b', known, e} end\n"
    "  redis.call('XDEL', log, known .. '-0')\n"
    "  local s = add('0', i, e[6], e[8], e[10], e[12], e[14])\n"
    "  redis.call('HSET', ids, i, s)\n"
    "  redis.call('ZREM', held, i)\n"
    "  redis.call('ZADD', pos, 0, place(e[10], s))\n"
    "  return {'n', s, e}\n"
    "end\n"
    "local out, at = {}, 1\n"
    "while ARGV[at] do\n"
    "  local kind, i = ARGV[at], ARGV[at + 1]\n"
    "  if kind == 'p' then\n"
    "    out[#out + 1] = post(i, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7])\n"
    "  elseif kind == 'd' then out[#out + 1] = delete(i, ARGV[at + 5])\n"
    "  else out[#out + 1] = approve(i) end\n"
    "  at = at + 8\n"
    "end\n"
    "redis.call('HSET', ids, '', string.format('%d', seq))\n"
    "return out\n"};

static const struct redis_script range_script = {
    COMMON "local out = {}\n"
           "for _, m in ipairs(redis.call('ZRANGEBYLEX', pos, ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])) do\n"
           "  local s = string.format('%d', tonumber(m:sub(17)))\n"
           "  out[#out + 1] = {s, entry(s)}\n"
           "end\n"
           "return out\n"};

static const struct redis_script held_script = {
    COMMON "local out = {}\n"
           "for _, i in ipairs(redis.call('ZRANGEBYLEX', held, ARGV[1], '+', 'LIMIT', 0, ARGV[2])) do\n"
           "  local s = redis.call('HGET', ids, i)\n"
           "  out[#out + 1] = {s, entry(s)}\n"
           "end\n"
           "return out\n"};

static const struct redis_script find_script = {
    COMMON
    "local known = redis.call('HGET', ids, ARGV[1])\n"
    "if not known then return {} end\n"
    "if known:sub(1, 1) == 'x' then return {{'0', {'k', '2', 'i', ARGV[1], 'a', '', 'd', '', 'o', known:sub(2), 'c', '0', "
    "'h', ''}}} end\n"
    "return {{known, entry(known)}}\n"};

struct redis_store {
    struct comment_store store;
    struct redis_server *server;
};

static struct redis_server *server_of(struct comment_store *s)
{
    return ((struct redis_store *)(void *)s)->server;
}

/* --- words ------------------------------------------------------------------------------------------- */

/* The names of a video's keys: in braces what decides where in a cluster they are. */
struct keys {
    char name[KEYS][64];
};

static void name_keys(struct keys *k, struct ulid video)
{
    static const char *const parts[KEYS] = {"log", "ids", "pos", "held"};
    char id[ULID_TEXT_SIZE];

    ulid_text(video, id);
    for (size_t i = 0; i < KEYS; i++)
        snprintf(k->name[i], sizeof k->name[i], "matinee:{%s}:%s", id, parts[i]);
}

static void add_keys(struct redis_words *w, const struct keys *k)
{
    for (size_t i = 0; i < KEYS; i++)
        redis_word(w, bytes_text(k->name[i]));
}

/* --- entries ----------------------------------------------------------------------------------------- */

static struct bytes text_at(const redisReply *r, size_t at)
{
    if (r->type != REDIS_REPLY_ARRAY || at >= r->elements || r->element[at]->str == NULL)
        return bytes_of("", 0);
    return bytes_of(r->element[at]->str, r->element[at]->len);
}

static int64_t number_of(struct bytes b)
{
    uint64_t n = 0;
    long dash = bytes_find(b, '-'); /* a stream's "12-0" */

    return bytes_to_u64(dash >= 0 ? bytes_head(b, (size_t)dash) : b, INT64_MAX, &n) ? (int64_t)n : 0;
}

/* An entry's fields. False: this is none. */
static bool read_entry(struct comment *out, struct ulid video, struct bytes seq, const redisReply *fields)
{
    struct bytes digest;

    if (fields->type != REDIS_REPLY_ARRAY || fields->elements != 14)
        return false;
    *out = (struct comment){
        .video = video,
        .seq = number_of(seq),
        .kind = (enum comment_kind)number_of(text_at(fields, 1)),
        .id = text_at(fields, 3),
        .author = text_at(fields, 5),
        .data = text_at(fields, 7),
        .offset_us = number_of(text_at(fields, 9)),
        .created_ms = number_of(text_at(fields, 11)),
    };
    digest = text_at(fields, 13);
    if (digest.size == sizeof out->digest)
        memcpy(out->digest, digest.at, digest.size);
    return true;
}

/* Shows a list of {number, fields}. */
static enum err show(const redisReply *list, struct ulid video,
                     bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    struct comment c;

    if (list->type != REDIS_REPLY_ARRAY)
        return ERR_BAD;
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *one = list->element[i];

        if (one->type != REDIS_REPLY_ARRAY || one->elements < 2)
            continue; /* an entry went while the script looked: there is no such thing, but a hand may have been at it */
        if (read_entry(&c, video, text_at(one, 0), one->element[1]) && !row(ctx, &c))
            break;
    }
    return ERR_OK;
}

/* --- writing ------------------------------------------------------------------------------------------ */

/* The numbers of a call as texts, which must live as long as the words. */
struct numbers {
    char offset[24], created[24];
};

static void add_call(struct redis_words *w, const struct comment_call *call, struct numbers *n)
{
    bool post = call->kind == COMMENT_POST;

    snprintf(n->offset, sizeof n->offset, "%lld", (long long)call->offset_us);
    snprintf(n->created, sizeof n->created, "%lld", (long long)call->created_ms);
    redis_word(w, bytes_text(post ? "p" : call->kind == COMMENT_DELETE ? "d" : "a"));
    redis_word(w, bytes_text(call->id));
    redis_word(w, bytes_text(post ? call->author : ""));
    redis_word(w, bytes_text(post ? call->data : ""));
    redis_word(w, bytes_text(n->offset));
    redis_word(w, bytes_text(n->created));
    redis_word(w, bytes_of(call->digest, sizeof call->digest));
    redis_word(w, bytes_text(call->hold ? "1" : "0"));
}

static void settle_post(struct comment_call *call, const redisReply *r, char status)
{
    struct comment known;

    call->answer = COMMENTED_OTHER;
    if (status == 'n') {
        call->answer = COMMENTED;
        call->seq = number_of(text_at(r, 1));
    } else if (status == 'k' && r->elements == 3 &&
               read_entry(&known, call->video, text_at(r, 1), r->element[2])) {
        comment_settle_known(call, &known);
    }
}

static void settle_other(struct comment_call *call, const redisReply *r, char status)
{
    struct comment entry;

    call->answer = status == 'n' ? COMMENTED : status == 'b' ? COMMENTED_BEFORE : COMMENT_MISSING;
    if (status == 'n')
        call->seq = number_of(text_at(r, 1));
    if (call->kind == COMMENT_APPROVE && r->elements == 3 &&
        read_entry(&entry, call->video, text_at(r, 1), r->element[2])) {
        entry.kind = COMMENT_SHOWN;
        call->offset_us = entry.offset_us;
        buffer_unref(call->json);
        call->json = comment_json(&entry);
    } else if (call->kind == COMMENT_DELETE && status != 'm') {
        call->offset_us = number_of(text_at(r, status == 'n' ? 2 : 1));
    }
}

static enum err settle(struct comment_call **calls, size_t count, const redisReply *r)
{
    if (r->type != REDIS_REPLY_ARRAY || r->elements != count)
        return ERR_BAD;
    for (size_t i = 0; i < count; i++) {
        struct bytes status = text_at(r->element[i], 0);

        if (status.size != 1)
            return ERR_BAD;
        calls[i]->seq = 0;
        if (calls[i]->kind == COMMENT_POST)
            settle_post(calls[i], r->element[i], (char)status.at[0]);
        else
            settle_other(calls[i], r->element[i], (char)status.at[0]);
    }
    return ERR_OK;
}

static enum err write_video(struct redis_server *s, struct comment_call **calls, size_t count)
{
    struct numbers *numbers = mem_new(count * sizeof *numbers);
    struct redis_words words = {.count = 0};
    redisReply *reply = NULL;
    struct keys keys;
    enum err e;

    name_keys(&keys, calls[0]->video);
    add_keys(&words, &keys);
    for (size_t i = 0; i < count; i++)
        add_call(&words, calls[i], &numbers[i]);
    if ((e = redis_run_script(s, &write_script, KEYS, &words, &reply)) == ERR_OK)
        e = settle(calls, count, reply);
    freeReplyObject(reply);
    redis_words_free(&words);
    free(numbers);
    return e;
}

static enum err store_write(struct comment_store *s, struct comment_call **calls, size_t count)
{
    enum err e = ERR_OK;

    for (size_t from = 0, to = 0; from < count && e == ERR_OK; from = to) {
        while (to < count && ulid_equal(calls[to]->video, calls[from]->video))
            to++;
        e = write_video(server_of(s), calls + from, to - from);
    }
    return e;
}

/* --- reading ------------------------------------------------------------------------------------------- */

static enum err store_head(struct comment_store *s, struct ulid video, int64_t *seq)
{
    struct redis_words words = {.count = 0};
    redisReply *reply = NULL;
    struct keys keys;
    enum err e;

    *seq = 0;
    name_keys(&keys, video);
    redis_word(&words, bytes_text("HGET"));
    redis_word(&words, bytes_text(keys.name[1]));
    redis_word(&words, bytes_text(""));
    e = redis_run(server_of(s), &words, &reply);
    if (e == ERR_OK && reply->type == REDIS_REPLY_STRING)
        *seq = number_of(bytes_of(reply->str, reply->len));
    freeReplyObject(reply);
    redis_words_free(&words);
    return e;
}

static enum err store_log(struct comment_store *s, struct ulid video, int64_t seq, size_t limit,
                          bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    char from[32], count[24];
    struct redis_words words = {.count = 0};
    redisReply *reply = NULL;
    struct keys keys;
    enum err e;

    name_keys(&keys, video);
    snprintf(from, sizeof from, "%lld-0", (long long)seq + 1);
    snprintf(count, sizeof count, "%zu", limit);
    redis_word(&words, bytes_text("XRANGE"));
    redis_word(&words, bytes_text(keys.name[0]));
    redis_word(&words, bytes_text(from));
    redis_word(&words, bytes_text("+"));
    redis_word(&words, bytes_text("COUNT"));
    redis_word(&words, bytes_text(count));
    if ((e = redis_run(server_of(s), &words, &reply)) == ERR_OK)
        e = show(reply, video, row, ctx);
    freeReplyObject(reply);
    redis_words_free(&words);
    return e;
}

/* Runs a script that gives entries, with up to three words behind the keys. */
static enum err read_by(struct comment_store *s, const struct redis_script *script, struct ulid video,
                        const char *const *args, size_t arg_count,
                        bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    struct redis_words words = {.count = 0};
    redisReply *reply = NULL;
    struct keys keys;
    enum err e;

    name_keys(&keys, video);
    add_keys(&words, &keys);
    for (size_t i = 0; i < arg_count; i++)
        redis_word(&words, bytes_text(args[i]));
    if ((e = redis_run_script(server_of(s), script, KEYS, &words, &reply)) == ERR_OK)
        e = show(reply, video, row, ctx);
    freeReplyObject(reply);
    redis_words_free(&words);
    return e;
}

static enum err store_range(struct comment_store *s, struct ulid video, const struct comment_range *r,
                            bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    char from[48], to[48], count[24];

    if (r->after_seq > 0 && r->after_us >= r->from_us)
        snprintf(from, sizeof from, "(%016lld%016lld", (long long)r->after_us, (long long)r->after_seq);
    else
        snprintf(from, sizeof from, "[%016lld", (long long)r->from_us);
    snprintf(to, sizeof to, "(%016lld", (long long)r->to_us);
    snprintf(count, sizeof count, "%zu", r->limit);
    return read_by(s, &range_script, video, (const char *const[]){from, to, count}, 3, row, ctx);
}

static enum err store_find(struct comment_store *s, struct ulid video, const char *id,
                           bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    return read_by(s, &find_script, video, &id, 1, row, ctx);
}

static enum err store_held(struct comment_store *s, struct ulid video, const char *after, size_t limit,
                           bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    char from[COMMENT_ID_MAX + 2], count[24];

    snprintf(from, sizeof from, "%s%s", after[0] ? "(" : "-", after);
    snprintf(count, sizeof count, "%zu", limit);
    return read_by(s, &held_script, video, (const char *const[]){from, count}, 2, row, ctx);
}

static enum err store_drop(struct comment_store *s, struct ulid video)
{
    struct redis_words words = {.count = 0};
    redisReply *reply = NULL;
    struct keys keys;
    enum err e;

    name_keys(&keys, video);
    redis_word(&words, bytes_text("UNLINK"));
    add_keys(&words, &keys);
    e = redis_run(server_of(s), &words, &reply);
    freeReplyObject(reply);
    redis_words_free(&words);
    return e;
}

static void store_close_redis(struct comment_store *s)
{
    redis_server_close(server_of(s));
    free(s);
}

enum err comment_redis_open(struct comment_store **out, const char *url, char why[256])
{
    static const struct comment_store_kind kind = {store_close_redis, store_write, store_head, store_log,
                                                   store_range,       store_find,  store_held, store_drop};
    struct redis_server *server;
    struct redis_store *s;
    enum err e = redis_server_open(&server, url, why);

    *out = NULL;
    if (e != ERR_OK)
        return e;
    s = mem_new(sizeof *s);
    s->store = (struct comment_store){&kind, true};
    s->server = server;
    *out = &s->store;
    return ERR_OK;
}
