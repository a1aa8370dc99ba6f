/* cmd/admin.c - `matinee event|video|inventory|key|token VERB …`: administration over the HTTP API of a running server, for scripts.
 *
 * One table of verbs and one of options say what there is; words are checked by it, and --help and the man page
 * are printed from it. */
#include "cmd/admin_int.h"
#include "cmd/cmd.h"

#include "base/log.h"
#include "base/ulid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- options ------------------------------------------------------------------------------------------- */

static const struct option known[] = {
    {"server", "URL", "http://127.0.0.1:8080", "the server's address", NULL},
    {"token-file", "FILE", NULL,
     "where the admin token is; or MATINEE_TOKEN holds the token itself [./data/admin.token]", NULL},
    {"cacert", "FILE", NULL, "https: trust the certificates in this PEM file", NULL},
    {"json", NULL, NULL, "print the server's answer as it is", NULL},
    /* Those above are every verb's; these, of some. */
    {"title", "TITLE", NULL, "event change: what it is called", NULL},
    {"starts-at", "TIME", NULL, "event create, change: 2026-11-23T19:30:00Z; or none", NULL},
    {"access", "RULE", NULL, "event create, change: public, or ticket", NULL},
    {"screens", "N", NULL,
     "event create, change: on how many screens a ticket may be watched at once; any for any number", NULL},
    {"new-screen", "RULE", NULL, "event create, change: what one more does: takeover, or refuse", NULL},
    {"role", "ROLE", NULL, "token create: admin, producer, moderator or box-office", NULL},
    {"events", "EVENT,…", NULL,
     "token create: for these events only; else for all, and a producer's for those that are made with it",
     NULL},
    {"anew", NULL, NULL, "video upload: forget what came of an earlier upload", NULL},
    {"rendition", "NAME", NULL, "video transcode: 360p, 720p:hevc or 720p:av1", NULL},
    {"export", NULL, NULL, "video comments: print them as lines of JSON", NULL},
    {"import", NULL, NULL,
     "video comments: read such lines from standard input; those that are there already stay", NULL},
    {"all", NULL, NULL, "video transcode: every video that has ended and is taller", NULL},
    {"name", "NAME", NULL, "inventory change: what it is called", NULL},
    {"seats", "ROWSxPLACES", NULL, "inventory create: seats in rows, like 20x30", NULL},
    {"pool", "N", NULL, "inventory create: so many places, none of them a certain one", NULL},
    {"nights", "FIRST..LEAVING", NULL, "inventory create: nights, like 2026-12-20..2026-12-27; with --rooms",
     NULL},
    {"rooms", "N", NULL, "inventory create: rooms of each night", NULL},
    {"locking", "NAME", NULL, "inventory create, change: adaptive, combining, optimistic or pessimistic",
     NULL},
    {"hold", "SECONDS", NULL, "inventory create, change: how long a buyer has to confirm", NULL},
    {"no-wait", NULL, NULL, "video transcode: do not wait until it is made", NULL},
};

#define KNOWN_COUNT  (sizeof known / sizeof *known)
#define COMMON_COUNT 4

/* --- words --------------------------------------------------------------------------------------------- */

static bool is_id(const char *word)
{
    struct ulid id;

    return ulid_parse(bytes_text(word), &id);
}

/* Names become parts of paths: nothing that would lead elsewhere. What a rendition may be called, the server says. */
static bool is_rendition(const char *word)
{
    return word[0] != '\0' && strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789:-") == strlen(word);
}

static bool is_any(const char *word)
{
    return word[0] != '\0';
}

enum word {
    WORD_NONE,
    WORD_TITLE,
    WORD_FILE,
    WORD_RENDITION,
    WORD_EVENT,
    WORD_VIDEO,
    WORD_INVENTORY,
    WORD_NAME,
    WORD_TOKENS,
    WORD_EVENTS,
    WORD_VIDEOS
};

static const struct {
    const char *name;
    bool (*is_good)(const char *word);
    const char *wants;
    bool is_list; /* one or more; the last of a verb's words */
} kinds[] = {
    [WORD_TITLE] = {"TITLE", is_any, "a title", false},
    [WORD_FILE] = {"FILE", is_any, "a file's name", false},
    [WORD_RENDITION] = {"NAME", is_rendition, "a rendition's name, like 360p", false},
    [WORD_EVENT] = {"EVENT", is_id, "an event's id, as in 'matinee event list'", false},
    [WORD_VIDEO] = {"VIDEO", is_id, "a video's id, as in 'matinee video list'", false},
    [WORD_INVENTORY] = {"INVENTORY", is_id, "an inventory's id, as in 'matinee inventory list'", false},
    [WORD_TOKENS] = {"TOKEN…", is_id, "ids of tokens, as in 'matinee token list'", true},
    [WORD_NAME] = {"NAME", is_any, "a name", false},
    [WORD_EVENTS] = {"EVENT…", is_id, "ids of events, as in 'matinee event list'", true},
    [WORD_VIDEOS] = {"VIDEO…", is_id, "ids of videos, as in 'matinee video list'", true},
};

