/* live/renditions.c - what has been made of a source: its rows, and what views show of it. Who makes it, and
 * how, is not known here (ladder/). */
#include "live/live_int.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* --- in memory --------------------------------------------------------------------------------------- */

void renditions_free(struct rendition *renditions, size_t count)
{
    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < renditions[r].init_count; i++) {
            buffer_unref(renditions[r].inits[i].record);
            buffer_unref(renditions[r].inits[i].bytes);
        }
        free(renditions[r].inits);
        free(renditions[r].made);
        free(renditions[r].parts);
    }
    free(renditions);
}

/* A segment without pictures is settled from the start. */
static void count_shown(struct rendition *r, const struct segment *segments, size_t count)
{
    r->shown = r->gaps = 0;
    while (r->shown < count &&
           (r->made[r->shown].state != MADE_NOT || segments[r->shown].track[TRACK_VIDEO].bytes == 0)) {
        r->gaps += r->made[r->shown].state == MADE_GAP;
        r->shown++;
    }
}

static void copy_rendition(struct rendition *to, const struct rendition *from, size_t made_count,
                           size_t segment_count)
{
    *to = *from;
    to->made = mem_new(segment_count * sizeof *to->made);
    if (made_count > 0)
        memcpy(to->made, from->made, made_count * sizeof *to->made);
    to->parts = mem_new(from->part_count * sizeof *to->parts);
    if (from->part_count > 0)
        memcpy(to->parts, from->parts, from->part_count * sizeof *to->parts);
    to->inits = mem_new(from->init_count * sizeof *to->inits);
    for (size_t i = 0; i < from->init_count; i++) {
        to->inits[i] = from->inits[i];
        buffer_ref(to->inits[i].record);
        buffer_ref(to->inits[i].bytes);
    }
}

struct rendition *renditions_copy(const struct rendition *from, size_t count, size_t made_count,
                                  const struct segment *segments, size_t segment_count)
{
    struct rendition *to = mem_new(count * sizeof *to);

    for (size_t r = 0; r < count; r++) {
        copy_rendition(&to[r], &from[r], made_count, segment_count);
        count_shown(&to[r], segments, segment_count);
    }
    return to;
}

static struct rendition *find(struct video *v, const char *name)
{
    for (size_t i = 0; i < v->rendition_count; i++)
        if (strcmp(v->renditions[i].name, name) == 0)
            return &v->renditions[i];
    return NULL;
}

/* Puts a rendition at its place, the tallest first. */
static struct rendition *insert(struct video *v, const struct rendition *r, size_t segment_count)
{
    size_t at = 0;

    while (at < v->rendition_count && v->renditions[at].height >= r->height)
        at++;
    v->renditions = mem_resize(v->renditions, (v->rendition_count + 1) * sizeof *v->renditions);
    memmove(v->renditions + at + 1, v->renditions + at, (v->rendition_count - at) * sizeof *v->renditions);
    v->rendition_count++;
    v->renditions[at] = (struct rendition){.codec = r->codec,
                                           .width = r->width,
                                           .height = r->height,
                                           .fps = r->fps,
                                           .archive = r->archive,
                                           .made = mem_new(segment_count * sizeof *r->made)};
    snprintf(v->renditions[at].name, RENDITION_NAME_SIZE, "%s", r->name);
    return &v->renditions[at];
}

static enum err add_init(struct rendition *r, uint32_t number, struct bytes record)
{
    struct init i = {.number = number};
    struct cmaf *c = NULL;
    const char *why;
    enum err e;

    if (rendition_init(r, number) != NULL)
        return ERR_OK;
    if ((e = codec_config_parse(&i.config, r->codec, record, &why)) == ERR_OK &&
        (e = cmaf_new(&c, &i.config, record, 0)) == ERR_OK)
        e = cmaf_init(c, &i.bytes);
    cmaf_free(c);
    if (e != ERR_OK)
        return e;
    i.record = buffer_copy(record);
    r->inits = mem_resize(r->inits, (r->init_count + 1) * sizeof *r->inits);
    r->inits[r->init_count++] = i;
    return ERR_OK;
}

static long index_of(const struct segment *segments, size_t count, uint32_t number)
{
    for (size_t i = count; i > 0; i--) /* it is mostly one of the last */
        if (segments[i - 1].number == number)
            return (long)i - 1;
    return -1;
}

