/* base/limits.h - every limit of the house, by name, with its reason.
 *
 * Tighter before authentication than after. Units stand last in the names. */
#ifndef MATINEE_BASE_LIMITS_H
#define MATINEE_BASE_LIMITS_H

/* --- HTTP (RFC 9112) --------------------------------------------------------------------------------- */

/* A request head: browsers stay under 4 KB, long cookies and tokens under 12. More is 431. */
#define HTTP_HEAD_BYTES_MAX 16384
/* Header fields in one head; beyond it somebody is counting on a quadratic loop. 431. */
#define HTTP_FIELDS_MAX 100
/* The request target; 414 beyond. Playlists with tokens stay under 2 KB. */
#define HTTP_TARGET_BYTES_MAX 8192
/* A body that a handler did not ask to stream: JSON documents. 413 beyond. */
#define HTTP_BODY_BYTES_MAX 1048576
/* A whole head must arrive in this time (slowloris), and between two requests a connection may be idle. */
#define HTTP_HEAD_MS_MAX 10000
#define HTTP_IDLE_MS_MAX 60000
/* A body must make progress, and a reader must take what it asked for: no byte for so long ends it. */
#define HTTP_STALL_MS_MAX 30000
/* Pipelined requests answered out of one read before others on the loop get their turn. */
#define HTTP_PIPELINE_TURN_MAX 64
/* Bytes queued towards one reader before a streaming handler is asked to wait. */
#define HTTP_OUT_QUEUE_BYTES_MAX 1048576
/* Textual answers that are compressed: smaller ones fit a packet anyway, larger ones would hold the loop. */
#define GZIP_BYTES_MIN 1024
#define GZIP_BYTES_MAX 4194304
/* HTTP/2 streams open at once on one connection. */
#define HTTP2_STREAMS_MAX 128
/* What a peer may send of a body ahead of us: per stream, and per connection. */
#define HTTP2_WINDOW_BYTES            262144
#define HTTP2_CONNECTION_WINDOW_BYTES 1048576
/* Bodies collected at once over one connection; further ones are answered 503. */
#define HTTP2_BODIES_BYTES_MAX 4194304
/* Streams reset in this time before the connection ends; a player that is dragged about cancels a few a second. */
#define HTTP2_RESETS_MAX 200
#define HTTP2_RESETS_MS  10000

/* --- connections ------------------------------------------------------------------------------------- */

/* All sockets of one server; the process's file limit is raised to it at start where allowed. */
#define CONNECTIONS_MAX 100000
/* Connections of one address, loopback excepted; a school behind one NAT is a few hundred. */
#define CONNECTIONS_PER_ADDRESS_MAX 1000
/* Connections taken from one listener before others on its loop get their turn. */
#define ACCEPTS_TURN_MAX 64
/* When the process is out of file descriptors, a listener rests so long: the backlog waits, nothing spins. */
#define ACCEPT_REST_MS 100
/* A listener that rests again and again says so once in a while. */
#define ACCEPT_WARN_MS 10000
/* Our own connections to others: a host that has not answered by then is away. */
#define CONNECT_MS_MAX 10000
/* One read; the buffer is shared by a whole loop. More makes others on the loop wait. */
#define STREAM_READ_BYTES 65536
/* A lazy stream is read so often: as often as the journal syncs. At a publisher's 77 messages a second it saves
 * seven reads and wake-ups of eight. */
#define STREAM_LAZY_MS 100
/* Or when so much has come (from 2.6 Mbit/s on): half of the window that a connection begins with, so that no
 * sender ever waits for us. */
#define STREAM_LAZY_BYTES 32768
/* What a reader may leave unread and ask for more. */
#define STREAM_UNREAD_BYTES_MAX 1048576
/* One stream sends at most so much in a turn before others get theirs. */
#define STREAM_SEND_TURN_BYTES_MAX 8388608
/* What is queued when a stream closes may stand still for so long. */
#define STREAM_FAREWELL_MS_MAX 30000
/* After our last byte the peer has so long to say its end, so that a reset does not eat what we sent. */
#define STREAM_LINGER_MS_MAX 2000
/* A TLS handshake that is not done by then is not going to be. */
#define TLS_HANDSHAKE_MS_MAX 10000

