/* store/s3_retry.c - what an answer means, and when to ask again.
 *
 * By S3's rules: what is busy or broken is asked again after a pause that doubles, with jitter; a wrong clock is set by what they say; ended
 * credentials are read anew. What is still wrong after REMOTE_TRIES_MAX is the caller's: store.c's breaker and the spool ask later. */
#include "store/s3_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"

METRIC(retries, METRIC_COUNTER, "matinee_s3_retries_total", "Requests to S3 that were made again");

static bool code_is(const struct s3_answer *a, const char *const *codes)
{
    for (; *codes != NULL; codes++)
        if (strcmp(a->code, *codes) == 0)
            return true;
    return false;
}

enum s3_verdict s3_judge(const struct s3_answer *a)
{
    static const char *const clock[] = {"RequestTimeTooSkewed", "RequestExpired", NULL};
    static const char *const credentials[] = {"ExpiredToken",          "InvalidToken",
                                              "TokenRefreshRequired",  "InvalidAccessKeyId",
                                              "ExpiredTokenException", NULL};
    static const char *const busy[] = {"SlowDown",
                                       "InternalError",
                                       "ServiceUnavailable",
                                       "RequestTimeout",
                                       "Throttling",
                                       "OperationAborted",
                                       "BadDigest",
                                       "IncompleteBody",
                                       "RequestThrottled",
                                       "XAmzContentSHA256Mismatch",
                                       NULL};

    if (a->web.transport != CURLE_OK)
        return S3_AGAIN;
    if (code_is(a, clock))
        return S3_CLOCK;
    if (code_is(a, credentials))
        return S3_CREDENTIALS;
    if (code_is(a, busy)) /* also in a 200: CompleteMultipartUpload answers before it knows */
        return S3_AGAIN;
    if (strcmp(a->code, "NoSuchBucket") == 0)
        return S3_NO_BUCKET;
    if (a->web.status >= 200 && a->web.status < 300)
        return a->code[0] == '\0' ? S3_GOOD : S3_REFUSED;
    if (a->web.status == 404)
        return S3_MISSING;
    return a->web.status >= 500 || a->web.status == 408 || a->web.status == 429 || a->web.status == 409
               ? S3_AGAIN
               : S3_REFUSED;
}

/* True: the clock was wrong by what they say, and is right now. */
static bool set_clock(struct s3 *s, const struct s3_answer *a)
{
    int64_t offset = a->web.date_ms - clock_wall_ms();

    if (a->web.date_ms == 0)
        return false;
    pthread_mutex_lock(&s->lock);
    int64_t was = s->clock_offset_ms;

    s->clock_offset_ms = offset;
    pthread_mutex_unlock(&s->lock);
    log_warn("store", "the clock of S3 and ours are %lld s apart; requests carry theirs. Ours should be set",
             (long long)(offset / 1000));
    return offset - was > 1000 || was - offset > 1000;
}

/* True: there are others now than those of `version`. */
static bool renew_credentials(struct s3 *s, uint64_t version)
{
    struct s3_credentials c;
    char why[256];
    bool good = s3_credentials_read(&c, s->place.credentials_file, s->place.profile, why) == ERR_OK, news;

    pthread_mutex_lock(&s->lock);
    news = s->credentials_version != version;
    if (good && !news && memcmp(&c, &s->credentials, sizeof c) != 0) {
        s->credentials = c;
        s->credentials_version++;
        news = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (!good)
        log_warn("store", "%s", why);
    return news;
}

static enum err kind_of(const struct s3_answer *a, enum s3_verdict verdict)
{
    switch (verdict) {
    case S3_GOOD:
        return ERR_OK;
    case S3_MISSING:
        return ERR_MISSING;
    case S3_AGAIN:
        return remote_err(&a->web);
    case S3_NO_BUCKET:
    case S3_CLOCK:
    case S3_CREDENTIALS:
    case S3_REFUSED:
        break;
    }
    return ERR_DENIED;
}

static void say(const struct s3_request *r, const struct s3_answer *a)
{
    char message[LOG_SAFE_SIZE], code[LOG_SAFE_SIZE];

    log_warn("store", "S3 did not do a %s of %.120s: %ld %s %s", r->method, r->key ? r->key : "the bucket",
             a->web.status, log_safe(bytes_text(a->code), code),
             log_safe(bytes_text(a->web.message), message));
}

/* Whether there is sense in another try, after what is to be done before it. */
static bool again(struct s3 *s, const struct s3_answer *a, enum s3_verdict verdict, unsigned attempt,
                  uint64_t version)
{
    if (attempt + 1 >= REMOTE_TRIES_MAX || atomic_load(&s->store.closing_ms) != 0)
        return false;
    if (verdict == S3_CLOCK)
        return set_clock(s, a);
    if (verdict == S3_CREDENTIALS)
        return renew_credentials(s, version);
    if (verdict != S3_AGAIN)
        return false;
    remote_pause(attempt);
    return true;
}

enum err s3_call_well(struct s3 *s, const struct s3_request *r, struct s3_answer *out)
{
    enum s3_verdict verdict;
    int64_t due_ms = clock_mono_ms() + REMOTE_CALL_MS_MAX;

    for (unsigned attempt = 0;; attempt++) {
        pthread_mutex_lock(&s->lock);
        uint64_t version = s->credentials_version;

        pthread_mutex_unlock(&s->lock);
        s3_call(s, r, out);
        verdict = s3_judge(out);
        if (verdict == S3_GOOD || verdict == S3_MISSING || clock_mono_ms() >= due_ms ||
            !again(s, out, verdict, attempt, version))
            break;
        metric_add(&retries, 1);
        s3_answer_drop(out);
    }
    if (verdict != S3_GOOD && verdict != S3_MISSING)
        say(r, out);
    return kind_of(out, verdict);
}