const struct rendition *video_view_rendition(const struct video_view *v, const char *name)
{
    for (size_t i = 0; i < v->rendition_count; i++)
        if (strcmp(v->renditions[i].name, name) == 0)
            return &v->renditions[i];
    return NULL;
}

const struct init *rendition_init(const struct rendition *r, uint32_t number)
{
    for (size_t i = 0; i < r->init_count; i++)
        if (r->inits[i].number == number)
            return &r->inits[i];
    return NULL;
}

/* --- loading ----------------------------------------------------------------------------------------- */

struct loading {
    struct video *video;
    const struct segment *segments;
    size_t count;
    enum err e;
};

static bool load_rendition(void *ctx, const struct db_row *row)
{
    struct loading *g = ctx;
    struct rendition r = {.codec = (enum codec)db_column_int(row, 1),
                          .width = (uint32_t)db_column_int(row, 2),
                          .height = (uint32_t)db_column_int(row, 3),
                          .archive = db_column_int(row, 4) != 0,
                          .fps = (uint32_t)db_column_int(row, 5)};

    snprintf(r.name, sizeof r.name, "%s", db_column_text(row, 0));
    insert(g->video, &r, g->count);
    return true;
}

static bool load_init(void *ctx, const struct db_row *row)
{
    struct loading *g = ctx;
    struct rendition *r = find(g->video, db_column_text(row, 0));

    g->e = r ? add_init(r, (uint32_t)db_column_int(row, 1), db_column_blob(row, 2)) : ERR_OK;
    return g->e == ERR_OK;
}

static void set_made(struct rendition *r, long at, const struct rendition_made *m)
{
    r->made[at] = (struct made){m->bytes ? MADE_WHOLE : MADE_GAP, m->init, m->bytes};
    if (m->bytes == 0)
        snprintf(r->reason, sizeof r->reason, "%s", m->reason);
}

static bool load_made(void *ctx, const struct db_row *row)
{
    struct loading *g = ctx;
    struct rendition *r = find(g->video, db_column_text(row, 0));
    long at = index_of(g->segments, g->count, (uint32_t)db_column_int(row, 1));

    if (r != NULL && at >= 0)
        set_made(r, at,
                 &(struct rendition_made){.init = (uint32_t)db_column_int(row, 2),
                                          .bytes = (uint32_t)db_column_int(row, 3),
                                          .reason = db_column_text(row, 4)});
    return true;
}

enum err renditions_load(struct db *d, struct video *v, const struct segment *segments, size_t count)
{
    struct loading g = {v, segments, count, ERR_OK};
    char id[ULID_TEXT_SIZE];
    enum err e;

    ulid_text(v->id, id);
    if ((e = db_read(d, "SELECT name, codec, width, height, archive, fps FROM renditions WHERE video_id = ?",
                     DB_VALUES(db_str(id)), load_rendition, &g)) == ERR_OK &&
        (e = db_read(d, "SELECT name, number, record FROM rendition_inits WHERE video_id = ?",
                     DB_VALUES(db_str(id)), load_init, &g)) == ERR_OK &&
        (e = g.e) == ERR_OK)
        e = db_read(d,
                    "SELECT name, number, init, bytes, reason FROM rendition_segments WHERE video_id = ?"
                    " ORDER BY number",
                    DB_VALUES(db_str(id)), load_made, &g);
    return e;
}

/* --- changing ---------------------------------------------------------------------------------------- */

void live_on_change(struct live *l, void (*changed)(void *ctx, struct ulid video), void *ctx)
{
    pthread_mutex_lock(&l->lock);
    l->changed_told = changed;
    l->changed_ctx = ctx;
    pthread_mutex_unlock(&l->lock);
}

void renditions_tell(struct live *l, struct ulid video)
{
    pthread_mutex_lock(&l->lock);
    void (*told)(void *ctx, struct ulid video) = l->changed_told;
    void *ctx = l->changed_ctx;

    pthread_mutex_unlock(&l->lock);
    if (told != NULL)
        told(ctx, video);
}

size_t live_video_stored(struct live *l, const struct video_view *view)
{
    size_t waiting = 0;

    pthread_mutex_lock(&l->lock);
    const struct video *v = live_find_video(l, view->id);

    if (v != NULL) {
        const struct finished *first =
            list_empty(&v->spool) ? NULL : container_of(v->spool.next, struct finished, link);

        while (first != NULL && waiting < view->segment_count &&
               view->segments[view->segment_count - 1 - waiting].number >= first->segment.number)
            waiting++;
    }
    pthread_mutex_unlock(&l->lock);
    return view->segment_count - waiting;
}

