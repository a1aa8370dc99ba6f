/* store_play URL STEP… - plays with a store and says what came of it, one line a step; tests/e2e/test_store.py judges.
 *
 *   put NAME BYTES    get NAME BYTES    delete NAME    clear PREFIX    fill PREFIX COUNT    forget
 *
 * An object's bytes follow from its name and size. `forget` opens the store anew, so that nothing is in memory. */
#include "base/mem.h"
#include "store/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define FILLERS 16

static struct buffer *content_of(const char *name, size_t size)
{
    struct buffer *b = buffer_new(size);
    uint32_t state = 2166136261u;

    for (const char *c = name; *c != '\0'; c++)
        state = (state ^ (uint8_t)*c) * 16777619u;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        b->data[i] = (uint8_t)(state >> 24);
    }
    b->size = size;
    return b;
}

static const char *word(enum err e)
{
    return e == ERR_OK ? "ok" : err_text(e);
}

static const char *put(struct store *s, const char *name, size_t size)
{
    struct buffer *b = content_of(name, size);
    enum err e = store_put(s, name, buffer_bytes(b));

    buffer_unref(b);
    return word(e);
}

static const char *get(struct store *s, const char *name, size_t size)
{
    struct buffer *b, *want = content_of(name, size);
    enum err e = store_get(s, name, &b);
    const char *text = e != ERR_OK                                        ? err_text(e)
                       : bytes_equal(buffer_bytes(b), buffer_bytes(want)) ? "the same"
                                                                          : "others";

    buffer_unref(b);
    buffer_unref(want);
    return text;
}

struct filler {
    pthread_t thread;
    struct store *store;
    const char *prefix;
    unsigned from, count;
    enum err e;
};

static void *fill_some(void *ctx)
{
    struct filler *f = ctx;
    char name[256];

    for (unsigned i = f->from; i < f->count && f->e == ERR_OK; i += FILLERS) {
        snprintf(name, sizeof name, "%s/%06u.m4s", f->prefix, i);
        f->e = store_put(f->store, name, bytes_text("x"));
    }
    return NULL;
}

static const char *fill(struct store *s, const char *prefix, unsigned count)
{
    struct filler fillers[FILLERS];
    enum err e = ERR_OK;

    for (unsigned i = 0; i < FILLERS; i++) {
        fillers[i] = (struct filler){.store = s, .prefix = prefix, .from = i, .count = count};
        if (pthread_create(&fillers[i].thread, NULL, fill_some, &fillers[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < FILLERS; i++) {
        pthread_join(fillers[i].thread, NULL);
        e = fillers[i].e != ERR_OK ? fillers[i].e : e;
    }
    return word(e);
}

/* How many words a step has besides its name. */
static int words_of(const char *step)
{
    return strcmp(step, "forget") == 0                                 ? 0
           : strcmp(step, "delete") == 0 || strcmp(step, "clear") == 0 ? 1
                                                                       : 2;
}

static const char *play(struct store **s, const char *url, char **words)
{
    char why[256];

    if (strcmp(words[0], "put") == 0)
        return put(*s, words[1], strtoul(words[2], NULL, 10));
    if (strcmp(words[0], "get") == 0)
        return get(*s, words[1], strtoul(words[2], NULL, 10));
    if (strcmp(words[0], "fill") == 0)
        return fill(*s, words[1], (unsigned)strtoul(words[2], NULL, 10));
    if (strcmp(words[0], "delete") == 0)
        return word(store_delete(*s, words[1]));
    if (strcmp(words[0], "clear") == 0)
        return word(store_delete_all(*s, words[1]));
    store_close(*s);
    return store_open(s, url, why) == ERR_OK ? "ok" : "it does not open";
}

int main(int argc, char **argv)
{
    struct store *s = NULL;
    char why[256];

    if (argc < 2 || store_open(&s, argv[1], why) != ERR_OK) {
        fprintf(stderr, "%s\n", argc < 2 ? "store_play URL STEP..." : why);
        return 1;
    }
    for (int i = 2; i < argc && s != NULL; i += 1 + words_of(argv[i])) {
        if (i + words_of(argv[i]) >= argc)
            return 2;
        printf("%s %s: %s\n", argv[i], words_of(argv[i]) > 0 ? argv[i + 1] : "", play(&s, argv[1], argv + i));
        fflush(stdout);
    }
    store_close(s);
    return 0;
}
