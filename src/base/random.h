/* base/random.h - randomness, and the seam by which a test makes it repeatable. */
#ifndef MATINEE_BASE_RANDOM_H
#define MATINEE_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fills `at` with bytes fit for keys. Any thread. */
void random_fill(void *at, size_t size);
uint64_t random_u64(void);

/* Tests: from here on every byte follows from `seed`; 0 goes back to the kernel's. One thread only. */
void random_seed_for_test(uint64_t seed);

#endif
