/* A publisher's session with a live room that the test plays: transcripts of good clients and bad ones. */
#include "unit.h"

#include "fake_live.h"
#include "peer.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/random.h"
#include "rtmp/handshake_int.h"

#include <stdlib.h>

static struct peer p;

static int open_peer(void **state)
{
    log_set_level(LOG_ERROR);
    clock_test_set(1000000, 0);
    peer_open(&p);
    return 0;
}

static int close_peer(void **state)
{
    peer_close(&p);
    fake_reset();
    clock_test_off();
    return 0;
}

static void pass_ms(int64_t ms)
{
    clock_test_set(clock_mono_us() + ms * 1000, 0);
    session_tick(p.session);
}

static void media(uint32_t timestamp, size_t size)
{
    uint8_t *body = mem_new(size);

    body[0] = 0x27;
    peer_message(&p, 6, TYPE_VIDEO, timestamp, bytes_of(body, size));
    free(body);
}

/* --- good clients ------------------------------------------------------------------------------------ */

static const char publishes[] = "type 5: 2500000\n"
                                "type 6: 2500000\n"
                                "type 1: 4096\n"
                                "_result 1 NetConnection.Connect.Success (Connection succeeded.)\n"
                                "_result 2\n"
                                "_result 3\n"
                                "onFCPublish 0 NetStream.Publish.Start\n"
                                "_result 4 1\n";

static void a_publisher_is_let_in(void **state)
{
    peer_handshake(&p);
    peer_connect(&p, "live");
    peer_command(&p, "releaseStream", 2, "key");
    peer_command(&p, "FCPublish", 3, "key");
    peer_command(&p, "createStream", 4, NULL);
    peer_command(&p, "publish", 5, "key");
    peer_send(&p, 0);
    assert_string_equal(peer_heard(&p), publishes);
    assert_string_equal(fake.publication->key, "key");
    assert_true(p.held); /* nothing is read while the key is looked at */
    fake_grant();
    assert_string_equal(peer_heard(&p), "onStatus 0 NetStream.Publish.Start (Publishing.)\n");
    assert_false(p.held);
}

static void a_publisher_is_let_in_byte_by_byte(void **state)
{
    peer_handshake(&p);
    peer_connect(&p, "live");
    peer_command(&p, "releaseStream", 2, "key");
    peer_command(&p, "FCPublish", 3, "key");
    peer_command(&p, "createStream", 4, NULL);
    peer_command(&p, "publish", 5, "key");
    peer_send(&p, 1);
    assert_string_equal(peer_heard(&p), publishes);
    assert_true(p.held);
}

static void messages_reach_live_in_the_buffer_they_were_read_into(void **state)
{
    peer_publish(&p);
    media(40, 1000);
    peer_message(&p, 4, TYPE_AUDIO, 50, bytes_text("\xaf\x01sound"));
    peer_send(&p, 100);
    assert_int_equal(fake.message_count, 2);
    assert_int_equal(fake.messages[0].kind, MESSAGE_VIDEO);
    assert_int_equal(fake.messages[0].timestamp, 40);
    assert_int_equal(fake.messages[0].body.size, 1000);
    assert_ptr_equal(fake.messages[0].body.at, fake.messages[0].buffer->data);
    assert_int_equal(atomic_load(&fake.messages[0].buffer->references), 1); /* live's alone */
    assert_int_equal(fake.messages[1].kind, MESSAGE_AUDIO);
    assert_true(bytes_is(fake.messages[1].body, "\xaf\x01sound"));
    assert_true(fake.heard > 0);
}

static void metadata_is_given_without_the_words_to_the_server(void **state)
{
    struct builder b = {0};

    peer_publish(&p);
    amf_put_string(&b, "@setDataFrame");
    amf_put_string(&b, "onMetaData");
    peer_message(&p, 4, TYPE_DATA, 0, builder_bytes(&b));
    peer_message(&p, 4, TYPE_DATA, 0, bytes_from(builder_bytes(&b), 16));
    peer_send(&p, 0);
    assert_int_equal(fake.message_count, 2);
    for (int i = 0; i < 2; i++)
        assert_true(bytes_equal(fake.messages[i].body, bytes_from(builder_bytes(&b), 16)));
    builder_drop(&b);
}

