/* base/config.h - options: from the command line, the environment and an INI file, in that order of weight.
 *
 * A subcommand declares a table; config_read() fills it and refuses what it does not know, in one clear
 * line. The same table prints --help and the documentation, so that neither can drift. */
#ifndef MATINEE_BASE_CONFIG_H
#define MATINEE_BASE_CONFIG_H

#include "base/bytes.h"
#include "base/err.h"

struct option {
    const char *name;     /* "http": --http, MATINEE_HTTP, http = … */
    const char *argument; /* "ADDR:PORT", or NULL for a switch (value "1" when given) */
    const char *standard; /* the default as text, or NULL */
    const char *help;
    char *value; /* the answer, owned by the table; NULL when not given and without a default */
};

#define CONFIG_WHY_SIZE 256

/* Fills `options` (ended by a name of NULL). Words that are no options are left in argv, in order, and
 * counted in *argc. Where `command` is given an option --config FILE is known: of the file counts what stands before any section,
 * in [matinee], and in the command's own section, so that one file serves several commands. On ERR_BAD `why` says
 * what is wrong and what to do. Call config_free() in either case. */
must_check enum err config_read(struct option *options, const char *command, int *argc, char **argv,
                                char why[CONFIG_WHY_SIZE]);
void config_free(struct option *options);

/* The value of an option of the table, or NULL; asking for a name that is not in it is a bug. */
const char *config_text(const struct option *options, const char *name);

/* The value as a whole number from `least` to `most`. On ERR_BAD `why` names the option and the range. */
must_check enum err config_number(const struct option *options, const char *name, long least, long most,
                                  long *out, char why[CONFIG_WHY_SIZE]);

/* Prints the table for --help on standard output. */
void config_help(const struct option *options);

#endif
