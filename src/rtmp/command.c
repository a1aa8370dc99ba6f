/* rtmp/command.c - the commands of NetConnection and NetStream (RTMP 1.0 §7.2): one table says which are known,
 * in which states they may come, and who answers.
 *
 * Any command may come in any state: what does not fit is answered with an error and changes nothing. No
 * command makes the session grow. */
#include "rtmp/session_int.h"

#include "base/limits.h"

/* The one message stream of a connection; createStream gives it each time it is asked. */
#define MESSAGE_STREAM 1

#define IN(state)  (1u << (state))
#define IN_ANY     (IN(SESSION_NEW) | IN(SESSION_CONNECTED) | IN(SESSION_PUBLISHING))
#define IN_SERVICE (IN(SESSION_CONNECTED) | IN(SESSION_PUBLISHING))

/* The app, from "live", "live/" or "live?token=…". */
static struct bytes app_of(const struct session_call *call)
{
    struct amf_value app;
    long query;

    if (!amf_member(&call->object, "app", &app) || app.kind != AMF_STRING)
        return bytes_text("");
    query = bytes_find(app.text, '?');
    if (query >= 0)
        app.text = bytes_head(app.text, (size_t)query);
    while (app.text.size > 0 && app.text.at[app.text.size - 1] == '/')
        app.text.size--;
    return app.text;
}

static void run_connect(struct session *s, const struct session_call *call)
{
    if (!bytes_is(app_of(call), "live")) {
        reply_rejected(s, call->transaction,
                       "The application here is called live: rtmp://HOST/live and a stream key.");
        session_close(s, "connect to an application that is not there");
        return;
    }
    s->state = SESSION_CONNECTED;
    reply_connected(s, call->transaction);
}

static void run_result(struct session *s, const struct session_call *call)
{
    if (call->transaction != 0)
        reply_result(s, call->transaction);
}

static void run_fc_publish(struct session *s, const struct session_call *call)
{
    run_result(s, call);
    reply_fc(s, "onFCPublish", "NetStream.Publish.Start");
}

static void run_create_stream(struct session *s, const struct session_call *call)
{
    reply_number(s, call->transaction, MESSAGE_STREAM);
}

static void run_length(struct session *s, const struct session_call *call)
{
    reply_number(s, call->transaction, 0); /* a live stream has none */
}

static void run_play(struct session *s, const struct session_call *call)
{
    reply_status(s, call->message_stream, "error", "NetStream.Play.Failed",
                 "RTMP is for publishing here. Watch over HTTP: the event's watchUrl is its page.");
    session_close(s, "play, which is not offered");
}

static void run_nothing(struct session *s, const struct session_call *call)
{
    (void)s;
    (void)call;
}

static const struct command {
    const char *name;
    unsigned states; /* a bit for each in which it may come */
    void (*run)(struct session *s, const struct session_call *call);
} commands[] = {
    {"connect", IN(SESSION_NEW), run_connect},
    {"releaseStream", IN_SERVICE, run_result},
    {"FCPublish", IN_SERVICE, run_fc_publish},
    {"createStream", IN_SERVICE, run_create_stream},
    {"publish", IN_SERVICE, session_publish},
    {"FCUnpublish", IN_SERVICE, session_finish},
    {"deleteStream", IN_SERVICE, session_finish},
    {"closeStream", IN_SERVICE, session_finish},
    {"getStreamLength", IN_SERVICE, run_length},
    {"_checkbw", IN_SERVICE, run_result},
    {"play", IN_SERVICE, run_play},
    {"play2", IN_SERVICE, run_play},
    /* answers to what we never asked, from peers that mirror */
    {"_result", IN_ANY, run_nothing},
    {"_error", IN_ANY, run_nothing},
    {"onStatus", IN_ANY, run_nothing},
};

/* Reads name, transaction, and as many of object and argument as are there. False when it is no command. */
static bool read_call(struct session_call *out, struct bytes body)
{
    struct amf_value head[4] = {
        {.kind = AMF_UNDEFINED}, {.kind = AMF_UNDEFINED}, {.kind = AMF_UNDEFINED}, {.kind = AMF_UNDEFINED}};
    const char *why;

    for (size_t i = 0; i < 4 && body.size > 0; i++) {
        long taken = amf_read(&head[i], body, &why);

        if (taken < 0)
            return false;
        body = bytes_from(body, (size_t)taken);
    }
    if (head[0].kind != AMF_STRING || (head[1].kind != AMF_NUMBER && head[1].kind != AMF_UNDEFINED))
        return false;
    out->name = head[0].text;
    out->transaction = head[1].number;
    out->object = head[2];
    out->argument = head[3];
    return true;
}

const char *session_command(struct session *s, struct bytes body, uint32_t message_stream)
{
    struct session_call call = {.message_stream = message_stream};

    if (!read_call(&call, body))
        return "a command that is not AMF0";
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (!bytes_is(call.name, commands[i].name))
            continue;
        if (commands[i].states & IN(s->state))
            commands[i].run(s, &call);
        else
            reply_error(s, call.transaction,
                        s->state == SESSION_NEW ? "connect has to come first."
                                                : "connect was called before.");
        return NULL;
    }
    log_debug("rtmp", "%s: command %s is not known", s->peer, log_safe(call.name, s->peer_said));
    if (call.transaction != 0)
        reply_error(s, call.transaction, "There is no command of this name here.");
    return NULL;
}
