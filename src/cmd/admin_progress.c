/* cmd/admin_progress.c - see admin_progress_int.h. */
#include "cmd/admin_progress_int.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH     30
#define DRAW_EVERY_MS 100
/* Lines: a further tenth is said, but none sooner than this, and one at least so often. */
#define LINE_MS_MIN 1000
#define LINE_MS_MAX 30000
/* What the first moments say of the speed is mostly wrong. */
#define ESTIMATE_AFTER_MS 2000
/* Beyond it nobody plans by the estimate. */
#define LEFT_SECONDS_MAX (1000L * 3600)

static double part_of(const struct progress *p, double done)
{
    double part = p->total > 0 ? done / p->total : 0;

    return part < 0 ? 0 : part > 1 ? 1 : part;
}

long progress_left_s(const struct progress *p, double done, int64_t now_ms)
{
    double came = done - p->first, took_s = (double)(now_ms - p->began_ms) / 1000, left_s;

    if (p->total <= 0 || came <= 0 || now_ms - p->began_ms < ESTIMATE_AFTER_MS)
        return -1;
    if (done >= p->total)
        return 0;
    left_s = took_s * (p->total - done) / came;
    return left_s < LEFT_SECONDS_MAX ? (long)(left_s + 0.5) : -1;
}

#define TIME_SIZE 24

/* 0:12, or 1:02:03 */
static const char *time_text(double seconds, char text[TIME_SIZE])
{
    unsigned s = seconds > 0 && seconds < 1e9 ? (unsigned)(seconds + 0.5) : 0;

    if (s < 3600)
        snprintf(text, TIME_SIZE, "%u:%02u", s / 60, s % 60);
    else
        snprintf(text, TIME_SIZE, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    return text;
}

/* "1.0 of 2.5 MB" or "0:10 of 1:00" */
static void amount_text(const struct progress *p, double done, char *text, size_t size)
{
    char from[TIME_SIZE], to[TIME_SIZE];

    if (!p->counts_bytes)
        snprintf(text, size, "%s of %s", time_text(done, from), time_text(p->total, to));
    else if (p->total > 0)
        snprintf(text, size, "%.1f of %.1f MB", done / 1e6, p->total / 1e6);
    else
        snprintf(text, size, "%.1f MB", done / 1e6);
}

void progress_text(const struct progress *p, double done, int64_t now_ms, bool with_bar,
                   char text[PROGRESS_TEXT_SIZE])
{
    char bar[BAR_WIDTH + 4] = "", amount[64], time[TIME_SIZE];
    long left_s = progress_left_s(p, done, now_ms);

    amount_text(p, done, amount, sizeof amount);
    if (p->total <= 0) {
        snprintf(text, PROGRESS_TEXT_SIZE, "%.100s  %s", p->what, amount);
        return;
    }
    if (with_bar) {
        memset(bar, '.', BAR_WIDTH + 2);
        memset(bar + 1, '#', (size_t)(part_of(p, done) * BAR_WIDTH));
        bar[0] = '[';
        bar[BAR_WIDTH + 1] = ']';
        bar[BAR_WIDTH + 2] = ' ';
    }
    snprintf(text, PROGRESS_TEXT_SIZE, "%.100s %s%3d %%  %s%s%s%s", p->what, bar,
             (int)(part_of(p, done) * 100), amount, left_s >= 0 ? ", " : "",
             left_s >= 0 ? time_text((double)left_s, time) : "", left_s >= 0 ? " left" : "");
}

void progress_begin(struct progress *p, const char *what, bool counts_bytes, double total)
{
    *p = (struct progress){.what = what,
                           .counts_bytes = counts_bytes,
                           .total = total,
                           .began_ms = clock_mono_ms(),
                           .is_terminal = isatty(STDERR_FILENO) == 1};
    p->drawn_ms = p->began_ms;
}

static void say_line(struct progress *p, double done, int64_t now_ms)
{
    char text[PROGRESS_TEXT_SIZE];
    int tenths = (int)(part_of(p, done) * 10);

    bool is_due = tenths > p->tenths && (tenths == 10 || now_ms - p->drawn_ms >= LINE_MS_MIN);

    if (!is_due && now_ms - p->drawn_ms < LINE_MS_MAX)
        return;
    p->tenths = tenths;
    p->drawn_ms = now_ms;
    progress_text(p, done, now_ms, false, text);
    fprintf(stderr, "%s\n", text);
}

void progress_show(struct progress *p, double done)
{
    char text[PROGRESS_TEXT_SIZE];
    int64_t now_ms = clock_mono_ms();

    if (!p->is_terminal) {
        say_line(p, done, now_ms);
        return;
    }
    if (p->is_drawn && done < p->total && now_ms - p->drawn_ms < DRAW_EVERY_MS)
        return;
    p->is_drawn = true;
    p->drawn_ms = now_ms;
    progress_text(p, done, now_ms, true, text);
    fprintf(stderr, "\r%s\033[K", text);
    fflush(stderr);
}

void progress_say(struct progress *p, const char *text)
{
    progress_end(p);
    fprintf(stderr, "%s\n", text);
}

void progress_end(struct progress *p)
{
    if (p->is_drawn)
        fputc('\n', stderr);
    p->is_drawn = false;
}
