/* store/hdfs.c - objects as files of HDFS, by WebHDFS or HttpFS.
 *
 * A put writes a file of a random name in PREFIX/.put, asks for the checksum that HDFS itself has of it, and renames it to its place, which
 * is one entry in the NameNode's log: at every moment a crash finds the old object, the new one, or none. Blocks are synced to the
 * DataNodes' disks (SYNC_BLOCK) before they answer. What a crash left in .put is removed at the next start that finds it old enough:
 * other servers write there too. What is read and has not the checksum that HDFS has of it is not given to anybody. */
#include "store/hdfs_int.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#define TEMPORARIES     ".put"
#define TEMPORARY_CHARS 32

static struct hdfs *hdfs_of(struct store *s)
{
    return (struct hdfs *)(void *)s;
}

/* PREFIX/NAME. Names with a leading dot are the store's own. */
static char *path_of(const struct hdfs *h, const char *name)
{
    return mem_printf("%s%s%s", h->place.prefix, h->place.prefix[0] != '\0' ? "/" : "", name);
}

static char *temporary_path(const struct hdfs *h)
{
    char name[64];

    snprintf(name, sizeof name, TEMPORARIES "/%016llx%016llx", (unsigned long long)random_u64(),
             (unsigned long long)random_u64());
    return path_of(h, name);
}

static void hdfs_close(struct store *s)
{
    struct hdfs *h = hdfs_of(s);

    remote_drop(&h->remote);
    hdfs_place_drop(&h->place);
    pthread_mutex_destroy(&h->lock);
    OPENSSL_cleanse(h->token, sizeof h->token);
    free(h);
}

/* --- operations that answer little ---------------------------------------------------------------------- */

static json_t *json_of(const struct hdfs_answer *a)
{
    struct bytes text = builder_bytes(&a->web.body);

    return json_loadb((const char *)text.at, text.size, 0, NULL);
}

/* {"boolean": false}: it was understood, and nothing happened. */
static bool says_no(const struct hdfs_answer *a)
{
    json_t *json = json_of(a);
    bool no = json_is_false(json_object_get(json, "boolean"));

    json_decref(json);
    return no;
}

static enum err make_folder(struct hdfs *h, const char *path)
{
    const struct hdfs_request r = {.method = "PUT", .op = "MKDIRS", .path = path};
    struct hdfs_answer a;
    enum err e = hdfs_call(h, &r, false, &a);

    if (e == ERR_OK && says_no(&a))
        e = ERR_DENIED;
    hdfs_answer_drop(&a);
    return e;
}

/* ERR_OK also when it was not there. */
static enum err delete_path(struct hdfs *h, const char *path, bool with_all_below, bool once)
{
    const struct hdfs_request r = {
        .method = "DELETE", .op = "DELETE", .path = path, .more = with_all_below ? "&recursive=true" : NULL};
    struct hdfs_answer a;
    enum err e = hdfs_call(h, &r, once, &a);

    hdfs_answer_drop(&a);
    return e == ERR_MISSING ? ERR_OK : e;
}

/* ERR_MISSING: there is no such file. */
static enum err length_of(struct hdfs *h, const char *path, size_t *out)
{
    const struct hdfs_request r = {.method = "GET", .op = "GETFILESTATUS", .path = path};
    struct hdfs_answer a;
    enum err e = hdfs_call(h, &r, false, &a);

    *out = 0;
    if (e == ERR_OK) {
        json_t *json = json_of(&a), *status = json_object_get(json, "FileStatus");
        json_int_t length = json_integer_value(json_object_get(status, "length"));

        *out = length > 0 ? (size_t)length : 0;
        if (!json_is_integer(json_object_get(status, "length")))
            e = ERR_IO;
        json_decref(json);
    }
    hdfs_answer_drop(&a);
    return e;
}

/* ERR_MISSING: from or its place is not there, or (HttpFS) something is at `to` already. */
static enum err move(struct hdfs *h, const char *from, const char *to)
{
    char *more = mem_printf("&destination=/%s&renameoptions=OVERWRITE", to);
    const struct hdfs_request r = {.method = "PUT", .op = "RENAME", .path = from, .more = more};
    struct hdfs_answer a;
    enum err e = hdfs_call(h, &r, false, &a);

    if (e == ERR_OK && says_no(&a))
        e = ERR_MISSING;
    hdfs_answer_drop(&a);
    free(more);
    return e;
}

/* --- whether it is the same ------------------------------------------------------------------------------ */

static enum hdfs_match match_of(const struct hdfs_answer *a, struct bytes content)
{
    json_t *json = json_of(a), *told = json_object_get(json, "FileChecksum");
    const char *algorithm = json_string_value(json_object_get(told, "algorithm"));
    const char *hex = json_string_value(json_object_get(told, "bytes"));
    enum hdfs_match match = algorithm && hex ? hdfs_checksum_match(content, algorithm, hex) : HDFS_UNKNOWN;

