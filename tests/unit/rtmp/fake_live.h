/* tests/unit/rtmp/fake_live.h - a live room for tests of rtmp: it keeps what it is given and says what the test
 * tells it to. It defines the symbols of live/live.h that rtmp uses, so the real room is not linked. */
#ifndef MATINEE_UNIT_FAKE_LIVE_H
#define MATINEE_UNIT_FAKE_LIVE_H

#include "live/live.h"

struct fake_message {
    enum message_kind kind;
    uint32_t timestamp;
    struct buffer *buffer;
    struct bytes body;
    uint64_t position;
};

struct publication {
    struct loop *loop;
    const struct publisher_events *events;
    void *ctx;
    char *key;
    bool granted;
};

extern struct fake_live {
    struct publication *publication; /* the one that is there, or NULL */
    struct fake_message *messages;
    size_t message_count;
    uint64_t position; /* of the last message */
    unsigned publishes, syncs, heard, unpublishes;
    bool last_was_clean;
    /* What live_message() answers; `skip` gives messages no position. */
    enum err answer;
    const char *why;
    bool skip;
    bool evict_in_message;
    bool forget; /* count messages, keep none */
} fake;

void fake_reset(void);
void fake_grant(void);
void fake_refuse(enum err why, const char *text);
void fake_durable(uint64_t position);
void fake_hold(bool on);
void fake_evict(const char *text);
void fake_notice(bool is_error, const char *text);

#endif
