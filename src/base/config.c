/* base/config.c - see config.h. */
#include "base/config.h"

#include "base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>

static struct option *find(struct option *options, const char *name, size_t size)
{
    for (struct option *o = options; o->name != NULL; o++)
        if (strlen(o->name) == size && strncmp(o->name, name, size) == 0)
            return o;
    return NULL;
}

static void set(struct option *o, const char *value)
{
    free(o->value);
    o->value = mem_string(value);
}

static void set_defaults(struct option *options)
{
    for (struct option *o = options; o->name != NULL; o++)
        o->value = o->standard ? mem_string(o->standard) : NULL;
}

struct file_read {
    struct option *options;
    const char *command, *file;
    char *why;
};

static int file_entry(void *ctx, const char *section, const char *name, const char *value)
{
    struct file_read *r = ctx;
    struct option *o = find(r->options, name, strlen(name));

    if (section[0] != '\0' && strcmp(section, "matinee") != 0 && strcmp(section, r->command) != 0)
        return 1; /* other commands' sections, and other programs', are theirs */
    if (o == NULL) {
        snprintf(r->why, CONFIG_WHY_SIZE, "%s: no option is called '%s'; see --help", r->file, name);
        return 0;
    }
    set(o, value);
    return 1;
}

static enum err read_file(struct option *options, const char *command, const char *file,
                          char why[CONFIG_WHY_SIZE])
{
    struct file_read r = {options, command, file, why};
    int line = ini_parse(file, file_entry, &r);

    if (line == 0 && why[0] == '\0')
        return ERR_OK;
    if (line == -1)
        snprintf(why, CONFIG_WHY_SIZE, "--config %s: %s", file, strerror(errno));
    else if (why[0] == '\0')
        snprintf(why, CONFIG_WHY_SIZE, "--config %s: line %d is not 'name = value'", file, line);
    return ERR_BAD;
}

static void read_environment(struct option *options)
{
    for (struct option *o = options; o->name != NULL; o++) {
        char *variable = mem_printf("MATINEE_%s", o->name);

        for (char *c = variable; *c != '\0'; c++)
            *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
        if (getenv(variable) != NULL)
            set(o, getenv(variable));
        free(variable);
    }
}

/* Takes argv[*at] (and its argument) into the table, or says why not. */
static enum err read_word(struct option *options, int argc, char **argv, int *at, char why[CONFIG_WHY_SIZE])
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    struct option *o = find(options, name, equals ? (size_t)(equals - name) : strlen(name));

    if (o == NULL)
        snprintf(why, CONFIG_WHY_SIZE, "no option is called '%s'; see --help", argv[*at]);
    else if (o->argument == NULL && equals != NULL)
        snprintf(why, CONFIG_WHY_SIZE, "--%s takes no value", o->name);
    else if (o->argument != NULL && equals == NULL && *at + 1 >= argc)
        snprintf(why, CONFIG_WHY_SIZE, "--%s wants a value: --%s %s", o->name, o->name, o->argument);
    else {
        set(o, o->argument == NULL ? "1" : equals ? equals + 1 : argv[++*at]);
        return ERR_OK;
    }
    return ERR_BAD;
}

static enum err read_words(struct option *options, int *argc, char **argv, char why[CONFIG_WHY_SIZE])
{
    int kept = 0;
    bool only_words = false;

    for (int at = 0; at < *argc && argv[at] != NULL; at++) {
        if (!only_words && strcmp(argv[at], "--") == 0)
            only_words = true;
        else if (only_words || strncmp(argv[at], "--", 2) != 0)
            argv[kept++] = argv[at];
        else if (read_word(options, *argc, argv, &at, why) != ERR_OK)
            return ERR_BAD;
    }
    *argc = kept;
    return ERR_OK;
}

/* The file named on the command line or in the environment must be read before either: they outweigh it. */
static const char *named_file(int argc, char **argv)
{
    for (int at = 0; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (strncmp(argv[at], "--config=", 9) == 0)
            return argv[at] + 9;
        if (strcmp(argv[at], "--config") == 0 && at + 1 < argc)
            return argv[at + 1];
    }
    return getenv("MATINEE_CONFIG");
}

enum err config_read(struct option *options, const char *command, int *argc, char **argv,
                     char why[CONFIG_WHY_SIZE])
{
    const char *file = command != NULL ? named_file(*argc, argv) : NULL;

    why[0] = '\0';
    set_defaults(options);
    if (file != NULL && read_file(options, command, file, why) != ERR_OK)
        return ERR_BAD;
    read_environment(options);
    return read_words(options, argc, argv, why);
}

void config_free(struct option *options)
{
    for (struct option *o = options; o->name != NULL; o++) {
        free(o->value);
        o->value = NULL;
    }
}

const char *config_text(const struct option *options, const char *name)
{
    for (const struct option *o = options; o->name != NULL; o++)
        if (strcmp(o->name, name) == 0)
            return o->value;
    assert(false && "an option that is in the table");
    return NULL;
}

enum err config_number(const struct option *options, const char *name, long least, long most, long *out,
                       char why[CONFIG_WHY_SIZE])
{
    const char *text = config_text(options, name);
    char *end = NULL;

    errno = 0;
    *out = text ? strtol(text, &end, 10) : 0;
    if (text == NULL || end == text || *end != '\0' || errno != 0 || *out < least || *out > most) {
        snprintf(why, CONFIG_WHY_SIZE, "--%s wants a whole number from %ld to %ld, not '%.40s'", name, least,
                 most, text ? text : "");
        return ERR_BAD;
    }
    return ERR_OK;
}

void config_help(const struct option *options)
{
    for (const struct option *o = options; o->name != NULL; o++) {
        char left[64];

        snprintf(left, sizeof left, "--%s %s", o->name, o->argument ? o->argument : "");
        printf("  %-28s %s%s%s%s\n", left, o->help, o->standard ? " [" : "", o->standard ? o->standard : "",
               o->standard ? "]" : "");
    }
}
