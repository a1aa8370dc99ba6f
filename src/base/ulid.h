/* base/ulid.h - ids: 48 bits of wall-clock milliseconds and 80 random bits, 26 characters of Crockford's
 * base 32. They sort by the time they were made. */
#ifndef MATINEE_BASE_ULID_H
#define MATINEE_BASE_ULID_H

#include "base/bytes.h"

#define ULID_TEXT_SIZE 27

struct ulid {
    uint8_t b[16];
};

/* A new id. Within one process a later call gives a greater id, also within a millisecond, so that one gives its neighbours
 * away. Any thread. */
struct ulid ulid_new(void);

/* A new id that is a key to what it names: all 80 bits are chosen afresh. In order only from one millisecond to the next. */
struct ulid ulid_secret(void);

/* Writes the 26 characters and a NUL, and returns `text`. */
const char *ulid_text(struct ulid u, char text[ULID_TEXT_SIZE]);

/* Reads exactly 26 characters, in upper case. False when they are no ULID. */
bool ulid_parse(struct bytes text, struct ulid *out);

static inline bool ulid_equal(struct ulid a, struct ulid b)
{
    return memcmp(a.b, b.b, sizeof a.b) == 0;
}

static inline bool ulid_is_zero(struct ulid a)
{
    return ulid_equal(a, (struct ulid){{0}});
}

#endif
