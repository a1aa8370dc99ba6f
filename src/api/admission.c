/* api/admission.c - /api/v1/videos/{id}/admission: may who carries this token watch that video? For edges, which ask it before they
 * hand out what they have, and keep the answer for a moment (nginx: auth_request). A video that was deleted is answered 404, so no
 * edge shows it for longer than that moment, whatever it still has on its disk. */
#include "api/api_int.h"

#include "base/limits.h"
#include "base/metrics.h"

METRIC(asked, METRIC_COUNTER, "matinee_edge_admissions_total",
       "Times that an edge asked whether a viewer may watch");

static bool check_id(struct call *c)
{
    return call_id(c, "video");
}

static void admit(struct call *c)
{
    metric_add(&asked, 1);
    if (!call_view(c) || !call_may_watch(c)) {
        call_field(c, "Cache-Control", "no-store");
        return;
    }
    if (c->view->access == ACCESS_TICKET)
        call_field(c, "Matinee-Access", "ticket");
    call_field(c, "Cache-Control", "private, max-age=%d", EDGE_ADMISSION_SECONDS);
    call_empty(c, 204);
}

const struct route admission_routes[] = {
    {HTTP_GET, "/api/v1/videos/{}/admission", ROUTE_OPEN | ROUTE_BLOCKS | ROUTE_EDGE, check_id, admit},
    {.pattern = NULL},
};