static void metadata_in_amf3_framing_is_the_same(void **state)
{
    struct builder b = {0};

    peer_publish(&p);
    builder_u8(&b, 0);
    amf_put_string(&b, "onMetaData");
    peer_message(&p, 4, TYPE_DATA_AMF3, 0, builder_bytes(&b));
    peer_send(&p, 0);
    assert_int_equal(fake.messages[0].kind, MESSAGE_DATA);
    assert_true(bytes_equal(fake.messages[0].body, bytes_from(builder_bytes(&b), 1)));
    builder_drop(&b);
}

static void commands_in_amf3_framing_are_the_same(void **state)
{
    struct builder b = {0};

    peer_handshake(&p);
    peer_connect(&p, "live");
    builder_u8(&b, 0);
    amf_put_string(&b, "createStream");
    amf_put_number(&b, 2);
    amf_put_null(&b);
    peer_message(&p, 3, TYPE_COMMAND_AMF3, 0, builder_bytes(&b));
    peer_send(&p, 0);
    assert_non_null(strstr(peer_heard(&p), "_result 2 1\n"));
    builder_drop(&b);
}

/* Two tags at 100 and 140 in an aggregate of 1000 are messages of 1000 and 1040, without a copy. */
static void an_aggregate_is_its_messages(void **state)
{
    struct builder b = {0};

    peer_publish(&p);
    for (uint32_t i = 0; i < 2; i++) {
        builder_u8(&b, TYPE_VIDEO);
        builder_be24(&b, 3);
        builder_be24(&b, 100 + 40 * i);
        builder_be32(&b, 0);
        builder_be24(&b, 0x270100 + i);
        builder_be32(&b, 14);
    }
    peer_message(&p, 6, TYPE_AGGREGATE, 1000, builder_bytes(&b));
    builder_u8(&b, TYPE_VIDEO); /* and a torn one */
    peer_message(&p, 6, TYPE_AGGREGATE, 2000, builder_bytes(&b));
    peer_send(&p, 0);
    assert_int_equal(fake.message_count, 4);
    assert_int_equal(fake.messages[1].timestamp, 1040);
    assert_int_equal(fake.messages[1].body.at[2], 1);
    assert_ptr_equal(fake.messages[0].buffer, fake.messages[1].buffer);
    builder_drop(&b);
}

static void a_ping_is_answered(void **state)
{
    struct builder b = {0};

    peer_handshake(&p);
    builder_be16(&b, 6);
    builder_be32(&b, 0x01020304);
    peer_message(&p, 2, TYPE_USER_CONTROL, 0, builder_bytes(&b));
    peer_message(&p, 2, TYPE_USER_CONTROL, 0, bytes_head(builder_bytes(&b), 3));
    peer_send(&p, 0);
    assert_string_equal(peer_heard(&p), "type 4: 459010\n"); /* 00 07 01 02 … */
    builder_drop(&b);
}

static void a_key_may_have_a_query_behind_it(void **state)
{
    peer_handshake(&p);
    peer_connect(&p, "live/?token=x");
    peer_command(&p, "publish", 5, "key?user=a&pass=b");
    peer_send(&p, 0);
    assert_string_equal(fake.publication->key, "key");
}

static void live_may_stop_the_flow_and_let_it_go_on(void **state)
{
    peer_publish(&p);
    fake_hold(true);
    assert_true(p.held);
    media(0, 10);
    peer_send(&p, 0);
    assert_int_equal(fake.message_count, 0);
    pass_ms(10 * RTMP_SILENCE_MS_MAX); /* a silence of our own making */
    assert_false(p.closed);
    fake_hold(false);
    assert_false(p.held);
    peer_send(&p, 0);
    assert_int_equal(fake.message_count, 1);
}

static void a_notice_is_never_an_error_to_the_client(void **state)
{
    peer_publish(&p);
    peer_heard(&p);
    fake_notice(true, "The disk is full.");
    assert_string_equal(peer_heard(&p), "onStatus 0 NetStream.Publish.Notice (The disk is full.)\n");
    assert_false(p.closed);
}

/* --- the end ----------------------------------------------------------------------------------------- */

