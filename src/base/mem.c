/* base/mem.c - see mem.h. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_abort(void *p)
{
    if (p == NULL) {
        fputs("matinee: out of memory, stopping at once (what was acknowledged is on disk)\n", stderr);
        abort();
    }
    return p;
}

void *mem_new(size_t size)
{
    return or_abort(calloc(1, size ? size : 1));
}

void *mem_resize(void *old, size_t size)
{
    return or_abort(realloc(old, size ? size : 1));
}

char *mem_string(const char *text)
{
    return or_abort(strdup(text));
}

char *mem_text(const void *at, size_t size)
{
    char *copy = mem_new(size + 1);

    if (size > 0)
        memcpy(copy, at, size);
    return copy;
}

char *mem_printf(const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return or_abort(text);
}
