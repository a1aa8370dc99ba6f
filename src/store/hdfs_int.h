/* store/hdfs_int.h - between the files of the HDFS store. What each one is for:
 *
 *   hdfs_url.c        hdfs://HOST:PORT/PREFIX?… taken apart
 *   hdfs_checksum.c   the checksum that HDFS keeps of a file, of bytes in memory
 *   hdfs_call.c       one operation of WebHDFS and its answer, with its redirect, again where there is sense in it
 *   hdfs.c            the store: puts, gets and deletes */
#ifndef MATINEE_STORE_HDFS_INT_H
#define MATINEE_STORE_HDFS_INT_H

#include "store/remote_int.h"

#include <stdatomic.h>

/* --- hdfs_url.c -------------------------------------------------------------------------------------- */

#define HDFS_USER_SIZE  65
#define HDFS_TOKEN_SIZE 2049

/* Where objects go. All texts are its own; NULL: not given. */
struct hdfs_place {
    bool secure; /* swebhdfs: TLS all the way */
    char
        *hosts[HDFS_HOSTS_MAX]; /* HOST:PORT each, NameNodes or HttpFS; the ones behind the first take over */
    unsigned host_count;
    char *prefix; /* a good name, or "" */
    char *user;   /* who we say we are, where nobody asks for proof */
    char *token_file;
    char *replication;
    char *authority_file;
};

/* Reads a URL as docs/operations.md says. On ERR_BAD `why` says what is wrong with it, and *out is to be dropped
 * all the same. */
must_check enum err hdfs_place_parse(struct hdfs_place *out, const char *url, char why[256]);
void hdfs_place_drop(struct hdfs_place *p);

/* The delegation token in `file`: one word, as GETDELEGATIONTOKEN gives it. */
must_check enum err hdfs_token_read(char out[HDFS_TOKEN_SIZE], const char *file, char why[256]);

/* --- hdfs_checksum.c --------------------------------------------------------------------------------- */

enum hdfs_match { HDFS_SAME, HDFS_OTHER, HDFS_UNKNOWN /* a checksum of a kind that we do not make */ };

/* Whether `content` has the checksum that GETFILECHECKSUM told: its algorithm, and its bytes in hex. Pure. */
enum hdfs_match hdfs_checksum_match(struct bytes content, const char *algorithm, const char *hex);

/* --- hdfs_call.c ------------------------------------------------------------------------------------- */

#define HDFS_EXCEPTION_SIZE 64

struct hdfs {
    struct store store;
    struct hdfs_place place;
    struct remote remote;
    atomic_uint host; /* the one that answered last */
    pthread_mutex_t lock;
    char token[HDFS_TOKEN_SIZE]; /* guarded by it; "": none */
};

struct hdfs_request {
    const char *method, *op;
    const char
        *path; /* of good names, "" is the root; and where the store's own folder is meant, below ".put" */
    const char *more; /* "&name=value" as it is sent, or NULL */
    bool sends;       /* `body` goes to where the answer points */
    struct bytes body;
    size_t answer_bytes_max; /* at least HDFS_JSON_BYTES_MAX */
};

struct hdfs_answer {
    struct remote_answer web;
    char exception[HDFS_EXCEPTION_SIZE]; /* of a RemoteException: StandbyException; "" */
};

enum hdfs_verdict {
    HDFS_GOOD,
    HDFS_MISSING,
    HDFS_AGAIN, /* after a while: starting, standing by, away */
    HDFS_TOKEN, /* it has ended, or is not known */
    HDFS_FULL,  /* a quota */
    HDFS_REFUSED,
};
enum hdfs_verdict hdfs_judge(const struct hdfs_answer *a); /* pure */

/* Does the operation, and repeats it while that may help, unless it is to be tried `once`. ERR_OK: 2xx. The answer is to be
 * dropped in any case. */
must_check enum err hdfs_call(struct hdfs *h, const struct hdfs_request *r, bool once,
                              struct hdfs_answer *out);
void hdfs_answer_drop(struct hdfs_answer *a);

#endif