static void an_end_is_answered_when_all_is_durable(void **state)
{
    peer_publish(&p);
    media(0, 100);
    peer_send(&p, 0);
    peer_heard(&p);
    peer_command(&p, "FCUnpublish", 6, "key");
    uint64_t end = p.session->reader.position + builder_bytes(&p.out).size;

    peer_command(&p, "deleteStream", 7, NULL);
    peer_send(&p, 0);
    assert_true(p.held);
    assert_int_equal(fake.syncs, 1);
    assert_string_equal(peer_heard(&p), "");
    fake_durable(fake.position);
    assert_string_equal(peer_heard(&p),
                        "onFCUnpublish 0 NetStream.Unpublish.Success\n"
                        "onStatus 0 NetStream.Unpublish.Success (Everything sent is on disk.)\n"
                        "_result 6\n");
    assert_int_equal(p.acknowledged, end); /* said before the answer */
    assert_int_equal(fake.unpublishes, 1);
    assert_true(fake.last_was_clean);
    assert_false(p.held);
    peer_send(&p, 0); /* deleteStream wants nothing more */
    assert_string_equal(peer_heard(&p), "");
}

static void an_end_with_nothing_in_flight_is_answered_at_once(void **state)
{
    peer_publish(&p);
    peer_heard(&p);
    peer_command(&p, "deleteStream", 0, NULL);
    peer_send(&p, 0);
    assert_non_null(strstr(peer_heard(&p), "NetStream.Unpublish.Success"));
    assert_true(fake.last_was_clean);
}

static void a_connection_may_publish_again(void **state)
{
    peer_publish(&p);
    peer_command(&p, "closeStream", 0, NULL);
    peer_send(&p, 0);
    peer_command(&p, "publish", 8, "key");
    peer_send(&p, 0);
    assert_int_equal(fake.publishes, 2);
    fake_grant();
    media(0, 10);
    peer_send(&p, 0);
    assert_int_equal(fake.message_count, 1);
}

static void a_hang_up_is_no_clean_end(void **state)
{
    peer_publish(&p);
    session_free(p.session);
    p.session = NULL;
    assert_int_equal(fake.unpublishes, 1);
    assert_false(fake.last_was_clean);
}

/* Who said that it is done and hangs up before our answer has ended all the same. */
static void a_hang_up_while_the_end_is_made_durable_is_clean(void **state)
{
    peer_publish(&p);
    media(0, 100);
    peer_command(&p, "FCUnpublish", 6, "key");
    peer_send(&p, 0);
    session_free(p.session);
    p.session = NULL;
    assert_true(fake.last_was_clean);
}

static void an_eviction_is_told_and_ends_the_connection(void **state)
{
    peer_publish(&p);
    peer_heard(&p);
    fake_evict("The event has ended.");
    assert_string_equal(peer_heard(&p), "onStatus 0 NetStream.Publish.Rejected (The event has ended.)\n");
    assert_true(p.closed);
    assert_int_equal(fake.unpublishes, 0); /* live knows */
}

static void an_eviction_from_within_a_message_is_survived(void **state)
{
    peer_publish(&p);
    fake.evict_in_message = true;
    media(0, 100);
    media(40, 100);
    peer_send(&p, 0);
    assert_true(p.closed);
    assert_int_equal(fake.message_count, 0);
}

/* --- the acknowledgement ----------------------------------------------------------------------------- */

static void nothing_is_acknowledged_that_is_not_durable(void **state)
{
    peer_publish(&p);
    uint64_t before = p.session->reader.position;

    media(0, 1000);
    peer_send(&p, 0);
    uint64_t middle = p.session->reader.position;

    media(40, 1000);
    peer_send(&p, 0);
    pass_ms(600);
    assert_int_equal(p.acknowledged, before);
    fake_durable(fake.messages[0].position);
    pass_ms(600);
    assert_int_equal(p.acknowledged, middle);
    fake_durable(fake.messages[1].position);
    pass_ms(600);
    assert_int_equal(p.acknowledged, p.session->reader.position);
}

static void half_the_window_is_acknowledged_at_once(void **state)
{
    struct builder b = {0};

    peer_publish(&p);
    builder_be32(&b, 4000);
    peer_message(&p, 2, TYPE_WINDOW, 0, builder_bytes(&b));
    builder_drop(&b);
    peer_send(&p, 0);
    pass_ms(600);
    unsigned said = p.acknowledgements;

    media(0, 1900);
    peer_send(&p, 0);
    fake_durable(fake.position);
    assert_int_equal(p.acknowledgements, said);
    media(0, 1900);
    peer_send(&p, 0);
    fake_durable(fake.position);
    assert_int_equal(p.acknowledgements, said + 1);
    assert_int_equal(p.acknowledged, p.session->reader.position);
}

