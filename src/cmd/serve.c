/* cmd/serve.c - the whole house on one machine: opens every room in order, waits for a signal, and closes
 * them in the other order.
 *
 * Standard output carries what a script waits for: where things are, one line a listener, then `ready`. */
#include "cmd/cmd.h"

#include "access/access.h"
#include "api/api.h"
#include "base/config.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "booking/booking.h"
#include "comments/comments.h"
#include "db/db.h"
#include "http/http.h"
#include "ladder/ladder.h"
#include "live/live.h"
#include "queue/queue.h"
#include "relay/relay.h"
#include "rtmp/rtmp.h"
#include "store/store.h"
#include "webrtc/webrtc.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/log.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A drain waits so long for segments to be stored, and for viewers to take what they asked for. */
#define DRAIN_STORE_MS 20000
#define DRAIN_HTTP_MS  3000

#define WEBRTC_AT        "127.0.0.1:8443"
#define WEBRTC_ELSEWHERE "127.0.0.1:0"

struct house {
    struct option *options;
    const char *data_dir;
    int lock; /* the data folder's, so that two servers never share one */
    char why[256];
    char *admin_file, admin_token[ACCESS_KEY_SIZE];
    struct net *net;
    struct store *store;
    struct db *db;
    struct booking *booking;
    struct tickets *tickets;
    struct staff *staff;
    struct bus *bus;
    struct comments *comments;
    struct live *live;
    struct queue *queue;
    struct ladder *ladder;
    struct relay *relay;
    struct workers *workers;
    long worker_count, cache_mb;
    struct api_limits limits;
    struct proxies *proxies;
    struct tls_server *tls;
    struct api *api;
    struct http_server *http;
    struct rtmp_server *rtmp, *rtmps;
    struct webrtc *webrtc;
    struct ice_servers *ice_servers;
    struct address http_at, rtmp_at, rtmps_at, webrtc_at;
};

