/* rtmp/rtmp.h - RTMP: the ingest server, and the client that publishes.
 *
 * The server turns connections into publications of the live room: handshake, chunk streams, commands,
 * then messages, each given to live_message() as the one buffer it was read into. It acknowledges only what
 * live has called durable. */
#ifndef MATINEE_RTMP_RTMP_H
#define MATINEE_RTMP_RTMP_H

#include "live/live.h"
#include "net/net.h"

struct rtmp_server;

/* Takes publishers on `at` (port 0: a free one; *at becomes the real address), over TLS where given (RTMPS). */
must_check enum err rtmp_server_start(struct rtmp_server **out, struct net *n, struct address *at,
                                      struct tls_server *tls, struct live *live);
/* Stops accepting; publishers that are there stay until live_drain(). Blocks; not on a loop's thread. */
void rtmp_server_stop(struct rtmp_server *s);

/* --- the client -------------------------------------------------------------------------------------- */

struct rtmp_client;

struct rtmp_client_events {
    void (*ready)(void *ctx);                        /* NetStream.Publish.Start came: send */
    void (*notice)(void *ctx, const char *text);     /* the server has something for a person; may be NULL */
    void (*acknowledged)(void *ctx, uint64_t bytes); /* total bytes after the handshake, unwrapped */
    void (*writable)(void *ctx);                     /* the queue has drained; see rtmp_client_send() */
    void (*closed)(void *ctx, enum err why,
                   const char *text); /* the last call, the client is gone; text is the server's, or ours */
};

/* Connects to rtmp[s]://host[:port]/app/key and asks to publish; on `loop`'s thread. ERR_BAD: not such a URL.
 * No event comes from within this call. Ready or closed within RTMP_HELLO_MS_MAX of the connection. */
must_check enum err rtmp_client_start(struct rtmp_client **out, struct loop *loop, const char *url,
                                      const struct rtmp_client_events *events, void *ctx);

/* Before `ready`: sends in chunks of so many bytes (1 to RTMP_CHUNK_BYTES_MAX) instead of OBS's 4096. */
void rtmp_client_chunk_size(struct rtmp_client *c, uint32_t size);

/* Sends one message. *end is the count of bytes after the handshake at its last byte, to hold against
 * `acknowledged`. Returns false when more than 1 MB is queued: it is sent all the same, and `writable` follows. */
bool rtmp_client_send(struct rtmp_client *c, enum message_kind kind, uint32_t timestamp_ms, struct bytes body,
                      uint64_t *end);

/* Ends cleanly (FCUnpublish, deleteStream), waits for the acknowledgement of the last message, then `closed`
 * with ERR_OK. Before `ready` it does nothing. */
void rtmp_client_finish(struct rtmp_client *c);
void rtmp_client_abort(struct rtmp_client *c); /* cuts the line; no further call comes */

#endif