/* What a datagram socket may hold either way: a keyframe for hundreds of viewers at once. The kernel gives what it allows. */
#define UDP_SOCKET_BYTES 8388608
/* Datagrams read before others on the loop get their turn. */
#define UDP_TURN_MAX 256

/* --- RTMP -------------------------------------------------------------------------------------------- */

/* From accept to a granted publish. */
#define RTMP_HELLO_MS_MAX 10000
/* No byte of a publisher for so long: it is dead, and its connection is closed. */
#define RTMP_SILENCE_MS_MAX 10000
/* A publisher with the right key takes the place of one that has been silent for so long; under 5 s. */
#define RTMP_TAKEOVER_MS_MAX 4000
/* Before a granted publish a message is a command: connect of real publishers is under 1 KB. */
#define RTMP_COMMAND_BYTES_MAX 65536
/* A keyframe of 4K at 100 Mbit/s is under 4 MB; 0xFFFFFF is all the header can say. */
#define RTMP_MESSAGE_BYTES_MAX 16777215
/* Bytes of messages that are begun and not whole, over all chunk streams of one connection. */
#define RTMP_PARTIAL_BYTES_MAX 20971520
/* Chunk streams in use by one connection; real publishers use up to 6. */
#define RTMP_CHUNK_STREAMS_MAX 32
/* A peer may set its chunk size up to the largest message; 0 and more than this are refused. */
#define RTMP_CHUNK_BYTES_MAX 16777215
/* Answers queued towards a publisher that does not read them; all of an ordinary session's are under 4 KB. */
#define RTMP_OUT_QUEUE_BYTES_MAX 262144
/* Objects within objects in AMF; real ones are 3 deep. */
#define AMF_DEPTH_MAX 16
/* Members of one AMF object or array. */
#define AMF_MEMBERS_MAX 1024
/* A stream key, and the app before it. Ours are 32 characters. */
#define STREAM_KEY_BYTES_MAX 255

/* --- media ------------------------------------------------------------------------------------------- */

/* Decoder configuration (avcC, hvcC, av1C, AudioSpecificConfig, OpusHead). Real ones are under 1 KB. */
#define CODEC_CONFIG_BYTES_MAX 65536
/* Samples in one CMAF chunk: a GOP of 100 s at 60 pictures a second. A longer one is several chunks. */
#define CMAF_CHUNK_SAMPLES_MAX 6000
/* A picture's sides. 8K is 7680. */
#define PICTURE_SIDE_MAX 16384

/* --- live -------------------------------------------------------------------------------------------- */

/* The journal's group commit: nothing waits longer for its fdatasync to begin. */
#define JOURNAL_SYNC_MS_MAX 100
/* Bytes that wait for the disk before publishers are no longer read from (TCP pushes back). */
#define JOURNAL_QUEUE_BYTES_MAX 67108864
/* One file of the journal; a whole one is given back when every segment in it is stored. */
#define JOURNAL_FILE_BYTES_MAX 67108864
/* A record's payload: the largest message and its headers. */
#define JOURNAL_RECORD_BYTES_MAX 16842752
/* An open GOP longer than this is reported on the event: viewers wait for keyframes. */
#define GOP_WARN_MS 20000
/* A segment is cut without a keyframe when it has grown to this, so that memory stays bounded. */
#define SEGMENT_BYTES_MAX 268435456
/* A jump of the publisher's clock beyond this is a reset, mended to the usual frame distance. */
#define TIMESTAMP_JUMP_MS_MAX 5000
/* How long after its decoding a picture may be shown. Reordering reaches a few frames; a stamp that says more is
 * damaged, and would put the next cut hours away. */
#define COMPOSITION_MS_MAX 5000
/* A video is hurried for so long after somebody with low latency asked for something of it: players ask with every part, and
 * a player that waits between two segments is not forgotten. */
#define LIVE_HURRY_MS 5000
/* Segments whose parts stay in memory after their end, and how many of these a playlist still lists: who has read of a part
 * just before it left the list must still get it. */
