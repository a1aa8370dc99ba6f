/* store/file.c - objects as files below one folder.
 *
 * A put writes a temporary file beside its place, syncs it, renames it and syncs the folder: at every
 * moment a crash finds the old object, the new one, or none, and never half of one. Temporary names begin
 * with a dot, which no object's name may, so those that a crash left can be told and removed at start. */
#include "store/store_int.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_store {
    struct store store;
    char *root;
};

static struct file_store *file_of(struct store *s)
{
    return (struct file_store *)(void *)s;
}

static void file_close(struct store *s)
{
    struct file_store *f = file_of(s);

    free(f->root);
    free(f);
}

/* Makes a folder's entries durable. */
static enum err sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err e = ERR_OK;

    if (fd < 0)
        return err_from_errno(errno);
    if (fsync(fd) != 0)
        e = err_from_errno(errno);
    close(fd);
    return e;
}

/* Makes the folder `path` and those above it, each durable in the one above. */
static enum err make_folders(char *path)
{
    char *slash;
    enum err e;

    if (mkdir(path, 0755) == 0) {
        slash = strrchr(path, '/');
        *slash = '\0';
        e = sync_folder(slash == path ? "/" : path);
        *slash = '/';
        return e;
    }
    if (errno == EEXIST)
        return ERR_OK;
    if (errno != ENOENT || (slash = strrchr(path, '/')) == NULL || slash == path)
        return err_from_errno(errno);
    *slash = '\0';
    e = make_folders(path);
    *slash = '/';
    return e == ERR_OK ? make_folders(path) : e;
}

static enum err write_all(int fd, struct bytes content)
{
    while (content.size > 0) {
        ssize_t n = write(fd, content.at, content.size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_from_errno(errno);
        content = bytes_from(content, (size_t)n);
    }
    return fsync(fd) == 0 ? ERR_OK : err_from_errno(errno);
}

static enum err file_put(struct store *s, const char *name, struct bytes content)
{
    static atomic_ulong number;
    char *path = mem_printf("%s/%s", file_of(s)->root, name);
    char *folder = mem_text(path, (size_t)(strrchr(path, '/') - path));
    char *temporary = mem_printf("%s/.put-%d-%lu", folder, (int)getpid(), atomic_fetch_add(&number, 1));
    enum err e;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0 && errno == ENOENT && (e = make_folders(folder)) != ERR_OK)
        goto out;
    if (fd < 0)
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        e = err_from_errno(errno);
        goto out;
    }
    e = write_all(fd, content);
    if (close(fd) != 0 && e == ERR_OK)
        e = err_from_errno(errno);
    if (e == ERR_OK && rename(temporary, path) != 0)
        e = err_from_errno(errno);
    if (e != ERR_OK)
        unlink(temporary);
    else
        e = sync_folder(folder);
out:
    free(temporary);
    free(folder);
    free(path);
    return e;
}

static enum err read_all(int fd, struct buffer **out)
{
    struct stat st;
    struct buffer *b;

    if (fstat(fd, &st) != 0)
        return err_from_errno(errno);
    if (!S_ISREG(st.st_mode))
        return ERR_MISSING;
    b = buffer_new((size_t)st.st_size);
    while (b->size < b->capacity) {
        ssize_t n = read(fd, b->data + b->size, b->capacity - b->size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) { /* objects never shrink: a file that does is damaged */
            buffer_unref(b);
            return n < 0 ? err_from_errno(errno) : ERR_IO;
        }
        b->size += (size_t)n;
    }
    *out = b;
    return ERR_OK;
}

static enum err file_get(struct store *s, const char *name, struct buffer **out)
{
    char *path = mem_printf("%s/%s", file_of(s)->root, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum err e = fd < 0 ? err_from_errno(errno) : read_all(fd, out);

    if (fd >= 0)
        close(fd);
    free(path);
    return e;
}

static enum err file_remove(struct store *s, const char *name)
{
    char *path = mem_printf("%s/%s", file_of(s)->root, name);
    enum err e = unlink(path) == 0 || errno == ENOENT ? ERR_OK : err_from_errno(errno);

    free(path);
    return e;
}

/* Removes what `condemned` says of everything below `path`, files before the folders they are in. */
static enum err sweep(char *path, bool (*condemned)(const FTSENT *entry))
{
    char *paths[] = {path, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    enum err e = walk ? ERR_OK : err_from_errno(errno);

    for (FTSENT *entry; walk != NULL && (entry = fts_read(walk)) != NULL;) {
        if (entry->fts_info == FTS_D || !condemned(entry))
            continue;
        if (remove(entry->fts_accpath) != 0 && errno != ENOENT)
            e = err_from_errno(errno);
    }
    if (walk != NULL)
        fts_close(walk);
    return e;
}

static bool everything(const FTSENT *entry)
{
    return true;
}

static bool temporaries(const FTSENT *entry)
{
    return entry->fts_info == FTS_F && strncmp(entry->fts_name, ".put-", 5) == 0;
}

static enum err file_remove_all(struct store *s, const char *prefix)
{
    char *path = mem_printf("%s/%s", file_of(s)->root, prefix);
    enum err e = access(path, F_OK) == 0 ? sweep(path, everything) : ERR_OK;

    free(path);
    return e;
}

enum err store_file_open(struct store **out, const char *dir, char why[256])
{
    static const struct store_kind kind = {false,    file_close,  file_put,
                                           file_get, file_remove, file_remove_all};
    char *cwd = dir[0] == '/' ? NULL : getcwd(NULL, 0);
    char *root = dir[0] == '/' ? mem_string(dir) : mem_printf("%s/%s", cwd ? cwd : ".", dir);
    enum err e;

    free(cwd);
    if ((e = make_folders(root)) == ERR_OK)
        e = sweep(root, temporaries);
    if (e != ERR_OK) {
        snprintf(why, 256, "--storage file:%.120s: %s; give a folder this user may write to", dir,
                 err_text(e));
        free(root);
        return e;
    }

    struct file_store *f = mem_new(sizeof *f);

    f->store.kind = &kind;
    f->root = root;
    *out = &f->store;
    return ERR_OK;
}
