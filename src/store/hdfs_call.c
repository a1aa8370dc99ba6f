/* store/hdfs_call.c - one operation of WebHDFS and its answer.
 *
 * A NameNode knows where bytes belong and has none: it answers 307 with the address of a DataNode, and the second request goes there, with
 * the body. HttpFS answers 307 with its own address (data=true) where a body is to come, and gives bytes itself; so one rule does
 * for both. A redirect is followed once, and never from TLS into the clear.
 *
 * Errors are a RemoteException in JSON whose class says what is the matter; the status does not (403 is any IOException). */
#include "store/hdfs_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

METRIC(retries, METRIC_COUNTER, "matinee_hdfs_retries_total", "Operations of HDFS that were made again");

/* --- one operation ------------------------------------------------------------------------------------ */

/* An operation while it is under way. `avoid` is a DataNode that did not do it the last time, "" if none. */
struct attempt {
    struct hdfs *h;
    const struct hdfs_request *request;
    struct hdfs_answer *answer;
    char avoid[256];
};

static char *url_of(const struct attempt *a, unsigned host)
{
    const struct hdfs_place *p = &a->h->place;
    const struct hdfs_request *r = a->request;
    char token[HDFS_TOKEN_SIZE], *url;

    pthread_mutex_lock(&a->h->lock);
    memcpy(token, a->h->token, sizeof token);
    pthread_mutex_unlock(&a->h->lock);
    url = mem_printf("%s://%s/webhdfs/v1/%s?op=%s%s%s=%s%s%s", p->secure ? "https" : "http", p->hosts[host],
                     r->path, r->op, r->more ? r->more : "", token[0] ? "&delegation" : "&user.name",
                     token[0] ? token : p->user, a->avoid[0] ? "&excludedatanodes=" : "", a->avoid);
    OPENSSL_cleanse(token, sizeof token);
    return url;
}

static bool may_follow(const struct hdfs *h, const char *location)
{
    return strncmp(location, "https://", 8) == 0 ||
           (!h->place.secure && strncmp(location, "http://", 7) == 0);
}

/* HOST:PORT of a URL. */
static void authority_of(const char *url, char *out, size_t room)
{
    const char *host = strstr(url, "://") + 3;

    snprintf(out, room, "%.*s", (int)strcspn(host, "/?#"), host);
}

static void exchange(struct attempt *a, const char *url, struct bytes body)
{
    const struct hdfs_request *r = a->request;
    struct remote_request q = {.method = r->method, .url = url, .body = body};

    q.answer_bytes_max =
        r->answer_bytes_max > HDFS_JSON_BYTES_MAX ? r->answer_bytes_max : HDFS_JSON_BYTES_MAX;
    q.headers = remote_header(NULL, "Expect", ""); /* asking first would cost each object a round trip */
    if (r->sends)
        q.headers = remote_header(q.headers, "Content-Type", "application/octet-stream");
    remote_call(&a->h->remote, &q, &a->answer->web);
    curl_slist_free_all(q.headers);
}

/* To the DataNode (or back to HttpFS), with the body. */
static void follow(struct attempt *a)
{
    struct remote_answer *web = &a->answer->web;
    char *location = mem_string(web->location), why[REMOTE_MESSAGE_SIZE];

    remote_answer_drop(web);
    if (may_follow(a->h, location)) {
        authority_of(location, a->avoid, sizeof a->avoid);
        exchange(a, location, a->request->body);
        if (web->transport != CURLE_OK) {
            snprintf(why, sizeof why, "%.80s: %.70s", a->avoid, web->message);
            memcpy(web->message, why, sizeof why);
        } else if (web->status < 300) {
            a->avoid[0] = '\0';
        }
    } else {
        snprintf(web->message, sizeof web->message, "it points to %.100s", location);
        web->status = 502;
    }
    free(location);
}

static void read_exception(struct hdfs_answer *a)
{
    struct bytes text = builder_bytes(&a->web.body);
    json_t *json = json_loadb((const char *)text.at, text.size, 0, NULL);
    json_t *told = json_object_get(json, "RemoteException");
    const char *exception = json_string_value(json_object_get(told, "exception"));
    const char *message = json_string_value(json_object_get(told, "message"));

    snprintf(a->exception, sizeof a->exception, "%s", exception ? exception : "");
    snprintf(a->web.message, sizeof a->web.message, "%.*s", message ? (int)strcspn(message, "\n") : 0,
             message ? message : "");
    json_decref(json);
}

static void do_once(struct attempt *a, unsigned host)
{
    struct hdfs_answer *out = a->answer;
    char *url = url_of(a, host);

    *out = (struct hdfs_answer){0};
    a->avoid[0] = '\0';
    exchange(a, url, bytes_of(NULL, 0));
    OPENSSL_cleanse(url, strlen(url));
    free(url);
    if (out->web.transport == CURLE_OK && out->web.status == 307) {
        follow(a);
    } else if (out->web.transport == CURLE_OK && out->web.status < 300 && a->request->sends) {
        snprintf(out->web.message, sizeof out->web.message, "it does not say where the bytes are to go");
        out->web.status = 502;
    }
    if (out->web.transport == CURLE_OK && out->web.status >= 300 && out->web.message[0] == '\0')
        read_exception(out);
}

/* --- what an answer means ----------------------------------------------------------------------------- */

