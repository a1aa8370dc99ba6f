/* store/disk.c - objects in files of this machine: what is held and has no room in memory, and of a store that is elsewhere what was
 * read and may be read again. Nothing here is the only copy (held objects stand in the journal too), so nothing is
 * synced, and what an earlier run left is removed. A file whose checksum is wrong is as good as none. */
#include "store/store_int.h"

#include "base/crc32c.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct kept {
    struct list link; /* on the list of its kind; the one used last is at the end */
    char *name;
    uint64_t number; /* its file's */
    size_t size;
    uint32_t checksum;
    bool held;
};

struct disk {
    pthread_mutex_t lock;
    char *dir;
    struct map *entries;
    struct list used, held;
    uint64_t next_number;
    size_t bytes, bytes_max; /* of those not held */
    size_t held_bytes;
};

static char *path_of(const struct disk *d, uint64_t number)
{
    return mem_printf("%s/%llu.object", d->dir, (unsigned long long)number);
}

static void sweep(const char *dir)
{
    DIR *list = opendir(dir);

    for (struct dirent *e; list != NULL && (e = readdir(list)) != NULL;)
        if (strstr(e->d_name, ".object") != NULL)
            unlinkat(dirfd(list), e->d_name, 0);
    if (list != NULL)
        closedir(list);
}

enum err disk_open(struct disk **out, const char *dir, size_t bytes_max)
{
    struct disk *d;

    *out = NULL;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_from_errno(errno);
    sweep(dir);
    d = mem_new(sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    d->dir = mem_string(dir);
    d->entries = map_new();
    list_init(&d->used);
    list_init(&d->held);
    d->bytes_max = bytes_max;
    *out = d;
    return ERR_OK;
}

/* With the lock held. */
static void drop(struct disk *d, struct kept *k)
{
    char *path = path_of(d, k->number);

    unlink(path);
    free(path);
    *(k->held ? &d->held_bytes : &d->bytes) -= k->size;
    map_remove(d->entries, bytes_text(k->name));
    list_remove(&k->link);
    free(k->name);
    free(k);
}

static void make_room(struct disk *d)
{
    while (d->bytes > d->bytes_max && !list_empty(&d->used))
        drop(d, container_of(d->used.next, struct kept, link));
}

void disk_close(struct disk *d)
{
    if (d == NULL)
        return;
    while (!list_empty(&d->used))
        drop(d, container_of(d->used.next, struct kept, link));
    while (!list_empty(&d->held))
        drop(d, container_of(d->held.next, struct kept, link));
    map_free(d->entries);
    pthread_mutex_destroy(&d->lock);
    free(d->dir);
    free(d);
}

static enum err write_file(const char *path, struct bytes content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum err e = fd < 0 ? err_from_errno(errno) : ERR_OK;

    while (e == ERR_OK && content.size > 0) {
        ssize_t n = write(fd, content.at, content.size);

        if (n < 0 && errno != EINTR)
            e = err_from_errno(errno);
        else if (n > 0)
            content = bytes_from(content, (size_t)n);
    }
    if (fd >= 0 && close(fd) != 0 && e == ERR_OK)
        e = err_from_errno(errno);
    if (e != ERR_OK)
        unlink(path);
    return e;
}

enum err disk_put(struct disk *d, const char *name, struct bytes content, bool held)
{
    struct kept *k = mem_new(sizeof *k);
    char *path;
    enum err e;

    *k = (struct kept){
        .name = mem_string(name), .size = content.size, .held = held, .checksum = crc32c(0, content)};
    list_init(&k->link);
    pthread_mutex_lock(&d->lock);
    k->number = d->next_number++;
    pthread_mutex_unlock(&d->lock);
    path = path_of(d, k->number);
    if ((e = write_file(path, content)) == ERR_OK) {
        pthread_mutex_lock(&d->lock);
        struct kept *before = map_get(d->entries, bytes_text(name));

        if (before != NULL)
            drop(d, before);
        map_put(d->entries, bytes_text(name), k);
        list_push(held ? &d->held : &d->used, &k->link);
        *(held ? &d->held_bytes : &d->bytes) += k->size;
        make_room(d);
        pthread_mutex_unlock(&d->lock);
    } else {
        free(k->name);
        free(k);
    }
    free(path);
    return e;
}

void disk_keep(struct disk *d, const char *name, struct bytes content)
{
    /* A disk that has no room keeps nothing: the object is asked for again. */
    if (content.size <= d->bytes_max / 8 && disk_put(d, name, content, false) != ERR_OK)
        disk_remove(d, name);
}

size_t disk_held_bytes(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    size_t bytes = d->held_bytes;

    pthread_mutex_unlock(&d->lock);
    return bytes;
}

/* With the lock held: its file, opened, so that it may be dropped while it is read. */
static int open_kept(struct disk *d, const char *name, struct kept *out)
{
    struct kept *k = map_get(d->entries, bytes_text(name));
    char *path;
    int fd;

    if (k == NULL)
        return -1;
    *out = *k;
    if (!k->held) {
        list_remove(&k->link);
        list_push(&d->used, &k->link);
    }
    path = path_of(d, k->number);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    return fd;
}

struct buffer *disk_get(struct disk *d, const char *name)
{
    struct kept k;
    struct buffer *b;
    ssize_t n = 1;
    int fd;

    pthread_mutex_lock(&d->lock);
    fd = open_kept(d, name, &k);
    pthread_mutex_unlock(&d->lock);
    if (fd < 0)
        return NULL;
    b = buffer_new(k.size);
    while (b->size < k.size && n > 0) {
        n = read(fd, b->data + b->size, k.size - b->size);
        b->size += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (b->size == k.size && crc32c(0, buffer_bytes(b)) == k.checksum)
        return b;
    buffer_unref(b);
    return NULL;
}

void disk_let_go(struct disk *d, const char *name)
{
    pthread_mutex_lock(&d->lock);
    struct kept *k = map_get(d->entries, bytes_text(name));

    if (k != NULL && k->held) {
        k->held = false;
        d->held_bytes -= k->size;
        d->bytes += k->size;
        list_remove(&k->link);
        list_push(&d->used, &k->link);
        make_room(d);
    }
    pthread_mutex_unlock(&d->lock);
}

void disk_remove(struct disk *d, const char *name)
{
    pthread_mutex_lock(&d->lock);
    struct kept *k = map_get(d->entries, bytes_text(name));

    if (k != NULL)
        drop(d, k);
    pthread_mutex_unlock(&d->lock);
}

void disk_cool(struct disk *d, const char *name)
{
    pthread_mutex_lock(&d->lock);
    struct kept *k = map_get(d->entries, bytes_text(name));

    if (k != NULL && !k->held)
        drop(d, k);
    pthread_mutex_unlock(&d->lock);
}

static void drop_below(struct disk *d, struct list *list, const char *prefix)
{
    size_t size = strlen(prefix);

    list_each(list, at, after)
    {
        struct kept *k = container_of(at, struct kept, link);

        if (strncmp(k->name, prefix, size) == 0 && k->name[size] == '/')
            drop(d, k);
    }
}

void disk_remove_all(struct disk *d, const char *prefix)
{
    pthread_mutex_lock(&d->lock);
    drop_below(d, &d->held, prefix);
    drop_below(d, &d->used, prefix);
    pthread_mutex_unlock(&d->lock);
}
