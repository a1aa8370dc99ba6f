/* base/log.c - see log.h. */
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static atomic_int least_level = LOG_INFO;

void log_set_level(enum log_level least)
{
    least_level = (int)least;
}

void log_line(enum log_level level, const char *where, const char *format, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char line[1024], time[CLOCK_TEXT_SIZE];
    va_list args;

    if ((int)level < least_level)
        return;
    int used =
        snprintf(line, sizeof line, "%s %-5s %s: ", clock_text(clock_wall_ms(), time), names[level], where);

    va_start(args, format);
    used += vsnprintf(line + used, sizeof line - (size_t)used, format, args);
    va_end(args);
    if ((size_t)used > sizeof line - 2)
        used = sizeof line - 2;
    line[used++] = '\n';
    /* One write, so that lines of several threads do not mix; a closed stderr is nobody's error. */
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)used);

    (void)ignored;
}

const char *log_safe(struct bytes b, char text[LOG_SAFE_SIZE])
{
    size_t used = 0;

    for (size_t i = 0; i < b.size && used + 5 < LOG_SAFE_SIZE; i++) {
        if (b.at[i] >= ' ' && b.at[i] < 127 && b.at[i] != '\\')
            text[used++] = (char)b.at[i];
        else
            used += (size_t)snprintf(text + used, 5, "\\x%02x", b.at[i]);
    }
    text[used] = '\0';
    return text;
}
