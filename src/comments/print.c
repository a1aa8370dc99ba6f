/* comments/print.c - comments as JSON and as Server-Sent Events (HTML Living Standard §9.2). Written by hand: what is said is
 * printed once, by whoever hands it in, and sent as it is to every reader. */
#include "comments/comments_int.h"

#include "base/clock.h"

#include <stdio.h>

static void print_escape(struct builder *out, uint8_t c)
{
    switch (c) {
    case '"':
        builder_text(out, "\\\"");
        break;
    case '\\':
        builder_text(out, "\\\\");
        break;
    case '\n':
        builder_text(out, "\\n");
        break;
    default:
        builder_printf(out, "\\u%04x", c);
    }
}

void comment_print_text(struct builder *out, struct bytes text)
{
    size_t from = 0;

    builder_u8(out, '"');
    for (size_t at = 0; at < text.size; at++) {
        uint8_t c = text.at[at];

        if (c >= ' ' && c != '"' && c != '\\' && c != 127)
            continue;
        builder_add(out, bytes_of(text.at + from, at - from));
        print_escape(out, c);
        from = at + 1;
    }
    builder_add(out, bytes_from(text, from));
    builder_u8(out, '"');
}

void comment_print_seconds(struct builder *out, int64_t us)
{
    char text[48];
    int size =
        snprintf(text, sizeof text, "%lld.%06lld", (long long)(us / 1000000), (long long)(us % 1000000));

    while (size > 2 && text[size - 1] == '0' && text[size - 2] != '.')
        size--;
    builder_add(out, bytes_of(text, (size_t)size));
}

void comment_print(struct builder *out, const struct comment *c)
{
    char video[ULID_TEXT_SIZE], created[CLOCK_TEXT_SIZE];

    builder_text(out, "{\"id\":\"");
    builder_add(out, c->id);
    builder_text(out, "\",\"videoId\":\"");
    builder_text(out, ulid_text(c->video, video));
    builder_text(out, "\",\"authorId\":");
    comment_print_text(out, c->author);
    builder_text(out, ",\"data\":");
    comment_print_text(out, c->data);
    builder_text(out, ",\"offset\":");
    comment_print_seconds(out, c->offset_us);
    builder_text(out, ",\"createdAt\":\"");
    builder_text(out, clock_text(c->created_ms, created));
    builder_text(out, c->kind == COMMENT_HELD ? "\",\"held\":true}" : "\"}");
}

struct buffer *comment_json(const struct comment *c)
{
    struct builder b = {.buffer = buffer_new(256 + c->data.size + c->author.size)};

    comment_print(&b, c);
    return builder_finish(&b);
}

struct buffer *comment_event(const struct comment *c, struct buffer *json)
{
    struct builder b = {.buffer = buffer_new(320 + c->data.size + c->author.size)};

    builder_printf(&b, "id: %lld\nevent: ", (long long)c->seq);
    if (c->kind == COMMENT_SHOWN) {
        builder_text(&b, "comment\ndata: ");
        if (json != NULL)
            builder_add(&b, buffer_bytes(json));
        else
            comment_print(&b, c);
    } else if (c->kind == COMMENT_DELETION) {
        builder_text(&b, "deleted\ndata: {\"id\":\"");
        builder_add(&b, c->id);
        builder_text(&b, "\"}");
    } else {
        builder_drop(&b);
        return NULL;
    }
    builder_text(&b, "\n\n");
    return builder_finish(&b);
}

bool comment_event_is(const struct buffer *events, struct bytes id)
{
    static const char mark[] = "\nevent: comment\ndata: {\"id\":\"";
    struct bytes b = buffer_bytes(events);
    long line = bytes_find(b, '\n');
    struct bytes rest = bytes_from(b, (size_t)(line < 0 ? 0 : line));

    if (!bytes_starts(rest, mark))
        return false;
    rest = bytes_from(rest, sizeof mark - 1);
    return rest.size > id.size && rest.at[id.size] == '"' && bytes_equal(bytes_head(rest, id.size), id);
}
