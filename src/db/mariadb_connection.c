/* db/mariadb_connection.c - one connection to MariaDB, by MariaDB Connector/C: making it, and what its errors mean. */
#include "db/mariadb_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metrics.h"

#include <errmsg.h>
#include <fcntl.h>
#include <mysqld_error.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

METRIC(database_away, METRIC_GAUGE, "matinee_database_away",
       "1 while no connection to the database can be made");

/* The oldest MariaDB that is looked after by its makers, and has all that is used here. */
#define VERSION_MIN      100600
#define VERSION_MIN_TEXT "10.6"

/* --- errors ------------------------------------------------------------------------------------------ */

/* The connector's own numbers: something broke between us and the server. */
static bool is_connectors(unsigned number)
{
    return (number >= CR_MIN_ERROR && number <= CR_MAX_ERROR) ||
           (number >= CR_EVENT_CREATE_FAILED && number <= CR_MARIADB_LAST_ERROR);
}

/* The server has ended the connection, or is not able to serve any. */
static bool is_lost(unsigned number)
{
    switch (number) {
    case ER_SERVER_SHUTDOWN:
    case ER_NORMAL_SHUTDOWN:
    case ER_CONNECTION_KILLED:
    case ER_NEW_ABORTING_CONNECTION:
    case ER_NET_READ_ERROR:
    case ER_NET_READ_INTERRUPTED:
    case ER_NET_ERROR_ON_WRITE:
    case ER_NET_WRITE_INTERRUPTED:
    case ER_NET_PACKETS_OUT_OF_ORDER:
    case ER_NET_PACKET_TOO_LARGE:
    case ER_UNKNOWN_COM_ERROR: /* a Galera node outside its cluster */
        return true;
    default:
        return is_connectors(number);
    }
}

static enum err from_mariadb(unsigned number, const char *message)
{
    switch (number) {
    case 0:
        return ERR_OK;
    case ER_LOCK_DEADLOCK:
    case ER_LOCK_WAIT_TIMEOUT:
    case ER_CHECKREAD: /* changed since the transaction looked */
        return ERR_BUSY;
    case ER_DUP_ENTRY:
    case ER_DUP_UNIQUE:
    case ER_DUP_ENTRY_WITH_KEY_NAME:
        return ERR_EXISTS;
    case ER_DISK_FULL:
    case ER_RECORD_FILE_FULL:
        return ERR_FULL;
    case ER_ACCESS_DENIED_ERROR:
    case ER_ACCESS_DENIED_NO_PASSWORD_ERROR:
    case ER_DBACCESS_DENIED_ERROR:
    case ER_TABLEACCESS_DENIED_ERROR:
    case ER_COLUMNACCESS_DENIED_ERROR:
    case ER_SPECIFIC_ACCESS_DENIED_ERROR:
    case ER_OPTION_PREVENTS_STATEMENT: /* --read-only */
        return ERR_DENIED;
    case ER_BAD_DB_ERROR:
        return ERR_MISSING;
    case ER_DATA_TOO_LONG:
    case ER_WARN_DATA_OUT_OF_RANGE:
    case ER_CON_COUNT_ERROR:
    case ER_TOO_MANY_USER_CONNECTIONS:
        return ERR_LIMIT;
    case ER_BAD_NULL_ERROR:
    case ER_TRUNCATED_WRONG_VALUE_FOR_FIELD:
        return ERR_BAD;
    default:
        return strstr(message, "No space left") != NULL ? ERR_FULL : ERR_IO;
    }
}

enum err connection_failed(struct connection *c, unsigned number, const char *message, const char *sql)
{
    enum err e = from_mariadb(number, message);

    if (is_lost(number)) {
        c->broken = true;
        c->undone = ERR_IO;
        log_debug("db", "a connection to MariaDB is lost (%u): %s", number, message);
        return ERR_IO;
    }
    c->rested = false;
    if (e == ERR_BUSY) /* a lock that did not come undoes its statement only: the rest is undone by us */
        c->undone = ERR_BUSY;
    else if (e != ERR_EXISTS)
        log_error("db", "%s (%u): %.300s", message, number, sql);
    return e;
}

/* --- being away -------------------------------------------------------------------------------------- */

