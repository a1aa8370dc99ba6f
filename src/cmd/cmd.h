/* cmd/cmd.h - the subcommands; each takes its words without the program's and its own name, and returns an
 * exit status: 0, 1 (it failed) or 2 (it was called wrongly). */
#ifndef MATINEE_CMD_CMD_H
#define MATINEE_CMD_CMD_H

int cmd_serve(int argc, char **argv);
void cmd_serve_help(void);

int cmd_worker(int argc, char **argv);
void cmd_worker_help(void);

int cmd_map(int argc, char **argv);
void cmd_map_help(void);
int cmd_reduce(int argc, char **argv);
void cmd_reduce_help(void);

int cmd_publish(int argc, char **argv);
void cmd_publish_help(void);

/* Administration over the HTTP API. */
int cmd_event(int argc, char **argv);
void cmd_event_help(void);
int cmd_video(int argc, char **argv);
void cmd_video_help(void);
int cmd_inventory(int argc, char **argv);
void cmd_inventory_help(void);
int cmd_key(int argc, char **argv);
void cmd_key_help(void);

/* Tries what stands in front of a server. */
int cmd_edge_check(int argc, char **argv);
void cmd_edge_check_help(void);

int cmd_bench(int argc, char **argv);
void cmd_bench_help(void);

#endif
