/* live/upload.c - the files of finished recordings, from their first byte until import.c has made videos of them.
 *
 * A file lies in DATA/uploads and is called EVENT-VIDEO-BYTES: which event it is for, which video it will be, and how large it is
 * when it is whole. So the folder itself says how far every upload got, and nothing has to be kept in step with it. A file
 * whose video has no row is still coming; one whose video is being imported is needed; any other is left over. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct upload {
    struct live *live;
    struct ulid event, video;
    uint64_t total;
    _Atomic uint64_t have; /* read by whoever shows the event */
    int file;              /* -1: nothing has come, and nothing is to be written */
    char *path;
};

/* --- the folder -------------------------------------------------------------------------------------- */

struct upload_name {
    struct ulid event, video;
    uint64_t total;
};

#define ID_LENGTH (ULID_TEXT_SIZE - 1)

static bool name_parse(const char *text, struct upload_name *out)
{
    struct bytes b = bytes_text(text);

    return b.size > 2 * ID_LENGTH + 2 && b.at[ID_LENGTH] == '-' && b.at[2 * ID_LENGTH + 1] == '-' &&
           ulid_parse(bytes_head(b, ID_LENGTH), &out->event) &&
           ulid_parse(bytes_head(bytes_from(b, ID_LENGTH + 1), ID_LENGTH), &out->video) &&
           bytes_to_u64(bytes_from(b, 2 * ID_LENGTH + 2), UPLOAD_BYTES_MAX, &out->total);
}

static char *name_path(const struct live *l, const struct upload_name *n)
{
    char event[ULID_TEXT_SIZE], video[ULID_TEXT_SIZE];

    return mem_printf("%s/uploads/%s-%s-%llu", l->data_dir, ulid_text(n->event, event),
                      ulid_text(n->video, video), (unsigned long long)n->total);
}

static bool has_video(struct live *l, struct ulid id)
{
    pthread_mutex_lock(&l->lock);
    bool has = live_find_video(l, id) != NULL;

    pthread_mutex_unlock(&l->lock);
    return has;
}

/* Finds a file that `wanted` says yes to. */
static bool find(struct live *l, bool (*wanted)(struct live *l, const struct upload_name *n, struct ulid id),
                 struct ulid id, struct upload_name *out)
{
    char *path = mem_printf("%s/uploads", l->data_dir);
    DIR *dir = opendir(path);
    bool found = false;

    for (const struct dirent *d; dir != NULL && !found && (d = readdir(dir)) != NULL;)
        found = name_parse(d->d_name, out) && wanted(l, out, id);
    if (dir != NULL)
        closedir(dir);
    free(path);
    return found;
}

static bool is_coming(struct live *l, const struct upload_name *n, struct ulid event)
{
    return ulid_equal(n->event, event) && !has_video(l, n->video);
}

static bool is_of_event(struct live *l, const struct upload_name *n, struct ulid event)
{
    return ulid_equal(n->event, event);
}

static bool is_of_video(struct live *l, const struct upload_name *n, struct ulid video)
{
    return ulid_equal(n->video, video);
}

static bool is_left_over(struct live *l, const struct upload_name *n, struct ulid nothing)
{
    pthread_mutex_lock(&l->lock);
    const struct video *v = live_find_video(l, n->video);
    bool left = live_find_event(l, n->event) == NULL || (v != NULL && !v->importing);

    pthread_mutex_unlock(&l->lock);
    return left;
}

static void remove_path(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        log_warn("live", "%s could not be removed: %s", path, err_text(err_from_errno(errno)));
}

/* Removes all files that `wanted` says yes to; stops at one that cannot be removed. */
static void remove_all(struct live *l,
                       bool (*wanted)(struct live *l, const struct upload_name *n, struct ulid id),
                       struct ulid id)
{
    struct upload_name n, before = {.total = 0};

    while (find(l, wanted, id, &n) && memcmp(&n, &before, sizeof n) != 0) {
        char *path = name_path(l, &n);

        remove_path(path);
        free(path);
        before = n;
    }
}

int upload_file(struct live *l, struct ulid video)
{
    struct upload_name n;
    int file = -1;

    if (find(l, is_of_video, video, &n)) {
        char *path = name_path(l, &n);

        file = open(path, O_RDONLY | O_CLOEXEC);
        free(path);
    }
    return file;
}

void upload_remove_file(struct live *l, struct ulid video)
{
    remove_all(l, is_of_video, video);
}

void upload_forget(struct live *l, struct ulid event)
{
    remove_all(l, is_of_event, event);
}

enum err upload_sweep(struct live *l)
{
    char *path = mem_printf("%s/uploads", l->data_dir);
    enum err e = mkdir(path, 0700) == 0 || errno == EEXIST ? ERR_OK : err_from_errno(errno);

    free(path);
    remove_all(l, is_left_over, (struct ulid){.b = {0}});
    return e;
}

/* Makes a name in the folder durable, or its absence. */
static enum err sync_folder(const struct live *l)
{
    char *path = mem_printf("%s/uploads", l->data_dir);
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err e = dir >= 0 && fsync(dir) == 0 ? ERR_OK : err_from_errno(errno);

