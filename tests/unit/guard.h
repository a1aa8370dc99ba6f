/* tests/unit/guard.h - places bytes against the end of a page that cannot be read, so that a parser which
 * looks one byte too far is killed there and then, sanitizer or not. */
#ifndef MATINEE_UNIT_GUARD_H
#define MATINEE_UNIT_GUARD_H

#include "base/bytes.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#define GUARD_PAGE  4096u
#define GUARD_BYTES (64u * GUARD_PAGE)

struct guard {
    uint8_t *at; /* GUARD_BYTES that can be read, then one page that cannot */
};

static inline struct guard guard_new(void)
{
    struct guard g = {
        mmap(NULL, GUARD_BYTES + GUARD_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)};

    assert(g.at != MAP_FAILED);
    assert(mprotect(g.at + GUARD_BYTES, GUARD_PAGE, PROT_NONE) == 0);
    return g;
}

static inline void guard_free(struct guard g)
{
    munmap(g.at, GUARD_BYTES + GUARD_PAGE);
}

/* A copy of `b` that ends where the page that cannot be read begins; valid until the next call. */
static inline struct bytes guard_place(struct guard g, struct bytes b)
{
    uint8_t *to = g.at + GUARD_BYTES - b.size;

    assert(b.size <= GUARD_BYTES);
    if (b.size > 0)
        memcpy(to, b.at, b.size);
    return bytes_of(to, b.size);
}

/* Reads hexadecimal digits, spaces between them allowed, into `to`; for vectors as standards print them. */
static inline struct bytes guard_hex(const char *text, uint8_t *to, size_t room)
{
    size_t digits = 0;

    for (; *text != '\0'; text++) {
        int c = (unsigned char)*text;
        int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

        if (v < 0)
            continue;
        assert(digits / 2 < room);
        to[digits / 2] = (uint8_t)(digits % 2 ? to[digits / 2] << 4 | v : v);
        digits++;
    }
    return bytes_of(to, digits / 2);
}

#endif
