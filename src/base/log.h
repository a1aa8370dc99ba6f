/* base/log.h - one line per event on standard error, for a person and for journald alike. Any thread.
 *
 * `where` names the room; the text is one sentence with its facts, bytes of a peer printed by log_safe().
 * Standard output belongs to what the command was asked for (`ready` and the listeners' lines). */
#ifndef MATINEE_BASE_LOG_H
#define MATINEE_BASE_LOG_H

#include "base/bytes.h"
#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level least);
void log_line(enum log_level level, const char *where, const char *format, ...) printf_like(3, 4);

#define log_debug(where, ...) log_line(LOG_DEBUG, where, __VA_ARGS__)
#define log_info(where, ...)  log_line(LOG_INFO, where, __VA_ARGS__)
#define log_warn(where, ...)  log_line(LOG_WARN, where, __VA_ARGS__)
#define log_error(where, ...) log_line(LOG_ERROR, where, __VA_ARGS__)

#define LOG_SAFE_SIZE 128

/* Printable ASCII of at most LOG_SAFE_SIZE - 1 characters; everything else shown as \xNN. Returns text. */
const char *log_safe(struct bytes b, char text[LOG_SAFE_SIZE]);

#endif
