/* http/http1_chunks.c - chunked bodies, RFC 9112 §7.1: a machine that reads byte by byte, but for the data,
 * which is taken in stretches. Extensions and trailers are checked for their form and forgotten. */
#include "http/http1_parser_int.h"

#define SIZE_DIGITS_MAX 16

enum phase {
    SIZE,      /* hexadecimal digits */
    SPACE,     /* after the digits, before ';' */
    EXTENSION, /* up to CR */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,      /* the first byte of a line after the last chunk */
    TRAILER_NAME, /* up to ':' */
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    DONE,
    BROKEN,
};

bool http1_chunks_done(const struct http1_chunks *c)
{
    return c->phase == DONE;
}

static int hex(uint8_t b)
{
    if (b >= '0' && b <= '9')
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

static bool token(uint8_t b)
{
    return (b >= '0' && b <= '9') || ((b | 0x20) >= 'a' && (b | 0x20) <= 'z') ||
           (b != '\0' && strchr("!#$%&'*+-.^_`|~", b) != NULL);
}

static bool text(uint8_t b)
{
    return (b >= 0x20 && b != 0x7F) || b == '\t';
}

static enum phase size_digit(struct http1_chunks *c, uint8_t b)
{
    int digit = hex(b);

    if (digit >= 0) {
        if (++c->digits > SIZE_DIGITS_MAX || c->left > INT64_MAX >> 4)
            return BROKEN;
        c->left = c->left << 4 | (unsigned)digit;
        return SIZE;
    }
    if (c->digits == 0)
        return BROKEN;
    return b == '\r' ? SIZE_LF : b == ';' ? EXTENSION : b == ' ' || b == '\t' ? SPACE : BROKEN;
}

/* Extensions and trailers cost us time and nobody anything: so they have a limit, over the whole body. */
static bool beside(struct http1_chunks *c)
{
    return ++c->beside_bytes <= HTTP_HEAD_BYTES_MAX;
}

static enum phase after_size(struct http1_chunks *c, uint8_t b)
{
    if (b != '\n')
        return BROKEN;
    c->digits = 0;
    return c->left == 0 ? TRAILER : DATA;
}

/* The phase after one byte that is no data. */
static enum phase step(struct http1_chunks *c, uint8_t b)
{
    switch ((enum phase)c->phase) {
    case SIZE:
        return size_digit(c, b);
    case SPACE:
        if (!beside(c))
            return BROKEN;
        return b == ';' ? EXTENSION : b == ' ' || b == '\t' ? SPACE : BROKEN;
    case EXTENSION:
        if (b == '\r')
            return SIZE_LF;
        return beside(c) && text(b) ? EXTENSION : BROKEN;
    case SIZE_LF:
        return after_size(c, b);
    case DATA_CR:
        return b == '\r' ? DATA_LF : BROKEN;
    case DATA_LF:
        return b == '\n' ? SIZE : BROKEN;
    case TRAILER:
        if (b == '\r')
            return LAST_LF;
        return beside(c) && token(b) ? TRAILER_NAME : BROKEN;
    case TRAILER_NAME:
        if (b == ':')
            return TRAILER_VALUE;
        return beside(c) && token(b) ? TRAILER_NAME : BROKEN;
    case TRAILER_VALUE:
        if (b == '\r')
            return TRAILER_LF;
        return beside(c) && text(b) ? TRAILER_VALUE : BROKEN;
    case TRAILER_LF:
        return b == '\n' ? TRAILER : BROKEN;
    case LAST_LF:
        return b == '\n' ? DONE : BROKEN;
    case DATA:
    case DONE:
    case BROKEN:
        break;
    }
    return BROKEN;
}

long http1_chunks_parse(struct http1_chunks *c, struct bytes in, struct bytes *data)
{
    size_t at = 0;

    *data = bytes_of(NULL, 0);
    while (at < in.size && c->phase != DONE && c->phase != BROKEN) {
        if (c->phase == DATA) {
            *data = bytes_head(bytes_from(in, at), c->left < SIZE_MAX ? (size_t)c->left : SIZE_MAX);
            c->left -= data->size;
            if (c->left == 0)
                c->phase = DATA_CR;
            return (long)(at + data->size);
        }
        c->phase = (uint8_t)step(c, in.at[at++]);
    }
    return c->phase == BROKEN ? PARSE_BAD : (long)at;
}