/* A view that has been loaded, so that it can be shown anew; the caller's reference. */
static enum err view_of(struct live *l, struct ulid id, struct video_view **out)
{
    bool known;

    *out = live_video_peek(l, id, &known);
    if (*out != NULL)
        return ERR_OK;
    return known ? live_video_load(l, id, out) : ERR_MISSING;
}

struct change {
    const char *id;
    const struct rendition *rendition;
    const struct rendition_made *made;
};

static enum err write_begin(void *ctx, struct db *d)
{
    const struct change *c = ctx;
    const struct rendition *r = c->rendition;
    enum err e = db_run(d,
                        "INSERT INTO renditions (video_id, name, codec, width, height, archive, fps)"
                        " SELECT ?,?,?,?,?,?,? WHERE EXISTS (SELECT 1 FROM videos WHERE id = ?)"
                        " {or_keep:video_id}",
                        DB_VALUES(db_str(c->id), db_str(r->name), db_int(r->codec), db_int(r->width),
                                  db_int(r->height), db_int(r->archive), db_int(r->fps), db_str(c->id)),
                        NULL);

    return e == ERR_OK
               ? db_run(d, "UPDATE videos SET laddered = 0 WHERE id = ?", DB_VALUES(db_str(c->id)), NULL)
               : e;
}

enum err live_rendition_begin(struct live *l, struct ulid video, const struct rendition *r)
{
    char id[ULID_TEXT_SIZE];
    struct change change = {.id = ulid_text(video, id), .rendition = r};
    struct video_view *view;
    enum err e = view_of(l, video, &view);

    if (e != ERR_OK)
        return e;
    bool there = video_view_rendition(view, r->name) != NULL;

    if (!there && view->rendition_count == RENDITIONS_MAX)
        e = ERR_LIMIT;
    video_view_unref(view);
    if (there || e != ERR_OK || (e = db_write(l->options.db, write_begin, &change)) != ERR_OK)
        return e;
    pthread_mutex_lock(&l->lock);
    struct video *v = live_find_video(l, video);

    if (v != NULL) {
        v->rendition_changes++;
        if (v->view != NULL && find(v, r->name) == NULL) {
            insert(v, r, v->view->segment_count);
            video_show(v, NULL);
        }
    }
    pthread_mutex_unlock(&l->lock);
    return v != NULL ? ERR_OK : ERR_MISSING;
}

static enum err write_made(void *ctx, struct db *d)
{
    const struct change *c = ctx;
    const struct rendition_made *m = c->made;
    enum err e = ERR_OK;

    if (m->bytes > 0)
        e = db_run(d,
                   "INSERT INTO rendition_inits (video_id, name, number, record)"
                   " SELECT ?,?,?,? WHERE EXISTS (SELECT 1 FROM renditions WHERE video_id = ? AND name = ?)"
                   " {or_keep:video_id}",
                   DB_VALUES(db_str(c->id), db_str(m->name), db_int(m->init), db_blob(m->record),
                             db_str(c->id), db_str(m->name)),
                   NULL);
    if (e == ERR_OK)
        e = db_run(
            d,
            "INSERT INTO rendition_segments (video_id, name, number, init, bytes, reason)"
            " SELECT ?,?,?,?,?,? WHERE EXISTS (SELECT 1 FROM renditions WHERE video_id = ? AND name = ?)"
            " {or_keep:video_id}",
            DB_VALUES(db_str(c->id), db_str(m->name), db_int(m->number), db_int(m->init), db_int(m->bytes),
                      db_str(m->bytes ? "" : m->reason), db_str(c->id), db_str(m->name)),
            NULL);
    return e;
}

/* With the lock held: the row is there, now the view. */
static enum err show_made(struct video *v, const struct rendition_made *m)
{
    struct rendition *r = find(v, m->name);
    long at = index_of(v->view->segments, v->view->segment_count, m->number);
    enum err e = ERR_OK;

    if (r == NULL || at < 0)
        return ERR_MISSING;
    if (r->made[at].state != MADE_NOT)
        return ERR_OK;
    if (m->bytes > 0)
        e = add_init(r, m->init, m->record);
    if (e != ERR_OK)
        return e;
    set_made(r, at, m);
    video_show(v, NULL);
    return ERR_OK;
}

