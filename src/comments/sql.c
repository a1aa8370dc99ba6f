/* comments/sql.c - comments as rows of the database: SQLite or MariaDB, over db.h.
 *
 * A video's log is its rows by `seq`. The row of comment_feeds says which number is next and is locked by whoever writes, so
 * numbers are given in the order in which transactions commit, on however many servers: who reads up to n has missed nothing
 * below n. Ids are looked up in one statement for a whole batch, under that lock, and again by the unique key. */
#include "comments/comments_int.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct sql_store {
    struct comment_store store;
    struct db *db;
};

#define COLUMNS      9
#define COLUMN_NAMES "seq, state, cid, author, data, offset_us, created_at, digest"
/* Ids asked for at once; the text of a statement is to vary little. */
#define IDS_MAX 64

static struct db *db_of(struct comment_store *s)
{
    return ((struct sql_store *)(void *)s)->db;
}

/* --- rows -------------------------------------------------------------------------------------------- */

struct rows {
    struct ulid video;
    bool (*row)(void *ctx, const struct comment *c);
    void *ctx;
};

static void read_row(struct comment *out, struct ulid video, const struct db_row *r)
{
    struct bytes digest = db_column_blob(r, 7);

    *out = (struct comment){
        .video = video,
        .seq = db_column_int(r, 0),
        .kind = (enum comment_kind)db_column_int(r, 1),
        .id = bytes_text(db_column_text(r, 2)),
        .author = bytes_text(db_column_text(r, 3)),
        .data = bytes_text(db_column_text(r, 4)),
        .offset_us = db_column_int(r, 5),
        .created_ms = db_column_int(r, 6),
    };
    if (digest.size == sizeof out->digest)
        memcpy(out->digest, digest.at, digest.size);
    if (out->kind == COMMENT_DELETION) { /* its own id would be the other's, which is unique */
        out->id = out->data;
        out->data = bytes_of("", 0);
    }
}

static bool show_row(void *ctx, const struct db_row *r)
{
    struct rows *rows = ctx;
    struct comment c;

    read_row(&c, rows->video, r);
    return rows->row(rows->ctx, &c);
}

/* --- writing ------------------------------------------------------------------------------------------ */

struct writing {
    struct comment_call **calls;
    size_t count;
    bool shared;
};

/* One video's part of a transaction. */
struct turn {
    struct db *tx;
    bool shared; /* the engine is a server: every statement is a trip */
    char video[ULID_TEXT_SIZE];
    struct comment_call **calls;
    size_t count;
    int64_t first, next; /* seq */
    struct map *ids;     /* calls that are being posted, by id */
};

static bool take_int(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = db_column_int(r, 0);
    return false;
}

/* Locks the video's log and learns its next number. */
static enum err lock_feed(struct turn *t)
{
    static const char look[] = "SELECT next_seq FROM comment_feeds WHERE video_id = ?{lock}";
    enum err e = db_read(t->tx, look, DB_VALUES(db_str(t->video)), take_int, &t->next);

    if (e == ERR_OK && t->next == 0) {
        e = db_run(t->tx, "INSERT INTO comment_feeds (video_id, next_seq) VALUES (?, 1) {or_keep:video_id}",
                   DB_VALUES(db_str(t->video)), NULL);
        if (e == ERR_OK)
            e = db_read(t->tx, look, DB_VALUES(db_str(t->video)), take_int, &t->next);
    }
    t->first = t->next;
    return e == ERR_OK && t->next == 0 ? ERR_BAD : e;
}

static enum err unlock_feed(struct turn *t)
{
    if (t->next == t->first)
        return ERR_OK;
    return db_run(t->tx, "UPDATE comment_feeds SET next_seq = ? WHERE video_id = ?",
                  DB_VALUES(db_int(t->next), db_str(t->video)), NULL);
}

/* --- posts: a run of them at once ------------------------------------------------------------------------ */

static bool settle_row(void *ctx, const struct comment *known)
{
    const struct turn *t = ctx;
    struct comment_call *call = map_get(t->ids, known->id);

    if (call != NULL)
        comment_settle_known(call, known);
    return true;
}

#define PLACES_8 "?,?,?,?,?,?,?,?"
#define PLACES_64                                                                                            \
    PLACES_8 "," PLACES_8 "," PLACES_8 "," PLACES_8 "," PLACES_8 "," PLACES_8 "," PLACES_8 "," PLACES_8