    if (dir >= 0)
        close(dir);
    free(path);
    return e;
}

/* --- an event's place -------------------------------------------------------------------------------- */

/* With the lock held: waits for the end of an upload whose connection has broken and is not cleared away yet. */
static const struct event *wait_for_place(struct live *l, struct ulid id)
{
    int64_t due_ms = clock_wall_ms() + UPLOAD_WAIT_MS_MAX;
    struct timespec due = {due_ms / 1000, due_ms % 1000 * 1000000};
    const struct event *e;

    while ((e = live_find_event(l, id)) != NULL && e->upload != NULL &&
           pthread_cond_timedwait(&l->changed, &l->lock, &due) == 0)
        continue;
    return e;
}

static enum err take_place(struct upload *u, char why[256])
{
    struct live *l = u->live;
    enum err result = ERR_OK;

    pthread_mutex_lock(&l->lock);
    const struct event *e = wait_for_place(l, u->event);
    bool is_live =
        e != NULL && (e->publication != NULL || (e->video != NULL && e->video->live && !e->video->importing));

    if (e == NULL || e->closed) {
        result = ERR_MISSING;
    } else if (is_live) {
        result = ERR_BUSY;
        snprintf(why, 256, "The event is live; end it before a recording is uploaded to it.");
    } else if (e->upload != NULL) {
        result = ERR_BUSY;
        snprintf(why, 256, "Another upload to this event is running; wait for its end.");
    } else if (l->draining || l->options.reader.read == NULL) {
        result = ERR_TIMEOUT;
    } else {
        live_find_event(l, u->event)->upload = u;
    }
    pthread_mutex_unlock(&l->lock);
    return result;
}

void live_upload_close(struct upload *u)
{
    struct event *e;

    if (u == NULL)
        return;
    pthread_mutex_lock(&u->live->lock);
    e = live_find_event(u->live, u->event);
    if (e != NULL && e->upload == u)
        e->upload = NULL;
    pthread_cond_broadcast(&u->live->changed);
    pthread_mutex_unlock(&u->live->lock);
    if (u->file >= 0)
        close(u->file);
    free(u->path);
    free(u);
}

void upload_view_of(const struct event *e, struct upload_view *out)
{
    *out = (struct upload_view){.state = UPLOAD_NONE};
    if (e->upload != NULL) {
        out->state = UPLOAD_RECEIVING;
        out->received = atomic_load(&e->upload->have);
        out->total = e->upload->total;
    } else if (e->video != NULL && e->video->importing) {
        out->state = UPLOAD_IMPORTING;
        out->video = e->video->id;
    } else if (e->upload_problem != NULL) {
        out->state = UPLOAD_FAILED;
        out->problem = mem_string(e->upload_problem);
    }
}

/* --- receiving --------------------------------------------------------------------------------------- */

/* A disk that is nearly full says so before gigabytes have been sent. */
static enum err check_room(const struct upload *u)
{
    struct statvfs disk;

    if (fstatvfs(u->file, &disk) != 0)
        return ERR_OK; /* then it shows when it is written */
    return (uint64_t)disk.f_bavail * disk.f_frsize < u->total - u->have ? ERR_FULL : ERR_OK;
}

/* What came before, made durable before anybody is told of it. */
static enum err open_file(struct upload *u, bool create)
{
    struct stat s;
    enum err e = ERR_OK;

    u->file = open(u->path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (u->file < 0 || fstat(u->file, &s) != 0)
        return err_from_errno(errno);
    u->have = (uint64_t)s.st_size;
    if (u->have > u->total)
        return ERR_BAD;
    if (fsync(u->file) != 0)
        e = err_from_errno(errno);
    if (e == ERR_OK && create)
        e = sync_folder(u->live);
    return e == ERR_OK ? check_room(u) : e;
}

static enum err find_file(struct upload *u, uint64_t from, bool anew, char why[256])
{
    struct upload_name n;
    bool found = !anew && find(u->live, is_coming, u->event, &n);

    if (anew)
        remove_all(u->live, is_coming, u->event);
    if (found && n.total != u->total) {
        snprintf(
            why, 256,
            "An upload of %llu bytes to this event was begun, and this one says %llu. Go on with that file, or send this one "
            "whole, without Content-Range, to begin anew.",
            (unsigned long long)n.total, (unsigned long long)u->total);
        return ERR_STALE;
    }
    if (!found && from != 0)
        return ERR_OK; /* it is told that nothing has come */
    if (!found)
        n = (struct upload_name){u->event, ulid_new(), u->total};
    u->video = n.video;
    u->path = name_path(u->live, &n);
    return open_file(u, !found);
}

enum err live_upload_open(struct live *l, struct ulid event, uint64_t total, uint64_t from, bool anew,
                          struct upload **out, char why[256])
{
    struct upload *u = mem_new(sizeof *u);
    enum err e;

