/* http/http_path.c - one spelling for each path, so that what is checked is what is opened. */
#include "http/http1_parser_int.h"

static int hex(uint8_t b)
{
    if (b >= '0' && b <= '9')
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

/* Takes one byte of a segment off `raw`, an escape decoded. -1: no path of ours has it. */
static int next_byte(struct bytes *raw)
{
    int b = raw->at[0];
    size_t size = 1;

    if (b == '%') {
        int high = raw->size > 2 ? hex(raw->at[1]) : -1, low = high >= 0 ? hex(raw->at[2]) : -1;

        if (low < 0)
            return -1;
        b = high << 4 | low;
        size = 3;
        if (b == '/')
            return -1; /* a slash that is none: some take it for one, and some not */
    }
    *raw = bytes_from(*raw, size);
    return b < 0x20 || b == 0x7F || b == '\\' ? -1 : b;
}

/* Whether the segment that begins at `at` says "here" or "up". */
static bool is_dots(const char *out, size_t at, size_t end, size_t dots)
{
    return end - at == dots && memcmp(out + at, "..", dots) == 0;
}

bool http_path_normalise(struct bytes raw, char *out)
{
    size_t end = 0, segment = 1; /* where it begins in `out`, behind its slash */

    if (raw.size > 0 && raw.at[0] != '/')
        return false;
    out[end++] = '/';
    while (raw.size > 0) {
        if (raw.at[0] == '/') {
            raw = bytes_from(raw, 1);
            if (is_dots(out, segment, end, 2))
                return false;
            if (is_dots(out, segment, end, 1))
                end = segment;
            if (end > segment)
                out[end++] = '/';
            segment = end;
            continue;
        }
        int b = next_byte(&raw);

        if (b < 0)
            return false;
        out[end++] = (char)b;
    }
    if (is_dots(out, segment, end, 2))
        return false;
    if (is_dots(out, segment, end, 1))
        end = segment;
    out[end] = '\0';
    return true;
}
