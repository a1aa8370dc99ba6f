/* base/err.h - the one enumeration of what can go wrong.
 *
 * A function that can fail returns an enum err and is must_check. Where a person has to act, the caller
 * adds the words (which file, which address); the value itself only says what kind of failure it was. */
#ifndef MATINEE_BASE_ERR_H
#define MATINEE_BASE_ERR_H

#define must_check          __attribute__((warn_unused_result))
#define printf_like(at, va) __attribute__((format(printf, at, va)))

enum err {
    ERR_OK = 0,
    ERR_IO,          /* the disk, the network or a library failed */
    ERR_FULL,        /* no room left on the disk */
    ERR_EXISTS,      /* it is there already, and was to be new */
    ERR_MISSING,     /* no such thing */
    ERR_BAD,         /* malformed input */
    ERR_LIMIT,       /* a named limit was passed */
    ERR_BUSY,        /* somebody else has it */
    ERR_CLOSED,      /* the other side, or we ourselves, have closed it */
    ERR_TIMEOUT,     /* nothing came in time */
    ERR_DENIED,      /* not allowed */
    ERR_UNSUPPORTED, /* well formed, and not something we do */
    ERR_STALE,       /* it changed since the caller looked */
};

/* A short, lower-case description for logs and messages; never NULL. */
const char *err_text(enum err e);

/* The kind of failure errno stands for: ENOSPC and EDQUOT are ERR_FULL, ENOENT ERR_MISSING, and so on. */
enum err err_from_errno(int number);

#endif
