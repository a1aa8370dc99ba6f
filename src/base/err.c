/* base/err.c - see err.h. */
#include "base/err.h"

#include <errno.h>

const char *err_text(enum err e)
{
    switch (e) {
    case ERR_OK:
        return "no error";
    case ERR_IO:
        return "input or output failed";
    case ERR_FULL:
        return "no room left on the disk";
    case ERR_EXISTS:
        return "already exists";
    case ERR_MISSING:
        return "does not exist";
    case ERR_BAD:
        return "malformed";
    case ERR_LIMIT:
        return "beyond a limit";
    case ERR_BUSY:
        return "in use";
    case ERR_CLOSED:
        return "closed";
    case ERR_TIMEOUT:
        return "timed out";
    case ERR_DENIED:
        return "not allowed";
    case ERR_UNSUPPORTED:
        return "not supported";
    case ERR_STALE:
        return "changed meanwhile";
    }
    return "unknown error";
}

enum err err_from_errno(int number)
{
    switch (number) {
    case 0:
        return ERR_OK;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_FULL;
    case EEXIST:
        return ERR_EXISTS;
    case ENOENT:
    case ENOTDIR:
        return ERR_MISSING;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    case EADDRINUSE:
    case EBUSY:
        return ERR_BUSY;
    case EPIPE:
    case ECONNRESET:
        return ERR_CLOSED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ENAMETOOLONG:
        return ERR_LIMIT;
    default:
        return ERR_IO;
    }
}
