/* tests/fuzz/fuzz.h - what every fuzz target includes: libFuzzer's entry, and a check that stays in every build. */
#ifndef MATINEE_FUZZ_H
#define MATINEE_FUZZ_H

#include "base/bytes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of the code under test that this input broke. */
#define fuzz_check(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

/* Whether `part` lies within `whole`, as everything a parser points to must. */
static inline bool fuzz_within(struct bytes part, struct bytes whole)
{
    return part.size == 0 || (part.at >= whole.at && part.at + part.size <= whole.at + whole.size);
}

#endif