    json_decref(json);
    return match;
}

/* ERR_OK: the file is there and has this content, by its checksum, or where that says nothing to us, this length. */
static enum err confirm(struct hdfs *h, const char *path, struct bytes content)
{
    const struct hdfs_request r = {.method = "GET", .op = "GETFILECHECKSUM", .path = path};
    enum hdfs_match match = HDFS_UNKNOWN;
    struct hdfs_answer a;
    size_t length;
    enum err e = ERR_OK;

    if (content.size > 0) {
        e = hdfs_call(h, &r, false, &a);
        if (e == ERR_OK)
            match = match_of(&a, content);
        hdfs_answer_drop(&a);
    }
    if (match == HDFS_SAME)
        return ERR_OK;
    if (match == HDFS_OTHER)
        return ERR_IO;
    if (e != ERR_OK && e != ERR_DENIED) /* refused: there are file systems below HttpFS that have none */
        return e;
    e = length_of(h, path, &length);
    return e == ERR_OK && length != content.size ? ERR_IO : e;
}

/* --- puts -------------------------------------------------------------------------------------------------- */

static enum err write_file(struct hdfs *h, const char *path, struct bytes content)
{
    const char *copies = h->place.replication;
    char *more = mem_printf("&overwrite=true&createflag=CREATE,SYNC_BLOCK%s%s", copies ? "&replication=" : "",
                            copies ? copies : "");
    const struct hdfs_request r = {
        .method = "PUT", .op = "CREATE", .path = path, .more = more, .sends = true, .body = content};
    struct hdfs_answer a;
    enum err e = hdfs_call(h, &r, false, &a);

    hdfs_answer_drop(&a);
    free(more);
    return e == ERR_MISSING ? ERR_IO : e;
}

/* Makes `temporary` the file at `path`. */
static enum err commit(struct hdfs *h, const char *temporary, const char *path, struct bytes content)
{
    char *folder = mem_text(path, strrchr(path, '/') ? (size_t)(strrchr(path, '/') - path) : 0);
    size_t length;
    enum err e = move(h, temporary, path);

    if (e == ERR_MISSING && folder[0] != '\0' && (e = make_folder(h, folder)) == ERR_OK)
        e = move(h, temporary, path);
    free(folder);
    if (e != ERR_MISSING || confirm(h, path, content) == ERR_OK)
        return e == ERR_MISSING ? ERR_OK : e; /* it had been moved, and the answer was lost */
    /* HttpFS moves nothing to where something is. */
    if ((e = length_of(h, temporary, &length)) == ERR_OK &&
        (e = delete_path(h, path, false, false)) == ERR_OK)
        e = move(h, temporary, path);
    return e == ERR_MISSING ? ERR_IO : e;
}

static enum err hdfs_put(struct store *s, const char *name, struct bytes content)
{
    struct hdfs *h = hdfs_of(s);
    char *path = path_of(h, name), *temporary = temporary_path(h);
    enum err e = write_file(h, temporary, content);

    if (e == ERR_OK && (e = confirm(h, temporary, content)) != ERR_OK)
        log_warn("store", "HDFS took %s and has other bytes of it, or none", path);
    if (e == ERR_MISSING)
        e = ERR_IO;
    if (e == ERR_OK)
        e = commit(h, temporary, path, content);
    if (e != ERR_OK && delete_path(h, temporary, false, true) != ERR_OK)
        log_info("store", "%s stays behind in HDFS; a later start removes it", temporary);
    free(temporary);
    free(path);
    return e;
}

/* --- gets -------------------------------------------------------------------------------------------------- */

static enum err hdfs_get(struct store *s, const char *name, struct buffer **out)
{
    struct hdfs *h = hdfs_of(s);
    char *path = path_of(h, name);
    const struct hdfs_request r = {
        .method = "GET", .op = "OPEN", .path = path, .answer_bytes_max = STORE_OBJECT_BYTES_MAX};
    enum err e = ERR_IO;

    for (unsigned attempt = 0; attempt < REMOTE_TRIES_MAX && e == ERR_IO && *out == NULL; attempt++) {
        struct hdfs_answer a;

        e = hdfs_call(h, &r, false, &a);
        if (e == ERR_OK && (e = confirm(h, path, builder_bytes(&a.web.body))) == ERR_OK)
            *out = builder_finish(&a.web.body);
        else if (a.web.transport != CURLE_OK)
            attempt = REMOTE_TRIES_MAX; /* that was tried often enough */
        else if (e == ERR_IO)
            log_warn("store", "HDFS gave %zu bytes as %s that are not what it has a checksum of",
                     builder_bytes(&a.web.body).size, path);
        hdfs_answer_drop(&a);
    }
    free(path);
    return e;
}

/* --- deletions ----------------------------------------------------------------------------------------------- */