static void say_away(struct mariadb_server *s, enum err e, const char *message)
{
    bool crowded = e == ERR_LIMIT; /* it is there, and has no room for one more of ours */
    int64_t now = clock_mono_ms();
    bool say;

    pthread_mutex_lock(&s->lock);
    say = s->said_ms == 0 || (!crowded && s->away_since_ms == 0) || now - s->said_ms >= DB_AWAY_SAY_MS;
    if (say)
        s->said_ms = now;
    if (!crowded && s->away_since_ms == 0)
        s->away_since_ms = now;
    metric_set(&database_away, s->away_since_ms != 0);
    pthread_mutex_unlock(&s->lock);
    if (say && crowded)
        log_warn("db", "MariaDB takes no more connections from us (max_connections): %s", message);
    else if (say)
        log_error("db", "MariaDB is not to be reached: %s", message);
}

void mariadb_server_answers(struct mariadb_server *s)
{
    bool was_away;

    if (atomic_load(&s->away_since_ms) == 0)
        return;
    pthread_mutex_lock(&s->lock);
    was_away = atomic_exchange(&s->away_since_ms, 0) != 0;
    metric_set(&database_away, 0);
    pthread_mutex_unlock(&s->lock);
    if (was_away)
        log_info("db", "MariaDB is back");
}

int64_t mariadb_server_away_ms(const struct mariadb_server *s)
{
    int64_t since_ms = atomic_load(&s->away_since_ms);

    return since_ms != 0 ? clock_mono_ms() - since_ms + 1 : 0;
}

/* While the server is away one asks whether it is back, and all others are told at once: an attempt may take as long as
 * DB_CONNECT_SECONDS_MAX, and there are not so many threads. True: connect_end() follows. */
static bool connect_begin(struct mariadb_server *s)
{
    bool may;

    pthread_mutex_lock(&s->lock);
    may = s->away_since_ms == 0 || s->attempts == 0;
    s->attempts += may;
    pthread_mutex_unlock(&s->lock);
    return may;
}

static void connect_end(struct mariadb_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->attempts--;
    pthread_mutex_unlock(&s->lock);
}

static enum err not_connected(struct connection *c, char why[256])
{
    struct mariadb_server *s = c->server;
    unsigned number = mysql_errno(c->mysql);
    const char *message = mysql_error(c->mysql);
    enum err e = from_mariadb(number, message);
    const char *advice = e == ERR_DENIED    ? "look at the password, and GRANT ALL ON the database"
                         : e == ERR_MISSING ? "CREATE DATABASE makes it"
                                            : "is it running, and reachable there?";

    if (why != NULL)
        snprintf(why, 256, "--database mysql://%.40s:%u/%.40s: %.80s; %s",
                 s->socket != NULL ? s->socket : s->host, s->port, s->name, message, advice);
    else
        say_away(s, e, message);
    return e;
}

/* --- making ------------------------------------------------------------------------------------------ */

static void init_library(void)
{
    if (mysql_library_init(0, NULL, NULL) != 0)
        log_error("db", "MariaDB's connector could not be set up");
}

