/* rtmp/handshake_int.h - the handshake (RTMP 1.0 §5.2), and the digests that Flash put into it.
 *
 * The answer is one function of what the client sent. The digest ("complex") form is no part of the
 * specification: a client that puts an HMAC into C1 expects one in S1 and S2, and some refuse H.264 without. */
#ifndef MATINEE_RTMP_HANDSHAKE_INT_H
#define MATINEE_RTMP_HANDSHAKE_INT_H

#include "base/bytes.h"
#include "base/err.h"

#define HANDSHAKE_BYTES     1536
#define HANDSHAKE_IN_BYTES  (1 + HANDSHAKE_BYTES) /* C0 C1, and S0 S1 */
#define HANDSHAKE_VERSION   3
#define HANDSHAKE_OUT_BYTES (1 + 2 * HANDSHAKE_BYTES) /* S0 S1 S2 */

/* Reads C0 and C1 and writes S0, S1 and S2. Returns HANDSHAKE_IN_BYTES, PARSE_MORE, or PARSE_BAD with a reason
 * in *why: another version, known by the first byte. */
must_check long handshake_answer(struct bytes in, uint32_t time_ms, uint8_t out[HANDSHAKE_OUT_BYTES],
                                 const char **why);

/* Writes C0 and C1 of the plain form. */
void handshake_begin(uint32_t time_ms, uint8_t out[HANDSHAKE_IN_BYTES]);

/* The client's side: reads S0 and S1; C2 is then a copy of S1, the HANDSHAKE_BYTES behind the first byte. */
must_check long handshake_check(struct bytes in, const char **why);

#endif
