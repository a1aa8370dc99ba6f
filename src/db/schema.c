/* db/schema.c - the tables, as a list of steps. A step that has shipped is never changed: add another. */
#include "db/db_int.h"

#include "base/log.h"

#include <stdio.h>

/* Ids are ULIDs as text, so that a person with a SQL shell sees what the API shows. Times are wall-clock
 * milliseconds; positions in a video are ticks of 1/90000 s. */
static const char *const step_1[] = {
    "CREATE TABLE {if_new} events (id {id} PRIMARY KEY, title {text} NOT NULL, access {name} NOT NULL, starts_at {int},"
    " key_hash {hash} NOT NULL UNIQUE, created_at {int} NOT NULL, ended {int} NOT NULL DEFAULT 0) {end}",
    "CREATE TABLE {if_new} videos (id {id} PRIMARY KEY, event_id {id} NOT NULL, state {name} NOT NULL,"
    " created_at {int} NOT NULL, target_duration {int} NOT NULL DEFAULT 0,"
    " ended_at {int} NOT NULL DEFAULT 0) {end}",
    "CREATE INDEX {if_new} videos_of_event ON videos (event_id, id)",
    /* One row per decoder configuration of a track: a publisher that changes it gets a new init segment. */
    "CREATE TABLE {if_new} inits (video_id {id} NOT NULL, track {int} NOT NULL, number {int} NOT NULL,"
    " codec {int} NOT NULL, width {int} NOT NULL, height {int} NOT NULL, rate {int} NOT NULL,"
    " channels {int} NOT NULL, rfc6381 {text} NOT NULL, record {blob} NOT NULL,"
    " PRIMARY KEY (video_id, track, number)) {end}",
    "CREATE TABLE {if_new} segments (video_id {id} NOT NULL, number {int} NOT NULL, start {int} NOT NULL,"
    " end {int} NOT NULL, discontinuity {int} NOT NULL, torn {int} NOT NULL, wall_ms {int} NOT NULL,"
    " video_init {int} NOT NULL, video_start {int} NOT NULL, video_end {int} NOT NULL, video_bytes {int} NOT NULL,"
    " audio_init {int} NOT NULL, audio_start {int} NOT NULL, audio_end {int} NOT NULL, audio_bytes {int} NOT NULL,"
    " PRIMARY KEY (video_id, number)) {end}",
    NULL,
};

/* What is made of a source. videos.laddered: nothing is left to be made of it. */
static const char *const step_2[] = {
    "ALTER TABLE videos ADD COLUMN {if_new} laddered {int} NOT NULL DEFAULT 0",
    "UPDATE videos SET laddered = 1 WHERE state = 'ended'",
    "CREATE TABLE {if_new} renditions (video_id {id} NOT NULL, name {name} NOT NULL, codec {int} NOT NULL,"
    " width {int} NOT NULL, height {int} NOT NULL, archive {int} NOT NULL,"
    " fps {int} NOT NULL, PRIMARY KEY (video_id, name)) {end}",
    "CREATE TABLE {if_new} rendition_inits (video_id {id} NOT NULL, name {name} NOT NULL, number {int} NOT NULL,"
    " record {blob} NOT NULL, PRIMARY KEY (video_id, name, number)) {end}",
    /* bytes 0 is a gap, and `reason` says why. */
    "CREATE TABLE {if_new} rendition_segments (video_id {id} NOT NULL, name {name} NOT NULL, number {int} NOT NULL,"
    " init {int} NOT NULL, bytes {int} NOT NULL, reason {text} NOT NULL,"
    " PRIMARY KEY (video_id, name, number)) {end}",
    NULL,
};

/* Uploads. videos.state is 'importing' until the file has become segments; upload_bytes is the file's size, segment_ms the length
 * of segments it began with. */
static const char *const step_3[] = {
    "ALTER TABLE videos ADD COLUMN {if_new} upload_bytes {int} NOT NULL DEFAULT 0",
    "ALTER TABLE videos ADD COLUMN {if_new} segment_ms {int} NOT NULL DEFAULT 0",
    "ALTER TABLE events ADD COLUMN {if_new} upload_problem {text} NOT NULL DEFAULT ''",
    NULL,
};

