/* live/index.c - the rows of events, videos, init configurations and segments. Everything here blocks. */
#include "live/live_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

/* --- changes of the catalog ---------------------------------------------------------------------------- */

struct change {
    const char *sql;
    const struct db_value *values;
    size_t count;
};

enum err index_catalog_changes(struct db *tx)
{
    return db_run(tx, "UPDATE catalog SET version = version + 1 WHERE id = 1", NULL, 0, NULL);
}

static enum err run_change(void *ctx, struct db *tx)
{
    const struct change *c = ctx;
    enum err e = db_run(tx, c->sql, c->values, c->count, NULL);

    return e == ERR_OK ? index_catalog_changes(tx) : e;
}

/* One statement after which there are other events or videos, or they are otherwise than before. */
static enum err change_catalog(struct db *d, const char *sql, const struct db_value *values, size_t count)
{
    struct change c = {sql, values, count};
    enum err e;
    int tries = CATALOG_TRIES_MAX;

    while ((e = db_write_surely(d, run_change, &c)) == ERR_BUSY && --tries > 0)
        continue;
    return e;
}

/* --- events ------------------------------------------------------------------------------------------ */

static struct db_value start_value(const struct event *e)
{
    return e->starts_at_ms < 0 ? db_null() : db_int(e->starts_at_ms);
}

static struct db_value inventory_value(const struct event *e, char text[ULID_TEXT_SIZE])
{
    return db_str(ulid_is_zero(e->inventory) ? "" : ulid_text(e->inventory, text));
}

enum err index_add_event(struct db *d, const struct event *e)
{
    char id[ULID_TEXT_SIZE], inventory[ULID_TEXT_SIZE];

    return change_catalog(
        d,
        "INSERT INTO events (id, title, access, starts_at, key_hash, created_at, inventory_id,"
        " screens, screens_refuse) VALUES (?,?,?,?,?,?,?,?,?) {or_keep:id}",
        DB_VALUES(db_str(ulid_text(e->id, id)), db_str(e->title),
                  db_str(e->access == ACCESS_TICKET ? "ticket" : "public"), start_value(e),
                  db_blob(bytes_of(e->key_hash, ACCESS_HASH_SIZE)), db_int(e->created_at_ms),
                  inventory_value(e, inventory), db_int(e->screens.count), db_int(e->screens.refuse)));
}

enum err index_change_event(struct db *d, const struct event *e)
{
    char id[ULID_TEXT_SIZE], inventory[ULID_TEXT_SIZE];

    return change_catalog(
        d,
        "UPDATE events SET title = ?, access = ?, starts_at = ?, key_hash = ?, ended = ?, inventory_id = ?,"
        " screens = ?, screens_refuse = ? WHERE id = ?",
        DB_VALUES(db_str(e->title), db_str(e->access == ACCESS_TICKET ? "ticket" : "public"), start_value(e),
                  db_blob(bytes_of(e->key_hash, ACCESS_HASH_SIZE)), db_int(e->ended),
                  inventory_value(e, inventory), db_int(e->screens.count), db_int(e->screens.refuse),
                  db_str(ulid_text(e->id, id))));
}

enum err index_remove_event(struct db *d, struct ulid id)
{
    char text[ULID_TEXT_SIZE];

    return change_catalog(d, "DELETE FROM events WHERE id = ?", DB_VALUES(db_str(ulid_text(id, text))));
}

/* --- videos ------------------------------------------------------------------------------------------ */

enum err index_add_video(struct db *d, const struct video *v)
{
    char id[ULID_TEXT_SIZE], event[ULID_TEXT_SIZE], home[ULID_TEXT_SIZE];

    return change_catalog(
        d, "INSERT INTO videos (id, event_id, state, created_at, home) VALUES (?,?,'live',?,?) {or_keep:id}",
        DB_VALUES(db_str(ulid_text(v->id, id)), db_str(ulid_text(v->event->id, event)),
                  db_int(v->created_at_ms), db_str(ulid_text(v->home, home))));
}

