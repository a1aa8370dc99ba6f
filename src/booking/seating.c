/* booking/seating.c - names of seats and nights, and which seats are the best that are free. Pure. */
#include "booking/booking_int.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* Beyond so many pieces nobody sits together anyway, and any free seat will do. */
#define PIECES_MAX 16

void seat_key(char key[SEAT_KEY_SIZE], int64_t row, int64_t place)
{
    char letters[12];
    size_t at = sizeof letters - 1;

    letters[at] = '\0';
    for (row++; row > 0; row = (row - 1) / 26)
        letters[--at] = (char)('A' + (row - 1) % 26);
    snprintf(key, SEAT_KEY_SIZE, "%s-%d", letters + at, (int)place + 1);
}

/* --- nights ------------------------------------------------------------------------------------------ */

/* Days from 1970-01-01 in the Gregorian calendar; years begin in March, so that the leap day is a year's last. */
static int64_t day_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void digits(char *at, int count, int64_t number)
{
    for (; count > 0; number /= 10)
        at[--count] = (char)('0' + number % 10);
}

void night_text(char text[NIGHT_SIZE], int64_t day)
{
    int64_t z = day + 719468, era = z / 146097, of_era = z - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t m = (5 * of_year + 2) / 153, month = m < 10 ? m + 3 : m - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2);

    digits(text, 4, year);
    digits(text + 5, 2, month);
    digits(text + 8, 2, of_year - (153 * m + 2) / 5 + 1);
    text[4] = text[7] = '-';
    text[10] = '\0';
}

bool night_parse(const char *text, int64_t *day)
{
    uint64_t year, month, date;
    char again[NIGHT_SIZE];

    *day = 0;
    if (strlen(text) != NIGHT_SIZE - 1 || text[4] != '-' || text[7] != '-' ||
        !bytes_to_u64(bytes_of(text, 4), 9999, &year) || !bytes_to_u64(bytes_of(text + 5, 2), 12, &month) ||
        !bytes_to_u64(bytes_of(text + 8, 2), 31, &date) || year < 1970 || month < 1 || date < 1)
        return false;
    *day = day_of((int64_t)year, (int64_t)month, (int64_t)date);
    night_text(again, *day); /* the 30th of February comes out as another day */
    return strcmp(again, text) == 0;
}

/* --- the best seats ---------------------------------------------------------------------------------- */

struct hall {
    const struct inventory *inventory;
    int64_t rows, per_row;
    bool (*is_free)(void *ctx, uint32_t unit);
    void *ctx;
    bool *chosen; /* by unit */
};

struct piece {
    int64_t row, place, count;
};

static uint32_t unit_at(const struct hall *h, int64_t row, int64_t place)
{
    uint32_t at = (uint32_t)(row * h->per_row + place);

    return h->inventory->drawn != NULL ? h->inventory->drawn[at] : at;
}

static bool free_at(const struct hall *h, int64_t row, int64_t place)
{
    uint32_t unit = unit_at(h, row, place);

    return !h->chosen[unit] && h->is_free(h->ctx, unit);
}

/* A row further back is as bad as a place further from the middle. Halves of places, so that it is whole. */
static int64_t distance(const struct hall *h, const struct piece *p)
{
    int64_t off = 2 * p->place + p->count - h->per_row;

    return 2 * p->row + (off < 0 ? -off : off);
}

/* Whether `a` is the better piece: longer up to what is wanted, then nearer. */
static bool better(const struct hall *h, const struct piece *a, const struct piece *b)
{
    return a->count != b->count ? a->count > b->count : distance(h, a) < distance(h, b);
}

/* The best piece of at most `wanted` places within a run of free ones: as near to the middle as the run allows. */
static struct piece within(const struct hall *h, int64_t row, int64_t from, int64_t run, int64_t wanted)
{
    int64_t count = run < wanted ? run : wanted, place = (h->per_row - count) / 2;

    if (place < from)
        place = from;
    if (place > from + run - count)
        place = from + run - count;
    return (struct piece){row, place, count};
}

static struct piece best_piece(const struct hall *h, int64_t wanted)
{
    struct piece best = {0, 0, 0};

    for (int64_t row = 0; row < h->rows; row++)
        for (int64_t place = 0, run = 0; place <= h->per_row; place++) {
            if (place < h->per_row && free_at(h, row, place)) {
                run++;
            } else if (run > 0) {
                struct piece p = within(h, row, place - run, run, wanted);

                if (better(h, &p, &best))
                    best = p;
                run = 0;
            }
        }
    return best;
}

/* Takes free seats from the front on. Returns how many of `wanted` there were. */
static size_t take_any(struct hall *h, size_t wanted, uint32_t *chosen)
{
    size_t taken = 0;

    for (int64_t row = 0; row < h->rows; row++)
        for (int64_t place = 0; place < h->per_row && taken < wanted; place++)
            if (free_at(h, row, place))
                chosen[taken++] = unit_at(h, row, place);
    return taken;
}

bool seats_choose(const struct inventory *i, size_t count, bool (*is_free)(void *ctx, uint32_t unit),
                  void *ctx, uint32_t *chosen)
{
    struct hall h = {i, 1, i->unit_count, is_free, ctx, mem_new(i->unit_count * sizeof *h.chosen)};
    size_t taken = 0;

    if (i->drawn != NULL) {
        h.rows = i->rows;
        h.per_row = i->per_row;
    }
    for (int pieces = 0; taken < count && pieces < PIECES_MAX; pieces++) {
        struct piece p = best_piece(&h, (int64_t)(count - taken));

        if (p.count == 0)
            break;
        for (int64_t place = p.place; place < p.place + p.count; place++) {
            chosen[taken] = unit_at(&h, p.row, place);
            h.chosen[chosen[taken++]] = true;
        }
    }
    if (taken < count)
        taken += take_any(&h, count - taken, chosen + taken);
    free(h.chosen);
    return taken == count;
}
