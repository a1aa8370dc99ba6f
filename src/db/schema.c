/* db/schema.c - the tables, as a list of steps. A step that has shipped is never changed: add another. */
#include "db/db_int.h"

#include "base/log.h"

#include <stdio.h>

/* Ids are ULIDs as text, so that a person with a SQL shell sees what the API shows. Times are wall-clock
 * milliseconds; positions in a video are ticks of 1/90000 s. */
static const char *const step_1[] = {
    "CREATE TABLE events (id TEXT PRIMARY KEY, title TEXT NOT NULL, access TEXT NOT NULL, starts_at INTEGER,"
    " key_hash BLOB NOT NULL UNIQUE, created_at INTEGER NOT NULL, ended INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    "CREATE TABLE videos (id TEXT PRIMARY KEY, event_id TEXT NOT NULL, state TEXT NOT NULL,"
    " created_at INTEGER NOT NULL, target_duration INTEGER NOT NULL DEFAULT 0,"
    " ended_at INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    "CREATE INDEX videos_of_event ON videos (event_id, id)",
    /* One row per decoder configuration of a track: a publisher that changes it gets a new init segment. */
    "CREATE TABLE inits (video_id TEXT NOT NULL, track INTEGER NOT NULL, number INTEGER NOT NULL,"
    " codec INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, rate INTEGER NOT NULL,"
    " channels INTEGER NOT NULL, rfc6381 TEXT NOT NULL, record BLOB NOT NULL,"
    " PRIMARY KEY (video_id, track, number)) WITHOUT ROWID",
    "CREATE TABLE segments (video_id TEXT NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL,"
    " end INTEGER NOT NULL, discontinuity INTEGER NOT NULL, torn INTEGER NOT NULL, wall_ms INTEGER NOT NULL,"
    " video_init INTEGER NOT NULL, video_start INTEGER NOT NULL, video_end INTEGER NOT NULL, video_bytes INTEGER NOT NULL,"
    " audio_init INTEGER NOT NULL, audio_start INTEGER NOT NULL, audio_end INTEGER NOT NULL, audio_bytes INTEGER NOT NULL,"
    " PRIMARY KEY (video_id, number)) WITHOUT ROWID",
    NULL,
};

/* What is made of a source. videos.laddered: nothing is left to be made of it. */
static const char *const step_2[] = {
    "ALTER TABLE videos ADD COLUMN laddered INTEGER NOT NULL DEFAULT 0",
    "UPDATE videos SET laddered = 1 WHERE state = 'ended'",
    "CREATE TABLE renditions (video_id TEXT NOT NULL, name TEXT NOT NULL, codec INTEGER NOT NULL,"
    " width INTEGER NOT NULL, height INTEGER NOT NULL, archive INTEGER NOT NULL,"
    " fps INTEGER NOT NULL, PRIMARY KEY (video_id, name)) WITHOUT ROWID",
    "CREATE TABLE rendition_inits (video_id TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL,"
    " record BLOB NOT NULL, PRIMARY KEY (video_id, name, number)) WITHOUT ROWID",
    /* bytes 0 is a gap, and `reason` says why. */
    "CREATE TABLE rendition_segments (video_id TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL,"
    " init INTEGER NOT NULL, bytes INTEGER NOT NULL, reason TEXT NOT NULL,"
    " PRIMARY KEY (video_id, name, number)) WITHOUT ROWID",
    NULL,
};

/* Uploads. videos.state is 'importing' until the file has become segments; upload_bytes is the file's size, segment_ms the length
 * of segments it began with. */
static const char *const step_3[] = {
    "ALTER TABLE videos ADD COLUMN upload_bytes INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE videos ADD COLUMN segment_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE events ADD COLUMN upload_problem TEXT NOT NULL DEFAULT ''",
    NULL,
};

/* The box office. A unit's, a reservation's and a waiter's version grows with each change of it. reservations: `ikey` and `body`
 * are the Idempotency-Key and a digest of its request, so that the key, the effect and the answer are one row; `units` are lines
 * of key, tab and quantity, `first_units` those it was made with where they differ. waiters: `quantity` seats, whichever,
 * or `units`. */
static const char *const step_4[] = {
    "CREATE TABLE inventories (id TEXT PRIMARY KEY, name TEXT NOT NULL, locking TEXT NOT NULL, hold_ms INTEGER NOT NULL,"
    " kind TEXT NOT NULL, seat_rows INTEGER NOT NULL, per_row INTEGER NOT NULL, unit_count INTEGER NOT NULL,"
    " created_at INTEGER NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE units (inventory_id TEXT NOT NULL, ukey TEXT NOT NULL, capacity INTEGER NOT NULL, held INTEGER NOT NULL,"
    " sold INTEGER NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (inventory_id, ukey)) WITHOUT ROWID",
    "CREATE TABLE reservations (id TEXT PRIMARY KEY, inventory_id TEXT NOT NULL, ikey TEXT, body BLOB NOT NULL,"
    " customer TEXT NOT NULL, state TEXT NOT NULL, expires_at INTEGER NOT NULL, created_at INTEGER NOT NULL,"
    " version INTEGER NOT NULL, units TEXT NOT NULL, first_units TEXT, UNIQUE (inventory_id, ikey)) WITHOUT ROWID",
    "CREATE INDEX reservations_by_end ON reservations (state, expires_at)",
    "CREATE TABLE waiters (id TEXT PRIMARY KEY, inventory_id TEXT NOT NULL, customer TEXT NOT NULL, state TEXT NOT NULL,"
    " place INTEGER NOT NULL, version INTEGER NOT NULL, quantity INTEGER NOT NULL, units TEXT NOT NULL,"
    " reservation_id TEXT) WITHOUT ROWID",
    "CREATE INDEX waiters_in_line ON waiters (inventory_id, state, place)",
    "ALTER TABLE events ADD COLUMN inventory_id TEXT NOT NULL DEFAULT ''",
    NULL,
};

static const char *const *const steps[] = {step_1, step_2, step_3, step_4};

#define NEWEST ((int64_t)(sizeof steps / sizeof *steps))

static bool take_int(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = db_column_int(r, 0);
    return false;
}

static enum err take_step(void *ctx, struct db *d)
{
    int64_t number = *(const int64_t *)ctx;
    enum err e = ERR_OK;
    char version[64];

    for (const char *const *sql = steps[number]; *sql != NULL && e == ERR_OK; sql++)
        e = db_run(d, *sql, NULL, 0, NULL);
    snprintf(version, sizeof version, "PRAGMA user_version = %lld", (long long)number + 1);
    return e == ERR_OK ? db_run(d, version, NULL, 0, NULL) : e;
}

enum err schema_update(struct db *d, char why[256])
{
    int64_t version = 0;
    enum err e = db_read(d, "PRAGMA user_version", NULL, 0, take_int, &version);

    if (e == ERR_OK && version > NEWEST) {
        snprintf(
            why, 256,
            "the database was written by a newer matinee (schema %lld, this one knows %lld): update matinee",
            (long long)version, (long long)NEWEST);
        return ERR_UNSUPPORTED;
    }
    for (; e == ERR_OK && version < NEWEST; version++) {
        e = db_write(d, take_step, &version);
        if (e == ERR_OK)
            log_debug("db", "schema brought to version %lld", (long long)version + 1);
    }
    if (e != ERR_OK)
        snprintf(why, 256, "the database's tables could not be brought up to date: %s", err_text(e));
    return e;
}
