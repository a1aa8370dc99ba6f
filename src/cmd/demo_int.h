/* cmd/demo_int.h - between demo.c (encoding, timing, tone) and demo_picture.c (what is seen). */
#ifndef MATINEE_CMD_DEMO_INT_H
#define MATINEE_CMD_DEMO_INT_H

#include "cmd/canvas_int.h"

#include <stdbool.h>

void demo_draw_background(struct canvas *c);

/* Repaints what belongs to this moment of the wall clock. */
void demo_draw(struct canvas *c, int64_t wall_ms, bool flash);

#endif