static void a_message_without_a_position_counts_at_once(void **state)
{
    peer_publish(&p);
    fake.skip = true;
    media(0, 1000);
    peer_send(&p, 0);
    pass_ms(600);
    assert_int_equal(p.acknowledged, p.session->reader.position);
}

/* Half a video message, then a whole and durable audio message: the count stays before the video. */
static void a_message_that_is_not_whole_is_never_acknowledged(void **state)
{
    uint8_t body[128] = {0x27};
    struct builder rest = {0};

    peer_publish(&p);
    uint64_t before = p.session->reader.position;

    media(0, 256 + 20);
    struct bytes all = builder_bytes(&p.out);

    builder_add(&rest, bytes_from(all, 12 + 128));
    p.out.buffer->size = 12 + 128;
    peer_message(&p, 4, TYPE_AUDIO, 0, bytes_of(body, 100));
    peer_send(&p, 0);
    fake_durable(fake.position);
    pass_ms(600);
    assert_int_equal(p.acknowledged, before);
    builder_add(&p.out, builder_bytes(&rest));
    builder_drop(&rest);
    peer_send(&p, 0);
    pass_ms(600);
    assert_int_equal(p.acknowledged, before);
    fake_durable(fake.position);
    pass_ms(600);
    assert_int_equal(p.acknowledged, p.session->reader.position);
}

static void a_message_that_was_refused_is_never_acknowledged(void **state)
{
    peer_publish(&p);
    uint64_t before = p.session->reader.position;

    fake.answer = ERR_UNSUPPORTED;
    fake.why = "Speex is not taken; send AAC";
    media(0, 1000);
    peer_send(&p, 0);
    assert_int_equal(p.acknowledged, before);
}

static void media_that_nobody_took_is_never_acknowledged(void **state)
{
    peer_publish(&p);
    peer_command(&p, "closeStream", 0, NULL);
    peer_send(&p, 0);
    uint64_t before = p.session->reader.position;

    media(0, 1000);
    peer_command(&p, "createStream", 8, NULL);
    peer_send(&p, 0);
    pass_ms(600);
    assert_int_equal(p.acknowledged, before);
}

static void the_count_wraps_at_32_bits(void **state)
{
    peer_publish(&p);
    p.session->reader.position = UINT32_MAX - 500;
    media(0, 1000);
    peer_send(&p, 0);
    fake_durable(fake.position);
    pass_ms(600);
    assert_true(p.session->reader.position > UINT32_MAX);
    assert_int_equal(p.acknowledged, p.session->reader.position); /* the peer unwraps */
}

/* --- clients that are refused ------------------------------------------------------------------------ */

static void a_wrong_key_is_refused_and_closed(void **state)
{
    peer_handshake(&p);
    peer_connect(&p, "live");
    peer_command(&p, "publish", 5, "wrong");
    peer_send(&p, 0);
    peer_heard(&p);
    fake_refuse(ERR_DENIED, "No event has this stream key.");
    assert_string_equal(peer_heard(&p),
                        "onStatus 0 NetStream.Publish.BadName (No event has this stream key.)\n");
    assert_true(p.closed);
}

static void an_unsupported_codec_is_named_and_closed(void **state)
{
    peer_publish(&p);
    peer_heard(&p);
    fake.answer = ERR_UNSUPPORTED;
    fake.why = "Speex is not taken; send AAC";
    media(0, 10);
    media(40, 10);
    peer_send(&p, 0);
    assert_string_equal(peer_heard(&p),
                        "onStatus 0 NetStream.Publish.Rejected (Speex is not taken; send AAC)\n");
    assert_true(p.closed);
    assert_int_equal(fake.unpublishes, 1);
}

static void another_app_or_none_is_rejected(void **state)
{
    static const char *const apps[] = {NULL, "", "vod", "live/instance", "LIVE", "?live"};

    for (size_t i = 0; i < sizeof apps / sizeof apps[0]; i++) {
        close_peer(state);
        open_peer(state);
        peer_handshake(&p);
        peer_connect(&p, apps[i]);
        peer_send(&p, 0);
        assert_non_null(strstr(peer_heard(&p), "_error 1 NetConnection.Connect.Rejected"));
        assert_true(p.closed);
    }
}