    *out = NULL;
    why[0] = '\0';
    u->live = l;
    u->event = event;
    u->total = total;
    u->file = -1;
    if ((e = take_place(u, why)) == ERR_OK)
        e = find_file(u, from, anew, why);
    if (e == ERR_OK)
        *out = u;
    else
        live_upload_close(u);
    return e;
}

uint64_t live_upload_have(const struct upload *u)
{
    return u->have;
}

enum err live_upload_write(struct upload *u, struct bytes piece)
{
    if (piece.size == 0)
        return ERR_OK;
    if (u->file < 0 || piece.size > u->total - u->have)
        return ERR_LIMIT;
    while (piece.size > 0) {
        ssize_t n = pwrite(u->file, piece.at, piece.size, (off_t)u->have);

        if (n < 0 && errno != EINTR)
            return err_from_errno(errno);
        if (n > 0) {
            piece = bytes_from(piece, (size_t)n);
            u->have += (uint64_t)n;
        }
    }
    return ERR_OK;
}

enum err live_upload_sync(struct upload *u)
{
    return u->file < 0 || fsync(u->file) == 0 ? ERR_OK : err_from_errno(errno);
}

bool live_uploaded(struct live *l, struct ulid event, uint64_t total, struct ulid *video)
{
    struct upload_name n;
    bool found = false;

    if (find(l, is_coming, event, &n))
        return false;
    pthread_mutex_lock(&l->lock);
    for (size_t i = l->video_count; i > 0 && !found; i--) {
        const struct video *v = live_find_video(l, l->video_order[i - 1]);

        if (!ulid_equal(v->event->id, event) || v->upload_bytes == 0)
            continue;
        found = v->upload_bytes == total;
        *video = v->id;
        break;
    }
    pthread_mutex_unlock(&l->lock);
    return found;
}

/* --- a whole file becomes a video -------------------------------------------------------------------- */

/* The first sample ends the look: there is something, and all tracks are taken. */
static enum err look_at(void *ctx, const struct recorded *r)
{
    bool *has_sample = ctx;
    struct codec_config config;
    const char *nothing;

    if (r->kind == RECORDED_TRACK)
        return codec_config_parse(&config, r->codec, r->payload, &nothing);
    *has_sample = true;
    return ERR_CLOSED;
}

static enum err look(struct upload *u, char why[256])
{
    const struct recording_reader *reader = &u->live->options.reader;
    bool has_sample = false;
    struct recording_taker taker = {.take = look_at, .ctx = &has_sample, .ms_max = UPLOAD_LOOK_MS_MAX};
    int file = open(u->path, O_RDONLY | O_CLOEXEC); /* the child gets one that it cannot write to */
    enum err e = file < 0 ? err_from_errno(errno) : reader->read(reader->program, file, &taker, why);

    if (file >= 0)
        close(file);
    if (has_sample)
        return ERR_OK;
    if (e == ERR_OK || (e == ERR_BAD && why[0] == '\0')) {
        snprintf(why, 256, "there is neither picture nor sound in it");
        e = ERR_BAD;
    }
    return e;
}

static void throw_away(struct upload *u)
{
    remove_path(u->path);
    if (sync_folder(u->live) != ERR_OK)
        log_warn("live", "%s was removed, and may be back after a power loss", u->path);
}

/* Shows the video and has it imported; ERR_MISSING: its event was deleted meanwhile. */
static enum err list_video(struct upload *u, struct video *v)
{
    struct live *l = u->live;

    pthread_mutex_lock(&l->lock);
    struct event *e = live_find_event(l, u->event);

    if (e != NULL && !e->closed) {
        v->event = e;
        free(e->upload_problem);
        e->upload_problem = NULL;
        live_add_video(l, v);
        video_show(v, NULL);
        pthread_cond_broadcast(&l->changed);
    } else {
        e = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    return e ? ERR_OK : ERR_MISSING;
}

static enum err begin_video(struct upload *u)
{
    struct live *l = u->live;
    struct event owner = {.id = u->event};
    struct video *v = video_new(l, &owner, u->video);
    enum err e;

    v->live = v->importing = true;
    video_has_row(v);
    v->created_at_ms = clock_wall_ms();
    v->upload_bytes = u->total;
    v->segment_ms = l->options.segment_ms;
    v->needed_from = UINT64_MAX;
    if ((e = index_add_import(l->options.db, v)) == ERR_OK && (e = list_video(u, v)) == ERR_MISSING &&
        index_remove_video(l->options.db, u->video) != ERR_OK)
        log_warn("live", "an upload's event was deleted; a row of it is left");
    if (e != ERR_OK)
        video_free(v);
    return e;
}

enum err live_upload_finish(struct upload *u, struct ulid *video, char why[256])
{
    enum err e;

    why[0] = '\0';
    *video = u->video;
    if ((e = live_upload_sync(u)) != ERR_OK)
        return e;
    e = look(u, why);
    if (e == ERR_OK)
        e = begin_video(u);
    if (e == ERR_BAD || e == ERR_UNSUPPORTED || e == ERR_LIMIT || e == ERR_MISSING)
        throw_away(u);
    return e;
}
