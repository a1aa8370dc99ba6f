/* rtmp/ack.c - see ack_int.h.
 *
 * The smallest `first` among the waiting is asked for again and again while the oldest leave: a queue kept
 * ascending answers that at its head. A new message that began before ones that wait already (it was
 * interleaved) outlives them and began earlier, so they can be forgotten: they are never the answer again. */
#include "rtmp/ack_int.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* Half of what the contract promises (once a second), so that a timer's lateness never breaks it. */
#define ACK_MS 500
/* What librtmp and FFmpeg announce, and what is assumed of those who announce nothing. */
#define WINDOW_STANDARD 2500000

void ack_init(struct ack *a, int64_t now_ms)
{
    *a = (struct ack){.sent_ms = now_ms, .window = WINDOW_STANDARD};
}

void ack_drop(struct ack *a)
{
    free(a->waiting);
    *a = (struct ack){0};
}

static struct ack_waiting *at(const struct ack *a, size_t index)
{
    return &a->waiting[(a->head + index) % a->capacity];
}

static void grow(struct ack *a)
{
    size_t capacity = a->capacity ? a->capacity * 2 : 16;
    struct ack_waiting *waiting = mem_new(capacity * sizeof *waiting);

    for (size_t i = 0; i < a->count; i++)
        waiting[i] = *at(a, i);
    free(a->waiting);
    a->waiting = waiting;
    a->capacity = capacity;
    a->head = 0;
}

void ack_message(struct ack *a, uint64_t first, uint64_t position)
{
    while (a->count > 0 && at(a, a->count - 1)->first >= first)
        a->count--;
    if (a->count == ACK_WAITING_MAX) {
        at(a, a->count - 1)->position = position;
        return;
    }
    if (a->count == a->capacity)
        grow(a);
    a->count++;
    *at(a, a->count - 1) = (struct ack_waiting){first, position};
}

void ack_durable(struct ack *a, uint64_t position)
{
    while (a->count > 0 && at(a, 0)->position <= position) {
        a->head = (a->head + 1) % a->capacity;
        a->count--;
    }
}

uint64_t ack_count(const struct ack *a, uint64_t received, uint64_t first_partial)
{
    uint64_t count = first_partial < received ? first_partial : received;

    if (a->count > 0 && at(a, 0)->first < count)
        count = at(a, 0)->first;
    return count;
}

bool ack_is_due(const struct ack *a, uint64_t count, int64_t now_ms)
{
    return count > a->sent && (now_ms - a->sent_ms >= ACK_MS || count - a->sent >= a->window / 2);
}

void ack_sent(struct ack *a, uint64_t count, int64_t now_ms)
{
    assert(count >= a->sent);
    a->sent = count;
    a->sent_ms = now_ms;
}