static void a_player_is_told_where_to_go(void **state)
{
    peer_handshake(&p);
    peer_connect(&p, "live");
    peer_command(&p, "play", 0, "key");
    peer_send(&p, 0);
    const char *heard = peer_heard(&p);

    assert_non_null(strstr(heard, "NetStream.Play.Failed"));
    assert_non_null(strstr(heard, "HTTP"));
    assert_true(p.closed);
}

static void publish_raw_name(struct bytes name)
{
    struct builder b = {0};

    peer_handshake(&p);
    peer_connect(&p, "live");
    amf_put_string(&b, "publish");
    amf_put_number(&b, 5);
    amf_put_null(&b);
    builder_u8(&b, AMF_STRING);
    builder_be16(&b, (uint16_t)name.size);
    builder_add(&b, name);
    peer_message(&p, 3, TYPE_COMMAND, 0, builder_bytes(&b));
    builder_drop(&b);
    peer_send(&p, 0);
}

static void names_that_are_no_keys_are_refused(void **state)
{
    static uint8_t longest[65000];
    const struct bytes names[] = {{NULL, 0},
                                  bytes_of("a\0b", 3),
                                  bytes_text("../key"),
                                  bytes_text("..\\key"),
                                  bytes_text("a/b"),
                                  bytes_text("a b"),
                                  bytes_text("\xc0\xae\xc0\xae/"),
                                  bytes_text("?key"),
                                  bytes_of(longest, 256),
                                  bytes_of(longest, sizeof longest)};

    memset(longest, 'k', sizeof longest);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        close_peer(state);
        open_peer(state);
        publish_raw_name(names[i]);
        assert_non_null(strstr(peer_heard(&p), "NetStream.Publish.BadName"));
        assert_true(p.closed);
        assert_int_equal(fake.publishes, 0);
    }
}

static void a_name_of_255_bytes_is_looked_up(void **state)
{
    uint8_t name[255];

    memset(name, 'k', sizeof name);
    publish_raw_name(bytes_of(name, sizeof name));
    assert_int_equal(fake.publishes, 1);
}

/* --- clients that are broken or hostile -------------------------------------------------------------- */

static void any_command_may_come_in_any_state(void **state)
{
    static const char *const commands[] = {
        "connect",      "releaseStream", "FCPublish",       "createStream", "publish", "FCUnpublish",
        "deleteStream", "closeStream",   "getStreamLength", "_checkbw",     "play",    "play2",
        "_result",      "_error",        "onStatus",        "seek",         "",        "@setDataFrame"};

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        for (int before = 0; before < 4; before++) {
            close_peer(state);
            open_peer(state);
            peer_handshake(&p);
            if (before == 3) {
                peer_send(&p, 0);
                p.out = (struct builder){0};
                peer_connect(&p, "live");
                peer_command(&p, "publish", 5, "key");
                peer_send(&p, 0);
                fake_grant();
            } else if (before == 2) {
                peer_connect(&p, "live");
            } else if (before == 1) {
                peer_command(&p, "createStream", 4, NULL);
            }
            peer_command(&p, commands[i], 9, "key");
            peer_command(&p, commands[i], 0, NULL);
            peer_command(&p, commands[i], 10, "key");
            peer_send(&p, 3);
            pass_ms(300);
        }
    }
}

static void unknown_commands_are_answered_with_an_error(void **state)
{
    peer_handshake(&p);
    peer_command(&p, "createStream", 1, NULL);
    peer_connect(&p, "live");
    peer_command(&p, "seek", 7, NULL);
    peer_command(&p, "seek", 0, NULL);
    peer_connect(&p, "live");
    peer_send(&p, 0);
    const char *heard = peer_heard(&p);

    assert_non_null(strstr(heard, "_error 1 NetConnection.Call.Failed (connect has to come first.)"));
    assert_non_null(strstr(heard, "_error 7 NetConnection.Call.Failed"));
    assert_non_null(strstr(heard, "_error 1 NetConnection.Call.Failed (connect was called before.)"));
    assert_false(p.closed);
}

