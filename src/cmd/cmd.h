/* cmd/cmd.h - the subcommands; each takes its words without the program's name and returns an exit status:
 * 0, 1 (it failed) or 2 (it was called wrongly). */
#ifndef MATINEE_CMD_CMD_H
#define MATINEE_CMD_CMD_H

int cmd_serve(int argc, char **argv);
int cmd_publish(int argc, char **argv);
int cmd_bench(int argc, char **argv);

#endif
