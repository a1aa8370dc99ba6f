/* cmd/bench_ladder_source.c - the video that is made into renditions: a camera's worth of detail, motion
 * and grain, as a publisher would send it, in chunks of two seconds. */
#include "cmd/bench_ladder_int.h"

#include "base/mem.h"
#include "media/media.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Fine structure that grows, hard edges that move over it, and grain. */
static void draw(struct words *w, long seconds)
{
    words_split(
        w, "-f lavfi -i mandelbrot=s=1920x1080:r=30 -f lavfi -i testsrc2=s=960x540:r=30 -filter_complex");
    words_add(w, "[0][1]overlay=x=480+400*sin(t):y=270,noise=alls=5:allf=t,format=yuv420p");
    words_split(w,
                "-c:v libx264 -preset veryfast -b:v 6M -maxrate 6M -bufsize 12M -bf 2 -g 60 -keyint_min 60 "
                "-sc_threshold 0");
    words_add(w, "-t");
    words_add(w, "%ld", seconds);
}

static bool make_file(struct ladder_source *out, const struct ladder_setup *s)
{
    struct words w = {0};
    double cpu_ms;

    out->path = mem_printf("%s/ladder-source.mp4", s->out);
    mkdir("build", 0777);
    mkdir(s->out, 0777);
    words_split(&w, "ffmpeg -v error -nostdin -y");
    if (s->input != NULL) {
        words_add(&w, "-i");
        words_add(&w, "%s", s->input);
        words_split(&w, "-map 0:v:0 -c copy");
    } else {
        draw(&w, s->seconds);
    }
    words_split(&w,
                "-f mp4 -movflags +frag_keyframe+empty_moov+default_base_moof+skip_trailer -use_editlist 0 "
                "-video_track_timescale 90000");
    words_add(&w, "%s", out->path);
    bool good = words_run(&w, NULL, &cpu_ms);

    words_drop(&w);
    return good;
}

static struct buffer *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct builder b = {0};
    uint8_t piece[65536];
    size_t n;

    if (f == NULL)
        return NULL;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        builder_add(&b, bytes_of(piece, n));
    fclose(f);
    return builder_finish(&b);
}

/* Where each fragment begins, and what is before the first. */
static bool cut(struct ladder_source *s)
{
    struct bytes left = buffer_bytes(s->file);

    for (struct bytes box; left.size > 0; left = bytes_from(left, box.size)) {
        struct cursor c = cursor_of(left);
        uint32_t size = cursor_be32(&c);
        bool moof = bytes_is(cursor_take(&c, 4), "moof");

        if (c.short_of || size < 8 || size > left.size || (moof && s->chunk_count == LADDER_CHUNKS_MAX))
            return false;
        box = bytes_head(left, size);
        if (moof)
            s->chunks[s->chunk_count++] = box;
        else if (s->chunk_count > 0)
            s->chunks[s->chunk_count - 1].size += size;
        else
            s->init = bytes_of(s->file->data, s->init.size + size);
    }
    return s->chunk_count > 0;
}

/* Width, height and length, as ffprobe sees them. */
static bool probe(struct ladder_source *s)
{
    char *command = mem_printf("%s.txt", s->path), text[128] = "", *at = text;
    struct words w = {0};
    double cpu_ms;
    bool good = false;
    FILE *f;

    words_split(&w,
                "ffprobe -v error -select_streams v -show_entries stream=width,height:format=duration -of "
                "default=nk=1:nw=1 -o");
    words_add(&w, "%s", command);
    words_add(&w, "%s", s->path);
    if (words_run(&w, NULL, &cpu_ms) && (f = fopen(command, "r")) != NULL) {
        size_t n = fread(text, 1, sizeof text - 1, f);

        text[n] = '\0';
        fclose(f);
        s->width = (uint32_t)strtoul(at, &at, 10);
        s->height = (uint32_t)strtoul(at, &at, 10);
        s->seconds = strtod(at, &at);
        good = s->width > 0 && s->height > 0 && s->seconds > 0;
    }
    remove(command);
    words_drop(&w);
    free(command);
    return good;
}

bool ladder_source_make(struct ladder_source *out, const struct ladder_setup *s)
{
    *out = (struct ladder_source){0};
    if (!make_file(out, s))
        return false;
    out->file = read_file(out->path);
    if (out->file != NULL && cut(out) && probe(out))
        return true;
    fprintf(stderr, "matinee bench ladder: %s cannot be read\n", out->path);
    return false;
}

void ladder_source_drop(struct ladder_source *s)
{
    buffer_unref(s->file);
    free(s->path);
}
