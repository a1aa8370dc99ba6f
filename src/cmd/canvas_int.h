/* cmd/canvas_int.h - filled boxes and small text on a YUV 4:2:0 picture: what the demo draws with. */
#ifndef MATINEE_CMD_CANVAS_INT_H
#define MATINEE_CMD_CANVAS_INT_H

#include <stddef.h>
#include <stdint.h>

struct canvas {
    uint8_t *planes[3];
    size_t stride[3];
    int width, height; /* even */
};

struct colour {
    uint8_t y, u, v; /* BT.709, limited range */
};

struct colour colour_rgb(int r, int g, int b);

/* Coordinates are rounded down to even ones and cut at the edges. */
void canvas_box(struct canvas *c, int x, int y, int width, int height, struct colour colour);

/* Text of capital letters, digits and a few marks, `scale` pixels (even) to a dot; a character is 6 dots wide
 * and 7 high. Returns the width drawn. With `back` what lies behind each character is painted too. */
int canvas_text(struct canvas *c, int x, int y, int scale, const char *text, struct colour colour,
                const struct colour *back);
int canvas_text_width(int scale, const char *text);

#endif