static enum err hdfs_remove(struct store *s, const char *name)
{
    char *path = path_of(hdfs_of(s), name);
    enum err e = delete_path(hdfs_of(s), path, false, false);

    free(path);
    return e;
}

static enum err hdfs_remove_all(struct store *s, const char *prefix)
{
    char *path = path_of(hdfs_of(s), prefix);
    enum err e = delete_path(hdfs_of(s), path, true, false);

    free(path);
    return e;
}

/* --- opening ------------------------------------------------------------------------------------------------- */

static bool is_abandoned(const json_t *status, int64_t now_ms)
{
    const char *name = json_string_value(json_object_get(status, "pathSuffix"));
    json_int_t written_ms = json_integer_value(json_object_get(status, "modificationTime"));

    return name != NULL && strlen(name) == TEMPORARY_CHARS &&
           strspn(name, "0123456789abcdef") == TEMPORARY_CHARS && now_ms - written_ms > HDFS_TEMPORARY_MS_MAX;
}

/* Removes what puts of long ago have left. By the NameNode's clock, which is the one that dates files. */
static void sweep(struct hdfs *h, const char *folder)
{
    const struct hdfs_request r = {.method = "GET", .op = "LISTSTATUS", .path = folder};
    struct hdfs_answer a;
    json_t *json = NULL, *status;
    size_t i;

    if (hdfs_call(h, &r, false, &a) == ERR_OK && a.web.date_ms > 0)
        json = json_of(&a);
    json_array_foreach(json_object_get(json_object_get(json, "FileStatuses"), "FileStatus"), i, status)
    {
        if (!is_abandoned(status, a.web.date_ms))
            continue;
        char *path = mem_printf("%s/%s", folder, json_string_value(json_object_get(status, "pathSuffix")));

        if (delete_path(h, path, false, true) != ERR_OK)
            log_info("store", "%s stays behind in HDFS", path);
        free(path);
    }
    json_decref(json);
    hdfs_answer_drop(&a);
}

static void explain(const struct hdfs *h, const struct hdfs_answer *a, char why[256])
{
    const char *host = h->place.hosts[atomic_load(&h->host)];

    if (a->web.transport != CURLE_OK)
        snprintf(why, 256, "--storage: HDFS at %.80s does not answer: %.100s", host, a->web.message);
    else if (hdfs_judge(a) == HDFS_TOKEN)
        snprintf(why, 256,
                 "--storage: HDFS at %.80s does not take who we are (%ld); say user=NAME or token=FILE", host,
                 a->web.status);
    else if (a->exception[0] != '\0')
        snprintf(why, 256, "--storage: HDFS at %.60s refuses: %.140s", host, a->web.message);
    else
        snprintf(why, 256, "--storage: %.80s answers %ld and does not speak WebHDFS", host, a->web.status);
}

/* Makes the folder of temporaries, and so PREFIX: whether HDFS is there and out of safe mode, and lets us write to a folder that was
 * there before. */
static enum err look(struct hdfs *h, char why[256])
{
    char *folder = path_of(h, TEMPORARIES);
    const struct hdfs_request steps[] = {
        {.method = "PUT", .op = "MKDIRS", .path = folder},
        {.method = "GET", .op = "CHECKACCESS", .path = folder, .more = "&fsaction=rwx"}};
    enum err e = ERR_OK;

    for (size_t i = 0; i < sizeof steps / sizeof *steps && e == ERR_OK; i++) {
        struct hdfs_answer a;

        if ((e = hdfs_call(h, &steps[i], false, &a)) != ERR_OK)
            explain(h, &a, why);
        if (e != ERR_OK && hdfs_judge(&a) == HDFS_AGAIN)
            e = remote_is_away(&a.web) ? ERR_BUSY : ERR_IO;
        hdfs_answer_drop(&a);
    }
    if (e == ERR_OK)
        sweep(h, folder);
    free(folder);
    return e;
}

enum err store_hdfs_open(struct store **out, const char *url, char why[256])
{
    static const struct store_kind kind = {true,     hdfs_close,  hdfs_put,
                                           hdfs_get, hdfs_remove, hdfs_remove_all};
    struct hdfs *h = mem_new(sizeof *h);
    enum err e;

    *out = NULL;
    h->store.kind = &kind;
    pthread_mutex_init(&h->lock, NULL);
    remote_init(&h->remote, &h->store);
    e = hdfs_place_parse(&h->place, url, why);
    if (e == ERR_OK && h->place.token_file != NULL)
        e = hdfs_token_read(h->token, h->place.token_file, why);
    if (e == ERR_OK) {
        h->remote.authority_file = h->place.authority_file;
        e = look(h, why);
    }
    if (e == ERR_OK || e == ERR_BUSY)
        *out = &h->store;
    else
        hdfs_close(&h->store);
    return e;
}
