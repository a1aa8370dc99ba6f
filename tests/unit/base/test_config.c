/* Options: who outweighs whom, and what is refused. */
#include "unit.h"

#include "base/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TABLE                                                                                                \
    {                                                                                                        \
        {"http", "ADDR:PORT", "127.0.0.1:8080", "", NULL}, {"grace", "S", "30", "", NULL},                   \
            {"verbose", NULL, NULL, "", NULL},                                                               \
        {                                                                                                    \
            NULL                                                                                             \
        }                                                                                                    \
    }

static void the_command_line_outweighs_the_environment_and_that_the_file(void **state)
{
    char file[] = "/tmp/matinee-config-XXXXXX", why[CONFIG_WHY_SIZE];
    int fd = mkstemp(file), argc = 4;
    struct option options[] = TABLE;
    char *argv[] = {"word", "--config", file, "--grace=9"};

    dprintf(fd, "http = from-file\ngrace = 7\n");
    close(fd);
    setenv("MATINEE_HTTP", "from-environment", 1);
    setenv("MATINEE_GRACE", "8", 1);
    /* --config itself is read before the table's words; a command lists it as an option of its own. */
    struct option with_file[] = {
        options[0], options[1], options[2], {"config", "FILE", NULL, "", NULL}, {NULL}};

    assert_int_equal(config_read(with_file, "serve", &argc, argv, why), ERR_OK);
    assert_string_equal(config_text(with_file, "http"), "from-environment");
    assert_string_equal(config_text(with_file, "grace"), "9");
    assert_int_equal(argc, 1);
    assert_string_equal(argv[0], "word");
    config_free(with_file);
    unsetenv("MATINEE_HTTP");
    unsetenv("MATINEE_GRACE");
    unlink(file);
}

static void one_file_serves_several_commands(void **state)
{
    static const struct {
        const char *command, *grace;
    } read[] = {{"serve", "5"}, {"worker", "6"}, {"other", "4"}};
    char file[] = "/tmp/matinee-config-XXXXXX", why[CONFIG_WHY_SIZE];
    int fd = mkstemp(file);

    dprintf(fd, "grace = 4\n[serve]\ngrace = 5\n[worker]\ngrace = 6\n[somebody else's]\nnoise = 1\n");
    close(fd);
    for (size_t i = 0; i < sizeof read / sizeof *read; i++) {
        struct option options[] = {
            {"grace", "S", "30", "", NULL}, {"config", "FILE", NULL, "", NULL}, {NULL}};
        char *argv[] = {"--config", file};
        int argc = 2;

        assert_int_equal(config_read(options, read[i].command, &argc, argv, why), ERR_OK);
        assert_string_equal(config_text(options, "grace"), read[i].grace);
        config_free(options);
    }
    unlink(file);
}

static void mistakes_are_named(void **state)
{
    static char *wrong[][2] = {{"--htp", "1"}, {"--grace", NULL}, {"--verbose=1", NULL}};

    for (size_t i = 0; i < 3; i++) {
        struct option options[] = TABLE;
        char why[CONFIG_WHY_SIZE];
        int argc = wrong[i][1] ? 2 : 1;

        assert_int_equal(config_read(options, NULL, &argc, wrong[i], why), ERR_BAD);
        assert_true(why[0] != '\0');
        config_free(options);
    }
}

static void numbers_have_a_range(void **state)
{
    static const char *const bad[] = {"-1", "x", "", "9 ", "86401", "99999999999999999999"};
    char why[CONFIG_WHY_SIZE];
    long value;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct option options[] = {{"grace", "S", bad[i], "", (char *)bad[i]}, {NULL}};

        assert_int_equal(config_number(options, "grace", 0, 86400, &value, why), ERR_BAD);
        assert_non_null(strstr(why, "--grace"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_line_outweighs_the_environment_and_that_the_file),
        cmocka_unit_test(one_file_serves_several_commands),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(numbers_have_a_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
