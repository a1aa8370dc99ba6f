/* ladder/encode_int.h - what encode_run() and its child say to each other. Readers are pure and bounded. */
#ifndef MATINEE_LADDER_ENCODE_INT_H
#define MATINEE_LADDER_ENCODE_INT_H

#include "ladder/ladder_int.h"

/* A request, but for the init segment and the chunk, which follow it in this order. */
void encode_request_write(struct builder *out, const struct encode_request *request);

/* Reads a whole request into *out; `rungs` is where its rungs go, and with them points into `in`. ERR_BAD:
 * it is none. */
must_check enum err encode_request_parse(struct encode_request *out, struct rung rungs[RUNGS_MAX],
                                         struct bytes in);

/* What came of a request. Of made, `count` are there when `e` is ERR_OK. */
struct encode_answer {
    enum err e;
    char why[256];
    size_t count;
    struct bytes records[RUNGS_MAX], chunks[RUNGS_MAX];
};

void encode_answer_write(struct builder *out, const struct encode_answer *answer);

/* Reads a whole answer; it points into `in`. ERR_BAD: it is none, cut short, or of another number of
 * renditions. */
must_check enum err encode_answer_parse(struct encode_answer *out, size_t count, struct bytes in);

#endif
