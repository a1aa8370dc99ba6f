/* cmd/admin_transcode.c - `matinee video transcode`: has the server's workers make one more rendition of ended videos,
 * and waits until it is there. */
#include "cmd/admin_int.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_MS 500
/* Nothing made for so long: maybe there is nobody who makes it. */
#define SAY_IDLE_MS 60000

/* One video that shall have the rendition. */
struct goal {
    char *id;
    double duration, made; /* seconds of media */
    long gaps;
    bool is_left_out, is_done;
    char *text; /* what is printed in the end; NULL */
};

struct goals {
    struct admin *admin;
    char *name; /* of the rendition in lists: 720p:hevc is 720p-hevc there */
    struct goal *all;
    size_t count;
    bool has_failed;
    double made;              /* of all of them */
    int64_t made_ms, away_ms; /* when it last grew; since when the server is away (0: it is not) */
    struct progress progress;
};

/* --- which videos -------------------------------------------------------------------------------------- */

static void add_goal(struct goals *g, const char *id, double duration)
{
    g->all = mem_resize(g->all, (g->count + 1) * sizeof *g->all);
    g->all[g->count++] = (struct goal){.id = mem_string(id), .duration = duration};
}

static enum err add_ended(struct admin *a, const struct answer *answer, void *ctx)
{
    const json_t *video;

    for (size_t i = 0; (video = json_array_get(json_object_get(answer->document, "items"), i)) != NULL; i++) {
        const char *id = text_of(video, "id"), *state = text_of(video, "state");

        if (id != NULL && state != NULL && strcmp(state, "ended") == 0)
            add_goal(ctx, id, json_number_value(json_object_get(video, "duration")));
    }
    return ERR_OK;
}

static void goals_free(struct goals *g)
{
    for (size_t i = 0; i < g->count; i++) {
        free(g->all[i].id);
        free(g->all[i].text);
    }
    free(g->all);
    free(g->name);
}

/* --- asking -------------------------------------------------------------------------------------------- */

/* This video cannot have it. With --all that is nobody's mistake: it may be lower than the rendition. */
static void leave_out(struct goals *g, struct goal *goal)
{
    admin_complain(g->admin, goal->id);
    goal->is_left_out = true;
    if (config_text(g->admin->options, "all") == NULL)
        g->has_failed = true;
}

static enum err ask_for_all(struct goals *g)
{
    const char *name = config_text(g->admin->options, "rendition");
    struct request r = {.document = json_pack("{s:s}", "name", name)};
    enum err e = ERR_OK;

    if (r.document == NULL) {
        snprintf(g->admin->why, sizeof g->admin->why, "--rendition wants a name like 360p or 720p:hevc");
        return ERR_BAD;
    }
    for (size_t i = 0; i < g->count && e == ERR_OK; i++) {
        struct answer answer;

        e = admin_call(g->admin, &answer, &r, "POST", "/api/v1/videos/%s/renditions", g->all[i].id);
        answer_free(&answer);
        if (e == ERR_BUSY || e == ERR_MISSING) {
            leave_out(g, &g->all[i]);
            e = ERR_OK;
        }
    }
    json_decref(r.document);
    return e;
}

/* --- waiting ------------------------------------------------------------------------------------------- */

static void finish_goal(struct goals *g, struct goal *goal, const struct answer *answer, const char *reason)
{
    struct bytes body = builder_bytes(&answer->body);

    goal->is_done = true;
    if (goal->gaps > 0)
        g->has_failed = true;
    if (g->admin->wants_json)
        goal->text = mem_text(body.at, body.size);
    else if (goal->gaps > 0)
        goal->text = mem_printf("%s  %s  ready, %ld segments could not be made: %.200s", goal->id, g->name,
                                goal->gaps, reason ? reason : "no reason was given");
    else
        goal->text = mem_printf("%s  %s  ready", goal->id, g->name);
}

/* Reads how much of the rendition is made. */
static void take_state(struct goals *g, struct goal *goal, const struct answer *answer)
{
    const json_t *r;

    goal->duration = json_number_value(json_object_get(answer->document, "duration"));
    for (size_t i = 0; (r = json_array_get(json_object_get(answer->document, "renditions"), i)) != NULL;
         i++) {
        const char *name = text_of(r, "name"), *state = text_of(r, "state");

        if (name == NULL || state == NULL || strcmp(name, g->name) != 0)
            continue;
        goal->gaps = (long)json_integer_value(json_object_get(r, "gaps"));
        goal->made = goal->duration - json_number_value(json_object_get(r, "lag"));
        if (strcmp(state, "ready") == 0)
            finish_goal(g, goal, answer, text_of(r, "reason"));
    }
}

