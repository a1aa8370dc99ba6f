/* base/clock.c - see clock.h. */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static _Atomic bool test_on;
static _Atomic int64_t test_mono_us, test_wall_ms;

static int64_t read_us(clockid_t which)
{
    struct timespec t;

    clock_gettime(which, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return test_on ? test_mono_us : read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    return test_on ? test_wall_ms : read_us(CLOCK_REALTIME) / 1000;
}

void clock_test_set(int64_t mono_us, int64_t wall_ms)
{
    test_mono_us = mono_us;
    test_wall_ms = wall_ms;
    test_on = true;
}

void clock_test_off(void)
{
    test_on = false;
}

static struct tm broken_down(int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;

    gmtime_r(&seconds, &parts);
    return parts;
}

const char *clock_text(int64_t wall_ms, char text[CLOCK_TEXT_SIZE])
{
    struct tm parts = broken_down(wall_ms);
    size_t used = strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);

    snprintf(text + used, CLOCK_TEXT_SIZE - used, ".%03dZ", (int)(wall_ms % 1000));
    return text;
}

const char *clock_http_text(int64_t wall_ms, char text[CLOCK_TEXT_SIZE])
{
    struct tm parts = broken_down(wall_ms);

    strftime(text, CLOCK_TEXT_SIZE, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    return text;
}

/* Exactly `digits` decimal digits at *at, which moves past them; -1 when they are not there. */
static int number(const char **at, int digits)
{
    int value = 0;

    for (int i = 0; i < digits; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return -1;
        value = value * 10 + (**at - '0');
    }
    return value;
}

static bool letter(const char **at, const char *allowed)
{
    return **at != '\0' && strchr(allowed, *(*at)++) != NULL;
}

static int fraction_ms(const char **at)
{
    int value = 0, digits = 0;

    if (**at != '.')
        return 0;
    for ((*at)++; **at >= '0' && **at <= '9'; (*at)++, digits++)
        if (digits < 3)
            value = value * 10 + (**at - '0');
    for (int i = digits; i < 3; i++)
        value *= 10;
    return digits == 0 || digits > 12 ? -1 : value;
}

bool clock_parse(const char *text, int64_t *wall_ms)
{
    struct tm t = {0};
    int offset_minutes = 0;

    *wall_ms = 0;
    if ((t.tm_year = number(&text, 4)) < 1970 || !letter(&text, "-") || (t.tm_mon = number(&text, 2)) < 1 ||
        t.tm_mon > 12 || !letter(&text, "-") || (t.tm_mday = number(&text, 2)) < 1 || t.tm_mday > 31 ||
        !letter(&text, "Tt ") || (t.tm_hour = number(&text, 2)) < 0 || t.tm_hour > 23 ||
        !letter(&text, ":") || (t.tm_min = number(&text, 2)) < 0 || t.tm_min > 59 || !letter(&text, ":") ||
        (t.tm_sec = number(&text, 2)) < 0 || t.tm_sec > 60)
        return false;

    int ms = fraction_ms(&text);

    if (ms < 0)
        return false;
    if (*text == 'Z' || *text == 'z') {
        text++;
    } else {
        int sign = *text == '-' ? -1 : 1, hours, minutes;

        if (!letter(&text, "+-") || (hours = number(&text, 2)) < 0 || hours > 23 || !letter(&text, ":") ||
            (minutes = number(&text, 2)) < 0 || minutes > 59)
            return false;
        offset_minutes = sign * (hours * 60 + minutes);
    }
    if (*text != '\0')
        return false;

    struct tm asked = t;

    t.tm_year -= 1900;
    t.tm_mon -= 1;
    int64_t seconds = (int64_t)timegm(&t); /* normalises: the 31st of April becomes the 1st of May */

    if (t.tm_mday != asked.tm_mday && asked.tm_sec != 60)
        return false;
    *wall_ms = (seconds - offset_minutes * 60) * 1000 + ms;
    return *wall_ms >= 0;
}
