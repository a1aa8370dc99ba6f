/* A place whose end is the end of readable memory: who reads one byte too many dies at once. */
#ifndef MATINEE_UNIT_HTTP_EDGE_H
#define MATINEE_UNIT_HTTP_EDGE_H

#include "base/bytes.h"

#include <sys/mman.h>

#define EDGE_BYTES 65536

static uint8_t *edge;

static inline void edge_begin(void)
{
    edge = mmap(NULL, EDGE_BYTES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(edge != MAP_FAILED);
    assert_int_equal(mprotect(edge + EDGE_BYTES, 4096, PROT_NONE), 0);
}

/* The first `size` bytes of `b`, copied against the edge. */
static inline struct bytes at_edge(struct bytes b, size_t size)
{
    uint8_t *at = edge + EDGE_BYTES - size;

    if (size > 0)
        memcpy(at, b.at, size);
    return bytes_of(at, size);
}

#endif
