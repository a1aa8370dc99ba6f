/* cmd/bench_comments_rival.c - comments as a plain program keeps them: each a statement and a commit of its own, without the
 * lookup of repeated ids, without a feed, without HTTP. */
#include "cmd/bench_comments_int.h"
#include "cmd/bench_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "db/db.h"

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rival {
    struct db *db;         /* NULL: redis */
    const char *authority; /* of Redis */
    pthread_t thread;
    unsigned number;
    int64_t end_us;
    uint32_t *took_us;
    size_t took_count, took_room;
    bool failed;
};

static const char words[] = "What a picture this is, seen from the balcony";

static void note(struct rival *r, int64_t began_us)
{
    if (r->took_count == r->took_room) {
        r->took_room = r->took_room ? 2 * r->took_room : 4096;
        r->took_us = mem_resize(r->took_us, r->took_room * sizeof *r->took_us);
    }
    r->took_us[r->took_count++] = (uint32_t)(clock_mono_us() - began_us);
}

/* --- SQL --------------------------------------------------------------------------------------------- */

static bool say_sql(struct rival *r)
{
    char id[40];
    enum err e;

    snprintf(id, sizeof id, "%u-%zu", r->number, r->took_count);
    e = db_do(
        r->db, "INSERT INTO rival_comments (id, author, data, offset_us, created_at) VALUES (?,?,?,?,?)",
        DB_VALUES(db_str(id), db_str("somebody"), db_str(words), db_int(0), db_int(clock_wall_ms())), NULL);
    return e == ERR_OK;
}

static void *run_sql(void *ctx)
{
    struct rival *r = ctx;

    while (clock_mono_us() < r->end_us && !r->failed) {
        int64_t began_us = clock_mono_us();

        r->failed = !say_sql(r);
        if (!r->failed)
            note(r, began_us);
    }
    return NULL;
}

static enum err prepare(struct db *d)
{
    enum err e = db_do(d, "DROP TABLE IF EXISTS rival_comments", NULL, 0, NULL);

    return e != ERR_OK
               ? e
               : db_do(d,
                       "CREATE TABLE rival_comments (id VARCHAR(40) PRIMARY KEY, author VARCHAR(64) NOT NULL,"
                       " data TEXT NOT NULL, offset_us BIGINT NOT NULL, created_at BIGINT NOT NULL)",
                       NULL, 0, NULL);
}

/* --- Redis ------------------------------------------------------------------------------------------- */

static redisContext *connect_to(const char *authority)
{
    char host[256];
    const char *colon = strrchr(authority, ':');

    if (colon == NULL)
        return NULL;
    snprintf(host, sizeof host, "%.*s", (int)(colon - authority), authority);
    return redisConnect(host, (int)strtol(colon + 1, NULL, 10));
}

static void *run_redis(void *ctx)
{
    struct rival *r = ctx;
    redisContext *c = connect_to(r->authority);

    r->failed = c == NULL || c->err != 0;
    while (clock_mono_us() < r->end_us && !r->failed) {
        int64_t began_us = clock_mono_us();
        redisReply *reply =
            redisCommand(c, "XADD rival-comments * id %u-%llu author somebody data %s offset 0", r->number,
                         r->took_count, words);

        r->failed = reply == NULL || reply->type == REDIS_REPLY_ERROR;
        freeReplyObject(reply);
        if (!r->failed)
            note(r, began_us);
    }
    if (c != NULL)
        redisFree(c);
    return NULL;
}

/* --- both -------------------------------------------------------------------------------------------- */

static bool gather(struct rival *rivals, unsigned clients, double seconds, struct rival_result *out)
{
    size_t count = 0, at = 0;
    uint32_t *all;
    bool good = true;

    for (unsigned i = 0; i < clients; i++)
        count += rivals[i].took_count;
    all = mem_new(count * sizeof *all);
    for (unsigned i = 0; i < clients; i++) {
        if (rivals[i].took_count > 0)
            memcpy(all + at, rivals[i].took_us, rivals[i].took_count * sizeof *all);
        at += rivals[i].took_count;
        good = good && !rivals[i].failed;
        free(rivals[i].took_us);
    }
    out->per_second = (double)count / seconds;
    out->p50_ms = bench_percentile_ms(all, count, 50);
    out->p99_ms = bench_percentile_ms(all, count, 99);
    free(all);
    if (!good)
        fprintf(stderr, "matinee bench comments: the database refused a plain comment\n");
    return good;
}

static bool run(const struct rival *model, void *(*work)(void *ctx), unsigned clients, double seconds,
                struct rival_result *out)
{
    struct rival *rivals = mem_new(clients * sizeof *rivals);
    int64_t began_us = clock_mono_us();
    bool good;

    for (unsigned i = 0; i < clients; i++) {
        rivals[i] = *model;
        rivals[i].number = i;
        rivals[i].end_us = began_us + (int64_t)(seconds * 1e6);
        pthread_create(&rivals[i].thread, NULL, work, &rivals[i]);
    }
    for (unsigned i = 0; i < clients; i++)
        pthread_join(rivals[i].thread, NULL);
    good = gather(rivals, clients, (double)(clock_mono_us() - began_us) / 1e6, out);
    free(rivals);
    return good;
}

bool rival_sql(const char *url, unsigned clients, double seconds, struct rival_result *out)
{
    struct rival model = {.db = NULL};
    char why[256] = "";
    bool good = db_open(&model.db, url, why) == ERR_OK && prepare(model.db) == ERR_OK;

    if (!good)
        fprintf(stderr, "matinee bench comments: %s\n", why[0] != '\0' ? why : "no table can be made");
    good = good && run(&model, run_sql, clients, seconds, out);
    db_close(model.db);
    return good;
}

bool rival_redis(const char *url, unsigned clients, double seconds, struct rival_result *out)
{
    struct rival model = {.authority = url + strlen("redis://")};

    return run(&model, run_redis, clients, seconds, out);
}