#define WORDS_MAX 2

/* --- verbs --------------------------------------------------------------------------------------------- */

struct verb {
    const char *noun, *name;
    enum word words[WORDS_MAX];
    const char *instead;  /* an option that stands for the words: one of both is needed */
    const char *needs;    /* an option */
    const char *takes;    /* further options, with a space between */
    bool wants_an_option; /* at least one of those */
    enum err (*run)(struct admin *a);
    const char *does;
};

static const struct verb verbs[] = {
    {.noun = "event",
     .name = "create",
     .words = {WORD_TITLE},
     .takes = "starts-at access screens new-screen",
     .run = admin_event_create,
     .does = "makes an event and prints it; its stream key is shown this once"},
    {.noun = "event",
     .name = "list",
     .run = admin_event_list,
     .does = "prints a line for each event, the newest first"},
    {.noun = "event",
     .name = "show",
     .words = {WORD_EVENT},
     .run = admin_event_show,
     .does = "prints all that is known of an event"},
    {.noun = "event",
     .name = "change",
     .words = {WORD_EVENT},
     .takes = "title starts-at access screens new-screen",
     .wants_an_option = true,
     .run = admin_event_change,
     .does = "changes what is given, and prints the event"},
    {.noun = "event",
     .name = "end",
     .words = {WORD_EVENT},
     .run = admin_event_end,
     .does = "ends its live video at once, and prints the event when its last segment is finished"},
    {.noun = "event",
     .name = "delete",
     .words = {WORD_EVENTS},
     .run = admin_event_delete,
     .does = "deletes events with their videos"},
    {.noun = "key",
     .name = "rotate",
     .words = {WORD_EVENT},
     .run = admin_key_rotate,
     .does = "prints a new stream key of an event; the old one stops working at once"},
    {.noun = "inventory",
     .name = "create",
     .words = {WORD_NAME},
     .takes = "seats pool nights rooms locking hold",
     .run = admin_inventory_create,
     .does = "opens a box office of seats, places or nights, and prints it"},
    {.noun = "inventory",
     .name = "list",
     .run = admin_inventory_list,
     .does = "prints a line for each inventory with what is held and sold, the newest first"},
    {.noun = "inventory",
     .name = "show",
     .words = {WORD_INVENTORY},
     .run = admin_inventory_show,
     .does = "prints what is known of an inventory"},
    {.noun = "inventory",
     .name = "change",
     .words = {WORD_INVENTORY},
     .takes = "name locking hold",
     .wants_an_option = true,
     .run = admin_inventory_change,
     .does = "changes what is given, also while it sells, and prints the inventory"},
    {.noun = "token",
     .name = "create",
     .words = {WORD_NAME},
     .needs = "role",
     .takes = "events",
     .run = admin_token_create,
     .does = "makes an API token for somebody and prints it; it is shown this once"},
    {.noun = "token",
     .name = "list",
     .run = admin_token_list,
     .does = "prints a line for each token, with the time at which it was used last"},
    {.noun = "token",
     .name = "revoke",
     .words = {WORD_TOKENS},
     .run = admin_token_revoke,
     .does = "has tokens open nothing any more, at once"},
    {.noun = "video",
     .name = "list",
     .run = admin_video_list,
     .does = "prints a line for each video, the newest first; a star marks renditions that are not whole"},
    {.noun = "video",
     .name = "show",
     .words = {WORD_VIDEO},
     .run = admin_video_show,
     .does = "prints all that is known of a video"},
    {.noun = "video",
     .name = "delete",
     .words = {WORD_VIDEOS},
     .run = admin_video_delete,
     .does = "deletes videos with their objects"},
    {.noun = "video",
     .name = "upload",
     .words = {WORD_EVENT, WORD_FILE},
     .takes = "anew",
     .run = admin_video_upload,
     .does =
         "uploads a recording (MP4, MOV, MKV, MPEG-TS, FLV) as the event's video and prints its id; called again "
         "after a break, it goes on where it was"},
    {.noun = "video",
     .name = "download",
     .words = {WORD_VIDEO, WORD_FILE},
     .run = admin_video_download,
     .does = "fetches the whole video as one MP4; a FILE of - is standard output"},
    {.noun = "video",
     .name = "comments",
     .words = {WORD_VIDEO},
     .takes = "export import",
     .run = admin_video_comments,
     .does = "moves a video's comments out of a store, or into one, with all that keeps their ids unique"},
    {.noun = "video",
     .name = "transcode",
     .words = {WORD_VIDEOS},
     .instead = "all",
     .needs = "rendition",
     .takes = "no-wait",
     .run = admin_video_transcode,
     .does = "has the server's workers make one more rendition of videos that have ended, and waits for it"},
    {.noun = "video",
     .name = "tasks",
     .words = {WORD_VIDEO, WORD_RENDITION},
     .run = admin_video_tasks,
     .does = "prints the same work as lines for 'matinee map'"},
    {.noun = "video",
     .name = "publish",
     .words = {WORD_VIDEO, WORD_RENDITION},
     .run = admin_video_publish,
     .does = "publishes the lines that 'matinee reduce' printed (standard input)"},
};

