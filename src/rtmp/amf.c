/* rtmp/amf.c - see amf_int.h. */
#include "rtmp/amf_int.h"

#include "base/limits.h"

#include <assert.h>

#define ECMA_ARRAY_HEAD 4

static const char too_deep[] = "objects within objects within objects";
static const char too_many[] = "an object of too many members";

static long read_value(struct amf_value *out, struct bytes in, unsigned depth, const char **why);

static double number_of(uint64_t bits)
{
    double number;

    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Name and value pairs up to the empty name and the end marker. Returns what they take, the end included. */
static long read_members(struct amf_value *out, struct bytes in, unsigned depth, const char **why)
{
    size_t at = 0;

    for (unsigned count = 0; count <= AMF_MEMBERS_MAX; count++) {
        struct cursor c = cursor_of(bytes_from(in, at));
        struct bytes name = cursor_take(&c, cursor_be16(&c));
        struct amf_value value;

        if (c.short_of || c.left.size == 0)
            return PARSE_MORE;
        if (c.left.at[0] == AMF_OBJECT_END && name.size == 0) {
            out->members = bytes_head(in, at);
            return (long)at + 3;
        }
        long taken = read_value(&value, c.left, depth + 1, why);

        if (taken < 0)
            return taken;
        at += 2 + name.size + (size_t)taken;
    }
    *why = too_many;
    return PARSE_BAD;
}

static long read_strict_array(struct amf_value *out, struct bytes in, unsigned depth, const char **why)
{
    struct cursor c = cursor_of(in);
    uint32_t count = cursor_be32(&c);
    size_t at = 4;

    if (c.short_of)
        return PARSE_MORE;
    if (count > AMF_MEMBERS_MAX) {
        *why = too_many;
        return PARSE_BAD;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct amf_value value;
        long taken = read_value(&value, bytes_from(in, at), depth + 1, why);

        if (taken < 0)
            return taken;
        at += (size_t)taken;
    }
    out->members = bytes_from(bytes_head(in, at), 4);
    return (long)at;
}

/* The kinds that hold others; `in` begins behind the marker. */
static long read_container(struct amf_value *out, struct bytes in, unsigned depth, const char **why)
{
    struct cursor c = cursor_of(in);
    size_t head = 0;

    if (out->kind == AMF_STRICT_ARRAY)
        return read_strict_array(out, in, depth, why);
    if (out->kind == AMF_ECMA_ARRAY) {
        head = ECMA_ARRAY_HEAD; /* a count that nobody keeps: the end marker counts */
        cursor_take(&c, head);
    } else if (out->kind == AMF_TYPED_OBJECT) {
        size_t size = cursor_be16(&c);

        head = 2 + size;
        cursor_take(&c, size);
    }
    if (c.short_of)
        return PARSE_MORE;
    long taken = read_members(out, c.left, depth, why);

    return taken < 0 ? taken : taken + (long)head;
}

/* The kinds of a size of their own; `c` stands behind the marker. False for a marker that is none. */
static bool read_plain(struct amf_value *out, struct cursor *c)
{
    switch (out->kind) {
    case AMF_NUMBER:
        out->number = number_of(cursor_be64(c));
        return true;
    case AMF_BOOLEAN:
        out->number = cursor_u8(c) != 0;
        return true;
    case AMF_STRING:
        out->text = cursor_take(c, cursor_be16(c));
        return true;
    case AMF_NULL:
    case AMF_UNDEFINED:
    case AMF_UNSUPPORTED:
        return true;
    case AMF_REFERENCE:
        cursor_be16(c);
        return true;
    case AMF_DATE:
        out->number = number_of(cursor_be64(c));
        cursor_be16(c); /* a time zone that is reserved */
        return true;
    case AMF_LONG_STRING:
    case AMF_XML:
        out->text = cursor_take(c, cursor_be32(c));
        return true;
    default:
        return false;
    }
}

static long read_value(struct amf_value *out, struct bytes in, unsigned depth, const char **why)
{
    struct cursor c = cursor_of(in);

    *out = (struct amf_value){.kind = cursor_u8(&c)};
    if (c.short_of)
        return PARSE_MORE;
    if (out->kind == AMF_OBJECT || out->kind == AMF_ECMA_ARRAY || out->kind == AMF_STRICT_ARRAY ||
        out->kind == AMF_TYPED_OBJECT) {
        if (depth >= AMF_DEPTH_MAX) {
            *why = too_deep;
            return PARSE_BAD;
        }
        long taken = read_container(out, c.left, depth, why);

        return taken < 0 ? taken : taken + 1;
    }
    if (!read_plain(out, &c)) {
        *why = "a value of a type that AMF0 does not have";
        return PARSE_BAD;
    }
    return c.short_of ? PARSE_MORE : (long)(in.size - c.left.size);
}

long amf_read(struct amf_value *out, struct bytes in, const char **why)
{
    *why = NULL;
    long taken = read_value(out, in, 0, why);

    if (taken < 0)
        *out = (struct amf_value){.kind = AMF_UNDEFINED};
    return taken;
}

bool amf_member(const struct amf_value *object, const char *name, struct amf_value *out)
{
    struct cursor c = cursor_of(object->members);
    const char *why;

    *out = (struct amf_value){.kind = AMF_UNDEFINED};
    if (object->kind == AMF_STRICT_ARRAY)
        return false;
    while (c.left.size > 0) {
        struct bytes at = cursor_take(&c, cursor_be16(&c));
        struct amf_value value;
        long taken = read_value(&value, c.left, 0, &why);

        if (taken < 0)
            return false; /* cannot be: amf_read() has walked here before */
        if (bytes_is(at, name)) {
            *out = value;
            return true;
        }
        cursor_take(&c, (size_t)taken);
    }
    return false;
}

void amf_put_number(struct builder *b, double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    builder_u8(b, AMF_NUMBER);
    builder_be64(b, bits);
}

void amf_put_boolean(struct builder *b, bool truth)
{
    builder_u8(b, AMF_BOOLEAN);
    builder_u8(b, truth);
}

void amf_put_string(struct builder *b, const char *text)
{
    struct bytes cut = bytes_head(bytes_text(text), UINT16_MAX);

    builder_u8(b, AMF_STRING);
    builder_be16(b, (uint16_t)cut.size);
    builder_add(b, cut);
}

void amf_put_null(struct builder *b)
{
    builder_u8(b, AMF_NULL);
}

void amf_put_object(struct builder *b)
{
    builder_u8(b, AMF_OBJECT);
}

void amf_put_name(struct builder *b, const char *name)
{
    assert(strlen(name) <= UINT16_MAX);
    builder_be16(b, (uint16_t)strlen(name));
    builder_text(b, name);
}

void amf_put_object_end(struct builder *b)
{
    builder_be24(b, AMF_OBJECT_END);
}
