/* webrtc/line.c - whether a viewer's line carries the full rendition, by what its reports say was lost. Pure.
 *
 * Loss of a few in a hundred is repaired (RTX) and is no reason; what lasts above a tenth is a line that is too thin. Down is fast and
 * up is slow: nobody knows whether a clean line would carry more without trying, so who falls again soon after a try waits twice
 * as long before the next. */
#include "webrtc/webrtc_int.h"

/* Thresholds as those of Google's congestion control (draft-ietf-rmcat-gcc-02 §6), in 1/256. */
#define BAD   26
#define CLEAN 5
/* One report after a short darkness says 80 %, and is no reason; three bad ones in a row are. */
#define BAD_REPORTS 3
/* A fall so soon after a rise says that the try was wrong. */
#define TRIED_MS 30000

bool line_choked(struct line *l, int64_t now_ms)
{
    bool news = !l->low;

    if (news) {
        bool again = l->raised_ms > 0 && now_ms - l->raised_ms < TRIED_MS;
        int64_t patience_ms = again ? l->patience_ms * 2 : LINE_CLEAN_MS_MIN;

        l->patience_ms = patience_ms < LINE_CLEAN_MS_MAX ? patience_ms : LINE_CLEAN_MS_MAX;
    }
    l->low = true;
    l->clean_ms = now_ms;
    l->bad = 0;
    return news;
}

static void raise_it(struct line *l, int64_t now_ms)
{
    l->low = false;
    l->raised_ms = now_ms;
    l->mean = 0;
    l->bad = 0;
}

bool line_report(struct line *l, uint8_t loss, int64_t now_ms)
{
    l->reports++;
    l->mean = l->mean - l->mean / 4 + (uint32_t)loss * 16 / 4;
    l->bad = loss >= BAD ? l->bad + 1 : 0;
    if (loss >= BAD || l->mean >= CLEAN * 16)
        l->clean_ms = now_ms;
    if (!l->low && l->bad >= BAD_REPORTS && l->mean >= BAD * 16)
        return line_choked(l, now_ms);
    if (l->low && now_ms - l->clean_ms >= l->patience_ms) {
        raise_it(l, now_ms);
        return true;
    }
    return false;
}

void line_forget(struct line *l)
{
    *l = (struct line){0};
}