static enum err add_import(void *ctx, struct db *d)
{
    const struct video *v = ctx;
    char id[ULID_TEXT_SIZE], event[ULID_TEXT_SIZE], home[ULID_TEXT_SIZE];
    enum err e = db_run(d,
                        "INSERT INTO videos (id, event_id, state, created_at, upload_bytes, segment_ms, home)"
                        " VALUES (?,?,'importing',?,?,?,?) {or_keep:id}",
                        DB_VALUES(db_str(ulid_text(v->id, id)), db_str(ulid_text(v->event->id, event)),
                                  db_int(v->created_at_ms), db_int((int64_t)v->upload_bytes),
                                  db_int(v->segment_ms), db_str(ulid_text(v->home, home))),
                        NULL);

    if (e == ERR_OK)
        e = db_run(d, "UPDATE events SET upload_problem = '' WHERE id = ?", DB_VALUES(db_str(event)), NULL);
    return e == ERR_OK ? index_catalog_changes(d) : e;
}

enum err index_add_import(struct db *d, const struct video *v)
{
    return db_write_surely(d, add_import, (void *)(uintptr_t)v);
}

enum err index_fail_import(struct db *d, struct ulid event, const char *problem)
{
    char id[ULID_TEXT_SIZE];

    return change_catalog(d, "UPDATE events SET upload_problem = ? WHERE id = ?",
                          DB_VALUES(db_str(problem), db_str(ulid_text(event, id))));
}

enum err index_end_video(struct db *d, struct ulid id, int64_t wall_ms)
{
    char text[ULID_TEXT_SIZE];

    return change_catalog(d, "UPDATE videos SET state = 'ended', ended_at = ? WHERE id = ?",
                          DB_VALUES(db_int(wall_ms), db_str(ulid_text(id, text))));
}

enum err index_finish_ladder(struct db *d, const char *video)
{
    return change_catalog(d, "UPDATE videos SET laddered = 1 WHERE id = ? AND state = 'ended'",
                          DB_VALUES(db_str(video)));
}

static enum err remove_video(void *ctx, struct db *d)
{
    static const char *const statements[] = {
        "DELETE FROM rendition_segments WHERE video_id = ?",
        "DELETE FROM rendition_inits WHERE video_id = ?",
        "DELETE FROM renditions WHERE video_id = ?",
        "DELETE FROM segments WHERE video_id = ?",
        "DELETE FROM inits WHERE video_id = ?",
        "DELETE FROM videos WHERE id = ?",
    };
    enum err e = ERR_OK;

    for (size_t i = 0; i < sizeof statements / sizeof *statements && e == ERR_OK; i++)
        e = db_run(d, statements[i], DB_VALUES(db_str(ctx)), NULL);
    return e == ERR_OK ? index_catalog_changes(d) : e;
}

enum err index_remove_video(struct db *d, struct ulid id)
{
    char text[ULID_TEXT_SIZE];

    ulid_text(id, text);
    return db_write_surely(d, remove_video, text);
}

struct segment_row {
    const char *id;
    const struct video *video;
    const struct segment *segment;
    const struct init *init[TRACK_COUNT];
};

static enum err add_init(struct db *d, const struct segment_row *row, enum track t)
{
    const struct init *i = row->init[t];

    if (i == NULL)
        return ERR_OK;
    return db_run(
        d,
        "INSERT INTO inits (video_id, track, number, codec, width, height, rate, channels, rfc6381, record)"
        " VALUES (?,?,?,?,?,?,?,?,?,?) {or_keep:video_id}",
        DB_VALUES(db_str(row->id), db_int(t), db_int(i->number), db_int(i->config.codec),
                  db_int(i->config.width), db_int(i->config.height), db_int(i->config.rate),
                  db_int(i->config.channels), db_str(i->config.rfc6381), db_blob(buffer_bytes(i->record))),
        NULL);
}

static enum err add_segment(void *ctx, struct db *d)
{
    const struct segment_row *row = ctx;
    const struct segment *s = row->segment;
    const struct span *v = &s->track[TRACK_VIDEO], *a = &s->track[TRACK_AUDIO];
    enum err e = ERR_OK;

