/* tests/unit/disk_faults.c - a disk that fails on command, for a program that is run with this before its libraries (LD_PRELOAD).
 *
 * DISK_FAULTS names a file of lines "CALL ERRNO PART": each CALL (write, read or sync) on a file whose path has PART in it fails
 * with ERRNO (ENOSPC, EIO, EDQUOT). The file is read again with each call, so that a test can change its mind; where it is
 * missing the disk is well. What is written before a failing sync is on the disk or not, as with a real one: here half of the
 * last write is torn off, for who believes it afterwards is wrong. */
#undef _FILE_OFFSET_BITS /* pwrite and pwrite64 are two names here, and a library may call either */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static size_t slurp(const char *path, char *text, size_t room)
{
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), n = -1;

    if (fd >= 0) {
        n = syscall(SYS_read, fd, text, room - 1);
        syscall(SYS_close, fd);
    }
    text[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static int number_of(const char *name)
{
    return strcmp(name, "ENOSPC") == 0 ? ENOSPC : strcmp(name, "EDQUOT") == 0 ? EDQUOT : EIO;
}

/* Whether the call is to fail; errno is set then. */
static bool fails(const char *call, int fd)
{
    const char *faults = getenv("DISK_FAULTS");
    char text[1024], link[64], path[1024], *rest = text;
    int before = errno;
    ssize_t n;

    if (faults == NULL || slurp(faults, text, sizeof text) == 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *name = strsep(&line, " "), *number = strsep(&line, " ");

        if (line != NULL && strcmp(name, call) == 0 && strstr(path, line) != NULL) {
            errno = number_of(number);
            return true;
        }
    }
    errno = before;
    return false;
}

/* The real one of this name. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): libc has names of its own for these */
ssize_t write(int fd, const void *at, size_t size)
{
    return fails("write", fd) ? -1 : REAL(write)(fd, at, size);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    return fails("write", fd) ? -1 : REAL(writev)(fd, pieces, count);
}

ssize_t pwrite64(int fd, const void *at, size_t size, off64_t offset)
{
    return fails("write", fd) ? -1 : REAL(pwrite64)(fd, at, size, offset);
}

ssize_t pwrite(int fd, const void *at, size_t size, off_t offset)
{
    return fails("write", fd) ? -1 : REAL(pwrite)(fd, at, size, offset);
}

ssize_t read(int fd, void *at, size_t size)
{
    return fails("read", fd) ? -1 : REAL(read)(fd, at, size);
}

/* A sync that failed has lost what it was to bring to the disk, and a second one would not say so. */
static int lose(int fd)
{
    int number = errno;
    off_t end = lseek(fd, 0, SEEK_CUR);

    if (end > 0 && ftruncate(fd, end - (end < 4096 ? end / 2 : 2048)) != 0)
        errno = number;
    errno = number;
    return -1;
}

int fsync(int fd)
{
    return fails("sync", fd) ? lose(fd) : REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    return fails("sync", fd) ? lose(fd) : REAL(fdatasync)(fd);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
