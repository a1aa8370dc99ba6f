/* rtmp/chunk_int.h - the chunk stream (RTMP 1.0 §5.3): messages cut into pieces and interleaved.
 *
 * The reader puts every message together in the one buffer that live will keep: payload bytes are copied once,
 * out of the connection's input, and never again. What a peer announces costs nothing; memory grows only as
 * bytes arrive. It knows the chunk size and abort, and leaves the meaning of messages to the session. */
#ifndef MATINEE_RTMP_CHUNK_INT_H
#define MATINEE_RTMP_CHUNK_INT_H

#include "base/buffer.h"

/* Message types (RTMP 1.0 §5.4, §6.2, §7.1). */
enum message_type {
    TYPE_CHUNK_SIZE = 1,
    TYPE_ABORT = 2,
    TYPE_ACKNOWLEDGEMENT = 3,
    TYPE_USER_CONTROL = 4,
    TYPE_WINDOW = 5,
    TYPE_BANDWIDTH = 6,
    TYPE_AUDIO = 8,
    TYPE_VIDEO = 9,
    TYPE_DATA_AMF3 = 15,
    TYPE_COMMAND_AMF3 = 17,
    TYPE_DATA = 18,
    TYPE_COMMAND = 20,
    TYPE_AGGREGATE = 22
};

/* Whether live may have to make a message of this type durable. */
bool message_type_is_media(uint8_t type);

#define CHUNK_HEAD_BYTES_MAX 18 /* 3 basic, 11 message, 4 extended timestamp */
#define CHUNK_SIZE_STANDARD  128

/* One chunk's header as it stands in the stream. */
struct chunk_header {
    uint8_t format;          /* 0 to 3: how much of what follows is there */
    uint32_t stream;         /* chunk stream id */
    uint32_t time;           /* the timestamp (format 0) or its delta (1, 2); extended where it says so */
    uint32_t size;           /* formats 0 and 1: the message's */
    uint8_t type;            /* formats 0 and 1 */
    uint32_t message_stream; /* format 0 */
    bool extended;           /* formats 0 to 2: `time` came from the extended timestamp */
};

/* Reads one basic and message header (§5.3.1). For format 3 only format and stream are set, and an extended
 * timestamp is left unread: whether there is one depends on the chunk before. Returns the bytes it took,
 * PARSE_MORE when `in` ends too early (nothing is taken), or PARSE_BAD with a reason in *why. */
must_check long chunk_header_parse(struct chunk_header *out, struct bytes in, const char **why);

/* A whole message. */
struct chunk_message {
    uint8_t type;
    uint32_t timestamp;
    uint32_t message_stream;
    struct buffer *buffer; /* the payload; the reference is the caller's */
    uint64_t first;        /* where its first chunk begins, in bytes since the handshake */
};

struct chunk_stream;

/* Zero-initialised but for the two sizes, which chunk_reader_init() sets. */
struct chunk_reader {
    struct chunk_stream *streams;
    size_t stream_count;
    size_t current;      /* index of the stream whose chunk is being read, while chunk_left > 0 */
    size_t chunk_left;   /* payload bytes of that chunk that are still to come */
    uint32_t chunk_size; /* what the peer has set */
    uint32_t
        message_bytes_max; /* a longer message is refused; raised by the session once it knows the peer */
    size_t partial_bytes;  /* memory of messages that are begun and not whole */
    uint64_t position;     /* bytes taken since the handshake */
};

void chunk_reader_init(struct chunk_reader *r);
void chunk_reader_drop(struct chunk_reader *r); /* frees what is partial */

/* Takes bytes until a message is whole or `in` is used up. Returns the bytes it took (0: a header is not
 * complete), or PARSE_BAD with a reason in *why, after which the connection must end. out->buffer is NULL
 * when no message became whole. */
must_check long chunk_read(struct chunk_reader *r, struct chunk_message *out, struct bytes in,
                           const char **why);

/* Set Chunk Size (§5.4.1). False when it is 0, or more than RTMP_CHUNK_BYTES_MAX. */
must_check bool chunk_set_size(struct chunk_reader *r, uint32_t size);

/* Abort Message (§5.4.2): forgets what is partial on that chunk stream. */
void chunk_abort(struct chunk_reader *r, uint32_t stream);

/* The first byte of the earliest media message that is begun and not whole; UINT64_MAX when there is none. */
uint64_t chunk_first_partial(const struct chunk_reader *r);

/* --- writing ----------------------------------------------------------------------------------------- */

/* What is to be sent; `delta` is used instead of the timestamp when `is_delta`. */
struct chunk_outgoing {
    uint32_t stream; /* 2 to 63 */
    uint8_t type;
    uint32_t timestamp;
    uint32_t message_stream;
    bool is_delta; /* format 1: the chunk stream had a message of this message stream before */
    struct bytes body;
};

/* Appends the message, cut into chunks of `chunk_size`. */
void chunk_write(struct builder *b, const struct chunk_outgoing *m, uint32_t chunk_size);

#endif
