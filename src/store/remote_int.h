/* store/remote_int.h - what the stores that are elsewhere share: one HTTP request and its answer over libcurl, the pauses between
 * tries, and the options behind the '?' of their addresses. It knows nothing of S3 or of HDFS. */
#ifndef MATINEE_STORE_REMOTE_INT_H
#define MATINEE_STORE_REMOTE_INT_H

#include "base/limits.h"
#include "store/store_int.h"

#include <curl/curl.h>
#include <pthread.h>

#define REMOTE_MESSAGE_SIZE  160
#define REMOTE_LOCATION_SIZE 6144 /* a delegation token stands in it */

/* The connections of one store. */
struct remote {
    const struct store *store;  /* whose closing ends what is under way */
    const char *authority_file; /* PEM certificates to trust; NULL: the system's */
    pthread_mutex_t lock;
    CURL *idle[REMOTE_CONNECTIONS_IDLE_MAX]; /* each with its connection; the one used last on top */
    size_t idle_count;
};

void remote_init(struct remote *r, const struct store *store);
void remote_drop(struct remote *r);

struct remote_request {
    const char *method, *url;
    struct curl_slist *headers; /* the caller's */
    struct bytes body;
    size_t answer_bytes_max;
    void (*header)(void *ctx, struct bytes line); /* may be NULL; of each answer, its first line too */
    void *ctx;
};

struct remote_answer {
    CURLcode transport; /* CURLE_OK: there is an answer, good or bad */
    long status;
    int64_t date_ms; /* their clock; 0: they did not say */
    bool has_length;
    uint64_t length;
    char location[REMOTE_LOCATION_SIZE]; /* "" */
    struct builder body;
    char message[REMOTE_MESSAGE_SIZE]; /* for a person */
};

/* Once; blocks; follows no redirect; the answer is to be dropped in any case. */
void remote_call(struct remote *r, const struct remote_request *q, struct remote_answer *out);
void remote_answer_drop(struct remote_answer *a);

/* Appends a header to a list (NULL to begin) that curl_slist_free_all() frees. */
struct curl_slist *remote_header(struct curl_slist *list, const char *name, const char *value);
/* The text behind "NAME:" of a header line, without quotes around it, or false. */
bool remote_header_is(struct bytes line, const char *name, char *value, size_t room);

/* Between half and all of a pause that doubles with each attempt, the first being 0. */
void remote_pause(unsigned attempt);
/* Of an answer that may be better another time. */
enum err remote_err(const struct remote_answer *a);
/* Of an answer that may be better another time: whether that is for them to mend. A name that nobody knows and a certificate that is
 * not trusted are for us. */
bool remote_is_away(const struct remote_answer *a);

/* One of the options behind the '?' of an address. */
struct remote_option {
    const char *name;
    char **value; /* to be freed; NULL: not given */
};

/* Of what stands behind "://": what comes before the first '/' is returned; then the prefix without a '/' at its end, and what stands
 * behind the '?'. Either may be empty. */
struct bytes remote_url_split(struct bytes rest, struct bytes *prefix, struct bytes *options);

/* name=value, joined by '&', each of `options` (which end with a NULL name) at most once; %XX is decoded. False: *wrong is the one that is
 * not like that. Pure. */
must_check bool remote_options_read(struct bytes text, const struct remote_option *options,
                                    struct bytes *wrong);

#endif