/* Settles those whose ids are taken already: with one trip to a server, and where there is none one by one, for SQLite would
 * rather read the whole video than look up so many. */
static enum err look_up(struct turn *t, struct comment_call **posts, size_t count)
{
    static const char one[] = "SELECT " COLUMN_NAMES " FROM comments WHERE video_id = ? AND cid = ?";
    static const char many[] =
        "SELECT " COLUMN_NAMES " FROM comments WHERE video_id = ? AND cid IN (" PLACES_64 ")";
    struct db_value values[1 + IDS_MAX] = {db_str(t->video)};
    struct rows rows = {.video = posts[0]->video, .row = settle_row, .ctx = t};
    enum err e = ERR_OK;

    for (size_t from = 0, here; from < count && e == ERR_OK; from += here) {
        here = !t->shared ? 1 : count - from < IDS_MAX ? count - from : IDS_MAX;
        for (size_t i = 0; i < (here == 1 ? 1 : IDS_MAX);
             i++) /* the places that are left ask for the last one again */
            values[1 + i] = db_str(posts[from + (i < here ? i : here - 1)]->id);
        e = db_read(t->tx, here == 1 ? one : many, values, here == 1 ? 2 : 1 + IDS_MAX, show_row, &rows);
    }
    return e;
}

static const char insert_comment[] =
    "INSERT INTO comments (video_id, " COLUMN_NAMES ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

static enum err insert_new(struct turn *t, struct comment_call **posts, size_t count)
{
    struct db_value *values = mem_new(count * COLUMNS * sizeof *values);
    size_t rows = 0;
    enum err e = ERR_OK;

    for (size_t i = 0; i < count; i++) {
        struct comment_call *p = posts[i];
        struct db_value *v = values + rows * COLUMNS;

        if (p->answer != COMMENT_BUSY)
            continue;
        p->answer = COMMENTED;
        p->seq = t->next++;
        v[0] = db_str(t->video);
        v[1] = db_int(p->seq);
        v[2] = db_int(p->hold ? COMMENT_HELD : COMMENT_SHOWN);
        v[3] = db_str(p->id);
        v[4] = db_str(p->author);
        v[5] = db_str(p->data);
        v[6] = db_int(p->offset_us);
        v[7] = db_int(p->created_ms);
        v[8] = db_blob(bytes_of(p->digest, sizeof p->digest));
        rows++;
        if (p->hold && e == ERR_OK)
            e = db_run(t->tx, "INSERT INTO comments_held (video_id, cid) VALUES (?, ?)",
                       DB_VALUES(db_str(t->video), db_str(p->id)), NULL);
    }
    if (rows > 0 && e == ERR_OK)
        e = db_run_rows(t->tx, insert_comment, values, COLUMNS, rows, NULL);
    free(values);
    return e;
}

/* Posts as many from `from` on as have ids of their own; *done is how many. */
static enum err post_run(struct turn *t, size_t from, size_t *done)
{
    struct comment_call **posts = t->calls + from;
    size_t count = 0;
    enum err e;

    t->ids = map_new();
    for (; from + count < t->count && posts[count]->kind == COMMENT_POST; count++) {
        posts[count]->answer = COMMENT_BUSY;
        if (map_get(t->ids, bytes_text(posts[count]->id)) != NULL)
            break;
        map_put(t->ids, bytes_text(posts[count]->id), posts[count]);
    }
    if ((e = look_up(t, posts, count)) == ERR_OK)
        e = insert_new(t, posts, count);
    map_free(t->ids);
    t->ids = NULL;
    *done = count;
    return e;
}

/* --- deleting and approving ----------------------------------------------------------------------------- */

/* What a call names, as it is. */
struct found {
    struct comment_call *call;
    bool any;
    enum comment_kind kind;
    int64_t seq, offset_us;
};

static bool take_found(void *ctx, const struct comment *c)
{
    struct found *f = ctx;

    f->any = true;
    f->kind = c->kind;
    f->seq = c->seq;
    f->offset_us = c->offset_us;
    if (f->call->kind == COMMENT_APPROVE && c->kind != COMMENT_GONE) {
        struct comment shown = *c;

        shown.kind = COMMENT_SHOWN;
        buffer_unref(f->call->json);
        f->call->json = comment_json(&shown);
    }
    return false;
}

