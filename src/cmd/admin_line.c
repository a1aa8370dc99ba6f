/* cmd/admin_line.c - a bar, a percentage and the time left, on a terminal. */
#include "cmd/admin_int.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH     30
#define DRAW_EVERY_MS 100

void line_begin(struct line *l)
{
    *l = (struct line){.is_terminal = isatty(STDERR_FILENO) == 1, .began_ms = clock_mono_ms()};
}

static void left_text(const struct line *l, double part, double from_part, char text[32])
{
    int64_t took_s = (clock_mono_ms() - l->began_ms) / 1000;
    double came = part - from_part;
    long left_s = came > 0 ? (long)((double)took_s * (1 - part) / came) : 0;

    if (took_s < 2 || came <= 0)
        text[0] = '\0'; /* too early to tell */
    else
        snprintf(text, 32, ", %ld:%02ld left", left_s / 60, left_s % 60);
}

void line_show(struct line *l, const char *what, double part, double from_part)
{
    char bar[BAR_WIDTH + 1], left[32];
    int64_t now_ms = clock_mono_ms();

    if (!l->is_terminal || (l->shown && part < 1 && now_ms - l->drawn_ms < DRAW_EVERY_MS))
        return;
    l->shown = true;
    l->drawn_ms = now_ms;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)(part * BAR_WIDTH));
    bar[BAR_WIDTH] = '\0';
    left_text(l, part, from_part, left);
    fprintf(stderr, "\r%s [%s] %3d %%%s\033[K", what, bar, (int)(part * 100), left);
    fflush(stderr);
}

void line_end(struct line *l)
{
    if (l->shown)
        fputc('\n', stderr);
    l->shown = false;
}