static void set_options(struct connection *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const struct mariadb_server *s = c->server;
    bool schema = c->use == USE_SCHEMA;
    unsigned connect_s = DB_CONNECT_SECONDS_MAX, tcp = MYSQL_PROTOCOL_TCP, off = 0;
    unsigned answer_s = schema ? DB_SCHEMA_SECONDS_MAX : DB_ANSWER_SECONDS_MAX;
    unsigned lock_s = schema ? DB_SCHEMA_SECONDS_MAX : DB_LOCK_SECONDS_MAX;
    my_bool on = 1;
    char settings[512];

    pthread_once(&once, init_library);
    c->mysql = mysql_init(NULL);
    /* One trip for all of it. Both lock times: rows, and tables that somebody alters. The time of an idle transaction
     * lets go of what a machine holds that lost its power. The rest makes texts mean what they do in SQLite. */
    snprintf(
        settings, sizeof settings,
        "SET autocommit = %d, tx_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = %u, lock_wait_timeout = %u,"
        " idle_transaction_timeout = %d, collation_connection = utf8mb4_nopad_bin, time_zone = '+00:00',"
        " sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'",
        c->use != USE_WRITES, lock_s, lock_s, DB_TRANSACTION_IDLE_SECONDS_MAX);
    mysql_options(c->mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_options(c->mysql, MYSQL_OPT_READ_TIMEOUT, &answer_s);
    mysql_options(c->mysql, MYSQL_OPT_WRITE_TIMEOUT, &answer_s);
    mysql_options(c->mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_options(c->mysql, MYSQL_INIT_COMMAND, settings);
    mysql_options(c->mysql, MYSQL_OPT_LOCAL_INFILE, &off); /* no server may ask for our files */
    if (s->socket == NULL) /* "localhost" is a host like any other, and not a socket somewhere */
        mysql_options(c->mysql, MYSQL_OPT_PROTOCOL, &tcp);
    if (s->ssl) {
        mysql_options(c->mysql, MYSQL_OPT_SSL_ENFORCE, &on);
        mysql_options(c->mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &on);
        mysql_options(c->mysql, MYSQL_OPT_SSL_CA, s->ssl_ca);
    }
}

/* The kernel says within DB_SILENT_SECONDS_MAX that the other machine is gone, whether we have just sent something or wait for an
 * answer; one that is only slow acknowledges and is waited for. */
static void watch_line(int fd)
{
    int on = 1, second = 1, silent_s = DB_SILENT_SECONDS_MAX;
    unsigned silent_ms = DB_SILENT_SECONDS_MAX * 1000;

    if (setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent_ms, sizeof silent_ms) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &second, sizeof second) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &second, sizeof second) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &silent_s, sizeof silent_s) != 0)
        log_warn("db", "a connection is not watched by the kernel: one that is cut off is noticed late");
}

static enum err connect_now(struct connection *c, char why[256])
{
    const struct mariadb_server *s = c->server;

    c->mysql = NULL;
    if (!connect_begin(c->server))
        return ERR_IO;
    set_options(c);
    bool there = mysql_real_connect(c->mysql, s->host, s->user[0] != '\0' ? s->user : NULL, s->password,
                                    s->name, s->port, s->socket, CLIENT_FOUND_ROWS) != NULL;
    enum err e = there ? ERR_OK : not_connected(c, why);

    connect_end(c->server);
    if (e != ERR_OK)
        return e;
    if (!mariadb_connection(c->mysql) || mysql_get_server_version(c->mysql) < VERSION_MIN) {
        if (why != NULL)
            snprintf(why, 256,
                     "--database: the server there is %.60s; it must be MariaDB " VERSION_MIN_TEXT
                     " or newer",
                     mysql_get_server_info(c->mysql));
        return ERR_UNSUPPORTED;
    }
    /* Children that read foreign files have no business with it. */
    if (fcntl(mysql_get_socket(c->mysql), F_SETFD, FD_CLOEXEC) != 0)
        log_warn("db", "a connection is seen by child processes");
    if (s->socket == NULL)
        watch_line(mysql_get_socket(c->mysql));
    mariadb_server_answers(c->server);
    c->broken = c->rested = false;
    c->undone = ERR_OK;
    return ERR_OK;
}

enum err connection_open(struct connection **out, struct mariadb_server *s, enum connection_use use,
                         char why[256])
{
    struct connection *c = mem_new(sizeof *c);
    enum err e;

    *out = NULL;
    c->server = s;
    c->use = use;
    c->statements = map_new();
    if ((e = connect_now(c, why)) == ERR_OK)
        *out = c;
    else
        connection_close(c);
    return e;
}

void connection_close(struct connection *c)
{
    if (c == NULL)
        return;
    statements_forget(c);
    map_free(c->statements);
    mysql_close(c->mysql);
    free(c);
}

enum err connection_renew(struct connection *c)
{
    statements_forget(c);
    mysql_close(c->mysql);
    if (connect_now(c, NULL) == ERR_OK)
        return ERR_OK;
    c->broken = c->unreachable = true;
    c->rested = false;
    return ERR_IO;
}

enum err connection_plain(struct connection *c, const char *sql)
{
    char *own = db_translate(mariadb_words, sql);
    enum err e = ERR_OK;

    if (mysql_real_query(c->mysql, own, strlen(own)) != 0)
        e = connection_failed(c, mysql_errno(c->mysql), mysql_error(c->mysql), own);
    else
        mysql_free_result(mysql_store_result(c->mysql));
    free(own);
    return e;
}