static enum err find_in(struct db *d, struct ulid video, const char *id,
                        bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    struct rows rows = {video, row, ctx};
    char text[ULID_TEXT_SIZE];

    return db_read(d, "SELECT " COLUMN_NAMES " FROM comments WHERE video_id = ? AND cid = ?",
                   DB_VALUES(db_str(ulid_text(video, text)), db_str(id)), show_row, &rows);
}

static enum err release_held(struct turn *t, const struct comment_call *call, const struct found *f)
{
    if (f->kind != COMMENT_HELD)
        return ERR_OK;
    return db_run(t->tx, "DELETE FROM comments_held WHERE video_id = ? AND cid = ?",
                  DB_VALUES(db_str(t->video), db_str(call->id)), NULL);
}

/* The row stays, empty, so that its id is not used again; an entry of its own tells of it. */
static enum err delete_one(struct turn *t, struct comment_call *call, const struct found *f)
{
    enum err e = release_held(t, call, f);

    if (e == ERR_OK)
        e = db_run(t->tx,
                   "UPDATE comments SET state = 2, author = '', data = '' WHERE video_id = ? AND cid = ?",
                   DB_VALUES(db_str(t->video), db_str(call->id)), NULL);
    if (e == ERR_OK) {
        call->seq = t->next++;
        call->answer = COMMENTED;
        e = db_run(t->tx, insert_comment,
                   DB_VALUES(db_str(t->video), db_int(call->seq), db_int(COMMENT_DELETION), db_null(),
                             db_str(""), db_str(call->id), db_int(f->offset_us), db_int(call->created_ms),
                             db_blob(bytes_of("", 0))),
                   NULL);
    }
    return e;
}

/* It comes to the end of the log, where readers are. */
static enum err approve_one(struct turn *t, struct comment_call *call, const struct found *f)
{
    enum err e = release_held(t, call, f);

    call->seq = t->next++;
    call->answer = COMMENTED;
    if (e == ERR_OK)
        e = db_run(t->tx, "UPDATE comments SET state = 0, seq = ? WHERE video_id = ? AND cid = ?",
                   DB_VALUES(db_int(call->seq), db_str(t->video), db_str(call->id)), NULL);
    return e;
}

static enum err do_one(struct turn *t, struct comment_call *call)
{
    struct found f = {.call = call};
    enum err e = find_in(t->tx, call->video, call->id, take_found, &f);

    call->seq = 0;
    call->offset_us = f.offset_us;
    if (e != ERR_OK)
        return e;
    if (!f.any || (call->kind == COMMENT_APPROVE && f.kind == COMMENT_GONE)) {
        call->answer = COMMENT_MISSING;
    } else if (call->kind == COMMENT_DELETE) {
        if (f.kind != COMMENT_GONE)
            return delete_one(t, call, &f);
        call->answer = COMMENTED_BEFORE;
    } else {
        if (f.kind == COMMENT_HELD)
            return approve_one(t, call, &f);
        call->answer = COMMENTED_BEFORE;
    }
    return ERR_OK;
}

/* --- the transaction ------------------------------------------------------------------------------------ */

static enum err write_video(struct db *tx, bool shared, struct comment_call **calls, size_t count)
{
    struct turn t = {.tx = tx, .shared = shared, .calls = calls, .count = count};
    enum err e;

    ulid_text(calls[0]->video, t.video);
    if ((e = lock_feed(&t)) != ERR_OK)
        return e;
    for (size_t i = 0, done = 1; i < count && e == ERR_OK; i += done) {
        done = 1;
        e = calls[i]->kind == COMMENT_POST ? post_run(&t, i, &done) : do_one(&t, calls[i]);
    }
    return e == ERR_OK ? unlock_feed(&t) : e;
}

/* By video in the order of ids, so that no two servers wait for each other. */
static enum err write_all(void *ctx, struct db *tx)
{
    struct writing *w = ctx;
    enum err e = ERR_OK;

    for (size_t from = 0, to = 0; from < w->count && e == ERR_OK; from = to) {
        while (to < w->count && ulid_equal(w->calls[to]->video, w->calls[from]->video))
            to++;
        e = write_video(tx, w->shared, w->calls + from, to - from);
    }
    return e;
}

