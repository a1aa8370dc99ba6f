/* cmd/main.c - picks the subcommand. */
#include "cmd/cmd.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    fprintf(stderr, "matinee: no subcommand is called '%s'; see 'matinee help'\n", argc > 1 ? argv[1] : "");
    return 2;
}
