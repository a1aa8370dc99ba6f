/* store/remote_url.c - its parts, and the options behind the '?' of a store's address. */
#include "store/remote_int.h"

#include "base/mem.h"

#include <stdlib.h>

struct bytes remote_url_split(struct bytes rest, struct bytes *prefix, struct bytes *options)
{
    long at;

    *prefix = *options = bytes_of(NULL, 0);
    if ((at = bytes_find(rest, '?')) >= 0) {
        *options = bytes_from(rest, (size_t)at + 1);
        rest = bytes_head(rest, (size_t)at);
    }
    if ((at = bytes_find(rest, '/')) >= 0) {
        *prefix = bytes_from(rest, (size_t)at + 1);
        rest = bytes_head(rest, (size_t)at);
    }
    if (prefix->size > 0 && prefix->at[prefix->size - 1] == '/')
        prefix->size--;
    return rest;
}

/* %2F is /, as in any URL. NULL where it is malformed or holds what no header could carry. */
static char *decoded(struct bytes text)
{
    static const char digits[] = "0123456789abcdef";
    char *out = mem_new(text.size + 1);
    size_t size = 0;

    for (size_t i = 0; i < text.size; i++) {
        int c = text.at[i];

        if (c == '%') {
            const char *high =
                i + 2 < text.size && text.at[i + 1] ? strchr(digits, text.at[i + 1] | 0x20) : NULL;
            const char *low =
                i + 2 < text.size && text.at[i + 2] ? strchr(digits, text.at[i + 2] | 0x20) : NULL;

            c = high && low && *high && *low ? (int)((high - digits) * 16 + (low - digits)) : 0;
            i += 2;
        }
        if (c <= 0x20 || c >= 0x7f) {
            free(out);
            return NULL;
        }
        out[size++] = (char)c;
    }
    return out;
}

static char **value_of(const struct remote_option *options, struct bytes name)
{
    for (; options->name != NULL; options++)
        if (bytes_is(name, options->name))
            return options->value;
    return NULL;
}

bool remote_options_read(struct bytes text, const struct remote_option *options, struct bytes *wrong)
{
    while (text.size > 0) {
        long end = bytes_find(text, '&'), equals;
        struct bytes one = end >= 0 ? bytes_head(text, (size_t)end) : text;
        char **value = NULL;

        text = end >= 0 ? bytes_from(text, (size_t)end + 1) : bytes_of(NULL, 0);
        if ((equals = bytes_find(one, '=')) > 0)
            value = value_of(options, bytes_head(one, (size_t)equals));
        if (value != NULL && *value != NULL)
            value = NULL; /* twice */
        if (value != NULL)
            *value = decoded(bytes_from(one, (size_t)equals + 1));
        if (value == NULL || *value == NULL || **value == '\0') {
            *wrong = one;
            return false;
        }
    }
    return true;
}