static enum err sql_write(struct comment_store *s, struct comment_call **calls, size_t count)
{
    struct writing w = {calls, count, s->shared};

    return db_write(db_of(s), write_all, &w);
}

/* --- reading -------------------------------------------------------------------------------------------- */

static enum err sql_head(struct comment_store *s, struct ulid video, int64_t *seq)
{
    char text[ULID_TEXT_SIZE];
    int64_t next = 1;
    enum err e = db_read(db_of(s), "SELECT next_seq FROM comment_feeds WHERE video_id = ?",
                         DB_VALUES(db_str(ulid_text(video, text))), take_int, &next);

    *seq = next - 1;
    return e;
}

static enum err sql_log(struct comment_store *s, struct ulid video, int64_t seq, size_t limit,
                        bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    struct rows rows = {video, row, ctx};
    char text[ULID_TEXT_SIZE];

    return db_read(
        db_of(s), "SELECT " COLUMN_NAMES " FROM comments WHERE video_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        DB_VALUES(db_str(ulid_text(video, text)), db_int(seq), db_int((int64_t)limit)), show_row, &rows);
}

static enum err sql_range(struct comment_store *s, struct ulid video, const struct comment_range *r,
                          bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    struct rows rows = {video, row, ctx};
    char text[ULID_TEXT_SIZE];
    int64_t from_us = r->after_seq > 0 && r->after_us > r->from_us ? r->after_us : r->from_us;

    return db_read(db_of(s),
                   "SELECT " COLUMN_NAMES
                   " FROM comments WHERE video_id = ? AND offset_us >= ? AND offset_us < ?"
                   " AND state = 0 AND (offset_us > ? OR seq > ?) ORDER BY offset_us, seq LIMIT ?",
                   DB_VALUES(db_str(ulid_text(video, text)), db_int(from_us), db_int(r->to_us),
                             db_int(r->after_seq > 0 ? r->after_us : -1), db_int(r->after_seq),
                             db_int((int64_t)r->limit)),
                   show_row, &rows);
}

static enum err sql_find(struct comment_store *s, struct ulid video, const char *id,
                         bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    return find_in(db_of(s), video, id, row, ctx);
}

static enum err sql_held(struct comment_store *s, struct ulid video, const char *after, size_t limit,
                         bool (*row)(void *ctx, const struct comment *c), void *ctx)
{
    struct rows rows = {video, row, ctx};
    char text[ULID_TEXT_SIZE];

    ulid_text(video, text);
    return db_read(db_of(s),
                   "SELECT c.seq, c.state, c.cid, c.author, c.data, c.offset_us, c.created_at, c.digest"
                   " FROM comments_held h JOIN comments c ON c.video_id = h.video_id AND c.cid = h.cid"
                   " WHERE h.video_id = ? AND h.cid > ? ORDER BY h.cid LIMIT ?",
                   DB_VALUES(db_str(text), db_str(after), db_int((int64_t)limit)), show_row, &rows);
}

static enum err forget(void *ctx, struct db *tx)
{
    static const char *const sql[] = {"DELETE FROM comments WHERE video_id = ?",
                                      "DELETE FROM comments_held WHERE video_id = ?",
                                      "DELETE FROM comment_feeds WHERE video_id = ?"};
    enum err e = ERR_OK;

    for (size_t i = 0; i < sizeof sql / sizeof *sql && e == ERR_OK; i++)
        e = db_run(tx, sql[i], DB_VALUES(db_str((const char *)ctx)), NULL);
    return e;
}

static enum err sql_drop(struct comment_store *s, struct ulid video)
{
    char text[ULID_TEXT_SIZE];

    ulid_text(video, text);
    return db_write(db_of(s), forget, text);
}

static void sql_close(struct comment_store *s)
{
    free(s);
}

enum err comment_sql_open(struct comment_store **out, struct db *db, char why[256])
{
    static const struct comment_store_kind kind = {sql_close, sql_write, sql_head, sql_log,
                                                   sql_range, sql_find,  sql_held, sql_drop};
    struct sql_store *s = mem_new(sizeof *s);

    s->store.kind = &kind;
    s->store.shared = db_shared(db);
    s->db = db;
    *out = &s->store;
    return ERR_OK;
}