static struct option serve_options[] = {
    {"data", "DIR", "./data", "journal, spool, embedded database, admin token", NULL},
    {"admin-token-file", "FILE", NULL,
     "where the admin token is, or is made; several servers may have one and the same [DATA/admin.token]",
     NULL},
    {"http", "ADDR:PORT", "127.0.0.1:8080", "HTTP API, players, web pages (port 0: a free one)", NULL},
    {"rtmp", "ADDR:PORT", "127.0.0.1:1935", "RTMP ingest", NULL},
    {"rtmps", "ADDR:PORT", NULL, "RTMP ingest over TLS; wants --tls-cert and --tls-key", NULL},
    {"webrtc", "ADDR:PORT", NULL,
     "WebRTC playback: the one port, UDP and TCP, of all its sessions [127.0.0.1:8443, or a free one where that is taken]",
     NULL},
    {"webrtc-public", "ADDR", NULL, "the address that WebRTC viewers are told, where it is another (1:1 NAT)",
     NULL},
    {"ice-server", "LIST", NULL,
     "STUN and TURN servers that WebRTC viewers may use: turn:HOST[:PORT][?transport=udp],stun:HOST", NULL},
    {"turn-user", "NAME", NULL, "of the TURN servers; with --turn-password", NULL},
    {"turn-password", "TEXT", NULL, "of the TURN servers; every viewer is told it", NULL},
    {"turn-secret", "TEXT", NULL,
     "instead of both: shared with the TURN servers (coturn: use-auth-secret), for passwords of twelve hours",
     NULL},
    {"tls-cert", "FILE", NULL, "PEM certificate chain: HTTP and RTMPS speak TLS; read again on SIGHUP", NULL},
    {"tls-key", "FILE", NULL, "PEM private key", NULL},
    {"storage", "URL", NULL,
     "where segments live: file:DIR, s3://BUCKET/PREFIX?endpoint=URL&region=NAME or hdfs://HOST:PORT/PREFIX [file:DATA/store]",
     NULL},
    {"spool", "MB", "8192", "segments that wait for the store; beyond it publishers are held", NULL},
    {"cache", "MB", "2048", "copies on this disk of what was read from a store elsewhere", NULL},
    {"database", "URL", NULL,
     "all rows: sqlite:FILE or mysql://USER:PASSWORD@HOST/NAME [sqlite:DATA/matinee.db]", NULL},
    {"advertise", "URL", NULL,
     "where other servers over the same database reach this one's HTTP: http://HOST:PORT [the address of --http]",
     NULL},
    {"comments", "URL", NULL, "comments without SQL: redis://[USER:PASSWORD@]HOST:PORT [the database]", NULL},
    {"edge-key", "TEXT", NULL,
     "what edges that check tickets themselves send as Matinee-Edge: they may keep what only ticket holders may see",
     NULL},
    {"limits", "LIST", NULL,
     "a minute, 0 for no limit: comments of an author and of an address, calls of an address and with a token, wrong tokens of an "
     "address [author=60,address=1200,requests=6000,token=6000,refused=60]",
     NULL},
    {"trusted-proxy", "LIST", NULL,
     "addresses and networks of proxies whose X-Forwarded-For is believed: 127.0.0.1,10.0.0.0/8", NULL},
    {"limit-loopback", NULL, NULL, "limits are for loopback addresses too", NULL},
    {"queue", "URL", NULL, "jobs of the ladder: local: or nats://HOST:4222 [local:]", NULL},
    {"ladder", "LIST", "2160p,1080p,720p,480p",
     "renditions to make, none larger than the source; a name may end in :hevc or :av1; none: the source only",
     NULL},
    {"workers", "N", NULL, "workers of this server, each a process at a time; 0: only remote ones [cores]",
     NULL},
    {"segment", "S", "10", "segment length, seconds", NULL},
    {"grace", "S", "30", "how long a video waits for a publisher that went away, seconds", NULL},
    {"config", "FILE", NULL, "INI file with these options by name", NULL},
    {"verbose", NULL, NULL, "say more on standard error", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* --- opening ----------------------------------------------------------------------------------------- */

static bool parse_listener(struct house *h, const char *name, struct address *out)
{
    const char *text = config_text(h->options, name);

    if (text == NULL || address_parse(text, out))
        return true;
    snprintf(h->why, sizeof h->why, "--%s wants ADDR:PORT like 127.0.0.1:8080, not '%.60s'", name, text);
    return false;
}

/* Where the limit of this name is kept; NULL: there is none. */
static uint32_t *limit_of(struct api_limits *l, struct bytes name)
{
    const struct {
        const char *name;
        uint32_t *at;
    } known[] = {{"author", &l->author},
                 {"address", &l->address},
                 {"requests", &l->requests},
                 {"token", &l->token},
                 {"refused", &l->refused}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (bytes_is(name, known[i].name))
            return known[i].at;
    return NULL;
}

/* NAME=N,…: some of them. */
static bool read_limits(struct house *h)
{
    const char *text = config_text(h->options, "limits");

    h->limits = (struct api_limits){.author = COMMENTS_AUTHOR_MINUTE,
                                    .address = COMMENTS_ADDRESS_MINUTE,
                                    .requests = REQUESTS_ADDRESS_MINUTE,
                                    .token = REQUESTS_TOKEN_MINUTE,
                                    .refused = REFUSED_ADDRESS_MINUTE};
    while (text != NULL && *text != '\0') {
        size_t name = strcspn(text, "="), size = strcspn(text, ",");
        uint32_t *limit = name < size ? limit_of(&h->limits, bytes_of(text, name)) : NULL;
        uint64_t number;

        if (limit == NULL || !bytes_to_u64(bytes_of(text + name + 1, size - name - 1), 1000000, &number)) {
            snprintf(h->why, sizeof h->why,
                     "--limits wants a list of author, address, requests, token and refused like "
                     "author=60,requests=6000, not '%.60s'",
                     text);
            return false;
        }
        *limit = (uint32_t)number;
        text += size + (text[size] == ',');
    }
    return proxies_new(&h->proxies, config_text(h->options, "trusted-proxy"), h->why) == ERR_OK;
}

static bool check_advertised(struct house *h)
{
    const char *url = config_text(h->options, "advertise");
    size_t scheme = url == NULL                        ? 0
                    : strncmp(url, "http://", 7) == 0  ? 7
                    : strncmp(url, "https://", 8) == 0 ? 8
                                                       : 0;
    bool good = url == NULL ||
                (scheme > 0 && url[scheme] != '\0' &&
                 strcspn(url + scheme, "/?#@ ") == strlen(url + scheme) && strlen(url) < LIVE_URL_SIZE);

    if (!good)
        snprintf(h->why, sizeof h->why,
                 "--advertise wants the address of this server's HTTP like http://10.0.0.2:8080, not '%.60s'",
                 url);
    return good;
}

/* Everything that can be wrong with the words themselves, before anything is touched. */
static bool check_options(struct house *h, struct live_options *live)
{
    long segment, grace, spool, cores = sysconf(_SC_NPROCESSORS_ONLN);
    bool cert = config_text(h->options, "tls-cert") != NULL, key = config_text(h->options, "tls-key") != NULL;

    if (config_number(h->options, "segment", 1, 60, &segment, h->why) != ERR_OK ||
        config_number(h->options, "grace", 0, 86400, &grace, h->why) != ERR_OK ||
        config_number(h->options, "spool", 1, 100000000, &spool, h->why) != ERR_OK ||
        config_number(h->options, "cache", 0, 100000000, &h->cache_mb, h->why) != ERR_OK ||
        ladder_check(config_text(h->options, "ladder"), h->why) != ERR_OK ||
        !parse_listener(h, "http", &h->http_at) || !parse_listener(h, "rtmp", &h->rtmp_at) ||
        !parse_listener(h, "rtmps", &h->rtmps_at) || !parse_listener(h, "webrtc", &h->webrtc_at))
        return false;
    h->worker_count = cores;
    if (config_text(h->options, "workers") != NULL &&
        config_number(h->options, "workers", 0, 1024, &h->worker_count, h->why) != ERR_OK)
        return false;
    if (cert != key || (config_text(h->options, "rtmps") != NULL && !cert)) {
        snprintf(h->why, sizeof h->why, "TLS wants both --tls-cert FILE and --tls-key FILE");
        return false;
    }
    if (!read_limits(h) || !check_advertised(h))
        return false;
    live->segment_ms = segment * 1000;
    live->grace_ms = grace * 1000;
    live->spool_bytes_max = (uint64_t)spool << 20;
    h->data_dir = config_text(h->options, "data");
    h->admin_file = config_text(h->options, "admin-token-file")
                        ? mem_string(config_text(h->options, "admin-token-file"))
                        : mem_printf("%s/admin.token", h->data_dir);
    return true;
}

static enum err take_data_dir(struct house *h)
{
    char *path = mem_printf("%s/lock", h->data_dir);
    enum err e = ERR_OK;

    if (mkdir(h->data_dir, 0700) != 0 && errno != EEXIST) {
        e = err_from_errno(errno);
        snprintf(h->why, sizeof h->why, "--data %.120s: %s", h->data_dir, err_text(e));
    } else if ((h->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0) {
        e = err_from_errno(errno);
        snprintf(h->why, sizeof h->why, "--data %.120s: %s; give a folder this user may write to",
                 h->data_dir, err_text(e));
    } else if (flock(h->lock, LOCK_EX | LOCK_NB) != 0) {
        e = ERR_BUSY;
        snprintf(h->why, sizeof h->why, "--data %.120s: another matinee is using this folder", h->data_dir);
    }
    free(path);
    return e;
}

/* The option's URL, or the default below the data folder. */
static char *url_of(const struct house *h, const char *name, const char *scheme, const char *file)
{
    const char *given = config_text(h->options, name);

    return given ? mem_string(given) : mem_printf("%s:%s/%s", scheme, h->data_dir, file);
}

/* The queue, the leader and this server's workers: everything that makes renditions. */
static enum err open_ladder(struct house *h, const char *program)
{
    const char *given = config_text(h->options, "queue");
    bool is_local = given == NULL || strcmp(given, "local:") == 0;
    char *url = is_local ? mem_printf("local:%s/queue.db", h->data_dir) : mem_string(given);
    char name[QUEUE_WORKER_SIZE], leader[ULID_TEXT_SIZE];
    enum err e;

    e = queue_open(&h->queue,
                   &(struct queue_options){.url = url,
                                           .leader = live_server(h->live, leader),
                                           .worker = queue_worker_name(name),
                                           .lease_ms = QUEUE_LEASE_MS,
                                           .failures_max = 3,
                                           .deaths_max = 5},
                   h->why);
    if (e == ERR_OK)
        e = ladder_open(&h->ladder,
                        &(struct ladder_options){.live = h->live,
                                                 .store = h->store,
                                                 .queue = h->queue,
                                                 .ladder = config_text(h->options, "ladder")},
                        h->why);
    if (e == ERR_OK)
        h->workers = workers_start(h->queue, h->store, program, (unsigned)h->worker_count);
    free(url);
    return e;
}

static enum err open_store(struct house *h, const struct live_options *live)
{
    char *storage = url_of(h, "storage", "file", "store"), *copies = mem_printf("%s/copies", h->data_dir);
    size_t held =
        live->spool_bytes_max / 2 < STORE_HELD_BYTES_MAX ? live->spool_bytes_max / 2 : STORE_HELD_BYTES_MAX;
    enum err e = store_open_away(&h->store, storage, h->why);

    /* Shows begin and are watched without it; the journal and the spool keep what it misses. */
    if (e == ERR_OK && h->why[0] != '\0')
        log_warn("serve", "%s; it is waited for", h->why);
    if (e == ERR_OK)
        h->why[0] = '\0';
    if (e == ERR_OK)
        e = store_use_disk(h->store, copies, (size_t)h->cache_mb << 20, held, h->why);
    free(storage);
    free(copies);
    return e;
}

static enum err open_engines(struct house *h, struct live_options *live, const char *program)
{
    char *database = url_of(h, "database", "sqlite", "matinee.db");
    enum err e;

    if ((e = access_admin_token(h->admin_file, h->admin_token, h->why)) != ERR_OK ||
        (e = open_store(h, live)) != ERR_OK || (e = db_open(&h->db, database, h->why)) != ERR_OK)
        goto out;
    if ((e = net_start(&h->net, 0, 0)) != ERR_OK) {
        snprintf(h->why, sizeof h->why, "threads could not be started: %s", err_text(e));
        goto out;
    }
    live->net = h->net;
    live->store = h->store;
    live->db = h->db;
    live->data_dir = h->data_dir;
    live->reader = (struct recording_reader){recording_read, program};
    if ((e = tickets_open(&h->tickets, h->db, h->why)) == ERR_OK &&
        (e = staff_open(&h->staff, h->db, h->why)) == ERR_OK &&
        (e = booking_open(&h->booking, h->db, h->why)) == ERR_OK)
        e = live_open(&h->live, live, h->why);
out:
    free(database);
    return e;
}

/* Comments, and what servers tell each other of them. */
static enum err open_comments(struct house *h)
{
    const char *queue = config_text(h->options, "queue");
    enum err e = bus_open(&h->bus, queue != NULL ? queue : "local:", h->why);

    if (e == ERR_OK)
        e = comments_open(&h->comments,
                          &(struct comments_options){.net = h->net,
                                                     .db = h->db,
                                                     .store = h->store,
                                                     .live = h->live,
                                                     .bus = h->bus,
                                                     .url = config_text(h->options, "comments")},
                          h->why);
    return e;
}

static enum err explain(struct house *h, const char *name, enum err e)
{
    const char *at = config_text(h->options, name);

    at = at ? at : "(its default)";
    if (e == ERR_BUSY)
        snprintf(h->why, sizeof h->why,
                 "--%s %.60s: the address is in use; stop what uses it, or give another port", name, at);
    else if (e != ERR_OK)
        snprintf(h->why, sizeof h->why, "--%s %.60s: %s", name, at, err_text(e));
    return e;
}

static unsigned port_of(const struct address *a)
{
    char text[ADDRESS_TEXT_SIZE];

    return a->size ? (unsigned)strtoul(strrchr(address_text(a, text), ':') + 1, NULL, 10) : 0;
}

static enum err open_webrtc(struct house *h, const char *program)
{
    const struct ice_options ice = {.list = config_text(h->options, "ice-server"),
                                    .user = config_text(h->options, "turn-user"),
                                    .password = config_text(h->options, "turn-password"),
                                    .secret = config_text(h->options, "turn-secret")};
    const char *public_host = config_text(h->options, "webrtc-public");
    const struct webrtc_options options = {.net = h->net,
                                           .live = h->live,
                                           .public_host = public_host,
                                           .program = program,
                                           .limit_loopback =
                                               config_text(h->options, "limit-loopback") != NULL};
    bool any = h->webrtc_at.size == 0;
    enum err e;

    if ((e = ice_servers_new(&h->ice_servers, &ice, h->why)) != ERR_OK)
        return e;
    if (any)
        (void)address_parse(WEBRTC_AT, &h->webrtc_at);
    e = webrtc_open(&h->webrtc, &options, &h->webrtc_at);
    if (any && e == ERR_BUSY && address_parse(WEBRTC_ELSEWHERE, &h->webrtc_at))
        e = webrtc_open(&h->webrtc, &options,
                        &h->webrtc_at); /* viewers are told the port; nobody has to know it */
    if (e != ERR_BAD)
        return explain(h, "webrtc", e);
    snprintf(h->why, sizeof h->why, "--webrtc-public wants an address like 203.0.113.7, not '%.60s'",
             public_host ? public_host : "");
    return e;
}

static enum err open_doors(struct house *h, const char *program)
{
    const char *cert = config_text(h->options, "tls-cert");
    enum err e;

    if (cert != NULL && (e = tls_server_new(&h->tls, cert, config_text(h->options, "tls-key"), "h2,http/1.1",
                                            h->why)) != ERR_OK)
        return e;
    e = explain(h, "rtmp", rtmp_server_start(&h->rtmp, h->net, &h->rtmp_at, NULL, h->live));
    if (e == ERR_OK && h->rtmps_at.size > 0)
        e = explain(h, "rtmps", rtmp_server_start(&h->rtmps, h->net, &h->rtmps_at, h->tls, h->live));
    if (e == ERR_OK)
        e = open_webrtc(h, program);
    if (e == ERR_OK)
        e = relay_open(&h->relay, h->why);
    if (e != ERR_OK)
        return e;
    h->api =
        api_new(&(struct api_options){.net = h->net,
                                      .live = h->live,
                                      .store = h->store,
                                      .db = h->db,
                                      .ladder = h->ladder,
                                      .booking = h->booking,
                                      .webrtc = h->webrtc,
                                      .ice_servers = h->ice_servers,
                                      .tickets = h->tickets,
                                      .staff = h->staff,
                                      .comments = h->comments,
                                      .relay = h->relay,
                                      .limits = h->limits,
                                      .proxies = h->proxies,
                                      .limit_loopback = config_text(h->options, "limit-loopback") != NULL,
                                      .admin_token = h->admin_token,
                                      .is_admin_shared = config_text(h->options, "admin-token-file") != NULL,
                                      .edge_key = config_text(h->options, "edge-key"),
                                      .program = program,
                                      .rtmp_port = port_of(&h->rtmp_at),
                                      .rtmps_port = port_of(&h->rtmps_at)});
    return explain(h, "http", http_server_start(&h->http, h->net, &h->http_at, h->tls, api_handler(h->api)));
}

/* Tells other servers over the same database where this one is. */
static enum err join_others(struct house *h)
{
    const char *given = config_text(h->options, "advertise");
    char text[ADDRESS_TEXT_SIZE];
    char *url = given ? mem_string(given)
                      : mem_printf("http%s://%s", h->tls ? "s" : "", address_text(&h->http_at, text));
    bool is_nowhere = given == NULL && (strncmp(text, "0.0.0.0:", 8) == 0 || strncmp(text, "[::]:", 5) == 0);

    if (is_nowhere && db_shared(h->db))
        log_warn("serve", "other servers over the same database cannot show what is live here: say with "
                          "--advertise where they reach this one");
    enum err e = live_join(h->live, is_nowhere ? "" : url);

    if (e != ERR_OK)
        snprintf(h->why, sizeof h->why, "this server could not be made known to others in the database: %s",
                 err_text(e));
    free(url);
    return e;
}

static void announce(const struct house *h)
{
    char text[ADDRESS_TEXT_SIZE];

    printf("data %s\nadmin token in %s\n", h->data_dir, h->admin_file);
    printf("http http%s://%s\n", h->tls ? "s" : "", address_text(&h->http_at, text));
    printf("rtmp rtmp://%s/live\n", address_text(&h->rtmp_at, text));
    if (h->rtmps != NULL)
        printf("rtmps rtmps://%s/live\n", address_text(&h->rtmps_at, text));
    printf("webrtc webrtc://%s\n", address_text(&h->webrtc_at, text));
    printf("ready\n");
    fflush(stdout);
}

/* --- closing ----------------------------------------------------------------------------------------- */

static void close_house(struct house *h)
{
    rtmp_server_stop(h->rtmp);
    rtmp_server_stop(h->rtmps);
    if (h->live != NULL)
        live_drain(h->live, DRAIN_STORE_MS);
    if (h->store != NULL)
        store_hurry(h->store); /* what is not stored by now stands in the journal */
    http_server_stop(h->http, DRAIN_HTTP_MS);
    webrtc_stop(h->webrtc);
    if (h->queue != NULL)
        queue_stop(h->queue);
    workers_stop(h->workers);
    booking_stop(h->booking); /* its last answers go to the loops */
    comments_stop(h->comments);
    if (h->store != NULL)
        store_stop(h->store);
    relay_stop(h->relay);
    if (h->net != NULL)
        net_stop(h->net);
    api_free(h->api);
    relay_close(h->relay);
    webrtc_close(h->webrtc);
    ice_servers_free(h->ice_servers);
    proxies_free(h->proxies);
    comments_close(h->comments);
    bus_close(h->bus);
    ladder_close(h->ladder);
    queue_close(h->queue);
    live_close(h->live);
    booking_close(h->booking);
    tickets_close(h->tickets);
    staff_close(h->staff);
    tls_server_free(h->tls);
    db_close(h->db);
    store_close(h->store);
    free(h->admin_file);
    if (h->lock >= 0)
        close(h->lock);
}

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

/* Returns when the house is to close. */
static void wait_for_signal(struct house *h, const sigset_t *set)
{
    for (int signal; sigwait(set, &signal) == 0;) {
        if (signal != SIGHUP)
            return;
        if (h->tls != NULL && tls_server_reload(h->tls, h->why) != ERR_OK)
            log_error("serve", "the certificate stays as it was: %s", h->why);
        else if (h->tls != NULL)
            log_info("serve", "certificate and key were read again");
    }
}

static void on_av_log(void *source, int level, const char *format, va_list args)
{
    char line[256];

    if (level > AV_LOG_ERROR)
        return;
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("libav", "%s", line);
}

int cmd_serve(int argc, char **argv)
{
    struct house h = {.options = serve_options, .lock = -1};
    struct live_options live = {0};
    char *program = realpath("/proc/self/exe", NULL);
    sigset_t signals;
    int status = 2;

    if (config_read(h.options, "serve", &argc, argv, h.why) != ERR_OK || !check_options(&h, &live))
        goto out;
    if (argc > 0) {
        snprintf(h.why, sizeof h.why, "'%.60s' is not expected here; see 'matinee serve --help'", argv[0]);
        goto out;
    }
    status = 1;
    if (config_text(h.options, "verbose") != NULL)
        log_set_level(LOG_DEBUG);
    av_log_set_callback(on_av_log);
    block_signals(&signals);
    if (take_data_dir(&h) != ERR_OK || open_engines(&h, &live, program) != ERR_OK ||
        open_ladder(&h, program) != ERR_OK || open_comments(&h) != ERR_OK ||
        open_doors(&h, program) != ERR_OK || join_others(&h) != ERR_OK)
        goto out;
    announce(&h);
    wait_for_signal(&h, &signals);
    log_info("serve", "closing");
    api_drain(h.api);
    h.why[0] = '\0';
    status = 0;
out:
    if (h.why[0] != '\0')
        fprintf(stderr, "matinee serve: %s\n", h.why);
    close_house(&h);
    config_free(h.options);
    free(program);
    return status;
}

void cmd_serve_help(void)
{
    puts(
        "matinee serve [OPTIONS]: RTMP in, HTTP out, embedded stores. Options, each also as MATINEE_… in the\n"
        "environment and by name in the file of --config; the command line wins, then the environment:\n");
    config_help(serve_options);
}
