/* tests/unit/queue/stage.c - see stage.h. */
#include "unit.h"

#include "folder.h"
#include "stage.h"

static void open_all(struct stage *s, unsigned workers)
{
    char why[256] = "", name[32];

    s->options.url = s->url;
    s->options.worker = "worker-0";
    if (queue_open(&s->leader, &s->options, why) != ERR_OK)
        fail_msg("%s", why);
    for (unsigned i = 0; i < workers; i++) {
        s->worker[i] = s->leader;
        if (s->kind == STAGE_LOCAL)
            continue;
        snprintf(name, sizeof name, "worker-%u", i + 1);
        s->options.worker = name;
        if (queue_open(&s->worker[i], &s->options, why) != ERR_OK)
            fail_msg("%s", why);
    }
}

static unsigned close_all(struct stage *s)
{
    unsigned workers = 0;

    for (unsigned i = 0; i < STAGE_WORKERS && s->worker[i] != NULL; i++, workers++) {
        if (s->worker[i] != s->leader)
            queue_close(s->worker[i]);
        s->worker[i] = NULL;
    }
    queue_close(s->leader);
    return workers;
}

void stage_open(struct stage *s, enum stage_kind kind, int64_t lease_ms, unsigned failures_max,
                unsigned deaths_max, unsigned workers)
{
    memset(s, 0, sizeof *s);
    s->kind = kind;
    s->folder = folder_new();
    s->options.lease_ms = lease_ms;
    s->options.failures_max = failures_max;
    s->options.deaths_max = deaths_max;
    snprintf(s->url, sizeof s->url, "local:%s/queue", s->folder);
    open_all(s, workers);
}

void stage_restart(struct stage *s)
{
    open_all(s, close_all(s));
}

void stage_close(struct stage *s)
{
    close_all(s);
    folder_remove(s->folder);
}