static void a_million_create_streams_leave_nothing_behind(void **state)
{
    struct builder b = {0};
    struct bytes one;

    peer_handshake(&p);
    peer_connect(&p, "live");
    peer_send(&p, 0);
    peer_command(&p, "createStream", 4, NULL);
    builder_add(&b, builder_bytes(&p.out));
    builder_drop(&p.out);
    one = builder_bytes(&b);
    for (int i = 0; i < 1000000; i++)
        assert_int_equal(session_read(p.session, one), one.size);
    assert_int_equal(p.session->reader.stream_count, 1);
    assert_int_equal(p.session->reader.partial_bytes, 0);
    builder_drop(&b);
}

static void what_is_not_a_command_ends_the_connection(void **state)
{
    static const char *const bodies[] = {"", "\x05", "\x02\xff\xff", "\x03\x03\x03", "\x02"};

    for (size_t i = 0; i < 5; i++) {
        close_peer(state);
        open_peer(state);
        peer_handshake(&p);
        peer_message(&p, 3, TYPE_COMMAND, 0, bytes_text(bodies[i]));
        peer_send(&p, 0);
        assert_true(p.closed);
    }
}

static void control(uint8_t type, uint32_t value)
{
    uint8_t body[4];

    put_be32(body, value);
    peer_message(&p, 2, type, 0, bytes_of(body, 4));
}

static void a_chunk_size_that_cannot_be_ends_the_connection(void **state)
{
    static const uint32_t sizes[] = {0, 0x01000000, 0x7fffffff, 0x80000000, 0xffffffff};

    for (size_t i = 0; i < 5; i++) {
        close_peer(state);
        open_peer(state);
        peer_handshake(&p);
        control(TYPE_CHUNK_SIZE, sizes[i]);
        peer_send(&p, 0);
        assert_true(p.closed);
    }
    close_peer(state);
    open_peer(state);
    peer_handshake(&p);
    control(TYPE_CHUNK_SIZE, 1);
    peer_send(&p, 0);
    peer_connect(&p, "live");
    peer_send(&p, 0);
    assert_non_null(strstr(peer_heard(&p), "NetConnection.Connect.Success"));
}

static void a_control_message_cut_short_ends_the_connection(void **state)
{
    peer_handshake(&p);
    peer_message(&p, 2, TYPE_ABORT, 0, bytes_text("abc"));
    peer_send(&p, 0);
    assert_true(p.closed);
}

static void large_messages_are_for_those_who_publish(void **state)
{
    peer_handshake(&p);
    peer_connect(&p, "live");
    media(0, RTMP_COMMAND_BYTES_MAX + 1);
    peer_send(&p, 0);
    assert_true(p.closed);
    close_peer(state);
    open_peer(state);
    peer_publish(&p);
    media(0, RTMP_COMMAND_BYTES_MAX + 1);
    peer_send(&p, 1000);
    assert_int_equal(fake.message_count, 1);
}

static void http_on_this_port_is_closed(void **state)
{
    builder_text(&p.out, "GET / HTTP/1.1\r\n\r\n");
    peer_send(&p, 0);
    assert_true(p.closed);
}

static void who_does_not_publish_in_time_is_closed(void **state)
{
    peer_handshake(&p);
    peer_connect(&p, "live");
    peer_send(&p, 0);
    for (int ms = 0; ms < RTMP_HELLO_MS_MAX - 500; ms += 500) {
        peer_command(&p, "createStream", 4, NULL); /* busy is not enough */
        peer_send(&p, 0);
        pass_ms(500);
        assert_false(p.closed);
    }
    pass_ms(500);
    assert_true(p.closed);
}

static void who_falls_silent_is_closed(void **state)
{
    peer_publish(&p);
    pass_ms(RTMP_SILENCE_MS_MAX - 1);
    assert_false(p.closed);
    control(TYPE_ACKNOWLEDGEMENT, 5);
    peer_send(&p, 0);
    pass_ms(RTMP_SILENCE_MS_MAX - 1);
    assert_false(p.closed);
    pass_ms(1);
    assert_true(p.closed);
    assert_false(fake.last_was_clean);
}