#define LIVE_PART_SEGMENTS        3
#define LIVE_PART_SEGMENTS_LISTED 2
/* How far one track may run ahead before segments no longer wait for the other. */
#define TRACK_SKEW_MS_MAX 3000
/* Stored segments of a live video that stay in memory: three are enough for every player's join. */
#define LIVE_WINDOW_SEGMENTS 4

/* A segment that has waited so long for the store is late enough to say so: two of the usual length. */
#define SPOOL_BEHIND_MS 20000

/* --- several servers over one database ------------------------------------------------------------------ */

/* How often a server looks for what others have changed, and says that it lives. */
#define CATALOG_LOOK_MS 1000
/* One that has not said so for so many looks of ours is not waited for. */
#define PEER_SILENT_LOOKS 8
/* A change that meets another server's is tried so often. */
#define CATALOG_TRIES_MAX 8
/* Of what was fetched from other servers, so much is kept: some seconds of some shows, for viewers who come a little later. */
#define RELAY_KEPT_BYTES_MAX   ((size_t)134217728)
#define RELAY_ANSWER_BYTES_MAX ((size_t)268959744) /* the largest segment and its headers */
#define RELAY_FLIGHTS_MAX      2000                /* at once; a show of five renditions has some twenty */
#define RELAY_UNREAD_BYTES_MAX 8388608 /* what one viewer may leave unread before it gets no more */
#define RELAY_PIECE_BYTES      262144
#define RELAY_CONNECT_MS_MAX   2000
#define RELAY_ANSWER_MS_MAX                                                                                  \
    90000 /* a playlist may be waited for half a minute, and a segment may grow for one */
#define RELAY_POLL_MS 1000
/* What was loaded of a video that another server still adds to is good for so long. */
#define FOREIGN_VIEW_MS 3000

/* --- WebRTC ------------------------------------------------------------------------------------------ */

/* An offer: browsers send 6 KB for two recvonly tracks, 20 with every codec they know. */
#define WHEP_OFFER_BYTES_MAX 65536
/* Its lines; Chromium's have 250. */
#define SDP_LINES_MAX 2000
/* Its m-lines; a player offers two. */
#define SDP_MEDIA_MAX 8
/* Of ufrag, password and mid (RFC 8839 §5.4 allows 256; browsers use 4, 24 and 1). */
#define SDP_WORD_BYTES_MAX 256
/* What an fmtp line of H.264 says is echoed; Chromium's has 70 characters. */
#define SDP_FMTP_BYTES_MAX 255
/* Attributes of one STUN message; a check has 7. */
#define STUN_ATTRIBUTES_MAX 32
/* Our datagrams: what every path takes (RFC 8831 §5, and what browsers use), IP and UDP headers not counted. */
#define WEBRTC_DATAGRAM_BYTES_MAX 1200
/* A datagram that comes; more is nobody's DTLS or RTCP, and of a TCP frame the whole connection is in doubt. */
#define WEBRTC_RECEIVE_BYTES_MAX 2048
/* The payload of one RTP packet: a datagram without header (12), playout-delay extension (8), RTX's number (2) and tag (16). */
#define RTP_PAYLOAD_BYTES_MAX 1162
/* Sessions at once: what one core can send of 600 kbit/s, three times over. */
#define WEBRTC_SESSIONS_MAX 10000
/* Among them such that have not finished their handshake; and for how long they may take. A browser takes a second. */
#define WEBRTC_HALF_OPEN_MAX 2000
/* And such of one address: a school behind one NAT whose pages all begin within a second. Beyond either the oldest from
 * which nothing has come yet makes way: so a flood pushes out itself. */
#define WEBRTC_HALF_OPEN_ADDRESS_MAX 500
#define WEBRTC_HALF_OPEN_MS_MAX      15000
/* Offers of one address a minute, and how many seconds' worth of them at once: 600, that school again. Loopback is free
 * unless --limit-loopback is given. */
