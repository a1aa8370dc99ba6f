/* cmd/demo_picture.c - what the demo shows: the name, a running clock, colour bars, something that moves, and a
 * row of blocks that a program can read the time from.
 *
 * The background is painted once; a picture repaints only the few boxes that change, so that drawing costs next
 * to nothing beside encoding. */
#include "cmd/demo_int.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#define BLOCKS 32 /* bits of the block row, the highest first */

static struct colour night(void)
{
    return colour_rgb(13, 17, 38);
}

/* Everything is measured in 90ths of the height. */
static int unit(const struct canvas *c, double ninetieths)
{
    return (int)(c->height * ninetieths / 90) & ~1;
}

static void draw_bars(struct canvas *c)
{
    static const uint8_t bars[8][3] = {{235, 235, 235}, {224, 214, 40}, {50, 200, 220}, {60, 200, 80},
                                       {200, 70, 200},  {215, 60, 50},  {50, 80, 215},  {20, 20, 20}};
    int top = c->height - unit(c, 14), width = c->width / 8;

    for (int i = 0; i < 8; i++)
        canvas_box(c, i * width, top, i == 7 ? c->width - 7 * width : width, c->height - top,
                   colour_rgb(bars[i][0], bars[i][1], bars[i][2]));
}

void demo_draw_background(struct canvas *c)
{
    int top = unit(c, 14), bottom = c->height - unit(c, 14), scale = unit(c, 1.6);
    const char *name = "MATINEE", *line = "TEST PICTURE - BEEP AND FLASH AT EACH FULL SECOND";
    int small = unit(c, 0.3) > 2 ? unit(c, 0.3) : 2;

    canvas_box(c, 0, 0, c->width, c->height, night());
    for (int y = top; y < bottom; y += 2) { /* dusk: a slow gradient */
        int part = (y - top) * 100 / (bottom - top);

        canvas_box(c, 0, y, c->width, 2, colour_rgb(13 + part / 3, 17 + part / 6, 38 + part / 3));
    }
    draw_bars(c);
    canvas_text(c, (c->width - canvas_text_width(scale, name)) / 2, unit(c, 18), scale, name,
                colour_rgb(255, 196, 84), NULL);
    if (canvas_text_width(small, line) < c->width)
        canvas_text(c, (c->width - canvas_text_width(small, line)) / 2, unit(c, 63), small, line,
                    colour_rgb(170, 176, 200), NULL);
}

/* Milliseconds of the wall clock, modulo 2^32, white for 1: between a white and a black block at either end. */
static void draw_blocks(struct canvas *c, int64_t wall_ms)
{
    const struct colour black = colour_rgb(0, 0, 0), white = colour_rgb(255, 255, 255);
    int size = c->width / (BLOCKS + 4) & ~1, left = ((c->width - size * (BLOCKS + 4)) / 2) & ~1;
    uint32_t bits = (uint32_t)wall_ms;

    for (int i = -2; i < BLOCKS + 2; i++) {
        bool on = i < 0 ? i == -2 : i >= BLOCKS ? i == BLOCKS + 1 : bits >> (BLOCKS - 1 - i) & 1;

        canvas_box(c, left + (i + 2) * size, unit(c, 3), size, size, on ? white : black);
    }
}

static void draw_clock(struct canvas *c, int64_t wall_ms)
{
    char text[32];
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    const struct colour back = colour_rgb(8, 10, 24);
    int scale = unit(c, 1.9), width, margin = unit(c, 2);

    gmtime_r(&seconds, &tm);
    snprintf(text, sizeof text, "%02d:%02d:%02d.%03d", tm.tm_hour, tm.tm_min, tm.tm_sec,
             (int)(wall_ms % 1000));
    width = canvas_text_width(scale, text);
    if (width > c->width - 2 * margin) {
        scale = (scale / 2) & ~1;
        width = canvas_text_width(scale, text);
    }
    int x = (c->width - width) / 2, y = unit(c, 41);

    canvas_box(c, x - margin, y - margin, width + 2 * margin, 7 * scale + 2 * margin, back);
    canvas_text(c, x, y, scale, text, colour_rgb(240, 244, 255), NULL);
}

/* A ball that swings over the second: hard left at each full one, so that a stutter is seen. */
static void draw_motion(struct canvas *c, int64_t wall_ms)
{
    int size = unit(c, 3), margin = unit(c, 4), span = c->width - 2 * margin - size, y = unit(c, 70);
    double phase = (double)(wall_ms % 2000) / 2000 * 2 * M_PI;
    int x = margin + (int)((1 - cos(phase)) / 2 * span);

    canvas_box(c, margin - 2, y - 2, span + size + 4, size + 4, colour_rgb(22, 26, 52));
    canvas_box(c, x, y, size, size, colour_rgb(255, 196, 84));
}

void demo_draw(struct canvas *c, int64_t wall_ms, bool flash)
{
    int side = unit(c, 6);
    struct colour colour = flash ? colour_rgb(255, 255, 255) : colour_rgb(30, 34, 64);

    draw_blocks(c, wall_ms);
    draw_clock(c, wall_ms);
    draw_motion(c, wall_ms);
    canvas_box(c, unit(c, 4), unit(c, 20), side, side, colour);
    canvas_box(c, c->width - unit(c, 4) - side, unit(c, 20), side, side, colour);
}
