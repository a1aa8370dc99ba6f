/* live/journal.c - makes samples durable before they are acknowledged.
 *
 * Callers append to a queue in memory; one thread writes what has gathered with one writev() and one
 * fdatasync(), at most JOURNAL_SYNC_MS_MAX after the oldest of it came. While the disk refuses, the queue
 * stays and the write is tried again in a new file, so that a half-written tail is never built upon.
 *
 * On disk a record is 48 bytes of header and its payload, numbers big-endian:
 *    0  crc32c of all that follows        16  the video's ULID      36  dts
 *    4  payload size                      32  kind, track, keyframe, 0   44  pts - dts
 *    8  its own position in the log
 * The position in the header tells a record of this log from stale bytes of an earlier life of the file: a
 * file that nobody needs any more is kept as a spare and written over, which spares the disk its own
 * books: no blocks are found and no length changes when it is synced. */
#include "live/live_int.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEADER_BYTES   48
#define RETRY_MS       500
#define RECORDS_A_CALL 256 /* two pieces each; writev takes 1,024 */

METRIC(journal_bytes, METRIC_COUNTER, "matinee_journal_bytes_total", "Bytes made durable by the journal");
METRIC(journal_syncs, METRIC_COUNTER, "matinee_journal_syncs_total", "Group commits of the journal");
METRIC(journal_failures, METRIC_COUNTER, "matinee_journal_failures_total",
       "Writes or syncs that the disk refused");
METRIC(journal_waiting, METRIC_GAUGE, "matinee_journal_waiting_bytes", "Bytes that wait for the disk");

struct queued {
    uint8_t header[HEADER_BYTES];
    struct buffer *message;
    struct bytes payload;
};

struct queue {
    struct queued *records;
    size_t count, room, bytes;
};

/* A file of the log: positions from `start` on, up to the next one's. */
struct log_file {
    struct list link;
    uint64_t start;
};

struct journal {
    char *dir;
    struct journal_events events;
    void *ctx;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue queue; /* under the lock, as all up to `stopping` */
    uint64_t end;       /* the position behind the last record of the queue */
    bool idle;          /* the thread waits for a first record */
    bool urgent, stopping;
    struct list parts; /* oldest first */
    int fd;            /* of the newest part; the thread's alone, as all from here on */
    uint64_t written;  /* the position up to which fd is whole and synced */
    uint64_t part_start;
    bool in_trouble;
};

/* The one file that waits to be written over. */
static char *spare_path(const struct journal *j)
{
    return mem_printf("%s/spare", j->dir);
}

static char *part_path(const struct journal *j, uint64_t start)
{
    return mem_printf("%s/%016llx.log", j->dir, (unsigned long long)start);
}

/* --- reading ----------------------------------------------------------------------------------------- */

/* Reads the record at `position` from the beginning of `in`; 0 when there is no whole one. */
static size_t record_parse(struct record *out, struct bytes in, uint64_t position)
{
    struct cursor c = cursor_of(in);
    uint32_t crc = cursor_be32(&c);
    uint32_t size = cursor_be32(&c);

    if (c.short_of || size > JOURNAL_RECORD_BYTES_MAX || in.size < HEADER_BYTES + (size_t)size ||
        cursor_be64(&c) != position || crc32c(0, bytes_of(in.at + 4, HEADER_BYTES - 4 + size)) != crc)
        return 0;
    memcpy(out->video.b, cursor_take(&c, 16).at, 16);
    out->kind = (enum record_kind)cursor_u8(&c);
    out->track = cursor_u8(&c) == TRACK_AUDIO ? TRACK_AUDIO : TRACK_VIDEO;
    out->keyframe = cursor_u8(&c) != 0;
    (void)cursor_u8(&c);
    out->dts = (int64_t)cursor_be64(&c);
    out->pts = out->dts + (int32_t)cursor_be32(&c);
    out->payload = cursor_take(&c, size);
    return HEADER_BYTES + size;
}

/* Whether what follows the last whole record was meant to be one, and is not an earlier life of the file. */
static bool begins_record(struct bytes in, uint64_t position)
{
    struct cursor c = cursor_of(bytes_from(in, 8));

    return cursor_be64(&c) == position;
}