#define WEBRTC_OFFERS_ADDRESS_MINUTE 1200
#define WEBRTC_OFFERS_BURST_SECONDS  30
/* STUN from addresses and ports that nobody's true check came from: a viewer needs ten of them. What is more is not even read. */
#define WEBRTC_STRANGERS_ADDRESS_MINUTE 12000
#define WEBRTC_STRANGERS_BURST_SECONDS  10
/* How long a password for a TURN server is good that is made for one viewer: it is asked for at the beginning of a connection,
 * and again with each renewal of its allocation, for the length of a show. */
#define TURN_CREDENTIAL_SECONDS 43200
/* Consent: no authenticated check for so long ends a session. RFC 7675 §5.1 says 30 s; browsers check every 2.5 s and
 * others every 5, so whoever has missed three is not behind a tunnel but gone. */
#define WEBRTC_CONSENT_MS_MAX 15000
/* An SSL object holds 70 KB; the peer repeats its last flight for so long if our answer to it is lost. */
#define DTLS_LINGER_MS 5000
/* After handshakes the heap is given back to the kernel so often: it takes a pool thread milliseconds. */
#define WEBRTC_TRIM_MS 3000
/* Packets that a feed keeps, for those who join and for what was lost: below half of RTP's numbers, so that a number
 * is never two packets. A GOP of 16 s at 8 Mbit/s. */
#define WEBRTC_RING_PACKETS_MAX 16384
#define WEBRTC_RING_BYTES_MAX   33554432
/* What lies before the newest keyframe is kept for so long, for NACKs: nobody asks for older pictures. */
#define WEBRTC_RING_MS 2000
/* Who joins gets what came since the keyframe faster than real time by this much: at once it would be a burst that
 * routers drop, and at real time the first picture that is new would be a GOP late. */
#define WEBRTC_JOIN_PACE 4
/* One viewer gets at most so much in a turn before others get theirs. */
#define WEBRTC_TURN_PACKETS_MAX 512
/* A viewer's NACKs are answered up to so many packets a second: beyond that its network does not take the stream. */
#define WEBRTC_REPAIRS_A_SECOND_MAX 2000
/* A keyframe is repeated for a viewer who asks (PLI) at most so often. */
#define WEBRTC_PLI_MS_MIN 1000
/* A viewer on the lower rendition comes back when its line was clean for so long; whoever falls again soon waits twice as
 * long each time, up to the second. */
#define LINE_CLEAN_MS_MIN 10000
#define LINE_CLEAN_MS_MAX 120000
/* A viewer that changes is held at the place where the other rendition's keyframe is to come; the encoder is late by
 * tens of milliseconds, and what is later than this is not waited for. */
#define WEBRTC_HOLD_MS_MAX 400
/* Nobody wants the lower rendition: its encoder goes on for so long. */
#define WEBRTC_LOW_REST_MS 5000
/* Over TCP: what is queued for a viewer who does not keep up before pictures are left out up to the next keyframe. */
#define WEBRTC_TCP_QUEUE_BYTES_MAX 1048576
/* What waits for the process that converts a stream; beyond it frames are left out up to the next keyframe. */
#define COMPANION_QUEUE_BYTES_MAX 8388608
/* One that breaks down is started again after so long. */
#define COMPANION_REST_MS 1000
/* Samples on their way to one follower of a live video; one that does not fetch them starts anew at a keyframe. */
#define FOLLOW_QUEUE_MAX 4096
/* What a video keeps since its last keyframe for followers to come. Beyond it they wait for the next keyframe. */
#define FOLLOW_CACHE_BYTES_MAX   67108864
#define FOLLOW_CACHE_SAMPLES_MAX 12000
/* --- players ----------------------------------------------------------------------------------------- */

/* A request for something that is not there yet waits so long: three target durations (RFC 8216bis §6.2.5.2), and never longer than
 * proxies wait for an answer. */
#define EDGE_WAIT_TARGETS_MAX 3
#define EDGE_WAIT_MS_MAX      30000
/* A player that asks for whatever there is gets parts that are at most so old; its question wakes the publisher's loop, and what
 * that does not answer in the second time is answered without. */
#define EDGE_AGE_MS_MAX   700
#define EDGE_FRESH_MS_MAX 500
/* How often a loop looks for requests that have waited too long. */
#define EDGE_TICK_MS 500
/* How long an edge may go by the word that a viewer is admitted, or a video still there: a cancelled ticket ends within one
 * segment of 10 s, and an edge asks the origin so seldom for each viewer. */