    for (int t = 0; t < TRACK_COUNT && e == ERR_OK; t++)
        e = add_init(d, row, (enum track)t);
    if (e == ERR_OK)
        e = db_run(d, "UPDATE videos SET target_duration = ? WHERE id = ?",
                   DB_VALUES(db_int(row->video->target_duration_s), db_str(row->id)), NULL);
    if (e == ERR_OK)
        e = db_run(
            d,
            "INSERT INTO segments (video_id, number, start, end, discontinuity, torn, wall_ms,"
            " video_init, video_start, video_end, video_bytes, audio_init, audio_start, audio_end, audio_bytes)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) {or_keep:video_id}",
            DB_VALUES(db_str(row->id), db_int(s->number), db_int(s->start), db_int(s->end),
                      db_int(s->discontinuity), db_int(s->torn), db_int(s->wall_ms), db_int(v->init),
                      db_int(v->start), db_int(v->end), db_int(v->bytes), db_int(a->init), db_int(a->start),
                      db_int(a->end), db_int(a->bytes)),
            NULL);
    return e;
}

enum err index_add_segment(struct db *d, const struct video *v, const struct segment *s,
                           const struct init *const init[TRACK_COUNT])
{
    char id[ULID_TEXT_SIZE];
    struct segment_row row = {ulid_text(v->id, id), v, s, {init[TRACK_VIDEO], init[TRACK_AUDIO]}};

    return db_write(d, add_segment, &row);
}

/* --- loading one video ------------------------------------------------------------------------------- */

struct loading {
    struct video *video;
    struct segment *segments;
    size_t count, room;
    enum err e;
};

/* One that no segment wanted has no row: the next stands in its place, so that each has its number. */
static bool load_init(void *ctx, const struct db_row *r)
{
    struct loading *g = ctx;
    enum track t = db_column_int(r, 0) == TRACK_AUDIO ? TRACK_AUDIO : TRACK_VIDEO;
    struct bytes record = db_column_blob(r, 2);
    size_t number = (size_t)db_column_int(r, 3);
    struct codec_config config;
    const char *why;

    g->e = codec_config_parse(&config, (enum codec)db_column_int(r, 1), record, &why);
    while (g->e == ERR_OK && g->video->init_count[t] <= number)
        g->e = video_add_init(g->video, t, &config, record);
    return g->e == ERR_OK;
}

static bool load_segment(void *ctx, const struct db_row *r)
{
    struct loading *g = ctx;

    if (g->count == g->room) {
        g->room = g->room ? g->room * 2 : 64;
        g->segments = mem_resize(g->segments, g->room * sizeof *g->segments);
    }
    g->segments[g->count++] = (struct segment){
        .number = (uint32_t)db_column_int(r, 0),
        .start = db_column_int(r, 1),
        .end = db_column_int(r, 2),
        .discontinuity = db_column_int(r, 3) != 0,
        .torn = db_column_int(r, 4) != 0,
        .wall_ms = db_column_int(r, 5),
        .track = {{(uint32_t)db_column_int(r, 6), (uint32_t)db_column_int(r, 9), db_column_int(r, 7),
                   db_column_int(r, 8)},
                  {(uint32_t)db_column_int(r, 10), (uint32_t)db_column_int(r, 13), db_column_int(r, 11),
                   db_column_int(r, 12)}},
    };
    return true;
}

static bool load_target_duration(void *ctx, const struct db_row *r)
{
    ((struct loading *)ctx)->video->target_duration_s = (uint32_t)db_column_int(r, 0);
    return false;
}

enum err index_load_video(struct db *d, struct video *v, struct segment **segments, size_t *count)
{
    struct loading g = {.video = v};
    char id[ULID_TEXT_SIZE];
    enum err e;

    ulid_text(v->id, id);
    e = db_read(d, "SELECT track, codec, record, number FROM inits WHERE video_id = ? ORDER BY track, number",
                DB_VALUES(db_str(id)), load_init, &g);
    if (e == ERR_OK)
        e = g.e;
    if (e == ERR_OK)
        e = db_read(
            d,
            "SELECT number, start, end, discontinuity, torn, wall_ms, video_init, video_start, video_end,"
            " video_bytes, audio_init, audio_start, audio_end, audio_bytes"
            " FROM segments WHERE video_id = ? ORDER BY number",
            DB_VALUES(db_str(id)), load_segment, &g);
    if (e == ERR_OK)
        e = db_read(d, "SELECT target_duration FROM videos WHERE id = ?", DB_VALUES(db_str(id)),
                    load_target_duration, &g);
    if (e == ERR_OK)
        e = renditions_load(d, v, g.segments, g.count);
    *segments = g.segments;
    *count = g.count;
    return e;
}
