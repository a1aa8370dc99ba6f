/* cmd/canvas.c - see canvas_int.h. */
#include "cmd/canvas_int.h"

#include <string.h>

#define GLYPH_COLUMNS 5
#define GLYPH_ROWS    7

/* Rows from top to bottom, the leftmost dot in bit 4. */
static const struct glyph {
    char character;
    uint8_t rows[GLYPH_ROWS];
} glyphs[] = {
    {'0', {14, 17, 19, 21, 25, 17, 14}}, {'1', {4, 12, 4, 4, 4, 4, 14}},
    {'2', {14, 17, 1, 2, 4, 8, 31}},     {'3', {31, 2, 4, 2, 1, 17, 14}},
    {'4', {2, 6, 10, 18, 31, 2, 2}},     {'5', {31, 16, 30, 1, 1, 17, 14}},
    {'6', {6, 8, 16, 30, 17, 17, 14}},   {'7', {31, 1, 2, 4, 8, 8, 8}},
    {'8', {14, 17, 17, 14, 17, 17, 14}}, {'9', {14, 17, 17, 15, 1, 2, 12}},
    {':', {0, 4, 4, 0, 4, 4, 0}},        {'.', {0, 0, 0, 0, 0, 12, 12}},
    {'-', {0, 0, 0, 31, 0, 0, 0}},       {'A', {14, 17, 17, 31, 17, 17, 17}},
    {'B', {30, 17, 17, 30, 17, 17, 30}}, {'C', {14, 17, 16, 16, 16, 17, 14}},
    {'D', {30, 17, 17, 17, 17, 17, 30}}, {'E', {31, 16, 16, 30, 16, 16, 31}},
    {'F', {31, 16, 16, 30, 16, 16, 16}}, {'G', {14, 17, 16, 23, 17, 17, 15}},
    {'H', {17, 17, 17, 31, 17, 17, 17}}, {'I', {14, 4, 4, 4, 4, 4, 14}},
    {'J', {7, 2, 2, 2, 2, 18, 12}},      {'K', {17, 18, 20, 24, 20, 18, 17}},
    {'L', {16, 16, 16, 16, 16, 16, 31}}, {'M', {17, 27, 21, 21, 17, 17, 17}},
    {'N', {17, 25, 21, 19, 17, 17, 17}}, {'O', {14, 17, 17, 17, 17, 17, 14}},
    {'P', {30, 17, 17, 30, 16, 16, 16}}, {'Q', {14, 17, 17, 17, 21, 18, 13}},
    {'R', {30, 17, 17, 30, 20, 18, 17}}, {'S', {15, 16, 16, 14, 1, 1, 30}},
    {'T', {31, 4, 4, 4, 4, 4, 4}},       {'U', {17, 17, 17, 17, 17, 17, 14}},
    {'V', {17, 17, 17, 17, 17, 10, 4}},  {'W', {17, 17, 17, 21, 21, 27, 17}},
    {'X', {17, 17, 10, 4, 10, 17, 17}},  {'Y', {17, 17, 10, 4, 4, 4, 4}},
    {'Z', {31, 1, 2, 4, 8, 16, 31}},
};

struct colour colour_rgb(int r, int g, int b)
{
    int y = 16 * 1000 + 183 * r + 614 * g + 62 * b;
    int u = 128 * 1000 - 101 * r - 338 * g + 439 * b;
    int v = 128 * 1000 + 439 * r - 399 * g - 40 * b;

    return (struct colour){(uint8_t)(y / 1000), (uint8_t)(u / 1000), (uint8_t)(v / 1000)};
}

static void fill(uint8_t *plane, size_t stride, int x, int y, int width, int height, uint8_t value)
{
    for (int row = y; row < y + height; row++)
        memset(plane + (size_t)row * stride + (size_t)x, value, (size_t)width);
}

void canvas_box(struct canvas *c, int x, int y, int width, int height, struct colour colour)
{
    int right = x + width < c->width ? x + width : c->width,
        bottom = y + height < c->height ? y + height : c->height;

    x = x < 0 ? 0 : x & ~1;
    y = y < 0 ? 0 : y & ~1;
    width = (right - x) & ~1;
    height = (bottom - y) & ~1;
    if (width <= 0 || height <= 0)
        return;
    fill(c->planes[0], c->stride[0], x, y, width, height, colour.y);
    fill(c->planes[1], c->stride[1], x / 2, y / 2, width / 2, height / 2, colour.u);
    fill(c->planes[2], c->stride[2], x / 2, y / 2, width / 2, height / 2, colour.v);
}

static void draw_glyph(struct canvas *c, int x, int y, int scale, char character, struct colour colour)
{
    for (size_t i = 0; i < sizeof glyphs / sizeof glyphs[0]; i++) {
        if (glyphs[i].character != character)
            continue;
        for (int row = 0; row < GLYPH_ROWS; row++)
            for (int column = 0; column < GLYPH_COLUMNS; column++)
                if (glyphs[i].rows[row] >> (GLYPH_COLUMNS - 1 - column) & 1)
                    canvas_box(c, x + column * scale, y + row * scale, scale, scale, colour);
    }
}

int canvas_text_width(int scale, const char *text)
{
    return (int)strlen(text) * (GLYPH_COLUMNS + 1) * scale - scale;
}

int canvas_text(struct canvas *c, int x, int y, int scale, const char *text, struct colour colour,
                const struct colour *back)
{
    int at = x;

    if (back != NULL)
        canvas_box(c, x, y, canvas_text_width(scale, text), GLYPH_ROWS * scale, *back);
    for (; *text != '\0'; text++, at += (GLYPH_COLUMNS + 1) * scale)
        draw_glyph(c, at, y, scale, *text, colour);
    return at - x;
}
