/* base/map.c - open addressing with linear probing; see map.h. */
#include "base/map.h"

#include "base/mem.h"
#include "base/random.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct entry {
    uint64_t hash;
    uint8_t *key; /* NULL: the place is free */
    size_t key_size;
    void *value;
};

struct map {
    struct entry *places;
    size_t place_count; /* a power of two */
    size_t count;
};

static uint64_t hash(struct bytes key)
{
    static _Atomic uint64_t seed;
    uint64_t h = seed;

    while (h == 0) {
        uint64_t fresh = random_u64() | 1;

        if (atomic_compare_exchange_strong(&seed, &h, fresh))
            h = fresh;
    }
    /* Multiply and fold, eight bytes a step: unpredictable without the seed, and cheap on short keys. */
    for (size_t i = 0; i < key.size; i += 8) {
        uint64_t word = 0;

        memcpy(&word, key.at + i, key.size - i < 8 ? key.size - i : 8);
        unsigned __int128 wide = (unsigned __int128)(h ^ word) * 0x9e3779b97f4a7c15u;

        h = (uint64_t)wide ^ (uint64_t)(wide >> 64) ^ seed;
    }
    return h ^ (key.size * 0xff51afd7ed558ccdu) ^ (h >> 29);
}

static bool holds(const struct entry *e, uint64_t h, struct bytes key)
{
    return e->hash == h && bytes_equal(bytes_of(e->key, e->key_size), key);
}

/* The place that holds `key`, or the free one where it would go. */
static struct entry *find(const struct map *m, uint64_t h, struct bytes key)
{
    size_t at = h & (m->place_count - 1);

    while (m->places[at].key != NULL && !holds(&m->places[at], h, key))
        at = (at + 1) & (m->place_count - 1);
    return &m->places[at];
}

static void grow(struct map *m)
{
    struct map wider = {NULL, m->place_count * 2, m->count};

    wider.places = mem_new(wider.place_count * sizeof *wider.places);
    for (size_t i = 0; i < m->place_count; i++) {
        const struct entry *e = &m->places[i];

        if (e->key != NULL)
            *find(&wider, e->hash, bytes_of(e->key, e->key_size)) = *e;
    }
    free(m->places);
    *m = wider;
}

struct map *map_new(void)
{
    struct map *m = mem_new(sizeof *m);

    m->place_count = 16;
    m->places = mem_new(m->place_count * sizeof *m->places);
    return m;
}

void map_free(struct map *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->place_count; i++)
        free(m->places[i].key);
    free(m->places);
    free(m);
}

void *map_get(const struct map *m, struct bytes key)
{
    const struct entry *e = find(m, hash(key), key);

    return e->key ? e->value : NULL;
}

void *map_put(struct map *m, struct bytes key, void *value)
{
    assert(value != NULL);
    if (m->count * 4 >= m->place_count * 3)
        grow(m);

    uint64_t h = hash(key);
    struct entry *e = find(m, h, key);
    void *before = e->key ? e->value : NULL;

    if (e->key == NULL) {
        e->hash = h;
        e->key = (uint8_t *)mem_text(key.at, key.size);
        e->key_size = key.size;
        m->count++;
    }
    e->value = value;
    return before;
}

void *map_remove(struct map *m, struct bytes key)
{
    size_t mask = m->place_count - 1;
    struct entry *e = find(m, hash(key), key);

    if (e->key == NULL)
        return NULL;

    void *value = e->value;

    free(e->key);
    e->key = NULL;
    m->count--;
    /* Close the gap: whoever probed past it must not be cut off from its home place. */
    for (size_t gap = (size_t)(e - m->places), at = (gap + 1) & mask; m->places[at].key;
         at = (at + 1) & mask) {
        size_t home = m->places[at].hash & mask;

        if (((at - home) & mask) >= ((at - gap) & mask)) {
            m->places[gap] = m->places[at];
            m->places[at].key = NULL;
            gap = at;
        }
    }
    return value;
}

size_t map_count(const struct map *m)
{
    return m->count;
}

bool map_next(const struct map *m, size_t *at, struct bytes *key, void **value)
{
    for (; *at < m->place_count; (*at)++) {
        const struct entry *e = &m->places[*at];

        if (e->key == NULL)
            continue;
        *key = bytes_of(e->key, e->key_size);
        *value = e->value;
        (*at)++;
        return true;
    }
    return false;
}
