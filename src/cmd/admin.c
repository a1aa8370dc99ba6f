/* cmd/admin.c - `matinee event|video|key VERB …`: administration over the HTTP API, for scripts. */
#include "cmd/admin_int.h"
#include "cmd/cmd.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_BYTES_MAX 256

static struct option options[] = {
    {"server", "URL", "http://127.0.0.1:8080", "the server's address", NULL},
    {"token-file", "FILE", "./data/admin.token",
     "where the admin token is; MATINEE_TOKEN, the token itself, outweighs it", NULL},
    {"access", "RULE", NULL, "event create: public or ticket", NULL},
    {"rendition", "NAME", NULL, "video transcode, video tasks: 360p, or 720p:hevc", NULL},
    {"all", NULL, NULL, "video transcode, video tasks: every video that has ended", NULL},
    {"detach", NULL, NULL, "video transcode: do not wait until it is made", NULL},
    {"anew", NULL, NULL, "video upload: forget what an earlier upload left", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

struct verb {
    const char *noun, *name, *words;
    int least, most; /* words */
    enum err (*run)(struct admin *a);
    const char *does;
};

static const struct verb verbs[] = {
    {"event", "create", "TITLE", 1, 1, admin_event_create,
     "makes an event and prints it, with its stream key"},
    {"event", "list", "", 0, 0, admin_event_list, "a line each: id, state, title"},
    {"event", "show", "EVENT", 1, 1, admin_event_show, "prints it as JSON"},
    {"event", "end", "EVENT", 1, 1, admin_event_end, "ends its live video at once"},
    {"event", "delete", "EVENT", 1, 1, admin_event_delete, "deletes it and its videos"},
    {"event", "key", "EVENT", 1, 1, admin_event_key, "prints a new stream key; the old one stops working"},
    {"key", "rotate", "EVENT", 1, 1, admin_event_key, "prints a new stream key; the old one stops working"},
    {"video", "list", "", 0, 0, admin_video_list, "a line each: id, state, seconds, event"},
    {"video", "show", "VIDEO", 1, 1, admin_video_show, "prints it as JSON"},
    {"video", "delete", "VIDEO…", 1, 1000, admin_video_delete, "deletes them and their objects"},
    {"video", "upload", "EVENT FILE", 2, 2, admin_video_upload,
     "uploads a recording, goes on where it broke off, prints the video's id"},
    {"video", "transcode", "--all|VIDEO…", 0, 1000, admin_video_transcode,
     "has one more rendition made, and waits for it"},
    {"video", "tasks", "--all|VIDEO…", 0, 1000, admin_video_tasks,
     "prints the same work as lines for matinee map"},
    {"video", "publish", "", 0, 0, admin_video_publish,
     "publishes what matinee reduce printed (standard input)"},
};

#define VERB_COUNT (sizeof verbs / sizeof *verbs)

static const struct verb *find_verb(const char *noun, const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i].noun, noun) == 0 && strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* The token of the environment or of the file; none is no failure here, for much can be read without. */
static void read_token(struct admin *a)
{
    char token[TOKEN_BYTES_MAX] = "";
    const char *given = getenv("MATINEE_TOKEN");
    FILE *file = given ? NULL : fopen(config_text(a->options, "token-file"), "re");

    if (file != NULL && fgets(token, sizeof token, file) != NULL)
        token[strcspn(token, "\r\n")] = '\0';
    if (file != NULL)
        fclose(file);
    if (given == NULL)
        given = token;
    if (given[0] != '\0')
        a->authorization = mem_printf("Authorization: Bearer %s", given);
}

/* "http://host:8080/" is taken without its last slash. */
static void read_server(struct admin *a)
{
    const char *text = config_text(a->options, "server");
    size_t size = strlen(text);

    while (size > 0 && text[size - 1] == '/')
        size--;
    a->server = mem_text(text, size);
}

/* Words become parts of paths: nothing that would lead elsewhere. */
static bool words_are_ids(const struct admin *a, const struct verb *v)
{
    int ids = v->run == admin_event_create ? 0 : v->run == admin_video_upload ? 1 : a->count;

    for (int i = 0; i < ids; i++)
        if (a->words[i][0] == '\0' ||
            strspn(a->words[i], "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz") != strlen(a->words[i]))
            return false;
    return true;
}

static int run(struct admin *a, const struct verb *v)
{
    enum err e = ERR_LIMIT;

    read_token(a);
    read_server(a);
    snprintf(a->why, sizeof a->why, "libcurl could not be started");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == 0 && (a->curl = curl_easy_init()) != NULL)
        e = v->run(a);
    curl_easy_cleanup(a->curl);
    curl_global_cleanup();
    if (e == ERR_OK && fflush(stdout) != 0) {
        snprintf(a->why, sizeof a->why, "standard output cannot be written to");
        e = ERR_CLOSED;
    }
    if (e != ERR_OK)
        fprintf(stderr, "matinee %s %s: %s\n", v->noun, v->name, a->why);
    free(a->authorization);
    free(a->server);
    return e == ERR_OK ? 0 : 1;
}

/* Everything that can be wrong with the words themselves. */
static const struct verb *check(struct admin *a, const char *noun, int argc, char **argv)
{
    char why[CONFIG_WHY_SIZE] = "";
    const struct verb *v;

    if (config_read(a->options, false, &argc, argv, why) != ERR_OK) {
        snprintf(a->why, sizeof a->why, "%s", why);
        return NULL;
    }
    v = argc > 0 ? find_verb(noun, argv[0]) : NULL;
    a->count = argc - 1;
    a->words = argv + 1;
    if (v == NULL)
        snprintf(a->why, sizeof a->why, "%s%.60s%s; see 'matinee %s --help'",
                 argc > 0 ? "there is no '" : "a verb is missing", argc > 0 ? argv[0] : "",
                 argc > 0 ? "'" : "", noun);
    else if (a->count < v->least || a->count > v->most)
        snprintf(a->why, sizeof a->why, "use: matinee %s %s %s", noun, v->name, v->words);
    else if (!words_are_ids(a, v))
        snprintf(a->why, sizeof a->why, "an id is 26 letters and digits");
    else if (v->run == admin_video_transcode || v->run == admin_video_tasks) {
        if (config_text(a->options, "rendition") == NULL)
            snprintf(a->why, sizeof a->why, "--rendition is missing: which one?");
        else if ((config_text(a->options, "all") != NULL) == (a->count > 0))
            snprintf(a->why, sizeof a->why, "name the videos, or give --all");
    }
    return a->why[0] == '\0' ? v : NULL;
}

static int admin(const char *noun, int argc, char **argv)
{
    struct admin a = {.options = options};
    const struct verb *v = check(&a, noun, argc, argv);
    int status = 2;

    if (v != NULL)
        status = run(&a, v);
    else
        fprintf(stderr, "matinee %s: %s\n", noun, a.why);
    config_free(options);
    return status;
}

static void help(const char *noun)
{
    printf("matinee %s VERB [OPTIONS]: administration over the HTTP API of a running server.\n\n", noun);
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i].noun, noun) == 0)
            printf("  %-9s %-12s %s\n", verbs[i].name, verbs[i].words, verbs[i].does);
    puts("");
    config_help(options);
}

int cmd_event(int argc, char **argv)
{
    return admin("event", argc, argv);
}

void cmd_event_help(void)
{
    help("event");
}

int cmd_video(int argc, char **argv)
{
    return admin("video", argc, argv);
}

void cmd_video_help(void)
{
    help("video");
}

int cmd_key(int argc, char **argv)
{
    return admin("key", argc, argv);
}

void cmd_key_help(void)
{
    help("key");
}
