/* base/clock.h - the two clocks, and the seam by which a test moves them. Any thread. */
#ifndef MATINEE_BASE_CLOCK_H
#define MATINEE_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Never goes back, not even over a change of the wall clock; for durations and timers. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

/* Milliseconds since 1970 UTC; for what people and other machines are told. */
int64_t clock_wall_ms(void);

/* Tests: both clocks stand at these values until moved again; clock_test_off() lets them run. */
void clock_test_set(int64_t mono_us, int64_t wall_ms);
void clock_test_off(void);

#define CLOCK_TEXT_SIZE 32

/* RFC 3339 UTC with milliseconds: 2026-11-23T19:34:00.000Z. */
const char *clock_text(int64_t wall_ms, char text[CLOCK_TEXT_SIZE]);

/* The IMF-fixdate of RFC 9110 §5.6.7: Mon, 23 Nov 2026 19:34:00 GMT. */
const char *clock_http_text(int64_t wall_ms, char text[CLOCK_TEXT_SIZE]);

/* Reads an RFC 3339 time with any offset. False when it is none. */
bool clock_parse(const char *text, int64_t *wall_ms);

#endif
