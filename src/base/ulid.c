/* base/ulid.c - see ulid.h. */
#include "base/ulid.h"

#include "base/clock.h"
#include "base/random.h"

#include <pthread.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

struct ulid ulid_new(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct ulid last;
    struct ulid u;
    uint64_t now = (uint64_t)clock_wall_ms();

    put_be16(u.b, (uint16_t)(now >> 32));
    put_be32(u.b + 2, (uint32_t)now);
    random_fill(u.b + 6, 10);
    u.b[6] &= 0x7f; /* leaves room to count upwards within a millisecond */

    pthread_mutex_lock(&lock);
    if (memcmp(u.b, last.b, 6) <= 0) { /* the same millisecond, or the clock went back */
        u = last;
        for (int i = 15; i >= 0 && ++u.b[i] == 0; i--)
            continue;
    }
    last = u;
    pthread_mutex_unlock(&lock);
    return u;
}

struct ulid ulid_secret(void)
{
    uint64_t now = (uint64_t)clock_wall_ms();
    struct ulid u = {{0}};

    put_be16(u.b, (uint16_t)(now >> 32));
    put_be32(u.b + 2, (uint32_t)now);
    random_fill(u.b + 6, 10);
    return u;
}

const char *ulid_text(struct ulid u, char text[ULID_TEXT_SIZE])
{
    unsigned __int128 v = 0;

    for (int i = 0; i < 16; i++)
        v = v << 8 | u.b[i];
    for (int i = 25; i >= 0; i--, v >>= 5)
        text[i] = alphabet[(unsigned)v & 31];
    text[26] = '\0';
    return text;
}

bool ulid_parse(struct bytes text, struct ulid *out)
{
    unsigned __int128 v = 0;

    *out = (struct ulid){{0}};
    if (text.size != 26 || text.at[0] > '7')
        return false;
    for (size_t i = 0; i < 26; i++) {
        const char *digit = text.at[i] ? strchr(alphabet, text.at[i]) : NULL;

        if (digit == NULL)
            return false;
        v = v << 5 | (unsigned)(digit - alphabet);
    }
    for (int i = 15; i >= 0; i--, v >>= 8)
        out->b[i] = (uint8_t)v;
    return true;
}