#define VERB_COUNT (sizeof verbs / sizeof *verbs)

static bool is_among(const char *name, const char *names)
{
    size_t size = strlen(name);

    for (const char *at = names; at != NULL && *at != '\0'; at += strcspn(at, " "), at += *at == ' ')
        if (strncmp(at, name, size) == 0 && (at[size] == ' ' || at[size] == '\0'))
            return true;
    return false;
}

/* Whether the option is one of the verb's own. */
static bool takes_option(const struct verb *v, const char *name)
{
    return is_among(name, v->takes) || is_among(name, v->needs) || is_among(name, v->instead);
}

/* --- reading the command line -------------------------------------------------------------------------- */

/* Words of the verb's number and kind, or in a->why what it wants. */
static bool check_words(struct admin *a, const struct verb *v)
{
    int at = 0;

    for (size_t w = 0; w < WORDS_MAX && v->words[w] != WORD_NONE; w++) {
        const char *wants = kinds[v->words[w]].wants;

        if (at == a->count) {
            snprintf(a->why, sizeof a->why, "%s is missing; see 'matinee %s --help'", wants, v->noun);
            return false;
        }
        do {
            if (!kinds[v->words[w]].is_good(a->words[at])) {
                snprintf(a->why, sizeof a->why, "'%.60s' is not %s", a->words[at], wants);
                return false;
            }
            at++;
        } while (kinds[v->words[w]].is_list && at < a->count);
    }
    if (at < a->count)
        snprintf(a->why, sizeof a->why, "'%.60s' is one word too many; see 'matinee %s --help'", a->words[at],
                 v->noun);
    return at == a->count;
}

static bool check_options(struct admin *a, const struct verb *v)
{
    bool has_any = false;

    if (v->needs != NULL && config_text(a->options, v->needs) == NULL) {
        snprintf(a->why, sizeof a->why, "--%s is missing; see 'matinee %s --help'", v->needs, v->noun);
        return false;
    }
    for (const struct option *o = a->options; o->name != NULL; o++)
        has_any |= o->value != NULL && takes_option(v, o->name);
    if (v->wants_an_option && !has_any)
        snprintf(a->why, sizeof a->why, "nothing is given to change; see 'matinee %s --help'", v->noun);
    return !v->wants_an_option || has_any;
}

static bool check(struct admin *a, const struct verb *v)
{
    bool is_instead = v->instead != NULL && config_text(a->options, v->instead) != NULL;

    if (!check_options(a, v))
        return false;
    if (!is_instead)
        return check_words(a, v);
    if (a->count > 0)
        snprintf(a->why, sizeof a->why, "give %s or --%s, not both", kinds[v->words[0]].name, v->instead);
    return a->count == 0;
}

/* The common options and the verb's, ended by a name of NULL. */
static void choose_options(const struct verb *v, struct option out[KNOWN_COUNT + 1])
{
    size_t count = 0;

    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (i < COMMON_COUNT || takes_option(v, known[i].name))
            out[count++] = known[i];
    out[count] = (struct option){.name = NULL};
}

static const struct verb *find_verb(const char *noun, const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i].noun, noun) == 0 && strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* --- doing it ------------------------------------------------------------------------------------------ */

void admin_complain(struct admin *a, const char *what)
{
    if (a->why[0] != '\0')
        fprintf(stderr, "matinee %s %s: %s%s%s\n", a->noun, a->verb, what ? what : "", what ? ": " : "",
                a->why);
    a->why[0] = '\0';
}