#define EDGE_ADMISSION_SECONDS 5
/* How much older than its lifetime a text may be handed out by a cache while it fetches a newer one: else all who come in that moment
 * would go to the origin. Live: who begins with a playlist of some seconds ago is at the edge with his first blocking reload; of a
 * recording nothing changes but by hand. */
#define EDGE_STALE_LIVE_SECONDS  3
#define EDGE_STALE_ENDED_SECONDS 60
/* What one reader of a growing segment may leave unread before it gets no more: some seconds of the highest quality. */
#define EDGE_UNREAD_BYTES_MAX 8388608

/* --- databases --------------------------------------------------------------------------------------- */

/* Connections to a shared database: as many bookings as may lock side by side, and a few more for everything else. MariaDB
 * itself takes 151 of all its clients unless told otherwise. */
#define DB_WRITERS_MAX 40
#define DB_READERS_MAX 16
/* A row that somebody else keeps locked for so long is not waited for any longer: the transaction is undone. */
#define DB_LOCK_SECONDS_MAX 2
/* A server that has not answered by then is away. */
#define DB_CONNECT_SECONDS_MAX 5
#define DB_ANSWER_SECONDS_MAX  30
/* A machine that does not acknowledge what was sent to it for so long is cut off, however long a statement may take: without this a
 * call would wait for the answer of a network that drops everything. */
#define DB_SILENT_SECONDS_MAX 6
/* How long a change that may be made twice is asked for again when the database goes away under it: it may be back, as after a
 * crash, before whoever asked has lost patience. */
#define DB_SURELY_MS_MAX 8000
/* The server undoes a transaction whose client has said nothing for so long: of a machine that lost its power it would
 * keep the locks for hours. Our own transactions are over in milliseconds. */
#define DB_TRANSACTION_IDLE_SECONDS_MAX 10
/* Changing tables at start, or waiting for another server that does: an index over millions of rows takes minutes. */
#define DB_SCHEMA_SECONDS_MAX 600
/* Rows of one trip: MariaDB takes 16 MB at once unless told otherwise, and others want their turn. */
#define DB_BATCH_BYTES_MAX 2097152
/* A server that is away is said to be so this often. */
#define DB_AWAY_SAY_MS 10000

/* --- the store --------------------------------------------------------------------------------------- */

/* One object: the largest segment and its headers. */
#define STORE_OBJECT_BYTES_MAX ((size_t)268959744)
/* Segments stored side by side: a hundred shows end ten a second, of two objects each, and a store may take half a second to confirm one.
 * Objects fetched: enough to fill a line over some milliseconds of round trip. */
#define STORE_WRITERS_MAX 32
#define STORE_READERS_MAX 16
/* Fetches that wait for a reader; further ones are answered 503 at once: their players would have gone before their turn. */
#define STORE_FETCHES_MAX 1000
/* What waits for the store in memory; beyond it the disk has it. --spool bounds both together. */
#define STORE_HELD_BYTES_MAX ((size_t)268435456)
/* Failures one behind the other after which a remote store is left alone, and for how long: a store that restarts is found
 * within seconds, and one that is away for an hour gets four calls a minute. */