static bool exception_is(const struct hdfs_answer *a, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(a->exception, *names) == 0)
            return true;
    return false;
}

enum hdfs_verdict hdfs_judge(const struct hdfs_answer *a)
{
    static const char *const token[] = {"InvalidToken", "InvalidEncryptionKeyException", NULL};
    static const char *const full[] = {"DSQuotaExceededException", "NSQuotaExceededException",
                                       "QuotaExceededException", "QuotaByStorageTypeExceededException", NULL};
    static const char *const refused[] = {"AccessControlException",
                                          "AuthorizationException",
                                          "SecurityException",
                                          "IllegalArgumentException",
                                          "UnsupportedOperationException",
                                          "ParentNotDirectoryException",
                                          "FileAlreadyExistsException",
                                          "InvalidPathException",
                                          "PathIsNotDirectoryException",
                                          NULL};

    if (a->web.transport != CURLE_OK)
        return HDFS_AGAIN;
    if (a->web.status >= 200 && a->web.status < 300)
        return HDFS_GOOD;
    if (strcmp(a->exception, "FileNotFoundException") == 0)
        return HDFS_MISSING;
    if (exception_is(a, token) || a->web.status == 401)
        return HDFS_TOKEN;
    if (exception_is(a, full))
        return HDFS_FULL;
    if (exception_is(a, refused))
        return HDFS_REFUSED;
    /* Safe mode, standby, no DataNode, a lease, a pipeline: classes of IOException that end some time. */
    return a->exception[0] != '\0' || a->web.status >= 500 || a->web.status == 408 || a->web.status == 429
               ? HDFS_AGAIN
               : HDFS_REFUSED;
}

static enum err kind_of(const struct hdfs_answer *a, enum hdfs_verdict verdict)
{
    switch (verdict) {
    case HDFS_GOOD:
        return ERR_OK;
    case HDFS_MISSING:
        return ERR_MISSING;
    case HDFS_AGAIN:
        return remote_err(&a->web);
    case HDFS_FULL:
        return ERR_FULL;
    case HDFS_TOKEN:
    case HDFS_REFUSED:
        break;
    }
    return ERR_DENIED;
}

/* --- again --------------------------------------------------------------------------------------------- */

/* True: the file has another token now than `old`. */
static bool renew_token(struct hdfs *h, const char *old)
{
    char token[HDFS_TOKEN_SIZE], why[256];
    bool news;

    if (h->place.token_file == NULL)
        return false;
    if (hdfs_token_read(token, h->place.token_file, why) != ERR_OK) {
        log_warn("store", "%s", why);
        return false;
    }
    pthread_mutex_lock(&h->lock);
    memcpy(h->token, token, sizeof token);
    news = strcmp(token, old) != 0;
    pthread_mutex_unlock(&h->lock);
    OPENSSL_cleanse(token, sizeof token);
    return news;
}

/* Whether there is sense in another try, after what is to be done before it. `token` is what was tried with. */
static bool again(struct attempt *a, enum hdfs_verdict verdict, unsigned number, const char *token,
                  unsigned host)
{
    struct hdfs *h = a->h;

    if (number + 1 >= REMOTE_TRIES_MAX || atomic_load(&h->store.closing_ms) != 0)
        return false;
    if (verdict == HDFS_TOKEN)
        return renew_token(h, token);
    if (verdict != HDFS_AGAIN)
        return false;
    /* Of several NameNodes the next one may be active. A DataNode that failed is to blame, and not who named it. */
    if (a->avoid[0] == '\0')
        atomic_store(&h->host, (host + 1) % h->place.host_count);
    if (number % 2 == 1)
        a->avoid[0] = '\0'; /* there may be no other */
    remote_pause(number);
    return true;
}

static void say(const struct hdfs_request *r, const struct hdfs_answer *a)
{
    char message[LOG_SAFE_SIZE], exception[LOG_SAFE_SIZE];

    log_warn("store", "HDFS did not do a %s of %.120s: %ld %s %s", r->op, r->path, a->web.status,
             log_safe(bytes_text(a->exception), exception), log_safe(bytes_text(a->web.message), message));
}

enum err hdfs_call(struct hdfs *h, const struct hdfs_request *r, bool once, struct hdfs_answer *out)
{
    struct attempt a = {.h = h, .request = r, .answer = out};
    int64_t due_ms = clock_mono_ms() + REMOTE_CALL_MS_MAX;
    char token[HDFS_TOKEN_SIZE];
    enum hdfs_verdict verdict;

    for (unsigned number = 0;; number++) {
        unsigned host = atomic_load(&h->host);

        pthread_mutex_lock(&h->lock);
        memcpy(token, h->token, sizeof token);
        pthread_mutex_unlock(&h->lock);
        do_once(&a, host);
        verdict = hdfs_judge(out);
        if (verdict == HDFS_GOOD || verdict == HDFS_MISSING || once || clock_mono_ms() >= due_ms ||
            !again(&a, verdict, number, token, host))
            break;
        metric_add(&retries, 1);
        hdfs_answer_drop(out);
    }
    OPENSSL_cleanse(token, sizeof token);
    if (verdict != HDFS_GOOD && verdict != HDFS_MISSING && !once)
        say(r, out);
    return kind_of(out, verdict);
}

void hdfs_answer_drop(struct hdfs_answer *a)
{
    remote_answer_drop(&a->web);
}