/* Whatever the bytes of a good session are cut or changed to, the session stands. */
static void a_session_with_any_byte_changed_stands(void **state)
{
    struct builder good = {0};

    peer_handshake(&p);
    peer_connect(&p, "live");
    peer_command(&p, "createStream", 4, NULL);
    peer_command(&p, "publish", 5, "key");
    media(40, 300);
    peer_command(&p, "FCUnpublish", 6, "key");
    builder_add(&good, bytes_from(builder_bytes(&p.out), HANDSHAKE_IN_BYTES + HANDSHAKE_BYTES));
    random_seed_for_test(20261123);
    print_message("seed 20261123\n");
    for (size_t at = 0; at < builder_bytes(&good).size; at++) {
        for (int round = 0; round < 4; round++) {
            close_peer(state);
            open_peer(state);
            peer_handshake(&p);
            peer_send(&p, 0);
            builder_drop(&p.out);
            builder_add(&p.out, builder_bytes(&good));
            p.out.buffer->data[at] = (uint8_t)random_u64();
            peer_send(&p, 1 + at % 50);
            if (fake.publication != NULL)
                fake_grant();
            peer_send(&p, 7);
            if (fake.publication != NULL)
                fake_durable(fake.position);
            pass_ms(600);
        }
    }
    builder_drop(&good);
    random_seed_for_test(0);
}

#define SESSION_TEST(f) cmocka_unit_test_setup_teardown(f, open_peer, close_peer)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SESSION_TEST(a_publisher_is_let_in),
        SESSION_TEST(a_publisher_is_let_in_byte_by_byte),
        SESSION_TEST(messages_reach_live_in_the_buffer_they_were_read_into),
        SESSION_TEST(metadata_is_given_without_the_words_to_the_server),
        SESSION_TEST(metadata_in_amf3_framing_is_the_same),
        SESSION_TEST(commands_in_amf3_framing_are_the_same),
        SESSION_TEST(an_aggregate_is_its_messages),
        SESSION_TEST(a_ping_is_answered),
        SESSION_TEST(a_key_may_have_a_query_behind_it),
        SESSION_TEST(live_may_stop_the_flow_and_let_it_go_on),
        SESSION_TEST(a_notice_is_never_an_error_to_the_client),
        SESSION_TEST(an_end_is_answered_when_all_is_durable),
        SESSION_TEST(an_end_with_nothing_in_flight_is_answered_at_once),
        SESSION_TEST(a_connection_may_publish_again),
        SESSION_TEST(a_hang_up_is_no_clean_end),
        SESSION_TEST(a_hang_up_while_the_end_is_made_durable_is_clean),
        SESSION_TEST(an_eviction_is_told_and_ends_the_connection),
        SESSION_TEST(an_eviction_from_within_a_message_is_survived),
        SESSION_TEST(nothing_is_acknowledged_that_is_not_durable),
        SESSION_TEST(half_the_window_is_acknowledged_at_once),
        SESSION_TEST(a_message_without_a_position_counts_at_once),
        SESSION_TEST(a_message_that_is_not_whole_is_never_acknowledged),
        SESSION_TEST(a_message_that_was_refused_is_never_acknowledged),
        SESSION_TEST(media_that_nobody_took_is_never_acknowledged),
        SESSION_TEST(the_count_wraps_at_32_bits),
        SESSION_TEST(a_wrong_key_is_refused_and_closed),
        SESSION_TEST(an_unsupported_codec_is_named_and_closed),
        SESSION_TEST(another_app_or_none_is_rejected),
        SESSION_TEST(a_player_is_told_where_to_go),
        SESSION_TEST(names_that_are_no_keys_are_refused),
        SESSION_TEST(a_name_of_255_bytes_is_looked_up),
        SESSION_TEST(any_command_may_come_in_any_state),
        SESSION_TEST(unknown_commands_are_answered_with_an_error),
        SESSION_TEST(a_million_create_streams_leave_nothing_behind),
        SESSION_TEST(what_is_not_a_command_ends_the_connection),
        SESSION_TEST(a_chunk_size_that_cannot_be_ends_the_connection),
        SESSION_TEST(a_control_message_cut_short_ends_the_connection),
        SESSION_TEST(large_messages_are_for_those_who_publish),
        SESSION_TEST(http_on_this_port_is_closed),
        SESSION_TEST(who_does_not_publish_in_time_is_closed),
        SESSION_TEST(who_falls_silent_is_closed),
        SESSION_TEST(a_session_with_any_byte_changed_stands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
