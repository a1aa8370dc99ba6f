/* tests/unit/db/mariadb.c - see mariadb.h. */
#include "unit.h"

#include "folder.h"
#include "mariadb.h"
#include "port.h"

#include <fcntl.h>
#include <mysql.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct mariadb_process mariadb;

static const char *read_all(const char *path)
{
    static char text[4096];
    FILE *f = fopen(path, "r");

    text[f != NULL ? fread(text, 1, sizeof text - 1, f) : 0] = '\0';
    if (f != NULL)
        fclose(f);
    return text;
}

/* Kernels count what io_uring locks for all of a user's processes together: a crowd of servers would not start. */
#define NO_URING "--innodb-use-native-aio=0"
#define LOG_SIZE "--innodb-log-file-size=16M"

static void install(const char *folder)
{
    char data[128], said[128],
        *words[] = {"mariadb-install-db",
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    data,
                    NO_URING,
                    LOG_SIZE,
                    geteuid() == 0 ? "--user=root" : NULL,
                    NULL};
    posix_spawn_file_actions_t quiet;
    pid_t pid;
    int status;

    snprintf(data, sizeof data, "--datadir=%s/data", folder);
    posix_spawn_file_actions_init(&quiet);
    snprintf(said, sizeof said, "%s/install.log", folder);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, said, O_WRONLY | O_CREAT, 0600);
    posix_spawn_file_actions_adddup2(&quiet, STDOUT_FILENO, STDERR_FILENO);
    if (posix_spawnp(&pid, words[0], &quiet, NULL, words, environ) != 0 || waitpid(pid, &status, 0) != pid ||
        status != 0)
        fail_msg("mariadb-install-db failed; is it installed (tools/setup check)? It says:\n%s",
                 read_all(said));
    posix_spawn_file_actions_destroy(&quiet);
}

/* In the child: becomes mariadbd, which ends with us, however we end. */
static _Noreturn void become_server(int said)
{
    char data[128], socket[128], pid[128], port[32], certificate[128], key[128];
    char *words[] = {"mariadbd",
                     "--no-defaults",
                     data,
                     socket,
                     pid,
                     port,
                     "--bind-address=127.0.0.1",
                     "--skip-name-resolve",
                     "--innodb-buffer-pool-size=16M",
                     LOG_SIZE,
                     NO_URING,
                     "--innodb-flush-log-at-trx-commit=1",
                     "--skip-log-bin",
                     "--log-warnings=1",
                     mariadb.certificate != NULL ? certificate : "--skip-ssl",
                     mariadb.certificate != NULL ? key : "--skip-ssl",
                     geteuid() == 0 ? "--user=root" : NULL,
                     NULL};

    snprintf(data, sizeof data, "--datadir=%s/data", mariadb.folder);
    if (mariadb.certificate != NULL) {
        snprintf(certificate, sizeof certificate, "--ssl-cert=%s", mariadb.certificate);
        snprintf(key, sizeof key, "--ssl-key=%s", mariadb.key);
    }
    snprintf(socket, sizeof socket, "--socket=%s/s", mariadb.folder);
    snprintf(pid, sizeof pid, "--pid-file=%s/pid", mariadb.folder);
    snprintf(port, sizeof port, "--port=%d", mariadb.port);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(said, STDERR_FILENO);
    dup2(said, STDOUT_FILENO);
    execvp(words[0], words);
    _exit(127);
}

void mariadb_start(void)
{
    char line[512] = "", all[8192] = "";
    int pipes[2];
    FILE *said;

    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    if ((mariadb.pid = fork()) == 0)
        become_server(pipes[1]);
    assert_true(mariadb.pid > 0);
    close(pipes[1]);
    mariadb.said = dup(pipes[0]); /* kept open, so that it may go on saying */
    said = fdopen(pipes[0], "r");
    while (strstr(line, "ready for connections") == NULL)
        if (fgets(line, sizeof line, said) != NULL)
            snprintf(all + strlen(all), sizeof all - strlen(all), "%s", line);
        else
            fail_msg("mariadbd ended before it was ready; is it installed (tools/setup check)? It says:\n%s",
                     all);
    fclose(said);
}

void mariadb_stop(int signal)
{
    if (mariadb.pid <= 0)
        return;
    kill(mariadb.pid, signal);
    waitpid(mariadb.pid, NULL, 0);
    close(mariadb.said);
    mariadb.pid = 0;
}

int mariadb_setup(void **state)
{
    mariadb.folder = folder_new();
    mariadb.port = port_free();
    install(mariadb.folder);
    mariadb_start();
    return 0;
}

int mariadb_teardown(void **state)
{
    mariadb_stop(SIGKILL);
    folder_remove(mariadb.folder);
    return 0;
}

/* NOLINTBEGIN(clang-analyzer-valist.Uninitialized): clang-tidy 14 loses sight of va_start() */
int64_t mariadb_root(const char *database, const char *format, ...)
{
    MYSQL *m = mysql_init(NULL);
    char path[128], sql[1024];
    int64_t first = -1;
    MYSQL_RES *rows;
    MYSQL_ROW row;
    va_list args;

    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    snprintf(path, sizeof path, "%s/s", mariadb.folder);
    if (mysql_real_connect(m, NULL, "root", "", database, 0, path, 0) == NULL || mysql_query(m, sql) != 0)
        fail_msg("%s: %s", sql, mysql_error(m));
    if ((rows = mysql_store_result(m)) != NULL) {
        if ((row = mysql_fetch_row(rows)) != NULL && row[0] != NULL)
            first = strtoll(row[0], NULL, 10);
        mysql_free_result(rows);
    }
    mysql_close(m);
    return first;
}
/* NOLINTEND(clang-analyzer-valist.Uninitialized) */

const char *mariadb_last(void)
{
    static char name[32];

    snprintf(name, sizeof name, "test_%u", mariadb.databases);
    return name;
}

char *mariadb_database(char url[MARIADB_URL_SIZE])
{
    mariadb.databases++;
    mariadb_root(NULL, "CREATE DATABASE %s", mariadb_last());
    mariadb_root(NULL, "GRANT ALL ON %s.* TO 'matinee'@'127.0.0.1' IDENTIFIED BY 's@cret/?'", mariadb_last());
    snprintf(url, MARIADB_URL_SIZE, "mysql://matinee:s%%40cret%%2f%%3F@127.0.0.1:%d/%s", mariadb.port,
             mariadb_last());
    return url;
}