/* The box office. A unit's, a reservation's and a waiter's version grows with each change of it. reservations: `ikey` and `body`
 * are the Idempotency-Key and a digest of its request, so that the key, the effect and the answer are one row; `units` are lines
 * of key, tab and quantity, `first_units` those it was made with where they differ. waiters: `quantity` seats, whichever,
 * or `units`. */
static const char *const step_4[] = {
    "CREATE TABLE {if_new} inventories (id {id} PRIMARY KEY, name {text} NOT NULL, locking {name} NOT NULL, hold_ms {int} NOT NULL,"
    " kind {name} NOT NULL, seat_rows {int} NOT NULL, per_row {int} NOT NULL, unit_count {int} NOT NULL,"
    " created_at {int} NOT NULL, version {int} NOT NULL) {end}",
    "CREATE TABLE {if_new} units (inventory_id {id} NOT NULL, ukey {name} NOT NULL, capacity {int} NOT NULL, held {int} NOT NULL,"
    " sold {int} NOT NULL, version {int} NOT NULL, PRIMARY KEY (inventory_id, ukey)) {end}",
    "CREATE TABLE {if_new} reservations (id {id} PRIMARY KEY, inventory_id {id} NOT NULL, ikey {key}, body {hash} NOT NULL,"
    " customer {text} NOT NULL, state {name} NOT NULL, expires_at {int} NOT NULL, created_at {int} NOT NULL,"
    " version {int} NOT NULL, units {text} NOT NULL, first_units {text}, UNIQUE (inventory_id, ikey)) {end}",
    "CREATE INDEX {if_new} reservations_by_end ON reservations (state, expires_at)",
    "CREATE TABLE {if_new} waiters (id {id} PRIMARY KEY, inventory_id {id} NOT NULL, customer {text} NOT NULL, state {name} NOT NULL,"
    " place {int} NOT NULL, version {int} NOT NULL, quantity {int} NOT NULL, units {text} NOT NULL,"
    " reservation_id {id}) {end}",
    "CREATE INDEX {if_new} waiters_in_line ON waiters (inventory_id, state, place)",
    "ALTER TABLE events ADD COLUMN {if_new} inventory_id {id} NOT NULL DEFAULT ''",
    NULL,
};

/* Comments. comment_feeds.next_seq is the video's next number, locked by whoever gives numbers. comments.state: 0 shown, 1 held,
 * 2 deleted (author and data are empty), 3 the log's entry of a deletion (its `cid` is NULL; `data` is the id that was deleted);
 * `offset_us` millionths of a second, `digest` of what was asked. comment_rules: `words` are lines. */
static const char *const step_5[] = {
    "CREATE TABLE {if_new} comment_feeds (video_id {id} PRIMARY KEY, next_seq {int} NOT NULL) {end}",
    "CREATE TABLE {if_new} comments (video_id {id} NOT NULL, seq {int} NOT NULL, state {int} NOT NULL, cid {key},"
    " author {name} NOT NULL, data {text} NOT NULL, offset_us {int} NOT NULL, created_at {int} NOT NULL,"
    " digest {hash} NOT NULL, PRIMARY KEY (video_id, seq), UNIQUE (video_id, cid)) {end}",
    "CREATE INDEX {if_new} comments_by_position ON comments (video_id, offset_us, seq)",
    "CREATE TABLE {if_new} comments_held (video_id {id} NOT NULL, cid {key} NOT NULL, PRIMARY KEY (video_id, cid)) {end}",
    "CREATE TABLE {if_new} comment_rules (event_id {id} PRIMARY KEY, open {int} NOT NULL, hold_links {int} NOT NULL,"
    " slow_s {int} NOT NULL, audience {int} NOT NULL, followed_s {int} NOT NULL, words {text} NOT NULL) {end}",
    "CREATE TABLE {if_new} comment_muted (event_id {id} NOT NULL, author {name} NOT NULL, since {int} NOT NULL,"
    " PRIMARY KEY (event_id, author)) {end}",
    "CREATE TABLE {if_new} comment_followers (event_id {id} NOT NULL, author {name} NOT NULL, since {int} NOT NULL,"
    " PRIMARY KEY (event_id, author)) {end}",
    NULL,
};

