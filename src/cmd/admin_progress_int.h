/* cmd/admin_progress_int.h - how far a long piece of work is, and how long it will take. */
#ifndef MATINEE_CMD_ADMIN_PROGRESS_INT_H
#define MATINEE_CMD_ADMIN_PROGRESS_INT_H

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_TEXT_SIZE 256

/* Work of `total` bytes or seconds of media. */
struct progress {
    const char *what; /* "uploading" */
    bool counts_bytes;
    double total; /* 0: not known */
    double first; /* what was done when we began: it says nothing of the speed */
    int64_t began_ms;
    /* The drawing's own: */
    bool is_terminal, is_drawn;
    int64_t drawn_ms;
    int tenths; /* that were said in lines */
};

/* The seconds it will still take, at the speed since it began; -1: too early to tell. Pure. */
long progress_left_s(const struct progress *p, double done, int64_t now_ms);

/* "uploading [#####...............]  25 %  5.0 of 20.0 MB, 0:12 left"; without the bar where it is not drawn. Pure. */
void progress_text(const struct progress *p, double done, int64_t now_ms, bool with_bar,
                   char text[PROGRESS_TEXT_SIZE]);

/* On a terminal the line is drawn over and over; elsewhere a line says now and then how far it is. */
void progress_begin(struct progress *p, const char *what, bool counts_bytes, double total);
void progress_show(struct progress *p, double done);
/* A line of its own on standard error, whatever is being drawn. */
void progress_say(struct progress *p, const char *text);
void progress_end(struct progress *p);

#endif
