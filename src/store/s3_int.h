/* store/s3_int.h - between the files of the S3 store. What each one is for:
 *
 *   s3_url.c          s3://BUCKET/PREFIX?… taken apart
 *   s3_credentials.c  keys from the environment or a file, and their renewal
 *   s3_sign.c         Signature Version 4
 *   s3_xml.c          what S3 says in XML
 *   s3_call.c         one signed request and its answer
 *   s3_retry.c        the same, again where the rules say so
 *   s3_upload.c       objects in parts
 *   s3.c              the store: puts, gets, deletes and lists */
#ifndef MATINEE_STORE_S3_INT_H
#define MATINEE_STORE_S3_INT_H

#include "store/remote_int.h"

#include <stdatomic.h>

/* --- s3_url.c ---------------------------------------------------------------------------------------- */

/* Where objects go. All texts are its own; NULL: not given. */
struct s3_place {
    char *bucket, *prefix; /* the prefix is a good name, or "" */
    char *scheme,
        *host; /* "http" or "https"; the host as it stands in Host:, with its port where that is unusual */
    char *region;
    bool path_style; /* /BUCKET/KEY at the host; otherwise the bucket is the first label of the host */
    char *encryption,
        *encryption_key; /* x-amz-server-side-encryption: AES256 or aws:kms, and the KMS key's id */
    char *credentials_file, *profile;
    char *authority_file; /* PEM certificates to trust */
};

/* Reads a URL as docs/operations.md says. On ERR_BAD `why` says what is wrong with it, and *out is to be dropped
 * all the same. */
must_check enum err s3_place_parse(struct s3_place *out, const char *url, char why[256]);
void s3_place_drop(struct s3_place *p);

/* --- s3_credentials.c -------------------------------------------------------------------------------- */

#define S3_KEY_SIZE   256
#define S3_TOKEN_SIZE 4096

struct s3_credentials {
    char key[S3_KEY_SIZE], secret[S3_KEY_SIZE];
    char token[S3_TOKEN_SIZE]; /* "": these are not temporary */
};

/* From `file` where one is given; otherwise the environment, otherwise AWS_SHARED_CREDENTIALS_FILE or
 * ~/.aws/credentials. Reads anew with every call. */
must_check enum err s3_credentials_read(struct s3_credentials *out, const char *file, const char *profile,
                                        char why[256]);

/* --- s3_sign.c --------------------------------------------------------------------------------------- */

#define S3_HASH_SIZE          65 /* a SHA-256 in hex and a NUL */
#define S3_PARAMETERS_MAX     6
#define S3_HEADERS_MAX        12
#define S3_DATE_SIZE          20
#define S3_AUTHORIZATION_SIZE 1024

struct s3_pair {
    const char *name, *value; /* a header's name in small letters */
};

/* What is signed. Everything as it is meant, not yet encoded. */
struct s3_message {
    const char *method;
    const char *path; /* begins with '/' */
    const struct s3_pair *parameters;
    size_t parameter_count;
    const struct s3_pair *headers; /* `host` and `x-amz-date` among them */
    size_t header_count;
    const char *body_hash; /* in hex */
};

/* 20130524T000000Z. */
const char *s3_date(int64_t wall_ms, char text[S3_DATE_SIZE]);

/* Appends the query as it is signed and sent: encoded, in order, without '?'. At most S3_PARAMETERS_MAX. */
void s3_query(struct builder *out, const struct s3_pair *parameters, size_t count);
void s3_encode(struct builder *out, const char *text, bool slashes_too);

/* The value of the Authorization header. `date` is that of x-amz-date. */
const char *s3_sign(char out[S3_AUTHORIZATION_SIZE], const struct s3_message *m,
                    const struct s3_credentials *c, const char *region, const char *service,
                    const char *date);

const char *s3_sha256(struct bytes b, char hex[S3_HASH_SIZE]);

struct s3_md5 {
    uint8_t raw[16];
    char hex[33], base64[25];
};
void s3_md5(struct s3_md5 *out, struct bytes b);
const char *s3_hex(char *hex, const uint8_t *at, size_t size); /* 2 * size + 1 characters; returns hex */

/* --- s3_xml.c ---------------------------------------------------------------------------------------- */

/* Calls `element(ctx, path, text)` at the end of each element without children, with a path like "Error/Code". ERR_BAD: it
 * is not well-formed, brings a document type, or passes a limit. Pure but for the calls. */
must_check enum err s3_xml_read(struct bytes xml,
                                void (*element)(void *ctx, const char *path, const char *text), void *ctx);

/* --- s3_call.c --------------------------------------------------------------------------------------- */

#define S3_CODE_SIZE 64
#define S3_TAG_SIZE  128

struct s3 {
    struct store store;
    struct s3_place place;
    struct remote remote;
    pthread_mutex_t lock; /* guards what follows */
    struct s3_credentials credentials;
    uint64_t credentials_version; /* of what was read */
    int64_t clock_offset_ms;      /* their clock less ours */
};

struct s3_request {
    const char *method;
    const char *key; /* below the bucket; NULL: the bucket itself */
    struct s3_pair parameters[S3_PARAMETERS_MAX];
    size_t parameter_count;
    struct bytes body;
    bool creates;     /* an object begins: encryption, and `hash` beside it */
    const char *hash; /* the whole object's SHA-256 */
    const char
        *md5; /* of the body, in base64, where the caller has it already; it takes as long as sending it */
    size_t answer_bytes_max;
};

struct s3_answer {
    struct remote_answer web;
    char tag[S3_TAG_SIZE];   /* the ETag without quotes */
    char hash[S3_HASH_SIZE]; /* what we gave with the object; "" */
    char encryption[32];
    char region[64];         /* where the bucket is, if not where we asked */
    char code[S3_CODE_SIZE]; /* of an error: SlowDown */
};

void s3_call(struct s3 *s, const struct s3_request *r,
             struct s3_answer *out); /* once; blocks; drop the answer */
void s3_answer_drop(struct s3_answer *a);

/* --- s3_retry.c -------------------------------------------------------------------------------------- */

enum s3_verdict {
    S3_GOOD,
    S3_MISSING, /* no such object */
    S3_NO_BUCKET,
    S3_AGAIN,       /* after a while: busy, broken, away */
    S3_CLOCK,       /* our clock is wrong, and they told the time */
    S3_CREDENTIALS, /* they have ended, or are not known */
    S3_REFUSED,     /* and would be refused again */
};
enum s3_verdict s3_judge(const struct s3_answer *a); /* pure */

/* Makes the call, and repeats it by the rules. ERR_OK: 2xx. The answer is the last one's, to be dropped in any case. */
must_check enum err s3_call_well(struct s3 *s, const struct s3_request *r, struct s3_answer *out);

/* --- s3_upload.c ------------------------------------------------------------------------------------- */

/* In parts of S3_PART_BYTES; what fails is taken back. */
must_check enum err s3_put_parts(struct s3 *s, const char *key, struct bytes content, const char *hash);

/* Whether an answer's tag can be that of this content: where tags are MD5s, it has to be. */
bool s3_tag_fits(const struct s3_answer *a, const char *md5_hex);

/* Asks whether the object is there, so long and with this hash: where a tag does not say it. */
must_check enum err s3_confirm(struct s3 *s, const char *key, size_t size, const char *hash);

#endif