/* Viewers' tokens: the keys that sign them, and the reservations whose tokens are refused if issued before `revoked_at`. */
static const char *const step_6[] = {
    "CREATE TABLE {if_new} token_keys (id {id} PRIMARY KEY, secret {hash} NOT NULL, created_at {int} NOT NULL) {end}",
    "CREATE TABLE {if_new} token_revocations (reservation_id {id} PRIMARY KEY, revoked_at {int} NOT NULL) {end}",
    "CREATE INDEX {if_new} token_revocations_by_time ON token_revocations (revoked_at)",
    NULL,
};

/* One ticket, one screen. ticket_passes: what lets one person in: the reservation itself (id = reservation_id), and the links that its
 * buyer gave away. ticket_screens: who watches with it; `seen_at` grows as long as its page is there. events.screens: how many screens a
 * pass is good for, 0: any number; screens_refuse: a further one is refused, and does not take over. api_tokens: of people who work here. */
static const char *const step_7[] = {
    "CREATE TABLE {if_new} ticket_passes (id {id} PRIMARY KEY, reservation_id {id} NOT NULL, name {text} NOT NULL,"
    " made_at {int} NOT NULL) {end}",
    "CREATE INDEX {if_new} ticket_passes_of ON ticket_passes (reservation_id, made_at)",
    "CREATE TABLE {if_new} ticket_screens (pass_id {id} NOT NULL, session_id {id} NOT NULL, since {int} NOT NULL,"
    " seen_at {int} NOT NULL, PRIMARY KEY (pass_id, session_id)) {end}",
    "ALTER TABLE events ADD COLUMN {if_new} screens {int} NOT NULL DEFAULT 0",
    "ALTER TABLE events ADD COLUMN {if_new} screens_refuse {int} NOT NULL DEFAULT 0",
    "CREATE TABLE {if_new} api_tokens (id {id} PRIMARY KEY, hash {hash} NOT NULL UNIQUE, name {text} NOT NULL, role {name} NOT NULL,"
    " every_event {int} NOT NULL, created_at {int} NOT NULL, used_at {int} NOT NULL DEFAULT 0) {end}",
    "CREATE TABLE {if_new} api_token_events (token_id {id} NOT NULL, event_id {id} NOT NULL, PRIMARY KEY (token_id, event_id)) {end}",
    NULL,
};

/* Several servers. videos.home: the server it is published to, which alone writes it until it has ended; '' in rows from before.
 * servers.beat grows as long as the server lives. catalog, one row: `version` grows with every change of what events and videos
 * there are. */
static const char *const step_8[] = {
    "ALTER TABLE videos ADD COLUMN {if_new} home {id} NOT NULL DEFAULT ''",
    "CREATE TABLE {if_new} servers (id {id} PRIMARY KEY, url {text} NOT NULL, beat {int} NOT NULL) {end}",
    "CREATE TABLE {if_new} catalog (id {int} PRIMARY KEY, version {int} NOT NULL) {end}",
    "INSERT INTO catalog (id, version) VALUES (1, 1) {or_keep:id}",
    NULL,
};

static const char *const *const steps[] = {step_1, step_2, step_3, step_4, step_5, step_6, step_7, step_8};

#define NEWEST ((int64_t)(sizeof steps / sizeof *steps))

enum err schema_update(struct db *d, char why[256])
{
    int64_t version = 0;
    enum err e = d->kind->schema_version(d, &version);

    if (e == ERR_OK && version > NEWEST) {
        snprintf(
            why, 256,
            "the database was written by a newer matinee (schema %lld, this one knows %lld): update matinee",
            (long long)version, (long long)NEWEST);
        e = ERR_UNSUPPORTED;
    } else {
        for (; e == ERR_OK && version < NEWEST; version++)
            if ((e = d->kind->schema_step(d, steps[version], version + 1)) == ERR_OK)
                log_debug("db", "schema brought to version %lld", (long long)version + 1);
        if (e != ERR_OK)
            snprintf(why, 256, "the database's tables could not be brought up to date: %s%s", err_text(e),
                     e == ERR_DENIED ? "; the user must be allowed to make and change tables there" : "");
    }
    d->kind->schema_done(d);
    return e;
}