/* Looks at one video. A server that is away is waited for, for a while. */
static enum err look_at(struct goals *g, struct goal *goal)
{
    static const struct request r = {.wants = "renditions"};
    struct answer answer;
    enum err e = admin_call(g->admin, &answer, &r, "GET", "/api/v1/videos/%s", goal->id);
    int64_t now_ms = clock_mono_ms();

    if (e == ERR_OK) {
        g->away_ms = 0;
        take_state(g, goal, &answer);
    } else if (e == ERR_MISSING) {
        progress_end(&g->progress);
        admin_complain(g->admin, goal->id); /* somebody has deleted it meanwhile */
        goal->is_left_out = g->has_failed = true;
        e = ERR_OK;
    } else if (e == ERR_IO) {
        if (g->away_ms == 0) {
            g->away_ms = now_ms;
            progress_say(&g->progress, g->admin->why);
        }
        if (now_ms - g->away_ms < ADMIN_AWAY_MS_MAX)
            e = ERR_OK;
    }
    answer_free(&answer);
    return e;
}

/* How much is made and wanted, in seconds of media. False: all is done. */
static bool sum_up(struct goals *g, double *made, double *wanted)
{
    bool is_waited_for = false;

    *made = *wanted = 0;
    for (size_t i = 0; i < g->count; i++) {
        const struct goal *goal = &g->all[i];

        if (goal->is_left_out)
            continue;
        *made += goal->is_done ? goal->duration : goal->made;
        *wanted += goal->duration;
        is_waited_for |= !goal->is_done;
    }
    return is_waited_for;
}

static void show(struct goals *g, double made, double wanted, bool is_first)
{
    int64_t now_ms = clock_mono_ms();

    if (is_first)
        g->progress.first = made;
    if (is_first || made > g->made) {
        g->made = made;
        g->made_ms = now_ms;
    } else if (g->away_ms == 0 && now_ms - g->made_ms > SAY_IDLE_MS) {
        progress_say(&g->progress,
                     "nothing was made for a minute; has the server workers ('matinee serve --workers', or "
                     "'matinee worker' with the same queue)?");
        g->made_ms = INT64_MAX / 2; /* said once */
    }
    g->progress.total = wanted;
    progress_show(&g->progress, made);
}

static enum err wait_for_all(struct goals *g)
{
    double made, wanted;
    enum err e = ERR_OK;

    progress_begin(&g->progress, g->name, false, 0);
    for (bool is_first = true, waits = true; waits && e == ERR_OK; is_first = false) {
        if (!is_first)
            admin_pause(LOOK_EVERY_MS);
        for (size_t i = 0; i < g->count && e == ERR_OK; i++)
            if (!g->all[i].is_done && !g->all[i].is_left_out)
                e = look_at(g, &g->all[i]);
        waits = sum_up(g, &made, &wanted);
        if (wanted > 0)
            show(g, made, wanted, is_first);
    }
    progress_end(&g->progress);
    for (size_t i = 0; i < g->count; i++)
        if (g->all[i].text != NULL)
            puts(g->all[i].text);
    return e;
}

/* --- the verb ------------------------------------------------------------------------------------------ */

/* What a script can go on with when it does not wait here. */
static void print_asked(const struct goals *g)
{
    for (size_t i = 0; i < g->count; i++)
        if (!g->all[i].is_left_out && !g->admin->wants_json) /* a 202 says nothing as JSON */
            printf("%s  %s  asked for\n", g->all[i].id, g->name);
}

enum err admin_video_transcode(struct admin *a)
{
    struct goals g = {.admin = a, .name = mem_string(config_text(a->options, "rendition"))};
    char *colon = strchr(g.name, ':');
    enum err e = ERR_OK;

    if (colon != NULL)
        *colon = '-';
    if (config_text(a->options, "all") != NULL)
        e = admin_pages(a, "/api/v1/videos", add_ended, &g);
    for (int i = 0; i < a->count; i++)
        add_goal(&g, a->words[i], 0);
    if (e == ERR_OK && g.count == 0)
        fputs("no video has ended yet\n", stderr);
    if (e == ERR_OK)
        e = ask_for_all(&g);
    if (e == ERR_OK && config_text(a->options, "no-wait") != NULL)
        print_asked(&g);
    else if (e == ERR_OK)
        e = wait_for_all(&g);
    if (e == ERR_OK && g.has_failed)
        e = ERR_BAD; /* it was said what */
    goals_free(&g);
    return e;
}
