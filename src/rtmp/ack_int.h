/* rtmp/ack_int.h - how many bytes may be acknowledged (RTMP 1.0 §5.4.3), and when to say so.
 *
 * matinee's promise: an acknowledged count N means that every media message any of whose bytes lies before N
 * would survive a power loss. So N stops at the first byte of the earliest media message that is not whole or
 * not yet durable, wherever interleaving has put the rest of it. Everything else counts when it is read.
 * Pure arithmetic: the clock, the journal and the wire belong to the session. */
#ifndef MATINEE_RTMP_ACK_INT_H
#define MATINEE_RTMP_ACK_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Messages that wait for the disk and are told apart. Beyond it neighbours are counted as one, which makes
 * the count coarser and never too great: at 100 messages a second this is 40 s of a disk that stands still. */
#define ACK_WAITING_MAX 4096

struct ack_waiting {
    uint64_t first;    /* its first byte on the wire */
    uint64_t position; /* live's, which `durable` will reach */
};

/* Zero-initialised but for the window, which ack_init() sets. */
struct ack {
    struct ack_waiting *waiting; /* a ring; both fields grow from one to the next */
    size_t capacity, head, count;
    uint64_t sent;   /* the count said last */
    int64_t sent_ms; /* when */
    uint32_t window; /* the peer's, RTMP 1.0 §5.4.4 */
};

void ack_init(struct ack *a, int64_t now_ms);
void ack_drop(struct ack *a);

/* A media message that began at byte `first` was given to live, which will report `position` for it. */
void ack_message(struct ack *a, uint64_t first, uint64_t position);

/* Live says that everything up to `position` is durable. */
void ack_durable(struct ack *a, uint64_t position);

/* The count that may be acknowledged: of `received` bytes, `first_partial` being where the earliest media
 * message begins that is not whole (UINT64_MAX: none). It never goes back. */
uint64_t ack_count(const struct ack *a, uint64_t received, uint64_t first_partial);

/* Whether it is time to say `count`: half the window has become durable, or half a second has passed. */
bool ack_is_due(const struct ack *a, uint64_t count, int64_t now_ms);
void ack_sent(struct ack *a, uint64_t count, int64_t now_ms);

#endif