/* Whether it may be written at all. */
static enum err check_made(struct live *l, struct ulid video, const struct rendition_made *m, bool *done)
{
    struct video_view *view;
    enum err e = view_of(l, video, &view);
    struct codec_config config;
    const char *why;

    if (e != ERR_OK)
        return e;
    const struct rendition *r = video_view_rendition(view, m->name);
    long at = index_of(view->segments, view->segment_count, m->number);

    if (r == NULL || at < 0)
        e = ERR_MISSING;
    else if (r->made[at].state != MADE_NOT)
        *done = true;
    else if (m->bytes > 0)
        e = codec_config_parse(&config, r->codec, m->record, &why);
    video_view_unref(view);
    return e;
}

enum err live_rendition_made(struct live *l, struct ulid video, const struct rendition_made *m)
{
    char id[ULID_TEXT_SIZE];
    struct change change = {.id = ulid_text(video, id), .made = m};
    bool done = false;
    enum err e = check_made(l, video, m, &done);

    if (e != ERR_OK || done || (e = db_write(l->options.db, write_made, &change)) != ERR_OK)
        return e;
    pthread_mutex_lock(&l->lock);
    struct video *v = live_find_video(l, video);

    if (v != NULL)
        v->rendition_changes++;
    e = v == NULL ? ERR_MISSING : v->view == NULL ? ERR_OK : show_made(v, m);
    pthread_mutex_unlock(&l->lock);
    return e;
}

/* --- parts ------------------------------------------------------------------------------------------- */

/* Whether it goes on where the newest one ends. */
static bool part_follows(const struct rendition *r, const struct made_part *p)
{
    const struct made_part *last = r->part_count > 0 ? &r->parts[r->part_count - 1] : NULL;

    if (last != NULL && p->number == last->number)
        return p->chunk == last->chunk + 1;
    return p->chunk == 0 && (last == NULL || p->number > last->number);
}

/* Parts of the newest segments only. */
static void drop_old_parts(struct rendition *r)
{
    size_t segments = 0, from = r->part_count;

    while (from > 0) {
        bool other = from == r->part_count || r->parts[from - 1].number != r->parts[from].number;

        if (other && segments++ == LIVE_PART_SEGMENTS)
            break;
        from--;
    }
    r->part_count -= from;
    memmove(r->parts, r->parts + from, r->part_count * sizeof *r->parts);
}

enum err live_rendition_part(struct live *l, struct ulid video, const char *rendition,
                             const struct made_part *part, struct bytes record)
{
    enum err e = ERR_MISSING;

    pthread_mutex_lock(&l->lock);
    struct video *v = live_find_video(l, video);
    struct rendition *r = v != NULL && v->live && v->view != NULL ? find(v, rendition) : NULL;

    if (r != NULL && !part_follows(r, part))
        e = ERR_BAD;
    else if (r != NULL && (e = add_init(r, part->init, record)) == ERR_OK) {
        r->parts = mem_resize(r->parts, (r->part_count + 1) * sizeof *r->parts);
        r->parts[r->part_count] = *part;
        if (part->chunk > 0)
            r->parts[r->part_count].at = r->parts[r->part_count - 1].at + r->parts[r->part_count - 1].size;
        r->part_count++;
        drop_old_parts(r);
        video_show(v, NULL);
    }
    pthread_mutex_unlock(&l->lock);
    return e;
}

enum err live_finished(struct live *l, struct ulid video)
{
    char id[ULID_TEXT_SIZE];

    return index_finish_ladder(l->options.db, ulid_text(video, id));
}

struct unfinished {
    void (*each)(void *ctx, struct ulid video);
    void *ctx;
};

static bool tell_unfinished(void *ctx, const struct db_row *row)
{
    const struct unfinished *u = ctx;
    struct ulid id;

    if (ulid_parse(bytes_text(db_column_text(row, 0)), &id))
        u->each(u->ctx, id);
    return true;
}

enum err live_unfinished(struct live *l, void (*each)(void *ctx, struct ulid video), void *ctx)
{
    struct unfinished u = {each, ctx};

    char server[ULID_TEXT_SIZE];

    return db_read(
        l->options.db,
        "SELECT id FROM videos WHERE laddered = 0 AND home IN ('', '00000000000000000000000000', ?) ORDER BY id",
        DB_VALUES(db_str(ulid_text(l->server, server))), tell_unfinished, &u);
}
