/* base/mem.h - allocation that does not fail.
 *
 * Every size a peer can choose is checked against a limit of base/limits.h before it comes here, so what
 * is asked for is always small. A machine that cannot give even that is beyond help, and the promise "an
 * acknowledged byte survives a crash" makes stopping at once the safest answer: we say so and abort. */
#ifndef MATINEE_BASE_MEM_H
#define MATINEE_BASE_MEM_H

#include <stddef.h>

/* `size` zeroed bytes, to be given to free(). Never NULL; size 0 gives a valid pointer too. */
void *mem_new(size_t size) __attribute__((malloc, returns_nonnull));

/* Grows or shrinks `old` (which may be NULL) to `size` bytes. Never NULL. New bytes are not zeroed. */
void *mem_resize(void *old, size_t size) __attribute__((returns_nonnull));

/* Copies of a string and of `size` bytes with a NUL behind them, to be given to free(). */
char *mem_string(const char *text) __attribute__((malloc, returns_nonnull));
char *mem_text(const void *at, size_t size) __attribute__((malloc, returns_nonnull));

/* Like asprintf, and never NULL. */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

#endif
