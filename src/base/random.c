/* base/random.c - see random.h. */
#include "base/random.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint64_t test_state; /* 0: the kernel's randomness */

void random_seed_for_test(uint64_t seed)
{
    test_state = seed;
}

/* splitmix64: enough for a test, never used outside one. */
static uint64_t test_next(void)
{
    uint64_t z = (test_state += 0x9e3779b97f4a7c15u);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void random_fill(void *at, size_t size)
{
    uint8_t *p = at;

    while (size > 0) {
        size_t part = size < 256 ? size : 256; /* getrandom never gives less of so little */

        if (test_state != 0) {
            uint64_t v = test_next();

            part = part < sizeof v ? part : sizeof v;
            memcpy(p, &v, part);
        } else if (getrandom(p, part, 0) != (ssize_t)part) {
            abort(); /* without randomness there are no keys, so there is no service */
        }
        p += part;
        size -= part;
    }
}

uint64_t random_u64(void)
{
    uint64_t v;

    random_fill(&v, sizeof v);
    return v;
}
