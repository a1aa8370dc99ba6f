/* ladder/thumbnail.c - a thumbnail, from the server's side (a child is started and fed) and the child's. */
#include "ladder/child_int.h"
#include "ladder/ladder_int.h"

#include "base/limits.h"
#include "base/log.h"

#include <libavutil/log.h>
#include <stdatomic.h>

#define THUMBNAIL_MS_MAX     5000
#define THUMBNAIL_WIDTH_MAX  640
#define THUMBNAIL_HEIGHT_MAX 360
#define THUMBNAIL_BYTES_MAX  262144
#define CHILD_SECONDS_MAX    5
#define CHILD_BYTES_MAX      ((size_t)1 << 30) /* a 4K decoder wants 300 MB of address space */
#define CHILDREN_MAX         2

static enum err run(const char *program, struct bytes init, struct bytes segment, struct buffer **out)
{
    const struct child_job job = {.program = program,
                                  .command = "draw-thumbnail",
                                  .parts = {init, segment},
                                  .answer_bytes_max = THUMBNAIL_BYTES_MAX,
                                  .ms_max = THUMBNAIL_MS_MAX};
    struct child_end end;
    enum err e = child_run(&job, &end);

    if (e == ERR_OK && (end.status != 0 || builder_bytes(&end.answer).size == 0))
        e = ERR_BAD;
    if (e == ERR_OK)
        *out = builder_finish(&end.answer);
    builder_drop(&end.answer);
    return e;
}

enum err thumbnail_make(const char *program, struct bytes init, struct bytes segment, struct buffer **out)
{
    static atomic_int children;
    enum err e = ERR_BUSY;

    *out = NULL;
    if (atomic_fetch_add(&children, 1) < CHILDREN_MAX)
        e = run(program, init, segment, out);
    atomic_fetch_sub(&children, 1);
    if (e != ERR_OK && e != ERR_BUSY)
        log_warn("ladder", "a thumbnail could not be drawn: %s", err_text(e));
    return e;
}

int thumbnail_child(void)
{
    struct builder in = {0};
    struct buffer *picture = NULL;
    enum err e;

    av_log_set_level(AV_LOG_QUIET);
    if ((e = sandbox_enter(CHILD_SECONDS_MAX, CHILD_BYTES_MAX, SANDBOX_ONE_THREAD)) == ERR_OK &&
        (e = child_read(&in, CODEC_CONFIG_BYTES_MAX * 2 + SEGMENT_BYTES_MAX)) == ERR_OK &&
        (e = picture_draw(builder_bytes(&in), THUMBNAIL_WIDTH_MAX, THUMBNAIL_HEIGHT_MAX, &picture)) == ERR_OK)
        e = child_write(buffer_bytes(picture));
    buffer_unref(picture);
    builder_drop(&in);
    return e == ERR_OK ? 0 : 1;
}
