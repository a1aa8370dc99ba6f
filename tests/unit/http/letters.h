/* tests/unit/http/letters.h - a body of any size whose every byte can be told. */
#ifndef MATINEE_UNIT_HTTP_LETTERS_H
#define MATINEE_UNIT_HTTP_LETTERS_H

#include "base/buffer.h"

static inline struct buffer *letters(size_t size)
{
    struct buffer *b = buffer_new(size);

    b->size = size;
    for (size_t i = 0; i < size; i++)
        b->data[i] = (uint8_t)('a' + i % 26);
    return b;
}

#endif
