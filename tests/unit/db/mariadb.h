/* tests/unit/db/mariadb.h - a MariaDB server of the test's own, and databases in it. It ends with the test. */
#ifndef MATINEE_UNIT_DB_MARIADB_H
#define MATINEE_UNIT_DB_MARIADB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mariadb_process {
    char *folder;
    pid_t pid; /* 0: it is not running */
    int port;  /* kept over restarts */
    unsigned databases;
    int said;                /* its standard error */
    char *certificate, *key; /* files; NULL: it speaks no TLS from its next start on */
};

/* Group setup and teardown: installs and starts `mariadb`; ends it and removes its folder. */
extern struct mariadb_process mariadb;
int mariadb_setup(void **state);
int mariadb_teardown(void **state);

/* Start returns when it takes connections. */
void mariadb_start(void);
void mariadb_stop(int signal); /* SIGTERM or SIGKILL; returns when it has ended */

#define MARIADB_URL_SIZE 256

/* A new empty database, and the address of it for a user of its own; returns `url`. */
char *mariadb_database(char url[MARIADB_URL_SIZE]);
/* Runs as root, in `database` unless it is NULL, and returns the first value of the first row; -1 where there is none. */
int64_t mariadb_root(const char *database, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The name of the last database that was made. */
const char *mariadb_last(void);

#endif