#define STORE_FAILURES_MAX 3
#define STORE_PAUSE_MS_MIN ((int64_t)1000)
#define STORE_PAUSE_MS_MAX ((int64_t)15000)
/* When the house closes, what is under way with a store elsewhere gets so long: the spool has had its time before that. */
#define STORE_CLOSING_MS_MAX 2000
/* Connections to a store elsewhere that are kept for the next request: as many as there are threads that make some. */
#define REMOTE_CONNECTIONS_IDLE_MAX 48
/* A server that does not take a connection by then is away; one that sends and takes nothing for so long hangs. */
#define REMOTE_CONNECT_MS_MAX      5000
#define REMOTE_SILENCE_SECONDS_MAX 10
/* A whole answer: so long, and the time that the bytes take at the least speed that a stream could live with. */
#define REMOTE_ANSWER_MS_MAX  20000
#define REMOTE_BYTES_A_MS_MIN 1000
/* Tries of one request, the pauses between them, and after how long no further one begins; callers have pauses of their own. */
#define REMOTE_TRIES_MAX    4
#define REMOTE_PAUSE_MS_MIN 100
#define REMOTE_PAUSE_MS_MAX 2000
#define REMOTE_CALL_MS_MAX  30000
/* What libcurl reads and writes at once: fewer calls for each megabyte than with its own 16 and 64 KB. */
#define REMOTE_BUFFER_BYTES 524288
/* Larger objects go in parts of this: a part that breaks is sent again by itself. S3 wants 5 MB at least. */
#define S3_PUT_BYTES_MAX 33554432
#define S3_PART_BYTES    16777216
/* A list of 1,000 keys is 300 KB; names of ours are below 512, upload ids and continuation tokens below 1,000. */
#define S3_XML_BYTES_MAX 4194304
#define S3_XML_TEXT_SIZE 2048
#define S3_XML_PATH_SIZE 256
/* NameNodes of one cluster: Hadoop speaks of an active one and up to four that stand by. */
#define HDFS_HOSTS_MAX 5
/* HDFS' own limit (dfs.replication.max). */
#define HDFS_REPLICATION_MAX 512
/* What WebHDFS says of one file is 500 bytes; a list of 10,000 left behind by crashes is 3 MB. */
#define HDFS_JSON_BYTES_MAX 4194304
/* A temporary file as old as this belongs to a put that nobody is at any more: a put takes REMOTE_CALL_MS_MAX a step. */
#define HDFS_TEMPORARY_MS_MAX 3600000

/* --- comments ---------------------------------------------------------------------------------------- */

/* Committed together: more would make the first of them wait for the last one's share of the work. */
#define COMMENT_BATCH_MAX 1024
/* Calls that wait for an engine; 20,000 are a second of the fastest one. Further ones are answered 503 at once. */
#define COMMENTS_WAITING_MAX 20000
/* An engine that is away is tried again for so long; then the call is answered 503. */
#define COMMENT_ANSWER_MS_MAX 5000
#define COMMENT_RETRY_MS      200
/* The newest entries of a log that a feed keeps in memory: those are told again without asking the engine. */
#define COMMENT_FEED_ENTRIES   1024
#define COMMENT_FEED_BYTES_MAX 4194304
/* A feed without readers is let go of after this. */
#define COMMENT_FEED_IDLE_MS 60000
/* How much of a log a returning reader is told at most: a thousand that are shown, and as many that are not any more. */
#define COMMENT_RESUME_MAX 2000
/* Entries read from the engine at once for a reader that is behind. */
#define COMMENT_PAGE 200
/* What a reader may leave unread before it is told no more; and what it gets then, once it has read that. */
#define COMMENT_READER_BYTES_MAX 65536
#define COMMENT_SLOW_LAST        50
/* Entries that it may be behind by then without missing any. */
#define COMMENT_SLOW_BEHIND_MAX 256
/* How often a feed asks whether its reader may still listen: a cancelled ticket ends within a segment. */
#define STAY_LOOK_MS 2000
/* Proxies cut a connection that is silent for a minute, many of them sooner. */
#define COMMENT_HEARTBEAT_MS 15000
/* Comments of one window; what is beyond them is in the list. A window of 20,000 comments/s would be 60 MB. */
#define COMMENT_WINDOW_ITEMS_MAX 2000
/* Windows in memory. */
#define COMMENT_WINDOWS_BYTES_MAX 33554432
/* An open window that is read by a crowd is read from the engine so often at most, if it is long. */
#define COMMENT_WINDOW_FRESH_MS 500
/* A window is sealed so long after it was closed: longer than a call may take that was handed in before. */
#define COMMENT_SEAL_MS 15000
/* Windows that wait to be sealed; what is forgotten is sealed after it was read the next time. */
#define COMMENT_UNSEALED_MAX 100000
/* A window that nobody changes is read again after this: the engine may know better than we. */
#define COMMENT_WINDOW_KEPT_MS 60000
/* Rules of an event that another server may have changed are read again after this. */
#define COMMENT_RULES_MS 2000
/* Authors whose last comment is remembered, for slow mode. */
#define COMMENT_SLOW_AUTHORS_MAX 100000
/* Comments of one author, and of one address (a school behind one NAT), each minute, and how many of them at once. --limits sets
 * others; loopback is free unless --limit-loopback is given. */