/* What was printed must have gone somewhere. */
static enum err flush(struct admin *a)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return ERR_OK;
    snprintf(a->why, sizeof a->why, "standard output cannot be written: %s", strerror(errno));
    return ERR_CLOSED;
}

/* An exit status. */
static int run(struct admin *a, const struct verb *v)
{
    enum err e = admin_open(a);
    int status = e == ERR_BAD ? 2 : 1;

    if (e == ERR_OK) {
        e = v->run(a);
        if (e == ERR_OK && flush(a) == ERR_OK)
            status = 0;
    }
    if (status != 0) /* what was got over stands in a->why, too */
        admin_complain(a, NULL);
    admin_close(a);
    return status;
}

static int admin(const char *noun, int argc, char **argv)
{
    const struct verb *v = argc > 0 ? find_verb(noun, argv[0]) : NULL;
    struct option options[KNOWN_COUNT + 1];
    struct admin a = {.options = options, .noun = noun, .words = argv + 1, .count = argc - 1};
    char why[CONFIG_WHY_SIZE];
    int status = 2;

    if (v == NULL) {
        fprintf(stderr, "matinee %s: %s%.60s%s; see 'matinee %s --help'\n", noun,
                argc > 0 ? "there is no verb '" : "a verb is missing", argc > 0 ? argv[0] : "",
                argc > 0 ? "'" : "", noun);
        return 2;
    }
    log_set_level(LOG_WARN);
    a.verb = v->name;
    choose_options(v, options);
    if (config_read(options, NULL, &a.count, a.words, why) != ERR_OK) {
        snprintf(a.why, sizeof a.why, "%s", why);
    } else if (check(&a, v)) {
        a.wants_json = config_text(options, "json") != NULL;
        status = run(&a, v);
        a.why[0] = '\0';
    }
    admin_complain(&a, NULL);
    config_free(options);
    return status;
}

/* --- help ---------------------------------------------------------------------------------------------- */

static void print_option(const char *name, const char *before, const char *behind)
{
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (strcmp(known[i].name, name) == 0)
            printf("%s--%s%s%s%s", before, name, known[i].argument ? " " : "",
                   known[i].argument ? known[i].argument : "", behind);
}

/* "  video transcode VIDEO…|--all --rendition NAME [--no-wait]" */
static void print_verb(const struct verb *v)
{
    printf("  %s %s", v->noun, v->name);
    for (size_t w = 0; w < WORDS_MAX && v->words[w] != WORD_NONE; w++)
        printf(" %s", kinds[v->words[w]].name);
    if (v->instead != NULL)
        print_option(v->instead, "|", "");
    if (v->needs != NULL)
        print_option(v->needs, " ", "");
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (is_among(known[i].name, v->takes))
            print_option(known[i].name, " [", "]");
    printf("\n      %s\n", v->does);
}

/* The common options and those of the noun's verbs. */
static void print_options(const char *noun)
{
    struct option out[KNOWN_COUNT + 1];
    size_t count = 0;

    for (size_t i = 0; i < KNOWN_COUNT; i++) {
        bool is_taken = i < COMMON_COUNT;

        for (size_t v = 0; v < VERB_COUNT && !is_taken; v++)
            is_taken = strcmp(verbs[v].noun, noun) == 0 && takes_option(&verbs[v], known[i].name);
        if (is_taken)
            out[count++] = known[i];
    }
    out[count] = (struct option){.name = NULL};
    config_help(out);
}

static void help(const char *noun)
{
    printf("matinee %s VERB [OPTIONS]: administration of a running server over its HTTP API.\n\n", noun);
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i].noun, noun) == 0)
            print_verb(&verbs[i]);
    puts("");
    print_options(noun);
    puts(
        "\nResults go to standard output, progress and complaints to standard error. Exit status 1: the server\n"
        "refused, or was not reached; 2: called wrongly.");
    if (strcmp(noun, "video") == 0)
        puts("\nA rendition can be made in a shell, wherever the store is at hand:\n\n"
             "    matinee video tasks VIDEO 360p | matinee map --storage URL | sort |\n"
             "        matinee reduce --storage URL | matinee video publish VIDEO 360p");
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

int cmd_inventory(int argc, char **argv)
{
    return admin("inventory", argc, argv);
}

void cmd_inventory_help(void)
{
    help("inventory");
}

int cmd_key(int argc, char **argv)
{
    return admin("key", argc, argv);
}

void cmd_key_help(void)
{
    help("key");
}

int cmd_token(int argc, char **argv)
{
    return admin("token", argc, argv);
}

void cmd_token_help(void)
{
    help("token");
}
