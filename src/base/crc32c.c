/* base/crc32c.c - one byte at a time by table, or eight by the processor's own instruction; see crc32c.h. */
#include "base/crc32c.h"

#include <pthread.h>

static uint32_t table[256];

static void make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = i;

        for (int bit = 0; bit < 8; bit++)
            v = v >> 1 ^ (v & 1 ? 0x82f63b78u : 0);
        table[i] = v;
    }
}

static uint32_t by_table(uint32_t crc, struct bytes b)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_table);
    for (size_t i = 0; i < b.size; i++)
        crc = table[(crc ^ b.at[i]) & 0xff] ^ crc >> 8;
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_processor(uint32_t crc, struct bytes b)
{
    uint64_t wide = crc;
    size_t i = 0;

    for (; i + 8 <= b.size; i += 8) {
        uint64_t word;

        memcpy(&word, b.at + i, sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; i < b.size; i++)
        crc = __builtin_ia32_crc32qi(crc, b.at[i]);
    return crc;
}
#endif

uint32_t crc32c(uint32_t crc, struct bytes b)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~by_processor(~crc, b);
#endif
    return ~by_table(~crc, b);
}