#define COMMENTS_AUTHOR_MINUTE  60
#define COMMENTS_ADDRESS_MINUTE 1200
#define COMMENTS_BURST_SECONDS  10
/* Calls of the API a minute, of one address (an office or a school behind one NAT; playing does not count) and with one token, and ten
 * seconds' worth of them at once. Wrong tokens of one address: a person who mistypes, not a program that guesses. */
#define REQUESTS_ADDRESS_MINUTE 6000
#define REQUESTS_TOKEN_MINUTE   6000
#define REFUSED_ADDRESS_MINUTE  60
#define REQUESTS_BURST_SECONDS  10
/* Networks of proxies that are trusted to say who their client is: a CDN publishes a dozen or two. */
#define PROXIES_MAX 64
/* Keys that one limit remembers; when there are more, those who have been quiet are forgotten first. */
#define RATE_KEYS_MAX 200000

/* --- uploads of finished recordings ------------------------------------------------------------------ */

/* One file: five hours of 4K at 100 Mbit/s are 225 GB. */
#define UPLOAD_BYTES_MAX 274877906944
/* What is gathered of a body before the disk gets it; the peer waits meanwhile. */
#define UPLOAD_WRITE_BYTES 1048576
/* A sender that comes back may find its own broken connection still there: it waits so long for its end. */
#define UPLOAD_WAIT_MS_MAX 1000
/* Looking into a file that has come, before its sender is answered. */
#define UPLOAD_LOOK_MS_MAX 60000
/* The longest recording: two days, so that no arithmetic on its times can overflow. */
#define RECORDING_SECONDS_MAX 172800
/* Finished segments of an import that wait for the store before it reads on. */
#define IMPORT_SEGMENTS_WAITING_MAX 2

/* --- administration (the commands, as clients) ------------------------------------------------------- */

/* One answer in memory: the task lines of two days of chunks are 40 MB. */
#define ADMIN_ANSWER_BYTES_MAX 268435456
/* No byte either way for so long, in seconds: the server looks into a whole file for UPLOAD_LOOK_MS_MAX. */
#define ADMIN_SILENCE_SECONDS_MAX 90L
/* A server that has answered and went away is waited for: the time of a restart on a slow machine, or of a line
 * that is dialled anew. */
#define ADMIN_AWAY_MS_MAX 300000
/* One piece of an upload: what is sent again at most after a break; it waits for one fdatasync. */
#define ADMIN_PIECE_BYTES 16777216
/* Lines published at once: as JSON, with their tabs and ends escaped, below HTTP_BODY_BYTES_MAX. */
#define ADMIN_LINES_BYTES_MAX 786432

/* --- edge-check --------------------------------------------------------------------------------------- */

/* An answer in memory: a segment of 10 s at 50 Mbit/s. */
#define EDGE_CHECK_BYTES_MAX ((size_t)67108864)
/* What waits for a coming part waits for EDGE_WAIT_MS_MAX at most; an edge may add its own. */
#define EDGE_CHECK_CONNECT_MS_MAX 10000L
#define EDGE_CHECK_ANSWER_MS_MAX  45000L
/* What a playlist may be kept for: matinee says 1 and 60; beyond these a player would lose the live edge, or an editor patience. */
#define EDGE_CHECK_LIVE_SECONDS_MAX  2
#define EDGE_CHECK_ENDED_SECONDS_MAX 300
/* A live playlist is asked for once more after its second and some; and, if that had it renewed, when the new one must be there. */
#define EDGE_CHECK_STALE_MS   2500
#define EDGE_CHECK_RENEWED_MS 500
/* A deleted video is gone everywhere within one segment. */
#define EDGE_CHECK_PURGE_MS_MAX ((int64_t)10000)

#endif