/* Shows the whole records of one file; *end is the position behind the last of them. */
static enum err replay_part(const struct journal *j, uint64_t start, uint64_t *end,
                            void (*replay)(void *ctx, const struct record *r, uint64_t position))
{
    char *path = part_path(j, start);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *map = MAP_FAILED;
    enum err e = ERR_OK;

    *end = start;
    if (fd < 0 || fstat(fd, &st) != 0) {
        e = err_from_errno(errno);
        goto out;
    }
    if (st.st_size == 0)
        goto out;
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
        e = err_from_errno(errno);
        goto out;
    }

    struct bytes left = bytes_of(map, (size_t)st.st_size);
    struct record r = {0};

    for (size_t size; (size = record_parse(&r, left, *end)) != 0; left = bytes_from(left, size), *end += size)
        replay(j->ctx, &r, *end);
    if (left.size >= HEADER_BYTES && begins_record(left, *end))
        log_warn("journal",
                 "%s: the last %zu bytes are no whole record and were never acknowledged; they are cut", path,
                 left.size);
out:
    if (map != MAP_FAILED)
        munmap(map, (size_t)st.st_size);
    if (fd >= 0)
        close(fd);
    free(path);
    return e;
}

static int by_start(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The starts of all files of the log, ascending; the caller frees. */
static enum err list_parts(const char *dir, uint64_t **out, size_t *count)
{
    DIR *d = opendir(dir);
    struct dirent *entry;

    *out = NULL;
    *count = 0;
    if (d == NULL)
        return err_from_errno(errno);
    while ((entry = readdir(d)) != NULL) {
        char *end;
        uint64_t start = strtoull(entry->d_name, &end, 16);

        if (end != entry->d_name + 16 || strcmp(end, ".log") != 0)
            continue;
        *out = mem_resize(*out, (*count + 1) * sizeof **out);
        (*out)[(*count)++] = start;
    }
    closedir(d);
    if (*count > 0)
        qsort(*out, *count, sizeof **out, by_start);
    return ERR_OK;
}

static enum err replay_all(struct journal *j,
                           void (*replay)(void *ctx, const struct record *r, uint64_t position))
{
    uint64_t *starts, end = 0;
    size_t count;
    enum err e = list_parts(j->dir, &starts, &count);

    for (size_t i = 0; i < count && e == ERR_OK; i++) {
        struct log_file *p = mem_new(sizeof *p);

        /* Another file may begin before the end of this one: its predecessor's tail was given up. */
        e = replay_part(j, starts[i], &end, replay);
        p->start = starts[i];
        list_push(&j->parts, &p->link);
        if (end > j->end)
            j->end = end;
    }
    free(starts);
    return e;
}

/* --- writing ----------------------------------------------------------------------------------------- */

/* Closes the file at hand and begins one at `written`. */
static enum err begin_part(struct journal *j)
{
    char *path = part_path(j, j->written), *spare = spare_path(j);
    int dir = -1;
    enum err e = ERR_OK;

    if (j->fd >= 0)
        close(j->fd);
    if (rename(spare, path) != 0 && errno != ENOENT)
        log_warn("journal", "%s cannot be used: %s", spare, err_text(err_from_errno(errno)));
    j->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (j->fd < 0 || (dir = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || fsync(dir) != 0) {
        e = err_from_errno(errno);
        if (j->fd >= 0)
            close(j->fd);
        j->fd = -1;
    } else {
        struct log_file *p = mem_new(sizeof *p);

        p->start = j->part_start = j->written;
        pthread_mutex_lock(&j->lock);
        bool known = !list_empty(&j->parts) &&
                     container_of(j->parts.previous, struct log_file, link)->start == p->start;

        if (known)
            free(p); /* the file of a failed attempt, begun anew */
        else
            list_push(&j->parts, &p->link);
        pthread_mutex_unlock(&j->lock);
    }
    if (dir >= 0)
        close(dir);
    free(spare);
    free(path);
    return e;
}

static enum err write_pieces(int fd, struct iovec *pieces, int count)
{
    while (count > 0) {
        ssize_t n = writev(fd, pieces, count);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_from_errno(errno);
        for (; count > 0 && (size_t)n >= pieces->iov_len; pieces++, count--)
            n -= (ssize_t)pieces->iov_len;
        if (count > 0) {
            pieces->iov_base = (uint8_t *)pieces->iov_base + n;
            pieces->iov_len -= (size_t)n;
        }
    }
    return ERR_OK;
}

static enum err write_queue(const struct journal *j, const struct queue *q)
{
    struct iovec pieces[RECORDS_A_CALL * 2];
    enum err e = ERR_OK;

    for (size_t i = 0; i < q->count && e == ERR_OK;) {
        int count = 0;

        for (; i < q->count && count + 2 <= RECORDS_A_CALL * 2; i++) {
            struct queued *r = &q->records[i];

            put_be32(r->header, crc32c(crc32c(0, bytes_of(r->header + 4, HEADER_BYTES - 4)), r->payload));
            pieces[count++] = (struct iovec){r->header, HEADER_BYTES};
            if (r->payload.size > 0)
                pieces[count++] = (struct iovec){(void *)(uintptr_t)r->payload.at, r->payload.size};
        }
        e = write_pieces(j->fd, pieces, count);
    }
    if (e == ERR_OK && fdatasync(j->fd) != 0)
        e = err_from_errno(errno);
    return e;
}

/* Gives the spare file's room back to a disk that is full. */
static void drop_spare(const struct journal *j)
{
    char *spare = spare_path(j);

    if (unlink(spare) != 0 && errno != ENOENT)
        log_warn("journal", "%s could not be removed: %s", spare, err_text(err_from_errno(errno)));
    free(spare);
}

/* Makes the whole of `q` durable, or leaves no trace of it: what a failed sync has left in the page cache
 * cannot be trusted, so the next attempt writes all of it again, into a new file at the same position. */
static enum err commit(struct journal *j, const struct queue *q)
{
    enum err e = ERR_OK;

    if (j->fd < 0 || j->written - j->part_start >= JOURNAL_FILE_BYTES_MAX)
        e = begin_part(j);
    if (e == ERR_OK)
        e = write_queue(j, q);
    if (e == ERR_OK) {
        j->written += q->bytes;
        metric_add(&journal_bytes, (long long)q->bytes);
        metric_add(&journal_syncs, 1);
        return ERR_OK;
    }
    metric_add(&journal_failures, 1);
    if (e == ERR_FULL)
        drop_spare(j);
    if (j->fd >= 0) {
        if (ftruncate(j->fd, (off_t)(j->written - j->part_start)) != 0)
            log_warn("journal", "a torn tail could not be cut: %s", err_text(err_from_errno(errno)));
        close(j->fd);
        j->fd = -1;
    }
    return e;
}

static void queue_empty(struct queue *q)
{
    for (size_t i = 0; i < q->count; i++)
        buffer_unref(q->records[i].message);
    q->count = q->bytes = 0;
}

static void wait_until(struct journal *j, int64_t due_ms, bool (*reason_to_go)(const struct journal *j))
{
    while (!reason_to_go(j) && clock_mono_ms() < due_ms) {
        struct timespec t = {due_ms / 1000, (due_ms % 1000) * 1000000};

        pthread_cond_timedwait(&j->wake, &j->lock, &t);
    }
}

static bool is_urgent(const struct journal *j)
{
    return j->urgent || j->stopping;
}

static bool is_stopping(const struct journal *j)
{
    return j->stopping;
}

static void *run(void *ctx)
{
    struct journal *j = ctx;
    struct queue q = {0};
    int64_t last_ms = 0;

    pthread_mutex_lock(&j->lock);
    for (;;) {
        j->idle = true;
        while (j->queue.count == 0 && !j->stopping)
            pthread_cond_wait(&j->wake, &j->lock);
        j->idle = false;
        if (j->queue.count == 0)
            break;
        wait_until(j, last_ms + JOURNAL_SYNC_MS_MAX, is_urgent);
        j->urgent = false;

        struct queue taken = j->queue;

        j->queue = q;
        pthread_mutex_unlock(&j->lock);
        q = taken;
        last_ms = clock_mono_ms();

        enum err e;

        while ((e = commit(j, &q)) != ERR_OK) {
            if (!j->in_trouble)
                j->events.trouble(j->ctx, e);
            j->in_trouble = true;
            pthread_mutex_lock(&j->lock);
            wait_until(j, clock_mono_ms() + RETRY_MS, is_stopping);
            bool stopping = j->stopping;

            pthread_mutex_unlock(&j->lock);
            if (stopping)
                break;
        }
        if (e == ERR_OK) {
            if (j->in_trouble)
                j->events.trouble(j->ctx, ERR_OK);
            j->in_trouble = false;
            j->events.durable(j->ctx, j->written);
        }
        queue_empty(&q);
        pthread_mutex_lock(&j->lock);
        metric_set(&journal_waiting, (long long)j->queue.bytes);
        if (e != ERR_OK)
            break; /* stopping, and the disk still refuses: what was not acknowledged is lost */
    }
    queue_empty(&j->queue);
    pthread_mutex_unlock(&j->lock);
    free(q.records);
    return NULL;
}

/* --- the room's calls -------------------------------------------------------------------------------- */

enum err journal_open(struct journal **out, const char *dir,
                      void (*replay)(void *ctx, const struct record *r, uint64_t position),
                      const struct journal_events *events, void *ctx)
{
    struct journal *j = mem_new(sizeof *j);
    pthread_condattr_t attributes;
    enum err e;

    *out = NULL;
    j->dir = mem_string(dir);
    j->events = *events;
    j->ctx = ctx;
    j->fd = -1;
    list_init(&j->parts);
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&j->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        e = err_from_errno(errno);
        goto out;
    }
    if ((e = replay_all(j, replay)) != ERR_OK)
        goto out;
    j->written = j->part_start = j->end;
    if (pthread_create(&j->thread, NULL, run, j) != 0) {
        e = ERR_LIMIT;
        goto out;
    }
    *out = j;
    return ERR_OK;
out:
    j->stopping = true;
    journal_close(j);
    return e;
}

void journal_close(struct journal *j)
{
    if (j == NULL)
        return;
    pthread_mutex_lock(&j->lock);
    bool never_ran = j->stopping;

    j->stopping = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
    if (!never_ran)
        pthread_join(j->thread, NULL);
    if (j->fd >= 0)
        close(j->fd);
    for (struct list *link; (link = list_pop(&j->parts)) != NULL;)
        free(container_of(link, struct log_file, link));
    pthread_cond_destroy(&j->wake);
    pthread_mutex_destroy(&j->lock);
    free(j->queue.records);
    free(j->dir);
    free(j);
}

uint64_t journal_append(struct journal *j, const struct record *r)
{
    pthread_mutex_lock(&j->lock);
    struct queue *q = &j->queue;

    if (q->count == q->room) {
        q->room = q->room ? q->room * 2 : 64;
        q->records = mem_resize(q->records, q->room * sizeof *q->records);
    }

    struct queued *to = &q->records[q->count++];
    uint8_t *h = to->header;

    put_be32(h + 4, (uint32_t)r->payload.size);
    put_be64(h + 8, j->end);
    memcpy(h + 16, r->video.b, 16);
    h[32] = (uint8_t)r->kind;
    h[33] = (uint8_t)r->track;
    h[34] = r->keyframe;
    h[35] = 0;
    put_be64(h + 36, (uint64_t)r->dts);
    put_be32(h + 44, (uint32_t)(r->pts - r->dts));
    to->message = buffer_ref(r->message);
    to->payload = r->payload;
    q->bytes += HEADER_BYTES + r->payload.size;
    j->end += HEADER_BYTES + r->payload.size;

    uint64_t end = j->end;

    if (j->idle)
        pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
    return end;
}

uint64_t journal_position(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    uint64_t end = j->end;

    pthread_mutex_unlock(&j->lock);
    return end;
}

void journal_sync(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->urgent = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
}

void journal_release(struct journal *j, uint64_t position)
{
    for (;;) {
        struct log_file *oldest = NULL;

        pthread_mutex_lock(&j->lock);
        if (!list_empty(&j->parts) && j->parts.next->next != &j->parts) {
            struct log_file *first = container_of(j->parts.next, struct log_file, link);
            struct log_file *second = container_of(first->link.next, struct log_file, link);

            if (second->start <= position) {
                list_remove(&first->link);
                oldest = first;
            }
        }
        pthread_mutex_unlock(&j->lock);
        if (oldest == NULL)
            return;

        char *path = part_path(j, oldest->start), *spare = spare_path(j);

        /* A second spare takes the place of the first, whose room is given back. */
        if (truncate(path, JOURNAL_FILE_BYTES_MAX) != 0 || rename(path, spare) != 0)
            log_warn("journal", "%s could not be put aside: %s", path, err_text(err_from_errno(errno)));
        free(spare);
        free(path);
        free(oldest);
    }
}
